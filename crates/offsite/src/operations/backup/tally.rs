//! What a backup amounts to, and what happened on the way; told from several threads.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::archive::incident::Incident;
use crate::archive::member::{LeadsTo, Member};
use crate::archive::metadata::{Kind, Metadata};
use crate::events::{Events, Warning};
use crate::receipt::{Counts, limits};

/// Counts, and passes on what is to be told.
pub(super) struct Tally<'a> {
    events: &'a dyn Events,
    /// Whether archive paths, with a slash before them, are this machine's.
    rooted: bool,
    files: AtomicU64,
    folders: AtomicU64,
    others: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(events: &'a dyn Events, rooted: bool) -> Self {
        let [files, folders, others, bytes, errors] = Default::default();
        Self { events, rooted, files, folders, others, bytes, errors }
    }

    /// Something happened to an entry.
    pub(super) fn incident(&self, incident: Incident) {
        self.errors.fetch_add(u64::from(incident.is_loss()), Ordering::Relaxed);
        let path = self.named(incident.path);
        self.events.warn(Warning::Entry { path, what: incident.what });
    }

    /// An archive path, as people know the entry.
    fn named(&self, mut path: Vec<u8>) -> PathBuf {
        if self.rooted {
            path.insert(0, b'/');
        } else if path.is_empty() {
            path.push(b'.');
        }
        OsString::from_vec(path).into()
    }

    /// An entry is stored.
    pub(super) fn member(&self, member: &Member) {
        self.entry(&member.metadata, matches!(member.leads_to, LeadsTo::Leader(_)));
    }

    /// An entry is stored, or would be; of an inode's names all but one are further ones.
    pub(super) fn entry(&self, metadata: &Metadata, is_further_name: bool) {
        let counter = match metadata.kind {
            Kind::File => &self.files,
            Kind::Folder => &self.folders,
            _ => &self.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if metadata.kind == Kind::File && !is_further_name {
            self.add_bytes(metadata.size);
        }
    }

    /// Contents can be longer than a receipt's numbers: holes take no space.
    fn add_bytes(&self, bytes: u64) {
        let add = |sum: u64| Some(sum.saturating_add(bytes).min(limits::NUMBER));
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// A stream of so many bytes is stored.
    pub(super) fn stream(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.add_bytes(bytes);
    }

    /// So many bytes were read.
    pub(super) fn progress(&self, bytes: u64) {
        self.events.progress(bytes);
    }

    /// What to say after a member's content has been read, and whether it is torn.
    pub(super) fn after_reading(&self, path: &[u8], member: &Member, failure: Option<std::io::Error>) -> bool {
        let what = member.after_reading(failure);
        let torn = what.is_some();
        if let Some(what) = what {
            self.incident(Incident::new(path, what));
        }
        torn
    }

    pub(super) fn counts(&self) -> Counts {
        let [files, folders, others, bytes, errors] =
            [&self.files, &self.folders, &self.others, &self.bytes, &self.errors]
                .map(|counter| counter.load(Ordering::Relaxed));
        Counts { files, folders, others, bytes, errors }
    }
}
