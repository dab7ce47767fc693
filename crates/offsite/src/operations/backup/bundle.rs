//! Work on jobs: small files are read into the bytes of a bundle, and bytes become frames.

use std::fs::File;
use std::io;
use std::mem;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::archive::header::{END, padding};
use crate::archive::member::{Content, LeadsTo, Member};
use crate::archive::metadata::{self, Metadata, Time};
use crate::frames::Compressor;
use crate::index::{Entry, Inode, Kind};
use crate::operations::backup::chunks::Chunks;
use crate::operations::backup::jobs::{Bundle, Bundled, Done, Frame, Item, Job, New, Piece};
use crate::operations::backup::limits::Limits;
use crate::operations::backup::tally::Tally;
use crate::state::{ChunkHash, Known};

/// One thread's worker.
pub(super) struct Worker<'a> {
    limits: Limits,
    tally: &'a Tally<'a>,
    chunks: &'a Chunks<'a>,
    compressor: Option<Compressor>,
    /// What becomes the next frame.
    raw: Vec<u8>,
    /// Room for compressed bytes before it is known how many there are.
    compressed: Vec<u8>,
    bundle: Bundle,
}

impl<'a> Worker<'a> {
    pub(super) fn new(limits: Limits, tally: &'a Tally<'a>, chunks: &'a Chunks<'a>) -> Self {
        let (raw, compressed) = (Vec::new(), Vec::new());
        Self { limits, tally, chunks, compressor: None, raw, compressed, bundle: Bundle::default() }
    }

    /// Does a job.
    ///
    /// # Errors
    ///
    /// The compressor's: no memory. Those of the state's files.
    pub(super) fn work(&mut self, job: Job) -> io::Result<Done> {
        Ok(match job {
            Job::Bundle(items) => Done::Bundle(self.bundle(items)?),
            Job::Frame(raw) => Done::Frame(self.compress(&raw, None)?),
            Job::Chunk(raw) => {
                let hash = self.chunks.hash(&raw);
                match self.chunks.find(&hash)? {
                    Some(place) => Done::Found(place),
                    None => Done::Frame(self.compress(&raw, Some(hash))?),
                }
            }
            Job::Open(known) => Done::Open(known),
            Job::Keep(places) => Done::Keep(places),
            Job::Close(closing) => Done::Close(closing),
            Job::End => Done::End(self.compress(&END, None)?),
            Job::KeepEnd(place) => Done::KeepEnd(place),
        })
    }

    fn compress(&mut self, raw: &[u8], hash: Option<ChunkHash>) -> io::Result<Frame> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new()?),
        };
        self.compressed.clear();
        compressor.compress(raw, &mut self.compressed)?;
        Ok(Frame { bytes: self.compressed.clone(), raw: raw.len() as u64, hash })
    }

    fn bundle(&mut self, items: Vec<Item>) -> io::Result<Bundle> {
        for item in items {
            match item {
                Item::New(new) => self.member(new)?,
                Item::Kept(known) => self.bundle.entries.push(Bundled::Kept(known)),
                Item::Gone(path) => self.bundle.entries.push(Bundled::Gone(path)),
            }
        }
        self.flush()?;
        Ok(mem::take(&mut self.bundle))
    }

    /// Adds a member to the bundle.
    fn member(&mut self, new: New) -> io::Result<()> {
        let New { path, member, opened } = new;
        let stored = member.content.stored();
        let padding = padding(stored);
        let length = member.header.len() as u64 + stored + padding;
        if !self.raw.is_empty() && self.raw.len() as u64 + length > self.limits.frame as u64 {
            self.flush()?;
        }
        self.add(&member.header)?;
        // What is small fits a frame, but maybe not beside a header that is not.
        if self.raw.len() as u64 + stored + padding > self.limits.frame as u64 {
            self.flush()?;
        }
        let failure = self.read(&member.content);
        self.add(&END[..usize::try_from(padding).unwrap_or(0)])?;
        let torn = member.content.file().is_some() && self.tally.after_reading(&path, &member, failure);
        self.tally.member(&member);
        self.tally.progress(stored);
        self.bundle
            .entries
            .push(Bundled::New(Known { again: may_change(&member, opened), ..known(path, &member, torn) }));
        Ok(())
    }

    /// Reads content, which fits the frame at hand.
    fn read(&mut self, content: &Content) -> Option<io::Error> {
        let file = content.file()?;
        let mut failure = None;
        for piece in content.pieces() {
            let start = self.raw.len();
            let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
            let read = read_exactly(file, piece.offset, length, &mut self.raw);
            if let Err(error) = read {
                failure.get_or_insert(error);
            }
            debug_assert_eq!(self.raw.len(), start + length);
            self.note(length as u64);
        }
        failure
    }

    /// Adds bytes of the entry at hand, in as many frames as it takes.
    fn add(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.raw.len() == self.limits.frame {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.limits.frame - self.raw.len()));
            self.raw.extend_from_slice(now);
            self.note(now.len() as u64);
            bytes = later;
        }
        Ok(())
    }

    /// Notes that the last so many bytes belong to the entry at hand.
    fn note(&mut self, take: u64) {
        let (entry, frame) = (self.bundle.entries.len(), self.bundle.frames.len());
        match self.bundle.pieces.last_mut() {
            Some(last) if (last.entry, last.frame) == (entry, frame) => last.take += take,
            _ if take == 0 => {}
            _ => {
                let skip = self.raw.len() as u64 - take;
                self.bundle.pieces.push(Piece { entry, frame, skip, take });
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.raw.is_empty() {
            let mut raw = mem::take(&mut self.raw);
            let frame = self.compress(&raw, None);
            raw.clear();
            self.raw = raw;
            self.bundle.frames.push(frame?);
        }
        Ok(())
    }
}

/// Reads so many bytes into the free room of a buffer, which is not cleared first. Where the file
/// ends or fails first, zeros follow.
fn read_exactly(file: &File, offset: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let (start, end) = (buffer.len(), buffer.len() + length);
    buffer.reserve(length);
    let mut failure = Ok(());
    while buffer.len() < end && failure.is_ok() {
        let at = offset + (buffer.len() - start) as u64;
        match pread(file, spare_capacity(buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => failure = Err(error.into()),
        }
    }
    // Room for more was read into where the file has grown.
    buffer.resize(end, 0);
    failure
}

/// A file system counts time in ticks: of up to two seconds, or ten milliseconds.
const TICK: i64 = 2;

/// Whether an inode may have changed after it was opened without any other time to show for it.
pub(super) fn may_change(member: &Member, opened: Time) -> bool {
    let Metadata { modified, changed, .. } = &member.metadata;
    let last = *modified.max(changed);
    last >= Time { seconds: opened.seconds.saturating_sub(TICK), ..opened }
}

/// An entry without places, and what only this host needs to know of it.
pub(super) fn known(path: Vec<u8>, member: &Member, torn: bool) -> Known {
    let Metadata { changed, inode: (_, inode), .. } = member.metadata;
    Known { entry: Entry { torn, ..entry(path, member) }, changed, inode, again: false }
}

/// A row without places.
fn entry(path: Vec<u8>, member: &Member) -> Entry {
    let Member { metadata, content, leads_to, is_leader, .. } = member;
    let kind = match leads_to {
        LeadsTo::Leader(leader) => Kind::HardLink { leader: leader.clone() },
        LeadsTo::Target(target) => Kind::Symlink { target: target.clone() },
        LeadsTo::Nothing => kind(metadata, content),
    };
    let Metadata { mode, uid, gid, modified, .. } = *metadata;
    let inode = Inode { mode, uid, gid, mtime: modified };
    Entry { path, kind, inode, links: *is_leader, torn: false, places: Vec::new() }
}

fn kind(metadata: &Metadata, content: &Content) -> Kind {
    let (major, minor) = metadata.device;
    match metadata.kind {
        metadata::Kind::Folder => Kind::Folder,
        metadata::Kind::Fifo => Kind::Fifo,
        metadata::Kind::CharacterDevice => Kind::CharacterDevice { major, minor },
        metadata::Kind::BlockDevice => Kind::BlockDevice { major, minor },
        metadata::Kind::File | metadata::Kind::Symlink | metadata::Kind::Socket => {
            let sparse = matches!(content, Content::Sparse { .. }).then(|| content.stored());
            Kind::File { size: metadata.size, sparse }
        }
    }
}
