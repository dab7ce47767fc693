//! Backups as they lie in a store: what the plan says is what was packed, and nothing else is there;
//! and what is left behind by runs that end early.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use offsite::archive::excludes::Excludes;
use offsite::archive::roots::Roots;
use offsite::archive::write::write_tar;
use offsite::cms::keygen::{KeyType, NewKey, Purpose};
use offsite::cms::{KeyFile, PrivateKey, Recipients};
use offsite::index::plan_of;
use offsite::names::{Folder, HostName, ObjectName, SetName};
use offsite::operations::backup::{Backup, Ignored, Source, Summary, backup};
use offsite::operations::backups::{self, Found, Scope, Which, choose};
use offsite::pins::Pins;
use offsite::plan::{Reader as PlanReader, Step};
use offsite::receipt::{NoPrevious, Previous, Status};
use offsite::store::{self, Listed, Location, Put, PutSettings, StoreId};
use offsite::{Damage, Error, Events, Warning};
use support::{Numbers, walk};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// Keeps the words of all warnings.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn progress(&self, _: u64) {}

    fn damage(&self, damage: &Damage) {
        panic!("{damage}");
    }

    fn warn(&self, warning: Warning) {
        self.0.lock().unwrap().push(format!("{warning:?}"));
    }
}

impl Heard {
    fn has(&self, word: &str) -> bool {
        self.0.lock().unwrap().iter().any(|warning| warning.contains(word))
    }
}

/// A host with a store, a state and a key pair.
struct Host {
    folder: TempDir,
    key: PrivateKey,
    recipients: Recipients,
    now: OffsetDateTime,
    slice_size: usize,
    full: bool,
    runs: u8,
    heard: Heard,
}

impl Host {
    fn new() -> Self {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() - Duration::HOUR;
        let key = NewKey::generate(KeyType::P256, Purpose::Encryption, "test", now, 10).unwrap();
        let recipients = Recipients::new(vec![key.certificate().clone()]).unwrap();
        let key = KeyFile::read(key.private_pem(None).unwrap().as_bytes()).unwrap().unlock(None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, key, recipients, now, slice_size: 1 << 20, full: false, runs: 0, heard: Heard::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn location(&self) -> Location {
        Location::Directory(self.path("store"))
    }

    fn put(&self) -> Box<dyn Put> {
        store::open_for_put(&self.location(), &PutSettings::new(StoreId::new([7; 16]))).unwrap()
    }

    fn backup(&mut self, source: Source) -> Result<Summary, Error> {
        let store = self.put();
        self.backup_to(store.as_ref(), source)
    }

    fn backup_to(&mut self, store: &dyn Put, source: Source) -> Result<Summary, Error> {
        self.runs += 1;
        let now = self.now;
        let what = Backup {
            host: &"web-1".parse::<HostName>().unwrap(),
            set: &"default".parse::<SetName>().unwrap(),
            store,
            store_name: "the store",
            state: &self.path("state"),
            machine: "m",
            wait: false,
            signing_key: &self.path("signing-key.pem"),
            slice_size: self.slice_size,
            reuse_for: 90 * 86_400,
            full: self.full,
            ignored: Ignored::default(),
            program: "offsite test",
            clock: &|| now,
            random: [self.runs; 4],
            chunk_key: [self.runs; 32],
        };
        backup(&what, source, &self.recipients, &self.heard)
    }

    fn latest(&self) -> Found {
        let store = store::open_for_read(&self.location(), &store::ReadSettings::new()).unwrap();
        choose(store.as_ref(), &Scope::default(), Which::Latest, &Pins::default(), &self.heard).unwrap()
    }

    /// The stream of the latest backup by its plan. Everything is compared with everything else.
    fn stream(&self) -> Vec<u8> {
        let store = store::open_for_read(&self.location(), &store::ReadSettings::new()).unwrap();
        let backup = backups::Backup::open(store.as_ref(), &self.key, &self.latest()).unwrap();
        let slices = backup.slices().unwrap();
        let mut plan = Vec::new();
        backup.plan().unwrap().read_to_end(&mut plan).unwrap();
        let derived = plan_of(backup.index().unwrap(), |name| slices.known(name), self.folder.path(), Vec::new());
        assert_eq!(String::from_utf8(plan.clone()).unwrap(), String::from_utf8(derived.unwrap()).unwrap());

        let mut steps = PlanReader::new(BufReader::new(&plan[..])).unwrap();
        let (mut names, mut stream) = (Vec::new(), Vec::new());
        while let Some(step) = steps.next_step().unwrap() {
            let frames = |slice: u64, span: offsite::plan::Span| {
                let opened = slices.open(names[usize::try_from(slice).unwrap()]).unwrap();
                let from = usize::try_from(span.offset).unwrap();
                zstd::decode_all(&opened[from..from + usize::try_from(span.length).unwrap()]).unwrap()
            };
            match step {
                Step::Slice { slice, .. } => names.push(slice.name),
                Step::Whole { slice, frames: span } => stream.append(&mut frames(slice, span)),
                Step::Cut { slice, frame, takes } => {
                    let raw = frames(slice, frame);
                    let mut at = 0;
                    for take in takes {
                        at += usize::try_from(take.skip).unwrap();
                        let end = at + usize::try_from(take.take).unwrap();
                        stream.extend_from_slice(&raw[at..end]);
                        at = end;
                    }
                }
                Step::End { total } => assert_eq!(total, stream.len() as u64),
            }
        }
        stream
    }

    /// The names of all objects.
    fn objects(&self) -> BTreeSet<String> {
        let store = store::open_for_read(&self.location(), &store::ReadSettings::new()).unwrap();
        let mut names = BTreeSet::new();
        let mut each = |listed: Listed| {
            names.insert(listed.object.to_string());
            ControlFlow::Continue(())
        };
        store.list(&"".parse::<Folder>().unwrap(), &mut each).unwrap();
        names
    }
}

fn files(paths: &[&Path]) -> Source {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let roots = Roots::new(&paths).unwrap();
    Source::Files { roots, excludes: Excludes::none(), one_file_system: false, closed: Vec::new(), listed: false }
}

fn tar_of(path: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(walk(&[path]), &mut tar, &mut |incident| panic!("{incident:?}")).unwrap();
    tar
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..length.div_ceil(4))
        .flat_map(|_| u32::try_from(numbers.below(1 << 32)).unwrap().to_le_bytes())
        .take(length)
        .collect()
}

/// Small files and large ones, ones at the border, holes, links.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("a/deep/er")).unwrap();
    for number in 0..300_usize {
        fs::write(root.join(format!("a/small-{number:03}")), noise(number * 37, number as u64 + 1)).unwrap();
    }
    for (name, length) in [("border", 130_000), ("large", 3_000_001), ("whole-blocks", 512 * 4000), ("text", 0)] {
        fs::write(root.join("a/deep").join(name), noise(length, length as u64 + 9)).unwrap();
    }
    fs::write(root.join("a/deep/text"), "all work and no play\n".repeat(100_000)).unwrap();
    let sparse = File::create(root.join("a/sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(&noise(2_000_000, 5), 1 << 20).unwrap();
    sparse.write_all_at(b"end", (1 << 30) - 3).unwrap();
    fs::hard_link(root.join("a/deep/large"), root.join("a/deep/er/again")).unwrap();
    fs::hard_link(root.join("a/small-007"), root.join("b")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("c")).unwrap();
}

#[test]
fn the_plan_gives_what_was_packed() {
    for slice_size in [1 << 20, 5 << 20] {
        let mut host = Host::new();
        host.slice_size = slice_size;
        let root = host.path("tree");
        tree(&root);
        let summary = host.backup(files(&[&root])).unwrap();
        let found = host.latest();
        assert_eq!(found.name.backup, summary.backup);
        assert!(host.stream() == tar_of(&root), "slices of {slice_size}");

        let counts = summary.counts;
        assert_eq!((counts.files, counts.folders, counts.others, counts.errors), (307, 4, 1, 0));
        let store = host.path("store");
        let stored: u64 = host.objects().iter().map(|name| fs::metadata(store.join(name)).unwrap().len()).sum();
        assert_eq!(stored, summary.stored_bytes);
    }
}

#[test]
fn nothing_lies_in_the_store_that_no_receipt_lists() {
    let mut host = Host::new();
    let root = host.path("tree");
    tree(&root);
    let summary = host.backup(files(&[&root])).unwrap();
    let backup = summary.backup;
    let (receipts, data): (Vec<_>, Vec<_>) = host.objects().into_iter().partition(|name| name.starts_with("receipts/"));
    assert_eq!(receipts, [format!("receipts/web-1/default/{backup}.p7s")]);
    let files: Vec<_> =
        data.iter().map(|name| name.strip_prefix(&format!("data/web-1/default/{backup}/")).unwrap()).collect();
    let (slices, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|name| name.starts_with("slice-"));
    assert_eq!(others, ["RECOVER.txt", "index.p7m", "plan.p7m", "recipients.pem", "slices.sha256"]);
    assert!(slices.len() > 3);
    let folder = host.path("store/data/web-1/default").join(backup.to_string());
    let check =
        std::process::Command::new("sha256sum").args(["--quiet", "-c", "slices.sha256"]).current_dir(folder).status();
    assert!(check.unwrap().success());
}

#[test]
fn an_index_longer_than_a_slice_goes_on_in_the_next_object() {
    let mut host = Host::new();
    let root = host.path("tree");
    // Names that do not compress.
    for folder in 0..60_u64 {
        let path = root.join(format!("{folder}"));
        fs::create_dir_all(&path).unwrap();
        for number in 0..200_u64 {
            let name: String =
                noise(120, (folder * 200 + number) * 31 + 7).iter().map(|byte| format!("{byte:02x}")).collect();
            File::create(path.join(format!("{name}{number}"))).unwrap();
        }
    }
    host.backup(files(&[&root])).unwrap();
    assert!(host.objects().iter().any(|name| name.ends_with("/index-00000001.p7m")), "{:?}", host.objects());
    assert!(host.stream() == tar_of(&root));
}

#[test]
fn a_stream_is_its_bytes() {
    for length in [0, 1, 100_000, 7_000_000] {
        let mut host = Host::new();
        let bytes = noise(length, 3);
        let source = Source::Stdin("db.sql".parse().unwrap(), Box::new(io::Cursor::new(bytes.clone())));
        let summary = host.backup(source).unwrap();
        assert_eq!((summary.counts.files, summary.counts.bytes), (1, length as u64));
        assert!(host.stream() == bytes, "{length} bytes");
        assert_eq!(host.objects().iter().any(|name| name.contains("slices.sha256")), length > 0);
    }
}

#[test]
fn a_command_that_fails_leaves_no_backup() {
    let mut host = Host::new();
    let exec = |command: &str| {
        let command = ["sh", "-c", command].map(Into::into).to_vec();
        Source::Exec("out".parse().unwrap(), command)
    };
    host.backup(exec("seq 100000")).unwrap();
    let good = host.latest().name.backup;
    assert!(host.stream().ends_with(b"99999\n100000\n"));
    for (command, word) in [("seq 100000; exit 3", "exit status: 3"), ("seq 10; kill -9 $$", "signal: 9")] {
        let failed = host.backup(exec(command)).unwrap_err();
        assert!(matches!(failed, Error::CommandFailed { .. }) && failed.to_string().contains(word), "{failed}");
        assert_eq!(host.latest().name.backup, good);
    }
    let missing = Source::Exec("out".parse().unwrap(), vec!["/no/such/command".into()]);
    assert!(matches!(host.backup(missing), Err(Error::CommandNotStarted { .. })));
    assert_eq!(host.latest().name.backup, good);
}

#[test]
fn receipts_form_a_chain() {
    let mut host = Host::new();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    host.backup(files(&[&root])).unwrap();
    let first = host.latest();
    host.now += Duration::MINUTE;
    host.backup(files(&[&root])).unwrap();
    let second = host.latest();
    let store = store::open_for_read(&host.location(), &store::ReadSettings::new()).unwrap();
    let receipt = |found: &Found| backups::Backup::open(store.as_ref(), &host.key, found).unwrap().receipt().clone();
    assert_eq!(receipt(&first).previous, Previous::None(NoPrevious::NoState));
    match receipt(&second).previous {
        Previous::Receipt(link) => {
            assert_eq!((link.backup, link.sha256), (first.name.backup, first.receipt.sha256));
        }
        none => panic!("{none:?}"),
    }
    assert!(host.heard.has("SignerMade"));
}

/// Puts into a store, until it has put so many objects; from then on it fails.
struct Ends<'a> {
    store: &'a dyn Put,
    left: AtomicUsize,
}

impl Put for Ends<'_> {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> store::Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.store.put(object, bytes),
            Err(_) => Err(store::Error {
                store: "gone".to_owned(),
                action: "put",
                object: Some(object.to_string()),
                reason: store::Reason::Unreachable(io::ErrorKind::TimedOut.into()),
            }),
        }
    }

    fn id(&self) -> store::Result<Option<StoreId>> {
        self.store.id()
    }

    fn holds(&self, object: &ObjectName, size: u64) -> store::Result<Option<bool>> {
        self.store.holds(object, size)
    }
}

#[test]
fn a_run_that_ends_between_any_two_objects_leaves_no_backup() {
    let mut host = Host::new();
    let root = host.path("tree");
    tree(&root);
    host.backup(files(&[&root])).unwrap();
    let good = host.latest().name.backup;
    let objects = host.objects().len();
    let mut last = 0;
    // What an interrupted run has put is otherwise not put again.
    host.full = true;
    for left in 0..objects {
        host.now += Duration::SECOND;
        let store = host.put();
        let ends = Ends { store: store.as_ref(), left: AtomicUsize::new(left) };
        let failed = host.backup_to(&ends, files(&[&root])).unwrap_err();
        assert!(matches!(failed, Error::Store(_)), "after {left} objects: {failed}");
        assert_eq!(host.latest().name.backup, good, "after {left} objects");
        last = left;
    }
    assert_eq!(last + 1, objects);
    host.full = false;
    // Only the receipt was missing, so the next run puts it first.
    host.now += Duration::MINUTE;
    let before = host.runs;
    host.backup(files(&[&root])).unwrap();
    assert!(host.heard.has("ReceiptPutAgain") && host.runs == before + 1);
    let receipts = host.objects().iter().filter(|name| name.starts_with("receipts/")).count();
    assert_eq!(receipts, 3);
    assert!(host.stream() == tar_of(&root));
}

#[test]
fn a_receipt_that_is_too_old_is_not_put_again() {
    let mut host = Host::new();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "content").unwrap();
    host.now -= Duration::DAY * 3;
    host.backup(files(&[&root])).unwrap();
    let objects = host.objects().len();
    let store = host.put();
    let ends = Ends { store: store.as_ref(), left: AtomicUsize::new(objects - 1) };
    host.now += Duration::MINUTE;
    host.backup_to(&ends, files(&[&root])).unwrap_err();
    host.now += Duration::DAY * 2;
    host.backup(files(&[&root])).unwrap();
    assert!(host.heard.has("ReceiptUnconfirmed"));
    let store = store::open_for_read(&host.location(), &store::ReadSettings::new()).unwrap();
    let backup = backups::Backup::open(store.as_ref(), &host.key, &host.latest()).unwrap();
    assert_eq!(backup.receipt().unconfirmed.len(), 1);
    assert!(matches!(backup.receipt().previous, Previous::Receipt(_)));
    assert_eq!(backup.receipt().status(), Status::Complete);
}

/// A power cut may bring back the receipt that had just been confirmed.
#[test]
fn a_receipt_that_was_confirmed_is_not_unconfirmed_later() {
    let mut host = Host::new();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    host.now -= Duration::DAY * 3;
    let backup = host.backup(files(&[&root])).unwrap().backup;
    let receipt = host.path("store/receipts/web-1/default").join(format!("{backup}.p7s"));
    let set = fs::read_dir(host.path("state")).unwrap().next().unwrap().unwrap().path().join("web-1/default");
    fs::copy(&receipt, set.join(format!("receipt-{backup}.p7s"))).unwrap();
    host.now += Duration::DAY * 2;
    host.backup(files(&[&root])).unwrap();
    let store = store::open_for_read(&host.location(), &store::ReadSettings::new()).unwrap();
    let opened = backups::Backup::open(store.as_ref(), &host.key, &host.latest()).unwrap();
    assert_eq!(opened.receipt().unconfirmed, []);
    assert!(matches!(opened.receipt().previous, Previous::Receipt(link) if link.backup == backup));
    assert!(!host.heard.has("ReceiptUnconfirmed"));
}

/// A receipt counts what a hole says as well, as far as its numbers go.
#[test]
fn more_bytes_than_a_receipt_can_say_are_as_many_as_it_can() {
    let mut host = Host::new();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    // As much as the file system of the test takes, several times.
    let mut lengths = [1_u64 << 62, 1 << 50, 1 << 43].into_iter();
    let longest = lengths.find(|length| {
        let file = File::create(root.join("probe")).unwrap();
        file.set_len(*length).is_ok()
    });
    let longest = longest.unwrap();
    fs::remove_file(root.join("probe")).unwrap();
    for number in 0..3 {
        File::create(root.join(format!("{number}"))).unwrap().set_len(longest).unwrap();
    }
    let bytes = host.backup(files(&[&root])).unwrap().counts.bytes;
    assert_eq!(u128::from(bytes), (u128::from(longest) * 3).min(1 << 53));
}
