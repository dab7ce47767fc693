//! Runs that end early: what they have put is not sent again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use host::{Ends, Host, files, noise, tar_of};
use offsite::Error;
use offsite::operations::backup::{Source, Summary};
use time::Duration;

/// What a run that is interrupted may have sent in vain: two slices are put at once, and what comes after one
/// that was not put does not count.
const IN_VAIN: u64 = 2 << 20;

/// What is backed up, and what the backup must be.
struct What<'a> {
    source: &'a dyn Fn() -> Source,
    bytes: &'a dyn Fn() -> Vec<u8>,
}

/// A run that ends after so many objects, or does not; how many bytes of slices it has put, how many
/// objects, and what came of it.
fn run(host: &mut Host, what: &What<'_>, objects: usize) -> (u64, usize, Option<Summary>) {
    host.now += Duration::MINUTE;
    let store = host.put();
    let ends = Ends::after(objects, store.as_ref());
    let summary = match host.backup_to(&ends, (what.source)()) {
        Ok(summary) => Some(summary),
        Err(failed) => {
            assert!(matches!(failed, Error::Store(_)), "after {objects} objects: {failed}");
            assert_eq!(ends.count(), objects);
            None
        }
    };
    (ends.slice_bytes(), ends.count(), summary)
}

/// A run that must not end early.
#[track_caller]
fn whole(host: &mut Host, what: &What<'_>) -> (u64, usize, Summary) {
    let (bytes, objects, summary) = run(host, what, usize::MAX);
    (bytes, objects, summary.unwrap())
}

/// As if there never was a backup.
fn forget(host: &Host) {
    fs::remove_dir_all(host.store()).unwrap();
    fs::remove_dir_all(host.path("state")).unwrap();
}

/// Interrupts a first backup after each of its objects; at least so many are slices.
fn after_each_object(host: &mut Host, what: &What<'_>, slices: usize) {
    let (all, objects, summary) = whole(host, what);
    host.assert_is(summary.backup, &(what.bytes)());
    assert!(objects > slices);
    for left in 0..objects {
        forget(host);
        let (before, _, ended) = run(host, what, left);
        assert!(ended.is_none());
        host.heard.told();
        let (after, _, summary) = whole(host, what);
        host.assert_is(summary.backup, &(what.bytes)());
        let again = (before + after).saturating_sub(all);
        assert!(again <= IN_VAIN, "after {left} objects, {before} bytes: {again} were put again");
        let told = host.heard.told();
        let is_taken_up = told.iter().any(|told| told.starts_with("TakenUp") || told.starts_with("ReceiptPutAgain"));
        assert!(is_taken_up == (before > 0) || left < 3, "after {left} objects: {told:?}");
    }
}

/// Small files and large ones: some nine slices of 1 MiB.
fn tree(host: &Host) -> PathBuf {
    let root = host.path("tree");
    fs::create_dir_all(root.join("a")).unwrap();
    for number in 0..40_u64 {
        fs::write(root.join(format!("a/{number:02}")), noise(100_000, number + 1)).unwrap();
    }
    fs::write(root.join("b"), noise(3_300_000, 77)).unwrap();
    fs::write(root.join("c"), noise(1_500_000, 78)).unwrap();
    root
}

fn of<T>(root: &Path, and: impl FnOnce(&What<'_>) -> T) -> T {
    and(&What { source: &|| files(&[root]), bytes: &|| tar_of(root) })
}

#[test]
fn nothing_that_was_put_is_put_again_whenever_a_run_ends() {
    let mut host = Host::ahead();
    let root = tree(&host);
    of(&root, |what| after_each_object(&mut host, what, 9));
}

#[test]
fn a_large_file_goes_on_where_it_was_interrupted() {
    let mut host = Host::ahead();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("large"), noise(12 << 20, 5)).unwrap();
    of(&root, |what| after_each_object(&mut host, what, 12));
}

#[test]
fn a_stream_goes_on_where_it_was_interrupted() {
    let mut host = Host::ahead();
    let bytes = noise(12 << 20, 6);
    let source = || Source::Stdin("db".parse().unwrap(), Box::new(io::Cursor::new(bytes.clone())));
    after_each_object(&mut host, &What { source: &source, bytes: &|| bytes.clone() }, 12);
}

#[test]
fn a_backup_that_is_interrupted_again_and_again_is_made_in_the_end() {
    for times in [2, 3] {
        let mut host = Host::ahead();
        let root = tree(&host);
        of(&root, |what| {
            let (all, ..) = whole(&mut host, what);
            forget(&host);
            let mut sum = 0;
            for _ in 0..times {
                // The list of what the run before has put is the first of them.
                let (bytes, _, ended) = run(&mut host, what, 3);
                assert!(ended.is_none());
                sum += bytes;
            }
            let (bytes, _, summary) = whole(&mut host, what);
            host.assert_is(summary.backup, &tar_of(&root));
            let again = (sum + bytes).saturating_sub(all);
            assert!(again <= IN_VAIN, "{again} bytes were put again");
            assert!(bytes < all - (2 << 20), "{bytes} of {all} were left");
        });
    }
}

#[test]
fn what_changes_in_between_is_as_it_is_in_the_end() {
    for left in [2, 5, 8] {
        let mut host = Host::ahead();
        let root = tree(&host);
        let all = of(&root, |what| whole(&mut host, what).0);
        forget(&host);
        let (before, _, ended) = of(&root, |what| run(&mut host, what, left));
        assert!(ended.is_none());
        let changed = [("a/03", 100_000), ("a/20", 90_000), ("a/39", 100_000), ("new", 200_000), ("b", 3_300_001)];
        for (number, (name, length)) in (500..).zip(changed) {
            let mut bytes = noise(length, number);
            if name == "b" {
                bytes = noise(3_300_000, 77);
                bytes.insert(1_000_000, 0);
            }
            fs::write(root.join(name), bytes).unwrap();
        }
        fs::remove_file(root.join("a/04")).unwrap();
        fs::remove_file(root.join("a/38")).unwrap();
        let (after, _, summary) = of(&root, |what| whole(&mut host, what));
        host.assert_is(summary.backup, &tar_of(&root));
        let again = (before + after).saturating_sub(all);
        // Four changed files, each in a bundle of its own, and a chunk or two of the large one.
        assert!(again <= IN_VAIN + (1 << 20), "after {left} objects: {again} bytes were put again");
        let next = of(&root, |what| whole(&mut host, what));
        assert!(next.0 < 400_000, "{} bytes", next.0);
        host.assert_is(next.2.backup, &tar_of(&root));
    }
}

#[test]
fn a_full_backup_that_is_interrupted_leaves_the_set_as_it_was() {
    for left in [1, 6] {
        let mut host = Host::ahead();
        let root = tree(&host);
        of(&root, |what| {
            whole(&mut host, what);
            host.full = true;
            let (before, _, ended) = run(&mut host, what, left);
            assert!(ended.is_none() && before > 0);
            host.full = false;
            let (after, _, summary) = whole(&mut host, what);
            assert!(after < 1 << 20, "{after} bytes were put");
            host.assert_is(summary.backup, &tar_of(&root));
        });
    }
}

/// Whatever is interrupted: of a backup that builds on others, too.
#[test]
fn an_incremental_backup_goes_on_where_it_was_interrupted() {
    let mut host = Host::ahead();
    let root = tree(&host);
    of(&root, |what| whole(&mut host, what));
    let objects = host.objects().len();
    for left in 0..8 {
        host.now += Duration::DAY;
        fs::write(root.join("b"), noise(3_300_000, 1000 + left)).unwrap();
        fs::write(root.join("a/07"), noise(100_000, 2000 + left)).unwrap();
        let left = usize::try_from(left).unwrap();
        let (before, _, ended) = of(&root, |what| run(&mut host, what, left));
        assert!(ended.is_none());
        let (after, _, summary) = of(&root, |what| whole(&mut host, what));
        host.assert_is(summary.backup, &tar_of(&root));
        assert!(before + after < 3_500_000 + IN_VAIN / 2, "after {left} objects: {before} and {after} bytes");
    }
    assert!(host.objects().len() > objects);
}

/// The first name of a file lies in slices of the interrupted run, another name still where an earlier one has
/// put it: it must come after the first.
#[test]
fn a_link_comes_after_a_leader_that_an_interrupted_run_has_moved() {
    for left in 3..=5 {
        let mut host = Host::ahead();
        let root = tree(&host);
        fs::hard_link(root.join("a/00"), root.join("z")).unwrap();
        of(&root, |what| {
            whole(&mut host, what);
            // Less than half of the leader's frame is live, as the run after the next sees.
            ["01", "02", "03"].iter().for_each(|name| fs::remove_file(root.join("a").join(name)).unwrap());
            whole(&mut host, what);
            (20..40)
                .for_each(|number| fs::write(root.join(format!("a/{number}")), noise(100_000, 500 + number)).unwrap());
            let (_, _, ended) = run(&mut host, what, left);
            assert!(ended.is_none());
            host.heard.told();
            let (.., summary) = whole(&mut host, what);
            assert!(host.heard.told().iter().any(|told| told.starts_with("TakenUp")), "after {left} objects");
            host.assert_is(summary.backup, &tar_of(&root));
        });
    }
}

#[test]
fn a_large_file_is_not_begun_anew_however_often_it_is_interrupted() {
    let mut host = Host::ahead();
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("large"), noise(12 << 20, 5)).unwrap();
    of(&root, |what| {
        let (all, ..) = whole(&mut host, what);
        forget(&host);
        let mut sum = 0;
        for _ in 0..3 {
            let (bytes, _, ended) = run(&mut host, what, 4);
            assert!(ended.is_none());
            sum += bytes;
        }
        assert!(sum > all / 2, "{sum} of {all}");
        let (bytes, _, summary) = whole(&mut host, what);
        host.assert_is(summary.backup, &tar_of(&root));
        let again = (sum + bytes).saturating_sub(all);
        assert!(again <= 3 * IN_VAIN, "{again} bytes were put again");
        assert!(bytes < all - sum + 3 * IN_VAIN, "{bytes} of {all} were left, though {sum} had been put");
    });
}

/// What is stored again need not fit one frame any more.
#[test]
fn slices_may_become_shorter() {
    let mut host = Host::ahead();
    host.slice_size = 16 << 20;
    let root = host.path("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("large"), noise(20 << 20, 5)).unwrap();
    of(&root, |what| {
        let (.., first) = whole(&mut host, what);
        let slice = format!("data/web-1/default/{}/slice-00000000.p7m", first.backup);
        fs::remove_file(host.store().join(slice)).unwrap();
        host.slice_size = 1 << 20;
        let (.., summary) = whole(&mut host, what);
        assert!(host.heard.told().iter().any(|told| told.starts_with("SlicesLost")));
        host.assert_is(summary.backup, &tar_of(&root));
    });
}
