//! What may happen to a state, a store, a clock or a set between two backups: the next one is as good as
//! any, says what is the matter, and stores no more than it must.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use host::{Ends, Host, files, noise, tar_of};
use offsite::Error;
use offsite::cms::Recipients;
use offsite::operations::backup::{Source, Summary};
use offsite::receipt::{NoPrevious, Previous};
use time::Duration;

/// A host with a tree, of which a full backup and a delta are there.
struct Case {
    host: Host,
    root: PathBuf,
    changes: u64,
}

/// How much is in the tree, at least, but for what the last backup of a case has stored; incompressible.
const SIZE: u64 = 2_900_000;

/// How much a changed file and what shares its bundle are, at most.
const MOST_CHANGED: u64 = 600_000;

impl Case {
    fn new() -> Self {
        let mut host = Host::ahead();
        // So long that nothing is renewed here.
        host.reuse_for = Duration::days(365 * 100);
        let root = host.path("tree");
        fs::create_dir_all(root.join("folder")).unwrap();
        for number in 0..20_u64 {
            fs::write(root.join(format!("folder/{number:02}")), noise(50_000, number + 1)).unwrap();
        }
        fs::write(root.join("large"), noise(2_500_000, 77)).unwrap();
        // So many names that some deltas are shorter than half of the index.
        fs::create_dir(root.join("names")).unwrap();
        for number in 0..400_u32 {
            fs::write(root.join(format!("names/{}", blake3::hash(&number.to_le_bytes()))), "").unwrap();
        }
        let mut case = Self { host, root, changes: 0 };
        assert_eq!(case.next("", &["ChainBroken(NoState)", "SignerMade"]), How::Full);
        assert_eq!(case.next("", &[]), How::Incremental);
        case
    }

    /// Changes a file, without its length, and what the next one is a day later.
    #[track_caller]
    fn next(&mut self, what: &str, warnings: &[&str]) -> How {
        self.host.now += Duration::DAY;
        self.backup(what, warnings)
    }

    /// Changes a file and backs up, which must be told with just these warnings, and be what is there.
    #[track_caller]
    fn backup(&mut self, what: &str, warnings: &[&str]) -> How {
        self.change();
        let summary = self.host.backup(files(&[&self.root])).unwrap_or_else(|error| panic!("{what}: {error}"));
        self.check(what, &summary, warnings)
    }

    fn change(&mut self) {
        self.changes += 1;
        let file = self.root.join(format!("folder/{:02}", self.changes % 20));
        fs::write(file, noise(50_000, self.changes + 1000)).unwrap();
    }

    #[track_caller]
    fn check(&self, what: &str, summary: &Summary, warnings: &[&str]) -> How {
        let told = self.host.heard.told();
        let as_expected = told.len() == warnings.len()
            && told.iter().zip(warnings).all(|(told, expected)| told.starts_with(expected));
        assert!(as_expected, "{what}: {told:?} is not {warnings:?}");
        self.host.assert_is(summary.backup, &tar_of(&self.root));
        let receipt = self.host.receipt(summary.backup);
        match (receipt.slice_bytes, receipt.index_chain.is_empty()) {
            (SIZE.., true) => How::Full,
            (..MOST_CHANGED, true) => How::FullIndex,
            (..MOST_CHANGED, false) => How::Incremental,
            other => panic!("{what}: {other:?}"),
        }
    }

    /// The folder of the last backup in the state.
    fn last(&self) -> PathBuf {
        let folders: Vec<_> = fs::read_dir(self.host.state()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut folders = folders.into_iter().filter(|path| path.is_dir());
        let last = folders.next().unwrap();
        assert_eq!(folders.next(), None);
        last
    }

    /// A run over a changed tree, which ends when it has put so many objects.
    fn interrupt(&mut self, objects: usize) {
        self.host.now += Duration::HOUR;
        self.change();
        let store = self.host.put();
        let failed = self.host.backup_to(&Ends::after(objects, store.as_ref()), files(&[&self.root])).unwrap_err();
        assert!(matches!(failed, Error::Store(_)), "{failed}");
    }
}

/// What a backup is.
#[derive(Debug, PartialEq, Eq)]
enum How {
    Full,
    /// Its content is not.
    FullIndex,
    Incremental,
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// What can happen to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    /// A bit flips so many percent from its beginning.
    Flipped(usize),
    /// So many percent are left.
    Cut(usize),
    Empty,
    Longer,
    Removed,
}

const HARMS: [Harm; 8] = [
    Harm::Flipped(0),
    Harm::Flipped(50),
    Harm::Flipped(99),
    Harm::Cut(50),
    Harm::Cut(99),
    Harm::Empty,
    Harm::Longer,
    Harm::Removed,
];

impl Harm {
    fn befall(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let at = |percent: usize| bytes.len() * percent / 100;
        match self {
            Self::Flipped(percent) => {
                let at = at(percent);
                bytes[at] ^= 4;
            }
            Self::Cut(percent) => bytes.truncate(at(percent)),
            Self::Empty => bytes.clear(),
            Self::Longer => bytes.extend_from_slice(b"more"),
            Self::Removed => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_lost_state_costs_a_full_backup() {
    let mut case = Case::new();
    fs::remove_dir_all(case.host.path("state")).unwrap();
    assert_eq!(case.next("", &["ChainBroken(NoState)"]), How::Full);
    assert_eq!(case.next("after it", &[]), How::Incremental);
}

/// But for what the last run has put: its folder is still good for a journal.
#[test]
fn a_damaged_file_of_the_state_costs_a_full_backup() {
    let mut case = Case::new();
    for file in ["entries", "frames", "chunks", "slices"] {
        for harm in HARMS {
            // What was appended to the entries is behind their end.
            if file == "entries" && harm == Harm::Longer {
                continue;
            }
            harm.befall(&case.last().join(file));
            let what = format!("{file} {harm:?}");
            assert_eq!(case.next(&what, &["Full(StateDamaged)", "TakenUp"]), How::Full, "{what}");
            assert_eq!(case.next(&format!("after {what}"), &[]), How::Incremental);
        }
    }
}

#[test]
fn a_state_that_does_not_say_what_was_last_costs_a_full_backup() {
    let mut case = Case::new();
    for harm in HARMS {
        harm.befall(&case.host.state().join("last"));
        let removed = harm == Harm::Removed;
        let warnings = if removed { &["TakenUp"][..] } else { &["Full(StateDamaged)", "TakenUp"] };
        assert_eq!(case.next(&format!("{harm:?}"), warnings), How::Full, "{harm:?}");
        assert_eq!(case.next(&format!("after {harm:?}"), &[]), How::Incremental);
    }
}

/// A receipt that does not say which came before it is one that somebody should look at; what lies
/// where is known all the same.
#[test]
fn a_damaged_chain_costs_nothing_but_a_warning() {
    for harm in HARMS {
        let mut case = Case::new();
        let chain = case.host.state().join("chain");
        // Which bit of a hash is flipped nobody can know: the next backup names a receipt that is not there.
        if harm == Harm::Flipped(50) {
            continue;
        }
        harm.befall(&chain);
        let why = if harm == Harm::Removed { "ChainBroken(NoState)" } else { "ChainBroken(UnreadableState)" };
        assert_eq!(case.next(&format!("{harm:?}"), &[why]), How::Incremental, "{harm:?}");
        assert_eq!(case.next(&format!("after {harm:?}"), &[]), How::Incremental);
    }
}

#[test]
fn a_state_of_another_version_of_the_program_costs_a_full_backup() {
    let mut case = Case::new();
    for path in [case.host.state().join("last"), case.last().join("run")] {
        let text = fs::read_to_string(&path).unwrap();
        let (json, _) = text.split_once('\n').unwrap();
        assert_eq!(json.matches("\"version\":1,").count(), 1);
        let json = json.replace("\"version\":1,", "\"version\":2,");
        let hash = blake3::hash(json.as_bytes());
        fs::write(&path, format!("{json}\n{hash}\n")).unwrap();
    }
    assert_eq!(case.next("", &["Full(StateDamaged)"]), How::Full);
    assert_eq!(case.next("after it", &[]), How::Incremental);
}

/// A virtual machine that is set back, or a state that comes from a backup itself.
#[test]
fn a_state_of_three_days_ago_is_used_and_one_of_forty_is_not() {
    for (days, warnings, how) in [(3, &[][..], How::Incremental), (40, &["Full(StateOld"][..], How::Full)] {
        let mut case = Case::new();
        copy(&case.host.path("state"), &case.host.path("copy"));
        for _ in 0..2 {
            assert_eq!(case.next("between", &[]), How::Incremental);
        }
        case.host.now += Duration::days(days - 2);
        fs::remove_dir_all(case.host.path("state")).unwrap();
        fs::rename(case.host.path("copy"), case.host.path("state")).unwrap();
        assert_eq!(case.backup(&format!("{days} days"), warnings), how, "{days} days");
        assert_eq!(case.next("after it", &[]), How::Incremental);
    }
}

#[test]
fn disks_that_take_turns_do_not_disturb_each_other() {
    let mut case = Case::new();
    case.host.store = ("other-store", 8);
    assert_eq!(case.next("the other", &["OtherStore"]), How::Full);
    case.host.store = ("store", 7);
    assert_eq!(case.next("the first again", &[]), How::Incremental);
    case.host.store = ("other-store", 8);
    assert_eq!(case.next("the other again", &[]), How::Incremental);
}

#[test]
fn a_machine_that_was_cloned_does_not_go_on_with_the_other_one_s_chain() {
    let mut case = Case::new();
    case.host.machine = "clone";
    let warnings = ["ChainBroken(OtherMachine)", "Full(OtherMachine)"];
    assert_eq!(case.next("the clone", &warnings), How::Full);
    assert_eq!(case.next("the clone again", &[]), How::Incremental);
}

fn stream(name: &str) -> Source {
    Source::Stdin(name.parse().unwrap(), Box::new(io::Cursor::new(noise(4_000_000, 3))))
}

fn listed(root: &Path) -> Source {
    match files(&[root]) {
        Source::Files { roots, excludes, one_file_system, closed, .. } => {
            Source::Files { roots, excludes, one_file_system, closed, listed: true }
        }
        _ => unreachable!("these are files"),
    }
}

/// Else somebody who mixes up two sets has a backup that lacks everything the other one holds.
#[test]
fn a_set_keeps_its_paths_until_it_is_told_otherwise() {
    let mut case = Case::new();
    let elsewhere = case.host.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("file"), noise(4_000_000, 3)).unwrap();
    type MakeSource = fn(&Path, &Path) -> Source;
    let others: [(&str, MakeSource); 5] = [
        ("elsewhere", |_, elsewhere| files(&[elsewhere])),
        ("both", |root, elsewhere| files(&[root, elsewhere])),
        ("listed", |root, _| listed(root)),
        ("db", |_, _| stream("db")),
        ("other", |_, _| stream("other")),
    ];
    let mut last = ("root", (|root, _| files(&[root])) as MakeSource);
    for (name, source) in others {
        case.host.now += Duration::DAY;
        let before = case.host.objects();
        let refused = case.host.backup(source(&case.root, &elsewhere)).unwrap_err();
        assert!(matches!(refused, Error::OtherPaths { .. }), "{name}: {refused}");
        assert_eq!(case.host.objects(), before);

        case.host.full = true;
        let full = case.host.backup(source(&case.root, &elsewhere)).unwrap();
        case.host.full = false;
        assert!(case.host.receipt(full.backup).slice_bytes > SIZE, "{name}");
        case.host.now += Duration::DAY;
        let next = case.host.backup(source(&case.root, &elsewhere)).unwrap();
        // A header may be renewed.
        assert!(case.host.receipt(next.backup).slice_bytes < 1000, "{name}");
        let (_, before) = last;
        let refused = case.host.backup(before(&case.root, &elsewhere)).unwrap_err();
        assert!(matches!(refused, Error::OtherPaths { .. }), "{name}: {refused}");
        assert_eq!(case.host.heard.told(), [""; 0], "{name}");
        last = (name, source);
    }
}

#[test]
fn a_list_may_be_another_each_time() {
    let mut case = Case::new();
    case.host.full = true;
    case.host.backup(listed(&case.root)).unwrap();
    case.host.full = false;
    case.host.now += Duration::DAY;
    let folder = case.root.join("folder");
    let summary = case.host.backup(listed(&folder)).unwrap();
    assert_eq!(case.host.receipt(summary.backup).slice_bytes, 0);
    case.host.assert_is(summary.backup, &tar_of(&folder));
    case.host.now += Duration::DAY;
    let summary = case.host.backup(listed(&case.root)).unwrap();
    case.host.assert_is(summary.backup, &tar_of(&case.root));
    assert_eq!(case.host.heard.told(), [""; 0]);
}

#[test]
fn a_new_recipient_opens_the_next_backup_whole() {
    let mut case = Case::new();
    let other = case.host.another_key("other.pem");
    let both = vec![case.host.key.certificate.clone(), other.certificate.clone()];
    case.host.recipients = Recipients::new(both).unwrap();
    assert_eq!(case.next("added", &["Full(NewRecipient)"]), How::Full);
    let added = case.host.latest().name.backup;
    case.host.assert_opens(added, &tar_of(&case.root), &other);
    assert_eq!(case.next("after it", &[]), How::Incremental);
    case.host.assert_opens(case.host.latest().name.backup, &tar_of(&case.root), &other);
}

#[test]
fn a_recipient_that_goes_costs_nothing_and_one_that_comes_back_what_it_missed() {
    let mut case = Case::new();
    let other = case.host.another_key("other.pem");
    let one = Recipients::new(vec![case.host.key.certificate.clone()]).unwrap();
    let both = Recipients::new(vec![case.host.key.certificate.clone(), other.certificate.clone()]).unwrap();
    case.host.recipients = both.clone();
    assert_eq!(case.next("added", &["Full(NewRecipient)"]), How::Full);

    case.host.recipients = one;
    assert_eq!(case.next("removed", &[]), How::Incremental);
    let removed = case.host.receipt(case.host.latest().name.backup);
    let left = offsite::hashes::Fingerprint::of(&other.certificate);
    assert_eq!((removed.recipients.len(), removed.runs.len()), (1, 1));
    assert_eq!(removed.runs[0].other_recipients, [left]);

    // What it could open all the time is not stored again; nor can the index be a delta.
    case.host.recipients = both;
    assert_eq!(case.next("added again", &["NewRecipient"]), How::FullIndex);
    let backup = case.host.latest().name.backup;
    case.host.assert_opens(backup, &tar_of(&case.root), &other);
    assert!(case.host.receipt(backup).runs.iter().all(|run| run.other_recipients.is_empty()));
    assert_eq!(case.next("after it", &[]), How::Incremental);
}

#[test]
fn a_clock_that_is_set_back_costs_full_backups_until_it_has_caught_up() {
    for back in [Duration::HOUR, Duration::days(10)] {
        let mut case = Case::new();
        case.host.now -= back;
        assert_eq!(case.backup(&format!("{back}"), &["Full(ClockSetBack"]), How::Full);
        case.host.now += back;
        assert_eq!(case.next("set right", &[]), How::Incremental);
    }
}

#[test]
fn several_backups_in_one_second_are_as_good_as_others() {
    let mut case = Case::new();
    let mut ids = vec![case.host.latest().name.backup];
    for _ in 0..4 {
        assert_eq!(case.backup("in the same second", &[]), How::Incremental);
        ids.push(*case.host.objects().iter().filter_map(|name| receipt_id(name)).collect::<Vec<_>>().last().unwrap());
    }
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
    assert_eq!(case.next("after them", &[]), How::Incremental);
}

fn receipt_id(object: &str) -> Option<offsite::names::BackupId> {
    object.strip_prefix("receipts/web-1/default/")?.strip_suffix(".p7s")?.parse().ok()
}

#[test]
fn what_the_store_has_lost_is_stored_again() {
    for shortened in [false, true] {
        let mut case = Case::new();
        let slice = case.host.objects().into_iter().find(|name| name.contains("/slice-00000001")).unwrap();
        let slice = case.host.store().join(slice);
        if shortened {
            let bytes = fs::read(&slice).unwrap();
            fs::remove_file(&slice).unwrap();
            fs::write(&slice, &bytes[1..]).unwrap();
        } else {
            fs::remove_file(&slice).unwrap();
        }
        case.host.now += Duration::DAY;
        let summary = case.host.backup(files(&[&case.root])).unwrap();
        let told = case.host.heard.told();
        assert!(told.len() == 1 && told[0].starts_with("SlicesLost { count: 1,"), "{told:?}");
        case.host.assert_is(summary.backup, &tar_of(&case.root));
        let stored = case.host.receipt(summary.backup).slice_bytes;
        assert!((500_000..2_000_000).contains(&stored), "{stored} bytes stored again");
        assert_eq!(case.next("after it", &[]), How::Incremental);
    }
}

#[test]
fn a_lost_index_costs_a_full_index() {
    let mut case = Case::new();
    let index = case.host.objects().into_iter().find(|name| name.ends_with("/index.p7m")).unwrap();
    fs::remove_file(case.host.store().join(index)).unwrap();
    assert_eq!(case.next("lost", &[]), How::FullIndex);
    assert_eq!(case.next("after it", &[]), How::Incremental);
}

#[test]
fn who_asks_for_a_full_backup_gets_one() {
    let mut case = Case::new();
    case.host.full = true;
    assert_eq!(case.next("full", &[]), How::Full);
    case.host.full = false;
    assert_eq!(case.next("after it", &[]), How::Incremental);
}

/// Of a journal is used what is whole; at worst it is as if the interrupted run had not been.
#[test]
fn a_damaged_journal_spoils_nothing() {
    for file in ["run", "entries", "made", "put"] {
        for harm in HARMS {
            let mut case = Case::new();
            case.host.full = true;
            let last = case.last();
            case.interrupt(3);
            case.host.full = false;
            let mut journals = fs::read_dir(case.host.state()).unwrap().map(|entry| entry.unwrap().path());
            let journal = journals.find(|path| path.is_dir() && *path != last).unwrap();
            harm.befall(&journal.join(file));
            let what = format!("{file} {harm:?}");
            case.host.now += Duration::DAY;
            case.change();
            let summary = case.host.backup(files(&[&case.root])).unwrap_or_else(|error| panic!("{what}: {error}"));
            let told = case.host.heard.told();
            assert!(told.iter().all(|told| told.starts_with("TakenUp")) && told.len() < 2, "{what}: {told:?}");
            case.host.assert_is(summary.backup, &tar_of(&case.root));
            let stored = case.host.receipt(summary.backup).slice_bytes;
            assert!(stored < MOST_CHANGED, "{what}: {stored} bytes");
            if harm == Harm::Cut(50) {
                assert_eq!(case.next(&format!("after {what}"), &[]), How::Incremental);
            }
        }
    }
}

/// A state that has lost `last` still has the journal of the run that wrote it, as if that had been
/// interrupted; it names runs of which nothing is known any more.
#[test]
fn a_journal_without_what_it_builds_on_spoils_nothing() {
    for harm in [Harm::Empty, Harm::Removed] {
        let mut case = Case::new();
        case.interrupt(1);
        harm.befall(&case.host.state().join("last"));
        case.host.now += Duration::DAY;
        case.change();
        let summary = case.host.backup(files(&[&case.root])).unwrap_or_else(|error| panic!("{harm:?}: {error}"));
        case.host.assert_is(summary.backup, &tar_of(&case.root));
        case.host.heard.told();
        assert_eq!(case.next(&format!("after {harm:?}"), &[]), How::Incremental);
    }
}

#[test]
fn an_earlier_receipt_is_named_after_every_accident() {
    let mut case = Case::new();
    let before = case.host.latest().name.backup;
    Harm::Empty.befall(&case.last().join("frames"));
    case.next("", &["Full(StateDamaged)", "TakenUp"]);
    match case.host.receipt(case.host.latest().name.backup).previous {
        Previous::Receipt(link) => assert_eq!(link.backup, before),
        Previous::None(reason) => panic!("{reason:?}"),
    }
    assert_ne!(case.host.receipt(before).previous, Previous::None(NoPrevious::NoState));
}
