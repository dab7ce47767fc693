//! Settings of glibc, which is linked in.
//!
//! - Its allocator gives each thread an arena of its own, and each arena keeps what is freed. Buffers
//!   of megabytes that go from thread to thread then stay several times over (measured on a restore:
//!   210 MiB resident instead of 115). One arena for all costs no time here, since threads work on
//!   large pieces.
//! - It finds the addresses of hosts by modules that `/etc/nsswitch.conf` names, and loads them from
//!   the machine's own glibc. In a static binary of another version that may crash. `files` and `dns`
//!   are built in, and all that is needed.

#![allow(unsafe_code, reason = "these settings have no safe interface")]

use std::ffi::{CStr, c_char, c_int};

/// `M_ARENA_MAX` of malloc.h.
const ARENA_MAX: c_int = -8;

const DATABASE: &CStr = c"hosts";
const SERVICES: &CStr = c"files dns";

unsafe extern "C" {
    /// mallopt(3)
    fn mallopt(parameter: c_int, value: c_int) -> c_int;

    /// nss.h of glibc: which services answer for a database, whatever the configuration says.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// Makes these settings. To be called before there are threads. Where one is refused, the defaults hold.
pub(crate) fn set() {
    // SAFETY: glibc documents mallopt for any numbers; it changes settings alone, takes no pointer
    // and keeps none, and no other thread is running yet that could be allocating.
    let _ = unsafe { mallopt(ARENA_MAX, 1) };
    // SAFETY: both are strings that end with a NUL and live as long as the program; glibc reads them
    // and keeps copies. No other thread is running yet that could be looking up a host.
    let _ = unsafe { __nss_configure_lookup(DATABASE.as_ptr(), SERVICES.as_ptr()) };
}
