//! Deciding for one backup.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::find::{self, Found, Listing, Scope};
use crate::error::{Error, Result, SignerDates};
use crate::events::{Events, Warning};
use crate::hashes::Fingerprint;
use crate::names::{BackupId, BackupName, HostName, SetName};
use crate::pins::Pins;
use crate::receipt::Receipt;
use crate::store;

/// Which backup of a set is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The latest one, by [`Found::time`].
    #[default]
    Latest,
    /// The latest one of this time or earlier, by [`Found::time`].
    AsOf(OffsetDateTime),
    /// The one with this id.
    Id(BackupId),
}

/// Decides for a backup of the one set in the scope. What is no valid receipt, or not of a pinned
/// signer, is told to `events` and does not count. Where nothing is pinned, all backups of the set
/// must be of one signer, and `events` is warned that the origin is not proven.
///
/// # Errors
///
/// [`Error::NoBackup`], [`Error::NoSuchBackup`], [`Error::NoneAsOld`]; [`Error::Ambiguous`] where there are several sets in
/// the scope; [`Error::Pin`] where a folder of pins has none for its host; [`Error::SeveralSigners`];
/// [`Error::Damage`] where the backup that was asked for does not count; [`Error::Store`].
pub fn choose(store: &dyn store::Read, scope: &Scope, which: Which, pins: &Pins, events: &dyn Events) -> Result<Found> {
    let listings = find::listings(store, scope, &mut |stray| events.damage(&stray))?;
    let (host, _) = one_set(&listings, scope)?;
    pins.require(host)?;
    choose_of_set(store, &listings, which, pins, events)
}

/// Decides for two backups of the one set in the scope, as [`choose`] for one.
///
/// # Errors
///
/// As [`choose`], but that what was asked for and does not count is [`Error::NoSuchBackup`], too.
pub fn choose_two(
    store: &dyn store::Read,
    scope: &Scope,
    which: [Which; 2],
    pins: &Pins,
    events: &dyn Events,
) -> Result<[Found; 2]> {
    let listings = find::listings(store, scope, &mut |stray| events.damage(&stray))?;
    let of = one_set(&listings, scope)?;
    pins.require(of.0)?;
    let counting = read_counting(store, &listings, None, pins, events)?;
    let [one, other] = [pick(&counting, of, which[0])?.clone(), pick(&counting, of, which[1])?.clone()];
    if pins.is_empty() {
        events.warn(Warning::OriginNotProven);
    }
    Ok([one, other])
}

/// The same for a set whose receipts are listed: at least one.
pub(in crate::operations) fn choose_of_set(
    store: &dyn store::Read,
    listings: &[Listing],
    which: Which,
    pins: &Pins,
    events: &dyn Events,
) -> Result<Found> {
    let (host, set) = listings.first().map(|listing| listing.name.of()).expect("a set has receipts");
    let wanted = match which {
        Which::Latest | Which::AsOf(_) => None,
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
    let counting = read_counting(store, listings, wanted.as_ref(), pins, events)?;
    if pins.is_empty() && !counting.is_empty() {
        events.warn(Warning::OriginNotProven);
    }
    pick(&counting, (host, set), which).cloned()
}

/// The backups of a set that count, ordered by id. Tells `events` what else there is, and fails where that is
/// `wanted`. Where nothing is pinned, all of them must be of one signer.
///
/// # Errors
///
/// [`Error::SeveralSigners`], [`Error::Damage`], [`Error::Store`].
pub(in crate::operations) fn read_counting(
    store: &dyn store::Read,
    listings: &[Listing],
    wanted: Option<&BackupName>,
    pins: &Pins,
    events: &dyn Events,
) -> Result<Vec<Found>> {
    let mut counting = Vec::new();
    read_counting_with(store, listings, wanted, pins, events, &mut |found, _| counting.push(found))?;
    one_signer(&counting, pins)?;
    Ok(counting)
}

/// Hands out those of these backups that count, with their receipts, ordered by id. Whether they are of one signer
/// is for the caller to ask.
///
/// # Errors
///
/// [`Error::Damage`], [`Error::Store`].
pub(in crate::operations) fn read_counting_with(
    store: &dyn store::Read,
    listings: &[Listing],
    wanted: Option<&BackupName>,
    pins: &Pins,
    events: &dyn Events,
    each: &mut dyn FnMut(Found, &Receipt),
) -> Result<()> {
    find::read_all(store, listings, pins, &mut |read| {
        let damage = match read {
            Ok((found, receipt)) => match found.distrust() {
                Some(damage) => damage,
                None => {
                    found.findings().for_each(|damage| events.damage(&damage));
                    each(found, &receipt);
                    return Ok(());
                }
            },
            Err(damage) => damage,
        };
        if wanted.is_some_and(|wanted| wanted.receipt() == damage.object) {
            return Err(damage.into());
        }
        events.damage(&damage);
        Ok(())
    })
}

/// Sees to it that these backups of a set are of one signer, unless pins say whom to trust.
///
/// # Errors
///
/// [`Error::SeveralSigners`].
pub(in crate::operations) fn one_signer(counting: &[Found], pins: &Pins) -> Result<()> {
    let signers = signers(counting);
    match counting.first() {
        Some(first) if pins.is_empty() && signers.len() > 1 => {
            let (host, set) = first.name.of();
            Err(Error::SeveralSigners { host: host.clone(), set: set.clone(), signers })
        }
        _ => Ok(()),
    }
}

/// Decides for one of the backups of a set that count.
///
/// # Errors
///
/// [`Error::NoBackup`] where none does, [`Error::NoneAsOld`], [`Error::NoSuchBackup`].
pub(in crate::operations) fn pick<'f>(
    counting: &'f [Found],
    (host, set): (&HostName, &SetName),
    which: Which,
) -> Result<&'f Found> {
    let latest = |until: Option<OffsetDateTime>| {
        let old_enough = |found: &&Found| until.is_none_or(|until| found.time() <= until);
        counting.iter().filter(old_enough).max_by_key(|found| found.recency())
    };
    let Some(oldest) = counting.iter().min_by_key(|found| found.recency()) else {
        return Err(Error::NoBackup { host: Some(host.clone()), set: Some(set.clone()) });
    };
    match which {
        Which::Latest => Ok(latest(None).unwrap_or(oldest)),
        Which::AsOf(until) => {
            let none = || Error::NoneAsOld { as_of: until, oldest: oldest.name.clone(), time: oldest.time() };
            latest(Some(until)).ok_or_else(none)
        }
        Which::Id(backup) => counting
            .iter()
            .find(|found| found.name.backup == backup)
            .ok_or_else(|| Error::NoSuchBackup(BackupName { host: host.clone(), set: set.clone(), backup })),
    }
}

/// Sees to it that all of these are of one set, and says of which.
///
/// # Errors
///
/// [`Error::NoBackup`], [`Error::Ambiguous`].
pub(in crate::operations) fn one_set<'l>(
    listings: &'l [Listing],
    scope: &Scope,
) -> Result<(&'l HostName, &'l SetName)> {
    let mut sets: Vec<_> = listings.iter().map(|listing| listing.name.of()).collect();
    sets.dedup();
    match sets[..] {
        [] => Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() }),
        [set] => Ok(set),
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
