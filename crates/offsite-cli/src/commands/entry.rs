//! An entry of a backup, for people and for programs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use offsite::index::{Entry, Kind, Time, escaped};
use offsite::shown;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::words;

/// An entry in the JSON report. Keys are only ever added.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    path: String,
    pub(crate) kind: &'static str,
    /// Permissions, in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    /// RFC 3339, UTC; none where the year has not four digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Of a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Of a hard link: the path of the first name.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    /// Major and minor number.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    /// It changed while it was read, or could not be read in full.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    torn: bool,
}

pub(crate) fn report(entry: &Entry) -> Report {
    let mut report = Report { path: escaped(&entry.path), torn: entry.torn, ..Report::default() };
    report.kind = match &entry.kind {
        Kind::File { size, .. } => {
            report.size = Some(*size);
            "file"
        }
        Kind::Folder => "folder",
        Kind::Symlink { target } => {
            report.target = Some(escaped(target));
            "symlink"
        }
        Kind::HardLink { leader } => {
            report.leader = Some(escaped(leader));
            "hardlink"
        }
        Kind::Fifo => "fifo",
        Kind::CharacterDevice { major, minor } => {
            report.device = Some((*major, *minor));
            "character"
        }
        Kind::BlockDevice { major, minor } => {
            report.device = Some((*major, *minor));
            "block"
        }
        Kind::Stream { size } => {
            report.size = Some(*size);
            return Report { kind: "stream", ..report };
        }
    };
    let inode = &entry.inode;
    let mtime = moment(inode.mtime).and_then(|time| time.format(&Rfc3339).ok());
    Report { mode: Some(format!("{:04o}", inode.mode)), uid: Some(inode.uid), gid: Some(inode.gid), mtime, ..report }
}

fn moment(time: Time) -> Option<OffsetDateTime> {
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok().filter(|moment| (0..=9999).contains(&moment.year()))
}

/// What people read of an entry.
pub(crate) struct Columns {
    /// Kind and permissions.
    pub(crate) mode: String,
    /// Owner and group.
    owner: [String; 2],
    pub(crate) size: String,
    /// In UTC.
    pub(crate) mtime: String,
    /// The path, and where a link leads.
    pub(crate) name: String,
}

pub(crate) fn columns(entry: &Entry) -> Columns {
    // The folder that everything else lies in.
    let path = if entry.path.is_empty() { ".".to_owned() } else { name(&entry.path) };
    let none = || "-".to_owned();
    let (size, after) = match &entry.kind {
        Kind::Stream { size } => {
            let owner = [none(), none()];
            return Columns { mode: "stream".to_owned(), owner, size: size.to_string(), mtime: none(), name: path };
        }
        Kind::File { size, .. } => (size.to_string(), String::new()),
        Kind::Symlink { target } => (target.len().to_string(), format!(" -> {}", name(target))),
        Kind::HardLink { leader } => (none(), format!(" link to {}", name(leader))),
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            (format!("{major}, {minor}"), String::new())
        }
        Kind::Folder | Kind::Fifo => (none(), String::new()),
    };
    let inode = &entry.inode;
    let owner = [inode.uid.to_string(), inode.gid.to_string()];
    Columns { mode: mode(entry), owner, size, mtime: time_of(entry), name: format!("{path}{after}") }
}

/// A path, or where a link leads.
fn name(name: &[u8]) -> String {
    shown(Path::new(OsStr::from_bytes(name)))
}

/// Where a symbolic link leads, or the first name of a hard link.
pub(crate) fn target_of(entry: &Entry) -> String {
    match &entry.kind {
        Kind::Symlink { target: leads_to } | Kind::HardLink { leader: leads_to } => name(leads_to),
        _ => "-".to_owned(),
    }
}

/// When the content changed last, in UTC.
pub(crate) fn time_of(entry: &Entry) -> String {
    let mtime = entry.inode.mtime;
    moment(mtime).map_or_else(|| format!("@{}", mtime.seconds), words::date_and_time)
}

/// An entry as `ls -l` has it.
pub(crate) fn line(entry: &Entry) -> String {
    let Columns { mode, owner: [uid, gid], size, mtime, name } = columns(entry);
    format!("{mode:10} {uid:>5} {gid:>5} {size:>12} {mtime:19} {name}")
}

/// Kind and permissions in ten characters.
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File { .. } | Kind::Stream { .. } => '-',
        Kind::Folder => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::HardLink { .. } => 'h',
        Kind::Fifo => 'p',
        Kind::CharacterDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
    };
    let mode = entry.inode.mode;
    let may = |bit: u32, letter: char| if mode & bit != 0 { letter } else { '-' };
    // Setuid, setgid and sticky stand where the right to execute does.
    let execute = |bit: u32, special: u32, letter: char| match (mode & special != 0, mode & bit != 0) {
        (false, _) => may(bit, 'x'),
        (true, true) => letter,
        (true, false) => letter.to_ascii_uppercase(),
    };
    [
        kind,
        may(0o400, 'r'),
        may(0o200, 'w'),
        execute(0o100, 0o4000, 's'),
        may(0o040, 'r'),
        may(0o020, 'w'),
        execute(0o010, 0o2000, 's'),
        may(0o004, 'r'),
        may(0o002, 'w'),
        execute(0o001, 0o1000, 't'),
    ]
    .iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use offsite::index::Inode;

    use super::*;

    fn entry(kind: Kind, mode: u32, seconds: i64) -> Entry {
        let mtime = Time { seconds, nanoseconds: 5 };
        let inode = Inode { mode, uid: 0, gid: 1000, mtime };
        Entry { path: b"a\x1b\xff%".to_vec(), kind, inode, links: false, torn: false, places: Vec::new() }
    }

    #[test]
    fn a_line_is_like_that_of_ls() {
        let file = entry(Kind::File { size: 7, sparse: None }, 0o4755, 1_795_419_900);
        assert_eq!(line(&file), r#"-rwsr-xr-x     0  1000            7 2026-11-23 07:45:00 "a\u{1b}\xFF%""#);
        for (bits, text) in
            [(0o1777, "-rwxrwxrwt"), (0o6600, "-rwS--S---"), (0o1000, "---------T"), (0o7111, "---s--s--t")]
        {
            assert_eq!(mode(&entry(Kind::File { size: 0, sparse: None }, bits, 0)), text);
        }
        let link = entry(Kind::Symlink { target: b"to\n".to_vec() }, 0o777, -1);
        assert!(line(&link).starts_with("lrwxrwxrwx     0  1000            3 1969-12-31 23:59:59 "), "{}", line(&link));
        assert!(line(&link).ends_with(r#" -> "to\n""#), "{}", line(&link));
        let device = entry(Kind::BlockDevice { major: 8, minor: 1 }, 0o660, i64::MAX);
        let expected = "brw-rw----     0  1000         8, 1 @9223372036854775807 ";
        assert!(line(&device).starts_with(expected), "{}", line(&device));
    }

    #[test]
    fn json_has_every_byte_of_a_name() {
        let text = |kind, seconds| serde_json::to_string(&report(&entry(kind, 0o644, seconds))).unwrap_or_default();
        let expected = r#"{"path":"a\u001b%FF%25","kind":"file","mode":"0644","uid":0,"gid":1000,"mtime":"2026-11-23T07:45:00.000000005Z","size":7}"#;
        assert_eq!(text(Kind::File { size: 7, sparse: None }, 1_795_419_900), expected);
        assert!(!text(Kind::Fifo, i64::MIN).contains("mtime"));
        assert!(text(Kind::HardLink { leader: b"\xfe".to_vec() }, 0).contains(r#""leader":"%FE""#));
        assert!(text(Kind::Stream { size: 9 }, 0).ends_with(r#""kind":"stream","size":9}"#));
    }
}
