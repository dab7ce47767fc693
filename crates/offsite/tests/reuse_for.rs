//! Whatever happens over months: no backup needs an object older than `--reuse-for` says, what is stored anew
//! for that comes evenly, and a store that deletes by age alone keeps every backup whole.
//!
//! Histories are random. A failure prints its seed, and `OFFSITE_TEST_SEED` runs that one history again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use host::{Ends, Host, files, noise, tar_of};
use offsite::Error;
use offsite::names::{BackupId, ObjectName};
use offsite::operations::backup::Summary;
use offsite::store::{self, Put, StoreId};
use support::Numbers;
use time::{Duration, OffsetDateTime};

/// No backup needs an object older than that.
const REUSE_FOR: Duration = Duration::days(10);

/// Backups are kept for so long.
const RETENTION: Duration = Duration::days(20);

/// So long after the retention data are deleted: a backup may take a day, and a receipt come a day late.
const MARGIN: Duration = Duration::days(2);

const DAYS: i64 = 60;

/// The longest frame, about: a slice is 128 KiB.
const FRAME: u64 = 128 << 10;

/// How often backups are made.
#[derive(Clone, Copy, Debug)]
enum Rhythm {
    Nightly,
    Weekly,
    Monthly,
    /// After some hours, or a few days.
    Odd,
}

/// A year's worth of accidents in some weeks.
struct History {
    numbers: Numbers,
    rhythm: Rhythm,
    host: Host,
    /// Backs up the same, and renews nothing.
    control: Host,
    root: PathBuf,
    end: OffsetDateTime,
    /// What each run saw, by its start.
    tars: BTreeMap<OffsetDateTime, PathBuf>,
    /// When the last run was, if it put all that it wanted to.
    done: Option<OffsetDateTime>,
    /// How many bytes were renewed.
    renewed: u64,
    finished: usize,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Finished,
    /// After so many objects.
    Killed(usize),
    /// All is put but the receipt.
    NoReceipt,
}

/// Takes no receipts.
struct NoReceipts<'a>(&'a dyn Put);

impl Put for NoReceipts<'_> {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> store::Result<()> {
        let is_receipt = object.as_str().starts_with("receipts/");
        if is_receipt { Ends::after(0, self.0).put(object, bytes) } else { self.0.put(object, bytes) }
    }

    fn id(&self) -> store::Result<Option<StoreId>> {
        self.0.id()
    }

    fn holds(&self, object: &ObjectName, size: u64) -> store::Result<Option<bool>> {
        self.0.holds(object, size)
    }
}

impl History {
    fn new(seed: u64, rhythm: Rhythm) -> Self {
        let mut host = Host::ahead();
        (host.reuse_for, host.slice_size) = (REUSE_FOR, 128 << 10);
        let mut control = Host::ahead();
        (control.reuse_for, control.slice_size) = (Duration::days(3650), host.slice_size);
        let root = host.path("tree");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir(host.path("tars")).unwrap();
        for number in 0..60_u64 {
            fs::write(root.join(format!("{number:02}")), noise(10_000, seed ^ number)).unwrap();
        }
        fs::write(root.join("large"), noise(1_000_000, seed)).unwrap();
        let end = host.now + Duration::days(DAYS);
        let (numbers, tars) = (Numbers(seed), BTreeMap::new());
        Self { numbers, rhythm, host, control, root, end, tars, done: None, renewed: 0, finished: 0 }
    }

    /// Lives through it.
    fn live(&mut self) {
        let mut restored = self.host.now;
        while self.host.now < self.end {
            self.change();
            let fate = match self.numbers.below(20) {
                0..2 => Fate::Killed(self.numbers.below(12)),
                2 => Fate::NoReceipt,
                _ => Fate::Finished,
            };
            self.run(fate);
            self.delete_old();
            if self.host.now - restored > RETENTION {
                self.restore_all();
                restored = self.host.now;
            }
            self.sleep();
        }
        self.change();
        self.run(Fate::Finished);
        assert!(self.restore_all() > 0);
        assert!(!self.host.heard.has("SlicesLost") && !self.host.heard.has("StateDamaged"));
    }

    /// Until the next run.
    fn sleep(&mut self) {
        let seconds = match self.rhythm {
            Rhythm::Nightly => 86_400,
            Rhythm::Weekly => 7 * 86_400,
            Rhythm::Monthly => 30 * 86_400,
            Rhythm::Odd => 3600 + self.numbers.below(70 * 3600),
        };
        // At times there is no network for days.
        let without = if self.numbers.below(15) == 0 { self.numbers.below(7) } else { 0 };
        self.host.now += Duration::seconds(i64::try_from(seconds + without * 86_400).unwrap());
    }

    fn change(&mut self) {
        for _ in 0..self.numbers.below(4) {
            let file = self.root.join(format!("{:02}", self.numbers.below(70)));
            let length = 8_000 + self.numbers.below(4_000);
            let seed = self.numbers.below(1 << 40) as u64 + 1;
            match self.numbers.below(5) {
                0 => drop(fs::remove_file(file)),
                1 => {
                    let large = self.root.join("large");
                    let mut bytes = fs::read(&large).unwrap();
                    let at = self.numbers.below(bytes.len());
                    bytes.splice(at..at, noise(10, seed));
                    fs::write(large, bytes).unwrap();
                }
                _ => fs::write(file, noise(length, seed)).unwrap(),
            }
        }
    }

    fn run(&mut self, fate: Fate) {
        let now = self.host.now;
        self.control.now = now;
        let tar = self.host.path(&format!("tars/{}", now.unix_timestamp()));
        fs::write(&tar, tar_of(&self.root)).unwrap();
        self.tars.insert(now, tar);

        let (stored, summary) = backup(&mut self.host, &self.root, fate);
        let (changed, control) = backup(&mut self.control, &self.root, fate);
        if let Some(summary) = &summary {
            self.finished += 1;
            self.check_age(summary.backup);
        }
        // What was put in vain, and what of it is made up for, is not told apart.
        let is_done = fate == Fate::NoReceipt || summary.is_some() && control.is_some();
        let before = mem::replace(&mut self.done, is_done.then_some(now));
        if let Some(before) = before.filter(|_| is_done) {
            let renewed = stored.saturating_sub(changed);
            self.renewed += renewed;
            let live = self.live_bytes() as f64;
            let evenly = live * 2.0 * ((now - before) / REUSE_FOR);
            assert!(renewed as f64 <= evenly + 2.0 * FRAME as f64, "{now}: {renewed} bytes of {live} since {before}");
        }
    }

    fn live_bytes(&self) -> u64 {
        let files = fs::read_dir(&self.root).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len() + 1024).sum()
    }

    /// Nothing that a backup needs is older than it may be.
    fn check_age(&self, backup: BackupId) {
        let receipt = self.host.receipt(backup);
        let runs = receipt.runs.iter().map(|run| run.backup);
        let indexes = receipt.index_chain.iter().map(|index| index.backup);
        for needed in runs.chain(indexes) {
            let age = backup.start() - needed.start();
            assert!(age <= REUSE_FOR, "{backup} needs {needed}, which is {age} older");
        }
    }

    /// What a bucket's lifecycle rules do, which know nothing but ages.
    fn delete_old(&self) {
        for object in self.host.objects() {
            let (kept, run) = match object.strip_prefix("receipts/web-1/default/") {
                Some(name) => (RETENTION, name.strip_suffix(".p7s").unwrap()),
                None => {
                    let name = object.strip_prefix("data/web-1/default/").unwrap();
                    (RETENTION + REUSE_FOR + MARGIN, name.split_once('/').unwrap().0)
                }
            };
            if self.host.now - run.parse::<BackupId>().unwrap().start() > kept {
                fs::remove_file(self.host.store().join(object)).unwrap();
            }
        }
    }

    /// Restores everything that has a receipt; how much that is.
    fn restore_all(&self) -> usize {
        let objects = self.host.objects();
        let receipts = objects.iter().filter_map(|name| name.strip_prefix("receipts/web-1/default/"));
        let mut count = 0;
        for receipt in receipts {
            let backup: BackupId = receipt.strip_suffix(".p7s").unwrap().parse().unwrap();
            self.check_age(backup);
            self.host.assert_is(backup, &fs::read(&self.tars[&backup.start()]).unwrap());
            count += 1;
        }
        count
    }
}

/// A run; how many bytes of slices it has put.
fn backup(host: &mut Host, root: &Path, fate: Fate) -> (u64, Option<Summary>) {
    let store = host.put();
    let no_receipts = NoReceipts(store.as_ref());
    let ends = match fate {
        Fate::Finished => Ends::never(store.as_ref()),
        Fate::Killed(objects) => Ends::after(objects, store.as_ref()),
        Fate::NoReceipt => Ends::never(&no_receipts),
    };
    match host.backup_to(&ends, files(&[root])) {
        Ok(summary) => (ends.slice_bytes(), Some(summary)),
        Err(error) => {
            assert!(matches!(error, Error::Store(_)) && fate != Fate::Finished, "{error}");
            (ends.slice_bytes(), None)
        }
    }
}

#[test]
fn no_history_makes_a_backup_need_what_is_too_old() {
    let rhythms = [Rhythm::Nightly, Rhythm::Odd, Rhythm::Weekly, Rhythm::Nightly, Rhythm::Odd, Rhythm::Monthly];
    let seed = env::var("OFFSITE_TEST_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let first = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_millis()).unwrap() * 10
    });
    let count = if seed.is_some() { 1 } else { 10 };
    for seed in first..first + count {
        let rhythm = rhythms[usize::try_from(seed % 6).unwrap()];
        println!("OFFSITE_TEST_SEED={seed}: {rhythm:?}");
        let mut history = History::new(seed, rhythm);
        history.live();
        println!("{} backups, {} bytes renewed of {}", history.finished, history.renewed, history.live_bytes());
        if let Rhythm::Nightly = rhythm {
            assert!(history.renewed > history.live_bytes(), "hardly anything was renewed");
        }
    }
}
