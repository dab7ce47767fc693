//! Reading a chain of indexes as one.

use std::io::BufRead;

use super::chain::Chain;
use super::check::Leaf;
use super::error::{Error, Problem};
use super::{Kind, Place, Reader, Row, Totals};
use crate::plan::Title;

/// Reads a full index and the deltas on it as one index: the rows of the newest backup, in order,
/// in one forward pass over all of them. Memory: two lines an index.
pub struct Merge<R> {
    chain: Chain<R>,
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
        let (seen, leaf) = (Totals::default(), Leaf::default());
        Ok(Self { chain: Chain::new(readers)?, current: None, seen, leaf, ended: false })
    }

    /// Which backup the rows are of.
    #[must_use]
    pub fn title(&self) -> &Title {
        &self.chain.newest().head().title
    }

    /// What the backup amounts to, and where the end of its tar lies; None before the last row has
    /// been read.
    #[must_use]
    pub fn end(&self) -> Option<(Totals, Option<Place>)> {
        let tail = self.chain.newest().tail().filter(|_| self.ended)?;
        Some((tail.totals, tail.end))
    }

    /// The next row, which is never [`Row::Gone`]; None after the last.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the indexes, or with the chain; nothing can be read after it.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if let Some(current) = self.current.take() {
            if let Some(part @ Row::Part(_)) = &mut self.chain.heads[current] {
                let part = std::mem::replace(part, Row::Gone(Vec::new()));
                self.chain.heads[current] = self.chain.readers[current].next_row()?;
                self.current = Some(current);
                self.count(&part);
                return Ok(Some(part));
            }
            self.chain.enqueue(current);
        }
        while let Some(index) = self.chain.order.pop() {
            let Some(row) = self.chain.heads[index].take() else { continue };
            self.supersede(index, &row)?;
            match row {
                Row::Entry(entry) => {
                    let entered = self.leaf.enter(&entry.path, entry.kind == Kind::Folder);
                    entered.map_err(|problem| self.chain.readers[index].error(problem))?;
                    self.chain.heads[index] = self.chain.readers[index].next_row()?;
                    self.current = Some(index);
                    self.seen.entries += 1;
                    let row = Row::Entry(entry);
                    self.count(&row);
                    return Ok(Some(row));
                }
                Row::Gone(_) | Row::Part(_) => self.chain.advance(index)?,
            }
        }
        self.finish()?;
        Ok(None)
    }

    /// Passes over the older rows of the path of `row`, which comes from `index` and is the newest.
    fn supersede(&mut self, index: usize, row: &Row) -> Result<(), Error> {
        let if_gone = |merge: &Self, row: &Row, index: usize| {
            matches!(row, Row::Gone(_)).then(|| merge.chain.readers[index].error(Problem::GoneBefore))
        };
        let mut gone = if_gone(self, row, index);
        while let Some(&older) = self.chain.order.last()
            && let Some(before) = self.chain.heads[older].take_if(|before| before.path() == row.path())
        {
            self.chain.order.pop();
            let gone_before = if_gone(self, &before, older);
            // What is gone was there before.
            if gone.is_some() && gone_before.is_some() {
                break;
            }
            gone = gone_before;
            self.chain.advance(older)?;
        }
        gone.map_or(Ok(()), Err)
    }

    fn count(&mut self, row: &Row) {
        // No index has more than 2^53 bytes, and there are at most 16 of them.
        self.seen.bytes += row.places().iter().map(|place| place.piece.take).sum::<u64>();
    }

    fn finish(&mut self) -> Result<(), Error> {
        let newest = self.chain.newest();
        let Some(tail) = newest.tail() else { return Err(newest.error(Problem::End)) };
        let bytes = self.seen.bytes + tail.end.map_or(0, |end| end.raw);
        if (Totals { bytes, ..self.seen }) != tail.totals {
            return Err(newest.error(Problem::Counts));
        }
        self.ended = true;
        Ok(())
    }
}
