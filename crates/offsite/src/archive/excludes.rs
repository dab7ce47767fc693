//! What is left out on the user's word.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::archive::folder::Folder;
use crate::archive::metadata::Metadata;
use crate::archive::names::Names;
use crate::shown::shown;

/// Why excludes cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExcludesError {
    /// A pattern is not gitignore syntax.
    #[error("the pattern '{pattern}' is wrong: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A line of a file of patterns is not gitignore syntax.
    #[error("{}, line {line}: {reason}", shown(.path))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file of patterns cannot be read.
    #[error("cannot read {}: {source}", shown(.path))]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is to mark a folder is no name.
    #[error("{} is no file name", shown(Path::new(.0)))]
    NoName(OsString),
    /// The patterns are too many or too large together.
    #[error("the patterns cannot be used together: {0}")]
    Together(String),
}

/// What the user says.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct ExcludeRules<'a> {
    /// Patterns in gitignore syntax. They are read after the files', and the last that matches
    /// decides.
    pub patterns: &'a [String],
    /// Files of such patterns, one a line.
    pub files: &'a [PathBuf],
    /// Whether folders with a CACHEDIR.TAG are stored empty but for it.
    pub caches: bool,
    /// Folders that hold an entry of such a name are stored empty but for it.
    pub if_present: &'a [OsString],
}

/// Tells what is left out. Patterns match archive paths: a leading slash stands for the place
/// where these begin, so that '/etc/x' means both /etc/x and, below the working directory, etc/x.
#[derive(Clone, Debug)]
pub struct Excludes {
    patterns: Gitignore,
    caches: bool,
    if_present: Vec<Vec<u8>>,
}

impl Excludes {
    /// Leaves nothing out.
    #[must_use]
    pub fn none() -> Self {
        Self { patterns: Gitignore::empty(), caches: false, if_present: Vec::new() }
    }

    /// Reads the rules.
    ///
    /// # Errors
    ///
    /// [`ExcludesError`].
    pub fn new(rules: &ExcludeRules<'_>) -> Result<Self, ExcludesError> {
        let mut builder = GitignoreBuilder::new("");
        // Taken for a literal, it would leave nothing out without a word.
        builder.allow_unclosed_class(false);
        for path in rules.files {
            add_file(&mut builder, path)?;
        }
        for pattern in rules.patterns {
            builder
                .add_line(None, pattern)
                .map_err(|error| ExcludesError::Pattern { pattern: pattern.clone(), reason: reason(&error) })?;
        }
        let patterns = builder.build().map_err(|error| ExcludesError::Together(reason(&error)))?;
        for name in rules.if_present {
            if name.is_empty() || name == "." || name == ".." || name.as_bytes().contains(&b'/') {
                return Err(ExcludesError::NoName(name.clone()));
            }
        }
        let if_present = rules.if_present.iter().map(|name| name.clone().into_vec()).collect();
        Ok(Self { patterns, caches: rules.caches, if_present })
    }

    /// Whether an entry is left out; it is in a folder that is not.
    #[must_use]
    pub fn leave_out(&self, path: &[u8], is_folder: bool) -> bool {
        !self.patterns.is_empty() && !path.is_empty() && self.patterns.matched(as_path(path), is_folder).is_ignore()
    }

    /// Whether a path that was given is left out, itself or by a folder above it.
    #[must_use]
    pub fn leave_out_root(&self, path: &[u8], is_folder: bool) -> bool {
        !self.patterns.is_empty()
            && !path.is_empty()
            && self.patterns.matched_path_or_any_parents(as_path(path), is_folder).is_ignore()
    }

    /// The name for whose sake a folder is stored with nothing else in it.
    #[must_use]
    pub fn tag(&self, folder: &Folder, names: &Names) -> Option<&[u8]> {
        if self.caches && names.contain(CACHE_TAG) != Some(false) && is_cache(folder) {
            return Some(CACHE_TAG);
        }
        // Where there are very many names, the folder is asked.
        let holds = |name: &[u8]| names.contain(name).unwrap_or_else(|| Metadata::of_name(folder, name).is_ok());
        self.if_present.iter().map(Vec::as_slice).find(|name| holds(name))
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}

fn add_file(builder: &mut GitignoreBuilder, path: &Path) -> Result<(), ExcludesError> {
    let read = fs::read(path).map_err(|source| ExcludesError::File { path: path.to_path_buf(), source })?;
    for (number, line) in read.split(|byte| *byte == b'\n').enumerate() {
        let wrong = |reason| ExcludesError::Line { path: path.to_path_buf(), line: number + 1, reason };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| wrong("the pattern is not UTF-8".to_owned()))?;
        // Editors put a byte order mark before the first line.
        let line = if number == 0 { line.trim_start_matches('\u{feff}') } else { line };
        builder.add_line(None, line).map_err(|error| wrong(reason(&error)))?;
    }
    Ok(())
}

/// The matcher's words without the pattern, which stands in ours.
fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        error => error.to_string(),
    }
}

/// <https://bford.info/cachedir/>
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

fn is_cache(folder: &Folder) -> bool {
    let mut start = [0; CACHE_SIGNATURE.len()];
    let read = folder.file(CACHE_TAG).map(|(mut file, _)| file.read_exact(&mut start));
    matches!(read, Ok(Ok(()))) && start == CACHE_SIGNATURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &[&str]) -> Excludes {
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Excludes::new(&ExcludeRules { patterns: &patterns, ..Default::default() }).unwrap()
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        let excludes = excludes(&["*.o", "!keep.o", "/top", "folder/", "a/**/z", "# comment", "\\#file"]);
        for (path, is_folder, out) in [
            ("x.o", false, true),
            ("deep/down/x.o", false, true),
            ("deep/keep.o", false, false),
            ("top", true, true),
            ("deep/top", true, false),
            ("deep/folder", true, true),
            ("deep/folder", false, false),
            ("a/b/c/z", false, true),
            ("# comment", false, false),
            ("#file", false, true),
            ("", true, false),
        ] {
            assert_eq!(excludes.leave_out(path.as_bytes(), is_folder), out, "{path}");
        }
        assert!(excludes.leave_out(b"\xff\xfe.o", false));
        assert!(!excludes.leave_out(b"top/below", false));
        assert!(excludes.leave_out_root(b"top/below", false));
    }

    #[test]
    fn later_patterns_win_and_come_from_the_command_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "\u{feff}*.log\r\n!never\n\n").unwrap();
        let (patterns, files) = (["!important.log".to_owned()], [file.path().to_path_buf()]);
        let rules = ExcludeRules { patterns: &patterns, files: &files, ..Default::default() };
        let excludes = Excludes::new(&rules).unwrap();
        assert!(excludes.leave_out(b"a.log", false));
        assert!(!excludes.leave_out(b"important.log", false));
    }

    #[test]
    fn mistakes_are_named() {
        let refusal = |rules: &ExcludeRules<'_>| Excludes::new(rules).unwrap_err().to_string();
        let patterns = ["[a".to_owned()];
        let text = refusal(&ExcludeRules { patterns: &patterns, ..Default::default() });
        assert!(text.starts_with("the pattern '[a' is wrong: unclosed"), "{text}");

        let file = tempfile::NamedTempFile::new().unwrap();
        let files = [file.path().to_path_buf()];
        for (contents, words) in
            [(&b"fine\n{a\n"[..], ", line 2: unclosed"), (b"fine\n\n\xff", ", line 3: the pattern is not")]
        {
            fs::write(&file, contents).unwrap();
            let text = refusal(&ExcludeRules { files: &files, ..Default::default() });
            assert!(text.contains(words), "{text}");
        }
        let files = [PathBuf::from("/nowhere/at/all")];
        let text = refusal(&ExcludeRules { files: &files, ..Default::default() });
        assert!(text.starts_with("cannot read /nowhere/at/all: "), "{text}");

        for name in ["", "a/b", ".", ".."] {
            let if_present = [OsString::from(name)];
            let rules = ExcludeRules { if_present: &if_present, ..Default::default() };
            assert!(matches!(Excludes::new(&rules), Err(ExcludesError::NoName(_))), "{name}");
        }
    }
}
