//! What a backup builds on: what the state knows of the last one, and what an interrupted one has put since.

use offsite_cms::Recipients;
use time::{Duration, OffsetDateTime};

use crate::error::{Error, Result};
use crate::events::{Events, Warning, WhyFull};
use crate::hashes::{Fingerprint, Hashed};
use crate::names::{BackupFile, BackupId, ObjectName};
use crate::operations::backup::renewal::Schedule;
use crate::operations::backup::reuse::{Held, Reuse, is_open_to};
use crate::operations::backup::{Backup, checksums_of};
use crate::receipt::Previous;
use crate::state::{Given, KnownIndex, KnownRun, Memory, Recalled, Run, State};
use crate::store::{self, Reason};

/// What a state says is not used any more when the last backup is longer ago than that: it may have been
/// brought back from a backup itself, and what it names be gone.
const OLDEST_STATE: Duration = Duration::days(35);

/// Most indexes that a delta is based on.
const CHAIN: usize = crate::receipt::limits::CHAIN;

/// The fingerprints of recipients, ascending.
pub(super) fn fingerprints(recipients: &Recipients) -> Vec<Fingerprint> {
    let mut all: Vec<_> = recipients.certificates().iter().map(Fingerprint::of).collect();
    all.sort_unstable();
    all
}

/// A backup that is about to begin.
pub(super) struct Beginning<'a> {
    pub(super) what: &'a Backup<'a>,
    pub(super) state: &'a State,
    /// Whom it is sealed to.
    pub(super) recipients: &'a [Fingerprint],
    /// What the set is of.
    pub(super) given: &'a Given,
    pub(super) events: &'a dyn Events,
}

impl Beginning<'_> {
    /// What is known of the last backup, if it can be built on at `now`.
    pub(super) fn recall(&self, now: OffsetDateTime) -> Result<Option<Box<Memory>>> {
        if self.what.full {
            return Ok(None);
        }
        let mut recalled = self.state.recall()?;
        if let Recalled::Damaged = recalled {
            self.full(WhyFull::StateDamaged);
        }
        if self.take_up(&recalled, now)? {
            recalled = self.state.recall()?;
        }
        match recalled {
            Recalled::Memory(memory) if self.can_use(&memory, now)? => Ok(Some(memory)),
            Recalled::Nothing if matches!(self.state.previous(), Previous::Receipt(_)) => {
                self.full(WhyFull::NothingKnown);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn full(&self, why: WhyFull) {
        self.events.warn(Warning::Full(why));
    }

    /// Adds to the state what a run has put that did not end; whether there was one.
    fn take_up(&self, recalled: &Recalled, now: OffsetDateTime) -> Result<bool> {
        let memory = match recalled {
            Recalled::Memory(memory) => Some(memory.as_ref()),
            _ => None,
        };
        let Some(interrupted) = self.state.interrupted(memory.map(|memory| &memory.last), now)? else {
            return Ok(false);
        };
        let begun = &interrupted.begun;
        let age = now - begun.run.backup.start();
        let is_ours = begun.machine == self.what.machine && begun.given == *self.given;
        if interrupted.slices.is_empty() || !is_ours || age.is_negative() || age > self.oldest_state() {
            return Ok(false);
        }
        // What that run could not build on is not built on now.
        let memory = memory.filter(|memory| {
            let known = &memory.last.begun;
            let then = begun.run.backup.start() - known.run.backup.start();
            let is_same = known.machine == begun.machine && known.given == begun.given;
            is_same && !then.is_negative() && then <= self.oldest_state()
        });
        interrupted.sync()?;
        // From here on a receipt can list what the run has put.
        let checksums = checksums_of(&interrupted.slices)?;
        let hashed = Hashed::of(&checksums);
        let backup = begun.run.backup;
        let object = ObjectName::file(self.what.host, self.what.set, backup, BackupFile::Checksums);
        match self.what.store.put(&object, checksums.into()) {
            // The run itself had come so far.
            Err(store::Error { reason: Reason::AlreadyExists, .. })
                if self.what.store.holds(&object, hashed.size)? != Some(false) => {}
            Err(store::Error { reason: Reason::AlreadyExists, .. }) => return Ok(false),
            put => put?,
        }
        self.state.take_up(&interrupted, memory, hashed)?;
        self.events.warn(Warning::TakenUp { backup, slices: interrupted.slices.len() });
        Ok(true)
    }

    fn oldest_state(&self) -> Duration {
        reuse_for(self.what).min(OLDEST_STATE)
    }

    fn can_use(&self, memory: &Memory, now: OffsetDateTime) -> Result<bool> {
        let begun = &memory.last.begun;
        if begun.machine != self.what.machine {
            self.full(WhyFull::OtherMachine);
            return Ok(false);
        }
        if begun.given != *self.given {
            return Err(Error::OtherPaths { set: self.what.set.clone(), then: begun.given.to_string() });
        }
        let last = begun.run.backup.start();
        if now < last {
            self.full(WhyFull::ClockSetBack { last: begun.run.backup });
            return Ok(false);
        }
        if now - last > self.oldest_state() {
            self.full(WhyFull::StateOld { last: begun.run.backup });
            return Ok(false);
        }
        let is_closed = |known: &&KnownRun| !is_open_to(&known.run, self.recipients);
        match memory.last.runs.iter().filter(is_closed).count() {
            0 => Ok(true),
            closed if closed < memory.last.runs.len() => {
                self.events.warn(Warning::NewRecipient);
                Ok(true)
            }
            _ => {
                self.full(WhyFull::NewRecipient);
                Ok(false)
            }
        }
    }

    /// What of the last backup is used again by one that starts now.
    pub(super) fn reuse<'m>(&self, memory: Option<&'m Memory>, backup: BackupId) -> Result<Base<'m>> {
        let Some(memory) = memory else { return Ok(Base { reuse: Reuse::NOTHING, chain: &[] }) };
        let held = Held { host: self.what.host, set: self.what.set, store: self.what.store };
        let lost = held.lost_slices(memory)?;
        if let Some(first) = lost.first() {
            self.events.warn(Warning::SlicesLost { count: lost.len(), first: *first });
        }
        let now = backup.start();
        let since = now - memory.last.begun.run.backup.start();
        let schedule = Schedule { now, since, reuse_for: reuse_for(self.what) };
        let reuse = Reuse::new(memory, self.recipients, &schedule, lost).map_err(Error::Temporary)?;
        let chain = &memory.last.chain;
        let is_usable = |run: &Run| is_open_to(run, self.recipients) && schedule.is_young(run.backup);
        let can_grow = is_short(chain) && chain.iter().all(|index| is_usable(&index.run)) && held.indexes(chain)?;
        Ok(Base { reuse, chain: if can_grow { chain } else { &[] } })
    }
}

/// What a backup builds on.
pub(super) struct Base<'a> {
    pub(super) reuse: Reuse<'a>,
    /// The indexes that its own is a delta to; none where its own is full.
    pub(super) chain: &'a [KnownIndex],
}

pub(super) fn reuse_for(what: &Backup<'_>) -> Duration {
    Duration::seconds(i64::try_from(what.reuse_for).unwrap_or(i64::MAX))
}

/// Whether a chain of indexes may become longer: its deltas are not half as long as the full one.
fn is_short(chain: &[KnownIndex]) -> bool {
    let size = |index: &KnownIndex| index.objects.iter().map(|object| object.size).sum::<u64>();
    let Some((full, deltas)) = chain.split_first() else { return false };
    chain.len() <= CHAIN && deltas.iter().map(size).sum::<u64>() < size(full) / 2
}
