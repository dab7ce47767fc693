//! Words for what the library reports, and what to do about it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use offsite::archive::incident::What;
use offsite::archive::unpack;
use offsite::cms::{self, KeyError, SliceProblem, UsageError};
use offsite::index::PlanError;
use offsite::names::BackupId;
use offsite::operations::restore;
use offsite::receipt::NoPrevious;
use offsite::store::{self, CertificateFault, CredentialFault, Reason};
use offsite::{Error, PinProblem, Warning, WhyFull, baked, shown};
use time::{OffsetDateTime, UtcOffset};

/// A warning's text.
pub(crate) fn of_warning(warning: &Warning) -> String {
    match warning {
        Warning::WritingUnauthenticated => {
            "the smime profile is unauthenticated: whoever holds the message can change it unnoticed".to_owned()
        }
        Warning::ReadingUnauthenticated => {
            "this message is unauthenticated (CBC): nothing shows whether it was changed since it was written"
                .to_owned()
        }
        Warning::TooLargeForOpenssl => "this message becomes larger than 1.5 GiB, which stock openssl cannot decrypt; \
             --split writes several that it can"
            .to_owned(),
        Warning::Validity { name, expired: true, date } => format!("the certificate of {name} expired on {date}"),
        Warning::Validity { name, expired: false, date } => {
            format!("the certificate of {name} is not valid before {date}")
        }
        Warning::PrivateKeyAmongRecipients(path) => {
            format!("{} holds a private key: on a server keep the certificate alone", shown(path))
        }
        Warning::Entry { path, what } => of_incident(&shown(path), what),
        Warning::OneRecipient => "there is one recipient only: whoever loses that key loses every backup".to_owned(),
        Warning::SignerMade { path, fingerprint } => format!(
            "made this host's signing key, {0}: keep its certificate (openssl x509 -in {0}) where backups are \
             restored; {fingerprint}",
            shown(path)
        ),
        Warning::SignerExposed(path) => format!("others than its owner may read the signing key, {}", shown(path)),
        Warning::ReceiptPutAgain(backup) => {
            format!("the run that made {backup} was interrupted at its end; the backup is complete now")
        }
        Warning::ReceiptUnconfirmed(backup) => {
            format!("the run that made {backup} was interrupted at its end; whether the backup is there is not known")
        }
        Warning::OtherStore => "this host has backed this set up before, but not to this store: is it a new one, \
             or its location mistyped, or a disk not mounted?"
            .to_owned(),
        Warning::ChainBroken(reason) => of_broken_chain(*reason).to_owned(),
        Warning::Full(why) => of_full(why),
        Warning::NewRecipient => "some of what is stored is not sealed to all of today's recipients, and is stored \
             again"
            .to_owned(),
        Warning::TakenUp { backup, slices } => format!(
            "the run that began {backup} was interrupted; the {} that it had put {} used",
            counted(*slices as u64, "slice"),
            if *slices == 1 { "is" } else { "are" }
        ),
        Warning::SlicesLost { count, first } => format!(
            "the store has lost {} that earlier backups need, {first} {}: what lies there is stored again, and \
             earlier backups are damaged",
            counted(*count as u64, "slice"),
            if *count == 1 { "it is" } else { "the first" }
        ),
        Warning::OriginNotProven => "origin not proven: without --signer, whoever can write into the store could have \
             made these backups"
            .to_owned(),
        Warning::SeveralSigners { host, set, signers } => {
            let signers: Vec<String> = signers.iter().map(ToString::to_string).collect();
            format!("the backups of {host}/{set} are of several signers: {}", signers.join(", "))
        }
        Warning::NotSearched { first, last, count, wrong_key } => {
            let backups = counted(*count as u64, "backup");
            let which = if *count == 1 { last.to_string() } else { format!("{} to {last}", first.backup) };
            let which = format!("{backups} of {}/{}, {which}", first.host, first.set);
            match wrong_key {
                Some(whose) => format!("the private key does not open {which}: {whose}"),
                None => format!("{which}, cannot be searched for that"),
            }
        }
        _ => "something unusual happened".to_owned(),
    }
}

fn of_broken_chain(reason: NoPrevious) -> &'static str {
    match reason {
        NoPrevious::NoState => "the first backup of this set from this host, as far as it knows",
        NoPrevious::UnreadableState => "the state of this set cannot be read, so its chain of backups begins anew",
        NoPrevious::OtherMachine => {
            "the state of this set is another machine's, so its chain of backups begins anew: is this a copy of it?"
        }
    }
}

fn of_full(why: &WhyFull) -> String {
    let day = |backup: &BackupId| date_and_time(backup.start());
    let why = match why {
        WhyFull::NothingKnown => "nothing is known of what the last backup holds".to_owned(),
        WhyFull::StateDamaged => {
            "what is known of the last backup is damaged, or of another version of offsite".to_owned()
        }
        WhyFull::OtherMachine => "what is known of the last backup is another machine's".to_owned(),
        WhyFull::ClockSetBack { last } => {
            format!("the clock is before the last backup, which says {}", day(last))
        }
        WhyFull::StateOld { last } => format!("the last backup that this host knows of is of {}", day(last)),
        WhyFull::NewRecipient => "what is stored is not sealed to all of today's recipients".to_owned(),
        _ => "what is stored cannot be used".to_owned(),
    };
    format!("this backup is a full one: {why}")
}

fn of_incident(path: &str, what: &What) -> String {
    match what {
        What::Unreadable { action, source } => format!("cannot {action} {path}: {source}"),
        What::AttributeUnreadable { name, source } => {
            let name = shown(Path::new(OsStr::from_bytes(name)));
            format!("cannot read the extended attribute {name} of {path}: {source}")
        }
        What::Vanished => format!("{path} vanished before it was read"),
        What::Replaced => format!("{path} was replaced before it was read, and is left out"),
        What::Socket => format!("{path} is a socket, and is left out"),
        What::RootIsLink => format!("{path} is a symbolic link: the link is stored, not what it leads to"),
        What::Grew => format!("{path} grew while it was read: what was added is left out"),
        What::Shrank => format!("{path} shrank while it was read: zeros stand for what is missing"),
        What::Changed => format!("{path} changed while it was read"),
        _ => format!("something happened to {path} while it was read"),
    }
}

/// What to do where a key does not open a backup.
pub(crate) const WRONG_KEY: &str = "use the private key of a recipient that the backup was made for";

/// How a pattern is written that is none yet.
pub(crate) const PATTERNS: &str =
    "patterns are as in .gitignore: a backslash takes what follows it as it is, '\\[' for a file named [";

/// What to do about a signer who is not trusted.
pub(crate) const DISTRUSTED: &str = "if it is the host's own, name it with --signer: as HOST.pem in the folder, or with \
     --host as a file; if not, look at who else may write receipts into the store";

/// What to do about an error, where that is not plain.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Damage(damage) if damage.object.as_str().contains("/index") => {
            Some("RECOVER.sh needs no index: it may restore the backup all the same")
        }
        Error::Damage(damage) if damage.object.as_str().contains("/plan") => {
            Some("the plan is for RECOVER.sh; with paths, restore does without: name those at the top")
        }
        Error::File { path, source, .. } if path.is_absolute() && source.kind() == io::ErrorKind::NotFound => None,
        Error::File { source, .. } => of_system(source.kind()),
        Error::Exists { replaceable: true, .. } => Some("choose another name, or replace it with --force"),
        Error::Exists { replaceable: false, .. } => Some("choose another name: this file is not overwritten"),
        Error::Cms { source, .. } => of_cms(source),
        Error::Store(error) => of_store(error),
        Error::InUse(_) => Some("wait for it to end, or start this one with --wait"),
        Error::OtherPaths { .. } => {
            Some("--full makes these paths the set's; with --set NAME they are a set of their own")
        }
        Error::TookTooLong { .. } => Some("run it again: what it has stored is used"),
        Error::CommandNotStarted { .. } => {
            Some("after --exec NAME -- comes a program and its arguments, without a shell")
        }
        Error::CommandFailed { .. } => Some("earlier backups are untouched; look at what the command wrote"),
        Error::WrongKey { .. } => Some(WRONG_KEY),
        Error::Ambiguous(_) => {
            Some("choose one with --host and --set: what stands before its slash, and what stands after it")
        }
        Error::NoBackup { host: None, set: None } => Some(
            "is the folder or prefix right, and the disk mounted? where backups were put there are data/ and receipts/",
        ),
        Error::NoBackup { .. } | Error::NoSuchBackup(_) | Error::NoneAsOld { .. } => {
            Some("`offsite list` shows what there is, without --host and --set all of it")
        }
        Error::Glob { .. } => Some(PATTERNS),
        Error::NoGlob => Some("name what to look for, such as fstab, '*.conf' or /etc/fstab"),
        Error::NoSuchFinding(_) => Some("`offsite verify --seen FILE` shows each finding's id before it"),
        Error::SeenMeanwhile(_) => Some("run it again; one after the other, or each with a file of its own"),
        Error::NotSeen { .. } => Some("name a file that --seen has made, or one that is not there yet"),
        Error::NoSuchPath(_) => Some("paths are as `offsite files` shows them"),
        Error::SeveralSigners { .. } => {
            Some("say with --signer which to trust, by what you know of it from the server itself")
        }
        Error::Baked(baked::Error::TooLong { .. }) => {
            Some("recipients with elliptic-curve keys have shorter certificates")
        }
        Error::Baked(_) | Error::NoArea(_) => Some("copy the binary again, or bake it anew from one that is whole"),
        Error::PrivateKeyToBake(_) => Some("name the certificate alone, such as PREFIX-cert.pem of `offsite keygen`"),
        Error::RelativeStore(_) => Some("name the directory by its whole path, as the servers have it"),
        Error::Pin { problem: PinProblem::NoHost, .. } => {
            Some("name the host with --host, or give a folder with a HOST.pem for each")
        }
        Error::Pin { problem: PinProblem::Missing(_), .. } => Some(
            "put the certificate of the host's signing key there, under this name; on the host: openssl x509 -in \
             /etc/offsite/signing-key.pem",
        ),
        Error::Pin { problem: PinProblem::NotASigner { .. }, .. } => {
            Some("a signer's certificate is made on the host: openssl x509 -in /etc/offsite/signing-key.pem")
        }
        _ => None,
    }
}

/// What to do about what the operating system refuses.
fn of_system(error: io::ErrorKind) -> Option<&'static str> {
    match error {
        io::ErrorKind::NotFound => {
            Some("look at the path: without a slash at its beginning it begins in the folder that this runs in")
        }
        io::ErrorKind::PermissionDenied => Some("run it as a user who may do this, such as root"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("make room there, or name another folder; then run it again")
        }
        io::ErrorKind::ReadOnlyFilesystem => Some("mount it for writing, or name another folder"),
        io::ErrorKind::IsADirectory => Some("name a file, not a folder"),
        _ => None,
    }
}

/// What to do about a store's error, where that is not plain.
pub(crate) fn of_store(error: &store::Error) -> Option<&'static str> {
    match &error.reason {
        Reason::NoRegion => Some("name it in the location, s3://BUCKET?region=NAME, or in AWS_REGION"),
        Reason::Elsewhere { .. } => Some("name the bucket's region in its location: s3://BUCKET?region=NAME"),
        Reason::NoStore => Some("look at the path: `backup --to` makes a store, and everything else needs one"),
        Reason::PermissionDenied(source) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            of_system(source.kind())
        }
        Reason::PermissionDenied(source) if source.kind() == io::ErrorKind::PermissionDenied => Some(
            "see as whom this runs: a backup needs leave to put there, and whoever reads the store to list and to get",
        ),
        // What a service answers is no error of the system's.
        Reason::PermissionDenied(_) if error.action == "put" => Some(
            "look at bucket and prefix in the location; if they are right, a policy must allow this host's puts there",
        ),
        Reason::PermissionDenied(_) => Some(
            "a credential that may only put cannot read: use the one that lists and restores; if it is that one, look at \
             bucket and prefix",
        ),
        Reason::NotAuthenticated { fault, .. } => of_credential(*fault),
        Reason::Full(_) => Some("make room there: `offsite prune` tells what may go; then run it again"),
        Reason::Io(source) => of_system(source.kind()),
        Reason::NoBucket => Some("an administrator makes the bucket; docs/s3.md says how"),
        Reason::NoCredentials(_) => {
            Some("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of the AWS tools: ?profile=NAME")
        }
        Reason::NotTrusted(fault) => of_certificate(fault),
        Reason::NotTls => {
            Some("if the service is to be reached without TLS, its location says so: ?endpoint=http://HOST:PORT")
        }
        Reason::NotHttp(_) => Some("if the service speaks TLS, its location says so: ?endpoint=https://HOST:PORT"),
        Reason::NotS3(_) => {
            Some("look at host and port of the endpoint: a console, a proxy or another program may listen there")
        }
        Reason::Unsupported(_) => {
            Some("a service without conditional puts, such as Backblaze B2, needs ?conditional=off in the location")
        }
        Reason::NoVersions => Some("--store-as-of is for buckets that keep versions"),
        Reason::Unresolved(_) => {
            Some("look at the host's name in the location; if it is right, at this machine's DNS, then run it again")
        }
        Reason::Unreachable(source) => Some(match source.kind() {
            io::ErrorKind::ConnectionRefused => "nothing listens there: look at host and port, or start the service",
            io::ErrorKind::NotConnected => "look at host and port, and at what lies between; or run it again later",
            io::ErrorKind::ConnectionAborted | io::ErrorKind::TimedOut if error.action == "put" => {
                "run it again later; where a line or proxy cuts long uploads, a smaller --slice-size may get through"
            }
            _ => "run it again later; or is it something else than the store that listens there?",
        }),
        Reason::Busy(_) => Some("run it again later"),
        _ => None,
    }
}

/// What to do about a credential that a service does not let in.
fn of_credential(fault: CredentialFault) -> Option<&'static str> {
    Some(match fault {
        CredentialFault::UnknownKeyId => {
            "this service has no such key id: look at AWS_ACCESS_KEY_ID or the profile, and at the endpoint"
        }
        CredentialFault::WrongSecret => {
            "the secret key is not the one of this key id: look at AWS_SECRET_ACCESS_KEY or the profile"
        }
        CredentialFault::Expired => "what was lent for a session is over: get a new credential, and run it again",
        CredentialFault::Clock => "set this machine's clock, for example by NTP",
        _ => return None,
    })
}

/// What to do about a service's certificate that is not trusted.
fn of_certificate(fault: &CertificateFault) -> Option<&'static str> {
    Some(match fault {
        CertificateFault::UnknownIssuer => {
            "name the authority's certificates in SSL_CERT_FILE, if this is your own service"
        }
        CertificateFault::Authority => {
            "the service needs a certificate of its own: make one with CA:FALSE that the authority signs"
        }
        CertificateFault::Expired(_) => "let the service have a new one; or is this machine's clock wrong?",
        CertificateFault::NotYetValid(_) => "is this machine's clock wrong?",
        CertificateFault::OtherName(_) => {
            "name the host as the certificate does; or make one with this name among its subjectAltNames"
        }
        _ => return None,
    })
}

fn of_cms(error: &cms::Error) -> Option<&'static str> {
    match error {
        cms::Error::Key(KeyError::PassphraseNeeded) => {
            Some("give it with --passphrase-file, or run this on a terminal")
        }
        cms::Error::Key(KeyError::WrongPassphrase) => {
            Some("of --passphrase-file the first line counts, blanks included; `offsite key check` tries a passphrase")
        }
        cms::Error::Key(KeyError::NoCertificate) => {
            Some("encrypting needs a certificate (BEGIN CERTIFICATE), such as PREFIX-cert.pem of `offsite keygen`")
        }
        cms::Error::Key(KeyError::SeveralCertificates) => {
            Some("give each recipient's certificate in a file of its own")
        }
        cms::Error::Key(KeyError::NoPrivateKey) => {
            Some("decrypting needs the private key, the file that is kept in the safe")
        }
        cms::Error::NotForThisKey { .. } => {
            Some("`offsite inspect` lists the recipients; decrypt with the key of one of them")
        }
        cms::Error::Slice { problem: SliceProblem::NotLast, .. } => {
            Some("where each slice is in a file of its own, decrypt them together: cat OUT.* | offsite decrypt …")
        }
        cms::Error::Slice { slice: 1.., .. } => {
            Some("every slice before this one is intact; another copy of the message may be whole")
        }
        cms::Error::NotCms { .. } => Some(
            "is this the right file? `offsite encrypt` or openssl must have written it; of a store, `offsite restore` \
             restores backups",
        ),
        cms::Error::Truncated { .. } => Some("the message is incomplete: fetch it again, or look for another copy"),
        cms::Error::Spool(_) => Some("set TMPDIR to a folder with room for the whole message"),
        cms::Error::Usage(UsageError::NoRecipient) => Some("name a certificate with -r, or in OFFSITE_RECIPIENTS"),
        cms::Error::Usage(UsageError::SignsOnly(_)) => {
            Some("a host's signing certificate belongs after --signer; encrypt to PREFIX-cert.pem of `offsite keygen`")
        }
        cms::Error::Usage(UsageError::NotInSmime(_)) => Some("leave out --profile smime, or this recipient"),
        cms::Error::Usage(UsageError::Unauthenticated) => Some("leave out --strict to decrypt it all the same"),
        cms::Error::Trailing { .. } => Some("decrypt messages one at a time, each from a file of its own"),
        _ => None,
    }
}

/// What to do about an error of a restore, where that is not plain.
pub(crate) fn hint_of_restore(error: &restore::Error) -> Option<&'static str> {
    use restore::Error;
    match error {
        Error::Index(PlanError::Io(_)) | Error::System { .. } => Some(
            "temporary files go to the folder that TMPDIR names, or to /var/tmp: is there room, and may you write?",
        ),
        Error::NotEmpty(_) => Some("choose another folder, or go on there with --resume or --overwrite"),
        Error::NoTar | Error::NoPaths => Some("write it out with --stdout, or into a folder with --into"),
        Error::Unpack(unpack::Error::System { source, .. }) => of_target(source.kind()),
        Error::Write(source) => of_system(source.kind()),
        Error::NoStream | Error::NoContent(_) => Some("name one regular file, or restore with --into or --tar"),
        error if error.is_damage() => {
            Some("--keep-going restores what is whole; another backup, or another copy of the store, may have the rest")
        }
        Error::Slice { source, .. } => hint(source),
        _ => None,
    }
}

/// What to do where files cannot be restored to.
fn of_target(error: io::ErrorKind) -> Option<&'static str> {
    match error {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("make room, then go on with --resume"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => of_system(error),
        _ => None,
    }
}

/// Wrong on the command line, rather than in the data?
pub(crate) fn is_usage(error: &Error) -> bool {
    match error {
        Error::Cms { source: cms::Error::Usage(usage), .. } => {
            !matches!(usage, UsageError::Unauthenticated | UsageError::StreamTooLong)
        }
        Error::OtherPaths { .. }
        | Error::Ambiguous(_)
        | Error::Glob { .. }
        | Error::NoGlob
        | Error::NoSuchFinding(_)
        | Error::RelativeStore(_)
        | Error::Pin { problem: PinProblem::NoHost | PinProblem::NotAFingerprint, .. } => true,
        _ => false,
    }
}

/// A time to the second, in UTC.
pub(crate) fn date_and_time(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (hour, minute, second) = time.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}", time.date())
}

/// A time in minutes, rounded up.
pub(crate) fn minutes(time: Duration) -> String {
    match time.as_secs().div_ceil(60) {
        1 => "a minute".to_owned(),
        minutes => counted(minutes, "minute"),
    }
}

/// A number of things, whose word takes an s where there are several.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A table with a line for each row, below its headings; the columns in `right` stand at the right.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    right: &[usize],
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let padded = |(column, cell): (usize, &String)| {
        let width = widths[column];
        if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    };
    let line = |row: &[String; N]| row.iter().enumerate().map(padded).collect::<Vec<_>>().join("  ");
    rows.iter().map(|row| format!("{}\n", line(row).trim_end())).collect()
}

/// A number of bytes in the largest unit that leaves something before the point.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(unit) = bytes.checked_ilog2().map(|log| log as usize / 10).filter(|unit| *unit > 0) else {
        return format!("{bytes} B");
    };
    // In tenths, cut off: 128 bits, since 16 EiB in tenths are more than 64 hold.
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_whole_minutes() {
        let minutes = |seconds| minutes(Duration::from_secs(seconds));
        assert_eq!([minutes(60), minutes(61), minutes(600)], ["a minute", "2 minutes", "10 minutes"]);
    }

    /// Smaller slices may help a put that was cut, and nothing else.
    #[test]
    fn slices_are_blamed_for_cut_puts_alone() {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, NotConnected, Other, TimedOut};
        for (action, kind, blamed) in [
            ("put", ConnectionAborted, true),
            ("put", TimedOut, true),
            ("put", ConnectionRefused, false),
            ("put", NotConnected, false),
            ("put", Other, false),
            ("get", ConnectionAborted, false),
            ("list", TimedOut, false),
        ] {
            let reason = Reason::Unreachable(kind.into());
            let error = store::Error { store: "s3://b".to_owned(), action, object: None, reason };
            assert_eq!(of_store(&error).is_some_and(|hint| hint.contains("--slice-size")), blamed, "{action}, {kind}");
        }
    }

    #[test]
    fn times_are_utc() {
        let time = OffsetDateTime::from_unix_timestamp(1_795_419_900).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let elsewhere = time.to_offset(UtcOffset::from_hms(-9, -30, 0).unwrap_or(UtcOffset::UTC));
        assert_eq!(date_and_time(elsewhere), "2026-11-23 07:45:00");
    }
}
