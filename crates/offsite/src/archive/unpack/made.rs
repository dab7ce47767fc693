//! What this run has made, by device and inode number: hard links go to nothing else, and a second
//! member of the same path replaces none of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

/// A set of inodes. File systems hand out neighbouring numbers, so each entry is of 64 of them: a
/// million files need some 400 kB then, and 50 MB where every number stands alone.
#[derive(Default)]
pub(super) struct Made(Mutex<HashMap<(u64, u64), u64>>);

impl Made {
    /// Adds a file; false if it is there already.
    pub(super) fn insert(&self, stat: &Stat) -> bool {
        let (key, bit) = place(stat);
        let mut lock = self.lock();
        let bits = lock.entry(key).or_default();
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }

    pub(super) fn contains(&self, stat: &Stat) -> bool {
        let (key, bit) = place(stat);
        self.lock().get(&key).is_some_and(|bits| bits & bit != 0)
    }

    /// Takes a file out that is removed again: its number will be another's.
    pub(super) fn remove(&self, stat: &Stat) {
        let (key, bit) = place(stat);
        self.lock().entry(key).and_modify(|bits| *bits &= !bit);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(stat: &Stat) -> ((u64, u64), u64) {
    ((stat.st_dev, stat.st_ino / 64), 1 << (stat.st_ino % 64))
}
