//! The report of a drill, as data.

use std::time::Duration;

use offsite::cms::Certificate;
use offsite::hashes::Fingerprint;
use offsite::operations::backups::Found;
use offsite::operations::drill::{self, Blame, Candidate, Drill, Drilled, Extent, Failures};
use offsite::pins::Verdict;
use offsite::receipt::rfc_3339;
use offsite::shown;
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::OpenStore;

/// The report. Its keys in JSON are only ever added.
#[derive(Serialize)]
pub(super) struct Report {
    /// The version of this program.
    pub(super) offsite: &'static str,
    /// When the drill started.
    pub(super) time: String,
    pub(super) seconds: f64,
    pub(super) store: String,
    /// As of when a bucket with versions was read, if not as it is.
    pub(super) store_as_of: Option<String>,
    /// `quick`, or `full`.
    pub(super) extent: &'static str,
    /// Where to it was restored, if anywhere.
    pub(super) into: Option<String>,
    /// Whether signers were pinned.
    pub(super) pinned: bool,
    pub(super) result: Outcome,
    pub(super) keys: Vec<Key>,
    pub(super) backups: Vec<Backup>,
    /// What is wrong among the receipts, of no set.
    pub(super) failures: Vec<Failure>,
    pub(super) more_failures: u64,
    #[serde(skip)]
    pub(super) worst: Option<Blame>,
}

/// What came of a drill.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// The store could not be reached before its turn came.
    NotDrilled,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotDrilled => "not drilled",
        }
    }
}

/// A private key that the drill was given.
#[derive(Serialize)]
pub(super) struct Key {
    pub(super) file: String,
    /// Of its certificates, where its file holds any.
    pub(super) fingerprints: Vec<String>,
}

/// A set, and the backup that was drilled. Where there is none, or it was not drilled, what would be known is left out.
#[derive(Serialize)]
pub(super) struct Backup {
    pub(super) host: String,
    pub(super) set: String,
    pub(super) result: Outcome,
    #[serde(flatten)]
    pub(super) receipt: Option<Receipt>,
    #[serde(flatten)]
    pub(super) proof: Option<Proof>,
    pub(super) failures: Vec<Failure>,
    pub(super) more_failures: u64,
}

/// What the receipt says, whose signature is right.
#[derive(Serialize)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) time: String,
    pub(super) end: String,
    pub(super) status: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) signature: &'static str,
    pub(super) signer: String,
    /// `proven` by a pin, or `unproven`.
    pub(super) origin: &'static str,
    pub(super) receipt_sha256: String,
}

/// What was done, and what came of it.
#[derive(Serialize)]
pub(super) struct Proof {
    /// Entries restored; null in a quick drill, and where the restore ended early.
    pub(super) entries: Option<u64>,
    pub(super) lost: Option<u64>,
    /// The key that restored.
    pub(super) restored_by: Option<String>,
    /// Bytes of the tar or stream, where nothing of it was lost.
    pub(super) restored_bytes: Option<u64>,
    pub(super) objects: u64,
    pub(super) stored_bytes: u64,
    pub(super) seconds: f64,
    pub(super) bytes_per_second: Option<u64>,
    /// Things that could not be made or set in the folder, though all data are right.
    pub(super) problems: u64,
    pub(super) keys: Vec<Opened>,
    pub(super) recipients: Vec<Recipient>,
}

/// Whether a key has opened what it should.
#[derive(Serialize)]
pub(super) struct Opened {
    pub(super) file: String,
    pub(super) opened: bool,
}

#[derive(Clone, Serialize)]
pub(super) struct Recipient {
    pub(super) fingerprint: String,
    pub(super) name: Option<String>,
    /// When the certificate ends.
    pub(super) expires: Option<String>,
    /// The key of the drill that is this recipient's.
    pub(super) key: Option<String>,
    pub(super) proven: bool,
}

#[derive(Serialize)]
pub(super) struct Failure {
    /// `backup`, `key`, `store` or `machine`.
    pub(super) blame: &'static str,
    pub(super) text: String,
    /// How many entries are lost by it.
    pub(super) lost: u64,
}

impl Report {
    pub(super) fn new(
        source: &OpenStore,
        what: &Drill<'_>,
        as_of: Option<OffsetDateTime>,
        start: OffsetDateTime,
    ) -> Self {
        let key = |key: &drill::Key| {
            let certificates = key.private.certificates().iter();
            Key {
                file: shown(&key.path),
                fingerprints: certificates.map(|of| Fingerprint::of(of).to_string()).collect(),
            }
        };
        Self {
            offsite: env!("CARGO_PKG_VERSION"),
            time: rfc_3339(start),
            seconds: 0.0,
            store: source.location.to_string(),
            store_as_of: as_of.map(rfc_3339),
            extent: if what.extent == Extent::Quick { "quick" } else { "full" },
            into: if let Extent::Into(folder) = what.extent { Some(shown(folder)) } else { None },
            pinned: !source.pins.is_empty(),
            result: Outcome::Failed,
            keys: what.keys.iter().map(key).collect(),
            backups: Vec::new(),
            failures: Vec::new(),
            more_failures: 0,
            worst: None,
        }
    }

    /// Adds what is wrong with no set in particular.
    pub(super) fn add_failures(&mut self, failures: &Failures) {
        self.worst = self.worst.max(failures.worst());
        self.failures.extend(failures.first().iter().map(failure));
        self.more_failures += failures.more();
    }

    /// Adds a set, and what came of its drill, if there was one.
    pub(super) fn add(&mut self, set: &Candidate, drilled: Option<&Drilled>, keys: &[drill::Key], took: Duration) {
        let failures = [Some(&set.failures), drilled.map(|drilled| &drilled.failures)];
        let failures: Vec<&Failures> = failures.into_iter().flatten().collect();
        let worst = failures.iter().filter_map(|failures| failures.worst()).max();
        let result = match (worst, drilled) {
            (Some(_), _) => Outcome::Failed,
            (None, Some(_)) => Outcome::Passed,
            (None, None) => Outcome::NotDrilled,
        };
        self.worst = self.worst.max(worst);
        self.backups.push(Backup {
            host: set.host.to_string(),
            set: set.set.to_string(),
            result,
            receipt: set.found.as_ref().map(receipt),
            proof: drilled.map(|drilled| proof(drilled, keys, took)),
            failures: failures.iter().flat_map(|failures| failures.first()).map(failure).collect(),
            more_failures: failures.iter().map(|failures| failures.more()).sum(),
        });
    }

    /// Ends the report: all has been drilled that could be.
    pub(super) fn end(&mut self, took: Duration) {
        self.seconds = seconds(took);
        let passed = self.worst.is_none() && self.backups.iter().all(|backup| backup.result == Outcome::Passed);
        self.result = if passed { Outcome::Passed } else { Outcome::Failed };
    }

    /// How many things could not be made or set in the folder.
    pub(super) fn problems(&self) -> u64 {
        self.backups.iter().filter_map(|backup| backup.proof.as_ref()).map(|proof| proof.problems).sum()
    }

    /// Each failure, and of what, in a line.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        let of_none = lines(String::new(), &self.failures, self.more_failures);
        of_none.chain(self.backups.iter().flat_map(|backup| {
            let of = format!("{}/{}: ", backup.host, backup.set);
            let skipped = (backup.result == Outcome::NotDrilled).then(|| format!("{of}not drilled"));
            lines(of, &backup.failures, backup.more_failures).chain(skipped)
        }))
    }

    pub(super) fn json(&self) -> String {
        // Strings and numbers: nothing that JSON could refuse.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn lines(of: String, failures: &[Failure], more: u64) -> impl Iterator<Item = String> {
    let more = (more > 0).then(|| format!("{of}{more} more failures"));
    failures.iter().map(move |failure| format!("{of}{}", failure.text)).chain(more)
}

fn receipt(found: &Found) -> Receipt {
    Receipt {
        id: found.name.backup.to_string(),
        time: rfc_3339(found.start()),
        end: rfc_3339(found.end),
        status: found.status.to_string(),
        files: found.counts.files,
        bytes: found.counts.bytes,
        signature: "verified",
        signer: found.signer.to_string(),
        origin: if found.trust == Verdict::Pinned { "proven" } else { "unproven" },
        receipt_sha256: found.receipt.sha256.to_string(),
    }
}

fn proof(drilled: &Drilled, keys: &[drill::Key], took: Duration) -> Proof {
    let file = |key: usize| keys.get(key).map(|key| shown(&key.path));
    let restored = drilled.restored.as_ref();
    let whole = restored.filter(|(_, restored)| restored.lost == 0).map(|_| drilled.bytes);
    let recipient = |recipient: &drill::Recipient| {
        let certificate = recipient.certificate.as_ref();
        Recipient {
            fingerprint: recipient.fingerprint.to_string(),
            name: certificate.map(|certificate| shown(certificate.name().as_ref())),
            expires: certificate.and_then(Certificate::not_after).map(rfc_3339),
            key: recipient.key.and_then(file),
            proven: recipient.proven,
        }
    };
    Proof {
        entries: restored.map(|(_, restored)| restored.entries - restored.lost),
        lost: restored.map(|(_, restored)| restored.lost),
        restored_by: restored.and_then(|(key, _)| file(*key)),
        restored_bytes: whole,
        objects: drilled.objects,
        stored_bytes: drilled.stored_bytes,
        seconds: seconds(took),
        bytes_per_second: whole.and_then(|bytes| rate(bytes, took)),
        problems: drilled.problems,
        keys: (0..)
            .zip(&drilled.opened)
            .filter_map(|(key, opened)| Some(Opened { file: file(key)?, opened: *opened }))
            .collect(),
        recipients: drilled.recipients.iter().map(recipient).collect(),
    }
}

fn failure(failure: &drill::Failure) -> Failure {
    let blame = match failure.blame {
        Blame::Backup => "backup",
        Blame::Key => "key",
        Blame::Store => "store",
        Blame::Machine => "machine",
    };
    let lost = failure.lost.as_ref().map_or(0, |lost| 1 + lost.others);
    Failure { blame, text: failure.to_string(), lost }
}

/// To the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Bytes a second; None in no time.
fn rate(bytes: u64, took: Duration) -> Option<u64> {
    let rate = u128::from(bytes) * 1_000_000_000 / Some(took.as_nanos()).filter(|nanos| *nanos > 0)?;
    u64::try_from(rate).ok()
}
