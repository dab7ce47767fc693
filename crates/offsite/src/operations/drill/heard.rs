//! What a drill hears of what it drills.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::failure::{Failure, Failures};
use crate::archive::unpack::{Problem, Report};
use crate::damage::Damage;
use crate::events::{Events, Warning};
use crate::operations::restore::{Error, Watch};

/// Keeps failures that are told by several threads.
#[derive(Default)]
pub(super) struct Told(Mutex<Failures>);

impl Told {
    fn add(&self, failure: Failure) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(failure);
    }

    pub(super) fn into_failures(self) -> Failures {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Told {
    fn progress(&self, _: u64) {}

    /// What is not proven the report says.
    fn warn(&self, _: Warning) {}

    fn damage(&self, damage: &Damage) {
        self.add(damage.into());
    }
}

/// Counts and keeps what a restore tells, and passes on what is not for the report alone.
pub(super) struct Heard<'a> {
    watch: &'a dyn Watch,
    told: Told,
    bytes: AtomicU64,
    problems: AtomicU64,
}

impl<'a> Heard<'a> {
    pub(super) fn new(watch: &'a dyn Watch) -> Self {
        Self { watch, told: Told::default(), bytes: AtomicU64::new(0), problems: AtomicU64::new(0) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn problems(&self) -> u64 {
        self.problems.load(Ordering::Relaxed)
    }

    pub(super) fn into_failures(self) -> Failures {
        self.told.into_failures()
    }
}

impl Events for Heard<'_> {
    fn progress(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.watch.progress(bytes);
    }

    fn warn(&self, warning: Warning) {
        self.watch.warn(warning);
    }

    fn damage(&self, damage: &Damage) {
        self.told.damage(damage);
    }
}

impl Report for Heard<'_> {
    fn problem(&self, problem: Problem) {
        self.problems.fetch_add(1, Ordering::Relaxed);
        self.watch.problem(problem);
    }
}

impl Watch for Heard<'_> {
    fn lost(&self, path: &[u8], error: &Error) {
        self.told.add(Failure::of_lost(path, error));
    }
}
