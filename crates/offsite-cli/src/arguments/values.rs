//! What stands behind an option: sizes, times, rates, places.

use std::num::NonZero;

use clap::builder::{OsStringValueParser, TypedValueParser};
use offsite::cms::limits;
use offsite::files::Place;
use offsite::names::NameError;
use offsite::operations::backups::Which;
use offsite::receipt;
use offsite::store::Location;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, Time};

/// A [`Place`] that clap can hold.
#[derive(Clone)]
pub(crate) struct PlaceArgument(Place);

impl PlaceArgument {
    /// `-` and nothing are standard input or output.
    pub(crate) fn or_standard(argument: Option<&Self>) -> Place {
        argument.map_or(Place::Standard, |argument| argument.0.clone())
    }
}

/// Names of files need not be UTF-8.
pub(super) fn place() -> impl TypedValueParser<Value = PlaceArgument> {
    OsStringValueParser::new()
        .map(|text| PlaceArgument(if text == "-" { Place::Standard } else { Place::Path(text.into()) }))
}

/// Where a store is.
pub(super) fn store() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text| Location::parse(&text))
}

/// What a time can look like.
const TIMES: &str = "2026-11-23, 2026-11-23T07:45 or 2026-11-23T07:45:00+01:00";

/// A time, or the first moment of a date. It is RFC 3339, of which seconds and zone can be left out; without a zone it
/// is UTC, as everything that is printed.
pub(super) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let (date, time) = date_and_time(text);
    let time = time.unwrap_or("00:00");
    let (clock, zone) = time.split_at(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()));
    let seconds = if clock.matches(':').count() == 1 { ":00" } else { "" };
    let zone = if zone.is_empty() { "Z" } else { zone };
    let whole = OffsetDateTime::parse(&format!("{date}T{clock}{seconds}{zone}"), &Rfc3339);
    whole.map_err(|_| format!("not a time such as {TIMES}"))
}

/// A time as [`moment`], or the last moment of a date: whoever names a day means what was there at its end.
pub(super) fn day_or_moment(text: &str) -> Result<OffsetDateTime, String> {
    let time = moment(text)?;
    if date_and_time(text).1.is_some() { Ok(time) } else { Ok(time.replace_time(Time::MAX)) }
}

/// A date, and what follows it after a T, or after a blank as `offsite list` prints it.
fn date_and_time(text: &str) -> (&str, Option<&str>) {
    text.split_once(['T', 't', ' ']).map_or((text, None), |(date, time)| (date, Some(time)))
}

/// A day or more, in seconds.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    let seconds = period(text)?;
    if seconds >= DAY { Ok(seconds) } else { Err("at least a day".to_owned()) }
}

/// Hours, days or weeks, in seconds.
pub(super) fn period(text: &str) -> Result<u64, String> {
    let wrong = || "not a time, such as 26h, 90d or 12w".to_owned();
    let units = [('h', DAY / 24), ('d', DAY), ('w', 7 * DAY)];
    let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    let (digits, unit) = unit.ok_or_else(wrong)?;
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(*unit).filter(|seconds| *seconds <= receipt::limits::REUSE_FOR);
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "more than nothing, at most a hundred years".to_owned())
}

/// In seconds.
const DAY: u64 = 86_400;

/// A backup of a set.
pub(super) fn which(text: &str) -> Result<Which, NameError> {
    if text == "latest" { Ok(Which::Latest) } else { text.parse().map(Which::Id) }
}

/// A backup of a set, or the latest of a time.
pub(super) fn which_or_time(text: &str) -> Result<Which, String> {
    let time = |_| day_or_moment(text).map(Which::AsOf);
    which(text).or_else(time).map_err(|_| format!("not an id, latest, or a time such as {TIMES}"))
}

/// A number of bytes; K, M and G are powers of 1024.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((end, 'K' | 'k')) => (&text[..end], 10),
        Some((end, 'M' | 'm')) => (&text[..end], 20),
        Some((end, 'G' | 'g')) => (&text[..end], 30),
        _ => (text, 0),
    };
    let number: usize = digits.parse().map_err(|_| "not a number of bytes, such as 16M".to_owned())?;
    let size = number.checked_shl(shift).filter(|size| size >> shift == number);
    size.ok_or_else(|| "too many bytes".to_owned())
}

pub(super) fn slice_size(text: &str) -> Result<usize, String> {
    let allowed = limits::SLICE_SIZE_MIN..=limits::SLICE_SIZE_MAX;
    Some(bytes(text)?).filter(|size| allowed.contains(size)).ok_or_else(|| "a slice has between 1M and 512M".to_owned())
}

/// How many threads there may be at most: each holds some megabytes.
const THREADS: usize = 64;

/// A number of threads.
pub(super) fn threads(text: &str) -> Result<NonZero<usize>, String> {
    let number: Option<NonZero<usize>> = text.parse().ok();
    number.filter(|number| number.get() <= THREADS).ok_or_else(|| format!("not a number from 1 to {THREADS}"))
}

/// Bytes a second.
pub(super) fn rate(text: &str) -> Result<NonZero<u64>, String> {
    let slowest = "at least 1K, for anything less would take for ever";
    let rate = bytes(text)?;
    NonZero::new(rate as u64).filter(|rate| rate.get() >= 1024).ok_or_else(|| slowest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90d"), Ok(90 * 86_400));
        assert_eq!(duration("2w"), Ok(14 * 86_400));
        assert_eq!((duration("26h"), period("26h")), (Ok(26 * 3600), Ok(26 * 3600)));
        for wrong in ["23h", "", "d", "90", "0d", "-1d", "1.5d", "36526d", "99999999999999999999d", "5217w6"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments() {
        let day = moment("2026-11-23").unwrap();
        assert_eq!(moment("2026-11-23T01:00:00+01:00"), Ok(day));
        let hours = |hours| Ok(day + time::Duration::hours(hours));
        for (text, expected) in [
            ("2026-11-23T07:00", hours(7)),
            ("2026-11-23T07:00:00", hours(7)),
            ("2026-11-23T07:00Z", hours(7)),
            ("2026-11-23t07:00:00z", hours(7)),
            ("2026-11-23T07:00+01:00", hours(6)),
            ("2026-11-23T07:00:00-01:00", hours(8)),
            ("2026-11-23 07:00", hours(7)),
            ("2026-11-23 07:00:00", hours(7)),
            ("2026-11-23 07:00:00.000Z", hours(7)),
            ("2026-11-23 07:00-01:00", hours(8)),
        ] {
            assert_eq!(moment(text), expected, "{text}");
            assert_eq!(day_or_moment(text), expected, "{text}");
        }
        for wrong in [
            "",
            "today",
            "2026-11-31",
            "20261123",
            "2026-11-23T",
            "2026-11-23T07",
            "2026-11-23T24:01",
            "2026-11-23T07:45+01",
            "2026-11-23T07:45:00 CET",
            "2026-11-23 07:45 Z",
            "2026-11-23  07:45",
            " 2026-11-23",
            "T07:45",
            "07:45",
        ] {
            let expected = "not a time such as 2026-11-23, 2026-11-23T07:45 or 2026-11-23T07:45:00+01:00";
            assert_eq!(moment(wrong), Err(expected.to_owned()), "{wrong}");
            assert_eq!(day_or_moment(wrong), Err(expected.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_meant_to_its_end() {
        let (end, next) = (day_or_moment("2026-11-23").unwrap(), moment("2026-11-24").unwrap());
        assert_eq!(end, next - time::Duration::NANOSECOND);
    }

    #[test]
    fn a_backup_is_named_or_of_a_time() {
        let id = "20261123T074500Z-7f3a9c01";
        assert_eq!(which_or_time(id), Ok(Which::Id(id.parse().unwrap())));
        assert_eq!(which_or_time("latest"), Ok(Which::Latest));
        assert_eq!(which_or_time("2026-11-23"), day_or_moment("2026-11-23").map(Which::AsOf));
        assert_eq!(which_or_time("2026-11-23 07:45"), moment("2026-11-23T07:45:00Z").map(Which::AsOf));
        assert!(which_or_time("newest").unwrap_err().starts_with("not an id, latest, or a time such as 2026-11-23, "));
    }

    #[test]
    fn rates() {
        assert_eq!(rate("500K").unwrap().get(), 500 << 10);
        for wrong in ["", "0", "1023", "-1M", "1.5M", "1M/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_threads() {
        assert_eq!((threads("1").unwrap().get(), threads("64").unwrap().get()), (1, 64));
        for wrong in ["", "0", "65", "-1", "1.5", "two"] {
            assert!(threads(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slice_sizes() {
        assert_eq!(slice_size("1M"), Ok(1 << 20));
        assert_eq!(slice_size("2048k"), Ok(2 << 20));
        assert_eq!(slice_size("1048577"), Ok(1_048_577));
        for wrong in ["", "M", "1", "1G", "513M", "99999999999999999999", "18446744073709551615G", "1MM", "-1M"] {
            assert!(slice_size(wrong).is_err(), "{wrong}");
        }
    }
}
