//! `offsite verify` on stores that were attacked or have suffered, by real backups of two hosts. Whatever is
//! done to a store, a restore gives what one of the backups held, or fails.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::host::{Host, json};
use support::{Words, check_all, run};

/// Three backups of `here` and one of `there`, each with a signing key of its own, and what the tree was at each.
fn attacked() -> Host {
    let host = Host::new();
    let script = r#"
        mkdir tree now signers
        head -c 2500000 /dev/urandom >tree/large
        for file in {1..40}; do echo "$file" >"tree/$file"; done
        ln -s 1 tree/link
        backup() { "$OFFSITE" backup -r cert.pem --slice-size 1M --reuse-for 30d "$@" tree 2>/dev/null; }
        for night in 1 2 3; do
            head -c 300000 /dev/urandom >"tree/of night $night"
            echo "$night" >tree/changing
            cp -a tree "now/$night"
            backup --host here
        done
        OFFSITE_SIGNING_KEY=$PWD/there.pem backup --host there
        openssl x509 -in signing-key.pem -out signers/here.pem
        openssl x509 -in there.pem -out signers/there.pem"#;
    run(&mut host.bash(script)).ok();
    host
}

/// What each attack can name: `$B1` to `$B3` are the backups of `here`, `$T` is that of `there`; `R` and `D` are the
/// folders of receipts and data of `here`; `forge` makes a backup of `here` by a signing key, from another machine.
const NAMES: &str = r#"
    cp -a store "$CASE"; cd "$CASE"
    read -r B1 B2 B3 <<<"$(ls receipts/here/default | sed 's/\.p7s$//' | tr '\n' ' ')"
    T=$(ls receipts/there/default | sed 's/\.p7s$//')
    R=receipts/here/default D=data/here/default
    flip() {
        printf "\\x$(printf %02x $(($(od -An -tu1 -j "$2" -N 1 "$1") ^ 1)))" |
            dd of="$1" bs=1 seek="$2" conv=notrunc status=none
    }
    forge() {
        cd ..
        OFFSITE_STORE=$PWD/$CASE OFFSITE_SIGNING_KEY=$PWD/$1 OFFSITE_STATE_DIR=$PWD/tmp/$CASE.state \
            "$OFFSITE" backup -r cert.pem --host here "$2" 2>/dev/null
    }
"#;

#[derive(Debug)]
struct Attack {
    name: &'static str,
    script: &'static str,
    /// With which options it is found.
    options: &'static str,
    /// What is said of it; nothing where it does no harm.
    says: &'static str,
}

const fn attack(name: &'static str, script: &'static str, options: &'static str, says: &'static str) -> Attack {
    Attack { name, script, options, says }
}

const PINS: &str = "--signer signers";
const DATA: &str = "--signer signers --data";

const ATTACKS: [Attack; 32] = [
    attack("nothing", "true", DATA, ""),
    attack("a slice deleted", "rm $D/$B1/slice-00000000.p7m", PINS, "/slice-00000000.p7m: it is not in the store"),
    attack("a slice cut", "truncate -s -1 $D/$B1/slice-00000001.p7m", PINS, "/slice-00000001.p7m: it is "),
    attack("a bit of a slice", "flip $D/$B1/slice-00000001.p7m 70000", DATA, "/slice-00000001.p7m: its SHA-256 is not"),
    attack("a bit of a slice, unseen", "flip $D/$B1/slice-00000001.p7m 70000", PINS, ""),
    attack(
        "slices swapped",
        "cd $D/$B1; mv slice-00000000.p7m x; mv slice-00000001.p7m slice-00000000.p7m; mv x slice-00000001.p7m",
        DATA,
        "/slice-0000000",
    ),
    attack(
        "a slice of another backup",
        "cp $D/$B2/slice-00000000.p7m $D/$B3/slice-00000000.p7m",
        DATA,
        "/slice-00000000.p7m: it",
    ),
    attack(
        "a slice of another host",
        "cp data/there/default/$T/slice-00000000.p7m $D/$B1/slice-00000000.p7m",
        DATA,
        "/slice-00000000.p7m: it",
    ),
    attack("a receipt altered", "flip $R/$B3.p7s 300", PINS, ".p7s: "),
    attack("a receipt cut", "truncate -s -1 $R/$B3.p7s", PINS, ".p7s: "),
    attack("a receipt emptied", "truncate -s 0 $R/$B3.p7s", PINS, ".p7s: "),
    attack("an older receipt in place of one", "cp $R/$B1.p7s $R/$B3.p7s", PINS, ".p7s: "),
    attack("an older receipt with a new name", "cp $R/$B1.p7s $R/29991231T000000Z-00000000.p7s", PINS, ".p7s: "),
    attack("an old receipt put again", "cp $R/$B1.p7s x; rm $R/$B1.p7s; mv x $R/$B1.p7s", PINS, ""),
    attack(
        "a receipt signed by another",
        "openssl cms -verify -binary -nointern -noverify -certfile ../signers/here.pem -inform DER -in $R/$B3.p7s \
             -out json 2>/dev/null
         openssl cms -sign -binary -nodetach -noattr -md sha256 -signer ../there.pem -inkey ../there.pem -in json \
             -outform DER -out $R/$B3.p7s; rm json",
        PINS,
        ".p7s: ",
    ),
    attack("a middle receipt removed", "rm $R/$B2.p7s", PINS, "is gone, which that of"),
    attack("a middle backup removed", "rm -r $R/$B2.p7s $D/$B2", PINS, "is gone, which that of"),
    attack("the first receipt removed, by no rule", "rm $R/$B1.p7s", PINS, "is gone, which that of"),
    attack("the newest receipt removed, unseen", "rm $R/$B3.p7s", PINS, ""),
    attack(
        "a forgery by whoever has the certificate",
        "forge tmp/$CASE.pem signers",
        PINS,
        "its signer is not trusted for this host",
    ),
    attack(
        "a forgery, without pins",
        "forge tmp/$CASE.pem signers",
        "",
        "here/default: the backups are of several signers: ",
    ),
    attack(
        "a forgery with the key of another host",
        "forge there.pem signers",
        PINS,
        "its signer is not trusted for this host",
    ),
    attack(
        "a copy of the host, gone on from an earlier state",
        // Both go on from the third backup.
        "for copy in 1 2; do rm -rf ../tmp/$CASE.state; cp -a ../state ../tmp/$CASE.state; (forge signing-key.pem tree); done",
        PINS,
        "here/default: several receipts follow that of ",
    ),
    attack("an index of another backup", "cp $D/$B2/index.p7m $D/$B3/index.p7m", DATA, "/index.p7m: it"),
    attack("a plan of another backup", "cp $D/$B2/plan.p7m $D/$B3/plan.p7m", DATA, "/plan.p7m: it"),
    attack("the full index gone", "rm $D/$B1/index.p7m", PINS, " backups from "),
    attack("a list of slices gone", "rm $D/$B1/slices.sha256", PINS, "/slices.sha256: it is not in the store"),
    attack("a list of slices of another", "cp $D/$B2/slices.sha256 $D/$B1/", PINS, "/slices.sha256: it"),
    attack("a bit of a list of slices", "flip $D/$B1/slices.sha256 3", PINS, "/slices.sha256: its SHA-256 is not"),
    attack("all data of a run gone", "rm -r $D/$B1", PINS, "more of this run"),
    attack("junk among the receipts", "echo >$R/junk", PINS, "receipts/here/default/junk: it lies among the receipts"),
    attack(
        "a link in place of a slice",
        "ln -sf /etc/passwd $D/$B1/slice-00000000.p7m",
        PINS,
        "/slice-00000000.p7m: it is",
    ),
];

#[test]
fn every_attack_is_found_and_none_gives_wrong_data() {
    let host = attacked();
    check_all(&ATTACKS.iter().enumerate().collect::<Vec<_>>(), ATTACKS.len(), |(number, attack)| {
        let case = format!("case-{number}");
        run(host.bash(&format!("{NAMES}\n{}", attack.script)).env("CASE", &case)).ok();
        let store = host.path(&case);
        let verified = run(host.offsite("verify").words(attack.options).env("OFFSITE_STORE", &store));
        let (exit, story) = (if attack.says.is_empty() { 0 } else { 4 }, verified.story());
        let verified = verified.fails(exit).says(attack.says);
        let says_what_to_do = verified.stderr.contains("offsite: hint: ");
        assert!(says_what_to_do != attack.says.is_empty(), "{}: {story}", attack.name);

        let into = host.path(format!("restored-{number}"));
        let restored = run(host.restore("--host here --signer signers --into").arg(&into).env("OFFSITE_STORE", &store));
        // What is there is right; and where all went well, it is all there, as it once was.
        let script = r#"
            if [[ -d $INTO/tree ]]; then
                (cd "$INTO/tree" && find . -type f -print0) | while IFS= read -r -d '' file; do
                    cmp -s "$INTO/tree/$file" "now/1/$file" || cmp -s "$INTO/tree/$file" "now/2/$file" || cmp "$INTO/tree/$file" "now/3/$file"
                done
            fi
            [[ $WHOLE == false ]] || for night in 1 2 3; do
                ! diff -r --no-dereference "$INTO/tree" "now/$night" >&2 || exit 0
            done
            [[ $WHOLE == false ]]"#;
        let whole = restored.succeeded().to_string();
        let compared = run(host.bash(script).env("INTO", &into).env("WHOLE", whole));
        assert!(compared.succeeded(), "{}: {}, then {}", attack.name, restored.story(), compared.story());
    });
}

#[test]
fn what_is_whole_is_told() {
    let host = attacked();
    let report = json(
        &run(&mut host.offsite("verify --signer signers --data --max-age 1h --json")).ok().does_not_say("offsite"),
    );
    assert_eq!(report["findings"], serde_json::json!([]));
    let sets = report["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 2);
    assert_eq!((&sets[0]["host"], &sets[0]["backups"]), (&"here".into(), &3.into()));
    assert_eq!((&sets[1]["host"], &sets[1]["backups"]), (&"there".into(), &1.into()));
    // Each object once, receipts and the store's name aside.
    let script = r"
        find store/data -type f | wc -l
        find store/data -type f ! -name slices.sha256 -printf '%s\n' | awk '{ sum += $1 } END { print sum }'";
    let counted = String::from_utf8(run(&mut host.bash(script)).ok().stdout).unwrap();
    assert_eq!(counted, format!("{}\n{}\n", report["objects"], report["hashed_bytes"]));
    run(&mut host.offsite("verify")).ok().says("origin not proven");
    run(&mut host.offsite("verify --host nobody")).fails(1).says("`offsite list` shows what there is");
    for wrong in ["--data 0", "--data 101", "--max-age 26", "--retention 0d"] {
        run(&mut host.offsite(&format!("verify {wrong}"))).fails(2);
    }
}

/// A share is a share: of many objects neither none nor all are read.
#[test]
fn a_share_of_the_data_is_read() {
    let host = attacked();
    let read = |percent: u8| {
        json(&run(&mut host.offsite(&format!("verify --json --data {percent}"))).ok())["hashed_bytes"].as_u64().unwrap()
    };
    let all = read(100);
    let shares: Vec<u64> = (0..20).map(|_| read(50)).collect();
    let sum: u64 = shares.iter().sum();
    assert!(sum > 4 * all && sum < 16 * all, "{shares:?} of {all}");
}

/// For a store that is not there, and one without any backup: a disk that is not mounted looks like that.
#[test]
fn no_store_is_an_error() {
    let host = Host::new();
    run(&mut host.offsite("verify --from missing/store")).fails(1).one_error();
    run(&mut host.bash("mkdir -p empty signers")).ok();
    for line in ["verify --from empty", "verify --from empty --signer signers --max-age 26h --json"] {
        run(&mut host.offsite(line)).fails(1).says("there is no backup");
    }
}
