//! The header part of a member that was read, written again: for one that gets another path or
//! target.

use crate::archive::attributes::Attributes;
use crate::archive::header::{self, Form};
use crate::archive::metadata::{self, Metadata};
use crate::archive::read::{Kind, Member};
use crate::archive::sparse::{self, Segment};

/// The header part of a member, with the map of a sparse file.
#[must_use]
pub fn header(member: &Member) -> Vec<u8> {
    let map;
    let form = match &member.kind {
        Kind::HardLink { target } => Form::HardLink { leader: target },
        Kind::Symlink { target } => Form::Symlink { target },
        Kind::File { size, extents: Some(extents) } => {
            let data = extents.iter().filter(|extent| extent.length > 0);
            let segments: Vec<_> =
                data.map(|extent| Segment { offset: extent.offset, length: extent.length }).collect();
            map = sparse::map(&segments, *size);
            Form::Sparse { stored: member.kind.content(), map: &map }
        }
        _ => Form::Plain,
    };
    header::encode(&member.path, &metadata(member), form, &attributes(member))
}

fn metadata(member: &Member) -> Metadata {
    let (kind, size, device) = match &member.kind {
        Kind::File { size, .. } => (metadata::Kind::File, *size, (0, 0)),
        Kind::HardLink { .. } => (metadata::Kind::File, 0, (0, 0)),
        Kind::Symlink { .. } => (metadata::Kind::Symlink, 0, (0, 0)),
        Kind::Directory => (metadata::Kind::Folder, 0, (0, 0)),
        Kind::Fifo => (metadata::Kind::Fifo, 0, (0, 0)),
        Kind::CharacterDevice { major, minor } => (metadata::Kind::CharacterDevice, 0, (*major, *minor)),
        Kind::BlockDevice { major, minor } => (metadata::Kind::BlockDevice, 0, (*major, *minor)),
    };
    let Member { mode, uid, gid, mtime, .. } = *member;
    // What no header tells is of no matter.
    Metadata {
        kind,
        mode,
        uid,
        gid,
        size,
        occupied: 0,
        modified: mtime,
        changed: mtime,
        inode: (0, 0),
        born: None,
        links: 1,
        device,
    }
}

fn attributes(member: &Member) -> Attributes {
    let xattrs = member.xattrs.iter().map(|xattr| (xattr.name.as_slice(), xattr.value.as_slice()));
    Attributes::from_parts(xattrs, member.access_acl.as_deref(), member.default_acl.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::read::{Ending, Extent, Reader, Xattr};
    use crate::times::Time;

    #[test]
    fn what_is_written_again_reads_the_same() {
        let member = Member {
            path: b"a/b".to_vec(),
            kind: Kind::Fifo,
            mode: 0o4755,
            uid: 3_000_000,
            gid: 7,
            mtime: Time { seconds: -5, nanoseconds: 250_000_000 },
            xattrs: vec![Xattr { name: b"user.a=b%c".to_vec(), value: b"v".to_vec() }],
            access_acl: Some(b"user::rwx".to_vec()),
            default_acl: None,
            offset: 0,
        };
        let extents = vec![Extent { offset: 512, length: 512 }, Extent { offset: 5000, length: 0 }];
        let folder_acl = Some(b"user::r-x".to_vec());
        for member in [
            Member { kind: Kind::File { size: 0, extents: None }, ..member.clone() },
            Member { kind: Kind::Symlink { target: vec![b't'; 300] }, path: vec![b'p'; 300], ..member.clone() },
            Member { kind: Kind::Directory, default_acl: folder_acl, ..member.clone() },
            Member { kind: Kind::CharacterDevice { major: 4, minor: 65 }, ..member.clone() },
            member.clone(),
            Member { kind: Kind::File { size: 5000, extents: Some(extents) }, ..member.clone() },
        ] {
            let mut bytes = header(&member);
            let length = bytes.len() + usize::try_from(member.kind.content()).unwrap();
            bytes.resize(length, 0);
            let read = Reader::new(&bytes[..], Ending::AnyMember).next_member().unwrap().unwrap();
            assert_eq!(read, member);
        }
    }
}
