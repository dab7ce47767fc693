//! Writing a plan.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{SLICES, Slice, SliceName, Span, Step, Take, Title};

/// Writes a plan, step by step in the order of the stream. Frames that follow each other in a slice
/// become one step.
pub struct Writer<W> {
    out: W,
    slices: Numbers,
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
        Ok(Self { out, slices: Numbers::default(), whole: None, total: 0 })
    }

    /// The stream goes on with the whole of a frame that holds `raw` bytes.
    ///
    /// # Errors
    ///
    /// Those of `out`; `FileTooLarge` for a slice more than a plan may name.
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
    /// As [`Writer::frame`].
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
        if let Some(number) = self.slices.get(slice.name) {
            return Ok(number.into());
        }
        self.flush()?;
        let number = self.slices.add(slice.name).ok_or(io::ErrorKind::FileTooLarge)?.into();
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

/// The numbers of the slices named so far. Most slices come in the order of their names, so a row
/// of neighbours, of one backup and with neighbouring numbers in the plan, is one entry of some 50
/// bytes. An entry ends where a slice is missing between two, since nothing of it lives, or where
/// a large file had it named earlier.
#[derive(Default)]
struct Numbers {
    /// By the first of each row, which are apart from each other.
    rows: BTreeMap<SliceName, Row>,
    next: u32,
}

struct Row {
    /// At least one.
    slices: u32,
    /// Of the first.
    number: u32,
}

impl Numbers {
    fn get(&self, name: SliceName) -> Option<u32> {
        let (first, row) = self.rows.range(..=name).next_back().filter(|(first, _)| first.backup == name.backup)?;
        let place = name.number - first.number;
        (place < row.slices).then_some(row.number + place)
    }

    /// Numbers a slice that has none; None where no more may be named.
    fn add(&mut self, name: SliceName) -> Option<u32> {
        let number = Some(self.next).filter(|number| *number < SLICES)?;
        self.next += 1;
        match self.rows.range_mut(..name).next_back() {
            Some((first, row))
                if first.backup == name.backup
                    && first.number + row.slices == name.number
                    && row.number + row.slices == number =>
            {
                row.slices += 1;
            }
            _ => drop(self.rows.insert(name, Row { slices: 1, number })),
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn name(backup: u8, number: u32) -> SliceName {
        SliceName { backup: format!("20261123T074500Z-000000{backup:02x}").parse().unwrap(), number }
    }

    #[test]
    fn slices_are_numbered_as_they_come() {
        let mut names: Vec<_> = (0..3).flat_map(|backup| (0..40).map(move |number| name(backup, number))).collect();
        names.push(name(3, u32::MAX));
        names.push(name(3, u32::MAX - 1));
        let mut random: u64 = 1;
        for round in 0..200 {
            let (mut numbers, mut expected) = (Numbers::default(), HashMap::new());
            for _ in 0..300 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let name = names[usize::try_from(random >> 33).unwrap() % names.len()];
                assert_eq!(numbers.get(name), expected.get(&name).copied(), "round {round}");
                if !expected.contains_key(&name) {
                    let number = u32::try_from(expected.len()).unwrap();
                    assert_eq!(numbers.add(name), Some(number));
                    expected.insert(name, number);
                }
            }
            assert!(names.iter().all(|name| numbers.get(*name) == expected.get(name).copied()));
        }
    }

    #[test]
    fn neighbours_take_one_entry() {
        let mut numbers = Numbers::default();
        for (number, name) in (0..1000).map(|number| name(1, number)).enumerate() {
            assert_eq!(numbers.add(name), u32::try_from(number).ok());
        }
        numbers.add(name(2, 1000));
        numbers.add(name(2, 1002));
        numbers.add(name(2, 1001));
        assert_eq!(numbers.rows.len(), 4);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut numbers = Numbers { next: SLICES - 1, ..Numbers::default() };
        assert_eq!(numbers.add(name(1, 7)), Some(SLICES - 1));
        assert_eq!(numbers.add(name(1, 8)), None);
    }
}
