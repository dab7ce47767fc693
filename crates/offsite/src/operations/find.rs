//! `find`: which versions of which paths the backups hold, all those of a set at once.
//!
//! To look into the backups one by one would read the same over and over: a full index and its up to fifteen deltas are
//! the indexes of sixteen backups. So `chains.rs` puts those together whose indexes are one chain, and each chain is
//! read once, by [`History`](crate::index::History): one pass in the order of paths over all of its indexes side by
//! side, which tells from each row in which of the backups it holds. Every object of an index is got and opened once,
//! and what is kept of a chain is a record for each row that matches, with the first and the last backup that it is
//! true of. Only where a set's history forks, a host having been set back, do several chains begin with the same
//! indexes, which are then read for each of them.
//!
//! Each chain leaves its records as a run, which is in the order of paths as it is; the runs are merged, and
//! where a version goes on from one chain to the next, its records become one. Chains are read one after the other:
//! memory is that of one backup's index, a fixed amount a run and some hundred bytes a backup, and depends on the
//! number of files nowhere.
//!
//! Backups stand in the order of their [times](backups::Found::time). Where an index is damaged, or not for the
//! private key, what builds on it is left out, and the chain is read anew up to there.

mod chains;
mod globs;
mod runs;

use std::ops::ControlFlow;
use std::path::Path;

use offsite_cms::{self as cms, PrivateKey};
use time::OffsetDateTime;

use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::index::{Entry, Kind, Past};
use crate::names::ObjectName;
use crate::operations::backups::{self, Backup, Broken, Found, Listing, Scope, Which};
use crate::pins::Pins;
use crate::store::{self, Reason};

use chains::{Chain, Chains};
pub use globs::Globs;
use runs::{Merged, Record, Run, Runs, What};

/// What is looked for, and where.
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct Find<'a> {
    /// Where the backups are.
    pub store: &'a dyn store::Read,
    /// Of which hosts and sets.
    pub scope: &'a Scope,
    /// Whose backups are trusted.
    pub pins: &'a Pins,
    /// Opens them.
    pub key: &'a PrivateKey,
    /// Which paths.
    pub globs: &'a Globs,
    /// Only backups of this time or earlier; None for all.
    pub as_of: Option<OffsetDateTime>,
    /// Where files without names may be made.
    pub folder: &'a Path,
    /// Is told what else there is.
    pub events: &'a dyn Events,
}

/// A version of a path: what some backups, one after the other, hold there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Version<'a> {
    /// What it is, without its places.
    pub entry: Entry,
    /// The first backup that holds it.
    pub first: &'a Found,
    /// The last one.
    pub last: &'a Found,
    /// How many do.
    pub backups: usize,
    /// What comes after.
    pub next: Next<'a>,
}

/// What came after a version.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// Nothing: the latest backup that was searched holds it.
    Nothing,
    /// Another version, in this backup.
    Changed(&'a Found),
    /// This backup holds nothing there.
    Gone(&'a Found),
}

/// How much was searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Searched {
    /// Backups that were searched.
    pub backups: usize,
    /// Backups that the private key does not open.
    pub unopened: usize,
}

/// Hands out every version of the paths that are looked for, until `each` breaks: set by set, and in each by path and
/// then by time. What is not searched is told to `events`: damage, and what the private key does not open.
///
/// # Errors
///
/// [`Error::NoBackup`]; [`Error::NoneAsOld`] where no set has a backup of that time; [`Error::WrongKey`] where the
/// private key opens none at all; [`Error::SeveralSigners`], once all other sets have been searched;
/// [`Error::Store`]; [`Error::Temporary`].
pub fn find(what: &Find<'_>, each: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>) -> Result<Searched> {
    let Find { store, scope, pins, events, .. } = what;
    let listings = backups::listings(*store, scope, &mut |stray| events.damage(&stray))?;
    if listings.is_empty() {
        return Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() });
    }
    if pins.is_empty() {
        events.warn(Warning::OriginNotProven);
    }
    let (mut searched, mut passed_over, mut refused) = (Searched::default(), None, None);
    for listings in backups::by_set(&listings) {
        let found = Set::new(what, listings).and_then(|set| set.search(&mut searched, each));
        match found {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(searched),
            Err(error @ (Error::NoBackup { .. } | Error::NoneAsOld { .. } | Error::WrongKey { .. })) => {
                passed_over.get_or_insert(error);
            }
            Err(Error::SeveralSigners { host, set, signers }) if refused.is_some() => {
                events.warn(Warning::SeveralSigners { host, set, signers });
            }
            Err(error @ Error::SeveralSigners { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    let nothing = passed_over.filter(|_| searched.backups == 0);
    refused.or(nothing).map_or(Ok(searched), Err)
}

/// The backups of a set, and what has been found in them.
struct Set<'a> {
    what: &'a Find<'a>,
    /// All that count, by ascending id.
    backups: Vec<Found>,
    /// The place of each in the order of time.
    ranks: Vec<u32>,
    /// Those that have been searched, by their ranks.
    searched: Vec<bool>,
    chains: Vec<Chain>,
}

impl<'a> Set<'a> {
    /// Reads the receipts.
    fn new(what: &'a Find<'a>, listings: &[Listing]) -> Result<Self> {
        let (mut chains, mut backups) = (Chains::default(), Vec::new());
        let mut take = |found: Found, receipt: &_| {
            if what.as_of.is_none_or(|as_of| found.time() <= as_of) {
                chains.take(backups.len(), receipt);
            }
            backups.push(found);
        };
        backups::read_counting_with(what.store, listings, None, what.pins, what.events, &mut take)?;
        backups::one_signer(&backups, what.pins)?;
        backups::pick(&backups, listings[0].name.of(), what.as_of.map_or(Which::Latest, Which::AsOf))?;
        let mut by_time: Vec<usize> = (0..backups.len()).collect();
        by_time.sort_unstable_by_key(|number| backups[*number].recency());
        let mut ranks = vec![0; backups.len()];
        for (rank, number) in (0..).zip(by_time) {
            ranks[number] = rank;
        }
        let searched = vec![false; backups.len()];
        Ok(Self { what, backups, ranks, searched, chains: chains.into_chains() })
    }

    fn search(
        mut self,
        searched: &mut Searched,
        each: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let (mut runs, mut unopened) = (Runs::new(self.what.folder), None);
        for chain in std::mem::take(&mut self.chains) {
            let run = self.search_chain(chain, searched, &mut unopened)?;
            run.map_or(Ok(()), |run| runs.push(run)).map_err(Error::Temporary)?;
        }
        let count = self.searched.iter().filter(|searched| **searched).count();
        searched.backups += count;
        match unopened {
            Some(error) if count == 0 => Err(error),
            _ => self.tell(runs.merged().map_err(Error::Temporary)?, each),
        }
    }

    /// Reads a chain as far as it can be read; None where none of it can. The first error of a key that does not open
    /// something stays in `unopened`.
    fn search_chain(
        &mut self,
        chain: Chain,
        searched: &mut Searched,
        unopened: &mut Option<Error>,
    ) -> Result<Option<Run>> {
        let mut backups = chain.backups;
        while let Some(&(_, newest)) = backups.last() {
            let Broken { backup, error } = match self.read(newest, &backups) {
                Ok(run) => {
                    backups.iter().for_each(|(_, number)| self.searched[self.ranks[*number] as usize] = true);
                    return Ok(Some(run));
                }
                Err(broken) => broken,
            };
            let error = passable(*error)?;
            let sound = backups.partition_point(|(_, number)| self.backups[*number].name.backup < backup);
            // Whatever it says, there is one less to read.
            let left_out = backups.split_off(sound.min(backups.len() - 1));
            let first = self.backups[left_out[0].1].name.clone();
            let last = self.backups[newest].name.backup;
            let count = left_out.len();
            let wrong_key = match error {
                Unread::Damaged(damage) => {
                    self.what.events.damage(&damage);
                    None
                }
                Unread::WrongKey { object, source } => {
                    searched.unopened += count;
                    let text = source.to_string();
                    unopened.get_or_insert(Error::WrongKey { object, source });
                    Some(text)
                }
            };
            self.what.events.warn(Warning::NotSearched { first, last, count, wrong_key });
        }
        Ok(None)
    }

    /// What there is in a chain: the one that the backup of the number `newest` has.
    fn read(&self, newest: usize, backups: &[(usize, usize)]) -> Result<Run, Broken> {
        let newest = &self.backups[newest];
        let own = |error: Error| Broken { backup: newest.name.backup, error: error.into() };
        let backup = Backup::open(self.what.store, self.what.key, newest).map_err(own)?;
        let mut history = backup.history()?;
        let (mut run, mut records) = (Run::new(self.what.folder), Vec::new());
        while let Some(past) = history.next_path().map_err(|error| backup.broken(error))? {
            self.records(past, backups, &mut records);
            // Mostly they are in order: where clocks were right.
            records.sort_unstable();
            records.drain(..).try_for_each(|record| run.push(&record)).map_err(|error| own(Error::Temporary(error)))?;
        }
        Ok(run)
    }

    /// What a chain tells of a path that is looked for: a record for each version, or several where the backups that
    /// hold it do not follow each other in time.
    fn records(&self, past: Past, backups: &[(usize, usize)], records: &mut Vec<Record>) {
        for version in past.versions {
            let Entry { kind, inode, torn, .. } = version.entry;
            if !self.what.globs.take(&past.path, kind == Kind::Folder) {
                continue;
            }
            let places = if matches!(kind, Kind::Stream { .. }) { version.places } else { 0 };
            let what = What { kind, inode, torn, places };
            let within = |(level, _): &&(usize, usize)| version.levels.contains(level);
            let mut ranks: Vec<u32> = backups.iter().filter(within).map(|(_, number)| self.ranks[*number]).collect();
            ranks.sort_unstable();
            let record = |ranks: &[u32]| Record {
                path: past.path.clone(),
                first: ranks[0],
                last: ranks[ranks.len() - 1],
                what: what.clone(),
            };
            records.extend(ranks.chunk_by(|one, next| one + 1 == *next).map(record));
        }
    }

    /// Tells what was found, path by path.
    fn tell(
        &self,
        mut merged: Merged,
        each: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let timeline = Timeline::new(self);
        let mut of_path: Vec<Record> = Vec::new();
        loop {
            let next = merged.next().map_err(Error::Temporary)?;
            if next.as_ref().map(|next| &next.path) != of_path.first().map(|first| &first.path) {
                let told = timeline.tell(std::mem::take(&mut of_path), each);
                if told.is_break() {
                    return Ok(told);
                }
            }
            match next {
                Some(record) => of_path.push(record),
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}

/// The backups that were searched, the oldest first.
struct Timeline<'a> {
    backups: Vec<&'a Found>,
    /// Where each stands there, by its rank among all.
    places: Vec<usize>,
}

impl<'a> Timeline<'a> {
    fn new(set: &'a Set<'_>) -> Self {
        let mut numbers: Vec<usize> = (0..set.backups.len()).collect();
        numbers.sort_unstable_by_key(|number| set.ranks[*number]);
        let (mut backups, mut places) = (Vec::new(), Vec::new());
        for (number, searched) in numbers.into_iter().zip(&set.searched) {
            places.push(backups.len());
            if *searched {
                backups.push(&set.backups[number]);
            }
        }
        Self { backups, places }
    }

    /// Tells the versions of a path, whose records are in the order of time.
    fn tell(&self, records: Vec<Record>, each: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        // Each with the places of the first and the last backup.
        let mut versions: Vec<(Record, usize, usize)> = Vec::new();
        for record in records {
            let (first, last) = (self.places[record.first as usize], self.places[record.last as usize]);
            match versions.last_mut() {
                Some((before, _, end)) if before.what == record.what && *end + 1 == first => *end = last,
                _ => versions.push((record, first, last)),
            }
        }
        let begins: Vec<usize> = versions.iter().map(|(_, first, _)| *first).collect();
        for (number, (record, first, last)) in versions.into_iter().enumerate() {
            let next = match self.backups.get(last + 1) {
                None => Next::Nothing,
                Some(backup) if begins.get(number + 1) == Some(&(last + 1)) => Next::Changed(backup),
                Some(backup) => Next::Gone(backup),
            };
            let What { kind, inode, torn, .. } = record.what;
            let entry = Entry { path: record.path, kind, inode, links: false, torn, places: Vec::new() };
            let backups = last + 1 - first;
            each(Version { entry, first: self.backups[first], last: self.backups[last], backups, next })?;
        }
        ControlFlow::Continue(())
    }
}

/// Why an index is not read, and others may be.
enum Unread {
    Damaged(Damage),
    WrongKey { object: ObjectName, source: cms::Error },
}

/// Whether other indexes may be read nevertheless: else the error itself.
fn passable(error: Error) -> Result<Unread> {
    match error {
        Error::Damage(damage) => Ok(Unread::Damaged(damage)),
        Error::WrongKey { object, source } => Ok(Unread::WrongKey { object, source }),
        // A bad sector, or an object that somebody put for nobody to read.
        Error::Store(store::Error { object: Some(object), reason, store, action }) => match (object.parse(), reason) {
            (Ok(object), Reason::Io(source) | Reason::PermissionDenied(source)) => {
                Ok(Unread::Damaged(Damage { object, problem: Problem::Unreadable(source) }))
            }
            (_, reason) => Err(store::Error { store, action, object: Some(object), reason }.into()),
        },
        error => Err(error),
    }
}
