//! Reading a receipt's text, as hostile as it may be. What is read is neither checked nor known to
//! be written in the one way there is.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use offsite_cms::Certificate;
use serde::de::{Deserialize, Deserializer, Error as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::encode::{FORMAT, rfc_3339};
use super::{
    ChainObject, Counts, Error, Given, Link, NoPrevious, Object, Previous, Problem, Receipt, Result, Run, SliceRange,
    Status, limits,
};
use crate::hashes::{Fingerprint, Hashed, Sha256};
use crate::names::{BackupFile, BackupId, HostName, SetName};

/// A value that is written as text without escapes.
struct Text<T>(T);

impl<'de, T: FromStr> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(source)?;
        text.parse().map(Self).map_err(|_| D::Error::custom("not formed as it must be"))
    }
}

/// A time to the second, in UTC.
struct Moment(OffsetDateTime);

impl FromStr for Moment {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
        moment.filter(|moment| rfc_3339(*moment) == text).map(Self).ok_or(Problem::Form)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReceipt<'a> {
    format: &'a str,
    host: Text<HostName>,
    set: Text<SetName>,
    backup: Text<BackupId>,
    start: Text<Moment>,
    end: Text<Moment>,
    program: &'a str,
    given: Text<Given>,
    status: Text<Status>,
    files: u64,
    folders: u64,
    others: u64,
    bytes: u64,
    stored_bytes: u64,
    errors: u64,
    previous: Option<RawLink>,
    no_previous: Option<Text<NoPrevious>>,
    unconfirmed: Vec<RawLink>,
    reuse_for: u64,
    recipients: Vec<Text<Fingerprint>>,
    slices: u64,
    slice_bytes: u64,
    objects: Vec<RawObject>,
    index_chain: Vec<RawChainObject>,
    runs: Vec<RawRun>,
    signer: &'a str,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLink {
    backup: Text<BackupId>,
    sha256: Text<Sha256>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawObject {
    name: Text<BackupFile>,
    size: u64,
    sha256: Text<Sha256>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChainObject {
    backup: Text<BackupId>,
    name: Text<BackupFile>,
    size: u64,
    sha256: Text<Sha256>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    backup: Text<BackupId>,
    size: u64,
    sha256: Text<Sha256>,
    slices: Vec<(u32, u32)>,
    other_recipients: Vec<Text<Fingerprint>>,
}

/// Reads the text of a receipt of this version.
pub(super) fn parse(text: &[u8]) -> Result<Receipt> {
    check_version(text)?;
    // The message is left out: it quotes what stands there, at any length.
    let raw: RawReceipt<'_> =
        serde_json::from_slice(text).map_err(|error| Error::Malformed { line: error.line() as u64 })?;
    let RawReceipt { format, backup: Text(backup), status: Text(status), stored_bytes, start, .. } = raw;
    if format != FORMAT {
        return Err(Error::Malformed { line: 2 });
    }
    let receipt = Receipt {
        host: raw.host.0,
        set: raw.set.0,
        backup,
        end: raw.end.0.0,
        program: raw.program.to_owned(),
        given: raw.given.0,
        counts: Counts {
            files: raw.files,
            folders: raw.folders,
            others: raw.others,
            bytes: raw.bytes,
            errors: raw.errors,
        },
        previous: match (raw.previous, raw.no_previous) {
            (Some(receipt), None) => Previous::Receipt(link(receipt)),
            (None, Some(Text(why))) => Previous::None(why),
            _ => return Err(contradiction("no_previous", "previous")),
        },
        unconfirmed: raw.unconfirmed.into_iter().map(link).collect(),
        reuse_for: raw.reuse_for,
        recipients: values(raw.recipients),
        slices: raw.slices,
        slice_bytes: raw.slice_bytes,
        objects: raw.objects.into_iter().map(object).collect(),
        index_chain: raw.index_chain.into_iter().map(chain_object).collect::<Result<_>>()?,
        runs: raw.runs.into_iter().map(run).collect(),
        signer: certificate(raw.signer)?,
    };
    // What follows from other values must agree with them.
    for (key, agrees, other) in [
        ("start", start.0.0 == receipt.start(), "backup"),
        ("status", status == receipt.status(), "errors"),
        ("stored_bytes", stored_bytes == receipt.stored_bytes(), "objects"),
    ] {
        if !agrees {
            return Err(contradiction(key, other));
        }
    }
    Ok(receipt)
}

/// Tells a receipt of another version from what is none: its first key stays what it is.
fn check_version(text: &[u8]) -> Result<()> {
    let version = text.strip_prefix(b"{\n\"format\": \"offsite-receipt ").ok_or(Error::Malformed { line: 1 })?;
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = str::from_utf8(&version[..digits]).ok().and_then(|digits| digits.parse().ok());
    match number {
        Some(1) => Ok(()),
        Some(other) => Err(Error::Version(other)),
        None => Err(Error::Malformed { line: 2 }),
    }
}

fn contradiction(key: &'static str, other: &'static str) -> Error {
    Error::Field { key, problem: Problem::Contradicts(other) }
}

fn values<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|Text(value)| value).collect()
}

fn link(raw: RawLink) -> Link {
    Link { backup: raw.backup.0, sha256: raw.sha256.0 }
}

fn object(raw: RawObject) -> Object {
    Object { file: raw.name.0, contents: Hashed { size: raw.size, sha256: raw.sha256.0 } }
}

fn chain_object(raw: RawChainObject) -> Result<ChainObject> {
    let BackupFile::Index(number) = raw.name.0 else {
        return Err(Error::Field { key: "index_chain", problem: Problem::Form });
    };
    Ok(ChainObject { backup: raw.backup.0, number, contents: Hashed { size: raw.size, sha256: raw.sha256.0 } })
}

fn run(raw: RawRun) -> Run {
    Run {
        backup: raw.backup.0,
        checksums: Hashed { size: raw.size, sha256: raw.sha256.0 },
        slices: raw.slices.into_iter().map(|(first, last)| SliceRange { first, last }).collect(),
        other_recipients: values(raw.other_recipients),
    }
}

fn certificate(base64: &str) -> Result<Certificate> {
    let form = || Error::Field { key: "signer", problem: Problem::Form };
    if base64.len() > limits::CERTIFICATE.div_ceil(3) * 4 {
        return Err(Error::Field { key: "signer", problem: Problem::TooMuch(limits::CERTIFICATE as u64) });
    }
    Certificate::from_der(&STANDARD.decode(base64).map_err(|_| form())?).map_err(|_| form())
}
