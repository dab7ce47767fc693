//! The header part of a member: a pax extended header where ustar cannot say it, a ustar header,
//! and the map of a sparse file. The same entry always gives the same bytes.

use std::fmt::Display;

use tar::{EntryType, Header};

use crate::archive::attributes::Attributes;
use crate::archive::metadata::{Kind, Metadata};
use crate::times::Time;

/// Everything in a tar comes in multiples of this.
pub const BLOCK: u64 = 512;

/// What ends a tar: two blocks of zeros.
pub const END: [u8; 1024] = [0; 1024];

/// How many zeros come after so many bytes of content.
#[must_use]
pub fn padding(length: u64) -> u64 {
    length.next_multiple_of(BLOCK) - length
}

/// What a member is, beside an inode's metadata.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "made by callers")]
pub enum Form<'a> {
    /// A link to an earlier member.
    HardLink {
        /// The archive path of that.
        leader: &'a [u8],
    },
    /// A symbolic link.
    Symlink {
        /// What it says.
        target: &'a [u8],
    },
    /// A file with holes.
    Sparse {
        /// How many bytes come after the header: the segments'.
        stored: u64,
        /// The map that ends the header; a multiple of 512 bytes.
        map: &'a [u8],
    },
    /// A file whose size is that of the metadata; or a folder, a fifo, a device.
    Plain,
}

/// The header part of a member.
#[must_use]
pub fn encode(path: &[u8], metadata: &Metadata, form: Form<'_>, attributes: &Attributes) -> Vec<u8> {
    let mut header = Header::new_ustar();
    let mut records = Records::default();
    let is_link = matches!(form, Form::HardLink { .. });

    let sparse_name;
    let name = if matches!(form, Form::Sparse { .. }) {
        sparse_name = name_of_sparse(path);
        &sparse_name
    } else {
        sparse_name = name_of(path, metadata.is_folder());
        &sparse_name
    };
    if !set_name(&mut header, name) {
        records.push(b"path", name);
    }
    if let Form::HardLink { leader: link } | Form::Symlink { target: link } = form
        && !fill(&mut header.as_old_mut().linkname, link)
    {
        records.push(b"linkpath", link);
    }

    header.set_entry_type(entry_type(metadata.kind, form));
    header.set_mode(metadata.mode);
    set_number(u64::from(metadata.uid), ID_MOST, b"uid", &mut records, |uid| header.set_uid(uid));
    set_number(u64::from(metadata.gid), ID_MOST, b"gid", &mut records, |gid| header.set_gid(gid));
    let stored = stored(metadata, form);
    set_number(stored, NUMBER_MOST, b"size", &mut records, |size| header.set_size(size));
    // A link takes its inode's time from the leader.
    set_time(&mut header, metadata.modified, !is_link, &mut records);
    if let (Kind::CharacterDevice | Kind::BlockDevice, false, Some(ustar)) =
        (metadata.kind, is_link, header.as_ustar_mut())
    {
        ustar.set_device_major(metadata.device.0);
        ustar.set_device_minor(metadata.device.1);
    }

    if let Form::Sparse { .. } = form {
        records.push(b"GNU.sparse.major", b"1");
        records.push(b"GNU.sparse.minor", b"0");
        records.push(b"GNU.sparse.name", path);
        records.push_number(b"GNU.sparse.realsize", metadata.size);
    }
    if !is_link {
        attributes.records().for_each(|(keyword, value)| records.push(keyword, value));
    }

    let mut encoded = records.into_member(name);
    header.set_cksum();
    encoded.extend_from_slice(header.as_bytes());
    if let Form::Sparse { map, .. } = form {
        encoded.extend_from_slice(map);
    }
    encoded
}

/// The largest uid and gid that seven octal digits can say.
const ID_MOST: u64 = 0o777_7777;

/// The largest size and time that eleven octal digits can say.
const NUMBER_MOST: u64 = 0o777_7777_7777;

fn stored(metadata: &Metadata, form: Form<'_>) -> u64 {
    match (form, metadata.kind) {
        (Form::Plain, Kind::File) => metadata.size,
        (Form::Sparse { stored, map }, _) => stored + map.len() as u64,
        _ => 0,
    }
}

fn entry_type(kind: Kind, form: Form<'_>) -> EntryType {
    match (form, kind) {
        (Form::HardLink { .. }, _) => EntryType::Link,
        (Form::Symlink { .. }, _) | (_, Kind::Symlink) => EntryType::Symlink,
        (_, Kind::File | Kind::Socket) => EntryType::Regular,
        (_, Kind::Folder) => EntryType::Directory,
        (_, Kind::Fifo) => EntryType::Fifo,
        (_, Kind::CharacterDevice) => EntryType::Char,
        (_, Kind::BlockDevice) => EntryType::Block,
    }
}

/// A folder's name ends with a slash, as in every tar.
fn name_of(path: &[u8], is_folder: bool) -> Vec<u8> {
    match (path, is_folder) {
        (b"", _) => b"./".to_vec(),
        (path, true) => [path, b"/"].concat(),
        (path, false) => path.to_vec(),
    }
}

/// What a reader that knows no sparse files calls what it gets, which is not the file. It always
/// fits a ustar header: a record `path` would contend with `GNU.sparse.name`.
fn name_of_sparse(path: &[u8]) -> Vec<u8> {
    pax_name(b"GNUSparseFile.0/", path)
}

/// A name in a folder that only readers without pax will ever see.
fn pax_name(folder: &[u8], path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut name = [folder, last].concat();
    name.truncate(100);
    name
}

/// Puts a name into a header, in two parts if it must be; false if it does not fit, of which only
/// the beginning is there then.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    let Some(ustar) = header.as_ustar_mut() else { return false };
    if name.len() > ustar.name.len() {
        // The slash between the parts is not stored; a folder's last one stays with its name.
        let earliest = (name.len() - 1).saturating_sub(ustar.name.len());
        let latest = ustar.prefix.len().min(name.len() - 2);
        let slash = (earliest..=latest).find(|at| name[*at] == b'/' && *at > 0);
        if let Some(slash) = slash {
            return fill(&mut ustar.prefix, &name[..slash]) && fill(&mut ustar.name, &name[slash + 1..]);
        }
    }
    fill(&mut ustar.name, name)
}

/// Fills a field as far as it goes. False if it is too short.
fn fill(field: &mut [u8], value: &[u8]) -> bool {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    length == value.len()
}

/// Puts a number into the header, or zero there and the number into a record.
fn set_number(number: u64, most: u64, keyword: &[u8], records: &mut Records, set: impl FnOnce(u64)) {
    if number <= most {
        set(number);
    } else {
        set(0);
        records.push_number(keyword, number);
    }
}

fn set_time(header: &mut Header, time: Time, with_fraction: bool, records: &mut Records) {
    let seconds = u64::try_from(time.seconds).ok().filter(|seconds| *seconds <= NUMBER_MOST);
    header.set_mtime(seconds.unwrap_or(0));
    if seconds.is_none() || with_fraction && time.nanoseconds != 0 {
        records.push(b"mtime", decimal(time).as_bytes());
    }
}

/// Seconds as a decimal fraction without trailing zeros.
fn decimal(time: Time) -> String {
    // -2 s and 0.75 s are written as -1.25 s.
    let is_negative = time.seconds < 0 && time.nanoseconds > 0;
    let (whole, fraction) = if is_negative {
        ((time.seconds + 1).unsigned_abs(), 1_000_000_000 - time.nanoseconds)
    } else {
        (time.seconds.unsigned_abs(), time.nanoseconds)
    };
    let sign = if time.seconds < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{fraction:09}").trim_end_matches('0').to_owned()
}

/// The records of an extended header: each "LENGTH KEYWORD=VALUE\n", of any bytes.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn push(&mut self, keyword: &[u8], value: &[u8]) {
        // The length counts its own digits.
        let rest = keyword.len() + value.len() + 3;
        let mut length = rest + digits(rest);
        length = rest + digits(length);
        self.0.reserve(length);
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(keyword);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    fn push_number(&mut self, keyword: &[u8], number: impl Display) {
        self.push(keyword, number.to_string().as_bytes());
    }

    /// The extended header as a member of its own; nothing if there is no record. What its header
    /// says beside the size means nothing to anyone, so it is constant.
    fn into_member(self, name: &[u8]) -> Vec<u8> {
        let Self(mut records) = self;
        if records.is_empty() {
            return Vec::new();
        }
        let mut header = Header::new_ustar();
        set_name(&mut header, &pax_name(b"PaxHeaders.0/", name));
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        records.resize(records.len().next_multiple_of(512), 0);
        let mut member = header.as_bytes().to_vec();
        member.append(&mut records);
        member
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in (0..1200).chain(9_980..10_010).chain(99_980..100_010) {
            let mut records = Records::default();
            records.push(b"k", &vec![b'v'; length]);
            let text = String::from_utf8(records.0).unwrap();
            let said: usize = text.split_once(' ').unwrap().0.parse().unwrap();
            assert_eq!(said, text.len());
        }
    }

    #[test]
    fn times_are_decimal() {
        let text = |seconds, nanoseconds| decimal(Time { seconds, nanoseconds });
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(1, 500_000_000), "1.5");
        assert_eq!(text(1, 1), "1.000000001");
        assert_eq!(text(-1, 0), "-1");
        assert_eq!(text(-1, 250_000_000), "-0.75");
        assert_eq!(text(-2, 999_999_999), "-1.000000001");
        assert_eq!(text(-10, 0), "-10");
        assert_eq!(text(100, 0), "100");
        assert_eq!(text(i64::MIN, 1), "-9223372036854775807.999999999");
    }

    #[test]
    fn numbers_beyond_octal_become_records() {
        let file = tempfile::tempfile().unwrap();
        let mut metadata = Metadata::of_open(&file).unwrap();
        let encoded = |metadata: &Metadata| encode(b"path", metadata, Form::Plain, &Attributes::default());
        (metadata.uid, metadata.gid, metadata.size) = (0o777_7777, 0o777_7777, 0o777_7777_7777);
        metadata.modified = Time { seconds: 0o777_7777_7777, nanoseconds: 0 };
        assert_eq!(encoded(&metadata).len(), 512);

        (metadata.uid, metadata.gid, metadata.size) = (0o1000_0000, u32::MAX, 0o1_0000_0000_0000);
        metadata.modified = Time { seconds: 0o1_0000_0000_0000, nanoseconds: 0 };
        let encoded = encoded(&metadata);
        assert_eq!(encoded.len(), 3 * 512);
        assert_eq!(encoded[156], b'x');
        let records = "15 uid=2097152\n18 gid=4294967295\n20 size=68719476736\n21 mtime=68719476736\n\0";
        assert!(encoded[512..].starts_with(records.as_bytes()));
        let header = Header::from_byte_slice(&encoded[1024..]);
        assert_eq!([header.uid(), header.gid(), header.size(), header.mtime()].map(Result::unwrap), [0; 4]);
    }

    #[test]
    fn names_are_split_at_a_slash_or_not_at_all() {
        let parts = |name: &[u8]| {
            let mut header = Header::new_ustar();
            let fits = set_name(&mut header, name);
            let ustar = header.as_ustar().unwrap();
            let field = |field: &[u8]| field.split(|byte| *byte == 0).next().unwrap().len();
            (fits, field(&ustar.prefix), field(&ustar.name))
        };
        let name = |pieces: &[(usize, &str)]| {
            pieces.iter().map(|(count, piece)| piece.repeat(*count)).collect::<String>().into_bytes()
        };
        assert_eq!(parts(&name(&[(100, "n")])), (true, 0, 100));
        assert_eq!(parts(&name(&[(101, "n")])), (false, 0, 100));
        assert_eq!(parts(&name(&[(1, "a/"), (99, "n")])), (true, 1, 99));
        assert_eq!(parts(&name(&[(155, "p"), (1, "/"), (100, "n")])), (true, 155, 100));
        assert_eq!(parts(&name(&[(156, "p"), (1, "/"), (99, "n")])), (false, 0, 100));
        assert_eq!(parts(&name(&[(100, "p"), (1, "/")])), (false, 0, 100));
        assert_eq!(parts(&name(&[(1, "a/"), (99, "p"), (1, "/")])), (true, 1, 100));
        assert_eq!(parts(&name(&[(1, "/"), (100, "n")])), (false, 0, 100));
    }
}
