//! Tells the service manager how the command goes, where `NOTIFY_SOCKET` names its socket: the protocol of
//! sd_notify(3), a datagram of lines. Without that variable nothing is done; where the manager does not take a
//! message, so be it.
//!
//! The deadlines of a unit are not extended: they are somebody's decision. `WATCHDOG=1` comes from a thread
//! of its own, so it says that the process runs; that a store does not move is found by the store's deadlines.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::words;

/// What is done is told so often, at most.
const STATUS: Duration = Duration::from_secs(5);

/// A manager that takes a message later than that does not get it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The manager, until it was told of the end.
static MANAGER: Mutex<Option<UnixDatagram>> = Mutex::new(None);

/// Bytes of input that are done.
static DONE: AtomicU64 = AtomicU64::new(0);

/// Says that the command has begun, and from time to time what it has done.
pub(crate) fn begin() {
    let Some(socket) = connect() else { return };
    *MANAGER.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    send("READY=1");
    // Without the thread the manager still hears of begin and end.
    let _ = thread::Builder::new().name("notify".to_owned()).spawn(tell);
}

/// So many bytes of input are done since the last call.
pub(crate) fn progress(bytes: u64) {
    DONE.fetch_add(bytes, Ordering::Relaxed);
}

/// Says that the command ends. Nothing is said after it.
pub(crate) fn end() {
    send("STOPPING=1");
    MANAGER.lock().unwrap_or_else(PoisonError::into_inner).take();
}

fn send(message: &str) {
    if let Some(socket) = &*MANAGER.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = socket.send(message.as_bytes());
    }
}

/// The socket that the manager named: a path, or after an `@` a name without a file.
fn connect() -> Option<UnixDatagram> {
    let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
    let connected = || -> io::Result<UnixDatagram> {
        let address = match name.as_encoded_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    connected().ok()
}

/// How often the manager wants to hear that the process runs, if it is this process that it asks.
fn watchdog() -> Option<Duration> {
    let pid = env::var("WATCHDOG_PID").ok();
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let within: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    // Twice as often, as sd_watchdog_enabled(3) advises.
    Some(Duration::from_micros(within / 2)).filter(|period| !period.is_zero())
}

/// Tells what is done, and that the process runs.
fn tell() {
    let watchdog = watchdog();
    let (mut told, mut since) = (0, Instant::now());
    loop {
        thread::sleep(watchdog.unwrap_or(STATUS).min(STATUS));
        if watchdog.is_some() {
            send("WATCHDOG=1");
        }
        let done = DONE.load(Ordering::Relaxed);
        if done != told && since.elapsed() >= STATUS {
            send(&format!("STATUS={} done", words::size(done)));
            (told, since) = (done, Instant::now());
        }
    }
}
