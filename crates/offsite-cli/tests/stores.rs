//! The commands that read stores, as people and scripts meet them: words, JSON, exit codes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../offsite/tests/support/small_store.rs"]
mod small_store;
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use offsite::cms::signed_data::SigningKey;
use offsite::receipt::Receipt;
use serde_json::Value;
use small_store::{Item, SmallStore, Spec, file, fingerprint, name, noise, other_rsa, p256, rsa, signer};
use support::{Run, Words, bash, run};

const IDS: [&str; 3] = ["20200101T000000Z-00000001", "20200102T000000Z-00000002", "20200103T000000Z-00000003"];

fn web(id: &str) -> String {
    format!("web-1/default/{id}")
}

/// The binary, without what the tester's own environment says of stores.
fn offsite(line: &str) -> Command {
    let mut command = support::offsite(line);
    command.env_remove("OFFSITE_STORE").env_remove("OFFSITE_SIGNERS");
    command
}

fn list(store: &SmallStore, options: &str) -> Run {
    run(offsite("list").words(options).arg("--from").arg(store.path()))
}

fn key(store: &SmallStore, name: &str, pem: &str) -> PathBuf {
    let path = store.beside().join(name);
    fs::write(&path, pem).unwrap();
    path
}

fn files(store: &SmallStore, options: &str) -> Run {
    let key = key(store, "key.pem", &rsa().pem);
    run(offsite("files -k").arg(key).arg("--from").arg(store.path()).words(options))
}

#[track_caller]
fn json(run: &Run) -> Vec<Value> {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.story()))
}

fn text(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

/// A host's certificate, as a file to pin.
fn pin(store: &SmallStore, name: &str, signer: &SigningKey) -> String {
    let path = store.beside().join(name);
    fs::write(&path, signer.certificate().to_pem()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn backups_are_listed_for_people_and_for_programs() {
    let store = SmallStore::new();
    let signer = signer("web-1");
    let edit = |receipt: &mut Receipt| receipt.counts.errors = 1;
    store.backup(&Spec::new(&web(IDS[1]), &signer));
    let made = store.backup(&Spec { edit: &edit, ..Spec::new(&web(IDS[0]), &signer) });
    store.backup(&Spec::new(&format!("db/more/{}", IDS[2]), &signer));
    store.stored(&name(&web(IDS[0])), name(&web(IDS[1])).backup.start());

    let listed = list(&store, "").ok().says("offsite: warning: origin not proven: without --signer");
    let table = text(&listed);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert_eq!(rows[0], "HOST SET BACKUP START (UTC) STATUS FILES SIZE STORED ORIGIN".split(' ').collect::<Vec<_>>());
    assert_eq!(rows[1][..3], ["db", "more", IDS[2]]);
    let start = ["2020-01-01", "00:00:00", "partial", "1", "13", "B"];
    assert_eq!(rows[2][..9], [&["web-1", "default", IDS[0]], &start[..]].concat()[..]);
    assert_eq!((rows[2][10], rows[2][11]), ("KiB", "unproven"));
    assert_eq!(rows[3][..6], ["web-1", "default", IDS[1], "2020-01-02", "00:00:00", "complete"]);

    let all = json(&list(&store, "--json").ok());
    assert_eq!(all.len(), 3);
    let first = serde_json::json!({
        "id": IDS[0], "host": "web-1", "set": "default", "time": "2020-01-01T00:00:00Z", "end": "2020-01-01T00:01:00Z",
        "stored": "2020-01-02T00:00:00Z", "status": "partial", "hidden": false, "given": "files", "files": 1, "folders": 0, "others": 0,
        "bytes": 13, "stored_bytes": made.receipt.stored_bytes(), "errors": 1,
        "signer": fingerprint(&signer).to_string(), "origin": "unproven",
    });
    assert_eq!(all[1], first);
    assert_eq!(json(&list(&store, "--json --host db").ok()).len(), 1);
    list(&store, "--host nobody").fails(1).one_error().says("there is no backup of the host nobody");
    let empty = list(&SmallStore::new(), "--json").ok();
    assert_eq!(text(&empty), "[]\n");
}

#[test]
fn a_store_and_signers_come_from_the_environment_as_well() {
    let store = SmallStore::new();
    let signer = signer("web-1");
    store.backup(&Spec::new(&web(IDS[0]), &signer));
    pin(&store, "web-1.pem", &signer);
    let folder = store.beside().to_str().unwrap().to_owned();
    // Of the store itself, which lies in the same folder, no pin comes.
    let listed =
        run(offsite("list --json").env("OFFSITE_STORE", store.path()).env("OFFSITE_SIGNERS", format!("\n {folder}\n")));
    assert_eq!(json(&listed.ok().does_not_say("warning"))[0]["origin"], "proven");
    // An option counts instead of it.
    let option = format!("--json --host web-1 --signer sha256:{}", "0".repeat(64));
    let other = run(offsite("list").words(&option).env("OFFSITE_STORE", store.path()).env("OFFSITE_SIGNERS", &folder));
    assert_eq!(
        json(&other.fails(4).one_error().says("its signer is not trusted for this host"))[0]["origin"],
        "untrusted"
    );
    run(&mut offsite("list")).fails(2).one_error().says("--from <STORE>");
    run(&mut offsite("list --from s3://key:secret@bucket"))
        .fails(2)
        .one_error()
        .says("no password or access key")
        .does_not_say("secret");
    run(&mut offsite("list --from /nonexistent/store")).fails(1).one_error().says("there is no such directory");
    list(&store, "--signer sha256:12 --host web-1").fails(2).says("a fingerprint is sha256:");
    list(&store, "--signer sha256:12").fails(2).says("there may be several").says("hint: name the host with --host");
}

#[test]
fn damage_is_said_and_the_rest_is_listed() {
    let store = SmallStore::new();
    let signer = signer("web-1");
    for id in IDS {
        store.backup(&Spec::new(&web(id), &signer));
    }
    let receipt = |id: &str| store.object(&format!("receipts/{}.p7s", web(id)));
    fs::copy(receipt(IDS[0]), receipt(IDS[1])).unwrap();
    let expected = format!("offsite: error: receipts/{}.p7s: it is the receipt of {}", web(IDS[1]), web(IDS[0]));
    let listed = list(&store, "--json").fails(4).one_error().says(&expected);
    assert_eq!(json(&listed).len(), 2);
    // The latest backup is whole; and yet something is wrong.
    let whole = files(&store, "").fails(4).one_error().says(&expected);
    assert!(text(&whole).ends_with(" a\n"), "{}", whole.story());
    files(&store, &format!("--backup {}", IDS[1])).fails(4).one_error().says(&expected);
    // What else goes wrong is said as well.
    files(&store, "absent").fails(4).says(&expected).says("not in the backup: absent");
}

#[test]
fn files_are_listed_as_ls_does() {
    let store = SmallStore::new();
    let signer = signer("web-1");
    let link = Item::Symlink("b/link\n".to_owned(), b"a".to_vec());
    let first = store.backup(&Spec { items: vec![file("a", "12345"), link], ..Spec::new(&web(IDS[0]), &signer) });
    let items = vec![file("b/new", "")];
    store.backup(&Spec { items, base: Some(&first), ..Spec::new(&web(IDS[1]), &signer) });
    let all = [
        "-rw-r--r--     0  1000            5 2020-01-01 00:00:00 a",
        "lrw-r--r--     0  1000            1 2020-01-01 00:00:00 \"b/link\\n\" -> a",
        "-rw-r--r--     0  1000            0 2020-01-01 00:00:00 b/new",
    ];
    let lines = |options: &str| text(&files(&store, options).ok().says("origin not proven"));
    assert_eq!(lines(""), format!("{}\n", all.join("\n")));
    assert_eq!(lines("--backup latest /b/"), format!("{}\n{}\n", all[1], all[2]));
    assert_eq!(lines(&format!("--backup {}", IDS[0])), format!("{}\n{}\n", all[0], all[1]));
    let missing = files(&store, "a nothing").fails(1).one_error().says("not in the backup: nothing");
    assert_eq!(text(&missing), format!("{}\n", all[0]));

    let report = json(&files(&store, "--json").ok());
    assert_eq!(report.len(), 3);
    assert_eq!(
        report[1],
        serde_json::json!({
            "path": "b/link\n", "kind": "symlink", "mode": "0644", "uid": 0, "gid": 1000,
            "mtime": "2020-01-01T00:00:00Z", "target": "a",
        })
    );
    assert!(json(&files(&store, "--json nothing").fails(1)).is_empty());
}

#[test]
fn it_is_said_which_backup_or_key_is_missing() {
    let store = SmallStore::new();
    files(&store, "").fails(1).one_error().says("there is no backup in the store");
    // Also where nobody looks at a terminal: a mistyped prefix of a bucket is no other than a new store.
    let listed = run(offsite("list --from").arg(store.path())).ok();
    let none = format!("offsite: warning: {}: there is no backup in the store\n", store.path().display());
    assert_eq!((text(&listed).as_str(), listed.stderr.as_str()), ("", none.as_str()));
    let signer = signer("web-1");
    store.backup(&Spec::new(&web(IDS[0]), &signer));
    files(&store, &format!("--backup {}", IDS[1])).fails(1).says(&format!("there is no backup {}", web(IDS[1])));
    files(&store, "--backup yesterday").fails(2).says("is no id of a backup");
    for pair in [other_rsa(), p256()] {
        let key = key(&store, "other.pem", &pair.pem);
        let opened = run(offsite("files --from").arg(store.path()).arg("-k").arg(key));
        let opened = opened.fails(1).one_error().says("/index.p7m: the message is not encrypted to this key");
        assert!(opened.stdout.is_empty());
    }
    store.backup(&Spec::new(&format!("db/default/{}", IDS[0]), &signer));
    let both = "the store holds backups of 2 sets: db/default, web-1/default";
    files(&store, "").fails(2).one_error().says(both).says("hint: choose one with --host and --set");
    files(&store, "--host db").ok();
}

#[test]
fn a_second_signer_is_refused_until_one_is_pinned() {
    let store = SmallStore::new();
    let (good, evil) = (signer("web-1"), signer("web-1"));
    store.backup(&Spec::new(&web(IDS[0]), &good));
    store.backup(&Spec { items: vec![file("evil", "")], ..Spec::new(&web(IDS[1]), &evil) });
    let both = format!(
        "the backups of web-1/default are of several signers: {} from 2020-01-01T00:00:00Z to 2020-01-01T00:00:00Z, {} from",
        fingerprint(&good),
        fingerprint(&evil)
    );
    list(&store, "").ok().says(&format!("offsite: warning: {both}"));
    files(&store, "").fails(4).one_error().says(&both).says("hint: say with --signer");
    let pinned = format!("--host web-1 --signer {}", pin(&store, "good.pem", &good));
    let untrusted =
        format!("receipts/{}.p7s: its signer is not trusted for this host: {}", web(IDS[1]), fingerprint(&evil));
    let listed = files(&store, &pinned).fails(4).one_error().says(&untrusted).does_not_say("origin");
    assert!(text(&listed).ends_with(" a\n"), "{}", listed.story());
    files(&store, &format!("{pinned} --backup {}", IDS[0])).ok();
    files(&store, &format!("{pinned} --backup {}", IDS[1])).fails(4).one_error().says(&untrusted);
}

#[test]
fn a_damaged_index_lists_nothing_beyond_the_damage() {
    let store = SmallStore::new();
    let signer = signer("web-1");
    let items = (0..50).map(|number| Item::Symlink(format!("link {number:02}"), noise(60_000, number))).collect();
    store.backup(&Spec { items, ..Spec::new(&web(IDS[0]), &signer) });
    let last = store.object(&format!("data/{}/index-00000002.p7m", web(IDS[0])));
    fs::write(&last, &fs::read(&last).unwrap()[1..]).unwrap();
    let listed = files(&store, "--json").fails(4).one_error().says("/index-00000002.p7m: it is ");
    assert!(serde_json::from_slice::<Value>(&listed.stdout).is_err(), "the list passes for a whole one");
    let lines = files(&store, "").fails(4).stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..50).contains(&lines), "{lines}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let store = SmallStore::new();
    let signer = signer("web-1");
    let items = (0..50).map(|number| Item::Symlink(format!("link {number:02}"), noise(60_000, number))).collect();
    store.backup(&Spec { items, ..Spec::new(&web(IDS[0]), &signer) });
    let key = key(&store, "key.pem", &rsa().pem);
    for (command, lines) in [("files -k \"$key\"", 3), ("files --json -k \"$key\"", 3), ("list", 0)] {
        let line =
            format!("set -o pipefail; \"$offsite\" {command} --from \"$store\" 2>errors | head -n {lines}; echo $?");
        let mut command = bash(&line);
        command.env("offsite", env!("CARGO_BIN_EXE_offsite")).env("key", &key).env("store", store.path());
        let piped = run(command.current_dir(store.beside()).stdin(Stdio::null())).ok();
        assert!(text(&piped).ends_with("\n0\n") || lines == 0 && text(&piped) == "0\n", "{}", piped.story());
        let errors = fs::read_to_string(store.beside().join("errors")).unwrap();
        assert!(errors.lines().all(|line| line.starts_with("offsite: warning: origin not proven")), "{errors}");
    }
}
