//! The S3 server and the proxy of the tests are what the tests of S3 rely on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use support::proxy::{Connections, Cut, Fault, Proxy, Shape};
use support::s3_server::{Bucket, HOST, Identity, Kind, PREFIX, Refused, S3Server};
use support::{Run, Words, run};

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
    assert!(TcpStream::connect(server.address()).is_err(), "somebody still listens");
    assert_eq!(other.bucket(Kind::Plain).keys(), [""; 0]);
    server.start_again();
    support::assert_same(&bucket.get("x"), &support::sample(1 << 20), "a restart");
    bucket.put("y", b"more");
    assert_eq!(bucket.keys(), ["x", "y"]);
}

const MIB: usize = 1 << 20;

/// A bucket, and a proxy before its server.
fn by_proxy() -> (Proxy, Bucket) {
    let server = S3Server::shared();
    (Proxy::before(server.address()), server.bucket(Kind::Plain))
}

fn curl(line: &str) -> Command {
    let mut command = Command::new("curl");
    command.words("--silent --noproxy *").words(line);
    command
}

/// Puts the bytes, as `key`, with options of `curl`. It prints what `answer` reads.
fn curl_puts(proxy: &Proxy, bucket: &Bucket, key: &str, bytes: &[u8], options: &str) -> Run {
    let folder = support::folder();
    let body = support::file(&folder, "body", bytes);
    let url = bucket.url(proxy.address(), "put_object", key);
    run(curl("-H Expect: -o /dev/null -w %{http_code},%{size_upload},%{time_total}")
        .words(options)
        .arg("-T")
        .arg(body)
        .arg(url))
}

/// The status that a put was answered with, how many bytes of the body were sent, and the seconds
/// that it took.
fn answer(run: &Run) -> (u16, usize, f64) {
    let text = text(run);
    let [status, sent, seconds] = *text.split(',').collect::<Vec<_>>() else { panic!("{}", run.story()) };
    (status.parse().unwrap(), sent.parse().unwrap(), seconds.parse().unwrap())
}

#[track_caller]
fn assert_put(run: &Run) {
    assert_eq!(answer(run).0, 200, "{}", run.story());
}

fn text(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

#[test]
fn the_proxy_forwards_and_notes_each_request() {
    let (proxy, bucket) = by_proxy();
    let bytes = support::sample(MIB);
    let key = format!("data/{HOST}/x");
    bucket.put_by(Identity::Host, proxy.address(), &key, &bytes, true).unwrap();
    let requests = proxy.take_requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let put = &requests[0];
    assert_eq!((&*put.method, put.path()), ("PUT", &*format!("/{}/{key}", bucket.name())));
    assert_eq!(put.header("if-none-match"), Some("*"));
    assert!(put.headers.iter().any(|(name, _)| name.starts_with("x-amz-checksum-")), "{put:?}");
    // The client waits for a word before it sends the body.
    assert_eq!(put.header("expect"), Some("100-continue"));
    assert_eq!((put.header("content-length"), put.fault), (Some(&*MIB.to_string()), None));
    support::assert_same(&bucket.get(&key), &bytes, "a put by way of the proxy");

    let got = run(curl("-f").arg(bucket.url(proxy.address(), "get_object", &key))).ok();
    support::assert_same(&got.stdout, &bytes, "a get by way of the proxy");
    let requests = proxy.take_requests();
    assert_eq!((requests.len(), &*requests[0].method), (1, "GET"));
    assert!(requests[0].target.starts_with(&format!("{}?X-Amz-", put.path())), "{requests:?}");
    assert!(proxy.take_requests().is_empty());
}

#[test]
fn requests_meet_the_faults_that_are_set() {
    let (proxy, bucket) = by_proxy();
    // More than the sockets' buffers hold.
    let bytes = support::sample(32 * MIB);
    // What curl makes of each (its exit code), and whether the object is there afterwards.
    let faults = [
        (Fault::Status(500), 0, false),
        (Fault::Status(503), 0, false),
        (Fault::Reset, 56, false),
        (Fault::Swallow, 28, false),
        (Fault::Stall, 28, false),
        (Fault::LoseAnswer, 56, true),
    ];
    let mut there = Vec::new();
    for (number, (fault, code, arrives)) in faults.into_iter().enumerate() {
        let key = format!("{number}");
        proxy.fail_next(&[fault]);
        let put = curl_puts(&proxy, &bucket, &key, &bytes, "--max-time 5").fails(code);
        let (status, sent, _) = answer(&put);
        let backs_up = matches!(fault, Fault::Stall | Fault::Reset);
        assert_eq!(sent < bytes.len(), backs_up, "{fault:?}: {}", put.story());
        if let Fault::Status(expected) = fault {
            assert_eq!(status, expected);
        }
        if arrives {
            support::assert_same(&bucket.get(&key), &bytes, &put.story());
            there.push(key);
        }
        assert_eq!(bucket.keys(), there, "{fault:?}");
        assert_eq!(proxy.take_requests().pop().unwrap().fault, Some(fault));
    }
    // One fault, one request.
    assert_put(&curl_puts(&proxy, &bucket, "0", &bytes, ""));
    // A client that waits for a word before it sends the body gets the answer instead.
    proxy.fail_next(&[Fault::Status(503)]);
    let refused = bucket.put_by(Identity::Admin, proxy.address(), "other", &bytes, true).unwrap_err();
    assert_eq!(refused, Refused { status: 503, code: "SlowDown".to_owned() });
    assert_eq!(bucket.keys(), ["0", &*there[0]]);
}

#[test]
fn a_share_of_requests_fails_and_the_same_ones_each_time() {
    let (proxy, bucket) = by_proxy();
    let statuses = |seed| {
        proxy.fail_share(20, &[Fault::Status(500), Fault::Status(503)], seed);
        let urls = format!("http://{}/{}/[1-200]", proxy.address(), bucket.name());
        let run = run(curl("-o /dev/null -w %{http_code}\\n").arg(urls)).ok();
        text(&run).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = statuses(1);
    assert_eq!(first.len(), 200);
    for (status, least, most) in [("500", 8, 36), ("503", 8, 36), ("403", 140, 180)] {
        let count = first.iter().filter(|code| *code == status).count();
        assert!((least..=most).contains(&count), "{status}: {count}");
    }
    assert_eq!(statuses(1), first);
    assert_ne!(statuses(2), first);
    proxy.fail_none();
    assert_put(&curl_puts(&proxy, &bucket, "x", b"x", ""));
}

#[test]
fn connections_are_refused_and_cut() {
    let (proxy, bucket) = by_proxy();
    let bytes = support::sample(4 * MIB);
    let mut before = TcpStream::connect(proxy.address()).unwrap();
    proxy.connections(Connections::Refuse);
    assert_eq!(std::io::Read::read(&mut before, &mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    curl_puts(&proxy, &bucket, "x", &bytes, "").fails(7);
    for how in [Cut::Reset, Cut::End] {
        proxy.connections(Connections::Cut { after: 2 << 20, how });
        let put = curl_puts(&proxy, &bucket, "x", &bytes, "--max-time 20");
        assert!(!put.succeeded() && !put.ended(28), "{how:?}: {}", put.story());
        assert_put(&curl_puts(&proxy, &bucket, "small", b"x", ""));
    }
    assert_eq!(bucket.keys(), ["small"]);
    proxy.connections(Connections::Pass);
    assert_put(&curl_puts(&proxy, &bucket, "x", &bytes, ""));
    let methods: Vec<_> = proxy.take_requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["PUT"; 5]);
}

#[test]
fn the_line_has_a_rate_and_a_round_trip() {
    let (proxy, bucket) = by_proxy();
    let bytes = support::sample(10 * MIB);
    let seconds = |megabits| {
        proxy.shape(Shape::new(0, megabits));
        let put = curl_puts(&proxy, &bucket, "x", &bytes, "");
        assert_put(&put);
        answer(&put).2
    };
    // The first one in a bucket takes longer.
    seconds(1000);
    let (slow, fast) = (seconds(12), seconds(48));
    // Four, but for what the server takes for itself.
    assert!((2.5..5.0).contains(&(slow / fast)), "12 Mbit/s: {slow} s; 48 Mbit/s: {fast} s");

    // One connection and ten requests on it, one after the other.
    let trips = |round_trip| {
        proxy.shape(Shape { delay: Duration::from_millis(round_trip) / 2, rate: None });
        let start = Instant::now();
        run(curl("-o /dev/null").arg(format!("http://{}/{}/[1-10]", proxy.address(), bucket.name()))).ok();
        start.elapsed()
    };
    let (near, far) = (trips(0), trips(200));
    assert!(far >= Duration::from_millis(11 * 200) && near < far / 2, "{near:?} and {far:?}");
}
