//! The walk over the trees that are packed: one pass, forward, in the order of archive paths.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use rustix::io::Errno;

use crate::archive::excludes::Excludes;
use crate::archive::folder::{Folder, OpenFolders};
use crate::archive::incident::{Incident, What};
use crate::archive::metadata::{Kind, Metadata};
use crate::archive::names::{self, Listing, Names};
use crate::archive::roots::{Root, Roots};
use crate::paths;

/// Something to be packed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its archive path; empty for the folder that '/' or '.' stands for.
    pub path: Vec<u8>,
    /// What the walk saw.
    pub metadata: Metadata,
    parent: Arc<Folder>,
    own: Option<Arc<Folder>>,
}

impl Entry {
    /// The folder to look its name up in.
    #[must_use]
    pub fn parent(&self) -> &Folder {
        &self.parent
    }

    /// Its name in that folder.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        name(&self.path)
    }

    /// The entry itself where it is a folder that could be opened.
    #[must_use]
    pub fn folder(&self) -> Option<&Folder> {
        self.own.as_deref()
    }
}

/// Walks over trees. Each entry comes once, a folder before what it holds; what goes wrong with
/// one entry comes in its place, and the walk goes on. Only where a file without a name cannot be
/// used, for the names of a huge folder, the walk cannot go on: then an error comes, and nothing that
/// comes later counts.
///
/// Memory grows with the depth, not with the tree or its folders. An [`Entry`] keeps its folder open.
pub struct Walk {
    excludes: Excludes,
    one_file_system: bool,
    closed: HashSet<(u64, u64)>,
    roots: vec::IntoIter<Root>,
    /// The folders from the root in hand to where the walk is.
    levels: Vec<Level>,
    /// The archive path of the last of them.
    path: Vec<u8>,
    incidents: VecDeque<Incident>,
    buffer: Vec<MaybeUninit<u8>>,
    /// Memory for the names of a folder, in bytes, and where the file for more is made.
    memory: usize,
    folder: PathBuf,
    open: OpenFolders,
}

/// A folder whose contents are being walked.
struct Level {
    /// Open in the first level and in the last [`OPEN_LEVELS`].
    folder: Option<Arc<Folder>>,
    inode: (u64, u64),
    names: Names,
    /// The length of its archive path.
    path: usize,
}

/// What a step of the walk finds, if anything; an error ends the walk.
type Found = io::Result<Option<Result<Entry, Incident>>>;

/// How many folders of a branch stay open. Paths may have more components than a process may have
/// open files.
const OPEN_LEVELS: usize = 64;

/// What one call of getdents fills; a few hundred names.
const LISTING: usize = 64 << 10;

impl Walk {
    /// A walk over `roots`. It neither enters other file systems than a root's own, if told so,
    /// nor a folder whose device and inode are in `closed`: those are stored empty. The
    /// names of huge folders are kept in files without names in `folder`.
    #[must_use]
    pub fn new(
        roots: Roots,
        excludes: Excludes,
        one_file_system: bool,
        closed: HashSet<(u64, u64)>,
        folder: &Path,
    ) -> Self {
        Self {
            excludes,
            one_file_system,
            closed,
            roots: roots.into_vec().into_iter(),
            levels: Vec::new(),
            path: Vec::new(),
            incidents: VecDeque::new(),
            buffer: vec![MaybeUninit::uninit(); LISTING],
            memory: names::MEMORY,
            folder: folder.to_path_buf(),
            open: OpenFolders::default(),
        }
    }

    /// How many folders the walk and the entries that came of it keep open. Whoever gathers
    /// entries must let go of them before the process runs out of files.
    #[must_use]
    pub fn open_folders(&self) -> usize {
        self.open.count()
    }

    fn step(&mut self) -> Found {
        loop {
            if let Some(incident) = self.incidents.pop_front() {
                return Ok(Some(Err(incident)));
            }
            let Some(level) = self.levels.last_mut() else {
                let Some(root) = self.roots.next() else { return Ok(None) };
                match self.start(&root)? {
                    None => continue,
                    found => return Ok(found),
                }
            };
            self.path.truncate(level.path);
            if level.names.is_empty() {
                self.levels.pop();
                continue;
            }
            let Some(parent) = level.folder.clone() else {
                self.reopen();
                continue;
            };
            let Some((name, kind)) = level.names.pop()? else { continue };
            let path = join(&self.path, name);
            let found = self.visit(parent, path, kind)?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn start(&mut self, root: &Root) -> Found {
        let path = root.archive_path();
        let parents = root.components.split_last().map_or(&[][..], |(_, parents)| parents);
        let base = Folder::base(root.absolute, &self.open);
        match base.and_then(|base| parents.iter().try_fold(base, |folder, name| folder.step(name))) {
            Ok(parent) => self.visit(Arc::new(parent), path, None),
            Err(error) => Ok(Some(Err(unreadable(&path, "reach", error)))),
        }
    }

    /// Looks at one entry. None if it is left out.
    fn visit(&mut self, parent: Arc<Folder>, path: Vec<u8>, kind: Option<Kind>) -> Found {
        // What is left out is not even looked at, where the listing tells enough.
        if kind.is_some_and(|kind| self.leave_out(&path, kind)) {
            return Ok(None);
        }
        let is_root = self.levels.is_empty();
        let metadata = match Metadata::of_name(&parent, name(&path)) {
            Ok(metadata) => metadata,
            // Nobody listed a root: that it is not there is worth more than a word.
            Err(error) if is_root => return Ok(Some(Err(unreadable(&path, "read", error)))),
            Err(error) => return Ok(Some(Err(Incident::of_error(&path, "read", error)))),
        };
        let entry = Entry { path, metadata, parent, own: None };
        if kind != Some(entry.metadata.kind) && self.leave_out(&entry.path, entry.metadata.kind) {
            return Ok(None);
        }
        if entry.path.len() > paths::LONGEST {
            return Ok(Some(Err(unreadable(&entry.path, "store", Errno::NAMETOOLONG))));
        }
        if is_root && entry.metadata.kind == Kind::Symlink {
            self.incidents.push_back(Incident::new(&entry.path, What::RootIsLink));
        }
        if entry.metadata.is_folder() && self.may_enter(&entry.metadata) {
            return self.enter(entry);
        }
        Ok(Some(Ok(entry)))
    }

    fn leave_out(&self, path: &[u8], kind: Kind) -> bool {
        let is_folder = kind == Kind::Folder;
        if self.levels.is_empty() {
            self.excludes.leave_out_root(path, is_folder)
        } else {
            self.excludes.leave_out(path, is_folder)
        }
    }

    fn may_enter(&self, metadata: &Metadata) -> bool {
        // Of files the device says little: overlays show them with those of their layers.
        let elsewhere = self.levels.first().is_some_and(|root| root.inode.0 != metadata.inode.0);
        !(self.closed.contains(&metadata.inode) || self.one_file_system && elsewhere)
    }

    /// Opens and lists a folder, so that its contents come next.
    fn enter(&mut self, mut entry: Entry) -> Found {
        let folder = match entry.parent.folder(entry.name()) {
            Ok(folder) => folder,
            Err(error) => {
                let incident = Incident::of_error(&entry.path, "open", error);
                if matches!(incident.what, What::Vanished | What::Replaced) {
                    return Ok(Some(Err(incident)));
                }
                // It is stored, though nothing that it holds.
                self.incidents.push_back(incident);
                return Ok(Some(Ok(entry)));
            }
        };
        // The handle is the truth, should the name have passed to another folder, or mounted one.
        let (metadata, listed) = match Metadata::of_open(&folder) {
            Ok(metadata) if self.may_enter(&metadata) => {
                let listing = Listing::new(&self.folder, self.memory);
                (metadata, folder.names(&mut self.buffer, listing)?)
            }
            Ok(metadata) => (metadata, Ok(Names::none())),
            Err(error) => return Ok(Some(Err(unreadable(&entry.path, "read", error)))),
        };
        let mut names = match listed {
            Ok(names) => names,
            // Removed since it was opened.
            Err(Errno::NOENT) => return Ok(Some(Err(Incident::new(&entry.path, What::Vanished)))),
            Err(error) => {
                self.incidents.push_back(unreadable(&entry.path, "list", error));
                Names::none()
            }
        };
        if let Some(tag) = self.excludes.tag(&folder, &names) {
            names = Names::only(tag);
        }
        let folder = Arc::new(folder);
        self.path.clone_from(&entry.path);
        self.levels.push(Level {
            folder: Some(Arc::clone(&folder)),
            inode: metadata.inode,
            names,
            path: entry.path.len(),
        });
        self.close_upper_levels();
        entry.metadata = metadata;
        entry.own = Some(folder);
        Ok(Some(Ok(entry)))
    }

    fn close_upper_levels(&mut self) {
        if let Some(upper @ 1..) = self.levels.len().checked_sub(OPEN_LEVELS + 1) {
            self.levels[upper].folder = None;
        }
    }

    /// Opens the folders again that were closed for the depth below them, from the root down, as
    /// many as may stay open at a time. Where one is no longer what it was, the rest of it and of
    /// those below it is lost.
    fn reopen(&mut self) {
        let depth = self.levels.len();
        for index in 1..depth {
            let Some(parent) = self.levels[index - 1].folder.clone() else { return };
            if self.levels[index].folder.is_none() {
                let name = name(&self.path[..self.levels[index].path]);
                match reopened(&parent, name, self.levels[index].inode) {
                    Ok(folder) => self.levels[index].folder = Some(Arc::new(folder)),
                    Err(error) => return self.lose(index, error),
                }
            }
            if index > 1 && index + OPEN_LEVELS < depth + 1 {
                self.levels[index - 1].folder = None;
            }
        }
    }

    fn lose(&mut self, from: usize, error: Errno) {
        for level in &self.levels[from..] {
            self.incidents.push_back(unreadable(&self.path[..level.path], "open again", error));
        }
        self.levels.truncate(from);
    }
}

impl Iterator for Walk {
    type Item = io::Result<Result<Entry, Incident>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn reopened(parent: &Folder, name: &[u8], inode: (u64, u64)) -> Result<Folder, Errno> {
    let folder = parent.folder(name)?;
    if Metadata::of_open(&folder)?.inode == inode { Ok(folder) } else { Err(Errno::STALE) }
}

/// The name of what has this archive path, in the folder that it is in.
fn name(path: &[u8]) -> &[u8] {
    match path.rsplit(|byte| *byte == b'/').next() {
        Some(name) if !name.is_empty() => name,
        _ => b".",
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn unreadable(path: &[u8], action: &'static str, error: Errno) -> Incident {
    Incident::new(path, What::Unreadable { action, source: error.into() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::archive::excludes::ExcludeRules;

    /// A walk that has memory for few names.
    fn walk(root: &Path, rules: &ExcludeRules<'_>, folder: &Path) -> Walk {
        let (roots, excludes) = (Roots::new(&[root.to_path_buf()]).unwrap(), Excludes::new(rules).unwrap());
        Walk { memory: 1_000, ..Walk::new(roots, excludes, false, HashSet::new(), folder) }
    }

    fn names(walk: Walk) -> Vec<String> {
        let entries = walk.map(|found| found.unwrap().unwrap());
        entries.map(|entry| String::from_utf8(entry.name().to_vec()).unwrap()).collect()
    }

    #[test]
    fn huge_folders_are_walked_in_order() {
        let (place, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(place.path().join("file"), "").unwrap();
        for outer in ["a", "b"] {
            fs::create_dir(place.path().join(outer)).unwrap();
            // Names of one inode, since making inodes takes long.
            for number in 0..5_000 {
                fs::hard_link(place.path().join("file"), place.path().join(outer).join(number.to_string())).unwrap();
            }
            fs::create_dir_all(place.path().join(outer).join("17a/inner")).unwrap();
        }
        let mut within: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
        within.push("17a".to_owned());
        within.sort();
        let inner = within.iter().position(|name| name == "17a").unwrap() + 1;
        within.insert(inner, "inner".to_owned());
        let found = names(walk(place.path(), &ExcludeRules::default(), folder.path()));
        let expected = ["a"].into_iter().chain(within.iter().map(String::as_str));
        let expected = expected.chain(["b"]).chain(within.iter().map(String::as_str)).chain(["file"]);
        assert!(found[1..].iter().map(String::as_str).eq(expected));
    }

    #[test]
    fn tags_are_found_in_huge_folders() {
        let (place, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for outer in ["cache", "marked", "neither"] {
            fs::create_dir(place.path().join(outer)).unwrap();
            (0..200).for_each(|number| fs::write(place.path().join(outer).join(number.to_string()), "").unwrap());
        }
        fs::write(place.path().join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
        fs::write(place.path().join("marked/.nobackup"), "").unwrap();
        fs::write(place.path().join("neither/CACHEDIR.TAG"), "").unwrap();
        let if_present = [".nobackup".into()];
        let rules = ExcludeRules { caches: true, if_present: &if_present, ..Default::default() };
        let found = names(walk(place.path(), &rules, folder.path()));
        assert_eq!(found[1..6], ["cache", "CACHEDIR.TAG", "marked", ".nobackup", "neither"]);
        assert_eq!(found.len(), 6 + 201);
    }

    #[test]
    fn a_walk_that_cannot_keep_names_ends_with_an_error() {
        let place = tempfile::tempdir().unwrap();
        (0..200).for_each(|number| fs::write(place.path().join(number.to_string()), "").unwrap());
        let mut walk = walk(place.path(), &ExcludeRules::default(), Path::new("/nonexistent"));
        assert!(walk.any(|found| found.is_err()));
    }
}
