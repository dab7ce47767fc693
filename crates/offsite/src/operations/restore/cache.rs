//! Opened slices that several threads use.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::{Error, Result};
use super::queue::Queue;
use super::{OpenedSlice, Slices};
use crate::index::{Place, PlanError};
use crate::plan::SliceName;

/// Memory for opened slices that are in use, in bytes: 32 MiB, two slices of the usual size. Frames come
/// in the order in which they lie, so one or two are in use while others are being fetched. Large files
/// whose chunks lie in more slices by turns open some of them again.
const IN_USE: u64 = 32 << 20;

/// Memory for each slice that is opened ahead, in bytes: 16 MiB, as the usual size.
const EACH_AHEAD: u64 = 16 << 20;

/// As many slices fit in any case, however large they are.
const FEWEST: usize = 3;

/// Most failed slices that are remembered; others fail anew.
const FAILED: usize = 1024;

/// Opens slices for the jobs that want them, and never more than fit. Jobs are known from when they are
/// queued, so of the slices that nobody uses one is let go that no job wants, or the one that is wanted
/// last: a thread that has fallen behind finds what it came for.
pub(super) struct Cache<'a, S: Slices> {
    slices: &'a S,
    state: Mutex<State>,
    changed: Condvar,
    /// Held by the thread that waits for room ahead of a job.
    turn: Mutex<()>,
}

struct State {
    slots: HashMap<SliceName, Slot>,
    /// By slice the numbers of the jobs that want it, which are queued or under way, in order; never none.
    wanted: HashMap<SliceName, VecDeque<u64>>,
    failed: HashMap<SliceName, Arc<crate::Error>>,
    /// Memory of slices that are gone, for others.
    free: Vec<Vec<u8>>,
    /// Sealed size of all slots.
    bytes: u64,
    clock: u64,
    /// The number of the last job that has begun.
    reached: u64,
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
    /// Whether a job has taken it since it was opened.
    taken: bool,
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
    pub(super) fn new(slices: &'a S) -> Self {
        let state = State {
            slots: HashMap::new(),
            wanted: HashMap::new(),
            failed: HashMap::new(),
            free: Vec::new(),
            bytes: 0,
            clock: 0,
            reached: 0,
            stopped: false,
            memory: IN_USE + slices.at_once() as u64 * EACH_AHEAD,
        };
        Self { slices, state: Mutex::new(state), changed: Condvar::new(), turn: Mutex::new(()) }
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
                Some(Slot { opened: Some(opened), used, taken, .. }) => {
                    (*used, *taken) = (now, true);
                    return Ok(Held { cache: self, opened: Some(opened.clone()) });
                }
                Some(Slot { opened: None, .. }) => {}
                None => {
                    let size = self.slices.known(name).ok_or(PlanError::UnknownSlice(name))?.size;
                    if state.make_room(size, 0) {
                        let memory = state.take_slot(name, size, true);
                        drop(state);
                        return self.open(name, memory);
                    }
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Opens a slice that has its slot.
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

    /// Opens the next slice of a queue ahead of the job that will want it; false once there is none. Of
    /// several threads one at a time waits for room, so that slices get it in the order of the queue.
    pub(super) fn prefetch(&self, queue: &Queue<(SliceName, u64)>) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, job)) = queue.pop() else { return false };
        let memory = self.wait_for_room(name, job);
        drop(turn);
        if let Some(memory) = memory {
            // Whoever wants it gets the error.
            drop(self.open(name, memory));
        }
        true
    }

    /// Takes a slot once no more than a few others are opened ahead, and there is room beside those that are
    /// wanted before. None where that is no use any more.
    fn wait_for_room(&self, name: SliceName, job: u64) -> Option<Vec<u8>> {
        let size = self.slices.known(name)?.size;
        let mut state = self.lock();
        while !state.stopped && job > state.reached && !state.slots.contains_key(&name) {
            let ahead = state.slots.iter().filter(|(name, slot)| !slot.taken && state.next(name) > Some(state.reached));
            let ahead = ahead.count();
            if ahead < self.slices.at_once() && state.make_room(size, job) {
                return Some(state.take_slot(name, size, false));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// A job will be queued that wants these places. Jobs are told in order; their numbers start with 1.
    pub(super) fn want(&self, job: u64, places: &[Place]) {
        let mut state = self.lock();
        for slice in slices_of(places) {
            let jobs = state.wanted.entry(slice).or_default();
            if jobs.back() != Some(&job) {
                jobs.push_back(job);
            }
        }
    }

    /// A job wants these of its places no more, whether it took them or not.
    pub(super) fn done(&self, job: u64, places: &[Place]) {
        let mut state = self.lock();
        let changes = slices_of(places).filter(|slice| state.done(*slice, job)).count();
        drop(state);
        if changes > 0 {
            self.changed.notify_all();
        }
    }

    /// A job has begun.
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

/// The slices of places, each once where its places follow each other.
pub(super) fn slices_of(places: &[Place]) -> impl Iterator<Item = SliceName> {
    places.chunk_by(|one, next| one.slice == next.slice).map(|run| run[0].slice)
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
    /// The first job that wants a slice and is not done; None where none does.
    fn next(&self, name: &SliceName) -> Option<u64> {
        self.wanted.get(name)?.front().copied()
    }

    /// Whether the job wanted the slice until now.
    fn done(&mut self, name: SliceName, job: u64) -> bool {
        let Some(jobs) = self.wanted.get_mut(&name) else { return false };
        // It is among the first.
        let Some(place) = jobs.iter().position(|wanting| *wanting == job) else { return false };
        jobs.remove(place);
        if jobs.is_empty() {
            self.wanted.remove(&name);
        }
        true
    }

    /// A slot for a slice for which there is room, and memory to open it in.
    fn take_slot(&mut self, name: SliceName, size: u64, taken: bool) -> Vec<u8> {
        self.bytes += size;
        self.slots.insert(name, Slot { opened: None, size, used: self.clock, taken });
        self.free.pop().unwrap_or_default()
    }

    /// Lets go of slices that nobody uses until another fits: those that no job wants, the longest
    /// unused first, and then those that are wanted last. For a job that is yet to come, none that is
    /// wanted before it; 0 is one that has begun.
    fn make_room(&mut self, size: u64, job: u64) -> bool {
        while self.slots.len() >= FEWEST && self.bytes + size > self.memory {
            let first = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.opened.as_ref().is_some_and(|opened| Arc::strong_count(opened) == 1))
                .map(|(name, slot)| (self.next(name), slot.used, *name))
                .filter(|(next, ..)| next.is_none_or(|next| next > job))
                .min_by_key(|(next, used, _)| (next.map(Reverse), *used));
            let Some((.., name)) = first else { return false };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::thread;

    use super::*;
    use crate::plan::{Slice, Span};

    const AHEAD: usize = 4;

    /// Slices of the usual size, and how often each was opened.
    struct Counted(Mutex<HashMap<u32, usize>>);

    impl Slices for Counted {
        fn known(&self, name: SliceName) -> Option<Slice> {
            Some(Slice { name, size: 16 << 20, sha256: [0; 32] })
        }

        fn open(&self, name: SliceName, _: Vec<u8>) -> crate::Result<OpenedSlice> {
            *self.0.lock().unwrap().entry(name.number).or_default() += 1;
            Ok(vec![0].into())
        }

        fn at_once(&self) -> usize {
            AHEAD
        }
    }

    fn place(number: u32) -> Place {
        let slice = SliceName { backup: "20261123T074500Z-7f3a9c01".parse().unwrap(), number };
        Place::whole(slice, Span { offset: 0, length: 1 }, 1)
    }

    /// Does jobs, numbered from 1, while others open ahead, and so many of the first after all others; how often each
    /// slice was opened.
    fn opened(jobs: &[Vec<Place>], late: usize) -> HashMap<u32, usize> {
        let slices = Counted(Mutex::default());
        let cache = Cache::new(&slices);
        let queue = Queue::new(usize::MAX);
        for (job, places) in (1..).zip(jobs) {
            cache.want(job, places);
            slices_of(places).for_each(|slice| assert!(queue.push((slice, job), 1)));
        }
        queue.end();
        let work = |(job, places): (u64, &Vec<Place>)| {
            for place in places {
                drop(cache.get(place.slice).unwrap());
                cache.done(job, &[*place]);
            }
        };
        thread::scope(|scope| {
            (0..AHEAD).for_each(|_| drop(scope.spawn(|| while cache.prefetch(&queue) {})));
            for job in (1..).zip(jobs).skip(late) {
                cache.reach(job.0);
                work(job);
            }
            (1..).zip(jobs).take(late).for_each(work);
        });
        slices.0.into_inner().unwrap()
    }

    #[test]
    fn a_thread_that_fell_behind_finds_its_slice() {
        let four_a_slice: Vec<_> = (0..40).flat_map(|number| vec![vec![place(number)]; 4]).collect();
        assert_eq!(opened(&four_a_slice, 1), (0..40).map(|number| (number, 1)).collect());
    }

    /// What a job has taken is let go before what the next one will take.
    #[test]
    fn jobs_of_many_slices_get_each_once() {
        let nine_slices: Vec<_> = (0..20).map(|job| (0..9).map(|number| place(9 * job + number)).collect()).collect();
        assert_eq!(opened(&nine_slices, 0), (0..180).map(|number| (number, 1)).collect());
    }
}
