//! `offsite restore`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::arguments::common::{OneBackup, Threads};
use crate::arguments::values::{PlaceArgument, place};

/// Restore a backup, or some of it
///
/// Everything is verified before it is used. A whole backup is compared with its own plan first.
#[derive(Args)]
#[command(group(ArgGroup::new("to").required(true).args(["into", "tar", "stdout", "dry_run"])))]
#[command(after_help = "Examples:
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --into /srv/restored
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --into /srv/restored \\
      --as-of 2026-10-31 /etc/ssh /home/ann
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --set db \\
      --stdout | psql

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something could not be made or set here though all \
data are right, 4 something in the store is damaged.")]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) of: OneBackup,
    /// Restore into this folder; it is made, or empty
    #[arg(long, value_name = "DIR", group = "output")]
    pub(crate) into: Option<PathBuf>,
    /// Write a tar to this file; '-' is standard output
    #[arg(long, value_name = "OUT", value_parser = place(), group = "output")]
    pub(crate) tar: Option<PlaceArgument>,
    /// Write a stream, or the content of the one file that is named, to standard output
    #[arg(long, group = "output")]
    pub(crate) stdout: bool,
    /// Go on with a restore: keep files in DIR whose size and time are right
    #[arg(long, requires = "into", conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Replace what is in DIR, folders aside
    #[arg(long, requires = "into")]
    pub(crate) overwrite: bool,
    /// Read and verify everything, and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Restore what is whole where something is damaged, and tell what is lost
    #[arg(long)]
    pub(crate) keep_going: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print a summary as JSON; to standard error beside other output
    #[arg(long)]
    pub(crate) json: bool,
    /// Only these paths and what lies below them; all without it
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
}
