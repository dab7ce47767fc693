//! Trying what this machine can and cannot do: what its backups need, and what a thief of its credential
//! could do to the store. Everything is tried on objects that no backup has; what was refused may still
//! be allowed tomorrow.

use std::io;
use std::path::{Path, PathBuf};

use offsite_cms as cms;
use rustix::fs::statvfs;
use time::{Duration, OffsetDateTime};

use crate::error::Error;
use crate::files;
use crate::hashes::Fingerprint;
use crate::names::HostName;
use crate::signer;
use crate::store::{self, Location, Power, Probe, PutSettings, Reason};

/// From here on a certificate's end is worth a word.
const SOON: Duration = Duration::days(30);

/// From here on a clock is wrong. S3 refuses requests that are a quarter of an hour off.
const SKEWED: Duration = Duration::minutes(5);

/// State takes a few hundred bytes a file, for the time of a backup.
const ROOM: u64 = 256 << 20;

/// Whose backups are to go where.
pub struct Doctor<'a> {
    /// The host.
    pub host: &'a HostName,
    /// The store.
    pub to: &'a Location,
    /// How it is opened.
    pub settings: &'a PutSettings,
    /// Whom backups are encrypted to.
    pub recipients: &'a cms::Recipients,
    /// The folder of all state.
    pub state: &'a Path,
    /// The file of the signing key.
    pub signing_key: &'a Path,
    /// The time.
    pub now: OffsetDateTime,
}

/// Something that was looked at or tried, and what came of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Check {
    /// Whose backups these are.
    Host(HostName),
    /// There is one recipient only.
    OneRecipient,
    /// How long a recipient's certificate is valid.
    Recipient {
        /// Its name.
        name: String,
        /// The kind of its key.
        key: String,
        /// When.
        validity: Validity,
    },
    /// The folder of all state.
    State(Folder),
    /// The signing key, which is there.
    SigningKey {
        /// The file.
        path: PathBuf,
        /// Its fingerprint, and whether others than its owner may read or change it; or why it cannot be used.
        key: Result<(Fingerprint, bool), Error>,
    },
    /// Where the signing key would be made.
    NoSigningKey {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: Folder,
    },
    /// The store cannot be opened.
    Unopened(store::Error),
    /// A power over the store.
    Power {
        /// The power.
        power: Power,
        /// What came of it.
        outcome: Outcome,
        /// Whether the store keeps every version of what is put.
        kept: bool,
    },
    /// How far the store's clock is ahead of ours; None where it tells no time.
    Clock(Option<Duration>),
    /// Whether a bucket keeps every version of what is put.
    Versions(bool),
    /// A bucket's retention and lifecycle: to ask for these takes more than to put.
    Settings,
    /// The store is a directory of this machine's.
    Directory,
    /// The store is an account on another host.
    Account,
    /// What was put to try all that, and is still there: names of objects.
    Objects(Vec<String>),
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validity {
    /// It does not say.
    Unknown,
    /// From then on.
    NotBefore(OffsetDateTime),
    /// Until then.
    Until(OffsetDateTime),
    /// Until then, which is less than a month.
    EndsSoon(OffsetDateTime),
    /// It is over.
    Over(OffsetDateTime),
}

/// A folder that files are to be made in.
#[derive(Debug)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// Whether it is there; else it would be made.
    pub exists: bool,
    /// How many bytes are free, where a file could be made; or why it could not.
    pub free: io::Result<u64>,
}

/// What came of trying.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It worked.
    Worked,
    /// The store refused it.
    Refused(store::Error),
    /// Neither.
    Unclear(store::Error),
    /// It was not tried, since there was nothing to try it on.
    NotTried,
}

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Not looked at.
    NotTried,
    /// What backups need is missing, or will be.
    Fault,
    /// The credential can do what no backup needs.
    PowerTooMany,
}

impl Check {
    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Host(_) => Verdict::Good,
            Self::OneRecipient | Self::Directory | Self::Account => Verdict::Note,
            Self::Recipient { validity: Validity::Until(_), .. } => Verdict::Good,
            Self::Recipient { .. } => Verdict::Note,
            Self::State(Folder { free: Ok(free), .. }) => note_if(*free < ROOM),
            Self::NoSigningKey { folder: Folder { free: Ok(_), .. }, .. } => Verdict::Good,
            Self::State(_) | Self::NoSigningKey { .. } => Verdict::Fault,
            Self::SigningKey { key: Ok((_, false)), .. } => Verdict::Good,
            Self::SigningKey { .. } | Self::Unopened(_) => Verdict::Fault,
            Self::Power { power, outcome, kept } => of_power(*power, outcome, *kept),
            Self::Clock(None) | Self::Settings => Verdict::NotTried,
            Self::Clock(Some(ahead)) if ahead.abs() > SKEWED => Verdict::Fault,
            Self::Clock(Some(_)) => Verdict::Good,
            Self::Versions(kept) => note_if(!kept),
            Self::Objects(stay) => note_if(!stay.is_empty()),
        }
    }
}

fn note_if(so: bool) -> Verdict {
    if so { Verdict::Note } else { Verdict::Good }
}

fn of_power(power: Power, outcome: &Outcome, kept: bool) -> Verdict {
    match (power, outcome) {
        (_, Outcome::NotTried) => Verdict::NotTried,
        (Power::Put | Power::PutReceipt, Outcome::Worked) => Verdict::Good,
        (Power::Put | Power::PutReceipt, _) => Verdict::Fault,
        // What it was put over stays.
        (Power::PutAgain | Power::Overwrite, Outcome::Worked) if kept => Verdict::Good,
        (_, Outcome::Worked) => Verdict::PowerTooMany,
        (_, Outcome::Refused(_)) => Verdict::Good,
        (_, Outcome::Unclear(_)) => Verdict::Note,
    }
}

/// Looks at what backups need, and tries what may be done to the store. What the store keeps for good
/// of that are a few small objects, which everything else passes over.
#[must_use]
pub fn doctor(what: &Doctor<'_>) -> Vec<Check> {
    let mut checks = vec![Check::Host(what.host.clone())];
    recipients(what.recipients, what.now, &mut checks);
    checks.push(Check::State(folder(what.state)));
    checks.push(signing_key(what.signing_key));
    match store::open_for_probe(what.to, what.settings, what.host) {
        Ok(Some(probe)) => of_store(what.to, &*probe, &mut checks),
        Ok(None) => checks.push(Check::Account),
        Err(error) => checks.push(Check::Unopened(error)),
    }
    checks
}

fn recipients(recipients: &cms::Recipients, now: OffsetDateTime, checks: &mut Vec<Check>) {
    let certificates = recipients.certificates();
    if certificates.len() == 1 {
        checks.push(Check::OneRecipient);
    }
    checks.extend(certificates.iter().map(|certificate| Check::Recipient {
        name: certificate.name(),
        key: certificate.key_kind(),
        validity: validity(certificate.not_before(), certificate.not_after(), now),
    }));
}

fn validity(start: Option<OffsetDateTime>, end: Option<OffsetDateTime>, now: OffsetDateTime) -> Validity {
    match (start, end) {
        (_, Some(end)) if end < now => Validity::Over(end),
        (Some(start), _) if start > now => Validity::NotBefore(start),
        (_, Some(end)) if end - now < SOON => Validity::EndsSoon(end),
        (_, Some(end)) => Validity::Until(end),
        (_, None) => Validity::Unknown,
    }
}

/// Makes a file without a name there, or where the folder would be made.
fn folder(path: &Path) -> Folder {
    let nearest = path.ancestors().find(|ancestor| ancestor.try_exists().unwrap_or(true)).unwrap_or(Path::new("."));
    let free = tempfile::tempfile_in(nearest).and_then(|_| {
        let free = statvfs(nearest)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    });
    Folder { path: path.to_path_buf(), exists: nearest == path, free }
}

fn signing_key(path: &Path) -> Check {
    let path = path.to_path_buf();
    match signer::read(&path) {
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let folder = folder(files::folder(&path));
            Check::NoSigningKey { path, folder }
        }
        key => Check::SigningKey { path, key: key.map(|signer| (signer.fingerprint(), signer.exposed)) },
    }
}

fn of_store(to: &Location, probe: &dyn Probe, checks: &mut Vec<Check>) {
    let is_bucket = matches!(to, Location::S3(_));
    let can_put = powers(probe, checks);
    if is_bucket {
        checks.push(Check::Clock(probe.clock_ahead()));
    }
    if !can_put {
        return;
    }
    if is_bucket {
        checks.extend([Check::Versions(probe.keeps_versions()), Check::Settings]);
    } else {
        checks.push(Check::Directory);
    }
    checks.push(Check::Objects(probe.clean()));
}

/// Tries each power; whether objects can be put.
fn powers(probe: &dyn Probe, checks: &mut Vec<Check>) -> bool {
    for &power in probe.powers() {
        let kept = probe.keeps_versions();
        let outcome = match power {
            Power::DeleteVersion if !kept => Outcome::NotTried,
            _ => outcome(probe.attempt(power)),
        };
        // Without an object of its own there is nothing to try the rest on.
        let is_end = power == Power::Put && !matches!(outcome, Outcome::Worked);
        checks.push(Check::Power { power, outcome, kept });
        if is_end {
            return false;
        }
    }
    true
}

fn outcome(tried: store::Result<()>) -> Outcome {
    match tried {
        Ok(()) => Outcome::Worked,
        Err(error) => match error.reason {
            Reason::PermissionDenied(_) | Reason::AlreadyExists | Reason::Unsupported(_) => Outcome::Refused(error),
            _ => Outcome::Unclear(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> store::Error {
        let reason = Reason::PermissionDenied(io::Error::other("the service answered 403, AccessDenied"));
        store::Error { store: "s3://b".to_owned(), action: "put", object: None, reason }
    }

    fn verdict(power: Power, outcome: Outcome, kept: bool) -> Verdict {
        Check::Power { power, outcome, kept }.verdict()
    }

    #[test]
    fn backups_need_to_put_and_nothing_else() {
        for power in [Power::Put, Power::PutReceipt] {
            assert_eq!(verdict(power, Outcome::Worked, false), Verdict::Good);
            assert_eq!(verdict(power, Outcome::Refused(denied()), false), Verdict::Fault);
            assert_eq!(verdict(power, Outcome::Unclear(denied()), false), Verdict::Fault);
        }
        for power in [Power::Get, Power::ListAll, Power::PutElsewhere, Power::Delete, Power::DeleteVersion] {
            for kept in [true, false] {
                assert_eq!(verdict(power, Outcome::Worked, kept), Verdict::PowerTooMany);
                assert_eq!(verdict(power, Outcome::Refused(denied()), kept), Verdict::Good);
                assert_eq!(verdict(power, Outcome::Unclear(denied()), kept), Verdict::Note);
                assert_eq!(verdict(power, Outcome::NotTried, kept), Verdict::NotTried);
            }
        }
    }

    #[test]
    fn to_overwrite_is_harmless_where_versions_are_kept() {
        for power in [Power::PutAgain, Power::Overwrite] {
            assert_eq!(verdict(power, Outcome::Worked, true), Verdict::Good);
            assert_eq!(verdict(power, Outcome::Worked, false), Verdict::PowerTooMany);
            assert_eq!(verdict(power, Outcome::Refused(denied()), false), Verdict::Good);
        }
    }

    #[test]
    fn a_clock_may_be_a_little_off() {
        for (seconds, expected) in [(0, Verdict::Good), (-300, Verdict::Good), (301, Verdict::Fault)] {
            assert_eq!(Check::Clock(Some(Duration::seconds(seconds))).verdict(), expected, "{seconds}");
            assert_eq!(Check::Clock(Some(Duration::seconds(-seconds))).verdict(), expected, "-{seconds}");
        }
    }

    #[test]
    fn certificates_end() {
        let now = OffsetDateTime::from_unix_timestamp(1_795_419_900).unwrap();
        let (day, month) = (Duration::DAY, Duration::days(30));
        let cases = [
            (None, None, Validity::Unknown),
            (Some(now), Some(now + month), Validity::Until(now + month)),
            (Some(now), Some(now + month - day), Validity::EndsSoon(now + month - day)),
            (Some(now - month), Some(now - day), Validity::Over(now - day)),
            (Some(now + day), Some(now + month), Validity::NotBefore(now + day)),
        ];
        for (start, end, expected) in cases {
            assert_eq!(validity(start, end, now), expected);
        }
    }

    #[test]
    fn a_folder_is_there_or_would_be_made() {
        let there = tempfile::tempdir().unwrap();
        let seen = folder(there.path());
        assert!(seen.exists && seen.free.is_ok());
        let seen = folder(&there.path().join("a/b"));
        assert!(!seen.exists && seen.free.is_ok());
        assert_eq!(there.path().read_dir().unwrap().count(), 0, "nothing is left");
        let file = there.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(folder(&file.join("a")).free.is_err());
    }
}
