//! What the test programs share: running `offsite` and its peers, and key material.
//!
//! The peers are other people's programs, set up by `scripts/setup-peers`. A peer that is not
//! there fails the test that asked for it.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod check_service;
pub(crate) mod fleet;
pub(crate) mod host;
pub(crate) mod ports;
pub(crate) mod proxy;
pub(crate) mod room;
pub(crate) mod s3_server;
pub(crate) mod tls;

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

/// The end of a program that ran: what it was, its exit code and what it said.
pub(crate) struct Run {
    command: String,
    /// `None` if a signal ended it.
    code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Whether the program ended with `code`.
    pub(crate) fn ended(&self, code: i32) -> bool {
        self.code == Some(code)
    }

    /// Panics with all there is to know unless the program ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.succeeded(), "expected success of {}", self.story());
        self
    }

    /// Panics with all there is to know unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit {code} of {}", self.story());
        self
    }

    /// Panics unless standard error contains `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} from {}", self.story());
        self
    }

    /// Panics if standard error contains `text`.
    #[track_caller]
    pub(crate) fn does_not_say(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "unexpected {text:?} from {}", self.story());
        self
    }

    /// Panics unless standard error holds exactly one error line of `offsite`.
    #[track_caller]
    pub(crate) fn one_error(self) -> Self {
        let errors = self.stderr.lines().filter(|line| line.starts_with("offsite: error: ")).count();
        assert!(errors == 1, "expected one error line, not {errors}, from {}", self.story());
        self
    }

    /// The command line and everything that came of it.
    pub(crate) fn story(&self) -> String {
        let stdout = match std::str::from_utf8(&self.stdout) {
            Ok(text) if text.len() <= 4096 => text.to_owned(),
            _ => format!("({} bytes)", self.stdout.len()),
        };
        let code = self.code.map_or("a signal".to_owned(), |code| code.to_string());
        format!("{}\nexit: {code}\nstdout: {stdout}\nstderr: {}", self.command, self.stderr)
    }
}

/// Runs a command to its end, without standard input unless the command brings its own.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Run {
    // `output` would let the child share the terminal's input.
    run_with(command, Stdio::null())
}

/// Runs a command to its end with a file as its standard input.
#[track_caller]
pub(crate) fn run_reading(command: &mut Command, input: &Path) -> Run {
    let file = File::open(input).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
    run_with(command, file.into())
}

#[track_caller]
fn run_with(command: &mut Command, stdin: Stdio) -> Run {
    let line = format!("{command:?}");
    let output = command.stdin(stdin).output().unwrap_or_else(|error| {
        let tool = command.get_program().display();
        match error.kind() {
            ErrorKind::NotFound => panic!("{tool} is missing: run scripts/setup-peers"),
            _ => panic!("cannot run {tool}: {error}"),
        }
    });
    Run {
        command: line,
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Lets a command line be written as it is typed.
pub(crate) trait Words {
    /// Appends the words of `line`.
    fn words(&mut self, line: &str) -> &mut Self;
}

impl Words for Command {
    fn words(&mut self, line: &str) -> &mut Self {
        self.args(line.split_whitespace())
    }
}

/// The program under test.
pub(crate) fn offsite(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.words(line);
    command
}

/// Copies the program under test, for whoever is not let in where it was built. `cp` does: what this process has open
/// to write is open in every child, too, that another test starts just then, and cannot be run until that is gone.
pub(crate) fn copy_offsite(to: &Path) {
    run(Command::new("cp").arg(env!("CARGO_BIN_EXE_offsite")).arg(to)).ok();
}

/// A command line on a terminal of its own, whose kind is said: on one of which nobody knows how to move its cursor, no
/// progress is shown. What it is told on its standard input is typed there.
pub(crate) fn on_a_terminal(line: &str) -> Command {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--echo", "never", "--command", line, "/dev/null"]).env("TERM", "xterm");
    script
}

/// A bash script. Paths reach it through the environment, safe from the shell's quoting.
pub(crate) fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]);
    command
}

/// The OpenSSL programs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenSsl {
    /// The one that this machine came with.
    Stock,
    /// The newest release, built from source.
    Next,
}

impl OpenSsl {
    pub(crate) const ALL: [Self; 2] = [Self::Stock, Self::Next];

    /// This OpenSSL with the words of `line` as its first arguments.
    pub(crate) fn command(self, line: &str) -> Command {
        let mut command = Command::new(self.program());
        self.configure(&mut command);
        command.words(line);
        command
    }

    /// A bash script that finds this OpenSSL as `$OPENSSL`.
    pub(crate) fn bash(self, script: &str) -> Command {
        let mut command = bash(script);
        self.configure(&mut command);
        command.env("OPENSSL", self.program());
        command
    }

    fn program(self) -> PathBuf {
        match self {
            Self::Stock => "openssl".into(),
            Self::Next => needed(peers().join("openssl-next/openssl")),
        }
    }

    fn configure(self, command: &mut Command) {
        if let Self::Next = self {
            command.env("OPENSSL_CONF", peers().join("openssl-next/openssl.cnf"));
        }
    }
}

/// The machine's own OpenSSL.
pub(crate) fn openssl(line: &str) -> Command {
    OpenSsl::Stock.command(line)
}

/// Bouncy Castle, through the small program beside this file.
pub(crate) fn bouncy_castle(line: &str) -> Command {
    let classes = needed(peers().join("java/BcCms.class"));
    let mut class_path = classes.parent().expect("a class lies in a folder").as_os_str().to_owned();
    for jar in ["bcprov", "bcpkix", "bcutil"] {
        class_path.push(":");
        class_path.push(needed(format!("/usr/share/java/{jar}.jar").into()));
    }
    let mut command = Command::new("java");
    // These make a program of half a second start in half the time.
    command.words("-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp").arg(class_path);
    command.arg("BcCms").words(line);
    command
}

/// GnuPG's S/MIME half with one private key, in a home of its own.
pub(crate) struct Gpgsm {
    home: TempDir,
}

impl Gpgsm {
    pub(crate) fn with_key(pair: &KeyPair) -> Self {
        let gpgsm = Self { home: folder() };
        let pkcs12 = pair.pkcs12(gpgsm.home.path());
        gpgsm.run(gpgsm.command("--import").arg(pkcs12)).ok();
        gpgsm
    }

    pub(crate) fn decrypt(&self, message: &Path, out: &Path) -> Run {
        self.run(self.command("--disable-crl-checks -o").arg(out).arg("-d").arg(message))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("gpgsm");
        command.env("GNUPGHOME", self.home.path());
        command.words("--batch --pinentry-mode loopback --passphrase-fd 0").words(line);
        command
    }

    fn run(&self, command: &mut Command) -> Run {
        let passphrase = self.home.path().join("passphrase");
        fs::write(&passphrase, PKCS12_PASSPHRASE).expect("a passphrase file is written");
        run_reading(command, &passphrase)
    }
}

impl Drop for Gpgsm {
    /// Stops the agent that gpgsm started for this home.
    fn drop(&mut self) {
        // A failure must not hide the test's own.
        let _ = Command::new("gpgconf").words("--kill all").env("GNUPGHOME", self.home.path()).output();
    }
}

/// Mozilla's NSS with one private key, in a database of its own.
pub(crate) struct Nss {
    home: TempDir,
}

impl Nss {
    pub(crate) fn with_key(pair: &KeyPair) -> Self {
        let nss = Self { home: folder() };
        let pkcs12 = pair.pkcs12(nss.home.path());
        run(&mut nss.command("certutil", "-N --empty-password")).ok();
        run(nss.command("pk12util", "-i").arg(pkcs12).args(["-W", PKCS12_PASSPHRASE, "-K", ""])).ok();
        nss
    }

    pub(crate) fn decrypt(&self, message: &Path, out: &Path) -> Run {
        run(self.command("cmsutil", "-D -i").arg(message).arg("-o").arg(out))
    }

    fn command(&self, program: &str, line: &str) -> Command {
        let mut database = OsString::from("sql:");
        database.push(self.home.path());
        let mut command = Command::new(program);
        command.arg("-d").arg(database).words(line);
        command
    }
}

/// A private key and its certificate, made by OpenSSL.
#[derive(Clone, Debug)]
pub(crate) struct KeyPair {
    pub(crate) name: &'static str,
    /// The private key alone, PKCS#8.
    pub(crate) key: PathBuf,
    pub(crate) cert: PathBuf,
    /// The private key and the certificate in one file, as `keygen` writes them.
    pub(crate) both: PathBuf,
}

/// The kinds of key that `offsite` knows, each with what `openssl req` calls it.
const KINDS: [(&str, &str); 6] = [
    ("rsa2048", "rsa:2048"),
    ("rsa3072", "rsa:3072"),
    ("rsa4096", "rsa:4096"),
    ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
    ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
    ("p521", "ec -pkeyopt ec_paramgen_curve:P-521"),
];

pub(crate) const RSA: [&str; 3] = ["rsa2048", "rsa3072", "rsa4096"];
pub(crate) const EC: [&str; 3] = ["p256", "p384", "p521"];
pub(crate) const ALL_KINDS: [&str; 6] = ["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521"];

const PKCS12_PASSPHRASE: &str = "transport";

impl KeyPair {
    /// The key pair of this kind: made on first use and kept in the build folder, since RSA keys
    /// take their time.
    pub(crate) fn of(kind: &str) -> Self {
        let &(name, request) =
            KINDS.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("{kind}: no such kind"));
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("key-pair-{name}"));
        if !home.exists() {
            Self::make(name, request, &home);
        }
        Self { name, key: home.join("key.pem"), cert: home.join("cert.pem"), both: home.join("both.pem") }
    }

    fn make(name: &str, request: &str, home: &Path) {
        let parent = home.parent().expect("the folder has a parent");
        let draft = tempfile::tempdir_in(parent).expect("a folder is made in the build folder");
        let path = |file| draft.path().join(file);
        run(openssl("req -x509 -nodes -days 100000 -newkey")
            .words(request)
            .arg("-subj")
            .arg(format!("/CN={name}"))
            .arg("-keyout")
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("cert.pem")))
        .ok();
        fs::write(path("both.pem"), [read(&path("key.pem")), read(&path("cert.pem"))].concat())
            .expect("the key pair is written");
        // Several tests may make the same pair at once: the first whole one stays, for all.
        let _ = fs::rename(draft.path(), home);
        assert!(home.exists(), "{} is not there", home.display());
    }

    pub(crate) fn is_ec(&self) -> bool {
        EC.contains(&self.name)
    }

    /// A PKCS#12 file in the folder `home`, with the old algorithms that gpgsm is limited to.
    fn pkcs12(&self, home: &Path) -> PathBuf {
        let path = home.join("key-pair.p12");
        run(openssl("pkcs12 -export -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -in")
            .arg(&self.both)
            .arg("-passout")
            .arg(format!("pass:{PKCS12_PASSPHRASE}"))
            .arg("-out")
            .arg(&path))
        .ok();
        path
    }
}

/// Runs `check`, which panics if something is wrong, for each case, on all processors, to the
/// end; then panics with every failure. `expected` guards against cases that were lost.
#[track_caller]
pub(crate) fn check_all<Case: Debug + Sync>(cases: &[Case], expected: usize, check: impl Fn(&Case) + Sync) {
    assert_eq!(cases.len(), expected, "the number of cases");
    assert!(expected > 0, "no case at all");
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| check(case))) {
                        let cause = cause.downcast::<String>().map_or("a panic".to_owned(), |text| *text);
                        failures.lock().expect("no panic outside").push(format!("{case:?}\n{cause}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic outside");
    assert!(failures.is_empty(), "{} of {expected} cases failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// A temporary folder.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder is made")
}

/// `length` bytes without a pattern, the same each time.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A file `name` in `folder` that holds `bytes`.
pub(crate) fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Panics unless the file holds exactly `expected`. `story` tells how it came to be.
#[track_caller]
pub(crate) fn assert_holds(path: &Path, expected: &[u8], story: &str) {
    assert_same(&read(path), expected, story);
}

/// Panics, without printing them all, unless the bytes are equal.
#[track_caller]
pub(crate) fn assert_same(actual: &[u8], expected: &[u8], story: &str) {
    if actual != expected {
        let at = actual.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let (actual, expected) = (actual.len(), expected.len());
        panic!("{actual} bytes that differ at {at} from the {expected} expected, after {story}");
    }
}

/// What `scripts/setup-peers` made.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers")
}

#[track_caller]
pub(crate) fn needed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run scripts/setup-peers", path.display());
    path
}

/// Where a program is.
#[track_caller]
pub(crate) fn found_in_path(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{tool} is missing: run scripts/setup-peers"))
}
