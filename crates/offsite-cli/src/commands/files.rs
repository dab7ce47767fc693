//! `offsite files`

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;

use offsite::operations;
use offsite::operations::backups::{Backup, Selection};

use crate::arguments;
use crate::commands::entry::{line, report};
use crate::commands::printer::Printer;
use crate::commands::{Failure, OpenStore, conclude, private_key, written};
use crate::terminal::Progress;

pub(crate) fn run(arguments: &arguments::Files) -> Result<(), Failure> {
    let progress = Progress::silent();
    let source = OpenStore::new(&arguments.of.store, &progress)?;
    conclude(print(arguments, &source, &progress), &progress)
}

fn print(arguments: &arguments::Files, source: &OpenStore, progress: &Progress) -> Result<(), Failure> {
    // What there is to know without the key comes before a passphrase is asked.
    let found = source.choose(arguments.of.which(), progress)?;
    let key = private_key(&arguments.of.key)?;
    let backup = Backup::open(&*source.store, &key, &found)?;
    let selection = Selection::new(arguments.paths.iter().map(|path| path.clone().into_vec()));
    let mut list = Printer::new(arguments.json);
    let mut output = Ok(());
    let listed = operations::files(&backup, selection, &mut |entry| {
        output = list.thing(|| line(&entry), || report(&entry));
        if output.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if output.is_ok() {
        output = list.end(matches!(listed, Ok(()) | Err(offsite::Error::NoSuchPath(_))));
    }
    listed?;
    written(output)
}
