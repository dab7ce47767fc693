//! Members become files beneath a target folder, and nothing outside it is made, written, linked
//! or changed, whatever the archive says and whatever another process does meanwhile.
//!
//! - No member's path is ever given to the kernel from the root: `beneath` resolves it from the
//!   target's handle and follows no symbolic link. A link in the middle of a path is an error.
//! - What is made is then changed through its own handle only, never by its name again.
//! - Folders are made for their owner alone, and get their attributes in a last pass, deepest
//!   first: till then each can be written to, and its time does not matter.

mod acl;
mod attributes;
mod beneath;
mod error;
mod folders;
mod made;
mod new_file;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::archive::read::{Kind, Member};
use crate::paths;
use crate::times::Time;
use attributes::Object;
use beneath::Root;
use folders::Folders;
use made::Made;

pub use error::{Attribute, Error, LinkFault, Problem, Result};
pub use new_file::NewFile;

/// Receives what could not be made or set; from several threads.
pub trait Report: Sync {
    /// One thing that could not.
    fn problem(&self, problem: Problem);
}

/// What to do where something is there already. Folders are always kept and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    #[default]
    Refuse,
    /// Everything but a folder is replaced.
    Replace,
    /// A regular file of the same size and time is taken for finished, since the time is what a
    /// file gets last. Everything else but a folder is replaced.
    Resume,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now.
    Made,
    /// It was there before, so its content was not read.
    Kept,
    /// It could not be made, which was [reported](Report).
    NotMade,
}

/// How many members had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Made, folders included.
    pub made: u64,
    /// There before.
    pub kept: u64,
    /// Could not be made.
    pub not_made: u64,
}

/// Unpacks into one target folder, on as many threads as call it.
///
/// Its memory, beside a piece of content a thread: some 0.4 bytes a member where inode numbers are
/// dense, at most 50 where they are not; 4 MiB for folders' attributes, of which more go to an
/// unlinked file.
pub struct Unpacker<'a> {
    root: Root,
    existing: Existing,
    report: &'a dyn Report,
    /// What this run has made or kept.
    made: Made,
    folders: Mutex<Folders>,
    /// Whether what is made here may inherit an ACL that is not its own.
    inherits: bool,
    counts: [AtomicU64; 3],
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
const NEW_FILE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How often a folder is looked for again that another thread, or process, makes or removes.
const ATTEMPTS: usize = 16;

impl<'a> Unpacker<'a> {
    /// Unpacks into `target`, a folder that is there.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where it cannot be opened.
    pub fn new(target: &Path, existing: Existing, report: &'a dyn Report) -> Result<Self> {
        Ok(Self::on(Root::open(target).map_err(system("open the target", &[]))?, target, existing, report))
    }

    fn on(root: Root, target: &Path, existing: Existing, report: &'a dyn Report) -> Self {
        let inherits = existing != Existing::Refuse || attributes::has_default_acl(target);
        Self {
            root,
            existing,
            report,
            made: Made::default(),
            folders: Mutex::new(Folders::new(target)),
            inherits,
            counts: Default::default(),
        }
    }

    /// Makes what `member` says; its `content` is read only where it is a file that is not kept.
    ///
    /// Different members may come from different threads, in any order but one: a hard link's
    /// target must be finished. Where that is not wanted, its leader's member under the link's own
    /// path is the file itself.
    ///
    /// # Errors
    ///
    /// Everything that [`Error`] lists. What it could not finish is not there, or, where this run
    /// may replace, what was there before may be gone.
    pub fn member(&self, member: &Member, content: &mut dyn BufRead) -> Result<Outcome> {
        // The empty path is the target itself.
        let check = if member.kind == Kind::Directory { paths::check } else { paths::check_inner };
        check(&member.path).map_err(|fault| Error::Path { path: member.path.clone(), fault })?;
        let outcome = match &member.kind {
            Kind::Directory => self.directory(member),
            Kind::File { .. } => {
                let Some(file) = self.file(member)? else { return Ok(Outcome::Kept) };
                file.write_from(content)?;
                file.finish();
                return Ok(Outcome::Made);
            }
            Kind::HardLink { target } => self.hard_link(member, target),
            Kind::Symlink { target } => self.symlink(member, target),
            Kind::Fifo => self.node(member, FileType::Fifo, (0, 0), "a named pipe"),
            Kind::CharacterDevice { major, minor } => {
                self.node(member, FileType::CharacterDevice, (*major, *minor), "a device")
            }
            Kind::BlockDevice { major, minor } => {
                self.node(member, FileType::BlockDevice, (*major, *minor), "a device")
            }
        }?;
        Ok(self.counted(outcome))
    }

    /// Makes the file that `member` says, for content that comes in pieces, from several threads.
    /// None where it is kept, since an earlier run has finished it.
    ///
    /// # Errors
    ///
    /// As [`Unpacker::member`].
    pub fn file(&self, member: &Member) -> Result<Option<NewFile<'_>>> {
        paths::check_inner(&member.path).map_err(|fault| Error::Path { path: member.path.clone(), fault })?;
        if self.existing == Existing::Resume && self.is_finished(member)? {
            self.counted(Outcome::Kept);
            return Ok(None);
        }
        NewFile::new(self, member).map(Some)
    }

    fn counted(&self, outcome: Outcome) -> Outcome {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
        outcome
    }

    /// Gives the folders their attributes, the deepest first, since a folder without permission to
    /// search bars the way to those within it.
    ///
    /// # Errors
    ///
    /// [`Error::System`] where the list of them cannot be read back.
    pub fn finish(self) -> Result<Totals> {
        let folders = self.folders.into_inner().unwrap_or_else(PoisonError::into_inner);
        folders
            .deepest_first(|member| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                match self.root.resolve(&member.path, flags, Mode::empty()) {
                    Ok(folder) => {
                        attributes::set(&Object::Open(folder.as_fd()), None, member, self.inherits, self.report);
                    }
                    Err(error) => {
                        let (path, source) = (member.path.clone(), error.into());
                        self.report.problem(Problem::NotSet { path, attribute: Attribute::All, source });
                    }
                }
            })
            .map_err(|source| Error::System { path: Vec::new(), action: "read the list of folders", source })?;
        let [made, kept, not_made] = self.counts.map(AtomicU64::into_inner);
        Ok(Totals { made, kept, not_made })
    }

    fn directory(&self, member: &Member) -> Result<Outcome> {
        let folder = if member.path.is_empty() {
            self.root.itself().map_err(system("open the target", &member.path))?
        } else {
            let (parent, name) = self.parent(member)?;
            self.step(&parent, name, member)?
        };
        let stat = rustix::fs::fstat(&folder).map_err(system("look at the folder", &member.path))?;
        if !self.made.insert(&stat) {
            return Err(Error::Repeated { path: member.path.clone() });
        }
        // A folder of an earlier run may be closed even to its owner.
        if stat.st_mode & 0o700 != 0o700 {
            let _ = Object::Pinned(folder.as_fd()).set_mode(stat.st_mode & 0o7777 | 0o700);
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.push(member).map_err(|source| {
            let action = "note the folder for the last pass";
            Error::System { path: member.path.clone(), action, source }
        })?;
        Ok(Outcome::Made)
    }

    /// Whether an earlier run has finished this file.
    fn is_finished(&self, member: &Member) -> Result<bool> {
        let Kind::File { size, .. } = member.kind else { return Ok(false) };
        let stat = match self.root.resolve(&member.path, OFlags::PATH, Mode::empty()) {
            Ok(found) => rustix::fs::fstat(found).map_err(system("look at the file", &member.path))?,
            Err(_) => return Ok(false),
        };
        let mtime = Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(u32::MAX) };
        let same_size = u64::try_from(stat.st_size).is_ok_and(|found| found == size);
        if !is(&stat, FileType::RegularFile) || !same_size || mtime != member.mtime {
            return Ok(false);
        }
        if self.made.insert(&stat) { Ok(true) } else { Err(Error::Repeated { path: member.path.clone() }) }
    }

    fn new_file(&self, member: &Member) -> Result<OwnedFd> {
        // Most often the folder is there and the file is not: then one call does it.
        if let Ok(file) = self.root.resolve(&member.path, NEW_FILE, PRIVATE_FILE) {
            return Ok(file);
        }
        self.make(member, "make the file", |folder, name| {
            let flags = NEW_FILE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, flags, PRIVATE_FILE)
        })
    }

    /// Removes a file that could not be finished, if it is still the one that was made.
    fn discard(&self, member: &Member, stat: &Stat) {
        let Ok((folder, name)) = self.parent(member) else { return };
        let there = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
            let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
        }
        self.made.remove(stat);
    }

    fn hard_link(&self, member: &Member, target: &[u8]) -> Result<Outcome> {
        let fault = |fault| Error::LinkTarget { path: member.path.clone(), target: target.to_vec(), fault };
        paths::check_inner(target).map_err(|wrong| fault(LinkFault::Path(wrong)))?;
        let source = match self.root.resolve(target, OFlags::PATH, Mode::empty()) {
            Ok(source) => source,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(fault(LinkFault::Missing)),
            Err(Errno::LOOP) => return Err(fault(LinkFault::NotOurs)),
            Err(error) => return Err(system("look at what to link to", &member.path)(error)),
        };
        let stat = rustix::fs::fstat(&source).map_err(system("look at what to link to", &member.path))?;
        if is(&stat, FileType::Directory) || !self.made.contains(&stat) {
            return Err(fault(LinkFault::NotOurs));
        }
        if self.existing != Existing::Refuse && self.is_same(member, &stat) {
            return Ok(Outcome::Kept);
        }
        let linked = self.make(member, "link", |folder, name| beneath::link(&source, folder, name));
        self.made_or_reported(member, linked, "a hard link")
            .map(|made| made.map_or(Outcome::NotMade, |()| Outcome::Made))
    }

    /// Whether the member's name stands for this very file already.
    fn is_same(&self, member: &Member, stat: &Stat) -> bool {
        let there = self.root.resolve(&member.path, OFlags::PATH, Mode::empty()).and_then(rustix::fs::fstat);
        there.is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino))
    }

    fn symlink(&self, member: &Member, target: &[u8]) -> Result<Outcome> {
        let made = self.make(member, "make the symbolic link", |folder, name| {
            rustix::fs::symlinkat(target, folder, name)?;
            pin(folder, name, FileType::Symlink)
        });
        self.with_attributes(member, made, "a symbolic link")
    }

    fn node(&self, member: &Member, kind: FileType, device: (u32, u32), what: &'static str) -> Result<Outcome> {
        let made = self.make(member, "make the device or pipe", |folder, name| {
            // The kernel has 12 bits for one and 20 for the other, and would cut off the rest.
            if device.0 >= 1 << 12 || device.1 >= 1 << 20 {
                return Err(Errno::OPNOTSUPP);
            }
            let number = rustix::fs::makedev(device.0, device.1);
            rustix::fs::mknodat(folder, name, kind, PRIVATE_FILE, number)?;
            pin(folder, name, kind)
        });
        self.with_attributes(member, made, what)
    }

    /// The attributes of something that cannot be opened.
    fn with_attributes(&self, member: &Member, made: Result<Option<OwnedFd>>, what: &'static str) -> Result<Outcome> {
        match self.made_or_reported(member, made, what)? {
            None => Ok(Outcome::NotMade),
            Some(None) => Err(Error::Changed { path: member.path.clone() }),
            Some(Some(pinned)) => {
                let stat = rustix::fs::fstat(&pinned).map_err(system("look at what was made", &member.path))?;
                self.made.insert(&stat);
                attributes::set(&Object::Pinned(pinned.as_fd()), None, member, self.inherits, self.report);
                Ok(Outcome::Made)
            }
        }
    }

    /// What the user or the file system may not have becomes a report, and None.
    fn made_or_reported<T>(&self, member: &Member, made: Result<T>, what: &'static str) -> Result<Option<T>> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(Error::System { path, source, .. }) if is_refusal(&source) => {
                debug_assert_eq!(path, member.path);
                self.report.problem(Problem::NotMade { path, what, source });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes something under the member's name with `attempt`, which must fail where something is
    /// there; it gets the folder and the name in it.
    fn make<T>(
        &self,
        member: &Member,
        action: &'static str,
        attempt: impl Fn(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let (folder, name) = self.parent(member)?;
        match attempt(folder.as_fd(), name) {
            Err(Errno::EXIST) => {
                self.vacate(&folder, name, member)?;
                attempt(folder.as_fd(), name)
            }
            result => result,
        }
        .map_err(|error| match error {
            Errno::EXIST => Error::Exists { path: member.path.clone() },
            error => system(action, &member.path)(error),
        })
    }

    /// Removes what stands in a member's place, if it may: no folder, and nothing of this run.
    fn vacate(&self, folder: &OwnedFd, name: &OsStr, member: &Member) -> Result<()> {
        let failed = system("replace what is there", &member.path);
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(&failed)?,
        };
        if self.made.contains(&stat) {
            return Err(Error::Repeated { path: member.path.clone() });
        }
        if self.existing == Existing::Refuse || is(&stat, FileType::Directory) {
            return Err(Error::Exists { path: member.path.clone() });
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.map_err(failed),
        }
    }

    /// The folder that a member belongs into, and its name there. Folders that are missing are
    /// made: their own members may come later, or never.
    fn parent<'m>(&self, member: &'m Member) -> Result<(OwnedFd, &'m OsStr)> {
        let slash = member.path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = match slash {
            Some(slash) => (&member.path[..slash], &member.path[slash + 1..]),
            None => (&[][..], &member.path[..]),
        };
        let name = OsStr::from_bytes(name);
        let failed = system("open the folder", &member.path);
        if folder.is_empty() {
            return Ok((self.root.itself().map_err(failed)?, name));
        }
        match self.root.resolve(folder, FOLDER, Mode::empty()) {
            Ok(folder) => return Ok((folder, name)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut handle = self.root.itself().map_err(failed)?;
        for component in folder.split(|byte| *byte == b'/') {
            handle = self.step(&handle, OsStr::from_bytes(component), member)?;
        }
        Ok((handle, name))
    }

    /// The folder `name` in `folder`, made where it is missing, for its owner alone.
    fn step(&self, folder: &OwnedFd, name: &OsStr, member: &Member) -> Result<OwnedFd> {
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat(folder, name, FOLDER | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::NOENT) => match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(system("make the folder", &member.path)(error)),
                },
                Err(Errno::NOTDIR | Errno::LOOP) => match self.vacate(folder, name, member) {
                    Err(Error::Exists { path } | Error::Repeated { path }) => return Err(Error::Through { path }),
                    vacated => vacated?,
                },
                opened => return opened.map_err(system("open the folder", &member.path)),
            }
        }
        Err(Error::Changed { path: member.path.clone() })
    }
}

/// A handle on what was just made under a name, or None where that is not it: of another kind, or
/// a file that has other names, too.
fn pin(folder: BorrowedFd<'_>, name: &OsStr, kind: FileType) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        handle => handle?,
    };
    let stat = rustix::fs::fstat(&handle)?;
    let own = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_nlink == 1 && is(&stat, kind);
    Ok(own.then_some(handle))
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// Whether this user, or this file system, may not have such a thing at all.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK];
    refusals.iter().any(|refusal| error.raw_os_error() == Some(refusal.raw_os_error()))
}

fn system(action: &'static str, path: &[u8]) -> impl Fn(Errno) -> Error {
    let path = path.to_vec();
    move |error| Error::System { path: path.clone(), action, source: error.into() }
}
