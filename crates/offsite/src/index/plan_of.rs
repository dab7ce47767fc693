//! The plan that follows from an index.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::Error;
use super::{Entry, Kind, Merge, Place, Row, limits};
use crate::names::BackupId;
use crate::plan::{Slice, SliceName, Span, Take, Title, Writer};
use crate::sort::Sorter;

/// Why no plan follows from an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The index is wrong.
    #[error(transparent)]
    Index(#[from] Error),
    /// A temporary file cannot be used, or the plan not be written.
    #[error("the plan cannot be derived from the index: {0}")]
    Io(#[from] io::Error),
    /// Nothing is known of a slice.
    #[error("the index refers to {0}, of which nothing is known")]
    UnknownSlice(SliceName),
    /// A frame reaches beyond its slice.
    #[error("the index refers to bytes {} to {} of {slice}, which is {size} bytes long", .frame.offset, .frame.offset + .frame.length)]
    Beyond {
        /// The slice.
        slice: SliceName,
        /// The frame.
        frame: Span,
        /// Length of the slice in bytes, sealed.
        size: u64,
    },
    /// Two rows lie in the same bytes, or say other things of a frame.
    #[error("the index contradicts itself about what lies at byte {} of {slice}", .frame.offset)]
    Contradiction {
        /// The slice.
        slice: SliceName,
        /// The frame of the later of the two.
        frame: Span,
    },
    /// A hard link's leader is not there, is no leader, or does not come before the link.
    #[error("the hard link in row {0} of the index does not follow what it links to")]
    Link(u64),
    /// A row comes without the entry that it is a part of, or is gone: no row of a whole backup.
    #[error("row {0} is none of a whole backup")]
    Row(u64),
}

/// Bytes of an encoded place.
const PLACE: usize = 36;
/// Bytes of it that say where in all slices it lies; their order is that of the plan.
const POSITION: usize = 24;
/// Bytes of an entry's first place, of where the others lie, and of how many there are.
const FIRST: usize = PLACE + 16;
/// Bytes of the name of a leader, of whether it is a link to it, its position, its row.
const LINK: usize = 16 + 1 + POSITION + 8;

/// Puts the rows of a backup into the order of its plan (format.md §12.6). Memory does not grow with
/// their number: what does not fit goes to files without names.
pub struct Planner {
    first: Sorter<FIRST>,
    links: Sorter<LINK>,
    more: Spool,
    /// The entry at hand: its first place, where the others begin, how many there are.
    pending: Option<(Place, u64, u64)>,
    rows: u64,
}

impl Planner {
    /// Keeps what does not fit into memory in files without names in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            first: Sorter::new(folder),
            links: Sorter::new(folder),
            more: Spool { folder: folder.to_path_buf(), file: None, places: 0 },
            pending: None,
            rows: 0,
        }
    }

    /// Takes the next row, entries and parts, of the backup.
    ///
    /// # Errors
    ///
    /// [`PlanError::Io`], [`PlanError::Row`].
    pub fn row(&mut self, row: &Row) -> Result<(), PlanError> {
        self.rows += 1;
        let rest = match row {
            Row::Entry(entry) => {
                self.flush()?;
                let Some((first, rest)) = entry.places.split_first() else { return Ok(()) };
                self.pending = Some((*first, self.more.places, 0));
                self.link(entry, first)?;
                rest
            }
            Row::Part(part) => &part.places,
            Row::Gone(_) => return Err(PlanError::Row(self.rows)),
        };
        let Some((_, _, count)) = &mut self.pending else { return Err(PlanError::Row(self.rows)) };
        *count += rest.len() as u64;
        rest.iter().try_for_each(|place| self.more.push(place))?;
        Ok(())
    }

    /// Notes what can be linked to, and links.
    fn link(&mut self, entry: &Entry, first: &Place) -> io::Result<()> {
        let (leader, is_link) = match &entry.kind {
            Kind::HardLink { leader } => (leader, 1),
            _ if entry.links => (&entry.path, 0),
            _ => return Ok(()),
        };
        let mut record = [0; LINK];
        record[..16].copy_from_slice(&hash(leader));
        record[16] = is_link;
        record[17..17 + POSITION].copy_from_slice(&encode(first)[..POSITION]);
        record[17 + POSITION..].copy_from_slice(&self.rows.to_be_bytes());
        self.links.push(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some((first, position, count)) = self.pending.take() else { return Ok(()) };
        let mut record = [0; FIRST];
        record[..PLACE].copy_from_slice(&encode(&first));
        record[PLACE..PLACE + 8].copy_from_slice(&position.to_be_bytes());
        record[PLACE + 8..].copy_from_slice(&count.to_be_bytes());
        self.first.push(record)
    }

    /// Writes the plan, with the end of the tar at its end. `slices` knows sizes and hashes; it is
    /// asked once where places in one slice follow each other.
    ///
    /// # Errors
    ///
    /// [`PlanError`]; the plan is then not complete.
    pub fn write<W: Write>(
        mut self,
        title: &Title,
        end: Option<&Place>,
        slices: impl FnMut(SliceName) -> Option<Slice>,
        out: W,
    ) -> Result<W, PlanError> {
        self.flush()?;
        check_links(self.links)?;
        let more = self.more.end()?;
        let mut steps = Steps { plan: Writer::new(out, title)?, slices, slice: None, step: None };
        let mut sorted = self.first.sorted()?;
        let mut before: Option<Place> = None;
        while let Some(record) = sorted.next()? {
            let first = decode(&record);
            check_apart(before.as_ref(), &first)?;
            before = Some(first);
            steps.piece(&first)?;
            let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| record[at + byte]));
            more.each(number(PLACE), number(PLACE + 8), |place| steps.piece(place))?;
        }
        if let Some(end) = end {
            steps.piece(end)?;
        }
        steps.flush()?;
        Ok(steps.plan.end()?)
    }
}

/// Derives the plan of a backup from its chain of indexes; gives back the writer. As [`Planner`].
///
/// # Errors
///
/// [`PlanError`]; what has been written is then no plan.
pub fn plan_of<R: BufRead, W: Write>(
    mut index: Merge<R>,
    slices: impl FnMut(SliceName) -> Option<Slice>,
    folder: &Path,
    out: W,
) -> Result<W, PlanError> {
    let mut planner = Planner::new(folder);
    while let Some(row) = index.next_row()? {
        planner.row(&row)?;
    }
    let end = index.end().and_then(|(_, end)| end);
    planner.write(index.title(), end.as_ref(), slices, out)
}

/// Requires each link to come after its leader.
fn check_links<const N: usize>(links: Sorter<N>) -> Result<(), PlanError> {
    let mut sorted = links.sorted()?;
    let mut leader = None;
    while let Some(record) = sorted.next()? {
        let (name, rest) = record.split_at(16);
        let (is_link, rest) = rest.split_at(1);
        let (position, row) = rest.split_at(POSITION);
        if is_link == [0] {
            leader = Some(record);
            continue;
        }
        let follows = leader.is_some_and(|leader| leader.starts_with(name) && leader[17..17 + POSITION] < *position);
        if !follows {
            let row = row.try_into().map_or(0, u64::from_be_bytes);
            return Err(PlanError::Link(row));
        }
    }
    Ok(())
}

/// Requires a first place to lie behind the one before it, in the same frame or a later one.
fn check_apart(before: Option<&Place>, place: &Place) -> Result<(), PlanError> {
    let Some(before) = before.filter(|before| before.slice == place.slice) else { return Ok(()) };
    let apart = if place.in_frame_of(before) {
        place.piece.skip >= before.piece.skip + before.piece.take
    } else {
        place.frame.offset >= before.frame.offset + before.frame.length
    };
    let Place { slice, frame, .. } = *place;
    if apart { Ok(()) } else { Err(PlanError::Contradiction { slice, frame }) }
}

/// Joins pieces to steps.
struct Steps<W, F> {
    plan: Writer<W>,
    slices: F,
    /// The slice at hand.
    slice: Option<Slice>,
    /// The last piece of the step at hand, and what the step takes so far.
    step: Option<(Place, Vec<Take>)>,
}

impl<W: Write, F: FnMut(SliceName) -> Option<Slice>> Steps<W, F> {
    fn piece(&mut self, place: &Place) -> Result<(), PlanError> {
        let Take { skip, take } = place.piece;
        if let Some((last, takes)) = &mut self.step
            && place.in_frame_of(last)
            && let Some(gap) = skip.checked_sub(last.piece.skip + last.piece.take)
            && (gap == 0 || takes.len() < limits::TAKES)
        {
            match takes.last_mut() {
                Some(last) if gap == 0 => last.take += take,
                _ => takes.push(Take { skip: gap, take }),
            }
            last.piece = place.piece;
            return Ok(());
        }
        self.flush()?;
        if self.slice.is_none_or(|slice| slice.name != place.slice) {
            let slice = (self.slices)(place.slice).ok_or(PlanError::UnknownSlice(place.slice))?;
            self.slice = Some(Slice { name: place.slice, ..slice });
        }
        let size = self.slice.map_or(0, |slice| slice.size);
        if place.frame.offset + place.frame.length > size {
            return Err(PlanError::Beyond { slice: place.slice, frame: place.frame, size });
        }
        self.step = Some((*place, vec![place.piece]));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (Some((place, takes)), Some(slice)) = (self.step.take(), &self.slice) else { return Ok(()) };
        if takes == [Take { skip: 0, take: place.raw }] {
            self.plan.frame(slice, place.frame, place.raw)
        } else {
            self.plan.cut(slice, place.frame, takes)
        }
    }
}

/// Further places of entries, in the order of the rows, in a file.
struct Spool {
    folder: std::path::PathBuf,
    file: Option<BufWriter<File>>,
    places: u64,
}

impl Spool {
    fn push(&mut self, place: &Place) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::with_capacity(64 << 10, tempfile::tempfile_in(&self.folder)?)),
        };
        file.write_all(&encode(place))?;
        self.places += 1;
        Ok(())
    }

    fn end(self) -> io::Result<Spooled> {
        let file = self.file.map(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        Ok(Spooled(file.transpose()?))
    }
}

struct Spooled(Option<File>);

impl Spooled {
    /// Hands `count` places, from the `first` on, to `each`.
    fn each(
        &self,
        mut first: u64,
        mut count: u64,
        mut each: impl FnMut(&Place) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut buffer = [0; 256 * PLACE];
        while count > 0 {
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(256);
            let bytes = &mut buffer[..now * PLACE];
            file.read_exact_at(bytes, first * PLACE as u64)?;
            bytes.chunks_exact(PLACE).try_for_each(|place| each(&decode(place)))?;
            first += now as u64;
            count -= now as u64;
        }
        Ok(())
    }
}

/// A place in bytes, whose order is that of backups, slices, frames, and pieces of frames.
fn encode(place: &Place) -> [u8; PLACE] {
    let Place { slice, frame, raw, piece } = place;
    // All are of an index, whose limits are below 2^32.
    let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let numbers =
        [slice.number, short(frame.offset), short(piece.skip), short(piece.take), short(frame.length), short(*raw)];
    let mut bytes = [0; PLACE];
    bytes[..12].copy_from_slice(&slice.backup.to_bytes());
    for (four, number) in bytes[12..].chunks_exact_mut(4).zip(numbers) {
        four.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

/// The place at the start of [`encode`]'s bytes.
fn decode(bytes: &[u8]) -> Place {
    let backup = BackupId::from_bytes(std::array::from_fn(|byte| bytes[byte]));
    let number = |index: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[12 + 4 * index + byte]));
    let [offset, skip, take, length, raw] = [1, 2, 3, 4, 5].map(|index| u64::from(number(index)));
    let slice = SliceName { backup, number: number(0) };
    Place { slice, frame: Span { offset, length }, raw, piece: Take { skip, take } }
}

/// 128 bits that stand for a path. Who makes two paths collide makes a plan fail, or a link that
/// the archive's reader then refuses.
fn hash(path: &[u8]) -> [u8; 16] {
    let half = |start: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(start);
        hasher.write(path);
        hasher.finish().to_be_bytes()
    };
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&half(0));
    hash[8..].copy_from_slice(&half(1));
    hash
}
