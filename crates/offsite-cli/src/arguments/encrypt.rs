//! `offsite encrypt`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use offsite::cms::Profile;

use crate::arguments::common::{InputOutput, Threads};
use crate::arguments::values::slice_size;

/// Encrypt a file or a pipe to one or more certificates
///
/// The output is a standard CMS message, or a row of them ('slices') where it is longer than the
/// slice size. `offsite decrypt` opens it, and so does `openssl cms -decrypt` (3.0 or later).
#[derive(Args)]
#[command(after_help = "Examples:
  offsite encrypt -r acme-cert.pem -o dump.sql.p7m dump.sql
  tar cz /etc | offsite encrypt -r acme-cert.pem >etc.tgz.p7m

Without offsite, the file opens with (PASS holds the passphrase):
  while openssl cms -decrypt -inform DER -inkey acme-PRIVATE.pem \\
      -recip acme-PRIVATE.pem -passin env:PASS; do :; done <dump.sql.p7m")]
pub(crate) struct Encrypt {
    /// Certificate to encrypt to; repeat it for several recipients, each of whom can decrypt alone.
    /// Without it OFFSITE_RECIPIENTS counts: names of files, one a line, or PEM text; then what is baked in
    #[arg(short, long = "recipient", value_name = "CERT")]
    pub(crate) recipients: Vec<PathBuf>,
    /// Which readers the message is for
    #[arg(long, value_enum, default_value = "cms")]
    pub(crate) profile: ProfileName,
    /// Length of each slice but the last, from 1M to 512M; offsite needs up to four times as much
    /// memory, stock OpenSSL some three times. The smime profile has slices only with --split
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = slice_size)]
    pub(crate) slice_size: usize,
    /// Write each slice to a file of its own: OUT.000000, OUT.000001, …; `cat OUT.*` puts the cms
    /// profile's together again
    #[arg(long, requires = "output")]
    pub(crate) split: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) files: InputOutput,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ProfileName {
    /// Authenticated; for `openssl cms` 3.0 and later
    Cms,
    /// Unauthenticated; for `openssl smime` of any age; RSA keys only
    Smime,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Cms => Self::Cms,
            ProfileName::Smime => Self::Smime,
        }
    }
}
