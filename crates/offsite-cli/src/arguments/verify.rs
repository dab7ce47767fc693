//! `offsite verify`

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use offsite::operations::verify::{FindingId, NotAFindingId};

use crate::arguments::common::{Expected, FromStore, Ping};

/// Verify that a store holds what its backups need; needs no key
///
/// Looks at every receipt: its signature, its signer, and the one before it, which it names. Compares what they
/// list with what the store holds: presence and length, and with --data the bytes. One line tells each finding; the
/// exit code is then 4. Run it regularly, away from the servers that are backed up, with a --signer for each.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite verify --from /mnt/backups --signer signers/ --max-age 26h
  offsite verify --from s3://acme-backups --signer signers/ --max-age 26h \\
      --retention 180d --data 5
  offsite verify --from s3://acme-backups --seen seen.json --max-age 26h
  offsite verify --from s3://acme-backups --seen seen.json --accept 3f0a96c11d27

Exit codes: 0 nothing found, 1 failed, 2 wrong usage, 4 something is wrong in the store.")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) store: FromStore,
    #[command(flatten)]
    pub(crate) expected: Expected,
    /// Get so many percent of the objects, chosen at random, and compare their SHA-256; all of them without a
    /// number
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) data: Option<u8>,
    /// Remember in FILE what is there, and find what vanishes or becomes another; it is made where there is none.
    /// Without --signer those who signed what was seen are trusted. A finding is told again until it is accepted
    #[arg(long, value_name = "FILE", conflicts_with = "store_as_of")]
    pub(crate) seen: Option<PathBuf>,
    /// A finding that is known and dealt with, by its id; or all
    #[arg(long, value_name = "ID", requires = "seen")]
    pub(crate) accept: Vec<Accept>,
    #[command(flatten)]
    pub(crate) ping: Ping,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which findings are accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accept {
    All,
    Finding(FindingId),
}

impl FromStr for Accept {
    type Err = NotAFindingId;

    fn from_str(text: &str) -> Result<Self, NotAFindingId> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Finding) }
    }
}
