//! Tells others how a run goes: a service that is pinged, and a file of metrics. Neither can fail a run, or
//! hold it up for long.
//!
//! There is one run in a process. It is kept here, where an interrupt finds it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use offsite::ping::{self, Address, Signal, ping};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::metrics::{Ended, Metrics};
use crate::{exit, terminal};

/// So long at most the end of a run is held up by its ping.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long at most the ping of its start may take, which holds up nothing.
const PATIENCE_AT_START: Duration = Duration::from_secs(5);

/// So long at most an interrupt is held up.
const PATIENCE_OF_INTERRUPT: Duration = Duration::from_secs(3);

static RUN: Mutex<Option<Run>> = Mutex::new(None);

/// A run that others are told of.
struct Run {
    command: &'static str,
    start: OffsetDateTime,
    pinged: Option<Pinged>,
    metrics: Option<Metrics>,
    counts: Map<String, Value>,
}

/// A service that was told of the start.
struct Pinged {
    address: Address,
    /// What came of it.
    start: Option<JoinHandle<Result<(), ping::Error>>>,
}

/// What is sent for a person to read. No names of files, hosts or stores: the service is somebody else's.
#[derive(Serialize)]
struct Body<'a> {
    command: &'a str,
    exit_code: u8,
    seconds: u64,
    #[serde(flatten)]
    counts: &'a Map<String, Value>,
}

/// A run begins.
pub(crate) fn begin(command: &'static str, address: Option<Address>, metrics: Option<Metrics>) {
    let pinged = address.map(|address| {
        let to = address.clone();
        let start = move || ping(&to, Signal::Start, "", PATIENCE_AT_START);
        Pinged { address, start: thread::Builder::new().name("ping".to_owned()).spawn(start).ok() }
    });
    let start = OffsetDateTime::now_utc();
    *lock() = Some(Run { command, start, pinged, metrics, counts: Map::new() });
}

/// What the run has counted: numbers, ids, and whether something is so.
pub(crate) fn count(counts: &impl Serialize) {
    if let (Some(run), Ok(Value::Object(counts))) = (&mut *lock(), serde_json::to_value(counts)) {
        run.counts = counts;
    }
}

/// The run ends with this exit code.
pub(crate) fn end(exit_code: u8) {
    // A statement of its own: an interrupt must not wait for the ping.
    let run = lock().take();
    let Some(mut run) = run else { return };
    run.write_metrics(exit_code);
    run.ping(exit_code, PATIENCE);
}

/// The run was interrupted. `clean_up` comes before what may take its time. The process must end after it,
/// for the lock is never given back: a run that comes to its end meanwhile waits here.
pub(crate) fn interrupted(clean_up: impl FnOnce()) {
    let mut guard = lock();
    let mut run = guard.take();
    if let Some(run) = &run {
        run.write_metrics(exit::INTERRUPTED);
    }
    clean_up();
    if let Some(run) = &mut run {
        run.ping(exit::INTERRUPTED, PATIENCE_OF_INTERRUPT);
    }
    std::mem::forget(guard);
}

impl Run {
    fn write_metrics(&self, exit_code: u8) {
        let Some(metrics) = &self.metrics else { return };
        // A clock that was set back makes no negative durations.
        let end = OffsetDateTime::now_utc().max(self.start);
        let written = metrics.write(&Ended { start: self.start, end, exit_code, counts: &self.counts });
        if let Err(error) = written {
            terminal::warning(&error.to_string());
        }
    }

    /// Tells the end, and warns once where that or the start was not heard.
    fn ping(&mut self, exit_code: u8, patience: Duration) {
        let Some(Pinged { address, start }) = &mut self.pinged else { return };
        // In the order in which it happened. It ends by itself, but an interrupt does not wait.
        let is_known = |start: &JoinHandle<_>| exit_code != exit::INTERRUPTED || start.is_finished();
        let started = start.take().filter(is_known).map_or(Ok(()), |start| start.join().unwrap_or(Ok(())));
        let took = OffsetDateTime::now_utc() - self.start;
        let seconds = u64::try_from(took.whole_seconds()).unwrap_or_default();
        let body = Body { command: self.command, exit_code, seconds, counts: &self.counts };
        let body = serde_json::to_string(&body).unwrap_or_default();
        if let Err(error) = ping(address, signal(exit_code), &body, patience).and(started) {
            terminal::warning(&error.to_string());
        }
    }
}

/// A run that failed says so; one that is done but for something says by its exit code what it is.
fn signal(exit_code: u8) -> Signal {
    match exit_code {
        exit::DONE => Signal::Success,
        exit::FAILED | exit::USAGE | exit::INTERRUPTED => Signal::Failure,
        code => Signal::ExitCode(code),
    }
}

fn lock() -> MutexGuard<'static, Option<Run>> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}
