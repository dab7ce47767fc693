//! Trees of files to jobs, in the order of the walk. What has not changed since the last backup stays where
//! it is, and is not even opened.

use std::io::{self, Read};
use std::num::NonZero;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use time::OffsetDateTime;

use crate::archive::header::{END, padding};
use crate::archive::links::Role;
use crate::archive::member::{Content, Member, Packer, read_padded};
use crate::archive::metadata::{Kind, Metadata, Time};
use crate::archive::sparse::Segment;
use crate::archive::walk::{Entry, Walk};
use crate::chunks::{Chunker, Room};
use crate::index::Place;
use crate::operations::backup::bundle::{known, may_change};
use crate::operations::backup::jobs::{Closing, Done, Item, Job, New};
use crate::operations::backup::limits::Limits;
use crate::operations::backup::merged::{Ignored, Older, is_unchanged};
use crate::operations::backup::reuse::Reuse;
use crate::operations::backup::tally::Tally;
use crate::ordered::{Jobs, NobodyWaits};
use crate::state::Known;

/// Where jobs go.
pub(super) type Queue = Jobs<Job, io::Result<Done>>;

/// Why not all jobs were handed out.
pub(super) enum Stopped {
    /// Nobody wants more: another thread knows why.
    NobodyWaits,
    /// What is known of the last backup cannot be read, or what is needed for a while not be kept.
    Failed(crate::Error),
}

impl From<NobodyWaits> for Stopped {
    fn from(NobodyWaits: NobodyWaits) -> Self {
        Self::NobodyWaits
    }
}

impl From<crate::Error> for Stopped {
    fn from(error: crate::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Failed(crate::Error::Temporary(error))
    }
}

type Result<T, E = Stopped> = std::result::Result<T, E>;

/// What a walk is compared with, and how.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    /// What of the last backup is used again.
    pub(super) reuse: &'a Reuse<'a>,
    /// Whether it is to be told what is gone.
    pub(super) tells_gone: bool,
    /// What is not compared.
    pub(super) ignored: Ignored,
    /// The time now.
    pub(super) clock: &'a (dyn Fn() -> OffsetDateTime + Sync),
    /// Where files without names may be made.
    pub(super) folder: &'a Path,
}

/// Hands out what a walk finds as jobs; at the end, the end of the tar.
///
/// # Errors
///
/// [`Stopped`].
pub(super) fn hand_out(
    walk: Walk,
    comparison: Comparison<'_>,
    limits: Limits,
    tally: &Tally<'_>,
    queue: &Queue,
) -> Result<()> {
    let memory = comparison.reuse.memory();
    let older = memory.map(|memory| memory.entries().and_then(Older::new)).transpose()?.unwrap_or_default();
    let packer = Packer::new(comparison.folder);
    let most_open = open_files() / OPEN_SHARE;
    let (bundle, room) = (Bundle::default(), Room::default());
    let mut tree = Tree { limits, tally, queue, comparison, older, packer, bundle, room, most_open };
    for found in walk {
        match found? {
            Ok(entry) => tree.entry(entry)?,
            Err(incident) => tally.incident(incident),
        }
    }
    while let Some(gone) = tree.older.next_gone(None)? {
        tree.gone(gone)?;
    }
    tree.flush()?;
    let end = memory.and_then(|memory| memory.last.end);
    match end {
        Some(end) if comparison.reuse.keeps(&[end])? => Ok(queue.push(Job::KeepEnd(end))?),
        _ => Ok(queue.push(Job::End)?),
    }
}

/// Gathers bundles.
struct Tree<'a> {
    limits: Limits,
    tally: &'a Tally<'a>,
    queue: &'a Queue,
    comparison: Comparison<'a>,
    older: Older,
    packer: Packer,
    bundle: Bundle,
    /// For large files.
    room: Room,
    /// How many files a bundle may keep open.
    most_open: u64,
}

/// What is gathered.
#[derive(Default)]
struct Bundle {
    items: Vec<Item>,
    /// How many bytes its members have.
    size: u64,
    /// How many files it keeps open.
    open: u64,
    /// How much memory what only passes through it takes, in bytes; about.
    passing: usize,
}

/// How much may pass through a bundle that gathers members meanwhile: some thousand entries.
const PASSING: usize = 512 << 10;

/// How much memory an entry takes beside its names and places, in bytes; about.
const ENTRY: usize = 256;

impl Tree<'_> {
    fn entry(&mut self, entry: Entry) -> Result<()> {
        while let Some(gone) = self.older.next_gone(Some(&entry.path))? {
            self.gone(gone)?;
        }
        let old = self.older.entry(&entry.path)?;
        if entry.metadata.kind == Kind::Socket {
            old.map_or(Ok(()), |old| self.gone(old.entry.path))?;
            let tally = self.tally;
            return Ok(self.packer.pack(&entry, Role::Alone, &mut |incident| tally.incident(incident)).map(drop)?);
        }
        let role = self.packer.role(&entry)?;
        let was_there = old.is_some();
        match old.filter(|old| is_unchanged(old, &entry, &role, self.comparison.ignored)) {
            Some(old) if !self.older.has_part() && self.comparison.reuse.keeps(&old.entry.places)? => {
                self.keep(&entry, &role, old)
            }
            old => self.pack(entry, role, was_there, old),
        }
    }

    /// The member stays where it is.
    fn keep(&mut self, entry: &Entry, role: &Role, old: Known) -> Result<()> {
        if *role == Role::Leader {
            self.packer.keep(entry)?;
        }
        self.tally.entry(&entry.metadata, matches!(role, Role::Follower { .. }));
        let memory = ENTRY + old.entry.path.len() + old.entry.places.len() * size_of::<Place>();
        self.pass(Item::Kept(old), memory)
    }

    /// Tells that a path of the last backup is not in this one, where anybody wants to know.
    fn gone(&mut self, path: Vec<u8>) -> Result<()> {
        let memory = ENTRY + path.len();
        if self.comparison.tells_gone { self.pass(Item::Gone(path), memory) } else { Ok(()) }
    }

    fn pass(&mut self, item: Item, memory: usize) -> Result<()> {
        self.bundle.passing += memory;
        self.bundle.items.push(item);
        if self.bundle.passing >= PASSING { self.flush() } else { Ok(()) }
    }

    /// Opens an entry, so that it is on its way from the disk while others are worked on. `was_there` tells
    /// whether the last backup has its path, and `old` what it says of it, if that is still so.
    fn pack(&mut self, entry: Entry, role: Role, was_there: bool, old: Option<Known>) -> Result<()> {
        let now = (self.comparison.clock)();
        let opened = Time { seconds: now.unix_timestamp(), nanoseconds: now.nanosecond() };
        let tally = self.tally;
        let member = self.packer.pack(&entry, role, &mut |incident| tally.incident(incident))?;
        let Some(member) = member else {
            return if was_there { self.gone(entry.path) } else { Ok(()) };
        };
        let stored = member.content.stored();
        if stored >= self.limits.large {
            self.flush()?;
            let old = old.filter(|_| is_as_seen(&member, &entry.metadata));
            return match old.and_then(|old| Parts::of(old, &member)) {
                Some(parts) => self.renew(&entry, &member, opened, parts),
                None => self.large(entry.path, member, opened),
            };
        }
        if let Some(file) = member.content.file() {
            // Advice: where it is refused, the file is read a little later.
            let _ = fadvise(file, 0, NonZero::new(stored), Advice::WillNeed);
        }
        self.add(New { path: entry.path, member, opened }, stored)
    }

    fn add(&mut self, new: New, stored: u64) -> Result<()> {
        let bundle = &mut self.bundle;
        bundle.size += new.member.header.len() as u64 + stored + padding(stored);
        bundle.open += u64::from(new.member.content.file().is_some());
        bundle.items.push(Item::New(new));
        let is_full = bundle.size >= self.limits.bundle as u64
            || bundle.items.len() >= self.limits.members
            || bundle.open >= self.most_open;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.bundle.items.is_empty() {
            return Ok(());
        }
        let items = Vec::with_capacity(self.bundle.items.len());
        let bundle = std::mem::replace(&mut self.bundle, Bundle { items, ..Bundle::default() });
        Ok(self.queue.push(Job::Bundle(bundle.items))?)
    }

    /// A file with frames of its own: its header, its chunks, its padding.
    fn large(&mut self, path: Vec<u8>, mut member: Member, opened: Time) -> Result<()> {
        let header = std::mem::take(&mut member.header);
        self.queue.push(Job::Open(Box::new(known(path.clone(), &member, false))))?;
        self.frames(&header)?;
        let failure = {
            let content = Padded::new(&member.content);
            let mut chunker = Chunker::new(content, self.limits.chunks, &mut self.room);
            // What cannot be read is zeros, so this never fails.
            while let Ok(Some(chunk)) = chunker.next_chunk() {
                self.tally.progress(chunk.len() as u64);
                self.queue.push(Job::Chunk(chunk))?;
            }
            chunker.into_source().failure
        };
        self.frames(padding_of(&member))?;
        self.close(&path, &member, opened, failure)
    }

    /// A file with frames of its own that has not changed, and of which some must be made anew: only these
    /// are read.
    fn renew(&mut self, entry: &Entry, member: &Member, opened: Time, parts: Parts) -> Result<()> {
        let Parts { known, header, mut content } = parts;
        self.queue.push(Job::Open(Box::new(known)))?;
        if self.comparison.reuse.keeps(&header)? {
            if member.is_leader {
                self.packer.keep(entry)?;
            }
            self.queue.push(Job::Keep(header))?;
        } else {
            self.frames(&member.header)?;
        }
        let (stored, zeros) = (member.content.stored(), padding_of(member));
        let (mut at, mut padded, mut failure) = (0, zeros.is_empty(), None);
        loop {
            let mut kept = Vec::new();
            for place in content {
                let take = place.piece.take;
                // What lies there is content, all of the padding, or nothing that can be relied on.
                let fits = if at < stored { take <= stored - at } else { !padded && take == zeros.len() as u64 };
                if fits && self.comparison.reuse.keeps(&[place])? {
                    kept.push(place);
                } else if at < stored {
                    self.queue.push(Job::Keep(std::mem::take(&mut kept)))?;
                    failure = self.chunks(member, at, take.min(stored - at))?.or(failure);
                } else {
                    continue;
                }
                padded |= at == stored;
                at += if at < stored { take.min(stored - at) } else { 0 };
            }
            self.queue.push(Job::Keep(kept))?;
            match self.older.part()? {
                Some(part) => content = part.places,
                None => break,
            }
        }
        failure = self.chunks(member, at, stored - at)?.or(failure);
        if !padded {
            self.frames(zeros)?;
        }
        self.close(&entry.path, member, opened, failure)
    }

    /// Hands out a piece of a file as a chunk; as several where slices have become shorter since it was one.
    /// What kept it from being read.
    fn chunks(&self, member: &Member, mut at: u64, length: u64) -> Result<Option<io::Error>> {
        let (end, mut failure) = (at + length, None);
        while at < end {
            let take = (end - at).min(self.limits.chunks.longest() as u64);
            let mut chunk = vec![0; usize::try_from(take).unwrap_or(0)];
            let read = member.content.file().map_or(Ok(()), |file| read_padded(file, at, &mut chunk));
            failure = read.err().or(failure);
            self.tally.progress(take);
            self.queue.push(Job::Chunk(chunk))?;
            at += take;
        }
        Ok(failure)
    }

    /// Hands out bytes as frames of their own.
    fn frames(&self, bytes: &[u8]) -> Result<()> {
        Ok(bytes.chunks(self.limits.frame).try_for_each(|piece| self.queue.push(Job::Frame(piece.to_vec())))?)
    }

    fn close(&self, path: &[u8], member: &Member, opened: Time, failure: Option<io::Error>) -> Result<()> {
        let torn = self.tally.after_reading(path, member, failure);
        self.tally.member(member);
        let again = may_change(member, opened);
        Ok(self.queue.push(Job::Close(Closing { torn, again, stream: None }))?)
    }
}

/// The zeros behind a member's content.
fn padding_of(member: &Member) -> &'static [u8] {
    &END[..usize::try_from(padding(member.content.stored())).unwrap_or(0)]
}

/// Whether a file is still what the walk has seen, now that it is open.
fn is_as_seen(member: &Member, seen: &Metadata) -> bool {
    let Metadata { size, modified, changed, inode, .. } = &member.metadata;
    (*size, *modified, *changed, *inode) == (seen.size, seen.modified, seen.changed, seen.inode)
}

/// What the last backup has of a file that has not changed.
struct Parts {
    /// The entry, without places.
    known: Known,
    /// Where its header lies.
    header: Vec<Place>,
    /// Where its content begins, as far as its row says.
    content: Vec<Place>,
}

impl Parts {
    /// None where its pieces cannot be told apart. A sparse file's can, but where its holes are may be told
    /// otherwise today.
    fn of(mut known: Known, member: &Member) -> Option<Self> {
        if !matches!(member.content, Content::Plain { .. }) {
            return None;
        }
        let mut header = std::mem::take(&mut known.entry.places);
        let length = member.header.len() as u64;
        let mut sum = 0;
        let count = header.iter().position(|place| {
            sum += place.piece.take;
            sum >= length
        })?;
        let content = header.split_off(count + 1);
        (sum == length).then_some(Self { known, header, content })
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
