//! Real archives compared with what they were made of, and hostile ones beside a canary.

mod hostile;
mod real;
mod threads;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::archive::limits;
use crate::archive::read::{Ending, Extent, Reader};
use crate::paths::PathFault;

/// Keeps what is reported, as text.
#[derive(Default)]
struct Problems(Mutex<Vec<Problem>>);

impl Report for Problems {
    fn problem(&self, problem: Problem) {
        self.0.lock().unwrap().push(problem);
    }
}

impl Problems {
    fn taken(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).map(|problem| problem.to_string()).collect()
    }
}

/// A target folder, and beside it a canary that must stay as it is.
struct Place {
    folder: TempDir,
    problems: Problems,
    openat2: bool,
    before: String,
}

impl Place {
    fn new(openat2: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["target", "outside"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("outside/canary"), "alive").unwrap();
        let mut place = Self { folder, problems: Problems::default(), openat2, before: String::new() };
        place.before = place.state();
        place
    }

    /// With and without `openat2`.
    fn both() -> [Self; 2] {
        [Self::new(true), Self::new(false)]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn outside(&self) -> PathBuf {
        self.path("outside")
    }

    fn target(&self, name: &str) -> PathBuf {
        self.path("target").join(name)
    }

    fn unpacker(&self, existing: Existing) -> Unpacker<'_> {
        let root = Root::open(&self.path("target")).unwrap();
        let root = if self.openat2 { root } else { root.without_openat2() };
        Unpacker::on(root, &self.path("target"), existing, &self.problems)
    }

    /// All that is outside the target and could be changed.
    fn state(&self) -> String {
        let mut lines = Vec::new();
        for path in [self.path(""), self.outside(), self.path("outside/canary")] {
            let names = fs::read_dir(&path).map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect());
            let mut names: Vec<_> = names.unwrap_or_default();
            names.sort();
            let data = fs::symlink_metadata(&path).unwrap();
            lines.push(format!("{path:?} {names:?} {:o} {} {}", data.mode(), data.uid(), data.nlink()));
            lines.push(format!("{} {} {}", data.mtime(), data.mtime_nsec(), data.size()));
        }
        lines.push(fs::read_to_string(self.path("outside/canary")).unwrap());
        lines.join("\n")
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(self.state(), self.before);
    }
}

fn member(path: impl AsRef<[u8]>, kind: Kind) -> Member {
    Member {
        path: path.as_ref().to_vec(),
        kind,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Time { seconds: 1_000_000_000, nanoseconds: 5 },
        xattrs: Vec::new(),
        access_acl: None,
        default_acl: None,
        offset: 0,
    }
}

fn file(path: impl AsRef<[u8]>) -> Member {
    member(path, Kind::File { size: 4, extents: None })
}

fn folder(path: impl AsRef<[u8]>) -> Member {
    Member { mode: 0o755, ..member(path, Kind::Directory) }
}

fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    member(path, Kind::Symlink { target: target.as_ref().to_vec() })
}

fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    member(path, Kind::HardLink { target: target.as_ref().to_vec() })
}

impl Unpacker<'_> {
    /// With a content of four bytes, whether they are wanted or not.
    fn put(&self, member: &Member) -> Result<Outcome> {
        self.member(member, &mut &b"data"[..])
    }
}

/// Unpacks a whole archive; the first error ends it.
fn unpack(archive: &[u8], unpacker: Unpacker<'_>) -> Result<Totals, String> {
    let mut reader = Reader::new(archive, Ending::Zeros);
    while let Some(member) = reader.next_member().map_err(|error| error.to_string())? {
        unpacker.member(&member, &mut reader).map_err(|error| error.to_string())?;
    }
    unpacker.finish().map_err(|error| error.to_string())
}

/// Runs a program that must be there and succeed: its standard output.
#[track_caller]
fn run(package: &str, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{program} is missing: install {package} ({error})"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    output.stdout
}

/// A folder as GNU tar packs it, under its name.
fn packed(folder: &Path) -> Vec<u8> {
    let (parent, name) = (folder.parent().unwrap().to_str().unwrap(), folder.file_name().unwrap().to_str().unwrap());
    let everything = "--xattrs-include=*";
    let arguments = ["--format=pax", "--sparse", "--xattrs", everything, "--acls", "-cf", "-", "-C", parent, name];
    run("tar", "tar", &arguments)
}

/// Both folders hold the same, as far as rsync sees.
#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|path| format!("{}/", path.to_str().unwrap()));
    let arguments = ["-naHAXi", "--checksum", "--delete", "--modify-window=-1", &one, &other];
    let differences = run("rsync", "rsync", &arguments);
    assert_eq!(String::from_utf8_lossy(&differences), "");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `work` as a plain user, on a thread of its own where this one is root's.
fn as_plain_user(folder: &Path, work: impl FnOnce() + Send) {
    if !is_root() {
        return work();
    }
    run("coreutils", "chown", &["-hR", "65534:65534", folder.to_str().unwrap()]);
    let (user, group) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            work();
        });
        thread.join().unwrap();
    });
}
