//! Files that change while they are backed up: they spoil no others, and the next backup has them as they are.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use host::{Host, files, noise, tar_of};
use support::everything::set_modified;
use support::restores;
use time::{Duration, OffsetDateTime};

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Appended,
    Truncated,
    Rewritten,
    Replaced,
    Deleted,
    BecomesFolder,
}

const CHANGES: [Change; 6] =
    [Change::Appended, Change::Truncated, Change::Rewritten, Change::Replaced, Change::Deleted, Change::BecomesFolder];

impl Change {
    fn befall(self, path: &Path) {
        let length = path.metadata().unwrap().len();
        match self {
            Self::Appended => File::options().append(true).open(path).unwrap().write_all(&noise(5000, 91)).unwrap(),
            Self::Truncated => File::options().write(true).open(path).unwrap().set_len(length / 3).unwrap(),
            Self::Rewritten => {
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(&noise(1000, 92), length - 1000).unwrap();
            }
            Self::Replaced => {
                let other = path.with_extension("new");
                fs::write(&other, noise(usize::try_from(length).unwrap(), 93)).unwrap();
                fs::rename(other, path).unwrap();
            }
            Self::Deleted => fs::remove_file(path).unwrap(),
            Self::BecomesFolder => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
                fs::write(path.join("file"), noise(2000, 94)).unwrap();
            }
        }
    }
}

/// A large file beside small ones; the last two change.
const FILES: [(&str, usize); 5] =
    [("a", 20_000), ("before", 900_000), ("z", 30_000), ("small", 25_000), ("large", 2_500_000)];

fn write(root: &Path) {
    let _ = fs::remove_dir_all(root);
    fs::create_dir(root).unwrap();
    for (name, length) in FILES {
        fs::write(root.join(name), noise(length, length as u64)).unwrap();
    }
}

/// What a tar has of each path.
fn contents(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        contents.insert(name, content);
    }
    contents
}

/// Changes one file after a backup, lets it change again at some moment of the next, which must have all
/// others; the one after it must have everything. What the one in between has of it.
fn changed(change: Change, name: &str, at_progress: bool) -> Option<Vec<u8>> {
    let what = format!("{name} {change:?}, {}", if at_progress { "read" } else { "opened" });
    let mut host = Host::ahead();
    let root = host.path("tree");
    write(&root);
    host.backup(files(&[&root])).unwrap();
    let path = root.join(name);
    let length = usize::try_from(path.metadata().unwrap().len()).unwrap();
    fs::write(&path, noise(length, 1234)).unwrap();

    host.now += Duration::HOUR;
    let (now, calls, store) = (host.now, AtomicUsize::new(0), host.put());
    // The clock is asked at the beginning, for the id, and before a file is opened: only one has changed.
    let clock = || {
        if calls.fetch_add(1, Ordering::SeqCst) == 2 && !at_progress {
            change.befall(&path);
        }
        now
    };
    if at_progress {
        let path = path.clone();
        *host.heard.on_progress.lock().unwrap() = Some(Box::new(move || change.befall(&path)));
    }
    let summary = host.backup_by(&clock, store.as_ref(), files(&[&root])).unwrap();
    assert!(calls.into_inner() > 3 && host.heard.on_progress.lock().unwrap().is_none(), "{what}");
    let restored = contents(&restores::writes(&host.store(), &host.key.path, summary.backup).unwrap());
    for (other, length) in FILES.iter().filter(|(other, _)| *other != name) {
        assert!(restored[*other] == noise(*length, *length as u64), "{what}: {other}");
    }

    host.now += Duration::HOUR;
    let summary = host.backup(files(&[&root])).unwrap();
    host.assert_is(summary.backup, &tar_of(&root));
    host.now += Duration::HOUR;
    let summary = host.backup(files(&[&root])).unwrap();
    assert!(host.receipt(summary.backup).slice_bytes < 100_000, "{what}");
    host.assert_is(summary.backup, &tar_of(&root));
    restored.get(name).cloned()
}

#[test]
fn what_changes_between_the_walk_and_its_opening_is_stored_as_it_is_then() {
    for change in CHANGES {
        for (name, length) in &FILES[3..] {
            let mut expected = noise(*length, 1234);
            match change {
                Change::Appended => expected.extend(noise(5000, 91)),
                Change::Truncated => expected.truncate(length / 3),
                Change::Rewritten => expected[length - 1000..].copy_from_slice(&noise(1000, 92)),
                Change::Replaced => expected = noise(*length, 93),
                Change::Deleted | Change::BecomesFolder => {
                    assert_eq!(changed(change, name, false), None, "{name} {change:?}");
                    continue;
                }
            }
            assert!(changed(change, name, false).unwrap() == expected, "{name} {change:?}");
        }
    }
}

/// Of a file that is open, what was read before is as it was.
#[test]
fn what_changes_while_it_is_read_spoils_no_other() {
    for change in CHANGES {
        let had = changed(change, "large", true).unwrap();
        let before = noise(2_500_000, 1234);
        assert_eq!(had.len(), before.len(), "{change:?}");
        assert!(had[..100_000] == before[..100_000], "{change:?}");
        let is_whole = had == before;
        assert_eq!(is_whole, !matches!(change, Change::Truncated | Change::Rewritten), "{change:?}");
    }
}

/// A file system's clock ticks: what is written in the tick in which a file was read shows in no time.
#[test]
fn what_may_change_unseen_is_read_again() {
    for (seconds, is_read_again) in [(-1, true), (0, true), (1, true), (4, false)] {
        let mut host = Host::new();
        let root = host.path("tree");
        fs::create_dir(&root).unwrap();
        let file = root.join("file");
        fs::write(&file, noise(50_000, 1)).unwrap();
        let changed = OffsetDateTime::from_unix_timestamp(file.metadata().unwrap().ctime()).unwrap();
        host.now = changed + Duration::seconds(seconds);
        host.backup(files(&[&root])).unwrap();
        for is_read_again in [is_read_again, false] {
            host.now = host.now.max(changed) + Duration::seconds(10);
            let summary = host.backup(files(&[&root])).unwrap();
            let stored = host.receipt(summary.backup).slice_bytes;
            assert_eq!(stored > 50_000, is_read_again, "{seconds} s: {stored} bytes");
            host.assert_is(summary.backup, &tar_of(&root));
        }
    }
}

/// Whoever sets a file's time back cannot do so to when its inode changed.
#[test]
fn what_pretends_to_be_old_is_read() {
    let mut host = Host::ahead();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    let file = root.join("file");
    for seed in 1..3 {
        fs::write(&file, noise(50_000, seed)).unwrap();
        set_modified(&file, 1_000_000_000, 0);
        set_modified(&root, 1_000_000_000, 0);
        host.now += Duration::HOUR;
        let summary = host.backup(files(&[&root])).unwrap();
        host.assert_is(summary.backup, &tar_of(&root));
        assert!(host.receipt(summary.backup).slice_bytes > 50_000);
    }
}
