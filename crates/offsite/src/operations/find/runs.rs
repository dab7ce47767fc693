//! What was found, in the order of paths: each chain that was read leaves a run, and the runs are merged. Memory: a
//! fixed amount for each of a limited number of runs; what does not fit goes into files without names.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};

use crate::index::{Inode, Kind, Time};
use crate::paths::compare;
use crate::spool::Spool;

/// Most runs. Where there are more chains, those so far become one.
const RUNS: usize = 64;

/// How far each run reads ahead, in bytes.
const AHEAD: usize = 32 << 10;

/// That some backups hold the same at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: Vec<u8>,
    /// The first and the last of these backups, by their places in the order of time. All between them hold it as well.
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) what: What,
}

/// What tells a version of a path from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct What {
    pub(super) kind: Kind,
    pub(super) inode: Inode,
    pub(super) torn: bool,
    /// Of a stream, which has no time: a hash of where it lies. 0 of all else.
    pub(super) places: u64,
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.path, &other.path).then(self.first.cmp(&other.first))
    }
}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The records of one chain. They are pushed in the order in which they are read.
pub(super) struct Run(Spool);

impl Run {
    pub(super) fn new(folder: &Path) -> Self {
        Self(Spool::new(folder))
    }

    pub(super) fn push(&mut self, record: &Record) -> io::Result<()> {
        let bytes = encode(record);
        let length = u32::try_from(bytes.len()).expect("a path and a target have at most 128 KiB");
        self.0.push(&[&length.to_be_bytes()[..], &bytes].concat()).map(drop)
    }
}

/// The runs so far.
pub(super) struct Runs {
    folder: PathBuf,
    runs: Vec<Run>,
}

impl Runs {
    /// None yet. Files without names will be in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), runs: Vec::new() }
    }

    pub(super) fn push(&mut self, run: Run) -> io::Result<()> {
        if self.runs.len() == RUNS {
            let mut joined = Run::new(&self.folder);
            let mut merged = Merged::new(std::mem::take(&mut self.runs))?;
            while let Some(record) = merged.next()? {
                joined.push(&record)?;
            }
            self.runs.push(joined);
        }
        self.runs.push(run);
        Ok(())
    }

    pub(super) fn merged(self) -> io::Result<Merged> {
        Merged::new(self.runs)
    }
}

/// The records of several runs, in order.
pub(super) struct Merged {
    runs: Vec<Reading>,
    /// The next record of each run that has one.
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Merged {
    fn new(runs: Vec<Run>) -> io::Result<Self> {
        let runs: Vec<_> =
            runs.into_iter().map(|run| Reading { run, position: 0, ahead: Vec::new(), taken: 0 }).collect();
        let mut merged = Self { heads: BinaryHeap::with_capacity(runs.len()), runs };
        (0..merged.runs.len()).try_for_each(|run| merged.advance(run))?;
        Ok(merged)
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(Reverse((record, run))) = self.heads.pop() else { return Ok(None) };
        self.advance(run)?;
        Ok(Some(record))
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        if let Some(record) = self.runs[run].next()? {
            self.heads.push(Reverse((record, run)));
        }
        Ok(())
    }
}

/// A run that is read from its start to its end.
struct Reading {
    run: Run,
    /// Where what is not read ahead begins.
    position: u64,
    ahead: Vec<u8>,
    /// How much of `ahead` has been given out.
    taken: usize,
}

impl Reading {
    fn next(&mut self) -> io::Result<Option<Record>> {
        if self.position == self.run.0.length() && self.taken == self.ahead.len() {
            return Ok(None);
        }
        let length: [u8; 4] = self.bytes(4)?.try_into().map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let record = self.bytes(u32::from_be_bytes(length) as usize)?;
        decode(record).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The next bytes, so many.
    fn bytes(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.ahead.len() - self.taken < count {
            self.ahead.drain(..self.taken);
            self.taken = 0;
            let start = self.ahead.len();
            let left = usize::try_from(self.run.0.length() - self.position).unwrap_or(usize::MAX);
            self.ahead.resize(start + left.min(AHEAD.max(count)), 0);
            self.run.0.read(self.position, &mut self.ahead[start..])?;
            self.position += (self.ahead.len() - start) as u64;
        }
        let start = self.taken;
        self.taken += count;
        self.ahead.get(start..self.taken).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Numbers in big-endian; then the path, and at last the target or leader.
fn encode(record: &Record) -> Vec<u8> {
    let Record { path, first, last, what: What { kind, inode, torn, places } } = record;
    let none = &[][..];
    let (word, one, other, name) = match kind {
        Kind::File { size, sparse: None } => (0, *size, 0, none),
        Kind::File { size, sparse: Some(stored) } => (1, *size, *stored, none),
        Kind::Folder => (2, 0, 0, none),
        Kind::Symlink { target } => (3, 0, 0, &target[..]),
        Kind::HardLink { leader } => (4, 0, 0, &leader[..]),
        Kind::Fifo => (5, 0, 0, none),
        Kind::CharacterDevice { major, minor } => (6, u64::from(*major), u64::from(*minor), none),
        Kind::BlockDevice { major, minor } => (7, u64::from(*major), u64::from(*minor), none),
        Kind::Stream { size } => (8, *size, 0, none),
    };
    let Time { seconds, nanoseconds } = inode.mtime;
    let mut bytes = vec![word, u8::from(*torn)];
    for number in [one, other, *places, seconds.cast_unsigned()] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    let length = u32::try_from(path.len()).expect("a path has at most 64 KiB");
    for number in [inode.mode, inode.uid, inode.gid, nanoseconds, *first, *last, length] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(path);
    bytes.extend_from_slice(name);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let ([word, torn], rest) = bytes.split_first_chunk()?;
    let (long, rest) = rest.split_first_chunk::<32>()?;
    let [one, other, places, seconds] = *long.as_chunks::<8>().0 else { return None };
    let [one, other, places] = [one, other, places].map(u64::from_be_bytes);
    let (short, rest) = rest.split_first_chunk::<28>()?;
    let [mode, uid, gid, nanoseconds, first, last, length] = *short.as_chunks::<4>().0 else { return None };
    let [mode, uid, gid, nanoseconds, first, last, length] =
        [mode, uid, gid, nanoseconds, first, last, length].map(u32::from_be_bytes);
    let (path, name) = rest.split_at_checked(length as usize)?;
    let device = |number: u64| u32::try_from(number).ok();
    let kind = match *word {
        0 => Kind::File { size: one, sparse: None },
        1 => Kind::File { size: one, sparse: Some(other) },
        2 => Kind::Folder,
        3 => Kind::Symlink { target: name.to_vec() },
        4 => Kind::HardLink { leader: name.to_vec() },
        5 => Kind::Fifo,
        6 => Kind::CharacterDevice { major: device(one)?, minor: device(other)? },
        7 => Kind::BlockDevice { major: device(one)?, minor: device(other)? },
        8 => Kind::Stream { size: one },
        _ => return None,
    };
    let mtime = Time { seconds: i64::from_be_bytes(seconds), nanoseconds };
    let what = What { kind, inode: Inode { mode, uid, gid, mtime }, torn: *torn != 0, places };
    Some(Record { path: path.to_vec(), first, last, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &[u8], first: u32, kind: Kind) -> Record {
        let mtime = Time { seconds: -7, nanoseconds: 999_999_999 };
        let inode = Inode { mode: 0o4755, uid: u32::MAX, gid: 7, mtime };
        let what = What { kind, inode, torn: first % 2 == 1, places: u64::MAX - u64::from(first) };
        Record { path: path.to_vec(), first, last: first + 3, what }
    }

    fn kinds() -> Vec<Kind> {
        vec![
            Kind::File { size: u64::MAX >> 1, sparse: None },
            Kind::File { size: 9, sparse: Some(0) },
            Kind::Folder,
            Kind::Symlink { target: vec![0xff; 65_536] },
            Kind::HardLink { leader: b"a/b".to_vec() },
            Kind::Fifo,
            Kind::CharacterDevice { major: u32::MAX, minor: 1 },
            Kind::BlockDevice { major: 0, minor: 255 },
            Kind::Stream { size: 1 << 53 },
        ]
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        for (first, kind) in (0..).zip(kinds()) {
            let record = record(b"etc/\xfffstab", first, kind);
            assert_eq!(decode(&encode(&record)), Some(record.clone()));
            assert_eq!(decode(&encode(&record)[..40]), None);
        }
    }

    #[test]
    fn runs_come_back_as_one_in_the_order_of_paths_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::new(folder.path());
        let (count, mut expected) = (u32::try_from(2 * RUNS).unwrap() + 9, Vec::new());
        for number in 0..count {
            let mut run = Run::new(folder.path());
            for path in ["a", "a/b", "a!", "b"] {
                // Long ones do not fit into what is read ahead.
                let target = vec![b'x'; usize::try_from(number % 5).unwrap() * 12_000 + 1];
                let record = record(path.as_bytes(), (number * 7) % count, Kind::Symlink { target });
                run.push(&record).unwrap();
                expected.push(record);
            }
            runs.push(run).unwrap();
        }
        expected.sort();
        let mut merged = runs.merged().unwrap();
        for record in expected {
            assert_eq!(merged.next().unwrap(), Some(record));
        }
        assert_eq!(merged.next().unwrap(), None);
    }
}
