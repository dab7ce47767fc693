//! The plan: a recipe, a line a step, by which stock tools put a backup's stream together from its
//! slices (format.md §11). Written while a backup runs; read back by `drill` and `restore`, which
//! require it to equal what the index says, and by the recovery script.

mod read;
mod write;

use std::fmt;

use crate::names::{BackupId, HostName, NameError, SetName};

pub use read::{Error, Problem, Reader, rewrite};
pub use write::Writer;

/// The first word of a plan, with the version of its format.
const MAGIC: &str = "offsite-plan 1";

/// Longest line, in bytes. The longest there can be cuts every other member of a bundle: 8 MiB of
/// members of 512 bytes make 8,192 pairs of at most 16 characters.
const LINE: u64 = 256 << 10;

/// Most slices that a plan may name: 2^23, which are 128 TiB of the usual size. A reader keeps four
/// bytes of each.
const SLICES: u32 = 1 << 23;

/// Longest slice that a plan may name, in bytes.
const SLICE: u32 = 512 << 20;

const _: () = assert!(SLICE as usize == offsite_cms::limits::SLICE_SIZE_MAX);

/// Which backup a plan is of, and what its stream is: the plan's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// The host that was backed up.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// The backup.
    pub backup: BackupId,
    /// What the stream is.
    pub shape: Shape,
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, set, backup, shape } = self;
        match shape {
            Shape::Tar => write!(f, "{MAGIC} {host}/{set}/{backup} tar"),
            Shape::Stream(name) => write!(f, "{MAGIC} {host}/{set}/{backup} stream {name}"),
        }
    }
}

/// What a backup's stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A tar archive of files.
    Tar,
    /// The bytes that were given under a name.
    Stream(StreamName),
}

/// The name that a stream was given: one component of a path, and so the file that it is restored
/// to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamName(String);

impl std::str::FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "it takes 1 to 255 of A-Z a-z 0-9 . _ -, the first not a dot";
        let error = || NameError { what: "name of a stream", name: text.to_owned(), rule };
        crate::names::is_component(text).then(|| Self(text.to_owned())).ok_or_else(error)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A slice of this or an earlier backup of the set, by its place below the set's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceName {
    /// The backup that put it.
    pub backup: BackupId,
    /// Its number in that backup.
    pub number: u32,
}

impl fmt::Display for SliceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/slice-{:08}.p7m", self.backup, self.number)
    }
}

impl std::str::FromStr for SliceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "it is a backup's id and a number, as in 20261123T074500Z-7f3a9c01/slice-00000000.p7m";
        let parse = || {
            let (backup, file) = text.split_once('/')?;
            let number = file.strip_prefix("slice-")?.strip_suffix(".p7m")?.parse().ok()?;
            let name = Self { backup: backup.parse().ok()?, number };
            // One slice has one name: signs and missing zeros are settled here.
            (name.to_string() == text).then_some(name)
        };
        parse().ok_or_else(|| NameError { what: "name of a slice", name: text.to_owned(), rule })
    }
}

/// A slice as a plan introduces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Where it lies.
    pub name: SliceName,
    /// Its length in bytes, sealed.
    pub size: u64,
    /// SHA-256 of its bytes, sealed.
    pub sha256: [u8; 32],
}

/// Where bytes lie in a slice's plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// How many, at least one.
    pub length: u64,
}

/// A piece of a frame's plaintext, counted from where the piece before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// Bytes to pass over.
    pub skip: u64,
    /// Bytes to take, at least one.
    pub take: u64,
}

/// A line of a plan after its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Slice `number`, counted from 0 in the order of this plan, is this one.
    Slice {
        /// What later steps call it.
        number: u64,
        /// Which it is.
        slice: Slice,
    },
    /// Decompress these frames, and take everything.
    Whole {
        /// The slice, by its number in this plan.
        slice: u64,
        /// Consecutive frames.
        frames: Span,
    },
    /// Decompress one frame, and take parts of it.
    Cut {
        /// The slice, by its number in this plan.
        slice: u64,
        /// The frame.
        frame: Span,
        /// The parts, in order.
        takes: Vec<Take>,
    },
    /// The stream is so many bytes long: the last line.
    End {
        /// Length of the stream in bytes.
        total: u64,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slice { number, slice: Slice { name, size, sha256 } } => {
                write!(f, "slice {number} {name} {size} ")?;
                sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Whole { slice, frames: Span { offset, length } } => write!(f, "whole {slice} {offset} {length}"),
            Self::Cut { slice, frame: Span { offset, length }, takes } => {
                write!(f, "cut {slice} {offset} {length}")?;
                takes.iter().try_for_each(|Take { skip, take }| write!(f, " {skip} {take}"))
            }
            Self::End { total } => write!(f, "end {total}"),
        }
    }
}
