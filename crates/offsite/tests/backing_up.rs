//! Backups as they lie in a store: what the plan says is what was packed, and nothing else is there;
//! and what is left behind by runs that end early.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::fs::{self, File};
use std::io;
use std::process::Stdio;

use host::{Ends, Host, files, noise, tar_of, tree};
use offsite::Error;
use offsite::operations::backup::Source;
use offsite::operations::backups::{self, Found};
use offsite::receipt::{NoPrevious, Previous, Status};
use offsite::store;
use time::Duration;

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
        Source::Exec("out".parse().unwrap(), command, Stdio::inherit())
    };
    host.backup(exec("seq 100000")).unwrap();
    let good = host.latest().name.backup;
    assert!(host.stream().ends_with(b"99999\n100000\n"));
    for (command, word) in [("seq 100000; exit 3", "exit status: 3"), ("seq 10; kill -9 $$", "signal: 9")] {
        let failed = host.backup(exec(command)).unwrap_err();
        assert!(matches!(failed, Error::CommandFailed { .. }) && failed.to_string().contains(word), "{failed}");
        assert_eq!(host.latest().name.backup, good);
    }
    let missing = Source::Exec("out".parse().unwrap(), vec!["/no/such/command".into()], Stdio::inherit());
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
    let receipt =
        |found: &Found| backups::Backup::open(store.as_ref(), &host.key.private, found).unwrap().receipt().clone();
    assert_eq!(receipt(&first).previous, Previous::None(NoPrevious::NoState));
    match receipt(&second).previous {
        Previous::Receipt(link) => {
            assert_eq!((link.backup, link.sha256), (first.name.backup, first.receipt.sha256));
        }
        none => panic!("{none:?}"),
    }
    assert!(host.heard.has("SignerMade"));
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
        let ends = Ends::after(left, store.as_ref());
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
    let ends = Ends::after(objects - 1, store.as_ref());
    host.now += Duration::MINUTE;
    host.backup_to(&ends, files(&[&root])).unwrap_err();
    host.now += Duration::DAY * 2;
    host.backup(files(&[&root])).unwrap();
    assert!(host.heard.has("ReceiptUnconfirmed"));
    let store = store::open_for_read(&host.location(), &store::ReadSettings::new()).unwrap();
    let backup = backups::Backup::open(store.as_ref(), &host.key.private, &host.latest()).unwrap();
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
    let opened = backups::Backup::open(store.as_ref(), &host.key.private, &host.latest()).unwrap();
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
