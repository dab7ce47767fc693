//! The command line. Each command has a file below.

mod backup;
mod bake;
mod common;
mod decrypt;
mod defaults;
mod diff;
mod doctor;
mod drill;
mod encrypt;
mod files;
mod find;
mod inspect;
mod key_check;
mod keygen;
mod list;
mod prune;
mod report;
mod restore;
mod values;
mod verify;
mod version;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use offsite::baked::Settings;

pub(crate) use self::backup::Backup;
pub(crate) use self::bake::Bake;
pub(crate) use self::common::{FromStore, Key, Ping};
pub(crate) use self::decrypt::Decrypt;
pub(crate) use self::diff::Diff;
pub(crate) use self::doctor::Doctor;
pub(crate) use self::drill::Drill;
pub(crate) use self::encrypt::Encrypt;
pub(crate) use self::files::Files;
pub(crate) use self::find::Find;
pub(crate) use self::inspect::Inspect;
pub(crate) use self::key_check::{KeyCheck, KeyCommand};
pub(crate) use self::keygen::Keygen;
pub(crate) use self::list::List;
pub(crate) use self::prune::Prune;
pub(crate) use self::report::Report;
pub(crate) use self::restore::Restore;
pub(crate) use self::values::PlaceArgument;
pub(crate) use self::verify::{Accept, Verify};
pub(crate) use self::version::Version;

/// Encrypted off-site backups that only the key in the safe can open, and any OpenSSL can.
#[derive(Parser)]
#[command(name = "offsite", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  offsite keygen -o acme
  offsite backup -r acme-cert.pem --to /mnt/backups /etc /srv
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --into restored")]
pub(crate) struct Arguments {
    /// How messages are written to standard error; json is one object a line, and shows no progress
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text", hide_default_value = true, global = true)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads the command line, where what is baked in stands behind it.
    pub(crate) fn read(baked: Option<&Settings>) -> clap::error::Result<Self> {
        let command = Self::command();
        let command = match baked {
            Some(settings) => defaults::baked(command, settings),
            None => command,
        };
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// The form of messages.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Whether arguments that cannot be read otherwise ask for messages as JSON.
pub(crate) fn ask_for_json_log(arguments: impl Iterator<Item = OsString>) -> bool {
    let ours: Vec<OsString> = arguments.take_while(|argument| argument != "--").collect();
    let is_pair = ours.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json");
    is_pair || ours.iter().any(|argument| argument == "--log-format=json")
}

/// The command that arguments name which cannot be read, as far as they do.
pub(crate) fn named(arguments: impl Iterator<Item = OsString>) -> String {
    let offsite = Arguments::command();
    let (mut command, mut name) = (&offsite, offsite.get_name().to_owned());
    for argument in arguments.skip(1) {
        if let Some(below) = command.find_subcommand(&argument) {
            command = below;
            name = format!("{name} {}", below.get_name());
        }
    }
    name
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
    Find(Find),
    Diff(Diff),
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
  sh RECOVER.sh acme-PRIVATE.pem \\
      copy/data/web-1/default/20261123T074500Z-7f3a9c01 restored")]
    RecoveryScript,
    #[command(subcommand)]
    Key(KeyCommand),
    Bake(Bake),
    Version(Version),
}

impl Command {
    /// Whether what is baked in counts for the command.
    pub(crate) fn has_defaults(&self) -> bool {
        use Command::{Decrypt, Inspect, Keygen, RecoveryScript, Version};
        !matches!(self, Decrypt(_) | Inspect(_) | Keygen(_) | RecoveryScript | Version(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_command_that_is_named() {
        let named = |line: &str| named(line.split(' ').map(OsString::from));
        assert_eq!(named("offsite backup --tto store list"), "offsite backup");
        assert_eq!(named("offsite --log-format json key check -k"), "offsite key check");
        assert_eq!(named("/usr/local/bin/backup frobnicate"), "offsite");
    }
}
