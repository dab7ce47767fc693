//! A limit on how many bytes are sent in a second, for all threads of a handle together.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much of the time in which nothing was sent may be made up for: as much as sleeps last too
/// long, and no more than a line's buffers take.
const CREDIT: Duration = Duration::from_millis(500);

/// The limit, and how much of it is taken.
pub(super) struct Pace {
    /// Bytes a second.
    limit: Option<NonZero<u64>>,
    /// When all that was let through has been sent at that rate.
    free: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(limit: Option<NonZero<u64>>) -> Self {
        Self { limit, free: Mutex::new(Instant::now()) }
    }

    /// How many bytes to send at a time: `most`, or so few that each piece is soon let through.
    pub(super) fn piece(&self, most: usize) -> usize {
        let limited = |limit: NonZero<u64>| usize::try_from(limit.get() / 8).unwrap_or(most).clamp(1, most);
        self.limit.map_or(most, limited)
    }

    /// How long to wait before so many bytes are sent. They are reckoned as sent: whoever asks,
    /// sends them, in pieces that are small beside the limit.
    pub(super) fn delay(&self, bytes: usize) -> Duration {
        self.delay_at(Instant::now(), bytes)
    }

    fn delay_at(&self, now: Instant, bytes: usize) -> Duration {
        let Some(limit) = self.limit else { return Duration::ZERO };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        let start = earliest.max(*free);
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(limit.get());
        *free = start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX / 2));
        start.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 10_000;

    fn pace(limit: u64) -> (Pace, Instant) {
        let pace = Pace::new(NonZero::new(limit));
        let start = *pace.free.lock().unwrap();
        (pace, start)
    }

    /// Sends pieces, as often as it may, until so much time has passed; returns the bytes.
    fn send(pace: &Pace, start: Instant, time: Duration) -> usize {
        let (mut now, mut sent) = (start, 0);
        loop {
            now += pace.delay_at(now, PIECE);
            if now >= start + time {
                return sent;
            }
            sent += PIECE;
        }
    }

    #[test]
    fn the_rate_is_kept() {
        let (pace, start) = pace(1_000_000);
        assert_eq!(send(&pace, start, Duration::from_secs(60)), 60_000_000);
    }

    #[test]
    fn idle_time_gives_no_burst() {
        let (pace, start) = pace(1_000_000);
        let later = start + Duration::from_secs(3600);
        let sent = send(&pace, later, Duration::from_secs(1));
        assert!((1_000_000..=1_500_000 + PIECE).contains(&sent), "{sent} bytes in a second");
    }

    #[test]
    fn pieces_are_small_beside_the_limit() {
        for (limit, piece) in [(0, 1000), (1, 1), (1024, 128), (8000, 1000), (1 << 40, 1000)] {
            assert_eq!(Pace::new(NonZero::new(limit)).piece(1000), piece, "{limit}");
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let pace = Pace::new(None);
        assert_eq!((0..1000).map(|_| pace.delay(usize::MAX)).sum::<Duration>(), Duration::ZERO);
    }
}
