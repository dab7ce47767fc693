//! `offsite verify --seen`: what vanishes from a store or becomes another is found, though nothing that is left
//! tells of it; it is told until somebody accepts it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use support::host::{Host, json};
use support::{check_all, run};

/// Three backups of `here` and one of `there`, which a verification has seen.
fn seen() -> Host {
    let host = Host::new();
    let script = r#"
        mkdir tree
        head -c 1500000 /dev/urandom >tree/large
        for night in 1 2 3; do
            echo "$night" >tree/changing
            "$OFFSITE" backup -r cert.pem --slice-size 1M --host here tree 2>/dev/null
        done
        OFFSITE_SIGNING_KEY=$PWD/there.pem "$OFFSITE" backup -r cert.pem --host there tree 2>/dev/null"#;
    run(&mut host.bash(script)).ok();
    run(&mut host.offsite("verify --seen seen.json"))
        .ok()
        .says("seen.json is new")
        .says("here/default is new, signed by sha256:")
        .says("from now on this signer is trusted")
        .says("origin not proven");
    run(&mut host.offsite("verify --seen seen.json")).ok().does_not_say("offsite: ");
    host
}

/// As `$B1` to `$B3`, `R` and `D` of `here`; `again` backs it up, with the state and signing key of before.
const NAMES: &str = r#"
    cp seen.json "$CASE.json"; cp -a store "$CASE"; cp -a state "tmp/$CASE.state"; cd "$CASE"
    read -r B1 B2 B3 <<<"$(ls receipts/here/default | sed 's/\.p7s$//' | tr '\n' ' ')"
    R=receipts/here/default D=data/here/default
    again() {
        (cd .. && OFFSITE_STORE=$PWD/$CASE OFFSITE_STATE_DIR=$PWD/tmp/$CASE.state \
            "$OFFSITE" backup -r cert.pem --host here "$@" tree 2>/dev/null)
    }
"#;

#[derive(Debug)]
struct Attack {
    name: &'static str,
    script: &'static str,
    /// What is said of it; nothing where all is well.
    says: &'static str,
    kind: &'static str,
}

const fn attack(name: &'static str, script: &'static str, says: &'static str, kind: &'static str) -> Attack {
    Attack { name, script, says, kind }
}

const ATTACKS: [Attack; 12] = [
    attack("a backup more", "again", "", ""),
    attack(
        "two backups more, the first of them gone",
        "again; rm $R/$B1.p7s; again",
        "is gone, which",
        "receipt-missing",
    ),
    attack("the newest receipt removed", "rm $R/$B3.p7s", "the last backup that was seen, is gone", "last-seen-gone"),
    attack(
        "the newest backup removed",
        "rm -r $R/$B3.p7s $D/$B3",
        "the last backup that was seen, is gone",
        "last-seen-gone",
    ),
    attack("a set's receipts removed", "rm -r $R", "here/default: nothing of it is there any more", "set-gone"),
    attack("a host removed", "rm -r receipts/here data/here", "here/default: nothing of it is there", "set-gone"),
    attack("all removed", "rm -r receipts data", "there/default: nothing of it is there", "set-gone"),
    attack(
        "the state lost, or a thief's backup with the key",
        "rm -r ../tmp/$CASE.state; again",
        "does not follow",
        "not-following",
    ),
    attack(
        "a copy of the host goes on from earlier",
        "rm $R/$B3.p7s; cp -a $R/$B2.p7s x; rm -r ../tmp/$CASE.state; again; mv x $R/$B2.p7s",
        "the last backup that was seen, is gone",
        "last-seen-gone",
    ),
    attack(
        "another signer",
        "OFFSITE_SIGNING_KEY=$PWD/../tmp/$CASE.key; export OFFSITE_SIGNING_KEY; again",
        "its signer is not trusted for this host",
        "object",
    ),
    attack(
        "one recipient more",
        "\"$OFFSITE\" keygen -o ../tmp/$CASE --type p256 --no-passphrase; again -r tmp/$CASE-cert.pem",
        "is sealed to other recipients than before: added sha256:",
        "recipients-changed",
    ),
    attack("an old slice", "rm $D/$B1/slice-00000000.p7m", ", the latest among them, need it", "object"),
];

#[test]
fn what_was_seen_and_is_no_more_is_found_until_it_is_accepted() {
    let host = seen();
    check_all(&ATTACKS.iter().enumerate().collect::<Vec<_>>(), ATTACKS.len(), |(number, attack)| {
        let case = format!("case-{number}");
        run(host.bash(&format!("{NAMES}\n{}", attack.script)).env("CASE", &case)).ok();
        let verify = |options: &str| {
            let line = format!("verify --seen {case}.json {options}");
            run(host.offsite(&line).env("OFFSITE_STORE", host.path(&case)))
        };
        if attack.says.is_empty() {
            verify("").ok().does_not_say("offsite: ");
            verify("").ok().does_not_say("offsite: ");
            return;
        }
        let report = verify("--json").fails(4).says(attack.says);
        let findings = json(&report)["findings"].as_array().unwrap().clone();
        assert!(findings.iter().any(|finding| finding["kind"] == attack.kind), "{}: {findings:?}", attack.name);
        // It does not go away by itself.
        verify("").fails(4).says(attack.says);
        let accepted = verify("--accept all");
        if attack.name == "an old slice" {
            // The latest backup needs it, so it is no use to say that all is well.
            accepted.fails(4).says(attack.says);
        } else {
            // Whom one trusts now may have done more that was not looked at before.
            let accepted = if accepted.succeeded() { accepted } else { verify("--accept all") };
            accepted.ok();
            if attack.name == "all removed" {
                // That is known; but of nothing at all nothing is proven.
                verify("").fails(1).says("there is no backup");
            } else {
                verify("").ok().does_not_say("offsite: error");
            }
        }
    });
}

#[test]
fn what_is_mended_is_told_until_it_is_accepted_and_only_that() {
    let host = seen();
    run(&mut host.bash("mv store/receipts/there aside; mv store/receipts/here/default/*-*.p7s tmp")).ok();
    run(&mut host.offsite("verify --seen seen.json")).fails(4);
    run(&mut host.bash("mv aside store/receipts/there; mv tmp/*.p7s store/receipts/here/default")).ok();
    let report = run(&mut host.offsite("verify --seen seen.json --json")).fails(4).says("found first on ");
    let findings = json(&report)["findings"].as_array().unwrap().clone();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(|finding| finding["kind"] == "earlier"), "{findings:?}");
    let id = findings[0]["id"].as_str().unwrap();
    let other = findings[1]["id"].as_str().unwrap();
    run(&mut host.offsite(&format!("verify --seen seen.json --accept {id}"))).fails(4).says(other).does_not_say(id);
    // Of another set nothing is told.
    let told = format!("verify --seen seen.json --host {}", findings[0]["host"].as_str().unwrap());
    run(&mut host.offsite(&told)).ok();
    run(&mut host.offsite(&format!("verify --seen seen.json --accept {other}"))).ok();
    run(&mut host.offsite(&format!("verify --seen seen.json --accept {other}"))).fails(2).says("no finding has the id");
    run(&mut host.offsite("verify --seen seen.json --accept 123")).fails(2).says("twelve hexadecimal digits");
    run(&mut host.offsite("verify --accept all")).fails(2).says("--seen");
}

/// Of no set, and yet found in the folder of one.
#[test]
fn junk_among_the_receipts_is_told_once_and_can_be_accepted() {
    let host = seen();
    run(&mut host.bash("echo >store/receipts/here/junk")).ok();
    let noted = || fs::read_to_string(host.path("seen.json")).unwrap().matches("here/junk").count();
    for _ in 0..2 {
        run(&mut host.offsite("verify --seen seen.json --host here")).fails(4).says("receipts/here/junk");
        assert_eq!(noted(), 1);
    }
    run(&mut host.offsite("verify --seen seen.json --host there")).ok();
    run(&mut host.offsite("verify --seen seen.json --host here --accept all")).ok();
    run(&mut host.offsite("verify --seen seen.json")).ok();
    run(&mut host.offsite("verify --seen seen.json --host there")).ok();
    assert_eq!(noted(), 1);
    run(&mut host.bash("rm store/receipts/here/junk")).ok();
    run(&mut host.offsite("verify --seen seen.json")).ok();
    assert_eq!(noted(), 0);
}

#[test]
fn what_is_no_record_is_refused_and_stays() {
    let host = seen();
    let good = fs::read_to_string(host.path("seen.json")).unwrap();
    let wrong = [
        ("nothing", String::new(), "EOF"),
        ("something else", "[]".to_owned(), "line 1"),
        (
            "a version that is to come",
            good.replace("\"offsite-seen\": 1", "\"offsite-seen\": 2"),
            "version 2 is not known",
        ),
        ("a host that is none", good.replace("\"here\"", "\"../here\""), "line"),
        ("a hash that is none", good.replace("\"sha256:", "\"sha512:"), "line"),
        ("a key that is not known", good.replacen("\"backup\"", "\"backups\"", 1), "unknown field"),
        ("half of it", good[..good.len() / 2].to_owned(), "EOF"),
    ];
    check_all(&wrong.iter().enumerate().collect::<Vec<_>>(), 7, |(number, (name, text, says))| {
        assert!(*text != good, "{name}");
        let file = format!("seen-{number}.json");
        fs::write(host.path(&file), text).unwrap();
        run(&mut host.offsite(&format!("verify --seen {file}"))).fails(1).says(&file).says(says).one_error();
        assert_eq!(fs::read_to_string(host.path(&file)).unwrap(), *text);
    });
    // In another order it is the same record.
    let mut turned: serde_json::Value = serde_json::from_str(&good).unwrap();
    turned["sets"].as_array_mut().unwrap().reverse();
    fs::write(host.path("turned.json"), turned.to_string()).unwrap();
    run(&mut host.offsite("verify --seen turned.json")).ok().does_not_say("is new");
    run(&mut host.offsite("verify --seen missing/seen.json")).fails(1).says("missing/seen.json");
    run(&mut host.offsite("verify --seen seen.json --store-as-of 2026-01-01")).fails(2).says("--store-as-of");
    assert_eq!(fs::read_to_string(host.path("seen.json")).unwrap(), good);
}

/// A full disk must not keep anybody from hearing what is wrong.
#[test]
fn what_cannot_be_noted_is_told_all_the_same() {
    let host = seen();
    run(&mut host.bash("rm store/data/here/default/*/slice-00000000.p7m")).ok();
    let told = run(&mut host.offsite("verify --seen missing/seen.json --json"));
    let told = told.fails(4).says("cannot write missing/seen.json").says("/slice-00000000.p7m: it is not in the store");
    assert!(!json(&told)["findings"].as_array().unwrap().is_empty());
}
