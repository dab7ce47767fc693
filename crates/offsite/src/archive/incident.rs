//! What happens to single entries while a tree is packed. None of it stops the work.

use std::io;

use rustix::io::Errno;

/// Something that happened to an entry.
#[derive(Debug)]
pub struct Incident {
    /// The entry's archive path.
    pub path: Vec<u8>,
    /// What happened.
    pub what: What,
}

/// What happened to an entry.
#[derive(Debug)]
#[non_exhaustive]
pub enum What {
    /// It could not be read, or not all of it; what could not is missing from the archive, or
    /// zeros stand in its place.
    Unreadable {
        /// What was tried: a verb.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// One of its extended attributes could not be read; it is stored without.
    AttributeUnreadable {
        /// The attribute.
        name: Vec<u8>,
        /// Why it failed.
        source: io::Error,
    },
    /// It was listed, and gone when it was its turn. Left out.
    Vanished,
    /// It was listed as something of another kind than it is now. Left out.
    Replaced,
    /// It is a socket, which no archive can hold. Left out.
    Socket,
    /// A path that was given is a symbolic link: the link is stored, not what it leads to.
    RootIsLink,
    /// It grew while it was read. What came after its first end is left out.
    Grew,
    /// It shrank while it was read. Zeros stand for what is missing.
    Shrank,
    /// It changed while it was read: its content may be of no single moment.
    Changed,
}

impl Incident {
    /// Joins an entry with what happened to it.
    #[must_use]
    pub fn new(path: &[u8], what: What) -> Self {
        Self { path: path.to_vec(), what }
    }

    /// Sorts an error met at an entry that was there a moment ago.
    #[must_use]
    pub fn of_error(path: &[u8], action: &'static str, error: Errno) -> Self {
        let what = match error {
            Errno::NOENT => What::Vanished,
            // What O_NOFOLLOW and O_DIRECTORY meet, readlink of no link, and open of a socket.
            Errno::LOOP | Errno::NOTDIR | Errno::INVAL | Errno::NXIO => What::Replaced,
            _ => What::Unreadable { action, source: error.into() },
        };
        Self::new(path, what)
    }

    /// Whether something is missing from the archive that should be in it: the backup is partial.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self.what, What::Unreadable { .. } | What::AttributeUnreadable { .. } | What::Replaced)
    }
}
