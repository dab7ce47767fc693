//! `decrypt`: any message that the policy accepts, to a file or a pipe.

use std::num::NonZero;

use cms::{Message, PrivateKey, Totals};
use offsite_cms as cms;

use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::files::{self, Output, Place};

/// What to decrypt, and where to.
pub struct Decrypt<'a> {
    /// The message.
    pub input: &'a Place,
    /// Where the plaintext goes.
    pub output: &'a Place,
    /// Whether an existing file is replaced.
    pub replace: bool,
    /// Whether messages without an integrity check are refused.
    pub strict: bool,
    /// How many slices are worked on at once; two at least.
    pub threads: NonZero<usize>,
}

/// Decrypts with `key`. A file appears only once everything is verified.
///
/// # Errors
///
/// [`Error::Cms`] where the message is damaged, refused, altered or not for this key;
/// [`Error::File`] and [`Error::Exists`] where files cannot be read or written.
pub fn decrypt(what: &Decrypt<'_>, key: &PrivateKey, events: &dyn Events) -> Result<Totals> {
    let failed = Error::cms(what.input.path());
    let (source, _) = files::open_input(what.input)?;
    let message = Message::open(source, key).map_err(&failed)?;
    if !message.is_authenticated() {
        if what.strict {
            return Err(failed(cms::UsageError::Unauthenticated.into()));
        }
        events.warn(Warning::ReadingUnauthenticated);
    }
    let mut output = Output::create(what.output, what.replace)?;
    let spool = || files::nameless_file(what.output.path());
    let totals = message.decrypt(&mut output, &spool, what.threads, &|bytes| events.progress(bytes));
    let totals = totals.map_err(|error| match error {
        cms::Error::Write(source) => Error::file("write", output.path())(source),
        error => failed(error),
    })?;
    output.finish()?;
    Ok(totals)
}
