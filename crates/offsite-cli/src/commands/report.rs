//! `offsite report`

mod chart;
mod details;
mod document;
mod drills;
mod findings;
mod html;
mod overview;
mod page;
mod parts;
mod recipients;
mod state;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use offsite::files::{Output, Place};
use offsite::names::{HostName, SetName};
use offsite::operations::backups::Scope;
use offsite::operations::report::{Reported, report};
use offsite::operations::verify::{Seen, Verify};
use time::OffsetDateTime;

use crate::arguments;
use crate::commands::{Failure, OpenStore, conclude, seconds, written};
use crate::terminal::{self, Progress};
use crate::words::counted;
use drills::{Drills, Files};
use page::{Origin, Page};
use state::{Level, rows};

pub(crate) fn run(arguments: &arguments::Report) -> Result<(), Failure> {
    let progress = Progress::silent();
    let now = OffsetDateTime::now_utc();
    if arguments.output() == Place::Standard && io::stdout().is_terminal() {
        let text = "standard output is a terminal, and a page is for a browser".to_owned();
        return Err(Failure::Usage { text, hint: "write it to a file with -o report.html" });
    }
    // What would be in vain in the end is tried first.
    let output = Output::create(&arguments.output(), arguments.force)?;
    let files = arguments.drills.as_deref().map(Files::list).transpose()?;
    let mut seen = seen(arguments)?;
    let source = OpenStore::new(&arguments.store, &progress)?;
    let what = Verify {
        store: &*source.store,
        scope: &source.scope,
        pins: &source.pins,
        now,
        max_age: arguments.expected.max_age.map(seconds),
        retention: arguments.expected.retention.map(seconds),
        data: None,
        events: &progress,
    };
    let result = report(&what, &mut seen).map_err(Failure::from).and_then(|reported| {
        let drills = files.as_ref().map(|files| Drills::read(files, &|host, set| has(&reported, host, set), now));
        let rows = rows(&reported, drills.as_ref());
        let page = Page {
            store: source.location.to_string(),
            as_of: arguments.store.store_as_of,
            scope: scope(&source.scope),
            now,
            max_age: what.max_age,
            retention: what.retention,
            origin: match (source.pins.is_empty(), &arguments.seen) {
                (false, _) => Origin::Pinned,
                (true, Some(_)) => Origin::Seen,
                (true, None) => Origin::NotProven,
            },
            recipients: recipients::over_all(&reported, &rows),
            rows,
            reported: &reported,
            drills: drills.as_ref(),
        };
        write(&page, output, &arguments.output())?;
        conclusion(&page)
    });
    conclude(result, &progress)
}

/// What earlier verifications have seen. They are not those of this command, which notes nothing.
fn seen(arguments: &arguments::Report) -> Result<Seen, Failure> {
    let Some(path) = &arguments.seen else { return Ok(Seen::default()) };
    Seen::read(path)?.ok_or_else(|| Failure::Usage {
        text: format!("{} is not there", offsite::shown(path)),
        hint: "`offsite verify --seen` makes it, and keeps it up to date",
    })
}

fn has(reported: &Reported, host: &HostName, set: &SetName) -> bool {
    reported.sets.binary_search_by(|known| (&known.host, &known.set).cmp(&(host, set))).is_ok()
}

/// What of the store was looked at, if not all.
fn scope(scope: &Scope) -> Option<String> {
    match (&scope.host, &scope.set) {
        (None, None) => None,
        (Some(host), None) => Some(host.to_string()),
        (None, Some(set)) => Some(format!("every host's {set}")),
        (Some(host), Some(set)) => Some(format!("{host}/{set}")),
    }
}

fn write(page: &Page<'_>, output: Output, place: &Place) -> Result<(), Failure> {
    let path = output.path().to_path_buf();
    let mut out = BufWriter::with_capacity(64 << 10, output);
    let result = document::write(page, &mut out).and_then(|()| out.flush());
    if *place == Place::Standard {
        return written(result);
    }
    result.map_err(|source| offsite::Error::File { action: "write", path, source })?;
    let (output, _) = out.into_parts();
    Ok(output.finish()?)
}

/// What is wrong the page says; here how much it is.
fn conclusion(page: &Page<'_>) -> Result<(), Failure> {
    let findings = page.reported.findings.len() as u64;
    if findings > 0 {
        terminal::error(&format!("{} in the store", counted(findings, "finding")));
        terminal::hint("the page says what to do about each, and so does `offsite verify`");
    }
    let drills = page.rows.iter().filter(|row| row.has_failed_a_drill()).count() as u64;
    if drills > 0 {
        terminal::error(&format!("the last drill of {} has failed", counted(drills, "set")));
    }
    if page.level() == Level::Bad { Err(Failure::Damaged) } else { Ok(()) }
}
