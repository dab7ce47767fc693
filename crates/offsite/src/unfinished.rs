//! Files on their way to their names, which an interrupt must remove.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, unlinkat};

/// A file to be removed.
pub(crate) struct Unfinished {
    /// What the path begins at, if not the working directory.
    folder: Option<OwnedFd>,
    path: PathBuf,
}

impl Unfinished {
    /// A file by its name in a folder that is open. Where the folder cannot be kept open, an interrupt
    /// leaves the file.
    pub(crate) fn within(folder: &OwnedFd, name: &str) -> Option<Self> {
        Some(Self { folder: Some(folder.try_clone().ok()?), path: name.into() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn remove(&self) {
        let _ = match &self.folder {
            Some(folder) => unlinkat(folder, &self.path, AtFlags::empty()),
            None => unlinkat(CWD, &self.path, AtFlags::empty()),
        };
    }
}

impl From<PathBuf> for Unfinished {
    fn from(path: PathBuf) -> Self {
        Self { folder: None, path }
    }
}

static UNFINISHED: Mutex<Vec<Unfinished>> = Mutex::new(Vec::new());

/// All of them. While this is held no interrupt comes: from before a file is made until it is added,
/// and while one passes to its own name.
pub(crate) fn unfinished() -> MutexGuard<'static, Vec<Unfinished>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes them. The process must end after it: for an interrupt's handler, which keeps others from
/// making or finishing any by never giving the lock back.
pub fn remove_unfinished() {
    let unfinished = unfinished();
    unfinished.iter().for_each(Unfinished::remove);
    std::mem::forget(unfinished);
}
