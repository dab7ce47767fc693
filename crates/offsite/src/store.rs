//! Where objects are kept: put there by those who back up, read by those who restore, deleted by
//! those who prune. Three traits, and a handle of its own for each of them, so that the types show
//! who may do what: `backup` is given a [`Put`], and from a [`Put`] leads no way to a [`Read`]. A fourth,
//! [`Probe`], tries what a store lets this machine do, on objects that no backup has.
//!
//! ```compile_fail
//! fn peek(store: &dyn offsite::store::Put) -> &dyn offsite::store::Read { store }
//! ```
//!
//! All calls block, may come from several threads at once, and name the store and the object in
//! their errors. [`Error::is_retryable`] tells whether trying again may help. `conformance.rs`
//! holds the rules below as tests; every store passes them.

mod directory;
mod error;
mod location;
mod pace;
mod patience;
mod probe;
mod s3;
mod sftp;

use std::fmt;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::names::{Folder, HostName, ObjectName};

pub use error::{CertificateFault, CredentialFault, Error, Reason, Result};
pub use location::{Location, LocationError, S3Location, SftpLocation};
pub use probe::{Power, Probe};

/// May put, and nothing else.
pub trait Put: Send + Sync {
    /// Puts a whole object under a name that no object has.
    ///
    /// After `Ok` the object is durable and complete. It never shows under its name before it is
    /// complete, whatever happens to the process or the machine. An object that is there is never
    /// changed or replaced: of several puts of one name, at once or one after the other, one
    /// succeeds, and the others fail with [`Reason::AlreadyExists`], be the bytes equal or not; the
    /// object that stands in their way is durable as well.
    ///
    /// After any other error the object is not there, as far as the store can tell, and the same
    /// put may be tried again through the same handle: it succeeds also where an earlier attempt
    /// of these very bytes arrived and only its answer was lost. A store that retries by itself
    /// keeps to this within one call.
    ///
    /// An object's name is never a folder's name as well (`a/b` and `a/b/c`).
    ///
    /// # Errors
    ///
    /// [`Reason::AlreadyExists`], [`Reason::PermissionDenied`], [`Reason::Full`],
    /// [`Reason::NotAnObject`], [`Reason::Unreachable`], [`Reason::Io`].
    fn put(&self, object: &ObjectName, bytes: Bytes) -> Result<()>;

    /// How many puts at once serve the store best.
    fn at_once(&self) -> usize {
        2
    }

    /// The id that tells this store from every other, always the same; None where a store keeps none.
    ///
    /// # Errors
    ///
    /// Where it cannot be asked for.
    fn id(&self) -> Result<Option<StoreId>>;

    /// Whether an object of this name and size, in bytes, is there; None where that may not be
    /// asked. It tells nothing about the object's contents.
    ///
    /// # Errors
    ///
    /// Where it cannot be told, though it may be asked.
    fn holds(&self, object: &ObjectName, size: u64) -> Result<Option<bool>>;
}

/// May get and list.
pub trait Read: Send + Sync {
    /// Gets a whole object of at most `limit` bytes. No more than that is kept in memory.
    ///
    /// # Errors
    ///
    /// [`Reason::NotFound`], [`Reason::TooLarge`], [`Reason::NotAnObject`],
    /// [`Reason::PermissionDenied`], [`Reason::Unreachable`], [`Reason::Io`].
    fn get(&self, object: &ObjectName, limit: usize) -> Result<Vec<u8>>;

    /// As [`Read::get`], in memory that is no longer needed, where the store can: an allocator would
    /// rather keep that than give it again.
    ///
    /// # Errors
    ///
    /// As [`Read::get`].
    fn get_in(&self, object: &ObjectName, limit: usize, memory: Vec<u8>) -> Result<Vec<u8>> {
        drop(memory);
        self.get(object, limit)
    }

    /// How many gets at once serve the store best.
    fn at_once(&self) -> usize {
        2
    }

    /// Hands every version of an object that is no longer than `limit` bytes to `each`, the oldest
    /// first, until there is no more or `each` breaks; none where the store keeps no versions.
    ///
    /// # Errors
    ///
    /// [`Reason::Unreachable`], [`Reason::Io`].
    fn versions(
        &self,
        object: &ObjectName,
        limit: usize,
        each: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<()> {
        let _ = (object, limit, each);
        Ok(())
    }

    /// Hands every object below a folder, at any depth, to `each`, in the order of the bytes of
    /// their names, until there is no more or `each` breaks. A folder that does not exist has no
    /// objects. `data/a` is a folder's name, so that `data/ab/c` does not lie below it.
    ///
    /// Memory does not grow with the number of objects. An object that comes or goes meanwhile is
    /// listed or not; every other is listed once. What is no object (its name is no [`ObjectName`],
    /// it is a link or device, an unfinished put) is passed over.
    ///
    /// # Errors
    ///
    /// [`Reason::PermissionDenied`], [`Reason::Unreachable`], [`Reason::Io`]; objects may have been
    /// handed over before.
    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<()>;
}

/// May delete, and nothing else.
pub trait Delete: Send + Sync {
    /// Deletes an object, for good and durably. One that is not there is deleted already.
    ///
    /// # Errors
    ///
    /// [`Reason::NotAnObject`], [`Reason::PermissionDenied`], [`Reason::Unreachable`], [`Reason::Io`].
    fn delete(&self, object: &ObjectName) -> Result<()>;
}

/// An object as a store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub object: ObjectName,
    /// Its length in bytes.
    pub size: u64,
    /// When it was put, as the store says: no proof of anything. Of several versions, this and the
    /// size are the oldest one's: names are given once, so that one is ours.
    pub time: OffsetDateTime,
    /// How many versions of it there are: 1 where the store keeps none.
    pub versions: u32,
    /// Whether the store hides it since somebody deleted it, and keeps it nevertheless.
    pub hidden: bool,
}

/// What tells one store from another: 16 random bytes, as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(u128);

impl StoreId {
    /// The id of a store that is being made.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for StoreId {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let id = u128::from_str_radix(text, 16).map(Self).map_err(|_| Reason::BadId)?;
        if id.to_string() == text { Ok(id) } else { Err(Reason::BadId) }
    }
}

/// How a store is opened to put objects into it.
#[derive(Clone)]
pub struct PutSettings {
    /// The id of the store, should this be the first that is put there.
    pub new_id: StoreId,
    /// How many bytes a second may be sent, at most; None for as many as there can be. A directory
    /// takes no notice.
    pub limit: Option<NonZero<u64>>,
    /// Is told when a store cannot be reached, and a put therefore tried again; once for each time
    /// that this happens.
    pub notice: Notice,
}

impl PutSettings {
    /// No limit, and nobody is told anything.
    #[must_use]
    pub fn new(new_id: StoreId) -> Self {
        Self { new_id, limit: None, notice: nobody() }
    }
}

/// How a store is opened to read from it.
#[derive(Clone)]
pub struct ReadSettings {
    /// What was put later is not there: for stores that keep versions.
    pub as_of: Option<OffsetDateTime>,
    /// Not to be allowed to list versions is an error, and not taken for a store that keeps none.
    pub every_version: bool,
    /// Is told when the store cannot be reached, and something therefore tried again.
    pub notice: Notice,
}

impl ReadSettings {
    /// What is there now, and nobody is told anything.
    #[must_use]
    pub fn new() -> Self {
        Self { as_of: None, every_version: false, notice: nobody() }
    }
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Is told why something is tried again, and for about how long.
pub type Notice = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

/// Nobody is told.
fn nobody() -> Notice {
    Arc::new(|_, _| {})
}

/// Opens a store to put objects into it. A directory is made, if its parent exists, and gets the new id
/// unless it has one.
///
/// # Errors
///
/// [`Reason::NoParent`], [`Reason::BadId`], [`Reason::PermissionDenied`], [`Reason::Full`], [`Reason::Io`].
pub fn open_for_put(location: &Location, settings: &PutSettings) -> Result<Box<dyn Put>> {
    match location {
        Location::Directory(path) => Ok(Box::new(directory::DirectoryPut::open(path, settings.new_id)?)),
        Location::S3(bucket) => Ok(Box::new(s3::S3Put::open(bucket, settings)?)),
        Location::Sftp(location) => Ok(Box::new(sftp::SftpPut::open(location, settings)?)),
    }
}

/// Opens a store to read from it. Nothing is made.
///
/// # Errors
///
/// [`Reason::NoStore`], [`Reason::NoVersions`], [`Reason::PermissionDenied`], [`Reason::Io`].
pub fn open_for_read(location: &Location, settings: &ReadSettings) -> Result<Box<dyn Read>> {
    match location {
        Location::Directory(_) | Location::Sftp(_) if settings.as_of.is_some() => {
            Err(Error { store: location.to_string(), action: "read", object: None, reason: Reason::NoVersions })
        }
        Location::Directory(path) => Ok(Box::new(directory::DirectoryRead::open(path)?)),
        Location::S3(bucket) => Ok(Box::new(s3::S3Read::open(bucket, settings)?)),
        Location::Sftp(location) => Ok(Box::new(sftp::SftpRead::open(location, settings.notice.clone())?)),
    }
}

/// Opens a store to try what may be done to it by whoever puts this host's backups there; None over SFTP,
/// where whoever may log in may do anything, and to log in is all there is to try. A directory is made as
/// [`open_for_put`] makes it.
///
/// # Errors
///
/// As [`open_for_put`].
pub fn open_for_probe(location: &Location, settings: &PutSettings, host: &HostName) -> Result<Option<Box<dyn Probe>>> {
    let names = probe::Names::new(host, settings.new_id);
    Ok(match location {
        Location::Directory(path) => Some(Box::new(directory::DirectoryProbe::open(path, settings.new_id, names)?)),
        Location::S3(bucket) => Some(Box::new(s3::S3Probe::open(bucket, names)?)),
        Location::Sftp(location) => {
            sftp::SftpPut::open(location, settings)?;
            None
        }
    })
}

/// Opens a store to delete from it. Nothing is made.
///
/// # Errors
///
/// [`Reason::NoStore`], [`Reason::PermissionDenied`], [`Reason::Io`].
pub fn open_for_delete(location: &Location) -> Result<Box<dyn Delete>> {
    match location {
        Location::Directory(path) => Ok(Box::new(directory::DirectoryDelete::open(path)?)),
        Location::S3(bucket) => Ok(Box::new(s3::S3Delete::open(bucket, nobody())?)),
        Location::Sftp(location) => Ok(Box::new(sftp::SftpDelete::open(location, nobody())?)),
    }
}

/// Reads any bytes as servers' answers, in every way that stores read them: as a refusal of S3's, and
/// as packets of SFTP's, whose first byte is their kind. What is made of them, in words fit for a
/// terminal. For fuzzing.
#[must_use]
pub fn read_answers(bytes: &[u8]) -> Vec<String> {
    vec![s3::read_refusal(bytes), sftp::read_packet(bytes)]
}

#[cfg(test)]
mod conformance;
