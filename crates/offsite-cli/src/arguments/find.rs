//! `offsite find`

use clap::Args;
use time::OffsetDateTime;

use crate::arguments::common::{FromStore, Key};
use crate::arguments::values::day_or_moment;

/// Find files in all backups, and tell which backups hold which version
///
/// One line a version: the first and the last backup that hold it, how many do, what comes after (it is 'changed', or
/// 'gone', or still 'there' in the latest), permissions, size, time (UTC), path. Two backups hold the same version of a
/// path where kind, size, time, permissions, owner and targets are the same. Without --host and --set all hosts and
/// sets are searched.
///
/// A GLOB has the syntax of gitignore, as --exclude has. Without a slash in it, it matches names in any folder:
/// fstab, '*.conf'. With one, it matches whole paths: /etc/fstab, '/etc/*.conf', '/home/**/*.odt'. What a folder holds
/// matches by itself: '/etc/**' is all that lies below /etc. '!*.bak' takes away what others match.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite find --from /mnt/backups -k acme-PRIVATE.pem fstab
  offsite find --from /mnt/backups -k acme-PRIVATE.pem '/home/ann/**/*.odt'
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --into found \\
      --backup 20261123T074500Z-7f3a9c01 /etc/fstab

The last line restores what the first has found, from any backup from the first to the last that are told.

Exit codes: 0 done, also where nothing matches; 1 failed; 2 wrong usage; 3 there are backups that the private key \
does not open; 4 something in the store is damaged. The other backups are searched nevertheless.")]
pub(crate) struct Find {
    #[command(flatten)]
    pub(crate) store: FromStore,
    #[command(flatten)]
    pub(crate) key: Key,
    /// Only backups of that time or earlier, such as 2026-11-23T07:45, in UTC unless a zone follows (+01:00), or
    /// 2026-11-23 for the end of that day
    #[arg(long, value_name = "TIME", value_parser = day_or_moment)]
    pub(crate) as_of: Option<OffsetDateTime>,
    /// Print JSON: an array, in which names have their bytes that are not UTF-8, and %, as %XX
    #[arg(long)]
    pub(crate) json: bool,
    /// What to look for
    #[arg(value_name = "GLOB", required = true)]
    pub(crate) globs: Vec<String>,
}
