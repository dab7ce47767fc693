//! What an operation tells while it goes on.

use std::path::PathBuf;

use crate::archive::incident::What;
use crate::damage::Damage;
use crate::error::SignerDates;
use crate::hashes::Fingerprint;
use crate::names::{BackupId, BackupName, HostName, SetName};
use crate::plan::SliceName;
use crate::receipt::NoPrevious;

/// Receives what an operation tells. Words and bars are the caller's.
pub trait Events: Sync {
    /// So many bytes of input are done since the last call; called from several threads.
    fn progress(&self, bytes: u64);

    /// Something that the user should know, and that stops nothing.
    fn warn(&self, warning: Warning);

    /// Something in the store is wrong; the operation goes on without it. All that was asked for is
    /// done only where this was never called.
    fn damage(&self, damage: &Damage);
}

/// Something that the user should know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning {
    /// A message without an integrity check is being written.
    WritingUnauthenticated,
    /// A message without an integrity check is being read.
    ReadingUnauthenticated,
    /// A single message grows beyond what stock OpenSSL can decrypt.
    TooLargeForOpenssl,
    /// A recipient's certificate has expired, or is not yet valid.
    Validity {
        /// The recipient.
        name: String,
        /// Whether its time is over; else it is yet to come.
        expired: bool,
        /// When it ended or begins, as a date.
        date: String,
    },
    /// A recipient's file holds its private key as well, which has no business there.
    PrivateKeyAmongRecipients(PathBuf),
    /// Something happened to an entry while it was backed up.
    Entry {
        /// The entry: from the root on, where all that is backed up was named so, else as in the archive.
        path: PathBuf,
        /// What happened.
        what: What,
    },
    /// Everything is sealed to one recipient alone.
    OneRecipient,
    /// The host's signing key was made.
    SignerMade {
        /// The file.
        path: PathBuf,
        /// What tells the signer from others.
        fingerprint: Fingerprint,
    },
    /// Others than its owner may read or change the signing key.
    SignerExposed(PathBuf),
    /// A receipt of an earlier run had not been known to reach the store. It is there now.
    ReceiptPutAgain(BackupId),
    /// A receipt of an earlier run may or may not have reached the store; it is too old to be put
    /// again.
    ReceiptUnconfirmed(BackupId),
    /// The state knows the set, but in another store.
    OtherStore,
    /// The receipt before this backup's is not known.
    ChainBroken(NoPrevious),
    /// Everything is stored, although the state should spare that.
    Full(WhyFull),
    /// What some earlier runs have put is not sealed to all of today's recipients, and is stored again.
    NewRecipient,
    /// A run did not end. What it had put is used.
    TakenUp {
        /// The run.
        backup: BackupId,
        /// How many slices it had put.
        slices: usize,
    },
    /// The store does not hold slices that it should. What lies in them is stored again; backups that need
    /// them are damaged.
    SlicesLost {
        /// How many.
        count: usize,
        /// The first of them.
        first: SliceName,
    },
    /// No signer is pinned: whoever could write into the store could have made these backups.
    OriginNotProven,
    /// Several signers signed backups of one set, and no pin says which to trust.
    SeveralSigners {
        /// The host.
        host: HostName,
        /// The set.
        set: SetName,
        /// The signers, by the time of their first backup.
        signers: Vec<SignerDates>,
    },
    /// Some backups of a set are not searched, since an index that they need cannot be opened.
    NotSearched {
        /// The first of them.
        first: BackupName,
        /// The last of them.
        last: BackupId,
        /// How many.
        count: usize,
        /// Whose they are, where the private key does not open them; None where damage was told.
        wrong_key: Option<String>,
    },
}

/// Why a backup that need not be a full one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyFull {
    /// The state does not say what the last backup holds.
    NothingKnown,
    /// What the state says of it is damaged, or of another version of the program.
    StateDamaged,
    /// The state is another machine's.
    OtherMachine,
    /// The clock is before the last backup.
    ClockSetBack {
        /// The last backup.
        last: BackupId,
    },
    /// The last backup is long ago, or the state was brought back from then.
    StateOld {
        /// The last backup.
        last: BackupId,
    },
    /// Not all of today's recipients can open what is stored.
    NewRecipient,
}
