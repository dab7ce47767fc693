//! `prune`: removes backups that no rule keeps, and what nothing needs any more. From the store alone: what a
//! backup needs is what its signed receipt lists, so it needs no key.
//!
//! - Times are the store's own. Whoever owns a server can sign any time, but not put earlier than they do.
//! - Of a set in which anything is not as it must be nothing is removed: somebody has to look at it first. That is so
//!   for its receipts, and for what the backups that are kept need: where that is not there, others may be all there is.
//! - Whatever is younger than what the set's hosts may still use stays, whether a receipt lists it or not: a
//!   backup under way has none yet.
//! - A receipt goes before what it lists, so that there is never one of a backup that is not whole. What is then
//!   left behind by a prune that was killed is like what is left by a backup that was: the next one removes it.

mod needed;
mod rules;
mod sweep;

use std::collections::BTreeMap;
use std::mem;

use time::{Duration, OffsetDateTime};

use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::names::{BackupId, BackupName, HostName, ObjectName, SetName};
use crate::operations::backups::{self, Found, Listing, Scope};
use crate::pins::Pins;
use crate::receipt::{Receipt, Status};
use crate::store;

use needed::Needed;
use rules::Dated;
pub use rules::{Rules, Why};
pub use sweep::{Amount, Refused};
use sweep::{Removal, Sweep};

/// So much longer than a set's longest `reuse_for` objects stay that nothing needs: clocks differ, a backup may
/// take a day, and its receipt come another day late.
const GRACE: Duration = Duration::days(7);

/// What to prune, and how.
pub struct Prune<'a> {
    /// The store. It must list every version that there is.
    pub store: &'a dyn store::Read,
    /// What removes; without it, it is only told what would be removed.
    pub delete: Option<&'a dyn store::Delete>,
    /// Which backups it is about.
    pub scope: &'a Scope,
    /// Whose backups are trusted.
    pub pins: &'a Pins,
    /// Which of them are kept.
    pub rules: Rules,
    /// The time now.
    pub now: OffsetDateTime,
    /// Hears of bytes that are removed, and of what is wrong and stops nothing.
    pub events: &'a dyn Events,
}

/// The backups of a set.
#[derive(Debug)]
pub struct Set {
    /// The host.
    pub host: HostName,
    /// The set.
    pub set: SetName,
    /// What became of them.
    pub outcome: Outcome,
}

/// What became of a set's backups.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing of them was touched.
    Closed {
        /// What is wrong: [`Error::Damage`] of a receipt or of what a backup that is kept needs, or
        /// [`Error::SeveralSigners`].
        why: Error,
        /// How many other objects there is something wrong with.
        others: u64,
    },
    /// They were pruned.
    Pruned(Pruned),
}

/// What was pruned, or would be.
#[derive(Debug, Default)]
pub struct Pruned {
    /// All runs that have a receipt or of which something is removed, by id.
    pub runs: Vec<Run>,
    /// How many objects lie in the set's folder, but in that of no run. They are left alone.
    pub foreign: u64,
    /// What the store did not let go.
    pub refused: Refused,
}

/// A run: a backup, one that did not end, or one whose receipt is gone.
#[derive(Debug)]
pub struct Run {
    /// Its id as a backup.
    pub backup: BackupId,
    /// Its receipt, where it has one, or had until now.
    pub found: Option<Found>,
    /// What becomes of it.
    pub fate: Fate,
    /// What stays in its folder, and its receipt, if that does.
    pub kept: Amount,
    /// What is removed.
    pub removed: Amount,
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is kept.
    Kept(Vec<Why>),
    /// It is a backup no longer. What others need, or may still use, stays.
    Removed,
    /// Nothing keeps it but the store, which does not let its receipt go.
    Held,
    /// It has no receipt: it did not end, or its receipt was removed before.
    NoReceipt,
}

/// Prunes the backups in the scope; what became of each set, by host and set.
///
/// # Errors
///
/// [`Error::NoBackup`] where there is none in the scope; [`Error::Store`], by which time some of it may
/// have been done.
pub fn prune(what: &Prune<'_>) -> Result<Vec<Set>> {
    let Prune { store, scope, events, .. } = what;
    let mut strays = BTreeMap::<(HostName, SetName), Vec<Damage>>::new();
    let mut stray = |damage: Damage| match set_of(&damage.object) {
        Some(set) => strays.entry(set).or_default().push(damage),
        None => events.damage(&damage),
    };
    let listings = backups::listings(*store, scope, &mut stray)?;
    if listings.is_empty() && (strays.is_empty() || **scope != Scope::default()) {
        return Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() });
    }
    if what.pins.is_empty() && !listings.is_empty() {
        events.warn(Warning::OriginNotProven);
    }
    let mut sets = Vec::new();
    for listings in backups::by_set(&listings) {
        let Some(Listing { name, .. }) = listings.first() else { continue };
        let (host, set) = name.of();
        let strays = strays.remove(&(host.clone(), set.clone())).unwrap_or_default();
        sets.push(Set { host: host.clone(), set: set.clone(), outcome: what.set(name, listings, strays)? });
    }
    // Of sets that have no receipt, and nothing to be removed.
    strays.iter().filter(|((host, set), _)| scope.has(host, set)).for_each(|(_, strays)| {
        strays.iter().for_each(|stray| events.damage(stray));
    });
    Ok(sets)
}

/// In which set's folder something lies among the receipts.
fn set_of(object: &ObjectName) -> Option<(HostName, SetName)> {
    let mut parts = object.as_str().strip_prefix("receipts/")?.splitn(3, '/');
    let (host, set, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some((host.parse().ok()?, set.parse().ok()?))
}

impl Prune<'_> {
    /// Prunes one set.
    fn set(&self, name: &BackupName, listings: &[Listing], strays: Vec<Damage>) -> Result<Outcome> {
        let backups = match self.read(name, listings, strays)? {
            Ok(backups) => backups,
            Err(closed) => return Ok(closed),
        };
        let longest = backups.iter().map(|(_, receipt)| receipt.reuse_for).max().unwrap_or(0);
        let grace = Duration::seconds(i64::try_from(longest).unwrap_or(i64::MAX)).saturating_add(GRACE);
        let kept = rules::kept(&backups.iter().map(dated).collect::<Vec<_>>(), &self.rules, self.now);

        let mut needed = Needed::default();
        let is_kept = |found: &Found| kept.contains_key(&found.name.backup);
        backups.iter().filter(|(found, _)| is_kept(found)).for_each(|(_, receipt)| needed.add(receipt));
        // Where that is before all time, nothing is so old.
        let before = self.now.checked_sub(grace).unwrap_or(time::PrimitiveDateTime::MIN.assume_utc());
        let mut sweep = Sweep::look(self.store, name, &needed, before)?;
        if let Some((lost, others)) = sweep.lost(name) {
            return Ok(Outcome::Closed { why: lost.into(), others });
        }

        let mut removal = Removal::new(self.store.at_once(), self.delete, self.events);
        let expired = backups.iter().filter(|(found, _)| !is_kept(found));
        let receipts = expired.map(|(found, _)| (found.name.backup, found.name.receipt(), found.receipt.size));
        let held = removal.remove(receipts)?;
        if !held.is_empty() {
            let is_held = |found: &Found| held.contains_key(&found.name.backup);
            backups.iter().filter(|(found, _)| is_held(found)).for_each(|(_, receipt)| needed.add(receipt));
            sweep.spare(&needed);
        }
        sweep.remove(name, &mut removal)?;

        let runs = self.runs(backups, kept, &held, &mut sweep);
        Ok(Outcome::Pruned(Pruned { runs, foreign: sweep.foreign, refused: removal.into_refused() }))
    }

    /// Reads all receipts of a set, unless there is anything wrong with it.
    fn read(
        &self,
        name: &BackupName,
        listings: &[Listing],
        strays: Vec<Damage>,
    ) -> Result<Result<Vec<(Found, Receipt)>, Outcome>> {
        let (mut backups, mut wrong) = (Vec::<(Found, Receipt)>::new(), strays);
        let mut unread = listings.iter().map(|listing| listing.name.receipt());
        let mut missing = |read: &ObjectName| unread.by_ref().take_while(|listed| listed != read).collect::<Vec<_>>();
        let is_missing = |object| Damage { object, problem: Problem::Missing };
        backups::read_all(self.store, listings, self.pins, &mut |read| {
            let object = match &read {
                Ok((found, _)) => found.name.receipt(),
                Err(damage) => damage.object.clone(),
            };
            // They come in order, but for those that are not there, though they were listed: a backup that is
            // hidden and cannot be read must not count as none.
            wrong.extend(missing(&object).into_iter().map(is_missing));
            match read {
                Ok((found, receipt)) => match found.distrust().or_else(|| found.ahead(self.now)) {
                    Some(damage) => wrong.push(damage),
                    None => backups.push((found, receipt)),
                },
                Err(damage) => wrong.push(damage),
            }
            Ok(())
        })?;
        wrong.extend(unread.map(is_missing));
        if !wrong.is_empty() {
            let others = wrong.len() as u64 - 1;
            return Ok(Err(Outcome::Closed { why: wrong.swap_remove(0).into(), others }));
        }
        let signers = backups::signers(backups.iter().map(|(found, _)| found));
        if self.pins.is_empty() && signers.len() > 1 {
            let (host, set) = (name.host.clone(), name.set.clone());
            return Ok(Err(Outcome::Closed { why: Error::SeveralSigners { host, set, signers }, others: 0 }));
        }
        backups.iter().flat_map(|(found, _)| found.findings()).for_each(|damage| self.events.damage(&damage));
        Ok(Ok(backups))
    }

    /// What became of each run.
    fn runs(
        &self,
        backups: Vec<(Found, Receipt)>,
        mut kept: BTreeMap<BackupId, Vec<Why>>,
        held: &BTreeMap<BackupId, Amount>,
        sweep: &mut Sweep,
    ) -> Vec<Run> {
        let mut runs = Vec::new();
        for (found, _) in backups {
            let backup = found.name.backup;
            let (mut amount, mut removed) = sweep.take(backup);
            let fate = match kept.remove(&backup) {
                Some(why) => Fate::Kept(why),
                None if held.contains_key(&backup) => Fate::Held,
                None => Fate::Removed,
            };
            let receipt = if fate == Fate::Removed { &mut removed } else { &mut amount };
            receipt.add(found.receipt.size);
            runs.push(Run { backup, found: Some(found), fate, kept: amount, removed });
        }
        let others =
            mem::take(&mut sweep.folders).into_iter().filter(|(_, folder)| folder.removed != Amount::default());
        runs.extend(others.map(|(backup, folder)| Run {
            backup,
            found: None,
            fate: Fate::NoReceipt,
            kept: folder.kept,
            removed: folder.removed,
        }));
        runs.sort_unstable_by_key(|run| run.backup);
        runs
    }
}

fn dated((found, _): &(Found, Receipt)) -> Dated {
    let is_whole = found.status == Status::Complete;
    Dated { backup: found.name.backup, stored: found.stored, is_whole }
}
