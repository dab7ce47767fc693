//! Jobs side by side, results in order. One thread hands out jobs, several do them, and the caller
//! receives what comes of them in the order in which they were handed out.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Hands out jobs.
pub(crate) struct Jobs<J, D> {
    /// To whoever does it first.
    to_do: SyncSender<(J, SyncSender<D>)>,
    /// In order, where the result of each will come.
    results: SyncSender<Receiver<D>>,
}

/// The receiver of the results has gone: there is no use in more jobs.
#[derive(Debug)]
pub(crate) struct NobodyWaits;

impl<J, D> Jobs<J, D> {
    /// Hands out the next job. Waits while as many are under way as there may be.
    pub(crate) fn push(&self, job: J) -> Result<(), NobodyWaits> {
        let (done, result) = sync_channel(1);
        self.results.send(result).map_err(|_| NobodyWaits)?;
        self.to_do.send((job, done)).map_err(|_| NobodyWaits)
    }
}

/// What came of the jobs, in their order.
pub(crate) struct Results<D>(Receiver<Receiver<D>>);

impl<D> Iterator for Results<D> {
    type Item = D;

    fn next(&mut self) -> Option<D> {
        // A result that never comes means that a worker panicked, which the scope passes on.
        self.0.recv().ok()?.recv().ok()
    }
}

/// Runs `produce`, which hands out jobs, and `consume`, which receives what came of them, with
/// `threads` threads between the two, each with a worker of its own. At most `waiting` jobs wait to be
/// done, and at most `ahead` results to be received.
///
/// Where `consume` ends early, the jobs under way are still done, and `produce` is told at its next
/// one.
pub(crate) fn in_order<J: Send, D: Send, W, P: Send, C>(
    threads: usize,
    waiting: usize,
    ahead: usize,
    worker: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, J) -> D + Sync,
    produce: impl FnOnce(Jobs<J, D>) -> P + Send,
    consume: impl FnOnce(Results<D>) -> C,
) -> (P, C) {
    let (to_do, jobs) = sync_channel::<(J, SyncSender<D>)>(waiting);
    let (results, in_order) = sync_channel(ahead);
    let jobs = Mutex::new(jobs);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut worker = worker();
                loop {
                    // A statement of its own: the lock must not be held while the job is done.
                    let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, done)) = next else { break };
                    // Nobody takes it where the caller's part has ended.
                    let _ = done.send(work(&mut worker, job));
                }
            });
        }
        let produced = scope.spawn(move || produce(Jobs { to_do, results }));
        let consumed = consume(Results(in_order));
        let produced = produced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (produced, consumed)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_jobs() {
        let under_way = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let work = |count: &mut u64, job: u64| {
            *count += 1;
            thread::sleep(Duration::from_micros(job * 7919 % 300));
            under_way.fetch_sub(1, Ordering::Relaxed);
            job * 2
        };
        let produce = |jobs: Jobs<u64, u64>| {
            for job in 0..500 {
                let now = under_way.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                jobs.push(job).unwrap();
            }
        };
        let consume = |results: Results<u64>| results.collect::<Vec<_>>();
        let ((), results) = in_order(3, 1, 4, || 0, work, produce, consume);
        assert_eq!(results, (0..500).map(|job| job * 2).collect::<Vec<_>>());
        assert!(most.into_inner() <= 3 + 4 + 3);
    }

    #[test]
    fn an_early_end_stops_the_producer() {
        let produce = |jobs: Jobs<u64, u64>| (0..).take_while(|job| jobs.push(*job).is_ok()).count();
        let consume = |results: Results<u64>| results.take(10).sum::<u64>();
        let (handed_out, sum) = in_order(2, 1, 2, || (), |(), job| job, produce, consume);
        assert_eq!(sum, 45);
        assert!((10..30).contains(&handed_out), "{handed_out}");
    }
}
