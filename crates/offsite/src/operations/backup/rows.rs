//! What the threads have made goes, in order, into slices, and where it lies into index and plan.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::index::order::{PLACE, decode, encode};
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
    open: Option<Open>,
    end: Option<Place>,
    folder: PathBuf,
}

/// An entry whose row is written once its content has been read, since only then all is known of it.
struct Open {
    /// With as many places as a row takes.
    entry: Entry,
    /// Those of its parts, in a file without a name: a large file has one for each MiB.
    more: Option<BufWriter<File>>,
}

impl Open {
    fn push(&mut self, place: Place, folder: &Path) -> io::Result<()> {
        if self.entry.places.len() < limits::PLACES {
            self.entry.places.push(place);
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
        Ok(Self { run, index, planner: Planner::new(folder), open: None, end: None, folder: folder.to_path_buf() })
    }

    /// Takes the next result.
    pub(super) fn take(&mut self, done: io::Result<Done>, slices: &mut slices::Writer<'_>) -> Result<()> {
        match done.map_err(temporary)? {
            Done::Bundle(bundle) => self.bundle(bundle, slices),
            Done::Open(entry) => {
                self.open = Some(Open { entry: *entry, more: None });
                Ok(())
            }
            Done::Frame(frame) => {
                let place = self.frame(&frame, slices)?;
                match &mut self.open {
                    Some(open) => open.push(place, &self.folder).map_err(temporary),
                    None => Ok(()),
                }
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
        let Some(Open { mut entry, more }) = self.open.take() else { return Ok(()) };
        entry.torn = closing.torn;
        if let Some(size) = closing.stream {
            entry.kind = Kind::Stream { size };
        }
        let path = entry.path.clone();
        self.row(Row::Entry(entry))?;
        let Some(more) = more else { return Ok(()) };
        let mut more = more.into_inner().map_err(|error| temporary(error.into_error()))?;
        more.rewind().map_err(temporary)?;
        let mut more = BufReader::new(more);
        for number in 1.. {
            let places = places(&mut more).map_err(temporary)?;
            if places.is_empty() {
                break;
            }
            self.row(Row::Part(Part { path: path.clone(), number, places }))?;
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
