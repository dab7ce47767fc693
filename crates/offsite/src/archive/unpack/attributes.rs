//! What a file has beside its content, set through its handle.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use super::{Attribute, Problem, Report, acl, beneath};
use crate::archive::read::{Kind, Member};
use crate::times::Time;

const ACCESS_ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// A file by its handle.
pub(super) enum Object<'a> {
    /// A file or folder that is open.
    Open(BorrowedFd<'a>),
    /// A mere handle (`O_PATH`), which fewer calls take: of what cannot be opened, or better is not.
    Pinned(BorrowedFd<'a>),
}

impl Object<'_> {
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        // The greatest number means "leave it" to the kernel, and is nobody's.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Self::Open(file) => rustix::fs::fchown(file, uid, gid),
            Self::Pinned(handle) => rustix::fs::chownat(handle, "", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    pub(super) fn set_mode(&self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(file) => rustix::fs::fchmod(file, mode),
            Self::Pinned(handle) => rustix::fs::chmod(beneath::path(*handle), mode),
        }
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> Result<()> {
        match self {
            Self::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
            Self::Pinned(handle) => rustix::fs::setxattr(beneath::path(*handle), name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(&self, name: &str) -> Result<()> {
        match self {
            Self::Open(file) => rustix::fs::fremovexattr(file, name),
            Self::Pinned(handle) => rustix::fs::removexattr(beneath::path(*handle), name),
        }
    }

    fn set_mtime(&self, time: Time) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
        };
        match self {
            Self::Open(file) => rustix::fs::futimens(file, &times),
            Self::Pinned(handle) => match rustix::fs::utimensat(handle, "", &times, AtFlags::EMPTY_PATH) {
                // Before Linux 5.8.
                Err(Errno::INVAL | Errno::NOENT) => {
                    rustix::fs::utimensat(CWD, beneath::path(*handle), &times, AtFlags::empty())
                }
                result => result,
            },
        }
    }

    fn owner(&self) -> Result<(u32, u32)> {
        let (Self::Open(handle) | Self::Pinned(handle)) = self;
        rustix::fs::fstat(handle).map(|stat| (stat.st_uid, stat.st_gid))
    }
}

/// Sets all that `member` says. What cannot be set is reported, and the rest is set.
///
/// The owner goes first, since that takes away setuid and capabilities. Extended attributes and
/// ACLs go before the mode: of a read-only file its own owner cannot set the former, and the latter
/// can take away setgid. The time goes last, for a run that resumes takes it as the sign that all
/// else is done. Where `owner` is known to be the member's, nothing is to be done for it.
pub(super) fn set(
    object: &Object<'_>,
    owner: Option<(u32, u32)>,
    member: &Member,
    inherits: bool,
    report: &dyn Report,
) {
    let done = |attribute, result: io::Result<()>| {
        if let Err(source) = result {
            report.problem(Problem::NotSet { path: member.path.clone(), attribute, source });
        }
    };
    let mut mode = member.mode;
    if owner != Some((member.uid, member.gid))
        && let Err(error) = object.set_owner(Some(member.uid), Some(member.gid))
    {
        done(Attribute::Owner, Err(error.into()));
        mode = mode_of_another_owner(object, member);
    }
    if inherits {
        drop_inherited(object, member);
    }
    for xattr in &member.xattrs {
        let result = object.set_xattr(OsStr::from_bytes(&xattr.name), &xattr.value);
        done(Attribute::Xattr(xattr.name.clone()), result.map_err(Into::into));
    }
    for (attribute, name, text) in [
        (Attribute::AccessAcl, ACCESS_ACL, &member.access_acl),
        (Attribute::DefaultAcl, DEFAULT_ACL, &member.default_acl),
    ] {
        if let Some(text) = text {
            let value = acl::to_xattr(text).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault));
            done(attribute, value.and_then(|value| Ok(object.set_xattr(OsStr::new(name), &value)?)));
        }
    }
    if !matches!(member.kind, Kind::Symlink { .. }) {
        done(Attribute::Mode, object.set_mode(mode).map_err(Into::into));
    }
    done(Attribute::Mtime, object.set_mtime(member.mtime).map_err(Into::into));
}

/// What is not its owner's must not run with somebody else's rights. The group may still be one
/// that the user is in.
fn mode_of_another_owner(object: &Object<'_>, member: &Member) -> u32 {
    let _ = object.set_owner(None, Some(member.gid));
    match object.owner() {
        Ok((uid, _)) if uid != member.uid => member.mode & !(SETUID | SETGID),
        Ok((_, gid)) if gid != member.gid => member.mode & !SETGID,
        Ok(_) => member.mode,
        Err(_) => member.mode & !(SETUID | SETGID),
    }
}

/// Removes ACLs that come from the folder, not from the archive. Where there are none, or no such
/// thing on this file system, nothing is lost.
fn drop_inherited(object: &Object<'_>, member: &Member) {
    if member.access_acl.is_none() && !matches!(member.kind, Kind::Symlink { .. }) {
        let _ = object.remove_xattr(ACCESS_ACL);
    }
    if member.default_acl.is_none() && member.kind == Kind::Directory {
        let _ = object.remove_xattr(DEFAULT_ACL);
    }
}

/// Whether what is made in this folder gets an ACL that nobody asked for.
pub(super) fn has_default_acl(folder: &Path) -> bool {
    rustix::fs::getxattr_query(folder, DEFAULT_ACL).is_ok_and(|length| length > 0)
}
