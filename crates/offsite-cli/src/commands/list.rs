//! `offsite list`

use std::io::{self, Write as _};

use offsite::operations::{self, backups::Found};
use offsite::pins::Verdict;
use offsite::receipt::rfc_3339;
use serde::Serialize;

use crate::arguments;
use crate::commands::{Failure, OpenStore, conclude, written};
use crate::terminal::{self, Progress};
use crate::words;

/// A backup in the JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    id: String,
    host: &'a str,
    set: &'a str,
    /// When it started.
    time: String,
    end: String,
    /// When the store says that its receipt was put.
    stored: String,
    status: String,
    /// Whether the store hides it since somebody deleted it.
    hidden: bool,
    given: String,
    files: u64,
    folders: u64,
    others: u64,
    bytes: u64,
    stored_bytes: u64,
    errors: u64,
    signer: String,
    origin: &'static str,
}

impl<'a> Report<'a> {
    fn of(found: &'a Found) -> Self {
        Self {
            id: found.name.backup.to_string(),
            host: found.name.host.as_str(),
            set: found.name.set.as_str(),
            time: rfc_3339(found.start()),
            end: rfc_3339(found.end),
            stored: rfc_3339(found.stored),
            status: found.status.to_string(),
            hidden: found.hidden,
            given: found.given.to_string(),
            files: found.counts.files,
            folders: found.counts.folders,
            others: found.counts.others,
            bytes: found.counts.bytes,
            stored_bytes: found.stored_bytes,
            errors: found.counts.errors,
            signer: found.signer.to_string(),
            origin: origin(found),
        }
    }
}

pub(crate) fn run(arguments: &arguments::List) -> Result<(), Failure> {
    let progress = Progress::silent();
    let source = OpenStore::new(&arguments.store, &progress)?;
    let listed = operations::list(&*source.store, &source.scope, &source.pins, &progress);
    conclude(listed.map_err(Failure::from).and_then(|all| print(&all, arguments.json, &source)), &progress)
}

fn print(all: &[Found], json: bool, source: &OpenStore) -> Result<(), Failure> {
    if all.is_empty() && !json {
        // A bucket cannot tell a prefix that is mistyped from a new store: its name helps.
        terminal::warning(&format!("{}: there is no backup in the store", source.location));
        return Ok(());
    }
    let text = if json { as_json(all) } else { as_table(all) };
    written(io::stdout().write_all(text.as_bytes()))
}

fn origin(found: &Found) -> &'static str {
    match found.trust {
        Verdict::Pinned => "proven",
        Verdict::NoPins => "unproven",
        Verdict::NotPinned => "untrusted",
    }
}

fn as_json(all: &[Found]) -> String {
    // Strings and numbers: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(&all.iter().map(Report::of).collect::<Vec<_>>()).unwrap_or_default();
    text.push('\n');
    text
}

const HEADINGS: [&str; 9] = ["HOST", "SET", "BACKUP", "START (UTC)", "STATUS", "FILES", "SIZE", "STORED", "ORIGIN"];

/// Which columns hold numbers.
const RIGHT: [usize; 3] = [5, 6, 7];

fn as_table(all: &[Found]) -> String {
    let row = |found: &Found| {
        [
            found.name.host.to_string(),
            found.name.set.to_string(),
            found.name.backup.to_string(),
            words::date_and_time(found.start()),
            if found.hidden { "hidden".to_owned() } else { found.status.to_string() },
            found.counts.files.to_string(),
            words::size(found.counts.bytes),
            words::size(found.stored_bytes),
            origin(found).to_owned(),
        ]
    };
    words::table(HEADINGS, all.iter().map(row), &RIGHT)
}
