//! `offsite version`

use clap::Args;

/// Show the version, and what is baked in
///
/// Exits with 1 where what is baked in is damaged.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite version
  offsite version --json")]
pub(crate) struct Version {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
