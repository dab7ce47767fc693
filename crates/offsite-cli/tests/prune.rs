//! `offsite prune`, on a directory and on buckets of a real server, which keep versions or lock them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::process::Command;

use offsite::operations::backups::Scope;
use offsite::operations::prune::{Outcome, Prune, Rules, Set, prune};
use offsite::pins::Pins;
use offsite::store::{Location, ReadSettings, open_for_delete, open_for_read};
use offsite::{Damage, Events, Warning};
use support::host::{Host, json};
use support::s3_server::{Bucket, Identity, Kind, S3Server};
use support::{Words, run};
use time::{Duration, OffsetDateTime};

/// Three backups whose receipts the store says to be of yesterday, and their data of half a year ago: those times
/// are the store's own. What of the first two the third does not need may go.
fn old() -> Host {
    let host = Host::new();
    let script = r#"
        mkdir tree
        head -c 1500000 /dev/urandom >tree/large
        for night in 1 2 3; do
            head -c 300000 /dev/urandom >tree/changing
            "$OFFSITE" backup -r cert.pem --slice-size 1M --host here tree 2>/dev/null
        done
        find store/receipts -type f -exec touch -d '20 hours ago' {} +
        find store/data -type f -exec touch -d '200 days ago' {} +
        openssl x509 -in signing-key.pem -out here.pem"#;
    run(&mut host.bash(script)).ok();
    host
}

const FILES: &str = "find store -type f -printf '%p %T@ %s\n' | sort";

fn files(host: &Host) -> String {
    String::from_utf8(run(&mut host.bash(FILES)).ok().stdout).unwrap()
}

#[test]
fn what_no_rule_keeps_is_removed_once_that_is_confirmed() {
    let host = old();
    let before = files(&host);
    run(&mut host.offsite("prune --keep-within 1h --signer here.pem --host here"))
        .ok()
        .says("hint: nothing is removed yet: --confirm does it");
    assert_eq!(files(&host), before);
    let told = json(&run(&mut host.offsite("prune --keep-within 1h --json")).ok().says("origin not proven"));
    assert_eq!((&told["confirmed"], files(&host)), (&false.into(), before.clone()));
    let nothing = |line: &str| {
        let done = run(&mut host.offsite(line)).ok();
        assert!(String::from_utf8_lossy(&done.stdout).ends_with("\n0 objects of 0 B removed\n"), "{}", done.story());
    };
    nothing("prune --keep-within 30d --confirm");
    assert_eq!(files(&host), before);

    let done =
        json(&run(&mut host.offsite("prune --keep-within 1h --confirm --json --signer here.pem --host here")).ok());
    let set = &done["sets"][0];
    assert_eq!((&done["confirmed"], &set["host"], &set["set"]), (&true.into(), &"here".into(), &"default".into()));
    let fates: Vec<&str> = set["backups"].as_array().unwrap().iter().map(|run| run["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["removed", "removed", "kept"]);
    assert_eq!(set["removed_objects"], told["sets"][0]["removed_objects"]);
    let after = files(&host);
    let gone = before.lines().count() - after.lines().count();
    assert_eq!(set["removed_objects"], gone);
    assert!(gone > 6 && after.lines().all(|line| before.contains(line)), "{before}\n{after}");
    run(&mut host.restore("--host here --signer here.pem --into restored")).ok();
    run(&mut host.bash("diff -r --no-dereference tree restored/tree")).ok();
    // Only that there was one before: by its id it is not an hour old.
    let verified = run(&mut host.offsite("verify --data --signer here.pem --host here"));
    verified.fails(4).says("is gone, which that of").does_not_say("data/");
    nothing("prune --keep-within 1h --confirm");
    // The host knows nothing of it, and goes on from what is left.
    run(&mut host.bash("rm -r restored; date >tree/changing")).ok();
    run(&mut host.backup("--slice-size 1M tree")).ok();
    run(&mut host.restore("--host here --into restored")).ok();
    run(&mut host.bash("diff -r --no-dereference tree restored/tree")).ok();
}

#[test]
fn of_a_set_that_is_not_as_it_must_be_nothing_is_removed() {
    let host = old();
    run(&mut host.bash(
        "cp -a store other; rm -r other/receipts/here/default/* other/data; OFFSITE_STORE=$PWD/store \
        OFFSITE_SIGNING_KEY=$PWD/there.pem \"$OFFSITE\" backup -r cert.pem --host there tree 2>/dev/null
        openssl x509 -in there.pem -out theirs.pem",
    ))
    .ok();
    let closed = |script: &str, options: &str, says: &str| {
        run(&mut host.bash(&format!("rm -rf case; cp -a store case; cd case/receipts/here/default; {script}"))).ok();
        let list = || run(&mut host.bash("cd case; find . -type f -printf '%p %s\n' | sort")).ok().stdout;
        let before = list();
        let line = format!("prune --keep-within 1h --confirm {options}");
        let found = run(host.offsite(&line).env("OFFSITE_STORE", host.path("case"))).fails(4);
        found.says(says).says("nothing of here/default is removed").says("hint: ");
        assert!(list() == before, "{script}");
    };
    closed("echo >junk", "", "receipts/here/default/junk: it lies among the receipts");
    closed("truncate -s -1 \"$(ls | head -n 1)\"", "", ".p7s: it is not validly signed");
    closed("truncate -s 0 \"$(ls | tail -n 1)\"", "", ".p7s: ");
    closed(
        "rm \"$(ls | head -n 1)\"; mkdir \"$(ls | head -n 1).p7s\"; echo >\"$(ls | head -n 1).p7s/x\"",
        "",
        "receipts",
    );
    closed("true", "--host here --signer theirs.pem", "its signer is not trusted for this host");
    closed(
        "cd ../../../..; OFFSITE_STORE=$PWD/case OFFSITE_SIGNING_KEY=$PWD/there.pem OFFSITE_STATE_DIR=$PWD/tmp/s \
            \"$OFFSITE\" backup -r cert.pem --host here tree 2>/dev/null",
        "",
        "several signers",
    );
    // The other host is not kept from its own.
    run(&mut host.bash("rm -rf case; cp -a store case; echo >case/receipts/here/default/junk; \
        touch -d '20 hours ago' case/receipts/there/default/*; find case/data -type f -exec touch -d '200 days ago' {} +; \
        mkdir case/data/there/default/20260101T000000Z-00000000; cd case/data/there/default; \
        echo >20260101T000000Z-00000000/slice-00000000.p7m; touch -d '200 days ago' 2026*/*"))
    .ok();
    run(host.offsite("prune --keep-within 1h --confirm").env("OFFSITE_STORE", host.path("case"))).fails(4);
    run(&mut host.bash("[[ ! -e case/data/there/default/20260101T000000Z-00000000/slice-00000000.p7m ]]")).ok();
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let host = old();
    run(&mut host.offsite("prune")).fails(2).says("--keep-within");
    run(&mut host.offsite("prune --keep-last 3")).fails(2).says("--keep-within");
    run(&mut host.offsite("prune --keep-within 3")).fails(2);
    run(&mut host.offsite("prune --keep-within 1d --store-as-of 2026-01-01")).fails(2).says("--store-as-of");
    run(&mut host.offsite("prune --keep-within 1d --host nobody")).fails(1).says("`offsite list` shows what there is");
    run(&mut host.offsite("prune --keep-within 1d --from missing/store")).fails(1).one_error();
}

struct Silent;

impl Events for Silent {
    fn progress(&self, _: u64) {}

    fn warn(&self, warning: Warning) {
        assert!(matches!(warning, Warning::OriginNotProven), "{warning:?}");
    }

    fn damage(&self, damage: &Damage) {
        panic!("{damage}");
    }
}

/// A bucket with four backups by whoever may only put, the last of which needs nothing of the others; and what a
/// prune half a year later tells.
fn pruned_later(kind: Kind) -> (Host, Bucket, Vec<String>) {
    let bucket = S3Server::shared().bucket(kind);
    let host = Host::new();
    run(&mut host.bash("mkdir tree; head -c 300000 /dev/urandom >tree/file; echo 1 >tree/changing")).ok();
    for night in ["", "", "", "--full"] {
        run(&mut host.bash("date +%N >tree/changing")).ok();
        let mut backup = host.offsite("backup -r cert.pem --host here tree");
        backup.words(night);
        run(Identity::Host.at(&mut backup).env("OFFSITE_STORE", bucket.location())).ok();
    }
    let mut later = Command::new(std::env::current_exe().unwrap());
    later.words("half_a_year_later --exact --ignored --nocapture");
    let later = run(Identity::Admin.at(&mut later).env("OFFSITE_TEST_STORE", bucket.location())).ok();
    let words = later.stdout.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"told: "));
    let words = words.map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    (host, bucket, words)
}

/// Prunes in a process of its own, since credentials come from the environment.
#[test]
#[ignore = "other tests start it"]
fn half_a_year_later() {
    let Some(location) = std::env::var_os("OFFSITE_TEST_STORE") else { return };
    let location = Location::parse(&location).unwrap();
    let settings = ReadSettings { every_version: true, ..ReadSettings::new() };
    let (read, delete) = (open_for_read(&location, &settings).unwrap(), open_for_delete(&location).unwrap());
    let sets = prune(&Prune {
        store: read.as_ref(),
        delete: Some(delete.as_ref()),
        scope: &Scope::default(),
        pins: &Pins::default(),
        rules: Rules::within(Duration::days(30)),
        now: OffsetDateTime::now_utc() + Duration::days(200),
        events: &Silent,
    });
    let sets = sets.unwrap();
    let [Set { outcome: Outcome::Pruned(pruned), .. }] = &sets[..] else { panic!("{sets:?}") };
    pruned.runs.iter().for_each(|run| println!("\ntold: {:?} {}", run.fate, run.removed.objects));
    println!("told: refused {}", pruned.refused.amount.objects);
    pruned.refused.first.iter().for_each(|error| println!("told: {error}"));
}

#[track_caller]
fn assert_restores(host: &Host, bucket: &Bucket) {
    let mut restore = host.restore("--host here --into restored");
    run(Identity::Reader.at(&mut restore).env("OFFSITE_STORE", bucket.location())).ok();
    run(&mut host.bash("diff -r --no-dereference tree restored/tree")).ok();
}

#[test]
fn of_a_bucket_with_versions_they_are_removed() {
    for kind in [Kind::Versions, Kind::Plain] {
        let (host, bucket, told) = pruned_later(kind);
        let fates: Vec<&str> = told.iter().map(|line| line.split(['(', ' ']).next().unwrap()).collect();
        assert_eq!(fates, ["Removed", "Removed", "Removed", "Kept", "refused"], "{told:?}");
        assert!(told.iter().any(|line| line == "refused 0"), "{told:?}");
        let mut verify = host.offsite("verify --data");
        let verified = run(Identity::Reader.at(&mut verify).env("OFFSITE_STORE", bucket.location()));
        verified.fails(4).says("is gone, which that of").does_not_say("data/");
        assert_restores(&host, &bucket);
        let keys = bucket.keys();
        assert_eq!(keys.iter().filter(|key| key.contains("receipts/")).count(), 1, "{keys:?}");
        // Nothing is only hidden.
        assert_eq!(bucket.versions().len(), keys.len());
    }
}

#[test]
fn what_is_locked_is_told_and_stays() {
    let (host, bucket, told) = pruned_later(Kind::Lock("COMPLIANCE"));
    let held = told.iter().filter(|line| line.starts_with("Held 0")).count();
    assert_eq!(held, 3, "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("refused 3")), "{told:?}");
    assert!(
        told.iter().any(|line| line.contains("receipts/here/default/") && line.contains("cannot delete")),
        "{told:?}"
    );
    assert_restores(&host, &bucket);
    let mut verify = host.offsite("verify --data");
    run(Identity::Reader.at(&mut verify).env("OFFSITE_STORE", bucket.location())).ok();
}
