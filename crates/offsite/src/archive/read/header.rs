//! The ustar header: one block (POSIX.1-2024, pax, "ustar Interchange Format").

use std::ops::Range;

use super::pax::Records;
use super::{Fault, Field, Kind};
use crate::archive::limits;
use crate::paths;
use crate::times::Time;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

/// A header whose checksum is right.
pub(super) struct Header {
    block: [u8; limits::BLOCK],
    pub(super) kind: u8,
    pub(super) mode: u32,
    size: u64,
}

impl Header {
    pub(super) fn parse(block: &[u8; limits::BLOCK]) -> Result<Self, Fault> {
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = block[CHECKSUM].iter().map(|byte| u64::from(*byte)).sum();
        // The sum is taken with spaces in its own place.
        let sum = sum - own + CHECKSUM.len() as u64 * u64::from(b' ');
        if octal(&block[CHECKSUM]) != Some(sum) {
            return Err(Fault::Checksum);
        }
        if &block[MAGIC] != b"ustar\x0000" {
            return Err(Fault::NotUstar);
        }
        let mode = octal(&block[MODE]).and_then(|mode| u32::try_from(mode).ok()).filter(|mode| *mode <= 0o7777);
        let mode = mode.ok_or(Fault::Field(Field::Mode))?;
        let size = octal(&block[SIZE]).ok_or(Fault::Field(Field::Size))?;
        Ok(Self { block: *block, kind: block[TYPE], mode, size })
    }

    /// The size that stands in the header itself.
    pub(super) fn own_size(&self) -> u64 {
        self.size
    }

    /// The size of what follows.
    pub(super) fn size(&self, record: Option<u64>) -> Result<u64, Fault> {
        agree(Field::Size, &self.block[SIZE], record)
    }

    pub(super) fn uid(&self, record: Option<u32>) -> Result<u32, Fault> {
        self.owner(Field::Uid, UID, record)
    }

    pub(super) fn gid(&self, record: Option<u32>) -> Result<u32, Fault> {
        self.owner(Field::Gid, GID, record)
    }

    fn owner(&self, field: Field, range: Range<usize>, record: Option<u32>) -> Result<u32, Fault> {
        let id = agree(field, &self.block[range], record.map(u64::from))?;
        u32::try_from(id).map_err(|_| Fault::Field(field))
    }

    /// The time of the record, which may lie before 1970, or the header's own.
    pub(super) fn mtime(&self, record: Option<Time>) -> Result<Time, Fault> {
        if let Some(time) = record {
            return Ok(time);
        }
        let seconds = octal(&self.block[MTIME]).and_then(|seconds| i64::try_from(seconds).ok());
        Ok(Time { seconds: seconds.ok_or(Fault::Field(Field::Mtime))?, nanoseconds: 0 })
    }

    /// The member's path: of a sparse file the record that holds the true one, else the record for
    /// long ones, else the header's own.
    pub(super) fn path(&self, records: &Records) -> Result<Vec<u8>, Fault> {
        let record = records.sparse.as_ref().map(|sparse| &sparse.path).or(records.path.as_ref());
        let mut path = match record {
            Some(path) => path.clone(),
            None => {
                let mut path = text(&self.block[PREFIX]).ok_or(Fault::Field(Field::Path))?.to_vec();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(text(&self.block[NAME]).ok_or(Fault::Field(Field::Path))?);
                path
            }
        };
        if self.kind == b'5' {
            match path.as_slice() {
                // The folder that everything else lies in (format.md §15.1).
                b"./" => path.clear(),
                [_, .., b'/'] => drop(path.pop()),
                // Empty here, it would be that folder.
                b"" => return Err(Fault::Field(Field::Path)),
                _ => {}
            }
        }
        within_limit(path, "a path")
    }

    pub(super) fn kind(&self, records: &Records, size: u64) -> Result<Kind, Fault> {
        if self.kind != b'0' && size != 0 {
            return Err(if (b'1'..=b'6').contains(&self.kind) {
                Fault::Disagree(Field::Size)
            } else {
                Fault::Type(self.kind)
            });
        }
        if self.kind != b'0' && records.sparse.is_some() {
            return Err(Fault::SparseMap);
        }
        Ok(match self.kind {
            b'0' => Kind::File { size, extents: None },
            b'1' => Kind::HardLink { target: self.target(records)? },
            b'2' => Kind::Symlink { target: self.target(records)? },
            b'3' => Kind::CharacterDevice { major: self.device(MAJOR)?, minor: self.device(MINOR)? },
            b'4' => Kind::BlockDevice { major: self.device(MAJOR)?, minor: self.device(MINOR)? },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(Fault::Type(other)),
        })
    }

    fn target(&self, records: &Records) -> Result<Vec<u8>, Fault> {
        let target = match &records.target {
            Some(target) => target,
            None => text(&self.block[LINK]).ok_or(Fault::Field(Field::LinkTarget))?,
        };
        if target.is_empty() {
            return Err(Fault::Field(Field::LinkTarget));
        }
        within_limit(target.to_vec(), "a link target")
    }

    fn device(&self, range: Range<usize>) -> Result<u32, Fault> {
        let number = octal(&self.block[range]).and_then(|number| u32::try_from(number).ok());
        number.ok_or(Fault::Field(Field::Device))
    }
}

fn within_limit(path: Vec<u8>, what: &'static str) -> Result<Vec<u8>, Fault> {
    let limit = paths::LONGEST;
    if path.len() > limit { Err(Fault::TooLong { what, limit }) } else { Ok(path) }
}

/// A number that stands in the header and, maybe, in a record. Where both are there they must be
/// equal; a number too great for the header stands there as zero.
fn agree(field: Field, bytes: &[u8], record: Option<u64>) -> Result<u64, Fault> {
    let own = octal(bytes).ok_or(Fault::Field(field))?;
    let digits = u32::try_from(bytes.len() - 1).unwrap_or(0);
    match record {
        None => Ok(own),
        Some(number) if number == own => Ok(number),
        Some(number) if own == 0 && number >= 8_u64.pow(digits) => Ok(number),
        Some(_) => Err(Fault::Disagree(field)),
    }
}

/// Octal digits, ended by NULs or spaces.
fn octal(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| matches!(byte, 0 | b' '))?;
    let (digits, rest) = bytes.split_at(end);
    if digits.is_empty() || rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Text up to the end of its field or the first NUL, with nothing but NULs behind it.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    rest.iter().all(|byte| *byte == 0).then_some(text)
}
