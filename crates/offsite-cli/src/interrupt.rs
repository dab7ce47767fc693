//! An interrupt removes unfinished output and ends the process.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit;

/// Starts the thread that waits for an interrupt.
pub(crate) fn watch() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            offsite::remove_unfinished();
            std::process::exit(exit::INTERRUPTED.into());
        }
    })?;
    Ok(())
}
