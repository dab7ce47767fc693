//! Exit codes: a part of the interface. Any other code means failure, too.

use std::process::ExitCode;

use offsite::Error;
use offsite::operations::restore;

use crate::{arguments, terminal, words};

/// Everything that was asked for is done.
pub(crate) const DONE: u8 = 0;
/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// Done, but for something that could not be read or made.
pub(crate) const PARTIAL: u8 = 3;
/// Something in a store is damaged, put there by somebody who is not trusted, or not opened by a key that should.
pub(crate) const DAMAGED: u8 = 4;
/// Interrupted by the user or the system.
pub(crate) const INTERRUPTED: u8 = 130;

/// That of an error which ended the command.
pub(crate) fn of_error(error: &Error) -> u8 {
    match error {
        Error::Damage(_) | Error::SeveralSigners { .. } => DAMAGED,
        error if words::is_usage(error) => USAGE,
        _ => FAILED,
    }
}

/// That of an error which ended a restore.
pub(crate) fn of_restore(error: &restore::Error) -> u8 {
    use restore::Error::{NoContent, NoPaths, NoStream, NoTar};
    match error {
        error if error.is_damage() => DAMAGED,
        NoContent(_) | NoPaths | NoStream | NoTar => USAGE,
        _ => FAILED,
    }
}

/// What clap says: help and version succeed, an error looks as all of ours.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if let Some(text) = text.strip_prefix("error: ") {
        let (message, tip) = message_and_tip(text);
        let help = || format!("`{} --help` has the options, and examples", arguments::named(std::env::args_os()));
        terminal::error_with(&message, Some(&tip.unwrap_or_else(help)));
        return USAGE.into();
    }
    // Without a command clap shows the help, as an error.
    if error.use_stderr() && terminal::logs_json() {
        terminal::error(text.trim_end());
        return USAGE.into();
    }
    match error.print() {
        Ok(()) if error.use_stderr() => USAGE.into(),
        Ok(()) => DONE.into(),
        Err(_) => FAILED.into(),
    }
}

/// Of an error as clap writes it, what is wrong, on one line, and its tip, if it has any: below follow the usage and
/// where to find more.
fn message_and_tip(text: &str) -> (String, Option<String>) {
    let mut lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let first = lines.next().unwrap_or_default();
    // What is missing, or what there is to choose from.
    let items: Vec<&str> = lines.collect();
    let message = format!("{first} {}", items.join(", ")).trim_end().to_owned();
    let tips: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  tip: ")).collect();
    (message, (!tips.is_empty()).then(|| tips.join("; ")))
}
