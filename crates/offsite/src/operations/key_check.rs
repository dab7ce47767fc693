//! `key check`: what a private key's file holds, and whether the key opens a message. Whether it opens backups is
//! asked of a [drill](super::drill).

use std::io::{self, Write};
use std::num::NonZero;
use std::path::Path;

use cms::{Certificate, KeyFile, Message, PrivateKey};
use offsite_cms as cms;

use crate::error::{Error, Result};
use crate::files::{self, Place};

/// What a private key's file holds, as far as it shows without a passphrase.
#[derive(Clone, Debug)]
pub struct KeyFileView {
    /// The key's format, for people.
    pub form: &'static str,
    /// How a passphrase protects the key, for people; None where none does.
    pub protection: Option<String>,
    /// The certificates, whosever they are.
    pub certificates: Vec<Certificate>,
}

/// Describes a private key's file.
///
/// # Errors
///
/// [`Error::File`], [`Error::Cms`].
pub fn view_key_file(path: &Path) -> Result<KeyFileView> {
    let failed = Error::cms(Some(path));
    let file = KeyFile::read(&files::read_key_file(path)?).map_err(&failed)?;
    let protection = file.protection().map_err(failed)?;
    Ok(KeyFileView { form: file.form(), protection, certificates: file.certificates().to_vec() })
}

/// What was proven of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The key opens it: the integrity check of its first slice, or of all of it, is right.
    Verified,
    /// The key opens it, and its content has no integrity check that could prove more.
    Unauthenticated,
}

/// Whether a private key opens a message. Of a long stream the first slice is read, of another message all of it;
/// nothing is written.
///
/// # Errors
///
/// [`Error::Cms`] where it does not, or is damaged; [`Error::File`].
pub fn open_message(place: &Place, key: &PrivateKey) -> Result<Proof> {
    let failed = Error::cms(place.path());
    let (input, _) = files::open_input(place)?;
    let message = Message::open(input, key).map_err(&failed)?;
    let authenticated = message.is_authenticated();
    let mut first = First { enough: authenticated, seen: false };
    let spool = || files::nameless_file(None);
    // One slice is all that there is to do.
    match message.decrypt(&mut first, &spool, NonZero::<usize>::MIN, &|_| {}) {
        // What has come out of an authenticated message was verified.
        Err(cms::Error::Write(_)) if first.seen => Ok(Proof::Verified),
        Err(error) => Err(failed(error)),
        Ok(_) if authenticated => Ok(Proof::Verified),
        Ok(_) => Ok(Proof::Unauthenticated),
    }
}

/// An output that keeps nothing, and may have enough of the first piece.
struct First {
    enough: bool,
    seen: bool,
}

impl Write for First {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seen = true;
        if self.enough { Err(io::ErrorKind::Other.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
