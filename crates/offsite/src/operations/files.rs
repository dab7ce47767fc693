//! `files`: what a backup holds, from its index.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::index::{Entry, Row};
use crate::operations::backups::{Backup, Selection};

/// Hands out the entries that are chosen, in the order of their paths, until `each` breaks. Their
/// places are those of the row alone.
///
/// # Errors
///
/// [`Error::NoSuchPath`] once all others have been handed out; [`Error::Damage`],
/// [`Error::WrongKey`], [`Error::Store`].
pub fn files(
    backup: &Backup<'_>,
    mut selection: Selection,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<()> {
    let mut index = backup.index()?;
    while let Some(row) = index.next_row().map_err(|error| backup.index_error(error))? {
        let Row::Entry(entry) = row else { continue };
        if selection.takes(&entry.path) && each(entry).is_break() {
            return Ok(());
        }
    }
    let missing = selection.not_found();
    if missing.is_empty() { Ok(()) } else { Err(Error::NoSuchPath(missing)) }
}
