//! The commands: arguments to operations, and results to words.

pub(crate) mod backup;
pub(crate) mod bake;
pub(crate) mod decrypt;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod encrypt;
pub(crate) mod entry;
pub(crate) mod files;
pub(crate) mod find;
mod findings;
pub(crate) mod inspect;
pub(crate) mod key_check;
pub(crate) mod keygen;
pub(crate) mod list;
pub(crate) mod printer;
pub(crate) mod prune;
pub(crate) mod recovery_script;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod verify;
pub(crate) mod version;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use offsite::cms::{PrivateKey, Recipients};
use offsite::files::Place;
use offsite::names::HostName;
use offsite::operations::backups::{self, Found, Scope, Which};
use offsite::operations::restore::Error as RestoreError;
use offsite::ping::Address;
use offsite::pins::Pins;
use offsite::store::{self, Location, LocationError, ReadSettings};
use offsite::{Events, operations, shown};
use time::Duration;

use crate::terminal::Progress;
use crate::{arguments, baked, exit, host, terminal, words};

/// A command's end, if not a good one.
pub(crate) enum Failure {
    /// From the library.
    Library(offsite::Error),
    /// The command line cannot be meant so.
    Usage { text: String, hint: &'static str },
    /// From a restore.
    Restore(RestoreError),
    /// Something that the command itself found wrong; it has said so.
    Reported,
    /// Something is missing that was asked for, which has been said; the rest is done.
    Partial,
    /// Something in a store is wrong; it has been said.
    Damaged,
}

impl From<offsite::Error> for Failure {
    fn from(error: offsite::Error) -> Self {
        Self::Library(error)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::File(error) => Self::Library(error),
            error => Self::Restore(error),
        }
    }
}

impl Failure {
    /// Tells the user; the exit code.
    pub(crate) fn report(&self) -> u8 {
        match self {
            Self::Library(error) => {
                terminal::error_with(&error.to_string(), words::hint(error));
                exit::of_error(error)
            }
            Self::Restore(error) => {
                terminal::error_with(&error.to_string(), words::hint_of_restore(error));
                exit::of_restore(error)
            }
            Self::Usage { text, hint } => {
                terminal::error_with(text, Some(hint));
                exit::USAGE
            }
            Self::Reported => exit::FAILED,
            Self::Partial => exit::PARTIAL,
            Self::Damaged => exit::DAMAGED,
        }
    }
}

/// How often a passphrase may be typed.
const ATTEMPTS: u32 = 3;

/// Reads a private key; asks for its passphrase where it has one.
pub(crate) fn private_key(arguments: &arguments::Key) -> Result<PrivateKey, Failure> {
    let mut passphrase = |attempt: u32| match &arguments.passphrase_file {
        Some(path) if attempt == 0 => terminal::passphrase_from(path).map(Some),
        None if attempt < ATTEMPTS && terminal::can_ask() => {
            if attempt > 0 {
                terminal::note("wrong passphrase, try again");
            }
            let asked = terminal::ask(&format!("passphrase of {}", shown(&arguments.key)));
            asked.map(Some).map_err(|error| offsite::Error::Passphrase(format!("cannot ask for a passphrase: {error}")))
        }
        _ => Ok(None),
    };
    Ok(operations::read_private_key(&arguments.key, &mut passphrase)?)
}

/// To whom everything is encrypted: who is named by an option, else in the environment, else baked in.
pub(crate) fn recipients(paths: &[PathBuf], events: &dyn Events) -> offsite::Result<Recipients> {
    let named = std::env::var_os("OFFSITE_RECIPIENTS").filter(|named| !named.is_empty());
    let named = match named {
        Some(named) => named,
        None => baked::settings()?.recipients_pem().into(),
    };
    operations::read_recipients(paths, Some(&named), events)
}

/// This machine: whose backups it makes, and where it keeps what these need.
pub(crate) struct ThisHost {
    pub(crate) name: HostName,
    pub(crate) state: PathBuf,
    pub(crate) signing_key: PathBuf,
}

impl ThisHost {
    pub(crate) fn new(name: Option<HostName>) -> Result<Self, Failure> {
        let missing = |what: &str, hint| Failure::Usage { text: format!("{what} is not known"), hint };
        let state = host::state()
            .ok_or_else(|| missing("where to keep state", "name a folder in OFFSITE_STATE_DIR, or set HOME"))?;
        let signing_key = host::signing_key().ok_or_else(|| {
            missing("where to keep the signing key", "name a file in OFFSITE_SIGNING_KEY, or set HOME")
        })?;
        let name = name.or_else(host::name);
        let name = name.ok_or_else(|| missing("a lasting name of this host", "name it with --host"))?;
        Ok(Self { name, state, signing_key })
    }
}

/// So many seconds.
pub(crate) fn seconds(number: u64) -> Duration {
    Duration::seconds(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Where files without names go, of what does not fit into memory.
pub(crate) fn temporary_folder() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut random = [0; N];
    let mut filled = 0;
    while filled < N {
        filled +=
            rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty()).map_err(|error| {
                offsite::Error::File { action: "read", path: "random numbers".into(), source: error.into() }
            })?;
    }
    Ok(random)
}

/// The address of the check that is to be told of a run.
pub(crate) fn address(arguments: &arguments::Ping) -> Result<Option<Address>, Failure> {
    let given = arguments.ping.as_ref().filter(|text| !text.is_empty());
    given.map(|text| Address::parse(text)).transpose().map_err(|error| {
        let hint = "give --ping, or OFFSITE_PING, the address that the service shows for the check";
        Failure::Usage { text: error.to_string(), hint }
    })
}

/// A store to read from, and whom to trust there.
pub(crate) struct OpenStore {
    pub(crate) location: Location,
    pub(crate) store: Box<dyn store::Read>,
    pub(crate) scope: Scope,
    pub(crate) pins: Pins,
}

impl OpenStore {
    pub(crate) fn new(arguments: &arguments::FromStore, progress: &Progress) -> Result<Self, Failure> {
        Self::open(arguments, progress, false)
    }

    /// For whoever must see every version that there is.
    pub(crate) fn with_every_version(arguments: &arguments::FromStore, progress: &Progress) -> Result<Self, Failure> {
        Self::open(arguments, progress, true)
    }

    fn open(arguments: &arguments::FromStore, progress: &Progress, every_version: bool) -> Result<Self, Failure> {
        let arguments::FromStore { from, host, set, signers, store_as_of } = arguments;
        let location = Location::parse(from).map_err(|error| {
            let hint = match error {
                LocationError::Empty => "name it with --from, or in OFFSITE_STORE",
                _ => "it is a folder, s3://BUCKET/PREFIX?endpoint=URL&region=NAME, or sftp://USER@HOST/PATH",
            };
            Failure::Usage { text: error.to_string(), hint }
        })?;
        let fallback = std::env::var_os("OFFSITE_SIGNERS").filter(|_| signers.is_empty()).unwrap_or_default();
        let lines = fallback.as_bytes().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty()).map(OsStr::from_bytes);
        let pins = Pins::read(signers.iter().map(OsString::as_os_str).chain(lines), host.as_ref())?;
        let scope = Scope { host: host.clone(), set: set.clone() };
        let settings = ReadSettings { as_of: *store_as_of, every_version, notice: progress.notice() };
        let store = store::open_for_read(&location, &settings).map_err(offsite::Error::from)?;
        Ok(Self { location, store, scope, pins })
    }

    /// Decides for a backup.
    pub(crate) fn choose(&self, which: Which, events: &dyn Events) -> offsite::Result<Found> {
        backups::choose(&*self.store, &self.scope, which, &self.pins, events)
    }
}

/// The end of a command on a store: whatever else became of it, damage that was found decides.
pub(crate) fn conclude(result: Result<(), Failure>, progress: &Progress) -> Result<(), Failure> {
    if !progress.is_damaged() {
        return result;
    }
    if let Err(failure) = result {
        failure.report();
    }
    if progress.has_distrusted() {
        terminal::hint(words::DISTRUSTED);
    }
    Err(Failure::Damaged)
}

/// The end of output to standard output. Who closes it has read enough.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            terminal::error(&format!("cannot write standard output: {error}"));
            Err(Failure::Reported)
        }
        _ => Ok(()),
    }
}

/// There is no option to replace an existing file: the error must not hint at one.
pub(crate) fn not_replaced(error: offsite::Error) -> offsite::Error {
    match error {
        offsite::Error::Exists { path, .. } => offsite::Error::Exists { path, replaceable: false },
        error => error,
    }
}

/// Length of the input in bytes, for a progress bar.
pub(crate) fn input_length(input: &Place) -> Option<u64> {
    let metadata = std::fs::metadata(input.path()?).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// A message is no text: it would garble a terminal.
fn refuse_terminal(output: &Place, hint: &'static str) -> Result<(), Failure> {
    if *output == Place::Standard && io::stdout().is_terminal() {
        let text = "standard output is a terminal, and the output may be binary".to_owned();
        return Err(Failure::Usage { text, hint });
    }
    Ok(())
}
