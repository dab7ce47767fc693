//! `offsite doctor`: what it finds in stores of each kind, and that nothing else sees its objects.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use support::host::{Host, json};
use support::s3_server::{Bucket, HOST, Identity, Kind, PREFIX, S3Server};
use support::{KeyPair, Run, Words, offsite, run};

const PAGE: &str = include_str!("../../../docs/s3.md");

/// A host with two recipients.
fn host() -> Host {
    let host = Host::new();
    fs::copy(KeyPair::of("p384").cert, host.path("failsafe.pem")).unwrap();
    host
}

fn doctor(host: &Host, store: &str, line: &str) -> Command {
    let mut command = host.offsite("doctor -r cert.pem -r failsafe.pem --host here --to");
    command.arg(store).words(line);
    command
}

/// The checks that came to this, by name.
fn checks<'r>(report: &'r [Value], result: &str) -> Vec<&'r str> {
    report.iter().filter(|check| check["result"] == result).map(|check| check["check"].as_str().unwrap()).collect()
}

fn field<'r>(report: &'r [Value], check: &str, name: &str) -> &'r str {
    let found = report.iter().find(|row| row["check"] == check).unwrap_or_else(|| panic!("no check {check}"));
    found[name].as_str().unwrap_or_else(|| panic!("{found} has no {name}"))
}

fn report(run: &Run) -> Vec<Value> {
    json(run).as_array().unwrap().clone()
}

struct Fixture {
    server: Arc<S3Server>,
    bucket: Bucket,
    host: Host,
}

impl Fixture {
    fn new(kind: Kind) -> Self {
        let server = S3Server::shared();
        let bucket = server.bucket(kind);
        Self { server, bucket, host: host() }
    }

    fn doctor(&self, who: Identity, prefix: &str) -> Run {
        let location = self.bucket.location_by(prefix, self.server.address());
        run(who.at(&mut doctor(&self.host, &location, "--json")))
    }
}

#[test]
fn a_credential_that_only_puts_into_a_bucket_with_versions_is_as_it_should_be() {
    for prefix in ["", PREFIX] {
        let fixture = Fixture::new(Kind::Lock("GOVERNANCE"));
        let done = fixture.doctor(Identity::Host, prefix).ok();
        let report = report(&done);
        assert_eq!(checks(&report, "finding"), [""; 0], "{}", done.story());
        assert_eq!(checks(&report, "not tried"), ["settings"], "{}", done.story());
        assert_eq!(checks(&report, "note"), ["objects"], "{}", done.story());
        for refused in ["put again", "get", "head", "list", "list all", "list versions", "put elsewhere"] {
            assert!(field(&report, refused, "text").ends_with("tried, and refused"), "{}", done.story());
        }
        for refused in ["put receipt elsewhere", "delete", "delete version"] {
            assert!(field(&report, refused, "text").ends_with("tried, and refused"), "{}", done.story());
        }
        assert!(field(&report, "settings", "remedy").contains(fixture.bucket.name()));
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let keys = fixture.bucket.keys();
        assert_eq!(keys.len(), 2, "{keys:?}");
        for (key, folder) in keys.iter().zip(["data", "receipts"]) {
            assert!(key.starts_with(&format!("{below}{folder}/{HOST}/.doctor/")), "{key}");
        }
    }
}

/// docs/s3.md has a file of identities and policies for SeaweedFS. Here its bucket and its host have other names.
#[test]
fn the_page_sets_up_seaweedfs() {
    let (_, rest) = PAGE.split_once("\n```json\n").unwrap();
    let (text, _) = rest.split_once("\n```\n").unwrap();
    let text = text.replace("acme-backups", "offsite-00").replace("web-1", HOST);
    let server = S3Server::start_with(serde_json::from_str(&text).unwrap());
    let bucket = server.bucket(Kind::Lock("GOVERNANCE"));
    assert_eq!(bucket.name(), "offsite-00");
    let fixture = Fixture { server, bucket, host: host() };
    let done = fixture.doctor(Identity::Host, "").ok();
    assert_eq!(checks(&report(&done), "finding"), [""; 0], "{}", done.story());
    sees_nothing_else(&fixture);
}

#[test]
fn a_credential_that_only_puts_into_a_plain_bucket_can_overwrite() {
    let fixture = Fixture::new(Kind::Plain);
    let done = fixture.doctor(Identity::Host, "").fails(4);
    let report = report(&done);
    assert_eq!(checks(&report, "finding"), ["overwrite"], "{}", done.story());
    let remedy = field(&report, "overwrite", "remedy");
    assert!(remedy.contains("versions") && remedy.contains("If-None-Match"), "{remedy}");
    assert_eq!(checks(&report, "not tried"), ["delete version", "settings"]);
}

#[test]
fn each_power_of_an_administrator_is_named() {
    let others =
        ["get", "head", "list", "list all", "list versions", "put elsewhere", "put receipt elsewhere", "delete"];
    let plain = [&["overwrite"], &others[..]].concat();
    let versions = [&others[..], &["delete version"]].concat();
    for (kind, expected) in [(Kind::Plain, plain), (Kind::Versions, versions)] {
        let fixture = Fixture::new(kind);
        let done = fixture.doctor(Identity::Admin, PREFIX).fails(4);
        let report = report(&done);
        assert_eq!(checks(&report, "finding"), expected, "{kind:?}: {}", done.story());
        for name in expected {
            assert!(!field(&report, name, "remedy").is_empty(), "{name}");
        }
        assert_eq!(fixture.bucket.versions(), [], "{kind:?}: nothing is left");
        assert_eq!(field(&report, "objects", "result"), "ok");
    }
}

#[test]
fn locked_objects_stay_whoever_asks() {
    let fixture = Fixture::new(Kind::Lock("COMPLIANCE"));
    let report = report(&fixture.doctor(Identity::Admin, "").fails(4));
    assert_eq!(field(&report, "delete version", "result"), "ok");
    assert!(field(&report, "delete", "text").ends_with("that only hides it"));
    assert!(field(&report, "objects", "text").contains("data/here-other/.doctor"));
    assert!(fixture.bucket.versions().iter().any(|version| !version.marker));
}

#[test]
fn where_nothing_can_be_put_nothing_else_is_tried() {
    let fixture = Fixture::new(Kind::Versions);
    let done = fixture.doctor(Identity::Reader, "").fails(1);
    let report = report(&done);
    assert_eq!(checks(&report, "finding"), ["put"], "{}", done.story());
    assert!(field(&report, "put", "text").contains("403"), "{}", done.story());
    assert!(field(&report, "put", "remedy").contains("s3:PutObject"));
    assert!(!report.iter().any(|check| check["check"] == "get"), "{}", done.story());
    assert_eq!(fixture.bucket.versions(), []);

    let location = fixture.bucket.location();
    let mut stranger = doctor(&fixture.host, &location, "");
    let done = run(Identity::Host.at(&mut stranger).env("AWS_SECRET_ACCESS_KEY", "wrong")).fails(1);
    assert!(String::from_utf8_lossy(&done.stdout).contains("SignatureDoesNotMatch"), "{}", done.story());
}

#[test]
fn nothing_else_sees_what_it_put() {
    sees_nothing_else(&Fixture::new(Kind::Versions));
}

/// Whoever backs up and restores meets nothing of what doctor has put.
fn sees_nothing_else(fixture: &Fixture) {
    let Fixture { bucket, host, .. } = fixture;
    fixture.doctor(Identity::Host, "").ok();
    let at = |line: &str, who: Identity| {
        let mut command = host.offsite(line);
        who.at(&mut command).env("OFFSITE_STORE", bucket.location());
        command
    };
    let listed = json(&run(&mut at("list --json", Identity::Reader)).ok());
    assert_eq!(listed.as_array().unwrap().len(), 0);
    host.write("tree/file", "content");
    run(&mut at("backup -r cert.pem --host here tree", Identity::Host)).ok();
    fixture.doctor(Identity::Host, "").ok();
    let listed = json(&run(&mut at("list --json", Identity::Reader)).ok());
    assert_eq!(listed.as_array().unwrap().len(), 1);
    run(&mut at("restore -k key.pem --into out", Identity::Reader)).ok();
    let restored = walk(&host.path("out"));
    assert_eq!(restored, ["content"]);
}

/// The contents of all files below a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut contents = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { contents.extend(walk(&path)) } else { contents.push(fs::read_to_string(&path).unwrap()) }
    }
    contents
}

#[test]
fn a_directory_is_its_owners() {
    let host = host();
    let done = run(&mut doctor(&host, "store", "--json")).ok();
    let seen = report(&done);
    assert_eq!(checks(&seen, "note"), ["directory"], "{}", done.story());
    assert!(field(&seen, "put again", "text").ends_with("tried, and refused"));
    assert_eq!(host.clutter(), [""; 0].map(std::path::PathBuf::from));
    host.write("tree/file", "content");
    run(&mut host.backup("tree")).ok();
    run(&mut doctor(&host, "store", "")).ok();
    assert_eq!(host.backups().len(), 1);

    host.write("file", "");
    let done = run(&mut doctor(&host, "file", "--json")).fails(1);
    assert_eq!(checks(&report(&done), "finding"), ["store"], "{}", done.story());
}

#[test]
fn sftp_is_never_put_only() {
    let host = host();
    let server = format!("sh {}", host.write("server", "exec /usr/lib/openssh/sftp-server\n").display());
    let location = format!("sftp://nobody@here{}", host.path("store").display());
    let done = run(doctor(&host, &location, "").env("OFFSITE_SSH", &server)).ok();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("never put-only") && text.contains("snapshots"), "{text}");
    let nowhere = format!("sftp://nobody@here{}", host.path("not/there").display());
    let done = run(doctor(&host, &nowhere, "--json").env("OFFSITE_SSH", &server)).fails(1);
    assert_eq!(checks(&report(&done), "finding"), ["store"], "{}", done.story());
}

#[test]
fn people_read_a_line_a_check_and_then_what_to_do() {
    let host = host();
    let text = String::from_utf8(run(&mut doctor(&host, "store", "")).ok().stdout).unwrap();
    let (checks, remedies) = text.split_once("\nWhat to do:\n").unwrap();
    let first = checks.lines().next().unwrap();
    let text_starts = first.find("backups are here's").unwrap();
    for line in checks.lines() {
        let (head, _) = line.split_at(text_starts);
        assert!(head.starts_with("ok ") || head.starts_with("note ") && head.ends_with("  "), "{line}");
    }
    assert!(remedies.starts_with("  directory: "), "{remedies}");
}

#[test]
fn what_backups_need_on_this_host_is_looked_at() {
    let host = host();
    let key = |line: &str| json(&run(&mut doctor(&host, "store", line)));
    assert!(field(key("--json").as_array().unwrap(), "signing key", "text").contains("the first backup makes it"));
    host.write("tree/file", "content");
    run(&mut host.backup("tree")).ok();
    run(Command::new("chmod").arg("644").arg(host.path("signing-key.pem"))).ok();
    let done = run(&mut doctor(&host, "store", "--json")).fails(1);
    let seen = report(&done);
    assert_eq!(checks(&seen, "finding"), ["signing key"], "{}", done.story());
    assert!(field(&seen, "signing key", "remedy").contains("chmod 600"));

    let one = run(host.offsite("doctor -r cert.pem --host here --to store").env("OFFSITE_STATE_DIR", "file/state"));
    assert!(String::from_utf8_lossy(&one.stdout).contains("there is one only"), "{}", one.story());
    run(&mut offsite("doctor -r nothing.pem --to store --host here")).fails(1).one_error();
}
