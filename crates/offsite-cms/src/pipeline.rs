//! Pieces in order on several threads: fetched one after another, worked on side by side, emitted
//! one after another. While one thread fetches and another emits, the others work.
//!
//! Each thread has one buffer and carries a piece through all three steps, so nothing is copied or
//! handed over, and memory is the threads' number times a buffer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Runs `fetch`, `work` and `emit` on each piece, from number 0, on `threads` threads.
///
/// `fetch` fills the buffer, alone and in order; false means that there is no further piece.
/// `work` runs in parallel. `emit` runs alone and in order; false means that this piece was the
/// last. The first error by piece number ends the run: what comes before it is emitted, nothing
/// after it.
pub(crate) fn run<B: Send>(
    threads: usize,
    buffer: impl Fn() -> B + Sync,
    fetch: impl FnMut(u64, &mut B) -> Result<bool> + Send,
    work: impl Fn(u64, &mut B) -> Result<()> + Sync,
    emit: impl FnMut(u64, &mut B) -> Result<bool> + Send,
) -> Result<()> {
    let input = Mutex::new(Input { fetch, next: 0, ended: false });
    let output = Output { turn: Mutex::new(Turn { next: 0, outcome: None }), changed: Condvar::new() };
    let emit = Mutex::new(emit);
    let thread = || {
        let _guard = PanicGuard(&output);
        let mut buffer = buffer();
        loop {
            // A statement of its own: the lock must not be held while the piece is worked on.
            let next = lock(&input).fetch(&mut buffer);
            let Some((number, fetched)) = next else { break };
            let worked = fetched.and_then(|()| if output.is_done() { Ok(()) } else { work(number, &mut buffer) });
            if !output.wait_for(number) {
                break;
            }
            match worked.and_then(|()| (lock(&emit))(number, &mut buffer)) {
                Ok(true) => output.advance(),
                Ok(false) => output.finish(Ok(())),
                Err(error) => output.finish(Err(error)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(thread);
        }
        thread();
    });
    output.turn.into_inner().unwrap_or_else(PoisonError::into_inner).outcome.unwrap_or(Ok(()))
}

/// A poisoned lock means that another thread panicked; the scope passes that on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Input<F> {
    fetch: F,
    next: u64,
    ended: bool,
}

impl<F> Input<F> {
    /// The next piece's number, and whether fetching it succeeded. An error is a piece, too: it
    /// takes its turn.
    fn fetch<B>(&mut self, buffer: &mut B) -> Option<(u64, Result<()>)>
    where
        F: FnMut(u64, &mut B) -> Result<bool>,
    {
        if self.ended {
            return None;
        }
        let number = self.next;
        let fetched = (self.fetch)(number, buffer);
        self.ended = !matches!(fetched, Ok(true));
        self.next += 1;
        match fetched {
            Ok(false) => None,
            fetched => Some((number, fetched.map(|_| ()))),
        }
    }
}

struct Output {
    turn: Mutex<Turn>,
    changed: Condvar,
}

struct Turn {
    /// The piece that may be emitted.
    next: u64,
    /// Set once nothing may be emitted any more.
    outcome: Option<Result<()>>,
}

impl Output {
    fn is_done(&self) -> bool {
        lock(&self.turn).outcome.is_some()
    }

    /// Waits for the turn of `number`; false where it will not come.
    fn wait_for(&self, number: u64) -> bool {
        let waiting = |turn: &mut Turn| turn.next != number && turn.outcome.is_none();
        let turn = self.changed.wait_while(lock(&self.turn), waiting).unwrap_or_else(PoisonError::into_inner);
        turn.outcome.is_none()
    }

    fn advance(&self) {
        lock(&self.turn).next += 1;
        self.changed.notify_all();
    }

    fn finish(&self, outcome: Result<()>) {
        lock(&self.turn).outcome.get_or_insert(outcome);
        self.changed.notify_all();
    }
}

/// Wakes the others where a thread panics, so that they end and the panic can be passed on.
struct PanicGuard<'a>(&'a Output);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.finish(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn run_to(pieces: u64, threads: usize, fail_at: Option<u64>, last: u64) -> (Vec<u64>, bool) {
        let mut emitted = Vec::new();
        let result = run(
            threads,
            || 0_u64,
            |number, buffer| {
                *buffer = number;
                Ok(number < pieces)
            },
            |number, _| {
                std::thread::sleep(std::time::Duration::from_micros((number * 7 % 5) * 50));
                if Some(number) == fail_at { Err(Error::Decryption) } else { Ok(()) }
            },
            |number, buffer| {
                assert_eq!(*buffer, number);
                emitted.push(number);
                Ok(number != last)
            },
        );
        (emitted, result.is_ok())
    }

    #[test]
    fn pieces_come_out_in_order_up_to_the_first_error() {
        for threads in 1..5 {
            assert_eq!(run_to(100, threads, None, 1000), ((0..100).collect(), true));
            assert_eq!(run_to(0, threads, None, 1000), (vec![], true));
            assert_eq!(run_to(100, threads, Some(40), 1000), ((0..40).collect(), false));
            assert_eq!(run_to(100, threads, Some(40), 30), ((0..=30).collect(), true));
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_ends_the_run() {
        let not_the_callers = std::thread::current().id();
        let _ = run(
            3,
            || (),
            |_, ()| Ok(true),
            |_, ()| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                assert!(std::thread::current().id() == not_the_callers, "a worker fails");
                Ok(())
            },
            |_, ()| Ok(true),
        );
    }
}
