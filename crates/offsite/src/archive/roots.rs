//! The paths that a backup is asked for, and what they are called in it.

use std::env;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::shown::shown;

/// Why paths cannot be packed together. The caller's mistake, found before anything is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// There is none.
    #[error("no path is given")]
    None,
    /// One is empty, or holds a NUL byte.
    #[error("'{}' is no path", shown(.0))]
    NoPath(PathBuf),
    /// One leads upwards, where nothing has a name within the archive.
    #[error("{}: a path with '..' cannot be stored", shown(.0))]
    ParentFolder(PathBuf),
    /// Two are the same, or one lies in the other.
    #[error("{} and {} overlap", shown(.0), shown(.1))]
    Overlap(PathBuf, PathBuf),
    /// Two would have the same name in the archive, or one's name would lie in the other's.
    #[error("{} and {} would be stored under the same name", shown(.0), shown(.1))]
    Collision(PathBuf, PathBuf),
}

/// Paths that can be packed together, in the order of the walk.
#[derive(Clone, Debug)]
pub struct Roots(Vec<Root>);

/// One path to be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// Whether it begins at the root, not in the working directory.
    pub(crate) absolute: bool,
    /// What is left of it without empty and '.' components: the components of the archive path.
    pub(crate) components: Vec<Vec<u8>>,
}

impl Roots {
    /// Checks the paths together, and sorts them.
    ///
    /// # Errors
    ///
    /// [`RootsError`].
    pub fn new(paths: &[PathBuf]) -> Result<Self, RootsError> {
        if paths.is_empty() {
            return Err(RootsError::None);
        }
        let mut roots = Vec::with_capacity(paths.len());
        for path in paths {
            roots.push((Root::parse(path)?, path));
        }
        check_apart(&roots, absolute, RootsError::Overlap)?;
        check_apart(&roots, |root| root.components.clone(), RootsError::Collision)?;
        roots.sort_by(|(one, _), (other, _)| one.components.cmp(&other.components));
        Ok(Self(roots.into_iter().map(|(root, _)| root).collect()))
    }

    /// The archive paths, in order; the empty one is that of '/' or '.'.
    pub fn archive_paths(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().map(Root::archive_path)
    }

    /// The paths from the root of all folders on, as they are whatever the working directory, in order.
    #[must_use]
    pub fn absolute_paths(&self) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = self.0.iter().map(|root| [&b"/"[..], &absolute(root).join(&b'/')].concat()).collect();
        paths.sort_unstable();
        paths
    }

    /// Whether every path was given from the root of all folders on.
    #[must_use]
    pub fn are_absolute(&self) -> bool {
        self.0.iter().all(|root| root.absolute)
    }

    pub(crate) fn into_vec(self) -> Vec<Root> {
        self.0
    }
}

impl Root {
    fn parse(path: &Path) -> Result<Self, RootsError> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() || bytes.contains(&0) {
            return Err(RootsError::NoPath(path.to_path_buf()));
        }
        let components = bytes.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
        let components: Vec<_> = components.map(<[u8]>::to_vec).collect();
        if components.iter().any(|component| component == b"..") {
            return Err(RootsError::ParentFolder(path.to_path_buf()));
        }
        Ok(Self { absolute: bytes[0] == b'/', components })
    }

    pub(crate) fn archive_path(&self) -> Vec<u8> {
        self.components.join(&b'/')
    }
}

/// The components from the root on. Where nobody knows the working directory, relative paths are
/// compared among themselves: a component cannot be empty, so no absolute path looks like them.
fn absolute(root: &Root) -> Vec<Vec<u8>> {
    let mut components = match env::current_dir() {
        _ if root.absolute => Vec::new(),
        Ok(folder) => {
            let components = folder.as_os_str().as_bytes().split(|byte| *byte == b'/');
            components.filter(|component| !component.is_empty()).map(<[u8]>::to_vec).collect()
        }
        Err(_) => vec![Vec::new()],
    };
    components.extend_from_slice(&root.components);
    components
}

/// Fails where one's components begin with all of another's. Sorted, the two nearest are
/// neighbours.
fn check_apart(
    roots: &[(Root, &PathBuf)],
    components: impl Fn(&Root) -> Vec<Vec<u8>>,
    error: fn(PathBuf, PathBuf) -> RootsError,
) -> Result<(), RootsError> {
    let mut all: Vec<_> = roots.iter().map(|(root, path)| (components(root), *path)).collect();
    all.sort();
    match all.windows(2).find(|pair| pair[1].0.starts_with(&pair[0].0)) {
        Some(pair) => Err(error(pair[0].1.clone(), pair[1].1.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive_paths(paths: &[&str]) -> Result<Vec<String>, RootsError> {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        let roots = Roots::new(&paths)?;
        Ok(roots.archive_paths().map(|path| String::from_utf8(path).unwrap()).collect())
    }

    #[test]
    fn are_stored_as_given_without_leading_and_trailing_slashes() {
        assert_eq!(archive_paths(&["src", "/etc/"]).unwrap(), ["etc", "src"]);
        assert_eq!(archive_paths(&["./a//b/./c/"]).unwrap(), ["a/b/c"]);
        assert_eq!(archive_paths(&["a!", "a/b"]).unwrap(), ["a/b", "a!"]);
        for whole in ["/", ".", "./", "//", "/."] {
            assert_eq!(archive_paths(&[whole]).unwrap(), [""]);
        }
    }

    #[test]
    fn must_be_paths_without_parent_folders() {
        assert_eq!(archive_paths(&[]), Err(RootsError::None));
        assert_eq!(archive_paths(&[""]), Err(RootsError::NoPath("".into())));
        assert_eq!(archive_paths(&["a\0b"]), Err(RootsError::NoPath("a\0b".into())));
        for path in ["..", "../a", "a/../b", "/.."] {
            assert_eq!(archive_paths(&[path]), Err(RootsError::ParentFolder(path.into())));
        }
        assert_eq!(archive_paths(&["a/..b", "..."]).unwrap(), ["...", "a/..b"]);
    }

    #[test]
    fn must_not_overlap() {
        let here = env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        for (one, other) in
            [("a", "a/"), ("a", "./a/b"), ("/", "/etc"), (".", "a"), ("/", "."), (here, "a"), (here, ".")]
        {
            for paths in [[one, other], [other, one]] {
                let result = archive_paths(&paths);
                assert!(matches!(result, Err(RootsError::Overlap(..))), "{paths:?}: {result:?}");
            }
        }
        assert!(archive_paths(&["a", "ab", "a.b", "a!"]).is_ok());
    }

    #[test]
    fn must_not_collide() {
        for (one, other) in [("/a", "a"), ("a", "/a/b"), ("/a", "a/b"), (".", "/nowhere")] {
            for paths in [[one, other], [other, one]] {
                let result = archive_paths(&paths);
                assert!(matches!(result, Err(RootsError::Collision(..))), "{paths:?}: {result:?}");
            }
        }
    }
}
