//! When a set was backed up, and how much that was: at most so many marks, however many backups there are.

use time::{Date, Duration, OffsetDateTime, UtcOffset};

use crate::operations::backups::Found;
use crate::receipt::Status;

/// How many marks a row of them has at most.
pub const MARKS: usize = 60;

/// How many days the whole of a history has at least.
const LEAST: usize = 30;

/// Some consecutive days of UTC, and the backups that started in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first day.
    pub day: Date,
    /// How many backups there are.
    pub backups: u64,
    /// How many of these are partial.
    pub partial: u64,
    /// Bytes that all of them have put.
    pub stored_bytes: u64,
    /// Bytes that the latest of them holds.
    pub bytes: u64,
}

/// Marks without a gap, the oldest first; the last one ends with today.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many days each mark stands for.
    pub days: u16,
    /// The marks, at most [`MARKS`].
    pub marks: Vec<Mark>,
}

impl History {
    /// Of the last [`MARKS`] days, a mark for each day.
    pub(super) fn recent<'f>(backups: impl Iterator<Item = &'f Found>, now: OffsetDateTime) -> Self {
        Self::of(backups, now, 1, MARKS)
    }

    /// From the first of these backups to today, or more if that is short; in as many marks as that takes.
    pub(super) fn whole<'f>(backups: impl Iterator<Item = &'f Found> + Clone, now: OffsetDateTime) -> Self {
        let today = today(now);
        let Some(first) = backups.clone().map(|found| day(found, today)).min() else { return Self::default() };
        let days = usize::try_from((today - first).whole_days() + 1).unwrap_or(1).max(LEAST);
        let per_mark = days.div_ceil(MARKS);
        // 9999 years have less than 2^16 times sixty days.
        Self::of(backups, now, u16::try_from(per_mark).unwrap_or(u16::MAX), days.div_ceil(per_mark))
    }

    fn of<'f>(backups: impl Iterator<Item = &'f Found>, now: OffsetDateTime, days: u16, count: usize) -> Self {
        let today = today(now);
        let days_before = |marks: usize| Duration::days(i64::from(days)) * i32::try_from(marks).unwrap_or(i32::MAX);
        let mark = |marks: usize| Mark {
            day: today.checked_sub(days_before(marks)).and_then(Date::next_day).unwrap_or(Date::MIN),
            backups: 0,
            partial: 0,
            stored_bytes: 0,
            bytes: 0,
        };
        let mut marks: Vec<Mark> = (1..=count).rev().map(mark).collect();
        let mut latest = vec![None; count];
        for found in backups {
            let age = usize::try_from((today - day(found, today)).whole_days()).unwrap_or(0) / usize::from(days);
            let Some(position) = count.checked_sub(age + 1) else { continue };
            let mark = &mut marks[position];
            mark.backups += 1;
            mark.partial += u64::from(found.status == Status::Partial);
            mark.stored_bytes = mark.stored_bytes.saturating_add(found.stored_bytes);
            if latest[position].is_none_or(|latest| latest < found.recency()) {
                latest[position] = Some(found.recency());
                mark.bytes = found.counts.bytes;
            }
        }
        Self { days, marks }
    }

    /// From the first mark with a backup on.
    pub fn since_the_first(&self) -> impl Iterator<Item = (usize, &Mark)> {
        self.marks.iter().enumerate().skip_while(|(_, mark)| mark.backups == 0)
    }
}

fn today(now: OffsetDateTime) -> Date {
    now.to_offset(UtcOffset::UTC).date()
}

/// The day of a backup. A store's clock may be ahead.
fn day(found: &Found, today: Date) -> Date {
    found.time().to_offset(UtcOffset::UTC).date().min(today)
}

/// The newest of these backups, newest first; at most so many.
pub(super) fn newest<'f>(backups: impl Iterator<Item = &'f Found>, most: usize) -> Vec<Found> {
    let mut newest: Vec<&Found> = backups.collect();
    newest.sort_unstable_by_key(|found| std::cmp::Reverse(found.recency()));
    newest.into_iter().take(most).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashes::{Fingerprint, Hashed};
    use crate::names::BackupName;
    use crate::pins::Verdict;
    use crate::receipt::{Counts, Given};

    fn now() -> OffsetDateTime {
        "20261129T003000Z-00000000".parse::<crate::names::BackupId>().unwrap().start()
    }

    /// Of so many hours ago.
    fn found(hours: i64, bytes: u64, status: Status) -> Found {
        let start = now() - Duration::hours(hours);
        let backup = crate::names::BackupId::new(start, [0; 4]);
        Found {
            name: BackupName { host: "web-1".parse().unwrap(), set: "default".parse().unwrap(), backup },
            receipt: Hashed::of(b""),
            stored: start,
            hidden: false,
            rewritten: false,
            end: start,
            given: Given::Files,
            status,
            counts: Counts { bytes, ..Counts::default() },
            stored_bytes: bytes / 2,
            signer: Fingerprint::from([0; 32]),
            trust: Verdict::NoPins,
        }
    }

    #[test]
    fn each_backup_is_in_the_mark_of_its_day() {
        let all = [
            found(24 * 60, 9, Status::Complete),
            found(24 * 59, 8, Status::Complete),
            found(2, 6, Status::Partial),
            found(1, 4, Status::Complete),
            // A store's clock is ahead.
            found(-30, 2, Status::Complete),
        ];
        let History { days, marks } = History::recent(all.iter(), now());
        assert_eq!((days, marks.len()), (1, MARKS));
        let told = |mark: &Mark| (mark.day.to_string(), mark.backups, mark.partial, mark.stored_bytes, mark.bytes);
        assert_eq!(told(&marks[0]), ("2026-10-01".to_owned(), 1, 0, 4, 8));
        assert_eq!(told(&marks[58]), ("2026-11-28".to_owned(), 2, 1, 5, 4));
        assert_eq!(told(&marks[59]), ("2026-11-29".to_owned(), 1, 0, 1, 2));
        assert_eq!(marks.iter().map(|mark| mark.backups).sum::<u64>(), 4);
    }

    #[test]
    fn a_long_history_has_no_more_marks_than_a_short_one() {
        for (days, per_mark, count) in
            [(0, 1, 30), (29, 1, 30), (30, 1, 31), (59, 1, 60), (60, 2, 31), (3650, 61, 60), (366 * 1000, 6101, 60)]
        {
            let all = [found(24 * days, 1, Status::Complete), found(0, 1, Status::Complete)];
            let history = History::whole(all.iter(), now());
            assert_eq!((history.days, history.marks.len()), (per_mark, count), "{days}");
            assert_eq!(history.marks.iter().map(|mark| mark.backups).sum::<u64>(), 2, "{days}");
            assert!(history.marks.len() <= MARKS);
        }
        assert_eq!(History::whole([].iter(), now()), History::default());
    }
}
