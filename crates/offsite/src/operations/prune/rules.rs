//! Which backups of a set are kept.

use std::collections::BTreeMap;
use std::fmt;

use time::{Duration, OffsetDateTime, UtcOffset};

use crate::names::BackupId;
use crate::operations::backups;

/// What is kept. Days, weeks (from Monday), months and years are those of UTC, and only those count in which
/// there is a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever adds a rule wants to hear from those who set them")]
pub struct Rules {
    /// All backups that are not older. Whoever can put can fill every other rule with backups of their own
    /// making, and so has to go on for that long before an earlier one is gone.
    pub within: Duration,
    /// So many of the newest.
    pub last: u32,
    /// One of each of so many days.
    pub daily: u32,
    /// One of each of so many weeks.
    pub weekly: u32,
    /// One of each of so many months.
    pub monthly: u32,
    /// One of each of so many years.
    pub yearly: u32,
}

impl Rules {
    /// All backups that are not older, and no others.
    #[must_use]
    pub fn within(within: Duration) -> Self {
        Self { within, last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }
    }
}

/// Why a backup is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Why {
    /// It is the latest. No rule is asked.
    Latest,
    /// It is the newest whole one. No rule is asked.
    NewestWhole,
    /// It is young enough.
    Within,
    /// It is among the newest.
    Last,
    /// It is a day's.
    Daily,
    /// It is a week's.
    Weekly,
    /// It is a month's.
    Monthly,
    /// It is a year's.
    Yearly,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => "latest",
            Self::NewestWhole => "newest whole",
            Self::Within => "within",
            Self::Last => "last",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

/// What of a backup decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dated {
    pub(super) backup: BackupId,
    /// When the store says that its receipt was put. No other time is asked by a rule: whoever signs a receipt
    /// chooses those in it.
    pub(super) stored: OffsetDateTime,
    /// Whether everything is in it.
    pub(super) is_whole: bool,
}

impl Dated {
    /// The newest has the greatest.
    fn age(&self) -> (OffsetDateTime, BackupId) {
        (self.stored, self.backup)
    }

    /// The latest has the greatest, as everywhere else: a receipt of long ago that was put again is not it.
    fn recency(&self) -> (OffsetDateTime, OffsetDateTime, BackupId) {
        backups::recency(self.backup, self.stored)
    }
}

/// The backups that are kept, each with all that speaks for it, in order.
pub(super) fn kept(backups: &[Dated], rules: &Rules, now: OffsetDateTime) -> BTreeMap<BackupId, Vec<Why>> {
    let mut newest: Vec<&Dated> = backups.iter().collect();
    newest.sort_unstable_by_key(|backup| std::cmp::Reverse(backup.age()));

    let mut kept = BTreeMap::<BackupId, Vec<Why>>::new();
    let mut keep = |why: Why, chosen: &mut dyn Iterator<Item = &Dated>| {
        for backup in chosen {
            let known = kept.entry(backup.backup).or_default();
            if known.last() != Some(&why) {
                known.push(why);
            }
        }
    };
    keep(Why::Latest, &mut of_greatest(&newest, |_| true));
    keep(Why::NewestWhole, &mut of_greatest(&newest, |backup| backup.is_whole));
    let since = now.checked_sub(rules.within);
    let is_within = |backup: &&Dated| since.is_none_or(|since| backup.stored >= since);
    keep(Why::Within, &mut newest.iter().copied().filter(is_within));
    keep(Why::Last, &mut newest.iter().copied().take(rules.last as usize));

    let date = |backup: &Dated| backup.stored.to_offset(UtcOffset::UTC).date();
    keep(Why::Daily, &mut of_periods(&newest, rules.daily, |backup| date(backup)));
    keep(
        Why::Weekly,
        &mut of_periods(&newest, rules.weekly, |backup| {
            let (year, week, _) = date(backup).to_iso_week_date();
            (year, week)
        }),
    );
    keep(Why::Monthly, &mut of_periods(&newest, rules.monthly, |backup| (date(backup).year(), date(backup).month())));
    keep(Why::Yearly, &mut of_periods(&newest, rules.yearly, |backup| date(backup).year()));
    kept
}

/// The latest of some backups, and the one that was put last. They are the same but where a clock was wrong, or
/// somebody put an old receipt again; then neither is to be trusted more.
fn of_greatest<'b>(newest: &[&'b Dated], is_one: impl Fn(&Dated) -> bool) -> impl Iterator<Item = &'b Dated> {
    let ones = || newest.iter().copied().filter(|backup| is_one(backup));
    let found = [ones().max_by_key(|backup| backup.recency()), ones().max_by_key(|backup| backup.age())];
    found.into_iter().flatten()
}

/// Of each of so many periods, the latest first, the newest whole backup; where none is whole, the newest.
fn of_periods<'b, P: PartialEq>(
    newest: &[&'b Dated],
    periods: u32,
    period: impl Fn(&Dated) -> P,
) -> impl Iterator<Item = &'b Dated> {
    let periods = newest.chunk_by(move |one, other| period(one) == period(other)).take(periods as usize);
    periods.filter_map(|period| period.iter().find(|backup| backup.is_whole).or(period.first()).copied())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn time(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// `within 30d, daily 7`
    fn rules(line: &str) -> Rules {
        let mut rules = Rules::within(Duration::ZERO);
        for rule in line.split(", ") {
            let (name, number) = rule.split_once(' ').unwrap();
            let count = || number.parse().unwrap();
            match name {
                "within" => {
                    let (number, unit) = number.split_at(number.len() - 1);
                    let hours = ["h", "d"].iter().position(|known| *known == unit).map(|unit| [1, 24][unit]).unwrap();
                    rules.within = Duration::hours(number.parse::<i64>().unwrap() * hours);
                }
                "last" => rules.last = count(),
                "daily" => rules.daily = count(),
                "weekly" => rules.weekly = count(),
                "monthly" => rules.monthly = count(),
                "yearly" => rules.yearly = count(),
                _ => panic!("{line}"),
            }
        }
        rules
    }

    /// Checks one file; how many backups it has.
    fn check(path: &Path) -> usize {
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let now = time(lines.next().unwrap().strip_prefix("now ").unwrap());
        let rules = rules(lines.next().unwrap().strip_prefix("keep ").unwrap());
        let (mut backups, mut expected) = (Vec::new(), Vec::new());
        for line in lines {
            let (backup, outcome) = line.split_once(": ").unwrap();
            let words: Vec<&str> = backup.split_whitespace().collect();
            let [stored, id, status] = words[..] else { panic!("{line}") };
            let backup = id.parse().unwrap();
            backups.push(Dated { backup, stored: time(stored), is_whole: status == "complete" });
            expected.push((backup, outcome));
        }
        // In whatever order a store tells them.
        for turn in 0..backups.len() {
            backups.rotate_left(1);
            let kept = kept(&backups, &rules, now);
            for (backup, outcome) in &expected {
                let found = kept.get(backup).map_or("removed".to_owned(), |why| {
                    why.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                });
                assert_eq!(found, *outcome, "{}: {backup}, in turn {turn}", path.display());
            }
        }
        backups.len()
    }

    /// See testdata/README.md.
    #[test]
    fn what_is_kept_is_what_the_tables_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/retention");
        let mut backups = 0;
        let mut files = 0;
        for entry in fs::read_dir(folder).unwrap() {
            backups += check(&entry.unwrap().path());
            files += 1;
        }
        assert!(files >= 8 && backups >= 40, "{files} tables of {backups} backups");
    }

    #[test]
    fn a_time_without_end_keeps_everything() {
        let stored = time("2026-01-01T00:00:00Z");
        let backups = [1, 2].map(|number| Dated { backup: BackupId::new(stored, [number; 4]), stored, is_whole: true });
        assert_eq!(kept(&backups, &Rules::within(Duration::MAX), stored).len(), 2);
        assert!(kept(&[], &Rules::within(Duration::MAX), stored).is_empty());
    }
}
