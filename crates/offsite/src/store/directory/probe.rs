//! What may be done to a directory, tried: that objects can be put, and are not replaced.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, unlinkat};
use time::Duration;

use super::{DirectoryDelete, DirectoryPut, new_file, reason};
use crate::store::probe::{BYTES, Names};
use crate::store::{Power, Probe, Reason, Result, StoreId};

/// Tries what may be done to a directory.
pub(in crate::store) struct DirectoryProbe {
    put: DirectoryPut,
    delete: DirectoryDelete,
    names: Names,
}

impl DirectoryProbe {
    /// Opens the directory as a backup does.
    pub(in crate::store) fn open(path: &Path, new_id: StoreId, names: Names) -> Result<Self> {
        let put = DirectoryPut::open(path, new_id)?;
        Ok(Self { put, delete: DirectoryDelete::open(path)?, names })
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let (folder, name) = name.rsplit_once('/').expect("an object lies in a folder");
        new_file::create(&self.put.make_folder(folder)?, name, BYTES)
    }

    /// Whether it is gone, or was never there.
    fn remove(&self, name: &str) -> bool {
        let (folder, name) = name.rsplit_once('/').expect("an object lies in a folder");
        let removed = self.delete.0.folder(folder).and_then(|folder| Ok(unlinkat(folder, name, AtFlags::empty())?));
        self.delete.remove_empty(folder);
        removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
    }
}

impl Probe for DirectoryProbe {
    fn powers(&self) -> &'static [Power] {
        &Power::OF_DIRECTORIES
    }

    fn attempt(&self, power: Power) -> Result<()> {
        let name = if power == Power::PutReceipt { &self.names.receipt } else { &self.names.data };
        let tried = match power {
            Power::Put | Power::PutReceipt | Power::PutAgain => self.create(name).map_err(reason),
            _ => Err(Reason::Unsupported("a directory is not tried for that".to_owned())),
        };
        tried.map_err(self.put.root.failed("put", name))
    }

    fn keeps_versions(&self) -> bool {
        false
    }

    fn clock_ahead(&self) -> Option<Duration> {
        None
    }

    fn clean(&self) -> Vec<String> {
        [&self.names.data, &self.names.receipt].into_iter().filter(|name| !self.remove(name)).cloned().collect()
    }
}
