//! What is said in several places of the page.

use std::io;

use time::{Duration, OffsetDateTime};

use super::html::Html;
use super::state::Level;
use crate::words::date_and_time;

/// A state: its sign, and a word.
pub(super) fn badge(html: &mut Html<'_>, level: Level, word: &str) -> io::Result<()> {
    html.element("span", &[("class", &format_args!("badge {}", level.name()))], |html| {
        sign(html, level)?;
        html.line("span", &[], word)
    })
}

pub(super) fn sign(html: &mut Html<'_>, level: Level) -> io::Result<()> {
    html.element("svg", &[("class", &"sign"), ("aria-hidden", &"true")], |html| {
        html.line("use", &[("href", &format_args!("#sign-{}", level.name()))], "")
    })
}

/// A time, for people and for programs.
pub(super) fn time(html: &mut Html<'_>, time: OffsetDateTime) -> io::Result<()> {
    html.line("time", &[("datetime", &offsite::receipt::rfc_3339(time))], date_and_time(time))
}

/// How long ago something was.
pub(super) fn ago(now: OffsetDateTime, time: OffsetDateTime) -> String {
    let age = now - time;
    // A store's clock may be ahead.
    if age.is_negative() { "just now".to_owned() } else { format!("{} ago", period(age)) }
}

/// A length of time in its largest unit, cut off.
pub(super) fn period(time: Duration) -> String {
    let (days, hours, minutes) = (time.whole_days(), time.whole_hours(), time.whole_minutes());
    match () {
        () if days > 2 => format!("{days} days"),
        () if hours > 1 => format!("{hours} h"),
        () if minutes > 0 => format!("{minutes} min"),
        () => format!("{} s", time.whole_seconds()),
    }
}

/// A number, with a comma after each thousand.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things.
pub(super) fn things(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", number(count), if count == 1 { "" } else { "s" })
}

/// A table that may be wider than the screen, in a box that scrolls; also by the keyboard.
pub(super) fn scrolling_table(
    html: &mut Html<'_>,
    caption: &str,
    label: &str,
    columns: &[(&'static str, &str)],
    rows: impl FnOnce(&mut Html<'_>) -> io::Result<()>,
) -> io::Result<()> {
    html.element("div", &[("class", &"box"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &label)], |html| {
        html.element("table", &[], |html| {
            if !caption.is_empty() {
                html.line("caption", &[], caption)?;
            }
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    columns.iter().try_for_each(|(class, heading)| {
                        html.line("th", &[("scope", &"col"), ("class", class)], heading)
                    })
                })
            })?;
            html.element("tbody", &[], rows)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (given, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (78_579, "78,579"), (1_234_567, "1,234,567")]
        {
            assert_eq!(number(given), expected);
        }
    }

    #[test]
    fn ages_are_cut_off() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(9000);
        for (before, words) in [
            (Duration::seconds(-5), "just now"),
            (Duration::seconds(59), "59 s ago"),
            (Duration::minutes(119), "119 min ago"),
            (Duration::hours(71), "71 h ago"),
            (Duration::hours(72), "3 days ago"),
        ] {
            assert_eq!(ago(now, now - before), words);
        }
    }
}
