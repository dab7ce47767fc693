//! Opening what a backup's receipt lists.

use std::io;

use offsite_cms::{Certificate, PrivateKey};

use super::find::Found;
use super::objects;
use super::sample::Sample;
use super::slices::SliceReader;
use super::stream::{Plaintext, Text};
use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::hashes::Hashed;
use crate::index::{self, History, Merge};
use crate::names::{BackupFile, BackupId, BackupName};
use crate::plan::{self, Shape};
use crate::receipt::{self, Given, Receipt};
use crate::store;

/// A backup that is trusted, and a private key to open it with.
pub struct Backup<'a> {
    store: &'a dyn store::Read,
    key: &'a PrivateKey,
    name: BackupName,
    receipt: Receipt,
}

impl<'a> Backup<'a> {
    /// Reads the backup's receipt once more, which must be the one that was found.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`], [`Error::Store`].
    pub fn open(store: &'a dyn store::Read, key: &'a PrivateKey, found: &Found) -> Result<Self> {
        let name = found.name.clone();
        let object = name.receipt();
        let message = objects::get(store, &object, found.receipt)?;
        let receipt = receipt::open(&message, &name.host, &name.set, name.backup);
        let receipt = receipt.map_err(|error| Damage { object, problem: Problem::Receipt(error) })?;
        Ok(Self { store, key, name, receipt })
    }

    /// Host, set and id.
    #[must_use]
    pub fn name(&self) -> &BackupName {
        &self.name
    }

    /// What it consists of.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// What it holds: its own index and those that this one builds on, as one. Memory: an object of
    /// each, and its [`Plaintext`]'s.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`], [`Error::WrongKey`], [`Error::Store`].
    pub fn index(&self) -> Result<Merge<Plaintext<'a>>> {
        let readers = self.indexes().map_err(|broken| *broken.error)?;
        Merge::new(readers).map_err(|error| self.index_error(error))
    }

    /// What became of each path in the backups that this one builds on, and in this one: the last level. Memory: as
    /// [`Self::index`].
    pub(in crate::operations) fn history(&self) -> Result<History<Plaintext<'a>>, Broken> {
        History::new(self.indexes()?).map_err(|error| self.broken(error))
    }

    /// The same of what reading [`Self::history`] has found wrong.
    pub(in crate::operations) fn broken(&self, error: index::Error) -> Broken {
        Broken { backup: error.backup.unwrap_or(self.name.backup), error: self.index_error(error).into() }
    }

    fn indexes(&self) -> Result<Vec<index::Reader<Plaintext<'a>>>, Broken> {
        let open =
            |(backup, objects)| self.one_index(backup, objects).map_err(|error| Broken { backup, error: error.into() });
        index_chain(&self.receipt).into_iter().map(open).collect()
    }

    /// The index of this backup, or of one in its chain.
    fn one_index(&self, backup: BackupId, objects: Vec<Hashed>) -> Result<index::Reader<Plaintext<'a>>> {
        let name = self.name.sibling(backup);
        let object = name.file(BackupFile::Index(0));
        let text = Plaintext::new(self.store, self.key, name.clone(), Text::Index, objects)?;
        let reader = index::Reader::new(text).map_err(|error| self.index_error_of(backup, error))?;
        let title = &reader.head().title;
        let of = BackupName { host: title.host.clone(), set: title.set.clone(), backup: title.backup };
        let given_files = self.receipt.given == Given::Files;
        let problem = if of != name {
            Some(Problem::OtherBackup(of.to_string()))
        } else if (title.shape == Shape::Tar) != given_files {
            Some(Problem::OtherShape)
        } else {
            None
        };
        problem.map_or(Ok(reader), |problem| Err(Damage { object, problem }.into()))
    }

    /// The plan's text. That it is this backup's shows when it is compared with the one that follows
    /// from the index.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`], [`Error::WrongKey`], [`Error::Store`].
    pub fn plan(&self) -> Result<Plaintext<'a>> {
        let objects = self.objects(|file| matches!(file, BackupFile::Plan(_)));
        Plaintext::new(self.store, self.key, self.name.clone(), Text::Plan, objects)
    }

    /// The slices that the backup needs. Gets the lists of all of them first.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`], [`Error::Store`].
    pub fn slices(&self) -> Result<SliceReader<'a>> {
        SliceReader::new(self.store, self.key, &self.name, &self.receipt)
    }

    /// The first object of each index that the backup builds on, of its own, and of its plan.
    pub(in crate::operations) fn samples_of_texts(&self) -> Vec<Sample> {
        let chain = self.receipt.index_chain.chunk_by(|one, other| one.backup == other.backup);
        let mut samples: Vec<_> = chain
            .map(|objects| {
                Sample::of_text(self.name.sibling(objects[0].backup), Text::Index, objects[0].contents, objects.len())
            })
            .collect();
        let own = [
            (Text::Index, self.objects(|file| matches!(file, BackupFile::Index(_)))),
            (Text::Plan, self.objects(|file| matches!(file, BackupFile::Plan(_)))),
        ];
        for (text, objects) in own {
            samples
                .extend(objects.first().map(|first| Sample::of_text(self.name.clone(), text, *first, objects.len())));
        }
        samples
    }

    /// A slice of each run of which the backup needs any, the shortest. Gets the lists of all of them first.
    ///
    /// # Errors
    ///
    /// As [`Self::slices`].
    pub(in crate::operations) fn samples_of_slices(&self) -> Result<Vec<Sample>> {
        let slices = self.slices()?;
        Ok(slices.shortest().map(|slice| Sample::of_slice(self.name.sibling(slice.name.backup), &slice)).collect())
    }

    /// The certificates of those whom everything was sealed to, as far as they can be read.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`], [`Error::Store`].
    pub fn recipients(&self) -> Result<Vec<Certificate>> {
        let file = BackupFile::Recipients;
        let Some(contents) = self.objects(|file| file == BackupFile::Recipients).pop() else { return Ok(Vec::new()) };
        let pem = objects::get(self.store, &self.name.file(file), contents)?;
        // The receipt has their fingerprints; this only names them.
        Ok(Certificate::all_from_file(&pem).unwrap_or_default())
    }

    /// What the backup's own objects of a kind must be, in order.
    fn objects(&self, is: fn(BackupFile) -> bool) -> Vec<Hashed> {
        let objects = self.receipt.objects.iter().filter(|object| is(object.file));
        objects.map(|object| object.contents).collect()
    }

    /// An error of [`Self::index`]'s rows, by blame.
    #[must_use]
    pub fn index_error(&self, error: index::Error) -> Error {
        self.index_error_of(error.backup.unwrap_or(self.name.backup), error)
    }

    fn index_error_of(&self, backup: BackupId, error: index::Error) -> Error {
        let object = self.name.sibling(backup).file(BackupFile::Index(0));
        match error.problem {
            index::Problem::Read(source) => {
                ours(source, |source| Damage { object, problem: Problem::Unreadable(source) })
            }
            _ => Damage { object, problem: Problem::Index(error) }.into(),
        }
    }

    /// An error of reading [`Self::plan`], by blame.
    #[must_use]
    pub fn plan_unreadable(&self, source: io::Error) -> Error {
        let object = self.name.file(BackupFile::Plan(0));
        ours(source, |source| Damage { object, problem: Problem::Unreadable(source) })
    }

    /// An error of [`Self::plan`]'s lines, by blame.
    #[must_use]
    pub fn plan_error(&self, error: plan::Error) -> Error {
        let object = self.name.file(BackupFile::Plan(0));
        match error.problem {
            plan::Problem::Read(source) => self.plan_unreadable(source),
            _ => Damage { object, problem: Problem::Plan(error) }.into(),
        }
    }
}

/// An index of a chain that cannot be used: neither can its backup, nor any that builds on it.
pub(in crate::operations) struct Broken {
    /// The first backup that it concerns.
    pub(in crate::operations) backup: BackupId,
    pub(in crate::operations) error: Box<Error>,
}

/// The backups that the one with this receipt builds on, oldest first, and itself; each with the objects of its index.
pub(in crate::operations) fn index_chain(receipt: &Receipt) -> Vec<(BackupId, Vec<Hashed>)> {
    let chain = receipt.index_chain.chunk_by(|one, other| one.backup == other.backup);
    let chain = chain.map(|objects| (objects[0].backup, objects.iter().map(|object| object.contents).collect()));
    let own = receipt.objects.iter().filter(|object| matches!(object.file, BackupFile::Index(_)));
    chain.chain([(receipt.backup, own.map(|object| object.contents).collect())]).collect()
}

/// The error that [`Plaintext`] put into one of the system's.
fn ours(source: io::Error, else_damage: impl FnOnce(io::Error) -> Damage) -> Error {
    source.downcast().unwrap_or_else(|source| else_damage(source).into())
}
