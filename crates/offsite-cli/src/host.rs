//! What this machine is called, and where it keeps what offsite needs.

use std::env;
use std::fs;
use std::path::PathBuf;

use offsite::names::HostName;

/// The kernel's name of this machine, where that tells it from others: a container's is drawn anew.
pub(crate) fn name() -> Option<HostName> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    let of_container = name.len() == 12 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if name == "localhost" || of_container { None } else { name.parse().ok() }
}

/// What tells this machine from its copies; empty where nothing does.
pub(crate) fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    if id.bytes().all(|byte| byte.is_ascii_hexdigit()) { id.to_owned() } else { String::new() }
}

/// The folder of all state: `OFFSITE_STATE_DIR`, else where the system keeps such things.
pub(crate) fn state() -> Option<PathBuf> {
    from_environment("OFFSITE_STATE_DIR").or_else(|| {
        let own = || Some(from_environment("XDG_STATE_HOME").or_else(|| home(".local/state"))?.join("offsite"));
        if is_root() { Some("/var/lib/offsite".into()) } else { own() }
    })
}

/// The file of the signing key: `OFFSITE_SIGNING_KEY`, else where the system keeps such things.
pub(crate) fn signing_key() -> Option<PathBuf> {
    from_environment("OFFSITE_SIGNING_KEY").or_else(|| {
        let own = || Some(from_environment("XDG_CONFIG_HOME").or_else(|| home(".config"))?.join("offsite"));
        let folder = if is_root() { Some("/etc/offsite".into()) } else { own() };
        folder.map(|folder: PathBuf| folder.join("signing-key.pem"))
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn home(below: &str) -> Option<PathBuf> {
    Some(from_environment("HOME")?.join(below))
}

fn from_environment(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
