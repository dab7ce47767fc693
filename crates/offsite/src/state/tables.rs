//! What the entries of the last backup lie in: frames, the chunks among them by their hashes, and the
//! slices; three files of sorted records.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::blocks::{self, damaged};
use super::last::{Last, TableFile};
use crate::index::{Place, order};
use crate::names::BackupId;
use crate::plan::{self, SliceName, Span};
use crate::receipt::SliceRange;
use crate::slices::Sealed;
use crate::sort::Sorter;
use crate::table::{Records, Table};

/// The keyed BLAKE3 of a chunk.
pub type ChunkHash = [u8; 32];

/// Bytes of where a frame lies: run, slice, offset. Frames of older runs come first.
const AT: usize = 20;
/// Bytes of a frame: where, length, length of what it decompresses to, how much of that is live, its hash
/// or zeros.
const FRAME: usize = AT + 4 + 4 + 8 + HASH;
const HASH: usize = 32;
/// Bytes of a chunk: its hash, where, both lengths.
const CHUNK: usize = HASH + AT + 4 + 4;
/// Bytes of a slice: its name, length, SHA-256.
const SLICE: usize = SLICE_NAME + 4 + 32;
const SLICE_NAME: usize = 16;
/// Bytes of a live piece of a frame: where, both lengths, how much is live.
const PIECE: usize = AT + 4 + 4 + 8;
/// Bytes of a chunk that was just made: where, both lengths, its hash.
const MADE: usize = AT + 4 + 4 + HASH;

/// A frame of the last backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// All of it.
    pub place: Place,
    /// How many bytes of what it decompresses to something refers to; several things may.
    pub live: u64,
}

impl Frame {
    /// How many bytes of a slice are in use for what is live in it.
    #[must_use]
    pub fn stored(&self) -> u64 {
        let live = u128::from(self.live.min(self.place.raw));
        u64::try_from(u128::from(self.place.frame.length) * live / u128::from(self.place.raw.max(1))).unwrap_or(0)
    }
}

/// The tables of the last backup.
pub struct Tables {
    frames: Table<FRAME, AT>,
    chunks: Table<CHUNK, HASH>,
    slices: Table<SLICE, SLICE_NAME>,
}

impl Tables {
    /// Opens the tables in `folder`, each of which is read once to see that it is what was written.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] where it is not.
    pub(super) fn open(folder: &Path, last: &Last) -> io::Result<Self> {
        Ok(Self {
            frames: open(&folder.join("frames"), last.frames)?,
            chunks: open(&folder.join("chunks"), last.chunks)?,
            slices: open(&folder.join("slices"), last.slices)?,
        })
    }

    /// All frames, those of older runs first.
    pub fn frames(&self) -> impl Iterator<Item = io::Result<Frame>> {
        let mut records = self.frames.iter();
        std::iter::from_fn(move || records.next().map(|record| record.as_ref().map(frame)).transpose())
    }

    /// The frame that a place lies in.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn frame(&self, place: &Place) -> io::Result<Option<Frame>> {
        Ok(self.frames.get(&at(place))?.as_ref().map(frame))
    }

    /// The frame of a chunk.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn chunk(&self, hash: &ChunkHash) -> io::Result<Option<Place>> {
        Ok(self.chunks.get(hash)?.map(|record| whole(&record[HASH..])))
    }

    /// Where all chunks lie, in the order of their hashes.
    pub(super) fn chunks(&self) -> impl Iterator<Item = io::Result<Place>> {
        let mut records = self.chunks.iter();
        std::iter::from_fn(move || records.next().map(|record| record.map(|record| whole(&record[HASH..]))).transpose())
    }

    /// All slices, those of older runs first.
    pub fn slices(&self) -> impl Iterator<Item = io::Result<plan::Slice>> {
        let mut records = self.slices.iter();
        std::iter::from_fn(move || records.next().map(|record| record.as_ref().map(slice)).transpose())
    }

    /// What is known of a slice.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn slice(&self, name: SliceName) -> io::Result<Option<plan::Slice>> {
        Ok(self.slices.get(&slice_name(name))?.as_ref().map(slice))
    }
}

fn open<const N: usize, const K: usize>(path: &Path, of: TableFile) -> io::Result<Table<N, K>> {
    let file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file)?;
    let is_whole = file.metadata()?.len() == of.records.saturating_mul(N as u64);
    if !is_whole || *hasher.finalize().as_bytes() != of.hash {
        return Err(damaged());
    }
    Table::new(file, of.records)
}

/// The chunks that a run makes, in the order in which they come.
pub(super) struct Made(blocks::Writer);

impl Made {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        blocks::Writer::create(path).map(Self)
    }

    pub(super) fn chunk(&mut self, place: &Place, hash: &ChunkHash) -> io::Result<()> {
        let record = self.0.record();
        record.extend_from_slice(&order::encode(place)[..AT]);
        record.extend_from_slice(&short(place.frame.length));
        record.extend_from_slice(&short(place.raw));
        record.extend_from_slice(hash);
        self.0.end_record()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    pub(super) fn file(&self) -> &File {
        self.0.file()
    }
}

/// The chunks that a run has made, read in their order.
pub(super) struct MadeReader {
    blocks: Option<blocks::Reader>,
    block: Vec<u8>,
    at: usize,
    /// Whether a bad block is taken for the end.
    is_cut_short: bool,
}

impl MadeReader {
    pub(super) fn new(blocks: blocks::Reader) -> Self {
        Self { blocks: Some(blocks), block: Vec::new(), at: 0, is_cut_short: false }
    }

    /// Those of a run that did not end: as many as can be read.
    pub(super) fn cut_short(blocks: io::Result<blocks::Reader>) -> Self {
        Self { blocks: blocks.ok(), block: Vec::new(), at: 0, is_cut_short: true }
    }

    /// The next chunk's frame and hash.
    pub(super) fn next(&mut self) -> io::Result<Option<(Place, ChunkHash)>> {
        let record = self.record()?;
        Ok(record.map(|record| (whole(&record), tail(&record))))
    }

    fn record(&mut self) -> io::Result<Option<[u8; MADE]>> {
        if self.at == self.block.len() {
            let block = match self.blocks.as_mut().map_or(Ok(None), blocks::Reader::next) {
                Err(_) if self.is_cut_short => None,
                block => block?,
            };
            let Some(block) = block else { return Ok(None) };
            self.block.clear();
            self.block.extend_from_slice(block);
            self.at = 0;
        }
        let record = self.block[self.at..].first_chunk().ok_or_else(damaged)?;
        self.at += MADE;
        Ok(Some(*record))
    }
}

/// Gathers what is live, to become the next tables.
pub(super) struct Live {
    pieces: Sorter<PIECE>,
    /// The frame of the last pieces, and how much of it they are: pieces of a frame mostly come together.
    last: Option<(Place, u64)>,
}

impl Live {
    pub(super) fn new(folder: &Path) -> Self {
        Self { pieces: Sorter::new(folder), last: None }
    }

    /// Some more places refer to what lies there.
    pub(super) fn places(&mut self, places: &[Place]) -> io::Result<()> {
        for place in places {
            match &mut self.last {
                Some((last, live)) if last.in_frame_of(place) => *live += place.piece.take,
                _ => {
                    self.flush()?;
                    self.last = Some((*place, place.piece.take));
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some((place, live)) = self.last.take() else { return Ok(()) };
        let mut record = [0; PIECE];
        record[..AT + 8].copy_from_slice(&frame_bytes(&place));
        record[AT + 8..].copy_from_slice(&live.to_be_bytes());
        self.pieces.push(record)
    }

    /// Writes the tables into `folder`. What is known of frames and slices comes from the tables before,
    /// or is what the run `own` has made.
    pub(super) fn write(mut self, folder: &Path, known: &Sources<'_>, mut made: MadeReader) -> io::Result<Built> {
        self.flush()?;
        let mut old_frames = known.tables.map(|tables| Forward::new(tables.frames.iter()));
        let mut old_slices = known.tables.map(|tables| Forward::new(tables.slices.iter()));
        let mut made_before = made.record()?;
        let mut frames = Writer::<FRAME>::create(&folder.join("frames"))?;
        let mut slices = Writer::<SLICE>::create(&folder.join("slices"))?;
        let mut chunks = Sorter::<CHUNK>::new(folder);
        let mut used: Vec<(BackupId, Vec<SliceRange>)> = Vec::new();
        let mut pieces = self.pieces.sorted()?;
        let mut next = pieces.next()?;
        while let Some(piece) = next {
            let mut live = 0_u64;
            while let Some(same) = next.filter(|same| same[..AT] == piece[..AT]) {
                live = live.saturating_add(u64::from_be_bytes(tail(&same)));
                next = pieces.next()?;
            }
            let place = whole(&piece);
            let key: [u8; AT] = head(&piece);
            let hash = if place.slice.backup == known.own {
                while made_before.is_some_and(|made| made[..AT] < key[..]) {
                    made_before = made.record()?;
                }
                made_before.filter(|made| made[..AT] == key).map(|made| tail::<HASH>(&made))
            } else {
                let known = old_frames.as_mut().map(|frames| frames.find(&key)).transpose()?.flatten();
                known.map(|known| tail::<HASH>(&known))
            };
            let hash = hash.filter(|hash| *hash != [0; HASH]);
            let mut frame = [0; FRAME];
            frame[..AT + 8].copy_from_slice(&frame_bytes(&place));
            frame[AT + 8..AT + 16].copy_from_slice(&live.to_be_bytes());
            frame[AT + 16..].copy_from_slice(&hash.unwrap_or_default());
            frames.push(&frame)?;
            if let Some(hash) = hash {
                let mut chunk = [0; CHUNK];
                chunk[..HASH].copy_from_slice(&hash);
                chunk[HASH..].copy_from_slice(&frame_bytes(&place));
                chunks.push(chunk)?;
            }
            if use_slice(&mut used, place.slice) {
                let name = slice_name(place.slice);
                let own = (place.slice.backup == known.own).then(|| known.own_slice(place.slice.number));
                let slice = match own {
                    Some(own) => own,
                    None => old_slices.as_mut().map(|slices| slices.find(&name)).transpose()?.flatten(),
                };
                slices.push(&slice.ok_or_else(damaged)?)?;
            }
        }
        let (frames, slices) = (frames.finish()?, slices.finish()?);
        Ok(Built { frames, slices, chunks: write_chunks(folder, chunks)?, used })
    }
}

/// Notes that a slice is used; whether it is the first time. Slices ascend.
fn use_slice(used: &mut Vec<(BackupId, Vec<SliceRange>)>, slice: SliceName) -> bool {
    let number = slice.number;
    match used.last_mut() {
        Some((backup, ranges)) if *backup == slice.backup => match ranges.last_mut() {
            Some(range) if range.last == number => return false,
            Some(range) if range.last + 1 == number => range.last = number,
            _ => ranges.push(SliceRange { first: number, last: number }),
        },
        _ => used.push((slice.backup, vec![SliceRange { first: number, last: number }])),
    }
    true
}

/// Writes the chunks in the order of their hashes; of several frames with one hash the newest counts.
fn write_chunks(folder: &Path, chunks: Sorter<CHUNK>) -> io::Result<TableFile> {
    let mut writer = Writer::<CHUNK>::create(&folder.join("chunks"))?;
    let mut sorted = chunks.sorted()?;
    let mut next = sorted.next()?;
    while let Some(chunk) = next {
        next = sorted.next()?;
        if next.is_none_or(|next| next[..HASH] != chunk[..HASH]) {
            writer.push(&chunk)?;
        }
    }
    writer.finish()
}

/// Where what new tables say comes from.
pub(super) struct Sources<'a> {
    /// The tables before.
    pub(super) tables: Option<&'a Tables>,
    /// The run that has made everything else.
    pub(super) own: BackupId,
    /// Its slices, by number.
    pub(super) slices: &'a [Sealed],
}

impl Sources<'_> {
    fn own_slice(&self, number: u32) -> Option<[u8; SLICE]> {
        let Sealed { size, sha256 } = *self.slices.get(usize::try_from(number).ok()?)?;
        let mut record = [0; SLICE];
        record[..SLICE_NAME].copy_from_slice(&slice_name(SliceName { backup: self.own, number }));
        record[SLICE_NAME..SLICE_NAME + 4].copy_from_slice(&short(size));
        record[SLICE_NAME + 4..].copy_from_slice(&sha256);
        Some(record)
    }
}

/// What was written.
pub(super) struct Built {
    pub(super) frames: TableFile,
    pub(super) chunks: TableFile,
    pub(super) slices: TableFile,
    /// The runs that anything live lies in, oldest first, and in which of their slices.
    pub(super) used: Vec<(BackupId, Vec<SliceRange>)>,
}

/// Finds records by ascending keys, in one pass.
struct Forward<'a, const N: usize> {
    records: Records<'a, N>,
    next: Option<[u8; N]>,
}

impl<'a, const N: usize> Forward<'a, N> {
    fn new(records: Records<'a, N>) -> Self {
        Self { records, next: Some([0; N]) }
    }

    fn find(&mut self, key: &[u8]) -> io::Result<Option<[u8; N]>> {
        while self.next.is_some_and(|next| next[..key.len()] < *key) {
            self.next = self.records.next()?;
        }
        Ok(self.next.filter(|next| next[..key.len()] == *key))
    }
}

struct Writer<const N: usize> {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    records: u64,
}

impl<const N: usize> Writer<N> {
    fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let file = BufWriter::with_capacity(128 << 10, file);
        Ok(Self { file, hasher: blake3::Hasher::new(), records: 0 })
    }

    fn push(&mut self, record: &[u8; N]) -> io::Result<()> {
        self.records += 1;
        self.hasher.update(record);
        self.file.write_all(record)
    }

    fn finish(self) -> io::Result<TableFile> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_data()?;
        Ok(TableFile { records: self.records, hash: *self.hasher.finalize().as_bytes() })
    }
}

/// Where a frame lies, as the bytes that it is sorted by.
fn at(place: &Place) -> [u8; AT] {
    head(&order::encode(place))
}

/// A frame: where it lies, and both lengths.
fn frame_bytes(place: &Place) -> [u8; AT + 8] {
    let mut bytes = [0; AT + 8];
    bytes[..AT].copy_from_slice(&at(place));
    bytes[AT..AT + 4].copy_from_slice(&short(place.frame.length));
    bytes[AT + 4..].copy_from_slice(&short(place.raw));
    bytes
}

/// The frame of [`frame_bytes`].
fn whole(bytes: &[u8]) -> Place {
    let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let backup = BackupId::from_bytes(std::array::from_fn(|byte| bytes[byte]));
    let span = Span { offset: u64::from(number(16)), length: u64::from(number(AT)) };
    Place::whole(SliceName { backup, number: number(12) }, span, u64::from(number(AT + 4)))
}

fn frame(record: &[u8; FRAME]) -> Frame {
    let live = u64::from_be_bytes(std::array::from_fn(|byte| record[AT + 8 + byte]));
    Frame { place: whole(record), live }
}

fn slice_name(name: SliceName) -> [u8; SLICE_NAME] {
    let mut bytes = [0; SLICE_NAME];
    bytes[..12].copy_from_slice(&name.backup.to_bytes());
    bytes[12..].copy_from_slice(&name.number.to_be_bytes());
    bytes
}

fn slice(record: &[u8; SLICE]) -> plan::Slice {
    let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| record[at + byte]));
    let name = SliceName { backup: BackupId::from_bytes(head(record)), number: number(12) };
    plan::Slice { name, size: u64::from(number(SLICE_NAME)), sha256: tail::<32>(record) }
}

/// A length: all of them are below 2^32.
fn short(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|byte| bytes[byte])
}

fn tail<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|byte| bytes[bytes.len() - N + byte])
}
