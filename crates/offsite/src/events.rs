//! What an operation tells while it goes on.

use std::path::PathBuf;

/// Receives what an operation tells. Words and bars are the caller's.
pub trait Events: Sync {
    /// So many bytes of input are done since the last call; called from several threads.
    fn progress(&self, bytes: u64);

    /// Something that the user should know, and that stops nothing.
    fn warn(&self, warning: Warning);
}

/// Something that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
