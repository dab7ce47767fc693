//! What is wrong with a receipt. No message quotes what is not checked.

use offsite_cms as cms;

/// The result of reading or writing a receipt.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with a receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no signed message, or its signature does not fit.
    #[error("it is not validly signed: {0}")]
    Signature(#[source] cms::Error),
    /// It could not be signed.
    #[error("it cannot be signed: {0}")]
    Signing(#[source] cms::Error),
    /// It is of another version of the format, of which nothing can be told.
    #[error("it is of a format that this program does not know: {0}")]
    Version(u64),
    /// It is no JSON, or not with the keys and values of a receipt.
    #[error("it is not formed as a receipt, in line {line}")]
    Malformed {
        /// The line, counted from one.
        line: u64,
    },
    /// It says something in another way than the one there is.
    #[error("it is not written as it must be, in line {line}")]
    NotCanonical {
        /// The line, counted from one.
        line: u64,
    },
    /// A value is not allowed.
    #[error("its \"{key}\": {problem}")]
    Field {
        /// The value's key.
        key: &'static str,
        /// What is wrong.
        problem: Problem,
    },
    /// The signer that it names is not the one who signed it.
    #[error("it names another signer than the one who signed it")]
    OtherSigner,
    /// It lies where another backup's receipt should.
    #[error("it is the receipt of {found}")]
    OtherBackup {
        /// Host, set and backup.
        found: String,
    },
    /// Its times contradict each other.
    #[error("{0}")]
    Times(TimeProblem),
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is not formed as it must be.
    #[error("not formed as it must be")]
    Form,
    /// It is too large, or has too many entries.
    #[error("more than {0}")]
    TooMuch(u64),
    /// Zero or no entry, where there must be some.
    #[error("nothing, where there must be something")]
    Empty,
    /// Entries are not in their order, or one is there twice.
    #[error("out of order, or twice the same")]
    Order,
    /// An entry that must be there is not, or one is that must not.
    #[error("something is missing, or should not be there")]
    Entries,
    /// It does not agree with another value.
    #[error("it contradicts \"{0}\"")]
    Contradicts(&'static str),
}

/// How a receipt's times contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeProblem {
    /// It ends before it starts.
    #[error("it ends before it starts")]
    Backwards,
    /// It takes longer than a year.
    #[error("it ends more than a year after its start")]
    TooLong,
    /// It needs something of a run that started later.
    #[error("it needs something of {0}, which started later")]
    UsesLater(crate::names::BackupId),
}
