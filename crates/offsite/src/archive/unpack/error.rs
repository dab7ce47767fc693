//! Why something could not be unpacked, and what could not be set.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::paths::PathFault;
use crate::shown::shown;

/// The result of unpacking.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a member could not be unpacked. Others can be, after it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The member's path is none that may be.
    #[error("member {}: its path {fault}", name(.path))]
    Path {
        /// The member.
        path: Vec<u8>,
        /// What is wrong.
        fault: PathFault,
    },
    /// Something is there already.
    #[error("member {}: something of this name is there already", name(.path))]
    Exists {
        /// The member.
        path: Vec<u8>,
    },
    /// A second member of this path.
    #[error("member {}: the archive holds it twice", name(.path))]
    Repeated {
        /// The member.
        path: Vec<u8>,
    },
    /// What its path calls a folder is a symbolic link or a file.
    #[error("member {}: its path leads through a symbolic link or a file", name(.path))]
    Through {
        /// The member.
        path: Vec<u8>,
    },
    /// What a hard link stands for is not there, or is no file of this run.
    #[error("member {}: {} {fault}", name(.path), name(.target))]
    LinkTarget {
        /// The member.
        path: Vec<u8>,
        /// What it shall be another name of.
        target: Vec<u8>,
        /// What is wrong.
        fault: LinkFault,
    },
    /// Another process has put something else in the place of what was just made.
    #[error("member {}: another process has changed the folder meanwhile", name(.path))]
    Changed {
        /// The member.
        path: Vec<u8>,
    },
    /// The content could not be read to its end. Nothing is left of the file.
    #[error("member {}: cannot read its content: {source}", name(.path))]
    Content {
        /// The member.
        path: Vec<u8>,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("member {}: cannot {action}: {source}", name(.path))]
    System {
        /// The member; empty where it is about none.
        path: Vec<u8>,
        /// What was tried: verb and object.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// What is wrong with a hard link's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// Its path is none that may be.
    #[error("is no target for a hard link: its path {0}")]
    Path(PathFault),
    /// It is not there, or not yet.
    #[error("is not there to link to")]
    Missing,
    /// It is a folder, or what was there before.
    #[error("is no file of this archive, so it is not linked to")]
    NotOurs,
}

/// Something that could not be made or set, though all data are right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The system does not let this be made here.
    #[error("{}: cannot make {what}: {source}", name(.path))]
    NotMade {
        /// The member.
        path: Vec<u8>,
        /// What.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The system does not let this be set here. The rest is.
    #[error("{}: cannot set {attribute}: {source}", name(.path))]
    NotSet {
        /// The member.
        path: Vec<u8>,
        /// What.
        attribute: Attribute,
        /// Why not.
        source: io::Error,
    },
}

/// What a file has beside its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Attribute {
    /// Owner and group. Where they are not set, setuid and setgid are not, either.
    #[error("owner and group")]
    Owner,
    /// The permissions.
    #[error("the permissions")]
    Mode,
    /// An extended attribute.
    #[error("the extended attribute {}", name(.0))]
    Xattr(Vec<u8>),
    /// The ACL.
    #[error("the ACL")]
    AccessAcl,
    /// The ACL for what is made in a folder.
    #[error("the default ACL")]
    DefaultAcl,
    /// The time of the last change.
    #[error("the time")]
    Mtime,
    /// All of them: the folder is not there any more.
    #[error("the folder's attributes")]
    All,
}

/// A member's name, fit for a terminal; the empty one as it stands in the archive.
fn name(path: &[u8]) -> String {
    shown(Path::new(OsStr::from_bytes(if path.is_empty() { b"./" } else { path })))
}
