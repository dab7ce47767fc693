//! What a user asks for: each operation joins files, or a store, with messages.

pub mod backup;
pub mod backups;
mod bake;
mod decrypt;
pub mod diff;
pub mod doctor;
pub mod drill;
mod encrypt;
mod files;
pub mod find;
mod inspect;
pub mod key_check;
mod keygen;
mod keys;
mod list;
pub mod prune;
pub mod report;
pub mod restore;
pub mod verify;

pub use bake::{Bake, bake};
pub use decrypt::{Decrypt, decrypt};
pub use encrypt::{Encrypt, encrypt};
pub use files::files;
pub use inspect::inspect;
pub use keygen::{Keygen, NewFiles, keygen};
pub use keys::{read_private_key, read_recipients};
pub use list::list;
