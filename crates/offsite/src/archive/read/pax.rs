//! The records of a pax header (POSIX.1-2024, pax, "pax Extended Header"), with those of star for
//! extended attributes and ACLs, and those of GNU tar for sparse files.

use std::collections::HashSet;

use super::{Fault, Xattr};
use crate::archive::limits;
use crate::times::Time;

/// What the records say.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) access_acl: Option<Vec<u8>>,
    pub(super) default_acl: Option<Vec<u8>>,
    pub(super) sparse: Option<Sparse>,
}

/// A sparse file, whose member has another path and size than the file.
pub(super) struct Sparse {
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
}

/// The records of a sparse file while not all of them may have been seen.
#[derive(Default)]
struct SparseRecords {
    major: Option<u64>,
    minor: Option<u64>,
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl SparseRecords {
    /// None without any; an error without all, or in another version than 1.0.
    fn complete(self) -> Result<Option<Sparse>, Fault> {
        match (self.major, self.minor, self.path, self.size) {
            (None, None, None, None) => Ok(None),
            (Some(1), Some(0), Some(path), Some(size)) => Ok(Some(Sparse { path, size })),
            _ => Err(Fault::SparseMap),
        }
    }
}

/// The records in `bytes`. An error comes with its place there.
pub(super) fn parse(bytes: &[u8]) -> Result<Records, (usize, Fault)> {
    let mut records = Records::default();
    let mut sparse = SparseRecords::default();
    let mut seen = HashSet::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (keyword, value, after) = record(rest).ok_or((at, Fault::Record))?;
        rest = after;
        if !seen.insert(keyword) {
            return Err((at, Fault::RepeatedRecord(start(keyword))));
        }
        if seen.len() > limits::PAX_RECORDS {
            return Err((at, Fault::TooMany { what: "records in a pax header", limit: limits::PAX_RECORDS }));
        }
        take(&mut records, &mut sparse, keyword, value).map_err(|fault| (at, fault))?;
    }
    records.sparse = sparse.complete().map_err(|fault| (bytes.len(), fault))?;
    Ok(records)
}

/// Cuts `LENGTH KEYWORD=VALUE\n` off: keyword, value and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // No pax header is so long that a record's length had more digits.
    let space = bytes.iter().take(9).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?;
    let (newline, record) = record.split_last()?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (keyword, value) = (&record[..equals], &record[equals + 1..]);
    (*newline == b'\n' && !keyword.is_empty()).then_some((keyword, value, &bytes[length..]))
}

fn take(records: &mut Records, sparse: &mut SparseRecords, keyword: &[u8], value: &[u8]) -> Result<(), Fault> {
    let malformed = || Fault::Value(start(keyword));
    match keyword {
        b"path" => records.path = Some(path(value).ok_or_else(malformed)?),
        b"linkpath" => records.target = Some(path(value).ok_or_else(malformed)?),
        b"size" => records.size = Some(size(value).ok_or_else(malformed)?),
        b"uid" => records.uid = Some(id(value).ok_or_else(malformed)?),
        b"gid" => records.gid = Some(id(value).ok_or_else(malformed)?),
        b"mtime" => records.mtime = Some(time(value).ok_or_else(malformed)?),
        b"GNU.sparse.major" => sparse.major = Some(decimal(value).ok_or_else(malformed)?),
        b"GNU.sparse.minor" => sparse.minor = Some(decimal(value).ok_or_else(malformed)?),
        b"GNU.sparse.name" => sparse.path = Some(path(value).ok_or_else(malformed)?),
        b"GNU.sparse.realsize" => sparse.size = Some(size(value).ok_or_else(malformed)?),
        b"SCHILY.acl.access" => records.access_acl = acl(value)?,
        b"SCHILY.acl.default" => records.default_acl = acl(value)?,
        // What other programs than this one write and read; nothing of it is restored.
        b"atime" | b"ctime" => drop(time(value).ok_or_else(malformed)?),
        b"uname" | b"gname" => {}
        // Names are bytes here in any case.
        b"hdrcharset" if value == b"BINARY" => {}
        b"hdrcharset" => return Err(malformed()),
        _ => match keyword.strip_prefix(b"SCHILY.xattr.") {
            Some(name) => records.xattrs.push(xattr(name, value, &records.xattrs)?),
            None => return Err(Fault::UnknownRecord(start(keyword))),
        },
    }
    Ok(())
}

/// As much of a keyword as an error message needs.
fn start(keyword: &[u8]) -> Vec<u8> {
    keyword[..keyword.len().min(limits::XATTR_NAME)].to_vec()
}

/// A path or link target that is not empty and holds no NUL. How long it may be depends on whose it is.
fn path(value: &[u8]) -> Option<Vec<u8>> {
    if value.is_empty() || value.contains(&0) { None } else { Some(value.to_vec()) }
}

fn acl(value: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    if value.len() > limits::ACL_TEXT {
        return Err(Fault::TooLong { what: "an ACL", limit: limits::ACL_TEXT });
    }
    Ok(Some(value.to_vec()).filter(|value| !value.is_empty()))
}

fn xattr(escaped: &[u8], value: &[u8], others: &[Xattr]) -> Result<Xattr, Fault> {
    let malformed = || Fault::Value(start(escaped));
    let name = Some(unescape(escaped)).filter(|name| !name.is_empty() && !name.contains(&0)).ok_or_else(malformed)?;
    if name.len() > limits::XATTR_NAME {
        return Err(Fault::TooLong { what: "the name of an extended attribute", limit: limits::XATTR_NAME });
    }
    if value.len() > limits::XATTR_VALUE {
        return Err(Fault::TooLong { what: "the value of an extended attribute", limit: limits::XATTR_VALUE });
    }
    // Two spellings of one name; equal ones are found as records.
    if escaped.contains(&b'%') && others.iter().any(|other| other.name == name) {
        return Err(Fault::RepeatedRecord(start(escaped)));
    }
    Ok(Xattr { name, value: value.to_vec() })
}

/// GNU tar writes `=`, which would end the keyword, as `%3D`, and `%` as `%25`. A `%` before
/// anything else stands for itself, as it does for GNU tar.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match rest.get(..3) {
            Some(b"%3D") => (b'=', &rest[3..]),
            Some(b"%25") => (b'%', &rest[3..]),
            _ => (*byte, after),
        };
        name.push(byte);
        rest = after;
    }
    name
}

/// Decimal digits and nothing else.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn size(value: &[u8]) -> Option<u64> {
    decimal(value).filter(|size| *size <= limits::FILE_SIZE)
}

/// An owner or group.
fn id(value: &[u8]) -> Option<u32> {
    decimal(value).and_then(|id| u32::try_from(id).ok())
}

/// `[-]SECONDS[.FRACTION]` with at most nine digits of fraction; the sign is that of the whole.
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds = i64::try_from(decimal(&value[..point])?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = value.get(point + 1..) {
        let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
        nanoseconds = u32::try_from(decimal(fraction)?).ok()? * 10_u32.pow(9 - digits);
    }
    match (negative, nanoseconds) {
        (false, _) => Some(Time { seconds, nanoseconds }),
        (true, 0) => Some(Time { seconds: -seconds, nanoseconds }),
        (true, _) => Some(Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }),
    }
}
