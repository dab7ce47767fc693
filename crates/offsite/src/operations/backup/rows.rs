//! What the threads have made goes, in order, into slices, and where it lies into index and plan.

use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;
use crate::index::{self, Entry, Head, Kind, Part, Place, Planner, Row, WriteError, limits};
use crate::names::BackupId;
use crate::operations::backup::jobs::{Bundle, Closing, Done, Frame};
use crate::operations::backup::sealed::write_error;
use crate::plan::{SliceName, Span, Take};
use crate::slices;

/// The result of what also stops where a slice could not be put.
type Result<T> = std::result::Result<T, slices::Error<Error>>;

/// Writes the index of a backup, row by row, and gathers the plan.
pub(super) struct Rows<W> {
    run: BackupId,
    index: index::Writer<W>,
    planner: Planner,
    /// A large file, or a stream, of which more frames may come.
    open: Option<Entry>,
    end: Option<Place>,
}

/// What is left to be done once all slices have been put.
pub(super) struct Finished<W> {
    /// Where the index went.
    pub(super) index: W,
    pub(super) planner: Planner,
    pub(super) end: Option<Place>,
}

impl<W: Write> Rows<W> {
    /// Starts the index. What does not fit into memory goes to files without names in `folder`.
    pub(super) fn new(out: W, head: Head, folder: &Path) -> Result<Self> {
        let run = head.title.backup;
        let index = index::Writer::new(out, head).map_err(index_error)?;
        Ok(Self { run, index, planner: Planner::new(folder), open: None, end: None })
    }

    /// Takes the next result.
    pub(super) fn take(&mut self, done: io::Result<Done>, slices: &mut slices::Writer<'_>) -> Result<()> {
        match done.map_err(|error| slices::Error::Other(Error::Temporary(error)))? {
            Done::Bundle(bundle) => self.bundle(bundle, slices),
            Done::Open(entry) => {
                self.open = Some(*entry);
                Ok(())
            }
            Done::Frame(frame) => {
                let place = self.frame(&frame, slices)?;
                if let Some(open) = &mut self.open {
                    open.places.push(place);
                }
                Ok(())
            }
            Done::Close(closing) => self.close(closing),
            Done::End(frame) => {
                self.end = Some(self.frame(&frame, slices)?);
                Ok(())
            }
        }
    }

    fn frame(&self, frame: &Frame, slices: &mut slices::Writer<'_>) -> Result<Place> {
        let place = slices.frame(&frame.bytes)?;
        let slice = SliceName { backup: self.run, number: place.slice };
        Ok(Place::whole(slice, Span { offset: place.offset, length: place.length }, frame.raw))
    }

    fn bundle(&mut self, bundle: Bundle, slices: &mut slices::Writer<'_>) -> Result<()> {
        let frames: Vec<Place> = bundle.frames.iter().map(|frame| self.frame(frame, slices)).collect::<Result<_>>()?;
        let mut pieces = bundle.pieces.into_iter().peekable();
        for (number, mut entry) in bundle.entries.into_iter().enumerate() {
            while let Some(piece) = pieces.next_if(|piece| piece.entry == number) {
                let piece_of_it = Take { skip: piece.skip, take: piece.take };
                entry.places.push(Place { piece: piece_of_it, ..frames[piece.frame] });
            }
            self.row(Row::Entry(entry))?;
        }
        Ok(())
    }

    /// Writes the row of a large file or a stream, and its parts.
    fn close(&mut self, closing: Closing) -> Result<()> {
        let Some(mut entry) = self.open.take() else { return Ok(()) };
        entry.torn = closing.torn;
        if let Some(size) = closing.stream {
            entry.kind = Kind::Stream { size };
        }
        let rest = entry.places.split_off(entry.places.len().min(limits::PLACES));
        let path = entry.path.clone();
        self.row(Row::Entry(entry))?;
        for (number, places) in (1..).zip(rest.chunks(limits::PLACES)) {
            self.row(Row::Part(Part { path: path.clone(), number, places: places.to_vec() }))?;
        }
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<()> {
        self.index.row(&row).map_err(index_error)?;
        self.planner.row(&row).map_err(|error| slices::Error::Other(Error::Plan(error)))
    }

    /// Ends the index.
    pub(super) fn finish(self) -> Result<Finished<W>> {
        let index = self.index.end(self.end, None).map_err(index_error)?;
        Ok(Finished { index, planner: self.planner, end: self.end })
    }
}

fn index_error(error: WriteError) -> slices::Error<Error> {
    slices::Error::Other(match error {
        WriteError::Io(error) => write_error(error),
        error @ WriteError::Row(_) => Error::Index(error),
    })
}
