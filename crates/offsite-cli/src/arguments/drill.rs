//! `offsite drill`

use std::path::PathBuf;

use clap::Args;
use offsite::operations::backups::Which;

use crate::arguments::common::{FromStore, Ping, Threads};
use crate::arguments::values::which;

/// Prove that backups can be restored, and report it; always needs a key
///
/// Restores the latest backup of each host and set into nothing, or into a folder: everything is read, verified
/// and compared with the index, and the plan for stock tools with both. --quick takes seconds: each key opens one
/// object of everything that a restore needs. The report, fit for an auditor, says what was proven, what was
/// not, and for which recipients. A backup that fails does not keep the others from being drilled.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite drill --from /mnt/backups --signer signers/ -k acme-PRIVATE.pem \\
      --report drills/
  offsite drill --from /mnt/backups --signer signers/ -k acme-PRIVATE.pem \\
      -k failsafe-PRIVATE.pem --quick

Exit codes: 0 everything is proven, 1 failed, 2 wrong usage, 3 something could not be made or set in DIR \
though all data are right, 4 something is damaged, not trusted, or does not open.")]
pub(crate) struct Drill {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// File with the private key, with or without its certificate. Repeat it to prove more keys: each must open
    /// everything; the first that does restores
    #[arg(short, long = "key", value_name = "PRIVATE", required = true)]
    pub(crate) keys: Vec<PathBuf>,
    /// Unlock the private keys by the first line of this file; or give one file for each key, in their order
    #[arg(long = "passphrase-file", value_name = "FILE")]
    pub(crate) passphrase_files: Vec<PathBuf>,
    /// Which backup: an id, as `offsite list` shows them, of one set; or of each set the latest
    #[arg(long, value_name = "ID", default_value = "latest", value_parser = which)]
    pub(crate) backup: Which,
    /// Prove only that the keys open the backups; not that all data are there
    #[arg(long)]
    pub(crate) quick: bool,
    /// Restore into DIR/HOST/SET instead of into nothing; DIR is made, or empty
    #[arg(long, value_name = "DIR", conflicts_with = "quick")]
    pub(crate) into: Option<PathBuf>,
    /// Write the report to this file (Markdown), and beside it as JSON: drill.md and drill.json. Neither may
    /// exist. In a folder their names hold the time: drill-20261123T074500Z.md. Without it the report goes to
    /// standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) ping: Ping,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
