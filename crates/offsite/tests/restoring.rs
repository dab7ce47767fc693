//! Backups made in memory, restored in every way, and in every way damaged.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use offsite::archive::unpack::{Existing, Problem, Report};
use offsite::index::{Kind, Row};
use offsite::operations::restore::{Error, Restore, Restored, Slices, To, Watch, restore};
use offsite::plan::{Reader, SliceName, Span, Step};
use offsite::{Events, Warning};
use support::backup::{Backup, Cut, SMALL, backup, stream};
use support::{archive_path, run, walk};
use tempfile::TempDir;

/// Keeps what is told.
#[derive(Default)]
struct Told {
    lost: Mutex<Vec<(String, String)>>,
    problems: Mutex<Vec<String>>,
    bytes: std::sync::atomic::AtomicU64,
}

impl Events for Told {
    fn damage(&self, damage: &offsite::Damage) {
        panic!("{damage}");
    }

    fn progress(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn warn(&self, warning: Warning) {
        panic!("{warning:?}");
    }
}

impl Report for Told {
    fn problem(&self, problem: Problem) {
        self.problems.lock().unwrap().push(problem.to_string());
    }
}

impl Watch for Told {
    fn lost(&self, path: &[u8], error: &Error) {
        let path = String::from_utf8_lossy(path).into_owned();
        self.lost.lock().unwrap().push((path, error.to_string()));
    }
}

impl Told {
    /// Names of what is lost, without the folders.
    fn names(&self) -> Vec<String> {
        let lost = self.lost.lock().unwrap();
        let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
        let mut names: Vec<_> = lost.iter().map(|(path, _)| name(path)).collect();
        names.sort();
        names
    }
}

/// A source tree, a backup of it, and room for what comes back.
struct Place {
    folder: TempDir,
    backup: Backup,
    told: Told,
    keep_going: bool,
}

impl Place {
    fn new(cut: Cut, make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        make(&source);
        let backup = backup(walk(&[&source]), cut);
        fs::create_dir(folder.path().join("temporary")).unwrap();
        Self { folder, backup, told: Told::default(), keep_going: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// What is called so in the source, as the archive calls it.
    fn archived(&self, name: &str) -> Vec<u8> {
        archive_path(&self.source().join(name))
    }

    /// What has become of the source in `target`.
    fn restored(&self, target: &str, name: &str) -> PathBuf {
        self.path(target).join(OsStr::from_bytes(&archive_path(&self.source()))).join(name)
    }

    fn restore(&self, to: To<'_>, names: &[&str]) -> Result<Restored, Error> {
        let paths: Vec<_> = names.iter().map(|name| self.archived(name)).collect();
        self.restore_paths(to, &paths)
    }

    fn restore_paths(&self, to: To<'_>, paths: &[Vec<u8>]) -> Result<Restored, Error> {
        let temporary = self.path("temporary");
        let what = Restore { paths, keep_going: self.keep_going, folder: &temporary };
        let (index, plan) = (self.backup.index(), paths.is_empty().then(|| self.backup.plan()));
        let mut plan = plan.as_deref();
        let plan = plan.as_mut().map(|plan| plan as &mut dyn Read);
        let restored = restore(&what, to, self.backup.merge(&index), plan, &self.backup, &self.told);
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "a temporary file has a name");
        restored
    }

    fn unpack(&self, target: &str, existing: Existing, names: &[&str]) -> Result<Restored, Error> {
        let path = self.path(target);
        self.restore(To::Folder { path: &path, existing }, names)
    }

    fn tar(&self, names: &[&str]) -> Result<Vec<u8>, Error> {
        let mut tar = Vec::new();
        self.restore(To::Tar(&mut tar), names).map(|_| tar)
    }

    fn content(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        self.restore(To::Content(&mut content), &[name]).map(|_| content)
    }

    /// What GNU tar unpacks of a tar.
    fn untar(&self, tar: &[u8], target: &str) {
        let (path, file) = (self.path(target), self.path("tar"));
        fs::create_dir(&path).unwrap();
        fs::write(&file, tar).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["-x", "--xattrs", "--xattrs-include=*", "--acls", "-p", "--numeric-owner", "--same-owner"]);
        run(tar.arg("--delay-directory-restore").arg("-C").arg(path).arg("-f").arg(file));
    }

    /// Damages the frame that an entry's place lies in.
    fn damage(&mut self, name: &str, place: usize) {
        let place = self.backup.row(name).places[place];
        let at = usize::try_from(place.frame.offset + place.frame.length / 2).unwrap();
        let slice = self.backup.slices.get_mut(&place.slice).unwrap();
        let end = usize::try_from(place.frame.offset + place.frame.length).unwrap();
        slice[at..end].fill(0xff);
    }
}

/// Fails unless both hold the same, as far as rsync sees.
#[track_caller]
fn assert_identical(source: &Path, restored: &Path) {
    let as_folder = |path: &Path| [path.as_os_str().as_bytes(), b"/"].concat();
    let mut rsync = Command::new("rsync");
    rsync.args(["-naHAXi", "--numeric-ids", "--checksum", "--delete", "--modify-window=-1"]);
    let folders = [as_folder(source), as_folder(restored)];
    let said = run(rsync.args(folders.iter().map(|folder| OsStr::from_bytes(folder))));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = support::Numbers(seed);
    (0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect()
}

/// Files of all sizes, each kind of entry, odd names, holes, links across all of it.
fn everything(root: &Path) {
    for folder in ["a", "a/deep/er", "empty", "m", "z"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for number in 0..300 {
        fs::write(root.join(format!("m/{number}")), noise(number * 7, 3)).unwrap();
    }
    for (name, length) in [("zero", 0), ("block", 512), ("large", 700_001), ("a/exact", 512 * 400), ("z/huge", 9 << 20)]
    {
        fs::write(root.join(name), noise(length, 1)).unwrap();
    }
    for (original, name) in
        [("m/7", "a/deep/er/link"), ("m/7", "z/link"), ("large", "z/large link"), ("z/huge", "a/huge link")]
    {
        fs::hard_link(root.join(original), root.join(name)).unwrap();
    }
    symlink("no/where", root.join("z/dangling")).unwrap();
    fs::hard_link(root.join("z/dangling"), root.join("z/dangling too")).unwrap();
    symlink("t".repeat(2000), root.join("m/long target")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"odd\xff\n")), "odd").unwrap();
    fs::write(root.join("n".repeat(250)), "long").unwrap();
    let sparse = |name: &str, data: &[(u64, usize)]| {
        let file = File::create(root.join(name)).unwrap();
        file.set_len(64 << 20).unwrap();
        for (at, length) in data {
            file.write_all_at(&noise(*length, *at + 1), *at).unwrap();
        }
    };
    sparse("sparse", &[(1 << 20, 5000), (30 << 20, 5000)]);
    sparse("a/sparse large", &[(0, 3 << 20), (30 << 20, 3 << 20), (60 << 20, 4 << 20)]);
    sparse("z/hole", &[]);
    fs::set_permissions(root.join("m/9"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(root.join("m"), fs::Permissions::from_mode(0o555)).unwrap();
}

/// The stream that a plan describes, put together as plainly as can be.
fn follow(backup: &Backup) -> Vec<u8> {
    let plan = backup.plan();
    let mut reader = Reader::new(&plan[..]).unwrap();
    let mut names: Vec<SliceName> = Vec::new();
    let mut stream = Vec::new();
    while let Some(step) = reader.next_step().unwrap() {
        let raw = |slice: u64, Span { offset, length }: Span| {
            let slice = backup.open(names[usize::try_from(slice).unwrap()]).unwrap();
            let offset = usize::try_from(offset).unwrap();
            zstd::decode_all(&slice[offset..offset + usize::try_from(length).unwrap()]).unwrap()
        };
        match step {
            Step::Slice { slice, .. } => names.push(slice.name),
            Step::Whole { slice, frames } => stream.extend(raw(slice, frames)),
            Step::Cut { slice, frame, takes } => {
                let (raw, mut at) = (raw(slice, frame), 0);
                for take in takes {
                    at += usize::try_from(take.skip).unwrap();
                    stream.extend_from_slice(&raw[at..at + usize::try_from(take.take).unwrap()]);
                    at += usize::try_from(take.take).unwrap();
                }
            }
            Step::End { total } => assert_eq!(total, stream.len() as u64),
        }
    }
    stream
}

mod zstd {
    /// With the program, which is somebody else's.
    pub(crate) fn decode_all(frames: &[u8]) -> std::io::Result<Vec<u8>> {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(frames)?;
        Ok(super::run(std::process::Command::new("zstd").args(["-dcq"]).arg(file.path())))
    }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let place = Place::new(SMALL, everything);
    let restored = place.unpack("target", Existing::Refuse, &[]).unwrap();
    assert_eq!(restored.entries, place.backup.rows.len() as u64);
    assert_eq!((restored.lost, restored.files.made), (0, restored.entries));
    assert_identical(&place.source(), &place.restored("target", ""));
    let blocks = |path: PathBuf| path.metadata().unwrap().blocks();
    for name in ["sparse", "a/sparse large", "z/hole"] {
        assert!(blocks(place.restored("target", name)) <= blocks(place.source().join(name)), "{name}");
    }
    assert!(place.told.problems.lock().unwrap().is_empty());
    assert_eq!(place.told.bytes.load(Ordering::Relaxed) + 1024, place.backup.stream.len() as u64);
    // Each slice is opened once, or a little more often for large files.
    assert!(place.backup.opened.load(Ordering::Relaxed) <= 2 * place.backup.slices.len());
}

#[test]
fn a_tar_is_the_stream_of_the_plan() {
    let place = Place::new(SMALL, everything);
    let tar = place.tar(&[]).unwrap();
    assert!(tar == follow(&place.backup), "the tar is not the plan's stream");
    assert_eq!(tar.len(), place.backup.stream.len());
    place.untar(&tar, "untarred");
    assert_identical(&place.source(), &place.restored("untarred", ""));
}

#[test]
fn a_dry_run_reads_everything_and_writes_nothing() {
    let mut place = Place::new(SMALL, everything);
    let before = fs::read_dir(place.folder.path()).unwrap().count();
    let restored = place.restore(To::Nothing, &[]).unwrap();
    assert_eq!(restored.entries, place.backup.rows.len() as u64);
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), before);
    place.damage("a/huge link", 20);
    let error = place.restore(To::Nothing, &[]).unwrap_err();
    assert!(matches!(error, Error::Frame { .. }) && error.is_damage(), "{error}");
}
