//! What `drill --report` has left in a folder, as far as the page shows it. Anything may have been copied into that
//! folder: whatever is no such report is counted and passed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use offsite::names::{HostName, SetName};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Most reports that are read: those that were written last. Two a week for nine years.
const FILES: usize = 1000;

/// Most files that are looked at.
const ENTRIES: usize = 100_000;

/// Longest report, in bytes: some ten thousand sets.
const LONGEST: u64 = 16 << 20;

/// Most names of keys or recipients that are kept of a drill.
const NAMES: usize = 64;

/// Most characters of a text that are kept.
const TEXT: usize = 500;

/// The reports in a folder.
pub(super) struct Files(Vec<PathBuf>);

/// The drills of each set.
#[derive(Default)]
pub(super) struct Drills {
    of: BTreeMap<(HostName, SetName), OfSet>,
    /// How many reports there are.
    pub(super) reports: usize,
    /// How many files are not what they should be.
    pub(super) unreadable: usize,
}

/// Whether there is such a set.
pub(super) type Known<'a> = &'a dyn Fn(&HostName, &SetName) -> bool;

/// The drills of a set.
#[derive(Default)]
pub(super) struct OfSet {
    /// The last one.
    pub(super) last: Option<Drill>,
    /// The last that restored all of a backup.
    pub(super) last_full: Option<Drill>,
}

/// What came of a drill of a set.
#[derive(Clone)]
pub(super) struct Drill {
    pub(super) time: OffsetDateTime,
    pub(super) passed: bool,
    pub(super) full: bool,
    pub(super) store: String,
    /// The backup, where there was one to drill.
    pub(super) backup: Option<String>,
    /// Fingerprints of the recipients whose keys have opened it.
    pub(super) proven: Vec<String>,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

/// The report of a drill; whatever else stands in one is passed over.
#[derive(Deserialize)]
struct Report {
    time: String,
    store: String,
    extent: Extent,
    backups: Vec<Backup>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Extent {
    Quick,
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Passed,
    Failed,
    NotDrilled,
}

#[derive(Deserialize)]
struct Backup {
    host: String,
    set: String,
    result: Outcome,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    recipients: Vec<Recipient>,
    #[serde(default)]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Recipient {
    fingerprint: String,
    proven: bool,
}

#[derive(Deserialize)]
struct Failure {
    text: String,
}

impl Files {
    /// Those in a folder that were written last.
    ///
    /// # Errors
    ///
    /// [`offsite::Error::File`] where it is no folder that can be read.
    pub(super) fn list(folder: &Path) -> offsite::Result<Self> {
        let failed = |source| offsite::Error::File { action: "read", path: folder.to_path_buf(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)?.take(ENTRIES) {
            let path = entry.map_err(failed)?.path();
            // The report's other form lies beside it.
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let written = path.metadata().and_then(|metadata| metadata.modified());
            files.push((written.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
        files.sort_unstable_by(|one, other| other.cmp(one));
        Ok(Self(files.into_iter().take(FILES).map(|(_, path)| path).collect()))
    }
}

impl Drills {
    /// Reads what the reports tell of known sets, until now.
    pub(super) fn read(files: &Files, is_known: Known<'_>, now: OffsetDateTime) -> Self {
        let mut drills = Self::default();
        for path in &files.0 {
            match read(path) {
                Some(report) => drills.add(report, is_known, now),
                None => drills.unreadable += 1,
            }
        }
        drills
    }

    /// Those of a set.
    pub(super) fn of(&self, host: &HostName, set: &SetName) -> Option<&OfSet> {
        self.of.get(&(host.clone(), set.clone()))
    }

    fn add(&mut self, report: Report, is_known: Known<'_>, now: OffsetDateTime) {
        let Some(time) = OffsetDateTime::parse(&report.time, &Rfc3339).ok().filter(|time| *time <= now) else {
            self.unreadable += 1;
            return;
        };
        self.reports += 1;
        let full = report.extent == Extent::Full;
        for backup in report.backups.into_iter().filter(|backup| backup.result != Outcome::NotDrilled) {
            let (Ok(host), Ok(set)) = (backup.host.parse(), backup.set.parse()) else { continue };
            if !is_known(&host, &set) {
                continue;
            }
            let proven = backup.recipients.into_iter().filter(|recipient| recipient.proven);
            let drill = Drill {
                time,
                passed: backup.result == Outcome::Passed,
                full,
                store: short(report.store.clone()),
                backup: backup.id.map(short),
                proven: proven.take(NAMES).map(|recipient| short(recipient.fingerprint)).collect(),
                failure: backup.failures.into_iter().next().map(|failure| short(failure.text)),
            };
            let of = self.of.entry((host, set)).or_default();
            let is_newer = |last: &Option<Drill>| last.as_ref().is_none_or(|last| last.time <= drill.time);
            if full && is_newer(&of.last_full) {
                of.last_full = Some(drill.clone());
            }
            if is_newer(&of.last) {
                of.last = Some(drill);
            }
        }
    }
}

fn short(text: String) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Reads a report; None where it is none, or longer than any.
fn read(path: &Path) -> Option<Report> {
    // To open a pipe would wait for whoever writes to it.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    File::open(path).ok()?.take(LONGEST + 1).read_to_end(&mut text).ok()?;
    if text.len() as u64 > LONGEST { None } else { serde_json::from_slice(&text).ok() }
}
