//! `offsite restore`

use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use offsite::archive::unpack::Existing;
use offsite::files::{Output, Place};
use offsite::names::BackupName;
use offsite::operations::backups::Backup;
use offsite::operations::restore::{Restore, Restored, To, check_target, restore_backup};
use serde::Serialize;

use crate::arguments::{self, PlaceArgument};
use crate::commands::{
    Failure, OpenStore, conclude, not_replaced, private_key, refuse_terminal, temporary_folder, written,
};
use crate::terminal::{self, Progress};
use crate::words::counted;

pub(crate) fn run(arguments: &arguments::Restore) -> Result<(), Failure> {
    let progress = Progress::silent();
    let source = OpenStore::new(&arguments.of.store, &progress)?;
    let output = output(arguments);
    if let Some(output) = &output {
        refuse_terminal(output, "send it to a file or a pipe")?;
    }
    let restored = perform(arguments, &source, output.as_ref(), &progress);
    progress.clear();
    let told = restored.and_then(|(name, restored)| tell(arguments, &name, &restored, output.as_ref(), &progress));
    conclude(told, &progress)
}

/// Where a tar, or a stream, goes.
fn output(arguments: &arguments::Restore) -> Option<Place> {
    match &arguments.tar {
        _ if arguments.dry_run => None,
        Some(tar) => Some(PlaceArgument::or_standard(Some(tar))),
        None => arguments.stdout.then_some(Place::Standard),
    }
}

fn perform(
    arguments: &arguments::Restore,
    source: &OpenStore,
    output: Option<&Place>,
    progress: &Progress,
) -> Result<(BackupName, Restored), Failure> {
    // What there is to know without the key comes before a passphrase is asked.
    let found = source.choose(arguments.of.which(), progress)?;
    if progress.is_damaged() {
        terminal::warning(&format!("of the receipts that are sound, {} is the one chosen", found.name.backup));
    }
    let existing = match (arguments.resume, arguments.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Replace,
        _ => Existing::Refuse,
    };
    let into = arguments.into.as_deref().filter(|_| !arguments.dry_run);
    if let Some(into) = into {
        check_target(into, existing)?;
    }
    let key = private_key(&arguments.of.key)?;
    progress.show(None, output);
    let backup = Backup::open(&*source.store, &key, &found)?;
    let paths: Vec<Vec<u8>> = arguments.paths.iter().map(|path| path.clone().into_vec()).collect();
    let folder = temporary_folder();
    let threads = arguments.threads.number();
    let what = Restore { paths: &paths, keep_going: arguments.keep_going, folder: &folder, threads };
    let restored = match (into, output) {
        (Some(path), _) => restore_backup(&what, To::Folder { path, existing }, &backup, progress)?,
        (_, Some(place)) => {
            let mut out = BufWriter::with_capacity(1 << 20, Output::create(place, false).map_err(not_replaced)?);
            let to = if arguments.stdout { To::Content(&mut out) } else { To::Tar(&mut out) };
            let restored = restore_backup(&what, to, &backup, progress)?;
            let failed = |source| offsite::Error::File { action: "write", path: name(place), source };
            let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
            out.finish()?;
            restored
        }
        _ => restore_backup(&what, To::Nothing, &backup, progress)?,
    };
    Ok((found.name, restored))
}

fn name(place: &Place) -> PathBuf {
    place.path().map_or_else(|| "standard output".into(), PathBuf::from)
}

fn entry_count(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}

/// The summary as `--json` prints it.
#[derive(Serialize)]
struct Json {
    id: String,
    host: String,
    set: String,
    dry_run: bool,
    entries: u64,
    lost: u64,
    kept: u64,
    problems: u64,
}

/// Tells what was done; whether all of it was.
fn tell(
    arguments: &arguments::Restore,
    name: &BackupName,
    restored: &Restored,
    output: Option<&Place>,
    progress: &Progress,
) -> Result<(), Failure> {
    let Restored { entries, lost, files, .. } = *restored;
    let problems = progress.problems();
    if arguments.json {
        let BackupName { host, set, backup } = name;
        let (id, host, set) = (backup.to_string(), host.to_string(), set.to_string());
        let json = Json { id, host, set, dry_run: arguments.dry_run, entries, lost, kept: files.kept, problems };
        if output == Some(&Place::Standard) {
            terminal::summary(&json);
        } else {
            let text = serde_json::to_string_pretty(&json).unwrap_or_default();
            written(writeln!(io::stdout(), "{text}"))?;
        }
    }
    let done = if arguments.dry_run { "verified" } else { "restored" };
    let kept = if files.kept > 0 { format!(", {} of them there before", files.kept) } else { String::new() };
    terminal::note(&format!("{done}: {}{kept}, of {}", entry_count(entries - lost), name.backup));
    if lost > 0 {
        terminal::error(&format!("lost: {}", entry_count(lost)));
        return Err(Failure::Reported);
    }
    if progress.owners() > 0 {
        terminal::warning(&format!("owner and group of {} entries could not be set: only root can", progress.owners()));
    }
    if problems > 0 {
        let things = counted(problems, "thing");
        terminal::warning(&format!("{things} could not be made or set here, though all data are right"));
        return Err(Failure::Partial);
    }
    Ok(())
}
