//! `diff`: what two backups of a set hold differently, from their indexes.
//!
//! Both are read in one pass in the order of paths. Where the one's index builds on the other's, that is a pass over
//! the one's chain, which tells of both; else over two chains side by side.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::index::{Entry, History, Inode, Kind, Past, Version};
use crate::operations::backups::{Backup, Broken, Plaintext, Selection, index_chain};
use crate::paths::compare;

/// A path that differs.
#[derive(Clone, Debug)]
pub enum Difference {
    /// Only the newer backup has it.
    Added(Entry),
    /// Only the older one has it.
    Removed(Entry),
    /// Both have it, and something of it differs.
    Changed {
        /// What the older one has.
        old: Entry,
        /// What the newer one has.
        new: Entry,
        /// What differs: at least one thing.
        changes: Vec<Change>,
    },
}

/// What may differ of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// What it is: a file, a folder, another name of something, …
    Kind,
    /// The length of a file or stream.
    Size,
    /// When the content changed last.
    Time,
    /// Permissions.
    Mode,
    /// Owner or group.
    Owner,
    /// Where a symbolic link leads, or the first name of a hard link.
    Target,
    /// The numbers of a device.
    Device,
    /// Whether the content changed while it was read.
    Torn,
    /// The content. An index has no hashes: this is told of a stream of which not all bytes lie where they lay, and of
    /// a file whose holes are others. A file of the same size and time counts as unchanged, as it does to `backup`.
    Content,
}

/// Hands out what differs between two backups of a set, in the order of paths, until `each` breaks. The entries are
/// without their places.
///
/// # Errors
///
/// [`Error::NoSuchPath`] for what is chosen and neither has, once all else has been handed out; [`Error::Damage`],
/// [`Error::WrongKey`], [`Error::Store`].
pub fn diff(
    old: &Backup<'_>,
    new: &Backup<'_>,
    mut selection: Selection,
    each: &mut dyn FnMut(Difference) -> ControlFlow<()>,
) -> Result<()> {
    let mut sides = Sides::new(old, new).map_err(|broken| *broken.error)?;
    let mut broken = false;
    while !broken && let Some(past) = sides.next_past()? {
        let [old, new] = sides.levels.map(|level| past.at(level));
        if (old.is_some() || new.is_some())
            && selection.takes(&past.path)
            && let Some(difference) = difference(old, new)
        {
            broken = each(difference).is_break();
        }
    }
    let missing = selection.not_found();
    if broken || missing.is_empty() { Ok(()) } else { Err(Error::NoSuchPath(missing)) }
}

fn difference(old: Option<&Version>, new: Option<&Version>) -> Option<Difference> {
    match (old, new) {
        (None, None) => None,
        (Some(old), None) => Some(Difference::Removed(old.entry.clone())),
        (None, Some(new)) => Some(Difference::Added(new.entry.clone())),
        (Some(old), Some(new)) => {
            let changes = changes(old, new);
            let (before, after) = (old.entry.clone(), new.entry.clone());
            (!changes.is_empty()).then_some(Difference::Changed { old: before, new: after, changes })
        }
    }
}

fn changes(old: &Version, new: &Version) -> Vec<Change> {
    let of_kind = match (&old.entry.kind, &new.entry.kind) {
        (Kind::Stream { size }, Kind::Stream { size: other }) if size == other => {
            (old.places != new.places).then_some(Change::Content)
        }
        (one, other) if one == other => None,
        (Kind::File { size, .. }, Kind::File { size: other, .. }) if size == other => Some(Change::Content),
        (Kind::File { .. }, Kind::File { .. }) | (Kind::Stream { .. }, Kind::Stream { .. }) => Some(Change::Size),
        (Kind::Symlink { .. }, Kind::Symlink { .. }) | (Kind::HardLink { .. }, Kind::HardLink { .. }) => {
            Some(Change::Target)
        }
        (Kind::CharacterDevice { .. }, Kind::CharacterDevice { .. })
        | (Kind::BlockDevice { .. }, Kind::BlockDevice { .. }) => Some(Change::Device),
        _ => Some(Change::Kind),
    };
    let (Inode { mode, uid, gid, mtime }, other) = (old.entry.inode, new.entry.inode);
    let others = [
        (Change::Time, mtime != other.mtime),
        (Change::Mode, mode != other.mode),
        (Change::Owner, (uid, gid) != (other.uid, other.gid)),
        (Change::Torn, old.entry.torn != new.entry.torn),
    ];
    of_kind.into_iter().chain(others.into_iter().filter(|(_, differs)| *differs).map(|(change, _)| change)).collect()
}

/// Two backups, read side by side.
struct Sides<'b, 'a> {
    /// The one whose chain has both, where the index of one builds on that of the other; else each of them.
    sides: Vec<Side<'b, 'a>>,
    /// On which levels of what comes out they are.
    levels: [usize; 2],
}

impl<'b, 'a> Sides<'b, 'a> {
    fn new(old: &'b Backup<'a>, new: &'b Backup<'a>) -> Result<Self, Broken> {
        let chains = [old, new].map(|backup| index_chain(backup.receipt()));
        let levels = [chains[0].len() - 1, chains[1].len() - 1];
        let (sides, levels) = if chains[1].starts_with(&chains[0]) {
            (vec![Side::new(new)?], levels)
        } else if chains[0].starts_with(&chains[1]) {
            (vec![Side::new(old)?], levels)
        } else {
            (vec![Side::new(old)?, Side::new(new)?], [0, 1])
        };
        Ok(Self { sides, levels })
    }

    /// What comes next in either.
    fn next_past(&mut self) -> Result<Option<Past>> {
        let [old, new] = &mut self.sides[..] else { return self.sides[0].next_past() };
        let order = match (old.peek()?, new.peek()?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => compare(&old.entry.path, &new.entry.path),
        };
        let old = order.is_le().then(|| old.next.take()).flatten();
        let new = order.is_ge().then(|| new.next.take()).flatten();
        let versions = [(old, 0), (new, 1)]
            .into_iter()
            .filter_map(|(version, level)| version.map(|version| Version { levels: level..level + 1, ..version }));
        let versions: Vec<Version> = versions.collect();
        Ok(versions.first().map(|first| first.entry.path.clone()).map(|path| Past { path, versions }))
    }
}

/// A backup that is read.
struct Side<'b, 'a> {
    backup: &'b Backup<'a>,
    history: History<Plaintext<'a>>,
    /// Its own level.
    newest: usize,
    /// What comes next in it.
    next: Option<Version>,
}

impl<'b, 'a> Side<'b, 'a> {
    fn new(backup: &'b Backup<'a>) -> Result<Self, Broken> {
        let newest = index_chain(backup.receipt()).len() - 1;
        Ok(Self { backup, history: backup.history()?, newest, next: None })
    }

    /// What became of the next path in the whole chain.
    fn next_past(&mut self) -> Result<Option<Past>> {
        self.history.next_path().map_err(|error| self.backup.index_error(error))
    }

    /// What comes next in the backup itself.
    fn peek(&mut self) -> Result<Option<&Version>> {
        while self.next.is_none()
            && let Some(mut past) = self.next_past()?
        {
            self.next = past.versions.pop_if(|version| version.levels.contains(&self.newest));
        }
        Ok(self.next.as_ref())
    }
}
