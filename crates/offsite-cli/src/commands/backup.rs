//! `offsite backup`

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use offsite::archive::excludes::{ExcludeRules, Excludes, ExcludesError};
use offsite::archive::roots::{Roots, RootsError};
use offsite::files::Place;
use offsite::operations::backup::{Backup, Ignored, Source, Summary, backup, survey};
use offsite::plan::StreamName;
use offsite::receipt::Counts;
use offsite::store::{self, Location, PutSettings, StoreId};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::arguments;
use crate::commands::{Failure, ThisHost, address, random, recipients};
use crate::metrics::Metrics;
use crate::terminal::{self, Progress, Words};
use crate::words::counted;
use crate::{host, monitor, words};

const PROGRAM: &str = concat!("offsite ", env!("CARGO_PKG_VERSION"));

pub(crate) fn run(arguments: arguments::Backup) -> Result<(), Failure> {
    if !arguments.dry_run {
        let named = arguments.store.host.clone().or_else(host::name);
        let metrics = |path: &PathBuf| Metrics::new(path, named.as_ref(), &arguments.store.set);
        monitor::begin("backup", address(&arguments.ping)?, arguments.metrics.as_ref().map(metrics));
    }
    let ThisHost { name, state, signing_key } = ThisHost::new(arguments.store.host.clone())?;
    let (source, _words) = source(&arguments, &state)?;
    let progress = Progress::new(None, None);
    let source = match source {
        Source::Files { roots, excludes, one_file_system, closed, .. } if arguments.dry_run => {
            let counts = survey(roots, excludes, one_file_system, &closed, &progress);
            progress.clear();
            return told(&counts?, None, arguments.json);
        }
        source => source,
    };
    let (id, chunk_key) = (random()?, random()?);
    let settings =
        PutSettings { new_id: StoreId::new(random()?), limit: arguments.limit_upload, notice: progress.notice() };
    let recipients = recipients(&arguments.store.recipients, &progress);
    let done = recipients.and_then(|recipients| {
        let store = store::open_for_put(&arguments.store.to, &settings)?;
        let what = Backup {
            host: &name,
            set: &arguments.store.set,
            store: store.as_ref(),
            store_name: &arguments.store.to.to_string(),
            state: &state,
            machine: &host::machine(),
            wait: arguments.wait,
            signing_key: &signing_key,
            slice_size: arguments.slice_size,
            threads: arguments.threads.number(),
            reuse_for: arguments.reuse_for,
            full: arguments.full,
            ignored: Ignored { changed: arguments.ignore_ctime, inode: arguments.ignore_inode },
            program: PROGRAM,
            clock: &OffsetDateTime::now_utc,
            random: id,
            chunk_key,
        };
        backup(&what, source, &recipients, &progress)
    });
    progress.clear();
    let summary = done?;
    told(&summary.counts, Some(&summary), arguments.json)
}

/// What is to be backed up, and what a command says meanwhile.
fn source(arguments: &arguments::Backup, state: &Path) -> Result<(Source, Option<Words>), Failure> {
    if let Some(name) = &arguments.stdin {
        return Ok((Source::Stdin(name.clone(), Box::new(io::stdin())), None));
    }
    if let Some(name) = &arguments.exec {
        return command(name, &arguments.arguments);
    }
    let paths = match &arguments.files_from0 {
        Some(list) => paths_from(&arguments::PlaceArgument::or_standard(Some(list)))?,
        None => arguments.arguments.iter().map(PathBuf::from).collect(),
    };
    let roots =
        Roots::new(&paths).map_err(|error| Failure::Usage { text: error.to_string(), hint: of_roots(&error) })?;
    any_is_there(&paths)?;
    let rules = ExcludeRules {
        patterns: &arguments.exclude,
        files: &arguments.exclude_from,
        caches: arguments.exclude_caches,
        if_present: &arguments.exclude_if_present,
    };
    let excludes =
        Excludes::new(&rules).map_err(|error| Failure::Usage { text: error.to_string(), hint: of_excludes(&error) })?;
    let mut closed = vec![state.to_path_buf()];
    if let Location::Directory(store) = &arguments.store.to {
        closed.push(store.clone());
    }
    let listed = arguments.files_from0.is_some();
    Ok((Source::Files { roots, excludes, one_file_system: arguments.one_file_system, closed, listed }, None))
}

/// What to write instead of paths that cannot be stored.
fn of_roots(error: &RootsError) -> &'static str {
    match error {
        RootsError::ParentFolder(_) => {
            "a backup keeps paths as they are given: write it from the root on, as /srv/tree"
        }
        RootsError::Overlap(..) => "name the upper one alone: what lies below it is backed up with it",
        RootsError::Collision(..) => {
            "write both from the root on, or back one of them up as a set of its own: --set NAME"
        }
        _ => "name files and folders, such as /etc /srv",
    }
}

/// What to write instead of excludes that cannot be used.
fn of_excludes(error: &ExcludesError) -> &'static str {
    match error {
        ExcludesError::Pattern { .. } | ExcludesError::Line { .. } => words::PATTERNS,
        ExcludesError::File { .. } => "--exclude-from takes the path of a file with a pattern on each line",
        ExcludesError::NoName(_) => "--exclude-if-present takes a name alone, without a folder, such as .nobackup",
        _ => "use fewer patterns, or shorter ones",
    }
}

/// A command whose output is backed up.
fn command(name: &StreamName, command: &[OsString]) -> Result<(Source, Option<Words>), Failure> {
    let Some(program) = command.first() else {
        let hint = "it comes after '--': --exec db.sql -- pg_dumpall --clean";
        return Err(Failure::Usage { text: "--exec NAME has no command".to_owned(), hint });
    };
    let failed = |source| offsite::Error::CommandNotStarted { program: program.into(), source };
    let (stderr, words) = terminal::words_of(&program.to_string_lossy()).map_err(failed)?;
    Ok((Source::Exec(name.clone(), command.to_vec(), stderr), words))
}

/// A path that is missing makes a backup partial. One of nothing would be the set's latest, though.
fn any_is_there(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut missing = None;
    for path in paths {
        match path.symlink_metadata() {
            Err(source) if source.kind() == io::ErrorKind::NotFound => missing = Some((path, source)),
            _ => return Ok(()),
        }
    }
    missing.map_or(Ok(()), |(path, source)| {
        Err(Failure::Library(offsite::Error::File { action: "read", path: path.clone(), source }))
    })
}

/// A list of paths, each ended by a NUL.
fn paths_from(list: &Place) -> Result<Vec<PathBuf>, Failure> {
    let failed = |source| {
        let path = list.path().unwrap_or(Path::new("standard input")).to_path_buf();
        Failure::Library(offsite::Error::File { action: "read", path, source })
    };
    let mut text = Vec::new();
    match list.path() {
        Some(path) => File::open(path).and_then(|mut file| file.read_to_end(&mut text)),
        None => io::stdin().read_to_end(&mut text),
    }
    .map_err(failed)?;
    let paths = text.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Ok(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
}

/// The summary as `--json` prints it, and others are told. Keys are only ever added, and none holds a name.
#[derive(Serialize)]
struct Json {
    id: Option<String>,
    dry_run: bool,
    files: u64,
    folders: u64,
    others: u64,
    bytes: u64,
    objects: Option<u64>,
    stored_bytes: Option<u64>,
    errors: u64,
    full: Option<bool>,
    end: Option<String>,
}

/// Tells what was done; whether all of it was.
fn told(counts: &Counts, summary: Option<&Summary>, json: bool) -> Result<(), Failure> {
    let Counts { files, folders, others, bytes, errors } = *counts;
    let report = Json {
        id: summary.map(|summary| summary.backup.to_string()),
        dry_run: summary.is_none(),
        files,
        folders,
        others,
        bytes,
        objects: summary.map(|summary| summary.objects),
        stored_bytes: summary.map(|summary| summary.stored_bytes),
        errors,
        full: summary.map(|summary| summary.full),
        end: summary.and_then(|summary| summary.end.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()),
    };
    monitor::count(&report);
    if json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}");
        written.map_err(|source| offsite::Error::File { action: "write", path: "standard output".into(), source })?;
    }
    let (files, folders, others) = (counted(files, "file"), counted(folders, "folder"), counted(others, "other"));
    let what = format!("{files}, {folders}, {others}, {}", words::size(bytes));
    match summary {
        Some(summary) => terminal::note(&format!(
            "backed up {what}; stored {} as {}",
            words::size(summary.stored_bytes),
            summary.backup
        )),
        None if !json => {
            let _ = writeln!(io::stdout(), "would back up {what}");
        }
        None => {}
    }
    if errors == 0 {
        return Ok(());
    }
    let things = counted(errors, "thing");
    terminal::warning(&match summary {
        Some(_) => format!("{things} could not be read, so the backup is partial"),
        None => format!("{things} could not be read, so the backup would be partial"),
    });
    Err(Failure::Partial)
}
