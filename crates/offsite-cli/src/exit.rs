//! Exit codes: a part of the interface. Any other code means failure, too.

use std::process::ExitCode;

use offsite::Error;
use offsite::operations::restore;

use crate::{terminal, words};

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

/// What clap says, in its own words: help and version succeed, an error begins as all of ours.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let is_error = text.starts_with("error: ");
    // Without a command clap shows the help, as an error.
    if is_error || error.use_stderr() && terminal::logs_json() {
        terminal::error(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        return USAGE.into();
    }
    match error.print() {
        Ok(()) if error.use_stderr() => USAGE.into(),
        Ok(()) => DONE.into(),
        Err(_) => FAILED.into(),
    }
}
