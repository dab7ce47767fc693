//! Backups in a directory on another host, by the machine's own ssh and a real sshd, which runs at
//! the other end of a pipe: there is no port, and no daemon.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::host::{Host, end, json, start, until};
use support::{Run, assert_same, needed, run, sample};

const MIB: usize = 1 << 20;

/// A host with something to back up, which may log in on the host `far`, and knows its key.
fn host() -> Host {
    let sshd = needed("/usr/sbin/sshd".into());
    let host = Host::new();
    host.write("tree/large", sample(6 * MIB));
    host.write("tree/small", "small");
    if rustix::process::geteuid().is_root() {
        // The system makes this when it starts sshd, which wants it.
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let here = host.path(".").display().to_string();
    host.write(
        "sshd_config",
        format!(
            "HostKey {here}/far\nAuthorizedKeysFile {here}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n"
        ),
    );
    host.write(
        "ssh_config",
        format!(
            "IdentityFile {here}/user\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {here}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nProxyCommand sh {here}/connect\n"
        ),
    );
    host.write("connect", format!("exec {} -i -f {here}/sshd_config", sshd.display()));
    run(&mut host.bash(
        "for key in far user; do ssh-keygen -q -t ed25519 -N '' -f $key; done
         echo \"far $(cat far.pub)\" >known_hosts",
    ))
    .ok();
    host
}

/// A command with the store `far` on the other host.
fn with_store(host: &Host, line: &str) -> Command {
    let mut command = host.offsite(line);
    command.env("OFFSITE_SSH", format!("ssh -F {}", host.path("ssh_config").display()));
    command.env("OFFSITE_STORE", format!("sftp://far{}", host.path("store").display()));
    command
}

fn backup(host: &Host) -> Command {
    with_store(host, "backup -r cert.pem --host here --slice-size 1M tree")
}

#[track_caller]
fn assert_restores(host: &Host) -> Run {
    let restored = run(&mut with_store(host, "restore -k key.pem --into restored")).ok();
    assert_same(&support::read(&host.path("restored/tree/large")), &sample(6 * MIB), &restored.story());
    assert_same(&support::read(&host.path("restored/tree/small")), b"small", &restored.story());
    fs::remove_dir_all(host.path("restored")).unwrap();
    restored
}

#[test]
fn backups_on_another_host_come_back() {
    let host = host();
    run(&mut backup(&host)).ok().says("made this host's signing key");
    run(&mut backup(&host)).ok().does_not_say("not to this store");
    let listed = json(&run(&mut with_store(&host, "list --json")).ok());
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_restores(&host);
    // It is a directory like any other.
    assert_eq!(host.backups().len(), 2);
    assert_eq!(host.clutter(), [""; 0].map(Path::new));
}

#[test]
fn what_ssh_says_is_told() {
    let host = host();
    let failing = |words: &[&str]| {
        let failed = run(&mut backup(&host)).fails(1).one_error();
        words.iter().fold(failed, |failed, words| failed.says(words));
    };
    fs::rename(host.path("user"), host.path("other-user")).unwrap();
    failing(&["cannot open the store", "Permission denied"]);
    fs::rename(host.path("other-user"), host.path("user")).unwrap();
    fs::rename(host.path("known_hosts"), host.path("unknown")).unwrap();
    failing(&["cannot open the store", "Host key verification failed"]);
    fs::rename(host.path("unknown"), host.path("known_hosts")).unwrap();
    let line = "backup -r cert.pem --host here --to sftp://far/nowhere/at/all tree";
    run(&mut with_store(&host, line)).fails(1).one_error().says("there is no /nowhere/at");
    run(backup(&host).env("OFFSITE_SSH", "no-such-ssh")).fails(1).one_error().says("no-such-ssh");
    assert!(!host.path("store").exists());
    run(&mut with_store(&host, "list")).fails(1).one_error();
}

/// The line breaks while an object is on it, again and again, and is there again.
#[test]
fn a_line_that_breaks_is_made_anew() {
    let host = host();
    run(&mut backup(&host)).ok();
    let whole = fs::read_to_string(host.path("connect")).unwrap();
    let server = whole.strip_prefix("exec ").unwrap();
    // Three lines carry a few slices each, and those after them all.
    let script = format!(
        "cd {}; echo >>lines\n[ $(wc -l <lines) -gt 3 ] && exec {server}\nstdbuf -o0 head -c 2500000 | {server}",
        host.path(".").display()
    );
    host.write("connect", script);
    run(backup(&host).arg("--full")).ok();
    assert!(support::read(&host.path("lines")).len() > 3, "no line broke");
    host.write("connect", whole);
    assert_eq!(host.backups().len(), 2);
    assert_restores(&host);
}

/// Killed while an object is put: nothing of it shows.
#[test]
fn a_killed_run_leaves_no_part_of_an_object() {
    let host = host();
    run(&mut backup(&host)).ok();
    let folders = || fs::read_dir(host.path("store/data/here/default")).map_or(0, Iterator::count);
    let mut slow = backup(&host);
    let mut child = start(slow.args(["--limit-upload", "1M"]));
    until("a slice is there", || folders() > 1);
    child.kill().unwrap();
    assert_eq!(end(child).0, None);
    assert_eq!(host.backups().len(), 1);
    assert_restores(&host);
    run(&mut backup(&host)).ok();
    assert_eq!(host.backups().len(), 2);
}
