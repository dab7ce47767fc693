//! The one text of a receipt: a key a line, an entry of a list a line (format.md §14).

use std::fmt::{self, Display, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use super::{Link, Previous, Receipt, Run};
use crate::hashes::{Fingerprint, Hashed};
use crate::names::BackupFile;

/// The format and its version.
pub(super) const FORMAT: &str = "offsite-receipt 1";

/// The last second that RFC 3339 can write: the end of the year 9999.
pub(super) const LATEST: i64 = 253_402_300_799;

/// Writes the text of a receipt, piece by piece. No string in it needs to be escaped.
pub(super) fn encode(receipt: &Receipt, out: &mut dyn Write) -> fmt::Result {
    let Receipt { host, set, backup, program, given, counts, .. } = receipt;
    let (previous, none) = match &receipt.previous {
        Previous::Receipt(receipt) => (link(receipt), "null".to_owned()),
        Previous::None(why) => ("null".to_owned(), text(why)),
    };
    out.write_str("{\n")?;
    let mut key = |name: &str, value: &dyn Display| writeln!(out, "\"{name}\": {value},");
    key("format", &text(FORMAT))?;
    key("host", &text(host))?;
    key("set", &text(set))?;
    key("backup", &text(backup))?;
    key("start", &text(rfc_3339(receipt.start())))?;
    key("end", &text(rfc_3339(receipt.end)))?;
    key("program", &text(program))?;
    key("given", &text(given))?;
    key("status", &text(receipt.status()))?;
    key("files", &counts.files)?;
    key("folders", &counts.folders)?;
    key("others", &counts.others)?;
    key("bytes", &counts.bytes)?;
    key("stored_bytes", &receipt.stored_bytes())?;
    key("errors", &counts.errors)?;
    key("previous", &previous)?;
    key("no_previous", &none)?;
    list(out, "unconfirmed", receipt.unconfirmed.iter().map(link))?;
    writeln!(out, "\"reuse_for\": {},", receipt.reuse_for)?;
    list(out, "recipients", receipt.recipients.iter().map(text))?;
    writeln!(out, "\"slices\": {},", receipt.slices)?;
    writeln!(out, "\"slice_bytes\": {},", receipt.slice_bytes)?;
    let objects = receipt.objects.iter();
    list(out, "objects", objects.map(|object| format!("{{{}}}", named(object.file, object.contents))))?;
    let chain = receipt.index_chain.iter().map(|object| {
        let named = named(BackupFile::Index(object.number), object.contents);
        format!("{{\"backup\": \"{}\", {named}}}", object.backup)
    });
    list(out, "index_chain", chain)?;
    list(out, "runs", receipt.runs.iter().map(run))?;
    write!(out, "\"signer\": \"{}\"\n}}\n", STANDARD.encode(receipt.signer.der()))
}

fn text(value: impl Display) -> String {
    format!("\"{value}\"")
}

/// A key, and each entry on a line of its own.
fn list(out: &mut dyn Write, key: &str, entries: impl Iterator<Item = String>) -> fmt::Result {
    write!(out, "\"{key}\": [")?;
    for (index, entry) in entries.enumerate() {
        write!(out, "{}\n{entry}", if index > 0 { "," } else { "" })?;
    }
    out.write_str("\n],\n")
}

/// A text that what is written must be equal to.
pub(super) struct Expected<'a> {
    rest: &'a [u8],
    /// Line feeds that were equal.
    lines: u64,
}

impl<'a> Expected<'a> {
    /// Writes a receipt anew; the first line that differs from `text`, counted from one.
    pub(super) fn difference(text: &'a [u8], receipt: &Receipt) -> Option<u64> {
        let mut expected = Self { rest: text, lines: 0 };
        let equal = encode(receipt, &mut expected).is_ok() && expected.rest.is_empty();
        (!equal).then_some(expected.lines + 1)
    }
}

impl Write for Expected<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        let equal = written.bytes().zip(self.rest).take_while(|(one, other)| one == *other).count();
        self.lines += written.bytes().take(equal).filter(|byte| *byte == b'\n').count() as u64;
        self.rest = &self.rest[equal..];
        if equal == written.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

fn link(link: &Link) -> String {
    format!("{{\"backup\": \"{}\", \"sha256\": \"{}\"}}", link.backup, link.sha256)
}

fn hashed(contents: Hashed) -> String {
    format!("\"size\": {}, \"sha256\": \"{}\"", contents.size, contents.sha256)
}

fn named(file: BackupFile, contents: Hashed) -> String {
    format!("\"name\": \"{file}\", {}", hashed(contents))
}

fn run(run: &Run) -> String {
    let ranges: Vec<String> = run.slices.iter().map(|range| format!("[{}, {}]", range.first, range.last)).collect();
    let others: Vec<String> = run.other_recipients.iter().map(|other: &Fingerprint| text(other)).collect();
    format!(
        "{{\"backup\": \"{}\", {}, \"slices\": [{}], \"other_recipients\": [{}]}}",
        run.backup,
        hashed(run.checksums),
        ranges.join(", "),
        others.join(", "),
    )
}

/// A time as a receipt has it: `2026-11-23T07:45:00Z`.
#[must_use]
pub fn rfc_3339(time: OffsetDateTime) -> String {
    // Through the number of seconds, so that any offset becomes UTC and none can overflow.
    let seconds = time.unix_timestamp().clamp(0, LATEST);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}
