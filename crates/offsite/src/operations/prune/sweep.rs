//! What lies in a set's folder and nothing needs, and its removal.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;

use super::needed::{Needed, Unlisted};
use crate::at_once;
use crate::damage::{Damage, Problem};
use crate::error::Result;
use crate::events::Events;
use crate::names::{BackupId, BackupName, Folder, ObjectName};
use crate::store::{self, Reason};

/// So many refusals are told in full.
const TOLD: usize = 10;

/// Some objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Their length in all, in bytes; as a store lists them, which is of their oldest versions.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a store did not let go: its keeper has not given that right, or it is locked for some time.
#[derive(Debug, Default)]
pub struct Refused {
    /// How much.
    pub amount: Amount,
    /// What the store said of the first of them.
    pub first: Vec<store::Error>,
}

/// Removes, or only counts.
pub(super) struct Removal<'a> {
    threads: usize,
    delete: Option<&'a dyn store::Delete>,
    events: &'a dyn Events,
    refused: Refused,
}

impl<'a> Removal<'a> {
    pub(super) fn new(threads: usize, delete: Option<&'a dyn store::Delete>, events: &'a dyn Events) -> Self {
        Self { threads, delete, events, refused: Refused::default() }
    }

    /// Removes these objects, each with its run and its length, several at once; what the store does not let go,
    /// by run.
    ///
    /// # Errors
    ///
    /// [`Error::Store`](crate::Error::Store).
    pub(super) fn remove(
        &mut self,
        objects: impl Iterator<Item = (BackupId, ObjectName, u64)> + Send,
    ) -> Result<BTreeMap<BackupId, Amount>> {
        let Some(delete) = self.delete else { return Ok(BTreeMap::new()) };
        let held = Mutex::new((BTreeMap::<BackupId, Amount>::new(), &mut self.refused));
        at_once::for_each(self.threads, objects, |(run, object, bytes)| {
            match delete.delete(&object) {
                Ok(()) => self.events.progress(bytes),
                Err(error) if is_refusal(&error.reason) => {
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    let (runs, refused) = &mut *held;
                    runs.entry(run).or_default().add(bytes);
                    refused.amount.add(bytes);
                    if refused.first.len() < TOLD {
                        refused.first.push(error);
                    }
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(held.into_inner().unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn into_refused(mut self) -> Refused {
        self.refused.first.sort_unstable_by(|one, other| one.object.cmp(&other.object));
        self.refused
    }
}

/// Whether it is about this object, and others may be removed all the same. A lock is a refusal to some services,
/// and a request that makes no sense to others.
fn is_refusal(reason: &Reason) -> bool {
    matches!(reason, Reason::PermissionDenied(_) | Reason::NotAnObject | Reason::Io(_))
}

/// The folders of a set's runs.
pub(super) struct Sweep {
    pub(super) folders: BTreeMap<BackupId, RunFolder>,
    /// How many objects lie beside them.
    pub(super) foreign: u64,
    /// What is needed, and is not there.
    lost: Unlisted,
}

/// The folder of a run.
#[derive(Default)]
pub(super) struct RunFolder {
    /// What stays.
    pub(super) kept: Amount,
    /// What goes.
    pub(super) removed: Amount,
    /// The names of the latter in this folder, and their lengths.
    names: Vec<(Box<str>, u64)>,
}

impl Sweep {
    /// Looks for what nobody needs and was put before that time. Memory: some 60 bytes for each of these objects.
    ///
    /// # Errors
    ///
    /// [`Error::Store`](crate::Error::Store).
    pub(super) fn look(
        store: &dyn store::Read,
        of: &BackupName,
        needed: &Needed,
        before: OffsetDateTime,
    ) -> Result<Self> {
        let BackupName { host, set, .. } = of;
        let folder: Folder = format!("data/{host}/{set}").parse().expect("a host and a set are names of folders");
        let prefix = format!("{}/", folder.as_str());
        let mut sweep = Self { folders: BTreeMap::new(), foreign: 0, lost: needed.unlisted() };
        store.list(&folder, &mut |listed| {
            let name = listed.object.as_str().strip_prefix(&prefix);
            let parts = name.and_then(|name| Some((name, name.split_once('/')?)));
            match parts.and_then(|(name, (run, file))| Some((name, run.parse().ok()?, file))) {
                Some((name, run, file)) if !file.contains('/') => {
                    let folder: &mut RunFolder = sweep.folders.entry(run).or_default();
                    let is_needed = needed.has(name);
                    if is_needed {
                        sweep.lost.listed(name);
                    }
                    if listed.time < before && !is_needed {
                        folder.removed.add(listed.size);
                        folder.names.push((file.into(), listed.size));
                    } else {
                        folder.kept.add(listed.size);
                    }
                }
                _ => sweep.foreign += 1,
            }
            ControlFlow::Continue(())
        })?;
        Ok(sweep)
    }

    /// What is needed and not there: one object, and how many others.
    pub(super) fn lost(&self, of: &BackupName) -> Option<(Damage, u64)> {
        let object = self.lost.first(of)?;
        Some((Damage { object, problem: Problem::Missing }, self.lost.count().saturating_sub(1)))
    }

    /// Leaves what is needed after all.
    pub(super) fn spare(&mut self, needed: &Needed) {
        for (run, folder) in &mut self.folders {
            folder.names.retain(|(file, bytes)| {
                let is_needed = needed.has(&format!("{run}/{file}"));
                if is_needed {
                    folder.kept.add(*bytes);
                    folder.removed.objects -= 1;
                    folder.removed.bytes = folder.removed.bytes.saturating_sub(*bytes);
                }
                !is_needed
            });
        }
    }

    /// Removes what was found.
    ///
    /// # Errors
    ///
    /// [`Error::Store`](crate::Error::Store).
    pub(super) fn remove(&mut self, of: &BackupName, removal: &mut Removal<'_>) -> Result<()> {
        let objects = self.folders.iter().flat_map(|(run, folder)| {
            folder.names.iter().map(|(file, bytes)| {
                let object = ObjectName::data(&of.host, &of.set, *run, file);
                (*run, object.expect("an object's name has this component"), *bytes)
            })
        });
        for (run, held) in removal.remove(objects)? {
            let folder = self.folders.entry(run).or_default();
            folder.kept.objects += held.objects;
            folder.kept.bytes += held.bytes;
            folder.removed.objects -= held.objects;
            folder.removed.bytes -= held.bytes;
        }
        Ok(())
    }

    /// What of a run stays, and what goes.
    pub(super) fn take(&mut self, run: BackupId) -> (Amount, Amount) {
        let folder = self.folders.remove(&run).unwrap_or_default();
        (folder.kept, folder.removed)
    }
}
