//! `offsite key check`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arguments::common::{FromStore, Key};

/// Look after private keys
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    Check(KeyCheck),
}

/// Check what a private key is, and what it opens
///
/// Shows the key's kind, how a passphrase protects it, and whether the certificate in its file is its own. With a store
/// it opens one object of every backup; with files the first slice of each. Nothing is written, and no more is read
/// than that takes. That a backup can be restored is proven by `offsite drill`.
#[derive(Args)]
#[command(mut_arg("from", |from| from.required(false).default_value("").hide_default_value(true)))]
#[command(after_help = "Examples:
  offsite key check -k acme-PRIVATE.pem
  offsite key check -k acme-PRIVATE.pem --from /mnt/backups --signer signers/
  offsite key check -k acme-PRIVATE.pem dump.sql.p7m

Exit codes: 0 it opens everything, 1 failed, 2 wrong usage, 4 it does not open something, or \
something in the store is damaged or not trusted.")]
pub(crate) struct KeyCheck {
    #[command(flatten)]
    pub(crate) key: Key,
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Messages to open instead of a store's backups
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}
