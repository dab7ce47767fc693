//! Any bytes as a tar, with the headers' checksums made right, since nothing else would get past
//! them. Checked: no panic, little memory; what is read keeps to the limits; and what is unpacked
//! touches nothing outside its folder.

#![no_main]

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use offsite::archive::limits;
use offsite::archive::read::{self, Ending, Kind, Member, Reader};
use offsite::archive::unpack::{Existing, Problem, Report, Unpacker};
use offsite::paths;

fuzz_target!(|data: &[u8]| {
    let _ = read::read(data);
    let mut tar = data.to_vec();
    tar.chunks_exact_mut(limits::BLOCK).for_each(set_checksum);
    let mut reader = Reader::new(&tar[..], Ending::AnyMember);
    let mut members = 0;
    while let Ok(Some(member)) = reader.next_member() {
        members += 1;
        check(&member);
        let content = member.kind.content();
        match io::copy(&mut reader.by_ref().take(content + 1), &mut io::sink()) {
            Ok(length) => assert_eq!(length, content, "a content of another length"),
            Err(_) => break,
        }
    }
    // Folders are slow: not where nothing can be learnt from them.
    if members > 0 {
        unpack(&tar);
    }
});

/// Makes a header's checksum that of its bytes.
fn set_checksum(block: &mut [u8]) {
    if block[257..].starts_with(b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn check(member: &Member) {
    let Member { path, kind, mode, mtime, xattrs, access_acl, default_acl, .. } = member;
    assert!(path.len() <= paths::LONGEST && !path.contains(&0));
    assert!(*mode <= 0o7777 && mtime.nanoseconds < 1_000_000_000);
    for (index, xattr) in xattrs.iter().enumerate() {
        assert!((1..=limits::XATTR_NAME).contains(&xattr.name.len()) && xattr.value.len() <= limits::XATTR_VALUE);
        assert!(xattrs[..index].iter().all(|other| other.name != xattr.name), "an attribute stands there twice");
    }
    assert!([access_acl, default_acl].into_iter().flatten().all(|acl| acl.len() <= limits::ACL_TEXT));
    match kind {
        Kind::HardLink { target } | Kind::Symlink { target } => {
            assert!((1..=paths::LONGEST).contains(&target.len()) && !target.contains(&0));
        }
        Kind::File { size, extents: Some(extents) } => {
            assert!(*size <= limits::FILE_SIZE && extents.len() <= limits::EXTENTS);
            assert!(extents.windows(2).all(|pair| pair[0].offset + pair[0].length <= pair[1].offset));
            assert!(extents.last().is_none_or(|last| last.offset + last.length <= *size));
        }
        _ => {}
    }
}

/// Nobody reads it.
struct Unread;

impl Report for Unread {
    fn problem(&self, problem: Problem) {
        let _ = problem.to_string();
    }
}

/// Unpacks into a folder with nothing beside it but a file, which stays as it is.
fn unpack(tar: &[u8]) {
    let place = tempfile::tempdir().expect("there is a folder for temporary files");
    let (target, canary) = (place.path().join("target"), place.path().join("canary"));
    fs::create_dir(&target).expect("a folder is made");
    fs::write(&canary, "alive").expect("a file is written");
    let before = state(place.path(), &canary);

    let unpacker = Unpacker::new(&target, Existing::Replace, &Unread).expect("the target can be opened");
    let mut reader = Reader::new(tar, Ending::AnyMember);
    while let Ok(Some(mut member)) = reader.next_member() {
        // Whoever is not root must be able to remove it.
        if member.kind == Kind::Directory {
            member.mode |= 0o700;
        }
        if let Err(error) = unpacker.member(&member, &mut reader) {
            let _ = error.to_string();
        }
    }
    unpacker.finish().expect("the list of folders is in memory");
    assert_eq!(state(place.path(), &canary), before, "something outside the target has changed");
}

/// All that is outside the target and could be changed.
fn state(place: &Path, canary: &Path) -> impl PartialEq + std::fmt::Debug {
    let attributes = |path: &Path| {
        let data = fs::symlink_metadata(path).expect("it is there");
        (data.ino(), data.mode(), data.uid(), data.nlink(), data.mtime(), data.mtime_nsec(), data.size())
    };
    let mut names: Vec<_> =
        fs::read_dir(place).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    (names, attributes(place), attributes(canary), fs::read(canary).expect("it is there"))
}
