//! What `verify` finds.

use std::fmt;

use time::OffsetDateTime;

use crate::damage::Damage;
use crate::error::SignerDates;
use crate::names::{BackupId, HostName, SetName};
use crate::receipt::rfc_3339;

/// Something that is wrong in a store.
#[derive(Debug)]
pub struct Finding {
    /// Of which host and set; None for an object that is of none.
    pub of: Option<(HostName, SetName)>,
    /// What is wrong.
    pub what: What,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An object's name says whose it is.
        match (&self.of, &self.what) {
            (Some((host, set)), what) if !matches!(what, What::Object { .. }) => write!(f, "{host}/{set}: {what}"),
            (_, what) => what.fmt(f),
        }
    }
}

/// What is wrong in a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum What {
    /// An object is not what it must be.
    #[error("{damage}{}{}", and_others(*.others), needed_by(.backups))]
    Object {
        /// Which, and why.
        damage: Damage,
        /// So many others of the same run are wrong in the same way.
        others: u64,
        /// The backups that need any of them, ascending; none for what is wrong with a receipt.
        backups: Vec<BackupId>,
    },
    /// A receipt names one before it that is not there.
    #[error("the receipt of {missing} is gone, which that of {next} follows")]
    ReceiptMissing {
        /// The backup whose receipt is missing.
        missing: BackupId,
        /// The one after it.
        next: BackupId,
    },
    /// A receipt names one before it, and there lies another.
    #[error("the receipt of {backup} is not the one that that of {next} follows")]
    ReceiptReplaced {
        /// The backup whose receipt is another.
        backup: BackupId,
        /// The one after it.
        next: BackupId,
    },
    /// Several receipts follow the same one: their host went on from an earlier state, or there are two of it.
    #[error("several receipts follow that of {previous}: {}", listed(.next))]
    Forked {
        /// The backup that they follow.
        previous: BackupId,
        /// The backups that follow it, ascending.
        next: Vec<BackupId>,
    },
    /// Several signers signed backups of one set, and no pin says which to trust.
    #[error("the backups are of several signers: {}", listed(.0))]
    SeveralSigners(Vec<SignerDates>),
    /// There is no backup that is new enough.
    #[error("{}", too_old(*.0))]
    TooOld(Option<OffsetDateTime>),
}

fn listed<T: ToString>(of: &[T]) -> String {
    of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn and_others(others: u64) -> String {
    if others == 0 { String::new() } else { format!(", and so it is with {others} more of this run") }
}

fn needed_by(backups: &[BackupId]) -> String {
    match backups {
        [] => String::new(),
        [one] => format!("; backup {one} needs it"),
        [first, .., last] => format!("; {} backups from {first} to {last} need it", backups.len()),
    }
}

fn too_old(latest: Option<OffsetDateTime>) -> String {
    match latest {
        None => "there is no backup that counts".to_owned(),
        Some(latest) => format!("the latest backup is of {}", rfc_3339(latest)),
    }
}
