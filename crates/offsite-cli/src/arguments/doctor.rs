//! `offsite doctor`

use clap::Args;

use crate::arguments::common::ToStore;

/// Try what this machine can and cannot do to a store
///
/// Looks at what backups need, and tries on objects of its own what a thief of this machine's credential
/// could do: overwrite, read, list, delete, put among other hosts' backups. Whatever else reads the store
/// passes over these objects; where nothing may be deleted, as it should be, a few bytes stay.
#[derive(Args)]
#[command(after_help = "Example:
  offsite doctor -r acme-cert.pem -r failsafe-cert.pem --to s3://acme-backups

Exit codes: 0 nothing found, 1 objects cannot be put, or something else is missing, 2 wrong usage, \
4 the credential can do what no backup needs.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) store: ToStore,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
