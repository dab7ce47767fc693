//! `verify`: whether a store holds what its backups need, by whom they are, and since when there is none.
//! From the store alone: receipts are signed and chained, and list the hashes of what is encrypted, so it
//! needs no key.

mod chain;
mod finding;
mod needs;
mod seen;

use time::{Duration, OffsetDateTime};

use crate::damage::Damage;
use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::names::{BackupId, HostName, ObjectName, SetName};
use crate::operations::backups::{self, Found, Scope};
use crate::pins::Pins;
use crate::receipt::{Link, Receipt};
use crate::store;

use chain::Linked;
pub use finding::{Finding, FindingId, NotAFindingId, What};
use needs::Needs;
pub use seen::Seen;

/// What to verify, and how.
pub struct Verify<'a> {
    /// The store.
    pub store: &'a dyn store::Read,
    /// Which of its backups.
    pub scope: &'a Scope,
    /// Whose backups are trusted; where nobody is, those who signed what was seen.
    pub pins: &'a Pins,
    /// The time now.
    pub now: OffsetDateTime,
    /// How old the latest backup of each set may be.
    pub max_age: Option<Duration>,
    /// How long backups are kept: older ones may have been removed by rule, in part or wholly. What is left of them
    /// must be right.
    pub retention: Option<Duration>,
    /// How much is got and hashed; without it only presence and length are compared.
    pub data: Option<Share>,
    /// Hears of bytes that are hashed, and of what stops nothing.
    pub events: &'a dyn Events,
}

/// A share of all objects, chosen at random.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Of a hundred.
    pub percent: u8,
    /// What decides on each object. Whoever knows it knows what is not looked at.
    pub seed: [u8; 32],
}

impl Share {
    fn takes(&self, object: &ObjectName) -> bool {
        let hash = blake3::keyed_hash(&self.seed, object.as_str().as_bytes());
        let number = hash.as_bytes().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % 100 < u64::from(self.percent)
    }
}

/// What was found in a store.
#[derive(Debug, Default)]
pub struct Verified {
    /// The sets that have receipts, by host and set.
    pub sets: Vec<Set>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many objects the backups need, receipts aside.
    pub objects: u64,
    /// How many bytes were got and hashed, beside receipts and lists of slices.
    pub hashed: u64,
}

impl Verified {
    fn position(&self, host: &HostName, set: &SetName) -> Option<usize> {
        self.sets.binary_search_by(|known| (&known.host, &known.set).cmp(&(host, set))).ok()
    }
}

/// The backups of a set.
#[derive(Debug)]
pub struct Set {
    /// The host.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// How many backups count.
    pub backups: usize,
    /// The latest of them, but for those of a time to come.
    pub latest: Option<Found>,
    /// Whether anybody said whose they must be.
    pub is_pinned: bool,
    /// Whether no earlier verification has seen it.
    pub is_new: bool,
    /// Bytes that all of them have put.
    pub stored_bytes: u64,
    /// How many findings there are.
    pub findings: usize,
}

/// Verifies the backups in the scope, and compares them with what was seen of them earlier, if anything was.
///
/// # Errors
///
/// [`Error::NoBackup`] where there is none in the scope and none was seen; [`Error::Store`]. What was seen may then
/// be noted in part.
pub fn verify(what: &Verify<'_>, seen: &mut Seen) -> Result<Verified> {
    verify_each(what, seen, &mut |_| Ok(()))
}

/// The backups of a set that count, by ascending id.
pub(in crate::operations) type Counting = [(Found, Receipt)];

/// As [`verify()`]. Hands the backups of each set to `each`, in the order of [`Verified::sets`].
pub(in crate::operations) fn verify_each(
    what: &Verify<'_>,
    seen: &mut Seen,
    each: &mut dyn FnMut(&Counting) -> Result<()>,
) -> Result<Verified> {
    let Verify { store, scope, .. } = what;
    let mut verified = Verified::default();
    let mut stray = |damage| verified.findings.push(Finding { of: None, what: receipt_is(damage) });
    let listings = backups::listings(*store, scope, &mut stray)?;
    for listings in backups::by_set(&listings) {
        let counting = what.set(listings, seen, &mut verified)?;
        each(&counting)?;
    }
    verified.findings.extend(seen.gone(scope, &|host, set| verified.position(host, set).is_some()));
    // A disk that is not mounted looks like a store without any backup, and nothing is wrong with none.
    if listings.is_empty() && verified.findings.is_empty() {
        return Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() });
    }
    if verified.sets.iter().any(|set| !set.is_pinned && set.backups > 0) {
        what.events.warn(Warning::OriginNotProven);
    }
    seen.settle(scope, what.now, &mut verified.findings);
    for (host, set) in verified.findings.iter().filter_map(|finding| finding.of.as_ref()) {
        if let Some(position) = verified.position(host, set) {
            verified.sets[position].findings += 1;
        }
    }
    Ok(verified)
}

fn receipt_is(damage: Damage) -> What {
    What::Object { damage, others: 0, backups: Vec::new(), needed_by_latest: false }
}

impl Verify<'_> {
    /// Verifies one set, which has a receipt at least; its backups that count.
    fn set(
        &self,
        listings: &[backups::Listing],
        seen: &mut Seen,
        verified: &mut Verified,
    ) -> Result<Vec<(Found, Receipt)>> {
        let name = &listings[0].name;
        let (seen_pins, is_new) = (seen.pins(&name.host), !seen.has(&name.host, &name.set));
        let pins = if self.pins.is_empty() { &seen_pins } else { self.pins };
        let (mut counting, mut findings) = (Vec::<(Found, Receipt)>::new(), Vec::new());
        backups::read_all(self.store, listings, pins, &mut |read| {
            match read {
                Ok((found, receipt)) => {
                    // A lifecycle hides first, and deletes much later.
                    let hiding = found.hiding().filter(|_| !self.may_be_gone(found.name.backup));
                    findings.extend(found.findings().chain(hiding).chain(found.ahead(self.now)).map(receipt_is));
                    if found.distrust().is_none() {
                        counting.push((found, receipt));
                    }
                }
                Err(damage) => findings.push(receipt_is(damage)),
            }
            Ok(())
        })?;
        if pins.is_empty() {
            findings.extend(several_signers(&counting));
        }
        let linked: Vec<Linked> = counting.iter().map(linked).collect();
        findings.extend(chain::check(&linked, self.kept_since()));

        let of_now = counting.iter().filter(|(found, _)| found.ahead(self.now).is_none());
        let latest = of_now.max_by_key(|(found, _)| found.recency());
        if let Some(latest) = latest {
            findings.extend(seen.compare(&counting, latest, self.kept_since()));
        }
        let latest = latest.map(|(found, _)| found);
        let mut needs = Needs::new(name.clone());
        for (found, receipt) in &counting {
            // The latest is always kept.
            let is_latest = latest.is_some_and(|latest| latest.name == found.name);
            needs.add(receipt, self.may_be_gone(receipt.backup) && !is_latest);
        }
        needs.look(self.store)?;
        if let Some(share) = self.data {
            verified.hashed += needs.hash(self.store, &|object| share.takes(object), self.events)?;
        }
        let (objects, wrong) = needs.into_findings(latest.map(|latest| latest.name.backup));
        findings.extend(wrong);
        findings.extend(self.age(latest));

        verified.objects += objects;
        verified.sets.push(Set {
            host: name.host.clone(),
            set: name.set.clone(),
            backups: counting.len(),
            latest: latest.cloned(),
            is_pinned: !pins.is_empty(),
            is_new,
            stored_bytes: counting.iter().map(|(found, _)| found.stored_bytes).sum(),
            findings: 0,
        });
        let of = (name.host.clone(), name.set.clone());
        verified.findings.extend(findings.into_iter().map(|what| Finding { of: Some(of.clone()), what }));
        Ok(counting)
    }

    /// Whether a backup is so old that it may have been removed by rule.
    fn may_be_gone(&self, backup: BackupId) -> bool {
        self.kept_since().is_some_and(|since| backup.start() < since)
    }

    /// Backups from before this may have been removed by rule.
    fn kept_since(&self) -> Option<OffsetDateTime> {
        self.retention.and_then(|retention| self.now.checked_sub(retention))
    }

    fn age(&self, latest: Option<&Found>) -> Option<What> {
        let latest = latest.map(Found::time);
        let is_too_old = |time| self.max_age.is_some_and(|max_age| self.now - time > max_age);
        // A set without any backup that counts is as old as can be.
        latest.is_none_or(is_too_old).then_some(What::TooOld(latest))
    }
}

fn several_signers(counting: &[(Found, Receipt)]) -> Option<What> {
    let signers = backups::signers(counting.iter().map(|(found, _)| found));
    (signers.len() > 1).then_some(What::SeveralSigners(signers))
}

fn linked((found, receipt): &(Found, Receipt)) -> Linked {
    Linked {
        own: Link { backup: receipt.backup, sha256: found.receipt.sha256 },
        previous: receipt.previous,
        unconfirmed: receipt.unconfirmed.clone(),
    }
}
