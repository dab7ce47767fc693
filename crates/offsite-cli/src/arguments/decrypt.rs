//! `offsite decrypt`

use clap::Args;

use crate::arguments::common::{InputOutput, Key, Threads};

/// Decrypt what offsite or `openssl smime|cms -encrypt` wrote, of any size
///
/// Reads DER, BER, PEM and S/MIME; AES-GCM, AES-CBC and 3DES-CBC; RSA and elliptic-curve keys.
/// Nothing of an authenticated message comes out before it is verified.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite decrypt -k acme-PRIVATE.pem -o dump.sql dump.sql.p7m
  offsite decrypt -k acme-PRIVATE.pem <etc.tgz.p7m | tar xz")]
pub(crate) struct Decrypt {
    #[command(flatten)]
    pub(crate) key: Key,
    /// Refuse messages without an integrity check
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) files: InputOutput,
}
