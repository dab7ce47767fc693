//! `report`: the state of a store, as `verify` finds it, with what its backups have been over time: when, how
//! large, by whom and for whom. It needs no key.
//!
//! Memory: what `verify` holds of one set, and of each set what stands in [`Set`], at most some ten kilobytes,
//! however many backups it has.

mod history;

use std::collections::BTreeMap;

use offsite_cms::Certificate;

use crate::error::{Error, Result, SignerDates};
use crate::hashes::{Fingerprint, Hashed};
use crate::names::{BackupFile, HostName, SetName};
use crate::operations::backups::{self, Found};
use crate::operations::verify::{Finding, Seen, Verified, Verify, verify_each};
use crate::receipt::Receipt;
use crate::store;

use history::newest;
pub use history::{History, MARKS, Mark};

/// How many of a set's newest backups are told one by one.
pub const NEWEST: usize = 10;

/// How many of a set's signers are told one by one. Without pins anybody can sign, as many as they like.
pub const SIGNERS: usize = 8;

/// Largest `recipients.pem` that is read, in bytes: 64 certificates of 16 KiB, as PEM.
const RECIPIENTS_PEM: u64 = 64 * (24 << 10);

/// Most certificates that are kept, of all sets.
const CERTIFICATES: usize = 1024;

/// The state of a store.
#[derive(Debug, Default)]
pub struct Reported {
    /// The sets by host and set; those among them that were seen and of which there is nothing now.
    pub sets: Vec<Set>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many objects the backups need, receipts aside.
    pub objects: u64,
    /// The certificates of recipients, as far as the store has them.
    pub certificates: BTreeMap<Fingerprint, Certificate>,
}

/// The backups of a set. Only those count whose receipts are right and whose signers are trusted.
#[derive(Debug)]
pub struct Set {
    /// The host.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// How many backups there are.
    pub backups: usize,
    /// The newest of them, newest first; at most [`NEWEST`].
    pub newest: Vec<Found>,
    /// Whether anybody said whose they must be.
    pub is_pinned: bool,
    /// Bytes that all of them have put.
    pub stored_bytes: u64,
    /// Who signed them, by the time of their first one; at most [`SIGNERS`].
    pub signers: Vec<SignerDates>,
    /// How many have signed them.
    pub signers_in_all: usize,
    /// Whom the latest is sealed to.
    pub recipients: Vec<Fingerprint>,
    /// The last days.
    pub recent: History,
    /// All the time since the first backup.
    pub whole: History,
}

impl Set {
    /// The latest backup.
    #[must_use]
    pub fn latest(&self) -> Option<&Found> {
        self.newest.first()
    }

    /// Nothing of it is there.
    fn gone(host: HostName, set: SetName) -> Self {
        Self {
            host,
            set,
            backups: 0,
            newest: Vec::new(),
            is_pinned: false,
            stored_bytes: 0,
            signers: Vec::new(),
            signers_in_all: 0,
            recipients: Vec::new(),
            recent: History::default(),
            whole: History::default(),
        }
    }
}

/// What is known of a set beside what `verify` tells.
struct Known {
    newest: Vec<Found>,
    signers: Vec<SignerDates>,
    recipients: Vec<Fingerprint>,
    recent: History,
    whole: History,
}

/// Verifies the backups in the scope as [`verify`](super::verify::verify()) does, and tells what they have been.
///
/// # Errors
///
/// As `verify`.
pub fn report(what: &Verify<'_>, seen: &mut Seen) -> Result<Reported> {
    let mut certificates = BTreeMap::new();
    let mut known = Vec::new();
    let Verified { sets, findings, objects, .. } = verify_each(what, seen, &mut |counting| {
        let all = || counting.iter().map(|(found, _)| found);
        let newest = newest(all(), NEWEST);
        let latest = newest.first().and_then(|latest| counting.iter().find(|(found, _)| found.name == latest.name));
        if let Some((found, receipt)) = latest {
            add_certificates(what.store, found, receipt, &mut certificates)?;
        }
        known.push(Known {
            newest,
            signers: backups::signers(all()),
            recipients: latest.map(|(_, receipt)| receipt.recipients.clone()).unwrap_or_default(),
            recent: History::recent(all(), what.now),
            whole: History::whole(all(), what.now),
        });
        Ok(())
    })?;
    let mut sets: Vec<Set> = sets
        .into_iter()
        .zip(known)
        .map(|(verified, known)| Set {
            host: verified.host,
            set: verified.set,
            backups: verified.backups,
            newest: known.newest,
            is_pinned: verified.is_pinned,
            stored_bytes: verified.stored_bytes,
            signers_in_all: known.signers.len(),
            signers: known.signers.into_iter().take(SIGNERS).collect(),
            recipients: known.recipients,
            recent: known.recent,
            whole: known.whole,
        })
        .collect();
    add_gone(&findings, &mut sets);
    Ok(Reported { sets, findings, objects, certificates })
}

/// Adds the sets of which only a finding tells.
fn add_gone(findings: &[Finding], sets: &mut Vec<Set>) {
    for (host, set) in findings.iter().filter_map(|finding| finding.of.as_ref()) {
        let position = sets.binary_search_by(|known| (&known.host, &known.set).cmp(&(host, set)));
        if let Err(position) = position {
            sets.insert(position, Set::gone(host.clone(), set.clone()));
        }
    }
}

/// Adds the certificates of a backup's recipients, as far as the store has them. What is wrong with the object
/// that holds them `verify` tells.
///
/// A certificate is believed only if the receipt has its fingerprint; the receipt has the SHA-256 of
/// `recipients.pem` as well, but this vouches only for what the host has put there.
fn add_certificates(
    store: &dyn store::Read,
    found: &Found,
    receipt: &Receipt,
    known: &mut BTreeMap<Fingerprint, Certificate>,
) -> Result<()> {
    // Most hosts have the same recipients, whose certificates are got once.
    if receipt.recipients.iter().all(|recipient| known.contains_key(recipient)) || known.len() >= CERTIFICATES {
        return Ok(());
    }
    let file = BackupFile::Recipients;
    let listed = receipt.objects.iter().find(|object| object.file == file).map(|object| object.contents);
    let Some(contents @ Hashed { size: ..=RECIPIENTS_PEM, .. }) = listed else { return Ok(()) };
    let pem = match backups::get(store, &found.name.file(file), contents) {
        Ok(pem) => pem,
        Err(Error::Store(error)) if error.is_retryable() => return Err(error.into()),
        Err(_) => return Ok(()),
    };
    for certificate in Certificate::all_from_file(&pem).unwrap_or_default() {
        let fingerprint = Fingerprint::of(&certificate);
        if receipt.recipients.contains(&fingerprint) {
            known.insert(fingerprint, certificate);
        }
    }
    Ok(())
}
