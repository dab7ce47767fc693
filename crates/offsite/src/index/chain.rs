//! The indexes of a chain, read side by side: what [`Merge`](super::Merge) and [`History`](super::History) share.

use std::io::BufRead;

use super::error::{Error, Problem};
use super::{Reader, Row, limits};
use crate::paths::compare;

/// The indexes of a chain, each with the row that comes next in it.
pub(super) struct Chain<R> {
    /// Oldest first.
    pub(super) readers: Vec<Reader<R>>,
    /// The next row of each.
    pub(super) heads: Vec<Option<Row>>,
    /// The indexes that have a next row: the least path last, and of equal paths the newest.
    pub(super) order: Vec<usize>,
}

impl<R: BufRead> Chain<R> {
    /// Of a full index, and then of what builds on it, the newest last.
    ///
    /// # Errors
    ///
    /// [`Problem::ChainLength`], [`Problem::Chain`], or what is wrong with the first rows.
    pub(super) fn new(readers: Vec<Reader<R>>) -> Result<Self, Error> {
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
        let count = readers.len();
        let heads = readers.iter().map(|_| None).collect();
        let mut chain = Self { readers, heads, order: Vec::with_capacity(count) };
        (0..count).try_for_each(|index| chain.advance(index))?;
        Ok(chain)
    }

    /// The last of them.
    pub(super) fn newest(&self) -> &Reader<R> {
        self.readers.last().expect("a chain has an index")
    }

    /// Reads the next row of an index, past parts.
    pub(super) fn advance(&mut self, index: usize) -> Result<(), Error> {
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
    pub(super) fn enqueue(&mut self, index: usize) {
        let Some(row) = &self.heads[index] else { return };
        let comes_before = |other: &usize| {
            let path = self.heads[*other].as_ref().map_or(&[][..], Row::path);
            compare(row.path(), path).then(other.cmp(&index)).is_lt()
        };
        // Mostly the next row of the index that the last row came from.
        let place = self.order.iter().rposition(comes_before).map_or(0, |place| place + 1);
        self.order.insert(place, index);
    }
}
