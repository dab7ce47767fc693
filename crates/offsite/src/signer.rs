//! The host's signing key: a file that is made on first use, and stays. It proves which host wrote a
//! backup, and opens nothing.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use cms::signed_data::SigningKey;
use offsite_cms as cms;
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::files::{self, Output};
use crate::hashes::Fingerprint;
use crate::names::HostName;

/// How long the certificate says that it is valid. Nobody asks it: who trusts a signer says so.
const DAYS: u32 = 100_000;

/// The host's signing key.
pub struct Signer {
    /// The key, with its certificate.
    pub key: SigningKey,
    /// Whether it was made just now: its certificate should be kept where backups are checked.
    pub made: bool,
    /// Whether others than its owner may read or change the file.
    pub exposed: bool,
}

impl Signer {
    /// What people tell the signer by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.key.certificate())
    }
}

/// Reads the key in this file. Where there is none it is made, readable by its owner alone, and so
/// are the folders above it; nothing is overwritten. Of several processes that make one at once, one
/// wins, and all have its key.
///
/// # Errors
///
/// [`Error::File`]; [`Error::Cms`] or [`Error::TooLarge`] where the file is no signing key.
pub fn read_or_make(path: &Path, host: &HostName, now: OffsetDateTime) -> Result<Signer> {
    match read(path) {
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let folder = files::folder(path);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::file("make", folder))?;
    let (_, pem) = SigningKey::generate(host.as_str(), now, DAYS).map_err(Error::cms(None))?;
    let mut output = Output::create_secret(path)?;
    output.write_all(pem.as_bytes()).map_err(Error::file("write", path))?;
    let made = match output.finish() {
        Ok(()) => true,
        // Another process was faster. Its file must not vanish in a power cut once it has signed.
        Err(Error::Exists { .. }) => {
            files::sync_folder(path)?;
            false
        }
        Err(error) => return Err(error),
    };
    // The folder may be new as well; the one above it need not be readable.
    let _ = files::sync_folder(folder);
    Ok(Signer { made, ..read(path)? })
}

/// Reads the key in this file.
///
/// # Errors
///
/// [`Error::File`]; [`Error::Cms`] or [`Error::TooLarge`] where the file is no signing key.
pub fn read(path: &Path) -> Result<Signer> {
    let contents = files::read_key_file(path)?;
    let mode = fs::metadata(path).map_err(Error::file("read", path))?.permissions().mode();
    let key = SigningKey::from_file(&contents).map_err(Error::cms(Some(path)))?;
    Ok(Signer { key, made: false, exposed: mode & 0o077 != 0 })
}
