//! Which chunks are stored already: by the last backup, or by this run.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::index::{Place, order};
use crate::operations::backup::reuse::Reuse;
use crate::state::ChunkHash;
use crate::table::Growing;

/// Bytes of a chunk: its hash, and where it lies.
const CHUNK: usize = HASH + order::PLACE;
const HASH: usize = 32;

/// Memory for this run's own chunks, in bytes: those of 60 GiB. More go to files.
const MEMORY: usize = 4 << 20;

/// Knows chunks by their keyed BLAKE3. Nobody who does not know the key can make two that are taken for
/// one.
pub(super) struct Chunks<'a> {
    key: [u8; 32],
    reuse: &'a Reuse<'a>,
    own: Mutex<Growing<CHUNK, HASH>>,
}

impl<'a> Chunks<'a> {
    /// What does not fit into memory goes to files without names in `folder`.
    pub(super) fn new(key: [u8; 32], reuse: &'a Reuse<'a>, folder: &Path) -> Self {
        Self { key, reuse, own: Mutex::new(Growing::new(folder, MEMORY)) }
    }

    /// What a chunk is known by.
    pub(super) fn hash(&self, chunk: &[u8]) -> ChunkHash {
        *blake3::keyed_hash(&self.key, chunk).as_bytes()
    }

    /// Where it lies, if it is stored and need not be again.
    pub(super) fn find(&self, hash: &ChunkHash) -> io::Result<Option<Place>> {
        match self.own(hash)? {
            None => self.reuse.chunk(hash),
            own => Ok(own),
        }
    }

    /// Where this run has stored it.
    pub(super) fn own(&self, hash: &ChunkHash) -> io::Result<Option<Place>> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).get(hash)?;
        Ok(own.map(|record| order::decode(&record[HASH..])))
    }

    /// This run has stored it there.
    pub(super) fn insert(&self, hash: &ChunkHash, place: &Place) -> io::Result<()> {
        let mut record = [0; CHUNK];
        record[..HASH].copy_from_slice(hash);
        record[HASH..].copy_from_slice(&order::encode(place));
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(record)
    }
}
