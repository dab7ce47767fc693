//! Why an operation ended, with the file at hand.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use offsite_cms as cms;
use time::OffsetDateTime;

use crate::baked;
use crate::damage::Damage;
use crate::hashes::Fingerprint;
use crate::names::{BackupId, BackupName, HostName, ObjectName, SetName};
use crate::receipt::rfc_3339;
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
    /// A file is no record of what `verify` has seen.
    #[error("{} is no record of what was seen: {problem}", shown(.path))]
    NotSeen {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another verification has written the record of what was seen since this one read it.
    #[error("{} was written by another verification meanwhile, and is left as it is", shown(.0))]
    SeenMeanwhile(PathBuf),
    /// No finding that is to be accepted has this id.
    #[error("no finding has the id {0}, or it is accepted already")]
    NoSuchFinding(String),
    /// What is baked into a binary cannot be read, or be written.
    #[error(transparent)]
    Baked(#[from] baked::Error),
    /// A binary's file has no area to bake into, or not the running program's.
    #[error("{} has no area to bake into that is the running program's: it was altered, or replaced", shown(.0))]
    NoArea(PathBuf),
    /// A private key does not belong into a binary.
    #[error("{} holds a private key: nothing secret is baked into a binary", shown(.0))]
    PrivateKeyToBake(PathBuf),
    /// A store's directory would be another one wherever a binary is started.
    #[error("the store {} is not an absolute path", shown(.0))]
    RelativeStore(PathBuf),
    /// What should be the location of a store is none.
    #[error(transparent)]
    Location(#[from] store::LocationError),
    /// The passphrase could not be had.
    #[error("{0}")]
    Passphrase(String),
    /// Another backup of the same set is running.
    #[error("another backup of this set is running: {} is locked", shown(.0))]
    InUse(PathBuf),
    /// The set is one of other paths.
    #[error("the set {set} is of other paths: {then}")]
    OtherPaths {
        /// The set.
        set: SetName,
        /// What it was of.
        then: String,
    },
    /// What a backup needs has become too old while it went on.
    #[error("the backup took too long: it needs what {oldest} has stored, which is too old by now")]
    TookTooLong {
        /// The oldest run that it needs.
        oldest: BackupId,
    },
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
    /// What lies in the store is damaged, lost, or put there by somebody else.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// An object is what its receipt says, and this private key does not open it.
    #[error("{object}: {source}")]
    WrongKey {
        /// The object.
        object: ObjectName,
        /// Whose it is instead.
        source: cms::Error,
    },
    /// The store has no backup, or none of this host and set.
    #[error("there is no backup{}", of(.host.as_ref(), .set.as_ref()))]
    NoBackup {
        /// The host, where one was named.
        host: Option<HostName>,
        /// The set, where one was named.
        set: Option<SetName>,
    },
    /// There are backups of this set, but not this one.
    #[error("there is no backup {}", .0)]
    NoSuchBackup(BackupName),
    /// There are backups of this set, but none of that time or earlier.
    #[error(
        "there is no backup of {}/{} from {} or before: the oldest is {}, of {}",
        .oldest.host, .oldest.set, rfc_3339(*.as_of), .oldest.backup, rfc_3339(*.time)
    )]
    NoneAsOld {
        /// The time that was asked for.
        as_of: OffsetDateTime,
        /// The oldest backup.
        oldest: BackupName,
        /// Its time.
        time: OffsetDateTime,
    },
    /// The store holds backups of several hosts or sets, and it was not said which is meant.
    #[error("the store holds backups of {} sets: {}", .0.len(), sets(.0))]
    Ambiguous(Vec<(HostName, SetName)>),
    /// Several signers signed backups of a set, and no pin says which to trust.
    #[error("the backups of {host}/{set} are of several signers: {}", list(.signers))]
    SeveralSigners {
        /// The host.
        host: HostName,
        /// The set.
        set: SetName,
        /// The signers, by the time of their first backup.
        signers: Vec<SignerDates>,
    },
    /// A pattern of paths is not gitignore syntax.
    #[error("the pattern '{pattern}' is wrong: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// No pattern matches anything.
    #[error("no pattern says what is looked for")]
    NoGlob,
    /// Nothing in the backup has these paths.
    #[error("not in the backup: {}", paths(.0))]
    NoSuchPath(Vec<Vec<u8>>),
}

/// A signer of a set, and from when to when it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerDates {
    /// Whom people tell it by.
    pub signer: Fingerprint,
    /// Its earliest backup.
    pub first: BackupId,
    /// Its latest backup.
    pub last: BackupId,
}

impl fmt::Display for SignerDates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signer, first, last } = self;
        write!(f, "{signer} from {} to {}", rfc_3339(first.start()), rfc_3339(last.start()))
    }
}

/// Why a value of `--signer` does not say whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinProblem {
    /// It looks like a fingerprint, but is none.
    #[error("a fingerprint is sha256: and 64 hexadecimal digits")]
    NotAFingerprint,
    /// A file in a folder of pins is not named after a host.
    #[error("the file is not named after a host, as in web-1.pem")]
    NotAHost,
    /// A file or a fingerprint is good for one host, and none is named.
    #[error("it is good for one host only, and there may be several")]
    NoHost,
    /// A folder of pins has no file for the host at hand.
    #[error("there is no {0}.pem in it")]
    Missing(HostName),
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
    pub(crate) fn file(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::File { action, path: path.clone(), source }
    }
}

fn named(path: Option<&Path>) -> String {
    path.map(|path| format!("{}: ", shown(path))).unwrap_or_default()
}

/// Most of a list in a message. Ten thousand hosts can share a store.
const SHOWN: usize = 20;

fn shortened<T>(all: &[T], text: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<String> = all.iter().take(SHOWN).map(text).collect();
    if all.len() > SHOWN {
        shown.push(format!("and {} more", all.len() - SHOWN));
    }
    shown.join(", ")
}

fn of(host: Option<&HostName>, set: Option<&SetName>) -> String {
    match (host, set) {
        (Some(host), Some(set)) => format!(" of {host}/{set}"),
        (Some(host), None) => format!(" of the host {host}"),
        (None, Some(set)) => format!(" of a set {set}"),
        (None, None) => " in the store".to_owned(),
    }
}

fn sets(sets: &[(HostName, SetName)]) -> String {
    shortened(sets, |(host, set)| format!("{host}/{set}"))
}

fn list(signers: &[SignerDates]) -> String {
    shortened(signers, SignerDates::to_string)
}

fn paths(paths: &[Vec<u8>]) -> String {
    shortened(paths, |path| shown(Path::new(OsStr::from_bytes(path))))
}
