//! The plan that follows from an index.

use std::io::{self, BufRead, Write};
use std::path::Path;

use super::order::{Order, PlanError, Rows};
use super::{Merge, Place, Row, limits};
use crate::plan::{Slice, SliceName, Take, Title, Writer};

/// Puts the rows of a backup into the order of its plan (format.md §12.6). Memory does not grow with
/// their number: what does not fit goes to files without names.
pub struct Planner(Rows);

impl Planner {
    /// Keeps what does not fit into memory in files without names in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(Rows::new(folder))
    }

    /// Takes the next row, entries and parts, of the backup.
    ///
    /// # Errors
    ///
    /// [`PlanError::Io`], [`PlanError::Row`].
    pub fn row(&mut self, row: &Row) -> Result<(), PlanError> {
        self.0.row(row, true)
    }

    /// Writes the plan, with the end of the tar at its end. `slices` knows sizes and hashes; it is
    /// asked once where places in one slice follow each other.
    ///
    /// # Errors
    ///
    /// [`PlanError`]; the plan is then not complete.
    pub fn write<W: Write>(
        self,
        title: &Title,
        end: Option<&Place>,
        slices: impl FnMut(SliceName) -> Option<Slice>,
        out: W,
    ) -> Result<W, PlanError> {
        write(&mut self.0.order()?, title, end, slices, out)
    }
}

/// Writes the plan of entries in order; gives back the writer.
pub(crate) fn write<W: Write>(
    order: &mut Order,
    title: &Title,
    end: Option<&Place>,
    slices: impl FnMut(SliceName) -> Option<Slice>,
    out: W,
) -> Result<W, PlanError> {
    let mut steps = Steps { plan: Writer::new(out, title)?, slices, slice: None, step: None };
    while let Some(entry) = order.next()? {
        order.places(&entry, |place| steps.piece(place))?;
    }
    if let Some(end) = end {
        steps.piece(end)?;
    }
    steps.flush()?;
    Ok(steps.plan.end()?)
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
