//! Backups made by hand: sealed, signed and put with the library's own stages, but laid out as a test
//! wants it. What lies in which frame, and which frame in which slice, is said outright; the rest,
//! index, plan, checksums and receipt, follows from that.
//!
//! ```ignore
//! let mut set = HandMade::new(&[certificate]);
//! let mut members = members_of(&tree);
//! let frames = set.run(ID, &[vec![bundle(&members), END.to_vec()]]);      // one slice of two frames
//! lay(&mut members, frames[0]);
//! set.backup(ID, None, rows(&members), Some(frames[1].all()));
//! ```

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::mem::discriminant;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use offsite::archive::header::END;
use offsite::archive::member::{self, Content, Packer};
use offsite::archive::metadata;
use offsite::archive::walk::Entry as Found;
use offsite::archive::write::write_tar;
use offsite::checksums;
use offsite::cms::{self, Certificate, Input, Recipients, Sealer, StreamKind};
use offsite::frames::Compressor;
use offsite::hashes::{Fingerprint, Hashed};
use offsite::index::{self, Entry, Head, Inode, Kind, Merge, Place, Reader, Row, Time, Totals, plan_of};
use offsite::names::{BackupFile, BackupId, HostName, ObjectName, SetName};
use offsite::plan::{Shape, Slice, SliceName, Span, Take, Title};
use offsite::receipt::{self, ChainObject, Counts, Given, NoPrevious, Object, Previous, Receipt, Run, SliceRange};
use offsite::signer::{self, Signer};
use offsite::store::{self, Location, Put, PutSettings, StoreId};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::walk;

/// A set in a store of its own, in a temporary folder.
pub(crate) struct HandMade {
    folder: TempDir,
    pub(crate) host: HostName,
    pub(crate) set: SetName,
    /// What the stream of the backups to come is.
    pub(crate) shape: Shape,
    /// Length of a slice of an index and of a plan, but for the last.
    slice_size: usize,
    store: Box<dyn Put>,
    recipients: Recipients,
    signer: Signer,
    slices: HashMap<SliceName, Slice>,
    backups: BTreeMap<BackupId, Made>,
}

/// A backup that was made: what later ones build on.
struct Made {
    base: Option<BackupId>,
    /// The text of the index.
    index: Vec<u8>,
    /// How many bytes of the stream each entry is.
    entries: BTreeMap<Vec<u8>, u64>,
    receipt: Receipt,
}

/// A frame that was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) slice: SliceName,
    pub(crate) span: Span,
    /// How many bytes it decompresses to.
    pub(crate) raw: u64,
}

impl Frame {
    /// All of it.
    pub(crate) fn all(&self) -> Place {
        Place::whole(self.slice, self.span, self.raw)
    }

    /// These bytes of it.
    pub(crate) fn piece(&self, skip: u64, take: u64) -> Place {
        Place { piece: Take { skip, take }, ..self.all() }
    }
}

/// An entry of a tar, and its bytes there.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its row; without places until it is laid somewhere.
    pub(crate) entry: Entry,
    pub(crate) tar: Vec<u8>,
}

pub(crate) fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

/// A folder's members, its own first, in the order of an index.
pub(crate) fn members_of(root: &Path) -> Vec<Member> {
    let mut packer = Packer::new(&std::env::temp_dir());
    let mut members = Vec::new();
    for found in walk(&[root]) {
        let found = found.unwrap().unwrap();
        let mut report = |incident| panic!("{incident:?}");
        let role = packer.role(&found).unwrap();
        let member = packer.pack(&found, role, &mut report).unwrap().unwrap();
        let (metadata, path) = (&member.metadata, found.path.clone());
        let kind = kind_of(&found, &member);
        let inode = Inode {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: Time { seconds: metadata.modified.seconds, nanoseconds: metadata.modified.nanoseconds },
        };
        let links = metadata.links > 1 && !matches!(kind, Kind::Folder | Kind::HardLink { .. });
        let mut tar = member.header;
        if !matches!(kind, Kind::HardLink { .. }) {
            // One entry's member, without the end of the tar.
            tar.clear();
            write_tar([Ok(Ok(found))], &mut tar, &mut report).unwrap();
            tar.truncate(tar.len() - END.len());
        }
        members.push(Member { entry: Entry { path, kind, inode, links, torn: false, places: Vec::new() }, tar });
    }
    assert!(!members.is_empty(), "nothing in {}", root.display());
    members
}

fn kind_of(found: &Found, member: &member::Member) -> Kind {
    let (header, metadata) = (&member.header, &member.metadata);
    let sparse = matches!(member.content, Content::Sparse { .. }).then(|| member.content.stored());
    let (major, minor) = metadata.device;
    let ustar = &header[header.len() - 512..];
    if ustar[156] == b'1' {
        let name = ustar[157..257].split(|byte| *byte == 0).next().unwrap();
        return Kind::HardLink { leader: name.to_vec() };
    }
    match metadata.kind {
        metadata::Kind::File => Kind::File { size: metadata.size, sparse },
        metadata::Kind::Folder => Kind::Folder,
        metadata::Kind::Symlink => {
            let target = rustix::fs::readlinkat(found.parent(), found.name(), Vec::new()).unwrap();
            Kind::Symlink { target: target.into_bytes() }
        }
        metadata::Kind::Fifo => Kind::Fifo,
        metadata::Kind::CharacterDevice => Kind::CharacterDevice { major, minor },
        metadata::Kind::BlockDevice => Kind::BlockDevice { major, minor },
        metadata::Kind::Socket => panic!("a socket has no member"),
    }
}

/// The raw bytes of a bundle of these members.
pub(crate) fn bundle(members: &[Member]) -> Vec<u8> {
    members.iter().flat_map(|member| member.tar.iter().copied()).collect()
}

/// Lays the members one after the other into a frame: that of their [`bundle`].
pub(crate) fn lay(members: &mut [Member], frame: Frame) {
    let mut at = 0;
    for member in members {
        let length = member.tar.len() as u64;
        member.entry.places = vec![frame.piece(at, length)];
        at += length;
    }
    assert_eq!(at, frame.raw, "a frame of other members");
}

/// A large file's member as raw frames: its header, chunks of at most `chunk` bytes, its padding.
pub(crate) fn chunks(member: &Member, chunk: usize) -> Vec<Vec<u8>> {
    let Kind::File { size, .. } = member.entry.kind else { panic!("no file") };
    let size = usize::try_from(size).unwrap();
    let content = member.tar.len() - size.next_multiple_of(512);
    let (header, rest) = member.tar.split_at(content);
    let (content, padding) = rest.split_at(size);
    let pieces = [header].into_iter().chain(content.chunks(chunk)).chain([padding]);
    pieces.filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The rows of a full index.
pub(crate) fn rows(members: &[Member]) -> Vec<Row> {
    members.iter().map(|member| Row::Entry(member.entry.clone())).collect()
}

impl HandMade {
    /// The set `default` of the host `web-1`, sealed to these.
    pub(crate) fn new(certificates: &[Certificate]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Directory(folder.path().join("store"));
        let store = store::open_for_put(&location, &PutSettings::new(StoreId::new([7; 16]))).unwrap();
        let host: HostName = "web-1".parse().unwrap();
        let signer = signer::read_or_make(&folder.path().join("signer.pem"), &host, OffsetDateTime::UNIX_EPOCH);
        let recipients = Recipients::new(certificates.to_vec()).unwrap();
        Self {
            folder,
            host,
            set: "default".parse().unwrap(),
            shape: Shape::Tar,
            slice_size: 1 << 20,
            store,
            recipients,
            signer: signer.unwrap(),
            slices: HashMap::new(),
            backups: BTreeMap::new(),
        }
    }

    /// Lets the slices of indexes and plans hold so little that they become rows of several.
    pub(crate) fn short_slices(&mut self, plaintext: usize) {
        let sealer = Sealer::new(&self.recipients, StreamKind::File).unwrap();
        let holds = |size: &usize| sealer.plaintext_length(*size).is_ok_and(|length| length == plaintext);
        self.slice_size = (0..).find(holds).unwrap();
    }

    /// The topmost folder of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A backup's folder.
    pub(crate) fn data(&self, backup: &str) -> PathBuf {
        self.store().join(format!("data/{}/{}/{backup}", self.host, self.set))
    }

    /// A backup's receipt.
    pub(crate) fn receipt(&self, backup: &str) -> PathBuf {
        self.store().join(format!("receipts/{}/{}/{backup}.p7s", self.host, self.set))
    }

    /// The signer's certificate as PEM text.
    pub(crate) fn signer_pem(&self) -> String {
        self.signer.key.certificate().to_pem()
    }

    /// Puts the slices of a run, and its `slices.sha256`. What each slice holds: frames, as the bytes that
    /// they decompress to. A killed run ends here.
    pub(crate) fn run(&mut self, backup: &str, slices: &[Vec<Vec<u8>>]) -> Vec<Frame> {
        let mut compressor = Compressor::new().unwrap();
        let mut frames = Vec::new();
        let mut plaintexts = Vec::new();
        for (number, raw_frames) in (0..).zip(slices) {
            let mut plaintext = Vec::new();
            for raw in raw_frames {
                let offset = plaintext.len() as u64;
                let length = compressor.compress(raw, &mut plaintext).unwrap() as u64;
                let slice = SliceName { backup: id(backup), number };
                frames.push(Frame { slice, span: Span { offset, length }, raw: raw.len() as u64 });
            }
            plaintexts.push(plaintext);
        }
        self.run_of(backup, &plaintexts);
        frames
    }

    /// The same, of slices with these plaintexts, whatever they are.
    pub(crate) fn run_of(&mut self, backup: &str, plaintexts: &[Vec<u8>]) {
        let backup = id(backup);
        let context = self.context(backup);
        let sealer = Sealer::new(&self.recipients, StreamKind::Slices(&context)).unwrap();
        let mut sums = checksums::Writer::new(Vec::new());
        for (at, plaintext) in plaintexts.iter().enumerate() {
            let mut buffer = sealer.buffer(plaintext.len());
            buffer.plaintext_mut()[..plaintext.len()].copy_from_slice(plaintext);
            let number = sealer.next_number().unwrap();
            let name = SliceName { backup, number: number.get() };
            sealer.seal(number, at + 1 == plaintexts.len(), &mut buffer, plaintext.len()).unwrap();
            let Hashed { size, sha256 } = Hashed::of(buffer.slice());
            sums.slice(size, sha256).unwrap();
            self.slices.insert(name, Slice { name, size, sha256: *sha256.as_bytes() });
            let object = format!("data/{}/{}/{name}", self.host, self.set);
            self.store.put(&object.parse().unwrap(), buffer.slice().to_vec().into()).unwrap();
        }
        if !plaintexts.is_empty() {
            self.put(backup, BackupFile::Checksums, &sums.end());
        }
    }

    /// Makes a backup of rows that lie in frames of runs: its index, its plan and all else, and at the
    /// end its receipt. A delta has a base.
    pub(crate) fn backup(&mut self, backup: &str, base: Option<&str>, rows: Vec<Row>, end: Option<Place>) {
        let (backup, base) = (id(backup), base.map(id));
        let mut entries = base.map_or(BTreeMap::new(), |base| self.backups[&base].entries.clone());
        for row in &rows {
            let length: u64 = row.places().iter().map(|place| place.piece.take).sum();
            match row {
                Row::Entry(entry) => entries.insert(entry.path.clone(), length),
                Row::Part(part) => {
                    entries.get_mut(&part.path).map(|before| std::mem::replace(before, *before + length))
                }
                Row::Gone(path) => entries.remove(path),
            };
        }
        let bytes = entries.values().sum::<u64>() + end.map_or(0, |end| end.raw);
        let totals = base.map(|_| Totals { entries: entries.len() as u64, bytes });
        let runs: BTreeSet<BackupId> =
            rows.iter().flat_map(Row::places).chain(&end).map(|place| place.slice.backup).collect();
        let head = Head { title: self.title(backup), base, runs: runs.into_iter().collect() };
        let mut writer = index::Writer::new(Vec::new(), head).unwrap();
        rows.iter().for_each(|row| writer.row(row).unwrap());
        let index = writer.end(end, totals).unwrap();
        let receipt = self.blank_receipt(backup);
        self.backups.insert(backup, Made { base, index, entries, receipt });

        let (index, plan) = (self.backups[&backup].index.clone(), self.plan_of(backup));
        let context = self.context(backup);
        let mut objects = self.stream(backup, StreamKind::Index(&context), BackupFile::Index, &index);
        objects.extend(self.stream(backup, StreamKind::Plan(&context), BackupFile::Plan, plan.as_bytes()));
        let certificates: String = self.recipients.certificates().iter().map(Certificate::to_pem).collect();
        objects.push(self.put(backup, BackupFile::Recipients, certificates.as_bytes()));
        objects.push(self.put(backup, BackupFile::Recover, offsite::recovery::TEXT.as_bytes()));
        self.finish(backup, objects, &plan);
    }

    /// The plan that follows from a backup's chain of indexes.
    pub(crate) fn plan_of(&self, backup: BackupId) -> String {
        let chain = self.chain(backup);
        let readers = chain.iter().map(|backup| Reader::new(self.backups[backup].index.as_slice()).unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        let slices = |name: SliceName| self.slices.get(&name).copied();
        String::from_utf8(plan_of(Merge::new(readers).unwrap(), slices, folder.path(), Vec::new()).unwrap()).unwrap()
    }

    /// The text of a backup's index.
    pub(crate) fn index_of(&self, backup: &str) -> String {
        String::from_utf8(self.backups[&id(backup)].index.clone()).unwrap()
    }

    /// Puts another index in the place of a backup's, well sealed, and signs the receipt anew.
    pub(crate) fn replace_index(&mut self, backup: &str, index: &[u8]) {
        let context = self.context(id(backup));
        self.replace(id(backup), StreamKind::Index(&context), BackupFile::Index, index);
    }

    /// The same with its plan.
    pub(crate) fn replace_plan(&mut self, backup: &str, plan: &[u8]) {
        let context = self.context(id(backup));
        self.replace(id(backup), StreamKind::Plan(&context), BackupFile::Plan, plan);
    }

    fn replace(&mut self, backup: BackupId, kind: StreamKind<'_>, file: fn(u32) -> BackupFile, text: &[u8]) {
        let before = self.backups[&backup].receipt.objects.clone();
        let is_old = |object: &Object| discriminant(&object.file) == discriminant(&file(0));
        for object in before.iter().filter(|object| is_old(object)) {
            fs::remove_file(self.object_path(backup, object.file)).unwrap();
        }
        let mut objects = self.stream(backup, kind, file, text);
        objects.extend(before.into_iter().filter(|object| !is_old(object)));
        objects.sort_by_key(|object| object.file);
        self.sign(backup, |receipt| receipt.objects = objects);
    }

    /// Signs the receipt anew, for what its objects are by now.
    pub(crate) fn sign_as_it_is(&mut self, backup: &str) {
        let backup = id(backup);
        let mut objects = self.backups[&backup].receipt.objects.clone();
        for object in &mut objects {
            object.contents = self.hashed(backup, object.file);
        }
        self.sign(backup, |receipt| receipt.objects = objects);
    }

    /// Signs a receipt of this id, of a backup of nothing.
    pub(crate) fn sign_as(&mut self, backup: &str) {
        self.shape = Shape::Stream("nothing".parse().unwrap());
        let kind = Kind::Stream { size: 0 };
        let (path, inode) = (b"nothing".to_vec(), Inode::default());
        let entry = Entry { path, kind, inode, links: false, torn: false, places: Vec::new() };
        self.backup(backup, None, vec![Row::Entry(entry)], None);
    }

    /// Changes a backup's receipt, and signs it.
    pub(crate) fn sign(&mut self, backup: BackupId, change: impl FnOnce(&mut Receipt)) {
        let made = self.backups.get_mut(&backup).unwrap();
        change(&mut made.receipt);
        let message = receipt::sign(&made.receipt, &self.signer.key).unwrap();
        let object = ObjectName::receipt(&self.host, &self.set, backup);
        let path = self.store().join(object.as_str());
        let _ = fs::remove_file(path);
        self.store.put(&object, message.clone().into()).unwrap();
    }

    /// Signs another text in the place of a receipt's.
    pub(crate) fn sign_text(&mut self, backup: &str, change: impl FnOnce(String) -> String) {
        let backup = id(backup);
        let text = String::from_utf8(self.backups[&backup].receipt.encode().unwrap()).unwrap();
        let message = self.signer.key.sign(change(text).as_bytes()).unwrap();
        let object = ObjectName::receipt(&self.host, &self.set, backup);
        fs::remove_file(self.store().join(object.as_str())).unwrap();
        self.store.put(&object, message.clone().into()).unwrap();
    }

    fn context(&self, backup: BackupId) -> String {
        format!("{}/{}/{backup}", self.host, self.set)
    }

    fn title(&self, backup: BackupId) -> Title {
        Title { host: self.host.clone(), set: self.set.clone(), backup, shape: self.shape.clone() }
    }

    fn object_path(&self, backup: BackupId, file: BackupFile) -> PathBuf {
        self.store().join(ObjectName::file(&self.host, &self.set, backup, file).as_str())
    }

    fn put(&self, backup: BackupId, file: BackupFile, bytes: &[u8]) -> Object {
        self.store.put(&ObjectName::file(&self.host, &self.set, backup, file), bytes.to_vec().into()).unwrap();
        Object { file, contents: Hashed::of(bytes) }
    }

    /// Compresses and seals a text as a stream of this kind, and puts it.
    fn stream(&self, backup: BackupId, kind: StreamKind<'_>, file: fn(u32) -> BackupFile, text: &[u8]) -> Vec<Object> {
        let mut compressed = Vec::new();
        Compressor::new().unwrap().compress(text, &mut compressed).unwrap();
        let input = Input::Stream(Box::new(std::io::Cursor::new(compressed)));
        let mut slices: Vec<Vec<u8>> = Vec::new();
        let emit = |slice: &[u8]| {
            slices.push(slice.to_vec());
            Ok(())
        };
        cms::encrypt(input, &self.recipients, kind, self.slice_size, NonZero::<usize>::MIN, emit, &|_| {}).unwrap();
        (0..).zip(slices).map(|(number, slice)| self.put(backup, file(number), &slice)).collect()
    }

    /// The backup's chain: a full one first, itself last.
    fn chain(&self, backup: BackupId) -> Vec<BackupId> {
        let mut chain = vec![backup];
        while let Some(base) = self.backups[chain.last().unwrap()].base {
            chain.push(base);
        }
        chain.reverse();
        chain
    }

    fn blank_receipt(&self, backup: BackupId) -> Receipt {
        let mut recipients: Vec<_> = self.recipients.certificates().iter().map(Fingerprint::of).collect();
        recipients.sort();
        Receipt {
            host: self.host.clone(),
            set: self.set.clone(),
            backup,
            end: backup.start() + Duration::seconds(70),
            program: "made by hand".to_owned(),
            given: if self.shape == Shape::Tar { Given::Files } else { Given::Exec },
            counts: Counts { files: 1, ..Counts::default() },
            previous: Previous::None(NoPrevious::NoState),
            unconfirmed: Vec::new(),
            reuse_for: 90 * 86_400,
            recipients,
            slices: 0,
            slice_bytes: 0,
            objects: Vec::new(),
            index_chain: Vec::new(),
            runs: Vec::new(),
            signer: self.signer.key.certificate().clone(),
        }
    }

    /// Writes the receipt of a backup that put these objects beside its slices.
    fn finish(&mut self, backup: BackupId, mut objects: Vec<Object>, plan: &str) {
        let own: Vec<&Slice> = self.slices.values().filter(|slice| slice.name.backup == backup).collect();
        let (slices, slice_bytes) = (own.len() as u64, own.iter().map(|slice| slice.size).sum());
        if slices > 0 {
            objects.insert(
                0,
                Object { file: BackupFile::Checksums, contents: self.hashed(backup, BackupFile::Checksums) },
            );
        }
        let mut index_chain = Vec::new();
        for base in self.chain(backup).into_iter().filter(|base| *base != backup) {
            let indexes = self.backups[&base].receipt.objects.iter();
            index_chain.extend(indexes.filter_map(|object| match object.file {
                BackupFile::Index(number) => Some(ChainObject { backup: base, number, contents: object.contents }),
                _ => None,
            }));
        }
        let mut needed: BTreeMap<BackupId, BTreeSet<u32>> = BTreeMap::new();
        for name in plan.lines().filter_map(|line| line.strip_prefix("slice ")?.split(' ').nth(1)) {
            let name: SliceName = name.parse().unwrap();
            needed.entry(name.backup).or_default().insert(name.number);
        }
        needed.remove(&backup);
        let runs = needed.into_iter().map(|(backup, slices)| Run {
            backup,
            checksums: self.hashed(backup, BackupFile::Checksums),
            slices: SliceRange::of(slices),
            other_recipients: Vec::new(),
        });
        let runs = runs.collect();
        self.sign(backup, |receipt| {
            (receipt.slices, receipt.slice_bytes, receipt.objects) = (slices, slice_bytes, objects);
            (receipt.index_chain, receipt.runs) = (index_chain, runs);
        });
    }

    fn hashed(&self, backup: BackupId, file: BackupFile) -> Hashed {
        Hashed::of(&fs::read(self.object_path(backup, file)).unwrap())
    }
}
