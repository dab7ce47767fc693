//! A tree that somebody lives in: whatever happens to files between two backups, by chance, but
//! the same for the same seed.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, XattrFlags, lremovexattr, lsetxattr, mkfifoat};
use rustix::io::Errno;

use super::trees::everything::{is_root, own, set_modified};

/// Numbers by chance (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// True once in `many` times.
    pub(crate) fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn one_of<'a, T>(&mut self, choice: &'a [T]) -> &'a T {
        &choice[self.index(choice.len())]
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// Bytes that cannot be compressed.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    /// Lines as those of a database dump.
    pub(crate) fn records(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 128);
        while bytes.len() < length {
            let (number, word) = (self.number(), ["Ada", "Grace", "Edsger", "Barbara"][self.index(4)]);
            writeln!(bytes, "INSERT INTO people VALUES ({}, '{word}', '{number:x}');", bytes.len()).unwrap();
        }
        bytes.truncate(length);
        bytes
    }

    /// What a file holds.
    fn content(&mut self, length: usize) -> Vec<u8> {
        match self.below(5) {
            0 | 1 => self.noise(length),
            2 | 3 => self.records(length),
            _ => vec![0; length],
        }
    }

    /// How long a file is: any magnitude is as likely, but one in forty is large.
    fn length(&mut self) -> usize {
        let length = match self.below(40) {
            0..4 => 0,
            4 => (1 << 20) + self.below(2 << 20),
            _ => {
                let magnitude = 1 << self.below(17);
                magnitude + self.below(magnitude)
            }
        };
        usize::try_from(length).unwrap()
    }
}

/// Fills a new file with what `bytes` makes, piece by piece.
pub(crate) fn fill(path: &Path, length: u64, mut bytes: impl FnMut(usize) -> Vec<u8>) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut left = length;
    while left > 0 {
        let piece = left.min(1 << 20);
        file.write_all(&bytes(usize::try_from(piece).unwrap())).unwrap();
        left -= piece;
    }
    file.flush().unwrap();
}

/// Changes a large file in one small way: a few runs of bytes, or one that is put in, taken out or
/// moved elsewhere.
pub(crate) fn alter(path: &Path, chance: &mut Chance) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let run = usize::try_from(1 + chance.below(5000)).unwrap();
    let at = chance.below(length - run as u64);
    match chance.below(6) {
        0 => splice(&mut file, at, 0, &chance.noise(run)),
        1 => splice(&mut file, at, run as u64, &[]),
        2 => {
            let mut block = vec![0; 100 * run.min(1000)];
            let at = chance.below(length - block.len() as u64);
            file.read_exact_at(&mut block, at).unwrap();
            splice(&mut file, at, block.len() as u64, &[]);
            splice(&mut file, chance.below(length - block.len() as u64), 0, &block);
        }
        _ => {
            for _ in 0..1 + chance.below(4) {
                let bytes = chance.records(run.min(200));
                file.write_all_at(&bytes, chance.below(length - bytes.len() as u64)).unwrap();
            }
        }
    }
}

/// Replaces `removed` bytes by `inserted`, in place.
fn splice(file: &mut File, at: u64, removed: u64, inserted: &[u8]) {
    let mut tail = tempfile::tempfile().unwrap();
    file.seek(SeekFrom::Start(at + removed)).unwrap();
    io::copy(file, &mut tail).unwrap();
    tail.rewind().unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(inserted).unwrap();
    io::copy(&mut tail, file).unwrap();
    let end = file.stream_position().unwrap();
    file.set_len(end).unwrap();
}

/// From here on a file is changed in small ways only.
const LARGE: u64 = 8 << 20;

/// What a change has done.
struct Change {
    /// What was changed, or the more telling one of two.
    path: PathBuf,
    /// How many files are affected.
    files: usize,
}

/// One kind of change; `None` where nothing was found that it suits.
type Happening = fn(&mut Life) -> Option<Change>;

/// What people do all day.
const USUAL: [(&str, Happening); 4] =
    [("edit", Life::edit), ("append", Life::append), ("add", Life::add_file), ("remove", Life::remove_file)];

/// Everything that can happen.
const ALL: [(&str, Happening); 27] = [
    ("edit", Life::edit),
    ("edit and set the time back", Life::edit_unseen),
    ("append", Life::append),
    ("cut", Life::cut),
    ("lengthen by a hole", Life::lengthen),
    ("add", Life::add_file),
    ("add", Life::add_file),
    ("add sparse", Life::add_sparse),
    ("add folder", Life::add_folder),
    ("remove", Life::remove_file),
    ("remove other", Life::remove_other),
    ("remove folder", Life::remove_folder),
    ("rename", Life::rename_file),
    ("rename folder", Life::rename_folder),
    ("replace", Life::replace),
    ("swap", Life::swap),
    ("file to folder", Life::file_to_folder),
    ("folder to file", Life::folder_to_file),
    ("to symlink, fifo or file", Life::another_kind),
    ("link", Life::link),
    ("link beside", Life::link_beside),
    ("link before all others", Life::link_first),
    ("remove a first name", Life::remove_first_name),
    ("break a link", Life::break_link),
    ("touch", Life::touch),
    ("give away", Life::give_away),
    ("attribute", Life::attribute),
];

/// A tree in which something happens from night to night.
///
/// What was found when the night began may be gone by now, but is nowhere else: no symbolic link that
/// is made here leads anywhere.
pub(crate) struct Life {
    root: PathBuf,
    chance: Chance,
    /// How many names have been given: none is given twice.
    names: u64,
    takes_attributes: bool,
    /// How many files may still be affected today.
    left: usize,
    /// What there was when the night began.
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Life {
    /// In a tree that is there.
    pub(crate) fn within(root: &Path, chance: Chance) -> Self {
        let takes_attributes = match lsetxattr(root, "user.probe", b"", XattrFlags::empty()) {
            Ok(()) => lremovexattr(root, "user.probe").is_ok(),
            Err(_) => false,
        };
        if !takes_attributes {
            println!("this file system takes no attributes: not tested");
        }
        let (files, folders, others) = (Vec::new(), Vec::new(), Vec::new());
        Self { root: root.to_owned(), chance, names: 0, takes_attributes, left: 0, files, folders, others }
    }

    /// In a new tree of some hundred entries.
    pub(crate) fn begin(root: &Path, chance: Chance) -> Self {
        fs::create_dir(root).unwrap();
        let mut life = Self::within(root, chance);
        let mut deep = root.to_owned();
        for _ in 0..20 {
            deep.push("deep");
        }
        fs::create_dir_all(&deep).unwrap();
        life.survey();
        for (times, happening) in [
            (20, Self::add_folder as Happening),
            (20, Self::add_folder),
            (250, Self::add_file),
            (3, Self::add_sparse),
            (12, Self::add_other),
            (15, Self::link),
            (5, Self::link_beside),
            (4, Self::link_first),
            (30, Self::touch),
            (20, Self::give_away),
            (20, Self::attribute),
        ] {
            for _ in 0..times {
                happening(&mut life);
            }
            life.survey();
        }
        life.add_large();
        life
    }

    /// Everything that can happen, until so many files are affected, and some of it to large files.
    pub(crate) fn wild_day(&mut self, files: usize) {
        self.day(files, 1);
        self.alter_large();
    }

    /// Mostly what people do all day, until so many files are affected.
    pub(crate) fn usual_day(&mut self, files: usize) {
        self.day(files, 20);
    }

    /// Once in `rare` times it is not the usual.
    fn day(&mut self, files: usize, rare: u64) {
        self.survey();
        self.left = files;
        let mut attempts = 0;
        while self.left > 0 {
            attempts += 1;
            assert!(attempts < 100 * files, "{}: nothing to change is left", self.root.display());
            let choice = if self.chance.once_in(rare) { &ALL[..] } else { &USUAL[..] };
            let (what, happening) = *self.chance.one_of(choice);
            let Some(change) = happening(self) else { continue };
            self.left = self.left.saturating_sub(change.files);
            if files < 100 {
                println!("    {what}: {:?}", change.path.strip_prefix(&self.root).unwrap());
            }
        }
    }

    /// Changes some bytes in each of so many files, and nothing else.
    pub(crate) fn edit_only(&mut self, files: usize) {
        self.survey();
        let has_content = |path: &PathBuf| path.symlink_metadata().unwrap().len() > 0;
        let mut chosen: Vec<_> = self.files.iter().filter(|path| has_content(path)).cloned().collect();
        while chosen.len() > files {
            chosen.swap_remove(self.chance.index(chosen.len()));
        }
        assert_eq!(chosen.len(), files, "too few files");
        chosen.iter().for_each(|path| self.overwrite(path));
    }

    /// How many files there are.
    pub(crate) fn files(&mut self) -> usize {
        self.survey();
        self.files.len()
    }

    /// Looks what is there, in the same order each time.
    fn survey(&mut self) {
        let (mut files, mut folders, mut others) = (Vec::new(), vec![self.root.clone()], Vec::new());
        let mut seen = 0;
        while let Some(folder) = folders.get(seen) {
            seen += 1;
            let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
            entries.sort_unstable_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let kind = entry.file_type().unwrap();
                let list = match () {
                    () if kind.is_dir() => &mut folders,
                    () if kind.is_file() => &mut files,
                    () => &mut others,
                };
                list.push(entry.path());
            }
        }
        (self.files, self.folders, self.others) = (files, folders, others);
    }

    /// One of these that is still there, and of which `suits` is true.
    fn find(&mut self, list: fn(&Self) -> &Vec<PathBuf>, suits: impl Fn(&Metadata) -> bool) -> Option<PathBuf> {
        for _ in 0..20 {
            let index = self.chance.index(list(self).len().max(1));
            let path = list(self).get(index)?;
            if path.symlink_metadata().is_ok_and(|metadata| suits(&metadata)) {
                return Some(path.clone());
            }
        }
        None
    }

    fn file(&mut self) -> Option<PathBuf> {
        self.find(|life| &life.files, |metadata| metadata.is_file() && metadata.len() < LARGE)
    }

    fn file_with_content(&mut self) -> Option<PathBuf> {
        self.find(|life| &life.files, |metadata| metadata.is_file() && (1..LARGE).contains(&metadata.len()))
    }

    fn file_or_other(&mut self) -> Option<PathBuf> {
        if self.chance.once_in(4) {
            return self.other();
        }
        self.find(|life| &life.files, |metadata| !metadata.is_dir())
    }

    fn other(&mut self) -> Option<PathBuf> {
        self.find(|life| &life.others, |metadata| !metadata.is_dir() && !metadata.is_file())
    }

    fn linked(&mut self) -> Option<PathBuf> {
        self.find(|life| &life.files, |metadata| metadata.is_file() && metadata.nlink() > 1)
    }

    fn folder(&mut self) -> Option<PathBuf> {
        self.find(|life| &life.folders, Metadata::is_dir)
    }

    /// A folder that may still be lost or moved, with the number of files in it, or 1 if it is empty.
    fn small_folder(&mut self) -> Option<(PathBuf, usize)> {
        let folder = self.folder()?;
        let inside: Vec<_> = self.files.iter().filter(|path| path.starts_with(&folder)).collect();
        let is_large = |path: &&PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.len() >= LARGE);
        let is_small = folder != self.root && inside.len() <= self.left && !inside.iter().any(is_large);
        is_small.then(|| (folder, inside.len().max(1)))
    }

    /// A new name, as people and programs give them, in a folder.
    fn new_name(&mut self) -> Option<PathBuf> {
        let folder = self.folder()?;
        self.new_name_in(&folder)
    }

    fn new_name_in(&mut self, folder: &Path) -> Option<PathBuf> {
        const STYLES: [&[u8]; 14] = [
            b"plain",
            b"plain",
            b"plain",
            b".hidden",
            b"new\nline",
            b"\xff\xfe",
            b"-rf",
            b"--",
            b"tab\t",
            b" ",
            b"back\\n",
            b"%41",
            "ümläut".as_bytes(),
            b"*?[a]",
        ];
        self.names += 1;
        let mut name = self.chance.one_of(&STYLES).to_vec();
        if self.chance.once_in(20) {
            name = name.repeat(200 / name.len());
        }
        name.extend_from_slice(self.names.to_string().as_bytes());
        let path = folder.join(OsString::from_vec(name));
        (path.as_os_str().len() < 3000).then_some(path)
    }

    fn edit(&mut self) -> Option<Change> {
        let path = self.file_with_content()?;
        self.overwrite(&path);
        one(path)
    }

    /// Only the time of the inode's last change tells.
    fn edit_unseen(&mut self) -> Option<Change> {
        let path = self.file_with_content()?;
        let metadata = path.metadata().unwrap();
        self.overwrite(&path);
        set_modified(&path, metadata.mtime(), metadata.mtime_nsec());
        one(path)
    }

    fn overwrite(&mut self, path: &Path) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        let run = 1 + self.chance.below(length.min(200));
        let bytes = self.chance.records(usize::try_from(run).unwrap());
        file.write_all_at(&bytes, self.chance.below(length - run + 1)).unwrap();
    }

    fn append(&mut self) -> Option<Change> {
        let path = self.file()?;
        let length = 1 + self.chance.below(3000);
        let bytes = self.chance.records(usize::try_from(length).unwrap());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&bytes).unwrap();
        one(path)
    }

    fn cut(&mut self) -> Option<Change> {
        let path = self.file_with_content()?;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(self.chance.below(file.metadata().unwrap().len())).unwrap();
        one(path)
    }

    fn lengthen(&mut self) -> Option<Change> {
        let path = self.file()?;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        // It must not become a large one.
        let length = file.metadata().unwrap().len();
        file.set_len(length + self.chance.below((LARGE - length).min(3 << 20))).unwrap();
        one(path)
    }

    fn add_file(&mut self) -> Option<Change> {
        let path = self.new_name()?;
        self.write(&path);
        one(path)
    }

    fn write(&mut self, path: &Path) {
        let length = self.chance.length();
        fs::write(path, self.chance.content(length)).unwrap();
    }

    fn add_sparse(&mut self) -> Option<Change> {
        let path = self.new_name()?;
        let file = File::create(&path).unwrap();
        let length = (1 << 20) + self.chance.below(3 << 20);
        file.set_len(length).unwrap();
        for _ in 0..self.chance.below(5) {
            let bytes = self.chance.noise(3000);
            file.write_all_at(&bytes, self.chance.below(length - 3000)).unwrap();
        }
        one(path)
    }

    fn add_folder(&mut self) -> Option<Change> {
        let path = self.new_name()?;
        fs::create_dir(&path).unwrap();
        let mut files = 0;
        for _ in 0..self.chance.below(8) {
            let Some(file) = self.new_name_in(&path) else { continue };
            self.write(&file);
            files += 1;
        }
        Some(Change { path, files: files.max(1) })
    }

    fn add_other(&mut self) -> Option<Change> {
        let path = self.new_name()?;
        self.make_other(&path);
        one(path)
    }

    /// A fifo, or a symbolic link that leads nowhere.
    fn make_other(&mut self, path: &Path) {
        if self.chance.once_in(3) {
            mkfifoat(CWD, path, Mode::from_raw_mode(0o640)).unwrap();
        } else {
            let length = 1 + self.chance.index(5);
            symlink(format!("nowhere/{}{}", "long/".repeat(30 * (length / 5)), self.names), path).unwrap();
        }
    }

    fn remove_file(&mut self) -> Option<Change> {
        let path = self.file()?;
        fs::remove_file(&path).unwrap();
        one(path)
    }

    fn remove_other(&mut self) -> Option<Change> {
        let path = self.other()?;
        fs::remove_file(&path).unwrap();
        one(path)
    }

    fn remove_folder(&mut self) -> Option<Change> {
        let (path, files) = self.small_folder()?;
        fs::remove_dir_all(&path).unwrap();
        Some(Change { path, files })
    }

    fn rename_file(&mut self) -> Option<Change> {
        let (from, to) = (self.file_or_other()?, self.new_name()?);
        fs::rename(from, &to).unwrap();
        one(to)
    }

    fn rename_folder(&mut self) -> Option<Change> {
        let ((from, files), to) = (self.small_folder()?, self.new_name()?);
        if to.starts_with(&from) {
            return None;
        }
        fs::rename(from, &to).unwrap();
        Some(Change { path: to, files })
    }

    /// Another file of the same size and time.
    fn replace(&mut self) -> Option<Change> {
        let (path, new) = (self.file_with_content()?, self.new_name()?);
        let metadata = path.metadata().unwrap();
        fs::write(&new, self.chance.content(usize::try_from(metadata.len()).unwrap())).unwrap();
        set_modified(&new, metadata.mtime(), metadata.mtime_nsec());
        fs::rename(new, &path).unwrap();
        one(path)
    }

    /// Two files change places.
    fn swap(&mut self) -> Option<Change> {
        let (one, other, between) = (self.file_or_other()?, self.file_or_other()?, self.new_name()?);
        // Renaming a file to another name of itself does nothing.
        if one.symlink_metadata().unwrap().ino() == other.symlink_metadata().unwrap().ino() {
            return None;
        }
        for (from, to) in [(&one, &between), (&other, &one), (&between, &other)] {
            fs::rename(from, to).unwrap();
        }
        Some(Change { path: one, files: 2 })
    }

    fn file_to_folder(&mut self) -> Option<Change> {
        let path = self.file()?;
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        if let Some(inside) = self.new_name_in(&path) {
            self.write(&inside);
        }
        one(path)
    }

    fn folder_to_file(&mut self) -> Option<Change> {
        let (path, files) = self.small_folder()?;
        fs::remove_dir_all(&path).unwrap();
        self.write(&path);
        Some(Change { path, files })
    }

    fn another_kind(&mut self) -> Option<Change> {
        let path = if self.chance.once_in(2) { self.file()? } else { self.other()? };
        let was_file = path.symlink_metadata().unwrap().is_file();
        fs::remove_file(&path).unwrap();
        if was_file {
            self.make_other(&path);
        } else {
            self.write(&path);
        }
        one(path)
    }

    fn link(&mut self) -> Option<Change> {
        let (original, path) = (self.file_or_other()?, self.new_name()?);
        fs::hard_link(original, &path).unwrap();
        one(path)
    }

    /// In the same folder.
    fn link_beside(&mut self) -> Option<Change> {
        let original = self.file_or_other()?;
        let path = self.new_name_in(original.parent().unwrap())?;
        fs::hard_link(original, &path).unwrap();
        one(path)
    }

    /// A new first name, which sorts before all that had been.
    fn link_first(&mut self) -> Option<Change> {
        let original = self.file_or_other()?;
        self.names += 1;
        let path = self.root.join(format!("!{:09}", 999_999_999 - self.names));
        fs::hard_link(original, &path).unwrap();
        one(path)
    }

    fn remove_first_name(&mut self) -> Option<Change> {
        let linked = self.linked()?.symlink_metadata().unwrap();
        let is_name = |path: &&PathBuf| path.symlink_metadata().is_ok_and(|other| other.ino() == linked.ino());
        let first = self.files.iter().filter(is_name).min()?.clone();
        fs::remove_file(&first).unwrap();
        one(first)
    }

    /// A name gets a file of its own, with the same content.
    fn break_link(&mut self) -> Option<Change> {
        let (path, copy) = (self.linked()?, self.new_name()?);
        fs::copy(&path, &copy).unwrap();
        fs::rename(copy, &path).unwrap();
        one(path)
    }

    fn touch(&mut self) -> Option<Change> {
        let path = self.anything()?;
        // From 1938 to 2096.
        let seconds = i64::try_from(self.chance.below(5_000_000_000)).unwrap() - 1_000_000_000;
        set_modified(&path, seconds, i64::try_from(self.chance.below(1_000_000_000)).unwrap());
        one(path)
    }

    /// Another mode, and for root another owner.
    fn give_away(&mut self) -> Option<Change> {
        let path = self.anything()?;
        if is_root() && self.chance.once_in(2) {
            let mut id = || u32::try_from(self.chance.below(5_000_000)).unwrap();
            own(&path, id(), id());
        } else if !path.is_symlink() {
            let any = u32::try_from(self.chance.below(0o10000)).unwrap();
            // Others than root must be able to go on, and may not keep these two.
            let mode = if is_root() { any } else { (any | 0o700) & !0o6000 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        one(path)
    }

    fn attribute(&mut self) -> Option<Change> {
        let path = self.anything()?;
        let metadata = path.symlink_metadata().unwrap();
        if !self.takes_attributes || !(metadata.is_file() || metadata.is_dir()) {
            return None;
        }
        let name = *self.chance.one_of(&["user.a", "user.b=%", "user.ü"]);
        if self.chance.once_in(3) {
            match lremovexattr(&path, name) {
                Err(error) if error != Errno::NODATA => panic!("{path:?}: {error}"),
                _ => return one(path),
            }
        }
        let length = self.chance.index(100);
        let value = self.chance.noise(length);
        lsetxattr(&path, name, &value, XattrFlags::empty()).unwrap();
        one(path)
    }

    fn anything(&mut self) -> Option<PathBuf> {
        if self.chance.once_in(4) { self.folder() } else { self.file_or_other() }
    }

    fn add_large(&mut self) {
        let path = self.root.join("large");
        fill(&path, 12 << 20, |length| self.chance.noise(length));
    }

    /// Most nights something changes inside the large files.
    fn alter_large(&mut self) {
        let is_large = |path: &&PathBuf| {
            path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() >= LARGE)
        };
        for path in self.files.iter().filter(is_large) {
            if !self.chance.once_in(4) {
                println!("    alter {:?}", path.strip_prefix(&self.root).unwrap());
                alter(path, &mut self.chance);
            }
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "this is how a change ends")]
fn one(path: PathBuf) -> Option<Change> {
    Some(Change { path, files: 1 })
}
