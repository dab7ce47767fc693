//! The S3 server and the proxy of the tests are what the tests of S3 rely on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::s3_server::{Bucket, HOST, Identity, Kind, PREFIX, Refused, S3Server};

fn denied<T>() -> Result<T, Refused> {
    Err(Refused { status: 403, code: "AccessDenied".to_owned() })
}

/// A put by the host where there is no object of this name.
fn host_puts(server: &S3Server, bucket: &Bucket, key: &str) -> Result<(), Refused> {
    bucket.put_by(Identity::Host, server.address(), key, b"of the host", true)
}

#[test]
fn the_host_may_only_put_and_only_its_own() {
    let server = S3Server::shared();
    let bucket = server.bucket(Kind::Plain);
    let mine = [format!("data/{HOST}/s/b/slice"), format!("receipts/{HOST}/s/b.p7s")];
    let below = mine.clone().map(|key| format!("{PREFIX}/{key}"));
    for key in mine.iter().chain(&below) {
        host_puts(&server, &bucket, key).unwrap();
        let again = Refused { status: 412, code: "PreconditionFailed".to_owned() };
        assert_eq!(host_puts(&server, &bucket, key), Err(again), "{key}");
        assert_eq!(bucket.get(key), b"of the host");
    }
    for key in ["data/other/x", "receipts/other/x", "data/x", "x", &format!("other/data/{HOST}/x")] {
        assert_eq!(host_puts(&server, &bucket, key), denied(), "{key}");
    }
    let requests: [(&str, &[&str]); 5] = [
        ("keys", &[]),
        ("versions", &[]),
        ("get", &[&mine[0], "/dev/null"]),
        ("delete", &[&mine[0]]),
        ("retention", &[&mine[0]]),
    ];
    for (request, arguments) in requests {
        let answer = bucket.ask_by(Identity::Host, server.address(), request, arguments);
        assert_eq!(answer, denied(), "{request}");
    }
    let mut all = [mine, below].concat();
    all.sort();
    assert_eq!(bucket.keys(), all);
}

#[test]
fn the_reader_reads_and_changes_nothing() {
    let server = S3Server::shared();
    let bucket = server.bucket(Kind::Versions);
    bucket.put("x", b"first");
    bucket.put("x", b"second!");
    let ask = |request, arguments: &[&str]| bucket.ask_by(Identity::Reader, server.address(), request, arguments);
    assert_eq!(ask("keys", &[]).unwrap(), serde_json::json!(["x"]));
    assert_eq!(ask("versions", &[]).unwrap().as_array().unwrap().len(), 2);
    let first = &bucket.versions()[1];
    ask("get", &["x", "/dev/null", "--version", &first.id]).unwrap();
    assert_eq!(ask("delete", &["x"]), denied());
    assert_eq!(ask("delete", &["x", "--version", &first.id]), denied());
    assert_eq!(bucket.put_by(Identity::Reader, server.address(), "x", b"", false), denied());
    assert_eq!(bucket.get("x"), b"second!");
}

#[test]
fn versions_outlive_what_is_put_over_them_and_what_hides_them() {
    let bucket = S3Server::shared().bucket(Kind::Versions);
    bucket.put("x", b"first");
    bucket.put("x", b"second!");
    assert_eq!(bucket.hide(), ["x"]);
    assert!(bucket.keys().is_empty());
    let versions = bucket.versions();
    let seen: Vec<_> = versions.iter().map(|version| (version.marker, version.latest, version.size)).collect();
    assert_eq!(seen, [(true, true, 0), (false, false, 7), (false, false, 5)]);
    assert_eq!(bucket.get_version("x", &versions[2].id), b"first");
    bucket.delete_version("x", &versions[0].id).unwrap();
    assert_eq!(bucket.get("x"), b"second!");
    bucket.delete_version("x", &versions[1].id).unwrap();
    assert_eq!(bucket.get("x"), b"first");
}

#[test]
fn a_lock_keeps_versions_from_the_administrator() {
    let modes = ["GOVERNANCE", "COMPLIANCE"];
    for mode in modes {
        let bucket = S3Server::shared().bucket(Kind::Lock(mode));
        bucket.put("x", b"first");
        assert_eq!(bucket.ask("retention", &["x"])["mode"], mode);
        let locked = bucket.versions().remove(0);
        assert_eq!(bucket.delete_version("x", &locked.id).unwrap_err().status, 403, "{mode}");
        bucket.put("x", b"second!");
        bucket.hide();
        assert_eq!(bucket.get_version("x", &locked.id), b"first");
    }
}

#[test]
fn a_server_comes_back_with_what_it_held() {
    let server = S3Server::start();
    let other = S3Server::start();
    let bucket = server.bucket(Kind::Plain);
    bucket.put("x", &support::sample(1 << 20));
    server.stop();
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "somebody still listens");
    assert_eq!(other.bucket(Kind::Plain).keys(), [""; 0]);
    server.start_again();
    support::assert_same(&bucket.get("x"), &support::sample(1 << 20), "a restart");
    bucket.put("y", b"more");
    assert_eq!(bucket.keys(), ["x", "y"]);
}
