//! Finding versions of files in many backups, and what differs between two: by random histories, compared with what
//! somebody would find who looked into each backup.
//!
//! A failure prints its seed, and `OFFSITE_TEST_SEED` runs that one history again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/small_store.rs"]
mod small_store;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use offsite::cms::signed_data::SigningKey;
use offsite::index::Kind;
use offsite::names::{BackupId, BackupName, Folder, ObjectName};
use offsite::operations::backups::{Backup, Scope, Selection, Which, choose, choose_two};
use offsite::operations::diff::{Change, Difference, diff};
use offsite::operations::find::{Find, Globs, Next, Searched, find};
use offsite::paths::compare;
use offsite::pins::Pins;
use offsite::store::{self, Listed, Read};
use offsite::{Damage, Error, Events, Warning};
use small_store::{Item, Made, SmallStore, Spec, file, p256, rsa, signer};
use time::{Duration, OffsetDateTime};

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// What was told.
#[derive(Default)]
struct Told {
    damage: Mutex<Vec<String>>,
    /// How many backups were not searched, and how many of them for the key.
    not_searched: Mutex<(usize, usize)>,
}

impl Events for Told {
    fn progress(&self, _: u64) {}

    fn warn(&self, warning: Warning) {
        if let Warning::NotSearched { count, wrong_key, .. } = warning {
            let mut told = self.not_searched.lock().unwrap();
            *told = (told.0 + count, told.1 + if wrong_key.is_some() { count } else { 0 });
        }
    }

    fn damage(&self, damage: &Damage) {
        self.damage.lock().unwrap().push(damage.object.to_string());
    }
}

/// A store that counts how often each object is got.
struct Counted<'a> {
    store: &'a dyn Read,
    got: Mutex<BTreeMap<String, usize>>,
}

impl<'a> Counted<'a> {
    fn new(store: &'a dyn Read) -> Self {
        Self { store, got: Mutex::default() }
    }

    /// How often the objects of indexes were got.
    fn indexes(&self) -> BTreeMap<String, usize> {
        let got = self.got.lock().unwrap();
        got.iter().filter(|(name, _)| name.contains("/index")).map(|(name, count)| (name.clone(), *count)).collect()
    }
}

impl Read for Counted<'_> {
    fn get(&self, object: &ObjectName, limit: usize) -> store::Result<Vec<u8>> {
        *self.got.lock().unwrap().entry(object.to_string()).or_default() += 1;
        self.store.get(object, limit)
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> store::Result<()> {
        self.store.list(folder, each)
    }
}

/// Some lie in others, which are no folders then; '!' sorts before '/' as bytes, and after it here.
const PATHS: [&str; 9] = ["a", "a/b", "a/b/c", "a!", "b", "b/keep", "c.conf", "d/c.conf", "d/x"];

type Tree = BTreeMap<&'static str, Kind>;

/// A backup as the test knows it.
struct Known {
    made: Made,
    name: BackupName,
    /// By what it must stand in the order of time.
    recency: (OffsetDateTime, OffsetDateTime, BackupId),
    tree: Tree,
    /// The backups of its chain by their numbers, itself included.
    chain: Vec<usize>,
    /// Whether its own index is for the test's key, and whole.
    opens: bool,
    whole: bool,
}

struct History {
    numbers: Numbers,
    store: SmallStore,
    backups: Vec<Known>,
    /// Whether the host may be set back, and whether some backups may be for another key.
    set_back: bool,
    other_keys: bool,
    forked: bool,
}

/// A version as it must be found: path, kind, the first and the last backup, how many, and what comes after.
type Expected = (String, Kind, BackupId, BackupId, usize, &'static str, Option<BackupId>);

impl History {
    /// Lives through it.
    fn new(seed: u64, signer: &SigningKey) -> Self {
        let mut history = Self {
            numbers: Numbers(seed),
            store: SmallStore::new(),
            backups: Vec::new(),
            set_back: seed & 1 == 1,
            other_keys: seed & 2 == 2,
            forked: false,
        };
        let count = 2 + history.numbers.below(30);
        let mut now: OffsetDateTime = "20200101T000000Z-00000000".parse::<BackupId>().unwrap().start();
        for _ in 0..count {
            // Some begin in the same second.
            now += Duration::seconds(i64::try_from(history.numbers.below(4) * 30_000).unwrap());
            history.back_up(now, signer);
        }
        history
    }

    fn back_up(&mut self, now: OffsetDateTime, signer: &SigningKey) {
        let number = self.backups.len();
        let base = match self.numbers.below(8) {
            0 => None,
            // The host was set back.
            1 if number > 0 && self.set_back => Some(self.numbers.below(number)),
            _ => number.checked_sub(1),
        };
        let base = base.filter(|base| self.backups[*base].chain.len() < 16);
        let builds_on = |other: &Known| other.chain.iter().nth_back(1).copied();
        self.forked |= base.is_some() && self.backups.iter().any(|other| builds_on(other) == base);
        let (tree, items) = self.change(base);
        let id = BackupId::new(now, u32::try_from(number).unwrap().to_be_bytes());
        let name = BackupName { host: "web-1".parse().unwrap(), set: "default".parse().unwrap(), backup: id };
        let opens = self.numbers.below(12) > 0 || !self.other_keys;
        let mut chain = base.map(|base| self.backups[base].chain.clone()).unwrap_or_default();
        chain.push(number);
        let made = self.store.backup(&Spec {
            recipients: if opens { &p256().recipients } else { &rsa().recipients },
            base: base.map(|base| &self.backups[base].made),
            items,
            ..Spec::new(&name.to_string(), signer)
        });
        // Mostly it is stored after it has begun; else the clock was ahead.
        let late = i64::try_from(self.numbers.below(60)).unwrap();
        let early = if self.numbers.below(5) == 0 { i64::try_from(self.numbers.below(80_000)).unwrap() } else { 0 };
        let stored = now + Duration::seconds(late - early);
        self.store.stored(&name, stored);
        let recency = (now.min(stored), stored, id);
        self.backups.push(Known { made, name, recency, tree, chain, opens, whole: true });
    }

    /// What becomes of the tree of a backup.
    fn change(&mut self, base: Option<usize>) -> (Tree, Vec<Item>) {
        let before = base.map(|base| self.backups[base].tree.clone()).unwrap_or_default();
        let mut tree = before.clone();
        for _ in 0..self.numbers.below(5) {
            let path = PATHS[self.numbers.below(PATHS.len())];
            if self.numbers.below(3) == 0 {
                tree.remove(path);
                continue;
            }
            // Nothing lies in what is no folder.
            let lies_in = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
            tree.retain(|other, _| !lies_in(other, path) && !lies_in(path, other));
            let kind = match self.numbers.below(4) {
                0 => Kind::Symlink { target: vec![b'x'; 1 + self.numbers.below(2)] },
                _ => Kind::File { size: self.numbers.below(3) as u64, sparse: None },
            };
            tree.insert(path, kind);
        }
        let mut items: Vec<Item> =
            before.keys().filter(|path| !tree.contains_key(*path)).map(|path| Item::Gone(path)).collect();
        for (path, kind) in &tree {
            // What has not changed may be written again.
            if before.get(path) != Some(kind) || self.numbers.below(4) == 0 {
                items.push(match kind {
                    Kind::Symlink { target } => Item::Symlink((*path).to_owned(), target.clone()),
                    Kind::File { size, .. } => file(path, &"c".repeat(usize::try_from(*size).unwrap())),
                    kind => panic!("{kind:?}"),
                });
            }
        }
        (tree, items)
    }

    /// Damages the indexes of some backups.
    fn damage(&mut self) {
        for number in 0..self.backups.len() {
            if self.numbers.below(15) == 0 {
                let index = self.store.object(&format!("data/{}/index.p7m", self.backups[number].name));
                if self.numbers.below(2) == 0 {
                    fs::remove_file(index).unwrap();
                } else {
                    let mut bytes = fs::read(&index).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    fs::write(index, bytes).unwrap();
                }
                self.backups[number].whole = false;
            }
        }
    }

    /// The backups that can be searched, in the order of time.
    fn searchable(&self, as_of: Option<OffsetDateTime>) -> Vec<&Known> {
        let sound = |backup: &&Known| backup.chain.iter().all(|at| self.backups[*at].whole && self.backups[*at].opens);
        let old = |backup: &&Known| as_of.is_none_or(|as_of| backup.recency.0 <= as_of);
        let mut all: Vec<&Known> = self.backups.iter().filter(sound).filter(old).collect();
        all.sort_by_key(|backup| backup.recency);
        all
    }

    fn expected(&self, as_of: Option<OffsetDateTime>, matches: fn(&str) -> bool) -> Vec<Expected> {
        let all = self.searchable(as_of);
        let mut paths = PATHS;
        paths.sort_by(|one, other| compare(one.as_bytes(), other.as_bytes()));
        let mut expected = Vec::new();
        for path in paths.into_iter().filter(|path| matches(path)) {
            let mut at = 0;
            while at < all.len() {
                let kind = all[at].tree.get(path);
                let count = all[at..].iter().take_while(|backup| backup.tree.get(path) == kind).count();
                let next = all.get(at + count);
                if let Some(kind) = kind {
                    let after = match next {
                        None => "there",
                        Some(next) if next.tree.contains_key(path) => "changed",
                        Some(_) => "gone",
                    };
                    let id = |number: usize| all[number].name.backup;
                    let next = next.map(|next| next.name.backup);
                    expected.push((path.to_owned(), kind.clone(), id(at), id(at + count - 1), count, after, next));
                }
                at += count;
            }
        }
        expected
    }

    /// What is found.
    fn found(
        &self,
        store: &dyn Read,
        as_of: Option<OffsetDateTime>,
        glob: &str,
        told: &Told,
    ) -> Result<(Vec<Expected>, Searched), Error> {
        let mut versions = Vec::new();
        let what = Find {
            store,
            scope: &Scope::default(),
            pins: &Pins::default(),
            key: &p256().private,
            globs: &Globs::new(&[glob.to_owned()]).unwrap(),
            as_of,
            folder: self.store.beside(),
            events: told,
        };
        let searched = find(&what, &mut |version| {
            let (after, next) = match version.next {
                Next::Nothing => ("there", None),
                Next::Changed(next) => ("changed", Some(next.name.backup)),
                Next::Gone(next) => ("gone", Some(next.name.backup)),
            };
            let path = String::from_utf8(version.entry.path).unwrap();
            let (first, last) = (version.first.name.backup, version.last.name.backup);
            versions.push((path, version.entry.kind, first, last, version.backups, after, next));
            ControlFlow::Continue(())
        })?;
        Ok((versions, searched))
    }

    /// Compares all that can be found with what must be.
    fn check(&mut self) {
        let store = self.store.read();
        let mut times: Vec<_> = self.backups.iter().map(|backup| backup.recency.0).collect();
        times.sort();
        let some_time = times[self.numbers.below(times.len())];
        for as_of in [None, Some(some_time)] {
            for (glob, matches) in [
                ("*", (|_| true) as fn(&str) -> bool),
                ("c.conf", |path| path.ends_with("c.conf")),
                ("/a/**", |path| path.starts_with("a/")),
                ("/d/c.conf", |path| path == "d/c.conf"),
            ] {
                let (told, counted) = (Told::default(), Counted::new(&*store));
                let in_scope = self.backups.iter().filter(|backup| as_of.is_none_or(|as_of| backup.recency.0 <= as_of));
                let in_scope = in_scope.count();
                let all = self.searchable(as_of).len();
                let (found, searched) = match self.found(&counted, as_of, glob, &told) {
                    Err(Error::WrongKey { .. }) if all == 0 => continue,
                    found => found.unwrap(),
                };
                assert_eq!(found, self.expected(as_of, matches), "{glob} {as_of:?}");
                let (not_searched, for_the_key) = *told.not_searched.lock().unwrap();
                assert_eq!((searched.backups, searched.backups + not_searched), (all, in_scope));
                assert_eq!(searched.unopened, for_the_key);
                let is_whole = self.backups.iter().all(|backup| backup.whole && backup.opens);
                let nothing_damaged = told.damage.lock().unwrap().is_empty();
                assert_eq!(nothing_damaged, not_searched == for_the_key);
                if is_whole && !self.forked {
                    let times: BTreeSet<usize> = counted.indexes().into_values().collect();
                    assert_eq!(times, BTreeSet::from([1]), "each object of an index is got once");
                }
            }
        }
    }

    /// Compares what differs between two backups with what must.
    fn check_differences(&mut self) {
        for _ in 0..5 {
            let sound = self.searchable(None);
            let (count, all) = (sound.len(), sound.iter().map(|backup| backup.name.backup).collect::<Vec<_>>());
            if count == 0 {
                return;
            }
            let (old, new) = (all[self.numbers.below(count)], all[self.numbers.below(count)]);
            let tree_of = |id| &self.backups.iter().find(|backup| backup.name.backup == id).unwrap().tree;
            let mut expected = Vec::new();
            let mut paths = PATHS;
            paths.sort_by(|one, other| compare(one.as_bytes(), other.as_bytes()));
            for path in paths {
                match (tree_of(old).get(path), tree_of(new).get(path)) {
                    (None, Some(_)) => expected.push((path.to_owned(), "added")),
                    (Some(_), None) => expected.push((path.to_owned(), "removed")),
                    (Some(Kind::File { .. }), Some(Kind::Symlink { .. }))
                    | (Some(Kind::Symlink { .. }), Some(Kind::File { .. })) => expected.push((path.to_owned(), "kind")),
                    (Some(one @ Kind::File { .. }), Some(other)) if one != other => {
                        expected.push((path.to_owned(), "size"));
                    }
                    (Some(one), Some(other)) if one != other => expected.push((path.to_owned(), "target")),
                    _ => {}
                }
            }
            assert_eq!(self.differences(old, new), expected, "{old} {new}");
        }
    }

    fn differences(&self, old: BackupId, new: BackupId) -> Vec<(String, &'static str)> {
        let (store, told, key) = (self.store.read(), Told::default(), &p256().private);
        let which = [Which::Id(old), Which::Id(new)];
        let [old, new] = choose_two(&*store, &Scope::default(), which, &Pins::default(), &told).unwrap();
        let (old, new) = (Backup::open(&*store, key, &old).unwrap(), Backup::open(&*store, key, &new).unwrap());
        let mut differences = Vec::new();
        diff(&old, &new, Selection::default(), &mut |difference| {
            let (path, what) = match difference {
                Difference::Added(new) => (new.path, "added"),
                Difference::Removed(old) => (old.path, "removed"),
                Difference::Changed { new, changes, .. } => match changes[..] {
                    [Change::Kind] => (new.path, "kind"),
                    [Change::Size] => (new.path, "size"),
                    [Change::Target] => (new.path, "target"),
                    _ => panic!("{changes:?}"),
                },
            };
            differences.push((String::from_utf8(path).unwrap(), what));
            ControlFlow::Continue(())
        })
        .unwrap();
        differences
    }

    /// Compares which backup is of a time with which must be.
    fn check_times(&mut self) {
        let store = self.store.read();
        let oldest = self.backups.iter().map(|backup| backup.recency).min().unwrap();
        let choose = |as_of| choose(&*store, &Scope::default(), Which::AsOf(as_of), &Pins::default(), &Told::default());
        for backup in &self.backups {
            for as_of in [-1, 0, 1, 7_000].map(|seconds| backup.recency.0 + Duration::seconds(seconds)) {
                let old = self.backups.iter().map(|backup| backup.recency).filter(|recency| recency.0 <= as_of);
                match (choose(as_of), old.max()) {
                    (Ok(found), Some(expected)) => assert_eq!(found.name.backup, expected.2),
                    (Err(Error::NoneAsOld { oldest: told, time, .. }), None) => {
                        assert_eq!((told.backup, time), (oldest.2, oldest.0));
                    }
                    (found, expected) => panic!("{found:?}, where it must be {expected:?}"),
                }
            }
        }
    }
}

#[test]
fn whatever_happened_what_is_found_is_what_is_there() {
    let seed = env::var("OFFSITE_TEST_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let first = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_millis()).unwrap() * 100
    });
    let signer = signer("one");
    let (mut forked, mut whole) = (0, 0);
    for seed in first..first + if seed.is_some() { 1 } else { 12 } {
        println!("OFFSITE_TEST_SEED={seed}");
        let mut history = History::new(seed, &signer);
        history.check();
        history.check_differences();
        history.check_times();
        forked += usize::from(history.forked);
        whole += usize::from(history.backups.iter().all(|backup| backup.opens) && !history.forked);
        history.damage();
        history.check();
        history.check_differences();
    }
    assert!(seed.is_some() || forked > 0 && whole > 0, "{forked} {whole}");
}

/// Sixteen backups of one chain, whose full index is by far the largest.
#[test]
fn a_chain_is_read_once_for_all_its_backups() {
    let (store, signer) = (SmallStore::new(), signer("one"));
    let mut last: Option<Made> = None;
    for night in 0..16_usize {
        let contents = "x".repeat(night);
        let spec = Spec::new(&format!("web-1/default/202001{:02}T000000Z-00000001", night + 1), &signer);
        let recipients = &p256().recipients;
        let items = vec![file("changing", &contents)];
        last = Some(store.backup(&Spec { recipients, base: last.as_ref(), items, ..spec }));
    }
    let read = store.read();
    let counted = Counted::new(&*read);
    let told = Told::default();
    let what = Find {
        store: &counted,
        scope: &Scope::default(),
        pins: &Pins::default(),
        key: &p256().private,
        globs: &Globs::new(&["changing".to_owned()]).unwrap(),
        as_of: None,
        folder: store.beside(),
        events: &told,
    };
    let mut count = 0;
    let searched = find(&what, &mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((searched.unwrap().backups, count), (16, 16));
    let indexes = counted.indexes();
    assert!(indexes.len() == 16 && indexes.values().all(|times| *times == 1), "{indexes:?}");
    // Whoever has read enough ends it.
    let broken = find(&what, &mut |_| ControlFlow::Break(()));
    assert!(broken.is_ok());
}
