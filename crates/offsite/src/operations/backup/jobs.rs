//! What the threads of a backup hand to each other.

use crate::archive::member::Member;
use crate::index::Entry;

/// Something to be done by whichever thread is free.
pub(super) enum Job {
    /// Read these, and make members of them that share frames.
    Bundle(Vec<Item>),
    /// Make a frame of these bytes.
    Frame(Vec<u8>),
    /// An entry begins whose places are the frames that follow. Nothing is to be done.
    Open(Box<Entry>),
    /// It ends.
    Close(Closing),
    /// Make the frame that ends the tar.
    End,
}

/// Something that becomes a member of a bundle, already open.
pub(super) struct Item {
    /// Its archive path.
    pub(super) path: Vec<u8>,
    /// Its header, and where its content is.
    pub(super) member: Member,
}

/// What came of a [`Job`].
pub(super) enum Done {
    Bundle(Bundle),
    Frame(Frame),
    Open(Box<Entry>),
    Close(Closing),
    End(Frame),
}

/// What is known of an entry only once its content has been read.
pub(super) struct Closing {
    /// Its content changed meanwhile, or could not be read in full.
    pub(super) torn: bool,
    /// Length of a stream in bytes; None for a file.
    pub(super) stream: Option<u64>,
}

/// A frame.
pub(super) struct Frame {
    /// The frame itself.
    pub(super) bytes: Vec<u8>,
    /// How many bytes it decompresses to.
    pub(super) raw: u64,
}

/// Members that share frames.
#[derive(Default)]
pub(super) struct Bundle {
    /// Their frames.
    pub(super) frames: Vec<Frame>,
    /// Entries without places.
    pub(super) entries: Vec<Entry>,
    /// Where the members lie, in order: those of the first entry, then those of the next.
    pub(super) pieces: Vec<Piece>,
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
