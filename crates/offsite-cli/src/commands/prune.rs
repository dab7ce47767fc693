//! `offsite prune`

use std::io::{self, Write as _};

use offsite::operations::prune::{Amount, Fate, Outcome, Prune, Pruned, Refused, Rules, Run, Set, prune};
use offsite::receipt::rfc_3339;
use offsite::store;
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::{Failure, OpenStore, address, conclude, seconds, written};
use crate::terminal::{self, Progress};
use crate::{arguments, monitor, words};

/// The JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether anything was removed, or would only be.
    confirmed: bool,
    sets: Vec<SetReport<'a>>,
}

#[derive(Serialize)]
struct SetReport<'a> {
    host: &'a str,
    set: &'a str,
    /// Why nothing of it was touched; null where it was pruned.
    closed: Option<String>,
    backups: Vec<RunReport>,
    removed_objects: u64,
    removed_bytes: u64,
    kept_bytes: u64,
    /// What the store did not let go.
    refused_objects: u64,
    refused_bytes: u64,
    /// Of that, what it said of the first.
    refused: Vec<String>,
    /// Objects in no backup's folder, which are left alone.
    foreign_objects: u64,
}

#[derive(Serialize)]
struct RunReport {
    id: String,
    /// When the store says that the receipt was put; null where there is none.
    stored: Option<String>,
    status: Option<String>,
    /// `kept`, `removed`, `held` by the store, or `no-receipt`.
    fate: &'static str,
    /// The rules that keep it.
    kept_by: Vec<String>,
    removed_objects: u64,
    removed_bytes: u64,
    kept_bytes: u64,
}

pub(crate) fn run(arguments: &arguments::Prune) -> Result<(), Failure> {
    if arguments.store.store_as_of.is_some() {
        let text = "what a bucket held at another time cannot be pruned".to_owned();
        return Err(Failure::Usage { text, hint: "leave out --store-as-of" });
    }
    if arguments.confirm {
        monitor::begin("prune", address(&arguments.ping)?, None);
    }
    let progress = Progress::silent();
    let source = OpenStore::with_every_version(&arguments.store, &progress)?;
    let delete = match arguments.confirm {
        true => Some(store::open_for_delete(&source.location).map_err(offsite::Error::from)?),
        false => None,
    };
    if arguments.confirm {
        progress.show(None, None);
    }
    let pruned = prune(&Prune {
        store: &*source.store,
        delete: delete.as_deref(),
        scope: &source.scope,
        pins: &source.pins,
        rules: rules(arguments),
        now: OffsetDateTime::now_utc(),
        events: &progress,
    });
    progress.clear();
    conclude(pruned.map_err(Failure::from).and_then(|sets| report(&sets, arguments)), &progress)
}

fn rules(arguments: &arguments::Prune) -> Rules {
    Rules {
        within: seconds(arguments.keep_within),
        last: arguments.keep_last,
        daily: arguments.keep_daily,
        weekly: arguments.keep_weekly,
        monthly: arguments.keep_monthly,
        yearly: arguments.keep_yearly,
    }
}

/// What others are told.
#[derive(Serialize)]
struct Counts {
    sets: usize,
    removed_objects: u64,
    removed_bytes: u64,
    refused_objects: u64,
}

fn report(sets: &[Set], arguments: &arguments::Prune) -> Result<(), Failure> {
    let runs = || pruned(sets).flat_map(|pruned| &pruned.runs);
    monitor::count(&Counts {
        sets: sets.len(),
        removed_objects: runs().map(|run| run.removed.objects).sum(),
        removed_bytes: runs().map(|run| run.removed.bytes).sum(),
        refused_objects: pruned(sets).map(|pruned| pruned.refused.amount.objects).sum(),
    });
    let text = if arguments.json { as_json(sets, arguments.confirm) } else { as_table(sets, arguments.confirm) };
    written(io::stdout().write_all(text.as_bytes()))?;
    let (mut is_held, mut is_closed) = (false, false);
    for Set { host, set, outcome } in sets {
        match outcome {
            Outcome::Closed { why, others } => {
                terminal::error(&format!("{}; nothing of {host}/{set} is removed", closed(why, *others)));
                is_closed = true;
            }
            Outcome::Pruned(pruned) => {
                tell(&format!("{host}/{set}"), pruned);
                is_held |= pruned.refused.amount.objects > 0;
            }
        }
    }
    if is_closed {
        terminal::hint("look at what `offsite verify` says of it, and say with --signer whom to trust");
    }
    let removed: u64 = runs().map(|run| run.removed.objects).sum();
    if !arguments.confirm && removed > 0 {
        terminal::hint("nothing is removed yet: --confirm does it");
    }
    match (is_closed, is_held) {
        (true, _) => Err(Failure::Damaged),
        (false, true) => Err(Failure::Partial),
        (false, false) => Ok(()),
    }
}

fn pruned(sets: &[Set]) -> impl Iterator<Item = &Pruned> {
    sets.iter().filter_map(|set| match &set.outcome {
        Outcome::Pruned(pruned) => Some(pruned),
        Outcome::Closed { .. } => None,
    })
}

fn closed(why: &offsite::Error, others: u64) -> String {
    if others == 0 { why.to_string() } else { format!("{why}; and {} more", words::counted(others, "object")) }
}

/// What stays though no rule keeps it.
fn tell(set: &str, pruned: &Pruned) {
    let Refused { amount, first } = &pruned.refused;
    first.iter().for_each(|error| terminal::warning(&error.to_string()));
    if amount.objects > 0 {
        let (objects, size) = (words::counted(amount.objects, "object"), words::size(amount.bytes));
        terminal::warning(&format!("{set}: the store holds {objects} of {size} which no rule keeps"));
    }
    if pruned.foreign > 0 {
        let objects = words::counted(pruned.foreign, "object");
        terminal::warning(&format!("{set}: {objects} among its data of no backup, left alone"));
    }
}

fn as_json(sets: &[Set], confirmed: bool) -> String {
    let report = Report { confirmed, sets: sets.iter().map(set_report).collect() };
    // Strings and numbers: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn set_report(set: &Set) -> SetReport<'_> {
    let nothing = Pruned::default();
    let (closed, pruned) = match &set.outcome {
        Outcome::Closed { why, others } => (Some(closed(why, *others)), &nothing),
        Outcome::Pruned(pruned) => (None, pruned),
    };
    let sum = |of: fn(&Run) -> u64| pruned.runs.iter().map(of).sum();
    SetReport {
        host: set.host.as_str(),
        set: set.set.as_str(),
        closed,
        backups: pruned.runs.iter().map(run_report).collect(),
        removed_objects: sum(|run| run.removed.objects),
        removed_bytes: sum(|run| run.removed.bytes),
        kept_bytes: sum(|run| run.kept.bytes),
        refused_objects: pruned.refused.amount.objects,
        refused_bytes: pruned.refused.amount.bytes,
        refused: pruned.refused.first.iter().map(ToString::to_string).collect(),
        foreign_objects: pruned.foreign,
    }
}

fn run_report(run: &Run) -> RunReport {
    RunReport {
        id: run.backup.to_string(),
        stored: run.found.as_ref().map(|found| rfc_3339(found.stored)),
        status: run.found.as_ref().map(|found| found.status.to_string()),
        fate: match run.fate {
            Fate::Kept(_) => "kept",
            Fate::Removed => "removed",
            Fate::Held => "held",
            _ => "no-receipt",
        },
        kept_by: kept_by(run),
        removed_objects: run.removed.objects,
        removed_bytes: run.removed.bytes,
        kept_bytes: run.kept.bytes,
    }
}

fn kept_by(run: &Run) -> Vec<String> {
    match &run.fate {
        Fate::Kept(why) => why.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

const HEADINGS: [&str; 8] = ["HOST", "SET", "BACKUP", "STORED (UTC)", "STATUS", "KEPT BY", "KEEPS", "REMOVES"];

fn as_table(sets: &[Set], confirmed: bool) -> String {
    let runs = sets.iter().flat_map(|set| match &set.outcome {
        Outcome::Pruned(pruned) => pruned.runs.iter().map(|run| row(set, run)).collect(),
        Outcome::Closed { .. } => vec![left_row(set)],
    });
    let mut text = words::table(HEADINGS, runs, &[6, 7]);
    let mut removed = Amount::default();
    for run in pruned(sets).flat_map(|pruned| &pruned.runs) {
        removed.objects += run.removed.objects;
        removed.bytes = removed.bytes.saturating_add(run.removed.bytes);
    }
    let (objects, size) = (words::counted(removed.objects, "object"), words::size(removed.bytes));
    let end = if confirmed { "removed" } else { "to be removed" };
    text.push_str(&format!("{objects} of {size} {end}\n"));
    text
}

fn row(set: &Set, run: &Run) -> [String; 8] {
    let found = run.found.as_ref();
    [
        set.host.to_string(),
        set.set.to_string(),
        run.backup.to_string(),
        found.map_or("-".to_owned(), |found| words::date_and_time(found.stored)),
        found.map_or("no receipt".to_owned(), |found| found.status.to_string()),
        match &run.fate {
            Fate::Kept(_) => kept_by(run).join(", "),
            Fate::Held => "the store".to_owned(),
            _ => "-".to_owned(),
        },
        words::size(run.kept.bytes),
        words::size(run.removed.bytes),
    ]
}

/// A set of which nothing was touched.
fn left_row(set: &Set) -> [String; 8] {
    let left = ["all", "-", "-", "left as it is", "-", "-"].map(str::to_owned);
    let [backup, stored, status, kept_by, keeps, removes] = left;
    [set.host.to_string(), set.set.to_string(), backup, stored, status, kept_by, keeps, removes]
}
