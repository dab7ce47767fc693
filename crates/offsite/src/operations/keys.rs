//! Keys and certificates from files.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cms::{Certificate, KeyError, KeyFile, PrivateKey, Recipients};
use offsite_cms as cms;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::files;

/// Reads a private key. `passphrase` is asked where one is needed; again, while it says that it
/// can, where it was wrong.
///
/// # Errors
///
/// [`Error::File`], [`Error::Cms`], or what `passphrase` returned.
pub fn read_private_key(
    path: &Path,
    passphrase: &mut dyn FnMut(u32) -> Result<Option<Zeroizing<Vec<u8>>>>,
) -> Result<PrivateKey> {
    let failed = Error::cms(Some(path));
    let file = KeyFile::read(&files::read_key_file(path)?).map_err(&failed)?;
    if !file.needs_passphrase() {
        return file.unlock(None).map_err(failed);
    }
    let mut last = cms::Error::Key(KeyError::PassphraseNeeded);
    for attempt in 0.. {
        let Some(passphrase) = passphrase(attempt)? else { break };
        match file.unlock(Some(&passphrase)) {
            Err(error @ cms::Error::Key(KeyError::WrongPassphrase)) => last = error,
            result => return result.map_err(failed),
        }
    }
    Err(failed(last))
}

/// Reads one certificate from each file; or where there is no file, from `fallback`: PEM text, or
/// the names of files, one a line.
///
/// # Errors
///
/// [`Error::File`] or [`Error::Cms`] for the file at hand.
pub fn read_recipients(
    paths: &[PathBuf],
    fallback: Option<&std::ffi::OsStr>,
    events: &dyn Events,
) -> Result<Recipients> {
    let certificates = match fallback {
        Some(text) if paths.is_empty() && text.as_bytes().trim_ascii_start().starts_with(b"-----BEGIN") => {
            Certificate::all_from_file(text.as_bytes()).map_err(Error::cms(None))?
        }
        Some(text) if paths.is_empty() => {
            let lines =
                text.as_bytes().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            let read = |line| read_certificate(Path::new(std::ffi::OsStr::from_bytes(line)), events);
            lines.map(read).collect::<Result<_>>()?
        }
        _ => paths.iter().map(|path| read_certificate(path, events)).collect::<Result<_>>()?,
    };
    Recipients::new(certificates).map_err(Error::cms(None))
}

pub(super) fn read_certificate(path: &Path, events: &dyn Events) -> Result<Certificate> {
    let contents = files::read_key_file(path)?;
    let certificate = Certificate::from_file(&contents).map_err(Error::cms(Some(path)))?;
    if holds_private_key(&contents) {
        events.warn(Warning::PrivateKeyAmongRecipients(path.to_path_buf()));
    }
    Ok(certificate)
}

/// Whether a private key stands in a PEM file, of whatever kind.
pub(super) fn holds_private_key(contents: &[u8]) -> bool {
    contents.windows(b"PRIVATE KEY-----".len()).any(|window| window == b"PRIVATE KEY-----")
}
