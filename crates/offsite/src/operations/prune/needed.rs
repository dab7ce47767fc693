//! The objects that backups need, beside their receipts.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{BackupFile, BackupId, BackupName, ObjectName};
use crate::plan::SliceName;
use crate::receipt::{Receipt, SliceRange};

/// What some backups of a set need: exactly what their receipts list. Memory: that of the lists, of which each
/// range is there once.
#[derive(Default)]
pub(super) struct Needed {
    files: BTreeSet<(BackupId, BackupFile)>,
    /// Ascending, with a gap between each two.
    slices: BTreeMap<BackupId, Vec<SliceRange>>,
}

impl Needed {
    /// Adds what a backup needs.
    pub(super) fn add(&mut self, receipt: &Receipt) {
        let own = receipt.objects.iter().map(|object| (receipt.backup, object.file));
        let indexes = receipt.index_chain.iter().map(|object| (object.backup, BackupFile::Index(object.number)));
        let lists = receipt.runs.iter().map(|run| (run.backup, BackupFile::Checksums));
        self.files.extend(own.chain(indexes).chain(lists));
        for run in &receipt.runs {
            self.add_slices(run.backup, &run.slices);
        }
        if let Some(last) = receipt.slices.checked_sub(1) {
            let last = u32::try_from(last).unwrap_or(u32::MAX);
            self.add_slices(receipt.backup, &[SliceRange { first: 0, last }]);
        }
    }

    fn add_slices(&mut self, run: BackupId, slices: &[SliceRange]) {
        let known = self.slices.entry(run).or_default();
        known.extend_from_slice(slices);
        known.sort_unstable_by_key(|range| range.first);
        known.dedup_by(|next, range| {
            let joins = next.first <= range.last.saturating_add(1);
            if joins {
                range.last = range.last.max(next.last);
            }
            joins
        });
    }

    /// Whether any of them needs what has this name in the set's folder: `<backup>/<file>`.
    pub(super) fn has(&self, name: &str) -> bool {
        if let Ok(SliceName { backup, number }) = name.parse() {
            return self.slices.get(&backup).is_some_and(|ranges| SliceRange::hold(ranges, number));
        }
        let file = name.split_once('/').and_then(|(run, file)| Some((run.parse().ok()?, file.parse().ok()?)));
        file.is_some_and(|file| self.files.contains(&file))
    }

    /// All of it, as long as nothing is listed.
    pub(super) fn unlisted(&self) -> Unlisted {
        let slices = self
            .slices
            .iter()
            .flat_map(|(run, ranges)| ranges.iter().map(move |SliceRange { first, last }| ((*run, *last), *first)));
        Unlisted { files: self.files.clone(), slices: slices.collect() }
    }
}

/// What is needed, and a store has not listed yet.
pub(super) struct Unlisted {
    files: BTreeSet<(BackupId, BackupFile)>,
    /// Ranges by the last number of each; to the first.
    slices: BTreeMap<(BackupId, u32), u32>,
}

impl Unlisted {
    /// What has this name in the set's folder is listed.
    pub(super) fn listed(&mut self, name: &str) {
        if let Ok(SliceName { backup, number }) = name.parse() {
            self.slice(backup, number);
        } else if let Some((run, file)) = name.split_once('/')
            && let (Ok(run), Ok(file)) = (run.parse(), file.parse())
        {
            self.files.remove(&(run, file));
        }
    }

    fn slice(&mut self, run: BackupId, number: u32) {
        let from = self.slices.range((run, number)..=(run, u32::MAX)).next();
        let Some((last, first)) = from.map(|((_, last), first)| (*last, *first)).filter(|(_, first)| *first <= number)
        else {
            return;
        };
        self.slices.remove(&(run, last));
        if first < number {
            self.slices.insert((run, number - 1), first);
        }
        if number < last {
            self.slices.insert((run, last), number + 1);
        }
    }

    /// How many objects these are.
    pub(super) fn count(&self) -> u64 {
        let slices = self.slices.iter().map(|((_, last), first)| u64::from(last - first) + 1);
        slices.fold(self.files.len() as u64, u64::saturating_add)
    }

    /// One of them, of a set.
    pub(super) fn first(&self, of: &BackupName) -> Option<ObjectName> {
        let file = self.files.first().map(|(run, file)| of.sibling(*run).file(*file));
        let slice = || self.slices.first_key_value().map(|((run, _), first)| of.sibling(*run).slice(*first));
        file.or_else(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32) -> BackupId {
        format!("20260101T000000Z-{number:08x}").parse().unwrap()
    }

    #[test]
    fn ranges_of_several_backups_are_joined() {
        let run = run(0);
        let range = |first, last| SliceRange { first, last };
        let mut needed = Needed::default();
        needed.add_slices(run, &[range(5, 6), range(20, 30)]);
        needed.add_slices(run, &[range(0, 1), range(7, 8), range(22, 23), range(u32::MAX, u32::MAX)]);
        needed.add_slices(run, &[range(30, 31)]);
        assert_eq!(needed.slices[&run], [range(0, 1), range(5, 8), range(20, 31), range(u32::MAX, u32::MAX)]);
        for number in [0, 1, 5, 8, 20, 31] {
            assert!(needed.has(&format!("{run}/slice-{number:08}.p7m")), "{number}");
        }
        for number in [2, 4, 9, 19, 32] {
            assert!(!needed.has(&format!("{run}/slice-{number:08}.p7m")), "{number}");
        }
        for other in ["20260101T000000Z-00000001/slice-00000000.p7m", "slice-00000000.p7m", "", "/"] {
            assert!(!needed.has(other), "{other}");
        }
    }

    #[test]
    fn what_is_not_listed_is_what_is_left() {
        let of = BackupName { host: "h".parse().unwrap(), set: "s".parse().unwrap(), backup: run(0) };
        let mut needed = Needed::default();
        needed.add_slices(run(0), &[SliceRange { first: 3, last: 6 }, SliceRange { first: 9, last: u32::MAX }]);
        needed.add_slices(run(1), &[SliceRange { first: 0, last: 2 }]);
        needed.files.insert((run(1), BackupFile::Checksums));
        let mut unlisted = needed.unlisted();
        let all = 4 + (u64::from(u32::MAX) - 8) + 3 + 1;
        assert_eq!(unlisted.count(), all);
        for (number, left) in [(3, 1), (5, 2), (5, 2), (6, 3), (2, 3), (8, 3), (u32::MAX, 4), (9, 5), (100, 6)] {
            unlisted.listed(&format!("{}/slice-{number:08}.p7m", run(0)));
            assert_eq!(unlisted.count(), all - left, "{number}");
        }
        for other in ["slices.sha256", "x/slices.sha256", "plan.p7m", &format!("{}/slices.sha256", run(0))] {
            unlisted.listed(other);
        }
        assert_eq!(unlisted.first(&of).unwrap().as_str(), format!("data/h/s/{}/slices.sha256", run(1)));
        unlisted.listed(&format!("{}/slices.sha256", run(1)));
        assert_eq!(unlisted.count(), all - 7);
        assert_eq!(unlisted.first(&of).unwrap().as_str(), format!("data/h/s/{}/slice-00000004.p7m", run(0)));
        (0..3).for_each(|number| unlisted.listed(&format!("{}/slice-{number:08}.p7m", run(1))));
        assert_eq!(unlisted.slices.len(), 3, "4, 10 to 99, and what comes after 100: {:?}", unlisted.slices);
        assert!(Needed::default().unlisted().first(&of).is_none());
    }
}
