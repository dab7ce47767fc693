//! Which paths are looked for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, Result};

/// Patterns of paths in the syntax of gitignore, as those of excludes are. One without a slash, but for one at its
/// end, matches a name in any folder; any other the whole path, where a leading slash stands for the place at which
/// the paths of a backup begin. The last that matches decides, and `!` takes away what others match. What lies in a
/// folder that matches matches only by itself.
#[derive(Clone, Debug)]
pub struct Globs(Gitignore);

impl Globs {
    /// Reads the patterns.
    ///
    /// # Errors
    ///
    /// [`Error::Glob`] for one that is wrong; [`Error::NoGlob`] where none is left that matches anything.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("");
        // Taken for a literal, it would match nothing without a word.
        builder.allow_unclosed_class(false);
        let wrong = |pattern: &String, error| {
            let reason = match error {
                ignore::Error::Glob { err, .. } => err,
                error => error.to_string(),
            };
            Error::Glob { pattern: pattern.clone(), reason }
        };
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|error| wrong(pattern, error))?;
        }
        let all = || patterns.join(" ");
        let globs = builder.build().map_err(|error| wrong(&all(), error))?;
        if globs.num_ignores() == 0 { Err(Error::NoGlob) } else { Ok(Self(globs)) }
    }

    /// Whether this path is looked for.
    #[must_use]
    pub fn take(&self, path: &[u8], is_folder: bool) -> bool {
        // The matcher has no word for the folder that everything else lies in.
        !path.is_empty() && self.0.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Result<Globs> {
        Globs::new(&patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_match_anywhere_and_paths_where_they_are() {
        for (patterns, path, is_folder, taken) in [
            (&["fstab"][..], "etc/fstab", false, true),
            (&["fstab"], "etc/fstab.d/x", false, false),
            (&["/etc/fstab"], "etc/fstab", false, true),
            (&["etc/fstab"], "etc/fstab", false, true),
            (&["etc/fstab"], "srv/etc/fstab", false, false),
            (&["**/etc/fstab"], "srv/etc/fstab", false, true),
            (&["/etc/*"], "etc/ssh/config", false, false),
            (&["/etc/**"], "etc/ssh/config", false, true),
            (&["/etc"], "etc/ssh", true, false),
            (&["log/"], "var/log", true, true),
            (&["log/"], "var/log", false, false),
            (&["*.sql", "!old.sql"], "dump.sql", false, true),
            (&["*.sql", "!old.sql"], "old.sql", false, false),
            (&["*"], "", true, false),
        ] {
            assert_eq!(globs(patterns).unwrap().take(path.as_bytes(), is_folder), taken, "{patterns:?} {path}");
        }
        assert!(globs(&["*.o"]).unwrap().take(b"\xff\xfe.o", false));
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for patterns in [&[][..], &[""], &["# comment"], &["!x"]] {
            assert!(matches!(globs(patterns), Err(Error::NoGlob)), "{patterns:?}");
        }
        let error = globs(&["x", "[a"]).unwrap_err().to_string();
        assert!(error.starts_with("the pattern '[a' is wrong: unclosed"), "{error}");
    }
}
