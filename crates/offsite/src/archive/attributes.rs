//! Extended attributes and access control lists, in the words of pax records.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::archive::folder::Folder;
use crate::archive::limits;

/// An entry's attributes, each as keyword and value of a pax record, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);

impl Attributes {
    /// From names and values of attributes, and lists as text.
    pub(crate) fn from_parts<'a>(
        xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        access: Option<&[u8]>,
        default: Option<&[u8]>,
    ) -> Self {
        let mut records: Vec<_> = xattrs.map(|(name, value)| (escaped(name), value.to_vec())).collect();
        records.extend(access.map(|list| (ACCESS.to_vec(), list.to_vec())));
        records.extend(default.map(|list| (DEFAULT.to_vec(), list.to_vec())));
        records.sort_unstable();
        Self(records)
    }

    /// Keyword and value of each.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(keyword, value)| (keyword.as_slice(), value.as_slice()))
    }
}

/// Keywords of lists.
const ACCESS: &[u8] = b"SCHILY.acl.access";
const DEFAULT: &[u8] = b"SCHILY.acl.default";

/// Reads attributes. Keeps the memory for it, since most entries have none.
pub struct AttributeReader {
    names: Vec<u8>,
    value: Vec<u8>,
}

/// Longest rest of a record, in bytes: eight digits of length, a space, `=`, and a line feed.
const RECORD: usize = 11;

/// What the kernel takes at most, for all names together and for a value: 64 KiB (`XATTR_LIST_MAX`,
/// `XATTR_SIZE_MAX`).
const MOST: usize = 64 << 10;

impl Default for AttributeReader {
    fn default() -> Self {
        Self { names: vec![0; MOST], value: vec![0; MOST] }
    }
}

/// Where attributes are read.
#[derive(Clone, Copy)]
enum Place<'a> {
    Open(BorrowedFd<'a>),
    /// What cannot be opened without side effects: symbolic links, fifos, devices. The path leads
    /// through the handle of the folder, so it has one component that could be changed, and that
    /// is not followed.
    Path(&'a [u8]),
}

impl AttributeReader {
    /// Of an open file or folder. What cannot be read is told by name.
    ///
    /// # Errors
    ///
    /// The system's, where the names cannot be had.
    pub fn of_open(&mut self, file: impl AsFd, failed: impl FnMut(&[u8], Errno)) -> Result<Attributes, Errno> {
        self.read(Place::Open(file.as_fd()), failed)
    }

    /// Of a name in a folder, not followed.
    ///
    /// # Errors
    ///
    /// The system's, where the names cannot be had.
    pub fn of_name(
        &mut self,
        folder: &Folder,
        name: &[u8],
        failed: impl FnMut(&[u8], Errno),
    ) -> Result<Attributes, Errno> {
        let mut path = format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        self.read(Place::Path(&path), failed)
    }

    fn read(&mut self, place: Place<'_>, mut failed: impl FnMut(&[u8], Errno)) -> Result<Attributes, Errno> {
        let listed = match place {
            Place::Open(file) => flistxattr(file, &mut self.names[..]),
            Place::Path(path) => llistxattr(path, &mut self.names[..]),
        };
        let length = match listed {
            Err(Errno::OPNOTSUPP) => 0,
            listed => listed?,
        };
        let (mut attributes, mut room) = (Vec::new(), limits::ATTRIBUTES);
        for name in self.names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let read = match place {
                Place::Open(file) => fgetxattr(file, name, &mut self.value[..]),
                Place::Path(path) => lgetxattr(path, name, &mut self.value[..]),
            };
            match read {
                Ok(length) => {
                    let (keyword, value) = record(name, &self.value[..length]);
                    match room.checked_sub(keyword.len() + value.len() + RECORD) {
                        Some(left) => {
                            room = left;
                            attributes.push((keyword, value));
                        }
                        // Some file systems let a file have as many as its names fit a list.
                        None => failed(name, Errno::TOOBIG),
                    }
                }
                // Gone since it was listed.
                Err(Errno::NODATA) => {}
                Err(error) => failed(name, error),
            }
        }
        attributes.sort_unstable();
        Ok(Attributes(attributes))
    }
}

/// Keyword and value of an attribute's pax record, as star defined and GNU tar and libarchive read
/// them. A list that we cannot spell out is kept as the attribute that it is.
fn record(name: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let keyword = match name {
        b"system.posix_acl_access" => Some(ACCESS),
        b"system.posix_acl_default" => Some(DEFAULT),
        _ => None,
    };
    let list = keyword.and_then(|keyword| Some((keyword.to_vec(), acl_text(value)?)));
    list.unwrap_or_else(|| (escaped(name), value.to_vec()))
}

/// A keyword ends at '=', so that cannot stand in it.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut keyword = b"SCHILY.xattr.".to_vec();
    for byte in name {
        match byte {
            b'=' => keyword.extend_from_slice(b"%3D"),
            b'%' => keyword.extend_from_slice(b"%25"),
            byte => keyword.push(*byte),
        }
    }
    keyword
}

/// A list of the kernel's (`linux/posix_acl_xattr.h`: a version, then tag, permissions and number
/// of each entry, little-endian) in the short text form of POSIX 1003.1e, with numbers for names.
fn acl_text(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() {
        return None;
    }
    let mut lines = Vec::with_capacity(entries.len());
    for entry in entries {
        let [tag, _, permissions, _, id @ ..] = *entry;
        let id = u32::from_le_bytes(id);
        let who = match tag {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let letter = |bit, letter| if permissions & bit == 0 { '-' } else { letter };
        lines.push(format!("{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    Some(lines.join(",").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_spelt_out() {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in [
            (1_u16, 7_u16, u32::MAX),
            (2, 5, 70_000),
            (4, 4, u32::MAX),
            (8, 6, 12),
            (16, 7, u32::MAX),
            (32, 0, u32::MAX),
        ] {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        let text = b"user::rwx,user:70000:r-x,group::r--,group:12:rw-,mask::rwx,other::---";
        let (keyword, spelt) = record(b"system.posix_acl_default", &value);
        assert_eq!((&keyword[..], &spelt[..]), (&b"SCHILY.acl.default"[..], &text[..]));

        value[0] = 3;
        let (keyword, kept) = record(b"system.posix_acl_access", &value);
        assert_eq!((&keyword[..], kept), (&b"SCHILY.xattr.system.posix_acl_access"[..], value));
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped(b"user.a=b%c"), b"SCHILY.xattr.user.a%3Db%25c");
    }
}
