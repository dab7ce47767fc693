//! Results of jobs, written in the order of the jobs by one thread.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a job adds to the output.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) buffer: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
}

/// A piece of the output.
pub(super) enum Piece {
    /// These bytes of the buffer.
    Buffer(Range<usize>),
    /// These bytes.
    Bytes(Vec<u8>),
    Zeros(u64),
}

impl Chunk {
    /// Adds bytes of the buffer.
    pub(super) fn push(&mut self, range: Range<usize>) {
        match self.pieces.last_mut() {
            Some(Piece::Buffer(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Buffer(range)),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Buffer(range) => out.write_all(&self.buffer[range.clone()])?,
                Piece::Bytes(bytes) => out.write_all(bytes)?,
                Piece::Zeros(count) => {
                    io::copy(&mut io::Read::take(io::repeat(0), *count), out)?;
                }
            }
        }
        Ok(())
    }
}

/// Holds results until it is their turn.
pub(super) struct Ordered {
    state: Mutex<State>,
    changed: Condvar,
    /// So many jobs beside the next one may be done.
    window: u64,
}

struct State {
    chunks: BTreeMap<u64, Chunk>,
    /// The job whose result comes next.
    next: u64,
    /// Buffers to be used again.
    free: Vec<Vec<u8>>,
    /// No more results come.
    ended: bool,
    stopped: bool,
}

impl Ordered {
    /// Lets `window` jobs beside the next one be under way.
    pub(super) fn new(window: u64) -> Self {
        let state = State { chunks: BTreeMap::new(), next: 1, free: Vec::new(), ended: false, stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), window }
    }

    /// Waits until a job may begin; a buffer for it.
    pub(super) fn begin(&self, job: u64) -> Vec<u8> {
        let mut state = self.lock();
        while !state.stopped && job > state.next + self.window {
            state = self.wait(state);
        }
        state.free.pop().unwrap_or_default()
    }

    /// Takes the result of a job.
    pub(super) fn done(&self, job: u64, chunk: Chunk) {
        self.lock().chunks.insert(job, chunk);
        self.changed.notify_all();
    }

    /// No more results come.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Results do not matter any more.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Writes results until no more come; how many bytes.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            let next = state.next;
            if state.stopped {
                return Ok(());
            }
            if let Some(chunk) = state.chunks.remove(&next) {
                drop(state);
                chunk.write(out)?;
                state = self.lock();
                state.free.push(chunk.buffer);
                state.next += 1;
                self.changed.notify_all();
            } else if state.ended {
                return Ok(());
            } else {
                state = self.wait(state);
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
