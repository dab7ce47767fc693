//! A new file that appears under its name complete and durable, or not at all.
//!
//! Version 3 has one word, failure, for a name that is taken, a disk that is full and much else; so
//! after one it is looked at what lies there.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{mem, thread};

use super::remote::{locked, reason};
use super::session::{Fault, Handle, PIECE, Pending, Session, WINDOW};
use super::wire::{CREATE, EXCLUSIVE, Kind, READ, Status, WRITE};
use crate::store::Reason;
use crate::store::pace::Pace;

/// Why there is no new file.
#[derive(Debug)]
pub(super) enum NotMade {
    /// The folder is not there, or no longer: another try may find it or make it.
    NoFolder(Fault),
    /// The connection was lost when the file was about to get its name: it has it, or not.
    InDoubt(Fault),
    /// Another one has the name.
    Taken,
    Because(Reason),
}

impl From<Fault> for NotMade {
    fn from(fault: Fault) -> Self {
        if fault.is(Status::NO_SUCH_FILE) { Self::NoFolder(fault) } else { Self::Because(reason(fault)) }
    }
}

impl NotMade {
    /// A folder was not made, and is not there.
    pub(super) fn no_folder(fault: Fault) -> Self {
        if fault.is(Status::FAILURE) { Self::NoFolder(fault) } else { fault.into() }
    }
}

/// How files are made: what all those of a handle have in common.
pub(super) struct Maker {
    pub(super) pace: Pace,
    /// Temporary files that may be left, because the connection was lost before they were removed.
    left: Mutex<Vec<String>>,
}

impl Maker {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, left: Mutex::default() }
    }

    /// Removes what a lost connection left.
    pub(super) fn tidy(&self, session: &Session) {
        let left = mem::take(&mut *locked(&self.left));
        left.iter().for_each(|path| self.remove(session, path));
    }

    fn remove(&self, session: &Session, temporary: &str) {
        if let Err(Fault::Ended(_)) = session.of_path(Kind::Remove, temporary).done() {
            locked(&self.left).push(temporary.to_owned());
        }
    }

    /// Makes a file of these contents, `name` in `folder`. What has the name already is made durable.
    pub(super) fn create(&self, session: &Session, folder: &str, name: &str, bytes: &[u8]) -> Result<(), NotMade> {
        let temporary = format!("{folder}/{}", temporary());
        let handle = match session.open(&temporary, WRITE | CREATE | EXCLUSIVE) {
            Err(fault @ Fault::Ended(_)) => {
                locked(&self.left).push(temporary);
                return Err(fault.into());
            }
            handle => handle?,
        };
        let made = self.make(session, &handle, &temporary, &format!("{folder}/{name}"), bytes);
        drop(session.close(&handle));
        if !matches!(made, Ok(Named::Renamed)) {
            self.remove(session, &temporary);
        }
        made.map(|_| ())
    }

    fn make(
        &self,
        session: &Session,
        handle: &Handle,
        temporary: &str,
        path: &str,
        bytes: &[u8],
    ) -> Result<Named, NotMade> {
        write(session, handle, bytes, &self.pace)?;
        sync(session, handle).map_err(|fault| NotMade::Because(reason(fault)))?;
        let named = match give_name(session, temporary, path) {
            // Who put it may have been killed before it was durable.
            Err(NotMade::Taken) => {
                return Err(settle(session, path).map_or_else(NotMade::Because, |()| NotMade::Taken));
            }
            named => named?,
        };
        // The name lies in the folder, which cannot be synced. But where a file's names are part of
        // its log, as they are in journaling file systems, to sync it once more brings that to disk.
        match sync(session, handle) {
            Ok(()) => Ok(named),
            Err(fault @ Fault::Ended(_)) => Err(NotMade::InDoubt(fault)),
            Err(fault) => {
                // So the next put starts afresh.
                let _ = session.of_path(Kind::Remove, path).done();
                Err(NotMade::Because(reason(fault)))
            }
        }
    }
}

/// Makes an object durable that somebody else put. Something else in its place is an error.
pub(super) fn settle(session: &Session, path: &str) -> Result<(), Reason> {
    // To open a pipe, a server might wait for ever.
    if session.link_status(path).map_err(reason)?.is_some_and(|there| !there.is_file()) {
        return Err(Reason::NotAnObject);
    }
    if !session.extensions().sync {
        return Ok(());
    }
    let handle = match session.open(path, READ) {
        // It went, or may be put but not read.
        Err(Fault::Refused(_)) => return Ok(()),
        handle => handle.map_err(reason)?,
    };
    let synced = sync(session, &handle).map_err(reason);
    drop(session.close(&handle));
    synced
}

/// No object's name has a leading dot.
fn temporary() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let random = RandomState::new().hash_one(NUMBER.fetch_add(1, Ordering::Relaxed));
    format!(".offsite-{random:016x}.unfinished")
}

/// Writes it all, many pieces at once.
fn write(session: &Session, handle: &Handle, bytes: &[u8], pace: &Pace) -> Result<(), NotMade> {
    let mut under_way = VecDeque::new();
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        if under_way.len() == WINDOW {
            under_way.pop_front().map_or(Ok(()), Pending::done).map_err(not_written)?;
        }
        thread::sleep(pace.delay(piece.len()));
        under_way.push_back(session.write_piece(handle, (number * PIECE) as u64, piece));
    }
    under_way.into_iter().try_for_each(Pending::done).map_err(not_written)
}

/// A write to a file that is open fails where there is no more room, and hardly otherwise.
fn not_written(fault: Fault) -> NotMade {
    let is_failure = fault.is(Status::FAILURE);
    NotMade::Because(match reason(fault) {
        Reason::Io(error) if is_failure => Reason::Full(error),
        reason => reason,
    })
}

fn sync(session: &Session, handle: &Handle) -> Result<(), Fault> {
    if !session.extensions().sync {
        return Ok(());
    }
    match session.sync(handle).done() {
        // Told by the server, yet not for what lies behind it.
        Err(fault) if fault.is(Status::OP_UNSUPPORTED) => Ok(()),
        synced => synced,
    }
}

/// How a file got its name.
enum Named {
    /// As a second one.
    Linked,
    /// In place of the first.
    Renamed,
}

/// Gives a file its name, unless that is taken.
fn give_name(session: &Session, from: &str, to: &str) -> Result<Named, NotMade> {
    if session.extensions().link {
        match session.link(from, to) {
            Ok(()) => return Ok(Named::Linked),
            Err(fault @ Fault::Ended(_)) => return Err(NotMade::InDoubt(fault)),
            Err(fault) if fault.is(Status::NO_SUCH_FILE) => return Err(NotMade::NoFolder(fault)),
            // Perhaps it is taken; perhaps the file system knows no links.
            Err(_) => {}
        }
    }
    rename(session, from, to)
}

/// By the protocol a rename replaces nothing. Not every server keeps to it, so it is looked before;
/// between the look and the rename no other thread of ours comes, but another program may.
fn rename(session: &Session, from: &str, to: &str) -> Result<Named, NotMade> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = locked(&ONE_AT_A_TIME);
    let is_taken = || session.link_status(to).map(|there| there.is_some());
    if is_taken()? {
        return Err(NotMade::Taken);
    }
    match session.rename(from, to) {
        Ok(()) => Ok(Named::Renamed),
        Err(fault @ Fault::Ended(_)) => Err(NotMade::InDoubt(fault)),
        Err(_) if is_taken()? => Err(NotMade::Taken),
        Err(fault) => Err(fault.into()),
    }
}
