//! Finding records by their keys where there are more than fit into memory: a sorted file that is
//! searched by position, and a table that grows and keeps what does not fit in such files.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Most keys of a file that are held in memory.
const TOP: usize = 4096;

/// How much of a file is read to find a record, in bytes.
const BLOCK: usize = 4 << 10;

/// How much is read at a time of a file that is read from start to end, in bytes.
const AHEAD: usize = 128 << 10;

/// A file of records of `N` bytes, in the order of the keys of `K` bytes that they begin with; no
/// key comes twice. Any thread may ask.
pub(crate) struct Table<const N: usize, const K: usize> {
    file: File,
    records: u64,
    /// The keys of evenly spaced records, the first and the last among them, as they become known.
    top: Vec<OnceLock<[u8; K]>>,
}

impl<const N: usize, const K: usize> Table<N, K> {
    /// The table that a file's first so many records are.
    ///
    /// # Errors
    ///
    /// The file's; [`io::ErrorKind::UnexpectedEof`] where it is shorter.
    pub(crate) fn new(file: File, records: u64) -> io::Result<Self> {
        let length = records.checked_mul(N as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        if file.metadata()?.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self::with_top(file, records, TOP))
    }

    fn with_top(file: File, records: u64, most: usize) -> Self {
        const { assert!(K <= N, "a key is a record's beginning") };
        // Between two keys lies a block at least.
        let blocks = usize::try_from(records.div_ceil(per_block::<N>())).unwrap_or(usize::MAX);
        let top = blocks.saturating_add(1).min(most.max(2)).min(usize::try_from(records).unwrap_or(usize::MAX));
        Self { file, records, top: std::iter::repeat_with(OnceLock::new).take(top).collect() }
    }

    /// The record with this key.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn get(&self, key: &[u8; K]) -> io::Result<Option<[u8; N]>> {
        let Some(mut range) = self.range(key)? else { return Ok(None) };
        let mut buffer = Vec::new();
        for attempt in 0_u32.. {
            let count = (range.after - range.first).min(per_block::<N>());
            if count == 0 {
                break;
            }
            // Where keys are spread evenly, the first guess is right or nearly so; halves see to it
            // that others are found soon, too.
            let middle = if attempt % 2 == 0 { range.guess(key) } else { range.half() };
            let start = middle.saturating_sub(count / 2).clamp(range.first, range.after - count);
            buffer.resize(usize::try_from(count).unwrap_or(usize::MAX) * N, 0);
            self.file.read_exact_at(&mut buffer, start * N as u64)?;
            let (block, _) = buffer.as_chunks::<N>();
            match block.binary_search_by(|record| key_of(record).cmp(key)) {
                Ok(at) => return Ok(Some(block[at])),
                Err(0) => range.end(start, key_of(&block[0])),
                Err(at) if at == block.len() => range.begin(start + count, key_of(&block[at - 1])),
                Err(_) => break,
            }
        }
        Ok(None)
    }

    /// All records, in order.
    pub(crate) fn iter(&self) -> Records<'_, N> {
        self.read_ahead(AHEAD)
    }

    fn read_ahead(&self, ahead: usize) -> Records<'_, N> {
        Records { file: &self.file, left: self.records, position: 0, ahead, buffer: Vec::new(), taken: 0 }
    }

    /// Where the record is, if it is there, by the keys in memory.
    fn range(&self, key: &[u8; K]) -> io::Result<Option<Range<K>>> {
        if self.top.is_empty() || key < self.sample(0)? {
            return Ok(None);
        }
        // The key is not below that of `below`, and below that of `above` if there is one.
        let (mut below, mut above) = (0, self.top.len());
        while above - below > 1 {
            let middle = below.midpoint(above);
            if key < self.sample(middle)? {
                above = middle;
            } else {
                below = middle;
            }
        }
        let first = self.number(below);
        let least = *self.sample(below)?;
        Ok(Some(match self.top.get(above) {
            Some(_) => Range { first, after: self.number(above), least, most: *self.sample(above)? },
            None => Range { first, after: first + 1, least, most: least },
        }))
    }

    /// The number of the record whose key is one of those in memory.
    fn number(&self, sample: usize) -> u64 {
        let spaces = (self.top.len() as u128 - 1).max(1);
        let number = sample as u128 * u128::from(self.records - 1) / spaces;
        u64::try_from(number).unwrap_or(self.records - 1)
    }

    fn sample(&self, sample: usize) -> io::Result<&[u8; K]> {
        if let Some(key) = self.top[sample].get() {
            return Ok(key);
        }
        let mut key = [0; K];
        self.file.read_exact_at(&mut key, self.number(sample) * N as u64)?;
        Ok(self.top[sample].get_or_init(|| key))
    }
}

/// How many records a block has.
const fn per_block<const N: usize>() -> u64 {
    if N < BLOCK { (BLOCK / N) as u64 } else { 1 }
}

fn key_of<const N: usize, const K: usize>(record: &[u8; N]) -> &[u8; K] {
    record.first_chunk().expect("a key is a record's beginning")
}

/// The records among which one may be.
struct Range<const K: usize> {
    first: u64,
    after: u64,
    /// No key is below it.
    least: [u8; K],
    /// No key is above it.
    most: [u8; K],
}

impl<const K: usize> Range<K> {
    fn begin(&mut self, first: u64, least: &[u8; K]) {
        (self.first, self.least) = (first, *least);
    }

    fn end(&mut self, after: u64, most: &[u8; K]) {
        (self.after, self.most) = (after, *most);
    }

    fn half(&self) -> u64 {
        self.first.midpoint(self.after)
    }

    /// Where a key would be if all were spread evenly.
    fn guess(&self, key: &[u8; K]) -> u64 {
        let alike = self.least.iter().zip(&self.most).take_while(|(one, other)| one == other).count();
        // The first bytes that differ, as a number.
        let number = |key: &[u8; K]| {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(&key[alike..]).for_each(|(to, from)| *to = *from);
            u128::from(u64::from_be_bytes(bytes))
        };
        let (least, most) = (number(&self.least), number(&self.most));
        let share = number(key).clamp(least, most) - least;
        let before = u128::from(self.after - self.first) * share / (most - least).max(1);
        u64::try_from(before).map_or(self.after, |before| self.first + before)
    }
}

/// The records of a table from its first to its last.
pub(crate) struct Records<'a, const N: usize> {
    file: &'a File,
    /// Records that are still in the file alone.
    left: u64,
    /// Where they begin.
    position: u64,
    ahead: usize,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    taken: usize,
}

impl<const N: usize> Records<'_, N> {
    /// The next record.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.taken == self.buffer.len() {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min((self.ahead / N).max(1));
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

/// Most files of a table that grows.
const FILES: usize = 8;

/// A table that takes records of `N` bytes at any time; they begin with their keys of `K` bytes.
/// What does not fit into memory lies in files without names.
///
/// Nothing but zeros behind its key marks that there is no record: an older one in a file is gone.
pub(crate) struct Growing<const N: usize, const K: usize> {
    /// Where files are made.
    folder: PathBuf,
    /// Bytes of memory to use.
    memory: usize,
    records: BTreeSet<Record<N, K>>,
    /// The oldest first. What is in memory is younger than all.
    files: Vec<Table<N, K>>,
}

/// A record, known by its key.
struct Record<const N: usize, const K: usize>([u8; N]);

impl<const N: usize, const K: usize> Borrow<[u8; K]> for Record<N, K> {
    fn borrow(&self) -> &[u8; K] {
        key_of(&self.0)
    }
}

impl<const N: usize, const K: usize> Ord for Record<N, K> {
    fn cmp(&self, other: &Self) -> Ordering {
        key_of::<N, K>(&self.0).cmp(key_of(&other.0))
    }
}

impl<const N: usize, const K: usize> PartialOrd for Record<N, K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize, const K: usize> PartialEq for Record<N, K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<const N: usize, const K: usize> Eq for Record<N, K> {}

impl<const N: usize, const K: usize> Growing<N, K> {
    /// Uses so many bytes of memory, and files without names in `folder` once that is full.
    pub(crate) fn new(folder: &Path, memory: usize) -> Self {
        const { assert!(K < N, "a record is more than its key") };
        Self { folder: folder.to_path_buf(), memory, records: BTreeSet::new(), files: Vec::new() }
    }

    /// How many records memory is for: three quarters are theirs, the rest the files' top keys'. A
    /// tree's nodes are half full at least, and know of each other.
    fn fit(&self) -> usize {
        (self.memory / 4 * 3 / (N * 9 / 4 + 8)).max(1)
    }

    /// Takes a record, in place of an earlier one with its key. Its bytes after the key are not all
    /// zero.
    ///
    /// # Errors
    ///
    /// The files'.
    pub(crate) fn insert(&mut self, record: [u8; N]) -> io::Result<()> {
        debug_assert!(is_there::<N, K>(&record), "zeros stand for no record");
        self.put(record)
    }

    fn put(&mut self, record: [u8; N]) -> io::Result<()> {
        if self.records.len() >= self.fit() && !self.records.contains(key_of::<N, K>(&record)) {
            self.spill()?;
        }
        self.records.replace(Record(record));
        Ok(())
    }

    /// The record with this key.
    ///
    /// # Errors
    ///
    /// The files'.
    pub(crate) fn get(&self, key: &[u8; K]) -> io::Result<Option<[u8; N]>> {
        let found = match self.records.get(key) {
            Some(record) => Some(record.0),
            None => self.in_files(key)?,
        };
        Ok(found.filter(is_there::<N, K>))
    }

    fn in_files(&self, key: &[u8; K]) -> io::Result<Option<[u8; N]>> {
        for table in self.files.iter().rev() {
            let found = table.get(key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Forgets the record with this key.
    ///
    /// # Errors
    ///
    /// The files'.
    pub(crate) fn remove(&mut self, key: &[u8; K]) -> io::Result<()> {
        self.records.remove(key);
        if self.in_files(key)?.filter(is_there::<N, K>).is_some() {
            let mut gone = [0; N];
            gone[..K].copy_from_slice(key);
            self.put(gone)?;
        }
        Ok(())
    }

    /// Whether there is none, in memory or in files.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.files.is_empty()
    }

    /// Makes a file of what is in memory, and one of the youngest files where these are alike.
    fn spill(&mut self) -> io::Result<()> {
        let mut file = TableWriter::new(self)?;
        self.records.iter().try_for_each(|record| file.push(&record.0))?;
        self.files.push(file.end()?);
        self.records = BTreeSet::new();

        let first = self.alike();
        if first + 1 < self.files.len() {
            let merged = self.merge(first)?;
            self.files.truncate(first);
            self.files.extend(merged);
        }
        Ok(())
    }

    /// The first of the youngest files to be merged. None is merged with one that has not at least a
    /// factor-th of its records, so each merge makes the file that a record is in larger by a
    /// factor, and a record is written a logarithmic number of times. The factor is two, and more
    /// only where there would be too many files.
    fn alike(&self) -> usize {
        let alike = |factor: u64| {
            let (mut first, mut records) = (self.files.len(), 0);
            for (number, file) in self.files.iter().enumerate().rev() {
                if records > 0 && file.records / factor >= records {
                    break;
                }
                (first, records) = (number, records + file.records);
            }
            first
        };
        (1..u64::BITS).map(|power| alike(1 << power)).find(|first| *first < FILES).unwrap_or(0)
    }

    /// One table of the files from `first` on. None if nothing is left.
    fn merge(&self, first: usize) -> io::Result<Option<Table<N, K>>> {
        let files = &self.files[first..];
        // The records in memory are gone.
        let ahead = (self.memory / (files.len() + 1)).min(AHEAD);
        let mut sources: Vec<_> = files.iter().rev().map(|file| file.read_ahead(ahead)).collect();
        let mut heads = sources.iter_mut().map(Records::next).collect::<io::Result<Vec<_>>>()?;
        let mut merged = TableWriter::new(self)?;
        // The youngest of the least key comes first.
        while let Some(record) = heads.iter().flatten().min_by_key(|record| key_of::<N, K>(record)).copied() {
            for (source, head) in sources.iter_mut().zip(&mut heads) {
                if head.is_some_and(|head| key_of::<N, K>(&head) == key_of(&record)) {
                    *head = source.next()?;
                }
            }
            // What is gone is to be told only where an older file has it.
            if first > 0 || is_there::<N, K>(&record) {
                merged.push(&record)?;
            }
        }
        let merged = merged.end()?;
        Ok((merged.records > 0).then_some(merged))
    }
}

fn is_there<const N: usize, const K: usize>(record: &[u8; N]) -> bool {
    record[K..].iter().any(|byte| *byte != 0)
}

struct TableWriter<const N: usize, const K: usize> {
    file: BufWriter<File>,
    records: u64,
    top: usize,
}

impl<const N: usize, const K: usize> TableWriter<N, K> {
    fn new(of: &Growing<N, K>) -> io::Result<Self> {
        let file = BufWriter::with_capacity(AHEAD.min(of.memory), tempfile::tempfile_in(&of.folder)?);
        // What says that a key is known takes eight bytes at most.
        let top = (of.memory / 4 / (FILES + 1) / (K + 8)).min(TOP);
        Ok(Self { file, records: 0, top })
    }

    fn push(&mut self, record: &[u8; N]) -> io::Result<()> {
        self.records += 1;
        self.file.write_all(record)
    }

    fn end(self) -> io::Result<Table<N, K>> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Table::with_top(file, self.records, self.top))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    fn record(key: u64, value: u32) -> [u8; 12] {
        let mut record = [0; 12];
        record[..8].copy_from_slice(&key.to_be_bytes());
        record[8..].copy_from_slice(&value.to_be_bytes());
        record
    }

    fn table(keys: &[u64], top: usize) -> Table<12, 8> {
        let mut file = tempfile::tempfile().unwrap();
        keys.iter().for_each(|key| file.write_all(&record(*key, 7)).unwrap());
        let whole = Table::<12, 8>::new(file, keys.len() as u64).unwrap();
        Table::with_top(whole.file, whole.records, top)
    }

    /// Every record is found, and nothing that is not there, before, between and behind.
    fn finds_all(keys: &[u64], top: usize) {
        let table = table(keys, top);
        let known = |key: &u64| keys.binary_search(key).is_ok();
        for key in keys.iter().flat_map(|key| [key.saturating_sub(1), *key, key.saturating_add(1)]) {
            let expected = known(&key).then(|| record(key, 7));
            assert_eq!(table.get(&key.to_be_bytes()).unwrap(), expected, "{key} of {} with {top}", keys.len());
        }
        let mut records = table.iter();
        for key in keys {
            assert_eq!(records.next().unwrap(), Some(record(*key, 7)));
        }
        assert_eq!((records.next().unwrap(), records.next().unwrap()), (None, None));
    }

    #[test]
    fn records_are_found_however_their_keys_are_spread() {
        let mut seed = 1;
        for count in [0, 1, 2, 3, 340, 341, 342, 2000] {
            let mut spread: Vec<u64> = (0..count).map(|_| random(&mut seed) << 32 | random(&mut seed)).collect();
            spread.sort_unstable();
            let dense: Vec<u64> = (0..count).collect();
            let steep: Vec<u64> = (0..count).map(|number| number.pow(5)).collect();
            for top in [2, 7, TOP] {
                finds_all(&spread, top);
                finds_all(&dense, top);
                finds_all(&steep, top);
            }
        }
        finds_all(&[0, u64::MAX], TOP);
        assert_eq!(table(&[], TOP).get(&[0; 8]).unwrap(), None);
    }

    #[test]
    fn records_may_be_longer_than_what_is_read_at_a_time() {
        let mut file = tempfile::tempfile().unwrap();
        (1..=9).for_each(|byte| file.write_all(&[byte; BLOCK + 1]).unwrap());
        let table = Table::<{ BLOCK + 1 }, 1>::with_top(file, 9, 3);
        assert!((1..=9).all(|byte| table.get(&[byte]).unwrap() == Some([byte; BLOCK + 1])));
        assert!([0, 10].iter().all(|byte| table.get(&[*byte]).unwrap().is_none()));
    }

    #[test]
    fn a_table_may_not_be_longer_than_its_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 35]).unwrap();
        assert!(Table::<12, 8>::new(file.try_clone().unwrap(), 2).is_ok());
        assert!(Table::<12, 8>::new(file.try_clone().unwrap(), 3).is_err());
        assert!(Table::<12, 8>::new(file, u64::MAX).is_err());
    }

    /// Random operations on a table with memory for `fit` records, and on a map.
    fn like_a_map(operations: u32, keys: u64, fit: usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut growing = Growing::<12, 8>::new(folder.path(), (fit * 35 + 1) * 4 / 3 + 4);
        assert_eq!(growing.fit(), fit);
        let (mut seed, mut map, mut files) = (u64::from(operations), BTreeMap::new(), 0);
        for number in 1..=operations {
            let key = random(&mut seed) % keys;
            match random(&mut seed) % 4 {
                0 => {
                    growing.remove(&key.to_be_bytes()).unwrap();
                    map.remove(&key);
                }
                1 => {
                    let expected = map.get(&key).map(|value| record(key, *value));
                    assert_eq!(growing.get(&key.to_be_bytes()).unwrap(), expected);
                }
                _ => {
                    growing.insert(record(key, number)).unwrap();
                    map.insert(key, number);
                }
            }
            assert!(growing.records.len() <= fit && growing.files.len() <= FILES, "{}", growing.files.len());
            files = files.max(growing.files.len());
        }
        for key in 0..keys {
            let expected = map.get(&key).map(|value| record(key, *value));
            assert_eq!(growing.get(&key.to_be_bytes()).unwrap(), expected);
        }
        assert_eq!(files > 0, fit < usize::try_from(keys).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file has a name");
    }

    #[test]
    fn a_growing_table_is_like_a_map() {
        like_a_map(2_000, 50, 50);
        like_a_map(2_000, 50, 1);
        like_a_map(10_000, 1_000, 10);
        like_a_map(4_000, 10_000, 3);
        like_a_map(20_000, 10_000, 300);
    }

    #[test]
    fn nothing_is_written_too_often_and_files_stay_few() {
        let folder = tempfile::tempdir().unwrap();
        let mut growing = Growing::<12, 8>::new(folder.path(), 2_000);
        let (fit, count, mut seed, mut written, mut sizes) = (growing.fit() as u64, 50_000, 3, 0, Vec::new());
        for _ in 0..count {
            growing.insert(record(random(&mut seed) << 31 | random(&mut seed), 1)).unwrap();
            let now: Vec<_> = growing.files.iter().map(|file| file.records).enumerate().collect();
            written += now.iter().filter(|file| !sizes.contains(*file)).map(|(_, size)| size).sum::<u64>();
            sizes = now;
            assert!(sizes.len() <= FILES);
        }
        let logarithm = u64::from((count / fit).ilog2());
        assert!(sizes.len() > 1 && written < count * 2 * logarithm, "{written} of {count}, {logarithm}");
    }

    #[test]
    fn what_comes_and_goes_needs_no_file() {
        let mut growing = Growing::<12, 8>::new(Path::new("/nonexistent"), 1_000);
        for key in 0..10_000_u64 {
            growing.insert(record(key, 1)).unwrap();
            growing.remove(&key.to_be_bytes()).unwrap();
        }
        assert!(growing.is_empty());
        assert!((0..1_000).try_for_each(|key| growing.insert(record(key, 1))).is_err());
    }
}
