//! `offsite doctor`

mod words;

use std::io::{self, Write as _};

use offsite::operations::doctor::{Check, Doctor, Verdict, doctor};
use offsite::store::{PutSettings, StoreId};
use serde::Serialize;
use time::OffsetDateTime;

use crate::arguments;
use crate::commands::{Failure, ThisHost, random, recipients, written};
use crate::terminal::Progress;
use words::Words;

/// A check in the JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report {
    check: &'static str,
    result: &'static str,
    text: String,
    remedy: Option<String>,
}

pub(crate) fn run(arguments: &arguments::Doctor) -> Result<(), Failure> {
    let ThisHost { name, state, signing_key } = ThisHost::new(arguments.store.host.clone())?;
    let progress = Progress::silent();
    let recipients = recipients(&arguments.store.recipients, &progress)?;
    let checks = doctor(&Doctor {
        host: &name,
        to: &arguments.store.to,
        settings: &PutSettings { notice: progress.notice(), ..PutSettings::new(StoreId::new(random()?)) },
        recipients: &recipients,
        state: &state,
        signing_key: &signing_key,
        now: OffsetDateTime::now_utc(),
    });
    let words = Words { host: &name, set: &arguments.store.set, to: &arguments.store.to };
    let report: Vec<Report> = checks.iter().map(|check| report(check, &words)).collect();
    let text = if arguments.json { as_json(&report) } else { as_table(&report) };
    written(io::stdout().write_all(text.as_bytes()))?;
    end(&checks)
}

fn report(check: &Check, words: &Words<'_>) -> Report {
    Report {
        check: words::name(check),
        result: result(check.verdict()),
        text: words.text(check),
        remedy: words.remedy(check),
    }
}

fn result(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Note => "note",
        Verdict::NotTried => "not tried",
        Verdict::Fault | Verdict::PowerTooMany => "finding",
    }
}

fn end(checks: &[Check]) -> Result<(), Failure> {
    let any = |verdict| checks.iter().any(|check| check.verdict() == verdict);
    if any(Verdict::PowerTooMany) {
        return Err(Failure::Damaged);
    }
    if any(Verdict::Fault) { Err(Failure::Reported) } else { Ok(()) }
}

fn as_json(report: &[Report]) -> String {
    // Strings: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// A line for each check, and then what to do about those that are not as they should be.
fn as_table(report: &[Report]) -> String {
    let width = |of: fn(&Report) -> &str| report.iter().map(|row| of(row).len()).max().unwrap_or_default();
    let (results, checks) = (width(|row| row.result), width(|row| row.check));
    let line = |Report { check, result, text, .. }: &Report| format!("{result:results$}  {check:checks$}  {text}\n");
    let heading = if report.iter().any(|row| row.remedy.is_some()) { "\nWhat to do:\n" } else { "" };
    report.iter().map(line).chain([heading.to_owned()]).chain(remedies(report)).collect()
}

/// What to do, each thing once, with all the checks that it is for.
fn remedies(report: &[Report]) -> Vec<String> {
    let mut remedies: Vec<(&str, Vec<&str>)> = Vec::new();
    for (check, remedy) in report.iter().filter_map(|row| Some((row.check, row.remedy.as_deref()?))) {
        match remedies.iter_mut().find(|(known, _)| *known == remedy) {
            Some((_, checks)) => checks.push(check),
            None => remedies.push((remedy, vec![check])),
        }
    }
    remedies.into_iter().map(|(remedy, checks)| format!("  {}: {remedy}\n", checks.join(", "))).collect()
}
