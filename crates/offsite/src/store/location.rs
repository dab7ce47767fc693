//! Where a store is, as it is written on a command line.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::shown::shown;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A directory: `/path`, or a path relative to the working directory.
    Directory(PathBuf),
    /// A bucket.
    S3(S3Location),
    /// A directory on another host.
    Sftp(SftpLocation),
}

/// A bucket, or what lies below a prefix in it:
/// `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&profile=NAME&style=path|virtual&conditional=on|off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// What every object's key begins with, without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// Where the service is, `https://HOST` or `http://HOST`; None for Amazon's.
    pub endpoint: Option<String>,
    /// The region; None for that of the environment.
    pub region: Option<String>,
    /// The profile in the AWS tools' files; None for that of the environment.
    pub profile: Option<String>,
    /// Whether the bucket's name is part of the host's (`BUCKET.HOST`) instead of the path; None
    /// for what suits the service.
    pub virtual_host: Option<bool>,
    /// Whether a put is on condition that the name is free (`If-None-Match: *`).
    pub conditional: bool,
}

/// A directory on another host: `sftp://USER@HOST:PORT/PATH`, in which `/~/` begins a path in the
/// user's home. `ssh` logs in, as its own configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SftpLocation {
    /// Who logs in; None for what `ssh` finds.
    pub user: Option<String>,
    /// The host, or a name that `ssh`'s configuration has for it.
    pub host: String,
    /// The port; None for what `ssh` finds.
    pub port: Option<u16>,
    /// The directory: an absolute path, or one in the user's home.
    pub path: String,
}

/// A text that is no place of a store. None of these holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// Nothing at all.
    #[error("the store's location is empty")]
    Empty,
    /// A URL of another kind. Only its scheme is named.
    #[error("a store is a directory, s3:// or sftp://; {0}: locations are not known")]
    UnsupportedScheme(String),
    /// Not of the form of its kind.
    #[error("the store's location is not of the form {0}")]
    Form(&'static str),
    /// A user's name with a password, or an access key.
    #[error("a store's location holds no password or access key")]
    Secret,
    /// A part that must not be empty, or holds what it must not.
    #[error("the store's location has no valid {0}")]
    Part(&'static str),
    /// An option that is not known.
    #[error(
        "the store's location has an unknown option '{0}'; there are endpoint, region, profile, style and conditional"
    )]
    UnknownOption(String),
    /// An option with a value that it cannot have.
    #[error("the store's location has '{option}' of '{value}': {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it was given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

const ENDPOINT: &str = "it is https://HOST or http://HOST, with a port where it has one; a prefix stands before the \
                        ?, s3://BUCKET/PREFIX?…";
const S3_FORM: &str = "s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]";
const SFTP_FORM: &str = "sftp://[USER@]HOST[:PORT]/PATH";

impl Location {
    /// Reads what stands on a command line.
    ///
    /// # Errors
    ///
    /// An empty text; a URL, `scheme://…`, of an unknown scheme, or without what its own needs. A
    /// directory whose name looks like one is written with `./` before it.
    pub fn parse(text: &OsStr) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let url = text.to_string_lossy();
        let Some((scheme, rest)) = scheme(&url) else { return Ok(Self::Directory(text.into())) };
        match &*scheme {
            "s3" => Ok(Self::S3(S3Location::parse(rest.strip_prefix("//").ok_or(LocationError::Form(S3_FORM))?)?)),
            "sftp" => {
                Ok(Self::Sftp(SftpLocation::parse(rest.strip_prefix("//").ok_or(LocationError::Form(SFTP_FORM))?)?))
            }
            _ => Err(LocationError::UnsupportedScheme(scheme)),
        }
    }
}

impl S3Location {
    fn parse(text: &str) -> Result<Self, LocationError> {
        let (path, options) = text.split_once('?').unwrap_or((text, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.contains('@') {
            return Err(LocationError::Secret);
        }
        let is_bucket = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
        if bucket.is_empty() || !bucket.chars().all(is_bucket) {
            return Err(LocationError::Part("bucket"));
        }
        let prefix = decoded(prefix.trim_matches('/'), "prefix")?;
        let is_component = |component: &str| !matches!(component, "" | "." | "..");
        if !prefix.is_empty() && !prefix.split('/').all(is_component) || prefix.contains(char::is_control) {
            return Err(LocationError::Part("prefix"));
        }
        let mut location = Self {
            bucket: bucket.to_owned(),
            prefix,
            endpoint: None,
            region: None,
            profile: None,
            virtual_host: None,
            conditional: true,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            location.set(name, decoded(value, "option")?)?;
        }
        Ok(location)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), LocationError> {
        let wrong = |option, value, expected| Err(LocationError::Option { option, value, expected });
        let is_name = |value: &str| !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic());
        match (name, &*value) {
            ("endpoint", url) => match endpoint(url) {
                Some(endpoint) => self.endpoint = Some(endpoint),
                None if url.contains('@') => return Err(LocationError::Secret),
                None => return wrong("endpoint", value, ENDPOINT),
            },
            // A slash is that of a prefix which stands behind it.
            ("region", region) if is_name(region) && !region.contains('/') => self.region = Some(value),
            ("region", _) => {
                return wrong("region", value, "it is a name such as eu-central-1; a prefix stands before the ?");
            }
            ("profile", profile) if is_name(profile) => self.profile = Some(value),
            ("profile", _) => return wrong("profile", value, "it is a name in the AWS tools' files"),
            ("style", "path") => self.virtual_host = Some(false),
            ("style", "virtual") => self.virtual_host = Some(true),
            ("style", _) => return wrong("style", value, "it is path or virtual"),
            ("conditional", "on") => self.conditional = true,
            ("conditional", "off") => self.conditional = false,
            ("conditional", _) => return wrong("conditional", value, "it is on or off"),
            _ => return Err(LocationError::UnknownOption(name.escape_debug().to_string())),
        }
        Ok(())
    }
}

impl SftpLocation {
    fn parse(text: &str) -> Result<Self, LocationError> {
        let (authority, path) = text.split_once('/').ok_or(LocationError::Form(SFTP_FORM))?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(LocationError::Secret),
            Some((user, host)) => (Some(decoded(user, "user")?), host),
            None => (None, authority),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| LocationError::Part("port"))?))
            }
            _ => (host, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // `ssh` would take a name that begins with a dash for an option.
        let is_safe = |name: &str| {
            let is_odd = |character: char| character.is_whitespace() || character.is_control();
            !name.is_empty() && !name.starts_with('-') && !name.contains(is_odd)
        };
        if !is_safe(host) {
            return Err(LocationError::Part("host"));
        }
        if user.as_deref().is_some_and(|user| !is_safe(user)) {
            return Err(LocationError::Part("user"));
        }
        let path = decoded(path, "path")?;
        let path = match path.strip_prefix("~/") {
            Some(home) => home.to_owned(),
            None => format!("/{path}"),
        };
        let path = path.trim_end_matches('/').to_owned();
        if path.is_empty() || path.contains('\0') {
            return Err(LocationError::Part("path"));
        }
        Ok(Self { user, host: host.to_owned(), port, path })
    }
}

/// The scheme of a URL (RFC 3986 §3.1), and what follows its colon. `s3:` and `sftp:` are one without
/// slashes, too: other programs write them so, and here they would make a directory of that name.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let characters = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.chars().all(characters);
    let scheme = scheme.to_ascii_lowercase();
    let is_url = is_scheme && (rest.starts_with("//") || ["s3", "sftp"].contains(&&*scheme));
    is_url.then_some((scheme, rest))
}

fn decoded(text: &str, part: &'static str) -> Result<String, LocationError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| LocationError::Part(part))?;
    Ok(decoded.into_owned())
}

/// A service's URL, without a slash at its end; a bare host is one of https.
fn endpoint(url: &str) -> Option<String> {
    let (scheme, host) = url.split_once("://").unwrap_or(("https", url));
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_host = |character: char| character.is_ascii_alphanumeric() || "-._:[]".contains(character);
    let is_endpoint = ["http", "https"].contains(&scheme) && !host.is_empty() && host.chars().all(is_host);
    is_endpoint.then(|| format!("{scheme}://{host}"))
}

/// What tells the place from others: options that only say how to reach it are left out.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.write_str(&shown(path)),
            Self::S3(S3Location { bucket, prefix, endpoint, .. }) => {
                write!(f, "s3://{bucket}")?;
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
                endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, "?endpoint={endpoint}"))
            }
            Self::Sftp(SftpLocation { user, host, port, path }) => {
                f.write_str("sftp://")?;
                if let Some(user) = user {
                    write!(f, "{}@", user.escape_debug())?;
                }
                let host = if host.contains(':') { &format!("[{host}]") } else { host };
                f.write_str(host)?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                let home = if path.starts_with('/') { "" } else { "/~/" };
                write!(f, "{home}{}", shown(path.as_ref()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse(text.as_ref())
    }

    #[test]
    fn a_path_is_a_directory() {
        for path in ["/backup", "backup", "../b", ".", "./s3://x", "a:b", "/s3://x", "user@host:/path", "1s://x"] {
            assert_eq!(parse(path), Ok(Location::Directory(path.into())));
        }
        assert_eq!(parse(""), Err(LocationError::Empty));
        assert_eq!(parse("gs://b"), Err(LocationError::UnsupportedScheme("gs".to_owned())));
    }

    #[test]
    fn a_bucket_has_a_prefix_and_options() {
        let plain = S3Location {
            bucket: "b-1.x".to_owned(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            profile: None,
            virtual_host: None,
            conditional: true,
        };
        for text in ["s3://b-1.x", "S3://b-1.x/", "s3://b-1.x//?", "s3://b-1.x?conditional=on"] {
            assert_eq!(parse(text), Ok(Location::S3(plain.clone())), "{text}");
        }
        let text = "s3://b-1.x/a/b%20c/?endpoint=http%3A%2F%2F127.0.0.1:8333/&region=eu-1&profile=p&style=virtual&conditional=off";
        let full = S3Location {
            prefix: "a/b c".to_owned(),
            endpoint: Some("http://127.0.0.1:8333".to_owned()),
            region: Some("eu-1".to_owned()),
            profile: Some("p".to_owned()),
            virtual_host: Some(true),
            conditional: false,
            ..plain
        };
        let location = Location::S3(full);
        assert_eq!(parse(text), Ok(location.clone()));
        assert_eq!(location.to_string(), "s3://b-1.x/a/b c?endpoint=http://127.0.0.1:8333");
        let Ok(Location::S3(bare)) = parse("s3://b?endpoint=s3.example.com") else { panic!("a bare host is one") };
        assert_eq!(bare.endpoint.as_deref(), Some("https://s3.example.com"));
    }

    #[test]
    fn a_host_has_a_path() {
        let location = |user: Option<&str>, host: &str, port, path: &str| {
            let (host, path) = (host.to_owned(), path.to_owned());
            Location::Sftp(SftpLocation { user: user.map(str::to_owned), host, port, path })
        };
        let cases = [
            ("sftp://h/p", location(None, "h", None, "/p")),
            ("sftp://u@h:22/p/q/", location(Some("u"), "h", Some(22), "/p/q")),
            ("sftp://u%40d@h/~/p", location(Some("u@d"), "h", None, "p")),
            ("sftp://[::1]:2222//p", location(None, "::1", Some(2222), "//p")),
            ("sftp://[::1]/p%25", location(None, "::1", None, "/p%")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected.clone()), "{text}");
            assert!(expected.to_string().starts_with("sftp://"), "{expected}");
        }
        assert_eq!(location(Some("u"), "::1", Some(1), "p").to_string(), "sftp://u@[::1]:1/~/p");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_told() {
        let cases = [
            ("s3:b", "of the form s3://"),
            ("s3://", "bucket"),
            ("s3:///p", "bucket"),
            ("s3://AKIA:secret@b/p", "no password or access key"),
            ("s3://b/p/../q", "prefix"),
            ("s3://b/p%0a", "prefix"),
            ("s3://b/%ff", "prefix"),
            ("s3://b?secret_access_key=secret", "unknown option 'secret_access_key'"),
            ("s3://b?endpoint=https://k:secret@h", "no password or access key"),
            ("s3://b?endpoint=ftp://h", "'endpoint' of 'ftp://h'"),
            ("s3://b?endpoint=", "'endpoint' of ''"),
            ("s3://b?endpoint=https://h/p", "a prefix stands before the ?"),
            ("s3://b?region=", "'region' of ''"),
            ("s3://b?endpoint=https://h&region=eu-1/p", "a prefix stands before the ?"),
            ("s3://b?style=x", "path or virtual"),
            ("s3://b?conditional=maybe", "on or off"),
            ("sftp:h", "of the form sftp://"),
            ("sftp://h", "of the form sftp://"),
            ("sftp://u:secret@h/p", "no password"),
            ("sftp:///p", "host"),
            ("sftp://-oProxyCommand=secret/p", "host"),
            ("sftp://-l@h/p", "user"),
            ("sftp://h:x/p", "port"),
            ("sftp://h/", "path"),
            ("sftp://h/~/", "path"),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.replace("secret_access_key", "").contains("secret"), "{text}: {error}");
        }
    }
}
