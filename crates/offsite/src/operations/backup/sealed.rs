//! A file of a backup that is sealed as a long stream while it is written: the index, the plan.

use std::io::{self, Write};

use bytes::Bytes;
use cms::{Recipients, Sealer, SliceBuffer, StreamKind};
use offsite_cms as cms;

use crate::error::{Error, Result};
use crate::hashes::Hashed;
use crate::names::BackupFile;
use crate::receipt::Object;
use crate::slices::lend;

/// Puts one object of the backup.
pub(super) type PutFile<'a> = dyn Fn(BackupFile, Bytes) -> Result<()> + Sync + 'a;

/// Seals what is written to it, and puts each slice as an object once it is full.
pub(super) struct SealedFile<'a> {
    sealer: Sealer,
    put: &'a PutFile<'a>,
    file: fn(u32) -> BackupFile,
    /// None where the store still holds the last one.
    buffer: Option<SliceBuffer>,
    filled: usize,
    /// How much each slice but the last holds.
    capacity: usize,
    objects: Vec<Object>,
}

impl<'a> SealedFile<'a> {
    /// Starts a stream of slices of `slice_size` bytes, which `file` names.
    pub(super) fn new(
        recipients: &Recipients,
        kind: StreamKind<'_>,
        slice_size: usize,
        file: fn(u32) -> BackupFile,
        put: &'a PutFile<'a>,
    ) -> Result<Self> {
        let failed = Error::cms(None);
        let sealer = Sealer::new(recipients, kind).map_err(&failed)?;
        let capacity = sealer.plaintext_length(slice_size).map_err(|error| failed(error.into()))?;
        Ok(Self { sealer, put, file, buffer: None, filled: 0, capacity, objects: Vec::new() })
    }

    fn seal(&mut self, last: bool) -> Result<()> {
        let failed = Error::cms(None);
        let number = self.sealer.next_number().map_err(|error| failed(error.into()))?;
        let file = (self.file)(number.get());
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.sealer.buffer(self.capacity));
        self.sealer.seal(number, last, &mut buffer, self.filled).map_err(failed)?;
        self.filled = 0;
        self.objects.push(Object { file, contents: Hashed::of(buffer.slice()) });
        self.buffer = lend(buffer, |slice| (self.put)(file, slice))?;
        Ok(())
    }

    /// Seals and puts the last slice; what was put.
    pub(super) fn finish(mut self) -> Result<Vec<Object>> {
        self.seal(true)?;
        Ok(self.objects)
    }
}

impl Write for SealedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // A slice that is full is sealed only when more comes: it may be the last.
        if self.filled == self.capacity {
            self.seal(false).map_err(io::Error::other)?;
        }
        let count = bytes.len().min(self.capacity - self.filled);
        let buffer = self.buffer.get_or_insert_with(|| self.sealer.buffer(self.capacity));
        buffer.plaintext_mut()[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error of a write into a [`SealedFile`]: one of ours passes through.
pub(super) fn write_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Temporary(source),
    }
}
