//! `offsite diff`

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;

use offsite::index::{Entry, escaped};
use offsite::operations::backups::{Backup, Selection, choose_two};
use offsite::operations::diff::{Change, Difference, diff};
use serde::Serialize;

use crate::arguments;
use crate::commands::entry::{self, columns, line, target_of, time_of};
use crate::commands::printer::Printer;
use crate::commands::{Failure, OpenStore, conclude, private_key, written};
use crate::terminal::{self, Progress};
use crate::words::counted;

/// A path that differs in the JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report {
    path: String,
    /// `added`, `removed`, `changed`.
    difference: &'static str,
    /// What has changed.
    changes: Vec<&'static str>,
    /// What the older backup has; null where it has nothing.
    old: Option<entry::Report>,
    /// What the newer one has.
    new: Option<entry::Report>,
}

pub(crate) fn run(arguments: &arguments::Diff) -> Result<(), Failure> {
    let progress = Progress::silent();
    let source = OpenStore::new(&arguments.store, &progress)?;
    conclude(print(arguments, &source, &progress), &progress)
}

fn print(arguments: &arguments::Diff, source: &OpenStore, progress: &Progress) -> Result<(), Failure> {
    let OpenStore { store, scope, pins, .. } = source;
    // What there is to know without the key comes before a passphrase is asked.
    let [old, new] = choose_two(&**store, scope, [arguments.old, arguments.new], pins, progress)?;
    let key = private_key(&arguments.key)?;
    let open = |found| Backup::open(&**store, &key, found);
    let selection = Selection::new(arguments.paths.iter().map(|path| path.clone().into_vec()));
    let mut list = Printer::new(arguments.json);
    let mut output = Ok(());
    let compared = diff(&open(&old)?, &open(&new)?, selection, &mut |difference| {
        output = list.thing(|| words(&difference), || report(&difference));
        if output.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let count = list.count();
    if output.is_ok() {
        output = list.end(matches!(compared, Ok(()) | Err(offsite::Error::NoSuchPath(_))));
    }
    compared?;
    written(output)?;
    let between = format!("between {} and {}", old.name.backup, new.name.backup);
    terminal::note(&format!("{} {between}", counted(count, "difference")));
    Ok(())
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::Removed(old) => format!("removed {}", line(old)),
        Difference::Changed { old, new, changes } => {
            let before: Vec<String> = changes.iter().map(|change| before(*change, old)).collect();
            format!("changed {} (was: {})", line(new), before.join(", "))
        }
        Difference::Added(new) => format!("added   {}", line(new)),
    }
}

/// What something of an entry was.
fn before(change: Change, old: &Entry) -> String {
    let was = columns(old);
    match change {
        Change::Kind => entry::report(old).kind.to_owned(),
        Change::Size => format!("size {}", was.size),
        Change::Time => format!("time {}", time_of(old)),
        Change::Mode => format!("mode {}", was.mode),
        Change::Owner => format!("owner {} {}", old.inode.uid, old.inode.gid),
        Change::Target => format!("target {}", target_of(old)),
        Change::Device => format!("device {}", was.size),
        Change::Torn if old.torn => "changed while it was read".to_owned(),
        Change::Torn => "not changed while it was read".to_owned(),
        Change::Content => "other content".to_owned(),
    }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Kind => "kind",
        Change::Size => "size",
        Change::Time => "mtime",
        Change::Mode => "mode",
        Change::Owner => "owner",
        Change::Target => "target",
        Change::Device => "device",
        Change::Torn => "torn",
        Change::Content => "content",
    }
}

fn report(difference: &Difference) -> Report {
    let (word, changes, old, new) = match difference {
        Difference::Removed(old) => ("removed", Vec::new(), Some(old), None),
        Difference::Changed { old, new, changes } => {
            ("changed", changes.iter().copied().map(word).collect(), Some(old), Some(new))
        }
        Difference::Added(new) => ("added", Vec::new(), None, Some(new)),
    };
    let path = old.or(new).map(|entry| escaped(&entry.path)).unwrap_or_default();
    Report { path, difference: word, changes, old: old.map(entry::report), new: new.map(entry::report) }
}
