//! Entries in order to jobs: what one thread does at a time.

use std::sync::Arc;

use super::Slices;
use super::cache::{Cache, slices_of};
use super::entry::Entry;
use super::error::{Error, Result};
use super::large::Large;
use super::queue::Queue;
use crate::archive::limits;
use crate::archive::read::Member;
use crate::index::Place;
use crate::index::order::{Order, Placed};
use crate::plan::SliceName;

/// A file of more bytes than this is made by several threads, each of which takes some so many.
const PART: u64 = 4 << 20;

/// Most places of a part.
const PLACES: usize = 1024;

/// What one thread does at a time.
pub(super) struct Job<'u> {
    /// Counted from 1, in the order of the stream.
    pub(super) number: u64,
    /// What is decompressed, one after the other.
    pub(super) places: Vec<Place>,
    /// What is done with that.
    pub(super) work: Work<'u>,
}

pub(super) enum Work<'u> {
    /// Members lie in it.
    Members(Vec<Item>),
    /// It is a part of a large member, or of a stream.
    Part(Part<'u>),
    /// It is the end of a tar.
    End,
}

/// A whole member in what a job decompresses.
pub(super) struct Item {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) entry: Entry,
}

/// A part of a large member.
pub(super) struct Part<'u> {
    pub(super) large: Arc<Large<'u>>,
    /// Where it begins in the member.
    pub(super) at: u64,
    /// How long it is.
    pub(super) length: u64,
    /// Whether the member ends with it.
    pub(super) last: bool,
}

/// Makes jobs of the entries of a backup.
pub(super) struct Jobs<'j, 'a, 'u, S: Slices> {
    cache: &'j Cache<'a, S>,
    queue: &'j Queue<Job<'u>>,
    /// Slices by the jobs that will want them.
    wanted: &'j Queue<(SliceName, u64)>,
    number: u64,
    /// The last slice that a job wants.
    slice: Option<SliceName>,
    /// The frame at hand, and the members in it.
    bundle: Option<(Place, Vec<Item>)>,
}

/// Why no more jobs are made.
enum Halt {
    /// Nobody takes them any more.
    Stopped,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<'j, 'a, 'u, S: Slices> Jobs<'j, 'a, 'u, S> {
    pub(super) fn new(cache: &'j Cache<'a, S>, queue: &'j Queue<Job<'u>>, wanted: &'j Queue<(SliceName, u64)>) -> Self {
        Self { cache, queue, wanted, number: 0, slice: None, bundle: None }
    }

    /// Makes jobs of all entries; of a stream, whose file would be `stream`; and of the end of the tar.
    pub(super) fn all(mut self, order: &mut Order, stream: Option<&Member>, end: Option<Place>) -> Result<()> {
        match self.each(order, stream, end) {
            Ok(()) | Err(Halt::Stopped) => Ok(()),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    fn each(&mut self, order: &mut Order, stream: Option<&Member>, end: Option<Place>) -> Result<(), Halt> {
        while let Some(entry) = order.next()? {
            if entry.more == 0 && stream.is_none() {
                self.piece(&entry)?;
            } else {
                self.flush()?;
                self.large(order, &entry, stream)?;
            }
        }
        self.flush()?;
        end.map_or(Ok(()), |end| self.push(vec![end], Work::End))
    }

    /// An entry that lies in one frame, which others may share.
    fn piece(&mut self, placed: &Placed) -> Result<(), Halt> {
        let place = &placed.first;
        if !self.bundle.as_ref().is_some_and(|(frame, _)| place.in_frame_of(frame)) {
            self.flush()?;
        }
        let whole = Place::whole(place.slice, place.frame, place.raw);
        let (_, items) = self.bundle.get_or_insert_with(|| (whole, Vec::new()));
        items.push(Item { start: place.piece.skip, length: place.piece.take, entry: Entry::of(placed) });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Halt> {
        match self.bundle.take() {
            Some((frame, items)) => self.push(vec![frame], Work::Members(items)),
            None => Ok(()),
        }
    }

    /// An entry of several places: one job if it is small, else many.
    fn large(&mut self, order: &Order, placed: &Placed, stream: Option<&Member>) -> Result<(), Halt> {
        let new = || Arc::new(Large::new(Entry::of(placed), stream.cloned()));
        let mut gathered = Gathered { places: Vec::new(), length: 0, at: 0 };
        let mut large = stream.is_some().then(new);
        let mut left = placed.more + 1;
        order.places(placed, |place| -> Result<(), Halt> {
            gathered.places.push(*place);
            gathered.length += place.piece.take;
            left -= 1;
            // The first part holds all that stands before the content.
            let enough = if large.is_some() { PART } else { limits::HEADER };
            let is_full = gathered.length >= enough || gathered.places.len() == PLACES;
            if is_full && left > 0 {
                let large = large.get_or_insert_with(new).clone();
                self.part(&mut gathered, large, false)?;
            }
            Ok(())
        })?;
        match large {
            Some(large) => self.part(&mut gathered, large, true),
            None => {
                let item = Item { start: 0, length: gathered.length, entry: Entry::of(placed) };
                self.push(gathered.places, Work::Members(vec![item]))
            }
        }
    }

    fn part(&mut self, gathered: &mut Gathered, large: Arc<Large<'u>>, last: bool) -> Result<(), Halt> {
        let length = std::mem::take(&mut gathered.length);
        let part = Part { large, at: gathered.at, length, last };
        gathered.at += length;
        self.push(std::mem::take(&mut gathered.places), Work::Part(part))
    }

    fn push(&mut self, places: Vec<Place>, work: Work<'u>) -> Result<(), Halt> {
        self.number += 1;
        self.cache.want(self.number, &places);
        let slices: Vec<_> = slices_of(&places).collect();
        let weight = places.len() + if let Work::Members(items) = &work { items.len() } else { 0 };
        if !self.queue.push(Job { number: self.number, places, work }, weight) {
            return Err(Halt::Stopped);
        }
        for slice in slices {
            if self.slice.replace(slice) != Some(slice) && !self.wanted.push((slice, self.number), 1) {
                return Err(Halt::Stopped);
            }
        }
        Ok(())
    }
}

/// Places of a large member that are no part yet.
struct Gathered {
    places: Vec<Place>,
    length: u64,
    /// Where they begin in the member.
    at: u64,
}
