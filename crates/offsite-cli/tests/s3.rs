//! Backups in buckets of a real server: by a credential that may only put, over lines that fail, and
//! after attacks on what is stored.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::check_service::{CheckService, Manner};
use support::host::{Host, end, json, start, until};
use support::proxy::{Connections, Cut, Fault, Proxy, Shape};
use support::s3_server::{Bucket, Identity, Kind, PREFIX, S3Server};
use support::tls::{self, TlsServer};
use support::{Run, Words, assert_same, run, sample};

const MIB: usize = 1 << 20;

/// A host with a file of some slices of 1 MiB, and a small one.
fn host() -> Host {
    host_with(6 * MIB)
}

fn host_with(bytes: usize) -> Host {
    let host = Host::new();
    host.write("tree/large", sample(bytes));
    host.write("tree/small", "small");
    host
}

/// `offsite backup` of slices of 1 MiB to a location by the credential that may only put.
fn backup(host: &Host, to: &str, line: &str) -> Command {
    backup_as(host, to, &format!("--host here --slice-size 1M {line}"))
}

fn backup_as(host: &Host, to: &str, line: &str) -> Command {
    let mut command = host.offsite("backup -r cert.pem");
    command.words(line).arg("tree");
    Identity::Host.at(&mut command).env("OFFSITE_STORE", to);
    command
}

/// Another command, by the credential that may only read.
fn read(host: &Host, from: &str, line: &str) -> Command {
    let mut command = host.offsite(line);
    Identity::Reader.at(&mut command).env("OFFSITE_STORE", from);
    command
}

#[track_caller]
fn listed(host: &Host, from: &str) -> Vec<Value> {
    json(&run(&mut read(host, from, "list --json")).ok()).as_array().unwrap().clone()
}

/// Restores with `line`, and compares with what there was.
#[track_caller]
fn assert_restores(host: &Host, from: &str, line: &str, code: i32) -> Run {
    let target = host.path("restored");
    let _ = std::fs::remove_dir_all(&target);
    let restored = run(read(host, from, "restore -k key.pem --into restored").words(line)).fails(code);
    let large = support::read(&host.path("tree/large"));
    assert_same(&support::read(&target.join("tree/large")), &large, &restored.story());
    assert_same(&support::read(&target.join("tree/small")), b"small", &restored.story());
    restored
}

#[test]
fn whoever_may_only_put_backs_up_with_one_request_an_object() {
    let server = S3Server::shared();
    let host = host();
    for prefix in ["", PREFIX] {
        let (bucket, proxy) = (server.bucket(Kind::Plain), Proxy::before(server.address()));
        let by_proxy = bucket.location_by(prefix, proxy.address());
        run(&mut backup(&host, &by_proxy, "")).ok();
        run(&mut backup(&host, &by_proxy, "")).ok().does_not_say("begins anew");
        let requests = proxy.take_requests();
        let mut keys: Vec<_> = requests
            .iter()
            .map(|request| {
                assert_eq!(request.method, "PUT", "{request:?}");
                assert!(!request.target.contains('?'), "{request:?}");
                assert_eq!(request.header("if-none-match"), Some("*"), "{request:?}");
                assert!(request.header("x-amz-checksum-crc32c").is_some(), "{request:?}");
                let key = request.path().strip_prefix(&format!("/{}/", bucket.name())).unwrap();
                key.replace("%20", " ")
            })
            .collect();
        keys.sort();
        assert_eq!(keys, bucket.keys());
        assert!(keys.len() > 15 && keys.iter().all(|key| key.starts_with(prefix)), "{keys:?}");
        let from = bucket.location_by(prefix, server.address());
        assert_eq!(listed(&host, &from).len(), 2);
        assert_restores(&host, &from, "", 0);
    }
}

/// More slices than are kept at once, each got once.
#[test]
fn a_restore_gets_each_object_once() {
    let server = S3Server::shared();
    let (host, bucket, proxy) = (host_with(160 * MIB), server.bucket(Kind::Plain), Proxy::before(server.address()));
    run(&mut backup_as(&host, &bucket.location(), "--host here")).ok();
    run(&mut read(&host, &bucket.location_by("", proxy.address()), "restore -k key.pem --dry-run")).ok();
    let requests = proxy.take_requests();
    assert!(requests.iter().all(|request| request.method == "GET"), "{requests:?}");
    let got = |part: &str| requests.iter().filter(|request| request.path().contains(part)).count();
    let slices = bucket.keys().iter().filter(|key| key.contains("/slice-")).count();
    assert!(slices > 8, "{slices}");
    assert_eq!(got("/slice-"), slices);
    for (part, times) in [("/index.p7m", 1), ("/plan.p7m", 1), ("/slices.sha256", 1), ("/receipts/", 2), (".pem", 0)] {
        assert_eq!(got(part), times, "{part}");
    }
}

#[test]
fn a_locked_bucket_takes_backups() {
    let bucket = S3Server::shared().bucket(Kind::Lock("COMPLIANCE"));
    let host = host();
    run(&mut backup(&host, &bucket.location(), "")).ok();
    for version in bucket.versions() {
        assert_eq!(bucket.delete_version(&version.key, &version.id).unwrap_err().status, 403, "{version:?}");
    }
    assert_restores(&host, &bucket.location(), "", 0);
}

/// Somebody with all rights but that to delete versions puts other bytes over every object, or hides
/// all of them.
#[test]
fn what_was_overwritten_or_hidden_is_restored() {
    // Another server might have a bucket of the same name, and the host take it for the same.
    let (server, host) = (S3Server::shared(), host());
    let overwrite = |bucket: &Bucket| bucket.keys().iter().for_each(|key| bucket.put(key, b"junk"));
    let hide = |bucket: &Bucket| assert!(!bucket.hide().is_empty());
    // What was put over receipts is damage that was found.
    for (name, code) in [("overwritten", 4), ("hidden", 0)] {
        let bucket = server.bucket(Kind::Versions);
        let from = bucket.location();
        run(&mut backup(&host, &from, "")).ok();
        // The service tells times to the second.
        thread::sleep(Duration::from_millis(1500));
        let before = now();
        thread::sleep(Duration::from_millis(1500));
        if code == 4 {
            overwrite(&bucket);
        } else {
            hide(&bucket);
        }
        let words = if code == 4 { "something else was put under its name" } else { "somebody deleted it" };
        let found = run(&mut read(&host, &from, "verify --json")).fails(4).says(words);
        assert!(json(&found)["findings"].as_array().unwrap().len() >= 2, "{name}: of the receipt, and of the data");
        run(&mut read(&host, &from, &format!("verify --store-as-of {before}"))).ok();
        let restored = assert_restores(&host, &from, "", code);
        assert_restores(&host, &from, &format!("--store-as-of {before}"), 0);
        let list = run(&mut read(&host, &from, "list --json")).fails(code);
        let list = json(&list);
        assert_eq!((list.as_array().unwrap().len(), &list[0]["hidden"]), (1, &Value::Bool(name == "hidden")), "{name}");
        if code == 4 {
            restored.says("something else was put under its name; the oldest version is used");
        }
        run(&mut read(&host, &from, "list --host here --store-as-of 2020-01-01")).fails(1).says("no backup");
    }
}

fn now() -> String {
    let now = run(Command::new("date").words("-u +%Y-%m-%dT%H:%M:%SZ")).ok();
    String::from_utf8(now.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_is_wrong_with_a_location_is_told() {
    let server = S3Server::shared();
    let (bucket, host) = (server.bucket(Kind::Plain), host());
    let to = bucket.location();
    let fails = |command: &mut Command, code: i32, words: &[&str]| {
        let failed = run(command).fails(code).one_error();
        words.iter().fold(failed, |failed, words| failed.says(words));
    };
    fails(
        backup(&host, &to, "").env("AWS_SECRET_ACCESS_KEY", "wrong"),
        1,
        &["cannot put data/here/default/", "403, SignatureDoesNotMatch", "hint: the secret key is not the one"],
    );
    fails(
        read(&host, &to, "list").env("AWS_SECRET_ACCESS_KEY", "wrong"),
        1,
        &["cannot list receipts: ", "403, SignatureDoesNotMatch", "hint: the secret key is not the one"],
    );
    fails(
        backup(&host, &to, "").env("AWS_ACCESS_KEY_ID", "nobody"),
        1,
        &["403, InvalidAccessKeyId", "hint: this service has no such key id"],
    );
    fails(
        backup(&host, &to, "").env_remove("AWS_ACCESS_KEY_ID").env("HOME", host.path("tmp")),
        1,
        &["no credentials were found", "hint: set AWS_ACCESS_KEY_ID"],
    );
    fails(
        &mut backup_as(&host, &to, "--host other"),
        1,
        &["cannot put data/other/default/", "403, AccessDenied", "hint: look at bucket and prefix in the location"],
    );
    fails(
        Identity::Host.at(&mut read(&host, &to, "list")),
        1,
        &["cannot list receipts: ", "403, AccessDenied", "hint: a credential that may only put cannot read"],
    );
    let elsewhere = format!("s3://nowhere?endpoint=http://{}", server.address());
    fails(Identity::Admin.at(&mut read(&host, &elsewhere, "list")), 1, &["there is no such bucket", "hint:"]);
    fails(&mut read(&host, "s3://bucket", "list"), 1, &["its region is not known", "hint: name it in the location"]);
    fails(&mut backup(&host, "s3://key:secret@bucket", ""), 2, &["holds no password or access key"]);
    let https = to.replace("http://", "https://");
    fails(
        &mut read(&host, &https, "list"),
        1,
        &["cannot list receipts: what answers there speaks no TLS", "hint: ", "?endpoint=http://"],
    );
    fails(&mut read(&host, "store", "list --store-as-of 2026-01-01"), 1, &["keeps no versions", "hint: --store-as-of"]);
    assert!(bucket.keys().is_empty());
}

/// Slices that no connection carries: an error that says what may help, and nothing that looks like
/// a backup.
fn slices_too_long_for_the_line() {
    let server = S3Server::shared();
    let (host, bucket, proxy) = (host(), server.bucket(Kind::Plain), Proxy::before(server.address()));
    proxy.connections(Connections::Cut { after: 2 * MIB as u64, how: Cut::Reset });
    let to = bucket.location_by("", proxy.address());
    let failed = run(&mut backup_as(&host, &to, "--host here --slice-size 4M")).fails(1).one_error();
    failed.says("cannot put data/here/default/").says("a smaller --slice-size may get through");
    assert!(bucket.keys().iter().all(|key| !key.starts_with("receipts/")), "{:?}", bucket.keys());
    run(&mut read(&host, &bucket.location(), "list --host here")).fails(1).says("no backup");
}

/// Nobody is there, or nothing arrives: it is told soon, tried for a minute, and given up.
#[test]
fn what_does_not_get_through_is_given_up() {
    let host = host();
    let nobody = Proxy::before(S3Server::shared().address());
    nobody.connections(Connections::Refuse);
    let bucket = format!("s3://b?endpoint=http://{}", nobody.address());
    let folder = format!("sftp://{}/store", nobody.address());
    let mut commands =
        [backup(&host, &bucket, ""), read(&host, &bucket, "list"), read(&host, &folder, "list --host here")];
    thread::scope(|scope| {
        scope.spawn(slices_too_long_for_the_line);
        for command in &mut commands {
            scope.spawn(|| {
                let failed = run(command).fails(1).one_error().says("Connection refused");
                let failed = failed.says("; trying again for about a minute").says("hint: nothing listens there");
                failed.does_not_say("slice-size");
            });
        }
    });
}

/// A host's name that leads nowhere is told at once. Where nobody answers for names, that may be for a while: who puts
/// waits, and who reads is there to look.
#[test]
fn a_name_that_leads_nowhere_is_told() {
    let host = host();
    // Nobody else's address of this host.
    let resolver = "127.53.53.53";
    host.write("nsswitch.conf", "hosts: dns\n");
    host.write("resolv.conf", format!("nameserver {resolver}\noptions timeout:1 attempts:1\n"));
    let isolated = |script: &str| {
        let functions = r#"
            mount --bind nsswitch.conf /etc/nsswitch.conf
            mount --bind resolv.conf /etc/resolv.conf
            list() { "$OFFSITE" list --from "$1"; }
            backup() { timeout --signal=KILL 20 "$OFFSITE" backup -r cert.pem --host here --to "$1" tree; }
            fails() { local code=0; "${@:2}" || code=$?; [[ $code == "$1" ]] || exit 99; }
            stores='s3://b?endpoint=http://nobody.invalid sftp://nobody.invalid/store'"#;
        run(Identity::Admin.at(&mut host.isolated(&format!("{functions}\n{script}")))).ok()
    };
    let told = |run: &Run, times: usize| {
        assert_eq!(run.stderr.matches("offsite: error: ").count(), times, "{}", run.story());
        assert_eq!(run.stderr.matches("offsite: hint: look at the host's name").count(), times, "{}", run.story());
    };
    let silent = isolated("for to in $stores; do fails 1 list $to; done");
    told(&silent.does_not_say("trying again").says("Temporary failure in name resolution"), 2);
    let waits = isolated("fails 137 backup ${stores% *}").does_not_say("offsite: error: ");
    waits.says("Temporary failure in name resolution; trying again for about a minute");

    let nobody_has_it = UdpSocket::bind((resolver, 53)).unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = nobody_has_it.recv_from(&mut query) {
            // An answer to what was asked: NXDOMAIN (RFC 1035 §4.1.1).
            query[2..4].copy_from_slice(&[0x81, 0x83]);
            nobody_has_it.send_to(&query[..length], from).unwrap();
        }
    });
    let unknown = isolated("for to in $stores; do fails 1 list $to; fails 1 backup $to; done");
    told(&unknown.does_not_say("trying again").says("Name or service not known"), 4);
}

/// TLS is spoken where it is asked for, and asked for where it is wanted.
#[test]
fn a_service_is_reached_by_tls() {
    let server = S3Server::shared();
    let (bucket, host) = (server.bucket(Kind::Plain), host());
    let by_http = bucket.location_by("", server.tls_address());
    for command in [&mut backup(&host, &by_http, ""), &mut read(&host, &by_http, "list")] {
        let refused = run(command).fails(1).one_error().says("the service answered 400, since it wants https");
        refused.says("hint: ").says("?endpoint=https://").does_not_say("trying again");
    }
    let to = by_http.replace("http://", "https://");
    let trusting = |mut command: Command| run(command.env("SSL_CERT_FILE", server.certificate())).ok();
    trusting(backup(&host, &to, ""));
    trusting(read(&host, &to, "restore -k key.pem --into restored"));
    assert_same(&support::read(&host.path("restored/tree/small")), b"small", "by TLS");
    // What is empty names nothing: the system's are trusted.
    let script = r#"
        mount -t tmpfs none /etc/ssl
        mkdir /etc/ssl/certs
        cp "$CERTIFICATE" /etc/ssl/certs/ca-certificates.crt
        "$OFFSITE" list --host here"#;
    let mut by_the_system = host.isolated(script);
    Identity::Reader.at(&mut by_the_system).env("OFFSITE_STORE", &to).env("CERTIFICATE", server.certificate());
    run(by_the_system.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR")).ok();
    run(by_the_system.env("SSL_CERT_FILE", "").env("SSL_CERT_DIR", "")).ok();
}

/// What is wrong with a certificate is told in plain words, with what may be done about it.
#[test]
fn a_certificate_that_is_not_trusted_ends_it() {
    let host = host();
    let folder = host.path("");
    let good = tls::certificate(&folder, "good", tls::GOOD);
    let dates = |dates: &str| format!("{} {dates}", tls::GOOD);
    for (name, options, words, hint) in [
        (
            "authority",
            tls::GOOD.replace("FALSE", "TRUE"),
            "it is an authority's own (CA:TRUE), not a service's",
            "make one with CA:FALSE that the authority signs",
        ),
        (
            "over",
            dates("-not_before 20200101000000Z -not_after 20200201000000Z"),
            "it expired on 2020-02-01",
            "let the service have a new one",
        ),
        (
            "early",
            dates("-not_before 20990101000000Z -not_after 20990201000000Z"),
            "it is not valid before 2099-01-01",
            "is this machine's clock wrong?",
        ),
        (
            "elsewhere",
            tls::GOOD.replace("IP:127.0.0.1", "DNS:storage.lan"),
            "it is not for 127.0.0.1",
            "name the host as the certificate does",
        ),
    ] {
        let certificate = tls::certificate(&folder, name, &options);
        let server = TlsServer::start(&folder, name);
        let refused = run(read(&host, &server.location("https"), "list").env("SSL_CERT_FILE", certificate)).fails(1);
        let refused = refused.one_error().says(&format!("its certificate is not trusted: {words}"));
        refused.says("offsite: hint: ").says(hint).does_not_say("trying again");
    }
    let server = TlsServer::start(&folder, "good");
    run(&mut read(&host, &server.location("https"), "list"))
        .fails(1)
        .one_error()
        .says("its certificate is not trusted: no authority that is trusted here has signed it")
        .says("hint: name the authority's certificates in SSL_CERT_FILE");
    // One that is trusted gets as far as the answer, which is none of S3.
    run(read(&host, &server.location("https"), "list").env("SSL_CERT_FILE", good))
        .fails(1)
        .one_error()
        .says("what answers there is no S3 service: it answered with a page of HTML")
        .does_not_say("trying again");
}

/// A web server may take anything, and keep nothing: a backup there would be nowhere.
#[test]
fn what_is_no_s3_service_is_told() {
    let host = host();
    let at = |service: &CheckService| format!("s3://b?endpoint={}", service.origin());
    let told = |command: &mut Command, words: &str| {
        let told = run(command).fails(1).one_error().says(&format!("what answers there is no S3 service: {words}"));
        told.says("hint: look at host and port of the endpoint").does_not_say("trying again");
    };
    let takes_all = CheckService::start(Manner::Answers(&[200]));
    told(&mut backup(&host, &at(&takes_all), ""), "it says that it took the object, and gives no ETag");
    let knows_nothing = CheckService::start(Manner::Answers(&[404]));
    told(&mut backup(&host, &at(&knows_nothing), ""), "it answered 404 Not Found");
    told(&mut read(&host, &at(&knows_nothing), "list"), "it answered 404 Not Found");
    // A list that is none may be one that broke off.
    let mut waits = start(&mut read(&host, &at(&takes_all), "list"));
    let mut said = String::new();
    BufReader::new(waits.stderr.take().unwrap()).read_line(&mut said).unwrap();
    waits.kill().unwrap();
    waits.wait().unwrap();
    assert!(said.contains("its answer breaks off, or is none of S3's") && said.contains("; trying again"), "{said}");
}

/// Nobody else is trusted instead of those who were named.
#[test]
fn certificates_that_are_named_must_be_there() {
    let host = host();
    let bucket = S3Server::shared().bucket(Kind::Plain);
    host.write("empty/file", "");
    host.write("full/cert.pem", std::fs::read(host.path("cert.pem")).unwrap());
    for (variable, value, words) in [
        ("SSL_CERT_FILE", "no.pem", "cannot read no.pem, which SSL_CERT_FILE names: No such file or directory"),
        ("SSL_CERT_FILE", "tree", "cannot read tree, which SSL_CERT_FILE names: Is a directory"),
        ("SSL_CERT_FILE", "tree/small", "tree/small, which SSL_CERT_FILE names, holds no certificate"),
        ("SSL_CERT_DIR", "full:no", "cannot read no, which SSL_CERT_DIR names: No such file or directory"),
        ("SSL_CERT_DIR", "full:empty", "empty, which SSL_CERT_DIR names, holds no certificate"),
    ] {
        let to = "s3://b?endpoint=https://127.0.0.1:9";
        for command in [&mut backup(&host, to, ""), &mut read(&host, to, "list")] {
            let refused = run(command.env(variable, value)).fails(1).one_error().does_not_say("trying again");
            refused.says(&format!("{to}: cannot open the store: {words}"));
        }
        // Without TLS nobody needs to be trusted.
        run(read(&host, &bucket.location(), "list").env(variable, value)).ok();
    }
}
/// Backs a host up by way of a proxy that does its worst meanwhile; the bucket and the proxy.
#[track_caller]
fn disturbed(host: &Host, kind: Kind, disturb: impl FnOnce(&Proxy)) -> (Bucket, Proxy) {
    let server = S3Server::shared();
    let (bucket, proxy) = (server.bucket(kind), Proxy::before(server.address()));
    disturb(&proxy);
    run(&mut backup(host, &bucket.location_by("", proxy.address()), "")).ok();
    (bucket, proxy)
}

#[test]
fn a_tenth_of_all_requests_fails_and_the_backup_does_not() {
    let seed: u64 = std::env::var("OFFSITE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    println!("to do it again: OFFSITE_TEST_SEED={seed}");
    let faults = [Fault::Status(500), Fault::Status(503), Fault::Reset, Fault::LoseAnswer];
    // So many requests that none would fail once in ten thousand runs.
    let host = host_with(50 * MIB);
    let (bucket, proxy) = disturbed(&host, Kind::Versions, |proxy| proxy.fail_share(10, &faults, seed));
    // Reading meets the same.
    assert_restores(&host, &bucket.location_by("", proxy.address()), "", 0);
    assert!(proxy.take_requests().iter().any(|request| request.fault.is_some()), "no request failed");
    // No object was put twice.
    let versions = bucket.versions();
    assert!(versions.iter().all(|version| version.latest), "{versions:?}");
}

#[test]
fn an_answer_that_is_lost_is_no_failure() {
    let host = host();
    let (bucket, _) = disturbed(&host, Kind::Plain, |proxy| proxy.fail_next(&[Fault::LoseAnswer; 5]));
    assert_restores(&host, &bucket.location(), "", 0);
}

/// Slices of 1 MiB pass, and a connection carries some of them.
#[test]
fn connections_that_are_cut_are_made_anew() {
    for how in [Cut::Reset, Cut::End] {
        let host = host();
        let (bucket, _) =
            disturbed(&host, Kind::Plain, |proxy| proxy.connections(Connections::Cut { after: 5 * MIB as u64, how }));
        assert_restores(&host, &bucket.location(), "", 0);
    }
}

#[test]
fn a_server_that_stops_and_comes_back() {
    let server = S3Server::start();
    let (host, bucket) = (Host::new(), server.bucket(Kind::Plain));
    host.write("tree/large", sample(6 * MIB));
    host.write("tree/small", "small");
    let child = start(&mut backup(&host, &bucket.location(), "--limit-upload 1M"));
    until("the first slice is there", || !bucket.keys().is_empty());
    server.stop();
    thread::sleep(Duration::from_secs(8));
    server.start_again();
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert_restores(&host, &bucket.location(), "", 0);
}

/// A megabit a second, and a tenth of one between question and answer.
#[test]
fn a_slow_line_is_only_slow() {
    let host = host_with(3 * MIB);
    let (bucket, _) = disturbed(&host, Kind::Plain, |proxy| proxy.shape(Shape::new(100, 1)));
    assert_restores(&host, &bucket.location(), "", 0);
}

/// The limit is kept, by all that is put at once: half of it takes twice as long, or nearly.
#[test]
fn an_upload_keeps_to_its_limit() {
    let (server, host) = (S3Server::shared(), host());
    let takes = |limit: &str| {
        let bucket = server.bucket(Kind::Plain);
        let begun = Instant::now();
        run(&mut backup(&host, &bucket.location(), &format!("--limit-upload {limit}"))).ok();
        begun.elapsed()
    };
    let (slow, fast) = (takes("1M"), takes("4M"));
    assert!(slow > 2 * fast, "{slow:?}, {fast:?}");
}
