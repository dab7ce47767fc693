//! Opened slices that several threads use.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::{Error, Result};
use super::{OpenedSlice, Slices};
use crate::index::PlanError;
use crate::plan::SliceName;

/// Memory for opened slices that are in use, in bytes: 32 MiB, two slices of the usual size. Frames come
/// in the order in which they lie, so one or two are in use while others are being fetched. Large files
/// whose chunks lie in more slices by turns open some of them again.
const IN_USE: u64 = 32 << 20;

/// Memory for each slice that is opened ahead, in bytes: 16 MiB, as the usual size.
const EACH_AHEAD: u64 = 16 << 20;

/// As many slices fit in any case, however large they are.
const FEWEST: usize = 3;

/// So many jobs may have begun since one that has not taken its slice yet, and no fewer than twice the threads.
const JUST_BEGUN: u64 = 16;

/// Most failed slices that are remembered; others fail anew.
const FAILED: usize = 1024;

/// Opens slices once for all that want them, keeps the last ones, and never more than fit.
pub(super) struct Cache<'a, S: Slices> {
    slices: &'a S,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    slots: HashMap<SliceName, Slot>,
    failed: HashMap<SliceName, Arc<crate::Error>>,
    /// Memory of slices that are gone, for others.
    free: Vec<Vec<u8>>,
    /// Sealed size of all slots.
    bytes: u64,
    clock: u64,
    /// The number of the last job that has begun.
    reached: u64,
    /// So many jobs may have begun since one that has not taken its slice yet.
    just_begun: u64,
    stopped: bool,
    /// How many bytes all slots may have, unless they are the fewest.
    memory: u64,
}

struct Slot {
    /// None while it is being opened.
    opened: Option<Arc<OpenedSlice>>,
    size: u64,
    /// When it was used last.
    used: u64,
    /// The number of the job that will want it, where it was opened ahead; 0 once somebody took it.
    wanted_by: u64,
}

impl Slot {
    /// Whether a job will take it that has yet to begin, or has just begun. One that does not take it
    /// after all, since its file is there already, is soon passed.
    fn is_awaited(&self, passed: u64) -> bool {
        self.wanted_by > passed
    }
}

/// A slice in use.
pub(super) struct Held<'c, 'a, S: Slices> {
    cache: &'c Cache<'a, S>,
    opened: Option<Arc<OpenedSlice>>,
}

impl<S: Slices> Deref for Held<'_, '_, S> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.opened.as_deref().map(Deref::deref).unwrap_or_default()
    }
}

impl<S: Slices> Drop for Held<'_, '_, S> {
    fn drop(&mut self) {
        let state = self.cache.lock();
        self.opened = None;
        drop(state);
        self.cache.changed.notify_all();
    }
}

impl<'a, S: Slices> Cache<'a, S> {
    /// For so many threads that take slices.
    pub(super) fn new(slices: &'a S, threads: u64) -> Self {
        let state = State {
            slots: HashMap::new(),
            failed: HashMap::new(),
            free: Vec::new(),
            bytes: 0,
            clock: 0,
            reached: 0,
            just_begun: JUST_BEGUN.max(2 * threads),
            stopped: false,
            memory: IN_USE + slices.at_once() as u64 * EACH_AHEAD,
        };
        Self { slices, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A slice, opened now if it is not at hand. A thread must not hold another meanwhile: it may
    /// have to wait for one that is given back.
    pub(super) fn get(&self, name: SliceName) -> Result<Held<'_, 'a, S>> {
        let mut state = self.lock();
        loop {
            if let Some(source) = state.failed.get(&name) {
                return Err(Error::Slice { name, source: source.clone() });
            }
            state.clock += 1;
            let now = state.clock;
            match state.slots.get_mut(&name) {
                Some(Slot { opened: Some(opened), used, wanted_by, .. }) => {
                    (*used, *wanted_by) = (now, 0);
                    return Ok(Held { cache: self, opened: Some(opened.clone()) });
                }
                Some(Slot { opened: None, .. }) => {}
                None => {
                    let size = self.slices.known(name).ok_or(PlanError::UnknownSlice(name))?.size;
                    if state.make_room(size, 0) {
                        return self.open_in_slot(name, size, 0, state);
                    }
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Opens a slice for which there is room.
    fn open_in_slot(
        &self,
        name: SliceName,
        size: u64,
        wanted_by: u64,
        mut state: MutexGuard<'_, State>,
    ) -> Result<Held<'_, 'a, S>> {
        state.bytes += size;
        let used = state.clock;
        state.slots.insert(name, Slot { opened: None, size, used, wanted_by });
        let memory = state.free.pop().unwrap_or_default();
        drop(state);
        self.open(name, memory)
    }

    fn open(&self, name: SliceName, memory: Vec<u8>) -> Result<Held<'_, 'a, S>> {
        // Where opening panics, nobody must wait for it for ever.
        let slot = Opening { cache: self, name };
        let opened = self.slices.open(name, memory);
        let mut state = self.lock();
        let result = match opened {
            Ok(opened) => {
                let opened = Arc::new(opened);
                if let Some(slot) = state.slots.get_mut(&name) {
                    slot.opened = Some(opened.clone());
                }
                Ok(Held { cache: self, opened: Some(opened) })
            }
            Err(error) => {
                let source = Arc::new(error);
                if state.failed.len() < FAILED {
                    state.failed.insert(name, source.clone());
                }
                Err(Error::Slice { name, source })
            }
        };
        drop(state);
        drop(slot);
        result
    }

    /// Opens a slice ahead of the job that will want it, once no more than a few others are, and there
    /// is room beside those that are wanted before.
    pub(super) fn prefetch(&self, name: SliceName, job: u64) {
        let Some(known) = self.slices.known(name) else { return };
        let mut state = self.lock();
        while !state.stopped && job > state.reached && !state.slots.contains_key(&name) {
            let ahead = state.slots.values().filter(|slot| slot.wanted_by > state.reached).count();
            if ahead < self.slices.at_once() && state.make_room(known.size, job) {
                // Whoever wants it gets the error.
                drop(self.open_in_slot(name, known.size, job, state));
                return;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job has begun. Their numbers start with 1.
    pub(super) fn reach(&self, job: u64) {
        let mut state = self.lock();
        state.reached = state.reached.max(job);
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing is prefetched any more.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a slot away again that stays empty, and tells those who wait for it.
struct Opening<'c, 'a, S: Slices> {
    cache: &'c Cache<'a, S>,
    name: SliceName,
}

impl<S: Slices> Drop for Opening<'_, '_, S> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if state.slots.get(&self.name).is_some_and(|slot| slot.opened.is_none()) {
            state.remove(self.name);
        }
        drop(state);
        self.cache.changed.notify_all();
    }
}

impl State {
    /// Lets go of slices that nobody uses until another fits: those that are not awaited, the longest
    /// unused first, and then those that are awaited last. For a job that is yet to come, none that is
    /// awaited before it; 0 is one that has begun.
    fn make_room(&mut self, size: u64, job: u64) -> bool {
        // Whoever wants the slices of these jobs has taken them.
        let passed = self.reached.saturating_sub(self.just_begun);
        while self.slots.len() >= FEWEST && self.bytes + size > self.memory {
            let unused = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.opened.as_ref().is_some_and(|opened| Arc::strong_count(opened) == 1))
                .filter(|(_, slot)| job == 0 || !slot.is_awaited(passed) || slot.wanted_by > job);
            let rank = |slot: &Slot| match slot.is_awaited(passed) {
                false => (false, slot.used),
                true => (true, u64::MAX - slot.wanted_by),
            };
            let first = unused.min_by_key(|(_, slot)| rank(slot)).map(|(name, _)| *name);
            let Some(name) = first else { return false };
            if let Some(opened) = self.remove(name).and_then(Arc::into_inner)
                && self.free.is_empty()
            {
                self.free.push(opened.into_memory());
            }
        }
        true
    }

    fn remove(&mut self, name: SliceName) -> Option<Arc<OpenedSlice>> {
        let slot = self.slots.remove(&name)?;
        self.bytes -= slot.size;
        slot.opened
    }
}
