//! Words for what `verify` and `report` find.

use offsite::damage::{Damage, Problem};
use offsite::operations::verify::{Finding, What};

use crate::words;

/// A word for its kind, for scripts.
pub(super) fn kind(what: &What) -> &'static str {
    match what {
        What::Object { .. } => "object",
        What::ReceiptMissing { .. } => "receipt-missing",
        What::ReceiptReplaced { .. } => "receipt-replaced",
        What::Forked { .. } => "forked",
        What::SeveralSigners(_) => "several-signers",
        What::TooOld(_) => "too-old",
        What::SetGone { .. } => "set-gone",
        What::LastSeenGone { .. } => "last-seen-gone",
        What::ReceiptChanged { .. } => "receipt-changed",
        What::NotFollowing { .. } => "not-following",
        What::RecipientsChanged { .. } => "recipients-changed",
        What::Earlier { .. } => "earlier",
        _ => "other",
    }
}

/// What to do about a finding.
pub(super) fn remedy(finding: &Finding) -> &'static str {
    match &finding.what {
        What::Object { needed_by_latest: true, .. } => {
            "run `offsite backup --full` on the host, so that the next backup needs nothing of what is damaged"
        }
        What::Object { backups, .. } if !backups.is_empty() => {
            "the latest backup needs nothing of what is damaged: older ones are lost in part, unless another copy has it"
        }
        What::Object { damage: Damage { problem: Problem::Ahead(_), .. }, .. } => {
            "see whether the clocks of the host and the store are right; until that time name what to restore with \
              --backup ID"
        }
        What::Object { damage: Damage { problem: Problem::NotPinned(_), .. }, .. } => words::DISTRUSTED,
        What::Object { .. } => "look at who else may write receipts into the store, and pin signers with --signer",
        What::ReceiptMissing { .. } => {
            "where backups are removed by rule, say so with --retention; otherwise see who may delete"
        }
        What::TooOld(_) => "see on the host why backups have stopped; `offsite doctor` tries what they need",
        What::SetGone { .. } | What::LastSeenGone { .. } | What::ReceiptChanged { .. } => {
            "see who may delete or overwrite in the store; accept with --accept ID what you have done yourself"
        }
        What::RecipientsChanged { .. } => {
            "see with which certificates the host backs up; if it was you who changed them, say --accept ID"
        }
        What::Earlier { .. } => "say --accept ID once it is known why it was so, and why it is no more",
        What::SeveralSigners(_) => "say with --signer which to trust, by what you know of it from the server itself",
        _ => {
            "see whether the host, or its state, was copied or brought back from an earlier time; if not, \
              somebody else has its signing key. With --seen, --accept ID takes it as it is"
        }
    }
}
