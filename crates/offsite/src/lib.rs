//! Encrypted off-site backups that only the key in the safe can open, and any OpenSSL can.
//!
//! The library behind the command `offsite`. [`operations`] are what a user asks for; each joins
//! files ([`files`]) or a [`store`] with messages ([`cms`]). The library never prints, prompts or exits: it
//! reports what happens to [`Events`].

pub use offsite_cms as cms;

pub mod archive;
mod as_text;
mod at_once;
pub mod baked;
pub mod checksums;
mod chunks;
pub mod damage;
mod error;
mod events;
pub mod files;
pub mod frames;
pub mod hashes;
mod http_client;
pub mod index;
pub mod names;
pub mod operations;
mod ordered;
mod paper;
pub mod paths;
pub mod ping;
pub mod pins;
pub mod plan;
pub mod receipt;
pub mod recovery;
mod shown;
pub mod signer;
pub mod slices;
mod sort;
mod spool;
pub mod state;
pub mod store;
mod table;
pub mod times;
mod unfinished;

pub use damage::Damage;
pub use error::{Error, PinProblem, Result, SignerDates};
pub use events::{Events, Warning, WhyFull};
pub use shown::shown;
pub use unfinished::remove_unfinished;
