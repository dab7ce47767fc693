//! What an entry's inode says about it.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};
use rustix::io::Errno;

pub use crate::times::Time;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "POSIX has no others")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
}

/// An inode's metadata, as far as it is stored, tells changes, or tells links.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky: 12 bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Bytes that it occupies.
    pub occupied: u64,
    /// When the content changed last.
    pub modified: Time,
    /// When content or metadata changed last.
    pub changed: Time,
    /// The file system and the number of the inode in it.
    pub inode: (u64, u64),
    /// When the inode was made, where the file system tells: its number may have been another's before.
    pub born: Option<Time>,
    /// How many names the inode has.
    pub links: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

impl Metadata {
    /// Of a name in a directory; of the link itself if it is a symbolic one. Mounts nothing.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn of_name(folder: impl AsFd, name: &[u8]) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Self::from_statx(&statx(folder, name, flags, WANTED)?)
    }

    /// Of something open.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn of_open(file: impl AsFd) -> Result<Self, Errno> {
        Self::from_statx(&statx(file, c"", AtFlags::EMPTY_PATH, WANTED)?)
    }

    fn from_statx(from: &Statx) -> Result<Self, Errno> {
        let mode = u32::from(from.stx_mode);
        let kind = kind(FileType::from_raw_mode(mode)).ok_or(Errno::OPNOTSUPP)?;
        Ok(Self {
            kind,
            mode: mode & 0o7777,
            uid: from.stx_uid,
            gid: from.stx_gid,
            size: from.stx_size,
            occupied: from.stx_blocks.saturating_mul(512),
            modified: Time { seconds: from.stx_mtime.tv_sec, nanoseconds: from.stx_mtime.tv_nsec },
            changed: Time { seconds: from.stx_ctime.tv_sec, nanoseconds: from.stx_ctime.tv_nsec },
            inode: (makedev(from.stx_dev_major, from.stx_dev_minor), from.stx_ino),
            born: StatxFlags::from_bits_retain(from.stx_mask)
                .contains(StatxFlags::BTIME)
                .then_some(Time { seconds: from.stx_btime.tv_sec, nanoseconds: from.stx_btime.tv_nsec }),
            links: from.stx_nlink,
            device: (from.stx_rdev_major, from.stx_rdev_minor),
        })
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }
}

/// The kind by the system's word for it; None for what a listing leaves open.
#[must_use]
pub fn kind(file_type: FileType) -> Option<Kind> {
    Some(match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => return None,
    })
}
