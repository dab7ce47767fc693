//! Streams backed up and restored, by the command: from standard input and from other programs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::host::{Host, end, feed, start, until};
use support::room::{GIB, MIB, Room, assert_memory, text};
use support::{KeyPair, assert_same, file, folder, run, run_reading, sample};

#[test]
fn a_stream_comes_back_as_it_was() {
    let host = Host::new();
    let inputs = folder();
    for (set, length) in [("empty", 0), ("short", 1), ("large", 20 << 20)] {
        let bytes = sample(length);
        let input = file(&inputs, set, &bytes);
        let options = format!("--slice-size 1M --set {set}-stdin --stdin db.sql");
        run_reading(&mut host.backup(&options), &input).ok();
        let options = format!("--set {set}-exec --exec db.sql -- cat");
        run(host.backup(&options).arg(&input)).ok();
        for given in ["stdin", "exec"] {
            let of = format!("--set {set}-{given}");
            let restored = run(&mut host.restore(&format!("{of} --stdout"))).ok();
            assert_same(&restored.stdout, &bytes, &restored.story());
            run(&mut host.restore(&format!("{of} --into {set}-{given}"))).ok();
            assert_same(&fs::read(host.path(format!("{set}-{given}/db.sql"))).unwrap(), &bytes, &of);
            let verified = run(&mut host.restore(&format!("{of} --dry-run"))).ok();
            assert!(verified.stdout.is_empty());
        }
    }
    let listed = host.backups();
    assert_eq!(listed.len(), 6);
    for backup in &listed {
        let of_set = |part: &str| backup["set"].as_str().unwrap().contains(part);
        assert_eq!(backup["given"], if of_set("stdin") { "stdin" } else { "exec" });
        assert_eq!((&backup["files"], &backup["folders"]), (&1.into(), &0.into()));
        assert_eq!(
            backup["bytes"],
            if of_set("empty") {
                0
            } else if of_set("short") {
                1
            } else {
                20 << 20
            }
        );
    }
    run(&mut host.restore("--set short-exec --tar out.tar"))
        .fails(2)
        .one_error()
        .says("hint: write it out with --stdout");
    run(&mut host.restore("--set short-exec --into out db.sql")).fails(2).one_error().says("no paths");
    assert!(!host.path("out.tar").exists() && !host.path("out").exists());
}

/// Arguments reach the command as they are, through no shell; its input is empty.
#[test]
fn a_command_runs_as_it_was_given() {
    let host = Host::new();
    let script = r#"printf '%s|' "$@"; cat; echo said >&2"#;
    let words = ["sh", "-c", script, "0", "a b", "$HOME;", "*", "", "--set"];
    run(host.backup("--exec out --").args(words)).ok().says("said");
    let restored = run(&mut host.restore("--stdout")).ok();
    assert_eq!(text(restored.stdout), "a b|$HOME;|*||--set|");
}

#[test]
fn a_command_that_fails_leaves_no_backup() {
    let host = Host::new();
    run(host.backup("--exec x -- echo").arg("good")).ok();
    let before = host.backups();
    for (script, said) in [
        ("head -c 3000000 /dev/urandom; exit 3", "sh failed (exit status: 3), so there is no backup"),
        ("exit 1", "sh failed (exit status: 1)"),
        ("head -c 3000000 /dev/urandom; kill -9 $$", "sh failed (signal: 9 (SIGKILL)), so there is no backup"),
        ("echo part; kill -TERM $$", "sh failed (signal: 15 (SIGTERM))"),
    ] {
        let failed = run(host.backup("--slice-size 1M --exec x --").args(["sh", "-c", script])).fails(1).one_error();
        failed.says(said).says("hint: earlier backups are untouched").does_not_say("partial");
        assert_eq!(host.backups(), before);
        assert_eq!(host.clutter(), Vec::<std::path::PathBuf>::new());
    }
    run(&mut host.backup("--exec x -- /nowhere/command"))
        .fails(1)
        .one_error()
        .says("cannot run /nowhere/command: No such file");
    run(&mut host.backup("--exec x -- ./cert.pem"))
        .fails(1)
        .one_error()
        .says("cannot run ./cert.pem: Permission denied");
    assert_eq!(host.backups(), before);
    let restored = run(&mut host.restore("--stdout")).ok();
    assert_eq!(restored.stdout, b"good\n");
}

/// Whether the process whose number is in the file runs.
fn is_running(pid: &Path) -> bool {
    let pid = fs::read_to_string(pid).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // A zombie has ended: that nobody looks at how is its parent's affair.
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// A store that is full ends the run, whatever the command does: writes on and on, ignores that
/// nobody reads, or goes on with something else.
#[test]
fn a_command_ends_with_the_run_that_has_no_room() {
    let host = Host::new();
    for (name, script) in [
        ("endless", "echo $$ >pid; exec cat /dev/urandom"),
        ("busy", "echo $$ >pid; head -c 30000000 /dev/urandom; exec sleep 1000"),
        ("stubborn", "trap '' PIPE TERM; echo $$ >pid; while :; do head -c 1000000 /dev/urandom; done 2>errors"),
    ] {
        let begun = Instant::now();
        let script = format!(
            r#"
            mkdir store; mount -t tmpfs -o size=6m none store
            code=0
            "$OFFSITE" backup -r cert.pem --host here --slice-size 1M --exec x -- sh -c '{script}' || code=$?
            echo "exit $code"
            "$OFFSITE" list
            find store -name '*.unfinished'"#
        );
        let ended = run(&mut host.isolated(&script)).ok().one_error();
        let ended = ended.says("/store: cannot put data/here/default/").says("No space left on device");
        assert_eq!(text(ended.stdout.clone()), "exit 1\n", "{name}: {}", ended.story());
        assert!(!is_running(&host.path("pid")), "{name}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}");
        fs::remove_file(host.path("pid")).unwrap();
        fs::remove_dir(host.path("store")).unwrap();
    }
}

/// An interrupt ends the run, and the command at its next write.
#[test]
fn an_interrupted_stream_leaves_no_backup() {
    let host = Host::new();
    for signal in ["INT", "TERM", "HUP"] {
        let mut stream = start(&mut host.backup("--slice-size 1M --stdin x"));
        feed(&mut stream, &sample(8 << 20));
        run(&mut host.bash(&format!("kill -{signal} {}", stream.id()))).ok();
        assert_eq!(end(stream).0, Some(130), "{signal}");
        assert!(host.backups().is_empty() && host.clutter().is_empty(), "{signal}: {:?}", host.clutter());
    }
    let script = "echo $$ >pid; exec cat /dev/zero";
    let endless = start(host.backup("--exec x --").args(["sh", "-c", script]));
    until("the command runs", || fs::read_to_string(host.path("pid")).is_ok_and(|pid| pid.ends_with('\n')));
    run(&mut host.bash(&format!("kill -TERM {}", endless.id()))).ok();
    assert_eq!(end(endless).0, Some(130));
    until("the command has ended", || !is_running(&host.path("pid")));
    assert!(host.backups().is_empty());
}

const SIZE: u64 = 3 * GIB;

/// `$SIZE` bytes, 64 MiB that cannot be compressed and 64 MiB that can by turns, in constant memory;
/// the long lines of the latter are all different.
const MIXED: &str = r#"
    mixed() {
        for ((part = 0; part < SIZE >> 26; part++)); do
            if ((part % 2)); then
                seq "$part" 16 1000000000 | sed 's/$/ some words that repeat themselves again and again/' | head -c 67108864 || :
            else
                head -c 67108864 /dev/zero | openssl enc -aes-256-ctr -K "$(printf %064x "$part")" -iv "$(printf %032d 2)"
            fi
        done
    }
    export -f mixed
    export OFFSITE_STORE=$PLACE/store OFFSITE_STATE_DIR=$PLACE/state OFFSITE_SIGNING_KEY=$PLACE/signing-key.pem
    limited() { /usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" "$@"; }"#;

#[test]
#[ignore = "large: run by scripts/test"]
fn streams_of_3_gib_in_little_memory() {
    // What cannot be compressed, twice, and some.
    let (room, pair) = (Room::with(4 * GIB), KeyPair::of("p256"));
    let script = |script: &str| {
        let mut command = room.bash(&format!("{MIXED}\n{script}"), SIZE, &pair);
        text(run(command.env("PLACE", room.path("."))).ok().stdout)
    };
    let expected = script("mixed | digest");
    for (set, backup) in [
        ("exec", r#"limited backup -r "$CERT" --host here --set exec --exec mixed -- bash -c mixed"#),
        ("stdin", r#"mixed | limited backup -r "$CERT" --host here --set stdin --stdin mixed"#),
    ] {
        script(backup);
        assert_memory(&room.path("memory"), 160 * MIB);
        let restored = script(&format!(r#"limited restore -k "$KEY" --set {set} --stdout | digest"#));
        assert_eq!(restored, expected, "{set}");
        assert_memory(&room.path("memory"), 192 * MIB);
    }
    let stored = script(r#"du -s --bytes "$OFFSITE_STORE" | cut -f 1"#);
    let stored: u64 = stored.trim().parse().unwrap();
    assert!((SIZE..SIZE * 5 / 4).contains(&stored), "{stored} bytes are stored of two halves");
}
