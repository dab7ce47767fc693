//! A fast line that is long: how much of it a backup and a restore use, beside curl. It prints a table of
//! one run and judges nothing; `scripts/bench` runs it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::File;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use support::host::Host;
use support::proxy::{Proxy, Shape};
use support::s3_server::{Identity, Kind, S3Server};
use support::{Words, needed, run};

/// Incompressible: 2 GiB.
const BYTES: u64 = 2 << 30;
const PIECES: u64 = 64;
const MIB: f64 = (1 << 20) as f64;

fn rate(time: Duration) -> f64 {
    BYTES as f64 / MIB / time.as_secs_f64()
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

/// Runs a command, and tells its most resident memory in MiB.
fn watched(command: &Command) -> (Duration, f64) {
    let mut time = Command::new(needed("/usr/bin/time".into()));
    time.args(["-f", "%M"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => time.env(name, value),
            None => time.env_remove(name),
        };
    }
    time.current_dir(command.get_current_dir().unwrap());
    let mut said = String::new();
    let took = timed(|| said = run(&mut time).ok().stderr);
    let memory: f64 = said.lines().last().unwrap().trim().parse().unwrap();
    (took, memory / 1024.0)
}

#[test]
#[ignore = "a measurement, of some minutes"]
fn a_long_line_is_filled() {
    let server = S3Server::shared();
    let (bucket, proxy, host) = (server.bucket(Kind::Plain), Proxy::before(server.address()), Host::new());
    let source = host.write("tree/random", "");
    io::copy(&mut io::Read::take(File::open("/dev/urandom").unwrap(), BYTES), &mut File::create(&source).unwrap())
        .unwrap();
    let piece = host.path("piece");
    io::copy(&mut io::Read::take(File::open(&source).unwrap(), BYTES / PIECES), &mut File::create(&piece).unwrap())
        .unwrap();
    let location = bucket.location_by("", proxy.address());
    proxy.shape(Shape::new(50, 1000));
    let urls = |action: &str| -> String {
        (0..PIECES).map(|number| bucket.url(proxy.address(), action, &format!("curl/{number}")) + "\n").collect()
    };
    host.write("puts", urls("put_object"));
    host.write("gets", urls("get_object"));
    let curl = |line: &str| {
        let script = format!("xargs -n1 -P4 curl -sf --noproxy '*' -o /dev/null {line}");
        timed(|| drop(run(&mut host.bash(&script)).ok()))
    };
    let put = curl("-H Expect: -T piece <puts");
    let get = curl("<gets");
    let mut backup = host.backup("");
    Identity::Host.at(backup.arg("tree")).env("OFFSITE_STORE", &location);
    let (backup, backup_memory) = watched(&backup);
    let mut restore = host.restore("");
    Identity::Reader.at(restore.words("--dry-run")).env("OFFSITE_STORE", &location);
    let (restore, restore_memory) = watched(&restore);
    for (what, curl, ours, memory) in
        [("back up to S3", put, backup, backup_memory), ("restore from S3 (`--dry-run`)", get, restore, restore_memory)]
    {
        let share = curl.as_secs_f64() / ours.as_secs_f64();
        println!("| {what} | {:.0} MiB/s | {memory:.0} MiB | {share:.2} |", rate(ours));
    }
}
