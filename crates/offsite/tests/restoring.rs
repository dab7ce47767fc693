//! Backups made in memory, restored in every way, and in every way damaged.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use offsite::archive::unpack::{Existing, Problem, Report};
use offsite::index::Kind;
use offsite::operations::restore::{Error, OpenedSlice, Restore, Restored, Slices, To, Watch, restore};
use offsite::plan::{Reader, SliceName, Span, Step};
use offsite::store::{self, Reason};
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
        let what = Restore {
            paths,
            keep_going: self.keep_going,
            folder: &temporary,
            threads: NonZero::<usize>::MIN.saturating_add(1),
        };
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
        let at = usize::try_from(place.frame.offset).unwrap();
        // Its magic number: a frame has no sum of its own.
        self.backup.slices.get_mut(&place.slice).unwrap()[at] ^= 1;
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
            let slice = &backup.slices[&names[usize::try_from(slice).unwrap()]];
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

#[test]
fn what_is_chosen_comes_back_with_the_folders_on_the_way() {
    let place = Place::new(SMALL, everything);
    let restored = place.unpack("target", Existing::Refuse, &["m/9", "a/deep"]).unwrap();
    assert_eq!(fs::read(place.restored("target", "m/9")).unwrap(), noise(63, 3));
    let mode = |path: PathBuf| path.metadata().unwrap().mode();
    assert_eq!(mode(place.restored("target", "m")), mode(place.source().join("m")));
    assert_eq!(fs::read_dir(place.restored("target", "m")).unwrap().count(), 1);
    assert_eq!(place.restored("target", "a/deep/er/link").metadata().unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(place.restored("target", "a")).unwrap().count(), 1);
    assert_eq!(restored.files.made, restored.entries);

    let tar = place.tar(&["m/9", "a/deep"]).unwrap();
    place.untar(&tar, "untarred");
    assert_identical(&place.restored("target", ""), &place.restored("untarred", ""));
    let error = place.unpack("none", Existing::Refuse, &["m/9", "m/nothing"]).unwrap_err();
    assert!(
        error.to_string().starts_with("not in the backup: ") && error.to_string().ends_with("m/nothing"),
        "{error}"
    );
    assert!(!place.path("none").exists());
}

/// Three names of each file; which are chosen, and which of these are the same file afterwards.
#[test]
fn links_are_restored_whatever_is_chosen_of_them() {
    let place = Place::new(SMALL, |root| {
        fs::create_dir(root.join("links")).unwrap();
        for (name, length) in [("small", 2000), ("large", 9 << 20)] {
            fs::write(root.join(format!("links/{name} 1")), noise(length, 5)).unwrap();
            for number in 2..4 {
                fs::hard_link(root.join(format!("links/{name} 1")), root.join(format!("links/{name} {number}")))
                    .unwrap();
            }
        }
        let sparse = File::create(root.join("links/sparse 1")).unwrap();
        sparse.set_len(20 << 20).unwrap();
        sparse.write_all_at(&noise(6 << 20, 5), 8 << 20).unwrap();
        fs::hard_link(root.join("links/sparse 1"), root.join("links/sparse 2")).unwrap();
        fs::hard_link(root.join("links/sparse 1"), root.join("links/sparse 3")).unwrap();
        symlink("target", root.join("links/symbolic 1")).unwrap();
        fs::hard_link(root.join("links/symbolic 1"), root.join("links/symbolic 2")).unwrap();
        fs::hard_link(root.join("links/symbolic 1"), root.join("links/symbolic 3")).unwrap();
    });
    for (round, numbers) in [&[1, 2, 3][..], &[1, 3], &[2], &[3], &[2, 3]].into_iter().enumerate() {
        let kinds = ["small", "large", "sparse", "symbolic"];
        let names = |kind| numbers.iter().map(move |number| format!("links/{kind} {number}"));
        let chosen: Vec<String> = kinds.into_iter().flat_map(names).collect();
        let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
        let (target, untarred) = (format!("target {round}"), format!("untarred {round}"));
        place.unpack(&target, Existing::Refuse, &chosen).unwrap();
        place.untar(&place.tar(&chosen).unwrap(), &untarred);
        for target in [target, untarred] {
            for kind in kinds {
                let inodes: Vec<_> = names(kind)
                    .map(|name| place.restored(&target, &name).symlink_metadata().unwrap())
                    .map(|data| (data.ino(), data.nlink()))
                    .collect();
                assert!(inodes.iter().all(|inode| *inode == (inodes[0].0, numbers.len() as u64)), "{numbers:?}");
                let first = names(kind).next().unwrap();
                let (restored, source) = (place.restored(&target, &first), place.source().join(&first));
                if kind == "symbolic" {
                    assert_eq!(fs::read_link(restored).unwrap(), Path::new("target"));
                } else {
                    assert!(fs::read(restored).unwrap() == fs::read(source).unwrap(), "{first}");
                }
            }
            let folder = fs::read_dir(place.restored(&target, "links")).unwrap().count();
            assert_eq!(folder, chosen.len());
        }
    }
}

#[test]
fn one_files_content_is_written_out() {
    let place = Place::new(SMALL, everything);
    for name in ["zero", "m/9", "large", "z/large link", "a/huge link", "z/huge", "sparse", "a/sparse large", "z/hole"]
    {
        assert!(place.content(name).unwrap() == fs::read(place.source().join(name)).unwrap(), "{name}");
    }
    for name in ["m", "fifo", "z/dangling"] {
        assert!(matches!(place.content(name), Err(Error::NoContent(_))), "{name}");
    }
    assert!(matches!(place.content("nothing"), Err(Error::File(offsite::Error::NoSuchPath(_)))));
    let both = [place.archived("zero"), place.archived("large")];
    assert!(matches!(place.restore_paths(To::Content(&mut Vec::new()), &both), Err(Error::NoStream)));
    assert!(matches!(place.restore_paths(To::Content(&mut Vec::new()), &[]), Err(Error::NoStream)));
}

#[test]
fn a_stream_comes_back() {
    for length in [0, 1, 70_000, 30 << 20] {
        let mut place = Place::new(SMALL, |_| ());
        let bytes = noise(length, 7);
        place.backup = stream("db.sql", &bytes, SMALL);
        let mut out = Vec::new();
        place.restore(To::Content(&mut out), &[]).unwrap();
        assert!(out == bytes, "{length} bytes");
        place.restore(To::Nothing, &[]).unwrap();
        let restored = place.unpack("target", Existing::Refuse, &[]).unwrap();
        assert_eq!((restored.entries, restored.files.made), (1, 1));
        assert!(fs::read(place.path("target/db.sql")).unwrap() == bytes, "{length} bytes");
        assert!(matches!(place.restore(To::Tar(&mut Vec::new()), &[]), Err(Error::NoTar)));
        assert!(matches!(place.restore(To::Nothing, &["x"]), Err(Error::NoPaths)));
    }
}

#[test]
fn a_damaged_frame_loses_what_lies_in_it_and_nothing_else() {
    let mut place = Place::new(SMALL, everything);
    place.damage("m/100", 0);
    place.damage("a/exact", 2);
    place.damage("a/huge link", 130);
    let error = place.unpack("stopped", Existing::Refuse, &[]).unwrap_err();
    assert!(matches!(error, Error::Frame { .. }) && error.to_string().contains("/slice-"), "{error}");

    place.keep_going = true;
    let bundle = place.backup.row("m/100").places[0].frame;
    let slice = place.backup.row("m/100").places[0].slice;
    // Links to what is lost are lost as well.
    let mut expected: Vec<_> = ["exact", "huge link", "huge", "7", "link"].map(str::to_owned).to_vec();
    for row in &place.backup.rows {
        let in_bundle = row.places().iter().any(|place| (place.slice, place.frame) == (slice, bundle));
        expected.extend(in_bundle.then(|| String::from_utf8_lossy(row.path()).rsplit('/').next().unwrap().to_owned()));
    }
    expected.sort();
    let restored = place.unpack("target", Existing::Refuse, &[]).unwrap();
    assert_eq!(place.told.names(), expected);
    assert!(restored.lost == expected.len() as u64 && expected.len() > 5 && expected.len() < 100);
    assert_eq!(restored.lost + restored.files.made, restored.entries);
    assert!(!place.restored("target", "m/100").exists() && !place.restored("target", "a/huge link").exists());
    assert!(fs::read(place.restored("target", "large")).unwrap() == noise(700_001, 1));

    // In a tar the part that is lost is zeros.
    place.told = Told::default();
    let tar = place.tar(&[]).unwrap();
    let mut reader = offsite::archive::read::Reader::new(&tar[..], offsite::archive::read::Ending::Zeros);
    let (mut found, source) = (Vec::new(), noise(9 << 20, 1));
    while let Some(member) = reader.next_member().unwrap() {
        if member.path.ends_with(b"huge link") {
            reader.read_to_end(&mut found).unwrap();
        }
    }
    let differing = found.iter().zip(&source).filter(|(found, source)| found != source).count();
    assert!(found.len() == source.len() && differing > 0 && differing <= 5 << 20, "{differing}");
}

#[test]
fn a_missing_slice_loses_what_needs_it() {
    let mut place = Place::new(SMALL, everything);
    let name = place.backup.row("m/150").places[0].slice;
    let needed = place.backup.rows.iter().filter(|row| row.places().iter().any(|place| place.slice == name)).count();
    place.backup.slices.get_mut(&name).unwrap().truncate(0);
    // What is known of it stays as it was.
    let error = place.restore_paths(To::Nothing, &[place.archived("m/150")]).unwrap_err();
    assert!(error.to_string().contains(&name.to_string()), "{error}");
    let paths = [place.archived("")];
    place.keep_going = true;
    let to = place.path("target");
    let restored = place.restore_paths(To::Folder { path: &to, existing: Existing::Refuse }, &paths).unwrap();
    assert!(restored.lost >= needed as u64 && restored.files.made > 0, "{restored:?}");
}

/// A store that cannot be reached ends a restore, which otherwise would wait for it again for each slice.
#[test]
fn an_outage_loses_nothing_and_ends_it() {
    struct Away<'b>(&'b Backup, AtomicUsize);
    impl Slices for Away<'_> {
        fn known(&self, name: SliceName) -> Option<offsite::plan::Slice> {
            self.0.known(name)
        }

        fn open(&self, _: SliceName, _: Vec<u8>) -> offsite::Result<OpenedSlice> {
            self.1.fetch_add(1, Ordering::Relaxed);
            // It takes its time to find out.
            std::thread::sleep(std::time::Duration::from_millis(20));
            let reason = Reason::Unreachable(std::io::ErrorKind::TimedOut.into());
            Err(store::Error { store: "here".to_owned(), action: "get", object: None, reason }.into())
        }
    }
    let place = Place::new(SMALL, everything);
    let (index, temporary) = (place.backup.index(), place.path("temporary"));
    let away = Away(&place.backup, AtomicUsize::new(0));
    let what =
        Restore { paths: &[], keep_going: true, folder: &temporary, threads: NonZero::<usize>::MIN.saturating_add(1) };
    let error = restore(&what, To::Nothing, place.backup.merge(&index), None, &away, &place.told).unwrap_err();
    assert!(error.is_outage() && !error.is_damage(), "{error}");
    let (tried, slices) = (away.1.into_inner(), place.backup.slices.len());
    assert!(4 * tried < slices, "{tried} of {slices} slices were tried");
    assert_eq!(place.told.names().len(), 0);
}

#[test]
fn an_index_that_lies_is_found_out() {
    type Lie = fn(&mut Backup);
    let lies: [(&str, Lie); 9] = [
        ("mode", |backup| backup.row("m/5").inode.mode = 0o4777),
        ("owner", |backup| backup.row("m/5").inode.uid += 1),
        ("group", |backup| backup.row("m/5").inode.gid += 1),
        ("time", |backup| backup.row("m/5").inode.mtime.nanoseconds ^= 1),
        ("size", |backup| backup.row("m/5").kind = Kind::File { size: 34, sparse: None }),
        ("size of a large one", |backup| backup.row("/large").kind = Kind::File { size: 700_002, sparse: None }),
        ("kind", |backup| backup.row("m/5").kind = Kind::File { size: 35, sparse: Some(35) }),
        ("link", |backup| backup.row("z/link").kind = Kind::HardLink { leader: b"a".to_vec() }),
        ("target", |backup| backup.row("z/dangling").kind = Kind::Symlink { target: b"x".to_vec() }),
    ];
    for (what, lie) in lies {
        let mut place = Place::new(SMALL, everything);
        lie(&mut place.backup);
        let error = if what == "link" {
            // Such a plan cannot be.
            let index = place.backup.index();
            let folder = place.path("temporary");
            offsite::index::plan_of(place.backup.merge(&index), |name| place.backup.known(name), &folder, Vec::new())
                .map(|_| ())
                .unwrap_err()
                .to_string()
        } else {
            let error = place.restore(To::Nothing, &[]).unwrap_err();
            assert!(error.is_damage(), "{what}: {error}");
            error.to_string()
        };
        assert!(!error.is_empty(), "{what}");
    }
}

#[test]
fn places_that_lie_are_found_out() {
    type Lie = fn(&mut offsite::index::Place);
    let lies: [(&str, Lie); 4] = [
        ("a frame of more", |place| place.raw += 1),
        ("another member", |place| place.piece.skip += 512),
        ("a shorter frame", |place| place.frame.length -= 1),
        ("another frame", |place| place.frame.offset += 1),
    ];
    for (what, lie) in lies {
        let mut place = Place::new(SMALL, everything);
        lie(&mut place.backup.row("z/dangling").places[0]);
        // Alone, so that it contradicts no other.
        let error = place.restore(To::Nothing, &["z/dangling"]).unwrap_err();
        assert!(error.is_damage(), "{what}: {error}");
    }
}

#[test]
fn the_plan_must_be_that_of_the_index() {
    let place = Place::new(SMALL, everything);
    let plan = String::from_utf8(place.backup.plan()).unwrap();
    let index = place.backup.index();
    let temporary = place.path("temporary");
    let with = |plan: &str| {
        let what = Restore {
            paths: &[],
            keep_going: true,
            folder: &temporary,
            threads: NonZero::<usize>::MIN.saturating_add(1),
        };
        let target = place.path("target");
        let to = To::Folder { path: &target, existing: Existing::Refuse };
        let mut plan = plan.as_bytes();
        restore(&what, to, place.backup.merge(&index), Some(&mut plan), &place.backup, &place.told)
    };
    let lines = plan.lines().count() as u64;
    for (other, line) in [
        (String::new(), 1),
        (plan.replacen("web-1", "web-2", 1), 1),
        (plan.replacen("\nwhole 0 ", "\nwhole 1 ", 1), 3),
        (plan[..plan.len() - 1].to_owned(), lines),
        (format!("{plan}\n"), lines + 1),
    ] {
        let error = with(&other).unwrap_err();
        assert!(matches!(error, Error::Plan(at) if at == line), "{line}: {error}");
        assert!(!place.path("target").exists(), "a file is made before the plan is known");
    }
    with(&plan).unwrap();
}

#[test]
fn a_partial_restore_goes_on() {
    let place = Place::new(SMALL, everything);
    place.unpack("target", Existing::Refuse, &[]).unwrap();
    assert!(matches!(place.unpack("target", Existing::Refuse, &[]), Err(Error::NotEmpty(_))));
    fs::remove_file(place.restored("target", "a/sparse large")).unwrap();
    fs::write(place.restored("target", "large"), "half").unwrap();
    fs::remove_file(place.restored("target", "z/link")).unwrap();
    let inode = |name: &str| place.restored("target", name).metadata().unwrap().ino();
    let kept = (inode("m/100"), inode("z/huge"));
    let resumed = place.unpack("target", Existing::Resume, &[]).unwrap();
    assert!(resumed.files.kept > 300 && resumed.files.made > 2, "{resumed:?}");
    assert_eq!((inode("m/100"), inode("z/huge")), kept);
    assert_identical(&place.source(), &place.restored("target", ""));
    let replaced = place.unpack("target", Existing::Replace, &[]).unwrap();
    assert_eq!(replaced.files.made, replaced.entries);
    assert_identical(&place.source(), &place.restored("target", ""));
    let nowhere = place.path("not/there");
    assert!(place.restore(To::Folder { path: &nowhere, existing: Existing::Refuse }, &[]).is_err());
}

#[test]
fn an_index_that_contradicts_itself_makes_no_file() {
    type Lie = fn(&mut Backup);
    let lies: [(&str, Lie); 3] = [
        ("contradicts itself", |backup| backup.row("m/8").places = backup.row("m/10").places.clone()),
        ("does not follow what it links to", |backup| {
            // The leader's member comes after the link's.
            let leader = backup.row("z/dangling").places.clone();
            let link = std::mem::replace(&mut backup.row("z/dangling too").places, leader);
            backup.row("z/dangling").places = link;
        }),
        ("of which nothing is known", |backup| {
            backup.row("m/8").places[0].slice.number = 999;
        }),
    ];
    for (words, lie) in lies {
        let place = {
            let mut place = Place::new(SMALL, everything);
            lie(&mut place.backup);
            place
        };
        let index = place.backup.index();
        let (target, temporary) = (place.path("target"), place.path("temporary"));
        let what = Restore {
            paths: &[],
            keep_going: true,
            folder: &temporary,
            threads: NonZero::<usize>::MIN.saturating_add(1),
        };
        let to = To::Folder { path: &target, existing: Existing::Refuse };
        let error = restore(&what, to, place.backup.merge(&index), None, &place.backup, &place.told).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains(words), "{error}");
        assert!(!target.exists(), "{words}");
    }
}

/// What cannot be written ends it, without a thread left behind.
#[test]
fn an_output_that_fails_ends_it() {
    struct Full(u64);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let left = self.0.checked_sub(bytes.len() as u64).ok_or(std::io::ErrorKind::StorageFull)?;
            self.0 = left;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new(SMALL, everything);
    for room in [0, 100_000, 5 << 20] {
        assert!(matches!(place.restore(To::Tar(&mut Full(room)), &[]), Err(Error::Write(_))), "{room}");
    }
}
