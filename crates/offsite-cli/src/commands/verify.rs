//! `offsite verify`

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use offsite::operations::verify::{Finding, Seen, Set, Share, Verified, Verify, What, verify};
use offsite::receipt::rfc_3339;
use serde::Serialize;
use time::OffsetDateTime;

use crate::arguments::{self, Accept};
use crate::commands::findings::{kind, remedy};
use crate::commands::{Failure, OpenStore, address, conclude, random, seconds, written};
use crate::terminal::{self, Progress};
use crate::{monitor, words};

/// The JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    sets: Vec<SetReport<'a>>,
    findings: Vec<FindingReport>,
    objects: u64,
    hashed_bytes: u64,
}

#[derive(Serialize)]
struct SetReport<'a> {
    host: &'a str,
    set: &'a str,
    backups: usize,
    /// The latest backup that counts; null where none does.
    latest: Option<String>,
    /// When it started, or was stored, if that was earlier.
    time: Option<String>,
    status: Option<String>,
    stored_bytes: u64,
    findings: usize,
}

#[derive(Serialize)]
struct FindingReport {
    id: String,
    host: Option<String>,
    set: Option<String>,
    kind: &'static str,
    /// The first object that is wrong.
    object: Option<String>,
    text: String,
    remedy: &'static str,
}

pub(crate) fn run(arguments: &arguments::Verify) -> Result<(), Failure> {
    monitor::begin("verify", address(&arguments.ping)?, None);
    let progress = Progress::silent();
    let mut seen = seen(arguments)?;
    let source = OpenStore::new(&arguments.store, &progress)?;
    let data = match arguments.data {
        Some(percent) => Some(Share { percent, seed: random()? }),
        None => None,
    };
    if data.is_some() {
        progress.show(None, None);
    }
    let what = Verify {
        store: &*source.store,
        scope: &source.scope,
        pins: &source.pins,
        now: OffsetDateTime::now_utc(),
        max_age: arguments.expected.max_age.map(seconds),
        retention: arguments.expected.retention.map(seconds),
        data,
        events: &progress,
    };
    let verified = verify(&what, &mut seen);
    progress.clear();
    let result = verified.map_err(Failure::from).and_then(|verified| {
        let noted = arguments.seen.as_ref().map(|path| seen.write(path));
        if let Some(Ok(())) = noted {
            verified.sets.iter().for_each(tell_if_new);
        }
        let noted = noted.unwrap_or(Ok(())).map_err(Failure::from);
        // Also where it could not be noted: what was found must not be lost.
        let Err(found) = report(&verified, arguments) else { return noted };
        if let Err(failure) = noted {
            failure.report();
        }
        Err(found)
    });
    conclude(result, &progress)
}

/// Tells of a set that is remembered from now on, and whom that trusts.
fn tell_if_new(set: &Set) {
    let Some(latest) = set.latest.as_ref().filter(|_| set.is_new) else { return };
    let whose =
        if set.is_pinned { "" } else { "; from now on this signer is trusted, so compare it with the server's" };
    terminal::warning(&format!("{}/{} is new, signed by {}{whose}", set.host, set.set, latest.signer));
}

/// What earlier verifications have seen, with what is accepted now.
fn seen(arguments: &arguments::Verify) -> Result<Seen, Failure> {
    let Some(path) = &arguments.seen else { return Ok(Seen::default()) };
    let mut seen = Seen::read(path)?.unwrap_or_else(|| {
        terminal::warning(&format!("{} is new: what is in the store now is taken as it is", offsite::shown(path)));
        Seen::default()
    });
    for accept in &arguments.accept {
        match accept {
            Accept::All => seen.accept_all(),
            Accept::Finding(id) => seen.accept(*id)?,
        }
    }
    Ok(seen)
}

/// What others are told.
#[derive(Serialize)]
struct Counts {
    sets: usize,
    findings: usize,
    objects: u64,
    hashed_bytes: u64,
}

fn report(verified: &Verified, arguments: &arguments::Verify) -> Result<(), Failure> {
    let Verified { sets, findings, objects, hashed, .. } = verified;
    let (sets, findings) = (sets.len(), findings.len());
    monitor::count(&Counts { sets, findings, objects: *objects, hashed_bytes: *hashed });
    let text = if arguments.json { as_json(verified) } else { as_table(verified) };
    written(io::stdout().write_all(text.as_bytes()))?;
    if verified.findings.is_empty() {
        return Ok(());
    }
    for finding in &verified.findings {
        match arguments.seen {
            Some(_) => terminal::error(&format!("[{}] {finding}", finding.id())),
            None => terminal::error(&finding.to_string()),
        }
    }
    let remedies: BTreeSet<&str> = verified.findings.iter().map(remedy).collect();
    remedies.into_iter().for_each(terminal::hint);
    Err(Failure::Damaged)
}

fn as_json(verified: &Verified) -> String {
    let report = Report {
        sets: verified.sets.iter().map(set_report).collect(),
        findings: verified.findings.iter().map(finding_report).collect(),
        objects: verified.objects,
        hashed_bytes: verified.hashed,
    };
    // Strings and numbers: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn set_report(set: &Set) -> SetReport<'_> {
    let latest = set.latest.as_ref();
    SetReport {
        host: set.host.as_str(),
        set: set.set.as_str(),
        backups: set.backups,
        latest: latest.map(|found| found.name.backup.to_string()),
        time: latest.map(|found| rfc_3339(found.time())),
        status: latest.map(|found| found.status.to_string()),
        stored_bytes: set.stored_bytes,
        findings: set.findings,
    }
}

fn finding_report(finding: &Finding) -> FindingReport {
    let object = match &finding.what {
        What::Object { damage, .. } => Some(damage.object.to_string()),
        _ => None,
    };
    FindingReport {
        id: finding.id().to_string(),
        host: finding.of.as_ref().map(|(host, _)| host.to_string()),
        set: finding.of.as_ref().map(|(_, set)| set.to_string()),
        kind: kind(&finding.what),
        object,
        text: finding.to_string(),
        remedy: remedy(finding),
    }
}

const HEADINGS: [&str; 7] = ["HOST", "SET", "BACKUPS", "LATEST (UTC)", "STATUS", "STORED", "FINDINGS"];

fn as_table(verified: &Verified) -> String {
    let row = |set: &Set| {
        let latest = set.latest.as_ref();
        [
            set.host.to_string(),
            set.set.to_string(),
            set.backups.to_string(),
            latest.map_or("none".to_owned(), |found| words::date_and_time(found.time())),
            latest.map_or("-".to_owned(), |found| found.status.to_string()),
            words::size(set.stored_bytes),
            set.findings.to_string(),
        ]
    };
    let mut text = words::table(HEADINGS, verified.sets.iter().map(row), &[2, 5, 6]);
    text.push_str(&words::counted(verified.objects, "object"));
    text.push_str(" looked at");
    if verified.hashed > 0 {
        text.push_str(&format!(", {} read and compared", words::size(verified.hashed)));
    }
    text.push('\n');
    text
}
