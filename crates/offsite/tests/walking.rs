//! The walk: its order, what it leaves out, and what it does when the tree changes under it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offsite::archive::excludes::{ExcludeRules, Excludes};
use offsite::archive::incident::What;
use offsite::archive::roots::Roots;
use offsite::archive::walk::Walk;
use offsite::paths;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat, renameat_with};
use support::{Numbers, all, archive_path, below, name, walk};

/// The order by its definition: sorted names, each folder followed by what it holds.
fn reference(path: &Path, found: &mut Vec<Vec<u8>>) {
    found.push(archive_path(path));
    if !path.symlink_metadata().unwrap().is_dir() {
        return;
    }
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        reference(&path.join(name), found);
    }
}

fn random_tree(folder: &Path, numbers: &mut Numbers, left: &mut usize, depth: usize) {
    let letters = b"ab.!-\x01\xffA\n/";
    for _ in 0..=numbers.below(8) {
        if *left == 0 {
            return;
        }
        let bytes: Vec<u8> = (0..=numbers.below(3)).map(|_| letters[numbers.below(letters.len() - 1)]).collect();
        let path = folder.join(name(&bytes));
        if bytes == b"." || bytes == b".." || path.symlink_metadata().is_ok() {
            continue;
        }
        *left -= 1;
        match numbers.below(5) {
            0 => symlink("..", path).unwrap(),
            1 => fs::write(path, "").unwrap(),
            _ if depth == 0 => fs::write(path, "").unwrap(),
            _ => {
                fs::create_dir(&path).unwrap();
                random_tree(&path, numbers, left, depth - 1);
            }
        }
    }
}

#[test]
fn order_is_that_of_a_sorted_recursion() {
    for seed in 1..15 {
        let place = tempfile::tempdir().unwrap();
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ seed);
        random_tree(place.path(), &mut numbers, &mut 300, 6);
        let mut expected = Vec::new();
        reference(place.path(), &mut expected);
        let (paths, incidents) = all(walk(&[place.path()]));
        assert!(incidents.is_empty());
        assert_eq!(paths, expected, "seed {seed}");
        assert!(paths.is_sorted_by(|one, other| paths::compare(one, other).is_lt()), "seed {seed}");
    }
}

#[test]
fn several_roots_come_in_order() {
    let place = tempfile::tempdir().unwrap();
    for path in ["b/x", "a/x", "a!/x", "c/deep/x"] {
        fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
        fs::write(place.path().join(path), "").unwrap();
    }
    let roots: Vec<_> = ["c/deep/x", "b", "a!", "a"].iter().map(|root| place.path().join(root)).collect();
    let roots: Vec<_> = roots.iter().map(PathBuf::as_path).collect();
    let (paths, _) = all(walk(&roots));
    assert_eq!(below(place.path(), &paths), ["a", "a/x", "a!", "a!/x", "b", "b/x", "c/deep/x"]);
}

fn excluding(root: &Path, rules: &ExcludeRules<'_>) -> Vec<String> {
    let roots = Roots::new(&[root.to_path_buf()]).unwrap();
    let (paths, incidents) =
        all(Walk::new(roots, Excludes::new(rules).unwrap(), false, HashSet::new(), &std::env::temp_dir()));
    assert!(incidents.is_empty(), "{incidents:?}");
    below(root, &paths)
}

#[test]
fn excluded_entries_are_left_out_with_all_they_hold() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for folder in ["keep/target", "cache", "no_cache", "marked/deep"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("inside"), "").unwrap();
    }
    fs::write(root.join("keep/x.o"), "").unwrap();
    fs::write(root.join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n# more\n").unwrap();
    fs::write(root.join("no_cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc5").unwrap();
    fs::write(root.join("marked/.nobackup"), "").unwrap();

    let (patterns, if_present) = (["*.o".to_owned(), "target/".to_owned()], [OsString::from(".nobackup")]);
    let rules = ExcludeRules { patterns: &patterns, files: &[], caches: true, if_present: &if_present };
    let found = excluding(root, &rules);
    let expected = [
        "",
        "cache",
        "cache/CACHEDIR.TAG",
        "keep",
        "marked",
        "marked/.nobackup",
        "no_cache",
        "no_cache/CACHEDIR.TAG",
        "no_cache/inside",
    ];
    assert_eq!(found, expected);

    // The pattern says where it begins: at the archive's beginning.
    let anchored = [format!("{}/keep", root.display())];
    let found = excluding(root, &ExcludeRules { patterns: &anchored, ..Default::default() });
    assert!(found.contains(&"cache/inside".to_owned()) && !found.iter().any(|path| path.starts_with("keep")));
}

#[test]
fn closed_folders_are_stored_empty() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir_all(root.join("state/inside")).unwrap();
    fs::create_dir_all(root.join("other")).unwrap();
    let state = fs::metadata(root.join("state")).unwrap();
    let walk = Walk::new(
        Roots::new(&[root.to_path_buf()]).unwrap(),
        Excludes::none(),
        false,
        HashSet::from([(state.dev(), state.ino())]),
        &std::env::temp_dir(),
    );
    assert_eq!(below(root, &all(walk).0), ["", "other", "state"]);
}

#[test]
fn one_file_system_keeps_mount_points_empty() {
    // /proc is another file system wherever it is mounted, and it holds much.
    let roots = Roots::new(&[PathBuf::from("/")]).unwrap();
    let patterns = ["/*".to_owned(), "!/proc".to_owned()];
    let excludes = Excludes::new(&ExcludeRules { patterns: &patterns, ..Default::default() }).unwrap();
    let (paths, incidents) = all(Walk::new(roots, excludes, true, HashSet::new(), &std::env::temp_dir()));
    assert_eq!(paths, [&b""[..], b"proc"]);
    assert!(incidents.is_empty());
}

#[test]
fn a_root_that_is_a_link_is_stored_as_one() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("folder")).unwrap();
    fs::write(place.path().join("folder/file"), "").unwrap();
    symlink("folder", place.path().join("link")).unwrap();
    // The slash would make the system follow it.
    let (paths, incidents) = all(walk(&[&place.path().join("link/")]));
    assert_eq!(below(place.path(), &paths), ["link"]);
    assert!(matches!(incidents[..], [ref incident] if matches!(incident.what, What::RootIsLink)));

    // What leads to a root may be a link.
    let (paths, _) = all(walk(&[&place.path().join("link/file")]));
    assert_eq!(below(place.path(), &paths), ["link/file"]);
}

#[test]
fn roots_that_are_not_there_are_losses() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    let missing = ["nothing", "nowhere/at/all"].map(|path| place.path().join(path));
    let (paths, incidents) = all(walk(&[&missing[0], &place.path().join("file"), &missing[1]]));
    assert_eq!(below(place.path(), &paths), ["file"]);
    assert_eq!(incidents.len(), 2);
    assert!(incidents.iter().all(offsite::archive::incident::Incident::is_loss));
}

/// Makes a branch of folders of which each has this name, and files before and after it.
fn branch(root: &Path, component: &str, depth: usize) {
    let mut folder = openat(CWD, root, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let file = |folder: &rustix::fd::OwnedFd, name: &str| {
        openat(folder, name, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR).unwrap()
    };
    for _ in 0..depth {
        drop((file(&folder, "a"), file(&folder, "z")));
        mkdirat(&folder, component, Mode::RWXU).unwrap();
        folder = openat(&folder, component, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(file(&folder, "deepest"));
}

#[test]
fn depth_is_bound_neither_by_path_lengths_nor_by_open_files() {
    let place = tempfile::tempdir().unwrap();
    let depth = 1500;
    branch(place.path(), "dd", depth);
    let mut walk = walk(&[place.path()]);
    let (mut paths, mut most) = (Vec::new(), 0);
    while let Some(found) = walk.next() {
        paths.push(found.unwrap().unwrap().path);
        most = most.max(walk.open_folders());
    }
    assert_eq!(paths.len(), 3 * depth + 2);
    assert!(most < 80, "{most} folders open");
    assert!(paths.is_sorted_by(|one, other| paths::compare(one, other).is_lt()));
    let longest = paths.iter().find(|path| path.ends_with(b"/deepest")).unwrap();
    assert!(longest.len() > 4500);
    // tempfile's own removal opens as many folders as there are.
    assert!(std::process::Command::new("rm").arg("-rf").arg(place.keep()).status().unwrap().success());
}

#[test]
fn what_has_too_long_a_path_is_a_loss() {
    let place = tempfile::tempdir().unwrap();
    branch(place.path(), &"d".repeat(255), 260);
    let (paths, incidents) = all(walk(&[place.path()]));
    // Beside each folder, and in it, two files have shorter names.
    assert_eq!(paths.iter().map(Vec::len).max().unwrap() / 256, paths::LONGEST / 256 - 1);
    assert!(incidents.len() == 1 && incidents[0].is_loss(), "{incidents:?}");
    assert!(incidents[0].path.len() > paths::LONGEST);
    assert!(std::process::Command::new("rm").arg("-rf").arg(place.keep()).status().unwrap().success());
}

#[test]
fn a_deep_branch_moved_away_costs_what_it_held() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("root")).unwrap();
    branch(&place.path().join("root"), "d", 100);
    fs::create_dir(place.path().join("aside")).unwrap();
    let mut walk = walk(&[&place.path().join("root")]);
    assert!(walk.by_ref().any(|found| found.unwrap().unwrap().path.ends_with(b"/deepest")));

    // The tenth folder is closed by now. Another takes its place.
    let tenth = place.path().join("root").join("d/".repeat(10));
    let aside = place.path().join("aside/x");
    renameat(CWD, &tenth, CWD, &aside).unwrap();
    fs::create_dir(&tenth).unwrap();
    fs::write(tenth.join("z"), "another's").unwrap();
    let (paths, incidents) = all(walk);
    let lost = |paths: Vec<&[u8]>| -> Vec<usize> {
        paths.into_iter().map(|path| path.split(|byte| *byte == b'/').filter(|name| *name == b"d").count()).collect()
    };
    // Those still open go on; of those closed from the tenth on, every one is reported.
    let rest = lost(paths.iter().map(Vec::as_slice).collect());
    let gone = lost(incidents.iter().map(|incident| incident.path.as_slice()).collect());
    assert_eq!(gone, (10..=36).collect::<Vec<_>>());
    assert_eq!(rest, (37..100).rev().chain((0..10).rev()).collect::<Vec<_>>());
    assert!(incidents.iter().all(offsite::archive::incident::Incident::is_loss));
}

#[test]
fn what_vanishes_is_reported_and_the_walk_goes_on() {
    let place = tempfile::tempdir().unwrap();
    for name in ["a", "b", "d"] {
        fs::write(place.path().join(name), "").unwrap();
    }
    fs::create_dir(place.path().join("c")).unwrap();
    let mut walk = walk(&[place.path()]);
    walk.next().unwrap().unwrap().unwrap();
    fs::remove_file(place.path().join("b")).unwrap();
    fs::remove_dir(place.path().join("c")).unwrap();
    let (paths, incidents) = all(walk);
    assert_eq!(below(place.path(), &paths), ["a", "d"]);
    assert_eq!(incidents.len(), 2);
    assert!(incidents.iter().all(|incident| matches!(incident.what, What::Vanished) && !incident.is_loss()));
}

/// Tells the other thread to end, also when the test fails.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A thread exchanges a folder for a symbolic link to another as fast as it can: the walk sees the
/// folder or the link, and never what lies behind the link. On a busy machine that thread may not
/// run for hundreds of walks: they go on until both were seen.
#[test]
fn a_folder_swapped_for_a_link_leads_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let (root, outside) = (place.path().join("root"), place.path().join("outside"));
    fs::create_dir_all(root.join("folder/inner")).unwrap();
    fs::create_dir_all(outside.join("inner")).unwrap();
    fs::write(outside.join("inner/secret"), "secret").unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, root.join("link")).unwrap();

    let done = AtomicBool::new(false);
    let (mut seen_link, mut seen_folder) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (one, other) = (root.join("folder"), root.join("link"));
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let _end = EndOf(&done);
        let begun = Instant::now();
        for round in 0.. {
            let seen_both = seen_link > seen_folder && seen_folder > 0;
            if (round >= 500 && seen_both) || begun.elapsed() > Duration::from_secs(60) {
                break;
            }
            let (paths, incidents) = all(walk(&[&root]));
            for path in below(place.path(), &paths) {
                assert!(!path.contains("secret"), "{path}");
                seen_folder += usize::from(path == "root/folder/inner");
                seen_link += usize::from(path == "root/folder");
            }
            assert!(incidents.iter().all(|incident| matches!(incident.what, What::Replaced | What::Vanished)));
        }
    });
    assert!(seen_link > seen_folder && seen_folder > 0, "never both: {seen_link} {seen_folder}");
}

#[test]
fn an_unreadable_folder_is_stored_and_reported() {
    if rustix::process::geteuid().is_root() {
        return; // For root nothing is unreadable.
    }
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("closed")).unwrap();
    fs::set_permissions(place.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(place.path().join("open"), "").unwrap();
    let (paths, incidents) = all(walk(&[place.path()]));
    assert_eq!(below(place.path(), &paths), ["", "closed", "open"]);
    assert!(incidents.len() == 1 && incidents[0].is_loss());
}

#[test]
fn a_file_of_any_name_can_be_a_root() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join(name(b"new\nline \xff"));
    fs::write(&path, "").unwrap();
    let (paths, _) = all(walk(&[&path]));
    assert_eq!(paths, [archive_path(&path)]);
    assert!(paths[0].ends_with(b"/new\nline \xff"));
}
