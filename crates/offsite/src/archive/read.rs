//! The members of a pax tar stream, one after the other, in constant memory.
//!
//! It reads what `offsite` writes, which is also what GNU tar writes with `--format=pax`: ustar
//! headers, each with at most one pax header of its own before it, and sparse files in GNU's pax
//! format 1.0. Everything else is an error with its place: a lenient reader is one that another
//! program reads differently.

mod header;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, BufRead, Read};

use crate::archive::limits;
use header::Header;
use pax::Records;

pub use crate::times::Time;

/// The result of reading an archive.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source failed.
    #[error("cannot read the archive: {0}")]
    Source(#[from] io::Error),
    /// The bytes are not those of an archive as it is written here.
    #[error("the archive is damaged at byte {offset}: {fault}")]
    Damaged {
        /// Where, in bytes from the start of the stream.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input ends within a member, or before the two blocks of zeros.
    #[error("it is cut off")]
    CutOff,
    /// The header's sum is not that of its bytes.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// Another format of tar, or none.
    #[error("this is no ustar header")]
    NotUstar,
    /// A kind of member that is not written here.
    #[error("members of type {} are not read", .0.escape_ascii())]
    Type(u8),
    /// Two pax headers in a row, or one with nothing behind it.
    #[error("a pax header without its member")]
    StrayPaxHeader,
    /// A field of the header is not what it must be.
    #[error("the header's {0} is malformed")]
    Field(Field),
    /// The records of a pax header do not fit their lengths.
    #[error("a record of the pax header is malformed")]
    Record,
    /// A record of a kind that is not written here.
    #[error("pax records \"{}\" are not read", .0.escape_ascii())]
    UnknownRecord(Vec<u8>),
    /// A record that stands there twice.
    #[error("the pax record \"{}\" stands there twice", .0.escape_ascii())]
    RepeatedRecord(Vec<u8>),
    /// A record's value is not what it must be.
    #[error("the pax record \"{}\" is malformed", .0.escape_ascii())]
    Value(Vec<u8>),
    /// Something is longer than it may be.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What.
        what: &'static str,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// More of something than there may be.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A number stands there twice, and differs; or content where none can be.
    #[error("two statements of the member's {0} differ")]
    Disagree(Field),
    /// The map of a sparse file is not what it must be.
    #[error("the map of the sparse file is malformed")]
    SparseMap,
    /// Only zeros may stand here.
    #[error("padding that is not zero")]
    Padding,
}

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Field {
    Path,
    LinkTarget,
    Mode,
    Uid,
    Gid,
    Size,
    Mtime,
    Device,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::LinkTarget => "link target",
            Self::Mode => "mode",
            Self::Uid => "owner",
            Self::Gid => "group",
            Self::Size => "size",
            Self::Mtime => "time",
            Self::Device => "device number",
        })
    }
}

/// One member: what is said of it, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path as it stands there, but without the slash that ends a folder's, and empty for the
    /// folder `./`, in which everything else lies. Nothing else is checked but its length and that
    /// it holds no NUL: whoever uses it as a path must.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with the bits for setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it was changed last.
    pub mtime: Time,
    /// Extended attributes in the order that they stand there, each name once.
    pub xattrs: Vec<Xattr>,
    /// Access ACL as text; None where there is none beside the mode.
    pub access_acl: Option<Vec<u8>>,
    /// A folder's default ACL as text.
    pub default_acl: Option<Vec<u8>>,
    /// Where it begins in the stream, in bytes.
    pub offset: u64,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its size, in bytes.
        size: u64,
        /// Where a sparse file's data lie: in order, apart from each other and within `size`. The
        /// content holds these bytes only, one extent after the other.
        extents: Option<Vec<Extent>>,
    },
    /// Another name of a file that stands before it.
    HardLink {
        /// The path of that file's member.
        target: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to.
        target: Vec<u8>,
    },
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice {
        /// The driver.
        major: u32,
        /// Its device.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The driver.
        major: u32,
        /// Its device.
        minor: u32,
    },
}

impl Kind {
    /// Length of the content, in bytes.
    #[must_use]
    pub fn content(&self) -> u64 {
        match self {
            Self::File { extents: Some(extents), .. } => extents.iter().map(|extent| extent.length).sum(),
            Self::File { size, extents: None } => *size,
            _ => 0,
        }
    }
}

/// A piece of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its name, with the namespace; no NUL.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Where a stream may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// After two blocks of zeros: a whole archive.
    Zeros,
    /// After any member: a frame or a row of them.
    AnyMember,
}

/// Reads members. [`Reader::next_member`] gives what is said of one; its content is then read from
/// the reader, as [`Read`], as far as is wanted.
///
/// It reads small pieces: a source that is not in memory wants a buffer.
pub struct Reader<R> {
    source: R,
    ending: Ending,
    /// Bytes read from the source.
    position: u64,
    /// Bytes of the member's content that are not read yet.
    content: u64,
    /// Bytes of zeros after that, up to the next block.
    padding: usize,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads from `source`, which may end where `ending` says.
    pub fn new(source: R, ending: Ending) -> Self {
        Self { source, ending, position: 0, content: 0, padding: 0, ended: false }
    }

    /// The next member, or None at the end. What is left of the last one's content is skipped.
    /// After an error there is nothing more to be had.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where the bytes are not those of a member, [`Error::Source`].
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let offset = self.position;
        let Some(block) = self.first_block()? else { return Ok(None) };
        let mut header = Header::parse(&block).map_err(damaged(offset))?;
        let records = match header.kind {
            b'x' => {
                let records = self.records(&header)?;
                let at = self.position;
                header = Header::parse(&self.block()?).map_err(damaged(at))?;
                if header.kind == b'x' {
                    return Err(damaged(at)(Fault::StrayPaxHeader));
                }
                records
            }
            _ => Records::default(),
        };
        self.member(&header, records, offset).map(Some)
    }

    /// How many bytes of the source have been read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Joins header, records and, for a sparse file, the map that begins its content.
    fn member(&mut self, header: &Header, records: Records, offset: u64) -> Result<Member> {
        let damaged = damaged(self.position - limits::BLOCK as u64);
        let size = header.size(records.size).map_err(&damaged)?;
        let kind = header.kind(&records, size).map_err(&damaged)?;
        let path = header.path(&records).map_err(&damaged)?;
        let uid = header.uid(records.uid).map_err(&damaged)?;
        let gid = header.gid(records.gid).map_err(&damaged)?;
        let mtime = header.mtime(records.mtime).map_err(&damaged)?;
        self.content = size;
        self.padding = padding(size);
        let kind = match records.sparse {
            None => kind,
            Some(sparse) => {
                let extents = sparse::read_map(self, sparse.size, size)?;
                Kind::File { size: sparse.size, extents: Some(extents) }
            }
        };
        let Records { xattrs, access_acl, default_acl, .. } = records;
        Ok(Member { path, kind, mode: header.mode, uid, gid, mtime, xattrs, access_acl, default_acl, offset })
    }

    /// The content of a pax header.
    fn records(&mut self, header: &Header) -> Result<Records> {
        let start = self.position;
        let length = usize::try_from(header.own_size()).ok().filter(|length| *length <= limits::PAX_HEADER);
        let too_long = Fault::TooLong { what: "a pax header", limit: limits::PAX_HEADER };
        let length = length.ok_or_else(|| damaged(start)(too_long))?;
        let mut bytes = Vec::new();
        // Memory grows with what is there, not with what is said to be.
        let read = self.source.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        self.position += read as u64;
        if read < length {
            return Err(self.damaged(Fault::CutOff));
        }
        self.zeros(padding(length as u64))?;
        pax::parse(&bytes).map_err(|(at, fault)| damaged(start + at as u64)(fault))
    }

    /// The first block of a member, or None where the stream ends as it may.
    fn first_block(&mut self) -> Result<Option<[u8; limits::BLOCK]>> {
        let mut block = [0; limits::BLOCK];
        let read = self.read_up_to(&mut block)?;
        if read == 0 && self.ending == Ending::AnyMember {
            self.ended = true;
            return Ok(None);
        }
        if read < block.len() {
            return Err(self.damaged(Fault::CutOff));
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        self.zeros(limits::BLOCK)?;
        self.only_zeros()?;
        self.ended = true;
        Ok(None)
    }

    /// What follows the end: nothing but a filling of zeros.
    fn only_zeros(&mut self) -> Result<()> {
        let limit = self.position + limits::TRAILING_ZEROS;
        let mut piece = [0; 4096];
        loop {
            let read = self.read_up_to(&mut piece)?;
            if piece[..read].iter().any(|byte| *byte != 0) || self.position > limit {
                return Err(self.damaged(Fault::Padding));
            }
            if read < piece.len() {
                return Ok(());
            }
        }
    }

    fn block(&mut self) -> Result<[u8; limits::BLOCK]> {
        let mut block = [0; limits::BLOCK];
        if self.read_up_to(&mut block)? < block.len() {
            return Err(self.damaged(Fault::CutOff));
        }
        Ok(block)
    }

    /// Skips what is left of a member.
    fn skip_content(&mut self) -> Result<()> {
        let skipped = io::copy(&mut self.source.by_ref().take(self.content), &mut io::sink())?;
        self.position += skipped;
        self.content -= skipped;
        if self.content > 0 {
            return Err(self.damaged(Fault::CutOff));
        }
        let padding = std::mem::take(&mut self.padding);
        self.zeros(padding)
    }

    /// So many bytes of zeros, at most a block.
    fn zeros(&mut self, count: usize) -> Result<()> {
        let mut block = [0; limits::BLOCK];
        let at = self.position;
        if self.read_up_to(&mut block[..count])? < count {
            return Err(self.damaged(Fault::CutOff));
        }
        if block.iter().any(|byte| *byte != 0) { Err(damaged(at)(Fault::Padding)) } else { Ok(()) }
    }

    /// Fills `buffer` unless the source ends.
    fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    fn damaged(&self, fault: Fault) -> Error {
        damaged(self.position)(fault)
    }
}

/// The content of the member at hand. Where the source ends too early the error holds an [`Error`].
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, self.damaged(Fault::CutOff)));
        }
        self.position += read as u64;
        self.content -= read as u64;
        Ok(read)
    }
}

/// As [`Read`], without a copy.
impl<R: BufRead> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let cut_off = self.damaged(Fault::CutOff);
        let left = usize::try_from(self.content).unwrap_or(usize::MAX);
        let piece = self.source.fill_buf()?;
        if piece.is_empty() && left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut_off));
        }
        Ok(&piece[..piece.len().min(left)])
    }

    fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.position += count as u64;
        self.content -= count as u64;
    }
}

/// Reads a whole archive from memory, content and all, and tells how many members there are: the
/// entry for fuzzing.
///
/// # Errors
///
/// As [`Reader::next_member`].
pub fn read(bytes: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(bytes, Ending::Zeros);
    let mut members = 0;
    while let Some(member) = reader.next_member()? {
        members += 1;
        let read = io::copy(&mut reader, &mut io::sink())?;
        debug_assert_eq!(read, member.kind.content());
    }
    Ok(members)
}

fn damaged(offset: u64) -> impl Fn(Fault) -> Error {
    move |fault| Error::Damaged { offset, fault }
}

/// Bytes from the end of content to the next block.
fn padding(size: u64) -> usize {
    let beyond = size % limits::BLOCK as u64;
    usize::try_from(beyond).map_or(0, |beyond| (limits::BLOCK - beyond) % limits::BLOCK)
}
