//! Trees of files to the members of a pax tar stream, and back.

pub mod again;
pub mod attributes;
pub mod excludes;
pub mod folder;
pub mod header;
pub mod incident;
pub mod limits;
pub mod links;
pub mod member;
pub mod metadata;
pub mod names;
pub mod read;
pub mod roots;
pub mod sparse;
pub mod unpack;
pub mod walk;
pub mod write;
