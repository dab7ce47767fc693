//! The walk beside the entries of the last backup: one forward pass over both.

use crate::archive::links::Role;
use crate::archive::metadata::{self, Metadata};
use crate::archive::walk;
use crate::error::Result;
use crate::index::{Kind, Part};
use crate::paths::compare;
use crate::state::{Entries, Known, Record};

/// What is not compared, since the file system does not keep it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignored {
    /// When the inode changed last.
    pub changed: bool,
    /// The inode's number.
    pub inode: bool,
}

/// The entries of the last backup, passed over in step with the walk.
#[derive(Default)]
pub(super) struct Older {
    entries: Option<Entries>,
    next: Option<Record>,
}

impl Older {
    pub(super) fn new(mut entries: Entries) -> Result<Self> {
        let next = entries.next_record()?;
        Ok(Self { entries: Some(entries), next })
    }

    /// The next path that comes before `path`, or any that is left: the walk does not have it.
    pub(super) fn next_gone(&mut self, path: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        while let Some(next) = &self.next
            && path.is_none_or(|path| compare(next.path(), path).is_lt())
        {
            if let Some(Record::Entry(known)) = self.take()? {
                return Ok(Some(known.entry.path));
            }
        }
        Ok(None)
    }

    /// The entry of this path, once all before it have been passed over.
    pub(super) fn entry(&mut self, path: &[u8]) -> Result<Option<Known>> {
        if self.next.as_ref().is_none_or(|next| next.path() != path) {
            return Ok(None);
        }
        match self.take()? {
            Some(Record::Entry(known)) => Ok(Some(known)),
            _ => Ok(None),
        }
    }

    /// The next part of the entry that was given out last.
    pub(super) fn part(&mut self) -> Result<Option<Part>> {
        if !self.has_part() {
            return Ok(None);
        }
        match self.take()? {
            Some(Record::Part(part)) => Ok(Some(part)),
            _ => Ok(None),
        }
    }

    /// Whether the entry that was given out last has parts.
    pub(super) fn has_part(&self) -> bool {
        matches!(self.next, Some(Record::Part(_)))
    }

    fn take(&mut self) -> Result<Option<Record>> {
        let Some(entries) = &mut self.entries else { return Ok(None) };
        let next = entries.next_record()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Whether an entry is what the last backup says of it, so that it need not be read.
pub(super) fn is_unchanged(known: &Known, entry: &walk::Entry, role: &Role, ignored: Ignored) -> bool {
    let Known { entry: old, changed, inode, again } = known;
    let now = &entry.metadata;
    let Metadata { mode, uid, gid, modified, .. } = *now;
    let same_inode = (old.inode.mode, old.inode.uid, old.inode.gid, old.inode.mtime) == (mode, uid, gid, modified);
    let same_time = ignored.changed || *changed == now.changed;
    let same_number = ignored.inode || *inode == now.inode.1;
    !again && !old.torn && same_inode && same_time && same_number && is_same_kind(old, now, role)
}

/// Whether it is of the same kind, and the same among the names of its inode.
fn is_same_kind(old: &crate::index::Entry, now: &Metadata, role: &Role) -> bool {
    let leads = match role {
        // A link says where its leader lies, and comes after it.
        Role::Follower { leader, leader_is_kept } => {
            return *leader_is_kept && old.kind == Kind::HardLink { leader: leader.clone() };
        }
        Role::Leader => true,
        Role::Alone => false,
    };
    let (major, minor) = now.device;
    let same = match &old.kind {
        Kind::File { size, .. } => now.kind == metadata::Kind::File && *size == now.size,
        Kind::Folder => now.kind == metadata::Kind::Folder,
        Kind::Symlink { target } => now.kind == metadata::Kind::Symlink && target.len() as u64 == now.size,
        Kind::Fifo => now.kind == metadata::Kind::Fifo,
        Kind::CharacterDevice { .. } => {
            now.kind == metadata::Kind::CharacterDevice && old.kind == Kind::CharacterDevice { major, minor }
        }
        Kind::BlockDevice { .. } => {
            now.kind == metadata::Kind::BlockDevice && old.kind == Kind::BlockDevice { major, minor }
        }
        Kind::HardLink { .. } | Kind::Stream { .. } => false,
    };
    same && old.links == leads
}
