//! `offsite list`

use clap::Args;

use crate::arguments::common::FromStore;

/// List the backups in a store, from their signed receipts; needs no key
///
/// The oldest comes first within each host and set. Exits with 4 where something in the store is
/// damaged, or signed by somebody who is not trusted; what is sound is listed all the same.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite list --from /mnt/backups
  offsite list --from /mnt/backups --host web-1 --signer web-1.pem --json")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
