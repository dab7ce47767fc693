//! An interrupt removes unfinished output, tells those who watch the run, and ends the process.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{exit, monitor, notify};

/// Starts the thread that waits for an interrupt.
pub(crate) fn watch() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            monitor::interrupted(offsite::remove_unfinished);
            notify::end();
            std::process::exit(exit::INTERRUPTED.into());
        }
    })?;
    Ok(())
}
