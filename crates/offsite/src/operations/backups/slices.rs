//! The slices that a backup needs, one by one and in any order.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, PoisonError};

use cms::{PrivateKey, SliceOpener, StreamKind};
use offsite_cms as cms;

use super::objects;
use crate::checksums::{Checksum, Reader};
use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::hashes::{Hashed, Sha256};
use crate::names::{BackupFile, BackupId, BackupName, ObjectName};
use crate::plan::{Slice, SliceName};
use crate::receipt::{Receipt, SliceRange};
use crate::store;

/// The plaintext of a slice.
pub struct OpenedSlice {
    bytes: Vec<u8>,
    plaintext: Range<usize>,
}

impl OpenedSlice {
    /// Its memory, empty, to be used again.
    pub(in crate::operations) fn into_memory(mut self) -> Vec<u8> {
        self.bytes.clear();
        self.bytes
    }
}

impl From<Vec<u8>> for OpenedSlice {
    /// Of a plaintext alone.
    fn from(bytes: Vec<u8>) -> Self {
        Self { plaintext: 0..bytes.len(), bytes }
    }
}

impl Deref for OpenedSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.plaintext.clone()]
    }
}

/// The slices of a store that a receipt lists; several threads may ask at once. Memory: 36 bytes for each of them.
pub struct SliceReader<'a> {
    store: &'a dyn store::Read,
    key: &'a PrivateKey,
    name: BackupName,
    runs: BTreeMap<BackupId, Run>,
}

/// The slices of one run.
struct Run {
    /// Ranges of numbers, ascending, each with the position of its first slice in `slices`.
    ranges: Vec<(SliceRange, usize)>,
    slices: Vec<Known>,
    /// Made of the first slice that is opened: the private key works once a run.
    opener: Mutex<Option<Arc<SliceOpener>>>,
}

/// What a slice must be: [`Hashed`] in less memory.
#[derive(Clone, Copy)]
struct Known {
    size: u32,
    sha256: Sha256,
}

impl From<Checksum> for Known {
    fn from(slice: Checksum) -> Self {
        let size = u32::try_from(slice.size).expect("no slice is longer than 2^29 bytes");
        Self { size, sha256: slice.sha256 }
    }
}

impl<'a> SliceReader<'a> {
    /// Reads the lists of this backup's slices, and of those of earlier runs.
    pub(super) fn new(
        store: &'a dyn store::Read,
        key: &'a PrivateKey,
        name: &BackupName,
        receipt: &Receipt,
    ) -> Result<Self> {
        let mut runs = BTreeMap::new();
        let own = receipt.objects.iter().find(|object| object.file == BackupFile::Checksums);
        if let Some(own) = own {
            let list = List::get(store, name, own.contents)?;
            runs.insert(name.backup, list.all(receipt)?);
        }
        for run in &receipt.runs {
            let list = List::get(store, &name.sibling(run.backup), run.checksums)?;
            runs.insert(run.backup, list.only(&run.slices)?);
        }
        Ok(Self { store, key, name: name.clone(), runs })
    }

    /// The store that they lie in.
    pub(in crate::operations) fn store(&self) -> &'a dyn store::Read {
        self.store
    }

    /// The run that put a slice, and what the slice must be.
    fn find(&self, name: SliceName) -> Option<(&Run, Known)> {
        let run = self.runs.get(&name.backup)?;
        Some((run, run.find(name.number)?))
    }

    fn object(&self, name: SliceName) -> ObjectName {
        self.name.sibling(name.backup).slice(name.number)
    }

    /// Gets and opens a slice.
    ///
    /// # Errors
    ///
    /// [`Error::Damage`], [`Error::WrongKey`], [`Error::Store`].
    pub fn open(&self, name: SliceName) -> Result<OpenedSlice> {
        self.open_in(name, Vec::new())
    }

    /// The same, in memory that is no longer needed.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_in(&self, name: SliceName, memory: Vec<u8>) -> Result<OpenedSlice> {
        let object = self.object(name);
        let damage = |problem| Error::from(Damage { object: object.clone(), problem });
        let (run, known) = self.find(name).ok_or_else(|| damage(Problem::NotInReceipt))?;
        let contents = Hashed { size: known.size.into(), sha256: known.sha256 };
        let mut bytes = objects::get_in(self.store, &object, contents, memory)?;
        let context = self.name.sibling(name.backup).to_string();
        let opener = run
            .opener(|| SliceOpener::new(&bytes, self.key, StreamKind::Slices(&context)))
            .map_err(|error| objects::not_opened(&object, error))?;
        let opened = opener.open_within(name.number, &mut bytes);
        let plaintext = opened.map_err(|problem| damage(Problem::Slice(problem)))?;
        Ok(OpenedSlice { bytes, plaintext })
    }

    /// Of each run the shortest slice.
    pub(in crate::operations) fn shortest(&self) -> impl Iterator<Item = Slice> {
        self.runs.iter().filter_map(|(backup, run)| {
            let (number, Known { size, sha256 }) = run.numbered().min_by_key(|(_, known)| known.size)?;
            let name = SliceName { backup: *backup, number };
            Some(Slice { name, size: size.into(), sha256: *sha256.as_bytes() })
        })
    }

    /// Its length and hash, sealed; None for a slice that the backup does not need.
    #[must_use]
    pub fn known(&self, name: SliceName) -> Option<Slice> {
        let (_, Known { size, sha256 }) = self.find(name)?;
        Some(Slice { name, size: size.into(), sha256: *sha256.as_bytes() })
    }
}

impl Run {
    fn find(&self, number: u32) -> Option<Known> {
        let range = self.ranges.partition_point(|(range, _)| range.last < number);
        let (range, position) = self.ranges.get(range)?;
        self.slices.get(position + number.checked_sub(range.first)? as usize).copied()
    }

    /// All slices with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (u32, Known)> {
        let numbers = self.ranges.iter().flat_map(|(range, _)| range.first..=range.last);
        numbers.zip(self.slices.iter().copied())
    }

    /// The run's opener. Whoever comes first makes it, while the others wait.
    fn opener(&self, make: impl FnOnce() -> cms::Result<SliceOpener>) -> cms::Result<Arc<SliceOpener>> {
        let mut opener = self.opener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opener) = &*opener {
            return Ok(Arc::clone(opener));
        }
        Ok(Arc::clone(opener.insert(Arc::new(make()?))))
    }
}

/// The slices that a run has put, as its list of them says.
///
/// # Errors
///
/// [`Error::Damage`], [`Error::Store`].
pub(in crate::operations) fn checksums(
    store: &dyn store::Read,
    run: &BackupName,
    contents: Hashed,
) -> Result<Vec<Checksum>> {
    let list = List::get(store, run, contents)?;
    let mut slices = Vec::new();
    match list.read(|slice| slices.push(slice)) {
        Ok(()) => Ok(slices),
        Err(problem) => Err(list.damage(problem)),
    }
}

/// A run's list of its slices, as it is stored.
struct List {
    object: ObjectName,
    bytes: Vec<u8>,
}

impl List {
    fn get(store: &dyn store::Read, name: &BackupName, contents: Hashed) -> Result<Self> {
        let object = name.file(BackupFile::Checksums);
        let bytes = objects::get(store, &object, contents)?;
        Ok(Self { object, bytes })
    }

    fn damage(self, problem: Problem) -> Error {
        Damage { object: self.object, problem }.into()
    }

    /// Hands out each slice, in order of their numbers from 0.
    fn read(&self, mut each: impl FnMut(Checksum)) -> Result<(), Problem> {
        let mut reader = Reader::new(&self.bytes[..]);
        while let Some(slice) = reader.next_slice().map_err(Problem::Checksums)? {
            each(slice);
        }
        Ok(())
    }

    /// All slices: those of the backup's own run, which its receipt counts.
    fn all(self, receipt: &Receipt) -> Result<Run> {
        let mut slices = Vec::new();
        if let Err(problem) = self.read(|slice| slices.push(Known::from(slice))) {
            return Err(self.damage(problem));
        }
        let (found, expected) = (slices.len() as u64, receipt.slices);
        let found_bytes = slices.iter().map(|slice| u64::from(slice.size)).sum();
        let expected_bytes = receipt.slice_bytes;
        if (found, found_bytes) != (expected, expected_bytes) {
            return Err(self.damage(Problem::SliceCount { found, found_bytes, expected, expected_bytes }));
        }
        slices.shrink_to_fit();
        let last = u32::try_from(found.saturating_sub(1)).expect("slices have numbers of 32 bits");
        Ok(Run { ranges: vec![(SliceRange { first: 0, last }, 0)], slices, opener: Mutex::default() })
    }

    /// The slices in these ranges, which ascend and hold at least one.
    fn only(self, ranges: &[SliceRange]) -> Result<Run> {
        let mut slices = Vec::new();
        let mut starts = Vec::with_capacity(ranges.len());
        let mut left = ranges.iter().peekable();
        let mut listed = 0_u64;
        let read = self.read(|slice| {
            let number = slice.number;
            listed += 1;
            // Numbers have no gaps, so that this passes over one range at most.
            left.next_if(|range| range.last < number);
            if let Some(range) = left.peek().filter(|range| range.first <= number) {
                if number == range.first {
                    starts.push((**range, slices.len()));
                }
                slices.push(slice.into());
            }
        });
        if let Err(problem) = read {
            return Err(self.damage(problem));
        }
        let needed = ranges.last().map_or(0, |range| range.last);
        if u64::from(needed) >= listed {
            return Err(self.damage(Problem::SliceNotListed(needed)));
        }
        slices.shrink_to_fit();
        Ok(Run { ranges: starts, slices, opener: Mutex::default() })
    }
}
