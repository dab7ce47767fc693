//! Exit codes: a part of the interface. Any other code means failure, too.

use std::process::ExitCode;

/// Everything that was asked for is done.
pub(crate) const DONE: u8 = 0;
/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// Interrupted by the user or the system.
pub(crate) const INTERRUPTED: u8 = 130;

/// What clap says, in its own words: help and version succeed.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    let code = if error.use_stderr() { USAGE } else { DONE };
    match error.print() {
        Ok(()) => code.into(),
        Err(_) => FAILED.into(),
    }
}
