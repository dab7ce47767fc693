//! `backup`: files, or a stream, to the objects of one backup in a store.
//!
//! The walk hands out jobs in its order; several threads read, and compress frames; the frames go
//! in order into slices, which others seal and put meanwhile. What has not changed since the last
//! backup is not read. Where everything lies goes into the index as it comes, and after the last slice
//! into the plan. The receipt comes last: before it there is no backup.

mod base;
mod bundle;
mod chunks;
mod jobs;
mod limits;
mod merged;
mod renewal;
mod reuse;
mod rows;
mod sealed;
mod stream;
mod tally;
mod tree;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use cms::signed_data::SigningKey;
use cms::{Recipients, Sealer, StreamKind};
use offsite_cms as cms;
use time::{Duration, OffsetDateTime};

use crate::archive::excludes::Excludes;
use crate::archive::links::{HardLinks, Role};
use crate::archive::metadata::{Kind, Metadata};
use crate::archive::roots::Roots;
use crate::archive::walk::Walk;
use crate::checksums;
use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::hashes::{Hashed, Sha256};
use crate::index::{Head, Place, escaped};
use crate::names::{BackupFile, BackupId, HostName, ObjectName, SetName};
use crate::operations::encrypt::warn_of_validity;
use crate::ordered::in_order;
use crate::plan::{self, Shape, SliceName, StreamName, Title};
use crate::receipt::{self, ChainObject, Counts, Given, NoPrevious, Object, Previous, Receipt};
use crate::recovery;
use crate::signer;
use crate::slices::{self, Sealed};
use crate::state::{self, Begun, Journal, KnownIndex, KnownRun, Pending, PutLog, State, Unconfirmed};
use crate::store::{self, Put, Reason};
use base::{Base, Beginning, fingerprints};
use bundle::Worker;
use chunks::Chunks;
use limits::Limits;
use rows::{Rows, Written};
use sealed::{PutFile, SealedFile, write_error};
use tally::Tally;
use tree::{Comparison, Queue, Stopped};

pub use merged::Ignored;

/// What to back up, as whose, and where to.
pub struct Backup<'a> {
    /// The host that is backed up.
    pub host: &'a HostName,
    /// The set.
    pub set: &'a SetName,
    /// Where to.
    pub store: &'a dyn Put,
    /// What tells the store from others, where it keeps no id.
    pub store_name: &'a str,
    /// The folder of all state.
    pub state: &'a Path,
    /// What tells this machine from others; empty where nothing does.
    pub machine: &'a str,
    /// Whether to wait for another backup of the set.
    pub wait: bool,
    /// The file of the host's signing key.
    pub signing_key: &'a Path,
    /// Length of a slice in bytes.
    pub slice_size: usize,
    /// How many threads read and compress; one more does, so that somebody has work while others wait for a file.
    pub threads: NonZero<usize>,
    /// No object that the backup needs is older than that, in seconds.
    pub reuse_for: u64,
    /// Whether everything is stored, whatever the last backup has.
    pub full: bool,
    /// What of a file's metadata may differ from the last backup's although the file has not changed.
    pub ignored: Ignored,
    /// The program and its version, for the receipt.
    pub program: &'a str,
    /// The time now.
    pub clock: &'a (dyn Fn() -> OffsetDateTime + Sync),
    /// Four random bytes for the backup's id.
    pub random: [u8; 4],
    /// Random bytes that become the key by which chunks are known, where there is none yet.
    pub chunk_key: [u8; 32],
}

/// What is backed up.
pub enum Source {
    /// Trees of files.
    Files {
        /// Where they begin.
        roots: Roots,
        /// What is left out.
        excludes: Excludes,
        /// Whether other file systems are left out.
        one_file_system: bool,
        /// Folders that are never entered: those of the state, and of a store in a directory.
        closed: Vec<PathBuf>,
        /// Whether the roots come from a list, which may be another each time.
        listed: bool,
    },
    /// Bytes under a name.
    Stdin(StreamName, Box<dyn io::Read + Send>),
    /// What a command writes, under a name; and where it may say what it likes.
    Exec(StreamName, Vec<OsString>, Stdio),
}

/// What a backup came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The backup.
    pub backup: BackupId,
    /// What is in it.
    pub counts: Counts,
    /// Objects that were put, the receipt included.
    pub objects: u64,
    /// Bytes of these.
    pub stored_bytes: u64,
    /// Whether everything was stored, and nothing of an earlier backup used.
    pub full: bool,
    /// When it ended.
    pub end: OffsetDateTime,
}

/// A receipt that was on its way when its run ended is put again so long after its backup began.
const PUT_AGAIN: Duration = Duration::DAY;

/// Backs up for `recipients`.
///
/// # Errors
///
/// Where it fails as a whole; then there is no backup, and those before are as they were. What could
/// not be read of single files is told to `events`, and counted.
pub fn backup(what: &Backup<'_>, source: Source, recipients: &Recipients, events: &dyn Events) -> Result<Summary> {
    let start = (what.clock)();
    warn_of_validity(recipients, start, events);
    if recipients.certificates().len() == 1 {
        events.warn(Warning::OneRecipient);
    }
    let folder = state_folder(what)?;
    let mut state = State::open(&folder, what.machine, what.wait)?;
    if let Previous::None(reason) = state.previous() {
        let known_elsewhere = reason == NoPrevious::NoState && is_known_elsewhere(what, &folder);
        events.warn(if known_elsewhere { Warning::OtherStore } else { Warning::ChainBroken(reason) });
    }
    let signer = signer::read_or_make(what.signing_key, what.host, start)?;
    if signer.made {
        let (path, fingerprint) = (what.signing_key.to_path_buf(), signer.fingerprint());
        events.warn(Warning::SignerMade { path, fingerprint });
    } else if signer.exposed {
        events.warn(Warning::SignerExposed(what.signing_key.to_path_buf()));
    }
    settle(&mut state, what, start, events)?;

    let (shape, given, set_of) = source.given();
    let recipients_named = fingerprints(recipients);
    let beginning = Beginning { what, state: &state, recipients: &recipients_named, given: &set_of, events };
    // Another backup may have been waited for.
    let now = (what.clock)();
    let memory = beginning.recall(now)?;
    let mut backup = BackupId::new(now, what.random);
    if let Previous::Receipt(previous) = state.previous() {
        backup = backup.after(previous.backup);
    }
    if let Some(memory) = &memory {
        backup = backup.after(memory.last.begun.run.backup);
    }
    let base = beginning.reuse(memory.as_deref(), backup)?;
    let title = Title { host: what.host.clone(), set: what.set.clone(), backup, shape };
    let tally = Tally::new(events, source.is_rooted());
    let own = state::Run { backup, recipients: recipients_named };
    let key = memory.as_ref().map_or(what.chunk_key, |memory| memory.last.begun.key);
    let (journal, log) = state.begin(Begun::new(own.clone(), set_of, what.machine.to_owned(), key))?;
    let run = Run { what, title: &title, recipients, own, state: &state, tally: &tally, base: &base, key, log: &log };
    let outcome = run.write(source, journal)?;
    let Conclusion { receipt, runs, chain } = run.conclude(&outcome, given, &signer.key)?;
    let pending = Pending { backup, bytes: receipt::sign(&receipt, &signer.key)? };
    state.keep(&pending)?;
    // From here on the next backup builds on this one, whether or not its receipt arrives: all that it lists
    // is in the store.
    state.replace(outcome.unconfirmed, outcome.end_of_tar, runs, chain)?;
    what.store.put(&ObjectName::receipt(what.host, what.set, backup), pending.bytes.clone().into())?;
    state.confirm(pending.link())?;
    let stored_bytes = receipt.stored_bytes() + pending.bytes.len() as u64;
    let objects = receipt.slices + receipt.objects.len() as u64 + 1;
    let full = memory.is_none();
    Ok(Summary { backup, counts: receipt.counts, objects, stored_bytes, full, end: receipt.end })
}

impl Source {
    /// What is backed up: of what shape, in a receipt's words, in the state's.
    fn given(&self) -> (Shape, Given, state::Given) {
        let stream = |name: &StreamName| (Shape::Stream(name.clone()), state::Given::Stream(name.to_string()));
        let ((shape, set_of), given) = match self {
            Self::Files { listed: true, .. } => ((Shape::Tar, state::Given::List), Given::Files),
            Self::Files { roots, .. } => {
                let paths = roots.absolute_paths().iter().map(|path| escaped(path)).collect();
                ((Shape::Tar, state::Given::Paths(paths)), Given::Files)
            }
            Self::Stdin(name, _) => (stream(name), Given::Stdin),
            Self::Exec(name, ..) => (stream(name), Given::Exec),
        };
        (shape, given, set_of)
    }

    /// Whether everything was named from the root of all folders on.
    fn is_rooted(&self) -> bool {
        matches!(self, Self::Files { roots, .. } if roots.are_absolute())
    }
}

/// What would be backed up: how many entries, and how long their contents are, nothing of which is
/// read. Neither store nor state are touched.
///
/// # Errors
///
/// [`Error::Temporary`].
pub fn survey(
    roots: Roots,
    excludes: Excludes,
    one_file_system: bool,
    closed: &[PathBuf],
    events: &dyn Events,
) -> Result<Counts> {
    let tally = Tally::new(events, roots.are_absolute());
    let folder = env::temp_dir();
    let mut links = HardLinks::new(&folder);
    for found in walk(roots, excludes, one_file_system, closed, &folder) {
        match found.map_err(Error::Temporary)? {
            Err(incident) => tally.incident(incident),
            Ok(entry) if entry.metadata.kind == Kind::Socket => {}
            Ok(entry) => {
                let role = links.role(&entry.path, &entry.metadata).map_err(Error::Temporary)?;
                tally.entry(&entry.metadata, matches!(role, Role::Follower { .. }));
            }
        }
    }
    Ok(tally.counts())
}

/// The walk of a backup of files. It does not enter the folders in `closed`.
fn walk(roots: Roots, excludes: Excludes, one_file_system: bool, closed: &[PathBuf], folder: &Path) -> Walk {
    let inodes = closed.iter().filter_map(|folder| {
        let folder = fs::File::open(folder).ok()?;
        Metadata::of_open(&folder).ok().map(|metadata| metadata.inode)
    });
    Walk::new(roots, excludes, one_file_system, inodes.collect(), folder)
}

/// Each store has a state of its own, so that disks which take turns do not disturb each other.
fn state_folder(what: &Backup<'_>) -> Result<PathBuf> {
    let store = match what.store.id()? {
        Some(id) => id.to_string(),
        None => Sha256::of(what.store_name.as_bytes()).to_string(),
    };
    Ok(what.state.join(store).join(what.host.as_str()).join(what.set.as_str()))
}

/// Whether the set was backed up to another store.
fn is_known_elsewhere(what: &Backup<'_>, own: &Path) -> bool {
    let stores = fs::read_dir(what.state).into_iter().flatten().flatten();
    let chains = stores.map(|store| store.path().join(what.host.as_str()).join(what.set.as_str()));
    chains.filter(|folder| folder != own).any(|folder| folder.join("chain").exists())
}

/// Puts receipts again that were on their way when their runs ended.
fn settle(state: &mut State, what: &Backup<'_>, now: OffsetDateTime, events: &dyn Events) -> Result<()> {
    for pending in state.pending()? {
        if state.previous() == Previous::Receipt(pending.link()) {
            // The run ended between the two steps of confirming it.
            state.confirm(pending.link())?;
            continue;
        }
        let backup = pending.backup;
        if now - backup.start() <= PUT_AGAIN && put_again(what, &pending)? {
            events.warn(Warning::ReceiptPutAgain(backup));
            state.confirm(pending.link())?;
        } else {
            events.warn(Warning::ReceiptUnconfirmed(backup));
            state.give_up(pending.link())?;
        }
    }
    Ok(())
}

/// Puts a receipt that may be there; whether it is then.
fn put_again(what: &Backup<'_>, pending: &Pending) -> Result<bool> {
    let object = ObjectName::receipt(what.host, what.set, pending.backup);
    match what.store.put(&object, pending.bytes.clone().into()) {
        // Names are given once, so these bytes are there, unless somebody else's are.
        Err(store::Error { reason: Reason::AlreadyExists, .. }) => {
            Ok(what.store.holds(&object, pending.bytes.len() as u64)? != Some(false))
        }
        put => Ok(put.map(|()| true)?),
    }
}

/// One run.
struct Run<'a> {
    what: &'a Backup<'a>,
    title: &'a Title,
    recipients: &'a Recipients,
    /// The run as others know it.
    own: state::Run,
    state: &'a State,
    tally: &'a Tally<'a>,
    base: &'a Base<'a>,
    /// The key by which chunks are known.
    key: [u8; 32],
    log: &'a PutLog,
}

/// What a run has put, and what the next has to know of it.
struct Outcome {
    slices: Vec<Sealed>,
    objects: Vec<Object>,
    unconfirmed: Unconfirmed,
    end_of_tar: Option<Place>,
}

/// What is told of a run, to others and to the next.
struct Conclusion {
    receipt: Receipt,
    /// The runs that the next may use.
    runs: Vec<KnownRun>,
    /// The indexes that the next one's can be a delta to.
    chain: Vec<KnownIndex>,
}

impl Run<'_> {
    /// Puts everything but the receipt.
    fn write(&self, source: Source, journal: Journal) -> Result<Outcome> {
        let Title { host, set, backup, .. } = self.title;
        let context = format!("{host}/{set}/{backup}");
        let put: &PutFile<'_> = &|file, bytes| {
            let object = ObjectName::file(self.what.host, self.what.set, *backup, file);
            self.what.store.put(&object, bytes).map_err(Error::from)
        };
        let sealed = |kind, file| SealedFile::new(self.recipients, kind, self.what.slice_size, file, put);

        let index = compressed(sealed(StreamKind::Index(&context), BackupFile::Index)?)?;
        let (written, slices) = self.write_slices(source, &context, index, journal)?;
        let Written { index, planner, journal, end } = written;
        let mut objects = Vec::new();
        if !slices.is_empty() {
            // What is listed from here on must be known to have been put.
            self.log.sync().map_err(Error::Temporary)?;
            let checksums = checksums_of(&slices)?;
            objects.push(Object { file: BackupFile::Checksums, contents: Hashed::of(&checksums) });
            put(BackupFile::Checksums, checksums.into())?;
        }
        objects.extend(index.finish().map_err(write_error)?.finish()?);
        let plan = compressed(sealed(StreamKind::Plan(&context), BackupFile::Plan)?)?;
        let memory = self.base.reuse.memory();
        let slice = |name: SliceName| {
            if name.backup != *backup {
                return memory?.tables.slice(name).ok()?;
            }
            let Sealed { size, sha256 } = *slices.get(usize::try_from(name.number).ok()?)?;
            Some(plan::Slice { name, size, sha256 })
        };
        let plan = planner.write(self.title, end.as_ref(), slice, plan).map_err(Error::Plan)?;
        objects.extend(plan.finish().map_err(write_error)?.finish()?);
        let recipients: String = self.recipients.certificates().iter().map(cms::Certificate::to_pem).collect();
        for (file, bytes) in
            [(BackupFile::Recipients, Bytes::from(recipients)), (BackupFile::Recover, recovery::TEXT.into())]
        {
            objects.push(Object { file, contents: Hashed::of(&bytes) });
            put(file, bytes)?;
        }
        let unconfirmed = journal.finish(memory.map(|memory| &memory.tables), &slices)?;
        Ok(Outcome { slices, objects, unconfirmed, end_of_tar: end })
    }

    /// Puts the slices, and writes the index meanwhile.
    fn write_slices<W: Write>(
        &self,
        source: Source,
        context: &str,
        index: W,
        journal: Journal,
    ) -> Result<(Written<W>, Vec<Sealed>)> {
        let backup = self.title.backup;
        let sealer = Sealer::new(self.recipients, StreamKind::Slices(context)).map_err(Error::cms(None))?;
        let capacity = sealer.plaintext_length(self.what.slice_size).map_err(|error| Error::cms(None)(error.into()))?;
        let limits = Limits::of_slice(capacity);
        let put = |number, sealed: &Sealed, slice: Bytes| {
            let object = ObjectName::slice(self.what.host, self.what.set, backup, number);
            self.what.store.put(&object, slice)?;
            self.log.put(number, sealed).map_err(Error::Temporary)
        };
        let head = self.index_head();
        let folder = self.state.folder();
        let chunks = Chunks::new(self.key, &self.base.reuse, folder);
        let fill = |slices: &mut slices::Writer<'_>| {
            let mut rows = Rows::new(index, head, journal, &chunks, folder)?;
            let threads = self.what.threads.get() + 1;
            let (handed_out, taken) = in_order(
                threads,
                WAITING,
                WAITING + threads + AHEAD,
                || Worker::new(limits, self.tally, &chunks),
                |worker, job| worker.work(job),
                |queue| self.hand_out(source, limits, &queue),
                |mut results| results.try_for_each(|done| rows.take(done, slices)),
            );
            // Where nobody wanted more, why not is the error to be told.
            taken?;
            handed_out.map_err(slices::Error::Other)?;
            rows.finish()
        };
        slices::write(&sealer, self.what.slice_size, self.what.store.at_once(), put, fill).map_err(
            |error| match error {
                slices::Error::Other(error) => error,
                slices::Error::Seal(error) => Error::cms(None)(error),
                error => Error::Slices(error.to_string()),
            },
        )
    }

    fn index_head(&self) -> Head {
        let known = self.base.reuse.memory().map_or(&[][..], |memory| &memory.last.runs);
        let runs = known.iter().map(|known| known.run.backup).chain([self.title.backup]).collect();
        let base = self.base.chain.last().map(|index| index.run.backup);
        Head { title: self.title.clone(), base, runs }
    }

    /// Hands out all jobs.
    fn hand_out(&self, source: Source, limits: Limits, queue: &Queue) -> Result<()> {
        let stream =
            |name: &StreamName, source: &mut dyn io::Read| stream::hand_out(name, source, limits, self.tally, queue);
        // Where nobody wants more, another thread knows why.
        let failed = |what: &str, error: Option<io::Error>| {
            error.map_or(Ok(()), |error| Err(Error::file("read", Path::new(what))(error)))
        };
        match source {
            Source::Files { roots, excludes, one_file_system, closed, .. } => {
                let walk = walk(roots, excludes, one_file_system, &closed, self.state.folder());
                let comparison = Comparison {
                    reuse: &self.base.reuse,
                    tells_gone: !self.base.chain.is_empty(),
                    ignored: self.what.ignored,
                    clock: self.what.clock,
                    folder: self.state.folder(),
                };
                match tree::hand_out(walk, comparison, limits, self.tally, queue) {
                    Err(Stopped::Failed(error)) => Err(error),
                    Ok(()) | Err(Stopped::NobodyWaits) => Ok(()),
                }
            }
            Source::Stdin(name, mut source) => {
                stream(&name, &mut source).or_else(|error| failed("standard input", error))
            }
            Source::Exec(name, command, words) => {
                let (running, mut output) = stream::Running::start(&command, words)?;
                match stream(&name, &mut output) {
                    Ok(()) => running.wait(),
                    Err(error) => {
                        drop(output);
                        running.stop();
                        failed("the output of the command", error)
                    }
                }
            }
        }
    }

    /// What is to be told of a run that has put everything but its receipt.
    fn conclude(&self, outcome: &Outcome, given: Given, signer: &SigningKey) -> Result<Conclusion> {
        let Outcome { slices, objects, unconfirmed, .. } = outcome;
        let end = (self.what.clock)().max(self.own.backup.start());
        let runs = self.runs(unconfirmed, objects);
        self.check_age(&runs, end)?;
        let is_index = |object: &&Object| matches!(object.file, BackupFile::Index(_));
        let index = objects.iter().filter(is_index).map(|object| object.contents).collect();
        let index = KnownIndex { run: self.own.clone(), objects: index };
        let receipt = Receipt {
            host: self.title.host.clone(),
            set: self.title.set.clone(),
            backup: self.own.backup,
            end,
            program: self.what.program.to_owned(),
            given,
            counts: self.tally.counts(),
            previous: self.state.previous(),
            unconfirmed: self.state.unconfirmed().to_vec(),
            reuse_for: self.what.reuse_for,
            recipients: self.own.recipients.clone(),
            slices: slices.len() as u64,
            slice_bytes: slices.iter().map(|slice| slice.size).sum(),
            objects: objects.clone(),
            index_chain: chain_objects(self.base.chain),
            runs: self.receipt_runs(unconfirmed, &runs),
            signer: signer.certificate().clone(),
        };
        Ok(Conclusion { receipt, runs, chain: self.base.chain.iter().cloned().chain([index]).collect() })
    }

    /// The runs of which slices are needed, and may be needed by the next backup.
    fn runs(&self, unconfirmed: &Unconfirmed, objects: &[Object]) -> Vec<KnownRun> {
        let known = self.base.reuse.memory().map_or(&[][..], |memory| &memory.last.runs);
        let checksums = objects.iter().find(|object| object.file == BackupFile::Checksums);
        let own = checksums.map(|object| KnownRun { run: self.own.clone(), checksums: object.contents });
        let is_used = |known: &&KnownRun| unconfirmed.slices_of(known.run.backup).is_some();
        known.iter().chain(own.as_ref()).filter(is_used).cloned().collect()
    }

    /// The earlier runs as a receipt lists them.
    fn receipt_runs(&self, unconfirmed: &Unconfirmed, runs: &[KnownRun]) -> Vec<receipt::Run> {
        let today = &self.own.recipients;
        let earlier = runs.iter().filter(|known| known.run.backup != self.own.backup);
        earlier
            .map(|KnownRun { run, checksums }| receipt::Run {
                backup: run.backup,
                checksums: *checksums,
                slices: unconfirmed.slices_of(run.backup).unwrap_or_default().to_vec(),
                other_recipients: run.recipients.iter().filter(|one| !today.contains(one)).copied().collect(),
            })
            .collect()
    }

    /// A backup that took so long that what it needs has become too old gets no receipt. What it has put is
    /// used by the next.
    fn check_age(&self, runs: &[KnownRun], end: OffsetDateTime) -> Result<()> {
        let indexes = self.base.chain.iter().map(|index| index.run.backup);
        let oldest = runs.iter().map(|known| known.run.backup).chain(indexes).min();
        match oldest.filter(|oldest| end - oldest.start() > base::reuse_for(self.what) + PUT_AGAIN) {
            Some(oldest) => Err(Error::TookTooLong { oldest }),
            None => Ok(()),
        }
    }
}

/// The objects of a chain of indexes.
fn chain_objects(chain: &[KnownIndex]) -> Vec<ChainObject> {
    let objects = chain.iter().flat_map(|index| (0..).zip(&index.objects).map(|object| (index.run.backup, object)));
    objects.map(|(backup, (number, contents))| ChainObject { backup, number, contents: *contents }).collect()
}

/// Bundles that wait for a thread, while their files are read ahead.
const WAITING: usize = 3;

/// Frames that wait for those before them: so many that the threads have work while one frame takes
/// longer than others, or a slice waits for the disk.
const AHEAD: usize = 4;

/// Level of zstd for index and plan: text that is much alike.
const LEVEL: i32 = 3;

fn compressed<W: Write>(out: W) -> Result<zstd::stream::write::Encoder<'static, W>> {
    zstd::stream::write::Encoder::new(out, LEVEL).map_err(Error::Temporary)
}

fn checksums_of(slices: &[Sealed]) -> Result<Vec<u8>> {
    let mut writer = checksums::Writer::new(Vec::new());
    let written = slices.iter().try_for_each(|slice| writer.slice(slice.size, slice.sha256.into()));
    written.map_err(|error| Error::Slices(error.to_string()))?;
    Ok(writer.end())
}
