//! A host that is backed up: with a store, a state and a signing key of its own, and a recipient.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{KeyPair, Run, Words, bash, found_in_path, run};

/// Where things lie is fixed, below one folder: `store`, `state`, `signing-key.pem`, `cert.pem`,
/// `key.pem`, `tmp`. Commands run in that folder.
pub(crate) struct Host {
    folder: TempDir,
}

/// What a test's environment may say of stores.
const VARIABLES: [&str; 3] = ["OFFSITE_RECIPIENTS", "OFFSITE_SIGNERS", "XDG_STATE_HOME"];

impl Host {
    pub(crate) fn new() -> Self {
        Self::of(super::folder())
    }

    /// Below a folder that has room for more than the usual one.
    pub(crate) fn within(parent: &Path) -> Self {
        Self::of(tempfile::tempdir_in(parent).expect("a folder is made"))
    }

    fn of(folder: TempDir) -> Self {
        let host = Self { folder };
        let pair = KeyPair::of("p256");
        fs::copy(&pair.cert, host.path("cert.pem")).expect("the certificate is copied");
        fs::copy(&pair.both, host.path("key.pem")).expect("the key is copied");
        fs::create_dir(host.path("tmp")).expect("a folder is made");
        host
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and makes the folders that it lies in.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("the file lies in a folder")).expect("a folder is made");
        fs::write(&path, bytes).expect("a file is written");
        path
    }

    /// Gives a command the host's environment.
    pub(crate) fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.env("OFFSITE", env!("CARGO_BIN_EXE_offsite"));
        command.env("OFFSITE_STORE", self.path("store")).env("OFFSITE_STATE_DIR", self.path("state"));
        command.env("OFFSITE_SIGNING_KEY", self.path("signing-key.pem")).env("TMPDIR", self.path("tmp"));
        command.current_dir(self.folder.path())
    }

    pub(crate) fn offsite(&self, line: &str) -> Command {
        let mut command = super::offsite(line);
        self.at(&mut command);
        command
    }

    /// `offsite backup` with all that it must be told, but for what to back up.
    pub(crate) fn backup(&self, line: &str) -> Command {
        let mut command = self.offsite("backup -r cert.pem --host here");
        command.words(line);
        command
    }

    /// `offsite restore` with all that it must be told, but for where to.
    pub(crate) fn restore(&self, line: &str) -> Command {
        let mut command = self.offsite("restore -k key.pem");
        command.words(line);
        command
    }

    /// A bash script, in which `mount` and `hostname` concern nobody else.
    pub(crate) fn isolated(&self, script: &str) -> Command {
        found_in_path("unshare");
        let mut command = Command::new("unshare");
        command.words("--mount --uts");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["bash", "-euo", "pipefail", "-c", script]);
        self.at(&mut command);
        command
    }

    /// A bash script in the host's folder.
    pub(crate) fn bash(&self, script: &str) -> Command {
        let mut command = bash(script);
        self.at(&mut command);
        command
    }

    /// The backups, as `list` has them; all of them complete.
    #[track_caller]
    pub(crate) fn backups(&self) -> Vec<Value> {
        if !self.path("store").exists() {
            return Vec::new();
        }
        let listed = json(&run(&mut self.offsite("list --json")).ok());
        let listed = listed.as_array().expect("a list").clone();
        assert!(listed.iter().all(|backup| backup["status"] == "complete"), "{listed:?}");
        listed
    }

    /// The paths in the latest backup.
    #[track_caller]
    pub(crate) fn files(&self) -> Vec<String> {
        let listed = json(&run(&mut self.offsite("files --json -k key.pem")).ok());
        let paths = listed.as_array().expect("a list").iter();
        paths.map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect()
    }

    /// What lies in the store besides objects and its id.
    pub(crate) fn clutter(&self) -> Vec<PathBuf> {
        let mut clutter = Vec::new();
        let mut folders = vec![self.path("store")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                    clutter.push(entry);
                }
            }
        }
        clutter
    }
}

/// What a run printed, as JSON.
#[track_caller]
pub(crate) fn json(run: &Run) -> Value {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.story()))
}

/// Starts a command that reads what the test gives it. What it says is kept for [`end`].
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the command starts")
}

/// Gives a command 4 MiB, more than a pipe holds: afterwards it has read some of it.
pub(crate) fn feed(child: &mut Child, bytes: &[u8]) {
    assert!(bytes.len() >= 4 << 20, "a pipe might hold all of it");
    child.stdin.as_mut().expect("a pipe").write_all(bytes).expect("it is read");
}

/// Closes what a command reads, and waits for its end.
#[track_caller]
pub(crate) fn end(mut child: Child) -> (Option<i32>, String) {
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("the command ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Waits until it is so; a minute at most.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "after a minute still not: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
