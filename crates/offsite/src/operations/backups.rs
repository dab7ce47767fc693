//! Reading backups from a store: finding receipts, trusting them, and opening what they list. Shared
//! by every operation that reads.
//!
//! The order of trust (format.md §14) is the order of the steps: [`survey`] verifies receipts and
//! asks the [pins](crate::pins), [`choose()`] decides for one of them, and a [`Backup`] opens objects
//! only once they are of the size and SHA-256 that this receipt lists.

mod choose;
mod find;
mod objects;
mod open;
mod sample;
mod selection;
mod slices;
mod stream;

pub use choose::{Which, choose, choose_two, signers};
pub(in crate::operations) use choose::{choose_of_set, one_set, one_signer, pick, read_counting_with};
pub use find::{Found, Scope, survey};
pub(in crate::operations) use find::{Listing, by_set, listings, read_all, recency};
pub(in crate::operations) use objects::get;
pub use open::Backup;
pub(in crate::operations) use open::{Broken, index_chain};
pub(in crate::operations) use sample::Sample;
pub use selection::Selection;
pub(in crate::operations) use slices::checksums;
pub use slices::{OpenedSlice, SliceReader};
pub use stream::Plaintext;
