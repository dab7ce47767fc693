//! Who can open the latest backups.

use std::collections::BTreeMap;
use std::io;

use offsite::cms::Certificate;
use offsite::hashes::Fingerprint;
use offsite::operations::report::Reported;
use time::{Duration, OffsetDateTime};

use super::html::{Html, Short};
use super::parts::{badge, number, period, scrolling_table};
use super::state::{Level, Row};

/// A certificate that ends within this time is told of.
const SOON: Duration = Duration::days(30);

/// Most recipients that are told one by one.
const RECIPIENTS: usize = 100;

/// Most characters of a recipient's name.
const NAME: usize = 200;

/// A recipient, over all sets.
pub(super) struct OverAll<'r> {
    fingerprint: Fingerprint,
    certificate: Option<&'r Certificate>,
    /// How many sets' latest backups are sealed to it.
    sets: u64,
    /// Of how many of these its key has opened a backup in the last drill.
    proven: u64,
}

impl OverAll<'_> {
    fn end(&self) -> Option<OffsetDateTime> {
        self.certificate.and_then(Certificate::not_after)
    }

    /// Whether its certificate ends soon, or has.
    pub(super) fn is_ending(&self, now: OffsetDateTime) -> bool {
        self.end().is_some_and(|end| end - now <= SOON)
    }
}

/// All of them, those whose certificates end first at the top.
pub(super) fn over_all<'r>(reported: &'r Reported, rows: &[Row<'_>]) -> Vec<OverAll<'r>> {
    let mut all = BTreeMap::<Fingerprint, OverAll<'r>>::new();
    for (row, fingerprint) in rows.iter().flat_map(|row| row.set.recipients.iter().map(move |one| (row, *one))) {
        let certificate = reported.certificates.get(&fingerprint);
        let one = all.entry(fingerprint).or_insert(OverAll { fingerprint, certificate, sets: 0, proven: 0 });
        one.sets += 1;
        one.proven += u64::from(row.has_proven(&fingerprint));
    }
    let mut all: Vec<OverAll<'_>> = all.into_values().collect();
    all.sort_by_key(|one| (one.end().is_none(), one.end()));
    all
}

pub(super) fn section(
    html: &mut Html<'_>,
    recipients: &[OverAll<'_>],
    with_drills: bool,
    now: OffsetDateTime,
) -> io::Result<()> {
    html.element("section", &[("aria-labelledby", &"recipients")], |html| {
        html.line("h2", &[("id", &"recipients")], "Recipients")?;
        let drilled: &[(&str, &str)] = if with_drills { &[("n", "Key proven for")] } else { &[] };
        let columns = [&[("", "Who can open the latest backups"), ("", "Certificate ends"), ("n", "Of sets")], drilled];
        let columns = [columns.concat(), vec![("", "Fingerprint")]].concat();
        scrolling_table(html, "", "Recipients", &columns, |html| {
            recipients.iter().take(RECIPIENTS).try_for_each(|one| {
                html.element("tr", &[], |html| {
                    name(html, one.certificate)?;
                    end(html, one.certificate, now)?;
                    html.line("td", &[("class", &"n")], number(one.sets))?;
                    if with_drills {
                        html.line("td", &[("class", &"n")], number(one.proven))?;
                    }
                    html.element("td", &[], |html| html.line("code", &[], one.fingerprint))
                })
            })
        })?;
        match recipients.len().checked_sub(RECIPIENTS).filter(|more| *more > 0) {
            Some(more) => html.line("p", &[], format_args!("And {} more.", number(more as u64))),
            None => Ok(()),
        }
    })
}

/// The cell of its name, which is whatever somebody has written into the certificate.
pub(super) fn name(html: &mut Html<'_>, certificate: Option<&Certificate>) -> io::Result<()> {
    html.element("th", &[("scope", &"row")], |html| match certificate {
        Some(certificate) => html.line("bdi", &[], Short(certificate.name(), NAME)),
        None => html.text("name not known"),
    })
}

/// The cell of its certificate's end. Decryption does not depend on it.
pub(super) fn end(html: &mut Html<'_>, certificate: Option<&Certificate>, now: OffsetDateTime) -> io::Result<()> {
    html.element("td", &[], |html| match certificate.and_then(Certificate::not_after) {
        None => html.text("not known"),
        Some(end) if end <= now => badge(html, Level::Attention, &format!("{}, past", end.date())),
        Some(end) if end - now <= SOON => {
            badge(html, Level::Attention, &format!("{}, in {}", end.date(), period(end - now)))
        }
        Some(end) => html.text(end.date()),
    })
}
