//! The index: what a backup holds, and where in which slices it lies (format.md §12). A full one
//! stands alone; a delta says what changed since the backup that it builds on.
//!
//! [`Writer`] and [`Reader`] are inverse to each other: there is one text for an index, and every
//! other is refused. [`Merge`] reads a chain as one, [`History`] as what became of each path, and a
//! [`Planner`] derives from a [`Merge`]'s rows the plan that the backup must have. All of them work in one
//! forward pass and in constant memory.

mod chain;
mod check;
mod error;
mod history;
pub mod limits;
mod merge;
pub(crate) mod order;
pub(crate) mod plan_of;
mod read;
mod scan;
mod text;
mod write;

use crate::names::BackupId;
use crate::plan::{SliceName, Span, Take, Title};

pub use error::{Error, Part as RowPart, Problem};
pub use history::{History, Past, Version};
pub use merge::Merge;
pub use order::PlanError;
pub use plan_of::{Planner, plan_of};
pub use read::{Reader, read_and_write};
pub use text::escaped;
pub use write::{WriteError, Writer};

pub use crate::times::Time;

/// Which index this is: its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which backup it is of, and what its stream is.
    pub title: Title,
    /// The backup that a delta builds on; None for a full index.
    pub base: Option<BackupId>,
    /// The backups whose slices the rows refer to, oldest first: all that the index's own rows and
    /// end do, maybe more.
    pub runs: Vec<BackupId>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Something of the backup; in a delta, what is new or has changed.
    Entry(Entry),
    /// More places of the row before.
    Part(Part),
    /// In a delta: this path is no longer in the backup.
    Gone(Vec<u8>),
}

impl Row {
    /// Its path; that of a part is the path it belongs to.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Entry(entry) => &entry.path,
            Self::Part(part) => &part.path,
            Self::Gone(path) => path,
        }
    }

    /// Where its bytes lie.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        match self {
            Self::Entry(entry) => &entry.places,
            Self::Part(part) => &part.places,
            Self::Gone(_) => &[],
        }
    }
}

/// Something of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path: components of any bytes but NUL and '/', joined by '/'. The empty path is that of
    /// the folder that everything else lies in.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What its inode says; all zero for a stream.
    pub inode: Inode,
    /// Whether other rows may be hard links to this one: it is the first of several names.
    pub links: bool,
    /// Whether its content changed while it was read, or could not be read in full.
    pub torn: bool,
    /// Where its member lies, padding included, or the stream's bytes: pieces, in order.
    pub places: Vec<Place>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length in bytes, holes included.
        size: u64,
        /// For one that is stored without its holes: how many bytes of content are stored.
        sparse: Option<u64>,
    },
    /// A directory.
    Folder,
    /// A symbolic link.
    Symlink {
        /// What it says: any bytes but NUL.
        target: Vec<u8>,
    },
    /// Another name of something.
    HardLink {
        /// The path of its first name.
        leader: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// The bytes that were given under a name: the only entry of a backup of that shape.
    Stream {
        /// How many.
        size: u64,
    },
}

/// What an inode says, beside its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inode {
    /// Permissions with setuid, setgid and sticky: 12 bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When the content changed last.
    pub mtime: Time,
}

/// More places of a path that has more than [`limits::PLACES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The path.
    pub path: Vec<u8>,
    /// Which part, counted from 1; the entry itself holds the places before it.
    pub number: u64,
    /// The places.
    pub places: Vec<Place>,
}

/// A piece of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slice.
    pub slice: SliceName,
    /// The frame, in the opened slice.
    pub frame: Span,
    /// How many bytes the frame decompresses to.
    pub raw: u64,
    /// The piece, in what it decompresses to.
    pub piece: Take,
}

impl Place {
    /// All of a frame.
    #[must_use]
    pub const fn whole(slice: SliceName, frame: Span, raw: u64) -> Self {
        Self { slice, frame, raw, piece: Take { skip: 0, take: raw } }
    }

    /// Whether it is all of its frame.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.piece.skip == 0 && self.piece.take == self.raw
    }

    pub(crate) fn in_frame_of(&self, other: &Self) -> bool {
        (self.slice, self.frame, self.raw) == (other.slice, other.frame, other.raw)
    }

    /// Whether it begins where `other` ends, in the same frame.
    fn continues(&self, other: &Self) -> bool {
        self.in_frame_of(other) && self.piece.skip == other.piece.skip + other.piece.take
    }

    /// Whether it is all of the frame that follows the frame of `other` in its slice.
    fn follows(&self, other: &Self) -> bool {
        self.is_whole() && self.slice == other.slice && self.frame.offset == other.frame.offset + other.frame.length
    }
}

/// What a whole backup amounts to, all indexes of its chain together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries, not counting parts.
    pub entries: u64,
    /// Length of its stream in bytes, the end of the tar included.
    pub bytes: u64,
}

/// The last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Entries in this index, not counting parts.
    pub entries: u64,
    /// Parts in this index.
    pub parts: u64,
    /// Paths that are gone in this index.
    pub gone: u64,
    /// What the whole backup amounts to.
    pub totals: Totals,
    /// The frame that ends the tar; None for a stream.
    pub end: Option<Place>,
}

/// Length of the end of a tar, in bytes: two blocks of zeros.
pub const END: u64 = 1024;
