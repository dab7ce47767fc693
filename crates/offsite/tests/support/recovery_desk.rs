//! A place to run the recovery script in, and backups to run it on.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use offsite::archive::header::END;
use offsite::cms::keygen::{KeyType, NewKey, Purpose};
use offsite::recovery;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::made_by_hand::{HandMade, Member, bundle, chunks, id, lay, members_of, rows};
use super::{Numbers, run};

pub(crate) const KILLED: &str = "20261120T074500Z-00000001";

pub(crate) const FULL: &str = "20261121T074500Z-00000002";

pub(crate) const DELTA: &str = "20261122T074500Z-00000003";

pub(crate) const NEWEST: &str = "20261123T074500Z-7f3a9c01";

/// The only programs that the script finds, beside those of coreutils.
pub(crate) const TOOLS: [&str; 5] = ["zstd", "tar", "sed", "awk", "grep"];

pub(crate) const COREUTILS: [&str; 24] = [
    "cat",
    "chmod",
    "cp",
    "cut",
    "dd",
    "dirname",
    "head",
    "ls",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "od",
    "printf",
    "rm",
    "rmdir",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tr",
    "uname",
    "wc",
];

/// The OpenSSL programs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenSsl {
    /// The one that this machine came with.
    Stock,
    /// The newest release, built by `scripts/setup-peers`.
    Next,
}

pub(crate) fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("missing: {program}"))
}

pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/openssl-next")
}

impl OpenSsl {
    pub(crate) const ALL: [Self; 2] = [Self::Stock, Self::Next];

    pub(crate) fn program(self) -> PathBuf {
        let program = match self {
            Self::Stock => found("openssl"),
            Self::Next => peers().join("openssl"),
        };
        assert!(program.exists(), "{} is missing: run scripts/setup-peers", program.display());
        program
    }
}

/// A place to recover in: a folder of tools for PATH, one for temporary files, the script, the keys.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
    pub(crate) openssl: OpenSsl,
}

impl Desk {
    pub(crate) fn new(openssl: OpenSsl) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap(), openssl };
        for name in ["bin", "temp"] {
            fs::create_dir(desk.path(name)).unwrap();
        }
        for tool in TOOLS.iter().chain(&COREUTILS) {
            symlink(found(tool), desk.path("bin").join(tool)).unwrap();
        }
        symlink(openssl.program(), desk.path("bin/openssl")).unwrap();
        fs::write(desk.path("RECOVER.sh"), recovery::SCRIPT).unwrap();
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    /// The program with nothing of this test's environment, in this folder.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", self.path("bin")).env("TMPDIR", self.path("temp"));
        if let OpenSsl::Next = self.openssl {
            command.env("OPENSSL_CONF", peers().join("openssl.cnf"));
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn script(&self) -> Command {
        let mut command = self.command(&found("dash"));
        command.arg("RECOVER.sh");
        command
    }

    /// Restores into `out`, which is what it returns.
    #[track_caller]
    pub(crate) fn restores(&self, private: &Path, backup: &Path) -> PathBuf {
        let out = self.path("out");
        succeeds(self.script().arg(private).arg(backup).arg(&out));
        self.is_tidy();
        out
    }

    /// What `-t` writes.
    #[track_caller]
    pub(crate) fn writes(&self, private: &Path, backup: &Path) -> Vec<u8> {
        let written = succeeds(self.script().arg("-t").arg(private).arg(backup)).stdout;
        self.is_tidy();
        written
    }

    /// Nothing is left of temporary files.
    #[track_caller]
    pub(crate) fn is_tidy(&self) {
        assert_eq!(fs::read_dir(self.path("temp")).unwrap().count(), 0, "temporary files are left");
    }
}

#[track_caller]
pub(crate) fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output
}

/// The command must fail with code 1, and its last word be this.
#[track_caller]
pub(crate) fn fails(command: &mut Command, words: &str) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{stderr}");
    assert!(stderr.contains(words), "{words:?} is not in\n{stderr}");
    output
}

pub(crate) fn key(key_type: KeyType, name: &str) -> NewKey {
    let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    NewKey::generate(key_type, Purpose::Encryption, name, now, 36_500).unwrap()
}

pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect()
}

/// A tree of everything that a plain user can make; its path is what it has in the archive, too.
pub(crate) fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("closed/deep")).unwrap();
    fs::write(path("closed/deep/file"), "deep").unwrap();
    for (length, name) in [(0, "a empty"), (1, "b -rf"), (513, "c $(touch pwned)"), (40_000, "d new\nline")] {
        fs::write(path(name), noise(length, length as u64 + 1)).unwrap();
    }
    fs::write(path("big"), noise(1_300_001, 77)).unwrap();
    fs::hard_link(path("d new\nline"), path("e hard link")).unwrap();
    symlink("../../etc/passwd", path("f symlink")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path("g fifo"), rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
    let sparse = fs::File::create(path("h sparse")).unwrap();
    sparse.set_len(9_000_000).unwrap();
    fs::set_permissions(path("b -rf"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(path("closed"), fs::Permissions::from_mode(0o1755)).unwrap();
    folder
}

/// The restored tree is the one at `root`, in every respect that rsync knows.
#[track_caller]
pub(crate) fn same_tree(root: &Path, out: &Path) {
    let restored = out.join(root.strip_prefix("/").unwrap());
    let slash = |path: &Path| format!("{}/", path.display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-a", "-n", "-i", "-c", "-H", "-A", "-X", "--delete"]).arg(slash(root)).arg(slash(&restored));
    assert_eq!(String::from_utf8_lossy(&run(&mut rsync)), "");
}

/// A full backup of a tree, in two slices and a few frames; the tar that it is.
pub(crate) fn full(set: &mut HandMade, root: &Path) -> (Vec<Member>, Vec<u8>) {
    let mut members = members_of(root);
    let big = members.iter().position(|member| member.entry.path.ends_with(b"/big")).unwrap();
    let big = members.remove(big);
    let expected = [&bundle(&members)[..], &big.tar, &END].concat();
    let half = members.len() / 2;
    let pieces = chunks(&big, 400_000);
    let (first, second) = members.split_at_mut(half);
    let slices = [vec![bundle(first), bundle(second)], [pieces, vec![END.to_vec()]].concat()];
    let frames = set.run(FULL, &slices);
    lay(first, frames[0]);
    lay(second, frames[1]);
    let mut big = big;
    big.entry.places = frames[2..frames.len() - 1].iter().map(|frame| frame.all()).collect();
    members.push(big);
    members.sort_by(|a, b| offsite::paths::compare(&a.entry.path, &b.entry.path));
    set.backup(FULL, None, rows(&members), Some(frames.last().unwrap().all()));
    (members, expected)
}

/// A desk with a key pair, and a full backup of a small tree that is sealed to it.
pub(crate) struct Case {
    pub(crate) desk: Desk,
    pub(crate) private: PathBuf,
    pub(crate) set: HandMade,
    pub(crate) tree: TempDir,
    pub(crate) expected: Vec<u8>,
}

impl Case {
    pub(crate) fn new(openssl: OpenSsl) -> Self {
        let (desk, key, tree) = (Desk::new(openssl), key(KeyType::P256, "key"), tree());
        let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
        let mut set = HandMade::new(&[key.certificate().clone()]);
        let (_, expected) = full(&mut set, tree.path());
        desk.write("signer.pem", set.signer_pem());
        Self { desk, private, set, tree, expected }
    }

    /// The script, to restore the full backup into `out`.
    pub(crate) fn script(&self) -> Command {
        self.script_for(&self.private, &self.set.data(FULL))
    }

    pub(crate) fn script_for(&self, private: &Path, backup: &Path) -> Command {
        let mut script = self.desk.script();
        script.arg(private).arg(backup).arg(self.desk.path("out"));
        script
    }

    /// The same with this receipt and signer.
    pub(crate) fn script_with(&self, signer: &Path, receipt: &Path) -> Command {
        let mut script = self.desk.script();
        script.arg("-s").arg(signer).arg(receipt).arg(&self.private).arg(self.set.data(FULL));
        script.arg(self.desk.path("out"));
        script
    }

    pub(crate) fn plan(&self) -> String {
        self.set.plan_of(id(FULL))
    }

    /// The restore fails, says this, and leaves nothing that it should not.
    #[track_caller]
    pub(crate) fn refused(&self, script: &mut Command, words: &str) {
        fails(script, words);
        self.desk.is_tidy();
        assert!(!self.desk.path("pwned").exists() && !Path::new("pwned").exists(), "a command was run");
        self.only_true_things();
        let _ = fs::remove_dir_all(self.desk.path("out"));
    }

    /// What was restored is what was backed up, as far as it goes.
    #[track_caller]
    pub(crate) fn only_true_things(&self) {
        let out = self.desk.path("out");
        let mut folders = vec![out.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let original = Path::new("/").join(path.strip_prefix(&out).unwrap());
                    let original = fs::read(&original).unwrap_or_else(|_| panic!("{} was made up", path.display()));
                    assert!(original.starts_with(&fs::read(&path).unwrap()), "{} is not true", path.display());
                }
            }
        }
    }

    #[track_caller]
    pub(crate) fn nothing_restored(&self, script: &mut Command, words: &str) {
        let out = self.desk.path("out");
        fails(script, words);
        self.desk.is_tidy();
        assert!(!self.desk.path("pwned").exists(), "a command was run");
        assert!(fs::read_dir(&out).is_ok_and(|mut entries| entries.next().is_none()), "something was restored");
    }

    /// Puts this plan, well sealed, in the place of the true one; it must be refused for this reason.
    #[track_caller]
    pub(crate) fn refuses_plan(&mut self, plan: impl AsRef<[u8]>, words: &str) {
        self.set.replace_plan(FULL, plan.as_ref());
        self.refused(&mut self.script(), words);
    }
}
