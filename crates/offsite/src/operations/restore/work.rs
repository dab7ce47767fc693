//! What one thread does: frames to members, each compared with what the index says of it, to files
//! or to pieces of the output.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::Cache;
use super::entry::Entry;
use super::error::{Error, FrameFault, Result};
use super::jobs::{Item, Job, Part, Work};
use super::large::{First, Known};
use super::links::Links;
use super::ordered::{Chunk, Piece};
use super::{Slices, Watch};
use crate::archive::header::{BLOCK, END};
use crate::archive::read::{Ending, Extent, Fault, Kind, Member, Reader};
use crate::archive::unpack::Unpacker;
use crate::archive::{again, read};
use crate::frames::Decompressor;
use crate::index;
use crate::index::order::{Marks, Names, Role};
use crate::index::{Inode, Place};

/// Buffers grow by this many bytes at least: 1 MiB.
const GROWTH: usize = 1 << 20;

/// What becomes of members.
pub(super) enum Goal<'u> {
    /// They are only checked.
    Nothing,
    /// Files.
    Files { unpacker: &'u Unpacker<'u>, links: &'u Links },
    /// A tar, or a bare stream.
    Stream,
    /// The content of a file.
    Content,
}

impl Goal<'_> {
    /// Whether results are written in order.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Self::Stream | Self::Content)
    }
}

/// What all threads know.
pub(super) struct Common<'a, 'u, S: Slices> {
    pub(super) cache: Cache<'a, S>,
    pub(super) goal: Goal<'u>,
    pub(super) names: Names,
    pub(super) marks: Marks,
    pub(super) watch: &'a dyn Watch,
    pub(super) keep_going: bool,
    /// Entries that are lost.
    pub(super) lost: AtomicU64,
}

impl<S: Slices> Common<'_, '_, S> {
    /// Reports an entry as lost, or gives the error back where that ends the restore.
    pub(super) fn lose(&self, entry: &Entry, error: Error) -> Result<()> {
        if !self.keep_going || !error.is_of_entry() {
            return Err(error);
        }
        self.report_lost(entry, &error)
    }

    fn report_lost(&self, entry: &Entry, error: &Error) -> Result<()> {
        let path = match entry.role {
            Role::Adopted => self.names.target(entry.name)?,
            Role::Itself | Role::Relinked => self.names.path(entry.name)?,
        };
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.watch.lost(&path, error);
        Ok(())
    }
}

/// One thread's part of it.
pub(super) struct Worker<'w, 'a, 'u, S: Slices> {
    common: &'w Common<'a, 'u, S>,
    /// The number of the job at hand.
    job: u64,
    decompressor: Decompressor,
    /// A frame of which pieces are taken, and which it is.
    frame: Vec<u8>,
    frame_of: Option<Place>,
}

/// A member in a buffer.
struct Parsed {
    member: Member,
    /// Its content, without padding.
    content: Range<usize>,
}

impl<'w, 'a, 'u, S: Slices> Worker<'w, 'a, 'u, S> {
    pub(super) fn new(common: &'w Common<'a, 'u, S>) -> Result<Self> {
        let decompressor = Decompressor::new().map_err(|source| Error::System { action: "decompress", source })?;
        Ok(Self { common, job: 0, decompressor, frame: Vec::new(), frame_of: None })
    }

    /// Does a job in `buffer`: its part of the output, with the buffer.
    pub(super) fn work(&mut self, job: Job<'u>, buffer: Vec<u8>) -> Result<Chunk> {
        let mut chunk = Chunk { buffer, pieces: Vec::new() };
        let Job { number, places, work } = job;
        self.job = number;
        match work {
            Work::Members(items) => self.members(&places, &items, &mut chunk)?,
            Work::Part(part) => self.part(&places, part, &mut chunk)?,
            Work::End => self.end(&places, &mut chunk)?,
        }
        // What was not taken, since it is lost or there already.
        self.common.cache.done(self.job, &places);
        let bytes = places.iter().map(|place| place.piece.take).sum();
        self.common.watch.progress(bytes);
        Ok(chunk)
    }

    fn members(&mut self, places: &[Place], items: &[Item], chunk: &mut Chunk) -> Result<()> {
        if let Err(error) = self.assemble(places, &mut chunk.buffer) {
            if !self.common.keep_going || !error.is_of_entry() {
                return Err(error);
            }
            return items.iter().try_for_each(|item| self.common.report_lost(&item.entry, &error));
        }
        for item in items {
            if let Err(error) = self.item(item, &places[0], chunk) {
                self.common.lose(&item.entry, error)?;
            }
        }
        Ok(())
    }

    /// Puts what the places say into `buffer`.
    fn assemble(&mut self, places: &[Place], buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        let length: u64 = places.iter().map(|place| place.piece.take).sum();
        // A byte more than that is room for a frame that is too long.
        let room = usize::try_from(length + 1).unwrap_or(usize::MAX).next_multiple_of(GROWTH);
        buffer.reserve_exact(room);
        let mut rest = places;
        while let Some(first) = rest.first() {
            let of_slice = rest.iter().take_while(|place| place.slice == first.slice).count();
            let (now, after) = rest.split_at(of_slice);
            let slice = self.common.cache.get(first.slice)?;
            now.iter().try_for_each(|place| self.place(place, &slice, buffer))?;
            drop(slice);
            // Let go at once, so that what other jobs will take fits.
            if after.iter().all(|place| place.slice != first.slice) {
                self.common.cache.done(self.job, now);
            }
            rest = after;
        }
        Ok(())
    }

    fn place(&mut self, place: &Place, slice: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
        let failed = |fault| Error::Frame { slice: place.slice, offset: place.frame.offset, fault };
        let range = range_of(place.frame.offset, place.frame.length);
        let frame = range.and_then(|range| slice.get(range)).ok_or_else(|| failed(FrameFault::Beyond))?;
        if place.is_whole() {
            return self.decompressor.append(frame, place.raw, buffer).map_err(|fault| failed(fault.into()));
        }
        if !self.frame_of.is_some_and(|last| place.in_frame_of(&last)) {
            self.frame_of = None;
            self.decompressor.decompress(frame, place.raw, &mut self.frame).map_err(|fault| failed(fault.into()))?;
            self.frame_of = Some(*place);
        }
        let piece = range_of(place.piece.skip, place.piece.take);
        let piece = piece.and_then(|piece| self.frame.get(piece)).ok_or_else(|| failed(FrameFault::Beyond))?;
        buffer.extend_from_slice(piece);
        Ok(())
    }

    /// A whole member.
    fn item(&self, item: &Item, place: &Place, chunk: &mut Chunk) -> Result<()> {
        let beyond = || Error::Frame { slice: place.slice, offset: place.frame.offset, fault: FrameFault::Beyond };
        let range = range_of(item.start, item.length).filter(|range| range.end <= chunk.buffer.len());
        let range = range.ok_or_else(beyond)?;
        let parsed = self.parse(&item.entry, place, &chunk.buffer[range.clone()], Some(item.length))?;
        let content = range.start + parsed.content.start..range.start + parsed.content.end;
        match &self.common.goal {
            Goal::Nothing => {}
            Goal::Files { unpacker, links } => match &parsed.member.kind {
                Kind::HardLink { target } => links.push(&parsed.member.path, target)?,
                _ => {
                    unpacker.member(&parsed.member, &mut &chunk.buffer[content])?;
                }
            },
            Goal::Stream if item.entry.role == Role::Itself => chunk.push(range),
            Goal::Stream => {
                chunk.pieces.push(Piece::Bytes(again::header(&parsed.member)));
                chunk.push(content.start..range.end);
            }
            Goal::Content => push_content(&parsed.member, content, 0, true, chunk),
        }
        Ok(())
    }

    /// Reads the member at the start of `bytes` and compares it with the index. Where it is said how
    /// long the whole member is, that must be so, and zeros must fill it up.
    fn parse(&self, entry: &Entry, place: &Place, bytes: &[u8], length: Option<u64>) -> Result<Parsed> {
        let common = self.common;
        let damaged = |source| -> Result<Error> {
            let path = common.names.path(entry.name)?;
            Ok(Error::Member { path, slice: place.slice, offset: place.frame.offset, source })
        };
        let mut reader = Reader::new(bytes, Ending::AnyMember);
        let mut member = match reader.next_member() {
            Ok(Some(member)) => member,
            Ok(None) => return Err(damaged(at(0, Fault::CutOff))?),
            Err(source) => return Err(damaged(source)?),
        };
        let start = reader.position();
        let end = start + member.kind.content();
        if let Some(length) = length {
            check_padding(bytes, end, length).or_else(|source| Err(damaged(source)?))?;
        }
        if common.marks.of(&member.path, &kind_of(&member.kind), &inode_of(&member)) != entry.mark {
            return Err(Error::Disagree { path: common.names.path(entry.name)?, slice: place.slice });
        }
        match entry.role {
            Role::Itself => {}
            Role::Adopted => member.path = common.names.target(entry.name)?,
            Role::Relinked => member.kind = Kind::HardLink { target: common.names.target(entry.name)? },
        }
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Parsed { member, content: index(start)..index(end) })
    }

    /// A part of a large member.
    fn part(&mut self, places: &[Place], part: Part<'u>, chunk: &mut Chunk) -> Result<()> {
        let large = part.large.clone();
        let first = (part.at == 0).then(|| First(&large));
        if let Err(error) = self.part_of(places, &part, chunk) {
            // What follows a header in a stream must be there.
            let zeros = if part.at > 0 && large.head().is_some() { part.length } else { 0 };
            chunk.pieces = vec![Piece::Zeros(zeros)];
            if large.lose() {
                self.common.lose(&large.entry, error)?;
            }
        }
        // Only now, so that what is wrong with the first part is told before that the others lack it.
        drop(first);
        drop(part);
        if let Some(large) = Arc::into_inner(large) {
            large.finish();
        }
        Ok(())
    }

    fn part_of(&mut self, places: &[Place], part: &Part<'u>, chunk: &mut Chunk) -> Result<()> {
        let large = &*part.large;
        let is_in_vain = large.is_lost() && !self.common.goal.is_ordered();
        if is_in_vain || part.at > 0 && large.head().is_some_and(|known| known.kept) {
            return Ok(());
        }
        self.assemble(places, &mut chunk.buffer)?;
        let known = match part.at {
            0 => self.first(&places[0], part, &chunk.buffer)?,
            _ => large.head().ok_or(Error::OtherPiece)?,
        };
        let content = self.content_of(&known, part, &places[0], &chunk.buffer)?;
        let position = (part.at + content.start as u64).saturating_sub(known.header);
        match &self.common.goal {
            Goal::Nothing => {}
            Goal::Files { .. } => {
                if let Some(file) = &known.file {
                    file.write_at(&chunk.buffer[content], position)?;
                }
            }
            Goal::Stream if part.at > 0 || large.entry.role == Role::Itself => chunk.push(0..chunk.buffer.len()),
            Goal::Stream => {
                chunk.pieces.push(Piece::Bytes(again::header(&known.member)));
                chunk.push(content.start..chunk.buffer.len());
            }
            Goal::Content => push_content(&known.member, content, position, part.last, chunk),
        }
        Ok(())
    }

    /// Reads the header of a large member, and makes the file.
    fn first(&self, place: &Place, part: &Part<'u>, bytes: &[u8]) -> Result<Arc<Known<'u>>> {
        let large = &*part.large;
        let (member, header) = match &large.stream {
            Some(stream) => (stream.clone(), 0),
            None => {
                let Parsed { member, content } = self.parse(&large.entry, place, bytes, None)?;
                (member, content.start as u64)
            }
        };
        let (mut file, mut kept) = (None, false);
        if let Goal::Files { unpacker, .. } = self.common.goal {
            let Kind::File { .. } = member.kind else {
                let path = self.common.names.path(large.entry.name)?;
                return Err(Error::Disagree { path, slice: place.slice });
            };
            file = unpacker.file(&member)?;
            kept = file.is_none();
        }
        Ok(large.tell(Known { member, header, file, kept }))
    }

    /// Where in a part the content lies. What follows it must be zeros, and no more than fill it up.
    fn content_of(&self, known: &Known<'u>, part: &Part<'u>, place: &Place, bytes: &[u8]) -> Result<Range<usize>> {
        let end = known.header + known.member.kind.content();
        let from = |position: u64| usize::try_from(position.saturating_sub(part.at)).unwrap_or(usize::MAX);
        let content = from(known.header).min(bytes.len())..from(end).min(bytes.len());
        if part.large.stream.is_some() {
            return Ok(content);
        }
        let length = part.at + bytes.len() as u64;
        let padded = end.next_multiple_of(BLOCK);
        let is_complete = !part.last || length == padded;
        if length > padded || !is_complete || bytes[content.end..].iter().any(|byte| *byte != 0) {
            let fault = if length < padded { Fault::CutOff } else { Fault::Padding };
            let path = self.common.names.path(part.large.entry.name)?;
            let source = at(end, fault);
            return Err(Error::Member { path, slice: place.slice, offset: place.frame.offset, source });
        }
        Ok(content)
    }

    /// The end of the tar.
    fn end(&mut self, places: &[Place], chunk: &mut Chunk) -> Result<()> {
        let slice = places[0].slice;
        let mut result = self.assemble(places, &mut chunk.buffer);
        if result.is_ok() && chunk.buffer != END {
            result = Err(Error::End(slice));
        }
        if let Goal::Stream = self.common.goal {
            chunk.pieces.push(Piece::Zeros(END.len() as u64));
        }
        match result {
            // Nothing is lost with it.
            Err(error) if self.common.keep_going && error.is_of_entry() => {
                self.common.watch.lost(b"", &Error::End(slice));
                Ok(())
            }
            result => result,
        }
    }
}

/// Requires zeros, less than a block, between the end of the content and the end of the member.
fn check_padding(bytes: &[u8], end: u64, length: u64) -> std::result::Result<(), read::Error> {
    let padded = end.next_multiple_of(BLOCK);
    if length < padded {
        return Err(at(length, Fault::CutOff));
    }
    let padding = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    if length > padded || padding.iter().any(|byte| *byte != 0) {
        return Err(at(end, Fault::Padding));
    }
    Ok(())
}

fn at(offset: u64, fault: Fault) -> read::Error {
    read::Error::Damaged { offset, fault }
}

/// Adds what of a file's content lies in the buffer, from `position` of what is stored of it, and
/// the holes before it; behind the last of it those at the end.
fn push_content(member: &Member, content: Range<usize>, position: u64, last: bool, chunk: &mut Chunk) {
    let Kind::File { size, extents: Some(extents) } = &member.kind else {
        chunk.push(content);
        return;
    };
    let mut rest = content;
    // Where in what is stored, and where in the file, the extent at hand begins; where data ended.
    let (mut stored, mut ended) = (0, 0);
    let mut at = position;
    for Extent { offset, length } in extents.iter().filter(|extent| extent.length > 0) {
        if at < stored + length && !rest.is_empty() {
            if at == stored && *offset > ended {
                chunk.pieces.push(Piece::Zeros(offset - ended));
            }
            let fits = usize::try_from(stored + length - at).unwrap_or(usize::MAX).min(rest.len());
            chunk.push(rest.start..rest.start + fits);
            rest.start += fits;
            at += fits as u64;
        }
        stored += length;
        ended = offset + length;
    }
    if last && *size > ended {
        chunk.pieces.push(Piece::Zeros(size - ended));
    }
}

fn range_of(start: u64, length: u64) -> Option<Range<usize>> {
    let start = usize::try_from(start).ok()?;
    Some(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// What an index says of such a member.
fn kind_of(kind: &Kind) -> index::Kind {
    match kind {
        Kind::File { size, extents } => {
            let sparse = extents.as_ref().map(|_| kind.content());
            index::Kind::File { size: *size, sparse }
        }
        Kind::HardLink { target } => index::Kind::HardLink { leader: target.clone() },
        Kind::Symlink { target } => index::Kind::Symlink { target: target.clone() },
        Kind::Directory => index::Kind::Folder,
        Kind::Fifo => index::Kind::Fifo,
        Kind::CharacterDevice { major, minor } => index::Kind::CharacterDevice { major: *major, minor: *minor },
        Kind::BlockDevice { major, minor } => index::Kind::BlockDevice { major: *major, minor: *minor },
    }
}

fn inode_of(member: &Member) -> Inode {
    Inode { mode: member.mode, uid: member.uid, gid: member.gid, mtime: member.mtime }
}
