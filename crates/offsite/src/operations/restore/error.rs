//! Why a restore ended, or something was lost.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::{read, unpack};
use crate::frames::FrameError;
use crate::index::PlanError;
use crate::plan::SliceName;
use crate::shown::shown;

/// The result of restoring.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a restore ended, or why an entry was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The index is wrong, or does not fit its slices.
    #[error(transparent)]
    Index(#[from] PlanError),
    /// The plan is not the one that follows from the index.
    #[error("the plan is not the one that follows from the index, from line {0} on")]
    Plan(u64),
    /// The plan could not be read.
    #[error("the plan cannot be read: {0}")]
    PlanUnreadable(io::Error),
    /// Only the content of one file, or a stream, can be written out alone.
    #[error("{} is no regular file, whose content could be written out alone", name(.0))]
    NoContent(Vec<u8>),
    /// Paths in a stream.
    #[error("the backup is of a stream, in which there are no paths")]
    NoPaths,
    /// A tar was asked for, and there is none.
    #[error("the backup is of a stream, not of files, so there is no tar")]
    NoTar,
    /// A bare stream was asked for, and there is none.
    #[error("the backup is of files, of which one must be named")]
    NoStream,
    /// A slice is missing, damaged, or cannot be had.
    #[error("{source}")]
    Slice {
        /// The slice.
        name: SliceName,
        /// Why. It names the object.
        source: Arc<crate::Error>,
    },
    /// A frame is not what the index says.
    #[error("{slice}, the frame at byte {offset}: {fault}")]
    Frame {
        /// The slice.
        slice: SliceName,
        /// Where in its plaintext.
        offset: u64,
        /// What is wrong.
        fault: FrameFault,
    },
    /// A member is damaged.
    #[error("the member of {} at byte {offset} of {slice}: {source}", name(.path))]
    Member {
        /// The path that the index has for it.
        path: Vec<u8>,
        /// The slice.
        slice: SliceName,
        /// Its frame in the slice's plaintext.
        offset: u64,
        /// What is wrong with it.
        source: read::Error,
    },
    /// A member is not what the index says.
    #[error("the member of {} in {slice} is not what the index says of it", name(.path))]
    Disagree {
        /// The path that the index has for it.
        path: Vec<u8>,
        /// The slice.
        slice: SliceName,
    },
    /// What should be the end of the tar is not.
    #[error("the end of the tar in {0} is damaged")]
    End(SliceName),
    /// A large file was lost with another of its pieces.
    #[error("another piece of the file is lost")]
    OtherPiece,
    /// A member could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    /// The target holds something.
    #[error("{} is not empty", shown(.0))]
    NotEmpty(PathBuf),
    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The same, with a file.
    #[error(transparent)]
    File(#[from] crate::Error),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Write(io::Error),
}

/// Why a frame is not what the index says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// It is damaged, or of another length.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It reaches beyond its slice.
    #[error("the slice ends before its end")]
    Beyond,
}

impl Error {
    /// Whether what is stored is to blame, which is not to be trusted then: the caller should say
    /// so.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Index(error) => !matches!(error, PlanError::Io(_)),
            Self::Slice { source, .. } => matches!(**source, crate::Error::Damage(_)),
            Self::File(error) => matches!(error, crate::Error::Damage(_)),
            Self::Plan(_)
            | Self::Frame { .. }
            | Self::Member { .. }
            | Self::Disagree { .. }
            | Self::End(_)
            | Self::OtherPiece => true,
            Self::Unpack(error) => {
                matches!(error, unpack::Error::Path { .. } | unpack::Error::Repeated { .. })
                    || matches!(error, unpack::Error::LinkTarget { .. })
            }
            _ => false,
        }
    }

    /// Whether the store cannot be reached for now, so that nothing else would fare better.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Slice { source, .. } => is_outage(source),
            Self::File(error) => is_outage(error),
            _ => false,
        }
    }

    /// Whether only the entry at hand is lost, so that a restore may go on with others.
    pub(super) fn is_of_entry(&self) -> bool {
        match self {
            // While the store cannot be reached, each of the others would be waited for as long.
            Self::Slice { source, .. } => !is_outage(source),
            Self::Frame { .. } | Self::Member { .. } | Self::Disagree { .. } | Self::End(_) | Self::OtherPiece => true,
            Self::Unpack(unpack::Error::System { source, .. }) => !is_of_target(source),
            Self::Unpack(_) => true,
            _ => false,
        }
    }
}

fn is_outage(error: &crate::Error) -> bool {
    matches!(error, crate::Error::Store(error) if error.is_retryable())
}

/// Whether no other entry would fare better in this target.
fn is_of_target(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let is_failing = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    is_failing || matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// Of temporary files.
impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::System { action: "use a temporary file", source }
    }
}

/// A name, fit for a terminal.
fn name(path: &[u8]) -> String {
    shown(Path::new(OsStr::from_bytes(path)))
}
