//! Why an operation ended, with the file at hand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use offsite_cms as cms;

use crate::shown::shown;
use crate::{index, receipt, store};

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A message could not be written or read.
    #[error("{}{source}", named(.path.as_deref()))]
    Cms {
        /// The file with the message or key; None for standard input and output.
        path: Option<PathBuf>,
        /// What is wrong.
        source: cms::Error,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", shown(.path))]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The output is there already, and is not overwritten unasked.
    #[error("{} exists already", shown(.path))]
    Exists {
        /// The file.
        path: PathBuf,
        /// Whether the operation could have been told to replace it.
        replaceable: bool,
    },
    /// A file of keys or certificates is too large to be one.
    #[error("{} is larger than 1 MiB, so it is no file of keys or certificates", shown(.0))]
    TooLarge(PathBuf),
    /// A file is longer than any that belongs there.
    #[error("{} is longer than {limit} bytes", shown(.path))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// More pieces than six digits can number.
    #[error("the output would be more than 1,000,000 files")]
    TooManyPieces,
    /// A value of `--signer` does not say whom to trust.
    #[error("{}: {problem}", shown(.value))]
    Pin {
        /// The value, or a file in the folder that it names.
        value: PathBuf,
        /// What is wrong with it.
        problem: PinProblem,
    },
    /// The passphrase could not be had.
    #[error("{0}")]
    Passphrase(String),
    /// Another backup of the same set is running.
    #[error("another backup of this set is running: {} is locked", shown(.0))]
    InUse(PathBuf),
    /// A file without a name, or memory, cannot be had or used.
    #[error("cannot keep what is needed for a while: {0}")]
    Temporary(io::Error),
    /// The slices of a backup cannot be made.
    #[error("cannot make a slice: {0}")]
    Slices(String),
    /// The index of a backup cannot be made.
    #[error("cannot make the index: {0}")]
    Index(index::WriteError),
    /// The plan of a backup cannot be made.
    #[error("cannot make the plan: {0}")]
    Plan(index::PlanError),
    /// A receipt cannot be made.
    #[error("cannot make the receipt: {0}")]
    Receipt(#[from] receipt::Error),
    /// No command is given whose output could be backed up.
    #[error("no command is given")]
    NoCommand,
    /// A command whose output is to be backed up could not be started, or not be waited for.
    #[error("cannot run {}: {source}", shown(.program))]
    CommandNotStarted {
        /// The command.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A command whose output was to be backed up failed. What it wrote may be a part of what it
    /// should have.
    #[error("{} failed ({status}), so there is no backup", shown(.program))]
    CommandFailed {
        /// The command.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// A store does not do what it was asked for.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why a value of `--signer` does not say whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinProblem {
    /// It begins like a fingerprint, but is none.
    #[error("a fingerprint is sha256: and 64 hexadecimal digits")]
    NotAFingerprint,
    /// A file in a folder of pins is not named after a host.
    #[error("the file is not named after a host, as in web-1.pem")]
    NotAHost,
    /// A file or a fingerprint is good for one host, and none is named.
    #[error("it is good for one host only, and there may be several")]
    NoHost,
    /// The certificate's key cannot sign a receipt.
    #[error("this is no signer's certificate: its key is {kind}, a signer's is P-256")]
    NotASigner {
        /// The kind of key.
        kind: String,
    },
}

impl Error {
    /// Adds the file to an error of a message or key.
    pub(crate) fn cms(path: Option<&Path>) -> impl Fn(cms::Error) -> Self {
        let path = path.map(Path::to_path_buf);
        move |source| Self::Cms { path: path.clone(), source }
    }

    /// Adds action and file to an error of the operating system.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path: path.clone(), source }
    }
}

fn named(path: Option<&Path>) -> String {
    path.map(|path| format!("{}: ", shown(path))).unwrap_or_default()
}
