//! What is wrong with an index.

use std::fmt;
use std::io;

use super::limits;
use crate::names::BackupId;
use crate::paths::PathFault;

/// What is wrong with an index, and where.
#[derive(Debug)]
pub struct Error {
    /// The backup whose index it is; None until its first line has been read.
    pub backup: Option<BackupId>,
    /// The line, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backup, line, problem } = self;
        match backup {
            Some(backup) => write!(f, "the index of {backup}, line {line}: {problem}"),
            None => write!(f, "the index, line {line}: {problem}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(source) => Some(source),
            _ => None,
        }
    }
}

/// A part of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Path,
    Kind,
    Mode,
    Owner,
    Time,
    Size,
    Target,
    Leader,
    Links,
    Torn,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Kind => "kind",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Time => "time",
            Self::Size => "size",
            Self::Target => "target",
            Self::Leader => "leader",
            Self::Links => "mark as a leader",
            Self::Torn => "mark as torn",
        })
    }
}

/// What is wrong with a line of an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// The first line is not that of an index.
    #[error("this is no index of a version that is read")]
    NotAnIndex,
    /// It is longer than any line is.
    #[error("it is longer than {} bytes", limits::LINE)]
    TooLong,
    /// It is not as an index has it, or not encoded as it must be.
    #[error("it is not as an index has it, from byte {0} on")]
    Syntax(usize),
    /// A number is larger than it may be.
    #[error("the number at byte {0} is out of bounds")]
    Number(usize),
    /// The table of backups is not in order, too long, or holds what is later than the index.
    #[error("the backups that it refers to are not in order, too many, or later than its own")]
    Runs,
    /// The base is not earlier.
    #[error("it builds on a backup that is not earlier than its own")]
    Base,
    /// A path is none.
    #[error("the path {0}")]
    Path(PathFault),
    /// A row does not come after the one before it.
    #[error("the path does not come after that of the row before")]
    Order,
    /// Something lies in what is no folder.
    #[error("the path lies in something that is no folder")]
    Below,
    /// Something of a row cannot be, or not in such a row or index.
    #[error("its {0} cannot be")]
    Part(Part),
    /// A full index says that something is gone.
    #[error("a path is gone, but the index is full")]
    GoneInFull,
    /// A part does not follow the one before it, or that one has room for more places.
    #[error("a part of a row is out of order")]
    PartOrder,
    /// A row has no place, or too many.
    #[error("{0} places in a row")]
    Places(usize),
    /// A place refers to a backup that is not in the table.
    #[error("a place in a backup that the index does not refer to")]
    UnknownRun,
    /// A place reaches beyond its slice or frame, takes nothing, or is too large.
    #[error("a place reaches beyond what holds it, takes nothing, or is too large")]
    Place,
    /// A row's places cannot be all of its member or stream.
    #[error("the row's places hold {0} bytes, which cannot be what it says")]
    Amount(u64),
    /// The index of a stream has other than that one row.
    #[error("the index of a stream has one row, the stream's")]
    Stream,
    /// The last line's counts are not those of the index or chain.
    #[error("the counts are not those of the rows")]
    Counts,
    /// The last line's end of the tar cannot be.
    #[error("the place of the end cannot be")]
    EndPlace,
    /// The index ends without its last line, or goes on after it.
    #[error("the index is not complete, or goes on after its end")]
    End,
    /// A chain is empty or too long.
    #[error("a chain of {0} indexes")]
    ChainLength(usize),
    /// An index is not of the chain in hand: another host, set or stream, or a full index or
    /// another base where it must build on the one before.
    #[error("it does not build on the index before it")]
    Chain,
    /// A delta says that something is gone that was not there.
    #[error("a path is gone that was not there")]
    GoneBefore,
}
