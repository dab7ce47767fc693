//! Why a store did not do what it was asked for.

use std::io;
use std::path::PathBuf;

pub use crate::http_client::CertificateFault;
use crate::shown::shown;

/// The result of what a store is asked for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{store}: cannot {action} {}: {reason}", .object.as_deref().unwrap_or("the store"))]
pub struct Error {
    /// The store, as its [`Location`](super::Location) is written.
    pub store: String,
    /// What was asked for: a verb.
    pub action: &'static str,
    /// The object or folder at hand; None for the store as a whole.
    pub object: Option<String>,
    /// Why not.
    pub reason: Reason,
}

impl Error {
    /// Whether the same call may succeed a little later without anybody doing something about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.reason, Reason::Unreachable(_) | Reason::Unresolved(_) | Reason::Busy(_))
    }
}

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No object has this name.
    #[error("there is no such object")]
    NotFound,
    /// An object has this name, and objects are never replaced.
    #[error("it exists already")]
    AlreadyExists,
    /// A link, folder or device has an object's name, or something else than a folder a folder's.
    #[error("something that is no object lies there")]
    NotAnObject,
    /// The object is longer than the caller wants to read.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// The directory does not exist.
    #[error("there is no such directory")]
    NoStore,
    /// Nor does the directory that it lies in.
    #[error("there is no {}, and of a store's path only the last part is made: is a disk not mounted?", shown(.parent))]
    NoParent {
        /// The directory that it would lie in.
        parent: PathBuf,
    },
    /// The bucket does not exist.
    #[error("there is no such bucket")]
    NoBucket,
    /// Nothing says which region a bucket of Amazon's is in.
    #[error("its region is not known")]
    NoRegion,
    /// The bucket is in another region than was said.
    #[error("the bucket is in another region{}", .region.as_ref().map(|region| format!(", {region}")).unwrap_or_default())]
    Elsewhere {
        /// The region, where the service tells.
        region: Option<String>,
    },
    /// Nothing says who asks.
    #[error("no credentials were found: {0}")]
    NoCredentials(String),
    /// Whoever answers is not trusted to be the store.
    #[error("its certificate is not trusted: {0}")]
    NotTrusted(CertificateFault),
    /// Whoever answers speaks no TLS, and was asked by it.
    #[error("what answers there speaks no TLS")]
    NotTls,
    /// Whoever answers does not speak HTTP, or not without TLS, and was asked by it.
    #[error("{0}")]
    NotHttp(String),
    /// Whoever answers speaks HTTP, but not S3: what it says that it took in would be nowhere.
    #[error("what answers there is no S3 service: {0}")]
    NotS3(String),
    /// The service does not know who asks, or does not believe it.
    #[error("{source}")]
    NotAuthenticated {
        /// What is wrong.
        fault: CredentialFault,
        /// What the service says.
        source: io::Error,
    },
    /// The service knows no such request.
    #[error("{0}")]
    Unsupported(String),
    /// A store that keeps no versions was asked for what it held at another time.
    #[error("it keeps no versions of its objects")]
    NoVersions,
    /// The store's file `STORE` is not 32 hexadecimal digits on a line.
    #[error("its file STORE does not hold a store's id")]
    BadId,
    /// The store lets nobody do this, or not us.
    #[error("{0}")]
    PermissionDenied(#[source] io::Error),
    /// The store takes no more: no space, a quota, or a limit on the size of files.
    #[error("{0}")]
    Full(#[source] io::Error),
    /// The store did not answer; it may later. The kind tells one that was never reached (`NotConnected`,
    /// `ConnectionRefused`) from one that was cut off (`ConnectionAborted`, `TimedOut`).
    #[error("{0}")]
    Unreachable(#[source] io::Error),
    /// Nobody tells the address of the store's host: those who could do not answer, or, with the kind `NotFound`,
    /// know of none.
    #[error("{0}")]
    Unresolved(#[source] io::Error),
    /// The store answered that it does not take the request just now.
    #[error("{0}")]
    Busy(#[source] io::Error),
    /// A list does not come in the order of names, so that something may be missing in it.
    #[error("it does not list objects in the order of their names")]
    Disordered,
    /// Everything else that the operating system reports.
    #[error("{0}")]
    Io(#[source] io::Error),
}

/// Why a service does not let anybody in with a credential, whatever that may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialFault {
    /// It has no access key of this id.
    UnknownKeyId,
    /// The secret key is not that of the key id.
    WrongSecret,
    /// The session that it is of is over.
    Expired,
    /// The request seems to be of another time: clocks differ.
    Clock,
}

/// What the system's libraries say of a name that nobody has.
const NO_SUCH_HOST: [&str; 3] =
    ["Name or service not known", "No address associated with hostname", "Name does not resolve"];

impl Reason {
    /// That a host's address is not known, as the system or a program says.
    pub(super) fn unresolved(text: String) -> Self {
        let is_known_of_none = NO_SUCH_HOST.iter().any(|said| text.contains(said));
        let kind = if is_known_of_none { io::ErrorKind::NotFound } else { io::ErrorKind::TimedOut };
        Self::Unresolved(io::Error::new(kind, text))
    }
}
