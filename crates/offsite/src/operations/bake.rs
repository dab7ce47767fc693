//! `bake`: a copy of the program with recipients, a store and options in it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use cms::Recipients;
use offsite_cms as cms;
use time::OffsetDateTime;

use crate::baked::{self, Area, Settings};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::files::{self, Output, Place};
use crate::operations::encrypt::warn_of_validity;
use crate::operations::keys::{holds_private_key, read_certificate};
use crate::store::Location;

/// Longest binary that is copied, in bytes: it is held in memory. Ours has some 20 MiB.
const BINARY: usize = 256 << 20;

/// What to bake, and into what.
pub struct Bake<'a> {
    /// The file of the program that is running.
    pub program: &'a Path,
    /// The area in it, as the program has it in memory.
    pub area: &'a Area,
    /// Files of the recipients' certificates.
    pub recipients: &'a [PathBuf],
    /// Where the store is.
    pub store: Option<&'a str>,
    /// The values of options, by their names.
    pub options: BTreeMap<String, Vec<String>>,
    /// Where the copy goes.
    pub output: &'a Place,
    /// Whether an existing file is replaced.
    pub replace: bool,
    /// The time, for the certificates' validity.
    pub now: OffsetDateTime,
}

/// Writes the copy. What the program itself has baked in is not taken over.
///
/// # Errors
///
/// [`Error::PrivateKeyToBake`], [`Error::RelativeStore`] for what does not belong into a binary;
/// [`Error::NoArea`] where the program's file is not the one that runs; [`Error::Baked`] where there is too
/// much; [`Error::Cms`], [`Error::File`], [`Error::Exists`].
pub fn bake(what: &Bake<'_>, events: &dyn Events) -> Result<()> {
    // A damaged area is a sign of a damaged binary, which nobody should spread.
    Settings::read(what.area)?;
    let settings = settings(what, events)?;
    let area = settings.write(what.area)?;
    let mut binary = files::read_at_most(what.program, BINARY)?;
    let place = baked::place_in(&binary, what.area).ok_or_else(|| Error::NoArea(what.program.to_path_buf()))?;
    binary[place..place + area.len()].copy_from_slice(&area);
    let mut output = Output::create(what.output, what.replace)?;
    output.make_executable();
    let path = output.path().to_path_buf();
    output.write_all(&binary).map_err(Error::file("write", &path))?;
    output.finish()
}

fn settings(what: &Bake<'_>, events: &dyn Events) -> Result<Settings> {
    let mut recipients = Vec::new();
    for path in what.recipients {
        if holds_private_key(&files::read_key_file(path)?) {
            return Err(Error::PrivateKeyToBake(path.clone()));
        }
        recipients.push(read_certificate(path, events)?);
    }
    if !recipients.is_empty() {
        // No two alike, and not too many.
        let recipients = Recipients::new(recipients.clone()).map_err(Error::cms(None))?;
        warn_of_validity(&recipients, what.now, events);
    }
    if let Some(store) = what.store {
        // No location holds a secret, or it would not be one.
        match Location::parse(store.as_ref())? {
            Location::Directory(path) if path.is_relative() => return Err(Error::RelativeStore(path)),
            _ => {}
        }
    }
    Ok(Settings { recipients, store: what.store.map(str::to_owned), options: what.options.clone() })
}
