//! The objects below a directory, in the order of their names, in constant memory.

use std::collections::BinaryHeap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::{is_file, open_folder};
use crate::names::{Folder, is_component};
use crate::store::Listed;

/// Most names of one directory in memory: 4 MiB of the longest. A directory of more is read
/// several times.
const PAGE: usize = 1 << 14;

pub(super) struct Walk<'a> {
    /// The folder at hand.
    path: String,
    page: usize,
    each: &'a mut dyn FnMut(Listed) -> ControlFlow<()>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(folder: &Folder, each: &'a mut dyn FnMut(Listed) -> ControlFlow<()>) -> Self {
        Self { path: folder.as_str().to_owned(), page: PAGE, each }
    }

    /// The folder at hand; after an error the one that it is about.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Lists all below a directory, which is that of `path`.
    pub(super) fn folder(&mut self, directory: &OwnedFd) -> io::Result<ControlFlow<()>> {
        let mut after = String::new();
        loop {
            let names = match page(directory, &after, self.page) {
                // It was emptied and removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
                names => names?,
            };
            for name in &names {
                let done = match name.strip_suffix('/') {
                    Some(name) => self.below(directory, name)?,
                    None => self.file(directory, name)?,
                };
                if done.is_break() {
                    return Ok(done);
                }
            }
            match names.into_iter().next_back() {
                Some(last) => after = last,
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }

    fn below(&mut self, directory: &OwnedFd, name: &str) -> io::Result<ControlFlow<()>> {
        let path = self.joined(name);
        // Too deep for an object.
        if path.parse::<Folder>().is_err() {
            return Ok(ControlFlow::Continue(()));
        }
        let above = std::mem::replace(&mut self.path, path);
        let done = match open_folder(directory, name) {
            // It went, or something else took its place.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => ControlFlow::Continue(()),
            directory => self.folder(&directory?)?,
        };
        self.path = above;
        Ok(done)
    }

    fn file(&mut self, directory: &OwnedFd, name: &str) -> io::Result<ControlFlow<()>> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(ControlFlow::Continue(())),
            stat => stat?,
        };
        match (self.joined(name).parse(), u64::try_from(stat.st_size)) {
            (Ok(object), Ok(size)) if is_file(&stat) => {
                Ok((self.each)(Listed { object, size, time: time(&stat), versions: 1, hidden: false }))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn joined(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }
}

/// The first `most` names of a directory after a given one. Folders have a slash at their end, and
/// so sort as all that lies below them does: `a-b/c` before `a/c`.
fn page(directory: &OwnedFd, after: &str, most: usize) -> io::Result<Vec<String>> {
    let mut first = BinaryHeap::with_capacity(most.min(64));
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| is_component(name)) else { continue };
        let kind = match entry.file_type() {
            FileType::Unknown => match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => FileType::from_raw_mode(stat?.st_mode),
            },
            kind => kind,
        };
        let name = if kind == FileType::Directory { format!("{name}/") } else { name.to_owned() };
        let wanted = first.len() < most || first.peek().is_some_and(|last| name < *last);
        if *name > *after && wanted {
            first.push(name);
            if first.len() > most {
                first.pop();
            }
        }
    }
    Ok(first.into_sorted_vec())
}

/// The time of the last change of contents. One beyond the calendar becomes its nearest end.
fn time(stat: &Stat) -> OffsetDateTime {
    let (first, last) = (PrimitiveDateTime::MIN.assume_utc(), PrimitiveDateTime::MAX.assume_utc());
    let nanoseconds = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    let within = nanoseconds.clamp(first.unix_timestamp_nanos(), last.unix_timestamp_nanos());
    OffsetDateTime::from_unix_timestamp_nanos(within).expect("a time between two times is one")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn any_page_gives_the_same_list() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for below in ["d", "d-e", "d.e", "d/f", "e"] {
            fs::create_dir_all(folder.path().join(below)).unwrap();
            for name in ["0", "1.x", "f-", "f."] {
                fs::write(folder.path().join(below).join(name), below).unwrap();
                expected.push(format!("{below}/{name}"));
            }
        }
        expected.sort();
        let directory = OwnedFd::from(File::open(folder.path()).unwrap());
        for page in [1, 2, 3, 5, PAGE] {
            let mut listed = Vec::new();
            let mut each = |object: Listed| {
                listed.push(object.object.as_str().to_owned());
                ControlFlow::Continue(())
            };
            let mut walk = Walk::new(&"".parse().unwrap(), &mut each);
            walk.page = page;
            assert!(walk.folder(&directory).unwrap().is_continue());
            assert_eq!(listed, expected, "pages of {page}");
        }
    }
}
