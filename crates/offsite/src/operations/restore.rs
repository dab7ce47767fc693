//! `restore`: a backup's slices to files, to a tar, or to the bytes of a stream or a file.
//!
//! The rows of the index are put into the order of the plan, and become jobs: a frame with the
//! members in it, or a part of a large file. Several threads take them; each
//! opens slices through a cache that all share, decompresses, compares each member with what the
//! index says of it, and unpacks it where it lies. Slices that will be wanted are opened ahead.
//!
//! Memory does not grow with the backup: some opened slices, a frame a thread (for a tar some more), and
//! jobs that wait. What must be known of each entry goes to files without names.

mod cache;
mod entry;
mod error;
mod jobs;
mod large;
mod links;
mod ordered;
mod queue;
mod work;

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::archive::header::END;
use crate::archive::read::{Kind, Member};
use crate::archive::unpack::{self, Existing, Report, Unpacker};
use crate::events::Events;
use crate::index::order::{Names, Order, Rows};
use crate::index::{self, Merge, Place, PlanError, Row, plan_of};
use crate::operations::backups::{Backup, Selection, SliceReader};
use crate::plan::{self, Shape, SliceName, Title};
use crate::times::Time;
use cache::Cache;
use jobs::{Job, Jobs};
use links::Links;
use ordered::{Chunk, Ordered};
use queue::Queue;
use work::{Common, Goal, Worker};

pub use crate::operations::backups::OpenedSlice;
pub use error::{Error, FrameFault, Result};

/// The slices of one backup.
pub trait Slices: Sync {
    /// Size and SHA-256 of a slice that the backup may use, from its receipt.
    fn known(&self, name: SliceName) -> Option<plan::Slice>;

    /// Gets, verifies and opens a slice; called from several threads, for each slice mostly once.
    /// `memory` is that of a slice that nobody needs any more, empty: an allocator would rather keep
    /// it than give the same again.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn open(&self, name: SliceName, memory: Vec<u8>) -> crate::Result<OpenedSlice>;

    /// How many are best opened at once, ahead of those who want them.
    fn at_once(&self) -> usize {
        2
    }
}

impl Slices for SliceReader<'_> {
    fn known(&self, name: SliceName) -> Option<plan::Slice> {
        self.known(name)
    }

    fn open(&self, name: SliceName, memory: Vec<u8>) -> crate::Result<OpenedSlice> {
        self.open_in(name, memory)
    }

    fn at_once(&self) -> usize {
        self.store().at_once()
    }
}

/// Receives what happens; from several threads.
pub trait Watch: Events + Report {
    /// An entry could not be restored, and the restore goes on without it. The empty path stands for the end
    /// of the tar, with which nothing else is lost.
    fn lost(&self, path: &[u8], error: &Error);
}

/// What to restore, and how.
pub struct Restore<'a> {
    /// Paths of the backup, which stand for all that lies in them, too; none for everything. A
    /// slash at the beginning or end means nothing.
    pub paths: &'a [Vec<u8>],
    /// Whether what is lost is passed over.
    pub keep_going: bool,
    /// A folder for temporary files.
    pub folder: &'a Path,
    /// How many threads decompress and write.
    pub threads: NonZero<usize>,
}

/// Where to.
pub enum To<'a> {
    /// Nowhere: all is read and checked.
    Nothing,
    /// Files in a folder. It is made where only its last component is missing, and must be empty unless
    /// what is there may be replaced. A stream becomes a file of its name.
    Folder {
        /// The folder.
        path: &'a Path,
        /// What to do with what is there.
        existing: Existing,
    },
    /// A tar: of a whole backup exactly the stream that its plan describes. Of a large file that is
    /// lost in part zeros take the place of what is lost.
    Tar(&'a mut dyn Write),
    /// The bytes of a stream, or the content of the one regular file that is asked for.
    Content(&'a mut dyn Write),
}

/// What has been restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Entries that were to be restored.
    pub entries: u64,
    /// Of these, entries that are lost.
    pub lost: u64,
    /// What became of the others, where they are files.
    pub files: unpack::Totals,
}

/// Restores a backup: `index` are its rows, `plan` the text of its plan. With a plan and without
/// paths, the plan must be the one that follows from the index, which is known before anything is
/// written.
///
/// The files of a folder are durable when this returns (`syncfs`).
///
/// # Errors
///
/// The first of [`Error`]s; unless `keep_going`, of those that concern an entry alone as well. Files
/// that are there by then stay.
pub fn restore<S: Slices, R: BufRead>(
    what: &Restore<'_>,
    to: To<'_>,
    index: Merge<R>,
    plan: Option<&mut dyn Read>,
    slices: &S,
    watch: &dyn Watch,
) -> Result<Restored> {
    let is_tar = index.title().shape == Shape::Tar;
    let ready = prepare(what, &to, index, plan, slices)?;
    let job = Run { what, slices, watch };
    match to {
        To::Nothing => job.run(Goal::Nothing, None, ready),
        To::Tar(out) => {
            let is_choice = ready.end.is_none();
            let restored = job.run(Goal::Stream, Some(&mut *out), ready)?;
            if is_choice {
                out.write_all(&END).map_err(Error::Write)?;
            }
            Ok(restored)
        }
        To::Content(out) => job.run(if is_tar { Goal::Content } else { Goal::Stream }, Some(out), ready),
        To::Folder { path, existing } => job.unpack(path, existing, ready),
    }
}

/// Restores a backup from its store, as [`restore`]. A whole one must have the plan that follows from
/// its index.
///
/// # Errors
///
/// As [`restore`].
pub fn restore_backup(what: &Restore<'_>, to: To<'_>, backup: &Backup<'_>, watch: &dyn Watch) -> Result<Restored> {
    let slices = backup.slices()?;
    let mut plan = if what.paths.is_empty() { Some(backup.plan()?) } else { None };
    let plan = plan.as_mut().map(|plan| plan as &mut dyn Read);
    restore(what, to, backup.index()?, plan, &slices, watch).map_err(|error| match error {
        Error::Index(PlanError::Index(error)) => backup.index_error(error).into(),
        Error::PlanUnreadable(source) => backup.plan_unreadable(source).into(),
        error => error,
    })
}

/// A backup's entries in order, checked as far as they can be without its slices.
struct Ready {
    order: Order,
    names: Names,
    /// The end of the tar, where all of it is restored.
    end: Option<Place>,
    /// The file that a stream would be.
    stream: Option<Member>,
    entries: u64,
}

/// Reads the index, and compares the plan with it.
fn prepare<S: Slices, R: BufRead>(
    what: &Restore<'_>,
    to: &To<'_>,
    mut index: Merge<R>,
    plan: Option<&mut dyn Read>,
    slices: &S,
) -> Result<Ready> {
    let title = index.title().clone();
    match (&title.shape, to) {
        (Shape::Stream(_), _) if !what.paths.is_empty() => return Err(Error::NoPaths),
        (Shape::Stream(_), To::Tar(_)) => return Err(Error::NoTar),
        (Shape::Tar, To::Content(_)) if what.paths.len() != 1 => return Err(Error::NoStream),
        _ => {}
    }
    let mut selection = Selection::new(what.paths.iter().cloned());
    let only = matches!((&title.shape, to), (Shape::Tar, To::Content(_)));
    let is_everything = selection.is_everything();
    let mut rows = Rows::with_names(what.folder);
    let (mut entries, mut stream, mut chosen) = (0, None, false);
    while let Some(row) = index.next_row().map_err(PlanError::from)? {
        if let Row::Entry(entry) = &row {
            let is_folder = !only && entry.kind == index::Kind::Folder;
            chosen = selection.takes(&entry.path) || is_folder && selection.leads_on_from(&entry.path);
            entries += u64::from(chosen);
            let has_content = matches!(entry.kind, index::Kind::File { .. } | index::Kind::HardLink { .. });
            if only && chosen && !has_content {
                return Err(Error::NoContent(entry.path.clone()));
            }
            if let index::Kind::Stream { size } = entry.kind {
                stream = Some(stream_member(&title, &entry.path, size));
            }
        }
        rows.row(&row, chosen)?;
    }
    let missing = selection.not_found();
    if !missing.is_empty() {
        return Err(crate::Error::NoSuchPath(missing).into());
    }
    let mut order = rows.order()?;
    let end = index.end().and_then(|(_, end)| end).filter(|_| is_everything);
    if is_everything {
        check_plan(&mut order, &title, end.as_ref(), plan, slices)?;
    } else {
        while order.next()?.is_some() {}
    }
    order.rewind()?;
    let names = order.names();
    Ok(Ready { order, names, end, stream, entries })
}

/// Requires the plan to be the one that follows from the index.
fn check_plan<S: Slices>(
    order: &mut Order,
    title: &Title,
    end: Option<&Place>,
    plan: Option<&mut dyn Read>,
    slices: &S,
) -> Result<()> {
    let known = |name| slices.known(name);
    let Some(plan) = plan else {
        plan_of::write(order, title, end, known, io::sink())?;
        return Ok(());
    };
    let mut same = Same { plan, line: 1, fault: None };
    match plan_of::write(order, title, end, known, &mut same) {
        Ok(_) => {
            let more = same.plan.read(&mut [0]).map_err(Error::PlanUnreadable)?;
            if more == 0 { Ok(()) } else { Err(Error::Plan(same.line)) }
        }
        Err(error) => Err(same.fault.unwrap_or(Error::Index(error))),
    }
}

/// Compares what is written with what there is.
struct Same<'p> {
    plan: &'p mut dyn Read,
    line: u64,
    fault: Option<Error>,
}

impl Write for Same<'_> {
    fn write(&mut self, expected: &[u8]) -> io::Result<usize> {
        let mut found = [0; 4096];
        let expected = &expected[..expected.len().min(found.len())];
        let found = &mut found[..expected.len()];
        let fault = match self.plan.read_exact(found) {
            Ok(()) if found == expected => {
                self.line += expected.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
                return Ok(expected.len());
            }
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Error::PlanUnreadable(error),
            _ => Error::Plan(self.line),
        };
        self.fault = Some(fault);
        Err(io::ErrorKind::InvalidData.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file that a stream would be: its owner's alone, as old as the backup.
fn stream_member(title: &Title, name: &[u8], size: u64) -> Member {
    Member {
        path: name.to_vec(),
        kind: Kind::File { size, extents: None },
        mode: 0o600,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Time { seconds: title.backup.start().unix_timestamp(), nanoseconds: 0 },
        xattrs: Vec::new(),
        access_acl: None,
        default_acl: None,
        offset: 0,
    }
}

/// Whether files can be restored into a folder, as far as that shows before it is made; for those who would
/// rather know before a passphrase is typed.
///
/// # Errors
///
/// As [`restore`], of its target alone.
pub fn check_target(path: &Path, existing: Existing) -> Result<()> {
    match fs::read_dir(path) {
        Ok(mut found) => match found.next() {
            Some(_) if existing == Existing::Refuse => Err(Error::NotEmpty(path.to_path_buf())),
            _ => Ok(()),
        },
        // Something else than a link that leads nowhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            fs::metadata(parent).map_err(crate::Error::file("make", path))?;
            Ok(())
        }
        Err(error) => Err(crate::Error::file("read", path)(error).into()),
    }
}

/// Makes the target, or sees to it that it may be used.
fn make_target(path: &Path, existing: Existing) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_target(path, existing),
        made => Ok(made.map_err(crate::Error::file("make", path))?),
    }
}

/// Most entries and places in jobs that wait: some 2 MiB.
const WAITING: usize = 16 << 10;

/// A restore under way.
struct Run<'a, S: Slices> {
    what: &'a Restore<'a>,
    slices: &'a S,
    watch: &'a dyn Watch,
}

impl<S: Slices> Run<'_, S> {
    fn unpack(&self, path: &Path, existing: Existing, ready: Ready) -> Result<Restored> {
        make_target(path, existing)?;
        let unpacker = Unpacker::new(path, existing, self.watch)?;
        let links = Links::new(self.what.folder);
        let empty = ready.stream.clone().filter(|stream| stream.kind.content() == 0);
        let mut lost = 0;
        // The end is of no use to files.
        let ready = Ready { end: None, ..ready };
        let mut restored = self.run(Goal::Files { unpacker: &unpacker, links: &links }, None, ready)?;
        if let Some(empty) = empty {
            unpacker.member(&empty, &mut io::empty())?;
        }
        links.each(|path, target| {
            match unpacker.member(&link(path.clone(), target), &mut io::empty()).map_err(Error::from) {
                Ok(_) => Ok(()),
                Err(error) if self.what.keep_going && error.is_of_entry() => {
                    lost += 1;
                    self.watch.lost(&path, &error);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        })?;
        restored.lost += lost;
        restored.files = unpacker.finish()?;
        sync(path)?;
        Ok(restored)
    }

    /// Does all jobs; with `out`, writes what comes of them in order.
    fn run(&self, goal: Goal<'_>, out: Option<&mut dyn Write>, ready: Ready) -> Result<Restored> {
        let Ready { mut order, names, end, stream, entries } = ready;
        let threads = self.what.threads.get();
        let common = Common {
            cache: Cache::new(self.slices),
            goal,
            names,
            marks: order.marks(),
            watch: self.watch,
            keep_going: self.what.keep_going,
            lost: AtomicU64::new(0),
        };
        let flow = Flow {
            common: &common,
            queue: Queue::new(WAITING),
            wanted: Queue::new(WAITING),
            ordered: Ordered::new(threads as u64),
            failure: Mutex::new(None),
        };
        thread::scope(|scope| {
            let flow = &flow;
            for _ in 0..self.slices.at_once() {
                scope.spawn(|| flow.guarded(|| flow.open_ahead()));
            }
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| flow.guarded(|| flow.work()))).collect();
            scope.spawn(|| flow.guarded(|| flow.make_jobs(&mut order, stream.as_ref(), end)));
            scope.spawn(move || {
                workers.into_iter().for_each(|worker| drop(worker.join()));
                flow.ordered.end();
            });
            if let Some(out) = out {
                flow.guarded(|| flow.ordered.write(out).map_err(Error::Write));
            }
        });
        let failure = flow.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let lost = common.lost.into_inner();
        failure.map_or(Ok(Restored { entries, lost, files: unpack::Totals::default() }), Err)
    }
}

/// What the threads of a restore pass to each other.
struct Flow<'f, 'a, 'u, S: Slices> {
    common: &'f Common<'a, 'u, S>,
    queue: Queue<Job<'u>>,
    /// Slices, and the jobs that will want them.
    wanted: Queue<(SliceName, u64)>,
    ordered: Ordered,
    failure: Mutex<Option<Error>>,
}

impl<'u, S: Slices> Flow<'_, '_, 'u, S> {
    /// Runs a thread's part. Where it fails or panics, the others end.
    fn guarded(&self, part: impl FnOnce() -> Result<()>) {
        struct Guard<'g, 'f, 'a, 'u, S: Slices>(&'g Flow<'f, 'a, 'u, S>);
        impl<S: Slices> Drop for Guard<'_, '_, '_, '_, S> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.stop();
                }
            }
        }
        let guard = Guard(self);
        if let Err(error) = part() {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            guard.0.stop();
        }
    }

    fn stop(&self) {
        self.queue.stop();
        self.wanted.stop();
        self.ordered.stop();
        self.common.cache.stop();
    }

    fn make_jobs(&self, order: &mut Order, stream: Option<&Member>, end: Option<Place>) -> Result<()> {
        Jobs::new(&self.common.cache, &self.queue, &self.wanted).all(order, stream, end)?;
        self.queue.end();
        self.wanted.end();
        Ok(())
    }

    fn open_ahead(&self) -> Result<()> {
        while self.common.cache.prefetch(&self.wanted) {}
        Ok(())
    }

    fn work(&self) -> Result<()> {
        let mut worker = Worker::new(self.common)?;
        let is_ordered = self.common.goal.is_ordered();
        let mut buffer = Vec::new();
        while let Some(job) = self.queue.pop() {
            let number = job.number;
            self.common.cache.reach(number);
            if is_ordered {
                let chunk = worker.work(job, self.ordered.begin(number))?;
                self.ordered.done(number, chunk);
            } else {
                let Chunk { buffer: used, .. } = worker.work(job, buffer)?;
                buffer = used;
            }
        }
        Ok(())
    }
}

fn link(path: Vec<u8>, target: Vec<u8>) -> Member {
    Member {
        path,
        kind: Kind::HardLink { target },
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 0, nanoseconds: 0 },
        xattrs: Vec::new(),
        access_acl: None,
        default_acl: None,
        offset: 0,
    }
}

/// Makes all files durable at once.
fn sync(target: &Path) -> Result<()> {
    let folder = fs::File::open(target).map_err(crate::Error::file("open", target))?;
    rustix::fs::syncfs(folder).map_err(|error| crate::Error::file("write", target)(error.into()))?;
    Ok(())
}
