//! Words for what `offsite doctor` saw: that something was tried, and worked or was refused, never that
//! it cannot be done.

use offsite::names::{HostName, SetName};
use offsite::operations::doctor::{Check, Folder, Outcome, Validity, Verdict};
use offsite::shown;
use offsite::store::{self, Location, Power, Reason, S3Location};
use time::Duration;

use crate::words;

/// Whose backups go where.
pub(super) struct Words<'a> {
    pub(super) host: &'a HostName,
    pub(super) set: &'a SetName,
    pub(super) to: &'a Location,
}

/// What a check is called.
pub(super) fn name(check: &Check) -> &'static str {
    match check {
        Check::Host(_) => "host",
        Check::OneRecipient => "recipients",
        Check::Recipient { .. } => "recipient",
        Check::State(_) => "state",
        Check::SigningKey { .. } | Check::NoSigningKey { .. } => "signing key",
        Check::Unopened(_) => "store",
        Check::Power { power, .. } => of_power(*power).0,
        Check::Clock(_) => "clock",
        Check::Versions(_) => "versions",
        Check::Settings => "settings",
        Check::Directory => "directory",
        Check::Account => "account",
        Check::Objects(_) => "objects",
        _ => "other",
    }
}

/// A power's name, what was tried, and the action of a policy that allows it.
fn of_power(power: Power) -> (&'static str, &'static str, &'static str) {
    match power {
        Power::Put => ("put", "to put an object among this host's data", "s3:PutObject"),
        Power::PutReceipt => ("put receipt", "to put one among this host's receipts", "s3:PutObject"),
        Power::PutAgain => ("put again", "to put it again, on condition that its name is free", "s3:PutObject"),
        Power::Overwrite => ("overwrite", "to put over it, without a condition", "s3:PutObject"),
        Power::Get => ("get", "to get it", "s3:GetObject"),
        Power::Head => ("head", "to ask for its size and time", "s3:GetObject"),
        Power::List => ("list", "to list this host's objects", "s3:ListBucket"),
        Power::ListAll => ("list all", "to list all of the bucket", "s3:ListBucket"),
        Power::ListVersions => {
            ("list versions", "to list the versions of this host's objects", "s3:ListBucketVersions")
        }
        Power::PutElsewhere => ("put elsewhere", "to put one among another host's data", "s3:PutObject"),
        Power::PutReceiptElsewhere => {
            ("put receipt elsewhere", "to put one among another host's receipts", "s3:PutObject")
        }
        Power::Delete => ("delete", "to delete it", "s3:DeleteObject"),
        Power::DeleteVersion => ("delete version", "to delete a version of it for good", "s3:DeleteObjectVersion"),
        _ => ("other", "something else", "what allows it"),
    }
}

impl Words<'_> {
    /// What was seen.
    pub(super) fn text(&self, check: &Check) -> String {
        match check {
            Check::Host(host) => format!("backups are {host}'s, of set {}, and go to {}", self.set, self.to),
            Check::OneRecipient => "there is one only: whoever loses that key loses every backup".to_owned(),
            Check::Recipient { name, key, validity } => format!("{name}, {key}, {}", of_validity(*validity)),
            Check::State(folder) => of_folder(folder),
            Check::SigningKey { path, key: Ok((fingerprint, exposed)) } => {
                let exposed = if *exposed { ", which others than its owner may read or change" } else { "" };
                format!("{}{exposed}; {fingerprint}", shown(path))
            }
            Check::SigningKey { key: Err(error), .. } => error.to_string(),
            Check::NoSigningKey { path, folder } => match &folder.free {
                Ok(_) => format!("{}: the first backup makes it", shown(path)),
                Err(_) => of_folder(folder),
            },
            Check::Unopened(error) => error.to_string(),
            Check::Power { power, outcome, kept } => tried(*power, outcome, *kept),
            Check::Clock(ahead) => of_clock(*ahead),
            Check::Versions(true) => {
                "the bucket keeps versions: what is put over or deleted stays as an older one".to_owned()
            }
            Check::Versions(false) => "the bucket keeps no versions of what is put, as far as it tells".to_owned(),
            Check::Settings => "retention and lifecycle: this credential need not see them".to_owned(),
            Check::Directory => "whoever is root here can read, change and delete all of the store".to_owned(),
            Check::Account => {
                "whoever has this account can read, overwrite and delete what it has put: SFTP is never put-only"
                    .to_owned()
            }
            Check::Objects(stay) if stay.is_empty() => "what was put to try this is gone again".to_owned(),
            Check::Objects(stay) => {
                let folders = folders(stay).join(", ");
                format!("a few bytes each, which all else passes over, stay of what was put to try this: {folders}")
            }
            _ => "something else was looked at".to_owned(),
        }
    }

    /// What to do about it, where it is not as it should be.
    pub(super) fn remedy(&self, check: &Check) -> Option<String> {
        if check.verdict() == Verdict::Good {
            return None;
        }
        match check {
            Check::OneRecipient => Some("name a second certificate with -r, whose key lies elsewhere".to_owned()),
            Check::Recipient { .. } => Some(
                "`offsite keygen` makes a new key; whatever a certificate says, backups are encrypted to it".to_owned(),
            ),
            Check::State(_) => Some("name another folder in OFFSITE_STATE_DIR, or make room".to_owned()),
            Check::NoSigningKey { .. } | Check::SigningKey { key: Err(_), .. } => {
                Some("name another file in OFFSITE_SIGNING_KEY, or mend this one".to_owned())
            }
            Check::SigningKey { path, .. } => Some(format!(
                "chmod 600 {}; if somebody may have read it, remove it, and trust the one that the next backup makes",
                shown(path)
            )),
            Check::Unopened(error) => words::of_store(error).map(str::to_owned),
            Check::Power { power: Power::Put | Power::PutReceipt, outcome, .. } => self.to_let_put(outcome),
            Check::Power { power, outcome: Outcome::Worked, .. } => Some(self.to_take(*power)),
            Check::Clock(Some(_)) => {
                Some("set this machine's clock, for example by NTP: S3 refuses what is 15 minutes off".to_owned())
            }
            Check::Versions(_) => {
                Some("a bucket with versions and Object Lock keeps what a thief overwrites; docs/s3.md".to_owned())
            }
            Check::Settings => Some(self.to_see_settings()),
            Check::Directory => {
                Some("keep disks that are taken away, or snapshots that another machine makes".to_owned())
            }
            Check::Account => {
                Some("let the other side keep snapshots of the directory, out of the account's reach".to_owned())
            }
            _ => None,
        }
    }

    fn to_let_put(&self, outcome: &Outcome) -> Option<String> {
        let host = self.host;
        match outcome {
            Outcome::Refused(store::Error { reason: Reason::PermissionDenied(_), .. }) => Some(match self.to {
                Location::S3(bucket) => {
                    let arn = arn(bucket);
                    format!(
                        "allow s3:PutObject on {arn}/data/{host}/* and {arn}/receipts/{host}/*, if the credential is right"
                    )
                }
                _ => "let this user write there".to_owned(),
            }),
            Outcome::Refused(error) | Outcome::Unclear(error) => words::of_store(error).map(str::to_owned),
            _ => None,
        }
    }

    fn to_take(&self, power: Power) -> String {
        let (host, (_, _, action)) = (self.host, of_power(power));
        match power {
            Power::PutAgain | Power::Overwrite => {
                "let the bucket keep versions, best under Object Lock; or, at Amazon, \
                 let its policy demand If-None-Match; docs/s3.md"
                    .to_owned()
            }
            Power::PutElsewhere | Power::PutReceiptElsewhere => format!(
                "allow {action} on data/{host}/* and receipts/{host}/* alone, each with its slash before the star"
            ),
            _ => format!("take {action} from what this credential is allowed"),
        }
    }

    fn to_see_settings(&self) -> String {
        let Location::S3(S3Location { bucket, endpoint, .. }) = self.to else { return String::new() };
        let endpoint = endpoint.as_ref().map(|endpoint| format!(" --endpoint-url {endpoint}")).unwrap_or_default();
        let ask = |what: &str| format!("`aws s3api get-{what} --bucket {bucket}{endpoint}`");
        let [versions, lock, lifecycle] =
            ["bucket-versioning", "object-lock-configuration", "bucket-lifecycle-configuration"].map(ask);
        format!("as an administrator: {versions}, {lock}, {lifecycle}")
    }
}

/// Where objects lie, each folder once.
fn folders(objects: &[String]) -> Vec<&str> {
    let mut folders: Vec<&str> = objects.iter().filter_map(|object| Some(object.rsplit_once('/')?.0)).collect();
    folders.dedup();
    folders
}

/// What a policy calls the place of a store.
fn arn(S3Location { bucket, prefix, .. }: &S3Location) -> String {
    if prefix.is_empty() { format!("arn:aws:s3:::{bucket}") } else { format!("arn:aws:s3:::{bucket}/{prefix}") }
}

fn tried(power: Power, outcome: &Outcome, kept: bool) -> String {
    let (_, what, _) = of_power(power);
    match (power, outcome) {
        (Power::Put | Power::PutReceipt, Outcome::Refused(error)) => {
            format!("{what}: tried, and refused: {}", error.reason)
        }
        (Power::PutAgain | Power::Overwrite, Outcome::Worked) if kept => {
            format!("{what}: tried, and it worked; what was there stays as an older version")
        }
        (Power::Delete, Outcome::Worked) if kept => format!("{what}: tried, and it worked; that only hides it"),
        (_, Outcome::Worked) => format!("{what}: tried, and it worked"),
        (_, Outcome::Refused(_)) => format!("{what}: tried, and refused"),
        (Power::Put | Power::PutReceipt, Outcome::Unclear(error)) => {
            format!("{what}: tried, and failed: {}", error.reason)
        }
        (_, Outcome::Unclear(error)) => format!("{what}: tried, without a clear answer: {}", error.reason),
        _ => format!("{what}: there is none"),
    }
}

fn of_validity(validity: Validity) -> String {
    match validity {
        Validity::Until(end) | Validity::EndsSoon(end) => format!("valid until {}", end.date()),
        Validity::NotBefore(start) => format!("not valid before {}", start.date()),
        Validity::Over(end) => format!("expired on {}", end.date()),
        _ => "which does not say how long it is valid".to_owned(),
    }
}

fn of_folder(Folder { path, exists, free }: &Folder) -> String {
    let path = shown(path);
    match free {
        Ok(free) if *exists => format!("{path}, {} free", words::size(*free)),
        Ok(free) => format!("{path}, which the first backup makes; {} free", words::size(*free)),
        Err(error) if *exists => format!("cannot make a file in {path}: {error}"),
        Err(error) => format!("cannot make {path}: {error}"),
    }
}

fn of_clock(ahead: Option<Duration>) -> String {
    let Some(ahead) = ahead else { return "the store told no time to compare with".to_owned() };
    // An answer's date counts seconds, and the answer was under way.
    let seconds = ahead.whole_seconds().unsigned_abs();
    match (seconds, ahead.is_negative()) {
        (0..=2, _) => "this machine's and the store's agree".to_owned(),
        (_, true) => format!("this machine's is {} ahead of the store's", words::counted(seconds, "second")),
        (_, false) => format!("this machine's is {} behind the store's", words::counted(seconds, "second")),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn words_for(to: &str, test: impl Fn(&Words<'_>)) {
        let (host, set) = ("here".parse().unwrap(), "default".parse().unwrap());
        test(&Words { host: &host, set: &set, to: &Location::parse(to.as_ref()).unwrap() });
    }

    fn refused() -> Outcome {
        let reason = Reason::PermissionDenied(io::Error::other("the service answered 403, AccessDenied"));
        Outcome::Refused(store::Error { store: "s3://b".to_owned(), action: "put", object: None, reason })
    }

    fn power(power: Power, outcome: Outcome) -> Check {
        Check::Power { power, outcome, kept: false }
    }

    #[test]
    fn what_was_tried_is_said_to_have_been_tried() {
        words_for("s3://b/p", |words| {
            for (outcome, end) in [(Outcome::Worked, ": tried, and it worked"), (refused(), ": tried, and refused")] {
                let check = power(Power::Delete, outcome);
                assert_eq!(words.text(&check), format!("to delete it{end}"));
                assert_eq!(words.remedy(&check).is_some(), end.ends_with("worked"));
            }
            let check = Check::Power { power: Power::Delete, outcome: Outcome::Worked, kept: true };
            assert_eq!(words.text(&check), "to delete it: tried, and it worked; that only hides it");
        });
    }

    #[test]
    fn a_remedy_names_the_action_and_the_place() {
        words_for("s3://b/p?endpoint=http://h:1", |words| {
            let remedy = |check| words.remedy(&check).unwrap();
            assert!(remedy(power(Power::Get, Outcome::Worked)).contains("s3:GetObject "));
            assert!(remedy(power(Power::DeleteVersion, Outcome::Worked)).contains("s3:DeleteObjectVersion "));
            assert!(remedy(power(Power::PutElsewhere, Outcome::Worked)).contains("data/here/*"));
            assert!(remedy(power(Power::Put, refused())).contains("arn:aws:s3:::b/p/data/here/*"));
            assert!(remedy(power(Power::Overwrite, Outcome::Worked)).contains("If-None-Match"));
            let commands = remedy(Check::Settings);
            assert!(commands.contains("get-object-lock-configuration --bucket b --endpoint-url http://h:1"));
        });
    }

    #[test]
    fn a_clock_is_ahead_or_behind() {
        assert_eq!(of_clock(Some(Duration::seconds(-2))), "this machine's and the store's agree");
        assert_eq!(of_clock(Some(Duration::seconds(-301))), "this machine's is 301 seconds ahead of the store's");
        assert_eq!(of_clock(Some(Duration::seconds(3))), "this machine's is 3 seconds behind the store's");
    }

    #[test]
    fn sftp_is_never_put_only() {
        words_for("sftp://h/p", |words| {
            assert!(words.text(&Check::Account).contains("never put-only"));
            assert!(words.remedy(&Check::Account).unwrap().contains("snapshots"));
        });
    }
}
