//! What a run writes down while it goes on. At its end that becomes what is known of the last backup; where
//! it is killed, the next run goes on from there.
//!
//! In a folder named after the run:
//!
//! - `run` says what run it is.
//! - `entries` are the entries so far, in the order of the walk.
//! - `made` are the chunks so far, with their hashes.
//! - `put` are the slices that the store has confirmed, in any order.
//!
//! `frames`, `chunks` and `slices` join them when the run ends. Entries are written before the last slice
//! that they lie in has been put, so what counts is what lies in slices that `put` has.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::blocks;
use super::entries::{self, Known, Record};
use super::last::{self, Begun, TableFile};
use super::tables::{Built, ChunkHash, Live, Made, MadeReader, Sources, Tables};
use crate::error::{Error, Result};
use crate::files::{self, Output};
use crate::index::{Part, Place};
use crate::names::BackupId;
use crate::plan::SliceName;
use crate::receipt::SliceRange;
use crate::slices::Sealed;

/// What is written down is made durable so often: as much as that is sent again after a loss of power.
const SYNC: Duration = Duration::from_secs(5);

/// Takes what a run comes to, in order.
pub struct Journal {
    folder: PathBuf,
    begun: Begun,
    entries: entries::Writer,
    made: Made,
    live: Live,
}

/// Takes the slices that were put; from any thread.
pub struct PutLog(Mutex<Put>);

struct Put {
    log: blocks::Writer,
    /// What must be durable, too.
    others: [File; 2],
    synced: Instant,
}

/// What is known at the end of a run.
pub(super) struct Finished {
    /// Length of `entries` in bytes.
    pub(super) entries: u64,
    pub(super) frames: TableFile,
    pub(super) chunks: TableFile,
    pub(super) slices: TableFile,
    /// The runs that anything live lies in, oldest first, and in which of their slices.
    pub(super) used: Vec<(BackupId, Vec<SliceRange>)>,
}

impl Journal {
    /// Begins the journal of a run in a new folder of the state.
    pub(super) fn begin(folder: PathBuf, begun: Begun) -> Result<(Self, PutLog)> {
        let failed = Error::file("make", &folder);
        DirBuilder::new().mode(0o700).create(&folder).map_err(&failed)?;
        write_durably(&folder.join("run"), &last::to_text(&begun))?;
        let entries = entries::Writer::create(&folder.join("entries")).map_err(&failed)?;
        let made = Made::create(&folder.join("made")).map_err(&failed)?;
        let log = blocks::Writer::create(&folder.join("put")).map_err(&failed)?;
        let others = [entries.file().try_clone().map_err(&failed)?, made.file().try_clone().map_err(&failed)?];
        let live = Live::new(&folder);
        let put = PutLog(Mutex::new(Put { log, others, synced: Instant::now() }));
        Ok((Self { folder, begun, entries, made, live }, put))
    }

    /// The next entry.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn entry(&mut self, known: &Known) -> io::Result<()> {
        self.entries.entry(known)?;
        self.live.places(&known.entry.places)
    }

    /// More places of the last entry.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn part(&mut self, part: &Part) -> io::Result<()> {
        self.entries.part(part)?;
        self.live.places(&part.places)
    }

    /// A chunk that was made, and where it lies.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn chunk(&mut self, place: &Place, hash: &ChunkHash) -> io::Result<()> {
        self.made.chunk(place, hash)
    }

    /// Something lies there that belongs to no entry, such as the end of the tar.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn lies(&mut self, place: &Place) -> io::Result<()> {
        self.live.places(std::slice::from_ref(place))
    }

    /// Writes what there is, so that it outlasts this process.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.entries.flush()?;
        self.made.flush()
    }

    /// Ends it: writes the tables, and makes everything durable. `slices` are all of the run's.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn finish(mut self, tables: Option<&Tables>, slices: &[Sealed]) -> Result<Unconfirmed> {
        let made = self.folder.join("made");
        let read = self.made.flush().and_then(|()| blocks::Reader::open_all(&made)).map(MadeReader::new);
        let own = self.begun.run.backup;
        self.end(&Sources { tables, own, slices }, read.map_err(Error::file("write", &made))?)
    }

    /// As [`finish`](Self::finish), with the chunks of another journal.
    pub(super) fn end(self, sources: &Sources<'_>, made: MadeReader) -> Result<Unconfirmed> {
        let failed = Error::file("write", &self.folder);
        let entries = self.entries.finish().map_err(&failed)?;
        let Built { frames, chunks, slices, used } = self.live.write(&self.folder, sources, made).map_err(&failed)?;
        files::sync_folder(&self.folder.join("run"))?;
        let finished = Finished { entries, frames, chunks, slices, used };
        Ok(Unconfirmed { folder: self.folder, begun: self.begun, finished })
    }
}

/// What was written down of a whole run, and is not yet what is known of the last backup.
pub struct Unconfirmed {
    pub(super) folder: PathBuf,
    pub(super) begun: Begun,
    pub(super) finished: Finished,
}

impl Unconfirmed {
    /// The slices of a run that anything live lies in; None where there is none.
    #[must_use]
    pub fn slices_of(&self, backup: BackupId) -> Option<&[SliceRange]> {
        let used = &self.finished.used;
        let at = used.binary_search_by_key(&backup, |(backup, _)| *backup).ok()?;
        Some(&used[at].1)
    }
}

impl PutLog {
    /// A slice is in the store.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn put(&self, number: u32, slice: &Sealed) -> io::Result<()> {
        let mut put = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = put.log.record();
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(&slice.size.to_le_bytes());
        record.extend_from_slice(&slice.sha256);
        put.log.flush()?;
        if put.synced.elapsed() < SYNC { Ok(()) } else { put.sync() }
    }

    /// Makes durable what was put: nothing that lists it may be put before.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn sync(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sync()
    }
}

impl Put {
    fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.others.iter().try_for_each(File::sync_data)?;
        self.log.file().sync_data()
    }
}

/// The journal of a run that did not end.
pub struct Interrupted {
    pub(super) folder: PathBuf,
    /// The run.
    pub begun: Begun,
    /// The slices that are known to have been put, without a gap.
    pub slices: Vec<Sealed>,
}

impl Interrupted {
    /// Reads what a run has put; None where the folder is no run's.
    pub(super) fn open(folder: PathBuf) -> Option<Self> {
        let begun = files::read_at_most(&folder.join("run"), last::LONGEST).ok()?;
        let begun: Begun = last::parse(&begun).ok()?;
        let mut put = std::collections::BTreeMap::new();
        if let Ok(mut log) = blocks::Reader::open_all(&folder.join("put")) {
            // It is good up to its first bad block, and mostly ends with one.
            while let Ok(Some(block)) = log.next() {
                let Some((number, slice)) = put_record(block) else { break };
                put.insert(number, slice);
            }
        }
        let slices = (0..).map_while(|number| put.remove(&number)).collect();
        Some(Self { folder, begun, slices })
    }

    /// Makes durable what it was opened as: what is put because of it must stand when it is opened again.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn sync(&self) -> Result<()> {
        for name in ["entries", "made", "put"] {
            let path = self.folder.join(name);
            match File::open(&path).and_then(|file| file.sync_data()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::file("write", &path)(error));
                }
                _ => {}
            }
        }
        files::sync_folder(&self.folder.join("run"))
    }

    /// The entries so far, whole ones with their places in slices that were put, or of which `tables` know.
    /// What follows a bad block is not read.
    pub(super) fn entries(&self, tables: Option<&Tables>) -> impl Iterator<Item = io::Result<Known>> {
        let reader = blocks::Reader::open_all(&self.folder.join("entries")).map(entries::Reader::new);
        let mut reader = reader.ok();
        let mut next = reader.as_mut().and_then(|reader| reader.next().ok().flatten());
        let whole = std::iter::from_fn(move || {
            loop {
                let record = next.take()?;
                next = reader.as_mut().and_then(|reader| reader.next().ok().flatten());
                // A file of many parts is found again by its chunks.
                match (record, &next) {
                    (Record::Entry(_), Some(Record::Part(_))) | (Record::Part(_), _) => {}
                    // The last entry may go on in what was not written any more.
                    (Record::Entry(known), next) if next.is_some() => return Some(known),
                    (Record::Entry(known), _) if known.entry.places.len() < crate::index::limits::PLACES => {
                        return Some(known);
                    }
                    (Record::Entry(_), _) => {}
                }
            }
        });
        whole.filter_map(move |known| match self.has(&known.entry.places, tables) {
            Ok(has) => has.then_some(Ok(known)),
            Err(error) => Some(Err(error)),
        })
    }

    /// The chunks so far, in slices that were put.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Place> {
        let mut made = self.made();
        let chunks = std::iter::from_fn(move || made.next().ok().flatten());
        chunks.map(|(place, _)| place).filter(|place| self.has_put(place.slice))
    }

    pub(super) fn made(&self) -> MadeReader {
        MadeReader::cut_short(blocks::Reader::open_all(&self.folder.join("made")))
    }

    /// Whether it is known what all of these places lie in. What an earlier run has put is not where the
    /// state was lost meanwhile.
    fn has(&self, places: &[Place], tables: Option<&Tables>) -> io::Result<bool> {
        for Place { slice, .. } in places {
            let is_known = self.has_put(*slice) || tables.map_or(Ok(None), |tables| tables.slice(*slice))?.is_some();
            if !is_known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_put(&self, slice: SliceName) -> bool {
        slice.backup == self.begun.run.backup && (slice.number as usize) < self.slices.len()
    }
}

fn put_record(block: &[u8]) -> Option<(u32, Sealed)> {
    let (number, rest) = block.split_first_chunk::<4>()?;
    let (size, sha256) = rest.split_first_chunk::<8>()?;
    let sha256 = sha256.try_into().ok()?;
    Some((u32::from_le_bytes(*number), Sealed { size: u64::from_le_bytes(*size), sha256 }))
}

/// Writes a small file of the state.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut output = Output::replace_secret(path)?;
    output.write_all(bytes).map_err(Error::file("write", path))?;
    output.finish()
}

/// Removes a folder of a journal; what stays is removed later.
pub(super) fn remove(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}
