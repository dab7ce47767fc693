//! Small backups, made by the library's own stages and kept in memory.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use offsite::archive::header::{END, padding};
use offsite::archive::member::{Member, Packer, read_padded};
use offsite::archive::walk::Walk;
use offsite::frames::Compressor;
use offsite::index::{Entry, Head, Inode, Kind, Merge, Place, Reader, Row, Writer, limits, plan_of};
use offsite::names::BackupId;
use offsite::operations::restore::{OpenedSlice, Slices};
use offsite::plan::{Shape, Slice, SliceName, Span, Take, Title};

pub(crate) const OLD: &str = "20261122T074500Z-00000002";
pub(crate) const OWN: &str = "20261123T074500Z-7f3a9c01";

pub(crate) fn title(shape: Shape) -> Title {
    Title { host: "web-1".parse().unwrap(), set: "default".parse().unwrap(), backup: OWN.parse().unwrap(), shape }
}

/// How a tree is cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// Smaller files share bundles, larger ones have chunks of this length.
    pub(crate) large: u64,
    pub(crate) chunk: u64,
    /// A bundle ends once it is so long.
    pub(crate) bundle: usize,
    /// A slice holds so much.
    pub(crate) slice: usize,
    /// Every so many slices go to an earlier run.
    pub(crate) old: usize,
}

/// Small pieces of everything.
pub(crate) const SMALL: Cut = Cut { large: 100_000, chunk: 70_000, bundle: 60_000, slice: 300_000, old: 3 };

/// A backup.
pub(crate) struct Backup {
    pub(crate) title: Title,
    pub(crate) slices: HashMap<SliceName, Vec<u8>>,
    pub(crate) rows: Vec<Row>,
    pub(crate) end: Option<Place>,
    /// The tar, in the order of the walk.
    pub(crate) stream: Vec<u8>,
    pub(crate) opened: AtomicUsize,
}

impl Slices for Backup {
    fn known(&self, name: SliceName) -> Option<Slice> {
        let slice = self.slices.get(&name)?;
        Some(Slice { name, size: slice.len() as u64 + 1, sha256: [0xab; 32] })
    }

    fn open(&self, name: SliceName, memory: Vec<u8>) -> offsite::Result<OpenedSlice> {
        assert!(memory.is_empty());
        self.opened.fetch_add(1, Ordering::Relaxed);
        let slice = self.slices.get(&name).filter(|slice| !slice.is_empty()).cloned().map(OpenedSlice::from);
        slice.ok_or_else(|| offsite::Error::File {
            action: "open",
            path: name.to_string().into(),
            source: io::ErrorKind::NotFound.into(),
        })
    }
}

impl Backup {
    pub(crate) fn index(&self) -> Vec<u8> {
        let mut runs: Vec<BackupId> = vec![OLD.parse().unwrap(), OWN.parse().unwrap()];
        runs.sort();
        let head = Head { title: self.title.clone(), base: None, runs };
        let mut writer = Writer::new(Vec::new(), head).unwrap();
        self.rows.iter().for_each(|row| writer.row(row).unwrap());
        writer.end(self.end, None).unwrap()
    }

    pub(crate) fn merge<'a>(&self, index: &'a [u8]) -> Merge<&'a [u8]> {
        Merge::new(vec![Reader::new(index).unwrap()]).unwrap()
    }

    pub(crate) fn plan(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        plan_of(self.merge(&self.index()), |name| self.known(name), folder.path(), Vec::new()).unwrap()
    }

    pub(crate) fn row(&mut self, ends_with: &str) -> &mut Entry {
        let row = self.rows.iter_mut().find(|row| row.path().ends_with(ends_with.as_bytes()));
        match row {
            Some(Row::Entry(entry)) => entry,
            row => panic!("{ends_with}: {row:?}"),
        }
    }
}

/// Packs a walk.
pub(crate) fn backup(walk: Walk, cut: Cut) -> Backup {
    let mut made = Making::new(cut);
    let mut packer = Packer::new(&std::env::temp_dir());
    for entry in walk {
        let entry = entry.unwrap().unwrap();
        let role = packer.role(&entry).unwrap();
        if let Some(member) = packer.pack(&entry, role, &mut |_| ()).unwrap() {
            made.member(&entry.path, &member);
        }
    }
    made.flush();
    let end = made.frame(&END);
    made.stream.extend_from_slice(&END);
    made.finish(Shape::Tar, Some(end))
}

/// A backup of a stream.
pub(crate) fn stream(name: &str, bytes: &[u8], cut: Cut) -> Backup {
    let mut made = Making::new(cut);
    let chunk = usize::try_from(cut.chunk).unwrap();
    let places: Vec<_> = bytes.chunks(chunk).map(|chunk| made.frame(chunk)).collect();
    let kind = Kind::Stream { size: bytes.len() as u64 };
    made.push(Entry { path: name.into(), kind, inode: Inode::default(), links: false, torn: false, places });
    made.stream = bytes.to_vec();
    made.finish(Shape::Stream(name.parse().unwrap()), None)
}

struct Making {
    cut: Cut,
    compressor: Compressor,
    slices: Vec<Vec<u8>>,
    rows: Vec<Row>,
    bundle: Vec<u8>,
    /// Rows whose members lie in the bundle: their number, where, how long.
    bundled: Vec<(usize, u64, u64)>,
    stream: Vec<u8>,
}

impl Making {
    fn new(cut: Cut) -> Self {
        Self {
            cut,
            compressor: Compressor::new().unwrap(),
            slices: vec![Vec::new()],
            rows: Vec::new(),
            bundle: Vec::new(),
            bundled: Vec::new(),
            stream: Vec::new(),
        }
    }

    fn name(&self, number: usize) -> SliceName {
        let backup = if number % self.cut.old == 1 { OLD } else { OWN };
        SliceName { backup: backup.parse().unwrap(), number: u32::try_from(number).unwrap() }
    }

    fn frame(&mut self, raw: &[u8]) -> Place {
        let mut frame = Vec::new();
        self.compressor.compress(raw, &mut frame).unwrap();
        if self.slices.last().unwrap().len() + frame.len() > self.cut.slice {
            self.slices.push(Vec::new());
        }
        let number = self.slices.len() - 1;
        let slice = self.slices.last_mut().unwrap();
        let span = Span { offset: slice.len() as u64, length: frame.len() as u64 };
        slice.extend_from_slice(&frame);
        Place::whole(self.name(number), span, raw.len() as u64)
    }

    fn member(&mut self, path: &[u8], member: &Member) {
        let mut content = Vec::new();
        for piece in member.content.pieces() {
            let start = content.len();
            content.resize(start + usize::try_from(piece.length).unwrap(), 0);
            read_padded(member.content.file().unwrap(), piece.offset, &mut content[start..]).unwrap();
        }
        let stored = content.len() as u64;
        let filling = vec![0; usize::try_from(padding(stored)).unwrap()];
        self.stream.extend([&member.header[..], &content, &filling].concat());
        let mut places = Vec::new();
        if stored >= self.cut.large {
            places.push(self.frame(&member.header));
            let chunks: Vec<_> = content.chunks(usize::try_from(self.cut.chunk).unwrap()).collect();
            places.extend(chunks.into_iter().map(|chunk| self.frame(chunk)));
            if !filling.is_empty() {
                places.push(self.frame(&filling));
            }
        } else {
            let start = self.bundle.len() as u64;
            self.bundle.extend([&member.header[..], &content, &filling].concat());
            self.bundled.push((self.rows.len(), start, self.bundle.len() as u64 - start));
        }
        self.push(entry(path, member, stored, places));
        if self.bundle.len() >= self.cut.bundle {
            self.flush();
        }
    }

    /// Adds an entry, in rows of at most so many places as there may be.
    fn push(&mut self, mut entry: Entry) {
        let places = std::mem::take(&mut entry.places);
        let mut parts = places.chunks(limits::PLACES);
        entry.places = parts.next().unwrap_or_default().to_vec();
        let path = entry.path.clone();
        self.rows.push(Row::Entry(entry));
        for (number, places) in (1..).zip(parts) {
            let part = offsite::index::Part { path: path.clone(), number, places: places.to_vec() };
            self.rows.push(Row::Part(part));
        }
    }

    fn flush(&mut self) {
        let bundle = std::mem::take(&mut self.bundle);
        if bundle.is_empty() {
            return;
        }
        let whole = self.frame(&bundle);
        for (row, skip, take) in self.bundled.drain(..) {
            let Row::Entry(entry) = &mut self.rows[row] else { panic!() };
            entry.places = vec![Place { piece: Take { skip, take }, ..whole }];
        }
    }

    fn finish(self, shape: Shape, end: Option<Place>) -> Backup {
        let slices = (0..).zip(&self.slices).map(|(number, slice)| (self.name(number), slice.clone())).collect();
        let (rows, stream) = (self.rows, self.stream);
        Backup { title: title(shape), slices, rows, end, stream, opened: AtomicUsize::new(0) }
    }
}

fn entry(path: &[u8], member: &Member, stored: u64, places: Vec<Place>) -> Entry {
    let metadata = &member.metadata;
    // The header says what only the packer knew: whether it is a link, and to what.
    let read = offsite::archive::read::Reader::new(&member.header[..], offsite::archive::read::Ending::AnyMember)
        .next_member()
        .unwrap()
        .unwrap();
    let kind = match read.kind {
        offsite::archive::read::Kind::HardLink { target } => Kind::HardLink { leader: target },
        offsite::archive::read::Kind::Symlink { target } => Kind::Symlink { target },
        offsite::archive::read::Kind::File { size, extents } => {
            Kind::File { size, sparse: extents.is_some().then_some(stored) }
        }
        offsite::archive::read::Kind::Directory => Kind::Folder,
        offsite::archive::read::Kind::Fifo => Kind::Fifo,
        offsite::archive::read::Kind::CharacterDevice { major, minor } => Kind::CharacterDevice { major, minor },
        offsite::archive::read::Kind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
    };
    let links = metadata.links > 1 && !metadata.is_folder() && !matches!(kind, Kind::HardLink { .. });
    let (mode, uid, gid, mtime) = (metadata.mode, metadata.uid, metadata.gid, metadata.modified);
    Entry { path: path.to_vec(), kind, inode: Inode { mode, uid, gid, mtime }, links, torn: false, places }
}
