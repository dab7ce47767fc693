//! `offsite diff`

use std::ffi::OsString;

use clap::Args;
use offsite::operations::backups::Which;

use crate::arguments::common::{FromStore, Key, of_one_set};
use crate::arguments::values::which_or_time;

/// Tell what differs between two backups of a set
///
/// One line a path: 'added', 'removed' or 'changed'; permissions, owner, group, size, time (UTC) and path, of what has
/// changed as it is in NEW; then what it was in OLD. Compared are kind, size, time, permissions, owner and targets, as
/// the backups' indexes have them: no content is read, and a file of the same size and time counts as unchanged.
#[derive(Args)]
#[command(mut_args(of_one_set))]
#[command(after_help = "Examples:
  offsite diff --from /mnt/backups -k acme-PRIVATE.pem --host web-1 \\
      20261122T074500Z-00000002 latest
  offsite diff --from /mnt/backups -k acme-PRIVATE.pem --host web-1 \\
      2026-10-31 2026-11-30 /etc

Exit codes: 0 done, whether anything differs or not: with nothing that differs nothing is printed, and [] with --json; \
1 failed; 2 wrong usage; 4 something in the store is damaged.")]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) store: FromStore,
    #[command(flatten)]
    pub(crate) key: Key,
    /// Print JSON: an array, in which names have their bytes that are not UTF-8, and %, as %XX
    #[arg(long)]
    pub(crate) json: bool,
    /// The one backup: an id, as `offsite list` shows them; latest; or a time, for the latest backup of then or earlier:
    /// 2026-11-23T07:45, in UTC unless a zone follows (+01:00), or 2026-11-23 for the end of that day
    #[arg(value_name = "OLD", value_parser = which_or_time)]
    pub(crate) old: Which,
    /// The other one, in the same way
    #[arg(value_name = "NEW", value_parser = which_or_time)]
    pub(crate) new: Which,
    /// Only these paths and what lies below them; all without it
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
}
