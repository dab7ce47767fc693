//! Writing a plan.

use std::collections::HashMap;
use std::io::{self, Write};

use super::{Slice, SliceName, Span, Step, Take, Title};

/// Writes a plan, step by step in the order of the stream. Frames that follow each other in a slice
/// become one step.
pub struct Writer<W> {
    out: W,
    /// The numbers of the slices named so far.
    slices: HashMap<SliceName, u64>,
    /// The frames of a `whole` step that may still grow.
    whole: Option<(u64, Span)>,
    total: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a plan.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn new(mut out: W, title: &Title) -> io::Result<Self> {
        writeln!(out, "{title}")?;
        Ok(Self { out, slices: HashMap::new(), whole: None, total: 0 })
    }

    /// The stream goes on with the whole of a frame that holds `raw` bytes.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn frame(&mut self, slice: &Slice, frame: Span, raw: u64) -> io::Result<()> {
        let number = self.number_of(slice)?;
        self.total += raw;
        match &mut self.whole {
            Some((last, span)) if *last == number && span.offset + span.length == frame.offset => {
                span.length += frame.length;
                Ok(())
            }
            _ => {
                self.flush()?;
                self.whole = Some((number, frame));
                Ok(())
            }
        }
    }

    /// The stream goes on with parts of a frame.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn cut(&mut self, slice: &Slice, frame: Span, takes: Vec<Take>) -> io::Result<()> {
        let number = self.number_of(slice)?;
        self.flush()?;
        self.total += takes.iter().map(|take| take.take).sum::<u64>();
        writeln!(self.out, "{}", Step::Cut { slice: number, frame, takes })
    }

    /// Ends the plan; gives back the writer.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn end(mut self) -> io::Result<W> {
        self.flush()?;
        writeln!(self.out, "{}", Step::End { total: self.total })?;
        Ok(self.out)
    }

    /// The slice's number in this plan; a slice that is new to it is introduced.
    fn number_of(&mut self, slice: &Slice) -> io::Result<u64> {
        if let Some(number) = self.slices.get(&slice.name) {
            return Ok(*number);
        }
        self.flush()?;
        let number = self.slices.len() as u64;
        self.slices.insert(slice.name, number);
        writeln!(self.out, "{}", Step::Slice { number, slice: *slice })?;
        Ok(number)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.whole.take() {
            Some((slice, frames)) => writeln!(self.out, "{}", Step::Whole { slice, frames }),
            None => Ok(()),
        }
    }
}
