//! What of a backup is meant: paths, and everything below them.

use std::collections::BTreeMap;

/// Paths that were asked for. None at all means everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Each with whether something was found there.
    paths: BTreeMap<Vec<u8>, bool>,
}

impl Selection {
    /// Chooses these paths and everything below them. Slashes at the start and the end are passed
    /// over, and so are components `.`: paths in a backup have none. What is left of `/` is everything.
    pub fn new(paths: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let normal = |path: Vec<u8>| {
            let components = path.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
            components.collect::<Vec<_>>().join(&b'/')
        };
        Self { paths: paths.into_iter().map(|path| (normal(path), false)).collect() }
    }

    /// Whether nothing was asked for, which means everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether this path of a backup is chosen; remembers for [`Self::not_found`].
    pub fn takes(&mut self, path: &[u8]) -> bool {
        if self.paths.is_empty() {
            return true;
        }
        let mut takes = false;
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end]);
        for ancestor in above.chain([path, b""]) {
            if let Some(found) = self.paths.get_mut(ancestor) {
                (*found, takes) = (true, true);
            }
        }
        takes
    }

    /// Whether a chosen path lies in this folder, at any depth.
    #[must_use]
    pub fn leads_on_from(&self, folder: &[u8]) -> bool {
        let mut inside = folder.to_vec();
        if !folder.is_empty() {
            inside.push(b'/');
        }
        let first = self.paths.range(inside.clone()..).next();
        first.is_some_and(|(path, _)| path.starts_with(&inside))
    }

    /// The paths at which nothing was found, in order.
    #[must_use]
    pub fn not_found(&self) -> Vec<Vec<u8>> {
        self.paths.iter().filter(|(_, found)| !**found).map(|(path, _)| path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_with_all_below_it_and_nothing_else() {
        let mut selection = Selection::new(["/etc/".into(), "./var//log".into(), "absent".into()]);
        for (path, taken) in [
            ("etc", true),
            ("etc/passwd", true),
            ("etc/a/b", true),
            ("etc2", false),
            ("etcetera/etc", false),
            ("var", false),
            ("var/log", true),
            ("var/log/x", true),
            ("var/log-x", false),
            ("absentee", false),
            ("", false),
        ] {
            assert_eq!(selection.takes(path.as_bytes()), taken, "{path}");
        }
        assert_eq!(selection.not_found(), [b"absent"]);
    }

    #[test]
    fn no_path_and_the_root_are_everything() {
        for path in [None, Some(""), Some("/"), Some("."), Some("//"), Some("./.")] {
            let mut selection = Selection::new(path.map(|path| path.as_bytes().to_vec()));
            assert!(selection.takes(b"a/b") && selection.takes(b"a") && selection.takes(b""));
            assert!(selection.not_found().is_empty());
        }
    }

    #[test]
    fn folders_on_the_way_are_told() {
        let selection = Selection::new(["home/ann/".into(), "etc/fstab".into()]);
        for folder in ["", "etc", "home"] {
            assert!(selection.leads_on_from(folder.as_bytes()), "{folder}");
        }
        for folder in ["home/ann", "etc/fstab.d", "homes", "etc/fstab/x"] {
            assert!(!selection.leads_on_from(folder.as_bytes()), "{folder}");
        }
    }
}
