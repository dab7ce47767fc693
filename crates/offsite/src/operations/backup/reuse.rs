//! What of the last backup is used again.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::at_once;
use crate::error::Result;
use crate::hashes::Fingerprint;
use crate::index::Place;
use crate::names::{BackupFile, BackupId, HostName, ObjectName, SetName};
use crate::operations::backup::renewal::{Position, Schedule, position};
use crate::plan::SliceName;
use crate::state::{ChunkHash, KnownIndex, Memory, Run};
use crate::store::Put;

/// Says which frames of the last backup stay where they are.
pub(super) struct Reuse<'a> {
    memory: Option<&'a Memory>,
    /// Those before it are made anew; None where all are.
    first_kept: Option<Position>,
    /// Runs whose slices not all of today's recipients can open, ascending.
    closed: Vec<BackupId>,
    /// Slices that the store has lost, ascending.
    lost: Vec<SliceName>,
}

/// The share of a frame that must be live; with less its members are packed again.
const LIVE_SHARE: u64 = 2;

impl<'a> Reuse<'a> {
    /// Nothing is used again.
    pub(super) const NOTHING: Self = Self { memory: None, first_kept: None, closed: Vec::new(), lost: Vec::new() };

    /// What may be of the last backup.
    pub(super) fn new(
        memory: &'a Memory,
        recipients: &[Fingerprint],
        schedule: &Schedule,
        lost: Vec<SliceName>,
    ) -> io::Result<Self> {
        let runs = memory.last.runs.iter().filter(|known| !is_open_to(&known.run, recipients));
        let closed: Vec<BackupId> = runs.map(|known| known.run.backup).collect();
        let open = || {
            let is_open = |run| closed.binary_search(&run).is_err();
            memory
                .tables
                .frames()
                .filter(move |frame| frame.as_ref().map_or(true, |frame| is_open(frame.place.slice.backup)))
        };
        let first_kept = schedule.first_kept(open)?;
        Ok(Self { memory: Some(memory), first_kept, closed, lost })
    }

    /// What is known of the last backup, if any of it is used again.
    pub(super) fn memory(&self) -> Option<&'a Memory> {
        self.memory
    }

    /// Whether a member can stay where it is.
    ///
    /// # Errors
    ///
    /// Those of the state's files.
    pub(super) fn keeps(&self, places: &[Place]) -> io::Result<bool> {
        let mut last: Option<&Place> = None;
        for place in places {
            if !last.is_some_and(|last| last.in_frame_of(place)) && !self.keeps_frame(place)? {
                return Ok(false);
            }
            last = Some(place);
        }
        Ok(true)
    }

    fn keeps_frame(&self, place: &Place) -> io::Result<bool> {
        let Some(memory) = self.memory else { return Ok(false) };
        if !self.may_use(place) {
            return Ok(false);
        }
        let frame = memory.tables.frame(place)?;
        Ok(frame.is_some_and(|frame| frame.live.saturating_mul(LIVE_SHARE) >= frame.place.raw))
    }

    /// Whether the store has the frame, all recipients can open it, and it need not be made anew.
    fn may_use(&self, place: &Place) -> bool {
        self.first_kept.is_some_and(|first| position(place) >= first)
            && self.closed.binary_search(&place.slice.backup).is_err()
            && self.lost.binary_search_by_key(&name(&place.slice), name).is_err()
    }

    /// Where the last backup has a chunk that can be used again.
    ///
    /// # Errors
    ///
    /// Those of the state's files.
    pub(super) fn chunk(&self, hash: &ChunkHash) -> io::Result<Option<Place>> {
        let Some(memory) = self.memory else { return Ok(None) };
        Ok(memory.tables.chunk(hash)?.filter(|place| self.may_use(place)))
    }
}

fn name(slice: &SliceName) -> (BackupId, u32) {
    (slice.backup, slice.number)
}

/// Whether all of these recipients can open what a run has put.
pub(super) fn is_open_to(run: &Run, recipients: &[Fingerprint]) -> bool {
    recipients.iter().all(|recipient| run.recipients.binary_search(recipient).is_ok())
}

/// What a store says of what it should hold.
pub(super) struct Held<'a> {
    pub(super) host: &'a HostName,
    pub(super) set: &'a SetName,
    pub(super) store: &'a dyn Put,
}

impl Held<'_> {
    /// The slices of the last backup that the store does not hold, or of which it does not hold the
    /// checksums; none where it does not say.
    ///
    /// # Errors
    ///
    /// Those of the store, and of the state's files.
    pub(super) fn lost_slices(&self, memory: &Memory) -> Result<Vec<SliceName>> {
        let mut unlisted = Vec::new();
        for known in &memory.last.runs {
            let name = ObjectName::file(self.host, self.set, known.run.backup, BackupFile::Checksums);
            match self.store.holds(&name, known.checksums.size)? {
                Some(true) => {}
                Some(false) => unlisted.push(known.run.backup),
                None => return Ok(Vec::new()),
            }
        }
        let lost = Mutex::new(Vec::new());
        at_once::for_each(self.store.at_once(), memory.tables.slices(), |slice| -> Result<()> {
            let slice = slice.map_err(crate::Error::Temporary)?;
            let SliceName { backup, number } = slice.name;
            let object = ObjectName::slice(self.host, self.set, backup, number);
            if unlisted.contains(&backup) || self.store.holds(&object, slice.size)? == Some(false) {
                lost.lock().unwrap_or_else(PoisonError::into_inner).push(slice.name);
            }
            Ok(())
        })?;
        let mut lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        lost.sort_unstable_by_key(name);
        Ok(lost)
    }

    /// Whether the store holds all objects of some indexes; also where it does not say.
    pub(super) fn indexes(&self, chain: &[KnownIndex]) -> Result<bool> {
        for index in chain {
            for (number, object) in (0..).zip(&index.objects) {
                let name = ObjectName::file(self.host, self.set, index.run.backup, BackupFile::Index(number));
                if self.store.holds(&name, object.size)? == Some(false) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
