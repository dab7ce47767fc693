//! What is wrong with what lies in a store: damaged, lost, or put there by somebody else. Told
//! apart from a store that cannot be reached, and from a private key that is the wrong one.

use std::io;

use offsite_cms as cms;
use time::OffsetDateTime;

use crate::hashes::Fingerprint;
use crate::names::ObjectName;
use crate::receipt::{self, rfc_3339};
use crate::{checksums, index, plan};

/// An object is not what it must be.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct Damage {
    /// The object.
    pub object: ObjectName,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A receipt lists it, and it is not there.
    #[error("it is not in the store")]
    Missing,
    /// A link, folder or device has its name.
    #[error("something that is no object lies there")]
    NotAnObject,
    /// The medium is bad, most likely.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is not as long as it is listed.
    #[error("it is {found} bytes long, not {expected}")]
    Size {
        /// Its length in bytes.
        found: u64,
        /// The length that is listed, in bytes.
        expected: u64,
    },
    /// It is longer than it is listed, or than such an object can be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// Its bytes are not those that are listed.
    #[error("its SHA-256 is not the one that the receipt vouches for")]
    Hash,

    /// It lies among the receipts under a name that none has.
    #[error("it lies among the receipts, and is not named as one")]
    NotAReceipt,
    /// It is no receipt, or not this backup's.
    #[error("{0}")]
    Receipt(#[source] receipt::Error),
    /// It says that it is of a time that had not come when it was stored.
    #[error("its time is {}, more than a day after it was stored, {}", rfc_3339(*.signed), rfc_3339(*.stored))]
    Future {
        /// The time that it is signed with.
        signed: OffsetDateTime,
        /// When the store says that it was put.
        stored: OffsetDateTime,
    },
    /// It is of a time to come, and the store says so, too.
    #[error("its time, {}, has yet to come", rfc_3339(*.0))]
    Ahead(OffsetDateTime),
    /// Somebody deleted it, and the store keeps what was there.
    #[error("somebody deleted it; the store keeps it nevertheless")]
    Hidden,
    /// There are versions of it that somebody else put.
    #[error("something else was put under its name; the oldest version is used")]
    Rewritten,
    /// It is signed by somebody who is not trusted for this host.
    #[error("its signer is not trusted for this host: {0}")]
    NotPinned(Fingerprint),

    /// It is not the message that must lie there, though it is the one that is listed.
    #[error("{0}")]
    Message(#[source] cms::Error),
    /// It is not the slice that must lie there, though it is the one that is listed.
    #[error("{0}")]
    Slice(#[source] cms::SliceProblem),
    /// It is of another backup, though it is the one that is listed.
    #[error("it is of {0}")]
    OtherBackup(String),
    /// It is of a stream where the receipt is of files, or the other way round.
    #[error("it is of a stream where the receipt is of files, or the other way round")]
    OtherShape,
    /// Its plaintext is not zstd as this format has it.
    #[error("its plaintext does not decompress: {0}")]
    Compression(#[source] io::Error),
    /// The index in it is wrong.
    #[error("{0}")]
    Index(#[source] index::Error),
    /// The plan in it is wrong.
    #[error("{0}")]
    Plan(#[source] plan::Error),
    /// It is no list of slices.
    #[error("{0}")]
    Checksums(#[source] checksums::Error),
    /// It does not list slices that the receipt needs.
    #[error("it does not list slice {0}, which the receipt needs")]
    SliceNotListed(u32),
    /// It does not list the slices that the receipt counts.
    #[error("it lists {found} slices of {found_bytes} bytes, the receipt {expected} of {expected_bytes}")]
    SliceCount {
        /// How many it lists.
        found: u64,
        /// Their size in all.
        found_bytes: u64,
        /// How many there must be.
        expected: u64,
        /// Their size in all.
        expected_bytes: u64,
    },
    /// The index needs a slice that the receipt does not list.
    #[error("the backup needs it, and the receipt does not list it")]
    NotInReceipt,
}
