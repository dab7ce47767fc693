//! Trying again where that may help: a line that is down for minutes must not end a backup of hours.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::{Error, Notice, Reason, Result};

/// How long a store that never answered is asked: its location may be wrong.
const AT_FIRST: Duration = Duration::from_secs(60);

/// How long an outage may last in the midst of puts.
const TO_PUT: Duration = Duration::from_secs(10 * 60);

/// How long an outage may last in the midst of reading, where somebody waits for the answer.
const TO_READ: Duration = Duration::from_secs(2 * 60);

/// So often a call is tried in any case: on a slow line each time may take long, and carry much.
const TRIES: u32 = 6;

/// What is over sooner is not worth a word, once the store has answered.
const HICCUP: Duration = Duration::from_secs(5);

/// The first wait and the longest one; each is twice the one before it.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a handle knows of how well its store answers, for all threads that call it.
pub(super) struct Patience<C = SystemClock> {
    notice: Notice,
    /// The longest outage, once the store has answered.
    longest: Duration,
    state: Mutex<State>,
    clock: C,
}

#[derive(Default)]
struct State {
    /// Whether the store has ever answered.
    reached: bool,
    /// When the outage at hand was first seen.
    outage: Option<Instant>,
    /// Whether it has been told.
    told: bool,
    /// Whether somebody has given up since.
    given_up: bool,
}

/// The time, and how it passes.
pub(super) trait Clock: Send + Sync {
    fn now(&self) -> Instant;
    fn sleep(&self, time: Duration);
}

pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

impl Patience {
    /// For those who put. Of each outage that is more than a hiccup `notice` is told once.
    pub(super) fn new(notice: Notice) -> Self {
        Self { notice, longest: TO_PUT, state: Mutex::default(), clock: SystemClock }
    }

    /// For those who read or delete.
    pub(super) fn short(notice: Notice) -> Self {
        Self { longest: TO_READ, ..Self::new(notice) }
    }
}

impl<C: Clock> Patience<C> {
    /// Calls until there is success, an error that trying again cannot help, or no more patience:
    /// then the last error is returned.
    pub(super) fn attempt<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        let (mut wait, longest_wait) = WAITS;
        let mut tries = 0;
        loop {
            tries += 1;
            match call() {
                Err(error) if error.is_retryable() => self.wait(wait, tries, error)?,
                answer => {
                    *self.state() = State { reached: true, ..State::default() };
                    return answer;
                }
            }
            wait = longest_wait.min(2 * wait);
        }
    }

    /// Sleeps for about so long, unless the outage has lasted too long already, or that is in vain.
    fn wait(&self, wait: Duration, tries: u32, error: Error) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.state();
        if !state.reached && self.is_mistyped(&error) {
            return Err(error);
        }
        let lasted = now.saturating_duration_since(*state.outage.get_or_insert(now));
        let (hiccup, longest) = if state.reached { (HICCUP, self.longest) } else { (Duration::ZERO, AT_FIRST) };
        if lasted >= longest && (tries >= TRIES || state.given_up) {
            state.given_up = true;
            return Err(error);
        }
        let is_news = lasted >= hiccup && !std::mem::replace(&mut state.told, lasted >= hiccup);
        drop(state);
        if is_news {
            (self.notice)(&error, longest);
        }
        self.clock.sleep(jittered(wait));
        Ok(())
    }

    /// Whether the name of a host that was never reached is rather wrong than not known for the moment. Who puts
    /// waits for a resolver that does not answer; who reads is there, and looks.
    fn is_mistyped(&self, error: &Error) -> bool {
        match &error.reason {
            Reason::Unresolved(source) => self.longest < TO_PUT || source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From a half to the whole of a time, so that hosts cut off together do not come back together.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1000;
    time / 2 + time.mul_f64(random as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A time that passes only when somebody sleeps.
    struct Simulated {
        start: Instant,
        slept: Mutex<Vec<Duration>>,
    }

    impl Clock for &Simulated {
        fn now(&self) -> Instant {
            self.start + self.passed()
        }

        fn sleep(&self, time: Duration) {
            self.slept.lock().unwrap().push(time);
        }
    }

    impl Simulated {
        fn new() -> Self {
            Self { start: Instant::now(), slept: Mutex::default() }
        }

        fn patience(&self, told: &Arc<AtomicUsize>) -> Patience<&Self> {
            let told = told.clone();
            let notice: Notice = Arc::new(move |_, _| _ = told.fetch_add(1, Ordering::Relaxed));
            Patience { notice, longest: TO_PUT, state: Mutex::default(), clock: self }
        }

        fn passed(&self) -> Duration {
            self.slept.lock().unwrap().iter().sum()
        }
    }

    fn error(reason: Reason) -> Error {
        Error { store: "store".to_owned(), action: "put", object: None, reason }
    }

    fn unreachable() -> Error {
        error(Reason::Unreachable(io::ErrorKind::TimedOut.into()))
    }

    #[test]
    fn an_outage_ends_and_is_told_once() {
        let (clock, told) = (Simulated::new(), Arc::default());
        let patience = clock.patience(&told);
        for outage in 1..=3 {
            let mut left = 6;
            let answer = patience.attempt(|| {
                left -= 1;
                if left > 0 { Err(unreachable()) } else { Ok(outage) }
            });
            assert_eq!(answer.unwrap(), outage);
            assert_eq!(told.load(Ordering::Relaxed), outage, "an outage is told once");
        }
        let slept = clock.slept.lock().unwrap();
        assert_eq!(slept.len(), 15);
        for (number, slept) in slept.iter().enumerate() {
            let most = Duration::from_secs(1 << (number % 5));
            assert!(*slept >= most / 2 && *slept <= most, "wait {number}: {slept:?}");
        }
    }

    #[test]
    fn a_hiccup_is_not_told() {
        let (clock, told) = (Simulated::new(), Arc::default());
        let patience = clock.patience(&told);
        patience.attempt(|| Ok(())).unwrap();
        for _ in 0..10 {
            let mut left = 2;
            patience
                .attempt(|| {
                    left -= 1;
                    if left > 0 { Err(unreachable()) } else { Ok(()) }
                })
                .unwrap();
        }
        assert_eq!((clock.slept.lock().unwrap().len(), told.load(Ordering::Relaxed)), (10, 0));
    }

    #[test]
    fn what_cannot_help_is_not_tried() {
        let (clock, told) = (Simulated::new(), Arc::default());
        let patience = clock.patience(&told);
        let mut calls = 0;
        let answer: Result<()> = patience.attempt(|| {
            calls += 1;
            Err(error(Reason::AlreadyExists))
        });
        assert!(matches!(answer.unwrap_err().reason, Reason::AlreadyExists));
        assert_eq!((calls, told.load(Ordering::Relaxed), clock.passed()), (1, 0, Duration::ZERO));
    }

    #[test]
    fn patience_has_an_end() {
        let (clock, told) = (Simulated::new(), Arc::default());
        let patience = clock.patience(&told);
        for (reached, longest) in [(false, AT_FIRST), (true, TO_PUT)] {
            if reached {
                patience.attempt(|| Ok(())).unwrap();
            }
            let before = clock.passed();
            let answer: Result<()> = patience.attempt(|| Err(unreachable()));
            assert!(answer.unwrap_err().is_retryable());
            let lasted = clock.passed() - before;
            assert!(lasted >= longest && lasted <= longest + WAITS.1, "given up after {lasted:?} of {longest:?}");
            assert!(clock.slept.lock().unwrap().iter().all(|wait| *wait <= WAITS.1));
        }
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }

    /// How long it will be is told with it: a minute at first, then as long as an outage may last.
    #[test]
    fn it_is_told_how_long_it_goes_on() {
        let (clock, told) = (Simulated::new(), Arc::new(Mutex::new(Vec::new())));
        let keep = told.clone();
        let notice: Notice = Arc::new(move |_, time| keep.lock().unwrap().push(time));
        let patience = Patience { notice, longest: TO_READ, state: Mutex::default(), clock: &clock };
        patience.attempt::<()>(|| Err(unreachable())).unwrap_err();
        patience.attempt(|| Ok(())).unwrap();
        patience.attempt::<()>(|| Err(unreachable())).unwrap_err();
        assert_eq!(*told.lock().unwrap(), [AT_FIRST, TO_READ]);
    }

    /// A name that nobody has was mistyped, unless the store was reached by it; one that nobody tells of may be told
    /// of later, to those who can wait.
    #[test]
    fn a_mistyped_name_is_not_tried_again() {
        let (silent, unknown) = ("Temporary failure in name resolution", "Name or service not known");
        for (text, longest, reached, waits) in [
            (unknown, TO_READ, false, false),
            (unknown, TO_PUT, false, false),
            (unknown, TO_PUT, true, true),
            (unknown, TO_READ, true, true),
            (silent, TO_READ, false, false),
            (silent, TO_PUT, false, true),
            (silent, TO_READ, true, true),
        ] {
            let (clock, told) = (Simulated::new(), Arc::default());
            let patience = Patience { longest, ..clock.patience(&told) };
            if reached {
                patience.attempt(|| Ok(())).unwrap();
            }
            let failed = patience.attempt::<()>(|| Err(error(Reason::unresolved(text.to_owned())))).unwrap_err();
            assert!(failed.is_retryable(), "an outage, to whoever asks many stores");
            let told = told.load(Ordering::Relaxed);
            assert_eq!((clock.passed() > Duration::ZERO, told), (waits, usize::from(waits)), "{text}, {longest:?}");
        }
    }

    /// A long outage is over for everybody at once: who comes later gives up at the first failure.
    #[test]
    fn an_outage_is_that_of_all_threads() {
        let (clock, told) = (Simulated::new(), Arc::default());
        let patience = clock.patience(&told);
        patience.attempt::<()>(|| Err(unreachable())).unwrap_err();
        let before = clock.passed();
        patience.attempt::<()>(|| Err(unreachable())).unwrap_err();
        assert_eq!((clock.passed(), told.load(Ordering::Relaxed)), (before, 1));
    }
}
