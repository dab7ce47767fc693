//! The command line. Each command has a file below.

mod backup;
mod common;
mod decrypt;
mod doctor;
mod drill;
mod encrypt;
mod files;
mod inspect;
mod keygen;
mod list;
mod prune;
mod report;
mod restore;
mod values;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use self::backup::Backup;
pub(crate) use self::common::{FromStore, Key};
pub(crate) use self::decrypt::Decrypt;
pub(crate) use self::doctor::Doctor;
pub(crate) use self::drill::Drill;
pub(crate) use self::encrypt::Encrypt;
pub(crate) use self::files::Files;
pub(crate) use self::inspect::Inspect;
pub(crate) use self::keygen::Keygen;
pub(crate) use self::list::List;
pub(crate) use self::prune::Prune;
pub(crate) use self::report::Report;
pub(crate) use self::restore::Restore;
pub(crate) use self::values::PlaceArgument;
pub(crate) use self::verify::{Accept, Verify};

/// Encrypted off-site backups that only the key in the safe can open, and any OpenSSL can.
#[derive(Parser)]
#[command(name = "offsite", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Keygen(Keygen),
    Encrypt(Encrypt),
    Decrypt(Decrypt),
    Inspect(Inspect),
    Backup(Backup),
    Restore(Restore),
    List(List),
    Files(Files),
    Verify(Verify),
    Report(Report),
    Drill(Drill),
    Prune(Prune),
    Doctor(Doctor),
    /// Print RECOVER.sh, which restores a backup without offsite
    ///
    /// It needs the private key, a copy of the set's folder, openssl (3.0 or later), zstd and tar. `keygen`
    /// writes it beside the private key; the same script serves everyone.
    #[command(after_help = "Examples:
  offsite recovery-script >RECOVER.sh
  sh RECOVER.sh acme-PRIVATE.pem copy/data/web-1/default/20261123T074500Z-7f3a9c01 restored")]
    RecoveryScript,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
