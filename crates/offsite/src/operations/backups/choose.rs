//! Deciding for one backup.

use std::collections::BTreeMap;

use super::find::{self, Found, Listing, Scope};
use crate::error::{Error, Result, SignerDates};
use crate::events::{Events, Warning};
use crate::hashes::Fingerprint;
use crate::names::{BackupId, BackupName};
use crate::pins::Pins;
use crate::store;

/// Which backup of a set is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The latest one, by [`Found::time`].
    #[default]
    Latest,
    /// The one with this id.
    Id(BackupId),
}

/// Decides for a backup of the one set in the scope. What is no valid receipt, or not of a pinned
/// signer, is told to `events` and does not count. Where nothing is pinned, all backups of the set
/// must be of one signer, and `events` is warned that the origin is not proven.
///
/// # Errors
///
/// [`Error::NoBackup`], [`Error::NoSuchBackup`]; [`Error::Ambiguous`] where there are several sets in
/// the scope; [`Error::SeveralSigners`]; [`Error::Damage`] where the backup that was asked for does not
/// count; [`Error::Store`].
pub fn choose(store: &dyn store::Read, scope: &Scope, which: Which, pins: &Pins, events: &dyn Events) -> Result<Found> {
    let listings = find::listings(store, scope, &mut |stray| events.damage(&stray))?;
    one_set(&listings, scope)?;
    choose_of_set(store, &listings, which, pins, events)
}

/// The same for a set whose receipts are listed: at least one.
pub(in crate::operations) fn choose_of_set(
    store: &dyn store::Read,
    listings: &[Listing],
    which: Which,
    pins: &Pins,
    events: &dyn Events,
) -> Result<Found> {
    let BackupName { host, set, .. } =
        listings.first().map(|listing| listing.name.clone()).expect("a set has receipts");
    let wanted = match which {
        Which::Latest => None,
        Which::Id(backup) => Some(BackupName { host: host.clone(), set: set.clone(), backup }),
    };
    let mut listings = listings;
    if let Some(wanted) = &wanted {
        let Some(at) = listings.iter().position(|listing| listing.name == *wanted) else {
            return Err(Error::NoSuchBackup(wanted.clone()));
        };
        if !pins.is_empty() {
            // The pins decide, whoever signed the others.
            listings = &listings[at..=at];
        }
    }
    let mut counting = Vec::new();
    find::read_all(store, listings, pins, &mut |read| {
        let damage = match read {
            Ok((found, _)) => match found.distrust() {
                Some(damage) => damage,
                None => {
                    found.findings().for_each(|damage| events.damage(&damage));
                    counting.push(found);
                    return Ok(());
                }
            },
            Err(damage) => damage,
        };
        if wanted.as_ref().is_some_and(|wanted| wanted.receipt() == damage.object) {
            return Err(damage.into());
        }
        events.damage(&damage);
        Ok(())
    })?;
    if pins.is_empty() && !counting.is_empty() {
        let signers = signers(&counting);
        if signers.len() > 1 {
            return Err(Error::SeveralSigners { host, set, signers });
        }
        events.warn(Warning::OriginNotProven);
    }
    let chosen = match wanted {
        Some(wanted) => counting.into_iter().find(|found| found.name == wanted),
        None => counting.into_iter().max_by_key(Found::recency),
    };
    chosen.ok_or(Error::NoBackup { host: Some(host), set: Some(set) })
}

/// Sees to it that all of these are of one set.
///
/// # Errors
///
/// [`Error::NoBackup`], [`Error::Ambiguous`].
pub(in crate::operations) fn one_set(listings: &[Listing], scope: &Scope) -> Result<()> {
    let mut sets: Vec<_> = listings.iter().map(|listing| listing.name.of()).collect();
    sets.dedup();
    match sets.len() {
        0 => Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() }),
        1 => Ok(()),
        _ => Err(Error::Ambiguous(sets.into_iter().map(|(host, set)| (host.clone(), set.clone())).collect())),
    }
}

/// Who signed these backups of one set, by the time of their first one.
#[must_use]
pub fn signers<'f>(backups: impl IntoIterator<Item = &'f Found>) -> Vec<SignerDates> {
    let mut dates = BTreeMap::<Fingerprint, (BackupId, BackupId)>::new();
    for found in backups {
        let backup = found.name.backup;
        let (first, last) = dates.entry(found.signer).or_insert((backup, backup));
        (*first, *last) = (backup.min(*first), backup.max(*last));
    }
    let mut signers: Vec<_> =
        dates.into_iter().map(|(signer, (first, last))| SignerDates { signer, first, last }).collect();
    signers.sort_by_key(|dates| dates.first);
    signers
}
