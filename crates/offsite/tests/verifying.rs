//! `verify` over weeks, by a clock that the test sets: how old backups may be, what may be gone by rule, and what
//! was seen before.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::PathBuf;

use host::{Host, files, noise};
use offsite::Error;
use offsite::cms::Recipients;
use offsite::cms::signed_data::SigningKey;
use offsite::hashes::Sha256;
use offsite::names::{BackupId, Folder, ObjectName};
use offsite::operations::backups::Scope;
use offsite::operations::verify::{Seen, Share, Verify, verify};
use offsite::pins::Pins;
use offsite::receipt::{self, Link, Previous, Receipt};
use offsite::store::{self, Listed, Read};
use time::{Duration, OffsetDateTime};

/// A host that makes a backup a day.
struct Nightly {
    host: Host,
    root: PathBuf,
    backups: Vec<BackupId>,
}

/// What a verification is asked for.
#[derive(Default)]
struct Asked {
    max_age: Option<Duration>,
    retention: Option<Duration>,
    data: bool,
}

/// What a lifecycle makes of a store that keeps versions: what was put before a time is hidden.
struct Hides {
    store: Box<dyn Read>,
    before: OffsetDateTime,
}

impl Read for Hides {
    fn get(&self, object: &ObjectName, limit: usize) -> store::Result<Vec<u8>> {
        self.store.get(object, limit)
    }

    fn versions(
        &self,
        object: &ObjectName,
        limit: usize,
        each: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> store::Result<()> {
        let _ = each(self.store.get(object, limit)?);
        Ok(())
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> store::Result<()> {
        self.store.list(folder, &mut |listed| each(Listed { hidden: listed.time < self.before, ..listed }))
    }
}

impl Nightly {
    fn of(days: u64) -> Self {
        let mut host = Host::new();
        host.now -= Duration::days(40);
        host.reuse_for = Duration::days(10);
        let root = host.path("tree");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("large"), noise(3_000_000, 9)).unwrap();
        let mut nightly = Self { host, root, backups: Vec::new() };
        (0..days).for_each(|_| nightly.night());
        nightly
    }

    fn night(&mut self) {
        self.host.now += Duration::DAY;
        fs::write(self.root.join("changing"), self.host.now.to_string()).unwrap();
        self.backups.push(self.host.backup(files(&[&self.root])).unwrap().backup);
    }

    fn receipt(&self, number: usize) -> PathBuf {
        self.host.store().join(format!("receipts/web-1/default/{}.p7s", self.backups[number]))
    }

    fn data(&self, number: usize) -> PathBuf {
        self.host.store().join(format!("data/web-1/default/{}", self.backups[number]))
    }

    /// Signs what the host says of a backup, as whoever has its key can.
    fn sign_again(&self, number: usize, edit: &dyn Fn(&mut Receipt)) {
        let key = SigningKey::from_file(&fs::read(self.host.path("signing-key.pem")).unwrap()).unwrap();
        let mut receipt = self.host.receipt(self.backups[number]);
        edit(&mut receipt);
        fs::write(self.receipt(number), receipt::sign(&receipt, &key).unwrap()).unwrap();
    }

    fn verify(&self, asked: &Asked, seen: &mut Seen) -> Vec<String> {
        self.verify_at(self.host.read().as_ref(), asked, seen)
    }

    fn verify_at(&self, store: &dyn Read, asked: &Asked, seen: &mut Seen) -> Vec<String> {
        let (pins, events) = (Pins::default(), host::Heard::default());
        let what = Verify {
            store,
            scope: &Scope::default(),
            pins: &pins,
            now: self.host.now,
            max_age: asked.max_age,
            retention: asked.retention,
            data: asked.data.then_some(Share { percent: 100, seed: [0; 32] }),
            events: &events,
        };
        verify(&what, seen).unwrap().findings.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn finds(&self, asked: &Asked, seen: &mut Seen, expected: &[&str]) {
        let found = self.verify(asked, seen);
        let as_expected = found.len() == expected.len();
        assert!(as_expected && found.iter().zip(expected).all(|(found, part)| found.contains(part)), "{found:?}");
    }
}

#[test]
fn the_latest_backup_must_not_be_too_old() {
    let mut nightly = Nightly::of(3);
    let asked = Asked { max_age: Some(Duration::hours(26)), ..Asked::default() };
    nightly.finds(&asked, &mut Seen::default(), &[]);
    nightly.host.now += Duration::hours(26);
    nightly.finds(&asked, &mut Seen::default(), &[]);
    nightly.host.now += Duration::SECOND;
    nightly.finds(&asked, &mut Seen::default(), &["the latest backup is of "]);
    nightly.finds(&Asked::default(), &mut Seen::default(), &[]);

    // A receipt that was put again does not look new, nor does one that says so.
    let again = fs::read(nightly.receipt(2)).unwrap();
    fs::remove_file(nightly.receipt(2)).unwrap();
    fs::write(nightly.receipt(2), again).unwrap();
    nightly.finds(&asked, &mut Seen::default(), &["the latest backup is of "]);
    let then = nightly.host.now - Duration::days(2);
    File::options().write(true).open(nightly.receipt(2)).unwrap().set_modified(then.into()).unwrap();
    let signed_later = ["its time is ", "the latest backup is of "];
    nightly.host.now += Duration::days(2);
    nightly.night();
    let then = nightly.host.now - Duration::days(2);
    File::options().write(true).open(nightly.receipt(3)).unwrap().set_modified(then.into()).unwrap();
    nightly.finds(&asked, &mut Seen::default(), &signed_later);
}

/// What is gone is damage, unless a rule may have removed it. The latest backup needs what is there in any case.
#[test]
fn what_a_rule_removes_is_no_damage() {
    let nightly = Nightly::of(30);
    let rule = Asked { retention: Some(Duration::days(15)), ..Asked::default() };
    nightly.finds(&rule, &mut Seen::default(), &[]);
    for number in 0..12 {
        fs::remove_file(nightly.receipt(number)).unwrap();
    }
    nightly.finds(&rule, &mut Seen::default(), &[]);
    let gone = ["is gone, which that of"];
    nightly.finds(&Asked::default(), &mut Seen::default(), &gone);
    // Whatever is needed by what is kept is kept.
    fs::remove_dir_all(nightly.data(0)).unwrap();
    nightly.finds(&rule, &mut Seen::default(), &[]);
    fs::remove_file(nightly.receipt(20)).unwrap();
    nightly.finds(&rule, &mut Seen::default(), &gone);
    fs::remove_dir_all(nightly.data(29)).unwrap();
    let found = nightly.verify(&rule, &mut Seen::default());
    assert!(found.iter().any(|found| found.contains(", the latest, needs it")), "{found:?}");
}

/// A record moves forward along the chain over what a rule has removed, and a good night is not a finding.
#[test]
fn what_was_seen_moves_forward_along_the_chain() {
    let mut nightly = Nightly::of(2);
    let rule = Asked { max_age: Some(Duration::hours(26)), retention: Some(Duration::days(15)), data: false };
    let mut seen = Seen::default();
    for _ in 0..20 {
        nightly.night();
        nightly.finds(&rule, &mut seen, &[]);
    }
    (0..5).for_each(|number| fs::remove_file(nightly.receipt(number)).unwrap());
    nightly.finds(&rule, &mut seen, &[]);

    // Nobody has looked for so long that nothing is left of what was seen.
    (0..16).for_each(|_| nightly.night());
    (5..22).for_each(|number| fs::remove_file(nightly.receipt(number)).unwrap());
    nightly.finds(&rule, &mut seen, &[]);

    // The state is lost, and a new chain begins: it is told until it is accepted.
    fs::remove_dir_all(nightly.host.path("state")).unwrap();
    nightly.night();
    nightly.finds(&rule, &mut seen, &["does not follow"]);
    nightly.night();
    nightly.finds(&rule, &mut seen, &["does not follow"]);
    seen.accept_all();
    nightly.finds(&rule, &mut seen, &[]);
    nightly.night();
    nightly.finds(&rule, &mut seen, &[]);
}

/// For each signature there is another that fits as well: not even the host itself may replace a receipt.
#[test]
fn a_receipt_that_is_signed_again_is_found() {
    let nightly = Nightly::of(3);
    let mut seen = Seen::default();
    nightly.finds(&Asked::default(), &mut seen, &[]);
    nightly.sign_again(2, &|_| {});
    nightly.finds(&Asked::default(), &mut seen, &["is not the one that was seen"]);
    seen.accept_all();
    nightly.finds(&Asked::default(), &mut seen, &[]);
    nightly.finds(&Asked::default(), &mut seen, &[]);
}

/// A lifecycle hides first, and deletes much later. What it hides by rule is no finding; what was hidden before its
/// time is.
#[test]
fn what_a_rule_hides_is_no_damage() {
    let nightly = Nightly::of(30);
    let hides = |days| Hides { store: nightly.host.read(), before: nightly.host.now - Duration::days(days) };
    let rule = Asked { retention: Some(Duration::days(15)), ..Asked::default() };
    // No backup that is kept needs what is so old.
    let found = nightly.verify_at(&hides(26), &rule, &mut Seen::default());
    assert!(found.is_empty(), "{found:?}");
    let found = nightly.verify_at(&hides(26), &Asked::default(), &mut Seen::default());
    assert!(found.iter().all(|found| found.contains("somebody deleted it")), "{found:?}");
    assert!(found.iter().any(|found| found.contains("receipts/")), "{found:?}");
    let found = nightly.verify_at(&hides(13), &rule, &mut Seen::default());
    assert!(found.iter().any(|found| found.contains("receipts/")), "{found:?}");
}

/// What a rule keeps for longer must be right as far as it is there.
#[test]
fn what_is_older_than_a_rule_and_changed_is_damage() {
    let nightly = Nightly::of(30);
    let rule = Asked { retention: Some(Duration::days(15)), data: true, ..Asked::default() };
    let missing = nightly.data(3).join("plan.p7m");
    let plan = fs::read(&missing).unwrap();
    fs::remove_file(&missing).unwrap();
    nightly.finds(&rule, &mut Seen::default(), &[]);
    let mut flipped = plan.clone();
    flipped[plan.len() / 2] ^= 1;
    fs::write(&missing, flipped).unwrap();
    nightly.finds(&rule, &mut Seen::default(), &["/plan.p7m: its SHA-256 is not"]);
    fs::write(&missing, &plan[1..]).unwrap();
    nightly.finds(&Asked { data: false, ..rule }, &mut Seen::default(), &["/plan.p7m: it is "]);
}

/// Whoever has the signing key may say that what comes before theirs was removed by a rule long ago.
#[test]
fn what_follows_something_older_than_what_was_seen_does_not_follow_it() {
    let mut nightly = Nightly::of(20);
    let rule = Asked { retention: Some(Duration::days(15)), ..Asked::default() };
    let mut seen = Seen::default();
    nightly.finds(&rule, &mut seen, &[]);
    fs::remove_dir_all(nightly.host.path("state")).unwrap();
    nightly.night();
    let gone = BackupId::new(nightly.host.now - Duration::days(30), [1; 4]);
    nightly.sign_again(20, &|receipt| {
        receipt.previous = Previous::Receipt(Link { backup: gone, sha256: Sha256::of(b"gone") });
    });
    nightly.finds(&rule, &mut seen, &["does not follow"]);
}

/// Somebody who can open one backup of many has what they want.
#[test]
fn a_recipient_of_one_night_is_found_the_night_after() {
    let mut nightly = Nightly::of(2);
    let mut seen = Seen::default();
    nightly.finds(&Asked::default(), &mut seen, &[]);
    let own = nightly.host.key.certificate.clone();
    let other = nightly.host.another_key("other.pem").certificate;
    nightly.host.recipients = Recipients::new(vec![own.clone(), other]).unwrap();
    nightly.night();
    nightly.host.recipients = Recipients::new(vec![own]).unwrap();
    nightly.night();
    let with_other = nightly.backups[2].to_string() + " is sealed to other recipients than before: added sha256:";
    for _ in 0..2 {
        nightly.finds(&Asked::default(), &mut seen, &[&with_other]);
    }
    seen.accept_all();
    nightly.finds(&Asked::default(), &mut seen, &[]);
    nightly.night();
    nightly.finds(&Asked::default(), &mut seen, &[]);
}

/// Whoever can write into a directory sets its times as well; and clocks go wrong, on the machine of the store, too.
#[test]
fn a_backup_of_a_time_to_come_is_not_the_latest() {
    let mut nightly = Nightly::of(3);
    let asked = Asked { max_age: Some(Duration::hours(26)), ..Asked::default() };
    let mut seen = Seen::default();
    nightly.finds(&asked, &mut seen, &[]);
    nightly.host.now += Duration::days(400);
    nightly.night();
    nightly.host.now -= Duration::days(401);
    nightly.finds(&asked, &mut seen, &["has yet to come"]);
    // The clock is right again, and what follows is the latest.
    nightly.night();
    nightly.finds(&asked, &mut seen, &["has yet to come"]);
    nightly.host.now += Duration::days(2);
    nightly.finds(&asked, &mut seen, &["has yet to come", "the latest backup is of "]);
    seen.accept_all();
    nightly.finds(&asked, &mut seen, &["the latest backup is of "]);
}

/// Of two at once, the one that began first may have seen less.
#[test]
fn what_another_verification_has_noted_is_not_written_over() {
    let mut nightly = Nightly::of(2);
    let path = nightly.host.path("seen.json");
    let read = || Seen::read(&path).unwrap().unwrap_or_default();
    let (mut first, mut second) = (read(), read());
    nightly.finds(&Asked::default(), &mut first, &[]);
    nightly.finds(&Asked::default(), &mut second, &[]);
    second.write(&path).unwrap();
    assert!(matches!(first.write(&path), Err(Error::SeenMeanwhile(_))), "it was not there when it was read");

    let mut first = read();
    nightly.finds(&Asked::default(), &mut first, &[]);
    nightly.night();
    let mut second = read();
    nightly.finds(&Asked::default(), &mut second, &[]);
    second.write(&path).unwrap();
    let noted = fs::read(&path).unwrap();
    assert!(matches!(first.write(&path), Err(Error::SeenMeanwhile(_))));
    assert_eq!(fs::read(&path).unwrap(), noted);
    read().write(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(second.write(&path), Err(Error::SeenMeanwhile(_))), "somebody has taken it away");
}

/// Whoever can put can fill it with findings.
#[test]
fn a_record_that_could_not_be_read_again_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seen.json");
    let parts = [
        r#"{"offsite-seen":1,"sets":[],"open":[{"id":"000000000000","of":null,"text":""#,
        r#"","since":""}],"accepted":[]}"#,
    ];
    // As long as it may be, and shorter than it would be written.
    let text = "x".repeat((64 << 20) - parts.concat().len());
    let full = parts.join(&text);
    fs::write(&path, &full).unwrap();
    let seen = Seen::read(&path).unwrap().unwrap();
    assert!(matches!(seen.write(&path), Err(Error::TooLong { .. })));
    assert!(fs::read_to_string(&path).unwrap() == full);
}
