//! What the page is about.

use offsite::operations::report::Reported;
use time::{Duration, OffsetDateTime};

use super::drills::Drills;
use super::recipients::OverAll;
use super::state::{Level, Row};

/// What the page is about.
pub(super) struct Page<'r> {
    pub(super) store: String,
    /// As of when a bucket with versions was read, if not as it is.
    pub(super) as_of: Option<OffsetDateTime>,
    /// The only host or set that was looked at, if it was one.
    pub(super) scope: Option<String>,
    pub(super) now: OffsetDateTime,
    /// How old the latest backup may be, as it was given.
    pub(super) max_age: Option<Duration>,
    pub(super) retention: Option<Duration>,
    /// Whether signers are pinned, or those trusted that were seen.
    pub(super) origin: Origin,
    pub(super) reported: &'r Reported,
    /// The gravest first.
    pub(super) rows: Vec<Row<'r>>,
    pub(super) recipients: Vec<OverAll<'r>>,
    pub(super) drills: Option<&'r Drills>,
}

/// By what it is known whose the backups are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Pinned,
    Seen,
    NotProven,
}

impl Page<'_> {
    /// How things stand with the whole store.
    pub(super) fn level(&self) -> Level {
        if !self.reported.findings.is_empty() {
            return Level::Bad;
        }
        let of_recipients = if self.ending() > 0 { Level::Attention } else { Level::Good };
        self.rows.iter().map(|row| row.level).min().map_or(Level::Attention, |level| level.min(of_recipients))
    }

    /// How many recipients' certificates end soon, or have.
    pub(super) fn ending(&self) -> u64 {
        self.recipients.iter().filter(|recipient| recipient.is_ending(self.now)).count() as u64
    }

    /// How many sets are so.
    pub(super) fn sets(&self, level: Level) -> u64 {
        self.rows.iter().filter(|row| row.level == level).count() as u64
    }
}
