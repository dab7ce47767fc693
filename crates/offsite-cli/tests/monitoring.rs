//! How others learn how runs go: a service that is pinged, Prometheus, the service manager, a collector of logs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::check_service::{CheckService, Manner};
use support::host::{Host, end, feed, json, start, until};
use support::{Run, found_in_path, needed, on_a_terminal, peers, run, sample, tls};

const WELL: Manner = Manner::Answers(&[200]);

/// A host with a tree whose names are nobody else's business.
fn host() -> Host {
    let host = Host::new();
    host.write("tree/private-name", "content");
    host
}

/// A backup of the tree and of what else the line names, with the check's address in the environment.
fn backup(host: &Host, address: &str, line: &str) -> Run {
    run(host.backup(line).arg("tree").env("OFFSITE_PING", address))
}

#[test]
fn a_run_is_told_from_start_to_end() {
    let (host, service) = (host(), CheckService::start(WELL));
    let done = backup(&host, &service.address(), "--json").ok().does_not_say("ping");
    let pings = service.pings();
    assert_eq!(service.paths(), ["/s3cr3t/start", "/s3cr3t"]);
    assert!(pings.iter().all(|ping| ping.method == "POST"), "{pings:?}");
    let (told, printed) = (pings[1].json(), json(&done));
    assert_eq!((&told["command"], &told["exit_code"]), (&Value::from("backup"), &Value::from(0)));
    for count in ["id", "files", "bytes", "stored_bytes", "objects", "errors", "full"] {
        assert_eq!(told[count], printed[count], "{count}");
        assert!(!told[count].is_null(), "{count}");
    }
    assert!(told["seconds"].is_u64());

    // The option counts before the environment, and may have parameters.
    let other = CheckService::start(WELL);
    let option = format!("--ping {}?create=1", other.address());
    backup(&host, &service.address(), &option).ok();
    assert_eq!(service.pings().len(), 2);
    assert_eq!(other.paths(), ["/s3cr3t/start?create=1", "/s3cr3t?create=1"]);

    run(host.offsite("verify --data --ping").arg(service.address())).ok();
    run(host.offsite("drill -k key.pem --ping").arg(service.address())).ok();
    run(host.offsite("prune --keep-within 1d --confirm --ping").arg(service.address())).ok();
    let ends: Vec<Value> =
        service.pings()[2..].iter().filter(|ping| !ping.body.is_empty()).map(|ping| ping.json()).collect();
    let commands: Vec<&str> = ends.iter().map(|told| told["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["verify", "drill", "prune"]);
    assert_eq!((&ends[0]["sets"], &ends[0]["findings"]), (&Value::from(1), &Value::from(0)));
    assert_eq!((&ends[1]["backups"], &ends[1]["failures"]), (&Value::from(1), &Value::from(0)));
    assert_eq!(ends[2]["removed_objects"], 0);
}

#[test]
fn what_is_no_success_is_told_as_such() {
    let host = host();
    let story = |line: &str, code: i32| {
        let service = CheckService::start(WELL);
        backup(&host, &service.address(), line).fails(code);
        let last = service.pings().last().unwrap().clone();
        assert_eq!(last.json()["exit_code"], code);
        (service.paths(), last)
    };
    let (paths, partial) = story("missing", 3);
    assert_eq!(paths, ["/s3cr3t/start", "/s3cr3t/3"]);
    assert_eq!(partial.json()["errors"], 1);
    assert_eq!(story("--to no/such/folder --full", 1).0, ["/s3cr3t/start", "/s3cr3t/fail"]);
    let (paths, wrong) = story("--exclude [", 2);
    assert_eq!(paths, ["/s3cr3t/start", "/s3cr3t/fail"]);
    assert!(wrong.json().get("files").is_none(), "there is no backup: {wrong:?}");

    let slice = run(&mut host.bash("rm store/data/here/default/*/slice-00000000.p7m")).ok();
    let service = CheckService::start(WELL);
    run(host.offsite("verify --ping").arg(service.address())).fails(4);
    assert_eq!(service.paths(), ["/s3cr3t/start", "/s3cr3t/4"], "{}", slice.story());
    assert_ne!(service.pings()[1].json()["findings"], 0);
}

#[test]
fn a_service_learns_no_names() {
    let (host, service) = (host(), CheckService::start(WELL));
    fs::remove_file(host.path("key.pem")).unwrap();
    backup(&host, &service.address(), "--set private-set missing-private-name").fails(3);
    run(host.offsite("drill -k key.pem --ping").arg(service.address())).fails(1);
    let sent: String =
        service.pings().into_iter().map(|ping| String::from_utf8(ping.body).unwrap() + &ping.path).collect();
    for name in ["private", "here", "/store", "tree", "key.pem", host.path("").to_str().unwrap()] {
        assert!(!sent.contains(name), "{name}: {sent}");
    }
}

#[test]
fn a_preview_is_no_run() {
    let (host, service) = (host(), CheckService::start(WELL));
    backup(&host, &service.address(), "--dry-run --metrics here.prom").ok();
    backup(&host, "", "").ok();
    run(host.offsite("prune --keep-within 1d").env("OFFSITE_PING", service.address())).ok();
    assert_eq!(service.paths(), [""; 0]);
    assert!(!host.path("here.prom").exists());
}

#[test]
fn a_service_that_fails_harms_no_run() {
    let host = host();
    backup(&host, "", "").ok();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refuses = format!("http://{unused}/s3cr3t");
    for (address, why, limit) in [
        (refuses, "Connection refused", 8),
        (CheckService::start(Manner::Answers(&[500])).address(), "the service answered 500", 8),
        (CheckService::start(Manner::HangsUp).address(), "cannot ping 127.0.0.1: ", 8),
        (CheckService::start(Manner::Hangs).address(), "no answer", 16),
        // A name that is never found (RFC 6761 §6.4).
        ("https://hc.invalid/s3cr3t".to_owned(), "cannot ping hc.invalid: ", 16),
    ] {
        let began = Instant::now();
        let done = backup(&host, &address, "").ok().says("offsite: warning: cannot ping ").says(why);
        assert!(began.elapsed() < Duration::from_secs(limit), "{:?}: {}", began.elapsed(), done.story());
        assert_eq!(done.stderr.matches("ping").count(), 1, "{}", done.story());
        done.does_not_say("s3cr3t");
    }
    assert_eq!(host.backups().len(), 6);
    // What would be of no use is not tried again, and what is, is.
    let unknown = CheckService::start(Manner::Answers(&[404]));
    backup(&host, &unknown.address(), "").ok().says("the service answered 404");
    assert_eq!(unknown.pings().len(), 2);
    let busy = CheckService::start(Manner::Answers(&[503, 429, 200]));
    backup(&host, &busy.address(), "").ok().does_not_say("ping");
    assert_eq!(busy.paths(), ["/s3cr3t/start", "/s3cr3t/start", "/s3cr3t/start", "/s3cr3t"]);
    // Whose run fails learns of that first.
    let failed = backup(&host, &unknown.address(), "--to no/such/folder").fails(1);
    assert!(failed.stderr.find("error:").unwrap() < failed.stderr.find("cannot ping").unwrap(), "{}", failed.story());
}

#[test]
fn an_address_is_not_shown() {
    let host = host();
    for wrong in ["hc.example/s3cr3t", "ftp://hc.example/s3cr3t"] {
        let refused = backup(&host, wrong, "").fails(2).one_error().says("the address to ping").does_not_say("s3cr3t");
        run(host.backup("tree --ping").arg(wrong)).fails(2).does_not_say("s3cr3t");
        assert!(!host.path("store").exists(), "{}", refused.story());
    }
    for help in ["backup --help", "backup -h", "verify --help"] {
        let shown = run(host.offsite(help).env("OFFSITE_PING", "https://hc.example/s3cr3t")).ok();
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(text.contains("OFFSITE_PING") && !text.contains("s3cr3t"), "{text}");
    }
}

/// The authorities are those of the stores: what is not trusted is not told.
#[test]
fn a_service_behind_tls_must_be_trusted() {
    let host = host();
    let certificate = tls::certificate(&host.path(""), "tls", tls::GOOD);
    let script = r#"
import http.server, ssl
class Check(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        print(self.path, flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Check)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("tls.pem", "tls-key.pem")
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()"#;
    found_in_path("python3");
    let mut server = Command::new("python3");
    server.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server(host.at(&mut server).spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = format!("https://127.0.0.1:{}/s3cr3t", lines.next().unwrap());

    backup(&host, &address, "")
        .ok()
        .says("warning: cannot ping 127.0.0.1: its certificate is not trusted: no authority that is trusted here")
        .does_not_say("s3cr3t");
    let by = |certificates: &Path| {
        run(host.backup("tree").env("OFFSITE_PING", &address).env("SSL_CERT_FILE", certificates)).ok()
    };
    by(&certificate).does_not_say("ping");
    assert_eq!([lines.next().unwrap(), lines.next().unwrap()], ["/s3cr3t/start", "/s3cr3t"]);
    // Nobody else is trusted instead of those who were named.
    let no_such = "warning: cannot ping 127.0.0.1: cannot read no.pem, which SSL_CERT_FILE names: No such file";
    by(Path::new("no.pem")).says(no_such).does_not_say("s3cr3t");
    // Who needs no TLS, needs no certificates.
    let plain = CheckService::start(WELL);
    let done = run(host.backup("tree").env("OFFSITE_PING", plain.address()).env("SSL_CERT_FILE", "no.pem"));
    done.ok().does_not_say("ping");
}

/// A program that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupt_is_told() {
    let (host, service) = (host(), CheckService::start(WELL));
    let mut command = host.backup("--stdin dump --metrics here.prom");
    let mut child = start(command.env("OFFSITE_PING", service.address()));
    feed(&mut child, &sample(4 << 20));
    until("the start is told", || !service.pings().is_empty());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(end(child).0, Some(130));
    assert_eq!(service.paths(), ["/s3cr3t/start", "/s3cr3t/fail"]);
    assert_eq!(service.pings()[1].json()["exit_code"], 130);
    assert_eq!(metrics(&host.path("here.prom"))["offsite_backup_exit_code"]["value"], 130.0);
    assert_eq!(host.backups().len(), 0);

    // Nobody who presses Ctrl-C waits long for a service that hangs.
    let hangs = CheckService::start(Manner::Hangs);
    let mut child = start(host.backup("--stdin dump").env("OFFSITE_PING", hangs.address()));
    feed(&mut child, &sample(4 << 20));
    until("the start is told", || !hangs.pings().is_empty());
    let began = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(end(child).0, Some(130));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A file of metrics, as Prometheus's own parser reads it: by name.
#[track_caller]
fn metrics(path: &Path) -> Value {
    let script = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families
metrics = {}
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    assert family.documentation and family.type == "gauge" and len(family.samples) == 1, family
    sample = family.samples[0]
    assert sample.name not in metrics, sample
    metrics[sample.name] = {"labels": sample.labels, "value": sample.value}
print(json.dumps(metrics))"#;
    let packages = needed(peers().join("python/prometheus_client"));
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(path).env("PYTHONPATH", packages.parent().unwrap());
    json(&run(&mut python).ok())
}

#[test]
fn prometheus_reads_the_metrics() {
    let host = host();
    fs::create_dir(host.path("collector")).unwrap();
    let path = host.path("collector/here.prom");
    let value = |metrics: &Value, name: &str| metrics[format!("offsite_backup_{name}")]["value"].as_f64();
    let run_with = |line: &str| run(&mut host.backup(&format!("--json --metrics collector/here.prom {line}")));
    let seconds = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();

    let began = seconds();
    let printed = json(&run_with("tree").ok());
    let first = metrics(&path);
    assert_eq!(first.as_object().unwrap().len(), 11, "{first}");
    for metric in first.as_object().unwrap().values() {
        assert_eq!(metric["labels"], serde_json::json!({ "host": "here", "set": "default" }));
    }
    for count in ["files", "bytes", "stored_bytes", "objects", "errors"] {
        assert_eq!(value(&first, count), printed[count].as_f64(), "{count}");
    }
    assert_eq!((value(&first, "full"), value(&first, "exit_code")), (Some(1.0), Some(0.0)));
    let (start, end) =
        (value(&first, "start_timestamp_seconds").unwrap(), value(&first, "end_timestamp_seconds").unwrap());
    assert!(began - 0.01 <= start && start <= end && end <= seconds(), "{began} {first}");
    assert!((value(&first, "duration_seconds").unwrap() - (end - start)).abs() < 0.01);
    assert_eq!(value(&first, "last_success_timestamp_seconds"), Some(end));
    let put = run(&mut host.bash("find store/data store/receipts -type f | wc -l")).ok();
    assert_eq!(String::from_utf8(put.stdout).unwrap().trim().parse().ok(), value(&first, "objects"));

    // A run that fails, and one that is partial, keep the time of the last success.
    run_with("--to no/such/folder tree").fails(1);
    let failed = metrics(&path);
    assert_eq!((value(&failed, "exit_code"), value(&failed, "files")), (Some(1.0), None), "{failed}");
    assert_eq!(value(&failed, "last_success_timestamp_seconds"), Some(end));
    assert!(value(&failed, "end_timestamp_seconds").unwrap() > end);
    run_with("--full tree missing").fails(3);
    let partial = metrics(&path);
    assert_eq!((value(&partial, "exit_code"), value(&partial, "errors")), (Some(3.0), Some(1.0)));
    assert_eq!(value(&partial, "last_success_timestamp_seconds"), Some(end));
    run_with("tree missing").fails(3);
    assert_eq!(value(&metrics(&path), "full"), Some(0.0));
    run_with("--exclude [ tree").fails(2);
    assert_eq!(value(&metrics(&path), "exit_code"), Some(2.0));

    // Another set's is another file: it does not pass this one's success off as its own.
    run_with("--set other --to no/such/folder tree").fails(1);
    let other = metrics(&path);
    assert_eq!(other["offsite_backup_exit_code"]["labels"]["set"], "other");
    assert_eq!(value(&other, "last_success_timestamp_seconds"), None);

    let left: Vec<_> = fs::read_dir(host.path("collector")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["here.prom"]);
}

#[test]
fn metrics_are_everybodys_and_never_the_reason_of_a_failure() {
    let host = host();
    run(&mut host.bash("umask 077; \"$OFFSITE\" backup -r cert.pem --host here --metrics here.prom tree")).ok();
    let mode = || fs::metadata(host.path("here.prom")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o644);
    fs::set_permissions(host.path("here.prom"), fs::Permissions::from_mode(0o600)).unwrap();
    // What is no file of ours is replaced all the same.
    fs::write(host.path("here.prom"), [0xff; 100]).unwrap();
    run(&mut host.backup("--metrics here.prom tree")).ok();
    assert_eq!((mode(), metrics(&host.path("here.prom")).as_object().unwrap().len()), (0o644, 11));
    for wrong in ["no/such/folder/here.prom", "tree"] {
        run(&mut host.backup(&format!("--metrics {wrong} tree")))
            .ok()
            .says("offsite: warning: cannot write ")
            .says(wrong);
    }
}

/// Each line of standard error, as the object that it is.
#[track_caller]
fn messages(run: &Run) -> Vec<Value> {
    assert!(!run.stderr.is_empty(), "nothing at all from {}", run.story());
    let message = |line: &str| {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", run.story()));
        let time = message["time"].as_str().expect("a time").to_owned();
        assert!(time.len() == 20 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
        assert!(["error", "warning", "hint", "info"].contains(&message["level"].as_str().unwrap()), "{message}");
        assert!(!message["message"].as_str().unwrap().is_empty());
        message
    };
    run.stderr.lines().map(message).collect()
}

/// Whether one of the messages says it, at that level.
#[track_caller]
fn said(run: &Run, level: &str, text: &str) -> Value {
    let messages = messages(run);
    let found = messages.iter().find(|one| one["level"] == level && one["message"].as_str().unwrap().contains(text));
    found.unwrap_or_else(|| panic!("no {level} {text:?} from {}", run.story())).clone()
}

#[test]
fn a_log_of_json_has_no_other_line() {
    let host = host();
    let json_log = |mut command: Command| run(command.args(["--log-format", "json"]));
    let first = json_log(host.backup("tree")).ok();
    said(&first, "warning", "made this host's signing key");
    said(&first, "warning", "there is one recipient only");
    said(&first, "info", "the first backup of this set");
    said(&first, "info", "backed up 1 file, 1 folder");
    let partial = json_log(host.backup("--full tree missing")).fails(3);
    said(&partial, "warning", "cannot read missing");
    let missing = json_log(host.backup("missing")).fails(1);
    said(&missing, "error", "cannot read missing");
    let other = json_log(host.backup("tree/private-name")).fails(2);
    assert!(said(&other, "error", "is of other paths")["hint"].as_str().unwrap().contains("--full makes"));

    // What a command says, to its last word, and that it failed.
    let script = "echo one >&2; echo; printf 'caf\\351 two' >&2; exit 7";
    let mut failing = host.offsite("--log-format json backup -r cert.pem --host here --set db --exec db.sql -- sh -c");
    let failed = run(failing.arg(script)).fails(1);
    assert_eq!(said(&failed, "info", "one")["program"], "sh");
    said(&failed, "info", "caf\u{fffd} two");
    assert_eq!(said(&failed, "error", "7").get("program"), None);

    let restored = run(&mut host.restore("--tar - --json --log-format=json")).ok();
    assert_eq!(said(&restored, "info", "summary")["summary"]["entries"], 2);
    run(&mut host.bash("rm store/data/here/default/*/slice-00000000.p7m")).ok();
    let damaged = json_log(host.offsite("verify")).fails(4);
    said(&damaged, "error", "slice-00000000.p7m");
    said(&damaged, "hint", "");
    said(&json_log(host.restore("--into out --keep-going")).fails(4), "error", "lost: ");

    // What cannot even be read as a command.
    for line in
        ["--log-format json nonsense", "--log-format=json", "backup --log-format json", "verify --log-format=json --x"]
    {
        let wrong = run(&mut host.offsite(line)).fails(2);
        assert_eq!(messages(&wrong).len(), 1, "{line}: {}", wrong.story());
    }
    // What is no option of ours asks for nothing.
    let text = run(host.offsite("backup --exec x --bad -- echo").args(["--log-format", "json"])).fails(2);
    text.says("offsite: error: unexpected argument '--bad'");
}

#[test]
fn a_log_of_json_shows_no_progress() {
    let host = host();
    host.write("tree/large", sample(64 << 20));
    let line = format!("{} backup -r cert.pem --host here tree --log-format json", env!("CARGO_BIN_EXE_offsite"));
    let done = run(host.at(&mut on_a_terminal(&line))).ok();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.lines().count() >= 3 && text.lines().all(|line| line.starts_with('{') && line.ends_with('}')),
        "{text}"
    );
}

/// A service manager: it hears what it is told as it is told, since a socket holds but a few messages.
struct Manager(thread::JoinHandle<Vec<String>>);

impl Manager {
    fn at(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(thread::spawn(move || {
            let mut messages = Vec::new();
            while messages.last().is_none_or(|last| last != "STOPPING=1") {
                let mut message = [0; 4096];
                let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("{error}, after {messages:?}"));
                messages.push(String::from_utf8(message[..length].to_vec()).unwrap());
            }
            messages
        }))
    }

    /// What it was told, from the begin to the end.
    #[track_caller]
    fn told(self) -> Vec<String> {
        self.0.join().expect("it hears the end")
    }
}

#[test]
fn a_service_manager_is_told() {
    let host = host();
    let path = host.path("notify");
    let manager = || {
        let _ = fs::remove_file(&path);
        Manager::at(&SocketAddr::from_pathname(&path).unwrap())
    };
    for (line, code) in [("tree", 0), ("missing", 1)] {
        let manager = manager();
        let ended = run(host.backup(line).env("NOTIFY_SOCKET", &path));
        assert!(ended.ended(code), "{}", ended.story());
        assert_eq!(manager.told(), ["READY=1", "STOPPING=1"]);
    }
    // The watchdog of another process.
    let other = manager();
    let mut command = host.backup("--set other --stdin dump");
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    let mut child = start(&mut command);
    feed(&mut child, &sample(4 << 20));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(end(child).0, Some(0));
    assert_eq!(other.told(), ["READY=1", "STOPPING=1"]);
    // A manager that is not there.
    fs::remove_file(&path).unwrap();
    run(host.backup("tree").env("NOTIFY_SOCKET", &path)).ok();
}

/// By a name without a file, in a run that lasts: what it has done, and that it lives.
#[test]
fn a_service_manager_hears_of_progress() {
    let host = host();
    let name = format!("offsite-test-{}", std::process::id());
    let manager = Manager::at(&SocketAddr::from_abstract_name(&name).unwrap());
    let mut command = host.backup("--stdin dump");
    let mut child = start(command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "1000000"));
    feed(&mut child, &sample(5 << 20));
    thread::sleep(Duration::from_secs(7));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(end(child).0, Some(130));
    let messages = manager.told();
    assert_eq!(messages[0], "READY=1");
    let count = |text: &str| messages.iter().filter(|message| message.starts_with(text)).count();
    assert!((10..=16).contains(&count("WATCHDOG=1")), "{messages:?}");
    assert_eq!(count("STATUS="), 1, "{messages:?}");
    let status = messages.iter().find(|message| message.starts_with("STATUS=")).unwrap();
    assert!(status.ends_with(" MiB done"), "{status}");
}
