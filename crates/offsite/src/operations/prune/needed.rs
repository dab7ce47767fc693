//! The objects that backups need, beside their receipts.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{BackupFile, BackupId};
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_several_backups_are_joined() {
        let run: BackupId = "20260101T000000Z-00000000".parse().unwrap();
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
}
