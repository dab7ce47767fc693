//! `offsite drill`

mod markdown;
mod report;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use offsite::files::{Output, Place};
use offsite::operations::drill::{Blame, Candidates, Drill, Extent, Key, candidates, drill};
use offsite::receipt::rfc_3339;
use offsite::{Events as _, Warning, shown};
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::{Failure, OpenStore, address, not_replaced, private_key, temporary_folder, written};
use crate::terminal::{self, Progress};
use crate::{arguments, monitor, words};
use report::Report;

pub(crate) fn run(arguments: &arguments::Drill) -> Result<(), Failure> {
    monitor::begin("drill", address(&arguments.ping)?, None);
    let progress = Progress::silent();
    let start = OffsetDateTime::now_utc();
    // What would be in vain at the end of a long drill is tried before it.
    let files = arguments.report.as_deref().map(|path| Files::create(path, start)).transpose()?;
    if let Some(folder) = &arguments.into {
        make_empty(folder)?;
    }
    let source = OpenStore::new(&arguments.store, &progress)?;
    let report = perform(arguments, &source, start, &progress);
    progress.clear();
    let report = report?;
    monitor::count(&Counts { backups: report.backups.len(), failures: report.failures().count() });
    tell(&report, arguments, files)
}

fn perform(
    arguments: &arguments::Drill,
    source: &OpenStore,
    start: OffsetDateTime,
    progress: &Progress,
) -> Result<Report, Failure> {
    let clock = Instant::now();
    let OpenStore { store, scope, pins, .. } = source;
    let Candidates { sets, strays } = candidates(&**store, scope, arguments.backup, pins)?;
    if pins.is_empty() {
        progress.warn(Warning::OriginNotProven);
    }
    // What there is to know without the keys came before any passphrase is asked.
    let keys = keys(arguments)?;
    progress.show(None, None);
    let extent = match &arguments.into {
        _ if arguments.quick => Extent::Quick,
        Some(folder) => Extent::Into(folder),
        None => Extent::Full,
    };
    let folder = temporary_folder();
    let what = Drill { store: &**store, keys: &keys, extent, folder: &folder, threads: arguments.threads.number() };
    let mut report = Report::new(source, &what, arguments.store.store_as_of, start);
    report.add_failures(&strays);
    let mut outage = false;
    for set in &sets {
        let clock = Instant::now();
        let drilled = set.found.as_ref().filter(|_| !outage).map(|found| drill(&what, found, progress));
        outage |= drilled.as_ref().is_some_and(|drilled| drilled.outage);
        report.add(set, drilled.as_ref(), &keys, clock.elapsed());
    }
    report.end(clock.elapsed());
    Ok(report)
}

/// What others are told.
#[derive(Serialize)]
struct Counts {
    backups: usize,
    failures: usize,
}

/// Reads the keys; each passphrase is asked for, and the key made from it, once.
fn keys(arguments: &arguments::Drill) -> Result<Vec<Key>, Failure> {
    let arguments::Drill { keys, passphrase_files, .. } = arguments;
    if passphrase_files.len() > 1 && passphrase_files.len() != keys.len() {
        let text = format!("there are {} keys and {} passphrase files", keys.len(), passphrase_files.len());
        return Err(Failure::Usage { text, hint: "give one --passphrase-file for all keys, or one for each" });
    }
    let one_for_all = passphrase_files.first().filter(|_| passphrase_files.len() == 1);
    let read = |(number, path): (usize, &PathBuf)| {
        let passphrase_file = one_for_all.or(passphrase_files.get(number)).cloned();
        let private = private_key(&arguments::Key { key: path.clone(), passphrase_file })?;
        Ok(Key { path: path.clone(), private })
    };
    keys.iter().enumerate().map(read).collect()
}

/// Makes a folder, or sees to it that it is empty.
fn make_empty(folder: &Path) -> Result<(), Failure> {
    let failed = |action| move |source| offsite::Error::File { action, path: folder.to_path_buf(), source };
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return Ok(made.map_err(failed("make"))?),
    }
    if fs::read_dir(folder).map_err(failed("read"))?.next().is_none() {
        return Ok(());
    }
    terminal::error_with(&format!("{} is not empty", shown(folder)), Some("choose another folder"));
    Err(Failure::Reported)
}

/// The report's two files.
struct Files {
    markdown: Output,
    json: Output,
}

impl Files {
    /// Opens them. Older ones are never replaced.
    fn create(path: &Path, start: OffsetDateTime) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::Usage {
            text: format!("{} is {what}", shown(path)),
            hint: "name the report's Markdown file, or a folder for it; the JSON file is named after it",
        };
        // A name that ends so is meant as a folder's.
        if path.as_os_str().as_bytes().ends_with(b"/") && !path.exists() {
            let path = path.to_path_buf();
            fs::create_dir(&path).map_err(|source| offsite::Error::File { action: "create", path, source })?;
        }
        let markdown = match fs::metadata(path) {
            Ok(found) if found.is_dir() => path.join(format!("drill-{}.md", compact(start))),
            Ok(found) if !found.is_file() => return Err(wrong("no regular file")),
            _ => path.to_path_buf(),
        };
        let json = match markdown.extension() {
            Some(extension) if extension == "json" => return Err(wrong("the name of a JSON file")),
            Some(extension) if extension == "md" => markdown.with_extension("json"),
            _ => {
                let mut name = markdown.clone().into_os_string();
                name.push(".json");
                name.into()
            }
        };
        let create = |path| Output::create(&Place::Path(path), false).map_err(not_replaced);
        Ok(Self { markdown: create(markdown)?, json: create(json)? })
    }

    /// Gives both their names, complete.
    fn write(self, report: &Report) -> offsite::Result<()> {
        for (mut file, text) in [(self.markdown, markdown::of(report)), (self.json, report.json())] {
            let path = file.path().to_path_buf();
            file.write_all(text.as_bytes()).map_err(|source| offsite::Error::File { action: "write", path, source })?;
            file.finish().map_err(not_replaced)?;
        }
        Ok(())
    }
}

/// A time to the second, for the name of a file.
fn compact(time: OffsetDateTime) -> String {
    rfc_3339(time).replace(['-', ':'], "")
}

/// Files and tells what was proven; whether all was.
fn tell(report: &Report, arguments: &arguments::Drill, files: Option<Files>) -> Result<(), Failure> {
    let filed = files.map(|files| files.write(report));
    let printed = if arguments.json {
        written(io::stdout().write_all(report.json().as_bytes()))
    } else if matches!(filed, Some(Ok(()))) {
        Ok(())
    } else {
        // Also where it could not be filed in the end: it must not be lost.
        written(io::stdout().write_all(markdown::of(report).as_bytes()))
    };
    report.failures().for_each(|failure| terminal::error(&failure));
    let told = filed.unwrap_or(Ok(())).map_err(Failure::from).and(printed);
    let Err(failure) = conclusion(report) else { return told };
    if let Err(failure) = told {
        failure.report();
    }
    Err(failure)
}

/// What the report amounts to; each failure has been said.
fn conclusion(report: &Report) -> Result<(), Failure> {
    match report.worst {
        Some(Blame::Backup) => {
            terminal::hint("`offsite verify --data` says what is wrong in the store, and what to do about it");
            Err(Failure::Damaged)
        }
        Some(Blame::Key) => {
            terminal::hint("use the private key of a recipient that the backup was made for");
            Err(Failure::Damaged)
        }
        Some(Blame::Store | Blame::Machine) => Err(Failure::Reported),
        None if report.problems() > 0 => {
            let things = words::counted(report.problems(), "thing");
            terminal::warning(&format!("{things} could not be made or set here, though all data are right"));
            Err(Failure::Partial)
        }
        None => Ok(()),
    }
}
