//! Trees of files to tar members: what is packed, in which order, and as which bytes.

pub mod excludes;
pub mod folder;
pub mod incident;
pub mod metadata;
pub mod order;
pub mod roots;
pub mod walk;
