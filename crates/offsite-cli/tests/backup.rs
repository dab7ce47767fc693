//! Files backed up and restored, by the command: whatever they are, and whatever goes on meanwhile.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;
#[path = "../../offsite/tests/support/mod.rs"]
mod trees;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{XattrFlags, lsetxattr};
use support::host::{Host, end, feed, json, start, until};
use support::{Words, copy_offsite, found_in_path, run, run_reading, sample};
use trees::everything::{assert_identical, everything, is_root, noise, set_modified};

fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.as_ref().display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A host with these files, below `tree`.
fn host_with(files: &[&str]) -> Host {
    let host = Host::new();
    files.iter().for_each(|name| drop(host.write(&format!("tree/{name}"), name)));
    host
}

/// Everything that a tree can hold, to files and to a tar that three other programs read.
#[test]
fn everything_comes_back() {
    let host = Host::new();
    everything(&host.path("tree"));
    let summary = json(&run(&mut host.backup("--json tree")).ok());
    assert_eq!(summary["errors"], 0);

    run(&mut host.restore("--into restored")).ok();
    assert_identical("-naHAXi", &host.path("tree"), &host.path("restored/tree"));
    run(&mut host.restore("--tar restored.tar")).ok();
    for reader in ["tar", "bsdtar"] {
        found_in_path(reader);
        fs::create_dir(host.path(reader)).unwrap();
    }
    run(&mut host.bash(
        "tar -x -f restored.tar -C tar -p --numeric-owner --delay-directory-restore --acls --xattrs --xattrs-include='*'",
    ))
    .ok();
    assert_identical("-naHAXi", &host.path("tree"), &host.path("tar/tree"));

    // bsdtar passes over extended attributes that libarchive does not know to set, and cuts times
    // before 1970; it must read every member, and each with its content.
    let files = host.files().len();
    let listed = run(&mut host.bash("bsdtar -t -f restored.tar --null | tr -cd '\\n' | wc -c")).ok();
    assert!(String::from_utf8(listed.stdout).unwrap().trim().parse::<usize>().unwrap() >= files);
    let python = r#"
import sys, tarfile, os
entries = content = 0
with tarfile.open("restored.tar", errorlevel=2, encoding="utf-8", errors="surrogateescape") as tar:
    for member in tar:
        entries += 1
        if member.isreg():
            with open(os.fsencode(member.name), "rb") as file:
                assert tar.extractfile(member).read() == file.read(), member.name
            content += 1
print(entries, content)"#;
    let read = run(host.at(Command::new("python3").args(["-c", python]))).ok();
    let read = String::from_utf8(read.stdout).unwrap();
    let (entries, content) = read.trim().split_once(' ').unwrap();
    assert_eq!(entries, files.to_string());
    assert!(content.parse::<u64>().unwrap() > 50, "{content} files were compared");
}

#[test]
fn roots_are_called_as_they_are_given() {
    let host = host_with(&["a", "b/c"]);
    let absolute = host.path("tree/b");
    let stored = absolute.to_str().unwrap().trim_start_matches('/').to_owned();
    for (root, expected) in [
        ("tree", vec!["tree", "tree/a", "tree/b", "tree/b/c"]),
        ("./tree//b/", vec!["tree/b", "tree/b/c"]),
        ("tree/b/c tree/a", vec!["tree/a", "tree/b/c"]),
        (absolute.to_str().unwrap(), vec![&stored[..], &format!("{stored}/c")]),
    ] {
        run(&mut host.backup(&format!("--full {root}"))).ok();
        assert_eq!(host.files(), expected, "{root}");
    }
    // On the way to it folders are made that the backup knows nothing of.
    run(&mut host.restore("--into restored")).ok();
    assert_eq!(fs::read(host.path("restored").join(&stored).join("c")).unwrap(), b"b/c");
}

#[test]
fn the_working_directory_comes_back_as_the_target() {
    let host = host_with(&["a", "b/c"]);
    fs::set_permissions(host.path("tree"), fs::Permissions::from_mode(0o2751)).unwrap();
    set_modified(&host.path("tree"), -10, 123_456_789);
    let cert = host.path("cert.pem");
    run(host.offsite("backup --host here .").current_dir(host.path("tree")).arg("-r").arg(cert)).ok();
    run(&mut host.restore("--into restored")).ok();
    assert_identical("-naHi", &host.path("tree"), &host.path("restored"));
    let restored = host.path("restored").metadata().unwrap();
    assert_eq!((restored.mode() & 0o7777, restored.mtime(), restored.mtime_nsec()), (0o2751, -10, 123_456_789));
    // A choice of it leaves the target as it is.
    run(&mut host.restore("--into chosen a")).ok();
    assert_eq!(names(host.path("chosen")), ["a"]);
}

#[test]
fn paths_come_from_a_list_as_well() {
    let host = host_with(&["a", "new\nline", "-r", "left out"]);
    let list = host.write("list", b"tree/a\0tree/new\nline\0tree/-r\0");
    let expected = ["tree/-r", "tree/a", "tree/new\nline"];
    run(&mut host.backup("--files-from0 list")).ok();
    assert_eq!(host.files(), expected);
    run_reading(host.backup("--files-from0 -").words("--set other"), &list).ok();
    let other = run(&mut host.offsite("files --json -k key.pem --set other")).ok();
    assert_eq!(json(&other).as_array().unwrap().len(), 3);
    for (list, code) in [(&b""[..], 2), (b"\0\0", 2), (b"tree/../x\0", 2)] {
        host.write("list", list);
        run(&mut host.backup("--files-from0 list")).fails(code).one_error();
    }
    run(&mut host.backup("--files-from0 nowhere")).fails(1).one_error().says("cannot read nowhere");
}

#[test]
fn what_is_excluded_is_left_out() {
    let files = ["a.o", "keep.o", "sub/b.o", "sub/c", "cache/x", "cache/deep/y", "marked/x", "marked/.no", "top"];
    let host = host_with(&files);
    host.write("tree/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# a comment");
    host.write("rules", "# objects\n*.o\n!keep.o\n/tree/top\n");
    let folders = ["tree", "tree/cache", "tree/marked", "tree/sub"];
    let all = ["cache/CACHEDIR.TAG", "cache/deep"].into_iter().chain(files).map(|name| format!("tree/{name}"));
    let all: Vec<String> = all.chain(folders.map(str::to_owned)).collect();
    let without = |left_out: &[&str]| {
        let kept = all.iter().filter(|path| !left_out.iter().any(|out| path.starts_with(&format!("tree/{out}"))));
        let mut kept: Vec<String> = kept.cloned().collect();
        kept.sort();
        kept
    };
    for (set, options, left_out) in [
        ("none", "", &[][..]),
        ("glob", "--exclude *.o", &["a.o", "keep.o", "sub/b.o"]),
        ("anchored", "--exclude /tree/a.o --exclude /a.o", &["a.o"]),
        ("folder", "--exclude sub/", &["sub"]),
        ("file", "--exclude-from rules", &["a.o", "sub/b.o", "top"]),
        ("both", "--exclude-from rules --exclude keep.o", &["a.o", "keep.o", "sub/b.o", "top"]),
        ("caches", "--exclude-caches", &["cache/x", "cache/deep"]),
        ("marked", "--exclude-if-present .no", &["marked/x"]),
    ] {
        run(host.backup(options).args(["--set", set, "tree"])).ok();
        let listed = json(&run(host.offsite("files --json -k key.pem --set").arg(set)).ok());
        let listed = listed.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap());
        let mut listed: Vec<&str> = listed.collect();
        listed.sort_unstable();
        assert_eq!(listed, without(left_out), "{set}");
    }
    run(&mut host.backup("--exclude [ tree")).fails(2).one_error().says("'['");
    run(&mut host.backup("--exclude-from nowhere tree")).fails(2).one_error().says("nowhere");
}

#[test]
fn other_file_systems_are_left_out_if_asked() {
    let host = host_with(&["a", "mounted/below"]);
    let script = r#"
        mount -t tmpfs none tree/mounted
        echo >tree/mounted/on-it
        for set in here --one-file-system; do
            option=${set#here}
            "$OFFSITE" backup -r cert.pem --host here --set "${set#--}" $option tree
            "$OFFSITE" files --json -k key.pem --set "${set#--}" >"files-${set#--}"
        done"#;
    run(&mut host.isolated(script)).ok();
    let paths = |name: &str| {
        let listed: serde_json::Value = serde_json::from_slice(&fs::read(host.path(name)).unwrap()).unwrap();
        listed.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths("files-here"), ["tree", "tree/a", "tree/mounted", "tree/mounted/on-it"]);
    assert_eq!(paths("files-one-file-system"), ["tree", "tree/a", "tree/mounted"]);
}

#[test]
fn a_dry_run_touches_nothing() {
    let host = host_with(&["a", "b/c"]);
    fs::hard_link(host.path("tree/a"), host.path("tree/link")).unwrap();
    symlink("a", host.path("tree/symbolic")).unwrap();
    let before = names(host.path("."));
    let told = run(&mut host.backup("-n tree")).ok();
    assert_eq!(String::from_utf8(told.stdout.clone()).unwrap(), "would back up 3 files, 2 folders, 1 other, 4 B\n");
    let told = json(&run(&mut host.backup("--dry-run --json tree --exclude c")).ok());
    let expected = serde_json::json!({
        "id": null, "dry_run": true, "files": 2, "folders": 2, "others": 1, "bytes": 1, "stored_bytes": null,
        "errors": 0, "end": null, "objects": null, "full": null,
    });
    assert_eq!(told, expected);
    run(&mut host.backup("-n tree tree2/nowhere")).fails(3).says("tree2/nowhere");
    run(&mut host.backup("-n tree/nowhere")).fails(1).one_error().says("tree/nowhere");
    assert_eq!(names(host.path(".")), before);
}

#[test]
fn a_summary_as_json() {
    let host = host_with(&["a", "b/c"]);
    let told = json(&run(&mut host.backup("--json tree")).ok());
    let listed = &host.backups()[0];
    assert_eq!((&told["id"], &told["end"]), (&listed["id"], &listed["end"]));
    for key in ["files", "folders", "others", "bytes", "errors"] {
        assert_eq!(told[key], listed[key], "{key}");
    }
    assert_eq!((&told["dry_run"], &told["files"], &told["bytes"]), (&false.into(), &2.into(), &4.into()));
    let stored: u64 = regular_files(&host.path("store"))
        .into_iter()
        .filter(|path| !path.ends_with("STORE"))
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(told["stored_bytes"], stored);
    let restored = json(&run(&mut host.restore("--json --into restored")).ok());
    let expected = serde_json::json!({
        "id": told["id"], "host": "here", "set": "default",
        "dry_run": false, "entries": 4, "lost": 0, "kept": 0, "problems": 0,
    });
    assert_eq!(restored, expected);
}

fn regular_files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let is_folder = entry.symlink_metadata().unwrap().is_dir();
            if is_folder { folders.push(entry) } else { files.push(entry) }
        }
    }
    files
}

#[test]
fn wrong_usage_is_found_before_anything_is_made() {
    let host = host_with(&["a", "b/c"]);
    let before = names(host.path("."));
    for (line, said) in [
        ("tree tree/b", "overlap"),
        ("tree ./tree", "overlap"),
        ("tree/../tree", "'..'"),
        ("", "required"),
        ("--stdin x tree", "cannot be used with"),
        ("--exec x", "no command"),
        ("--host a/b tree", "--host"),
        ("--set .x tree", "--set"),
        ("--stdin a/b", "--stdin"),
        ("--slice-size 1000 tree", "between 1M and 512M"),
        ("--reuse-for 1 tree", "90d"),
        ("--to gs://bucket tree", "gs:"),
    ] {
        let command = &mut host.offsite("backup -r cert.pem");
        run(command.words(line)).fails(2).one_error().says(said);
    }
    run(&mut host.offsite("backup --host here tree")).fails(2).one_error().says("hint: name a certificate with -r");
    run(&mut host.backup("-r nowhere.pem tree")).fails(1).one_error().says("nowhere.pem");
    assert_eq!(names(host.path(".")), before);
}

#[test]
fn a_name_that_does_not_last_is_not_taken_for_the_hosts() {
    let host = host_with(&["a"]);
    found_in_path("hostname");
    for (name, lasts) in [("localhost", false), ("0123456789ab", false), ("web-1.example.org", true)] {
        let mut command = host.isolated(r#"hostname "$NAME"; exec "$OFFSITE" backup -r cert.pem tree"#);
        let ended = run(command.env("NAME", name));
        if lasts {
            ended.ok();
            assert_eq!(host.backups()[0]["host"], name);
        } else {
            ended.fails(2).one_error().says("a lasting name of this host is not known").says("--host");
            assert!(!host.path("store").exists() && !host.path("state").exists());
        }
    }
}

#[test]
fn a_set_is_backed_up_by_one_run_at_a_time() {
    let host = host_with(&["a"]);
    let mut first = start(&mut host.backup("--stdin stream"));
    feed(&mut first, &sample(4 << 20));
    run(&mut host.backup("tree"))
        .fails(1)
        .one_error()
        .says("another backup of this set is running")
        .says("hint: wait for it to end, or start this one with --wait");
    run(&mut host.backup("--set other tree")).ok();
    let mut second = start(&mut host.backup("--wait --full tree"));
    thread::sleep(Duration::from_millis(500));
    assert!(second.try_wait().unwrap().is_none(), "it did not wait");
    assert_eq!(host.backups().len(), 1);
    assert_eq!(end(first).0, Some(0));
    let (code, said) = end(second);
    assert_eq!(code, Some(0), "{said}");
    let listed = host.backups();
    let given: Vec<_> = listed.iter().map(|backup| (&backup["set"], &backup["given"])).collect();
    assert_eq!(given.len(), 3);
    assert_eq!(given[..2], [(&"default".into(), &"stdin".into()), (&"default".into(), &"files".into())]);
}

#[test]
fn a_copy_of_a_machine_is_told() {
    let host = host_with(&["a"]);
    let anew = "begins anew";
    run(&mut host.backup("tree"))
        .ok()
        .does_not_say(anew)
        .says("made this host's signing key")
        .says("one recipient only");
    run(&mut host.backup("tree")).ok().does_not_say(anew).does_not_say("signing key");
    let chains: Vec<_> =
        regular_files(&host.path("state")).into_iter().filter(|path| path.ends_with("chain")).collect();
    let [chain] = &chains[..] else { panic!("{chains:?}") };
    let text = fs::read_to_string(chain).unwrap();
    let line = text.lines().find(|line| line.starts_with("machine ")).unwrap();
    let text = text.replacen(line, "machine 00000000000000000000000000000000", 1);
    let (body, _) = text.rsplit_once("end ").unwrap();
    fs::write(chain, format!("{body}end {}\n", blake3::hash(body.as_bytes()))).unwrap();
    run(&mut host.backup("tree")).ok().says("is another machine's, so its chain of backups begins anew");
    fs::write(chain, "nonsense").unwrap();
    run(&mut host.backup("tree")).ok().says("cannot be read, so its chain of backups begins anew");
    assert_eq!(host.backups().len(), 4);
}

#[test]
fn a_disk_that_is_not_there_is_not_filled_silently() {
    let host = host_with(&["a"]);
    run(&mut host.backup("--to mnt/disk/store tree")).fails(1).one_error().says("there is no mnt/disk");
    assert!(!host.path("mnt").exists());
}

#[test]
fn store_and_state_are_not_walked_into() {
    let host = host_with(&["tree/a", "a"]);
    let inside = |command: &mut Command| {
        command.env("OFFSITE_STATE_DIR", host.path("tree/state")).env("OFFSITE_STORE", host.path("tree/store"));
        run(command)
    };
    fs::create_dir(host.path("tree/state")).unwrap();
    for _ in 0..2 {
        inside(&mut host.backup("--set inside tree")).ok();
    }
    let listed = json(&inside(&mut host.offsite("files --json -k key.pem")).ok());
    let listed: Vec<_> = listed.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(listed, ["tree", "tree/a", "tree/state", "tree/store", "tree/tree", "tree/tree/a"]);
}

/// Files that grow, shrink, come and go all the time: warnings, and what is there is backed up.
#[test]
fn files_that_change_meanwhile_are_warned_of() {
    let host = host_with(&["still"]);
    let still = fs::read(host.path("tree/still")).unwrap();
    fs::write(host.path("tree/large"), noise(8 << 20, 1)).unwrap();
    let mut unseen = vec!["grew while it was read", "shrank while it was read", "vanished before it was read"];
    let done = AtomicBool::new(false);
    let change = || {
        let (grows, large) = (host.path("tree/grows"), host.path("tree/large"));
        let mut grows = File::options().create(true).append(true).open(grows).unwrap();
        let large = File::options().write(true).open(large).unwrap();
        let mut round = 0_u64;
        while !done.load(Ordering::Relaxed) {
            round += 1;
            grows.write_all(&[1; 512]).unwrap();
            if grows.metadata().unwrap().len() > 16 << 20 {
                grows.set_len(0).unwrap();
            }
            large.set_len(if round.is_multiple_of(2) { 8 << 20 } else { 2 << 20 }).unwrap();
            for name in 0..50 {
                fs::write(host.path(format!("tree/passing {name}")), "x").unwrap();
            }
            for name in 0..50 {
                fs::remove_file(host.path(format!("tree/passing {name}"))).unwrap();
            }
        }
    };
    thread::scope(|scope| {
        let changing = scope.spawn(change);
        let mut rounds = 0;
        while !unseen.is_empty() && rounds < 100 && !changing.is_finished() {
            rounds += 1;
            let ended = run(host.backup("tree").args(["--set", &format!("round-{rounds}")]));
            unseen.retain(|text| !ended.stderr.contains(text));
            if !ended.succeeded() {
                done.store(true, Ordering::Relaxed);
            }
            ended.ok();
        }
        done.store(true, Ordering::Relaxed);
        changing.join().unwrap();
        assert!(unseen.is_empty(), "not seen in {rounds} rounds: {unseen:?}");
        run(host.restore("--into restored --set").arg(format!("round-{rounds}"))).ok();
    });
    assert_eq!(fs::read(host.path("restored/tree/still")).unwrap(), still);
}

/// What a plain user may not read is named, and everything else is backed up.
#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_backed_up() {
    let host = host_with(&["a", "secret file", "secret folder/b", "z"]);
    // Where the tests are built, another user may not be let in.
    copy_offsite(&host.path("offsite"));
    let close = |name: &str| fs::set_permissions(host.path(name), fs::Permissions::from_mode(0o0)).unwrap();
    close("tree/secret file");
    close("tree/secret folder");
    if is_root() {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(host.path("."))).ok();
    }
    let as_plain_user = |line: &str| {
        let mut command = Command::new(host.path("offsite"));
        host.at(command.words(line));
        if is_root() {
            command.uid(65534).gid(65534);
        }
        run(&mut command)
    };
    let partial = as_plain_user("backup -r cert.pem --host here --json tree").fails(3);
    let partial = partial.says("cannot open tree/secret file: ").says("cannot open tree/secret folder: ");
    let partial = partial.says("2 things could not be read, so the backup is partial").does_not_say("offsite: error");
    assert_eq!(json(&partial)["errors"], 2);
    let whole_path = host.path("tree").display().to_string();
    let from_root = as_plain_user(&format!("backup -r cert.pem --host here --set from-root --dry-run {whole_path}"));
    from_root.fails(3).says(&format!("cannot open {whole_path}/secret folder: "));
    let listed = json(&run(&mut host.offsite("list --json")).ok());
    assert_eq!((&listed[0]["status"], &listed[0]["errors"]), (&"partial".into(), &2.into()));

    as_plain_user("restore -k key.pem --into restored").ok();
    assert_eq!(names(host.path("restored/tree")), ["a", "secret folder", "z"]);
    assert_eq!(fs::read(host.path("restored/tree/z")).unwrap(), b"z");
    let folder = host.path("restored/tree/secret folder").metadata().unwrap();
    assert_eq!(folder.mode() & 0o7777, 0);
    fs::set_permissions(host.path("tree/secret folder"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// An empty mount point looks like a new store: the state knows better.
#[test]
fn another_store_than_before_is_told() {
    let host = host_with(&["a"]);
    run(&mut host.backup("tree")).ok().does_not_say("not to this store");
    fs::rename(host.path("store"), host.path("unmounted")).unwrap();
    run(&mut host.backup("tree")).ok().says("but not to this store: is it a new one, or");
    run(&mut host.backup("tree")).ok().does_not_say("not to this store");
}

/// What stands before a file's content may need several frames, and so may the content.
#[test]
fn attributes_longer_than_a_slice_come_back() {
    let host = host_with(&[]);
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { panic!("there is no /dev/shm") };
    let tree = memory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for (name, length) in [("small", 10), ("large", 12 << 20)] {
        fs::write(tree.join(name), noise(length, 7)).unwrap();
        for number in 0..45_u64 {
            let set =
                lsetxattr(tree.join(name), format!("user.{number}"), &noise(60 << 10, number + 1), XattrFlags::empty());
            if let Err(error) = set {
                println!("/dev/shm takes no such attributes: {error}: not tested");
                return;
            }
        }
    }
    run(host.backup("--slice-size 1M").arg(&tree)).ok();
    let restored = memory.path().join("restored");
    run(host.restore("--into").arg(&restored)).ok();
    assert_identical("-naHAXi", &tree, &restored.join(tree.strip_prefix("/").unwrap()));
}

/// A plain user reads once that the owners of others' files could not be set.
#[test]
fn a_plain_user_restores_what_belongs_to_others() {
    let host = host_with(&["a", "b", "c"]);
    if is_root() {
        run(Command::new("chown").args(["-R", "12345:12345"]).arg(host.path("tree"))).ok();
    }
    run(&mut host.backup("tree")).ok();
    copy_offsite(&host.path("offsite"));
    for open in [".", "key.pem", "tmp"] {
        fs::set_permissions(host.path(open), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new(host.path("offsite"));
    host.at(command.words("restore -k key.pem --into restored"));
    if !is_root() {
        // They are this user's own.
        run(&mut command).ok().does_not_say("owner");
        return;
    }
    command.uid(65534).gid(65534);
    let restored = run(&mut command).fails(3).says("owner and group of 4 entries could not be set: only root can");
    assert_eq!(restored.stderr.matches("owner and group").count(), 1, "{}", restored.story());
    assert_eq!(names(host.path("restored/tree")), ["a", "b", "c"]);
}

/// A root that is not there is an error of that path, not of the run.
#[test]
fn a_path_that_is_not_there_is_named() {
    let host = host_with(&["a"]);
    run(&mut host.backup("tree nowhere")).fails(3).says("cannot read nowhere: ");
    run(&mut host.restore("--into restored")).ok();
    assert_eq!(names(host.path("restored")), ["tree"]);
}

#[test]
fn a_hard_link_alone_comes_back_as_a_file() {
    let host = host_with(&["a folder/leader", "other"]);
    let large = noise(5 << 20, 3);
    host.write("tree/a folder/large", &large);
    fs::create_dir(host.path("tree/z")).unwrap();
    for name in ["leader", "large"] {
        fs::hard_link(host.path("tree/a folder").join(name), host.path("tree/z").join(name)).unwrap();
    }
    run(&mut host.backup("tree")).ok();
    run(&mut host.restore("--into restored tree/z")).ok();
    run(&mut host.restore("--tar chosen.tar tree/z/leader /tree/z/large/")).ok();
    run(&mut host.bash("mkdir untarred; tar -x -f chosen.tar -C untarred")).ok();
    for target in ["restored", "untarred"] {
        assert_eq!(names(host.path(target).join("tree")), ["z"]);
        assert_eq!(names(host.path(target).join("tree/z")), ["large", "leader"]);
        let restored = |name: &str| host.path(target).join("tree/z").join(name);
        assert_eq!(fs::read(restored("leader")).unwrap(), b"a folder/leader");
        assert!(fs::read(restored("large")).unwrap() == large, "{target}");
        assert_eq!(restored("leader").metadata().unwrap().nlink(), 1);
    }
    let written = run(&mut host.restore("--stdout tree/z/leader")).ok();
    assert_eq!(written.stdout, b"a folder/leader");
}

#[test]
fn a_choice_must_match_and_a_target_must_be_empty() {
    let host = host_with(&["a", "b/c"]);
    run(&mut host.backup("tree")).ok();
    run(&mut host.restore("--into restored tree/a tree/nowhere"))
        .fails(1)
        .one_error()
        .says("not in the backup: tree/nowhere");
    run(&mut host.restore("--into restored a")).fails(1).one_error();
    run(&mut host.restore("--stdout tree/b")).fails(2).one_error().says("no regular file");
    run(&mut host.restore("--stdout")).fails(2).one_error();
    run(&mut host.restore("--into no/such/folder")).fails(1).one_error().says("no/such/folder");
    assert!(!host.path("restored").exists());
    host.write("restored/mine", "mine");
    run(&mut host.restore("--into restored")).fails(1).one_error().says("restored is not empty").says("--overwrite");
    assert_eq!(names(host.path("restored")), ["mine"]);
    run(&mut host.restore("--into restored/mine")).fails(1).one_error();

    host.write("restored/tree/a", "A");
    host.write("restored/tree/theirs", "theirs");
    run(&mut host.restore("--overwrite --into restored")).ok();
    assert_eq!(names(host.path("restored/tree")), ["a", "b", "theirs"]);
    assert_eq!(fs::read(host.path("restored/tree/a")).unwrap(), b"a");
    assert_eq!(fs::read(host.path("restored/mine")).unwrap(), b"mine");
    host.write("out.tar", "mine");
    run(&mut host.restore("--tar out.tar")).fails(1).one_error().says("out.tar exists already");
    assert_eq!(fs::read(host.path("out.tar")).unwrap(), b"mine");
}

#[test]
fn a_killed_restore_is_finished_by_another() {
    let host = Host::new();
    for folder in 0..40 {
        (0..50)
            .for_each(|file| drop(host.write(&format!("tree/{folder}/{file}"), noise(3000, folder * 50 + file + 1))));
    }
    for large in 0..4 {
        host.write(&format!("tree/large {large}"), noise(4 << 20, large + 7));
    }
    run(&mut host.backup("tree")).ok();
    for round in 1..=5 {
        let mut restore = host.restore("--into restored");
        if round > 1 {
            restore.arg("--resume");
        }
        let mut restore = start(&mut restore);
        until("a file is there", || host.path("restored/tree").exists());
        thread::sleep(Duration::from_millis(20 * round));
        restore.kill().unwrap();
        restore.wait().unwrap();
    }
    let resumed = json(&run(&mut host.restore("--into restored --resume --json")).ok());
    assert!(resumed["kept"].as_u64().unwrap() > 0, "nothing was kept: {resumed}");
    assert_identical("-naHAXi", &host.path("tree"), &host.path("restored/tree"));
}
