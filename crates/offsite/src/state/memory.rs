//! What is known of the last backup: its entries, what they lie in, and what a delta can be based on.

use std::io;
use std::path::{Path, PathBuf};

use super::blocks;
use super::entries::{self, Record};
use super::last::{self, Last};
use super::tables::Tables;
use crate::error::{Error, Result};
use crate::files;

/// What is known of the last backup.
pub struct Memory {
    /// The backup as a whole.
    pub last: Last,
    /// What its entries lie in.
    pub tables: Tables,
    entries: PathBuf,
}

/// What there is in a state.
pub enum Recalled {
    /// Nothing is known of a last backup.
    Nothing,
    /// What is known is not what was written.
    Damaged,
    /// What is known.
    Memory(Box<Memory>),
}

impl Recalled {
    /// Reads what is known, and all of it once, so that what is damaged is noticed before it is used.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where it cannot be read.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("last");
        let text = match files::read_at_most(&path, last::LONGEST) {
            Ok(text) => text,
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(Error::TooLong { .. }) => return Ok(Self::Damaged),
            Err(error) => return Err(error),
        };
        let memory = last::parse::<Last>(&text).and_then(|last| {
            let folder = folder.join(&last.folder);
            let memory = Memory { tables: Tables::open(&folder, &last)?, entries: folder.join("entries"), last };
            let mut blocks = blocks::Reader::open(&memory.entries, memory.last.entries)?;
            while blocks.next()?.is_some() {}
            Ok(memory)
        });
        match memory {
            Ok(memory) => Ok(Self::Memory(Box::new(memory))),
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => {
                    Ok(Self::Damaged)
                }
                _ => Err(Error::file("read", folder)(error)),
            },
        }
    }
}

impl Memory {
    /// The entries, in the order of the walk.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn entries(&self) -> Result<Entries> {
        let blocks = blocks::Reader::open(&self.entries, self.last.entries);
        let reader = blocks.map(entries::Reader::new).map_err(Error::file("read", &self.entries))?;
        Ok(Entries { reader, path: self.entries.clone() })
    }
}

/// The entries of the last backup.
pub struct Entries {
    reader: entries::Reader,
    path: PathBuf,
}

impl Entries {
    /// The next record; None after the last.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        self.reader.next().map_err(Error::file("read", &self.path))
    }
}
