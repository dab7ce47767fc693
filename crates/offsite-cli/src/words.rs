//! Words for what the library reports, and what to do about it.

use offsite::cms::{self, KeyError, SliceProblem, UsageError};
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
        _ => "something unusual happened".to_owned(),
    }
}

/// What to do about an error, where that is not plain.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Exists { replaceable: true, .. } => Some("choose another name, or replace it with --force"),
        Error::Exists { replaceable: false, .. } => Some("choose another name: keys are never overwritten"),
        Error::Cms { source, .. } => of_cms(source),
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
