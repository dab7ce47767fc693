//! What an interrupted run has put joins what is known of the last backup, as if that run had ended there.

use std::borrow::Cow;

use super::State;
use super::entries::{Known, Record};
use super::journal::{Interrupted, Journal};
use super::last::{KnownRun, Run};
use super::memory::{Entries, Memory};
use super::tables::Sources;
use crate::error::{Error, Result};
use crate::hashes::Hashed;
use crate::index::Kind;
use crate::paths::compare;

pub(super) fn take_up(
    state: &State,
    interrupted: &Interrupted,
    memory: Option<&Memory>,
    checksums: Hashed,
) -> Result<()> {
    let Interrupted { folder, begun, slices } = interrupted;
    // A name that is no run's: what is half done is not taken for a journal.
    let name = format!("{}.taken-up", begun.run.backup);
    super::journal::remove(&state.folder.join(&name));
    let (mut journal, _) = Journal::begin(state.folder.join(name), begun.clone())?;
    let failed = Error::file("write", folder);
    let tables = memory.map(|memory| &memory.tables);
    let mut newer = interrupted.entries(tables);
    let mut next = newer.next().transpose().map_err(&failed)?;
    let mut older = match memory {
        Some(memory) => Older::new(memory.entries()?)?,
        None => Older::default(),
    };
    loop {
        let order = match (&next, older.path()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(newer), Some(older)) => compare(&newer.entry.path, older),
        };
        if order.is_le()
            && let Some(known) = next
        {
            journal.entry(&known).map_err(&failed)?;
            next = newer.next().transpose().map_err(&failed)?;
        }
        if order.is_ge() {
            older.pass(|record| {
                let written = match record {
                    _ if order.is_eq() => Ok(()),
                    Record::Entry(known) => journal.entry(&stay_behind(known)),
                    Record::Part(part) => journal.part(part),
                };
                written.map_err(&failed)
            })?;
        }
    }
    // Chunks of a file whose entry was still to come: the file is read again, and they are found.
    interrupted.chunks().try_for_each(|place| journal.lies(&place)).map_err(&failed)?;
    // Nor do entries tell of those that a run before it had put of such a file.
    let before = memory.filter(|memory| memory.last.chain.is_empty());
    let mut chunks = before.into_iter().flat_map(|memory| memory.tables.chunks());
    chunks.try_for_each(|place| place.and_then(|place| journal.lies(&place))).map_err(&failed)?;
    let end = memory.and_then(|memory| memory.last.end);
    end.iter().try_for_each(|end| journal.lies(end)).map_err(&failed)?;
    let own = begun.run.backup;
    let sources = Sources { tables, own, slices };
    let unconfirmed = journal.end(&sources, interrupted.made())?;
    let mut runs = Vec::new();
    for (used, _) in &unconfirmed.finished.used {
        let known = memory.and_then(|memory| memory.last.runs.iter().find(|run| run.run.backup == *used));
        match known {
            Some(run) => runs.push(run.clone()),
            None => {
                let run = Run { backup: *used, recipients: begun.run.recipients.clone() };
                runs.push(KnownRun { run, checksums });
            }
        }
    }
    // No index says what this state says.
    state.replace(unconfirmed, end, runs, Vec::new())
}

/// A hard link must come after its leader, which the interrupted run may have moved: it is written again.
fn stay_behind(known: &Known) -> Cow<'_, Known> {
    match known.entry.kind {
        Kind::HardLink { .. } => Cow::Owned(Known { again: true, ..known.clone() }),
        _ => Cow::Borrowed(known),
    }
}

/// The entries of the last backup, each with its parts.
#[derive(Default)]
struct Older {
    entries: Option<Entries>,
    next: Option<Record>,
}

impl Older {
    fn new(mut entries: Entries) -> Result<Self> {
        let next = entries.next_record()?;
        Ok(Self { entries: Some(entries), next })
    }

    fn path(&self) -> Option<&[u8]> {
        self.next.as_ref().map(Record::path)
    }

    /// Hands an entry and its parts to `each`, and goes on to the next.
    fn pass(&mut self, mut each: impl FnMut(&Record) -> Result<()>) -> Result<()> {
        let Some(entries) = &mut self.entries else { return Ok(()) };
        while let Some(record) = self.next.take() {
            each(&record)?;
            self.next = entries.next_record()?;
            if !matches!(self.next, Some(Record::Part(_))) {
                break;
            }
        }
        Ok(())
    }
}
