//! What a host keeps of a set between its backups: which receipt was the last, and what lies where. It
//! holds no secret that opens anything, and whoever loses it loses no backup: the next one is a full one.
//!
//! One folder for each store, host and set:
//!
//! - `lock` is locked while a backup runs.
//! - `last` says what the last backup came to, and names the folder with its entries and tables. It is
//!   replaced once all of the next ones are on disk, so that a crash leaves the ones or the others.
//! - A folder named after a run is its journal, while it goes on or where it was interrupted.
//! - `chain` says which receipt comes before the next, and of which nobody knows whether it arrived.
//! - `receipt-<backup>.p7s` is a receipt on its way: after a crash the same bytes are put again, so
//!   that there are never two receipts that follow the same one unknowingly.

mod blocks;
mod entries;
mod journal;
mod last;
mod memory;
mod tables;
mod take_up;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::files;
use crate::hashes::{Hashed, Sha256};
use crate::index::Place;
use crate::names::BackupId;
use crate::receipt::{Link, NoPrevious, Previous, limits};
use journal::{Finished, write_durably};

pub use entries::{Known, Record, read_and_write};
pub use journal::{Interrupted, Journal, PutLog, Unconfirmed};
pub use last::{Begun, Given, KnownIndex, KnownRun, Last, Run};
pub use memory::{Entries, Memory, Recalled};
pub use tables::{ChunkHash, Frame, Tables};

/// The first line of `chain`.
const MAGIC: &str = "offsite-state 1";

/// A set's state, locked.
pub struct State {
    folder: PathBuf,
    /// Which machine this is.
    machine: String,
    previous: Previous,
    unconfirmed: Vec<Link>,
    lock: File,
}

/// A receipt that may not have reached the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its backup.
    pub backup: BackupId,
    /// The object, as it was or would have been put.
    pub bytes: Vec<u8>,
}

impl Pending {
    /// What another receipt says of it.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { backup: self.backup, sha256: Sha256::of(&self.bytes) }
    }
}

impl State {
    /// Opens the state in `folder`, which is made where it is missing. `machine` tells this machine
    /// from every other. With `wait` a backup that is running is waited for.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`], or [`Error::File`] where it cannot be read or written.
    pub fn open(folder: &Path, machine: &str, wait: bool) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(Error::file("make", folder))?;
        let path = folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Error::file("write", &path))?;
        let locked = if wait { lock.lock().map_err(TryLockError::Error) } else { lock.try_lock() };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => Error::InUse(folder.to_path_buf()),
            TryLockError::Error(source) => Error::file("lock", &path)(source),
        })?;
        let (previous, unconfirmed) = read_chain(&folder.join("chain"), machine)?;
        Ok(Self { folder: folder.to_path_buf(), machine: machine.to_owned(), previous, unconfirmed, lock })
    }

    /// Where files without names may be made.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The receipt before the next one.
    #[must_use]
    pub fn previous(&self) -> Previous {
        self.previous
    }

    /// Receipts after that one of which it is not known whether they reached the store, by ascending
    /// id.
    #[must_use]
    pub fn unconfirmed(&self) -> &[Link] {
        &self.unconfirmed
    }

    /// Receipts that were on their way when the process ended, by ascending id.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn pending(&self) -> Result<Vec<Pending>> {
        let failed = Error::file("read", &self.folder);
        let mut pending = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let name = entry.file_name();
            let backup =
                name.to_str().and_then(|name| name.strip_prefix("receipt-")?.strip_suffix(".p7s")?.parse().ok());
            let Some(backup) = backup else { continue };
            let bytes = files::read_at_most(&entry.path(), limits::SIZE)?;
            pending.push(Pending { backup, bytes });
        }
        pending.sort_by_key(|pending| pending.backup);
        Ok(pending)
    }

    /// Keeps a receipt that is about to be put.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn keep(&mut self, pending: &Pending) -> Result<()> {
        write_durably(&self.receipt(pending.backup), &pending.bytes)
    }

    /// A receipt is in the store: the next one follows it.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn confirm(&mut self, receipt: Link) -> Result<()> {
        self.previous = Previous::Receipt(receipt);
        self.unconfirmed.clear();
        self.write_chain()?;
        self.forget(receipt.backup)
    }

    /// Nobody knows whether a receipt is in the store, and it shall not be put again.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn give_up(&mut self, receipt: Link) -> Result<()> {
        self.unconfirmed.retain(|link| link.backup != receipt.backup);
        self.unconfirmed.push(receipt);
        self.unconfirmed.sort_by_key(|link| link.backup);
        // As many as a receipt takes; the oldest are the least likely to matter.
        let surplus = self.unconfirmed.len().saturating_sub(limits::UNCONFIRMED);
        self.unconfirmed.drain(..surplus);
        self.write_chain()?;
        self.forget(receipt.backup)
    }

    /// What is known of the last backup.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn recall(&self) -> Result<Recalled> {
        Recalled::open(&self.folder)
    }

    /// Begins the journal of a run.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn begin(&self, begun: Begun) -> Result<(Journal, PutLog)> {
        Journal::begin(self.folder.join(begun.run.backup.to_string()), begun)
    }

    /// What was written down of a run becomes what is known of the last backup. `chain` are the indexes
    /// that the next can be based on.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn replace(
        &self,
        unconfirmed: Unconfirmed,
        end: Option<Place>,
        runs: Vec<KnownRun>,
        chain: Vec<KnownIndex>,
    ) -> Result<()> {
        let Unconfirmed { folder, begun, finished } = unconfirmed;
        let Finished { entries, frames, chunks, slices, .. } = finished;
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let last = Last { begun, folder: name, end, runs, chain, entries, frames, chunks, slices };
        write_durably(&self.folder.join("last"), &last::to_text(&last))?;
        self.clear(&last.folder);
        Ok(())
    }

    /// The newest run before `now` that did not end, if it came after the last that did; should the clock
    /// have been set back since that one, in any case. Other journals are of no more use, and go.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn interrupted(&self, last: Option<&Last>, now: OffsetDateTime) -> Result<Option<Interrupted>> {
        let ids = self.journals()?.into_iter().filter_map(|name| name.parse::<BackupId>().ok());
        let after = last.map(|last| last.begun.run.backup).filter(|last| last.start() <= now);
        let is_candidate = |id: &BackupId| {
            let is_last = last.is_some_and(|last| last.folder == id.to_string());
            !is_last && id.start() <= now && after.is_none_or(|after| *id > after)
        };
        let newest = ids.filter(is_candidate).max().map(|newest| newest.to_string());
        // Without a last one, what it was may be among them.
        if let Some(last) = last {
            let useless = |name: &String| *name != last.folder && Some(name) != newest.as_ref();
            self.journals()?
                .iter()
                .filter(|name| useless(name))
                .for_each(|name| journal::remove(&self.folder.join(name)));
        }
        Ok(newest.and_then(|newest| Interrupted::open(self.folder.join(newest))))
    }

    /// Adds what a run that did not end has put to what is known of the last backup. `checksums` is the
    /// `slices.sha256` of that run.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn take_up(&self, interrupted: &Interrupted, memory: Option<&Memory>, checksums: Hashed) -> Result<()> {
        take_up::take_up(self, interrupted, memory, checksums)
    }

    /// Removes all journals but one.
    pub fn clear(&self, but: &str) {
        for name in self.journals().unwrap_or_default() {
            if name != but {
                journal::remove(&self.folder.join(name));
            }
        }
    }

    /// The folders in the state's.
    fn journals(&self) -> Result<Vec<String>> {
        let failed = Error::file("read", &self.folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn receipt(&self, backup: BackupId) -> PathBuf {
        self.folder.join(format!("receipt-{backup}.p7s"))
    }

    fn forget(&self, backup: BackupId) -> Result<()> {
        let path = self.receipt(backup);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", &path)(error)),
            _ => files::sync_folder(&path),
        }
    }

    fn write_chain(&self) -> Result<()> {
        let mut text = format!("{MAGIC}\nmachine {}\n", self.machine);
        let previous = match self.previous {
            Previous::Receipt(link) => Some(("previous", link)),
            Previous::None(_) => None,
        };
        let unconfirmed = self.unconfirmed.iter().map(|link| ("unconfirmed", *link));
        for (word, Link { backup, sha256 }) in previous.into_iter().chain(unconfirmed) {
            text.push_str(&format!("{word} {backup} {sha256}\n"));
        }
        text.push_str(&format!("end {}\n", blake3::hash(text.as_bytes())));
        write_durably(&self.folder.join("chain"), text.as_bytes())
    }
}

impl Drop for State {
    /// A command that another thread is starting holds a copy of the handle for a moment, and the
    /// lock with it.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// What comes before the next receipt.
fn read_chain(path: &Path, machine: &str) -> Result<(Previous, Vec<Link>)> {
    let none = |reason| Ok((Previous::None(reason), Vec::new()));
    let text = match files::read_at_most(path, CHAIN) {
        Ok(text) => text,
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return none(NoPrevious::NoState);
        }
        Err(Error::TooLong { .. }) => return none(NoPrevious::UnreadableState),
        Err(error) => return Err(error),
    };
    match parse_chain(&text) {
        None => none(NoPrevious::UnreadableState),
        Some((of, _, _)) if of != machine => none(NoPrevious::OtherMachine),
        Some((_, previous, unconfirmed)) => {
            let previous = previous.map_or(Previous::None(NoPrevious::NoState), Previous::Receipt);
            Ok((previous, unconfirmed))
        }
    }
}

/// Longest `chain`, in bytes.
const CHAIN: usize = 64 << 10;

fn parse_chain(text: &[u8]) -> Option<(&str, Option<Link>, Vec<Link>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (text, hash) = text.strip_suffix('\n')?.rsplit_once("end ")?;
    if hash != blake3::hash(text.as_bytes()).to_hex().as_str() {
        return None;
    }
    let mut lines = text.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let machine = lines.next()?.strip_prefix("machine ")?;
    let (mut previous, mut unconfirmed) = (None, Vec::new());
    for line in lines {
        let (word, link) = line.split_once(' ')?;
        let (backup, sha256) = link.split_once(' ')?;
        let link = Link { backup: backup.parse().ok()?, sha256: sha256.parse().ok()? };
        match word {
            "previous" if previous.is_none() => previous = Some(link),
            "unconfirmed" if unconfirmed.len() < limits::UNCONFIRMED => unconfirmed.push(link),
            _ => return None,
        }
    }
    Some((machine, previous, unconfirmed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(number: u32) -> Pending {
        let backup = format!("20261123T0745{:02}Z-{number:08x}", number % 60).parse().unwrap();
        Pending { backup, bytes: format!("receipt {number}").into_bytes() }
    }

    #[test]
    fn the_chain_goes_on_from_what_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        let mut state = State::open(&folder, "m1", false).unwrap();
        assert_eq!(state.previous(), Previous::None(NoPrevious::NoState));
        let (first, second) = (pending(1), pending(2));
        state.keep(&first).unwrap();
        assert_eq!(state.pending().unwrap(), std::slice::from_ref(&first));
        state.confirm(first.link()).unwrap();
        state.keep(&second).unwrap();
        drop(state);

        let mut state = State::open(&folder, "m1", false).unwrap();
        assert_eq!(state.previous(), Previous::Receipt(first.link()));
        assert_eq!(state.pending().unwrap(), std::slice::from_ref(&second));
        state.give_up(second.link()).unwrap();
        drop(state);

        let mut state = State::open(&folder, "m1", false).unwrap();
        assert_eq!((state.previous(), state.unconfirmed()), (Previous::Receipt(first.link()), &[second.link()][..]));
        assert_eq!(state.pending().unwrap(), []);
        let third = pending(3);
        state.confirm(third.link()).unwrap();
        assert_eq!((state.previous(), state.unconfirmed()), (Previous::Receipt(third.link()), &[][..]));
        drop(state);

        let state = State::open(&folder, "m2", false).unwrap();
        assert_eq!(state.previous(), Previous::None(NoPrevious::OtherMachine));
    }

    #[test]
    fn no_more_are_unconfirmed_than_a_receipt_takes() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path(), "m", false).unwrap();
        for number in 0..100 {
            state.give_up(Link { sha256: Sha256::of(b""), ..pending(number).link() }).unwrap();
        }
        assert_eq!(state.unconfirmed().len(), limits::UNCONFIRMED);
        drop(state);
        let state = State::open(folder.path(), "m", false).unwrap();
        assert_eq!(state.unconfirmed().len(), limits::UNCONFIRMED);
        assert!(state.unconfirmed().is_sorted_by_key(|link| link.backup));
    }

    #[test]
    fn one_backup_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), "m", false).unwrap();
        assert!(matches!(State::open(folder.path(), "m", false), Err(Error::InUse(_))));
        drop(state);
        State::open(folder.path(), "m", true).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_no_chain() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path(), "m", false).unwrap();
        state.confirm(pending(1).link()).unwrap();
        drop(state);
        let path = folder.path().join("chain");
        let good = fs::read_to_string(&path).unwrap();
        let mut cases: Vec<String> = (0..good.len()).map(|length| good[..length].to_owned()).collect();
        assert!(cases.len() > 100);
        let body = good.rsplit_once("end ").unwrap().0;
        let hashed = |text: String| format!("{text}end {}\n", blake3::hash(text.as_bytes()));
        assert_eq!(hashed(body.to_owned()), good);
        cases.push(hashed(body.replace("state 1", "state 2")));
        cases.push(hashed(body.replace("previous", "prevoius")));
        cases.push(hashed(format!("{body}previous x y\n")));
        cases.push(good.replace("-00000001 ", "-00000002 "));
        cases.push("x".repeat(CHAIN + 1));
        for case in cases {
            fs::write(&path, &case).unwrap();
            let state = State::open(folder.path(), "m", false).unwrap();
            assert_eq!(state.previous(), Previous::None(NoPrevious::UnreadableState), "{case:?}");
        }
    }
}
