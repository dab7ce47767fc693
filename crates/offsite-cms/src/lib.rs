//! Bytes to CMS and back: envelopes, long streams, signatures, keys and certificates.
//!
//! - [`encrypt`] turns any input into a long stream: a row of slices, each a complete envelope
//!   (AuthEnvelopedData, RFC 5083) that `openssl cms -decrypt` opens.
//! - [`smime::encrypt`] writes one EnvelopedData that `openssl smime -decrypt` opens.
//! - [`Message`] opens either, and everything that `openssl smime|cms -encrypt` writes for RSA and
//!   NIST-curve keys, at any size, in constant memory. What is accepted stands in [`policy`].
//! - [`KeyFile`], [`Certificate`] and [`keygen`] read and make keys; [`signed_data`] signs.
//!
//! The formats are specified in `docs/format.md`, whose sections the comments cite. This crate
//! knows readers and writers, never files by name, networks or terminals.

mod armour;
mod ber;
mod certificate;
mod decrypt;
mod der;
mod envelope;
mod error;
mod ffi;
mod input;
mod inspect;
mod key_file;
pub mod keygen;
pub mod limits;
mod oid;
mod pem;
mod pipeline;
pub mod policy;
mod private_key;
mod random;
mod recipient_info;
mod recipients;
mod refusal;
pub mod signed_data;
mod slice;
pub mod smime;
mod stream;

pub use certificate::Certificate;
pub use decrypt::Message;
pub use error::{Error, KeyError, Result, SliceProblem, UsageError};
pub use input::Input;
pub use inspect::{Inspection, RecipientView, StreamView, inspect};
pub use key_file::KeyFile;
pub use private_key::PrivateKey;
pub use recipients::{Profile, Recipients};
pub use slice::{Sealer, SliceBuffer, SliceNumber, SliceOpener, StreamKind};
pub use stream::{Progress, Totals, encrypt};
