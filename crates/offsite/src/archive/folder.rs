//! Directories by their handles. A name is looked up in the directory it was listed in and is
//! never followed, so nothing that happens to a path meanwhile leads elsewhere; and a path may be
//! longer than the system takes.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;

use crate::archive::metadata::{self, Kind, Metadata};
use crate::archive::names::{Listing, Names};

/// An open directory.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    open: OpenFolders,
}

/// How many directories of one walk are open: a process may open only so many.
#[derive(Clone, Debug, Default)]
pub struct OpenFolders(Arc<AtomicUsize>);

impl OpenFolders {
    /// The number.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn counting(&self, handle: OwnedFd) -> Folder {
        self.0.fetch_add(1, Ordering::Relaxed);
        Folder { handle, open: self.clone() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

impl Folder {
    /// Where a path begins: the root, or the working directory.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn base(absolute: bool, open: &OpenFolders) -> Result<Self, Errno> {
        let path = if absolute { c"/" } else { c"." };
        Ok(open.counting(openat(CWD, path, FOLDER | OFlags::PATH, Mode::empty())?))
    }

    /// A directory on the way to a path that was given. Symbolic links are followed: the user
    /// named them. It serves to look up names, not to list them.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn step(&self, name: &[u8]) -> Result<Self, Errno> {
        Ok(self.open.counting(openat(self, name, FOLDER | OFlags::PATH, Mode::empty())?))
    }

    /// A directory in this one.
    ///
    /// # Errors
    ///
    /// The system's; `ELOOP` or `ENOTDIR` where the name is no directory.
    pub fn folder(&self, name: &[u8]) -> Result<Self, Errno> {
        Ok(self.open.counting(self.open_quietly(name, FOLDER)?))
    }

    /// A regular file in this directory, with its metadata.
    ///
    /// # Errors
    ///
    /// The system's; `ELOOP` where the name is a symbolic link, `EINVAL` where it is anything else.
    pub fn file(&self, name: &[u8]) -> Result<(File, Metadata), Errno> {
        // Should a fifo have taken the file's place, opening it must not wait for a writer.
        let flags = OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match self.open_quietly(name, flags | OFlags::NONBLOCK) {
            // A lease (Samba's, NFS's) is broken only for those who wait. Fifos do not say this.
            Err(Errno::AGAIN) => self.open_quietly(name, flags)?,
            result => result?,
        };
        let metadata = Metadata::of_open(&file)?;
        if metadata.kind == Kind::File { Ok((File::from(file), metadata)) } else { Err(Errno::INVAL) }
    }

    /// Opens without leaving an access time where that is allowed: it would be written for every
    /// file of every backup.
    fn open_quietly(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW;
        match openat(self, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => openat(self, name, flags, Mode::empty()),
            result => result,
        }
    }

    /// The names in the directory, as `listing` sorts them. Once only: listing moves the handle's
    /// position.
    ///
    /// # Errors
    ///
    /// Within, the system's; else those of the listing's file.
    pub(crate) fn names(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        mut listing: Listing<'_>,
    ) -> io::Result<Result<Names, Errno>> {
        let mut entries = RawDir::new(self, buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Ok(Err(error)),
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                listing.push(name, metadata::kind(entry.file_type()))?;
            }
        }
        listing.end().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkfifoat;

    use super::*;
    use crate::archive::names;

    fn names(names: &mut Names) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| names.pop().unwrap().map(|(name, _)| name.to_vec())).collect()
    }

    #[test]
    fn nothing_is_followed_and_nothing_waits() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        fs::create_dir(path.join("folder")).unwrap();
        fs::write(path.join("file"), "content").unwrap();
        symlink("folder", path.join("to_folder")).unwrap();
        symlink("file", path.join("to_file")).unwrap();
        mkfifoat(CWD, path.join("fifo"), Mode::RUSR).unwrap();

        let open = OpenFolders::default();
        let base = path.components().skip(1).fold(Folder::base(true, &open).unwrap(), |folder, component| {
            folder.step(component.as_os_str().as_encoded_bytes()).unwrap()
        });
        assert_eq!(open.count(), 1);
        assert!(base.folder(b"folder").is_ok());
        assert!(base.file(b"file").is_ok());
        assert!(matches!(base.folder(b"to_folder"), Err(Errno::LOOP | Errno::NOTDIR)));
        assert_eq!(base.folder(b"file").unwrap_err(), Errno::NOTDIR);
        assert_eq!(base.file(b"to_file").unwrap_err(), Errno::LOOP);
        assert_eq!(base.file(b"fifo").unwrap_err(), Errno::INVAL);
        assert_eq!(base.file(b"folder").unwrap_err(), Errno::INVAL);
        assert_eq!(base.file(b"nothing").unwrap_err(), Errno::NOENT);
        drop(base);
        assert_eq!(open.count(), 0);
    }

    #[test]
    fn listings_are_whole_and_sorted() {
        let place = tempfile::tempdir().unwrap();
        let mut expected: Vec<_> = (0..3000).map(|number| format!("{number}-{}", "n".repeat(number % 200))).collect();
        for name in &expected {
            fs::write(place.path().join(name), "").unwrap();
        }
        expected.sort();
        let open = OpenFolders::default();
        for (memory, known) in [(names::MEMORY, Some(true)), (10_000, None)] {
            let folder = open.counting(fs::File::open(place.path()).unwrap().into());
            let listing = Listing::new(place.path(), memory);
            let mut listed = folder.names(&mut [MaybeUninit::uninit(); 1024], listing).unwrap().unwrap();
            assert_eq!(listed.contain(expected[17].as_bytes()), known);
            assert_eq!(listed.contain(b"17"), known.map(|_| false));
            assert!(names(&mut listed).iter().eq(expected.iter().map(String::as_bytes)));
            assert!(listed.is_empty());
        }
    }
}
