//! Writes seeds for fuzzing: small indexes, plans, checksums, receipts and tars, as the library has
//! them.
//!
//! `cargo run -p offsite --example make-seeds -- FOLDER SIGNER.pem`
//!
//! `fuzz/make-corpus` does it.

#![allow(clippy::unwrap_used, reason = "a program for developers may panic")]

use std::path::PathBuf;
use std::{env, fs};

use offsite::archive::attributes::{AttributeReader, Attributes};
use offsite::archive::header::{END, Form, encode, padding};
use offsite::archive::metadata::{self, Metadata};
use offsite::archive::sparse::{self, Segment};
use offsite::checksums;
use offsite::cms::Certificate;
use offsite::cms::signed_data::SigningKey;
use offsite::hashes::{Fingerprint, Hashed, Sha256};
use offsite::index::{self, Entry, Head, Inode, Kind, Merge, Place, Row, Time, plan_of};
use offsite::names::{BackupFile, BackupId};
use offsite::plan::{Shape, Slice, SliceName, Span, Take, Title};
use offsite::receipt::{
    ChainObject, Counts, Given, Link, NoPrevious, Object, Previous, Receipt, Run, SliceRange, sign,
};
use rustix::fs::XattrFlags;

const OLD: &str = "20261121T074500Z-00000001";
const BASE: &str = "20261122T074500Z-00000002";
const OWN: &str = "20261123T074500Z-7f3a9c01";

/// Where seeds go: a folder for each target.
struct Corpus(PathBuf);

impl Corpus {
    fn put(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn main() {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, signer] = arguments.as_slice() else { panic!("usage: make-seeds FOLDER SIGNER.pem") };
    let corpus = Corpus(folder.clone());
    let key = SigningKey::from_file(&fs::read(signer).unwrap()).unwrap();
    indexes_and_plans(&corpus);
    checksums(&corpus);
    receipts(&corpus, &key);
    tars(&corpus);
}

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

fn title(backup: &str, shape: Shape) -> Title {
    Title { host: "web-1".parse().unwrap(), set: "default".parse().unwrap(), backup: id(backup), shape }
}

// --- Indexes, and the plans that follow from them.

fn whole(backup: &str, number: u32, offset: u64, length: u64, raw: u64) -> Place {
    Place::whole(SliceName { backup: id(backup), number }, Span { offset, length }, raw)
}

fn part(of: Place, skip: u64, take: u64) -> Place {
    Place { piece: Take { skip, take }, ..of }
}

fn entry(path: &[u8], kind: Kind, places: &[Place]) -> Entry {
    let inode = Inode { mode: 0o755, uid: 0, gid: 1000, mtime: Time { seconds: 1_790_000_000, nanoseconds: 5 } };
    Entry { path: path.to_vec(), kind, inode, links: false, torn: false, places: places.to_vec() }
}

fn index(backup: &str, base: Option<&str>, runs: &[&str], rows: &[Row]) -> Vec<u8> {
    let runs = runs.iter().map(|run| id(run)).collect();
    let head = Head { title: title(backup, Shape::Tar), base: base.map(id), runs };
    let mut writer = index::Writer::new(Vec::new(), head).unwrap();
    rows.iter().for_each(|row| writer.row(row).unwrap());
    writer.end(Some(whole(BASE, 1, 30, 20, 1024)), None).unwrap()
}

fn full() -> Vec<u8> {
    let bundle = |skip, take| [part(whole(OLD, 0, 0, 900, 9216), skip, take)];
    let mut rows = vec![
        entry(b"", Kind::Folder, &bundle(0, 512)),
        entry(b"a", Kind::File { size: 5, sparse: None }, &bundle(512, 2048)),
        entry(b"a\xff%", Kind::Symlink { target: b"\n\xc3".to_vec() }, &bundle(3072, 1536)),
        entry(b"b", Kind::HardLink { leader: b"a".to_vec() }, &bundle(4608, 512)),
        entry(b"c", Kind::Fifo, &bundle(5120, 512)),
        entry(b"d", Kind::CharacterDevice { major: 1, minor: 3 }, &bundle(5632, 512)),
        entry(b"e", Kind::BlockDevice { major: 8, minor: 1 }, &bundle(6144, 512)),
        entry("f/ä".as_bytes(), Kind::File { size: 1 << 40, sparse: Some(513) }, &bundle(6656, 2560)),
    ];
    rows[1].links = true;
    rows[7].torn = true;
    let chunks = [whole(BASE, 0, 0, 50, 512), whole(BASE, 0, 50, 900, 50_000), whole(BASE, 1, 0, 30, 176)];
    rows.push(entry(b"g", Kind::File { size: 50_000, sparse: None }, &chunks));
    let rows: Vec<_> = rows.into_iter().map(Row::Entry).collect();
    index(BASE, None, &[OLD, BASE], &rows)
}

fn delta() -> Vec<u8> {
    let chunks = [whole(OWN, 0, 0, 40, 512), whole(BASE, 0, 50, 900, 50_000), whole(OWN, 0, 40, 9, 176)];
    let rows = [
        Row::Entry(entry(b"a", Kind::File { size: 1, sparse: None }, &[whole(OWN, 0, 49, 60, 1024)])),
        Row::Gone(b"b".to_vec()),
        Row::Entry(entry(b"g", Kind::File { size: 50_000, sparse: None }, &chunks)),
    ];
    let own = Head { title: title(OWN, Shape::Tar), base: Some(id(BASE)), runs: vec![id(BASE), id(OWN)] };
    let mut writer = index::Writer::new(Vec::new(), own).unwrap();
    rows.iter().for_each(|row| writer.row(row).unwrap());
    let totals = index::Totals { entries: 8, bytes: 58_880 };
    writer.end(Some(whole(BASE, 1, 30, 20, 1024)), Some(totals)).unwrap()
}

fn stream(size: u64, places: &[Place]) -> Vec<u8> {
    let shape = Shape::Stream("db.sql".parse().unwrap());
    let head = Head { title: title(BASE, shape), base: None, runs: vec![id(BASE)] };
    let mut writer = index::Writer::new(Vec::new(), head).unwrap();
    let row = Entry { inode: Inode::default(), ..entry(b"db.sql", Kind::Stream { size }, places) };
    writer.row(&Row::Entry(row)).unwrap();
    writer.end(None, None).unwrap()
}

fn indexes_and_plans(corpus: &Corpus) {
    let nothing = index(BASE, None, &[BASE], &[]);
    for (name, chain) in [
        ("nothing", vec![nothing]),
        ("full", vec![full()]),
        ("delta-alone", vec![delta()]),
        ("chain", vec![full(), delta()]),
        ("stream", vec![stream(107, &[whole(BASE, 1, 5, 60, 100), whole(BASE, 0, 0, 1, 7)])]),
        ("empty", vec![stream(0, &[])]),
    ] {
        corpus.put("index", name, &chain.join(&0));
        if chain[0] != delta() {
            corpus.put("plan", name, &plan(&chain));
        }
    }
}

fn plan(chain: &[Vec<u8>]) -> Vec<u8> {
    let readers = chain.iter().map(|index| index::Reader::new(index.as_slice()).unwrap()).collect();
    let known = |name| Some(Slice { name, size: 10_000, sha256: [0xab; 32] });
    plan_of(Merge::new(readers).unwrap(), known, &env::temp_dir(), Vec::new()).unwrap()
}

// --- Checksums.

fn checksums(corpus: &Corpus) {
    for (name, slices) in [("one", 1_u64), ("three", 3)] {
        let mut writer = checksums::Writer::new(Vec::new());
        for number in 0..slices {
            writer.slice(number * 100_000_000 + 1, Sha256::of(&number.to_be_bytes())).unwrap();
        }
        corpus.put("checksums", name, &writer.end());
    }
}

// --- Receipts.

fn hashed(number: u8) -> Hashed {
    Hashed { size: u64::from(number) + 1, sha256: Sha256::of(&[number]) }
}

fn smallest(signer: &Certificate) -> Receipt {
    let files = [BackupFile::Index(0), BackupFile::Plan(0), BackupFile::Recipients, BackupFile::Recover];
    Receipt {
        host: "web-1".parse().unwrap(),
        set: "default".parse().unwrap(),
        backup: id(OWN),
        end: id(OWN).start(),
        program: "offsite 0.1.0".to_owned(),
        given: Given::Stdin,
        counts: Counts { files: 1, ..Counts::default() },
        previous: Previous::None(NoPrevious::NoState),
        unconfirmed: vec![],
        reuse_for: 90 * 86_400,
        recipients: vec![Fingerprint::from([1; 32])],
        slices: 0,
        slice_bytes: 0,
        objects: files.map(|file| Object { file, contents: hashed(1) }).to_vec(),
        index_chain: vec![],
        runs: vec![],
        signer: signer.clone(),
    }
}

fn incremental(signer: &Certificate) -> Receipt {
    let link = |backup: &str| Link { backup: id(backup), sha256: Sha256::of(backup.as_bytes()) };
    let mut receipt = smallest(signer);
    receipt.given = Given::Files;
    receipt.counts = Counts { files: 12, folders: 3, others: 1, bytes: 1 << 40, errors: 2 };
    receipt.previous = Previous::Receipt(link(BASE));
    receipt.unconfirmed = vec![link(OLD)];
    (receipt.slices, receipt.slice_bytes) = (3, 40_000_000);
    receipt.objects.insert(0, Object { file: BackupFile::Checksums, contents: hashed(2) });
    receipt.index_chain = vec![ChainObject { backup: id(BASE), number: 0, contents: hashed(3) }];
    receipt.runs = vec![Run {
        backup: id(BASE),
        checksums: hashed(4),
        slices: SliceRange::of([0, 2, 3, 4]),
        other_recipients: vec![Fingerprint::from([2; 32])],
    }];
    receipt
}

fn receipts(corpus: &Corpus, key: &SigningKey) {
    for (name, receipt) in [("smallest", smallest(key.certificate())), ("incremental", incremental(key.certificate()))]
    {
        corpus.put("receipt", name, &receipt.encode().unwrap());
        corpus.put("receipt", &format!("{name}.p7s"), &sign(&receipt, key).unwrap());
    }
}

// --- Tars.

fn inode(kind: metadata::Kind) -> Metadata {
    let mut metadata = Metadata::of_open(tempfile::tempfile().unwrap()).unwrap();
    (metadata.kind, metadata.mode, metadata.uid, metadata.gid) = (kind, 0o755, 0, 0);
    metadata.modified = Time { seconds: 1_790_000_000, nanoseconds: 0 };
    metadata
}

fn member(path: &[u8], kind: metadata::Kind, form: Form<'_>, change: impl FnOnce(&mut Metadata)) -> Vec<u8> {
    let mut metadata = inode(kind);
    change(&mut metadata);
    encode(path, &metadata, form, &Attributes::default())
}

/// An attribute whose name is escaped, and two lists.
fn attributes() -> Attributes {
    let folder = tempfile::tempdir().unwrap();
    let list = [(1_u16, 7_u16, u32::MAX), (2, 5, 70_000), (4, 4, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in list {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(number.to_le_bytes());
    }
    let all = [("user.a=b", &b"\0\n"[..]), ("system.posix_acl_access", &value), ("system.posix_acl_default", &value)];
    for (name, value) in all {
        rustix::fs::setxattr(folder.path(), name, value, XattrFlags::empty()).unwrap();
    }
    let failed = |name: &[u8], error| panic!("{name:?}: {error}");
    AttributeReader::default().of_open(fs::File::open(folder.path()).unwrap(), failed).unwrap()
}

fn filled(mut content: Vec<u8>) -> Vec<u8> {
    let zeros = usize::try_from(padding(content.len() as u64)).unwrap();
    content.resize(content.len() + zeros, 0);
    content
}

fn tars(corpus: &Corpus) {
    let same = |_: &mut Metadata| {};
    let link = |path: &[u8], leader: &[u8]| member(path, metadata::Kind::File, Form::HardLink { leader }, same);
    let symlink = |path: &[u8], target: &[u8]| member(path, metadata::Kind::Symlink, Form::Symlink { target }, same);
    let folder = |path: &[u8]| member(path, metadata::Kind::Folder, Form::Plain, same);
    let file = |path: &[u8], content: &[u8]| {
        let header = member(path, metadata::Kind::File, Form::Plain, |data| data.size = content.len() as u64);
        [header, filled(content.to_vec())].concat()
    };
    let device = |path: &[u8], kind| member(path, kind, Form::Plain, |data| data.device = (1, 3));
    let segments = [Segment { offset: 512, length: 512 }, Segment { offset: 8192, length: 3 }];
    let map = sparse::map(&segments, 8195);
    let form = Form::Sparse { stored: 515, map: &map };
    let holes = member(b"sparse", metadata::Kind::File, form, |data| data.size = 8195);
    let numbers = member(b"numbers", metadata::Kind::Folder, Form::Plain, |data| {
        (data.uid, data.gid) = (1 << 30, u32::MAX);
        data.modified = Time { seconds: -6, nanoseconds: 750_000_000 };
    });
    let seeds = [
        ("end", vec![END.to_vec()]),
        ("file", vec![file(b"f", b"content"), END.to_vec()]),
        ("folders", vec![folder(b""), folder(b"d"), file(b"d/f", b""), END.to_vec()]),
        ("hard-link", vec![file(b"a", b"x"), link(b"b", b"a"), END.to_vec()]),
        ("symlink", vec![symlink(b"l", b"../canary"), file(b"l/f", b"x"), link(b"h", b"l"), END.to_vec()]),
        ("symlink-up", vec![symlink(b"l", b".."), folder(b"l"), folder(b"l/d"), symlink(b"l/s", b"x")]),
        ("upwards", vec![file(b"../f", b"x"), folder(b"a/../.."), link(b"h", b"../canary"), file(b"/f", b"x")]),
        ("fifo", vec![member(b"p", metadata::Kind::Fifo, Form::Plain, same), link(b"q", b"p")]),
        ("devices", vec![device(b"c", metadata::Kind::CharacterDevice), device(b"b", metadata::Kind::BlockDevice)]),
        ("sparse", vec![holes, filled(vec![b'd'; 515]), END.to_vec()]),
        ("numbers", vec![numbers, END.to_vec()]),
        ("long", vec![file(&[[b'p'; 99]; 3].join(&b'/'), b""), symlink(b"l", &[b't'; 300])]),
    ];
    for (name, members) in seeds {
        corpus.put("members", name, &members.concat());
    }
    let with_attributes = encode(b"d", &inode(metadata::Kind::Folder), Form::Plain, &attributes());
    corpus.put("members", "attributes", &with_attributes);
}
