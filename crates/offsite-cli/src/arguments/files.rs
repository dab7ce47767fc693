//! `offsite files`

use std::ffi::OsString;

use clap::Args;

use crate::arguments::common::OneBackup;

/// List the files in a backup
///
/// One line an entry: permissions, owner, group, size, time (UTC), path. Exits with 4 where something
/// in the store is damaged.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite files --from /mnt/backups -k acme-PRIVATE.pem
  offsite files --from /mnt/backups -k acme-PRIVATE.pem \\
      --backup 20261123T074500Z-7f3a9c01 /etc/ssh
  offsite files --from /mnt/backups -k acme-PRIVATE.pem --as-of 2026-10-31 /etc")]
pub(crate) struct Files {
    #[command(flatten)]
    pub(crate) of: OneBackup,
    /// Print JSON: an array, in which names have their bytes that are not UTF-8, and %, as %XX
    #[arg(long)]
    pub(crate) json: bool,
    /// Only these paths and what lies below them; all without it
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
}
