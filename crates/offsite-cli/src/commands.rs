//! The commands: arguments to operations, and results to words.

pub(crate) mod backup;
pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod inspect;
pub(crate) mod keygen;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use offsite::files::Place;

use crate::{exit, terminal, words};

/// A command's end, if not a good one.
pub(crate) enum Failure {
    /// From the library.
    Library(offsite::Error),
    /// The command line cannot be meant so.
    Usage { text: String, hint: &'static str },
    /// Something that the command itself found wrong; it has said so.
    Reported,
    /// Something is missing that was asked for, which has been said; the rest is done.
    Partial,
}

impl From<offsite::Error> for Failure {
    fn from(error: offsite::Error) -> Self {
        Self::Library(error)
    }
}

impl Failure {
    /// Tells the user; the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Library(error) => {
                terminal::error(&error.to_string());
                if let Some(hint) = words::hint(error) {
                    terminal::hint(hint);
                }
                if words::is_usage(error) { exit::USAGE } else { exit::FAILED }
            }
            Self::Usage { text, hint } => {
                terminal::error(text);
                terminal::hint(hint);
                exit::USAGE
            }
            Self::Reported => exit::FAILED,
            Self::Partial => exit::PARTIAL,
        }
        .into()
    }
}

/// Length of the input in bytes, for a progress bar.
pub(crate) fn input_length(input: &Place) -> Option<u64> {
    let metadata = std::fs::metadata(input.path()?).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// A message is no text: it would garble a terminal.
fn refuse_terminal(output: &Place) -> Result<(), Failure> {
    if *output == Place::Standard && io::stdout().is_terminal() {
        let text = "standard output is a terminal, and the output is binary".to_owned();
        return Err(Failure::Usage { text, hint: "name a file with -o, or use a pipe" });
    }
    Ok(())
}
