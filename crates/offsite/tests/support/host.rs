//! A host that is backed up to a directory, by a clock that the test sets.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::num::NonZero;
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
use offsite::cms::{Certificate, KeyFile, PrivateKey, Recipients};
use offsite::index::plan_of;
use offsite::names::{BackupId, Folder, HostName, ObjectName, SetName};
use offsite::operations::backup::{Backup, Ignored, Source, Summary, backup};
use offsite::operations::backups::{self, Found, Scope, Which, choose};
use offsite::pins::Pins;
use offsite::plan::{Reader as PlanReader, Step};
use offsite::receipt::Receipt;
use offsite::store::{self, Listed, Location, Put, PutSettings, StoreId};
use offsite::{Damage, Error, Events, Warning};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::support::everything::set_modified;
use crate::support::{Numbers, restores, walk};

/// Keeps the words of all warnings.
#[derive(Default)]
pub(crate) struct Heard {
    words: Mutex<Vec<String>>,
    /// Is done once something has been read.
    pub(crate) on_progress: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Events for Heard {
    fn progress(&self, _: u64) {
        if let Some(act) = self.on_progress.lock().unwrap().take() {
            act();
        }
    }

    fn damage(&self, damage: &Damage) {
        panic!("{damage}");
    }

    fn warn(&self, warning: Warning) {
        self.words.lock().unwrap().push(format!("{warning:?}"));
    }
}

impl Heard {
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.lock().unwrap().iter().any(|warning| warning.contains(word))
    }

    /// What was told since this was asked last, but for how many recipients there are.
    pub(crate) fn told(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.words.lock().unwrap());
        told.into_iter().filter(|warning| warning != "OneRecipient").collect()
    }
}

/// A recipient, and what opens what is sealed to it.
pub(crate) struct Key {
    pub(crate) certificate: Certificate,
    pub(crate) private: PrivateKey,
    /// The private key's file.
    pub(crate) path: PathBuf,
}

impl Key {
    fn new(path: PathBuf, now: OffsetDateTime) -> Self {
        let key =
            NewKey::generate(KeyType::P256, Purpose::Encryption, "test", now - Duration::days(100), 1000).unwrap();
        let pem = key.private_pem(None).unwrap();
        fs::write(&path, pem.as_bytes()).unwrap();
        let private = KeyFile::read(pem.as_bytes()).unwrap().unlock(None).unwrap();
        Self { certificate: key.certificate().clone(), private, path }
    }
}

/// A host with a store, a state and a key pair.
pub(crate) struct Host {
    folder: TempDir,
    pub(crate) key: Key,
    pub(crate) recipients: Recipients,
    pub(crate) now: OffsetDateTime,
    pub(crate) slice_size: usize,
    pub(crate) reuse_for: Duration,
    pub(crate) full: bool,
    pub(crate) machine: &'static str,
    /// The folder of the store, and its id.
    pub(crate) store: (&'static str, u8),
    pub(crate) runs: u8,
    pub(crate) heard: Heard,
}

impl Host {
    pub(crate) fn new() -> Self {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() - Duration::HOUR;
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(folder.path().join("key.pem"), now);
        let recipients = Recipients::new(vec![key.certificate.clone()]).unwrap();
        Self {
            folder,
            key,
            recipients,
            now,
            slice_size: 1 << 20,
            reuse_for: Duration::days(90),
            full: false,
            machine: "m",
            store: ("store", 7),
            runs: 0,
            heard: Heard::default(),
        }
    }

    /// A host whose clock is ahead: what a test writes is not so new to it that it is read again.
    pub(crate) fn ahead() -> Self {
        let mut host = Self::new();
        host.now += Duration::days(20);
        host
    }

    /// One more recipient's key.
    pub(crate) fn another_key(&self, name: &str) -> Key {
        Key::new(self.path(name), self.now)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.path(self.store.0)
    }

    pub(crate) fn location(&self) -> Location {
        Location::Directory(self.store())
    }

    /// The set's folder in the state, for the store that the state knows first.
    pub(crate) fn state(&self) -> PathBuf {
        let (_, id) = self.store;
        self.path("state").join(StoreId::new([id; 16]).to_string()).join("web-1/default")
    }

    pub(crate) fn put(&self) -> Box<dyn Put> {
        let (_, id) = self.store;
        store::open_for_put(&self.location(), &PutSettings::new(StoreId::new([id; 16]))).unwrap()
    }

    pub(crate) fn read(&self) -> Box<dyn store::Read> {
        store::open_for_read(&self.location(), &store::ReadSettings::new()).unwrap()
    }

    pub(crate) fn backup(&mut self, source: Source) -> Result<Summary, Error> {
        let store = self.put();
        self.backup_to(store.as_ref(), source)
    }

    pub(crate) fn backup_to(&mut self, store: &dyn Put, source: Source) -> Result<Summary, Error> {
        let now = self.now;
        self.backup_by(&|| now, store, source)
    }

    /// Backs up by another clock than the test's own.
    pub(crate) fn backup_by(
        &mut self,
        clock: &(dyn Fn() -> OffsetDateTime + Sync),
        store: &dyn Put,
        source: Source,
    ) -> Result<Summary, Error> {
        self.runs = self.runs.wrapping_add(1);
        let folder = self.store();
        let store = &Dated { store, folder: &folder, now: self.now };
        let what = Backup {
            host: &"web-1".parse::<HostName>().unwrap(),
            set: &"default".parse::<SetName>().unwrap(),
            store,
            store_name: "the store",
            state: &self.path("state"),
            machine: self.machine,
            wait: false,
            signing_key: &self.path("signing-key.pem"),
            slice_size: self.slice_size,
            threads: NonZero::<usize>::MIN.saturating_add(1),
            reuse_for: u64::try_from(self.reuse_for.whole_seconds()).unwrap(),
            full: self.full,
            ignored: Ignored::default(),
            program: "offsite test",
            clock,
            random: [self.runs; 4],
            chunk_key: [self.runs; 32],
        };
        backup(&what, source, &self.recipients, &self.heard)
    }

    fn choose(&self, which: Which) -> Found {
        choose(self.read().as_ref(), &Scope::default(), which, &Pins::default(), &restores::Heard::default()).unwrap()
    }

    pub(crate) fn latest(&self) -> Found {
        self.choose(Which::Latest)
    }

    pub(crate) fn receipt(&self, backup: BackupId) -> Receipt {
        let found = self.choose(Which::Id(backup));
        backups::Backup::open(self.read().as_ref(), &self.key.private, &found).unwrap().receipt().clone()
    }

    /// The stream of the latest backup by its plan. Everything is compared with everything else.
    pub(crate) fn stream(&self) -> Vec<u8> {
        self.stream_of(&self.latest(), &self.key.private)
    }

    fn stream_of(&self, found: &Found, key: &PrivateKey) -> Vec<u8> {
        let store = self.read();
        let backup = backups::Backup::open(store.as_ref(), key, found).unwrap();
        let slices = backup.slices().unwrap();
        let mut plan = Vec::new();
        backup.plan().unwrap().read_to_end(&mut plan).unwrap();
        let derived = plan_of(backup.index().unwrap(), |name| slices.known(name), self.folder.path(), Vec::new());
        assert_eq!(String::from_utf8(plan.clone()).unwrap(), String::from_utf8(derived.unwrap()).unwrap());

        let mut steps = PlanReader::new(BufReader::new(&plan[..])).unwrap();
        let (mut names, mut stream) = (Vec::new(), Vec::new());
        // Many steps in a row read one slice.
        let mut last = None;
        while let Some(step) = steps.next_step().unwrap() {
            let mut frames = |slice: u64, span: offsite::plan::Span| {
                let name = names[usize::try_from(slice).unwrap()];
                if last.as_ref().is_none_or(|(last, _)| *last != name) {
                    last = Some((name, slices.open(name).unwrap()));
                }
                let opened = &last.as_ref().unwrap().1;
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

    /// Fails unless a backup is these bytes, by its plan as well as by `restore`.
    #[track_caller]
    pub(crate) fn assert_is(&self, backup: BackupId, bytes: &[u8]) {
        self.assert_opens(backup, bytes, &self.key);
    }

    /// Fails unless a backup is these bytes to whoever has this key.
    #[track_caller]
    pub(crate) fn assert_opens(&self, backup: BackupId, bytes: &[u8], key: &Key) {
        let by_plan = self.stream_of(&self.choose(Which::Id(backup)), &key.private);
        assert!(same_members(&by_plan, bytes), "{backup} by its plan");
        let restored = restores::writes(&self.store(), &key.path, backup).unwrap();
        assert!(same_members(&restored, bytes), "{backup} by restore");
    }

    /// The names of all objects.
    pub(crate) fn objects(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut each = |listed: Listed| {
            names.insert(listed.object.to_string());
            ControlFlow::Continue(())
        };
        self.read().list(&"".parse::<Folder>().unwrap(), &mut each).unwrap();
        names
    }
}
pub(crate) fn files(paths: &[&Path]) -> Source {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let roots = Roots::new(&paths).unwrap();
    Source::Files { roots, excludes: Excludes::none(), one_file_system: false, closed: Vec::new(), listed: false }
}

pub(crate) fn tar_of(path: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(walk(&[path]), &mut tar, &mut |incident| panic!("{incident:?}")).unwrap();
    tar
}

pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..length.div_ceil(4))
        .flat_map(|_| u32::try_from(numbers.below(1 << 32)).unwrap().to_le_bytes())
        .take(length)
        .collect()
}

/// Small files and large ones, ones at the border, holes, links.
pub(crate) fn tree(root: &Path) {
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

/// Whether two tars hold the same members, in whatever order, each the same to the last byte; of what is
/// no tar, whether it is the same.
pub(crate) fn same_members(one: &[u8], other: &[u8]) -> bool {
    one == other || members(one).is_some_and(|one| members(other).is_some_and(|other| one == other))
}

/// The members of a tar, each with what stands before it, in the order of their bytes.
fn members(mut tar: &[u8]) -> Option<Vec<&[u8]>> {
    let mut members = Vec::new();
    while tar.len() > 1024 {
        let mut length = 0;
        loop {
            let header = tar.get(length..length + 512)?;
            let size = std::str::from_utf8(&header[124..135]).ok()?;
            length += 512 + usize::from_str_radix(size, 8).ok()?.next_multiple_of(512);
            if header[156] != b'x' {
                break;
            }
        }
        let (member, rest) = tar.split_at_checked(length)?;
        members.push(member);
        tar = rest;
    }
    members.sort_unstable();
    (tar == [0; 1024]).then_some(members)
}

/// Puts into a directory, and dates what was put by the test's clock.
struct Dated<'a> {
    store: &'a dyn Put,
    folder: &'a Path,
    now: OffsetDateTime,
}

impl Put for Dated<'_> {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> store::Result<()> {
        self.store.put(object, bytes)?;
        set_modified(&self.folder.join(object.as_str()), self.now.unix_timestamp(), 0);
        Ok(())
    }

    fn id(&self) -> store::Result<Option<StoreId>> {
        self.store.id()
    }

    fn holds(&self, object: &ObjectName, size: u64) -> store::Result<Option<bool>> {
        self.store.holds(object, size)
    }
}

/// Puts into a store, until it has put so many objects; from then on it fails.
pub(crate) struct Ends<'a> {
    store: &'a dyn Put,
    left: AtomicUsize,
    put: Mutex<Vec<(String, u64)>>,
}

impl<'a> Ends<'a> {
    pub(crate) fn after(objects: usize, store: &'a dyn Put) -> Self {
        Self { store, left: AtomicUsize::new(objects), put: Mutex::default() }
    }

    /// One that does not end.
    pub(crate) fn never(store: &'a dyn Put) -> Self {
        Self::after(usize::MAX, store)
    }

    /// How many objects were put.
    pub(crate) fn count(&self) -> usize {
        self.put.lock().unwrap().len()
    }

    /// How many bytes of slices were put.
    pub(crate) fn slice_bytes(&self) -> u64 {
        let put = self.put.lock().unwrap();
        put.iter().filter(|(name, _)| name.contains("/slice-")).map(|(_, size)| size).sum()
    }
}

impl Put for Ends<'_> {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> store::Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let size = bytes.len() as u64;
        match left {
            Ok(_) => {
                self.store.put(object, bytes)?;
                self.put.lock().unwrap().push((object.to_string(), size));
                Ok(())
            }
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
