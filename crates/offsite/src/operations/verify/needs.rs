//! The objects that the backups of a set need, beside what lies in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::finding::What;
use crate::at_once;
use crate::checksums::Checksum;
use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::hashes::Hashed;
use crate::names::{BackupFile, BackupId, BackupName, Folder, ObjectName};
use crate::operations::backups;
use crate::plan::SliceName;
use crate::receipt::{Receipt, SliceRange};
use crate::store::{self, Listed};

/// What the backups of one set need. Memory: some 60 bytes for each slice that their runs list.
pub(super) struct Needs {
    /// Any of the set's backups.
    name: BackupName,
    /// What lies beside slices. Of one object two receipts may say different things.
    files: BTreeMap<(BackupId, BackupFile), Vec<File>>,
    runs: BTreeMap<BackupId, Vec<Run>>,
    wrong: Wrong,
}

struct File {
    contents: Hashed,
    /// Who needs it, ascending.
    backups: Vec<BackupId>,
    state: State,
}

/// The slices of a run, as one list of them says.
struct Run {
    list: Hashed,
    slices: Vec<(Checksum, State)>,
    /// Who needs which of them, by ascending backup.
    needed: Vec<(BackupId, Vec<SliceRange>)>,
    /// How many slices the run has put, and their bytes, where its own receipt says so.
    counted: Option<(u64, u64)>,
}

/// What is known of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No backup needs it.
    NotNeeded,
    /// It was not among what the store lists.
    NotListed,
    /// It is there, and as long as it must be.
    Right,
    /// It has been got, and is what it must be.
    Hashed,
    /// It is not, which has been noted.
    Wrong,
}

impl Needs {
    /// Nothing yet, of the set of this backup.
    pub(super) fn new(name: BackupName) -> Self {
        let (files, runs) = (BTreeMap::new(), BTreeMap::new());
        Self { name, files, runs, wrong: Wrong::default() }
    }

    /// Adds what a backup needs, and whether that may have been removed by rule. They come by ascending id.
    pub(super) fn add(&mut self, receipt: &Receipt, may_be_gone: bool) {
        let backup = receipt.backup;
        if may_be_gone {
            self.wrong.may_be_gone.insert(backup);
        }
        for object in &receipt.objects {
            self.file(backup, object.file, object.contents, backup);
        }
        for object in &receipt.index_chain {
            self.file(object.backup, BackupFile::Index(object.number), object.contents, backup);
        }
        for run in &receipt.runs {
            self.file(run.backup, BackupFile::Checksums, run.checksums, backup);
            self.run(run.backup, run.checksums).needed.push((backup, run.slices.clone()));
        }
        let own = receipt.objects.iter().find(|object| object.file == BackupFile::Checksums);
        if let (Some(own), Some(last)) = (own, receipt.slices.checked_sub(1)) {
            let run = self.run(backup, own.contents);
            run.counted = Some((receipt.slices, receipt.slice_bytes));
            let last = u32::try_from(last).unwrap_or(u32::MAX);
            run.needed.push((backup, vec![SliceRange { first: 0, last }]));
        }
    }

    fn file(&mut self, of: BackupId, file: BackupFile, contents: Hashed, needed_by: BackupId) {
        let files = self.files.entry((of, file)).or_default();
        let known = files.iter_mut().find(|known| known.contents == contents);
        let known = match known {
            Some(known) => known,
            None => {
                files.push(File { contents, backups: Vec::new(), state: State::NotListed });
                let last = files.len() - 1;
                &mut files[last]
            }
        };
        if known.backups.last() != Some(&needed_by) {
            known.backups.push(needed_by);
        }
    }

    fn run(&mut self, run: BackupId, list: Hashed) -> &mut Run {
        let runs = self.runs.entry(run).or_default();
        let position = runs.iter().position(|known| known.list == list).unwrap_or_else(|| {
            runs.push(Run { list, slices: Vec::new(), needed: Vec::new(), counted: None });
            runs.len() - 1
        });
        &mut runs[position]
    }

    /// Compares it with what the store lists and with each run's list of slices, and notes what is wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub(super) fn look(&mut self, store: &dyn store::Read) -> Result<()> {
        self.get_lists(store)?;
        let BackupName { host, set, .. } = &self.name;
        let folder: Folder = format!("data/{host}/{set}").parse().expect("a host and a set are names of folders");
        let prefix = format!("{}/", folder.as_str());
        store.list(&folder, &mut |listed| {
            if let Some(name) = listed.object.as_str().strip_prefix(&prefix) {
                self.listed(name, &listed);
            }
            ControlFlow::Continue(())
        })?;
        self.note_missing();
        Ok(())
    }

    /// Gets each run's list of its slices.
    fn get_lists(&mut self, store: &dyn store::Read) -> Result<()> {
        let name = &self.name;
        let wrong = Mutex::new(&mut self.wrong);
        let runs = self.runs.iter_mut().flat_map(|(backup, runs)| runs.iter_mut().map(move |run| (*backup, run)));
        at_once::for_each(store.at_once(), runs, |(backup, run)| {
            let name = name.sibling(backup);
            let problem = match backups::checksums(store, &name, run.list) {
                Ok(slices) => run.take(slices),
                Err(Error::Damage(damage)) => Some(damage.problem),
                Err(error) => return Err(error),
            };
            if let Some(problem) = problem {
                let damage = Damage { object: name.file(BackupFile::Checksums), problem };
                let needed_by = run.needed.iter().map(|(backup, _)| *backup);
                wrong.lock().unwrap_or_else(PoisonError::into_inner).add(backup, damage, needed_by);
            }
            Ok(())
        })?;
        for ((backup, file), files) in &mut self.files {
            let Some(runs) = self.runs.get(backup).filter(|_| *file == BackupFile::Checksums) else { continue };
            for known in files {
                let was_got = runs.iter().any(|run| run.list == known.contents && !run.slices.is_empty());
                known.state = if was_got { State::Hashed } else { State::Wrong };
            }
        }
        Ok(())
    }

    /// Notes what a store lists, by its name in the set's folder.
    fn listed(&mut self, name: &str, listed: &Listed) {
        let wrong = &mut self.wrong;
        if let Ok(SliceName { backup, number }) = name.parse() {
            for of_list in self.runs.get_mut(&backup).into_iter().flatten() {
                let Run { slices, needed, .. } = of_list;
                if let Some((slice, state)) = slices.get_mut(number as usize)
                    && *state == State::NotListed
                {
                    *state = compared(backup, listed, slice.size, wrong, || needing(needed, number));
                }
            }
        } else if let Some((run, file)) = name.split_once('/')
            && let (Ok(run), Ok(file)) = (run.parse(), file.parse())
        {
            for known in self.files.get_mut(&(run, file)).into_iter().flatten() {
                if known.state == State::Wrong {
                    continue;
                }
                let backups = &known.backups;
                let state = compared(run, listed, known.contents.size, wrong, || backups.clone());
                if known.state == State::NotListed {
                    known.state = state;
                }
            }
        }
    }

    fn note_missing(&mut self) {
        for ((backup, file), files) in &self.files {
            let object = self.name.sibling(*backup).file(*file);
            for file in files.iter().filter(|file| file.state == State::NotListed) {
                let damage = Damage { object: object.clone(), problem: Problem::Missing };
                self.wrong.add(*backup, damage, file.backups.iter().copied());
            }
        }
        for (backup, runs) in &self.runs {
            let name = self.name.sibling(*backup);
            for run in runs {
                let missing = run.slices.iter().filter(|(_, state)| *state == State::NotListed);
                for (slice, _) in missing {
                    let damage = Damage { object: name.slice(slice.number), problem: Problem::Missing };
                    self.wrong.add(*backup, damage, needing(&run.needed, slice.number));
                }
            }
        }
    }

    /// Gets the objects that are there and that `takes` chooses, and compares their hashes. How many bytes they
    /// have.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub(super) fn hash(
        &mut self,
        store: &dyn store::Read,
        takes: &(dyn Fn(&ObjectName) -> bool + Sync),
        events: &dyn Events,
    ) -> Result<u64> {
        let name = &self.name;
        let files = self.files.iter().flat_map(|((backup, file), files)| {
            let there = files.iter().filter(|file| file.state == State::Right);
            there.map(move |known| (*backup, name.sibling(*backup).file(*file), known.contents, known.backups.clone()))
        });
        let slices = self.runs.iter().flat_map(|(backup, runs)| {
            let run_name = name.sibling(*backup);
            runs.iter().flat_map(move |run| {
                let run_name = run_name.clone();
                let there = run.slices.iter().filter(|(_, state)| *state == State::Right);
                there.map(move |(slice, _)| {
                    let contents = Hashed { size: slice.size, sha256: slice.sha256 };
                    (*backup, run_name.slice(slice.number), contents, needing(&run.needed, slice.number))
                })
            })
        });
        let objects = files.chain(slices).filter(|(_, object, ..)| takes(object));
        let (wrong, hashed) = (Mutex::new(&mut self.wrong), Mutex::new(0));
        at_once::for_each(store.at_once(), objects, |(run, object, contents, needed_by)| {
            match backups::get(store, &object, contents) {
                Ok(_) => {}
                Err(Error::Damage(damage)) => {
                    wrong.lock().unwrap_or_else(PoisonError::into_inner).add(run, damage, needed_by);
                }
                Err(error) => return Err(error),
            }
            events.progress(contents.size);
            *hashed.lock().unwrap_or_else(PoisonError::into_inner) += contents.size;
            Ok(())
        })?;
        Ok(hashed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many objects are needed, and what is wrong with them. `latest` is the set's latest backup.
    pub(super) fn into_findings(self, latest: Option<BackupId>) -> (u64, impl Iterator<Item = What>) {
        let needed = |run: &Run| run.slices.iter().filter(|(_, state)| *state != State::NotNeeded).count();
        let slices: usize = self.runs.values().flatten().map(needed).sum();
        let files: usize = self.files.values().map(Vec::len).sum();
        ((slices + files) as u64, self.wrong.into_findings(latest))
    }
}

impl Run {
    /// Takes the slices that a list has; what is wrong with that.
    fn take(&mut self, slices: Vec<Checksum>) -> Option<Problem> {
        let found = (slices.len() as u64, slices.iter().map(|slice| slice.size).sum());
        self.slices = slices.into_iter().map(|slice| (slice, State::NotNeeded)).collect();
        let mut beyond = None;
        for range in self.needed.iter().flat_map(|(_, ranges)| ranges) {
            let numbers = range.first as usize..=range.last as usize;
            match self.slices.get_mut(numbers) {
                Some(slices) => slices.iter_mut().for_each(|(_, state)| *state = State::NotListed),
                None => beyond = Some(Problem::SliceNotListed(range.last)),
            }
        }
        match self.counted {
            Some(expected) if expected != found => Some(Problem::SliceCount {
                found: found.0,
                found_bytes: found.1,
                expected: expected.0,
                expected_bytes: expected.1,
            }),
            _ => beyond,
        }
    }
}

/// What a listed object is beside what it must be, which is noted where it is wrong.
fn compared(
    run: BackupId,
    listed: &Listed,
    size: u64,
    wrong: &mut Wrong,
    needed_by: impl Fn() -> Vec<BackupId>,
) -> State {
    let problems = [
        (listed.size != size).then_some(Problem::Size { found: listed.size, expected: size }),
        (listed.versions > 1).then_some(Problem::Rewritten),
        listed.hidden.then_some(Problem::Hidden),
    ];
    for problem in problems.into_iter().flatten() {
        wrong.add(run, Damage { object: listed.object.clone(), problem }, needed_by());
    }
    if listed.size == size { State::Right } else { State::Wrong }
}

/// The backups that need a slice.
fn needing(needed: &[(BackupId, Vec<SliceRange>)], number: u32) -> Vec<BackupId> {
    needed.iter().filter(|(_, ranges)| SliceRange::hold(ranges, number)).map(|(backup, _)| *backup).collect()
}

/// What is wrong, by run: a lost folder is one finding, and not one for each of its objects.
#[derive(Default)]
struct Wrong {
    runs: BTreeMap<BackupId, Vec<Group>>,
    /// Backups of which anything may have been removed by rule.
    may_be_gone: BTreeSet<BackupId>,
}

/// Objects of a run that are wrong in the same way.
struct Group {
    first: Damage,
    others: u64,
    backups: BTreeSet<BackupId>,
}

impl Wrong {
    fn add(&mut self, run: BackupId, damage: Damage, needed_by: impl IntoIterator<Item = BackupId>) {
        let mut needed_by = needed_by.into_iter().collect::<BTreeSet<_>>();
        if matches!(damage.problem, Problem::Missing | Problem::Hidden) {
            needed_by.retain(|backup| !self.may_be_gone.contains(backup));
            if needed_by.is_empty() {
                return;
            }
        }
        let groups = self.runs.entry(run).or_default();
        let kind = discriminant(&damage.problem);
        match groups.iter_mut().find(|group| discriminant(&group.first.problem) == kind) {
            Some(group) => {
                group.others += 1;
                group.backups.extend(needed_by);
                // Whichever thread came first.
                if damage.object < group.first.object {
                    group.first = damage;
                }
            }
            None => groups.push(Group { first: damage, others: 0, backups: needed_by }),
        }
    }

    fn into_findings(self, latest: Option<BackupId>) -> impl Iterator<Item = What> {
        self.runs.into_values().flatten().map(move |Group { first, others, backups }| What::Object {
            damage: first,
            others,
            needed_by_latest: latest.is_some_and(|latest| backups.contains(&latest)),
            backups: backups.into_iter().collect(),
        })
    }
}
