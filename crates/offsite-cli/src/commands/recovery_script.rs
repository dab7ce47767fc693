//! `offsite recovery-script`

use std::io::{self, Write};

use offsite::recovery;

use crate::commands::Failure;
use crate::terminal;

pub(crate) fn run() -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    if let Err(error) = output.write_all(recovery::SCRIPT.as_bytes()).and_then(|()| output.flush()) {
        terminal::error(&format!("cannot write standard output: {error}"));
        return Err(Failure::Reported);
    }
    Ok(())
}
