//! Finding backups: their receipts, verified.

use std::ops::ControlFlow;

use time::{Duration, OffsetDateTime};

use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::hashes::{Fingerprint, Hashed};
use crate::names::{BackupId, BackupName, Folder, HostName, SetName};
use crate::ordered::in_order;
use crate::pins::{Pins, Verdict};
use crate::receipt::{self, Counts, Given, Receipt, Status};
use crate::store::{self, Reason};

/// How much later than it was stored a receipt may say that it was made, and than now that it was: clocks differ.
const AHEAD: Duration = Duration::days(1);

/// Of which hosts and sets backups are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// This host's; None for every host's.
    pub host: Option<HostName>,
    /// Sets of this name; None for all.
    pub set: Option<SetName>,
}

impl Scope {
    /// Whether a set is in it.
    pub(in crate::operations) fn has(&self, host: &HostName, set: &SetName) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted == host) && self.set.as_ref().is_none_or(|wanted| wanted == set)
    }

    /// The folder of all receipts in it.
    fn folder(&self) -> Folder {
        let folder = match (&self.host, &self.set) {
            (None, _) => "receipts".to_owned(),
            (Some(host), None) => format!("receipts/{host}"),
            (Some(host), Some(set)) => format!("receipts/{host}/{set}"),
        };
        folder.parse().expect("a host and a set are names of folders")
    }
}

/// A backup, as its receipt has it; the lists of what it consists of are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Host, set and id.
    pub name: BackupName,
    /// The receipt as it is stored.
    pub receipt: Hashed,
    /// When the store says that the receipt was put.
    pub stored: OffsetDateTime,
    /// Whether the store hides the receipt since somebody deleted it. It keeps it, so the backup
    /// counts.
    pub hidden: bool,
    /// Whether somebody put something else under the receipt's name. The store keeps versions, and this
    /// is the oldest one that verifies.
    pub rewritten: bool,
    /// When the backup ended.
    pub end: OffsetDateTime,
    /// What was backed up.
    pub given: Given,
    /// Whether everything is in it.
    pub status: Status,
    /// How much was backed up.
    pub counts: Counts,
    /// Bytes that the run put.
    pub stored_bytes: u64,
    /// Who signed it.
    pub signer: Fingerprint,
    /// Whether that signer is trusted.
    pub trust: Verdict,
}

impl Found {
    /// That its signer is not among those that are pinned, if that is so.
    #[must_use]
    pub fn distrust(&self) -> Option<Damage> {
        let problem = Problem::NotPinned(self.signer);
        (self.trust == Verdict::NotPinned).then(|| Damage { object: self.name.receipt(), problem })
    }

    /// What is wrong with its receipt, though it counts.
    pub fn findings(&self) -> impl Iterator<Item = Damage> {
        let rewritten = self.rewritten.then(|| Damage { object: self.name.receipt(), problem: Problem::Rewritten });
        rewritten.into_iter().chain(self.distrust())
    }

    /// That somebody deleted its receipt, if that is so.
    pub(in crate::operations) fn hiding(&self) -> Option<Damage> {
        self.hidden.then(|| Damage { object: self.name.receipt(), problem: Problem::Hidden })
    }

    /// That its time has yet to come, if that is so: it would be the latest until then, whatever follows it. Whoever
    /// can write into a directory sets the times of its files as well, and clocks go wrong.
    pub(in crate::operations) fn ahead(&self, now: OffsetDateTime) -> Option<Damage> {
        let problem = Problem::Ahead(self.time());
        (self.time() - now > AHEAD).then(|| Damage { object: self.name.receipt(), problem })
    }

    /// When the backup started, as it says itself.
    #[must_use]
    pub fn start(&self) -> OffsetDateTime {
        self.name.backup.start()
    }

    /// The latest backup has the greatest. Times are to the second; of equal ones that which was put last
    /// comes last in the chain.
    pub(in crate::operations) fn recency(&self) -> (OffsetDateTime, OffsetDateTime, BackupId) {
        recency(self.name.backup, self.stored)
    }

    /// The time that counts: a clock that ran ahead does not make a backup the latest for long.
    #[must_use]
    pub fn time(&self) -> OffsetDateTime {
        time(self.name.backup, self.stored)
    }
}

/// See [`Found::time`].
fn time(backup: BackupId, stored: OffsetDateTime) -> OffsetDateTime {
    backup.start().min(stored)
}

/// See [`Found::recency`].
pub(in crate::operations) fn recency(
    backup: BackupId,
    stored: OffsetDateTime,
) -> (OffsetDateTime, OffsetDateTime, BackupId) {
    (time(backup, stored), stored, backup)
}

/// A receipt that is listed and not yet read.
pub(in crate::operations) struct Listing {
    pub(in crate::operations) name: BackupName,
    stored: OffsetDateTime,
    /// Whether there is more than one version of it, or it is hidden.
    disturbed: bool,
    hidden: bool,
}

/// Reads and verifies all receipts in the scope, one at a time, ordered by host, set and id. What is
/// no valid receipt is told to `events`, and passed over; so is one that is deleted meanwhile.
///
/// # Errors
///
/// [`Error::Store`].
pub fn survey(
    store: &dyn store::Read,
    scope: &Scope,
    pins: &Pins,
    events: &dyn Events,
    each: &mut dyn FnMut(Found, Receipt),
) -> Result<()> {
    let mut stray = |stray| events.damage(&stray);
    read_all(store, &listings(store, scope, &mut stray)?, pins, &mut |read| {
        match read {
            Ok((found, receipt)) => each(found, receipt),
            Err(damage) => events.damage(&damage),
        }
        Ok(())
    })
}

/// Reads and verifies these receipts, several at once, and hands them to `each` in their order, but for those
/// that are no longer there.
pub(in crate::operations) fn read_all(
    store: &dyn store::Read,
    listings: &[Listing],
    pins: &Pins,
    each: &mut dyn FnMut(Result<(Found, Receipt), Damage>) -> Result<()>,
) -> Result<()> {
    let threads = store.at_once().min(listings.len()).max(1);
    let ((), read) = in_order(
        threads,
        1,
        2 * threads,
        || (),
        |(), listing| read(store, listing, pins),
        |jobs| {
            let _ = listings.iter().try_for_each(|listing| jobs.push(listing));
        },
        |mut read| {
            read.try_for_each(|read| match read {
                Ok(Some(read)) => each(Ok(read)),
                Ok(None) => Ok(()),
                Err(Error::Damage(damage)) => each(Err(damage)),
                Err(error) => Err(error),
            })
        },
    );
    read
}

/// The names of all receipts in the scope, in order. What lies among them and is not named as one goes to
/// `stray`.
pub(in crate::operations) fn listings(
    store: &dyn store::Read,
    scope: &Scope,
    stray: &mut dyn FnMut(Damage),
) -> Result<Vec<Listing>> {
    let mut listings = Vec::new();
    store.list(&scope.folder(), &mut |listed| {
        match BackupName::of_receipt(&listed.object) {
            Some(name) if scope.has(&name.host, &name.set) => {
                let disturbed = listed.versions > 1 || listed.hidden;
                listings.push(Listing { name, stored: listed.time, disturbed, hidden: listed.hidden });
            }
            Some(_) => {}
            None => stray(Damage { object: listed.object, problem: Problem::NotAReceipt }),
        }
        ControlFlow::Continue(())
    })?;
    // A store goes by the bytes of whole names, in which `a-b/` comes before `a/`.
    listings.sort_unstable_by(|one: &Listing, other: &Listing| one.name.cmp(&other.name));
    Ok(listings)
}

/// Those of each set, where they are in order.
pub(in crate::operations) fn by_set(listings: &[Listing]) -> impl Iterator<Item = &[Listing]> {
    listings.chunk_by(|one, other| one.name.of() == other.name.of())
}

/// Reads and verifies a receipt; None where it is no longer there.
fn read(store: &dyn store::Read, listing: &Listing, pins: &Pins) -> Result<Option<(Found, Receipt)>> {
    let Listing { name, stored, .. } = listing;
    let object = name.receipt();
    if listing.disturbed
        && let Some(read) = read_versions(store, listing, pins)?
    {
        return Ok(Some(read));
    }
    let problem = match store.get(&object, receipt::limits::SIZE) {
        Ok(message) => match verify(&message, name, *stored) {
            Ok(receipt) => return Ok(Some((found(&message, &receipt, listing, pins, false), receipt))),
            Err(problem) => problem,
        },
        Err(error) => match error.reason {
            Reason::NotFound => return Ok(None),
            Reason::TooLarge { limit } => Problem::TooLong(limit as u64),
            Reason::NotAnObject => Problem::NotAnObject,
            // One bad sector, or one object that somebody put for nobody to read, must not hide all
            // other backups.
            Reason::Io(source) | Reason::PermissionDenied(source) => Problem::Unreadable(source),
            _ => return Err(error.into()),
        },
    };
    Err(Damage { object, problem }.into())
}

/// The oldest version that verifies: names are given once, so what came later is somebody else's.
fn read_versions(store: &dyn store::Read, listing: &Listing, pins: &Pins) -> Result<Option<(Found, Receipt)>> {
    let mut right: Option<(Vec<u8>, Receipt)> = None;
    let mut others = false;
    store.versions(&listing.name.receipt(), receipt::limits::SIZE, &mut |message| {
        match (&right, verify(&message, &listing.name, listing.stored)) {
            (None, Ok(receipt)) => right = Some((message, receipt)),
            (right, _) => others |= right.as_ref().is_none_or(|(right, _)| *right != message),
        }
        // How many others there are is of no interest.
        if right.is_some() && others { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(right.map(|(message, receipt)| (found(&message, &receipt, listing, pins, others), receipt)))
}

fn verify(message: &[u8], name: &BackupName, stored: OffsetDateTime) -> Result<Receipt, Problem> {
    let BackupName { host, set, backup } = name;
    let receipt = receipt::open(message, host, set, *backup).map_err(Problem::Receipt)?;
    let signed = receipt.start();
    if signed - stored > AHEAD { Err(Problem::Future { signed, stored }) } else { Ok(receipt) }
}

fn found(message: &[u8], receipt: &Receipt, listing: &Listing, pins: &Pins, rewritten: bool) -> Found {
    Found {
        name: listing.name.clone(),
        receipt: Hashed::of(message),
        stored: listing.stored,
        hidden: listing.hidden,
        rewritten,
        end: receipt.end,
        given: receipt.given,
        status: receipt.status(),
        counts: receipt.counts,
        stored_bytes: receipt.stored_bytes(),
        signer: Fingerprint::of(&receipt.signer),
        trust: pins.check(&listing.name.host, &receipt.signer),
    }
}
