//! The receipt: what a backup consists of, signed by its host and written last, so that a backup
//! exists if and only if its receipt does (format.md §14). `verify` checks and `prune` keeps exactly
//! what receipts list; neither needs a key.
//!
//! There is one encoding of each receipt. A reader encodes anew what it has read and compares, so
//! nothing can stand in a receipt that is not checked.

mod check;
mod encode;
mod error;
mod parse;

use std::fmt;
use std::str::FromStr;

use offsite_cms::Certificate;
use offsite_cms::signed_data::{self, SigningKey};
use time::OffsetDateTime;

use crate::hashes::{Fingerprint, Hashed, Sha256};
use crate::names::{BackupFile, BackupId, HostName, SetName};

pub use check::limits;
pub use encode::rfc_3339;
pub use error::{Error, Problem, Result, TimeProblem};

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The host that was backed up.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// The backup, and with it when it started.
    pub backup: BackupId,
    /// When it ended; fractions of a second are not written.
    pub end: OffsetDateTime,
    /// The program that wrote it, and its version.
    pub program: String,
    /// What was backed up.
    pub given: Given,
    /// How much was backed up.
    pub counts: Counts,
    /// The receipt before this one in the chain.
    pub previous: Previous,
    /// Receipts between that one and this of which it is not known whether they reached the store,
    /// by ascending id.
    pub unconfirmed: Vec<Link>,
    /// No object that the backup needs is older than that, in seconds.
    pub reuse_for: u64,
    /// Whom everything was sealed to, in ascending order.
    pub recipients: Vec<Fingerprint>,
    /// How many slices the run itself put.
    pub slices: u64,
    /// How many bytes these slices have.
    pub slice_bytes: u64,
    /// What else the run put, but for this receipt, in the order of [`BackupFile`].
    pub objects: Vec<Object>,
    /// The indexes of earlier backups that this one's index is based on: first a full one, and so
    /// on to the last; each with all of its objects. Empty where this one's is full.
    pub index_chain: Vec<ChainObject>,
    /// Earlier runs of which slices are needed, by ascending id.
    pub runs: Vec<Run>,
    /// The certificate of whoever signed it.
    pub signer: Certificate,
}

/// How much was backed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files, each name of a hard-linked one; 1 for a stream.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Everything else: links, devices and so on.
    pub others: u64,
    /// Contents of regular files, of a hard-linked one once, or of the stream; in bytes.
    pub bytes: u64,
    /// Entries that could not be read.
    pub errors: u64,
}

/// Another receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its backup.
    pub backup: BackupId,
    /// SHA-256 of the receipt as it is stored, signature and all.
    pub sha256: Sha256,
}

/// The receipt before this one in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// This one.
    Receipt(Link),
    /// None is known.
    None(NoPrevious),
}

/// An object that the run put, beside its slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in the backup's folder.
    pub file: BackupFile,
    /// What it must be.
    pub contents: Hashed,
}

/// An object of an earlier backup's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainObject {
    /// The backup.
    pub backup: BackupId,
    /// The number in its name: [`BackupFile::Index`].
    pub number: u32,
    /// What it must be.
    pub contents: Hashed,
}

/// An earlier run of which slices are needed. It may have been killed, and have no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The run's id as a backup.
    pub backup: BackupId,
    /// Its `slices.sha256`.
    pub checksums: Hashed,
    /// The slices needed, ascending, with a gap between each two ranges.
    pub slices: Vec<SliceRange>,
    /// Whom its slices are sealed to beside all of the backup's recipients, in ascending order.
    pub other_recipients: Vec<Fingerprint>,
}

/// Some consecutive slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRange {
    /// The first one's number.
    pub first: u32,
    /// The last one's.
    pub last: u32,
}

impl SliceRange {
    /// The ranges of these numbers, which ascend; one may come several times.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some(range) if number <= range.last.saturating_add(1) => range.last = range.last.max(number),
                _ => ranges.push(Self { first: number, last: number }),
            }
        }
        ranges
    }

    /// Whether a number is in any of these ranges, which ascend.
    #[must_use]
    pub fn hold(ranges: &[Self], number: u32) -> bool {
        let after = ranges.partition_point(|range| range.last < number);
        ranges.get(after).is_some_and(|range| range.first <= number)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word,)*
                })
            }
        }

        impl FromStr for $name {
            type Err = Problem;

            fn from_str(word: &str) -> Result<Self, Problem> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Problem::Form),
                }
            }
        }
    };
}

words! {
    /// What was backed up.
    Given {
        /// Files: the stream is a tar archive.
        Files = "files",
        /// The bytes of standard input.
        Stdin = "stdin",
        /// The bytes that a command wrote.
        Exec = "exec",
    }
}

words! {
    /// Whether everything is in a backup that should be.
    Status {
        /// It is.
        Complete = "complete",
        /// Something could not be read.
        Partial = "partial",
    }
}

words! {
    /// Why the receipt before this one is not known.
    NoPrevious {
        /// The host has no state: this is the set's first backup, or the state was lost.
        NoState = "no-state",
        /// The state is damaged, or of another version of the program.
        UnreadableState = "unreadable-state",
        /// The state is another machine's.
        OtherMachine = "other-machine",
    }
}

impl Receipt {
    /// When the backup started.
    #[must_use]
    pub fn start(&self) -> OffsetDateTime {
        self.backup.start()
    }

    /// Whether everything is in it.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.counts.errors == 0 { Status::Complete } else { Status::Partial }
    }

    /// Bytes that the run put: slices and other objects, but for the receipt.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().fold(self.slice_bytes, |sum, object| sum.saturating_add(object.contents.size))
    }

    /// The JSON text, unsigned.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] or [`Error::Times`]: no reader would take it.
    pub fn encode(&self) -> Result<Vec<u8>> {
        check::check(self)?;
        check::check_times(self)?;
        let mut text = String::new();
        // A String takes everything.
        let _ = encode::encode(self, &mut text);
        Ok(text.into_bytes())
    }

    /// Reads the JSON text: its form, not whether its times are sane. Who wrote it is not known.
    ///
    /// # Errors
    ///
    /// [`Error::Version`], [`Error::Malformed`], [`Error::NotCanonical`], [`Error::Field`].
    pub fn parse(text: &[u8]) -> Result<Self> {
        let receipt = parse::parse(text)?;
        check::check(&receipt)?;
        if let Some(line) = encode::Expected::difference(text, &receipt) {
            return Err(Error::NotCanonical { line });
        }
        Ok(receipt)
    }
}

/// Signs a receipt: the object to be put.
///
/// # Errors
///
/// [`Error::OtherSigner`] where it names another signer, [`Error::Signing`], or as
/// [`Receipt::encode`].
pub fn sign(receipt: &Receipt, key: &SigningKey) -> Result<Vec<u8>> {
    if receipt.signer != *key.certificate() {
        return Err(Error::OtherSigner);
    }
    key.sign(&receipt.encode()?).map_err(Error::Signing)
}

/// Opens the receipt that lies in a store as that of this backup: its signature, its form, that it
/// names the one who signed it, that it is of this backup, and that its times are sane; in this
/// order. Whether that signer may sign for this host is for [pins](crate::pins) to tell.
///
/// # Errors
///
/// [`Error::Signature`]; those of [`Receipt::parse`]; [`Error::OtherSigner`]; [`Error::OtherBackup`];
/// [`Error::Times`].
pub fn open(message: &[u8], host: &HostName, set: &SetName, backup: BackupId) -> Result<Receipt> {
    let signed = signed_data::verify(message).map_err(Error::Signature)?;
    let receipt = Receipt::parse(signed.content)?;
    if receipt.signer != signed.certificate {
        return Err(Error::OtherSigner);
    }
    if (&receipt.host, &receipt.set, receipt.backup) != (host, set, backup) {
        let found = format!("{}/{}/{}", receipt.host, receipt.set, receipt.backup);
        return Err(Error::OtherBackup { found });
    }
    check::check_times(&receipt)?;
    Ok(receipt)
}
