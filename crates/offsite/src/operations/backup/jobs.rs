//! What the threads of a backup hand to each other.

use crate::archive::member::Member;
use crate::archive::metadata::Time;
use crate::index::Place;
use crate::state::{ChunkHash, Known};

/// Something to be done by whichever thread is free.
pub(super) enum Job {
    /// Read these, and make members of them that share frames.
    Bundle(Vec<Item>),
    /// Make a frame of these bytes.
    Frame(Vec<u8>),
    /// Make a frame of this chunk, unless it is stored already.
    Chunk(Vec<u8>),
    /// An entry begins whose places are those that follow. Nothing is to be done.
    Open(Box<Known>),
    /// What lies there stays. Nothing is to be done.
    Keep(Vec<Place>),
    /// It ends.
    Close(Closing),
    /// Make the frame that ends the tar.
    End,
    /// The frame that ends the tar stays. Nothing is to be done.
    KeepEnd(Place),
}

/// Something of a bundle.
pub(super) enum Item {
    /// It becomes a member of it.
    New(New),
    /// It stays where the last backup has put it.
    Kept(Known),
    /// The last backup has it, and this one does not.
    Gone(Vec<u8>),
}

/// Something that becomes a member of a bundle, already open.
pub(super) struct New {
    /// Its archive path.
    pub(super) path: Vec<u8>,
    /// Its header, and where its content is.
    pub(super) member: Member,
    /// When it was opened, or earlier.
    pub(super) opened: Time,
}

/// What came of a [`Job`].
pub(super) enum Done {
    Bundle(Bundle),
    /// Of a frame, or of a chunk.
    Frame(Frame),
    /// Of a chunk that is stored already.
    Found(Place),
    Open(Box<Known>),
    Keep(Vec<Place>),
    Close(Closing),
    End(Frame),
    KeepEnd(Place),
}

/// What is known of an entry only once its content has been read.
pub(super) struct Closing {
    /// Its content changed meanwhile, or could not be read in full.
    pub(super) torn: bool,
    /// It may have changed unnoticed.
    pub(super) again: bool,
    /// Length of a stream in bytes; None for a file.
    pub(super) stream: Option<u64>,
}

/// A frame.
pub(super) struct Frame {
    /// The frame itself.
    pub(super) bytes: Vec<u8>,
    /// How many bytes it decompresses to.
    pub(super) raw: u64,
    /// What it is known by, if it is a chunk.
    pub(super) hash: Option<ChunkHash>,
}

/// Members that share frames, and what stands between them in the order of the walk.
#[derive(Default)]
pub(super) struct Bundle {
    /// The frames.
    pub(super) frames: Vec<Frame>,
    /// The entries; those of members are without places.
    pub(super) entries: Vec<Bundled>,
    /// Where the members lie, in order: those of the first entry, then those of the next.
    pub(super) pieces: Vec<Piece>,
}

/// An entry of a bundle.
pub(super) enum Bundled {
    /// It has a member in the bundle.
    New(Known),
    /// It stays where it is.
    Kept(Known),
    /// It is in this backup no more.
    Gone(Vec<u8>),
}

/// A piece of one of a bundle's frames.
pub(super) struct Piece {
    /// Which of the bundle's entries it belongs to.
    pub(super) entry: usize,
    /// Which of the bundle's frames.
    pub(super) frame: usize,
    /// Bytes of its plaintext before the piece.
    pub(super) skip: u64,
    /// Bytes of the piece.
    pub(super) take: u64,
}
