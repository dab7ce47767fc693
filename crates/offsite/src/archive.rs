//! Trees of files to tar members: what is packed, in which order, and as which bytes.

pub mod attributes;
pub mod excludes;
pub mod folder;
pub mod header;
pub mod incident;
pub mod links;
pub mod member;
pub mod metadata;
pub mod order;
pub mod roots;
pub mod sparse;
pub mod walk;
pub mod write;
