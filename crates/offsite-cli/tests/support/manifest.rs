//! What a tree is: every entry with all that a backup keeps of it. Two trees are the same if their
//! manifests are.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// The entries below a folder, itself included, by their paths below it.
pub(crate) struct Manifest(BTreeMap<PathBuf, Entry>);

/// Files are hashed in pieces of so many bytes, to say where two differ.
const PIECE: usize = 64 << 10;

/// What two entries of the same path must agree on.
struct Entry {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    /// Of a file, else 0.
    size: u64,
    /// A hash of each piece of a file.
    content: Vec<u64>,
    /// Of a symbolic link, else empty.
    target: PathBuf,
    /// The first path of the same inode.
    first_name: PathBuf,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How much of a file lies on the disk.
    allocated: u64,
}

impl Manifest {
    /// Of what is below `root`.
    pub(crate) fn of_tree(root: &Path) -> Self {
        let mut manifest = Self(BTreeMap::new());
        let mut folders = vec![PathBuf::new()];
        manifest.add(root, PathBuf::new());
        while let Some(folder) = folders.pop() {
            let path = root.join(&folder);
            let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            for entry in entries.map(Result::unwrap) {
                let below = folder.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(below.clone());
                }
                manifest.add(root, below);
            }
        }
        manifest.name_links(root);
        manifest
    }

    /// Of a file of which only the content counts.
    pub(crate) fn of_content(path: &Path) -> Self {
        let entry = Entry {
            kind: "file",
            mode: 0,
            owner: (0, 0),
            modified: (0, 0),
            size: path.metadata().unwrap_or_else(|error| panic!("{path:?}: {error}")).len(),
            content: hashes(path),
            target: PathBuf::new(),
            first_name: PathBuf::new(),
            attributes: BTreeMap::new(),
            allocated: u64::MAX,
        };
        Self(BTreeMap::from([(PathBuf::new(), entry)]))
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> usize {
        self.0.len()
    }

    /// Panics with the first path that is not as expected.
    #[track_caller]
    pub(crate) fn assert_is(&self, expected: &Self, story: &str) {
        if let Some(difference) = self.first_difference(expected) {
            panic!("{story}: {difference}");
        }
    }

    /// The first path that is not as expected, and in what.
    pub(crate) fn first_difference(&self, expected: &Self) -> Option<String> {
        let mut paths: Vec<_> = self.0.keys().chain(expected.0.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter().find_map(|path| {
            let differences = match (self.0.get(path), expected.0.get(path)) {
                (Some(actual), Some(expected)) => actual.differences(expected),
                (Some(_), None) => vec!["should not be there".to_owned()],
                (None, _) => vec!["is missing".to_owned()],
            };
            (!differences.is_empty()).then(|| format!("{path:?}: {}", differences.join("; ")))
        })
    }

    fn add(&mut self, root: &Path, below: PathBuf) {
        let path = root.join(&below);
        let metadata = path.symlink_metadata().unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_file() => "file",
            () if file_type.is_dir() => "folder",
            () if file_type.is_symlink() => "symlink",
            () if file_type.is_fifo() => "fifo",
            () => panic!("{path:?} is a {file_type:?}"),
        };
        let (is_file, is_link) = (file_type.is_file(), file_type.is_symlink());
        let entry = Entry {
            kind,
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: if is_file { metadata.len() } else { 0 },
            content: if is_file { hashes(&path) } else { Vec::new() },
            target: if is_link { fs::read_link(&path).unwrap() } else { PathBuf::new() },
            first_name: below.clone(),
            attributes: attributes(&path),
            allocated: metadata.blocks() * 512,
        };
        self.0.insert(below, entry);
    }

    /// Finds the first name of each inode that has several.
    fn name_links(&mut self, root: &Path) {
        let mut first_names = HashMap::new();
        for (path, entry) in self.0.iter_mut().filter(|(_, entry)| entry.kind != "folder") {
            let metadata = root.join(path).symlink_metadata().unwrap();
            if metadata.nlink() > 1 {
                let first = first_names.entry((metadata.dev(), metadata.ino())).or_insert_with(|| path.clone());
                entry.first_name.clone_from(first);
            }
        }
    }
}

impl Entry {
    /// What is not as expected, in words.
    fn differences(&self, expected: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, actual: &dyn Debug, expected: &dyn Debug| {
            let (actual, expected) = (format!("{actual:?}"), format!("{expected:?}"));
            if actual != expected {
                differences.push(format!("{what} {actual}, not {expected}"));
            }
        };
        compare("kind is", &self.kind, &expected.kind);
        compare("mode is", &format_args!("{:o}", self.mode), &format_args!("{:o}", expected.mode));
        compare("owner is", &self.owner, &expected.owner);
        compare("time is", &self.modified, &expected.modified);
        compare("size is", &self.size, &expected.size);
        compare("target is", &self.target, &expected.target);
        compare("first name is", &self.first_name, &expected.first_name);
        compare("attributes are", &self.attributes, &expected.attributes);
        if self.content != expected.content {
            let same = self.content.iter().zip(&expected.content).take_while(|(a, b)| a == b).count();
            differences.push(format!("content differs after byte {}", same * PIECE));
        }
        // How exactly holes lie is the file system's affair, but not that they are there.
        if expected.has_holes() && self.allocated > expected.size / 4 * 3 {
            differences.push(format!("{} bytes lie on the disk, not {}", self.allocated, expected.allocated));
        }
        differences
    }

    /// Whether it is beyond doubt that the file has holes.
    fn has_holes(&self) -> bool {
        self.size >= 1 << 20 && self.allocated < self.size / 2
    }
}

/// A hash of each piece of a file.
fn hashes(path: &Path) -> Vec<u64> {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let (mut hashes, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let length = fill(&mut file, &mut piece);
        if length == 0 {
            return hashes;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&piece[..length]);
        hashes.push(hasher.finish());
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
    filled
}

/// The attributes that any user may set.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => panic!("{path:?}: {error}"),
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user."));
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}
