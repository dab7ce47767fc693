//! What must be true of an index, whoever writes or reads it: state that passes over its rows.

use super::error::{Part as P, Problem};
use super::limits;
use super::{END, Entry, Head, Inode, Kind, Part, Place, Row, Tail};
use crate::paths::{self, compare};
use crate::plan::Shape;

/// Size of a tar's blocks, in bytes.
const BLOCK: u64 = 512;

/// Checks the lines of an index, in order.
pub(super) struct Checker {
    full: bool,
    stream: Option<String>,
    /// The row before.
    path: Vec<u8>,
    leaf: Leaf,
    /// What the places of the entry at hand amount to.
    amount: Option<Amount>,
    /// What has been counted.
    seen: Tail,
    any: bool,
}

/// The last entry that is no folder: nothing lies in it.
#[derive(Default)]
pub(super) struct Leaf(Vec<u8>);

impl Leaf {
    /// Passes on to the next entry. What lies in an entry comes next after it, but for what is gone.
    pub(super) fn enter(&mut self, path: &[u8], folder: bool) -> Result<(), Problem> {
        if !self.0.is_empty() && path.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with(b"/")) {
            return Err(Problem::Below);
        }
        self.0.clear();
        self.0.extend_from_slice(if folder { b"" } else { path });
        Ok(())
    }
}

/// The places of an entry, over all its parts.
struct Amount {
    /// What they must hold.
    needs: Needs,
    bytes: u64,
    /// Number of the part at hand, and how many places it has.
    part: u64,
    places: usize,
}

#[derive(Clone, Copy)]
enum Needs {
    /// Exactly so many bytes.
    Exactly(u64),
    /// Whole blocks, at least so many bytes.
    Blocks(u64),
}

/// Checks the first line.
pub(super) fn check_head(head: &Head) -> Result<(), Problem> {
    let own = head.title.backup;
    let in_order = head.runs.is_sorted_by(|one, next| one < next);
    if head.runs.len() > limits::RUNS || !in_order || head.runs.last().is_some_and(|last| *last > own) {
        return Err(Problem::Runs);
    }
    if head.base.is_some_and(|base| base >= own) { Err(Problem::Base) } else { Ok(()) }
}

impl Checker {
    /// For the rows of this index, whose head has been checked.
    pub(super) fn new(head: &Head) -> Self {
        let stream = match &head.title.shape {
            Shape::Tar => None,
            Shape::Stream(name) => Some(name.to_string()),
        };
        Self {
            full: head.base.is_none(),
            stream,
            path: Vec::new(),
            leaf: Leaf::default(),
            amount: None,
            seen: Tail::default(),
            any: false,
        }
    }

    /// What the rows so far amount to, as if they were all.
    pub(super) fn seen(&self) -> &Tail {
        &self.seen
    }

    /// Ends the entry at hand. Comes before each line but a part; what is wrong is wrong with the
    /// line before.
    pub(super) fn close(&mut self) -> Result<(), Problem> {
        let Some(Amount { needs, bytes, .. }) = self.amount.take() else { return Ok(()) };
        let fits = match needs {
            Needs::Exactly(needed) => bytes == needed,
            Needs::Blocks(needed) => bytes >= needed && bytes.is_multiple_of(BLOCK),
        };
        self.seen.totals.bytes += bytes;
        if !fits || self.seen.totals.bytes > limits::TOTAL {
            return Err(Problem::Amount(bytes));
        }
        Ok(())
    }

    /// Checks the next row.
    pub(super) fn row(&mut self, row: &Row) -> Result<(), Problem> {
        match row {
            Row::Entry(entry) => {
                self.path(&entry.path, Some(entry.kind == Kind::Folder))?;
                let needs = self.entry(entry)?;
                self.seen.entries += 1;
                self.seen.totals.entries += 1;
                let mut amount = Amount { needs, bytes: 0, part: 0, places: 0 };
                amount.add(&entry.places)?;
                if entry.places.is_empty() && !matches!(needs, Needs::Exactly(0)) {
                    return Err(Problem::Places(0));
                }
                self.amount = Some(amount);
                Ok(())
            }
            Row::Part(part) => {
                self.seen.parts += 1;
                self.part(part)
            }
            Row::Gone(path) => {
                if self.full {
                    return Err(Problem::GoneInFull);
                }
                if self.stream.is_some() {
                    return Err(Problem::Stream);
                }
                self.seen.gone += 1;
                self.path(path, None)
            }
        }
    }

    /// `folder`: whether it is one, where it is there at all.
    fn path(&mut self, path: &[u8], folder: Option<bool>) -> Result<(), Problem> {
        paths::check(path).map_err(Problem::Path)?;
        if self.any && compare(&self.path, path).is_ge() {
            return Err(Problem::Order);
        }
        if let Some(folder) = folder {
            self.leaf.enter(path, folder)?;
        }
        self.path.clear();
        self.path.extend_from_slice(path);
        self.any = true;
        Ok(())
    }

    fn entry(&self, entry: &Entry) -> Result<Needs, Problem> {
        let Entry { path, kind, inode, links, torn, .. } = entry;
        let wrong = |part, wrong: bool| if wrong { Err(Problem::Part(part)) } else { Ok(()) };
        if let Some(name) = &self.stream {
            if path != name.as_bytes() || !matches!(kind, Kind::Stream { .. }) {
                return Err(Problem::Stream);
            }
            wrong(P::Kind, *inode != Inode::default())?;
        }
        wrong(P::Kind, path.is_empty() && *kind != Kind::Folder)?;
        wrong(P::Mode, inode.mode > 0o7777)?;
        wrong(P::Time, inode.mtime.nanoseconds >= 1_000_000_000)?;
        wrong(P::Links, *links && matches!(kind, Kind::Folder | Kind::HardLink { .. } | Kind::Stream { .. }))?;
        wrong(P::Torn, *torn && !matches!(kind, Kind::File { .. }))?;
        let content = match kind {
            Kind::File { size, sparse } => {
                wrong(P::Size, *size > limits::FILE_SIZE || sparse.is_some_and(|stored| stored > *size))?;
                sparse.unwrap_or(*size)
            }
            Kind::Symlink { target } => {
                wrong(P::Target, target.is_empty() || target.len() > paths::LONGEST || target.contains(&0))?;
                0
            }
            Kind::HardLink { leader } => {
                let is_path = paths::check_inner(leader).is_ok();
                wrong(P::Leader, !is_path || compare(leader, path).is_ge())?;
                0
            }
            Kind::Stream { size } => {
                wrong(P::Size, *size > limits::TOTAL)?;
                return if self.stream.is_some() { Ok(Needs::Exactly(*size)) } else { Err(Problem::Part(P::Kind)) };
            }
            Kind::Folder | Kind::Fifo | Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } => 0,
        };
        // A header, the content, zeros up to a multiple of a block. The largest file fits 64 bits.
        Ok(Needs::Blocks(BLOCK + content.next_multiple_of(BLOCK)))
    }

    fn part(&mut self, part: &Part) -> Result<(), Problem> {
        let amount = self.amount.as_mut().filter(|amount| {
            part.path == self.path && part.number == amount.part + 1 && amount.places == limits::PLACES
        });
        let amount = amount.ok_or(Problem::PartOrder)?;
        if part.places.is_empty() {
            return Err(Problem::Places(0));
        }
        amount.part += 1;
        amount.add(&part.places)
    }

    /// Checks the last line, after [`close`](Self::close).
    pub(super) fn end(&mut self, tail: &Tail) -> Result<(), Problem> {
        let end_fits = match &tail.end {
            Some(end) => self.stream.is_none() && end.is_whole() && end.raw == END && check_place(end).is_ok(),
            None => self.stream.is_some(),
        };
        if !end_fits {
            return Err(Problem::EndPlace);
        }
        if self.stream.is_some() && self.full && self.seen.entries != 1 {
            return Err(Problem::Stream);
        }
        self.seen.end = tail.end;
        self.seen.totals.bytes += tail.end.map_or(0, |end| end.raw);
        let seen = &self.seen;
        let counted = (seen.entries, seen.parts, seen.gone) == (tail.entries, tail.parts, tail.gone);
        // What is in a delta is in the backup.
        let within = tail.totals.entries >= seen.totals.entries && tail.totals.bytes >= seen.totals.bytes;
        let possible = tail.totals.entries <= limits::TOTAL && tail.totals.bytes <= limits::TOTAL;
        if counted && within && possible && (!self.full || tail.totals == seen.totals) {
            Ok(())
        } else {
            Err(Problem::Counts)
        }
    }
}

impl Amount {
    fn add(&mut self, places: &[Place]) -> Result<(), Problem> {
        if places.len() > limits::PLACES {
            return Err(Problem::Places(places.len()));
        }
        self.places = places.len();
        for place in places {
            check_place(place)?;
            // Each is below 2^25, and there are at most 2^53 bytes in all.
            self.bytes += place.piece.take;
            if self.bytes > limits::TOTAL {
                return Err(Problem::Amount(self.bytes));
            }
        }
        Ok(())
    }
}

fn check_place(place: &Place) -> Result<(), Problem> {
    let Place { frame, raw, piece, .. } = place;
    let slice = offsite_cms::limits::SLICE_SIZE_MAX as u64;
    let within =
        |offset: u64, length: u64, all: u64| length > 0 && offset.checked_add(length).is_some_and(|end| end <= all);
    let fits = within(frame.offset, frame.length, slice) && *raw <= limits::RAW && within(piece.skip, piece.take, *raw);
    if fits { Ok(()) } else { Err(Problem::Place) }
}
