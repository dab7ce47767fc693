//! What is known of each set.

use std::fmt::Display;
use std::io;

use super::chart;
use super::drills::Drill;
use super::html::{Html, Short};
use super::page::Page;
use super::parts::{ago, badge, number, period, scrolling_table, things, time};
use super::recipients::{end, name};
use super::state::{Level, Row};
use crate::words::{date_and_time, size};
use offsite::hashes::Fingerprint;
use offsite::operations::backups::Found;
use offsite::operations::report::NEWEST;
use offsite::operations::verify::What;
use offsite::receipt::Given;

/// Most findings of a set that are told beside it.
const FINDINGS: usize = 20;

/// Most characters of a finding's text there, and of what a drill's report says.
const TEXT: usize = 200;

/// So many sets are shown with their details from the start: of a few all, of many those with findings.
const OPEN: usize = 3;

pub(super) fn sets(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    html.element("section", &[("aria-labelledby", &"details")], |html| {
        html.line("h2", &[("id", &"details")], "Details")?;
        (0..).zip(&page.rows).try_for_each(|(number, row)| {
            html.line_break()?;
            let is_open = number < OPEN && (page.rows.len() <= OPEN || row.level == Level::Bad);
            let open: &[(&'static str, &dyn Display)] = if is_open { &[("open", &"")] } else { &[] };
            html.element("details", open, |html| {
                html.element("summary", &[], |html| {
                    html.line("b", &[], row.name())?;
                    badge(html, row.level, row.reason())
                })?;
                // A link to what is in it opens it.
                html.element("div", &[("class", &"set"), ("id", &row.name())], |html| set(html, page, row))
            })
        })
    })
}

fn set(html: &mut Html<'_>, page: &Page<'_>, row: &Row<'_>) -> io::Result<()> {
    let set = row.set;
    if row.reasons.len() > 1 {
        html.line("p", &[], format_args!("Because: {}.", row.reasons.join("; ")))?;
    }
    findings(html, row)?;
    if set.latest().is_some() {
        chart::sizes(html, &set.whole)?;
    }
    html.element("dl", &[("class", &"facts")], |html| {
        if let Some(latest) = set.latest() {
            latest_backup(html, page, latest)?;
        }
        fact(html, "Backups", |html| {
            let stored = size(set.stored_bytes);
            html.text(format_args!("{}, {stored} put by all of them", things(set.backups as u64, "backup")))
        })?;
        fact(html, "Chain", |html| html.text(chain(row)))?;
        signers(html, row)?;
        drilled(html, page, row)
    })?;
    recipients(html, page, row)?;
    newest(html, row)
}

fn fact(html: &mut Html<'_>, name: &str, value: impl FnOnce(&mut Html<'_>) -> io::Result<()>) -> io::Result<()> {
    html.element("div", &[], |html| {
        html.line("dt", &[], name)?;
        html.element("dd", &[], value)
    })
}

fn wide_fact(html: &mut Html<'_>, name: &str, value: impl FnOnce(&mut Html<'_>) -> io::Result<()>) -> io::Result<()> {
    html.element("div", &[("class", &"wide")], |html| {
        html.line("dt", &[], name)?;
        html.element("dd", &[], value)
    })
}

fn findings(html: &mut Html<'_>, row: &Row<'_>) -> io::Result<()> {
    if row.findings.is_empty() {
        return Ok(());
    }
    html.element("ul", &[("class", &"findings")], |html| {
        for finding in row.findings.iter().take(FINDINGS) {
            html.line("li", &[], Short(&finding.what, TEXT))?;
        }
        if let Some(more) = row.findings.len().checked_sub(FINDINGS).filter(|more| *more > 0) {
            html.line("li", &[], format_args!("and {} more", number(more as u64)))?;
        }
        html.element("li", &[], |html| html.line("a", &[("href", &"#findings")], "What to do about it"))
    })
}

fn latest_backup(html: &mut Html<'_>, page: &Page<'_>, latest: &Found) -> io::Result<()> {
    fact(html, "Latest backup", |html| {
        time(html, latest.time())?;
        html.text(format_args!(" UTC, {}", ago(page.now, latest.time())))?;
        html.line("code", &[], latest.name.backup)
    })?;
    fact(html, "It holds", |html| {
        let (counts, bytes) = (latest.counts, size(latest.counts.bytes));
        match latest.given {
            Given::Files => html.text(format_args!(
                "{bytes} in {}, {} and {}",
                things(counts.files, "file"),
                things(counts.folders, "folder"),
                things(counts.others, "other")
            )),
            Given::Stdin => html.text(format_args!("{bytes} of standard input")),
            Given::Exec => html.text(format_args!("{bytes} that a command wrote")),
        }
    })?;
    fact(html, "Status", |html| {
        html.text(latest.status)?;
        if latest.counts.errors == 0 {
            return Ok(());
        }
        html.text(format_args!(": {} could not be read", things(latest.counts.errors, "thing")))
    })
}

/// What the chain of receipts is. A finding about an object that no backup needs is about a receipt.
fn chain(row: &Row<'_>) -> &'static str {
    let is_of_chain = |what: &What| {
        matches!(
            what,
            What::ReceiptMissing { .. }
                | What::ReceiptReplaced { .. }
                | What::Forked { .. }
                | What::SetGone { .. }
                | What::LastSeenGone { .. }
                | What::ReceiptChanged { .. }
                | What::NotFollowing { .. }
                | What::SeveralSigners(_)
        ) || matches!(what, What::Object { backups, .. } if backups.is_empty())
    };
    match row.findings.iter().any(|finding| is_of_chain(&finding.what)) {
        true => "not as it should be: see the findings",
        false if row.set.backups == 0 => "none",
        false => "without a gap, and every signature is right",
    }
}

fn signers(html: &mut Html<'_>, row: &Row<'_>) -> io::Result<()> {
    let set = row.set;
    let name = if set.signers_in_all == 1 { "Signer" } else { "Signers" };
    if set.signers.is_empty() {
        return Ok(());
    }
    wide_fact(html, name, |html| {
        html.text(if set.is_pinned { "trusted for this host" } else { "origin not proven" })?;
        for dates in &set.signers {
            html.line("code", &[], dates.signer)?;
            if set.signers_in_all > 1 {
                let (first, last) = (dates.first.start().date(), dates.last.start().date());
                html.line("small", &[], format_args!("from {first} to {last}"))?;
            }
        }
        match set.signers_in_all - set.signers.len() {
            0 => Ok(()),
            more => html.line("small", &[], format_args!("and {} more", number(more as u64))),
        }
    })
}

fn drilled(html: &mut Html<'_>, page: &Page<'_>, row: &Row<'_>) -> io::Result<()> {
    if page.drills.is_none() {
        return Ok(());
    }
    let (last, full) = row.drills.map_or((None, None), |drills| (drills.last.as_ref(), drills.last_full.as_ref()));
    fact(html, "Last drill", |html| match last {
        None => html.text("none"),
        Some(last) => drill(html, page, last),
    })?;
    match (last, full) {
        (Some(last), Some(full)) if !last.full => fact(html, "Last full drill", |html| drill(html, page, full)),
        (Some(last), None) if !last.full => fact(html, "Last full drill", |html| html.text("none")),
        _ => Ok(()),
    }
}

fn drill(html: &mut Html<'_>, page: &Page<'_>, drill: &Drill) -> io::Result<()> {
    let (extent, result) = (if drill.full { "full" } else { "quick" }, if drill.passed { "passed" } else { "failed" });
    time(html, drill.time)?;
    html.text(format_args!(" UTC, {}: {extent}, {result}", ago(page.now, drill.time)))?;
    if let Some(failure) = &drill.failure {
        html.line("small", &[], Short(failure, TEXT))?;
    }
    if drill.store != page.store {
        html.line("small", &[], format_args!("of {}", Short(&drill.store, TEXT)))?;
    }
    match &drill.backup {
        Some(backup) => html.line("code", &[], Short(backup, TEXT)),
        None => Ok(()),
    }
}

/// Whom the latest backup is sealed to.
fn recipients(html: &mut Html<'_>, page: &Page<'_>, row: &Row<'_>) -> io::Result<()> {
    if row.set.recipients.is_empty() {
        return Ok(());
    }
    let key: &[(&str, &str)] = if page.drills.is_some() { &[("", "Key")] } else { &[] };
    let columns = [&[("", "Recipient"), ("", "Certificate ends")], key, &[("", "Fingerprint")]].concat();
    let caption = "Who can open the latest backup";
    scrolling_table(html, caption, caption, &columns, |html| {
        row.set
            .recipients
            .iter()
            .try_for_each(|recipient| html.element("tr", &[], |html| recipient_cells(html, page, row, recipient)))
    })
}

fn recipient_cells(html: &mut Html<'_>, page: &Page<'_>, row: &Row<'_>, recipient: &Fingerprint) -> io::Result<()> {
    let certificate = page.reported.certificates.get(recipient);
    name(html, certificate)?;
    end(html, certificate, page.now)?;
    if page.drills.is_some() {
        let proof = match row.drills {
            Some(_) if row.has_proven(recipient) => "proven by the last drill",
            Some(_) => "not proven by it",
            None => "never drilled",
        };
        html.line("td", &[], proof)?;
    }
    html.element("td", &[], |html| html.line("code", &[], recipient))
}

fn newest(html: &mut Html<'_>, row: &Row<'_>) -> io::Result<()> {
    let set = row.set;
    if set.newest.is_empty() {
        return Ok(());
    }
    let caption = if set.backups > NEWEST { format!("The newest {NEWEST} backups") } else { "All backups".to_owned() };
    let numbers = ["Files", "Size", "Put", "Took"].map(|heading| ("n", heading));
    let columns = [&[("", "Time (UTC)"), ("", "Status")], &numbers[..]].concat();
    scrolling_table(html, &caption, &caption, &columns, |html| {
        set.newest.iter().try_for_each(|found| {
            html.element("tr", &[], |html| {
                html.line("th", &[("scope", &"row")], date_and_time(found.time()))?;
                html.line("td", &[], found.status)?;
                html.line("td", &[("class", &"n")], number(found.counts.files))?;
                html.line("td", &[("class", &"n")], size(found.counts.bytes))?;
                html.line("td", &[("class", &"n")], size(found.stored_bytes))?;
                html.line("td", &[("class", &"n")], period(found.end - found.start()))
            })
        })
    })
}
