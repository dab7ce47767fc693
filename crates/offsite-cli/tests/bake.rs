//! `offsite bake`: a copy of the binary that needs nothing beside itself, and what it holds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::host::{self, Host};
use support::{KeyPair, Words, assert_same, check_all, folder, offsite, openssl, read, run, sample};

/// A copy with the certificates of these kinds of key, and more options.
#[track_caller]
fn baked(folder: &Path, kinds: &[&str], options: &str) -> PathBuf {
    let out = folder.join("offsite-acme");
    let mut command = offsite("bake");
    for kind in kinds {
        command.arg("-r").arg(KeyPair::of(kind).cert);
    }
    let silent = run(command.words(options).arg("-o").arg(&out)).ok();
    assert_eq!((silent.stdout.len(), silent.stderr.as_str()), (0, ""));
    out
}

/// A baked binary on a host whose environment names no store.
fn on(host: &Host, binary: &Path, line: &str) -> Command {
    let mut command = Command::new(binary);
    host.at(&mut command).env_remove("OFFSITE_STORE");
    command.words(line);
    command
}

fn ids(host: &Host, store: &Path, set: &str) -> usize {
    let listed = host::json(&run(host.offsite("list --json").arg("--from").arg(store)).ok());
    listed.as_array().unwrap().iter().filter(|backup| backup["set"] == set).count()
}

#[test]
fn one_file_is_all_that_a_server_needs() {
    let tree = folder();
    baked(tree.path(), &["p256", "rsa2048"], "--to /disk/store --set system --exclude *.tmp");
    let content = sample(3_000_000);
    for name in ["srv", "disk"] {
        fs::create_dir(tree.path().join(name)).unwrap();
    }
    fs::write(tree.path().join("srv/large"), &content).unwrap();
    fs::write(tree.path().join("srv/left-out.tmp"), "x").unwrap();
    // No device, no /proc, no /tmp, no name service, no environment.
    let backup = || {
        let mut command = Command::new("/usr/bin/unshare");
        command.env_clear().words("--map-root-user --root").arg(tree.path());
        run(command.words("/offsite-acme backup --host web-1 /srv"))
    };
    backup().ok().says("made this host's signing key");
    fs::write(tree.path().join("srv/small"), "small").unwrap();
    let second = backup().ok();
    assert_eq!(second.stderr, "");
    let mut left: Vec<_> = fs::read_dir(tree.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["disk", "etc", "offsite-acme", "srv", "var"]);

    for kind in ["p256", "rsa2048"] {
        let into = tree.path().join(kind);
        let mut restore = offsite("restore --host web-1 --set system --from");
        restore.arg(tree.path().join("disk/store")).arg("-k").arg(KeyPair::of(kind).both);
        run(restore.arg("--into").arg(&into)).ok();
        assert_same(&read(&into.join("srv/large")), &content, kind);
        assert_eq!(read(&into.join("srv/small")), b"small");
        assert!(!into.join("srv/left-out.tmp").exists(), "excluded");
    }
}

#[test]
fn the_command_line_comes_first_then_the_environment_then_what_is_baked_in() {
    let host = Host::new();
    let [own, elsewhere, third] = ["own", "elsewhere", "third"].map(|name| host.path(name));
    let options = format!("--to {} --host here --set baked --exclude *.baked --reuse-for 30d", own.display());
    let binary = baked(host.path("").as_path(), &["p256"], &options);
    for name in ["tree/a.baked", "tree/b.given", "tree/c"] {
        host.write(name, name);
    }
    let backup = || on(&host, &binary, "backup tree");
    run(&mut backup()).ok();
    assert_eq!(ids(&host, &own, "baked"), 1);
    let key = "files --json --host here -k key.pem --from";
    let files = |store: &Path, set: &str| {
        let listed = host::json(&run(host.offsite(key).arg(store).args(["--set", set])).ok());
        listed.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(files(&own, "baked"), ["tree", "tree/b.given", "tree/c"]);

    run(backup().env("OFFSITE_STORE", &elsewhere)).ok();
    assert_eq!((ids(&host, &own, "baked"), ids(&host, &elsewhere, "baked")), (1, 1));
    let mut given = backup();
    run(given.words("--set given --exclude *.given --to").arg(&third).env("OFFSITE_STORE", &elsewhere)).ok();
    assert_eq!((ids(&host, &elsewhere, "given"), ids(&host, &third, "given")), (0, 1));
    assert_eq!(files(&third, "given"), ["tree", "tree/a.baked", "tree/c"]);
    for store in [&own, &third] {
        let in_receipt = "grep -aq '\"reuse_for\": *2592000' \"$AT\"/receipts/here/*/*.p7s";
        run(host.bash(in_receipt).env("AT", store)).ok();
    }

    // Recipients: of three messages each opens with the key of one.
    let message = |name: &str, options: &str| {
        let mut command = on(&host, &binary, "encrypt tree/c -o");
        command.arg(host.path(name)).words(options);
        command
    };
    run(&mut message("baked", "")).ok();
    run(message("named", "").env("OFFSITE_RECIPIENTS", KeyPair::of("p384").cert)).ok();
    let other = KeyPair::of("p521");
    let mut given = message("given", "-r");
    run(given.arg(&other.cert).env("OFFSITE_RECIPIENTS", KeyPair::of("p384").cert)).ok();
    for (name, kind) in [("baked", "p256"), ("named", "p384"), ("given", "p521")] {
        let report = host::json(&run(&mut host.offsite(&format!("inspect --json {name}"))).ok());
        let recipients = report["recipients"].as_array().unwrap();
        assert!(recipients.len() == 1 && recipients[0]["name"].as_str().unwrap().contains(kind), "{name}: {report}");
    }
    // A store is read from as well; for whom backups are made is no filter.
    let listed = host::json(&run(&mut on(&host, &binary, "list --json")).ok());
    assert_eq!(listed.as_array().unwrap().len(), 1);
    run(on(&host, &binary, "list --json").env("OFFSITE_STORE", &third)).ok();
    let tried = run(&mut on(&host, &binary, "doctor")).ok().stdout;
    assert!(String::from_utf8(tried).unwrap().contains("of set baked, and go to"));
}

#[test]
fn what_is_in_it_is_shown() {
    let host = Host::new();
    let plain = run(&mut host.offsite("version")).ok();
    let expected = format!("offsite {}\nbaked in            nothing\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(plain.stdout).unwrap(), expected);
    let options = "--to s3://acme/p?region=eu-1 --set db --slice-size 8M --limit-upload 2M --exclude a --exclude b";
    let binary = baked(host.path("").as_path(), &["p256", "p384"], options);
    let shown = host::json(&run(&mut on(&host, &binary, "version --json")).ok());
    let recipient = |kind: &str, name: &str| {
        let cert = KeyPair::of(kind).cert;
        let told = |option: &str| {
            let said = run(openssl("x509 -noout -in").arg(&cert).words(option)).ok().stdout;
            String::from_utf8(said).unwrap().trim().split_once('=').unwrap().1.to_owned()
        };
        let fingerprint = told("-fingerprint -sha256").replace(':', "").to_lowercase();
        let expires = told("-enddate -dateopt iso_8601").replace(' ', "T");
        json!({ "name": format!("CN={kind}"), "kind": name, "fingerprint": format!("sha256:{fingerprint}"),
            "expires": expires })
    };
    let options = json!({ "exclude": ["a", "b"], "limit-upload": ["2M"], "set": ["db"], "slice-size": ["8M"] });
    let baked = json!({ "recipients": [recipient("p256", "P-256"), recipient("p384", "P-384")],
        "store": "s3://acme/p?region=eu-1", "options": options });
    assert_eq!(shown, json!({ "version": env!("CARGO_PKG_VERSION"), "baked": baked }));

    let help = String::from_utf8(run(&mut on(&host, &binary, "backup --help")).ok().stdout).unwrap();
    for told in ["[default: s3://acme/p?region=eu-1]", "[default: 8M]", "CN=p384", "[default: a b]", "[default: 90d]"] {
        assert!(help.contains(told), "no {told:?} in {help}");
    }
    assert!(help.contains("Usage: offsite backup [OPTIONS] <PATH>..."), "{help}");
    let version = run(&mut on(&host, &binary, "--version")).ok();
    assert_eq!(version.stdout, format!("offsite {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

/// Changes a byte of a baked binary, `after` so many bytes behind where `text` stands in it.
fn flip(binary: &Path, text: &str, after: usize) {
    let mut bytes = read(binary);
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at + after] ^= 1;
    fs::write(binary, bytes).unwrap();
}

#[test]
fn a_damaged_one_is_refused_where_it_would_count() {
    let host = Host::new();
    let binary = baked(host.path("").as_path(), &["p256"], "--to s3://acme-backups --set db");
    flip(&binary, "s3://acme-backups", 6);
    host.write("tree/file", "content");
    run(host.offsite("encrypt -r cert.pem -o message tree/file").arg("--force")).ok();
    let refused = [
        "backup tree",
        "backup -r cert.pem --to store tree",
        "backup",
        "doctor",
        "encrypt tree/file",
        "list",
        "list --from store",
        "verify",
        "prune --keep-within 30d",
        "restore -k key.pem --dry-run",
        "files -k key.pem",
        "drill -k key.pem",
        "bake -o other",
        "frobnicate",
        "version",
        "version --json",
    ];
    check_all(&refused, 16, |line| {
        run(&mut on(&host, &binary, line)).fails(1).one_error().says("baked into this binary is damaged");
    });
    assert!(!host.path("other").exists());
    let version = run(&mut on(&host, &binary, "version")).fails(1).says("hint: ");
    assert_eq!(version.stdout, format!("offsite {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    let json = host::json(&run(&mut on(&host, &binary, "version --json")).fails(1));
    assert_eq!(json["baked"], Value::Null);
    let needs_nothing = [
        "--version",
        "--help",
        "backup --help",
        "decrypt -k key.pem message",
        "inspect message",
        "recovery-script",
        "keygen --type p256 --no-passphrase -o new",
    ];
    check_all(&needs_nothing, 7, |line| {
        run(&mut on(&host, &binary, line)).ok().does_not_say("damaged");
    });
}

#[test]
fn nothing_secret_and_nothing_senseless_is_baked_in() {
    let host = Host::new();
    let long = format!("--exclude {}", "x".repeat(70_000));
    let cases = [
        ("-r key.pem", 1, "key.pem holds a private key"),
        ("-r cert.pem -r key.pem", 1, "key.pem holds a private key"),
        ("-r /dev/null", 1, "no certificate"),
        ("-r cert.pem -r cert.pem", 2, "same issuer"),
        ("--to sftp://user:secret@host/path", 2, "no password or access key"),
        ("--to s3://AKIA:secret@bucket", 2, "no password or access key"),
        ("--to s3://bucket?secret_access_key=secret", 2, "unknown option"),
        ("--to s3://bucket?endpoint=https://user:secret@host", 2, "no password or access key"),
        ("--to relative/store", 2, "not an absolute path"),
        ("--to ftp://host", 2, "ftp: locations are not known"),
        ("--set a/b", 2, "no name of a set"),
        ("--host .", 2, "no name of a host"),
        ("--reuse-for 1h", 2, "at least a day"),
        ("--slice-size 1K", 2, "between 1M and 512M"),
        ("--exclude a{b", 2, "a{b"),
        (&long, 1, "there is room for"),
    ];
    check_all(&cases.iter().enumerate().collect::<Vec<_>>(), 16, |(number, (line, code, says))| {
        let out = format!("out-{number}");
        run(host.offsite("bake").words(line).args(["-o", &out])).fails(*code).says(says);
        assert!(!host.path(&out).exists(), "{line}");
    });
    run(&mut host.offsite("bake -r cert.pem")).fails(2).says("--output");
}

#[test]
fn baking_again_replaces_all_and_baking_nothing_gives_the_program_back() {
    let host = Host::new();
    let first = baked(host.path("").as_path(), &["p256"], "--to s3://first --set db");
    run(&mut on(&host, &first, "bake --to s3://second -o again")).ok();
    let shown = host::json(&run(&mut on(&host, &host.path("again"), "version --json")).ok());
    assert_eq!(shown["baked"], json!({ "recipients": [], "store": "s3://second", "options": {} }));
    run(&mut on(&host, &host.path("again"), "bake -o plain")).ok();
    assert_same(&read(&host.path("plain")), &read(Path::new(env!("CARGO_BIN_EXE_offsite"))), "baking nothing");
    // What else is in the file does not matter, nor whether it still has its name.
    let script = r#"
        strip -o stripped offsite-acme
        ./stripped version --json | cmp - <(./offsite-acme version --json)
        ./stripped bake --set x -o restripped
        ./restripped version | grep -q -e "--set *x"
        exec 3<again
        rm again
        /proc/self/fd/3 bake --set y -o - >nameless
        chmod +x nameless
        ./nameless version | grep -q -e "--set *y""#;
    run(&mut host.bash(script)).ok();
}

#[test]
fn the_copy_is_there_whole_or_not_at_all() {
    let host = Host::new();
    let bake = |options: &str| run(host.offsite("bake -r cert.pem -o out").words(options));
    let mode = || fs::metadata(host.path("out")).unwrap().permissions().mode() & 0o7777;
    bake("").ok();
    assert_eq!(mode() & 0o700, 0o700);
    bake("").fails(1).one_error().says("out exists already").says("--force");
    host.write("out", "somebody else's");
    fs::set_permissions(host.path("out"), Permissions::from_mode(0o644)).unwrap();
    bake("-r key.pem --force").fails(1).one_error();
    assert_eq!(read(&host.path("out")), b"somebody else's");
    bake("--force").ok();
    assert_eq!(mode(), 0o755);
    let with_umask = "rm out; umask 027; \"$OFFSITE\" bake -r cert.pem -o out";
    run(&mut host.bash(with_umask)).ok();
    assert_eq!(mode(), 0o750);
    run(&mut host.bash("cp out own; ./own bake --set own -o own --force; ./own version | grep -q own")).ok();
    run(&mut host.offsite("bake -o /dev/full")).fails(1).one_error().says("No space left");
    run(&mut host.offsite("bake -o missing/out")).fails(1).one_error().says("missing/out");
    let mut left: Vec<_> = fs::read_dir(host.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["cert.pem", "key.pem", "out", "own", "tmp"]);
}

#[test]
fn an_expired_recipient_is_a_warning_when_it_is_baked_in_and_whenever_it_is_used() {
    let host = Host::new();
    let script = r#"
        openssl req -new -subj /CN=old -key key.pem -out request.pem
        openssl x509 -req -days -1 -in request.pem -signkey key.pem -out old.pem 2>/dev/null
        mkdir tree; "$OFFSITE" bake -r old.pem -o offsite-acme"#;
    run(&mut host.bash(script)).ok().says("warning: the certificate of CN=old expired on 20");
    let backup = "backup --host here tree";
    run(on(&host, &host.path("offsite-acme"), backup).env("OFFSITE_STORE", host.path("store")))
        .ok()
        .says("warning: the certificate of CN=old expired on 20");
}
