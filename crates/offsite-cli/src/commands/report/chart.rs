//! Charts, as SVG in the page. However many backups there are, a chart has at most as many marks as the history
//! that it shows.

use std::fmt::Write as _;
use std::io;

use offsite::operations::report::{History, MARKS, Mark};

use super::html::Html;
use crate::words::{counted, size};

/// Width of a mark and of the space after it.
const STEP: usize = 4;

/// How many days a row shows at least.
const LEAST_DAYS: usize = 30;

/// How high a row of marks is.
const HEIGHT: usize = 20;

/// How high a chart of sizes is.
const TALL: f64 = 64.0;

/// A row of so many of the last days: a bar where there is a backup, half a bar where it is partial, a stub where
/// there is none. What was before the first backup is left empty.
pub(super) fn days(html: &mut Html<'_>, recent: &History, count: usize) -> io::Result<()> {
    let (mut whole, mut partial, mut none) = (String::new(), String::new(), String::new());
    let left_out = recent.marks.len().saturating_sub(count);
    for (position, mark) in recent.since_the_first() {
        let x = position.saturating_sub(left_out) * STEP;
        // A String takes everything.
        let _ = match mark {
            // Today is not over.
            Mark { backups: 0, .. } if position + 1 == recent.marks.len() => Ok(()),
            Mark { backups: 0, .. } => write!(none, "M{x} {}h3v3h-3z", HEIGHT - 3),
            Mark { partial: 0, .. } => write!(whole, "M{x} 0h3v{HEIGHT}h-3z"),
            Mark { .. } => write!(partial, "M{x} {0}h3v{0}h-3z", HEIGHT / 2),
        };
    }
    let frame = format!("0 0 {} {HEIGHT}", count * STEP);
    let attributes: [(&'static str, &dyn std::fmt::Display); 5] = [
        ("class", &"days"),
        ("viewBox", &frame),
        ("preserveAspectRatio", &"none"),
        ("role", &"img"),
        ("aria-label", &days_in_words(recent, count)),
    ];
    html.element("svg", &attributes, |html| {
        for (class, path) in [("whole", whole), ("partial", partial), ("none", none)] {
            if !path.is_empty() {
                html.line("path", &[("class", &class), ("d", &path)], "")?;
            }
        }
        Ok(())
    })
}

/// How many of the last days any of these has a backup in; at least [`LEAST_DAYS`].
pub(super) fn days_of_all<'h>(all: impl Iterator<Item = &'h History>) -> usize {
    let of_one = |recent: &History| recent.since_the_first().count();
    all.map(of_one).max().unwrap_or(0).clamp(LEAST_DAYS, MARKS)
}

fn days_in_words(recent: &History, count: usize) -> String {
    let with: Vec<&Mark> = recent.marks.iter().filter(|mark| mark.backups > 0).collect();
    let Some(last) = with.last() else { return format!("No backup in the last {count} days") };
    let partial = with.iter().filter(|mark| mark.partial > 0).count() as u64;
    let mut words = format!("Backups on {} of the last {count} days", with.len());
    if partial > 0 {
        let _ = write!(words, ", partial on {}", counted(partial, "day"));
    }
    let _ = write!(words, "; the last on {}", last.day);
    words
}

/// How sizes change over all the time that there are backups: what they put, and what they hold.
pub(super) fn sizes(html: &mut Html<'_>, whole: &History) -> io::Result<()> {
    html.element("div", &[("class", &"charts")], |html| {
        bars(html, whole)?;
        line(html, whole)
    })
}

/// What was put in each mark. Nights differ from a first backup by orders of magnitude: each ten times as much is as
/// much higher.
fn bars(html: &mut Html<'_>, whole: &History) -> io::Result<()> {
    let values: Vec<u64> = whole.marks.iter().map(|mark| mark.stored_bytes).filter(|bytes| *bytes > 0).collect();
    let (least, most) = (values.iter().min().copied().unwrap_or(1), values.iter().max().copied().unwrap_or(1));
    // The least is a bar of a sixth, since nothing would be no bar.
    let height = |bytes: u64| {
        let range = (logarithm(most) - logarithm(least)).max(1e-9);
        if most == least { TALL } else { TALL / 6.0 + TALL * 5.0 / 6.0 * (logarithm(bytes) - logarithm(least)) / range }
    };
    let mut path = String::new();
    for (position, mark) in whole.marks.iter().enumerate().filter(|(_, mark)| mark.stored_bytes > 0) {
        let height = height(mark.stored_bytes);
        let _ = write!(path, "M{} {:.1}h3V{TALL}h-3z", position * STEP, TALL - height);
    }
    let each = if whole.days == 1 { "day".to_owned() } else { format!("{} days", whole.days) };
    let words = if least == most {
        format!("Put each {each}: {}", size(most))
    } else {
        format!("Put each {each}: {} to {}", size(least), size(most))
    };
    figure(html, whole, &words, "logarithmic", &|html| html.line("path", &[("class", &"stored"), ("d", &path)], ""))
}

fn logarithm(bytes: u64) -> f64 {
    // What is lost beyond 53 bits is not seen.
    #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
    let bytes = bytes.max(1) as f64;
    bytes.log10()
}

/// What the backups hold.
fn line(html: &mut Html<'_>, whole: &History) -> io::Result<()> {
    let with: Vec<(usize, u64)> = whole
        .marks
        .iter()
        .enumerate()
        .filter(|(_, mark)| mark.backups > 0)
        .map(|(at, mark)| (at, mark.bytes))
        .collect();
    let most = with.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
    let y = |bytes: u64| if most == 0 { TALL } else { TALL - (TALL - 2.0) * bytes as f64 / most as f64 };
    let mut top = String::new();
    for (at, bytes) in &with {
        let command = if top.is_empty() { 'M' } else { 'L' };
        let _ = write!(top, "{command}{} {:.1}", at * STEP + 1, y(*bytes));
    }
    // A single backup is a line, too.
    top.push_str("h2");
    let first = with.first().map_or(0, |(at, _)| *at);
    let below = format!("{top}V{TALL}H{}z", first * STEP + 1);
    let now = with.last().map_or(0, |(_, bytes)| *bytes);
    let words = format!("Size of a backup: {}", size(now));
    let note = if now == most { String::new() } else { format!("at most {}", size(most)) };
    figure(html, whole, &words, &note, &|html| {
        html.line("path", &[("class", &"held-area"), ("d", &below)], "")?;
        html.line("path", &[("class", &"held"), ("d", &top)], "")
    })
}

fn figure(
    html: &mut Html<'_>,
    whole: &History,
    words: &str,
    note: &str,
    draw: &dyn Fn(&mut Html<'_>) -> io::Result<()>,
) -> io::Result<()> {
    html.element("figure", &[], |html| {
        html.element("figcaption", &[], |html| {
            html.text(words)?;
            if note.is_empty() { Ok(()) } else { html.line("small", &[], note) }
        })?;
        let width = (whole.marks.len() * STEP).max(STEP);
        let frame = format!("0 0 {width} {TALL}");
        let attributes: [(&'static str, &dyn std::fmt::Display); 4] =
            [("class", &"sizes"), ("viewBox", &frame), ("preserveAspectRatio", &"none"), ("aria-hidden", &"true")];
        html.element("svg", &attributes, draw)?;
        let Some(first) = whole.marks.first() else { return Ok(()) };
        html.element("p", &[("class", &"axis")], |html| {
            html.line("span", &[], first.day)?;
            html.line("span", &[], "today")
        })
    })
}
