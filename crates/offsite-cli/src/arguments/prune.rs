//! `offsite prune`

use clap::Args;

use crate::arguments::common::{FromStore, Ping};
use crate::arguments::values::period;

/// Remove old backups, and what nothing needs any more; needs no key
///
/// Only tells what it would do, unless --confirm is given. Keeps every backup that any rule keeps, and in any case
/// the latest and the newest whole one of each set; of everything else what a kept backup needs, and what is
/// younger than --reuse-for of its backups and a week. Ages are those that the store tells. Where anything among
/// the receipts of a set is not as it must be, or anything is missing of what is kept, nothing of this set is
/// removed. Run it away from the servers that are backed up, with a --signer for each, by a credential that they do
/// not have.
#[derive(Args)]
// Whoever asks for it is told why not.
#[command(mut_arg("store_as_of", |as_of| as_of.hide(true)))]
#[command(after_help = "Examples:
  offsite prune --from /mnt/backups --signer signers/ --keep-within 30d
  offsite prune --from s3://acme-backups --signer signers/ --keep-within 30d \\
      --keep-weekly 8 --keep-monthly 12 --confirm

Days, weeks and so on are those of UTC, and only those count in which there is a backup; the newest whole one of \
each is kept.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the store did not let everything go, 4 something is wrong in the \
store, and the sets that are named are left as they are.")]
pub(crate) struct Prune {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// Keep all backups that are not older: 26h, 30d, 12w. The other rules can be filled with backups of their own
    /// making by whoever can put
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) keep_within: u64,
    /// Keep so many of the newest
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_last: u32,
    /// Keep one of each of the last N days
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_daily: u32,
    /// Keep one of each of the last N weeks
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_weekly: u32,
    /// Keep one of each of the last N months
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_monthly: u32,
    /// Keep one of each of the last N years
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_yearly: u32,
    /// Remove, and not only tell
    #[arg(long)]
    pub(crate) confirm: bool,
    #[command(flatten)]
    pub(crate) ping: Ping,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
