//! `offsite bake`

use std::path::Path;

use offsite::archive::excludes::{ExcludeRules, Excludes};
use offsite::operations::{self, Bake};
use offsite::shown;
use time::OffsetDateTime;

use crate::arguments::{self, PlaceArgument};
use crate::baked;
use crate::commands::{Failure, refuse_terminal};
use crate::terminal::{self, Progress};

/// The file of the program that is running, whatever has become of its name.
const PROGRAM: &str = "/proc/self/exe";

pub(crate) fn run(arguments: &arguments::Bake) -> Result<(), Failure> {
    let output = PlaceArgument::or_standard(Some(&arguments.output));
    refuse_terminal(&output, "name a file with -o, or use a pipe")?;
    let rules = ExcludeRules { patterns: &arguments.exclude, files: &[], caches: false, if_present: &[] };
    Excludes::new(&rules).map_err(|error| {
        let hint = "--exclude takes what stands in a line of a .gitignore";
        Failure::Usage { text: error.to_string(), hint }
    })?;
    let what = Bake {
        program: Path::new(PROGRAM),
        area: baked::area(),
        recipients: &arguments.recipients,
        store: arguments.to.as_deref(),
        options: arguments.options(),
        output: &output,
        replace: arguments.force,
        now: OffsetDateTime::now_utc(),
    };
    operations::bake(&what, &Progress::silent())?;
    if let Some(path) = output.path() {
        terminal::note(&format!("baked: {}: `{} version` shows what is in it", shown(path), shown(path)));
    }
    Ok(())
}
