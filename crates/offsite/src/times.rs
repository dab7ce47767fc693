//! Times of a file system.

/// A time of a file system. The fraction counts forward, before 1970 as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a time has no other parts")]
pub struct Time {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that: below 10^9.
    pub nanoseconds: u32,
}
