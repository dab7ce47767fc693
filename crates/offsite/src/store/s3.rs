//! A store in a bucket: S3 (Amazon S3 API Reference, 2006-03-01) and what speaks it.
//!
//! - To put is one `PutObject` with `If-None-Match: *` and a checksum, and nothing else: no `HEAD`, no
//!   list, no multipart upload. A credential that may do nothing but that is enough.
//! - The retries of a put are ours, since only who knows of earlier attempts can tell what `412` means:
//!   after one whose answer was lost, that it arrived.
//! - Where the bucket keeps versions, the oldest one of an object is the one that was put under its
//!   name; later ones, and marks that hide it, are somebody else's.

mod probe;
mod refusal;
mod transport;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use opendal_core::options::{DeleteOptions, ListOptions, ReaderOptions, WriteOptions};
use opendal_core::{EntryMode, HttpTransporter, Lister, Operator};
use opendal_service_s3::S3;
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use crate::hashes::Sha256;
use crate::names::{Folder, ObjectName};
use crate::store::pace::Pace;
use crate::store::patience::Patience;
use crate::store::{
    Delete, Error, Listed, Location, Notice, Put, PutSettings, Read, ReadSettings, Reason, Result, S3Location, StoreId,
};
use transport::{Ahead, Transport};

pub(super) use probe::S3Probe;

/// Enough to fill a line of 1 Gbit/s and 50 ms.
const AT_ONCE: usize = 4;

/// So many versions of an object are remembered; whoever adds to them adds later ones.
const MOST_VERSIONS: usize = 1000;

/// So many of them are got: ours is the first, or hardly more than that where puts are unconditional.
const TRIED_VERSIONS: usize = 16;

/// Amazon's service. It is named in any case, since OpenDAL would take another from the environment, of
/// which the store's name, and so its state, would know nothing.
const AMAZON: &str = "https://s3.amazonaws.com";

/// Services other than Amazon's take any.
const ANY_REGION: &str = "us-east-1";

/// A bucket, or what lies below a prefix in it.
struct Bucket {
    operator: Operator,
    /// Requests run here, while the caller waits.
    runtime: Runtime,
    /// As the location is written.
    name: String,
    /// What every key begins with: nothing, or the prefix and a slash. OpenDAL is not told of it, since it
    /// takes for granted that listed keys begin so.
    prefix: String,
    conditional: bool,
    ahead: Arc<Ahead>,
}

impl Bucket {
    fn open(location: &S3Location, pace: Pace) -> Result<Self> {
        let name = Location::S3(location.clone()).to_string();
        let opened = |reason| Error { store: name.clone(), action: "open", object: None, reason };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| opened(Reason::Io(error)))?;
        let ahead = Arc::new(Ahead::default());
        let operator = operator(location, pace, ahead.clone()).map_err(&opened)?;
        let prefix = if location.prefix.is_empty() { String::new() } else { format!("{}/", location.prefix) };
        Ok(Self { operator, runtime, name, prefix, conditional: location.conditional, ahead })
    }

    fn key(&self, object: &str) -> String {
        format!("{}{object}", self.prefix)
    }

    /// Adds the names to an error.
    fn failed(&self, action: &'static str, object: &str, reason: Reason) -> Error {
        Error { store: self.name.clone(), action, object: Some(object.to_owned()).filter(|o| !o.is_empty()), reason }
    }

    /// Waits for a request.
    fn wait<T>(&self, request: impl Future<Output = opendal_core::Result<T>>) -> Result<T, Reason> {
        self.runtime.block_on(request).map_err(|error| refusal::reason(&error))
    }

    /// Puts an object, if wanted on condition that there is none; its version, where the bucket keeps these.
    async fn put(&self, object: &str, bytes: Bytes, if_not_exists: bool) -> opendal_core::Result<Option<String>> {
        let options = WriteOptions { if_not_exists, ..WriteOptions::default() };
        let metadata = self.operator.write_options(&self.key(object), bytes, options).await?;
        // As long as a bucket's versions are suspended, every put replaces this one.
        Ok(metadata.version().filter(|version| *version != "null").map(str::to_owned))
    }

    /// Gets one version of an object; None for the current one.
    fn get(&self, object: &str, version: Option<String>, limit: usize, mut memory: Vec<u8>) -> Result<Vec<u8>, Reason> {
        memory.clear();
        let options = ReaderOptions { version, ..ReaderOptions::default() };
        let got = self.wait(async {
            let reader = self.operator.reader_options(&self.key(object), options).await?;
            let mut pieces = reader.into_stream(..).await?;
            while let Some(piece) = pieces.try_next().await? {
                if memory.len() + piece.len() > limit {
                    return Ok(None);
                }
                for bytes in piece {
                    memory.extend_from_slice(&bytes);
                }
            }
            Ok(Some(memory))
        });
        got?.ok_or(Reason::TooLarge { limit })
    }

    async fn lister(&self, start: &str, versions: bool, deleted: bool) -> opendal_core::Result<Lister> {
        let options = ListOptions { recursive: true, versions, deleted, ..ListOptions::default() };
        self.operator.lister_options(&self.key(start), options).await
    }

    /// The versions of an object, oldest first, of those that were put by then. Of very many only the
    /// oldest, among which is the one that was put first.
    fn versions(&self, object: &str, as_of: Option<OffsetDateTime>, deleted: bool) -> Result<Vec<Version>, Reason> {
        let mut versions = self.wait(async {
            // The latest come first.
            let mut versions = VecDeque::new();
            let key = self.key(object);
            let mut entries = self.lister(object, true, deleted).await?;
            while let Some(entry) = entries.try_next().await? {
                let metadata = entry.metadata();
                let time = time(metadata);
                if entry.path() != key || as_of.is_some_and(|as_of| time > as_of) {
                    continue;
                }
                if versions.len() == MOST_VERSIONS {
                    versions.pop_front();
                }
                let id = metadata.version().map(ToOwned::to_owned);
                versions.push_back(Version { id, time, size: metadata.content_length() });
            }
            Ok(Vec::from(versions))
        })?;
        versions.reverse();
        versions.sort_by_key(|version| version.time);
        Ok(versions)
    }

    /// Deletes the current version of an object, or a named one.
    fn delete(&self, object: &str, version: Option<String>) -> Result<(), Reason> {
        let options = DeleteOptions { version, ..DeleteOptions::default() };
        self.wait(self.operator.delete_options(&self.key(object), options))
    }
}

/// One version of an object.
struct Version {
    id: Option<String>,
    time: OffsetDateTime,
    size: u64,
}

fn operator(location: &S3Location, pace: Pace, ahead: Arc<Ahead>) -> Result<Operator, Reason> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_amazon = location.endpoint.is_none();
    let region = location.region.clone().or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"));
    let region = region.or_else(|| (!is_amazon).then(|| ANY_REGION.to_owned())).ok_or(Reason::NoRegion)?;
    // Amazon wants the bucket in the host's name, for which TLS allows no dots.
    let virtual_host = location.virtual_host.unwrap_or(is_amazon && !location.bucket.contains('.'));
    let endpoint = location.endpoint.as_deref().unwrap_or(AMAZON);
    let mut builder = S3::default().bucket(&location.bucket).region(&region);
    builder = builder.checksum_algorithm("crc32c").endpoint(endpoint);
    if let Some(profile) = &location.profile {
        builder = builder.profile(profile);
    }
    if virtual_host {
        builder = builder.enable_virtual_host_style();
    }
    let operator = Operator::new(builder).map_err(|error| refusal::reason(&error))?;
    let transport = Transport::new(endpoint.starts_with("https:"), pace, ahead)?;
    let context = operator.context().with_http_transport(HttpTransporter::new(transport));
    Ok(operator.with_context(context))
}

/// Puts into a bucket.
pub(super) struct S3Put {
    bucket: Bucket,
    patience: Patience,
    /// Objects whose puts failed and may have arrived nevertheless, with the hashes of their bytes.
    unsure: Mutex<BTreeMap<ObjectName, Sha256>>,
}

impl S3Put {
    pub(super) fn open(location: &S3Location, settings: &PutSettings) -> Result<Self> {
        let bucket = Bucket::open(location, Pace::new(settings.limit))?;
        Ok(Self { bucket, patience: Patience::new(settings.notice.clone()), unsure: Mutex::default() })
    }

    fn unsure(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectName, Sha256>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt.
    fn attempt(&self, object: &ObjectName, bytes: &Bytes) -> Result<()> {
        match self.bucket.wait(self.bucket.put(object.as_str(), bytes.clone(), self.bucket.conditional)) {
            Ok(_) => {
                self.unsure().remove(object);
                Ok(())
            }
            Err(Reason::AlreadyExists) if self.unsure().get(object) == Some(&Sha256::of(bytes)) => {
                self.unsure().remove(object);
                Ok(())
            }
            Err(reason) => {
                if let Reason::Unreachable(_) = reason {
                    self.unsure().insert(object.clone(), Sha256::of(bytes));
                }
                Err(self.bucket.failed("put", object.as_str(), reason))
            }
        }
    }
}

impl Put for S3Put {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> Result<()> {
        self.patience.attempt(|| self.attempt(object, &bytes))
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    /// The bucket may not be asked: its name tells it from others.
    fn id(&self) -> Result<Option<StoreId>> {
        Ok(None)
    }

    fn holds(&self, _: &ObjectName, _: u64) -> Result<Option<bool>> {
        Ok(None)
    }
}

/// Reads from a bucket.
pub(super) struct S3Read {
    bucket: Bucket,
    patience: Patience,
    as_of: Option<OffsetDateTime>,
    every_version: bool,
    /// Whether the bucket or the credential has turned out to know of no versions.
    no_versions: AtomicBool,
}

impl S3Read {
    pub(super) fn open(location: &S3Location, settings: &ReadSettings) -> Result<Self> {
        let bucket = Bucket::open(location, Pace::new(None))?;
        Ok(Self {
            bucket,
            patience: Patience::short(settings.notice.clone()),
            as_of: settings.as_of,
            every_version: settings.every_version,
            no_versions: AtomicBool::new(false),
        })
    }

    /// Whether that is why current versions have to do.
    fn does_without_versions(&self, reason: &Reason) -> bool {
        let has_none = match reason {
            Reason::Unsupported(_) => true,
            Reason::PermissionDenied(_) => !self.every_version,
            _ => false,
        };
        has_none && self.as_of.is_none()
    }

    /// Lists what begins with the name of a folder and a slash.
    fn list_once(
        &self,
        folder: &str,
        versions: bool,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), Reason> {
        let mut entries = self.bucket.wait(self.bucket.lister(folder, versions, false))?;
        let mut group: Option<Listed> = None;
        while let Some(entry) = self.bucket.wait(async { entries.next().await.transpose() })? {
            let metadata = entry.metadata();
            let name = entry.path().strip_prefix(&self.bucket.prefix);
            let Some(object) = name.and_then(|name| name.parse::<ObjectName>().ok()) else { continue };
            let time = time(metadata);
            if metadata.mode() != EntryMode::FILE || self.as_of.is_some_and(|as_of| time > as_of) {
                continue;
            }
            // What hides it today says nothing of another time.
            let is_current = self.as_of.is_some() || metadata.is_current() == Some(true);
            let size = metadata.content_length();
            // Of one object the versions come together, the latest first.
            match &mut group {
                Some(same) if same.object == object => {
                    *same = Listed {
                        object,
                        size,
                        time,
                        versions: same.versions.saturating_add(1),
                        hidden: same.hidden && !is_current,
                    };
                }
                group => {
                    let listed = Listed { object, size, time, versions: 1, hidden: !is_current };
                    if let Some(listed) = group.replace(listed)
                        && each(listed).is_break()
                    {
                        return Ok(());
                    }
                }
            }
        }
        if let Some(listed) = group {
            let _ = each(listed);
        }
        Ok(())
    }
}

impl Read for S3Read {
    fn get(&self, object: &ObjectName, limit: usize) -> Result<Vec<u8>> {
        self.get_in(object, limit, Vec::new())
    }

    fn get_in(&self, object: &ObjectName, limit: usize, memory: Vec<u8>) -> Result<Vec<u8>> {
        let failed = |reason| self.bucket.failed("get", object.as_str(), reason);
        let mut memory = Some(memory);
        self.patience.attempt(|| {
            let version = match self.as_of {
                None => None,
                as_of => {
                    let latest = self.bucket.versions(object.as_str(), as_of, false).map_err(failed)?.pop();
                    latest.ok_or(Reason::NotFound).map_err(failed)?.id
                }
            };
            self.bucket.get(object.as_str(), version, limit, memory.take().unwrap_or_default()).map_err(failed)
        })
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn versions(
        &self,
        object: &ObjectName,
        limit: usize,
        each: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<()> {
        if self.no_versions.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failed = |reason| self.bucket.failed("get", object.as_str(), reason);
        let versions =
            match self.patience.attempt(|| self.bucket.versions(object.as_str(), self.as_of, false).map_err(failed)) {
                Err(Error { reason: Reason::PermissionDenied(_) | Reason::Unsupported(_), .. }) => return Ok(()),
                versions => versions?,
            };
        let fitting = versions.into_iter().filter(|version| version.size <= limit as u64);
        for version in fitting.take(TRIED_VERSIONS) {
            let got = self
                .patience
                .attempt(|| self.bucket.get(object.as_str(), version.id.clone(), limit, Vec::new()).map_err(failed));
            match got {
                Ok(bytes) => {
                    if each(bytes).is_break() {
                        break;
                    }
                }
                Err(error) if error.is_retryable() => return Err(error),
                // Whoever put it may have seen to it that nobody can read it.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<()> {
        let prefix = if folder.as_str().is_empty() { String::new() } else { format!("{folder}/") };
        let failed = |reason| self.bucket.failed("list", folder.as_str(), reason);
        // What was handed over once is not handed over again by another attempt.
        let mut handed_over: Option<ObjectName> = None;
        let mut attempt = |versions| {
            let (resumed, mut last) = (handed_over.clone(), None);
            let mut in_order = true;
            let listed = self.list_once(&prefix, versions, &mut |listed| {
                in_order = last.replace(listed.object.clone()).is_none_or(|last| last < listed.object);
                if !in_order {
                    return ControlFlow::Break(());
                }
                if resumed.as_ref().is_some_and(|resumed| listed.object <= *resumed) {
                    return ControlFlow::Continue(());
                }
                handed_over = Some(listed.object.clone());
                each(listed)
            });
            listed.and(if in_order { Ok(()) } else { Err(Reason::Disordered) })
        };
        self.patience.attempt(|| {
            let versions = !self.no_versions.load(Ordering::Relaxed);
            match attempt(versions) {
                Err(reason) if versions && self.does_without_versions(&reason) => {
                    self.no_versions.store(true, Ordering::Relaxed);
                    attempt(false).map_err(failed)
                }
                listed => listed.map_err(failed),
            }
        })
    }
}

/// Deletes from a bucket.
pub(super) struct S3Delete {
    bucket: Bucket,
    patience: Patience,
}

impl S3Delete {
    pub(super) fn open(location: &S3Location, notice: Notice) -> Result<Self> {
        let bucket = Bucket::open(location, Pace::new(None))?;
        Ok(Self { bucket, patience: Patience::short(notice) })
    }
}

impl Delete for S3Delete {
    /// For good: every version, and every mark that hides one. The oldest, which is the true one, goes last: where
    /// a later one is locked, or this is killed, what there was is still there. Without the right to list versions
    /// nothing is deleted, since what is then only hidden would pass for deleted.
    fn delete(&self, object: &ObjectName) -> Result<()> {
        let failed = |reason| self.bucket.failed("delete", object.as_str(), reason);
        self.patience.attempt(|| {
            loop {
                let versions = match self.bucket.versions(object.as_str(), None, true) {
                    Err(Reason::Unsupported(_)) => vec![None],
                    versions => versions.map_err(failed)?.into_iter().map(|version| version.id).collect(),
                };
                let is_all = versions.len() < MOST_VERSIONS;
                let mut latest_first = versions.into_iter().rev();
                latest_first.try_for_each(|version| self.bucket.delete(object.as_str(), version)).map_err(failed)?;
                if is_all {
                    return Ok(());
                }
            }
        })
    }
}

/// What a refusal says, whose body is this.
pub(super) fn read_refusal(body: &[u8]) -> String {
    refusal::Refusal::new(http::StatusCode::BAD_REQUEST, &http::HeaderMap::new(), body).to_string()
}

/// When a version was put, as the service says.
fn time(metadata: &opendal_core::Metadata) -> OffsetDateTime {
    let modified = metadata.last_modified();
    let nanoseconds = modified.map(|time| time.into_inner().as_nanosecond());
    nanoseconds
        .and_then(|time| OffsetDateTime::from_unix_timestamp_nanos(time).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
