//! `inspect`: what a message is, without a key.

use cms::Inspection;
use offsite_cms as cms;

use crate::error::{Error, Result};
use crate::events::Events;
use crate::files::{self, Place};

/// Describes the message in `input`.
///
/// # Errors
///
/// [`Error::Cms`] where not even its first header can be read.
pub fn inspect(input: &Place, events: &dyn Events) -> Result<Inspection> {
    let (source, _) = files::open_input(input)?;
    cms::inspect(source, &|bytes| events.progress(bytes)).map_err(Error::cms(input.path()))
}
