//! Where a store is, as it is written on a command line.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crate::shown::shown;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A directory: `/path`, or a path relative to the working directory.
    Directory(PathBuf),
}

/// A text that is no place of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// Nothing at all.
    #[error("the store's location is empty")]
    Empty,
    /// A URL. Only its scheme is named: the rest may hold a password.
    #[error("a store is a directory: this version of offsite cannot use {0}: locations")]
    UnsupportedScheme(String),
}

impl Location {
    /// Reads what stands on a command line.
    ///
    /// # Errors
    ///
    /// An empty text; a URL, `scheme://…`, of whatever scheme. A directory whose name looks like
    /// one is written with `./` before it.
    pub fn parse(text: &OsStr) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        match scheme(&text.to_string_lossy()) {
            Some(scheme) => Err(LocationError::UnsupportedScheme(scheme)),
            None => Ok(Self::Directory(text.into())),
        }
    }
}

/// The scheme of a URL (RFC 3986 §3.1). `s3:` and `sftp:` are one without slashes, too: other
/// programs write them so, and here they would make a directory of that name.
fn scheme(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let characters = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.chars().all(characters);
    let scheme = scheme.to_ascii_lowercase();
    (is_scheme && (rest.starts_with("//") || ["s3", "sftp"].contains(&&*scheme))).then_some(scheme)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.write_str(&shown(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_and_no_url() {
        for path in ["/backup", "backup", "../b", ".", "./s3://x", "a:b", "/s3://x", "user@host:/path", "1s://x"] {
            assert_eq!(Location::parse(path.as_ref()), Ok(Location::Directory(path.into())));
        }
        for (url, scheme) in
            [("s3://b/p?region=x", "s3"), ("SFTP://u:secret@h/p", "sftp"), ("s3:b", "s3"), ("gs://b", "gs")]
        {
            let error = Location::parse(url.as_ref()).unwrap_err();
            assert_eq!(error, LocationError::UnsupportedScheme(scheme.to_owned()));
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(Location::parse("".as_ref()), Err(LocationError::Empty));
    }
}
