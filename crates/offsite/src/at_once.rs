//! The same work on many things at once, in any order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` on each of `items`, in so many threads. After a failure nothing more is begun, and one of the
/// failures is returned.
pub(crate) fn for_each<T, E: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let items = Mutex::new(items);
    let failed = AtomicBool::new(false);
    let next = || {
        let item = items.lock().unwrap_or_else(PoisonError::into_inner).next();
        item.filter(|_| !failed.load(Ordering::Relaxed))
    };
    let run = || {
        let done = std::iter::from_fn(next).try_for_each(&work);
        failed.fetch_or(done.is_err(), Ordering::Relaxed);
        done
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).fold(Ok(()), Result::and)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn everything_is_done_once() {
        let sum = AtomicU64::new(0);
        let done: Result<(), ()> = for_each(3, 1..=1000, |number| {
            sum.fetch_add(number, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!((done, sum.into_inner()), (Ok(()), 500_500));
    }

    #[test]
    fn a_failure_ends_it() {
        let begun = AtomicU64::new(0);
        let done = for_each(2, 0.., |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 10 { Err("ten") } else { Ok(()) }
        });
        assert_eq!(done, Err("ten"));
        assert!(begun.into_inner() >= 11);
    }
}
