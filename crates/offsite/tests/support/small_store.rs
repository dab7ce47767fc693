//! Small stores, made of the library's own stages: real directories, real keys, a few members.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use offsite::checksums;
use offsite::cms::keygen::{KeyType, NewKey, Purpose};
use offsite::cms::signed_data::SigningKey;
use offsite::cms::{self, Input, KeyFile, PrivateKey, Recipients, Sealer, StreamKind};
use offsite::frames::Compressor;
use offsite::hashes::{Fingerprint, Hashed, Sha256};
use offsite::index::{self, Entry, Head, Inode, Kind, Merge, Place, Row, Totals};
use offsite::names::{BackupFile, BackupName};
use offsite::plan::{Shape, Slice, SliceName, Span, Title};
use offsite::receipt::{self, ChainObject, Counts, Given, NoPrevious, Object, Previous, Receipt, Run, SliceRange};
use offsite::slices;
use offsite::store::{self, Location, Put, PutSettings, Read, StoreId};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// A recipient's key pair.
pub(crate) struct Pair {
    pub(crate) recipients: Recipients,
    pub(crate) private: PrivateKey,
    pub(crate) pem: String,
}

fn pair(kind: KeyType, name: &str) -> Pair {
    let key = NewKey::generate(kind, Purpose::Encryption, name, OffsetDateTime::UNIX_EPOCH, 36_500).unwrap();
    let pem = key.private_pem(None).unwrap().to_string();
    let private = KeyFile::read(pem.as_bytes()).unwrap().unlock(None).unwrap();
    Pair { recipients: Recipients::new(vec![key.certificate().clone()]).unwrap(), private, pem }
}

pub(crate) fn rsa() -> &'static Pair {
    static RSA: OnceLock<Pair> = OnceLock::new();
    RSA.get_or_init(|| pair(KeyType::Rsa2048, "rsa"))
}

/// Another of the same kind.
pub(crate) fn other_rsa() -> &'static Pair {
    static RSA: OnceLock<Pair> = OnceLock::new();
    RSA.get_or_init(|| pair(KeyType::Rsa2048, "other rsa"))
}

pub(crate) fn p256() -> &'static Pair {
    static P256: OnceLock<Pair> = OnceLock::new();
    P256.get_or_init(|| pair(KeyType::P256, "p256"))
}

pub(crate) fn signer(name: &str) -> SigningKey {
    SigningKey::generate(name, OffsetDateTime::UNIX_EPOCH, 36_500).unwrap().0
}

pub(crate) fn fingerprint(signer: &SigningKey) -> Fingerprint {
    Fingerprint::of(signer.certificate())
}

/// The backup that `host/set/id` names.
pub(crate) fn name(text: &str) -> BackupName {
    let parts: Vec<&str> = text.split('/').collect();
    let [host, set, backup] = parts[..] else { panic!("{text} is no host/set/id") };
    BackupName { host: host.parse().unwrap(), set: set.parse().unwrap(), backup: backup.parse().unwrap() }
}

/// What a backup is given.
pub(crate) enum Item {
    File(&'static str, Vec<u8>),
    Symlink(String, Vec<u8>),
    /// In a delta: no longer there.
    Gone(&'static str),
}

impl Item {
    fn path(&self) -> &str {
        match self {
            Self::File(path, _) | Self::Gone(path) => path,
            Self::Symlink(path, _) => path,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::File(_, contents) => Kind::File { size: contents.len() as u64, sparse: None },
            Self::Symlink(_, target) => Kind::Symlink { target: target.clone() },
            Self::Gone(path) => panic!("{path} is gone"),
        }
    }

    /// As long as its member is. Nobody unpacks it.
    fn member(&self) -> Vec<u8> {
        let mut member = self.path().as_bytes().to_vec();
        member.resize(512, 0);
        if let Self::File(_, contents) = self {
            member.extend_from_slice(contents);
            member.resize(member.len().next_multiple_of(512), 0);
        }
        member
    }
}

pub(crate) fn file(path: &'static str, contents: &str) -> Item {
    Item::File(path, contents.as_bytes().to_vec())
}

/// How a backup is made.
pub(crate) struct Spec<'a> {
    pub(crate) name: BackupName,
    pub(crate) signer: &'a SigningKey,
    pub(crate) recipients: &'a Recipients,
    pub(crate) base: Option<&'a Made>,
    pub(crate) items: Vec<Item>,
    /// Instead of the index, compressed.
    pub(crate) compressed_index: Option<Vec<u8>>,
    /// What else the receipt should say.
    pub(crate) edit: &'a dyn Fn(&mut Receipt),
}

impl<'a> Spec<'a> {
    /// A full backup of one file, for the RSA key.
    pub(crate) fn new(text: &str, signer: &'a SigningKey) -> Self {
        Self {
            name: name(text),
            signer,
            recipients: &rsa().recipients,
            base: None,
            items: vec![file("a", "some contents")],
            compressed_index: None,
            edit: &|_| {},
        }
    }
}

/// What a later backup builds on, and what tests compare with.
pub(crate) struct Made {
    pub(crate) receipt: Receipt,
    /// Members that are live, by path: where they lie.
    pub(crate) live: BTreeMap<Vec<u8>, Place>,
    /// The texts of the indexes of the chain.
    pub(crate) indexes: Vec<Vec<u8>>,
    pub(crate) plan: Vec<u8>,
    pub(crate) slices: BTreeMap<SliceName, Slice>,
}

/// Size of a slice: the least there is.
pub(crate) const SLICE: usize = cms::limits::SLICE_SIZE_MIN;

/// A store in a temporary directory.
pub(crate) struct SmallStore {
    folder: TempDir,
    put: Box<dyn Put>,
}

impl SmallStore {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Directory(folder.path().join("store"));
        let put = store::open_for_put(&location, &PutSettings::new(StoreId::new([7; 16]))).unwrap();
        Self { folder, put }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A folder beside the store.
    pub(crate) fn beside(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn read(&self) -> Box<dyn Read> {
        store::open_for_read(&Location::Directory(self.path()), &store::ReadSettings::new()).unwrap()
    }

    /// The file of an object.
    pub(crate) fn object(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        self.put.put(&name.parse().unwrap(), bytes.to_vec().into()).unwrap();
    }

    /// Puts the receipt at a time of its own.
    pub(crate) fn stored(&self, backup: &BackupName, time: OffsetDateTime) {
        let file = fs::File::options().write(true).open(self.object(backup.receipt().as_str())).unwrap();
        file.set_modified(time.into()).unwrap();
    }

    pub(crate) fn backup(&self, spec: &Spec<'_>) -> Made {
        let (places, end, sealed) = self.put_slices(spec);
        let mut objects = Vec::new();
        let mut put = |file: BackupFile, bytes: &[u8]| {
            self.put(spec.name.file(file).as_str(), bytes);
            objects.push(Object { file, contents: Hashed::of(bytes) });
        };
        let mut list = checksums::Writer::new(Vec::new());
        sealed.iter().for_each(|slice| list.slice(slice.size, slice.sha256.into()).unwrap());
        put(BackupFile::Checksums, &list.end());

        let made = index_and_plan(spec, &places, end, &sealed);
        let context = spec.name.to_string();
        let index = spec.compressed_index.clone().unwrap_or_else(|| compressed(made.indexes.last().unwrap()));
        for (number, slice) in (0..).zip(stream(index, spec.recipients, StreamKind::Index(&context))) {
            put(BackupFile::Index(number), &slice);
        }
        for (number, slice) in (0..).zip(stream(compressed(&made.plan), spec.recipients, StreamKind::Plan(&context))) {
            put(BackupFile::Plan(number), &slice);
        }
        put(BackupFile::Recipients, b"the recipients' certificates");
        put(BackupFile::Recover, b"what this is");

        let mut made = made;
        made.receipt.objects = objects;
        (spec.edit)(&mut made.receipt);
        let message = receipt::sign(&made.receipt, spec.signer).unwrap();
        self.put(spec.name.receipt().as_str(), &message);
        made
    }

    /// A frame for each member, and one for the end.
    fn put_slices(&self, spec: &Spec<'_>) -> (Vec<slices::Place>, slices::Place, Vec<slices::Sealed>) {
        let sealer = Sealer::new(spec.recipients, StreamKind::Slices(&spec.name.to_string())).unwrap();
        let mut compressor = Compressor::new().unwrap();
        let mut frame = |raw: &[u8]| {
            let mut frame = Vec::new();
            compressor.compress(raw, &mut frame).unwrap();
            frame
        };
        let (store, name) = (&self.put, &spec.name);
        let put = |number, _: &slices::Sealed, bytes| store.put(&name.slice(number), bytes);
        let ((places, end), sealed) = slices::write(&sealer, SLICE, 2, put, |writer| {
            let live = spec.items.iter().filter(|item| !matches!(item, Item::Gone(_)));
            let places = live.map(|item| writer.frame(&frame(&item.member()))).collect::<Result<Vec<_>, _>>()?;
            Ok((places, writer.frame(&frame(&[0; 1024]))?))
        })
        .unwrap();
        (places, end, sealed)
    }
}

pub(crate) fn compressed(text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Compressor::new().unwrap().compress(text, &mut frame).unwrap();
    frame
}

/// The objects of a long stream.
pub(crate) fn stream(plaintext: Vec<u8>, recipients: &Recipients, kind: StreamKind<'_>) -> Vec<Vec<u8>> {
    let mut objects = Vec::new();
    let emit = |slice: &[u8]| {
        objects.push(slice.to_vec());
        Ok(())
    };
    cms::encrypt(
        Input::Stream(Box::new(Cursor::new(plaintext))),
        recipients,
        kind,
        SLICE,
        NonZero::<usize>::MIN,
        emit,
        &|_| {},
    )
    .unwrap();
    objects
}

/// Everything but the objects of the receipt.
fn index_and_plan(spec: &Spec<'_>, places: &[slices::Place], end: slices::Place, sealed: &[slices::Sealed]) -> Made {
    let BackupName { host, set, backup } = spec.name.clone();
    let place = |place: &slices::Place, raw: usize| {
        let name = SliceName { backup, number: place.slice };
        Place::whole(name, Span { offset: place.offset, length: place.length }, raw as u64)
    };
    let mut live = spec.base.map(|base| base.live.clone()).unwrap_or_default();
    let mut rows = Vec::new();
    let mut next = places.iter();
    for item in &spec.items {
        let path = item.path().as_bytes().to_vec();
        if let Item::Gone(_) = item {
            live.remove(&path);
            rows.push(Row::Gone(path));
            continue;
        }
        let place = place(next.next().unwrap(), item.member().len());
        live.insert(path.clone(), place);
        let mtime = index::Time { seconds: 1_577_836_800, nanoseconds: 0 };
        let inode = Inode { mode: 0o644, uid: 0, gid: 1000, mtime };
        rows.push(Row::Entry(Entry { path, kind: item.kind(), inode, links: false, torn: false, places: vec![place] }));
    }
    rows.sort_by(|one, other| offsite::paths::compare(one.path(), other.path()));

    let mut runs: Vec<_> = live.values().map(|place| place.slice.backup).chain([backup]).collect();
    runs.sort();
    runs.dedup();
    let title = Title { host: host.clone(), set: set.clone(), backup, shape: Shape::Tar };
    let base = spec.base.map(|base| base.receipt.backup);
    let mut writer = index::Writer::new(Vec::new(), Head { title, base, runs: runs.clone() }).unwrap();
    rows.iter().for_each(|row| writer.row(row).unwrap());
    let bytes = 1024 + live.values().map(|place| place.raw).sum::<u64>();
    let totals = base.map(|_| Totals { entries: live.len() as u64, bytes });
    let text = writer.end(Some(place(&end, 1024)), totals).unwrap();

    let mut indexes = spec.base.map(|base| base.indexes.clone()).unwrap_or_default();
    indexes.push(text);
    let mut slices = spec.base.map(|base| base.slices.clone()).unwrap_or_default();
    for (number, slice) in (0..).zip(sealed) {
        let name = SliceName { backup, number };
        slices.insert(name, Slice { name, size: slice.size, sha256: slice.sha256 });
    }
    let readers = indexes.iter().map(|text| index::Reader::new(&text[..]).unwrap()).collect();
    let known = |name: SliceName| slices.get(&name).copied();
    let plan = index::plan_of(Merge::new(readers).unwrap(), known, &std::env::temp_dir(), Vec::new()).unwrap();
    let receipt = receipt_of(spec, &live, sealed);
    Made { receipt, live, indexes, plan, slices }
}

fn receipt_of(spec: &Spec<'_>, live: &BTreeMap<Vec<u8>, Place>, sealed: &[slices::Sealed]) -> Receipt {
    let BackupName { host, set, backup } = spec.name.clone();
    let mut index_chain = spec.base.map(|base| base.receipt.index_chain.clone()).unwrap_or_default();
    let mut runs = BTreeMap::<_, Vec<u32>>::new();
    for place in live.values().filter(|place| place.slice.backup != backup) {
        runs.entry(place.slice.backup).or_default().push(place.slice.number);
    }
    if let Some(base) = spec.base {
        index_chain.extend(base.receipt.objects.iter().filter_map(|object| match object.file {
            BackupFile::Index(number) => {
                Some(ChainObject { backup: base.receipt.backup, number, contents: object.contents })
            }
            _ => None,
        }));
    }
    let list_of = |run| {
        let all = spec.base.unwrap().slices.range(SliceName { backup: run, number: 0 }..);
        let mut list = checksums::Writer::new(Vec::new());
        for (_, slice) in all.take_while(|(name, _)| name.backup == run) {
            list.slice(slice.size, slice.sha256.into()).unwrap();
        }
        Hashed::of(&list.end())
    };
    let run = |(run, mut numbers): (_, Vec<u32>)| {
        numbers.sort_unstable();
        Run { backup: run, checksums: list_of(run), slices: SliceRange::of(numbers), other_recipients: Vec::new() }
    };
    Receipt {
        host,
        set,
        backup,
        end: backup.start() + Duration::seconds(60),
        program: "offsite 0.1.0".to_owned(),
        given: Given::Files,
        counts: Counts { files: live.len() as u64, folders: 0, others: 0, bytes: 13, errors: 0 },
        previous: Previous::None(NoPrevious::NoState),
        unconfirmed: Vec::new(),
        reuse_for: 90 * 86_400,
        recipients: spec.recipients.certificates().iter().map(Fingerprint::of).collect(),
        slices: sealed.len() as u64,
        slice_bytes: sealed.iter().map(|slice| slice.size).sum(),
        objects: Vec::new(),
        index_chain,
        runs: runs.into_iter().map(run).collect(),
        signer: spec.signer.certificate().clone(),
    }
}

/// Letters without a pattern, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let block = |number: u64| *Sha256::of(&[seed.to_be_bytes(), number.to_be_bytes()].concat()).as_bytes();
    let bytes = (0..).flat_map(block).take(length);
    bytes.map(|byte| LETTERS[usize::from(byte % 64)]).collect()
}
