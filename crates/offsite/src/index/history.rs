//! Reading a chain of indexes as what became of each path.

use std::hash::{DefaultHasher, Hasher};
use std::io::BufRead;
use std::ops::Range;

use super::chain::Chain;
use super::error::{Error, Problem};
use super::{Entry, Kind, Place, Reader, Row, order};

/// Reads a full index and the deltas on it as the history of each path: what it was in each of the chain's backups,
/// in one forward pass over all of them. A backup is told by its level, which is the position of its index in the
/// chain; level 0 is that of the full index. What [`Merge`](super::Merge) refuses of any of these backups is refused
/// here as well. Memory: two lines an index.
pub struct History<R> {
    chain: Chain<R>,
    /// How the totals change from each level to the next, starting from nothing.
    changes: Vec<Change>,
    leaves: Leaves,
}

/// What became of a path.
#[derive(Debug)]
#[non_exhaustive]
pub struct Past {
    /// The path.
    pub path: Vec<u8>,
    /// What it was, the oldest first. In what lies between them, and after the last, it was not there.
    pub versions: Vec<Version>,
}

/// What a path was in some backups of a chain, as one row tells it. The next row need not tell anything else.
#[derive(Debug)]
#[non_exhaustive]
pub struct Version {
    /// The row, without its places.
    pub entry: Entry,
    /// A hash of all places, those of its parts included: where it is equal, the content is.
    pub places: u64,
    /// The levels of the backups that hold it.
    pub levels: Range<usize>,
}

impl Past {
    /// What it was in the backup of a level, if it was there.
    #[must_use]
    pub fn at(&self, level: usize) -> Option<&Version> {
        self.versions.iter().find(|version| version.levels.contains(&level))
    }
}

/// Entries and bytes that are more, or less, than on the level before.
#[derive(Clone, Copy, Default)]
struct Change {
    entries: i64,
    bytes: i64,
}

impl<R: BufRead> History<R> {
    /// Reads a chain, its full index first, the newest last.
    ///
    /// # Errors
    ///
    /// [`Problem::ChainLength`], [`Problem::Chain`], or what is wrong with the first rows.
    pub fn new(readers: Vec<Reader<R>>) -> Result<Self, Error> {
        let changes = vec![Change::default(); readers.len() + 1];
        Ok(Self { chain: Chain::new(readers)?, changes, leaves: Leaves::default() })
    }

    /// What became of the next path; None after the last.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the indexes, or with the chain; nothing can be read after it. The error's backup is
    /// the first that it concerns.
    pub fn next_path(&mut self) -> Result<Option<Past>, Error> {
        let Some(&newest) = self.chain.order.last() else {
            self.finish()?;
            return Ok(None);
        };
        let path = self.chain.heads[newest].as_ref().map_or_else(Vec::new, |row| row.path().to_vec());
        let (mut versions, mut until) = (Vec::new(), self.chain.readers.len());
        let mut gone = None;
        while let Some(&index) = self.chain.order.last()
            && let Some(row) = self.chain.heads[index].take_if(|row| row.path() == path)
        {
            self.chain.order.pop();
            match row {
                Row::Entry(entry) => {
                    versions.push(self.version(entry, index, until)?);
                    gone = None;
                }
                // What is gone was there before.
                Row::Gone(_) if gone.is_some() => break,
                Row::Gone(_) | Row::Part(_) => {
                    gone = Some(self.chain.readers[index].error(Problem::GoneBefore));
                    self.chain.advance(index)?;
                }
            }
            until = index;
        }
        if let Some(error) = gone {
            return Err(error);
        }
        versions.reverse();
        if let Err(level) = self.leaves.enter(&path, &versions) {
            return Err(self.chain.readers[level].error(Problem::Below));
        }
        Ok(Some(Past { path, versions }))
    }

    /// Reads what follows of an entry of the index on the level `from`, and goes on there to the next row.
    fn version(&mut self, mut entry: Entry, from: usize, until: usize) -> Result<Version, Error> {
        let (mut hasher, mut bytes) = (DefaultHasher::new(), 0);
        let mut take = |places: &[Place]| {
            for place in places {
                hasher.write(&order::encode(place));
                bytes += i64::try_from(place.piece.take).expect("a frame has at most 32 MiB");
            }
        };
        take(&std::mem::take(&mut entry.places));
        let next = loop {
            match self.chain.readers[from].next_row()? {
                Some(Row::Part(part)) => take(&part.places),
                next => break next,
            }
        };
        self.chain.heads[from] = next;
        self.chain.enqueue(from);
        // No index has more than 2^53 bytes, and there are at most 16 of them.
        for (level, sign) in [(from, 1), (until, -1)] {
            self.changes[level].entries += sign;
            self.changes[level].bytes += sign * bytes;
        }
        Ok(Version { entry, places: hasher.finish(), levels: from..until })
    }

    /// Compares what each backup amounts to with what the last line of its index says.
    fn finish(&self) -> Result<(), Error> {
        let mut seen = Change::default();
        for (reader, change) in self.chain.readers.iter().zip(&self.changes) {
            (seen.entries, seen.bytes) = (seen.entries + change.entries, seen.bytes + change.bytes);
            let Some(tail) = reader.tail() else { return Err(reader.error(Problem::End)) };
            let end = tail.end.map_or(0, |end| end.raw);
            let (entries, bytes) = (u64::try_from(seen.entries), u64::try_from(seen.bytes));
            if entries != Ok(tail.totals.entries) || bytes.map(|bytes| bytes + end) != Ok(tail.totals.bytes) {
                return Err(reader.error(Problem::Counts));
            }
        }
        Ok(())
    }
}

/// The entries that are no folder in some backups, each with the levels of these as bits, and each in the one before
/// it: what may have something in it in other backups only. No two have a level in common.
#[derive(Default)]
struct Leaves(Vec<(Vec<u8>, u32)>);

impl Leaves {
    /// Passes on to the next path. What lies in an entry comes next after it.
    ///
    /// # Errors
    ///
    /// The first level on which the path lies in what is no folder.
    fn enter(&mut self, path: &[u8], versions: &[Version]) -> Result<(), usize> {
        while let Some((leaf, _)) = self.0.last()
            && !path.strip_prefix(&leaf[..]).is_some_and(|rest| rest.starts_with(b"/"))
        {
            self.0.pop();
        }
        let bits = |levels: &Range<usize>| levels.clone().fold(0, |bits, level| bits | 1_u32 << level);
        let taken = self.0.iter().fold(0, |bits, (_, levels)| bits | levels);
        let present = versions.iter().fold(0, |all, version| all | bits(&version.levels));
        if present & taken != 0 {
            return Err((present & taken).trailing_zeros() as usize);
        }
        let is_leaf = |version: &&Version| version.entry.kind != Kind::Folder;
        let leaf = versions.iter().filter(is_leaf).fold(0, |all, version| all | bits(&version.levels));
        if leaf != 0 {
            self.0.push((path.to_vec(), leaf));
        }
        Ok(())
    }
}
