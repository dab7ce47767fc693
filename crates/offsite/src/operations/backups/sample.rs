//! One object of a stream of a backup: whoever opens it can open the others. RecipientInfos are the same in all
//! objects of a stream, so the private key has no more to do for any of them.

use cms::{PrivateKey, SliceOpener, SliceProblem, StreamKind};
use offsite_cms as cms;

use super::objects;
use super::stream::Text;
use crate::damage::{Damage, Problem};
use crate::error::Result;
use crate::hashes::Hashed;
use crate::names::{BackupName, ObjectName};
use crate::plan::Slice;
use crate::store;

/// An object that must open.
pub(in crate::operations) struct Sample {
    object: ObjectName,
    contents: Hashed,
    /// The backup in whose folder it lies.
    of: BackupName,
    what: What,
}

enum What {
    /// A slice of this number.
    Slice(u32),
    /// The first object of an index or plan.
    Text { text: Text, only: bool },
}

impl Sample {
    /// The first of so many objects of an index or plan.
    pub(super) fn of_text(of: BackupName, text: Text, contents: Hashed, objects: usize) -> Self {
        let object = of.file(text.file(0));
        Self { object, contents, of, what: What::Text { text, only: objects == 1 } }
    }

    pub(super) fn of_slice(of: BackupName, slice: &Slice) -> Self {
        let object = of.slice(slice.name.number);
        let contents = Hashed { size: slice.size, sha256: slice.sha256.into() };
        Self { object, contents, of, what: What::Slice(slice.name.number) }
    }

    /// Gets it.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`](crate::Error::Damage), [`Error::Store`](crate::Error::Store).
    pub(in crate::operations) fn get(&self, store: &dyn store::Read) -> Result<Vec<u8>> {
        objects::get(store, &self.object, self.contents)
    }

    /// Opens its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKey`](crate::Error::WrongKey), [`Error::Damage`](crate::Error::Damage).
    pub(in crate::operations) fn open(&self, mut bytes: Vec<u8>, key: &PrivateKey) -> Result<()> {
        let context = self.of.to_string();
        let kind = match self.what {
            What::Slice(_) => StreamKind::Slices(&context),
            What::Text { text, .. } => text.kind(&context),
        };
        let opener = SliceOpener::new(&bytes, key, kind).map_err(|error| objects::not_opened(&self.object, error))?;
        let opened = match self.what {
            What::Slice(number) => opener.open_within(number, &mut bytes),
            What::Text { only, .. } => opener.open_in_stream(0, only, &mut bytes),
        };
        let damage = |problem: SliceProblem| Damage { object: self.object.clone(), problem: Problem::Slice(problem) };
        opened.map(drop).map_err(|problem| damage(problem).into())
    }
}
