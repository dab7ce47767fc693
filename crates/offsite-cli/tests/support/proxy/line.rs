//! What a line does to bytes: they arrive later, and not faster than it carries.

use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The line between a client and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How long bytes travel, each way: half a round trip.
    pub(crate) delay: Duration,
    /// Bytes a second each way, for all connections together; None for as fast as it goes.
    pub(crate) rate: Option<u32>,
}

impl Shape {
    pub(crate) fn new(round_trip_ms: u64, megabits: u32) -> Self {
        Self { delay: Duration::from_millis(round_trip_ms) / 2, rate: Some(megabits * 125_000) }
    }

    /// How many bytes are carried at once: those of 5 ms, which cost little and pass smoothly.
    fn chunk(self) -> usize {
        let most = 128 << 10;
        self.rate.map_or(most, |rate| usize::try_from(rate / 200).expect("a small number").clamp(2048, most))
    }
}

/// How many chunks travel at once on a connection.
pub(super) const TRAVELLING: usize = 256;

/// What arrives at the other end, in order.
pub(super) enum Item {
    Bytes(Vec<u8>),
    /// There is no more in this direction.
    End,
    /// The connection is reset.
    Reset,
}

/// An item, and when it arrives.
pub(super) type Travelling = (Instant, Item);

/// One direction of the line, which all connections share.
pub(super) struct Direction {
    /// When what was sent so far has left.
    free: Mutex<Instant>,
}

/// How far the line catches up when its threads were late, as they are on a busy machine.
const SLACK: Duration = Duration::from_millis(10);

impl Direction {
    pub(super) fn new() -> Self {
        Self { free: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes have left.
    pub(super) fn pass(&self, bytes: usize, shape: Shape) {
        let Some(rate) = shape.rate else { return };
        let bytes = u32::try_from(bytes).expect("chunks are small");
        let time = Duration::from_secs(1) * bytes / rate;
        let now = Instant::now();
        let departure = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(now - SLACK) + time;
            *free
        };
        thread::sleep(departure.saturating_duration_since(now));
    }
}

/// The near end of one direction of one connection.
pub(super) struct Sender {
    queue: SyncSender<Travelling>,
}

impl Sender {
    pub(super) fn new(queue: SyncSender<Travelling>) -> Self {
        Self { queue }
    }

    /// Sends what has left by now. False if nobody is at the other end any more.
    pub(super) fn send(&self, item: Item, shape: Shape) -> bool {
        self.queue.send((Instant::now() + shape.delay, item)).is_ok()
    }
}

/// A buffer for the next chunk.
pub(super) fn buffer(shape: Shape, most: u64) -> Vec<u8> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    vec![0; shape.chunk().min(most)]
}
