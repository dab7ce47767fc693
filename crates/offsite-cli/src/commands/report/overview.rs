//! The top of the page: how things stand with the store, and with each set in a line; and its foot: what the page
//! was made of.

use std::fmt::Display;
use std::io;

use offsite::operations::report::Set;

use super::chart;
use super::html::{Html, Short};
use super::page::{Origin, Page};
use super::parts::{ago, badge, number, period, sign, things, time};
use super::state::{Level, Row};
use crate::words::{date_and_time, size};

/// Most characters of a store's name.
const STORE: usize = 300;

pub(super) fn header(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    html.element("header", &[], |html| {
        html.line("h1", &[], "Backups")?;
        html.element("p", &[], |html| {
            html.text("in ")?;
            html.line("b", &[], Short(&page.store, STORE))?;
            if let Some(scope) = &page.scope {
                html.text(", of ")?;
                html.line("b", &[], scope)?;
            }
            if let Some(as_of) = page.as_of {
                html.text(format_args!(", read as of {} UTC", date_and_time(as_of)))?;
            }
            html.text(", as found on ")?;
            time(html, page.now)?;
            html.text(" UTC")
        })
    })
}

pub(super) fn summary(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    html.element("section", &[("aria-label", &"Summary")], |html| {
        let level = page.level();
        html.element("div", &[("class", &format_args!("verdict {}", level.name()))], |html| {
            sign(html, level)?;
            html.line("p", &[], verdict(page))
        })?;
        if page.origin == Origin::NotProven && !page.rows.is_empty() {
            html.element("p", &[("class", &"notice")], |html| {
                html.line("b", &[], "Origin not proven. ")?;
                html.text("No signers were named, so whoever can write into the store could have made these backups.")
            })?;
        }
        tiles(html, page)
    })
}

fn verdict(page: &Page<'_>) -> String {
    let (bad, attention) = (page.sets(Level::Bad), page.sets(Level::Attention));
    let all = page.rows.len() as u64;
    let mut look = match attention {
        0 => String::new(),
        1 => "; 1 set deserves a look".to_owned(),
        several => format!("; {} sets deserve a look", number(several)),
    };
    look += &match page.ending() {
        0 => String::new(),
        1 => "; 1 certificate runs out".to_owned(),
        several => format!("; {} certificates run out", number(several)),
    };
    match (page.level(), all, bad) {
        (Level::Bad, _, 0) => format!("Something among the receipts is not as it should be{look}"),
        (Level::Bad, 1, _) => "This set is not as it should be".to_owned(),
        (Level::Bad, _, 1) => format!("1 of {} sets is not as it should be{look}", number(all)),
        (Level::Bad, _, _) => format!("{} of {} sets are not as they should be{look}", number(bad), number(all)),
        (_, 0, _) => "There are no backups".to_owned(),
        (_, _, _) => format!("Nothing is wrong{look}"),
    }
}

fn tiles(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    let sets = || page.rows.iter().map(|row| row.set);
    // They are by host within a level, and a host may be in several.
    let mut hosts: Vec<&str> = sets().map(|set| set.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let backups = sets().map(|set| set.backups as u64).sum();
    let stored = sets().map(|set| set.stored_bytes).fold(0, u64::saturating_add);
    let held = sets().filter_map(Set::latest).map(|latest| latest.counts.bytes).fold(0, u64::saturating_add);
    html.element("dl", &[("class", &"tiles")], |html| {
        tile(html, "Hosts", &number(hosts.len() as u64), "")?;
        tile(html, "Sets", &number(page.rows.len() as u64), "")?;
        tile(html, "Backups", &number(backups), "")?;
        tile(html, "Stored", &size(stored), "by all backups")?;
        tile(html, "Backed up", &size(held), "in the latest")?;
        html.element("div", &[], |html| {
            html.line("dt", &[], "Findings")?;
            html.line("dd", &[], number(page.reported.findings.len() as u64))?;
            if page.reported.findings.is_empty() {
                return Ok(());
            }
            html.element("dd", &[("class", &"note")], |html| html.line("a", &[("href", &"#findings")], "what to do"))
        })?;
        let oldest = page.rows.iter().filter_map(|row| Some((row.set.latest()?.time(), row))).min_by_key(|(at, _)| *at);
        let Some((at, row)) = oldest else { return Ok(()) };
        html.element("div", &[("class", &"wide")], |html| {
            html.line("dt", &[], "Oldest latest backup")?;
            html.line("dd", &[], ago(page.now, at))?;
            html.element("dd", &[("class", &"note")], |html| link(html, row))
        })
    })
}

fn tile(html: &mut Html<'_>, name: &str, value: &str, note: &str) -> io::Result<()> {
    html.element("div", &[], |html| {
        html.line("dt", &[], name)?;
        html.line("dd", &[], value)?;
        if note.is_empty() { Ok(()) } else { html.line("dd", &[("class", &"note")], note) }
    })
}

/// To a set's details.
fn link(html: &mut Html<'_>, row: &Row<'_>) -> io::Result<()> {
    let name = row.name();
    html.element("a", &[("href", &format_args!("#{name}"))], |html| {
        html.text(&row.set.host)?;
        html.line("span", &[], format_args!("/{}", row.set.set))
    })
}

/// A table that narrow screens show as cards; the roles keep it a table for whoever hears it.
pub(super) fn table(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    let days = chart::days_of_all(page.rows.iter().map(|row| &row.set.recent));
    html.element("section", &[("aria-labelledby", &"sets")], |html| {
        html.line("h2", &[("id", &"sets")], "Hosts and sets")?;
        legend(html, days)?;
        html.line_break()?;
        html.element("table", &[("class", &"sets"), ("role", &"table"), ("aria-labelledby", &"sets")], |html| {
            html.element("thead", &[("role", &"rowgroup")], |html| headings(html, page))?;
            html.element("tbody", &[("role", &"rowgroup")], |html| {
                page.rows.iter().try_for_each(|row| {
                    html.line_break()?;
                    html.element("tr", &[("role", &"row")], |html| cells(html, page, row, days))
                })
            })
        })
    })
}

fn legend(html: &mut Html<'_>, days: usize) -> io::Result<()> {
    html.element("p", &[("class", &"legend")], |html| {
        html.text(format_args!("The last {days} days (UTC), today at the right:"))?;
        for (class, shape, words) in [
            ("whole", "M0 0h3v20h-3z", "a backup"),
            ("partial", "M0 10h3v10h-3z", "a partial one"),
            ("none", "M0 17h3v3h-3z", "none that is kept"),
        ] {
            html.element("span", &[], |html| {
                html.element(
                    "svg",
                    &[
                        ("class", &"key"),
                        ("viewBox", &"0 0 3 20"),
                        ("preserveAspectRatio", &"none"),
                        ("aria-hidden", &"true"),
                    ],
                    |html| html.line("path", &[("class", &class), ("d", &shape)], ""),
                )?;
                html.text(words)
            })?;
        }
        Ok(())
    })
}

fn headings(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    html.element("tr", &[("role", &"row")], |html| {
        let drills = page.drills.map(|_| ("", "Last drill"));
        let columns = [("", "State"), ("", "Host/set"), ("", "Days"), ("", "Latest"), ("n", "Backups"), ("n", "Size")];
        for (class, heading) in columns.into_iter().chain([("n", "Stored")]).chain(drills) {
            html.line("th", &[("role", &"columnheader"), ("scope", &"col"), ("class", &class)], heading)?;
        }
        Ok(())
    })
}

fn cells(html: &mut Html<'_>, page: &Page<'_>, row: &Row<'_>, days: usize) -> io::Result<()> {
    let set = row.set;
    html.element("td", &[("role", &"cell"), ("class", &"state")], |html| badge(html, row.level, row.reason()))?;
    html.element("th", &[("role", &"rowheader"), ("scope", &"row")], |html| link(html, row))?;
    html.element("td", &[("role", &"cell"), ("class", &"row")], |html| match set.latest() {
        Some(_) => chart::days(html, &set.recent, days),
        None => html.text("–"),
    })?;
    let age = if row.is_too_old() { "too-old" } else { "" };
    let latest = set.latest();
    cell(html, "Latest", age, latest.map_or("none".to_owned(), |latest| ago(page.now, latest.time())))?;
    cell(html, "Backups", "n", number(set.backups as u64))?;
    cell(html, "Size", "n", latest.map_or("–".to_owned(), |latest| size(latest.counts.bytes)))?;
    cell(html, "Stored", "n", size(set.stored_bytes))?;
    if page.drills.is_none() {
        return Ok(());
    }
    let last = row.drills.and_then(|drills| drills.last.as_ref());
    cell(
        html,
        "Last drill",
        if last.is_some_and(|last| !last.passed) { "too-old" } else { "" },
        match last {
            None => "none".to_owned(),
            Some(last) if last.passed => ago(page.now, last.time),
            Some(last) => format!("failed {}", ago(page.now, last.time)),
        },
    )
}

/// A cell that says in a card what it is.
fn cell(html: &mut Html<'_>, label: &'static str, class: &str, text: impl Display) -> io::Result<()> {
    html.line("td", &[("role", &"cell"), ("class", &class), ("data-label", &label)], text)
}

pub(super) fn footer(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    html.element("footer", &[], |html| {
        html.line("h2", &[], "What this page is made of")?;
        html.element("ul", &[], |html| {
            let mut item = |text: &str| html.line("li", &[], text);
            item(&format!(
                "Of {} every signature was verified, and it was compared what the receipts list with what the store \
                 holds: presence and length of {}. The bytes were not read: offsite verify --data does that.",
                things(page.rows.iter().map(|row| row.set.backups as u64).sum(), "backup"),
                things(page.reported.objects, "object"),
            ))?;
            item(match page.origin {
                Origin::Pinned => "Only backups of signers that were named as trusted count.",
                Origin::Seen => "Only backups of signers count that earlier verifications have seen.",
                Origin::NotProven => "No signers were named: whose the backups are is not proven.",
            })?;
            item(&match page.max_age {
                Some(max_age) => format!(
                    "A latest backup that was older than {} when the page was made is a finding. Ages are those of \
                     that moment.",
                    period(max_age)
                ),
                None => "No age was named that a latest backup may have. Ages are those of the moment when the page \
                         was made."
                    .to_owned(),
            })?;
            if let Some(retention) = page.retention {
                item(&format!("Backups older than {} may have been removed by rule.", period(retention)))?;
            }
            item(&drills(page))?;
            item(
                "Sizes are what the receipts say. The time of a backup is its start, or when it was stored, if that \
                 was earlier.",
            )
        })?;
        html.line("p", &[], format_args!("offsite {}", env!("CARGO_PKG_VERSION")))
    })
}

fn drills(page: &Page<'_>) -> String {
    let Some(drills) = page.drills else {
        return "Whether the backups can be restored only offsite drill proves; no reports of drills were given."
            .to_owned();
    };
    let unreadable = match drills.unreadable {
        0 => String::new(),
        1 => " 1 file beside them is no such report.".to_owned(),
        several => format!(" {} files beside them are no such reports.", number(several as u64)),
    };
    let reports = things(drills.reports as u64, "report");
    format!("What is said of drills stands in {reports} that offsite drill has left.{unreadable}")
}
