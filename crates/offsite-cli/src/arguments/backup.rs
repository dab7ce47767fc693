//! `offsite backup`

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use offsite::plan::StreamName;

use crate::arguments::common::{Ping, Threads, ToStore};
use crate::arguments::values::{PlaceArgument, duration, place, rate, slice_size};

/// Back up files, or a stream, to a store
///
/// Everything is encrypted to the certificates: this host cannot read what it has stored. Paths are
/// stored as given, without the leading slash. What cannot be read is named, the rest is backed up
/// all the same, and the exit code is 3. The first backup of a set stores everything, each later one what
/// has changed; an interrupted one is none, and the next uses what it has put. Where standard error is no terminal,
/// as under cron, success is silent.
///
/// The host keeps a state and a signing key, which is made by the first backup:
/// /var/lib/offsite and /etc/offsite/signing-key.pem for root, else below ~/.local/state and
/// ~/.config. OFFSITE_STATE_DIR and OFFSITE_SIGNING_KEY name others.
#[derive(Args)]
#[command(override_usage = usage("-r <CERT> --to <STORE> "))]
#[command(after_help = "Examples:
  offsite backup -r acme-cert.pem -r failsafe-cert.pem \\
      --to /mnt/backups /etc /srv
  offsite backup -r acme-cert.pem --to 's3://acme-backups?region=eu-1' /etc /srv
  offsite backup -r acme-cert.pem --to /mnt/backups --set db \\
      --exec db.sql -- pg_dumpall

A command that fails leaves no backup. The exit code of what writes into --stdin is not seen. Neither --ping \
nor --metrics tells of a --dry-run.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something could not be read.")]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) store: ToStore,
    /// Back up standard input, as a file of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["exec", "arguments"])]
    pub(crate) stdin: Option<StreamName>,
    /// Back up what a command writes to its standard output, as a file of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) exec: Option<StreamName>,
    /// Leave out what matches (gitignore syntax; a leading slash stands for the root)
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Store folders with a CACHEDIR.TAG empty
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Store folders that hold something of this name empty
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<OsString>,
    /// Do not enter other file systems than those of the paths
    #[arg(long)]
    pub(crate) one_file_system: bool,
    /// Read paths from this file, each ended by a NUL; '-' is standard input
    #[arg(long, value_name = "FILE", value_parser = place(), conflicts_with_all = ["stdin", "exec", "arguments"])]
    pub(crate) files_from0: Option<PlaceArgument>,
    /// Store everything again, whatever earlier backups hold. Makes these paths the set's, if it had
    /// others
    #[arg(long)]
    pub(crate) full: bool,
    /// Do not take a file for changed because its ctime did, where a file system does not keep it
    #[arg(long)]
    pub(crate) ignore_ctime: bool,
    /// Do not take a file for changed because its inode number did, as on network file systems
    #[arg(long)]
    pub(crate) ignore_inode: bool,
    /// No object that a backup needs is older than this: 90d, 12w. What has not changed is stored again,
    /// a little with each run, before it is older
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    pub(crate) reuse_for: u64,
    /// Length of each stored object, from 1M to 512M
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = slice_size)]
    pub(crate) slice_size: usize,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Send at most so many bytes a second: 500K, 10M. A store in a directory takes no notice
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_upload: Option<NonZero<u64>>,
    /// Only tell how much would be backed up; put nothing
    #[arg(short = 'n', long, conflicts_with_all = ["stdin", "exec"])]
    pub(crate) dry_run: bool,
    /// Wait while another backup of the set is running
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) ping: Ping,
    /// Write metrics of the run to this file, for the textfile collector of Prometheus's node_exporter: a file ending
    /// in .prom, another for each set
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// What to back up; with --exec the command
    #[arg(value_name = "PATH", required_unless_present_any = ["stdin", "exec", "files_from0"])]
    pub(crate) arguments: Vec<OsString>,
}

/// The three forms of the command, each with what must be said.
pub(super) fn usage(needed: &str) -> String {
    ["<PATH>...", "--stdin <NAME>", "--exec <NAME> -- <CMD>..."]
        .map(|source| format!("offsite backup [OPTIONS] {needed}{source}"))
        .join("\n       ")
}
