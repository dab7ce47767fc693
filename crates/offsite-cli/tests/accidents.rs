//! Accidents: processes killed and interrupted, disks that are full or read-only. Backups that were
//! there stay, and what is unfinished never passes for a backup.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;
#[path = "../../offsite/tests/support/mod.rs"]
mod trees;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use support::host::{Host, end, start, until};
use support::{Run, run};
use trees::Numbers;
use trees::everything::{assert_identical, noise};

/// A host with some hundred files, and some of more than a slice.
fn host() -> Host {
    let host = Host::new();
    for number in 0..200 {
        host.write(&format!("tree/{}/{number}", number % 7), noise(5000, number + 1));
    }
    for number in 0..3 {
        host.write(&format!("tree/large {number}"), noise(3 << 20, number + 1));
    }
    host
}

const BACKUP: &str = "--slice-size 1M tree";

/// A seed for random moments: another each time, or that of a run which failed.
fn seed() -> u64 {
    let given = env::var("OFFSITE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = given.unwrap_or(now.as_secs() | 1);
    println!("to do it again: OFFSITE_TEST_SEED={seed}");
    seed
}

fn kill(child: &Child, signal: &str) {
    run(support::bash("kill -s \"$0\" \"$1\"").arg(signal).arg(child.id().to_string())).ok();
}

/// Requires a backup to restore to the tree as it is.
#[track_caller]
fn assert_restores(host: &Host, id: &Value) {
    run(host.restore("--into restored --backup").arg(id.as_str().unwrap())).ok();
    assert_identical("-naHAXi", &host.path("tree"), &host.path("restored/tree"));
    fs::remove_dir_all(host.path("restored")).unwrap();
}

/// Runs that something happens to at a random moment of theirs.
struct Disturbed<'h> {
    host: &'h Host,
    moments: Numbers,
    /// How long a run takes that nothing happens to; at most.
    takes: Duration,
}

impl<'h> Disturbed<'h> {
    fn new(host: &'h Host) -> Self {
        Self { host, moments: Numbers(seed()), takes: Duration::from_secs(5) }
    }

    /// Starts a run, disturbs it, and gives its exit code and what it said; `Some(0)` if it ended before.
    fn run(&mut self, disturb: impl FnOnce(&mut Child)) -> (Option<i32>, String) {
        let takes = usize::try_from(self.takes.as_micros()).unwrap();
        let moment = Duration::from_micros(self.moments.below(takes) as u64);
        let begun = Instant::now();
        let mut child = start(&mut self.host.backup(BACKUP));
        while begun.elapsed() < moment {
            if child.try_wait().unwrap().is_some() {
                self.takes = self.takes.min(begun.elapsed());
                break;
            }
            thread::sleep(Duration::from_micros(100));
        }
        if child.try_wait().unwrap().is_none() {
            disturb(&mut child);
        }
        end(child)
    }
}

#[test]
fn killed_at_twenty_random_moments() {
    let host = host();
    let good = first(&host);
    let mut disturbed = Disturbed::new(&host);
    let (mut killed, mut before) = (0, 1);
    while killed < 20 {
        let (code, said) = disturbed.run(|child| child.kill().unwrap());
        assert!(matches!(code, None | Some(0)), "{code:?}: {said}");
        killed += usize::from(code.is_none());
        // A run that was killed at its very end has made its backup, or the next one completes it. No
        // other shows.
        let now = host.backups();
        assert!((before..=before + 2).contains(&now.len()), "{before}, {now:?}");
        before = now.len();
        assert_restores(&host, &good);
    }
    run(&mut host.backup(BACKUP)).ok();
    for backup in host.backups() {
        assert_restores(&host, &backup["id"]);
    }
}

/// The sizes of the slices that each run has put, by run.
fn slices(host: &Host) -> BTreeMap<PathBuf, Vec<u64>> {
    let mut slices = BTreeMap::<PathBuf, Vec<u64>>::new();
    for run in fs::read_dir(host.path("store/data/here/default")).into_iter().flatten().flatten() {
        for object in fs::read_dir(run.path()).unwrap().flatten() {
            if object.file_name().to_string_lossy().starts_with("slice-") {
                slices.entry(run.path()).or_default().push(object.metadata().unwrap().len());
            }
        }
    }
    slices
}

/// What was put before a run was killed is not put again.
#[test]
fn killed_after_most_of_it() {
    const FILES: [(u64, u64); 2] = [(110, 700_000), (3, 25_000_000)];
    let host = Host::new();
    let mut random = File::open("/dev/urandom").unwrap();
    for (count, length) in FILES {
        for number in 0..count {
            let mut file = File::create(host.write(&format!("tree/{length}/{number}"), "")).unwrap();
            io::copy(&mut (&mut random).take(length), &mut file).unwrap();
        }
    }
    let all: u64 = FILES.iter().map(|(count, length)| count * length).sum();
    // What is younger than a file system's clock ticks is read again.
    thread::sleep(Duration::from_secs(3));

    let mut child = start(&mut host.backup(BACKUP));
    let put = || slices(&host).values().flatten().sum::<u64>();
    until("seven tenths are put", || put() * 10 >= all * 7);
    child.kill().unwrap();
    assert_eq!(end(child).0, None, "it ended before");
    let before = put();
    assert!(before * 10 < all * 9, "{before} of {all} bytes");
    assert_eq!(host.backups().len(), 0);

    run(&mut host.backup(BACKUP)).ok();
    let after = put() - before;
    // What the envelopes and the members' headers take, and four slices.
    assert!(after <= all - before + all / 100 + (4 << 20), "{before}, then {after} of {all} bytes");
    assert_eq!(slices(&host).len(), 2);
    assert_restores(&host, &host.backups()[0]["id"]);
}

/// The first backup.
fn first(host: &Host) -> Value {
    run(&mut host.backup(BACKUP)).ok();
    host.backups().pop().unwrap()["id"].clone()
}

/// Killed when the receipt is on its way: it is put again, whether or not it had arrived.
#[test]
fn killed_while_the_receipt_is_put() {
    let host = host();
    run(&mut host.backup(BACKUP)).ok();
    let on_its_way = || pending(&host.path("state"));
    let mut tries = 0;
    while on_its_way().is_empty() {
        tries += 1;
        assert!(tries < 100, "never killed at the right moment");
        let mut child = start(&mut host.backup(BACKUP));
        while on_its_way().is_empty() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        end(child);
    }
    let [receipt] = &on_its_way()[..] else { panic!("several receipts") };
    let id = receipt.file_stem().unwrap().to_str().unwrap().strip_prefix("receipt-").unwrap().to_owned();
    let said = format!("the run that made {id} was interrupted at its end; the backup is complete now");
    run(&mut host.backup(BACKUP)).ok().says(&said);
    run(&mut host.backup(BACKUP)).ok().does_not_say("interrupted");
    assert!(host.backups().iter().any(|backup| backup["id"] == id.as_str()));
    assert_restores(&host, &id.into());
}

/// Receipts in a state that are on their way.
fn pending(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let below = |path: PathBuf| {
        let is_receipt = path.extension().is_some_and(|extension| extension == "p7s");
        if path.is_dir() {
            pending(&path)
        } else if is_receipt {
            vec![path]
        } else {
            Vec::new()
        }
    };
    entries.filter_map(|entry| Some(below(entry.ok()?.path()))).flatten().collect()
}

/// A store that does not take the receipt: no backup until the next run has put it.
#[test]
fn a_receipt_that_could_not_be_put_is_put_by_the_next_run() {
    let host = host();
    let in_the_way = host.write("store/receipts/here/default", "no folder");
    run(&mut host.backup(BACKUP)).fails(1).one_error().says("cannot put receipts/here/default/");
    fs::remove_file(in_the_way).unwrap();
    assert!(host.backups().is_empty());
    run(&mut host.backup(BACKUP)).ok().says("was interrupted at its end; the backup is complete now");
    let all = host.backups();
    assert_eq!(all.len(), 2);
    all.iter().for_each(|backup| assert_restores(&host, &backup["id"]));
}

#[test]
fn interrupted_at_twenty_random_moments() {
    let host = host();
    let good = first(&host);
    let mut disturbed = Disturbed::new(&host);
    let (mut interrupted, mut before) = (0, 1);
    while interrupted < 20 {
        let signal = if interrupted % 2 == 0 { "INT" } else { "TERM" };
        match disturbed.run(|child| kill(child, signal)) {
            (Some(0), _) => {}
            (Some(130), _) => interrupted += 1,
            // It did not listen yet.
            (None, _) => assert_eq!(host.backups().len(), before),
            (code, said) => panic!("{code:?}: {said}"),
        }
        assert_eq!(host.clutter(), Vec::<PathBuf>::new());
        let now = host.backups().len();
        assert!((before..=before + 2).contains(&now), "{before}, {now}");
        before = now;
    }
    assert_restores(&host, &good);
    run(&mut host.backup(BACKUP)).ok();
    assert!(pending(&host.path("state")).is_empty());
}

#[test]
fn an_interrupted_restore_leaves_nothing_half_written() {
    let host = host();
    let good = first(&host);
    let restore = start(&mut host.restore("--tar restored.tar"));
    let unfinished = || {
        fs::read_dir(host.path("."))
            .unwrap()
            .filter(|entry| {
                entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".unfinished"))
            })
            .count()
    };
    until("it is writing", || unfinished() > 0);
    kill(&restore, "TERM");
    assert_eq!(end(restore).0, Some(130));
    assert!(unfinished() == 0 && !host.path("restored.tar").exists());
    assert_restores(&host, &good);
}

/// Runs a script in which `mount` concerns nobody else; `fails` and `succeeds` say how `offsite` ends.
#[track_caller]
fn isolated(host: &Host, script: &str) -> Run {
    let functions = r#"
        backup() { "$OFFSITE" backup -r cert.pem --host here --slice-size 1M "$@"; }
        restore() { "$OFFSITE" restore -k key.pem "$@"; }
        fails() { local code=0; "${@:2}" || code=$?; [[ $code == "$1" ]] || { echo "not $1 but $code: $*" >&2; exit 99; }; }
        # As it was, and alone.
        intact() {
            "$OFFSITE" list --json | python3 -c 'import json, sys; all = json.load(sys.stdin); assert len(all) == 1, all'
            restore --into "$1"
            diff -r small "$1/small"
        }"#;
    run(&mut host.isolated(&format!("{functions}\n{script}"))).ok()
}

/// A host with little to back up as well.
fn host_with_little() -> Host {
    let host = host();
    (0..20).for_each(|number| drop(host.write(&format!("small/{number}"), noise(5000, number + 1))));
    host
}

#[test]
fn a_full_store() {
    let script = r#"
        mkdir store; mount -t tmpfs -o size=4m none store
        backup small
        fails 1 backup --full tree
        intact again
        find store -name '*.unfinished' >clutter
        # Fuller than that: not even a folder.
        fails 1 backup --full tree
        cat /dev/zero >store/.filler || :
        fails 1 backup --set other small
        intact "once more""#;
    let host = host_with_little();
    let said = isolated(&host, script).says("hint: make room there");
    let errors: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("offsite: error")).collect();
    assert_eq!(errors.len(), 3, "{}", said.story());
    for error in errors {
        assert!(
            error.contains("/store: cannot put data/here/") && error.contains("No space left on device"),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(host.path("clutter")).unwrap(), "");
}

#[test]
fn a_store_that_is_read_only() {
    let script = r#"
        mkdir store; mount -t tmpfs none store
        backup small
        mount -o remount,ro none store
        fails 1 backup --full tree
        intact again"#;
    let said = isolated(&host_with_little(), script).one_error();
    said.says("/store: cannot put data/here/default/").says("Read-only file system").says("hint: mount it for writing");
}

#[test]
fn a_state_without_room() {
    let script = r#"
        mkdir state; mount -t tmpfs -o size=256k none state
        backup small
        cat /dev/zero >state/filler || :
        fails 1 backup small
        intact again
        rm state/filler
        mount -o remount,ro none state
        fails 1 backup small
        intact "once more"
        mount -o remount,rw none state
        backup small"#;
    let host = host_with_little();
    let said = isolated(&host, script);
    let errors: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("offsite: error")).collect();
    let [full, read_only] = &errors[..] else { panic!("{}", said.story()) };
    assert!(full.contains("No space left on device"), "{full}");
    assert!(read_only.contains("/state/") && read_only.contains("Read-only file system"), "{read_only}");
}

/// No room where a restore goes, or keeps what it needs for a while.
#[test]
fn a_restore_without_room() {
    let script = r#"
        mkdir full small-target; mount -t tmpfs -o size=4m none full
        # More names than stay in memory.
        mkdir tree/many; (cd tree/many; touch $(printf '%0100d ' {1..1000}))
        backup tree
        fails 1 restore --into full
        fails 1 restore --keep-going --into full/again
        fails 1 restore --tar full/tar
        [[ ! -e full/tar ]]
        find full -name '*.unfinished' >clutter
        fails 1 restore --stdout 'tree/large 0' >/dev/full
        cat /dev/zero >full/filler || :
        TMPDIR=$PWD/full fails 1 restore --into elsewhere
        TMPDIR=$PWD/nowhere fails 1 restore --into elsewhere
        mount -o remount,ro none full
        fails 1 restore --into full/read-only
        fails 1 restore --tar full/read-only.tar
        restore --into well
        diff -r tree well/tree"#;
    let host = host();
    let said = isolated(&host, script);
    let errors: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("offsite: error")).collect();
    assert_eq!(errors.len(), 8, "{}", said.story());
    for error in &errors[..5] {
        assert!(error.contains("No space left on device"), "{error}");
    }
    for error in &errors[6..] {
        assert!(error.contains("full/read-only") && error.contains("Read-only file system"), "{error}");
    }
    assert_eq!(fs::read_to_string(host.path("clutter")).unwrap(), "");
}

/// Whoever has made room goes on, and whoever may not write there is told what to do.
#[test]
fn a_restore_that_is_hindered_goes_on() {
    let script = r#"
        mkdir target closed; mount -t tmpfs -o size=4m none target
        backup tree
        fails 1 restore --into target
        mount -o remount,size=1g none target
        restore --into target --resume
        diff -r tree target/tree
        chmod 555 closed
        fails 1 setpriv --bounding-set=-dac_override "$OFFSITE" restore -k key.pem --into closed"#;
    let said = isolated(&host(), script);
    let after = |error: &str| {
        let mut lines = said.stderr.lines().skip_while(|line| !line.contains(error));
        lines.nth(1).unwrap_or_else(|| panic!("nothing after {error:?} in {}", said.story()))
    };
    assert_eq!(after("No space left on device"), "offsite: hint: make room, then go on with --resume");
    assert_eq!(after("Permission denied"), "offsite: hint: run it as a user who may do this, such as root");
}
