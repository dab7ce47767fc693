//! The recovery script, run by dash with the programs that it names and no others, on backups made by
//! hand; the private key, which it leaves nowhere; and the page that says how to do without it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use offsite::archive::header::END;
use offsite::cms::keygen::{KeyType, NewKey};
use offsite::hashes::Sha256;
use offsite::index::{Entry, Inode, Kind, Place, Row};
use offsite::plan::Shape;
use offsite::recovery;
use support::made_by_hand::{HandMade, Member, bundle, chunks, id, lay, members_of, rows};
use support::recovery_desk::{
    Case, DELTA, Desk, FULL, KILLED, NEWEST, OpenSsl, fails, found, full, key, noise, same_tree, succeeds, tree,
};
use support::restores;

#[test]
fn a_full_backup_is_restored_for_every_kind_of_key() {
    let tree = tree();
    for (openssl, key_type) in [
        (OpenSsl::Stock, KeyType::Rsa2048),
        (OpenSsl::Stock, KeyType::P256),
        (OpenSsl::Next, KeyType::Rsa2048),
        (OpenSsl::Next, KeyType::P521),
    ] {
        let desk = Desk::new(openssl);
        let keys = [key(key_type, "everyday"), key(KeyType::P384, "failsafe")];
        let mut set = HandMade::new(&keys.each_ref().map(|key| key.certificate().clone()));
        let (_, expected) = full(&mut set, tree.path());
        for (number, key) in keys.iter().enumerate() {
            let private = desk.write("private key.pem", key.private_pem(None).unwrap().as_bytes());
            assert!(both_write(&desk, &private, &set, FULL) == expected, "{openssl:?}, key {number}");
        }
        let out = desk.restores(&desk.path("private key.pem"), &set.data(FULL));
        same_tree(tree.path(), &out);
    }
}

/// What the script writes, which must be what offsite writes.
#[track_caller]
fn both_write(desk: &Desk, private: &Path, set: &HandMade, backup: &str) -> Vec<u8> {
    let script = desk.writes(private, &set.data(backup));
    assert!(script == restores::writes(&set.store(), private, id(backup)).unwrap(), "the script and offsite differ");
    script
}

/// Members dead and alive in the slices of a killed run, a large file with chunks in an earlier
/// backup's frames, a hard link to an old file, three indexes, and a plan that is longer than a slice.
#[test]
fn a_chain_is_restored_from_the_frames_of_all_its_runs() {
    let desk = Desk::new(OpenSsl::Stock);
    let key = key(KeyType::P256, "key");
    let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
    let mut set = HandMade::new(&[key.certificate().clone()]);
    set.short_slices(100);

    let tree = tempfile::tempdir().unwrap();
    let path = |name: &str| tree.path().join(name);
    for number in 0..20 {
        fs::write(path(&format!("file {number:02}")), noise(700 * number, number as u64 + 1)).unwrap();
    }
    let mut content = noise(2_000_000, 99);
    fs::write(path("large"), &content).unwrap();
    let named = |members: &[Member], name: &str| {
        let name = format!("/{name}").into_bytes();
        members.iter().position(|member| member.entry.path.ends_with(&name)).unwrap()
    };

    // A killed run: the folder and 20 files in a bundle, and most of the large file.
    let mut old = members_of(tree.path());
    let large = old.remove(named(&old, "large"));
    let pieces = chunks(&large, 500_000);
    let frames = set.run(KILLED, &[vec![bundle(&old)], pieces[..3].to_vec()]);
    lay(&mut old, frames[0]);
    // The backup that went on from there.
    let own = set.run(FULL, &[[&pieces[3..], &[END.to_vec()]].concat()]);
    let end = own.last().unwrap().all();
    let mut full = old.clone();
    full.push(large.clone());
    full.last_mut().unwrap().entry.places =
        frames[1..].iter().chain(&own[..own.len() - 1]).map(|frame| frame.all()).collect();
    set.backup(FULL, None, rows(&full), Some(end));
    let expected = [&bundle(&old)[..], &large.tar, &END].concat();
    assert!(both_write(&desk, &private, &set, FULL) == expected, "the full backup differs");

    // A day later: files are gone, one has changed, and the third chunk of the large file.
    for number in [3, 4, 9] {
        fs::remove_file(path(&format!("file {number:02}"))).unwrap();
    }
    fs::write(path("file 12"), "changed").unwrap();
    content[1_200_000] ^= 1;
    fs::write(path("large"), &content).unwrap();
    let now = members_of(tree.path());
    let (mut folder, mut changed, mut large) =
        (now[0].clone(), now[named(&now, "file 12")].clone(), now[named(&now, "large")].clone());
    let pieces = chunks(&large, 500_000);
    let frames =
        set.run(DELTA, &[vec![bundle(&[folder.clone(), changed.clone()])], vec![pieces[0].clone(), pieces[3].clone()]]);
    let mut both = [folder.clone(), changed.clone()];
    lay(&mut both, frames[0]);
    [folder, changed] = both;
    large.entry.places = full.last().unwrap().entry.places.clone();
    (large.entry.places[0], large.entry.places[3]) = (frames[1].all(), frames[2].all());
    let gone = |number: usize| Row::Gone(old[named(&old, &format!("file {number:02}"))].entry.path.clone());
    let entry = |member: &Member| Row::Entry(member.entry.clone());
    let rows = vec![entry(&folder), gone(3), gone(4), gone(9), entry(&changed), entry(&large)];
    set.backup(DELTA, Some(FULL), rows, Some(end));
    let alive = |dead: &[usize]| {
        let dead: Vec<_> = dead.iter().map(|number| named(&old, &format!("file {number:02}"))).collect();
        let alive = old[1..].iter().zip(1..).filter(|(_, at)| !dead.contains(at));
        bundle(&alive.map(|(member, _)| member.clone()).collect::<Vec<_>>())
    };
    let expected = [&alive(&[3, 4, 9, 12])[..], &bundle(&[folder.clone(), changed.clone()]), &large.tar, &END].concat();
    assert!(both_write(&desk, &private, &set, DELTA) == expected, "the first delta differs");

    // And another: the last file is gone, and another has a second name.
    fs::remove_file(path("file 19")).unwrap();
    fs::hard_link(path("file 07"), path("link")).unwrap();
    let now = members_of(tree.path());
    let mut more = [now[0].clone(), now[named(&now, "file 07")].clone(), now[named(&now, "link")].clone()];
    let frames = set.run(NEWEST, &[vec![bundle(&more)]]);
    lay(&mut more, frames[0]);
    let rows = vec![entry(&more[0]), entry(&more[1]), gone(19), entry(&more[2])];
    set.backup(NEWEST, Some(DELTA), rows, Some(end));
    let expected = [&alive(&[3, 4, 7, 9, 12, 19])[..], &changed.tar, &large.tar, &bundle(&more), &END].concat();
    assert!(both_write(&desk, &private, &set, NEWEST) == expected, "the second delta differs");

    let plan = set.plan_of(id(NEWEST));
    assert!(plan.lines().any(|line| line.starts_with("cut ") && line.split(' ').count() > 10), "{plan}");
    assert!(set.data(NEWEST).join("plan-00000001.p7m").exists() && !set.receipt(KILLED).exists());
    let mut script = desk.script();
    script.arg("-s").arg(desk.write("signer.pem", set.signer_pem())).arg(set.receipt(NEWEST));
    let said = succeeds(script.arg(&private).arg(set.data(NEWEST)).arg("out"));
    tells_where_and_by_whom(&String::from_utf8_lossy(&said.stderr), &desk.path("signer.pem"));
    same_tree(tree.path(), &desk.path("out"));
    desk.is_tidy();
    restores::restores(&set.store(), &private, id(NEWEST), &desk.path("by offsite")).unwrap();
    same_tree(tree.path(), &desk.path("by offsite"));

    refuses_another_plan(&mut set, &private, &plan);
}

/// Nothing but that it is done, where what was restored lies, and that its origin is proven.
#[track_caller]
fn tells_where_and_by_whom(said: &str, signer: &Path) {
    let end = format!(" bytes, all verified, signed by the signer in {}\n", signer.display());
    assert!(said.starts_with("RECOVER.sh: done, in ./out: ") && said.ends_with(&end), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A plan that is well formed, sealed and signed, and not the one that follows from the index.
#[track_caller]
fn refuses_another_plan(set: &mut HandMade, private: &Path, plan: &str) {
    let lines: Vec<_> = plan.lines().collect();
    let cut = lines.iter().position(|line| line.starts_with("cut ")).unwrap();
    let shorter = lines[cut].rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap().0;
    let other = plan.replacen(lines[cut], shorter, 1);
    set.replace_plan(NEWEST, other.as_bytes());
    let failed = restores::writes(&set.store(), private, id(NEWEST)).unwrap_err();
    assert!(failed.is_damage(), "{failed}");
    assert!(failed.to_string().contains("the plan is not the one that follows from the index"), "{failed}");
}

#[test]
fn a_stream_is_restored_as_a_file_of_its_name() {
    let desk = Desk::new(OpenSsl::Next);
    let key = key(KeyType::Rsa2048, "key");
    let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
    let mut set = HandMade::new(&[key.certificate().clone()]);
    set.shape = Shape::Stream("db.sql".parse().unwrap());
    let content = noise(900_000, 5);
    let pieces: Vec<Vec<u8>> = content.chunks(250_000).map(<[u8]>::to_vec).collect();
    // Ten slices of a frame each, more than are kept, and all of them twice.
    let frames = set.run(FULL, &pieces.iter().cycle().take(12).map(|piece| vec![piece.clone()]).collect::<Vec<_>>());
    let places: Vec<_> = frames.iter().chain(&frames).map(|frame| frame.all()).collect();
    let twice = [&content[..], &content, &content].concat();
    let expected = [&twice[..], &twice].concat();
    set.backup(FULL, None, vec![stream_row("db.sql", expected.len() as u64, places)], None);
    assert!(both_write(&desk, &private, &set, FULL) == expected, "-t differs");
    let out = desk.restores(&private, &set.data(FULL));
    assert!(fs::read(out.join("db.sql")).unwrap() == expected, "the file differs");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);

    // Nothing at all is a stream, too.
    set.run(DELTA, &[]);
    set.backup(DELTA, None, vec![stream_row("db.sql", 0, Vec::new())], None);
    assert_eq!(both_write(&desk, &private, &set, DELTA), b"");
    fails(desk.script().arg(&private).arg(set.data(DELTA)).arg(&out), "is not empty");
}

fn stream_row(name: &str, size: u64, places: Vec<Place>) -> Row {
    let kind = Kind::Stream { size };
    let inode = Inode::default();
    Row::Entry(Entry { path: name.as_bytes().to_vec(), kind, inode, links: false, torn: false, places })
}

/// Runs it on a terminal of its own, where it is told this.
fn on_a_terminal(desk: &Desk, arguments: &str, typed: &str) -> Output {
    let input = fs::File::open(desk.write("typed", typed)).unwrap();
    let mut script = desk.command(&found("script"));
    let command = format!("{} RECOVER.sh {arguments}", found("dash").display());
    script.args(["--quiet", "--return", "--echo", "never", "--command", &command, "/dev/null"]).stdin(input);
    script.env("SHELL", found("dash")).output().unwrap()
}

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn the_passphrase_is_asked_for_once() {
    let case = Case::new(OpenSsl::Stock);
    let mut set = HandMade::new(&[key(KeyType::P256, "key").certificate().clone()]);
    for key_type in [KeyType::P384, KeyType::Rsa2048] {
        let key = key(key_type, "with a passphrase");
        set = HandMade::new(&[key.certificate().clone()]);
        full(&mut set, case.tree.path());
        case.desk.write("locked.pem", key.private_pem(Some(PASSPHRASE.as_bytes())).unwrap().as_bytes());
        let arguments = format!("locked.pem {} out", set.data(FULL).display());
        let refused = on_a_terminal(&case.desk, &arguments, "wrong\n");
        let said = String::from_utf8_lossy(&refused.stdout);
        assert!(!refused.status.success() && said.contains("cannot unlock the private key in ./locked.pem"), "{said}");
        let done = on_a_terminal(&case.desk, &arguments, &format!("{PASSPHRASE}\n"));
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.matches("pass phrase").count() == 1, "{said}");
        assert!(!said.contains(PASSPHRASE), "{said}");
        same_tree(case.tree.path(), &case.desk.path("out"));
        fs::remove_dir_all(case.desk.path("out")).unwrap();
        case.desk.is_tidy();
    }
    drop(set);
}

/// Puts a program before each tool, which notes its arguments and environment, and becomes the tool.
fn spy(desk: &Desk) {
    let bin = desk.path("bin");
    fs::create_dir(desk.path("real")).unwrap();
    for tool in fs::read_dir(&bin).unwrap().map(Result::unwrap) {
        let (path, real) = (tool.path(), desk.path("real").join(tool.file_name()));
        fs::rename(&path, &real).unwrap();
        let note = format!(
            "#!{}\n{} /proc/$$/cmdline /proc/$$/environ >>{}\nexec {} \"$@\"\n",
            found("dash").display(),
            found("cat").display(),
            desk.path("notes").display(),
            real.display()
        );
        fs::write(desk.path("note"), note).unwrap();
        // What this process has open to write is open in every child, too, that another test starts just then, and
        // cannot be run until that is gone.
        assert!(Command::new("cp").arg(desk.path("note")).arg(&path).status().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What must be nowhere: the passphrase, and the private key as PEM and as bytes.
fn secrets(key: &NewKey) -> Vec<Vec<u8>> {
    let pem = key.private_pem(None).unwrap();
    let body = pem.lines().skip(1).take_while(|line| !line.starts_with('-'));
    let mut secrets: Vec<_> = body.filter(|line| line.len() > 20).map(|line| line.as_bytes().to_vec()).collect();
    assert!(secrets.len() >= 2, "{} lines", secrets.len());
    secrets.push(PASSPHRASE.as_bytes().to_vec());
    secrets
}

#[track_caller]
fn holds_none(bytes: &[u8], secrets: &[Vec<u8>], what: &str) {
    for secret in secrets {
        let found = bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "{what} holds {}", String::from_utf8_lossy(secret));
    }
}

/// The processes of a group: what each was started with.
fn processes(group: u32) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let of_group = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(2)) == Some(&group.to_string());
        if of_group && entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            found.push((entry.path(), [read("cmdline"), read("environ")].concat()));
        }
    }
    found
}

/// The files in the temporary folder, and what they hold.
fn temporary(desk: &Desk) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = fs::read_dir(desk.path("temp")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn the_private_key_is_nowhere_to_be_found() {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let case = Case::new(OpenSsl::Stock);
    let key = key(KeyType::Rsa2048, "key");
    let mut set = HandMade::new(&[key.certificate().clone()]);
    full(&mut set, case.tree.path());
    let (secrets, desk) = (secrets(&key), &case.desk);
    let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
    desk.write("locked.pem", key.private_pem(Some(PASSPHRASE.as_bytes())).unwrap().as_bytes());
    spy(desk);
    let done = on_a_terminal(desk, &format!("locked.pem {} out", set.data(FULL).display()), &format!("{PASSPHRASE}\n"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let notes = fs::read(desk.path("notes")).unwrap();
    let count = |words: &[u8]| notes.windows(words.len()).filter(|window| *window == words).count();
    assert!(count(b"-inkey\0/dev/stdin\0-recip\0") == 3 && count(b"TMPDIR=") > 20, "the notes are not complete");
    holds_none(&notes, &secrets, "a program's arguments or environment");

    // Nobody reads what it writes, so that it stands still in the middle; then it is ended.
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::KILL] {
        // A shell cannot trap what was ignored before it, as in what runs under nohup.
        let mut script = desk.command(&found("env"));
        script.arg("--default-signal=HUP,INT,TERM").arg(found("dash")).arg("RECOVER.sh");
        // A variable that is exported stays so; none of the script's may be.
        script.env("private_key", "x").env("public_key", "x").env("key", "x");
        script.arg("-t").arg(&private).arg(set.data(FULL)).stdout(Stdio::piped()).process_group(0);
        let mut child = script.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let stalled = || temporary(desk).iter().any(|(path, _)| path.ends_with("slice-1"));
        for wait in 0.. {
            assert!(wait < 600, "it does not get there");
            std::thread::sleep(std::time::Duration::from_millis(50));
            if stalled() {
                break;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        let running = processes(child.id());
        assert!(running.len() >= 3, "{running:?}");
        for (path, contents) in running.iter().chain(&temporary(desk)) {
            holds_none(contents, &secrets, &path.display().to_string());
        }
        if signal == Signal::KILL {
            kill_process_group(pid, signal).unwrap();
        } else {
            kill_process(pid, signal).unwrap();
        }
        let status = child.wait().unwrap();
        let left = temporary(desk);
        if signal == Signal::KILL {
            assert!(left.len() > 2, "{left:?}");
            left.iter().for_each(|(path, contents)| holds_none(contents, &secrets, &path.display().to_string()));
        } else {
            assert_eq!(status.code(), Some(128 + signal.as_raw()));
            desk.is_tidy();
            assert_eq!(processes(child.id()).len(), 0, "{signal:?} leaves processes behind");
        }
    }
    holds_none(&fs::read(desk.path("notes")).unwrap(), &secrets, "a program's arguments or environment");
}

const PAGE: &str = include_str!("../../../docs/restore-by-hand.md");

/// The page's commands, as they stand there.
fn commands() -> Vec<&'static str> {
    let blocks = PAGE.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```\n").unwrap().0);
    blocks.collect()
}

#[test]
fn the_page_does_what_it_says() {
    let case = Case::new(OpenSsl::Stock);
    let desk = &case.desk;
    let values = [
        ("PRIVATE", "private.pem"),
        ("SCRIPT", "RECOVER.sh"),
        ("SIGNER", "signer.pem"),
        ("HOST", "web-1"),
        ("SET", "default"),
        ("BACKUP", FULL),
    ];
    for name in ["data", "receipts"] {
        symlink(case.set.store().join(name), desk.path(name)).unwrap();
    }
    // `sh` is the only program that the page needs beside the script's.
    symlink(found("dash"), desk.path("bin/sh")).unwrap();
    let commands = commands();
    let (variables, commands) = commands.split_first().unwrap();
    let named: Vec<&str> = variables.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(named, values.map(|(name, _)| name));
    assert_eq!(commands.len(), 10);
    let values: String = values.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let text = format!("set -eu\n{values}{}\n", commands.join("\n"));
    let done = succeeds(desk.command(&found("dash")).arg("-c").arg(&text));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("plan.p7m: OK") && said.contains(&format!("{FULL}/slice-00000000.p7m: OK")), "{said}");
    assert!(said.contains(&format!("end {0}\n{0}\n", case.expected.len())), "{said}");
    for words in ["algorithm: aes-256-gcm", "INTEGER           :10", "mac:"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(fs::read(desk.path("backup.tar")).unwrap() == case.expected, "the tar differs");
    same_tree(case.tree.path(), &desk.path("restored"));
    same_tree(case.tree.path(), &desk.path("by-hand"));
}

#[test]
fn the_page_has_the_hash_of_the_script() {
    let hash = Sha256::of(recovery::SCRIPT.as_bytes()).to_string();
    assert!(PAGE.contains(&format!("\n  `{hash}`\n")), "RECOVER.sh has changed: its SHA-256 is {hash}");
}

#[test]
fn wrong_usage_is_told() {
    let case = Case::new(OpenSsl::Stock);
    let backup = case.set.data(FULL);
    let usage = |arguments: &[&str]| {
        let output = case.desk.script().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: sh RECOVER.sh"), "{output:?}");
    };
    usage(&[]);
    usage(&["-h"]);
    usage(&["private.pem", "x"]);
    usage(&["private.pem", "x", "y", "z"]);
    usage(&["-t", "private.pem", "x", "y"]);
    usage(&["-s", "signer.pem"]);
    let mut elsewhere = case.script_for(&case.private, case.desk.folder.path());
    fails(&mut elsewhere, "is not named .../HOST/SET/BACKUP");
    fails(&mut case.script_for(&case.private, &case.desk.path("none")), "cannot enter the backup's folder");
    // From within the folder.
    let mut within = case.desk.command(&found("dash"));
    within.current_dir(&backup).arg(case.desk.path("RECOVER.sh")).arg("-t").arg(&case.private).arg(".");
    assert!(succeeds(&mut within).stdout == case.expected);
    fs::remove_file(case.desk.path("bin/zstd")).unwrap();
    fails(&mut case.script(), "missing: zstd");
}
