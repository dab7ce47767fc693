//! Reading a chain of indexes as one.

use std::io::BufRead;

use super::check::Leaf;
use super::error::{Error, Problem};
use super::{Kind, Place, Reader, Row, Totals, limits};
use crate::paths::compare;
use crate::plan::Title;

/// Reads a full index and the deltas on it as one index: the rows of the newest backup, in order,
/// in one forward pass over all of them. Memory: two lines an index.
pub struct Merge<R> {
    /// Oldest first.
    readers: Vec<Reader<R>>,
    /// The next row of each.
    heads: Vec<Option<Row>>,
    /// The indexes that have a next row: the least path last, and of equal paths the newest.
    order: Vec<usize>,
    /// The index whose entry was given out, as long as parts of it may follow.
    current: Option<usize>,
    seen: Totals,
    leaf: Leaf,
    ended: bool,
}

impl<R: BufRead> Merge<R> {
    /// Reads a chain, its full index first, the newest last.
    ///
    /// # Errors
    ///
    /// [`Problem::ChainLength`], [`Problem::Chain`], or what is wrong with the first rows.
    pub fn new(readers: Vec<Reader<R>>) -> Result<Self, Error> {
        if !(1..=limits::CHAIN).contains(&readers.len()) {
            let backup = readers.last().map(|newest| newest.head().title.backup);
            return Err(Error { backup, line: 1, problem: Problem::ChainLength(readers.len()) });
        }
        let mut base = None;
        for reader in &readers {
            let (head, first) = (reader.head(), readers[0].head());
            let (title, first) = (&head.title, &first.title);
            let same = (&title.host, &title.set, &title.shape) == (&first.host, &first.set, &first.shape);
            if !same || head.base != base {
                return Err(reader.error(Problem::Chain));
            }
            base = Some(title.backup);
        }
        let heads = readers.iter().map(|_| None).collect();
        let count = readers.len();
        let mut merge = Self {
            readers,
            heads,
            order: Vec::with_capacity(count),
            current: None,
            seen: Totals::default(),
            leaf: Leaf::default(),
            ended: false,
        };
        (0..count).try_for_each(|index| merge.advance(index))?;
        Ok(merge)
    }

    fn newest(&self) -> &Reader<R> {
        self.readers.last().expect("a chain has an index")
    }

    /// Which backup the rows are of.
    #[must_use]
    pub fn title(&self) -> &Title {
        &self.newest().head().title
    }

    /// What the backup amounts to, and where the end of its tar lies; None before the last row has
    /// been read.
    #[must_use]
    pub fn end(&self) -> Option<(Totals, Option<Place>)> {
        let tail = self.newest().tail().filter(|_| self.ended)?;
        Some((tail.totals, tail.end))
    }

    /// The next row, which is never [`Row::Gone`]; None after the last.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the indexes, or with the chain; nothing can be read after it.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if let Some(current) = self.current.take() {
            if let Some(part @ Row::Part(_)) = &mut self.heads[current] {
                let part = std::mem::replace(part, Row::Gone(Vec::new()));
                self.heads[current] = self.readers[current].next_row()?;
                self.current = Some(current);
                self.count(&part);
                return Ok(Some(part));
            }
            self.enqueue(current);
        }
        while let Some(index) = self.order.pop() {
            let Some(row) = self.heads[index].take() else { continue };
            self.supersede(index, &row)?;
            match row {
                Row::Entry(entry) => {
                    let entered = self.leaf.enter(&entry.path, entry.kind == Kind::Folder);
                    entered.map_err(|problem| self.readers[index].error(problem))?;
                    self.heads[index] = self.readers[index].next_row()?;
                    self.current = Some(index);
                    self.seen.entries += 1;
                    let row = Row::Entry(entry);
                    self.count(&row);
                    return Ok(Some(row));
                }
                Row::Gone(_) | Row::Part(_) => self.advance(index)?,
            }
        }
        self.finish()?;
        Ok(None)
    }

    /// Passes over the older rows of the path of `row`, which comes from `index` and is the newest.
    fn supersede(&mut self, index: usize, row: &Row) -> Result<(), Error> {
        let if_gone = |merge: &Self, row: &Row, index: usize| {
            matches!(row, Row::Gone(_)).then(|| merge.readers[index].error(Problem::GoneBefore))
        };
        let mut gone = if_gone(self, row, index);
        while let Some(&older) = self.order.last()
            && let Some(before) = self.heads[older].take_if(|before| before.path() == row.path())
        {
            self.order.pop();
            let gone_before = if_gone(self, &before, older);
            // What is gone was there before.
            if gone.is_some() && gone_before.is_some() {
                break;
            }
            gone = gone_before;
            self.advance(older)?;
        }
        gone.map_or(Ok(()), Err)
    }

    fn count(&mut self, row: &Row) {
        // No index has more than 2^53 bytes, and there are at most 16 of them.
        self.seen.bytes += row.places().iter().map(|place| place.piece.take).sum::<u64>();
    }

    /// Reads the next row of an index, past parts.
    fn advance(&mut self, index: usize) -> Result<(), Error> {
        loop {
            self.heads[index] = self.readers[index].next_row()?;
            if !matches!(self.heads[index], Some(Row::Part(_))) {
                break;
            }
        }
        self.enqueue(index);
        Ok(())
    }

    /// Puts an index where its next row belongs.
    fn enqueue(&mut self, index: usize) {
        let Some(row) = &self.heads[index] else { return };
        let comes_before = |other: &usize| {
            let path = self.heads[*other].as_ref().map_or(&[][..], Row::path);
            compare(row.path(), path).then(other.cmp(&index)).is_lt()
        };
        // Mostly the next row of the index that the last row came from.
        let place = self.order.iter().rposition(comes_before).map_or(0, |place| place + 1);
        self.order.insert(place, index);
    }

    fn finish(&mut self) -> Result<(), Error> {
        let newest = self.newest();
        let Some(tail) = newest.tail() else { return Err(newest.error(Problem::End)) };
        let bytes = self.seen.bytes + tail.end.map_or(0, |end| end.raw);
        if (Totals { bytes, ..self.seen }) != tail.totals {
            return Err(newest.error(Problem::Counts));
        }
        self.ended = true;
        Ok(())
    }
}
