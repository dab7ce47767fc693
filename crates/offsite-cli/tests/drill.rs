//! `offsite drill` on real backups of several hosts and sets: what it proves, what it does not, and that its
//! report says so.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use support::host::{Host, json};
use support::{KeyPair, Run, Words, check_all, read, run};

const PASSPHRASE: &str = "of the other key";

/// Three sets of two hosts, for two recipients: `key.pem`, and `other.pem`, which has a passphrase. `here/default` is
/// a tree with a large file and hard links, of two runs; `here/db` a stream.
fn backed_up() -> Host {
    let host = Host::new();
    let other = KeyPair::of("p384");
    fs::copy(&other.cert, host.path("other-cert.pem")).unwrap();
    let script = r#"
        openssl pkcs8 -topk8 -v2 aes-256-cbc -in "$OTHER" -passout "pass:$PASSPHRASE" -out other.pem
        cat other-cert.pem >>other.pem
        echo "$PASSPHRASE" >passphrase
        mkdir tree signers
        head -c 3500000 /dev/urandom >tree/large
        for file in {1..40}; do echo "$file" >"tree/$file"; done
        ln tree/1 tree/link
        ln -s 1 tree/symlink
        backup() { "$OFFSITE" backup -r cert.pem -r other-cert.pem --slice-size 1M "$@" 2>/dev/null; }
        backup --host here tree
        head -c 300000 /dev/urandom >tree/new
        backup --host here tree
        backup --host here --set db --exec db.sql -- head -c 1500000 tree/large
        OFFSITE_SIGNING_KEY=$PWD/there.pem backup --host there tree/1
        openssl x509 -in signing-key.pem -out signers/here.pem
        openssl x509 -in there.pem -out signers/there.pem"#;
    run(host.bash(script).env("OTHER", &other.both).env("PASSPHRASE", PASSPHRASE)).ok();
    host
}

fn drill(host: &Host, line: &str) -> Command {
    let mut command = host.offsite("drill -k key.pem");
    command.words(line);
    command
}

/// Of a script in the host's folder.
#[track_caller]
fn printed(host: &Host, script: &str) -> String {
    String::from_utf8(run(&mut host.bash(script)).ok().stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn markdown(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

/// What a report says of a set.
#[track_caller]
fn of<'r>(report: &'r Value, host: &str, set: &str) -> &'r Value {
    let mut all = report["backups"].as_array().unwrap().iter();
    all.find(|backup| (&backup["host"], &backup["set"]) == (&host.into(), &set.into())).unwrap()
}

fn failures(backup: &Value) -> Vec<&str> {
    backup["failures"].as_array().unwrap().iter().map(|failure| failure["text"].as_str().unwrap()).collect()
}

/// The cells of the table's row of a set.
#[track_caller]
fn row<'m>(markdown: &'m str, host: &str, set: &str) -> Vec<&'m str> {
    let row = markdown.lines().find(|line| line.starts_with(&format!("| `{host}` | `{set}` |"))).unwrap();
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn a_full_drill_restores_all_and_its_report_is_right() {
    let host = backed_up();
    let before = printed(&host, "find store -printf '%p %T@\n' | sort");
    let silent = run(&mut drill(&host, "--signer signers --report drills/")).ok().does_not_say("offsite");
    assert!(silent.stdout.is_empty());
    assert_eq!(printed(&host, "find store -printf '%p %T@\n' | sort"), before);

    let mut files: Vec<_> = fs::read_dir(host.path("drills")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let [as_json, as_markdown] = &files[..] else { panic!("{files:?}") };
    let date = as_json.file_stem().unwrap().to_str().unwrap();
    assert!(as_markdown.ends_with(format!("{date}.md")) && date.starts_with("drill-20") && date.ends_with('Z'));
    let (report, markdown) = (json_of(&read(as_json)), String::from_utf8(read(as_markdown)).unwrap());

    assert_eq!(
        (&report["result"], &report["extent"], &report["pinned"]),
        (&"passed".into(), &"full".into(), &true.into())
    );
    assert_eq!(report["offsite"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["time"].as_str().unwrap().replace(['-', ':'], ""), date.strip_prefix("drill-").unwrap());
    assert_eq!(report["store"], host.path("store").to_str().unwrap());
    assert_eq!(report["backups"].as_array().unwrap().len(), 3);
    let listed = json(&run(&mut host.offsite("list --json")).ok());
    for (name, set) in [("here", "default"), ("here", "db"), ("there", "default")] {
        let one = of(&report, name, set);
        let mut of_set =
            listed.as_array().unwrap().iter().filter(|backup| backup["host"] == name && backup["set"] == set);
        let latest = of_set.next_back().unwrap();
        for same in ["id", "time", "end", "status", "files", "bytes", "signer"] {
            assert_eq!(one[same], latest[same], "{name}/{set}: {same}");
        }
        let options = format!("-k key.pem --host {name} --set {set}");
        let entries = json(&run(&mut host.offsite(&format!("files --json {options}"))).ok());
        assert_eq!(one["entries"], entries.as_array().unwrap().len(), "{name}/{set}");
        let how = if set == "db" { "--stdout" } else { "--tar -" };
        let restored = run(&mut host.offsite(&format!("restore {options} {how}"))).ok().stdout.len();
        assert_eq!((&one["restored_bytes"], &one["lost"]), (&restored.into(), &0.into()), "{name}/{set}");
        let receipt =
            format!("sha256sum store/receipts/{name}/{set}/{}.p7s | cut -d' ' -f1", one["id"].as_str().unwrap());
        assert_eq!(one["receipt_sha256"], printed(&host, &receipt));
        assert_eq!(
            (&one["signature"], &one["origin"], &one["result"]),
            (&"verified".into(), &"proven".into(), &"passed".into())
        );
        assert_eq!(one["signer"], fingerprint(&host, &format!("signers/{name}.pem")));
        assert!(one["objects"].as_u64().unwrap() > 4 && one["stored_bytes"].as_u64() > Some(1000));
        assert!(one["bytes_per_second"].as_u64() > Some(0) && one["seconds"].as_f64() > Some(0.0));
        assert_eq!((&one["restored_by"], &one["failures"]), (&"key.pem".into(), &Value::Array(Vec::new())));

        let cells = row(&markdown, name, set);
        assert_eq!(cells[2..6], [one["id"].as_str().unwrap(), "complete", "passed", &one["entries"].to_string()]);
        assert_eq!(cells[10], "1 of 2");
        for told in ["id", "signer", "receipt_sha256"] {
            assert!(markdown.matches(one[told].as_str().unwrap()).count() >= 1, "{told}");
        }
        recipients_are_right(&host, one);
    }
    assert!(markdown.contains("- Result: 3 of 3 backups passed\n"));
    assert!(markdown.contains("opened by the key of `CN=p384`: see"), "{markdown}");
    assert!(!markdown.contains("tree/") && !markdown.contains("origin:"), "{markdown}");
}

fn json_of(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[track_caller]
fn fingerprint(host: &Host, certificate: &str) -> String {
    printed(host, &format!("echo sha256:$(openssl x509 -in {certificate} -outform DER | sha256sum | cut -d' ' -f1)"))
}

/// The first key's recipient is proven, and the other one is not.
#[track_caller]
fn recipients_are_right(host: &Host, backup: &Value) {
    let recipients = backup["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 2);
    for (file, name, proven) in [("cert.pem", "CN=p256", true), ("other-cert.pem", "CN=p384", false)] {
        let fingerprint = fingerprint(host, file);
        let recipient = recipients.iter().find(|recipient| recipient["fingerprint"] == fingerprint).unwrap();
        assert_eq!((&recipient["name"], &recipient["proven"]), (&name.into(), &proven.into()));
        let expires =
            printed(host, &format!("date -u -d \"$(openssl x509 -in {file} -noout -enddate | cut -d= -f2)\" +%FT%TZ"));
        assert_eq!(recipient["expires"], expires);
    }
}

#[test]
fn a_quick_drill_proves_every_key_and_not_the_data() {
    let host = backed_up();
    let both = "-k other.pem --passphrase-file passphrase --quick --signer signers";
    let report = json(&run(&mut drill(&host, &format!("{both} --json"))).ok().does_not_say("offsite"));
    assert_eq!((&report["extent"], &report["result"]), (&"quick".into(), &"passed".into()));
    for backup in report["backups"].as_array().unwrap() {
        let proven: Vec<_> = backup["recipients"].as_array().unwrap().iter().map(|one| &one["proven"]).collect();
        assert_eq!(proven, [true, true]);
        assert_eq!((&backup["entries"], &backup["restored_bytes"]), (&Value::Null, &Value::Null));
    }
    // Receipt, recipients; two lists, two indexes, a plan; two slices.
    assert_eq!(of(&report, "here", "default")["objects"], 9);
    assert_eq!(of(&report, "there", "default")["objects"], 6);

    let told = markdown(&run(&mut drill(&host, both)).ok());
    assert!(told.contains("that all data are there and right: a quick drill does not read them"), "{told}");
    assert_eq!((row(&told, "here", "default")[10], row(&told, "here", "db")[5]), ("2 of 2", "-"));

    // A bit of the longest slice: that is for a full drill to find.
    let flip = r#"
        slice=$(ls -S store/data/here/default/*/slice-*.p7m | head -n 1)
        printf "\\x$(printf %02x $(($(od -An -tu1 -j 70000 -N 1 "$slice") ^ 1)))" |
            dd of="$slice" bs=1 seek=70000 conv=notrunc status=none"#;
    run(&mut host.bash(flip)).ok();
    run(&mut drill(&host, both)).ok();
    run(&mut drill(&host, "--signer signers")).fails(4).says("here/default: lost: tree/large: ");
}

#[test]
fn keys_are_asked_for_what_they_prove() {
    let host = backed_up();
    // Each alone.
    let other = "drill -k other.pem --passphrase-file passphrase --quick --json --host here --set db";
    let report = json(&run(&mut host.offsite(other)).ok());
    assert_eq!(of(&report, "here", "db")["keys"], serde_json::json!([{ "file": "other.pem", "opened": true }]));
    run(&mut host.offsite("drill -k other.pem --quick")).fails(1).one_error().says("passphrase");
    run(host
        .bash("echo wrong >wrong; \"$OFFSITE\" drill -k other.pem --passphrase-file wrong --quick")
        .env("LC_ALL", "C"))
    .fails(1)
    .says("passphrase");
    run(&mut drill(&host, "-k other.pem -k key.pem --passphrase-file wrong --passphrase-file wrong --quick"))
        .fails(2)
        .says("there are 3 keys and 2 passphrase files");
    run(&mut host.offsite("drill --quick")).fails(2).says("--key");

    // A key of nobody's, alone and beside one that opens all: that one restores.
    let stranger = KeyPair::of("p521").both;
    fs::copy(stranger, host.path("stranger.pem")).unwrap();
    let refused =
        run(&mut host.offsite("drill -k stranger.pem --json")).fails(4).says("hint: use the private key of a");
    for backup in json(&refused)["backups"].as_array().unwrap() {
        assert_eq!((&backup["result"], &backup["entries"]), (&"failed".into(), &Value::Null));
        let [text] = failures(backup)[..] else { panic!("{backup}") };
        assert!(text.starts_with("with the key in stranger.pem: data/") && text.contains("/index.p7m: "), "{text}");
    }
    let beside = json(&run(&mut host.offsite("drill -k stranger.pem -k key.pem --json")).fails(4));
    for backup in beside["backups"].as_array().unwrap() {
        assert_eq!((&backup["result"], &backup["restored_by"]), (&"failed".into(), &"key.pem".into()));
        let opened: Vec<_> = backup["keys"].as_array().unwrap().iter().map(|key| &key["opened"]).collect();
        assert_eq!(opened, [false, true]);
    }

    // A recipient from a full backup on: earlier ones it does not open.
    fs::copy(KeyPair::of("p521").cert, host.path("stranger-cert.pem")).unwrap();
    let earlier = of(&beside, "here", "db")["id"].as_str().unwrap();
    let add = "\"$OFFSITE\" backup -r cert.pem -r stranger-cert.pem --host here --set db --full --exec db.sql -- cat tree/1 2>/dev/null";
    run(&mut host.bash(add)).ok();
    let of_db = "drill -k stranger.pem --host here --set db";
    run(&mut host.offsite(of_db)).ok();
    run(&mut host.offsite(&format!("{of_db} --backup {earlier}"))).fails(4).says("with the key in stranger.pem: ");
    run(&mut drill(&host, &format!("--host here --set db --backup {earlier}"))).ok();
    // An id is of one set.
    run(&mut drill(&host, &format!("--backup {earlier}"))).fails(2).says("choose one with --host and --set");
}

#[derive(Debug)]
struct Damage {
    /// Done to the store, in the folder of the latest backup of `here/default`.
    script: &'static str,
    options: &'static str,
    says: &'static str,
    /// Whether anything is restored all the same.
    restores: bool,
}

const fn damage(script: &'static str, options: &'static str, says: &'static str, restores: bool) -> Damage {
    Damage { script, options, says, restores }
}

const DAMAGES: [Damage; 11] = [
    damage("rm slice-00000000.p7m", "", "/slice-00000000.p7m: it is not in the store", true),
    damage("rm slice-00000000.p7m", "--quick", "/slice-00000000.p7m: it is not in the store", false),
    damage("truncate -s -1 slice-00000000.p7m", "--quick", "/slice-00000000.p7m: it is ", false),
    damage("rm index.p7m", "", "/index.p7m: it is not in the store", false),
    damage("rm index.p7m", "--quick", "/index.p7m: it is not in the store", false),
    damage("rm plan.p7m", "", "/plan.p7m: it is not in the store", false),
    damage("cp index.p7m plan.p7m", "--quick", "/plan.p7m: it is ", false),
    damage("rm slices.sha256", "", "/slices.sha256: it is not in the store", false),
    damage("echo >recipients.pem", "", "/recipients.pem: it is ", true),
    damage("rm -r ../$(ls .. | head -n 1)", "--quick", "/index.p7m: it is not in the store", false),
    damage("echo >../../../../receipts/here/default/junk", "", "receipts/here/default/junk: it lies among", true),
];

#[test]
fn damage_is_told_and_the_other_sets_are_drilled() {
    let host = backed_up();
    check_all(&DAMAGES.iter().enumerate().collect::<Vec<_>>(), DAMAGES.len(), |(number, damage)| {
        let store = host.path(format!("store-{number}"));
        let script = r#"cp -a store "$STORE"; cd "$STORE"/data/here/default; cd "$(ls | tail -n 1)";"#;
        run(host.bash(&format!("{script} {}", damage.script)).env("STORE", &store)).ok();
        let options = format!("--signer signers --json --report report-{number}.md {}", damage.options);
        let failed = run(drill(&host, &options).env("OFFSITE_STORE", &store)).fails(4).says(damage.says).says("hint: ");
        let report = json(&failed);
        assert_eq!(report, json_of(&read(&host.path(format!("report-{number}.json")))));
        let told = String::from_utf8(read(&host.path(format!("report-{number}.md")))).unwrap();
        assert!(told.contains(damage.says) && told.lines().next().unwrap().ends_with(": failed"), "{told}");
        for (name, set) in [("here", "db"), ("there", "default")] {
            assert_eq!(of(&report, name, set)["result"], "passed", "{name}/{set}");
        }
        let one = of(&report, "here", "default");
        assert_eq!(one["entries"].is_u64(), damage.restores, "{one}");
        let texts = failures(one);
        assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len(), "{texts:?}");
        let is_of_set = !damage.script.contains("junk");
        assert_eq!(one["result"] == "failed", is_of_set);
        assert_eq!(texts.iter().any(|text| text.contains(damage.says)), is_of_set);
    });
}

#[test]
fn what_is_lost_is_counted_by_its_cause() {
    let host = Host::new();
    let script = "mkdir tree; touch tree/{1..300} $'tree/`*a\\n'";
    run(&mut host.bash(script)).ok();
    run(&mut host.backup("tree")).ok();
    run(&mut host.bash("rm store/data/here/default/*/slice-00000000.p7m")).ok();
    let report =
        json(&run(&mut drill(&host, "--json")).fails(4).says("here/default: lost: tree").says(" and 301 more: "));
    let one = of(&report, "here", "default");
    assert_eq!((&one["lost"], &one["entries"], &one["restored_bytes"]), (&302.into(), &0.into(), &Value::Null));
    let [slice, end] = failures(one)[..] else { panic!("{one}") };
    assert!(
        slice.ends_with("/slice-00000000.p7m: it is not in the store") && end.contains("the end of the tar"),
        "{one}"
    );
    assert_eq!((&one["failures"][0]["lost"], &one["failures"][0]["blame"]), (&302.into(), &"backup".into()));
    // A name is shown, and is no Markdown.
    run(&mut host.bash(
        "rm tree/[0-9]*; rm -r state; \"$OFFSITE\" backup -r cert.pem --host here --set odd tree/\\`* 2>/dev/null",
    ))
    .ok();
    run(&mut host.bash("rm store/data/here/odd/*/slice-00000000.p7m")).ok();
    let told = markdown(&run(&mut drill(&host, "--set odd")).fails(4));
    assert!(told.contains(r#"- Failure: `` lost: "tree/`*a\n": "#), "{told}");
}

#[test]
fn who_signed_is_told() {
    let host = backed_up();
    let unpinned = run(&mut drill(&host, "--quick")).ok().says("origin not proven");
    let told = markdown(&unpinned);
    assert!(
        told.contains("- the origin: without `--signer`") && told.contains("not pinned: origin not proven"),
        "{told}"
    );
    assert_eq!(unpinned.stderr.matches("origin not proven").count(), 1);
    assert_eq!(of(&json(&run(&mut drill(&host, "--quick --json")).ok()), "here", "db")["origin"], "unproven");

    // Of a host that is pinned to another signer nothing is drilled.
    run(&mut host.bash("mkdir wrong; cp signers/here.pem wrong; cp signers/here.pem wrong/there.pem")).ok();
    let report = json(&run(&mut drill(&host, "--quick --json --signer wrong")).fails(4));
    let there = of(&report, "there", "default");
    assert_eq!(
        (&there["result"], there.get("id"), of(&report, "here", "db")["result"].as_str()),
        (&"failed".into(), None, Some("passed"))
    );
    let untrusted = format!("its signer is not trusted for this host: {}", fingerprint(&host, "there.pem"));
    assert!(failures(there)[0].ends_with(&untrusted) && failures(there)[1] == "there is no backup of there/default");

    // A second signer of one set.
    let forge = r#"OFFSITE_SIGNING_KEY=$PWD/evil.pem OFFSITE_STATE_DIR=$PWD/evil "$OFFSITE" backup -r cert.pem \
        --host here signers 2>/dev/null"#;
    run(&mut host.bash(forge)).ok();
    let report = json(&run(&mut drill(&host, "--quick --json")).fails(4));
    let two = failures(of(&report, "here", "default"))[0];
    for signer in ["signers/here.pem", "evil.pem"] {
        assert!(two.contains(&format!("{} from 20", fingerprint(&host, signer))), "{two}");
    }
    // With pins the last backup that is trusted is drilled, and the forgery told.
    let report = json(&run(&mut drill(&host, "--json --signer signers")).fails(4));
    let one = of(&report, "here", "default");
    assert_eq!((&one["entries"], failures(one).len()), (&45.into(), 1));
    assert!(failures(one)[0].ends_with(&format!("not trusted for this host: {}", fingerprint(&host, "evil.pem"))));
}

/// There is no store at all: whatever is wrong with the report is said before that is found out.
#[test]
fn a_report_that_cannot_be_written_is_told_at_once() {
    let host = Host::new();
    for name in ["old.md", "half.json", "whole.json"] {
        host.write(name, "an older report");
    }
    fs::create_dir(host.path("folder")).unwrap();
    for (path, code, says) in [
        ("missing/drill.md", 1, "missing/drill.md: No such file or directory"),
        ("old.md", 1, "old.md exists already"),
        ("half.md", 1, "half.json exists already"),
        ("whole", 1, "whole.json exists already"),
        ("new.json", 2, "new.json is the name of a JSON file"),
        ("/dev/null", 2, "/dev/null is no regular file"),
        ("old.md/drill.md", 1, "old.md/drill.md: Not a directory"),
    ] {
        let refused = run(&mut drill(&host, &format!("--from nowhere --report {path}")));
        refused.fails(code).one_error().says(says).does_not_say("nowhere").does_not_say("--force");
    }
    run(&mut drill(&host, "--from nowhere --report folder")).fails(1).one_error().says("nowhere");
    let left = printed(&host, "find . -name '*.md' -o -name '.offsite*' -o -path './folder/*'");
    assert_eq!(left, "./old.md");
    for name in ["old.md", "half.json", "whole.json"] {
        assert_eq!(read(&host.path(name)), b"an older report");
    }
}

/// Somebody else's file that comes while the drill goes on is not replaced, and the report is not lost.
#[test]
fn a_report_that_cannot_be_filed_in_the_end_is_printed() {
    let host = backed_up();
    let script = r#"
        mkfifo pipe
        "$OFFSITE" drill -k other.pem --passphrase-file pipe --quick --signer signers --report report.md &
        until [[ $(ls -A | grep -c '^\.offsite-.*\.unfinished$') == 2 ]]; do sleep 0.05; done
        echo "somebody else's" >report.md
        cat passphrase >pipe
        wait $!"#;
    let unfiled = run(&mut host.bash(script)).fails(1).one_error().says("report.md exists already");
    assert!(markdown(&unfiled).contains("- Result: 3 of 3 backups passed\n"));
    assert_eq!(read(&host.path("report.md")), b"somebody else's\n");
    assert_eq!(printed(&host, "find . -name '.offsite-*' -o -name report.json"), "");
}

#[test]
fn a_drill_into_a_folder_leaves_what_was_backed_up() {
    let host = backed_up();
    let report = json(&run(&mut drill(&host, "--into out --json --report drill")).ok());
    assert_eq!(report["into"], "out");
    assert!(host.path("drill").exists() && host.path("drill.json").exists());
    run(&mut host.bash(
        "diff -r --no-dereference tree out/here/default/tree; cmp tree/1 out/there/default/tree/1
         cmp <(head -c 1500000 tree/large) out/here/db/db.sql; [[ $(stat -c %h out/here/default/tree/1) == 2 ]]",
    ))
    .ok();
    run(&mut drill(&host, "--into out")).fails(1).one_error().says("out is not empty").does_not_say("--overwrite");
    run(&mut drill(&host, "--into nowhere/out")).fails(1).one_error().says("nowhere/out");
    run(&mut drill(&host, "--into other --quick")).fails(2);
    assert!(!host.path("other").exists());
}

#[test]
fn nothing_to_drill_is_no_proof() {
    let host = Host::new();
    run(&mut drill(&host, "")).fails(1).one_error();
    host.write("tree/file", "content");
    run(&mut host.backup("tree")).ok();
    run(&mut drill(&host, "--host nobody --quick")).fails(1).one_error().says("`offsite list` shows what there is");
    run(&mut drill(&host, "--backup 20200101T000000Z-00000001")).fails(1).one_error().says("there is no backup here/");
    run(&mut host.bash("rm -r store/receipts")).ok();
    run(&mut drill(&host, "--quick")).fails(1).one_error().says("there is no backup in the store");
}
