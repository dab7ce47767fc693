//! `offsite key check`

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use offsite::cms::{self, Certificate};
use offsite::files::Place;
use offsite::hashes::Fingerprint;
use offsite::operations::drill::{Blame, Drill, Drilled, Extent, Key, drill};
use offsite::operations::key_check::{KeyFileView, Proof, open_message, view_key_file};
use offsite::operations::{self, backups::Found};
use offsite::pins::Verdict;
use offsite::receipt::rfc_3339;
use offsite::shown;
use serde::Serialize;

use crate::commands::{Failure, OpenStore, conclude, private_key, written};
use crate::terminal::{self, Progress};
use crate::{arguments, words};

/// The JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report {
    key: KeyReport,
    files: Vec<FileReport>,
    backups: Vec<BackupReport>,
}

#[derive(Serialize)]
struct KeyReport {
    file: String,
    kind: String,
    form: &'static str,
    /// How a passphrase protects it; None where none does.
    protection: Option<String>,
    certificates: Vec<CertificateReport>,
}

#[derive(Serialize)]
struct CertificateReport {
    name: String,
    fingerprint: String,
    /// None where the certificate does not say it.
    expires: Option<String>,
    /// Whether it is the key's.
    own: bool,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    opens: bool,
    /// Whether an integrity check has proven it.
    authenticated: bool,
}

#[derive(Serialize)]
struct BackupReport {
    host: String,
    set: String,
    id: String,
    opens: bool,
    /// The name of the recipient that the key is; None where it is none, or it cannot be told.
    recipient: Option<String>,
}

pub(crate) fn run(arguments: &arguments::KeyCheck) -> Result<(), Failure> {
    let progress = Progress::silent();
    let path = &arguments.key.key;
    let view = view_key_file(path)?;
    let private = private_key(&arguments.key)?;
    let key = Key { path: path.clone(), private };
    let mut report = Report { key: key_report(&view, &key), files: Vec::new(), backups: Vec::new() };
    let opened = if !arguments.files.is_empty() {
        files(&arguments.files, &key, &mut report.files)
    } else if !arguments.store.from.is_empty() {
        store(&arguments.store, &key, &mut report.backups, &progress)
    } else {
        Ok(())
    };
    let text = if arguments.json { json(&report) } else { text(&report) };
    written(io::stdout().write_all(text.as_bytes()))?;
    conclude(opened.and_then(|()| whole(&report)), &progress)
}

/// A certificate that is not the key's is of no use to stock tools, and no key's file should have one.
fn whole(report: &Report) -> Result<(), Failure> {
    let Some(strange) = report.key.certificates.iter().find(|certificate| !certificate.own) else { return Ok(()) };
    terminal::error(&format!("{}: the certificate of {} is not this key's", report.key.file, strange.name));
    terminal::hint("openssl takes the key's own certificate with -recip: put that into the file instead");
    Err(Failure::Reported)
}

fn key_report(view: &KeyFileView, key: &Key) -> KeyReport {
    let certificate = |certificate: &Certificate| CertificateReport {
        name: certificate.name(),
        fingerprint: Fingerprint::of(certificate).to_string(),
        expires: certificate.not_after().map(rfc_3339),
        own: key.private.is_of(certificate),
    };
    KeyReport {
        file: shown(&key.path),
        kind: key.private.kind(),
        form: view.form,
        protection: view.protection.clone(),
        certificates: view.certificates.iter().map(certificate).collect(),
    }
}

/// Opens the first slice of each file.
fn files(paths: &[PathBuf], key: &Key, reports: &mut Vec<FileReport>) -> Result<(), Failure> {
    let mut end = Ok(());
    for path in paths {
        let opened = match open_message(&Place::Path(path.clone()), &key.private) {
            Ok(proof) => Some(proof),
            Err(error) => {
                let failure = if does_not_open(&error) { Failure::Damaged } else { Failure::Reported };
                Failure::Library(error).report();
                // That it does not open outweighs that a file cannot be read.
                if !matches!(end, Err(Failure::Damaged)) {
                    end = Err(failure);
                }
                None
            }
        };
        let authenticated = opened == Some(Proof::Verified);
        reports.push(FileReport { file: shown(path), opens: opened.is_some(), authenticated });
    }
    end
}

fn does_not_open(error: &offsite::Error) -> bool {
    use cms::Error::{Decryption, NotForThisKey, Slice};
    matches!(error, offsite::Error::Cms { source: Decryption | NotForThisKey { .. } | Slice { .. }, .. })
}

/// Opens the plan of each backup that can be trusted.
fn store(
    arguments: &arguments::FromStore,
    key: &Key,
    reports: &mut Vec<BackupReport>,
    progress: &Progress,
) -> Result<(), Failure> {
    let source = OpenStore::new(arguments, progress)?;
    let found = operations::list(&*source.store, &source.scope, &source.pins, progress)?;
    if found.is_empty() && !progress.is_damaged() {
        return Err(offsite::Error::NoBackup { host: None, set: None }.into());
    }
    let keys = std::slice::from_ref(key);
    // Nothing is restored: one thread is enough, and no folder is used.
    let threads = NonZero::<usize>::MIN;
    let what = Drill { store: &*source.store, keys, extent: Extent::Plan, folder: Path::new("/var/tmp"), threads };
    let mut worst = None;
    let mut refused = Refused::default();
    for found in found.iter().filter(|found| found.trust != Verdict::NotPinned) {
        let drilled = drill(&what, found, progress);
        for failure in drilled.failures.first() {
            let text = format!("{}/{}: {failure}", found.name.host, found.name.set);
            if failure.blame == Blame::Key { refused.add(text) } else { terminal::error(&text) }
        }
        worst = worst.max(drilled.failures.worst());
        reports.push(backup_report(found, &drilled));
        if drilled.outage {
            break;
        }
    }
    refused.tell();
    match worst {
        None => Ok(()),
        Some(Blame::Key | Blame::Backup) => Err(Failure::Damaged),
        Some(Blame::Store | Blame::Machine) => Err(Failure::Reported),
    }
}

/// The backups that the key does not open. With a wrong key these are all, and the first tells why.
#[derive(Default)]
struct Refused {
    first: Option<String>,
    more: u64,
}

impl Refused {
    fn add(&mut self, text: String) {
        self.more += u64::from(self.first.is_some());
        self.first.get_or_insert(text);
    }

    fn tell(self) {
        let Some(mut text) = self.first else { return };
        if self.more > 0 {
            text += &format!("; nor does it open {}", words::counted(self.more, "other"));
        }
        terminal::error_with(&text, Some(words::WRONG_KEY));
    }
}

fn backup_report(found: &Found, drilled: &Drilled) -> BackupReport {
    let own = drilled.recipients.iter().find(|recipient| recipient.key.is_some());
    BackupReport {
        host: found.name.host.to_string(),
        set: found.name.set.to_string(),
        id: found.name.backup.to_string(),
        opens: drilled.opened.first() == Some(&true),
        recipient: own.and_then(|own| own.certificate.as_ref()).map(Certificate::name),
    }
}

fn json(report: &Report) -> String {
    // Strings and truths: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13}{value}");
    };
    let key = &report.key;
    line("key", &format!("{}: {}, {}", key.file, key.kind, key.form));
    line("passphrase", key.protection.as_deref().unwrap_or("none: whoever has the file has the key"));
    if key.certificates.is_empty() {
        line("certificate", "none in the file");
    }
    for certificate in &key.certificates {
        let own = if certificate.own { "the key's own" } else { "not this key's" };
        let expires = certificate.expires.as_ref().map(|expires| format!(", expires {expires}")).unwrap_or_default();
        line("certificate", &format!("{}, {own}{expires}", certificate.name));
        line("", &certificate.fingerprint);
    }
    for file in &report.files {
        let opens = match (file.opens, file.authenticated) {
            (true, true) => "opens",
            (true, false) => "opens; the content has no integrity check",
            (false, _) => "does not open",
        };
        line("file", &format!("{}: {opens}", file.file));
    }
    if !report.backups.is_empty() {
        let row = |backup: &BackupReport| {
            let opens = if backup.opens { "yes" } else { "no" }.to_owned();
            let recipient = backup.recipient.clone().unwrap_or_else(|| "-".to_owned());
            [backup.host.clone(), backup.set.clone(), backup.id.clone(), opens, recipient]
        };
        let headings = ["HOST", "SET", "BACKUP", "OPENS", "RECIPIENT"];
        text += &words::table(headings, report.backups.iter().map(row), &[]);
    }
    text
}
