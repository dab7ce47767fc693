//! Which frames are made anew although nothing in them has changed: no backup shall need an object older
//! than so long. They are renewed a little with each run, so that no night sends much more than others.

use std::io;

use time::{Duration, OffsetDateTime};

use crate::index::Place;
use crate::names::BackupId;
use crate::state::Frame;

/// Where a frame lies among all, the oldest run first.
pub(super) type Position = (BackupId, u32, u64);

pub(super) fn position(place: &Place) -> Position {
    (place.slice.backup, place.slice.number, place.frame.offset)
}

/// When a run takes place, and by which rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// When the run starts.
    pub(super) now: OffsetDateTime,
    /// How long ago the last one did.
    pub(super) since: Duration,
    /// No backup needs an object that was put longer before its start.
    pub(super) reuse_for: Duration,
}

impl Schedule {
    /// Whether what a run has put may still be needed by a backup that starts now.
    pub(super) fn is_young(&self, run: BackupId) -> bool {
        self.now - run.start() <= self.reuse_for
    }

    /// What to renew now of so many bytes that this run and all before it have put: their share of the time
    /// that was left at the last run, or all where none is left now.
    fn share(&self, run: BackupId, bytes: u64) -> u64 {
        let left = (run.start() + self.reuse_for - self.now).whole_seconds();
        let since = self.since.whole_seconds().max(1);
        let Ok(left) = u64::try_from(left) else { return bytes };
        let since = u64::try_from(since).unwrap_or(1);
        u64::try_from(u128::from(bytes) * u128::from(since) / u128::from(left + since)).unwrap_or(bytes)
    }

    /// How many bytes to renew in this run: as much as, at a level rate, the time since the last one asks for.
    /// The rate is the lowest that renews everything in time. So what is left never asks for a higher one,
    /// however irregular the runs are. `runs` are what is live of each run, in bytes, the oldest first.
    fn quota(&self, runs: &[(BackupId, u64)]) -> u64 {
        let mut sum = 0_u64;
        let quotas = runs.iter().map(|(run, live)| {
            sum = sum.saturating_add(*live);
            self.share(*run, sum)
        });
        quotas.max().unwrap_or(0)
    }

    /// The first frame that need not be renewed; None where all must be. `frames` gives all of them, the
    /// oldest run first.
    pub(super) fn first_kept<I: Iterator<Item = io::Result<Frame>>>(
        &self,
        frames: impl Fn() -> I,
    ) -> io::Result<Option<Position>> {
        let mut runs: Vec<(BackupId, u64)> = Vec::new();
        for frame in frames() {
            let frame = frame?;
            let run = frame.place.slice.backup;
            match runs.last_mut() {
                Some((last, live)) if *last == run => *live = live.saturating_add(frame.stored()),
                _ => runs.push((run, frame.stored())),
            }
        }
        let quota = self.quota(&runs);
        let mut renewed = 0_u64;
        for frame in frames() {
            let frame = frame?;
            renewed = renewed.saturating_add(frame.stored());
            // A frame that is larger than what is to be renewed waits until it must be.
            if self.is_young(frame.place.slice.backup) && renewed > quota {
                return Ok(Some(position(&frame.place)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{SliceName, Span};

    const DAY: Duration = Duration::DAY;
    const FRAME: u64 = 1000;

    fn run(day: i64) -> BackupId {
        BackupId::new(OffsetDateTime::UNIX_EPOCH + DAY * i32::try_from(day).unwrap(), [0; 4])
    }

    fn frame(run: BackupId, number: u32) -> Frame {
        let place = Place::whole(SliceName { backup: run, number }, Span { offset: 0, length: FRAME }, 3 * FRAME);
        Frame { place, live: 3 * FRAME }
    }

    /// Runs on these days over so many frames; the most that was renewed on one, and each time as a share
    /// of all and of the time since the run before.
    fn simulate(days: &[i64], frames: u32, reuse_for: i64) -> (f64, f64) {
        let mut all: Vec<Frame> = (0..frames).map(|number| frame(run(days[0]), number)).collect();
        let (mut most, mut most_a_day) = (0.0_f64, 0.0_f64);
        for pair in days.windows(2) {
            let (since, now) = (DAY * i32::try_from(pair[1] - pair[0]).unwrap(), run(pair[1]).start());
            let schedule = Schedule { now, since, reuse_for: DAY * i32::try_from(reuse_for).unwrap() };
            let first_kept = schedule.first_kept(|| all.iter().copied().map(Ok)).unwrap();
            let due = all.iter().filter(|frame| first_kept.is_none_or(|first| position(&frame.place) < first)).count();
            all.drain(..due);
            assert!(all.iter().all(|frame| schedule.is_young(frame.place.slice.backup)));
            all.extend((0..u32::try_from(due).unwrap()).map(|number| frame(run(pair[1]), number)));
            let share = due as f64 / f64::from(frames);
            most = most.max(share);
            most_a_day = most_a_day.max(share / since.as_seconds_f64() * DAY.as_seconds_f64());
        }
        (most, most_a_day)
    }

    #[test]
    fn a_night_renews_an_even_share() {
        let nights: Vec<i64> = (0..365).collect();
        for reuse_for in [10, 30, 90] {
            let (most, _) = simulate(&nights, 1000, reuse_for);
            assert!(most <= 1.1 / reuse_for as f64, "{most} of all in {reuse_for} days");
        }
    }

    #[test]
    fn a_week_renews_a_week_s_share_and_a_month_all_that_is_due() {
        let weeks: Vec<i64> = (0..60).map(|week| week * 7).collect();
        let (most, _) = simulate(&weeks, 1000, 90);
        assert!(most <= 7.0 * 1.3 / 90.0, "{most}");
        assert!(simulate(&weeks, 1000, 10).0 <= 0.7, "seven tenths of all in seven tenths of the time");
        let months: Vec<i64> = (0..12).map(|month| month * 30).collect();
        assert!(simulate(&months, 1000, 10).0 >= 1.0);
    }

    #[test]
    fn days_without_a_network_are_made_up_for_without_a_spike() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..50 {
            let mut days = vec![0_i64];
            for day in 1..200 {
                let missed = random(10) == 0 && days.last().is_some_and(|last| day - last < 4);
                if !missed {
                    days.push(day);
                }
            }
            let (_, a_day) = simulate(&days, 1000, 10);
            assert!(a_day <= 2.0 / 10.0, "{a_day} of all in a day");
        }
    }

    #[test]
    fn runs_at_any_time_renew_by_the_time_between_them() {
        let mut state = 11_u64;
        for _ in 0..50 {
            let mut days = vec![0_i64];
            while days.last().is_some_and(|day| *day < 200) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pause = i64::try_from((state >> 33) % 9).unwrap() + 1;
                days.push(days.last().unwrap() + pause);
            }
            let (_, a_day) = simulate(&days, 1000, 10);
            assert!(a_day <= 1.1 / 10.0, "{a_day} of all in a day");
        }
    }

    #[test]
    fn few_frames_wait_until_they_must_be_renewed() {
        let nights: Vec<i64> = (0..100).collect();
        assert!(simulate(&nights, 3, 30).0 <= 0.34);
        assert!((simulate(&nights, 1, 30).0 - 1.0).abs() < 0.01);
    }
}
