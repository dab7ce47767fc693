//! The names in a folder, sorted. A folder may hold millions: what does not fit into memory goes, in
//! sorted runs, into a file without a name, and comes back merged.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::archive::metadata::Kind;

/// Memory for the names of a folder, in bytes: some 50,000 of them.
pub(crate) const MEMORY: usize = 2 << 20;

/// So many runs of like length become one. A folder of a billion names then has some hundred runs at a
/// time.
const RUNS: usize = 32;

/// How much of a run is read at a time, in bytes.
const AHEAD: usize = 8 << 10;

/// The names in a folder, as they are taken one after the other.
pub struct Names(Source);

enum Source {
    Memory { list: List, next: usize },
    File(Merged),
}

impl Names {
    /// This name alone.
    pub(crate) fn only(name: &[u8]) -> Self {
        let mut list = List::default();
        list.push(name, None);
        Self(Source::Memory { list, next: 0 })
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self(Source::Memory { list: List::default(), next: 0 })
    }

    /// The next name, and the kind of the entry if the listing told it.
    ///
    /// # Errors
    ///
    /// Those of the file without a name.
    pub fn pop(&mut self) -> io::Result<Option<(&[u8], Option<Kind>)>> {
        match &mut self.0 {
            Source::Memory { list, next } => {
                let name = list.get(*next);
                *next += 1;
                Ok(name)
            }
            Source::File(merged) => merged.next(),
        }
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Source::Memory { list, next } => *next >= list.entries.len(),
            Source::File(merged) => merged.heads.is_empty(),
        }
    }

    /// Whether it is among them; None where they are too many to tell.
    #[must_use]
    pub fn contain(&self, name: &[u8]) -> Option<bool> {
        match &self.0 {
            Source::Memory { list, .. } => Some(list.contains(name)),
            Source::File(_) => None,
        }
    }
}

/// Takes the names of a folder in any order.
pub(crate) struct Listing<'a> {
    /// Where the file is made.
    folder: &'a Path,
    /// Bytes of memory to use.
    memory: usize,
    list: List,
    /// All runs lie in it, so that a folder needs one open file.
    file: Option<Arc<File>>,
    /// Those of higher levels first.
    runs: Vec<Run>,
}

impl<'a> Listing<'a> {
    /// Uses so many bytes of memory, and a file without a name in `folder` once there is more.
    pub(crate) fn new(folder: &'a Path, memory: usize) -> Self {
        Self { folder, memory, list: List::default(), file: None, runs: Vec::new() }
    }

    /// Takes a name.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn push(&mut self, name: &[u8], kind: Option<Kind>) -> io::Result<()> {
        self.list.push(name, kind);
        if self.list.size() >= self.memory { self.spill() } else { Ok(()) }
    }

    /// Ends the input.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn end(mut self) -> io::Result<Names> {
        match &self.file {
            None => {
                self.list.sort();
                Ok(Names(Source::Memory { list: self.list, next: 0 }))
            }
            Some(file) => {
                let file = Arc::clone(file);
                self.spill()?;
                Ok(Names(Source::File(Merged::new(&file, &self.runs)?)))
            }
        }
    }

    /// Makes a run of what is in memory, and one run of many.
    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Arc::new(tempfile::tempfile_in(self.folder)?)),
        };
        let file = Arc::clone(file);
        self.list.sort();
        let mut run = self.begin(&file, 0);
        (0..).map_while(|number| self.list.get(number)).try_for_each(|(name, kind)| run.push(name, kind))?;
        self.runs.push(run.end()?);
        self.list.clear();

        while let Some(first) = self.alike() {
            let mut names = Merged::new(&file, &self.runs[first..])?;
            let mut run = self.begin(&file, self.runs[first].level + 1);
            while let Some((name, kind)) = names.next()? {
                run.push(name, kind)?;
            }
            let run = run.end()?;
            self.runs.truncate(first);
            self.runs.push(run);
        }
        Ok(())
    }

    /// The first of the last runs, where these are so many of one level that they are to be merged.
    fn alike(&self) -> Option<usize> {
        let level = self.runs.last()?.level;
        let alike = self.runs.iter().rev().take_while(|run| run.level == level).count();
        (alike >= RUNS).then(|| self.runs.len() - alike)
    }

    /// Begins a run at the end of the file.
    fn begin(&self, file: &Arc<File>, level: u32) -> RunWriter {
        let start = self.runs.last().map_or(0, |run| run.end);
        RunWriter { out: BufWriter::with_capacity(64 << 10, Arc::clone(file)), run: Run { level, start, end: start } }
    }
}

/// Names in memory, which share one piece of it.
#[derive(Default)]
struct List {
    bytes: Vec<u8>,
    entries: Vec<Name>,
}

struct Name {
    start: usize,
    length: u16,
    kind: Option<Kind>,
}

impl Name {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.start + usize::from(self.length)]
    }
}

impl List {
    fn push(&mut self, name: &[u8], kind: Option<Kind>) {
        // A record of a listing counts its length in 16 bits.
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.entries.push(Name { start: self.bytes.len(), length, kind });
        self.bytes.extend_from_slice(&name[..usize::from(length)]);
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Name>()
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_unstable_by(|one, other| one.of(bytes).cmp(other.of(bytes)));
        // Some file systems repeat a name when the directory changes under the listing.
        self.entries.dedup_by(|one, other| one.of(bytes) == other.of(bytes));
    }

    fn get(&self, number: usize) -> Option<(&[u8], Option<Kind>)> {
        self.entries.get(number).map(|name| (name.of(&self.bytes), name.kind))
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.entries.binary_search_by(|entry| entry.of(&self.bytes).cmp(name)).is_ok()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

/// Where in the file names lie that are sorted, none twice. The level is how often they were merged.
struct Run {
    level: u32,
    start: u64,
    end: u64,
}

/// Bytes before a name: its length and kind.
const HEAD: usize = 3;

/// The kinds in the order of their numbers, from 1 on. 0 is for none.
const KINDS: [Kind; 7] =
    [Kind::File, Kind::Folder, Kind::Symlink, Kind::Fifo, Kind::CharacterDevice, Kind::BlockDevice, Kind::Socket];

struct RunWriter {
    out: BufWriter<Arc<File>>,
    run: Run,
}

impl RunWriter {
    fn push(&mut self, name: &[u8], kind: Option<Kind>) -> io::Result<()> {
        let number = kind.and_then(|kind| (1..).zip(KINDS).find(|(_, other)| *other == kind)).map_or(0, |(of, _)| of);
        let [high, low] = u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes();
        self.run.end += (HEAD + name.len()) as u64;
        self.out.write_all(&[high, low, number])?;
        self.out.write_all(name)
    }

    fn end(mut self) -> io::Result<Run> {
        self.out.flush()?;
        Ok(self.run)
    }
}

/// Runs, each name of them once.
struct Merged {
    heads: Vec<Head>,
    name: Vec<u8>,
}

impl Merged {
    fn new(file: &Arc<File>, runs: &[Run]) -> io::Result<Self> {
        let mut heads = Vec::with_capacity(runs.len());
        for Run { start, end, .. } in runs {
            let (file, buffer) = (Arc::clone(file), Vec::new());
            let mut head = Head { file, position: *start, end: *end, buffer, start: 0 };
            if head.fill()? {
                heads.push(head);
            }
        }
        Ok(Self { heads, name: Vec::new() })
    }

    fn next(&mut self) -> io::Result<Option<(&[u8], Option<Kind>)>> {
        let Some(least) = self.heads.iter().min_by_key(|head| head.name()) else { return Ok(None) };
        self.name.clear();
        self.name.extend_from_slice(least.name());
        let kind = least.kind();
        let mut number = 0;
        while let Some(head) = self.heads.get_mut(number) {
            if head.name() == self.name && !head.advance()? {
                self.heads.swap_remove(number);
            } else {
                number += 1;
            }
        }
        Ok(Some((&self.name, kind)))
    }
}

/// The first name that is left of a run.
struct Head {
    file: Arc<File>,
    /// Where that begins which has not been read, and where the run ends.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where the name's record starts in it.
    start: usize,
}

impl Head {
    fn length(&self) -> usize {
        self.buffer[self.start..].first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)))
    }

    fn name(&self) -> &[u8] {
        &self.buffer[self.start + HEAD..][..self.length()]
    }

    fn kind(&self) -> Option<Kind> {
        usize::from(self.buffer[self.start + HEAD - 1]).checked_sub(1).and_then(|number| KINDS.get(number).copied())
    }

    /// Goes on to the next name; whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        self.start += HEAD + self.length();
        self.fill()
    }

    /// Reads until the record is whole; false where the run ends.
    fn fill(&mut self) -> io::Result<bool> {
        while self.buffer.len() < self.start + HEAD || self.buffer.len() < self.start + HEAD + self.length() {
            let count = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(AHEAD);
            if count == 0 {
                return Ok(false);
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let filled = self.buffer.len();
            self.buffer.resize(filled + count, 0);
            self.file.read_exact_at(&mut self.buffer[filled..], self.position)?;
            self.position += count as u64;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut names: Names) -> Vec<(Vec<u8>, Option<Kind>)> {
        let mut all = Vec::new();
        while !names.is_empty() {
            let (name, kind) = names.pop().unwrap().expect("one is left");
            all.push((name.to_vec(), kind));
        }
        assert!(names.pop().unwrap().is_none());
        all
    }

    /// Names in no order, of many lengths, with beginnings that are alike, and of all kinds.
    fn some(count: usize) -> Vec<(Vec<u8>, Option<Kind>)> {
        let name = |number: usize| format!("{}{}", "n".repeat(number % 7), number * 7_919 % count);
        let kind = |number: usize| KINDS.get(number % 8).copied();
        let mut some: Vec<_> = (0..count).map(|number| (name(number).into_bytes(), kind(number))).collect();
        if count > 2 {
            some[0].0 = vec![b'n'; usize::from(u16::MAX)];
            some[1].0 = vec![0xff; 255];
        }
        some
    }

    /// Lists names, some of them twice, with so much memory.
    fn lists(count: usize, memory: usize) {
        let folder = tempfile::tempdir().unwrap();
        let (mut listing, mut expected) = (Listing::new(folder.path(), memory), some(count));
        for (name, kind) in expected.iter().chain(expected.iter().step_by(3)) {
            listing.push(name, *kind).unwrap();
            assert!(listing.list.size() <= memory);
            let levels = listing.runs.first().map_or(1, |run| run.level as usize + 1);
            assert!(listing.runs.len() < RUNS * levels, "{} runs", listing.runs.len());
        }
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert!(all(listing.end().unwrap()) == expected, "{count} with {memory}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has a name");
    }

    #[test]
    fn names_are_sorted_in_memory_and_in_a_file() {
        for count in [0, 1, 2, 3, 100, 1_000] {
            for memory in [1, 100, 5_000, MEMORY] {
                lists(count, memory);
            }
        }
    }

    #[test]
    fn many_runs_are_merged_in_steps() {
        lists(200_000, 10_000);
    }
}
