//! Trees of files to jobs, in the order of the walk.

use std::io::{self, Read};
use std::num::NonZero;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::archive::header::{END, padding};
use crate::archive::member::{Content, Member, Packer, read_padded};
use crate::archive::sparse::Segment;
use crate::archive::walk::{Entry, Walk};
use crate::chunks::Chunker;
use crate::operations::backup::bundle::entry;
use crate::operations::backup::jobs::{Closing, Done, Item, Job};
use crate::operations::backup::limits::Limits;
use crate::operations::backup::tally::Tally;
use crate::ordered::{Jobs, NobodyWaits};

/// Where jobs go.
pub(super) type Queue = Jobs<Job, io::Result<Done>>;

/// Hands out what a walk finds as jobs; at the end, the end of the tar.
///
/// # Errors
///
/// Those of files without names in `folder`; None where nobody wants more.
pub(super) fn hand_out(
    walk: Walk,
    folder: &Path,
    limits: Limits,
    tally: &Tally<'_>,
    queue: &Queue,
) -> Result<(), Option<io::Error>> {
    let nobody_waits = |NobodyWaits| None;
    let mut tree = Tree {
        limits,
        tally,
        queue,
        packer: Packer::new(folder),
        bundle: Vec::new(),
        size: 0,
        open: 0,
        most_open: open_files() / OPEN_SHARE,
    };
    for found in walk {
        match found {
            Ok(entry) => tree.entry(entry)?,
            Err(incident) => tally.incident(incident),
        }
    }
    tree.flush().map_err(nobody_waits)?;
    queue.push(Job::End).map_err(nobody_waits)
}

/// Gathers bundles.
struct Tree<'a> {
    limits: Limits,
    tally: &'a Tally<'a>,
    queue: &'a Queue,
    packer: Packer,
    bundle: Vec<Item>,
    /// How many bytes the bundle has.
    size: u64,
    /// How many files it keeps open, and how many it may.
    open: u64,
    most_open: u64,
}

impl Tree<'_> {
    /// Packs an entry.
    fn entry(&mut self, entry: Entry) -> Result<(), Option<io::Error>> {
        let tally = self.tally;
        let role = self.packer.role(&entry).map_err(Some)?;
        let member = self.packer.pack(&entry, role, &mut |incident| tally.incident(incident)).map_err(Some)?;
        member.map_or(Ok(()), |member| self.member(entry.path, member)).map_err(|NobodyWaits| None)
    }

    /// Hands out a member. It was opened early, so that it is on its way from the disk while others are
    /// worked on.
    fn member(&mut self, path: Vec<u8>, member: Member) -> Result<(), NobodyWaits> {
        let stored = member.content.stored();
        if stored >= self.limits.large {
            self.flush()?;
            return self.large(path, member);
        }
        if let Some(file) = member.content.file() {
            // Advice: where it is refused, the file is read a little later.
            let _ = fadvise(file, 0, NonZero::new(stored), Advice::WillNeed);
        }
        self.add(Item { path, member }, stored)
    }

    fn add(&mut self, item: Item, stored: u64) -> Result<(), NobodyWaits> {
        self.size += item.member.header.len() as u64 + stored + padding(stored);
        self.open += u64::from(item.member.content.file().is_some());
        self.bundle.push(item);
        let is_full = self.size >= self.limits.bundle as u64 || self.open >= self.most_open;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NobodyWaits> {
        (self.size, self.open) = (0, 0);
        if self.bundle.is_empty() {
            return Ok(());
        }
        let more = Vec::with_capacity(self.bundle.len());
        self.queue.push(Job::Bundle(std::mem::replace(&mut self.bundle, more)))
    }

    /// A file with frames of its own: its header, its chunks, its padding.
    fn large(&mut self, path: Vec<u8>, mut member: Member) -> Result<(), NobodyWaits> {
        let header = std::mem::take(&mut member.header);
        self.queue.push(Job::Open(Box::new(entry(path.clone(), &member))))?;
        for piece in header.chunks(self.limits.frame) {
            self.queue.push(Job::Frame(piece.to_vec()))?;
        }
        let failure = {
            let content = Padded::new(&member.content);
            let mut chunker = Chunker::new(content, self.limits.chunks);
            // What cannot be read is zeros, so this never fails.
            while let Ok(Some(chunk)) = chunker.next_chunk() {
                self.tally.progress(chunk.len() as u64);
                self.queue.push(Job::Frame(chunk))?;
            }
            chunker.into_source().failure
        };
        let padding = usize::try_from(padding(member.content.stored())).unwrap_or(0);
        if padding > 0 {
            self.queue.push(Job::Frame(END[..padding].to_vec()))?;
        }
        let torn = self.tally.after_reading(&path, &member, failure);
        self.tally.member(&member);
        self.queue.push(Job::Close(Closing { torn, stream: None }))
    }
}

/// The content of a file as its header tells it: zeros stand for what is no longer there, or cannot
/// be read.
struct Padded<'a> {
    content: &'a Content,
    /// The pieces that are left.
    pieces: Box<dyn Iterator<Item = Segment> + 'a>,
    piece: Segment,
    failure: Option<io::Error>,
}

impl<'a> Padded<'a> {
    fn new(content: &'a Content) -> Self {
        let piece = Segment { offset: 0, length: 0 };
        Self { content, pieces: Box::new(content.pieces()), piece, failure: None }
    }
}

impl Read for Padded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.length == 0 {
            match self.pieces.next() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let Some(file) = self.content.file() else { return Ok(0) };
        let count = usize::try_from(self.piece.length).unwrap_or(usize::MAX).min(buffer.len());
        if let Err(error) = read_padded(file, self.piece.offset, &mut buffer[..count]) {
            self.failure.get_or_insert(error);
        }
        self.piece.offset += count as u64;
        self.piece.length -= count as u64;
        Ok(count)
    }
}

/// The bundles under way, and whatever else is open, share what a process may have open.
const OPEN_SHARE: u64 = 24;

/// How many files this process may have open; at least what every system allows.
fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20).clamp(256, 1 << 16)
}
