//! A store in a directory: an object is a file, a folder of objects a directory.
//!
//! Below the store's own path no symbolic link is followed. The directory is opened once: a disk
//! mounted over it or taken away later does not redirect what is put. Files and directories are
//! made as the umask says; objects are encrypted, but their names tell hosts, sets and times, so
//! whoever wants these hidden sets a umask of 077, or the mode of the store's directory.
//!
//! `STORE` in the topmost directory holds the store's id. Files `.offsite-….unfinished` are puts under
//! way, or left behind by killed processes and power cuts: no list shows them, and those older than
//! the oldest running backup can be removed.
//!
//! An object's time is its file's mtime, which copies of a store made by `cp -a` or `rsync -a` keep.

mod new_file;
mod probe;
mod walk;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::names::{Folder, ObjectName};
use crate::shown::shown;
use crate::store::{Delete, Error, Listed, Put, Read, Reason, Result, StoreId};

pub(super) use probe::DirectoryProbe;

const ID_FILE: &str = "STORE";

/// How often a put starts anew because a [`Delete`] removed the emptied folder that it had found.
const ATTEMPTS: u32 = 16;

/// The directory, and its name for errors.
struct Root {
    directory: OwnedFd,
    /// As the location is written.
    name: String,
}

impl Root {
    fn open(path: &Path) -> Result<Self> {
        let name = shown(path);
        let options = OFlags::DIRECTORY.bits().cast_signed();
        let reason = match File::options().read(true).custom_flags(options).open(path) {
            Ok(directory) => return Ok(Self { directory: directory.into(), name }),
            Err(error) if is_absent(&error) => Reason::NoStore,
            Err(error) => reason(error),
        };
        Err(Error { store: name, action: "open", object: None, reason })
    }

    /// Makes the last component of `path`, durably. One that appears meanwhile is as good.
    fn make(path: &Path) -> Result<()> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = fs::create_dir(path).and_then(|()| File::open(parent)?.sync_all());
        let reason = match made {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) if is_absent(&error) => Reason::NoParent { parent: parent.to_path_buf() },
            Err(error) => reason(error),
        };
        Err(Error { store: shown(path), action: "make", object: None, reason })
    }

    /// Opens a folder; symbolic links are refused.
    fn folder(&self, folder: &str) -> io::Result<OwnedFd> {
        let mut directory = open_folder(&self.directory, ".")?;
        for component in folder.split('/').filter(|component| !component.is_empty()) {
            directory = open_folder(&directory, component)?;
        }
        Ok(directory)
    }

    /// Adds the names to a reason.
    fn failed(&self, action: &'static str, object: &str) -> impl Fn(Reason) -> Error {
        let object = Some(object.to_owned()).filter(|object| !object.is_empty());
        move |reason| Error { store: self.name.clone(), action, object: object.clone(), reason }
    }
}

/// Puts into a directory.
pub(super) struct DirectoryPut {
    root: Root,
    id: StoreId,
    /// Folders that this handle has seen to be on disk.
    durable: Mutex<BTreeSet<String>>,
}

impl DirectoryPut {
    /// Opens the directory, which is made if its parent exists.
    pub(super) fn open(path: &Path, new_id: StoreId) -> Result<Self> {
        let root = match Root::open(path) {
            Err(Error { reason: Reason::NoStore, .. }) => Root::make(path).and_then(|()| Root::open(path))?,
            root => root?,
        };
        let id = read_or_make_id(&root, new_id).map_err(root.failed("open", ""))?;
        Ok(Self { root, id, durable: Mutex::default() })
    }

    /// Opens a folder, and makes what is missing of it. All of its path is on disk before anything
    /// is put into it, also what another process made and had no time to sync.
    fn make_folder(&self, folder: &str) -> io::Result<OwnedFd> {
        let known = self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder);
        let mut directory = open_folder(&self.root.directory, ".")?;
        for component in folder.split('/') {
            let (below, made) = match open_folder(&directory, component) {
                Err(Errno::NOENT) => {
                    match mkdirat(&directory, component, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    (open_folder(&directory, component)?, true)
                }
                below => (below?, false),
            };
            if made || !known {
                new_file::sync(&directory)?;
            }
            directory = below;
        }
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        Ok(directory)
    }
}

impl Put for DirectoryPut {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> Result<()> {
        let (folder, name) = object.split();
        let mut attempt = 1;
        loop {
            let put = self.make_folder(folder).and_then(|folder| new_file::create(&folder, name, &bytes));
            match put {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(self.root.failed("put", object.as_str())(reason(error))),
            }
        }
    }

    fn id(&self) -> Result<Option<StoreId>> {
        Ok(Some(self.id))
    }

    fn holds(&self, object: &ObjectName, size: u64) -> Result<Option<bool>> {
        let (folder, name) = object.split();
        let stat = self.root.folder(folder).and_then(|folder| Ok(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match stat {
            Ok(stat) => Ok(Some(is_file(&stat) && u64::try_from(stat.st_size) == Ok(size))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(false)),
            Err(error) => Err(self.root.failed("look for", object.as_str())(reason(error))),
        }
    }
}

/// Reads from a directory.
pub(super) struct DirectoryRead(Root);

impl DirectoryRead {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Root::open(path).map(Self)
    }
}

impl Read for DirectoryRead {
    fn get(&self, object: &ObjectName, limit: usize) -> Result<Vec<u8>> {
        self.get_in(object, limit, Vec::new())
    }

    fn get_in(&self, object: &ObjectName, limit: usize, memory: Vec<u8>) -> Result<Vec<u8>> {
        let (folder, name) = object.split();
        let folder = self.0.folder(folder).map_err(missing);
        let read = folder.and_then(|folder| read_file(&folder, name, limit, memory));
        read.map_err(self.0.failed("get", object.as_str()))
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<()> {
        let directory = match self.0.folder(folder.as_str()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            directory => directory.map_err(|error| self.0.failed("list", folder.as_str())(reason(error)))?,
        };
        let mut walk = walk::Walk::new(folder, each);
        match walk.folder(&directory) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.0.failed("list", walk.path())(reason(error))),
        }
    }
}

/// Deletes from a directory.
pub(super) struct DirectoryDelete(Root);

impl DirectoryDelete {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Root::open(path).map(Self)
    }

    /// A folder without objects is no more than clutter. One that is not empty stays, and so does
    /// what lies above it.
    fn remove_empty(&self, mut folder: &str) {
        while !folder.is_empty() {
            let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            let removed = self.0.folder(above).and_then(|above| Ok(unlinkat(above, name, AtFlags::REMOVEDIR)?));
            if removed.is_err() {
                return;
            }
            folder = above;
        }
    }
}

impl Delete for DirectoryDelete {
    fn delete(&self, object: &ObjectName) -> Result<()> {
        let (folder, name) = object.split();
        let deleted = self.0.folder(folder).and_then(|folder| match unlinkat(&folder, name, AtFlags::empty()) {
            // One that is gone may have gone in a process that was killed before it could sync.
            Ok(()) | Err(Errno::NOENT) => new_file::sync(&folder),
            Err(error) => Err(error.into()),
        });
        match deleted {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.0.failed("delete", object.as_str())(reason(error)))
            }
            _ => {
                self.remove_empty(folder);
                Ok(())
            }
        }
    }
}

/// The store's id. Of several processes that make one at once, one wins, and all read its id.
fn read_or_make_id(root: &Root, new_id: StoreId) -> Result<StoreId, Reason> {
    let line = match read_file(&root.directory, ID_FILE, 64, Vec::new()) {
        Err(Reason::NotFound) => {
            match new_file::create(&root.directory, ID_FILE, format!("{new_id}\n").as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(reason(error)),
                _ => {}
            }
            read_file(&root.directory, ID_FILE, 64, Vec::new())?
        }
        Err(Reason::TooLarge { .. }) => return Err(Reason::BadId),
        line => line?,
    };
    str::from_utf8(&line).ok().and_then(|line| line.strip_suffix('\n')).ok_or(Reason::BadId)?.parse()
}

fn read_file(folder: &OwnedFd, name: &str, limit: usize, mut bytes: Vec<u8>) -> Result<Vec<u8>, Reason> {
    // A fifo without a writer must not block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty()).map_err(|error| missing(error.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(reason)?;
    if !metadata.is_file() {
        return Err(Reason::NotAnObject);
    }
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if size > limit {
        return Err(Reason::TooLarge { limit });
    }
    bytes.clear();
    bytes.reserve_exact(size);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() > limit { Err(Reason::TooLarge { limit }) } else { Ok(bytes) }
}

fn open_folder(directory: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

fn is_file(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether there is no such directory, or it is none.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn missing(error: io::Error) -> Reason {
    if error.kind() == io::ErrorKind::NotFound { Reason::NotFound } else { reason(error) }
}

fn reason(error: io::Error) -> Reason {
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST) => Reason::AlreadyExists,
        // A symbolic link, a file among the folders, a folder in place of a file, a socket.
        Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO) => Reason::NotAnObject,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Reason::PermissionDenied(error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Reason::Full(error),
        Some(Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NETUNREACH | Errno::NETDOWN) => {
            Reason::Unreachable(error)
        }
        _ => Reason::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};

    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;
    use crate::store::conformance::{self, Store};

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn open(path: &Path) -> DirectoryPut {
        DirectoryPut::open(path, ID.parse().unwrap()).unwrap()
    }

    /// A place that is not yet a store.
    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("store");
        (parent, path)
    }

    #[test]
    fn conforms() {
        let (_parent, path) = place();
        let (put, reopened) = (open(&path), open(&path));
        let (read, delete) = (DirectoryRead::open(&path).unwrap(), DirectoryDelete::open(&path).unwrap());
        conformance::all(&Store { put: &put, reopened: &reopened, read: &read, delete: &delete });
        let left: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [ID_FILE], "deleting every object leaves more than the id");
    }

    /// Another process, in which only the one test below runs: it puts into the store at `path`.
    fn another_process(path: &Path, limits: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limits} exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
        command.args(["store::directory::tests::in_another_process", "--exact", "--ignored", "--nocapture"]);
        command.env("OFFSITE_TEST_STORE", path).stdout(Stdio::piped());
        command
    }

    #[test]
    #[ignore = "other tests start it"]
    fn in_another_process() {
        if let (Some(path), Some(rule)) =
            (std::env::var_os("OFFSITE_TEST_STORE"), std::env::var_os("OFFSITE_TEST_RULE"))
        {
            let put = open(path.as_ref());
            match rule.to_str() {
                Some("full") => conformance::full(&put, &DirectoryRead::open(path.as_ref()).unwrap()),
                Some(round) => conformance::put_until_killed(&put, round),
                None => unreachable!("rules have plain names"),
            }
        }
    }

    #[test]
    fn a_killed_put_leaves_no_part() {
        let (_parent, path) = place();
        drop(open(&path));
        let (read, delete) = (DirectoryRead::open(&path).unwrap(), DirectoryDelete::open(&path).unwrap());
        conformance::killed(&read, &delete, |round| {
            another_process(&path, "").env("OFFSITE_TEST_RULE", round).spawn().unwrap()
        });
    }

    /// A limit on the size of files stands in for a disk that fills up in the midst of an object:
    /// to set it takes no privilege.
    #[test]
    fn a_full_disk_takes_no_part() {
        let (_parent, path) = place();
        let mut command = another_process(&path, "trap '' XFSZ; ulimit -f 1024;");
        let output = command.env("OFFSITE_TEST_RULE", "full").stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn a_read_only_directory_refuses() {
        let (_parent, path) = place();
        let put = open(&path);
        let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o555);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Root asks for no permission, unless this thread gives up that right.
                let mut sets = capabilities(None).unwrap();
                sets.effective -= CapabilitySet::DAC_OVERRIDE;
                set_capabilities(None, sets).unwrap();
                conformance::refused(&put, &DirectoryRead::open(&path).unwrap());
                let unmakeable = DirectoryPut::open(&path.join("below"), ID.parse().unwrap()).err().unwrap();
                assert!(matches!(unmakeable.reason, Reason::PermissionDenied(_)), "{unmakeable}");
            });
        });
        set_mode(0o755);
    }

    #[test]
    fn only_the_last_part_of_the_path_is_made() {
        let (parent, path) = place();
        let error = DirectoryPut::open(&path.join("below"), ID.parse().unwrap()).err().unwrap();
        assert!(matches!(&error.reason, Reason::NoParent { parent } if *parent == path), "{error}");
        assert!(error.to_string().contains(&format!("there is no {}", path.display())), "{error}");
        assert!(matches!(DirectoryRead::open(&path).err().unwrap().reason, Reason::NoStore));
        assert!(matches!(DirectoryDelete::open(&path).err().unwrap().reason, Reason::NoStore));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "something was made");
        fs::write(&path, "").unwrap();
        assert!(matches!(DirectoryPut::open(&path, ID.parse().unwrap()).err().unwrap().reason, Reason::NoStore));
    }

    #[test]
    fn a_store_has_one_id() {
        let (_parent, path) = place();
        let ids: Vec<StoreId> = std::thread::scope(|scope| {
            let open = |number| {
                scope.spawn({
                    let path = &path;
                    move || DirectoryPut::open(path, StoreId::new([number; 16])).unwrap().id().unwrap().unwrap()
                })
            };
            let threads: Vec<_> = (0..8).map(open).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(fs::read_to_string(path.join(ID_FILE)).unwrap(), format!("{}\n", ids[0]));
        for bad in ["", ID, &format!("{ID}\n\n"), &format!("{}\n", ID.to_uppercase()), &"0".repeat(100)] {
            fs::write(path.join(ID_FILE), bad).unwrap();
            let error = DirectoryPut::open(&path, ID.parse().unwrap()).err().unwrap();
            assert!(matches!(error.reason, Reason::BadId), "{bad:?}: {error}");
        }
    }

    #[test]
    fn links_and_unfinished_files_are_no_objects() {
        let (parent, path) = place();
        let put = open(&path);
        let (read, delete) = (DirectoryRead::open(&path).unwrap(), DirectoryDelete::open(&path).unwrap());
        let object: ObjectName = "a/object".parse().unwrap();
        put.put(&object, Bytes::from_static(b"object")).unwrap();
        fs::create_dir(parent.path().join("elsewhere")).unwrap();
        fs::write(parent.path().join("elsewhere/file"), "file").unwrap();
        symlink("../elsewhere", path.join("link")).unwrap();
        symlink("object", path.join("a/link")).unwrap();
        symlink("nowhere", path.join("a/dangling")).unwrap();
        fs::write(path.join("a/.offsite-1-1.unfinished"), "part").unwrap();
        fs::write(path.join("a/no object"), "").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path.join("a/fifo"), Mode::RWXU).unwrap();
        fs::create_dir_all(path.join("a/b/c/d/e/f/g/h/i")).unwrap();
        fs::write(path.join("a/b/c/d/e/f/g/h/i/deep"), "").unwrap();
        assert_eq!(conformance::names(&read, ""), ["a/object"]);
        for foreign in ["link/file", "a/link", "a/dangling", "a/fifo", "a/b", "a/object/below"] {
            let foreign = foreign.parse().unwrap();
            let reason = read.get(&foreign, 100).unwrap_err().reason;
            assert!(matches!(reason, Reason::NotAnObject), "{foreign}: {reason}");
            assert!(!matches!(put.holds(&foreign, 4), Ok(Some(true))), "{foreign}");
            put.put(&foreign, Bytes::from_static(b"new")).unwrap_err();
        }
        delete.delete(&"link/file".parse().unwrap()).unwrap_err();
        assert_eq!(fs::read(parent.path().join("elsewhere/file")).unwrap(), b"file");
        assert_eq!(fs::read_dir(parent.path().join("elsewhere")).unwrap().count(), 1);
    }
}
