//! A file that is being made.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::Stat;

use super::attributes::{self, Object};
use super::{Error, Outcome, Result, Unpacker, system};
use crate::archive::read::{Extent, Kind, Member};

/// A file that is being made, for its owner alone. Several threads may write pieces of its content.
/// Dropped before it is [finished](NewFile::finish), it is removed again.
pub struct NewFile<'a> {
    unpacker: &'a Unpacker<'a>,
    member: Member,
    file: File,
    stat: Stat,
    finished: bool,
}

impl<'a> NewFile<'a> {
    pub(super) fn new(unpacker: &'a Unpacker<'a>, member: &Member) -> Result<Self> {
        let file = File::from(unpacker.new_file(member)?);
        let stat = rustix::fs::fstat(&file).map_err(system("look at the file", &member.path))?;
        unpacker.made.insert(&stat);
        let file = Self { unpacker, member: member.clone(), file, stat, finished: false };
        if let Kind::File { size, extents: Some(_) } = file.member.kind {
            // What no extent covers takes no space, at the end of the file either.
            file.file.set_len(size).map_err(|source| file.failed(source))?;
        }
        Ok(file)
    }

    /// Writes all of the content.
    pub(super) fn write_from(&self, content: &mut dyn BufRead) -> Result<()> {
        let (mut at, length) = (0, self.member.kind.content());
        while at < length {
            let piece = match content.fill_buf() {
                Ok([]) => return Err(self.unreadable(io::ErrorKind::UnexpectedEof.into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                piece => piece.map_err(|source| self.unreadable(source))?,
            };
            let left = usize::try_from(length - at).unwrap_or(usize::MAX);
            let piece = &piece[..piece.len().min(left)];
            self.write_at(piece, at)?;
            at += piece.len() as u64;
            let written = piece.len();
            content.consume(written);
        }
        Ok(())
    }

    /// Writes a piece of the content, as the member holds it: without the holes of a sparse file.
    ///
    /// # Errors
    ///
    /// [`Error::System`], for what lies beyond the content as well.
    pub fn write_at(&self, piece: &[u8], at: u64) -> Result<()> {
        let Kind::File { size, extents } = &self.member.kind else { return Ok(()) };
        let whole = [Extent { offset: 0, length: *size }];
        let extents = extents.as_deref().unwrap_or(&whole);
        let mut rest = piece;
        // How far into the extent at hand, and those after it, the rest begins.
        let mut skip = at;
        for Extent { offset, length } in extents {
            if rest.is_empty() {
                break;
            }
            let fits = usize::try_from(length.saturating_sub(skip)).unwrap_or(usize::MAX).min(rest.len());
            let (now, after) = rest.split_at(fits);
            if !now.is_empty() {
                self.file.write_all_at(now, offset + skip).map_err(|source| self.failed(source))?;
            }
            rest = after;
            skip = skip.saturating_sub(*length);
        }
        if rest.is_empty() { Ok(()) } else { Err(self.failed(io::ErrorKind::FileTooLarge.into())) }
    }

    /// Gives the file its attributes, once all its content is there.
    pub fn finish(mut self) {
        self.finished = true;
        let Self { unpacker, member, file, stat, .. } = &self;
        let owner = Some((stat.st_uid, stat.st_gid));
        attributes::set(&Object::Open(file.as_fd()), owner, member, unpacker.inherits, unpacker.report);
        unpacker.counted(Outcome::Made);
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Content { path: self.member.path.clone(), source }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::System { path: self.member.path.clone(), action: "write the file", source }
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.unpacker.discard(&self.member, &self.stat);
        }
    }
}
