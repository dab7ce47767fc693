//! `offsite find`

use std::io;
use std::ops::ControlFlow;

use offsite::operations::backups::Found;
use offsite::operations::find::{Find, Globs, Next, Searched, Version, find};
use offsite::receipt::rfc_3339;
use serde::Serialize;

use crate::arguments;
use crate::commands::entry::{self, columns};
use crate::commands::printer::Printer;
use crate::commands::{Failure, OpenStore, conclude, private_key, temporary_folder, written};
use crate::terminal::{self, Progress};
use crate::words::counted;

/// A version in the JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report {
    host: String,
    set: String,
    #[serde(flatten)]
    entry: entry::Report,
    /// The first backup that holds it.
    first: Backup,
    /// The last one.
    last: Backup,
    /// How many do.
    backups: usize,
    /// `there`, `changed`, `gone`.
    after: &'static str,
    /// The backup that holds another version, or nothing; null where the latest one holds this.
    next: Option<Backup>,
}

#[derive(Serialize)]
struct Backup {
    id: String,
    /// The earlier of its start and of when the store says that it was put.
    time: String,
}

impl Backup {
    fn of(found: &Found) -> Self {
        Self { id: found.name.backup.to_string(), time: rfc_3339(found.time()) }
    }
}

pub(crate) fn run(arguments: &arguments::Find) -> Result<(), Failure> {
    let progress = Progress::silent();
    let globs = Globs::new(&arguments.globs)?;
    let source = OpenStore::new(&arguments.store, &progress)?;
    conclude(print(arguments, &globs, &source, &progress), &progress)
}

fn print(arguments: &arguments::Find, globs: &Globs, source: &OpenStore, progress: &Progress) -> Result<(), Failure> {
    let key = private_key(&arguments.key)?;
    let folder = temporary_folder();
    let OpenStore { store, scope, pins, .. } = source;
    let what = Find {
        store: &**store,
        scope,
        pins,
        key: &key,
        globs,
        as_of: arguments.as_of,
        folder: &folder,
        events: progress,
    };
    let mut list = List { printer: Printer::new(arguments.json), set: None };
    let mut output = Ok(());
    let searched = find(&what, &mut |version| {
        output = list.version(&version);
        if output.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let count = list.printer.count();
    if output.is_ok() {
        output = list.printer.end(searched.is_ok());
    }
    let Searched { backups, unopened, .. } = searched?;
    written(output)?;
    terminal::note(&format!("{} in {}", counted(count, "version"), counted(backups as u64, "backup")));
    if unopened > 0 { Err(Failure::Partial) } else { Ok(()) }
}

struct List {
    printer: Printer,
    /// The set at hand.
    set: Option<String>,
}

impl List {
    fn version(&mut self, version: &Version<'_>) -> io::Result<()> {
        let name = &version.first.name;
        let set = format!("{}/{}", name.host, name.set);
        let is_other = self.set.as_ref() != Some(&set);
        let headed = |line| if is_other { format!("{}{line}", heading(&set, self.set.is_none())) } else { line };
        self.printer.thing(|| headed(line(version)), || report(version))?;
        self.set = Some(set);
        Ok(())
    }
}

/// What stands above the versions of a set.
fn heading(set: &str, is_first: bool) -> String {
    let columns = row("FIRST BACKUP", "LAST BACKUP", "BACKUPS", "AFTER", &["MODE", "SIZE", "MODIFIED (UTC)", "PATH"]);
    format!("{}{set}\n{columns}\n", if is_first { "" } else { "\n" })
}

fn line(version: &Version<'_>) -> String {
    let id = |found: &Found| found.name.backup.to_string();
    let entry = columns(&version.entry);
    let (first, last) = (id(version.first), id(version.last));
    let entry = [&*entry.mode, &entry.size, &entry.mtime, &entry.name];
    row(&first, &last, &version.backups.to_string(), after(version), &entry)
}

fn row(first: &str, last: &str, backups: &str, after: &str, entry: &[&str; 4]) -> String {
    let [mode, size, mtime, name] = entry;
    format!("{first:25}  {last:25}  {backups:>7}  {after:7}  {mode:10}  {size:>12}  {mtime:19}  {name}")
}

fn after(version: &Version<'_>) -> &'static str {
    match version.next {
        Next::Nothing => "there",
        Next::Changed(_) => "changed",
        Next::Gone(_) => "gone",
    }
}

fn report(version: &Version<'_>) -> Report {
    let next = match version.next {
        Next::Nothing => None,
        Next::Changed(found) | Next::Gone(found) => Some(Backup::of(found)),
    };
    let name = &version.first.name;
    Report {
        host: name.host.to_string(),
        set: name.set.to_string(),
        entry: entry::report(&version.entry),
        first: Backup::of(version.first),
        last: Backup::of(version.last),
        backups: version.backups,
        after: after(version),
        next,
    }
}
