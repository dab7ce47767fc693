//! Paths resolved beneath the target's handle, through folders only.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// The longest path that the kernel takes at once, in bytes: `PATH_MAX` without the NUL.
const PATH_MAX: usize = 4095;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The target folder.
pub(super) struct Root {
    handle: OwnedFd,
    /// Whether the kernel resolves whole paths beneath a folder (Linux 5.6). Where it does not, or
    /// a sandbox refuses the call, a walk from folder to folder does the same, slower.
    openat2: bool,
}

impl Root {
    pub(super) fn open(target: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(CWD, target, flags, Mode::empty())?;
        let openat2 = rustix::fs::openat2(&handle, ".", flags, Mode::empty(), RESOLVE).is_ok();
        Ok(Self { handle, openat2 })
    }

    /// As on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn without_openat2(self) -> Self {
        Self { openat2: false, ..self }
    }

    /// A handle of the target folder itself.
    pub(super) fn itself(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.handle, 0)
    }

    /// Opens what `path` stands for. A symbolic link in it is an error, `LOOP` or `NOTDIR`; as its
    /// last component as well, unless `flags` are for a mere handle: that is one of the link.
    /// `path` is relative, without empty components, `.` or `..`; or empty for the target itself.
    pub(super) fn resolve(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = if path.is_empty() { b"." } else { path };
        if self.openat2 && path.len() <= PATH_MAX {
            return rustix::fs::openat2(&self.handle, path, flags, mode, RESOLVE);
        }
        self.walk(path, flags, mode)
    }

    fn walk(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let mut components = path.split(|byte| *byte == b'/');
        let last = components.next_back().ok_or(Errno::NOENT)?;
        let mut folder = None;
        for component in components {
            let handle = folder.as_ref().unwrap_or(&self.handle);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = Some(rustix::fs::openat(handle, OsStr::from_bytes(component), flags, Mode::empty())?);
        }
        let handle = folder.as_ref().unwrap_or(&self.handle);
        rustix::fs::openat(handle, OsStr::from_bytes(last), flags, mode)
    }
}

/// Gives the file that `file` is a handle of another name. It goes by the handle, because what its
/// path stands for may change between a look and the link.
pub(super) fn link(file: &OwnedFd, folder: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::linkat(file, "", folder, name, AtFlags::EMPTY_PATH) {
        // Only for root, before Linux 6.10.
        Err(Errno::NOENT) => rustix::fs::linkat(CWD, path(file.as_fd()), folder, name, AtFlags::SYMLINK_FOLLOW),
        result => result,
    }
}

/// A path that stands for a handle, whatever happens to the file's own name: for calls that take
/// paths only, or no mere handle. It needs /proc.
pub(super) fn path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}
