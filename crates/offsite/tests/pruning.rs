//! `prune`: whatever happened before, every backup that it keeps restores, and of a set that is not as it must be
//! nothing is removed; wherever it is killed.
//!
//! Histories are random. A failure prints its seed, and `OFFSITE_TEST_SEED` runs that one history again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use host::{Ends, Host, files, noise, tar_of};
use offsite::Result;
use offsite::names::{BackupId, ObjectName};
use offsite::operations::backups::Scope;
use offsite::operations::prune::{Fate, Outcome, Prune, Rules, Set, Why, prune};
use offsite::operations::verify::{Seen, Verify, What, verify};
use offsite::pins::Pins;
use offsite::store::{self, Delete, Location, Reason};
use support::{Numbers, run};
use time::{Duration, OffsetDateTime};

/// Nothing that is younger than that and a week is removed.
const REUSE_FOR: Duration = Duration::days(10);

/// Deletes so many objects, and then no more: as if it were killed.
struct Killed {
    store: Box<dyn Delete>,
    left: AtomicUsize,
}

impl Delete for Killed {
    fn delete(&self, object: &ObjectName) -> store::Result<()> {
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => self.store.delete(object),
            Err(_) => Err(store::Error {
                store: "gone".to_owned(),
                action: "delete",
                object: Some(object.to_string()),
                reason: Reason::Unreachable(io::ErrorKind::NotConnected.into()),
            }),
        }
    }
}

/// Prunes a directory.
fn prune_at(store: &Path, delete: Option<&dyn Delete>, rules: Rules, now: OffsetDateTime) -> Result<Vec<Set>> {
    let read = store::open_for_read(&Location::Directory(store.into()), &store::ReadSettings::new()).unwrap();
    let what = Prune {
        store: read.as_ref(),
        delete,
        scope: &Scope::default(),
        pins: &Pins::default(),
        rules,
        now,
        events: &support::restores::Heard::default(),
    };
    prune(&what)
}

fn deletes(store: &Path) -> Box<dyn Delete> {
    store::open_for_delete(&Location::Directory(store.into())).unwrap()
}

/// Every file of a folder, with its contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                contents.insert(path, bytes);
            }
        }
    }
    contents
}

/// A host's life, and its keeper's.
struct History {
    numbers: Numbers,
    host: Host,
    root: PathBuf,
    /// What each backup saw.
    tars: BTreeMap<BackupId, Vec<u8>>,
    removed: usize,
    closed: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut host = Host::new();
        host.now -= Duration::days(500);
        host.reuse_for = REUSE_FOR;
        let root = host.path("tree");
        fs::create_dir(&root).unwrap();
        for number in 0..40 {
            fs::write(root.join(number.to_string()), noise(9000, number + 1)).unwrap();
        }
        fs::write(root.join("large"), noise(1_500_000, 77)).unwrap();
        let numbers = Numbers(seed.max(1));
        Self { numbers, host, root, tars: BTreeMap::new(), removed: 0, closed: 0 }
    }

    fn change(&mut self) {
        for _ in 0..self.numbers.below(5) {
            let file = self.root.join(self.numbers.below(60).to_string());
            match self.numbers.below(4) {
                0 => drop(fs::remove_file(file)),
                _ => fs::write(file, noise(9000, self.numbers.below(1 << 40) as u64 + 1)).unwrap(),
            }
        }
    }

    /// A backup, or one that is killed.
    fn backup(&mut self) {
        self.change();
        self.host.full = self.numbers.below(12) == 0;
        let killed = self.numbers.below(6) == 0;
        let put = self.host.put();
        let ends = if killed { Ends::after(self.numbers.below(6), put.as_ref()) } else { Ends::never(put.as_ref()) };
        let tar = tar_of(&self.root);
        if let Ok(summary) = self.host.backup_to(&ends, files(&[&self.root])) {
            self.tars.insert(summary.backup, tar);
        }
    }

    fn rules(&mut self) -> Rules {
        let mut below = |limit| u32::try_from(self.numbers.below(limit)).unwrap();
        Rules {
            within: Duration::days(below(30).into()),
            last: below(4),
            daily: below(8),
            weekly: below(5),
            monthly: below(4),
            yearly: below(3),
        }
    }

    fn receipts(&self) -> BTreeSet<BackupId> {
        let names = self.host.objects().into_iter().filter_map(|name| {
            Some(name.strip_prefix("receipts/web-1/default/")?.strip_suffix(".p7s")?.parse().unwrap())
        });
        names.collect()
    }

    /// Prunes, and looks whether all is as it must be.
    fn prune(&mut self) {
        let store = self.host.store();
        let rules = self.rules();
        let (before, elsewhere) = (self.receipts(), contents(&store.join("data/web-2")));
        let dry = prune_at(&store, None, rules, self.host.now).unwrap();
        assert_eq!(self.receipts(), before, "a dry run removes nothing");
        let pruned = prune_at(&store, Some(deletes(&store).as_ref()), rules, self.host.now).unwrap();
        assert_eq!(words(&dry), words(&pruned), "a dry run tells what would be done");
        let [Set { outcome: Outcome::Pruned(pruned), .. }, Set { outcome: Outcome::Closed { .. }, .. }] = &pruned[..]
        else {
            panic!("{pruned:?}")
        };
        let is_kept = |run: &&offsite::operations::prune::Run| matches!(run.fate, Fate::Kept(_));
        let kept: BTreeSet<BackupId> = pruned.runs.iter().filter(is_kept).map(|run| run.backup).collect();
        let of_receipts = pruned.runs.iter().filter(|run| run.found.is_some()).map(|run| run.backup);
        assert_eq!(of_receipts.collect::<BTreeSet<_>>(), before);
        assert_eq!(self.receipts(), kept);
        self.removed += before.len() - kept.len();
        for run in pruned.runs.iter().filter(is_kept) {
            let Fate::Kept(why) = &run.fate else { continue };
            assert!(!why.is_empty());
        }
        if let Some(newest) = before.last() {
            assert!(kept.contains(newest), "the newest backup is kept");
        }
        assert_eq!(contents(&store.join("data/web-2")), elsewhere, "nobody else's is touched");
        self.assert_whole();
    }

    /// Every backup that has a receipt is whole.
    fn assert_whole(&self) {
        let kept = self.receipts();
        // What restores is to find one set.
        let (theirs, aside) = (self.host.store().join("receipts/web-2"), self.host.path("aside"));
        fs::rename(&theirs, &aside).unwrap();
        let sample = kept.iter().rev().enumerate().filter(|(number, _)| number % 4 == 0);
        sample.for_each(|(_, backup)| self.host.assert_is(*backup, &self.tars[backup]));
        fs::rename(&aside, &theirs).unwrap();
        let (read, pins, events) = (self.host.read(), Pins::default(), support::restores::Heard::default());
        let what = Verify {
            store: read.as_ref(),
            scope: &Scope { host: Some("web-1".parse().unwrap()), set: None },
            pins: &pins,
            now: self.host.now,
            max_age: None,
            retention: None,
            data: None,
            events: &events,
        };
        if !kept.is_empty() {
            // A gap in the chain is what prune makes; an object that is missing is not.
            let found = verify(&what, &mut Seen::default()).unwrap().findings;
            assert!(found.iter().all(|finding| matches!(finding.what, What::ReceiptMissing { .. })), "{found:?}");
        }
    }

    /// Something is wrong with a receipt: nothing of the set is removed.
    fn attack(&mut self) {
        let receipts: Vec<BackupId> = self.receipts().into_iter().collect();
        if receipts.is_empty() {
            return;
        }
        let folder = self.host.store().join("receipts/web-1/default");
        let path = folder.join(format!("{}.p7s", receipts[self.numbers.below(receipts.len())]));
        let good = fs::read(&path).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let bad = match self.numbers.below(4) {
            0 => good[..good.len() - 1].to_vec(),
            1 => Vec::new(),
            2 => {
                let mut bad = good.clone();
                bad[self.numbers.below(good.len())] ^= 1;
                bad
            }
            _ => {
                fs::write(folder.join("junk"), "").unwrap();
                good.clone()
            }
        };
        let put_again = |bytes: &[u8]| {
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        };
        put_again(&bad);
        let store = self.host.store();
        let before = contents(&store);
        let rules = self.rules();
        let later = self.host.now + Duration::days(1000);
        for set in prune_at(&store, Some(deletes(&store).as_ref()), rules, later).unwrap() {
            assert!(matches!(set.outcome, Outcome::Closed { .. }), "{set:?}");
        }
        assert!(contents(&store) == before, "something of a set that is not as it must be was removed");
        self.closed += 1;
        let _ = fs::remove_file(folder.join("junk"));
        put_again(&good);
        // Somebody removes a receipt: what only that backup needs goes in time, and nothing else.
        if self.numbers.below(3) == 0 && receipts.len() > 3 {
            fs::remove_file(&path).unwrap();
        }
    }

    fn live(&mut self) {
        while self.tars.is_empty() {
            self.host.now += Duration::HOUR;
            self.backup();
        }
        // Another host's folders, in which these receipts do not count.
        let script = "for of in receipts data; do cp -a $of/web-1 $of/web-2; done";
        run(Command::new("bash").args(["-ec", script]).current_dir(self.host.store()));
        for _ in 0..40 {
            let longest = if self.numbers.below(10) == 0 { 500 } else { 40 };
            let hours = 12 + self.numbers.below(longest);
            self.host.now += Duration::hours(i64::try_from(hours).unwrap());
            self.backup();
            match self.numbers.below(8) {
                0 | 1 if !self.receipts().is_empty() => self.prune(),
                2 => self.attack(),
                _ => {}
            }
        }
        self.prune();
    }
}

fn words(sets: &[Set]) -> Vec<String> {
    let mut words = Vec::new();
    for Set { host, set, outcome } in sets {
        match outcome {
            Outcome::Closed { why, others } => words.push(format!("{host}/{set}: {why}, {others}")),
            Outcome::Pruned(pruned) => words.extend(
                pruned
                    .runs
                    .iter()
                    .map(|run| format!("{}: {:?} {:?} {:?}", run.backup, run.fate, run.kept, run.removed)),
            ),
        }
    }
    words
}

#[test]
fn whatever_happened_what_is_kept_restores() {
    let seed = env::var("OFFSITE_TEST_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let first = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_millis()).unwrap() * 10
    });
    let count = if seed.is_some() { 1 } else { 4 };
    let (mut removed, mut closed) = (0, 0);
    for seed in first..first + count {
        println!("OFFSITE_TEST_SEED={seed}");
        let mut history = History::new(seed);
        history.live();
        println!("{} backups, {} removed, closed {} times", history.tars.len(), history.removed, history.closed);
        removed += history.removed;
        closed += history.closed;
    }
    assert!(seed.is_some() || removed > 20 && closed > 4, "hardly anything happened");
}

/// Thirty nights of files that change, and what each of them was.
fn thirty_nights() -> (Host, BTreeMap<BackupId, Vec<u8>>) {
    let mut history = History::new(7);
    for night in 0..30_u64 {
        history.host.now += Duration::DAY;
        fs::write(history.root.join("changing"), noise(50_000, night + 1)).unwrap();
        let summary = history.host.backup(files(&[&history.root])).unwrap();
        history.tars.insert(summary.backup, tar_of(&history.root));
    }
    (history.host, history.tars)
}

/// Wherever it is killed, what is kept restores, and the next one ends what it has begun.
#[test]
fn a_prune_that_is_killed_loses_nothing_and_the_next_one_ends_it() {
    let (host, tars) = thirty_nights();
    let (store, original) = (host.store(), host.path("original"));
    run(Command::new("cp").arg("-a").args([&store, &original]));
    let rules = Rules { last: 3, weekly: 2, ..Rules::within(Duration::days(2)) };
    let now = host.now + Duration::days(200);
    prune_at(&store, Some(deletes(&store).as_ref()), rules, now).unwrap();
    let pruned = host.objects();
    let kept: Vec<BackupId> = tars
        .keys()
        .copied()
        .filter(|backup| pruned.iter().any(|name| name.ends_with(&format!("{backup}.p7s"))))
        .collect();
    assert!((3..10).contains(&kept.len()), "{kept:?}");

    let mut steps = 0;
    loop {
        run(Command::new("rm").arg("-r").arg(&store));
        run(Command::new("cp").arg("-a").args([&original, &store]));
        let killed = Killed { store: deletes(&store), left: AtomicUsize::new(steps) };
        let ended = prune_at(&store, Some(&killed), rules, now);
        let left = host.objects();
        // No receipt is left of a backup that is not whole, whether it is to be kept or not.
        let has_receipt = |backup: &&BackupId| left.iter().any(|name| name.ends_with(&format!("{backup}.p7s")));
        let whole: Vec<&BackupId> = tars.keys().filter(has_receipt).collect();
        assert!(kept.iter().all(|backup| whole.contains(&backup)), "after {steps} steps");
        let backup = whole[steps % whole.len()];
        host.assert_is(*backup, &tars[backup]);
        prune_at(&store, Some(deletes(&store).as_ref()), rules, now).unwrap();
        assert_eq!(host.objects(), pruned, "after {steps} steps");
        if ended.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 40, "{steps} objects are hardly any");
}

/// What may still be used again stays, though no receipt lists it; and the host goes on from it.
#[test]
fn what_the_host_may_still_use_stays() {
    let (mut host, tars) = thirty_nights();
    let store = host.store();
    let rules = Rules::within(Duration::ZERO);
    let before = host.objects();
    prune_at(&store, Some(deletes(&store).as_ref()), rules, host.now).unwrap();
    let after = host.objects();
    let count = |objects: &BTreeSet<String>, what: &str| objects.iter().filter(|name| name.contains(what)).count();
    assert_eq!(count(&after, "receipts/"), 1);
    let data: BTreeSet<&String> = after.iter().filter(|name| name.starts_with("data/")).collect();
    assert!(data.len() < count(&before, "data/"));
    // Of each of the last seventeen nights everything is there.
    for backup in tars.keys().rev().take(17) {
        let of_run = |objects: &BTreeSet<String>| count(objects, &format!("data/web-1/default/{backup}/"));
        assert_eq!(of_run(&after), of_run(&before), "{backup}");
    }
    host.now += Duration::DAY;
    let root = host.path("tree");
    let next = host.backup(files(&[&root])).unwrap();
    host.assert_is(next.backup, &tar_of(&root));
    assert!(next.stored_bytes < 1_500_000, "it was a full one: {}", next.stored_bytes);
}

/// Without pins a second signer closes a set. A clock that is signed counts for nothing.
#[test]
fn a_thief_of_the_server_cannot_have_old_backups_removed() {
    let (mut host, tars) = thirty_nights();
    let store = host.store();
    // They fill the counts with backups of their own; the time that is kept stays kept.
    let root = host.path("junk");
    fs::create_dir(&root).unwrap();
    host.full = true;
    for number in 0..40_u64 {
        host.now += Duration::MINUTE;
        fs::write(root.join("junk"), noise(100, number + 1)).unwrap();
        host.backup(files(&[&root])).unwrap();
    }
    let rules = Rules { last: 5, daily: 5, ..Rules::within(Duration::days(10)) };
    let sets = prune_at(&store, Some(deletes(&store).as_ref()), rules, host.now).unwrap();
    let Outcome::Pruned(pruned) = &sets[0].outcome else { panic!("{sets:?}") };
    let within =
        |run: &&offsite::operations::prune::Run| matches!(&run.fate, Fate::Kept(why) if why.contains(&Why::Within));
    let kept: BTreeSet<BackupId> = pruned.runs.iter().filter(within).map(|run| run.backup).collect();
    for backup in tars.keys().rev().take(9) {
        assert!(kept.contains(backup), "{backup}");
        host.assert_is(*backup, &tars[backup]);
    }

    // With another key than the host's.
    let key = host.path("signing-key.pem");
    fs::rename(&key, host.path("own.pem")).unwrap();
    host.now += Duration::MINUTE;
    host.backup(files(&[&root])).unwrap();
    let before = host.objects();
    let sets = prune_at(&store, Some(deletes(&store).as_ref()), rules, host.now + Duration::days(500)).unwrap();
    assert!(matches!(&sets[0].outcome, Outcome::Closed { .. }), "{sets:?}");
    assert_eq!(host.objects(), before);
}

/// A backup that is kept in name only keeps no other from being the last whole one.
#[test]
fn where_something_is_missing_of_what_is_kept_nothing_is_removed() {
    let (host, tars) = thirty_nights();
    let (store, original) = (host.store(), host.path("original"));
    run(Command::new("cp").arg("-a").args([&store, &original]));
    let newest = tars.keys().next_back().unwrap();
    let receipt = host.receipt(*newest);
    let slice = receipt.runs[0].slices[0].last;
    let lost = [
        format!("data/web-1/default/{newest}/index.p7m"),
        format!("data/web-1/default/{newest}/slice-00000000.p7m"),
        format!("data/web-1/default/{}/slice-{slice:08}.p7m", receipt.runs[0].backup),
        format!("data/web-1/default/{}/slices.sha256", receipt.runs[0].backup),
    ];
    let now = host.now + Duration::days(200);
    for object in &lost {
        run(Command::new("rm").arg("-r").arg(&store));
        run(Command::new("cp").arg("-a").args([&original, &store]));
        fs::remove_file(store.join(object)).unwrap();
        let before = host.objects();
        let rules = Rules::within(Duration::DAY);
        let sets = prune_at(&store, Some(deletes(&store).as_ref()), rules, now).unwrap();
        let [Set { outcome: Outcome::Closed { why, others: 0 }, .. }] = &sets[..] else { panic!("{object}: {sets:?}") };
        assert_eq!(why.to_string(), format!("{object}: it is not in the store"));
        assert_eq!(host.objects(), before, "{object}");
    }
    run(Command::new("rm").arg("-r").arg(store.join(format!("data/web-1/default/{newest}"))));
    let sets = prune_at(&store, Some(deletes(&store).as_ref()), Rules::within(Duration::DAY), now).unwrap();
    assert!(matches!(sets[0].outcome, Outcome::Closed { others: 5.., .. }), "{sets:?}");
    // What no rule keeps may lack anything.
    run(Command::new("rm").arg("-r").arg(&store));
    run(Command::new("cp").arg("-a").args([&original, &store]));
    let oldest = tars.keys().next().unwrap();
    fs::remove_file(store.join(format!("data/web-1/default/{oldest}/plan.p7m"))).unwrap();
    let sets = prune_at(&store, Some(deletes(&store).as_ref()), Rules::within(Duration::DAY), now).unwrap();
    assert!(matches!(sets[0].outcome, Outcome::Pruned(_)), "{sets:?}");
    host.assert_is(*newest, &tars[newest]);
}

/// The latest is kept without a rule; one of a time to come would be that for ever, and no other.
#[test]
fn of_a_set_with_a_time_to_come_nothing_is_removed() {
    let (mut host, tars) = thirty_nights();
    let (store, root) = (host.store(), host.path("tree"));
    let now = host.now + Duration::days(200);
    host.now += Duration::days(1000);
    host.backup(files(&[&root])).unwrap();
    let before = host.objects();
    let sets = prune_at(&store, Some(deletes(&store).as_ref()), Rules::within(Duration::DAY), now).unwrap();
    let [Set { outcome: Outcome::Closed { why, others: 0 }, .. }] = &sets[..] else { panic!("{sets:?}") };
    assert!(why.to_string().contains("has yet to come"), "{why}");
    assert_eq!(host.objects(), before);
    let newest = tars.keys().next_back().unwrap();
    host.assert_is(*newest, &tars[newest]);
}
