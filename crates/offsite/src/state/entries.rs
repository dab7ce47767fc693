//! The entries of the last backup, in the order of the walk, each with what tells whether it has changed.
//!
//! It says what the index says, and what only this host needs to know. The form is a binary one, since
//! it is read and written again with each backup: numbers of variable length (LEB128), paths without
//! what they have in common with the one before, places beside the one before; nothing refers to another
//! block.

use std::io;
use std::path::Path;

use super::blocks::{self, damaged};
use crate::index::{Entry, Inode, Kind, Part, Place, Time, limits};
use crate::names::BackupId;
use crate::paths;
use crate::plan::{SliceName, Span, Take};

/// An entry of the last backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What the index says of it.
    pub entry: Entry,
    /// When the inode changed last, its content or what it says.
    pub changed: Time,
    /// The number of its inode.
    pub inode: u64,
    /// Whether it must be read again, since it may have changed unnoticed.
    pub again: bool,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry(Known),
    /// More places of the one before.
    Part(Part),
}

impl Record {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Entry(known) => &known.entry.path,
            Self::Part(part) => &part.path,
        }
    }
}

/// Marks of a record's kind.
const LINKS: u8 = 0x10;
const TORN: u8 = 0x20;
const AGAIN: u8 = 0x40;
const KIND: u8 = 0x0f;
const PART: u8 = 8;

/// What a record leaves out because the one before says it.
#[derive(Default)]
struct Before {
    path: Vec<u8>,
    place: Option<Place>,
}

/// Writes entries.
pub(super) struct Writer {
    blocks: blocks::Writer,
    before: Before,
}

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { blocks: blocks::Writer::create(path)?, before: Before::default() })
    }

    /// Writes an entry.
    pub(super) fn entry(&mut self, known: &Known) -> io::Result<()> {
        self.begin();
        push_entry(self.blocks.record(), known, &mut self.before);
        self.blocks.end_record()
    }

    /// Writes more places of the entry before.
    pub(super) fn part(&mut self, part: &Part) -> io::Result<()> {
        self.begin();
        push_part(self.blocks.record(), part, &mut self.before);
        self.blocks.end_record()
    }

    /// Nothing refers to another block.
    fn begin(&mut self) {
        if self.blocks.is_empty() {
            self.before = Before::default();
        }
    }

    /// The file, for whoever makes it durable meanwhile.
    pub(super) fn file(&self) -> &std::fs::File {
        self.blocks.file()
    }

    /// Writes what there is, so that it outlasts this process.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.blocks.flush()
    }

    pub(super) fn finish(self) -> io::Result<u64> {
        self.blocks.finish()
    }
}

/// Reads entries.
pub(super) struct Reader {
    blocks: blocks::Reader,
    block: Vec<u8>,
    at: usize,
    before: Before,
}

impl Reader {
    pub(super) fn new(blocks: blocks::Reader) -> Self {
        Self { blocks, block: Vec::new(), at: 0, before: Before::default() }
    }

    /// The next record; None after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        if self.at == self.block.len() {
            let Some(block) = self.blocks.next()? else { return Ok(None) };
            self.block.clear();
            self.block.extend_from_slice(block);
            (self.at, self.before) = (0, Before::default());
        }
        let mut input = Input(&self.block[self.at..]);
        let record = input.record(&mut self.before).ok_or_else(damaged)?;
        self.at = self.block.len() - input.0.len();
        Ok(Some(record))
    }
}

/// Reads the records of a block, as hostile as it may be. Where they can be read, and are what can be
/// written, writing them gives a block that reads the same. For tests and fuzzing; whether it does.
#[must_use]
pub fn read_and_write(block: &[u8]) -> bool {
    let Some(records) = read_block(block) else { return true };
    let mut again = Vec::new();
    let mut before = Before::default();
    for record in &records {
        match record {
            Record::Entry(known) => push_entry(&mut again, known, &mut before),
            Record::Part(part) => push_part(&mut again, part, &mut before),
        }
    }
    read_block(&again) == Some(records)
}

fn read_block(block: &[u8]) -> Option<Vec<Record>> {
    let (mut input, mut before) = (Input(block), Before::default());
    let mut records = Vec::new();
    while !input.0.is_empty() {
        records.push(input.record(&mut before)?);
    }
    Some(records)
}

fn kind_number(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => 0,
        Kind::Folder => 1,
        Kind::Symlink { .. } => 2,
        Kind::HardLink { .. } => 3,
        Kind::Fifo => 4,
        Kind::CharacterDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
        Kind::Stream { .. } => 7,
    }
}

fn push(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or(0));
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn push_entry(out: &mut Vec<u8>, known: &Known, before: &mut Before) {
    let Known { entry, changed, inode, again } = known;
    let flags = [(entry.links, LINKS), (entry.torn, TORN), (*again, AGAIN)];
    let flags = flags.into_iter().filter(|(is, _)| *is).fold(0, |all, (_, flag)| all | flag);
    push_path(out, &entry.path, before);
    out.push(kind_number(&entry.kind) | flags);
    if !matches!(entry.kind, Kind::Stream { .. }) {
        let Inode { mode, uid, gid, mtime } = entry.inode;
        [mode, uid, gid].into_iter().for_each(|number| push(out, u64::from(number)));
        push_time(out, mtime);
        push_time(out, *changed);
        push(out, *inode);
    }
    push_kind(out, &entry.kind);
    push_places(out, &entry.places, before);
}

fn push_part(out: &mut Vec<u8>, part: &Part, before: &mut Before) {
    push_path(out, &part.path, before);
    out.push(PART);
    push(out, part.number);
    push_places(out, &part.places, before);
}

/// A path: how much of the one before it begins with, and the rest.
fn push_path(out: &mut Vec<u8>, path: &[u8], before: &mut Before) {
    let common = path.iter().zip(&before.path).take_while(|(one, other)| one == other).count();
    push(out, common as u64);
    push_bytes(out, &path[common..]);
    before.path.truncate(common);
    before.path.extend_from_slice(&path[common..]);
}

fn push_places(out: &mut Vec<u8>, places: &[Place], before: &mut Before) {
    push(out, places.len() as u64);
    for place in places {
        push_place(out, place, before.place.as_ref());
        before.place = Some(*place);
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_time(out: &mut Vec<u8>, time: Time) {
    // Signs in the lowest bit, so that small numbers stay short.
    push(out, (time.seconds.cast_unsigned() << 1) ^ (time.seconds >> 63).cast_unsigned());
    push(out, u64::from(time.nanoseconds));
}

fn push_kind(out: &mut Vec<u8>, kind: &Kind) {
    match kind {
        Kind::File { size, sparse } => {
            push(out, *size);
            push(out, sparse.map_or(0, |stored| stored.saturating_add(1)));
        }
        Kind::Stream { size } => push(out, *size),
        Kind::Symlink { target: name } | Kind::HardLink { leader: name } => push_bytes(out, name),
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            push(out, u64::from(*major));
            push(out, u64::from(*minor));
        }
        Kind::Folder | Kind::Fifo => {}
    }
}

/// How a place is told beside the one before.
const CONTINUES: u8 = 0;
const FOLLOWS: u8 = 1;
const SAME_SLICE: u8 = 2;
const SAME_RUN: u8 = 3;
const OTHER_RUN: u8 = 4;

fn push_place(out: &mut Vec<u8>, place: &Place, before: Option<&Place>) {
    let Place { slice, frame, raw, piece } = place;
    if let Some(before) = before.filter(|before| place.in_frame_of(before))
        && piece.skip == before.piece.skip + before.piece.take
    {
        out.push(CONTINUES);
        return push(out, piece.take);
    }
    match before {
        Some(before) if before.slice == *slice => {
            if place.is_whole() && frame.offset == before.frame.offset + before.frame.length {
                out.push(FOLLOWS);
                push(out, frame.length);
                return push(out, *raw);
            }
            out.push(SAME_SLICE);
        }
        Some(before) if before.slice.backup == slice.backup => {
            out.push(SAME_RUN);
            push(out, u64::from(slice.number));
        }
        _ => {
            out.push(OTHER_RUN);
            out.extend_from_slice(&slice.backup.to_bytes());
            push(out, u64::from(slice.number));
        }
    }
    [frame.offset, frame.length, *raw, piece.skip, piece.take].into_iter().for_each(|number| push(out, number));
}

/// What is left of a block. Everything gives None where the block is no block of records.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn time(&mut self) -> Option<Time> {
        let seconds = self.number()?;
        let seconds = (seconds >> 1).cast_signed() ^ -(seconds & 1).cast_signed();
        let nanoseconds = self.short().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
        Some(Time { seconds, nanoseconds })
    }

    fn record(&mut self, before: &mut Before) -> Option<Record> {
        let common = usize::try_from(self.number()?).ok().filter(|common| *common <= before.path.len())?;
        let rest = self.bytes()?;
        before.path.truncate(common);
        before.path.extend_from_slice(rest);
        paths::check(&before.path).ok()?;
        let path = before.path.clone();
        let mark = self.byte()?;
        if mark == PART {
            let number = self.number()?;
            return Some(Record::Part(Part { path, number, places: self.places(before)? }));
        }
        let is_stream = mark & KIND == 7;
        let mut known = Known {
            entry: Entry {
                path,
                kind: Kind::Folder,
                inode: Inode::default(),
                links: mark & LINKS > 0,
                torn: mark & TORN > 0,
                places: Vec::new(),
            },
            changed: Time::default(),
            inode: 0,
            again: mark & AGAIN > 0,
        };
        if !is_stream {
            let [mode, uid, gid] = [self.short()?, self.short()?, self.short()?];
            known.entry.inode = Inode { mode, uid, gid, mtime: self.time()? };
            known.changed = self.time()?;
            known.inode = self.number()?;
        }
        known.entry.kind = self.kind(mark & KIND)?;
        known.entry.places = self.places(before)?;
        Some(Record::Entry(known))
    }

    fn kind(&mut self, number: u8) -> Option<Kind> {
        Some(match number {
            0 => Kind::File { size: self.number()?, sparse: self.number()?.checked_sub(1) },
            1 => Kind::Folder,
            2 => Kind::Symlink { target: self.bytes()?.to_vec() },
            3 => Kind::HardLink { leader: self.bytes()?.to_vec() },
            4 => Kind::Fifo,
            5 => Kind::CharacterDevice { major: self.short()?, minor: self.short()? },
            6 => Kind::BlockDevice { major: self.short()?, minor: self.short()? },
            7 => Kind::Stream { size: self.number()? },
            _ => return None,
        })
    }

    fn places(&mut self, before: &mut Before) -> Option<Vec<Place>> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= limits::PLACES)?;
        // A place has two bytes at least: what is not there takes no memory.
        let mut places = Vec::with_capacity(count.min(self.0.len() / 2));
        for _ in 0..count {
            let place = self.place(before.place.as_ref())?;
            before.place = Some(place);
            places.push(place);
        }
        Some(places)
    }

    fn place(&mut self, before: Option<&Place>) -> Option<Place> {
        let form = self.byte()?;
        let place = match (form, before) {
            (CONTINUES, Some(before)) => {
                let skip = before.piece.skip + before.piece.take;
                Place { piece: Take { skip, take: self.number()? }, ..*before }
            }
            (FOLLOWS, Some(before)) => {
                let offset = before.frame.offset + before.frame.length;
                let frame = Span { offset, length: self.number()? };
                Place::whole(before.slice, frame, self.number()?)
            }
            (SAME_SLICE, Some(before)) => self.rest_of_place(before.slice)?,
            (SAME_RUN, Some(before)) => {
                let slice = SliceName { number: self.short()?, ..before.slice };
                self.rest_of_place(slice)?
            }
            (OTHER_RUN, _) => {
                let (backup, rest) = self.0.split_first_chunk::<12>()?;
                self.0 = rest;
                let slice = SliceName { backup: BackupId::from_bytes(*backup), number: self.short()? };
                self.rest_of_place(slice)?
            }
            _ => return None,
        };
        let Place { frame, raw, piece, .. } = place;
        // Sums of what is within bounds do not overflow.
        let frame_fits = frame.length > 0 && frame.offset <= SLICE && frame.length <= SLICE;
        let piece_fits = raw <= limits::RAW && piece.take > 0 && piece.skip <= raw && piece.take <= raw - piece.skip;
        (frame_fits && piece_fits).then_some(place)
    }

    fn rest_of_place(&mut self, slice: SliceName) -> Option<Place> {
        let frame = Span { offset: self.number()?, length: self.number()? };
        let raw = self.number()?;
        Some(Place { slice, frame, raw, piece: Take { skip: self.number()?, take: self.number()? } })
    }
}

/// Longest slice, in bytes.
const SLICE: u64 = offsite_cms::limits::SLICE_SIZE_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(backup: &str, number: u32, offset: u64, length: u64, raw: u64, skip: u64, take: u64) -> Place {
        let slice = SliceName { backup: backup.parse().unwrap(), number };
        Place { slice, frame: Span { offset, length }, raw, piece: Take { skip, take } }
    }

    fn samples() -> Vec<Record> {
        let (one, other) = ("20261122T074500Z-00000002", "20261123T074500Z-7f3a9c01");
        let known = |path: &[u8], kind, places| {
            let mtime = Time { seconds: -7, nanoseconds: 999_999_999 };
            let inode = Inode { mode: 0o4755, uid: u32::MAX, gid: 7, mtime };
            let entry = Entry { path: path.to_vec(), kind, inode, links: false, torn: false, places };
            let changed = Time { seconds: i64::MAX, nanoseconds: 1 };
            Record::Entry(Known { entry, changed, inode: u64::MAX, again: false })
        };
        let mut all = vec![
            known(b"", Kind::Folder, vec![place(one, 0, 0, 10, 2048, 0, 512)]),
            known(b"a", Kind::File { size: 5, sparse: None }, vec![place(one, 0, 0, 10, 2048, 512, 1024)]),
            known(b"a\xffb", Kind::File { size: 5, sparse: Some(0) }, vec![place(one, 0, 10, 20, 1024, 0, 1024)]),
            known(b"b", Kind::Symlink { target: b"x".to_vec() }, vec![place(one, 0, 50, 20, 1024, 0, 1024)]),
            known(b"c", Kind::HardLink { leader: b"a".to_vec() }, vec![place(one, 3, 50, 20, 1024, 1, 1023)]),
            known(b"d", Kind::Fifo, vec![place(other, 3, 50, 20, 1024, 1, 1023)]),
            known(b"e", Kind::CharacterDevice { major: 1, minor: u32::MAX }, vec![place(one, 3, 5, 2, 512, 0, 512)]),
            known(b"f", Kind::BlockDevice { major: 1, minor: 2 }, vec![place(other, 4, 5, 2, 512, 0, 512)]),
            known(b"g", Kind::File { size: u64::MAX, sparse: None }, vec![place(other, 4, 9, 2, 512, 0, 512); 4096]),
            Record::Part(Part { path: b"g".to_vec(), number: 1, places: vec![place(other, 4, 9, 2, 512, 0, 512)] }),
        ];
        for (number, record) in all.iter_mut().enumerate() {
            let Record::Entry(known) = record else { continue };
            (known.entry.links, known.entry.torn, known.again) = (number & 1 > 0, number & 2 > 0, number & 4 > 0);
        }
        let stream = Entry {
            path: b"dump.sql".to_vec(),
            kind: Kind::Stream { size: 7 },
            inode: Inode::default(),
            links: false,
            torn: false,
            places: Vec::new(),
        };
        all.push(Record::Entry(Known { entry: stream, changed: Time::default(), inode: 0, again: false }));
        all
    }

    fn write(path: &Path, records: &[Record]) -> u64 {
        let mut writer = Writer::create(path).unwrap();
        for record in records {
            match record {
                Record::Entry(known) => writer.entry(known).unwrap(),
                Record::Part(part) => writer.part(part).unwrap(),
            }
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entries");
        let records: Vec<_> = samples().into_iter().cycle().take(1000).collect();
        let size = write(&path, &records);
        assert!(size > 10 << 16, "several blocks: {size}");
        let mut reader = Reader::new(blocks::Reader::open(&path, size).unwrap());
        for record in &records {
            assert_eq!(reader.next().unwrap().as_ref(), Some(record));
        }
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn a_block_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entries");
        let few: Vec<_> = samples().into_iter().filter(|record| record.path() != b"g").collect();
        let size = write(&path, &few);
        let block = blocks::Reader::open(&path, size).unwrap().next().unwrap().unwrap().to_vec();
        assert_eq!(read_block(&block).unwrap(), few);
        let cut = (1..block.len()).filter(|length| read_block(&block[..*length]).is_some()).count();
        assert!(cut < few.len(), "only between records: {cut}");
        for at in 0..block.len() {
            for bit in 0..8 {
                let mut bad = block.clone();
                bad[at] ^= 1 << bit;
                assert!(read_and_write(&bad), "bit {bit} of byte {at}");
            }
        }
    }
}
