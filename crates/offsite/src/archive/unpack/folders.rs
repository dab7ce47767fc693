//! The folders that the last pass gives their attributes, noted while members come in any order,
//! and given back the deepest first.
//!
//! Notes are appended to a buffer, which goes to a file without a name whenever it is full. Each
//! tells where the one before it of the same depth lies, so that all of one depth form a chain, and
//! only the last of each depth, eight bytes, need stay in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::archive::limits;
use crate::archive::read::{Kind, Member, Xattr};
use crate::files;
use crate::times::Time;

/// Of a depth without folders, and before the first of a chain.
const NONE: u64 = u64::MAX;

/// Before each note: where the one before it lies, and this one's length.
const HEAD: usize = 8 + 4;

pub(super) struct Folders {
    /// The last note of each depth.
    last: Vec<u64>,
    /// What lies in the file, and how long that is.
    file: Option<File>,
    in_file: u64,
    /// What follows.
    buffer: Vec<u8>,
    /// Full at so many bytes.
    capacity: usize,
    target: PathBuf,
}

impl Folders {
    pub(super) fn new(target: &Path) -> Self {
        Self::with_capacity(target, limits::FOLDERS_IN_MEMORY)
    }

    pub(super) fn with_capacity(target: &Path, capacity: usize) -> Self {
        Self { last: Vec::new(), file: None, in_file: 0, buffer: Vec::new(), capacity, target: target.to_path_buf() }
    }

    pub(super) fn push(&mut self, member: &Member) -> io::Result<()> {
        let depth = depth(&member.path);
        if self.last.len() <= depth {
            self.last.resize(depth + 1, NONE);
        }
        let note = encode(member);
        let length = u32::try_from(note.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let position = self.in_file + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&self.last[depth].to_le_bytes());
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&note);
        self.last[depth] = position;
        if self.buffer.len() >= self.capacity { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            // In the target, where there must be room for the folders themselves; it says nothing
            // that they do not.
            empty => empty.insert(files::nameless_file(Some(&self.target.join("folders")))?),
        };
        file.write_all_at(&self.buffer, self.in_file)?;
        self.in_file += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn deepest_first(&self, mut visit: impl FnMut(&Member)) -> io::Result<()> {
        for last in self.last.iter().rev() {
            let mut position = *last;
            while position != NONE {
                let mut head = [0; HEAD];
                self.read(position, &mut head)?;
                let (before, length) = head.split_at(8);
                let length = u32::from_le_bytes(length.try_into().map_err(|_| invalid())?);
                let mut note = vec![0; usize::try_from(length).map_err(|_| invalid())?];
                self.read(position + HEAD as u64, &mut note)?;
                visit(&decode(&note).ok_or_else(invalid)?);
                position = u64::from_le_bytes(before.try_into().map_err(|_| invalid())?);
            }
        }
        Ok(())
    }

    fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        if let (Some(file), true) = (&self.file, position < self.in_file) {
            return file.read_exact_at(bytes, position);
        }
        let start = usize::try_from(position - self.in_file).map_err(|_| invalid())?;
        bytes.copy_from_slice(self.buffer.get(start..start + bytes.len()).ok_or_else(invalid)?);
        Ok(())
    }
}

/// How many folders lead to a path: none to the target itself.
fn depth(path: &[u8]) -> usize {
    if path.is_empty() { 0 } else { 1 + path.iter().filter(|byte| **byte == b'/').count() }
}

/// Another process cannot reach the file, so this is a failing disk.
fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn encode(member: &Member) -> Vec<u8> {
    let mut note = Vec::with_capacity(member.path.len() + 64);
    for number in [member.mode, member.uid, member.gid, member.mtime.nanoseconds] {
        note.extend_from_slice(&number.to_le_bytes());
    }
    note.extend_from_slice(&member.mtime.seconds.to_le_bytes());
    put(&mut note, &member.path);
    // An empty ACL is none.
    put(&mut note, member.access_acl.as_deref().unwrap_or_default());
    put(&mut note, member.default_acl.as_deref().unwrap_or_default());
    for xattr in &member.xattrs {
        put(&mut note, &xattr.name);
        put(&mut note, &xattr.value);
    }
    note
}

/// A length and so many bytes. The reader's limits keep it within 32 bits; `push` checks the whole.
fn put(note: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    note.extend_from_slice(&length.to_le_bytes());
    note.extend_from_slice(bytes);
}

fn decode(mut note: &[u8]) -> Option<Member> {
    let note = &mut note;
    let [mode, uid, gid, nanoseconds] = [number(note)?, number(note)?, number(note)?, number(note)?];
    let (seconds, rest) = note.split_first_chunk()?;
    *note = rest;
    let mtime = Time { seconds: i64::from_le_bytes(*seconds), nanoseconds };
    let path = get(note)?;
    let access_acl = Some(get(note)?).filter(|text| !text.is_empty());
    let default_acl = Some(get(note)?).filter(|text| !text.is_empty());
    let mut xattrs = Vec::new();
    while !note.is_empty() {
        xattrs.push(Xattr { name: get(note)?, value: get(note)? });
    }
    Some(Member { path, kind: Kind::Directory, mode, uid, gid, mtime, xattrs, access_acl, default_acl, offset: 0 })
}

fn number(note: &mut &[u8]) -> Option<u32> {
    let (number, rest) = note.split_first_chunk()?;
    *note = rest;
    Some(u32::from_le_bytes(*number))
}

fn get(note: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(number(note)?).ok()?;
    let (bytes, rest) = note.split_at_checked(length)?;
    *note = rest;
    Some(bytes.to_vec())
}
