//! `offsite key check`: what a private key is, and whether it opens backups and messages.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use support::host::{self, Host};
use support::{KeyPair, Words, check_all, file, folder, offsite, openssl, read, run, sample};

/// `key check` of the host's key, or of another file.
fn check(host: &Host, key: &str, line: &str) -> Command {
    let mut command = host.offsite("key check -k");
    command.arg(key).words(line);
    command
}

/// Three backups: of two for `key.pem` the second one also for `other.pem`, which has a passphrase; a third, of
/// another set, for `other.pem` alone.
fn backed_up() -> Host {
    let host = Host::new();
    let script = r#"
        openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 5000 -in "$OTHER" -passout pass:open -out other.pem
        cat "$CERT" >>other.pem
        cp "$CERT" other-cert.pem
        echo open >passphrase
        mkdir tree signers
        head -c 3000000 /dev/urandom >tree/large
        backup() { "$OFFSITE" backup --host here --slice-size 1M "$@" 2>/dev/null; }
        backup -r cert.pem tree
        backup -r cert.pem -r other-cert.pem tree
        backup -r other-cert.pem --set theirs tree
        openssl x509 -in signing-key.pem -out signers/here.pem"#;
    let other = KeyPair::of("p384");
    run(host.bash(script).env("OTHER", &other.key).env("CERT", &other.cert)).ok();
    host
}

/// Set, whether it opens, and the recipient, of each backup in order.
fn opens(report: &Value) -> Vec<(&str, bool, Option<&str>)> {
    let of = |backup: &'_ Value| (backup["opens"].as_bool().unwrap(), backup["host"] == "here");
    let all = report["backups"].as_array().unwrap().iter();
    all.map(|backup| (backup["set"].as_str().unwrap(), of(backup).0 && of(backup).1, backup["recipient"].as_str()))
        .collect()
}

#[test]
fn it_says_which_backups_a_key_opens_and_as_whom() {
    let host = backed_up();
    let signers = "--signer signers --json";
    let own = host::json(&run(&mut check(&host, "key.pem", &format!("{signers} --set default"))).ok());
    assert_eq!(opens(&own), [("default", true, Some("CN=p256")); 2]);
    let ids: Vec<_> = host::json(&run(&mut host.offsite("list --json --set default")).ok()).as_array().unwrap().clone();
    let listed: Vec<_> = own["backups"].as_array().unwrap().iter().map(|backup| &backup["id"]).collect();
    assert_eq!(listed, ids.iter().map(|backup| &backup["id"]).collect::<Vec<_>>());

    let all = run(&mut check(&host, "key.pem", signers)).fails(4).one_error();
    let all = all.says("here/theirs: with the key in key.pem: data/here/theirs/").says("plan.p7m: ");
    assert_eq!(
        opens(&host::json(&all)),
        [("default", true, Some("CN=p256")), ("default", true, Some("CN=p256")), ("theirs", false, None)]
    );
    let passphrase = format!("{signers} --passphrase-file passphrase");
    let other = host::json(&run(&mut check(&host, "other.pem", &passphrase)).fails(4));
    assert_eq!(
        opens(&other),
        [("default", false, None), ("default", true, Some("CN=p384")), ("theirs", true, Some("CN=p384"))]
    );

    // One line tells that a key is the wrong one, however many backups there are.
    run(host.bash("openssl pkcs8 -topk8 -nocrypt -in \"$KEY\" -out stranger.pem").env("KEY", KeyPair::of("p521").key))
        .ok();
    let wrong = run(&mut check(&host, "stranger.pem", signers)).fails(4).one_error();
    let wrong =
        wrong.says("plan.p7m: ").says("; nor does it open 2 others").says("hint: use the private key of a recip");
    assert!(opens(&host::json(&wrong)).iter().all(|(_, opens, _)| !opens));

    // Little is read for it: no slice need be there, and the plan must.
    run(&mut host.bash("rm store/data/here/default/*/slice-*")).ok();
    let told = run(&mut check(&host, "key.pem", "--signer signers --set default")).ok().does_not_say("offsite");
    let told = String::from_utf8(told.stdout).unwrap();
    let rows: Vec<&str> = told.lines().rev().take(2).collect();
    assert!(rows.iter().all(|row| row.starts_with("here  default  20") && row.ends_with("  yes    CN=p256")), "{told}");
    run(&mut host.bash("rm $(ls -d store/data/here/default/* | tail -n 1)/plan.p7m")).ok();
    run(&mut check(&host, "key.pem", "--set default")).fails(4).says("plan.p7m: it is not in the store").says("origin");
}

#[test]
fn who_is_not_trusted_is_not_opened() {
    let host = backed_up();
    run(&mut host.bash("mkdir wrong; openssl x509 -in \"$OFFSITE_SIGNING_KEY\" -out wrong/there.pem")).ok();
    let refused = run(&mut check(&host, "key.pem", "--signer wrong --json")).fails(4).says("not trusted");
    assert!(opens(&host::json(&refused)).is_empty());
    run(&mut check(&host, "key.pem", "--host nobody")).fails(1).one_error().says("there is no backup of the host");
}

#[test]
fn it_says_what_the_key_is() {
    let host = backed_up();
    let without_store = |key: &str, line: &str| {
        let mut command = check(&host, key, line);
        command.env_remove("OFFSITE_STORE");
        command
    };
    let own = host::json(&run(&mut without_store("key.pem", "--json")).ok());
    let key = &own["key"];
    assert_eq!((&key["file"], &key["kind"], &key["form"]), (&"key.pem".into(), &"P-256".into(), &"PKCS #8".into()));
    assert_eq!((&key["protection"], &own["backups"], &own["files"]), (&Value::Null, &json!([]), &json!([])));
    let certificate = &key["certificates"][0];
    assert_eq!((&certificate["name"], &certificate["own"]), (&"CN=p256".into(), &true.into()));
    let fingerprint = run(openssl("x509 -noout -fingerprint -sha256 -in").arg(host.path("cert.pem"))).ok().stdout;
    let digits = String::from_utf8(fingerprint).unwrap().trim().split_once('=').unwrap().1.replace(':', "");
    assert_eq!(certificate["fingerprint"], format!("sha256:{}", digits.to_lowercase()));

    let other = run(&mut without_store("other.pem", "--passphrase-file passphrase")).ok().does_not_say("offsite");
    let other = String::from_utf8(other.stdout).unwrap();
    for told in ["other.pem: P-384, PKCS #8", "PBKDF2 (5000 iterations) and aes256-CBC", "CN=p384, the key's own, exp"]
    {
        assert!(other.contains(told), "no {told:?} in {other}");
    }
    run(&mut without_store("other.pem", "")).fails(1).one_error().says("passphrase");
    host.write("wrong", "wrong\n");
    run(&mut without_store("other.pem", "--passphrase-file wrong")).fails(1).one_error().says("wrong passphrase");
    run(&mut without_store("cert.pem", "")).fails(1).one_error().says("no private key");
    run(&mut host.offsite("key check")).fails(2).says("--key");
    run(&mut host.offsite("key")).fails(2).says("check");

    // What keygen makes; and the old forms, one without a certificate and one with another's.
    run(&mut host.offsite("keygen -o new --type p521 --passphrase-file passphrase")).ok();
    let made = host::json(&run(&mut without_store("new-PRIVATE.pem", "--passphrase-file passphrase --json")).ok());
    assert_eq!(made["key"]["protection"], "scrypt (N 16384, r 8, p 32) and aes256-CBC");
    let script = r#"
        openssl rsa -traditional -aes128 -in "$RSA" -passout pass:open -out old.pem 2>/dev/null
        cp old.pem strange.pem
        cat cert.pem >>strange.pem"#;
    run(host.bash(script).env("RSA", KeyPair::of("rsa2048").key)).ok();
    let old = host::json(&run(&mut without_store("old.pem", "--passphrase-file passphrase --json")).ok());
    assert_eq!(old["key"]["protection"], "MD5 and aes128-CBC");
    assert_eq!((&old["key"]["form"], &old["key"]["kind"]), (&"PKCS #1".into(), &"RSA-2048".into()));
    assert_eq!(old["key"]["certificates"], json!([]));
    let strange = run(&mut without_store("strange.pem", "--passphrase-file passphrase")).fails(1).one_error();
    let strange = strange.says("strange.pem: the certificate of CN=p256 is not this key's");
    assert!(String::from_utf8_lossy(&strange.stdout).contains("CN=p256, not this key's"), "{}", strange.story());
}

/// A message of OpenSSL or of ours, and what the check says of it.
const MESSAGES: [(&str, &str); 6] = [
    ("offsite encrypt --slice-size 1M", "opens"),
    ("offsite encrypt --profile smime", "opens; the content has no integrity check"),
    ("openssl cms -encrypt -binary -aes-256-gcm -outform DER", "opens"),
    ("openssl cms -encrypt -binary -aes-256-gcm -keyopt rsa_padding_mode:oaep -outform PEM", "opens"),
    ("openssl cms -encrypt -binary -aes256 -outform DER", "opens; the content has no integrity check"),
    ("openssl smime -encrypt -binary -aes256 -stream", "opens; the content has no integrity check"),
];

#[test]
fn messages_are_opened_as_far_as_it_takes() {
    let pair = KeyPair::of("rsa2048");
    check_all(&MESSAGES, 6, |(line, expected)| {
        let folder = folder();
        let plaintext = file(&folder, "plaintext", &sample(3_000_000));
        let message = folder.path().join("message");
        let mut encrypt = match line.split_once(' ').unwrap() {
            ("offsite", line) => {
                let mut command = offsite(line);
                command.arg("-r").arg(&pair.cert).arg("-o").arg(&message).arg(&plaintext);
                command
            }
            (_, line) => {
                // The options of a recipient come after it.
                let mut command = match line.split_once(" -keyopt") {
                    None => openssl(line),
                    Some((line, _)) => openssl(line),
                };
                command.arg("-in").arg(&plaintext).arg("-out").arg(&message);
                if line.contains("oaep") {
                    command.arg("-recip").arg(&pair.cert).words("-keyopt rsa_padding_mode:oaep");
                } else {
                    command.arg(&pair.cert);
                }
                command
            }
        };
        run(&mut encrypt).ok();
        let check = |kind: &str| {
            let mut command = offsite("key check -k");
            run(command.arg(KeyPair::of(kind).both).arg(&message))
        };
        let told = check("rsa2048").ok();
        let last = String::from_utf8(told.stdout).unwrap().lines().last().unwrap().to_owned();
        assert_eq!(last, format!("file         {}: {expected}", message.display()));
        for stranger in ["rsa3072", "p256"] {
            let refused = check(stranger).fails(4).one_error();
            assert!(String::from_utf8_lossy(&refused.stdout).contains("message: does not open"), "{}", refused.story());
        }

        // Of a stream the first slice proves the key, and no other is needed for it.
        if line.contains("slice-size") {
            let bytes = read(&message);
            fs::write(&message, [&bytes[..(1 << 20) + 70_000], b"altered"].concat()).unwrap();
            check("rsa2048").ok();
            fs::write(&message, [&bytes[..70_000], b"altered", &bytes[70_007..]].concat()).unwrap();
            check("rsa2048").fails(4).one_error().says("slice 0");
        }
    });
}

#[test]
fn several_messages_are_told_apart() {
    let folder = folder();
    let pair = KeyPair::of("p256");
    let plaintext = file(&folder, "plaintext", b"");
    let [own, theirs] = ["own", "theirs"].map(|name| folder.path().join(name));
    run(offsite("encrypt -r").arg(&pair.cert).arg("-o").arg(&own).arg(&plaintext)).ok();
    run(offsite("encrypt -r").arg(KeyPair::of("p384").cert).arg("-o").arg(&theirs).arg(&plaintext)).ok();
    let check = |files: &[&std::path::Path]| {
        let mut command = offsite("key check --json -k");
        // A store in the environment is not asked where files are named.
        run(command.arg(&pair.both).args(files).env("OFFSITE_STORE", "/nowhere"))
    };
    let one = host::json(&check(&[&own]).ok());
    assert_eq!((&one["files"][0]["opens"], &one["files"][0]["authenticated"]), (&true.into(), &true.into()));
    let mixed = host::json(&check(&[&theirs, &own, folder.path().join("absent").as_path()]).fails(4).says("absent"));
    let opened: Vec<_> = mixed["files"].as_array().unwrap().iter().map(|file| &file["opens"]).collect();
    assert_eq!(opened, [false, true, false]);
    check(&[&own, folder.path()]).fails(1).one_error();
    check(&[&plaintext]).fails(1).one_error();
}
