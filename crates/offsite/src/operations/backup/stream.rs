//! A stream to jobs: standard input, or what a command writes.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::chunks::{Chunker, Room};
use crate::error::{Error, Result};
use crate::index::{Entry, Inode, Kind};
use crate::operations::backup::jobs::{Closing, Job};
use crate::operations::backup::limits::Limits;
use crate::operations::backup::tally::Tally;
use crate::operations::backup::tree::Queue;
use crate::ordered::NobodyWaits;
use crate::plan::StreamName;
use crate::state::Known;
use crate::times::Time;

/// Hands out what a stream holds as jobs.
///
/// # Errors
///
/// Those of the stream; None where nobody wants more.
pub(super) fn hand_out(
    name: &StreamName,
    source: impl Read,
    limits: Limits,
    tally: &Tally<'_>,
    queue: &Queue,
) -> Result<(), Option<io::Error>> {
    let nobody_waits = |NobodyWaits| None;
    let kind = Kind::Stream { size: 0 };
    let path = name.to_string().into_bytes();
    let entry = Entry { path, kind, inode: Inode::default(), links: false, torn: false, places: Vec::new() };
    let known = Known { entry, changed: Time::default(), inode: 0, again: false };
    queue.push(Job::Open(Box::new(known))).map_err(nobody_waits)?;
    let mut room = Room::default();
    let mut chunker = Chunker::new(source, limits.chunks, &mut room);
    let mut size = 0;
    while let Some(chunk) = chunker.next_chunk().map_err(Some)? {
        size += chunk.len() as u64;
        tally.progress(chunk.len() as u64);
        queue.push(Job::Chunk(chunk)).map_err(nobody_waits)?;
    }
    tally.stream(size);
    queue.push(Job::Close(Closing { torn: false, again: false, stream: Some(size) })).map_err(nobody_waits)
}

/// A command whose output is backed up. Its standard input is empty.
pub(super) struct Running {
    child: Child,
    program: OsString,
}

impl Running {
    /// Starts it, with `words` as its standard error; gives its output.
    ///
    /// # Errors
    ///
    /// [`Error::NoCommand`], [`Error::CommandNotStarted`].
    pub(super) fn start(command: &[OsString], words: Stdio) -> Result<(Self, ChildStdout)> {
        let (program, arguments) = command.split_first().ok_or(Error::NoCommand)?;
        let failed = |source| Error::CommandNotStarted { program: program.into(), source };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok((Self { child, program: program.clone() }, output))
    }

    /// Waits for its end. Only a command that says that it succeeded has given all of its output.
    ///
    /// # Errors
    ///
    /// [`Error::CommandFailed`].
    pub(super) fn wait(mut self) -> Result<()> {
        let status: ExitStatus = self.child.wait().map_err(|source| {
            let program = self.program.clone().into();
            Error::CommandNotStarted { program, source }
        })?;
        if status.success() { Ok(()) } else { Err(Error::CommandFailed { program: self.program.into(), status }) }
    }

    /// Ends it, whose output nobody wants any more: it is asked to, and gets a while for that.
    pub(super) fn stop(mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// How long a command may take to end that is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(20);
