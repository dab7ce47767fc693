//! Sorting more than fits into memory: records of one length, in the order of their bytes. What
//! does not fit goes, sorted, into a file without a name, and comes back merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Memory for records, in bytes: 4 MiB, as a buffer of unsorted records and, once that is gone,
/// as the runs' buffers. A backup sorts several things at a time.
const MEMORY: usize = 4 << 20;

/// Most sorted runs that are merged at a time. Each then has 32 KiB of `MEMORY` to read ahead.
const RUNS: usize = 128;

/// Takes records of `N` bytes in any order, and gives them back sorted. A record begins with what
/// it is sorted by, numbers in big-endian.
pub(crate) struct Sorter<const N: usize> {
    /// Where files are made.
    folder: PathBuf,
    /// Bytes of memory to use.
    memory: usize,
    records: Vec<[u8; N]>,
    runs: Vec<Run<N>>,
}

impl<const N: usize> Sorter<N> {
    /// Sorts in memory, and in files without names in `folder` once there is more.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::with_memory(folder, MEMORY)
    }

    fn with_memory(folder: &Path, memory: usize) -> Self {
        Self { folder: folder.to_path_buf(), memory, records: Vec::new(), runs: Vec::new() }
    }

    /// Takes a record.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        let fit = (self.memory / N).max(1);
        if self.records.len() == fit {
            self.spill()?;
        }
        if self.records.len() == self.records.capacity() {
            // Doubling would end at twice the memory.
            let more = self.records.len().clamp(64, fit.max(64)).min(fit - self.records.len());
            self.records.reserve_exact(more);
        }
        self.records.push(record);
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn sorted(mut self) -> io::Result<Sorted<N>> {
        if self.runs.is_empty() {
            self.records.sort_unstable();
            return Ok(Sorted(Source::Memory { records: self.records, next: 0 }));
        }
        self.spill()?;
        self.records = Vec::new();
        Ok(Sorted(Source::Files(Merged::new(self.runs, self.memory)?)))
    }

    /// Makes a sorted run of what is in memory; joins the runs where there are too many.
    fn spill(&mut self) -> io::Result<()> {
        if self.runs.len() == RUNS {
            let mut joined = RunWriter::new(&self.folder)?;
            let mut merged = Merged::new(std::mem::take(&mut self.runs), self.memory)?;
            while let Some(record) = merged.next()? {
                joined.push(&record)?;
            }
            self.runs.push(joined.end()?);
        }
        self.records.sort_unstable();
        let mut run = RunWriter::new(&self.folder)?;
        self.records.drain(..).try_for_each(|record| run.push(&record))?;
        self.runs.push(run.end()?);
        Ok(())
    }
}

/// The records in order.
pub(crate) struct Sorted<const N: usize>(Source<N>);

enum Source<const N: usize> {
    Memory { records: Vec<[u8; N]>, next: usize },
    Files(Merged<N>),
}

impl<const N: usize> Sorted<N> {
    /// The next record.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match &mut self.0 {
            Source::Memory { records, next } => {
                let record = records.get(*next).copied();
                *next += 1;
                Ok(record)
            }
            Source::Files(merged) => merged.next(),
        }
    }

    /// Begins anew with the first record.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Source::Memory { next, .. } => *next = 0,
            Source::Files(merged) => merged.rewind()?,
        }
        Ok(())
    }
}

struct RunWriter<const N: usize> {
    file: BufWriter<File>,
    records: u64,
}

impl<const N: usize> RunWriter<N> {
    fn new(folder: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(256 << 10, tempfile::tempfile_in(folder)?);
        Ok(Self { file, records: 0 })
    }

    fn push(&mut self, record: &[u8; N]) -> io::Result<()> {
        self.records += 1;
        self.file.write_all(record)
    }

    fn end(self) -> io::Result<Run<N>> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Run { file, records: self.records, left: self.records, position: 0, buffer: Vec::new(), taken: 0 })
    }
}

/// A sorted run, read from its start to its end.
struct Run<const N: usize> {
    file: File,
    records: u64,
    /// Records that are still in the file alone.
    left: u64,
    /// Where they begin.
    position: u64,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    taken: usize,
}

impl<const N: usize> Run<N> {
    fn rewind(&mut self) {
        (self.left, self.position, self.taken) = (self.records, 0, 0);
        self.buffer.clear();
    }

    fn next(&mut self, ahead: usize) -> io::Result<Option<[u8; N]>> {
        if self.taken == self.buffer.len() {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min((ahead / N).max(1));
            self.buffer.resize(count * N, 0);
            self.file.read_exact_at(&mut self.buffer, self.position)?;
            self.position += self.buffer.len() as u64;
            self.left -= count as u64;
            self.taken = 0;
        }
        let record = self.buffer[self.taken..].first_chunk().copied();
        self.taken += if record.is_some() { N } else { 0 };
        Ok(record)
    }
}

struct Merged<const N: usize> {
    runs: Vec<Run<N>>,
    /// How far each run reads ahead, in bytes.
    ahead: usize,
    /// The least record of each run that has one.
    heads: BinaryHeap<Reverse<([u8; N], usize)>>,
}

impl<const N: usize> Merged<N> {
    fn new(runs: Vec<Run<N>>, memory: usize) -> io::Result<Self> {
        let ahead = memory / runs.len().max(1);
        let mut merged = Self { heads: BinaryHeap::with_capacity(runs.len()), runs, ahead };
        merged.rewind()?;
        Ok(merged)
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.heads.clear();
        for (number, run) in self.runs.iter_mut().enumerate() {
            run.rewind();
            self.heads.extend(run.next(self.ahead)?.map(|record| Reverse((record, number))));
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((record, number)) = *head;
        match self.runs[number].next(self.ahead)? {
            Some(next) => *head = Reverse((next, number)),
            None => {
                PeekMut::pop(head);
            }
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    /// Sorts `count` records with memory for `fit` of them, and compares with a sort in memory.
    fn sort(count: usize, fit: usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::<12>::with_memory(folder.path(), fit * 12);
        let mut seed = count as u64;
        let mut expected = Vec::new();
        for number in 0..count {
            let mut record = [0; 12];
            // Few keys, so that many are equal; some records are equal altogether.
            record[..8].copy_from_slice(&(random(&mut seed) % 1000).to_be_bytes());
            record[8..].copy_from_slice(&u32::try_from(number / 2).unwrap().to_be_bytes());
            sorter.push(record).unwrap();
            assert!(sorter.records.capacity() <= fit.max(64), "{}", sorter.records.capacity());
            expected.push(record);
        }
        expected.sort_unstable();
        let mut sorted = sorter.sorted().unwrap();
        for given_out in [count / 2, count] {
            for record in &expected[..given_out] {
                assert_eq!(sorted.next().unwrap(), Some(*record));
            }
            if given_out == count {
                assert_eq!((sorted.next().unwrap(), sorted.next().unwrap()), (None, None));
            }
            sorted.rewind().unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file has a name");
    }

    #[test]
    fn sorts_in_memory_and_in_runs() {
        for count in [0, 1, 9, 10, 11, 20, 21, 1000] {
            sort(count, 10);
        }
        sort(100_000, 1000);
    }

    #[test]
    fn joins_runs_where_there_are_too_many() {
        sort(10 * (RUNS - 1), 10);
        sort(10 * RUNS, 10);
        sort(10 * RUNS + 1, 10);
        sort(10 * (2 * RUNS + 5), 10);
        sort(300, 1);
    }

    #[test]
    fn a_folder_that_is_not_there_matters_only_when_it_is_needed() {
        let mut sorter = Sorter::<12>::with_memory(Path::new("/nonexistent"), 24);
        sorter.push([1; 12]).unwrap();
        sorter.push([0; 12]).unwrap();
        assert!(sorter.push([2; 12]).is_err());
    }
}
