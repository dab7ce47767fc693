//! `keygen`: a new key pair in files of its own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cms::keygen::{KeyType, NewKey, Purpose};
use offsite_cms as cms;
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::files;
use crate::paper::Paper;
use crate::recovery;

/// What to make.
pub struct Keygen<'a> {
    /// The files' names begin with this.
    pub prefix: &'a Path,
    /// The kind of key.
    pub key_type: KeyType,
    /// The certificate's common name.
    pub common_name: &'a str,
    /// The time at which the certificate begins.
    pub now: OffsetDateTime,
    /// How long it is valid.
    pub days: u32,
    /// What protects the private key.
    pub passphrase: Option<&'a [u8]>,
    /// Whether the private key is put on paper, too.
    pub paper: bool,
}

/// The files made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewFiles {
    /// Private key and certificate.
    pub private: PathBuf,
    /// The certificate alone.
    pub certificate: PathBuf,
    /// The recovery script, which belongs with the private key.
    pub script: PathBuf,
    /// The private key as a page to print, if there is one.
    pub paper: Option<PathBuf>,
}

impl NewFiles {
    /// The names that a prefix leads to, with a page to print among them or not.
    #[must_use]
    pub fn of(prefix: &Path, paper: bool) -> Self {
        let with = |suffix: &str| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self {
            private: with("-PRIVATE.pem"),
            certificate: with("-cert.pem"),
            script: with("-RECOVER.sh"),
            paper: paper.then(|| with("-PAPER.html")),
        }
    }

    /// Fails where one of them exists.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], or [`Error::File`] where that cannot be told.
    pub fn check_absent(&self) -> Result<()> {
        for path in [&self.private, &self.certificate, &self.script].into_iter().chain(&self.paper) {
            match fs::symlink_metadata(path) {
                Ok(_) => return Err(Error::Exists { path: path.clone(), replaceable: false }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::file("write", path)(error)),
            }
        }
        Ok(())
    }
}

/// Makes a key pair, with the recovery script beside it. None of the files may exist; all are there
/// afterwards, or none.
///
/// # Errors
///
/// [`Error::Exists`], [`Error::File`], [`Error::Cms`].
pub fn keygen(what: &Keygen<'_>) -> Result<NewFiles> {
    let files = NewFiles::of(what.prefix, what.paper);
    files.check_absent()?;
    let failed = Error::cms(None);
    let key =
        NewKey::generate(what.key_type, Purpose::Encryption, what.common_name, what.now, what.days).map_err(&failed)?;
    let private = key.private_pem(what.passphrase).map_err(&failed)?;
    let certificate = key.certificate().to_pem();
    let name = files.private.file_name().unwrap_or_default().to_string_lossy();
    let page = Paper {
        name: &name,
        pem: &private,
        certificate: key.certificate(),
        protected: what.passphrase.is_some(),
        date: what.now.date(),
    };
    let page = files.paper.as_ref().map(|path| (path, page.html()));
    let mut new: Vec<(&Path, u32, &[u8])> = vec![
        (&files.private, 0o600, private.as_bytes()),
        (&files.certificate, 0o644, certificate.as_bytes()),
        (&files.script, 0o644, recovery::SCRIPT.as_bytes()),
    ];
    new.extend(page.as_ref().map(|(path, html)| (path.as_path(), 0o600, html.as_bytes())));
    write_all_new(&new)?;
    files::sync_folder(&files.private)?;
    Ok(files)
}

/// Writes files that must not exist, with these modes; none is left where one fails.
fn write_all_new(new: &[(&Path, u32, &[u8])]) -> Result<()> {
    for (written, (path, mode, contents)) in new.iter().enumerate() {
        write_new(path, *mode, contents).inspect_err(|_| {
            for (path, ..) in &new[..written] {
                let _ = fs::remove_file(path);
            }
        })?;
    }
    Ok(())
}

/// Writes a file that must not exist; none is left where that fails.
fn write_new(path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
    let mut file =
        File::options().write(true).create_new(true).mode(mode).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_path_buf(), replaceable: false },
            _ => Error::file("write", path)(error),
        })?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    written.map_err(Error::file("write", path)).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}
