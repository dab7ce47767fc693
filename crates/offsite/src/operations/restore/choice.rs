//! Which entries are restored.

use std::collections::BTreeMap;

use super::error::{Error, Result};
use crate::paths;

/// Paths that are asked for: entries of these names, what lies in them, and the folders that they
/// lie in.
pub(super) struct Choice {
    /// Whether something is called so; no path stands for everything.
    paths: BTreeMap<Vec<u8>, bool>,
}

impl Choice {
    /// A slash at the beginning or end of a path means nothing, and `.` the folder that everything
    /// else lies in.
    pub(super) fn new(asked: &[Vec<u8>]) -> Result<Self> {
        let mut paths = BTreeMap::new();
        for asked in asked {
            let path = asked.strip_prefix(b"/").unwrap_or(asked);
            let path = path.strip_suffix(b"/").unwrap_or(path);
            let path = if path == b"." { b"" } else { path };
            paths::check(path).map_err(|fault| Error::Path { path: asked.clone(), fault })?;
            paths.insert(path.to_vec(), false);
        }
        Ok(Self { paths })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether an entry is chosen.
    pub(super) fn takes(&mut self, path: &[u8], is_folder: bool) -> bool {
        if self.paths.is_empty() {
            return true;
        }
        let mut takes = false;
        for above in above(path) {
            if let Some(matched) = self.paths.get_mut(above) {
                (*matched, takes) = (true, true);
            }
        }
        takes || is_folder && self.holds_chosen(path)
    }

    /// Whether a chosen path lies in this folder.
    fn holds_chosen(&self, folder: &[u8]) -> bool {
        let mut inside = folder.to_vec();
        if !folder.is_empty() {
            inside.push(b'/');
        }
        let first = self.paths.range(inside.clone()..).next();
        first.is_some_and(|(path, _)| path.starts_with(&inside))
    }

    /// Requires each path to be that of something.
    pub(super) fn all_matched(self) -> Result<()> {
        match self.paths.into_iter().find(|(_, matched)| !matched) {
            Some((path, _)) => Err(Error::NoMatch(path)),
            None => Ok(()),
        }
    }
}

/// The path, the folders that it lies in, and the one that everything lies in.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
    let inner = if path.is_empty() { None } else { Some(path) };
    [&[][..]].into_iter().chain(slashes).chain(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(paths: &[&str]) -> Choice {
        Choice::new(&paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_path_stands_for_all_in_it_and_for_the_way_to_it() {
        let mut chosen = choice(&["/home/ann/", "etc/fstab"]);
        for (path, is_folder, taken) in [
            ("", true, true),
            ("etc", true, true),
            ("etc", false, false),
            ("etc/fstab", false, true),
            ("etc/fstab.d", true, false),
            ("home", true, true),
            ("home/ann", true, true),
            ("home/ann/a/b", false, true),
            ("home/ann!", true, false),
            ("homes", true, false),
        ] {
            assert_eq!(chosen.takes(path.as_bytes(), is_folder), taken, "{path}");
        }
        chosen.all_matched().unwrap();
        assert!(choice(&[]).takes(b"x", false));
        assert!(choice(&["/"]).takes(b"x", false));
        assert!(choice(&["."]).takes(b"x/y", false));
    }

    #[test]
    fn a_path_of_nothing_is_an_error() {
        let mut chosen = choice(&["a", "b/c"]);
        assert!(chosen.takes(b"a/x", false) && chosen.takes(b"b", true));
        assert!(matches!(chosen.all_matched(), Err(Error::NoMatch(path)) if path == b"b/c"));
        assert!(matches!(Choice::new(&[b"a/../b".to_vec()]), Err(Error::Path { .. })));
    }
}
