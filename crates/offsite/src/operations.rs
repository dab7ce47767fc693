//! What a user asks for: each operation joins files with messages.

pub mod backup;
mod decrypt;
mod encrypt;
mod inspect;
mod keygen;
mod keys;

pub use decrypt::{Decrypt, decrypt};
pub use encrypt::{Encrypt, encrypt};
pub use inspect::inspect;
pub use keygen::{Keygen, NewFiles, keygen};
pub use keys::{read_private_key, read_recipients};
