//! What `verify` finds.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use crate::damage::{Damage, Problem};
use crate::error::SignerDates;
use crate::hashes::{Fingerprint, Sha256};
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

impl Finding {
    /// What tells it from others, in one run as in the next.
    #[must_use]
    pub fn id(&self) -> FindingId {
        FindingId::of(self.of.as_ref(), &self.what)
    }
}

/// What tells a finding from others: the first 48 bits of a SHA-256, as twelve hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FindingId([u8; 6]);

impl FindingId {
    /// That of what is wrong with a set. What changes with the next backup does not count: which is the latest, how
    /// many objects are wrong in the same way, and who needs them.
    pub(super) fn of(of: Option<&(HostName, SetName)>, what: &What) -> Self {
        let text = match (of, what) {
            (_, What::Earlier { id, .. }) => return *id,
            (_, What::Object { damage, .. }) => damage.to_string(),
            (Some((host, set)), What::NotFollowing { last, .. }) => format!("{host}/{set}: not following {last}"),
            (Some((host, set)), What::RecipientsChanged { added, removed, .. }) => {
                format!("{host}/{set}:{}{}", changed("added", added), changed("gone", removed))
            }
            (Some((host, set)), what) => format!("{host}/{set}: {what}"),
            (None, what) => what.to_string(),
        };
        let mut id = [0; 6];
        id.copy_from_slice(&Sha256::of(text.as_bytes()).as_bytes()[..6]);
        Self(id)
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for FindingId {
    type Err = NotAFindingId;

    fn from_str(text: &str) -> Result<Self, NotAFindingId> {
        let number = u64::from_str_radix(text, 16).map_err(|_| NotAFindingId)?;
        let [_, _, id @ ..] = number.to_be_bytes();
        let id = Self(id);
        if id.to_string() == text { Ok(id) } else { Err(NotAFindingId) }
    }
}

/// A text that is no finding's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a finding's id has twelve hexadecimal digits")]
pub struct NotAFindingId;

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
    #[error("{damage}{}{}", and_others(*.others), needed_by(.backups, *.needed_by_latest))]
    Object {
        /// Which, and why.
        damage: Damage,
        /// So many others of the same run are wrong in the same way.
        others: u64,
        /// The backups that need any of them, ascending; none for what is wrong with a receipt.
        backups: Vec<BackupId>,
        /// Whether the set's latest backup is among them.
        needed_by_latest: bool,
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

    /// A set that was seen has no receipts any more.
    #[error("nothing of it is there any more; the last backup that was seen is {last}")]
    SetGone {
        /// The last backup that was seen.
        last: BackupId,
    },
    /// The last backup that was seen has no receipt any more that counts.
    #[error("{backup}, the last backup that was seen, is gone or counts no more")]
    LastSeenGone {
        /// That backup.
        backup: BackupId,
    },
    /// The last backup that was seen has another receipt now.
    #[error("the receipt of {backup} is not the one that was seen")]
    ReceiptChanged {
        /// That backup.
        backup: BackupId,
    },
    /// The latest backup does not follow the last one that was seen.
    #[error("{backup} does not follow {last}, the last backup that was seen")]
    NotFollowing {
        /// The latest backup.
        backup: BackupId,
        /// The last one that was seen.
        last: BackupId,
    },
    /// A backup since the last one that was seen is sealed to others than that one.
    #[error("{backup} is sealed to other recipients than before:{}{}", changed("added", .added), changed("gone", .removed))]
    RecipientsChanged {
        /// The first of those that are sealed so.
        backup: BackupId,
        /// Who can open it, and could not before.
        added: Vec<Fingerprint>,
        /// Who could, and no longer can.
        removed: Vec<Fingerprint>,
    },
    /// It was found earlier and is not found now, and nobody has accepted it.
    #[error("found first on {since}, and not now: {text}")]
    Earlier {
        /// Which finding.
        id: FindingId,
        /// What was told of it.
        text: String,
        /// When it was found first.
        since: String,
    },
}

impl What {
    /// Whether it is told again and again until somebody accepts it. Age mends itself with the next backup.
    pub(super) fn stays(&self) -> bool {
        !matches!(self, Self::TooOld(_))
    }

    /// Whether the latest backup needs what is damaged: then it is told although somebody has accepted it.
    pub(super) fn harms_the_latest(&self) -> bool {
        matches!(self, Self::Object { needed_by_latest: true, .. })
    }

    /// The signer that is not trusted, if that is it.
    pub(super) fn distrusted(&self) -> Option<Fingerprint> {
        match self {
            Self::Object { damage: Damage { problem: Problem::NotPinned(signer), .. }, .. } => Some(*signer),
            _ => None,
        }
    }
}

fn changed(how: &str, recipients: &[Fingerprint]) -> String {
    if recipients.is_empty() { String::new() } else { format!(" {how} {}", listed(recipients)) }
}

fn listed<T: ToString>(of: &[T]) -> String {
    of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn and_others(others: u64) -> String {
    if others == 0 { String::new() } else { format!(", and so it is with {others} more of this run") }
}

fn needed_by(backups: &[BackupId], latest: bool) -> String {
    match backups {
        [] => String::new(),
        [one] => format!("; backup {one}{} needs it", if latest { ", the latest," } else { "" }),
        [first, .., last] => {
            let among = if latest { ", the latest among them," } else { "" };
            format!("; {} backups from {first} to {last}{among} need it", backups.len())
        }
    }
}

fn too_old(latest: Option<OffsetDateTime>) -> String {
    match latest {
        None => "there is no backup that counts".to_owned(),
        Some(latest) => format!("the latest backup is of {}", rfc_3339(latest)),
    }
}
