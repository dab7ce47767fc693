//! `offsite report`

use std::path::PathBuf;

use clap::Args;
use offsite::files::Place;

use crate::arguments::common::{Expected, FromStore};
use crate::arguments::values::{PlaceArgument, place};

/// Write a page that shows the state of a store; needs no key
///
/// One HTML file with everything in it, for a browser or a printer: of each host and set when it was backed up, how
/// much is stored, how old the latest backup is, who signed it and who can open it, when it was last drilled, and
/// what `offsite verify` finds, with what to do about it. Nothing in the page runs, and nothing is fetched by it. It is
/// written whatever is found; the exit code is then 4.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite report --from /mnt/backups --signer signers/ -o report.html
  offsite report --from s3://acme-backups --seen seen.json --max-age 26h \\
      --drills drills/ -o report.html --force

Exit codes: 0 nothing found, 1 failed, 2 wrong usage, 4 something is wrong in the store, or the last \
drill of a set has failed.")]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) store: FromStore,
    #[command(flatten)]
    pub(crate) expected: Expected,
    /// Compare with what `offsite verify --seen FILE` remembers, which is only read
    #[arg(long, value_name = "FILE", conflicts_with = "store_as_of")]
    pub(crate) seen: Option<PathBuf>,
    /// Folder of reports that `offsite drill --report` has left: tells when each set was last drilled, and by which
    /// keys. Of more than 1000 the last are read
    #[arg(long, value_name = "DIR")]
    pub(crate) drills: Option<PathBuf>,
    /// Replace an existing file, when the page is complete
    #[arg(long)]
    pub(crate) force: bool,
    /// File to write; standard output without it
    #[arg(short, long, value_name = "OUT", value_parser = place())]
    output: Option<PlaceArgument>,
}

impl Report {
    pub(crate) fn output(&self) -> Place {
        PlaceArgument::or_standard(self.output.as_ref())
    }
}
