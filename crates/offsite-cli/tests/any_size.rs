//! Messages of any size, in constant memory: also those that OpenSSL writes but cannot read.
//!
//! These take minutes and about 13 GiB of disk, in `OFFSITE_TEST_LARGE_DIR` or /var/tmp.

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{KeyPair, bash, needed, run};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The plaintext: `$SIZE` bytes that look random and are the same each time, from no file.
const PLAIN: &str = r#"
    plain() {
        head -c "$SIZE" /dev/zero | openssl enc -aes-256-ctr -K "$(printf %064d 1)" -iv "$(printf %032d 2)"
    }
    digest() { openssl dgst -sha256 -r; }"#;

/// One test at a time: together they would need the disk and the memory of all.
static TURN: Mutex<()> = Mutex::new(());

/// A folder with room for large files, for as long as it is this test's turn.
struct Room {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Room {
    #[track_caller]
    fn with(bytes: u64) -> Self {
        // A test that failed in its turn has left nothing behind: the next one may start.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = env::var_os("OFFSITE_TEST_LARGE_DIR").map_or("/var/tmp".into(), PathBuf::from);
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A bash script that finds all there is to know in its environment.
    fn bash(&self, script: &str, size: u64, pair: &KeyPair) -> Command {
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

    /// The SHA-256 of the plaintext.
    fn expected(&self, size: u64, pair: &KeyPair) -> String {
        text(run(&mut self.bash("plain | digest", size, pair)).ok().stdout)
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the program writes text")
}

/// Panics if a program needed more memory, by the file that `/usr/bin/time -f %M` left.
#[track_caller]
fn assert_memory(memory: &Path, most: u64) {
    let kib = fs::read_to_string(memory).expect("time has written its file");
    let kib: u64 = kib.trim().parse().unwrap_or_else(|_| panic!("time wrote {kib:?}"));
    assert!(kib <= most / 1024, "{} MiB resident, at most {} are allowed", kib / 1024, most / MIB);
}

const FROM_FILE: &str = r#"/usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" decrypt -k "$KEY" "$MESSAGE" | digest"#;
const FROM_PIPE: &str = r#"cat "$MESSAGE" | /usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" decrypt -k "$KEY" | digest"#;

/// A message of OpenSSL's, of a size that OpenSSL itself cannot read.
fn opens_what_openssl_cannot(command: &str, cipher: &str, size: u64) {
    // The message, and once more while it comes from a pipe: GCM is verified before it is released.
    let room = Room::with(2 * size + size / 50);
    let pair = KeyPair::of("rsa2048");
    let expected = room.expected(size, &pair);

    let encrypt =
        format!(r#"plain | openssl {command} -encrypt -stream -binary {cipher} -outform DER -out "$MESSAGE" "$CERT""#);
    run(&mut room.bash(&encrypt, size, &pair)).ok();
    let length = fs::metadata(room.path("message")).expect("there is a message").len();
    assert!(length > size, "the message has {length} bytes");

    for script in [FROM_FILE, FROM_PIPE] {
        let decrypted = run(&mut room.bash(script, size, &pair)).ok();
        let story = decrypted.story();
        assert_eq!(text(decrypted.stdout), expected, "{story}");
        assert_memory(&room.path("memory"), 64 * MIB);
    }

    let refuse =
        format!(r#"openssl {command} -decrypt -inform DER -recip "$CERT" -inkey "$KEY" -in "$MESSAGE" -out /dev/null"#);
    let stock = run(&mut room.bash(&refuse, size, &pair));
    assert!(!stock.succeeded(), "OpenSSL can do it, too: {}", stock.story());
}

#[test]
#[ignore = "large: run by scripts/test"]
fn smime_message_of_2_5_gib() {
    opens_what_openssl_cannot("smime", "-aes256", 5 * GIB / 2);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn smime_message_of_6_gib() {
    opens_what_openssl_cannot("smime", "-aes256", 6 * GIB);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn cms_message_of_2_5_gib() {
    opens_what_openssl_cannot("cms", "-aes-256-gcm", 5 * GIB / 2);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn cms_message_of_6_gib() {
    opens_what_openssl_cannot("cms", "-aes-256-gcm", 6 * GIB);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn stream_of_20_gib_from_pipe_to_pipe() {
    // Nothing but the memory reports goes to the disk.
    let (room, size, pair) = (Room::with(MIB), 20 * GIB, KeyPair::of("rsa2048"));
    let expected = room.expected(size, &pair);
    let script = r#"
        plain |
            /usr/bin/time -f %M -o "$MEMORY.encrypt" "$OFFSITE" encrypt -r "$CERT" |
            /usr/bin/time -f %M -o "$MEMORY.decrypt" "$OFFSITE" decrypt -k "$KEY" |
            digest"#;
    let round_trip = run(&mut room.bash(script, size, &pair)).ok();
    let story = round_trip.story();
    assert_eq!(text(round_trip.stdout), expected, "{story}");
    for program in ["memory.encrypt", "memory.decrypt"] {
        assert_memory(&room.path(program), 80 * MIB);
    }
}
