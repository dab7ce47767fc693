//! What the threads have made goes, in order, into slices, and where it lies into index and plan.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::index::order::{PLACE, decode, encode};
use crate::index::{self, Head, Kind, Part, Place, Planner, Row, Totals, WriteError, limits};
use crate::names::BackupId;
use crate::operations::backup::chunks::Chunks;
use crate::operations::backup::jobs::{Bundle, Bundled, Closing, Done, Frame};
use crate::operations::backup::sealed::write_error;
use crate::plan::{SliceName, Span, Take};
use crate::slices;
use crate::state::{Journal, Known};

/// The result of what also stops where a slice could not be put.
type Result<T> = std::result::Result<T, slices::Error<Error>>;

/// Takes what the threads have made, in order: frames into slices, entries into the index, the plan and
/// the journal.
pub(super) struct Rows<'a, W> {
    run: BackupId,
    is_delta: bool,
    index: index::Writer<W>,
    planner: Planner,
    journal: Journal,
    chunks: &'a Chunks<'a>,
    totals: Totals,
    /// A large file, or a stream, of which more places may come.
    open: Option<Open>,
    end: Option<Place>,
    /// The slice that takes frames.
    slice: u32,
    folder: PathBuf,
}

/// An entry whose row is written once its content has been read, since only then all is known of it.
struct Open {
    /// With as many places as a row takes.
    known: Known,
    /// Whether it differs from what the last backup says.
    is_new: bool,
    /// The places of its parts, in a file without a name: a large file has one for each MiB.
    more: Option<BufWriter<File>>,
}

impl Open {
    fn push(&mut self, place: Place, folder: &Path) -> io::Result<()> {
        let places = &mut self.known.entry.places;
        if places.len() < limits::PLACES {
            places.push(place);
            return Ok(());
        }
        let more = match &mut self.more {
            Some(more) => more,
            none => none.insert(BufWriter::new(tempfile::tempfile_in(folder)?)),
        };
        more.write_all(&encode(&place))
    }
}

/// What is left to be done once all slices have been put.
pub(super) struct Written<W> {
    /// Where the index went.
    pub(super) index: W,
    pub(super) planner: Planner,
    pub(super) journal: Journal,
    pub(super) end: Option<Place>,
}

impl<'a, W: Write> Rows<'a, W> {
    /// Starts the index. What does not fit into memory goes to files without names in `folder`.
    pub(super) fn new(out: W, head: Head, journal: Journal, chunks: &'a Chunks<'a>, folder: &Path) -> Result<Self> {
        let (run, is_delta) = (head.title.backup, head.base.is_some());
        let index = index::Writer::new(out, head).map_err(index_error)?;
        let (planner, totals) = (Planner::new(folder), Totals::default());
        let folder = folder.to_path_buf();
        Ok(Self { run, is_delta, index, planner, journal, chunks, totals, open: None, end: None, slice: 0, folder })
    }

    /// Takes the next result.
    pub(super) fn take(&mut self, done: io::Result<Done>, slices: &mut slices::Writer<'_>) -> Result<()> {
        match done.map_err(temporary)? {
            Done::Bundle(bundle) => self.bundle(bundle, slices),
            Done::Open(known) => {
                self.open = Some(Open { known: *known, is_new: false, more: None });
                Ok(())
            }
            Done::Frame(frame) => {
                let place = self.frame(&frame, slices)?;
                self.place(place, true)
            }
            Done::Found(place) => self.place(place, true),
            Done::Keep(places) => places.into_iter().try_for_each(|place| self.place(place, false)),
            Done::Close(closing) => self.close(closing),
            Done::End(frame) => {
                self.end = Some(self.frame(&frame, slices)?);
                Ok(())
            }
            Done::KeepEnd(place) => {
                self.end = Some(place);
                Ok(())
            }
        }
    }

    /// One more place of the entry at hand.
    fn place(&mut self, place: Place, is_new: bool) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.is_new |= is_new;
        open.push(place, &self.folder).map_err(temporary)
    }

    /// Puts a frame into a slice, unless it is a chunk that came just before, in another place.
    fn frame(&mut self, frame: &Frame, slices: &mut slices::Writer<'_>) -> Result<Place> {
        if let Some(hash) = &frame.hash
            && let Some(place) = self.chunks.own(hash).map_err(temporary)?
        {
            return Ok(place);
        }
        let slices::Place { slice, offset, length } = slices.frame(&frame.bytes)?;
        if slice != self.slice {
            // What the slices before hold is written down before the store says that it has them.
            self.journal.flush().map_err(temporary)?;
            self.slice = slice;
        }
        let place = Place::whole(SliceName { backup: self.run, number: slice }, Span { offset, length }, frame.raw);
        if let Some(hash) = &frame.hash {
            self.chunks.insert(hash, &place).and_then(|()| self.journal.chunk(&place, hash)).map_err(temporary)?;
        }
        Ok(place)
    }

    fn bundle(&mut self, bundle: Bundle, slices: &mut slices::Writer<'_>) -> Result<()> {
        let frames: Vec<Place> = bundle.frames.iter().map(|frame| self.frame(frame, slices)).collect::<Result<_>>()?;
        let mut pieces = bundle.pieces.into_iter().peekable();
        for (number, entry) in bundle.entries.into_iter().enumerate() {
            match entry {
                Bundled::New(mut known) => {
                    while let Some(piece) = pieces.next_if(|piece| piece.entry == number) {
                        let piece_of_it = Take { skip: piece.skip, take: piece.take };
                        known.entry.places.push(Place { piece: piece_of_it, ..frames[piece.frame] });
                    }
                    self.entry(known, true)?;
                }
                Bundled::Kept(known) => self.entry(known, false)?,
                Bundled::Gone(path) if self.is_delta => self.index.row(&Row::Gone(path)).map_err(index_error)?,
                Bundled::Gone(_) => {}
            }
        }
        Ok(())
    }

    /// Writes the row of a large file or a stream, and its parts.
    fn close(&mut self, closing: Closing) -> Result<()> {
        let Some(Open { mut known, is_new, more }) = self.open.take() else { return Ok(()) };
        let Closing { torn, again, stream } = closing;
        (known.entry.torn, known.again) = (torn, again);
        if let Some(size) = stream {
            known.entry.kind = Kind::Stream { size };
        }
        // That all chunks of a stream are found does not say that they come in the same order.
        let is_new = is_new || torn || stream.is_some();
        let path = known.entry.path.clone();
        self.entry(known, is_new)?;
        let Some(more) = more else { return Ok(()) };
        let mut more = more.into_inner().map_err(|error| temporary(error.into_error()))?;
        more.rewind().map_err(temporary)?;
        let mut more = BufReader::new(more);
        for number in 1.. {
            let places = places(&mut more).map_err(temporary)?;
            if places.is_empty() {
                break;
            }
            let part = Part { path: path.clone(), number, places };
            self.journal.part(&part).map_err(temporary)?;
            self.row(&Row::Part(part), is_new)?;
        }
        Ok(())
    }

    fn entry(&mut self, known: Known, is_new: bool) -> Result<()> {
        self.journal.entry(&known).map_err(temporary)?;
        self.totals.entries += 1;
        self.row(&Row::Entry(known.entry), is_new)
    }

    fn row(&mut self, row: &Row, is_new: bool) -> Result<()> {
        self.totals.bytes += row.places().iter().map(|place| place.piece.take).sum::<u64>();
        if is_new || !self.is_delta {
            self.index.row(row).map_err(index_error)?;
        }
        self.planner.row(row).map_err(|error| slices::Error::Other(Error::Plan(error)))
    }

    /// Ends the index.
    pub(super) fn finish(mut self) -> Result<Written<W>> {
        if let Some(end) = &self.end {
            self.journal.lies(end).map_err(temporary)?;
            self.totals.bytes += end.raw;
        }
        self.journal.flush().map_err(temporary)?;
        let totals = self.is_delta.then_some(self.totals);
        let index = self.index.end(self.end, totals).map_err(index_error)?;
        Ok(Written { index, planner: self.planner, journal: self.journal, end: self.end })
    }
}

/// The next places of a file of them, as many as a row takes.
fn places(from: &mut impl Read) -> io::Result<Vec<Place>> {
    let mut bytes = Vec::new();
    from.take((limits::PLACES * PLACE) as u64).read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(PLACE).map(decode).collect())
}

fn temporary(error: io::Error) -> slices::Error<Error> {
    slices::Error::Other(Error::Temporary(error))
}

fn index_error(error: WriteError) -> slices::Error<Error> {
    slices::Error::Other(match error {
        WriteError::Io(error) => write_error(error),
        error @ WriteError::Row(_) => Error::Index(error),
    })
}
