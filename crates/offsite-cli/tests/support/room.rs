//! A folder with room for large files, and how much memory a program took.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::{KeyPair, bash, needed, run};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// The plaintext: `$SIZE` bytes that look random and are the same each time, from no file.
const PLAIN: &str = r#"
    plain() {
        head -c "$SIZE" /dev/zero |
            openssl enc -aes-256-ctr -K "$(printf %064d 1)" -iv "$(printf %032d 2)" -bufsize 64k
    }
    is_plain() { cmp - <(plain); }
    digest() { openssl dgst -sha256 -r; }"#;

/// One test at a time: together they would need the disk and the memory of all.
static TURN: Mutex<()> = Mutex::new(());

/// A folder with room for large files, for as long as it is this test's turn.
pub(crate) struct Room {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Room {
    #[track_caller]
    pub(crate) fn with(bytes: u64) -> Self {
        Self::within("/var/tmp", bytes)
    }

    /// In a folder within this one, unless `OFFSITE_TEST_LARGE_DIR` names another.
    #[track_caller]
    pub(crate) fn within(parent: &str, bytes: u64) -> Self {
        // A test that failed in its turn has left nothing behind: the next one may start.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = env::var_os("OFFSITE_TEST_LARGE_DIR").map_or(parent.into(), PathBuf::from);
        let df = run(Command::new("df").args(["--output=avail", "-B1"]).arg(&parent)).ok();
        let df = String::from_utf8_lossy(&df.stdout).into_owned();
        let free: u64 = df.split_whitespace().last().and_then(|word| word.parse().ok()).expect("df prints a number");
        assert!(
            free >= bytes,
            "{} has {} MiB free, {} MiB are needed: name another folder in OFFSITE_TEST_LARGE_DIR",
            parent.display(),
            free / MIB,
            bytes / MIB
        );
        let folder = tempfile::tempdir_in(&parent).expect("a folder is made");
        Self { folder, _turn: turn }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A bash script that finds all there is to know in its environment.
    pub(crate) fn bash(&self, script: &str, size: u64, pair: &KeyPair) -> Command {
        needed("/usr/bin/time".into());
        let mut command = bash(&format!("{PLAIN}\n{script}"));
        command
            .env("SIZE", size.to_string())
            .env("OFFSITE", env!("CARGO_BIN_EXE_offsite"))
            .env("CERT", &pair.cert)
            .env("KEY", &pair.both)
            .env("MESSAGE", self.path("message"))
            .env("MEMORY", self.path("memory"))
            // `offsite` spools what comes from a pipe here.
            .env("TMPDIR", self.folder.path());
        command
    }
}

/// What a program wrote.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the program writes text")
}

/// Panics if a program needed more memory, by the file that `/usr/bin/time -f %M` left.
#[track_caller]
pub(crate) fn assert_memory(memory: &Path, most: u64) {
    let kib = fs::read_to_string(memory).expect("time has written its file");
    let kib: u64 = kib.trim().parse().unwrap_or_else(|_| panic!("time wrote {kib:?}"));
    assert!(kib <= most / 1024, "{} MiB resident, at most {} are allowed", kib / 1024, most / MIB);
}
