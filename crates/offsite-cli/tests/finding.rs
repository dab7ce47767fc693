//! Finding last month's file: `find`, `diff`, and `--as-of`, as a person meets them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use serde_json::Value;
use support::host::{Host, json};
use support::{KeyPair, Run, Words, run};

/// Three backups: of twenty hours ago, of ten hours ago, and of this moment. Their receipts have these times; so that
/// the store's count, the clock that the host had must have run ahead. There is so much else in the tree that the index
/// of the first is full, and the others build on it.
fn three() -> Host {
    let host = Host::new();
    let script = r#"
        stored() { touch -d "$1" "$(find store/receipts -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)"; }
        backup() { "$OFFSITE" backup -r cert.pem --host here tree 2>/dev/null; }
        mkdir -p tree/sub tree/much
        for number in $(seq 800); do echo >"tree/much/else-$((number * number * 7919 % 1000003))"; done
        echo one >tree/changing; echo stays >tree/stays; echo soon >tree/sub/soon-gone
        ln -s one tree/link
        touch -d '2020-01-01 00:00:00 UTC' tree/changing tree/stays tree/sub/soon-gone
        sleep 2.5 # What is newer than that is read again by the next backup.
        backup; stored '20 hours ago'
        echo another >tree/changing; touch -d '2020-01-02 00:00:00 UTC' tree/changing
        ln -sfn another tree/link
        backup; stored '10 hours ago'
        rm tree/sub/soon-gone; echo new >tree/new; chmod 600 tree/stays
        backup"#;
    run(&mut host.bash(script)).ok();
    host
}

/// The ids, the oldest first.
fn ids(host: &Host) -> Vec<String> {
    host.backups().iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

fn text(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

#[track_caller]
fn found(host: &Host, line: &str) -> Vec<Value> {
    let mut find = host.offsite("find -k key.pem --json");
    json(&run(find.words(line)).ok()).as_array().unwrap().clone()
}

#[test]
fn each_version_is_told_with_the_backups_that_hold_it() {
    let host = three();
    let ids = ids(&host);
    let versions = found(&host, "changing");
    assert_eq!(versions.len(), 2, "{versions:?}");
    let [old, new] = [&versions[0], &versions[1]];
    assert_eq!((&old["path"], &old["size"], &old["kind"]), (&"tree/changing".into(), &4.into(), &"file".into()));
    assert_eq!(old["mtime"], "2020-01-01T00:00:00Z");
    assert_eq!((&old["first"]["id"], &old["last"]["id"]), (&ids[0].clone().into(), &ids[0].clone().into()));
    assert_eq!((&old["after"], &old["next"]["id"]), (&"changed".into(), &ids[1].clone().into()));
    assert_eq!((&old["host"], &old["set"], &old["backups"]), (&"here".into(), &"default".into(), &1.into()));
    assert_eq!((&new["size"], &new["backups"], &new["after"]), (&8.into(), &2.into(), &"there".into()));
    assert_eq!((&new["last"]["id"], &new["next"]), (&ids[2].clone().into(), &Value::Null));

    let gone = &found(&host, "/tree/sub/*")[0];
    assert_eq!((&gone["after"], &gone["backups"]), (&"gone".into(), &2.into()));
    assert_eq!((&gone["last"]["id"], &gone["next"]["id"]), (&ids[1].clone().into(), &ids[2].clone().into()));
    // What was found can be restored.
    let last = gone["last"]["id"].as_str().unwrap();
    run(&mut host.restore(&format!("--backup {last} --into found /tree/sub/soon-gone"))).ok();
    assert_eq!(fs::read(host.path("found/tree/sub/soon-gone")).unwrap(), b"soon\n");

    // Of permissions and links, too, there are versions.
    assert_eq!(found(&host, "stays").len(), 2);
    let targets: Vec<_> = found(&host, "link").iter().map(|version| version["target"].clone()).collect();
    assert_eq!(targets, ["one", "another"]);
    assert!(found(&host, "nothing-of-this-name").is_empty());
    let mut names: Vec<_> =
        found(&host, "* !sub !stays !much !else-*").iter().map(|version| version["path"].clone()).collect();
    names.dedup();
    assert_eq!(names, ["tree", "tree/changing", "tree/link", "tree/new", "tree/sub/soon-gone"]);
}

#[test]
fn people_read_a_line_for_each_version() {
    let host = three();
    let ids = ids(&host);
    let told = run(&mut host.offsite("find -k key.pem soon-gone link")).ok().says("origin not proven");
    let text = text(&told);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "here/default");
    assert!(lines[1].starts_with("FIRST BACKUP ") && lines[1].ends_with(" MODIFIED (UTC)       PATH"), "{text}");
    assert!(lines[2].starts_with(&format!("{}  {}        1  changed  lrwxrwxrwx ", ids[0], ids[0])), "{text}");
    assert!(lines[2].ends_with(" tree/link -> one"), "{text}");
    let expected = format!(
        "{}  {}        2  gone     -rw-r--r--             5  2020-01-01 00:00:00  tree/sub/soon-gone",
        ids[0], ids[1]
    );
    assert_eq!(lines[4], expected);
    assert_eq!(lines.len(), 5);
    let nothing = run(&mut host.offsite("find -k key.pem nothing-of-this-name")).ok();
    assert_eq!(nothing.stdout, b"");
}

#[test]
fn the_backup_of_a_time_is_listed_and_restored() {
    let host = three();
    let ids = ids(&host);
    let today = "$(date -u +%F)";
    // A day is meant to its end: the last backup began today, or it did when this test began.
    for (as_of, expected) in [
        ("$(date -u -d '15 hours ago' +%FT%TZ)", "one\n"),
        ("$(date -u -d '5 hours ago' +%FT%TZ)", "another\n"),
        (today, "another\n"),
        ("$(date -u -d '5 hours ago' +%FT%H:%M)", "another\n"),
        ("2100-01-01", "another\n"),
        ("'2100-01-01 00:00:00'", "another\n"),
    ] {
        let script = format!(
            r#"rm -rf restored; "$OFFSITE" restore -k key.pem --as-of {as_of} --into restored 2>/dev/null; cat restored/tree/changing"#
        );
        assert_eq!(text(&run(&mut host.bash(&script)).ok()), expected, "{as_of}");
    }
    let listed = |as_of: &str| {
        text(&run(&mut host.bash(&format!(r#""$OFFSITE" files -k key.pem --as-of {as_of} 2>/dev/null"#))).ok())
    };
    assert!(listed("$(date -u -d '5 hours ago' +%FT%TZ)").contains(" tree/sub/soon-gone\n"));
    assert!(listed(today).contains(" tree/new\n"), "a date is meant to its end");
    // Neither of the earlier ones holds it.
    let script = r#""$OFFSITE" find -k key.pem --as-of "$(date -u -d '5 hours ago' +%FT%TZ)" --json new 2>/dev/null"#;
    assert_eq!(json(&run(&mut host.bash(script)).ok()), Value::Array(Vec::new()));

    for command in ["files", "restore --dry-run", "find x"] {
        let early = run(&mut host.offsite(&format!("{command} -k key.pem --as-of 2020-01-01")));
        let early =
            early.fails(1).one_error().says("there is no backup of here/default from 2020-01-01T23:59:59Z or before");
        early.says(&format!("the oldest is {}, of ", ids[0])).says("hint: `offsite list` shows what there is");
    }
    let line = format!("files -k key.pem --as-of 2020-01-01 --backup {}", ids[0]);
    run(&mut host.offsite(&line)).fails(2).says("cannot be used with");
    run(&mut host.offsite("files -k key.pem --as-of yesterday")).fails(2).says("not a time such as");
}

#[test]
fn what_differs_between_two_backups_is_told() {
    let host = three();
    let ids = ids(&host);
    let diff = |line: &str| {
        let mut diff = host.offsite("diff -k key.pem");
        run(diff.words(line))
    };
    let (first, second) = (&ids[0], &ids[1]);
    let told = text(&diff(&format!("{first} latest /tree/changing /tree/new tree/sub/soon-gone tree/link")).ok());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("changed -rw-r--r-- "), "{told}");
    let was = "            8 2020-01-02 00:00:00 tree/changing (was: size 4, time 2020-01-01 00:00:00)";
    assert!(lines[0].ends_with(was), "{told}");
    assert!(lines[1].contains(" tree/link -> another (was: target one, time "), "{told}");
    assert!(lines[2].starts_with("added   -rw-r--r-- ") && lines[2].ends_with(" tree/new"), "{told}");
    assert!(lines[3].starts_with("removed -rw-r--r-- ") && lines[3].ends_with(" tree/sub/soon-gone"), "{told}");

    let changes = json(&diff(&format!("--json {second} {} tree/stays tree/new", ids[2])).ok());
    let [new, stays] = &changes.as_array().unwrap()[..] else { panic!("{changes}") };
    assert_eq!((&new["difference"], &new["old"], &new["new"]["size"]), (&"added".into(), &Value::Null, &4.into()));
    assert_eq!((&stays["difference"], &stays["changes"]), (&"changed".into(), &Value::from(vec!["mode"])));
    assert_eq!((&stays["old"]["mode"], &stays["new"]["mode"]), (&"0644".into(), &"0600".into()));

    // The other way round, and by times.
    let back = json(&diff(&format!("--json latest {second} tree/new")).ok());
    assert_eq!(back[0]["difference"], "removed");
    let none = diff("2100-01-01 latest").ok();
    assert_eq!(none.stdout, b"");
    assert_eq!(json(&diff(&format!("--json {second} {second}")).ok()), Value::Array(Vec::new()));
    diff("2020-01-01 latest").fails(1).one_error().says("the oldest is ");
    diff("latest latest absent").fails(1).says("not in the backup: absent");
    diff("latest").fails(2);
    diff("latest newest").fails(2).says("not an id, latest, or a time such as 2026-11-23, ");
    diff("latest 20200101T000000Z-00000000").fails(1).says("there is no backup here/default/20200101T000000Z");
}

#[test]
fn all_sets_are_searched_and_streams_too() {
    let host = three();
    let script = r#"
        "$OFFSITE" backup -r cert.pem --host here --set db --exec changing -- echo dump 2>/dev/null
        "$OFFSITE" backup -r cert.pem --host here --set db --exec changing -- echo dumb 2>/dev/null"#;
    run(&mut host.bash(script)).ok();
    let versions = found(&host, "changing");
    let sets: Vec<_> = versions.iter().map(|version| version["set"].clone()).collect();
    // Two dumps of one length are two versions.
    assert_eq!(sets, ["db", "db", "default", "default"]);
    assert_eq!((&versions[0]["kind"], &versions[0]["after"]), (&"stream".into(), &"changed".into()));
    assert_eq!(found(&host, "--set db *").len(), 2);
    let told = text(&run(&mut host.offsite("find -k key.pem changing")).ok());
    assert!(told.starts_with("here/db\nFIRST") && told.contains("\n\nhere/default\nFIRST"), "{told}");
    let script = r#""$OFFSITE" diff -k key.pem --set db "$("$OFFSITE" list --json --set db 2>/dev/null | grep -o '2[0-9]*T[0-9]*Z-[0-9a-f]*' | head -n 1)" latest 2>/dev/null"#;
    let dumps = text(&run(&mut host.bash(script)).ok());
    assert!(dumps.starts_with("changed stream ") && dumps.ends_with(" changing (was: other content)\n"), "{dumps}");
    run(&mut host.offsite("diff -k key.pem latest latest")).fails(2).says("hint: choose one with --host and --set");
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_searched() {
    let host = three();
    let ids = ids(&host);
    let index = host.path(format!("store/data/here/default/{}/index.p7m", ids[1]));
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(index, bytes).unwrap();
    let told = run(&mut host.offsite("find -k key.pem --json changing")).fails(4);
    let versions = json(&told);
    assert!(versions.as_array().unwrap().len() == 1 && versions[0]["last"]["id"] == ids[0].as_str(), "{versions}");
    let named = format!("{}/index.p7m: its SHA-256 is not the one", ids[1]);
    let which = format!("2 backups of here/default, {} to {}, cannot be searched", ids[1], ids[2]);
    told.one_error().says(&named).says(&which);
    run(&mut host.offsite(&format!("diff -k key.pem {} latest", ids[0]))).fails(4).one_error().says(&named);
    // A damaged receipt is no backup, and no obstacle.
    fs::write(host.path(format!("store/receipts/here/default/{}.p7s", ids[2])), "junk").unwrap();
    let told = run(&mut host.offsite("find -k key.pem changing")).fails(4).says(".p7s: it is not validly signed");
    assert!(text(&told).contains(" tree/changing\n"));
}

#[test]
fn what_the_key_does_not_open_is_told_and_the_rest_is_searched() {
    let host = three();
    let ids = ids(&host);
    let other = KeyPair::of("rsa2048");
    let mut later = host.offsite("backup --host here tree -r");
    run(later.arg(&other.cert).words("-r cert.pem")).ok();
    let find = |key: &std::path::Path| run(host.offsite("find --json stays -k").arg(key));
    let versions = json(&find(&host.path("key.pem")).ok());
    assert_eq!((&versions[1]["backups"], versions.as_array().unwrap().len()), (&2.into(), 2));
    let told = find(&other.both).fails(3);
    assert_eq!(json(&told)[0]["backups"], 1);
    let which = format!("the private key does not open 3 backups of here/default, {} to {}: ", ids[0], ids[2]);
    told.does_not_say("error").says(&which);
    let nothing = find(&KeyPair::of("p384").both).fails(1);
    nothing.one_error().says("hint: use the private key of a recipient that the backup was made for");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let host = three();
    run(&mut host.offsite("find -k key.pem")).fails(2).says("<GLOB>");
    run(&mut host.offsite("find -k key.pem [a")).fails(2).one_error().says("the pattern '[a' is wrong: unclosed");
    run(&mut host.offsite("find -k key.pem !x")).fails(2).one_error().says("hint: name what to look for");
    run(&mut host.offsite("find -k key.pem --host nobody x")).fails(1).one_error().says("no backup of the host nobody");
}
