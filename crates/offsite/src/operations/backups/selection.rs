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
    /// over: paths in a backup have none. What is left of `/` is everything, and so is `.`.
    pub fn new(paths: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let trimmed = |path: Vec<u8>| {
            let start = path.iter().take_while(|byte| **byte == b'/').count();
            let end = path.iter().rposition(|byte| *byte != b'/').map_or(start, |last| last + 1);
            if path[start..end] == *b"." { Vec::new() } else { path[start..end].to_vec() }
        };
        Self { paths: paths.into_iter().map(|path| (trimmed(path), false)).collect() }
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
        let mut selection = Selection::new(["/etc/".into(), "var/log".into(), "absent".into()]);
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
        for path in [None, Some(""), Some("/"), Some("."), Some("//")] {
            let mut selection = Selection::new(path.map(|path| path.as_bytes().to_vec()));
            assert!(selection.takes(b"a/b") && selection.takes(b"a") && selection.takes(b""));
            assert!(selection.not_found().is_empty());
        }
    }
}
