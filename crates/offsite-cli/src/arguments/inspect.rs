//! `offsite inspect`

use clap::Args;

use crate::arguments::values::{PlaceArgument, place};

/// Show what a message is: recipients, algorithms, slices; needs no key and proves nothing
///
/// Exits with 1 where something is visibly wrong, such as a missing slice.
#[derive(Args)]
#[command(after_help = "Example:
  offsite inspect dump.sql.p7m")]
pub(crate) struct Inspect {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// File to read; standard input without it
    #[arg(value_name = "IN", value_parser = place())]
    pub(crate) input: Option<PlaceArgument>,
}
