//! A new file that appears under its name complete and durable, or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fstat, fsync, linkat, openat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::unfinished::{Unfinished, unfinished};

/// Makes a file of these contents. It fails with `AlreadyExists` where the name is taken; what has
/// it is then durable.
pub(super) fn create(folder: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = Temporary::create(folder)?;
    temporary.file.write_all(bytes)?;
    temporary.file.sync_all()?;
    match temporary.rename(name) {
        // Its process may have been killed before it could sync.
        Err(Errno::EXIST) => sync(folder).and(Err(Errno::EXIST.into())),
        Err(error) => Err(error.into()),
        // A folder's failed write is reported once, and a second try may succeed without having
        // written it. So the put is undone, for the next one to start afresh.
        Ok(()) => sync(folder).inspect_err(|_| remove(folder, name)),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &OwnedFd) -> io::Result<()> {
    match fsync(folder) {
        // Some file systems have nothing there to sync.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove(folder: &OwnedFd, name: &str) {
    let _ = unlinkat(folder, name, AtFlags::empty());
}

/// A file on its way to its name; dropped, it goes, and so it does at an interrupt.
struct Temporary<'a> {
    file: File,
    folder: &'a OwnedFd,
    name: String,
    /// Whether it has its own name instead.
    renamed: bool,
}

impl<'a> Temporary<'a> {
    /// No object's name has a leading dot. Names left by a dead process of the same number, or in
    /// use on another machine, are passed over.
    fn create(folder: &'a OwnedFd) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".offsite-{}-{number}.unfinished", std::process::id());
            // The lock keeps an interrupt from coming between creation and registration.
            let mut unfinished = unfinished();
            match openat(folder, &name, flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => {
                    unfinished.extend(Unfinished::within(folder, &name));
                    return Ok(Self { file: file.into(), folder, name, renamed: false });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the file its name, unless that is taken.
    fn rename(&mut self, to: &str) -> rustix::io::Result<()> {
        match renameat_with(self.folder, &self.name, self.folder, to, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.renamed = true;
                Ok(())
            }
            // The kernel or the file system (NFS) cannot rename so.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(to),
            Err(error) => Err(error),
        }
    }

    /// The same by a second name; the first goes when `self` is dropped.
    fn link(&self, to: &str) -> rustix::io::Result<()> {
        match linkat(self.folder, &self.name, self.folder, to, AtFlags::empty()) {
            // Where NFS loses an answer and asks again, only the count tells (open(2), O_EXCL).
            Err(Errno::EXIST) if fstat(&self.file)?.st_nlink == 2 => Ok(()),
            linked => linked,
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            remove(self.folder, &self.name);
        }
        unfinished().retain(|file| file.path() != Path::new(&self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What file systems without RENAME_NOREPLACE come to.
    #[test]
    fn a_link_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let handle = OwnedFd::from(File::open(folder.path()).unwrap());
        for (contents, expected) in [("first", Ok(())), ("second", Err(Errno::EXIST))] {
            let mut temporary = Temporary::create(&handle).unwrap();
            temporary.file.write_all(contents.as_bytes()).unwrap();
            assert_eq!(temporary.link("name"), expected);
        }
        assert_eq!(std::fs::read(folder.path().join("name")).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    }
}
