//! `drill`: proof that backups can be restored, and by whom.
//!
//! Each drill begins with a sample of every stream that the backup consists of: of each run of which it needs
//! slices the shortest one, of each index and of the plan the first object. Every key must open all of them. Since
//! the RecipientInfos are the same in all objects of a stream, a key that does can open the others. That
//! takes seconds, and is all of a quick drill; a full one then restores the backup by the first such key, into
//! nothing or into a folder, which also shows that everything is there and right.

mod counted;
mod failure;
mod heard;

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use offsite_cms::{Certificate, PrivateKey};

use crate::archive::unpack::Existing;
use crate::error::{Error, Result};
use crate::hashes::Fingerprint;
use crate::names::{HostName, SetName};
use crate::operations::backups::{self, Backup, Found, Sample, Scope, Which};
use crate::operations::restore::{self, Restore, Restored, To, Watch, restore_backup};
use crate::pins::Pins;
use crate::store;
use counted::Counted;
use heard::{Heard, Told};

pub use failure::{Blame, Failure, Failures, Lost};

/// A set, and which of its backups is to be drilled.
#[derive(Debug)]
pub struct Candidate {
    /// The host.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// The backup; None where none of the set's can be trusted.
    pub found: Option<Found>,
    /// What is wrong with the set's receipts.
    pub failures: Failures,
}

/// What there is to drill.
#[derive(Debug)]
pub struct Candidates {
    /// The sets, by host and set.
    pub sets: Vec<Candidate>,
    /// What lies among the receipts and is of no set.
    pub strays: Failures,
}

/// Decides for a backup of each set in the scope, as [`backups::choose`]; where one is named, there must be
/// only one set.
///
/// # Errors
///
/// [`Error::NoBackup`], [`Error::NoSuchBackup`], [`Error::Ambiguous`], [`Error::Store`].
pub fn candidates(store: &dyn store::Read, scope: &Scope, which: Which, pins: &Pins) -> Result<Candidates> {
    let mut strays = Failures::default();
    let listings = backups::listings(store, scope, &mut |stray| strays.add((&stray).into()))?;
    if listings.is_empty() {
        return Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() });
    }
    if let Which::Id(_) = which {
        backups::one_set(&listings, scope)?;
    }
    let sets = backups::by_set(&listings).map(|listings| candidate(store, listings, which, pins));
    Ok(Candidates { sets: sets.collect::<Result<_>>()?, strays })
}

fn candidate(store: &dyn store::Read, listings: &[backups::Listing], which: Which, pins: &Pins) -> Result<Candidate> {
    let name = listings[0].name.clone();
    let told = Told::default();
    let chosen = backups::choose_of_set(store, listings, which, pins, &told);
    let mut failures = told.into_failures();
    let found = match chosen {
        Ok(found) => Some(found),
        Err(error @ (Error::Store(_) | Error::NoSuchBackup(_))) => return Err(error),
        Err(error) => {
            failures.add((&error).into());
            None
        }
    };
    Ok(Candidate { host: name.host, set: name.set, found, failures })
}

/// A private key, and what it is called.
#[derive(Debug)]
pub struct Key {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The key.
    pub private: PrivateKey,
}

/// How much is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<'a> {
    /// That the keys open the backup's plan, and no more: what it builds on is not looked at.
    Plan,
    /// That the keys open the backup.
    Quick,
    /// That all of it can be restored: everything is read and checked, and nothing written.
    Full,
    /// The same, by restoring it into the folder HOST/SET in this one, which is there.
    Into(&'a Path),
}

/// What to prove, and by which keys.
pub struct Drill<'a> {
    /// The store.
    pub store: &'a dyn store::Read,
    /// The keys, at least one: each must open everything.
    pub keys: &'a [Key],
    /// How much.
    pub extent: Extent<'a>,
    /// A folder for temporary files.
    pub folder: &'a Path,
    /// How many threads decompress and write.
    pub threads: NonZero<usize>,
}

/// What was proven of a backup, and what was not.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Drilled {
    /// Whether each of the keys has opened a sample of everything.
    pub opened: Vec<bool>,
    /// Whom the backup is sealed to, as its receipt has them.
    pub recipients: Vec<Recipient>,
    /// What has been restored, by which of the keys; None where nothing has, or not to its end.
    pub restored: Option<(usize, Restored)>,
    /// How many bytes its tar or stream has, as far as the restore got; what was lost is among them.
    pub bytes: u64,
    /// How many objects were got from the store.
    pub objects: u64,
    /// Their length.
    pub stored_bytes: u64,
    /// How many things could not be made or set in the folder, though all data are right.
    pub problems: u64,
    /// Whether the store could not be reached in the end: other backups would fare no better.
    pub outage: bool,
    /// Why it is not proven that this backup can be restored by all the keys. None where it is.
    pub failures: Failures,
}

/// Somebody whom a backup is sealed to.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Of the certificate.
    pub fingerprint: Fingerprint,
    /// The certificate, where the store or a key's file has it.
    pub certificate: Option<Certificate>,
    /// Which of the keys is this recipient's, if any.
    pub key: Option<usize>,
    /// Whether that key has opened a sample of everything.
    pub proven: bool,
}

/// Drills a backup. Whatever goes wrong is a failure of it.
#[must_use]
pub fn drill(what: &Drill<'_>, found: &Found, watch: &dyn Watch) -> Drilled {
    let (store, heard) = (Counted::new(what.store), Heard::new(watch));
    let mut drilled = Drilled { opened: vec![false; what.keys.len()], ..Drilled::default() };
    let ended = Run { what, store: &store, heard: &heard, found }.all(&mut drilled);
    drilled.bytes = heard.bytes();
    drilled.problems = heard.problems();
    drilled.failures.append(heard.into_failures());
    if let Err(error) = ended {
        drilled.outage = error.is_outage();
        drilled.failures.add((&error).into());
    }
    (drilled.objects, drilled.stored_bytes) = (store.objects(), store.bytes());
    drilled
}

/// The drill of one backup.
struct Run<'a> {
    what: &'a Drill<'a>,
    store: &'a Counted<'a>,
    heard: &'a Heard<'a>,
    found: &'a Found,
}

/// What came of the samples.
struct Proof {
    /// Whether there was each of them, as it must be.
    whole: bool,
    /// Of each key whether there was one that it does not open.
    refused: Vec<bool>,
}

impl Run<'_> {
    fn all(&self, drilled: &mut Drilled) -> restore::Result<()> {
        let Some(first) = self.what.keys.first() else { return Ok(()) };
        let backup = Backup::open(self.store, &first.private, self.found)?;
        // For whom it is, and that nothing is proven, should it end early.
        drilled.recipients = self.recipients(&backup, &[], &drilled.opened);
        let certificates = drilled.failures.unless_outage(backup.recipients())?.unwrap_or_default();
        let proof = self.sample(&backup, &mut drilled.failures)?;
        drilled.opened = proof.refused.iter().map(|refused| proof.whole && !refused).collect();
        drilled.recipients = self.recipients(&backup, &certificates, &drilled.opened);
        // Where something is damaged no key is proven, but what is whole may be restored all the same.
        if let Some(able) = proof.refused.iter().position(|refused| !refused) {
            drilled.restored = self.restore(&self.what.keys[able])?.map(|restored| (able, restored));
        }
        Ok(())
    }

    /// Opens one object of each stream by every key.
    fn sample(&self, backup: &Backup<'_>, failures: &mut Failures) -> Result<Proof> {
        let mut proof = Proof { whole: true, refused: vec![false; self.what.keys.len()] };
        let mut samples = backup.samples_of_texts();
        if self.what.extent == Extent::Plan {
            samples.drain(..samples.len().saturating_sub(1));
            return self.open_all(&samples, proof, failures);
        }
        match failures.unless_outage(backup.samples_of_slices())? {
            Some(of_slices) => samples.extend(of_slices),
            None => proof.whole = false,
        }
        self.open_all(&samples, proof, failures)
    }

    fn open_all(&self, samples: &[Sample], mut proof: Proof, failures: &mut Failures) -> Result<Proof> {
        for sample in samples {
            match failures.unless_outage(sample.get(self.store))? {
                Some(bytes) => self.open(sample, &bytes, &mut proof, failures)?,
                None => proof.whole = false,
            }
        }
        Ok(proof)
    }

    /// Opens an object by every key that has not failed yet.
    fn open(&self, sample: &Sample, bytes: &[u8], proof: &mut Proof, failures: &mut Failures) -> Result<()> {
        for (key, refused) in self.what.keys.iter().zip(&mut proof.refused).filter(|(_, refused)| !**refused) {
            match sample.open(bytes.to_vec(), &key.private) {
                Err(error @ Error::WrongKey { .. }) => {
                    *refused = true;
                    failures.add(Failure::of_key(&key.path, &error));
                }
                opened => proof.whole &= failures.unless_outage(opened)?.is_some(),
            }
        }
        Ok(())
    }

    /// The receipt's recipients, with what is known of them.
    fn recipients(&self, backup: &Backup<'_>, certificates: &[Certificate], opened: &[bool]) -> Vec<Recipient> {
        let keys = self.what.keys;
        let of_keys = keys.iter().flat_map(|key| key.private.certificates());
        let known: Vec<&Certificate> = certificates.iter().chain(of_keys).collect();
        let recipient = |fingerprint: &Fingerprint| {
            let certificate = known.iter().find(|certificate| Fingerprint::of(certificate) == *fingerprint);
            let key = certificate.and_then(|certificate| keys.iter().position(|key| key.private.is_of(certificate)));
            let proven = key.is_some_and(|key| opened[key]);
            Recipient { fingerprint: *fingerprint, certificate: certificate.map(|known| (*known).clone()), key, proven }
        };
        backup.receipt().recipients.iter().map(recipient).collect()
    }

    /// Restores all of the backup, unless the drill is a quick one. What is lost is passed over.
    fn restore(&self, key: &Key) -> restore::Result<Option<Restored>> {
        let target = match self.what.extent {
            Extent::Plan | Extent::Quick => return Ok(None),
            Extent::Full => None,
            Extent::Into(folder) => Some(self.target(folder)?),
        };
        let to = match &target {
            None => To::Nothing,
            Some(path) => To::Folder { path, existing: Existing::Refuse },
        };
        let backup = Backup::open(self.store, &key.private, self.found)?;
        let Drill { folder, threads, .. } = *self.what;
        let what = Restore { paths: &[], keep_going: true, folder, threads };
        restore_backup(&what, to, &backup, self.heard).map(Some)
    }

    /// `HOST/SET` in the folder, of which `SET` is yet to be made.
    fn target(&self, folder: &Path) -> Result<PathBuf> {
        let host = folder.join(self.found.name.host.as_str());
        match fs::create_dir(&host) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::file("make", &host)(error)),
            _ => Ok(host.join(self.found.name.set.as_str())),
        }
    }
}
