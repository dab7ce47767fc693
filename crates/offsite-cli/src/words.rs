//! Words for what the library reports, and what to do about it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use offsite::archive::incident::{Incident, What};
use offsite::cms::{self, KeyError, SliceProblem, UsageError};
use offsite::receipt::NoPrevious;
use offsite::{Error, Warning, shown};

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
        Warning::Entry(incident) => of_incident(incident),
        Warning::OneRecipient => "there is one recipient only: whoever loses that key loses every backup".to_owned(),
        Warning::SignerMade { path, fingerprint } => format!(
            "made this host's signing key, {}: keep its certificate where backups are checked ({fingerprint})",
            shown(path)
        ),
        Warning::SignerExposed(path) => format!("others than its owner may read the signing key, {}", shown(path)),
        Warning::ReceiptPutAgain(backup) => {
            format!("the run that made {backup} was interrupted at its end; the backup is complete now")
        }
        Warning::ReceiptUnconfirmed(backup) => {
            format!("the run that made {backup} was interrupted at its end; whether the backup is there is not known")
        }
        Warning::ChainBroken(reason) => of_broken_chain(*reason).to_owned(),
        _ => "something unusual happened".to_owned(),
    }
}

fn of_broken_chain(reason: NoPrevious) -> &'static str {
    match reason {
        NoPrevious::NoState => "this is the first backup of this set that this host knows of",
        NoPrevious::UnreadableState => "the state of this set cannot be read, so its chain of backups begins anew",
        NoPrevious::OtherMachine => {
            "the state of this set is another machine's, so its chain of backups begins anew: is this a copy of it?"
        }
    }
}

fn of_incident(incident: &Incident) -> String {
    let path = shown(Path::new(OsStr::from_bytes(&incident.path)));
    let path = if incident.path.is_empty() { "/".to_owned() } else { path };
    match &incident.what {
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

/// What to do about an error, where that is not plain.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Exists { replaceable: true, .. } => Some("choose another name, or replace it with --force"),
        Error::Exists { replaceable: false, .. } => Some("choose another name: keys are never overwritten"),
        Error::Cms { source, .. } => of_cms(source),
        Error::InUse(_) => Some("wait for it to end, or start this one with --wait"),
        Error::CommandFailed { .. } => Some("earlier backups are untouched; look at what the command wrote"),
        _ => None,
    }
}

fn of_cms(error: &cms::Error) -> Option<&'static str> {
    match error {
        cms::Error::Key(KeyError::PassphraseNeeded) => {
            Some("give it with --passphrase-file, or run this on a terminal")
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
        cms::Error::Truncated { .. } => Some("the message is incomplete: fetch it again, or look for another copy"),
        cms::Error::Spool(_) => Some("set TMPDIR to a folder with room for the whole message"),
        cms::Error::Usage(UsageError::NoRecipient) => Some("name a certificate with -r, or in OFFSITE_RECIPIENTS"),
        cms::Error::Usage(UsageError::NotInSmime(_)) => Some("leave out --profile smime, or this recipient"),
        cms::Error::Usage(UsageError::Unauthenticated) => Some("leave out --strict to decrypt it all the same"),
        cms::Error::Trailing { .. } => Some("decrypt messages one at a time, each from a file of its own"),
        _ => None,
    }
}

/// Wrong on the command line, rather than in the data?
pub(crate) fn is_usage(error: &Error) -> bool {
    matches!(error, Error::Cms { source: cms::Error::Usage(usage), .. } if !matches!(usage, UsageError::Unauthenticated | UsageError::StreamTooLong))
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 999.5 && unit + 1 < units.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{scaled:.1} {}", units[unit]) }
}
