//! A store that counts what is got from it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::names::{Folder, ObjectName};
use crate::store::{Listed, Read, Result};

/// Counts objects, and their bytes.
pub(super) struct Counted<'a> {
    store: &'a dyn Read,
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(store: &'a dyn Read) -> Self {
        Self { store, objects: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub(super) fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, object: &[u8]) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(object.len() as u64, Ordering::Relaxed);
    }
}

impl Read for Counted<'_> {
    fn get(&self, object: &ObjectName, limit: usize) -> Result<Vec<u8>> {
        self.store.get(object, limit).inspect(|bytes| self.count(bytes))
    }

    fn get_in(&self, object: &ObjectName, limit: usize, memory: Vec<u8>) -> Result<Vec<u8>> {
        self.store.get_in(object, limit, memory).inspect(|bytes| self.count(bytes))
    }

    fn at_once(&self) -> usize {
        self.store.at_once()
    }

    fn versions(
        &self,
        object: &ObjectName,
        limit: usize,
        each: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.store.versions(object, limit, &mut |bytes| {
            self.count(&bytes);
            each(bytes)
        })
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<()> {
        self.store.list(folder, each)
    }
}
