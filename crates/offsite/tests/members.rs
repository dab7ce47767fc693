//! What the packer says of an entry, at the limits of what can be said: read back by our own
//! reader, and listed by GNU tar, bsdtar and Python.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;

use offsite::archive::attributes::{AttributeReader, Attributes};
use offsite::archive::header::{END, Form, encode};
use offsite::archive::metadata::{Kind, Metadata};
use offsite::archive::read::{self, Ending, Extent, Member, Reader, Xattr};
use offsite::archive::sparse;
use offsite::paths;
use offsite::times::Time;
use rustix::fs::{XattrFlags, lsetxattr};
use support::{name, run};
use tempfile::TempDir;

/// One member: what the packer is told, and what a reader must say.
struct Case {
    path: Vec<u8>,
    metadata: Metadata,
    /// A hard or symbolic link's.
    target: Vec<u8>,
    is_hard_link: bool,
    /// Pieces of data, for a sparse file.
    segments: Option<Vec<sparse::Segment>>,
}

impl Case {
    /// A file without content.
    fn new(path: impl Into<Vec<u8>>) -> Self {
        let mut metadata = Metadata::of_open(tempfile::tempfile().unwrap()).unwrap();
        (metadata.mode, metadata.uid, metadata.gid) = (0o644, 1, 2);
        metadata.modified = Time { seconds: 1_000_000_000, nanoseconds: 0 };
        Self { path: path.into(), metadata, target: Vec::new(), is_hard_link: false, segments: None }
    }

    fn of_kind(path: impl Into<Vec<u8>>, kind: Kind) -> Self {
        let mut case = Self::new(path);
        case.metadata.kind = kind;
        case
    }

    fn owned(uid: u32, gid: u32) -> Self {
        let mut case = Self::new(format!("owned by {uid} {gid}"));
        (case.metadata.uid, case.metadata.gid) = (uid, gid);
        case
    }

    fn modified(seconds: i64, nanoseconds: u32) -> Self {
        let mut case = Self::new(format!("modified {seconds} {nanoseconds}"));
        case.metadata.modified = Time { seconds, nanoseconds };
        case
    }

    fn device(kind: Kind, major: u32, minor: u32) -> Self {
        let mut case = Self::of_kind(format!("device {major} {minor}"), kind);
        case.metadata.device = (major, minor);
        case
    }

    fn symlink(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { target: target.into(), ..Self::of_kind(path, Kind::Symlink) }
    }

    fn hard_link(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { target: target.into(), is_hard_link: true, ..Self::new(path) }
    }

    fn sized(path: &str, size: u64) -> Self {
        let mut case = Self::new(path);
        case.metadata.size = size;
        case
    }

    fn sparse(path: impl Into<Vec<u8>>, size: u64, segments: &[(u64, u64)]) -> Self {
        let mut case = Self::new(path);
        case.metadata.size = size;
        let segment = |(offset, length): &(u64, u64)| sparse::Segment { offset: *offset, length: *length };
        Self { segments: Some(segments.iter().map(segment).collect()), ..case }
    }

    /// The header, and how many bytes of content follow it.
    fn packed(&self, attributes: &Attributes) -> (Vec<u8>, u64) {
        let map = self.segments.as_ref().map(|segments| sparse::map(segments, self.metadata.size));
        let stored = self.segments.iter().flatten().map(|segment| segment.length).sum();
        let (form, content) = match (&map, self.metadata.kind) {
            (Some(map), _) => (Form::Sparse { stored, map }, stored),
            _ if self.is_hard_link => (Form::HardLink { leader: &self.target }, 0),
            (_, Kind::Symlink) => (Form::Symlink { target: &self.target }, 0),
            (_, Kind::File) => (Form::Plain, self.metadata.size),
            _ => (Form::Plain, 0),
        };
        (encode(&self.path, &self.metadata, form, attributes), content)
    }

    fn kind(&self) -> read::Kind {
        let target = self.target.clone();
        let (major, minor) = self.metadata.device;
        match self.metadata.kind {
            _ if self.is_hard_link => read::Kind::HardLink { target },
            Kind::Symlink => read::Kind::Symlink { target },
            Kind::Folder => read::Kind::Directory,
            Kind::Fifo => read::Kind::Fifo,
            Kind::CharacterDevice => read::Kind::CharacterDevice { major, minor },
            Kind::BlockDevice => read::Kind::BlockDevice { major, minor },
            Kind::File | Kind::Socket => {
                let end = sparse::Segment { offset: self.metadata.size, length: 0 };
                let extents = self.segments.as_ref().map(|segments| {
                    let all = segments.iter().chain([&end]);
                    all.map(|segment| Extent { offset: segment.offset, length: segment.length }).collect()
                });
                read::Kind::File { size: self.metadata.size, extents }
            }
        }
    }

    fn member(&self, offset: u64) -> Member {
        let Metadata { mode, uid, gid, modified: mtime, .. } = self.metadata;
        let (path, kind) = (self.path.clone(), self.kind());
        Member { path, kind, mode, uid, gid, mtime, xattrs: vec![], access_acl: None, default_acl: None, offset }
    }

    /// The path as it stands in a tar, and the letter of its kind in listings.
    fn listed(&self) -> (Vec<u8>, char) {
        let letter = match self.kind() {
            read::Kind::File { .. } => '-',
            read::Kind::HardLink { .. } => 'h',
            read::Kind::Symlink { .. } => 'l',
            read::Kind::Directory => 'd',
            read::Kind::Fifo => 'p',
            read::Kind::CharacterDevice { .. } => 'c',
            read::Kind::BlockDevice { .. } => 'b',
        };
        let slash = if letter == 'd' { &b"/"[..] } else { b"" };
        (if self.path.is_empty() { b"./".to_vec() } else { [&self.path[..], slash].concat() }, letter)
    }
}

/// A path of so many bytes whose names are as long as names can be.
fn path_of(length: usize) -> Vec<u8> {
    let mut path = vec![vec![b'p'; 255]; length / 256 + 1].join(&b'/');
    path.truncate(length);
    if path.last() == Some(&b'/') {
        *path.last_mut().unwrap() = b'q';
    }
    path
}

/// Names that no text holds.
const ODD: [&[u8]; 5] = [b"new\nline", b"\xff\xfe\x80", b"= %3D %25 %", b" 12 path=x\n", b"\x01\x7f\\"];

fn cases() -> Vec<Case> {
    let mut cases = vec![Case::of_kind("", Kind::Folder), Case::of_kind("fifo", Kind::Fifo), Case::new("leader")];
    for (uid, gid) in [(0, 0), (2_097_151, 2_097_152), (2_097_152, 2_097_151), (4_294_967_294, 4_294_967_294)] {
        cases.push(Case::owned(uid, gid));
    }
    let far = 1 << 33;
    for seconds in [0, -1, -2, -far, far - 1, far, far + 1, -1_000_000_007, 15_032_385_535, 1 << 40] {
        for nanoseconds in [0, 1, 999_999_999, 250_000_000] {
            cases.push(Case::modified(seconds, nanoseconds));
        }
    }
    // The kernel has 12 bits for one and 20 for the other.
    for (major, minor) in [(0, 0), (1, 3), (4095, 1_048_575), (255, 65_536)] {
        cases.push(Case::device(Kind::CharacterDevice, major, minor));
        cases.push(Case::device(Kind::BlockDevice, major, minor));
    }
    for length in (98..=102).chain(154..=158).chain([255, 256, 257, 4000, 60_000, paths::LONGEST]) {
        let path = path_of(length);
        cases.push(Case::new(path.clone()));
        cases.push(Case::of_kind([&path[..length - 1], b"f"].concat(), Kind::Folder));
        cases.push(Case::hard_link([&path[..length - 1], b"h"].concat(), path.clone()));
        cases.push(Case::symlink([&path[..length - 1], b"s"].concat(), path.clone()));
        cases.push(Case::sparse([&path[..length - 1], b"t"].concat(), 4096, &[(512, 512)]));
    }
    for odd in ODD {
        for long in [odd.to_vec(), [&path_of(300), odd].concat()] {
            cases.push(Case::new(long.clone()));
            cases.push(Case::of_kind([&long[..], b"f"].concat(), Kind::Folder));
            cases.push(Case::hard_link([&long[..], b"h"].concat(), long.clone()));
            cases.push(Case::symlink([&long[..], b"s"].concat(), long.clone()));
            cases.push(Case::sparse([&long[..], b"t"].concat(), 4096, &[(512, 512)]));
        }
    }
    cases.push(Case::sparse("sparse and large", (1 << 62) + 7, &[(0, 512), (1 << 40, 1024), ((1 << 62) + 5, 2)]));
    cases.push(Case::sparse("all hole", i64::MAX as u64, &[]));
    cases.push(Case::sized("as large as octal goes", 8_589_934_591));
    cases.push(Case::sized("larger", 8_589_934_592));
    cases
}

/// A tar of all cases, whose large contents are holes.
fn archive(cases: &[Case]) -> (TempDir, PathBuf, Vec<Member>) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("tar");
    let mut tar = File::create(&path).unwrap();
    let (mut members, mut at) = (Vec::new(), 0);
    for case in cases {
        let (header, content) = case.packed(&Attributes::default());
        members.push(case.member(at));
        tar.seek(SeekFrom::Start(at)).unwrap();
        tar.write_all(&header).unwrap();
        at += header.len() as u64 + content.next_multiple_of(512);
    }
    tar.seek(SeekFrom::Start(at)).unwrap();
    tar.write_all(&END).unwrap();
    (place, path, members)
}

#[test]
fn the_reader_reads_what_the_packer_writes() {
    // Holes of many gigabytes are for those who skip them.
    let mut cases: Vec<_> =
        cases().into_iter().filter(|case| case.segments.is_some() || case.metadata.size == 0).collect();
    // Nobody can own anything by this number, which stands for none; but a file system may say so.
    cases.push(Case::owned(u32::MAX, u32::MAX));
    let (_place, path, expected) = archive(&cases);
    let tar = fs::read(path).unwrap();
    let mut reader = Reader::new(&tar[..], Ending::Zeros);
    for expected in expected {
        let found = reader.next_member().unwrap().unwrap();
        assert!(found == expected, "{:?}: {found:?}", expected.path.escape_ascii().to_string());
    }
    assert_eq!(reader.next_member().unwrap(), None);
}

/// Only what is said of it: the content is not there.
#[test]
fn the_reader_reads_sizes_beyond_octal() {
    for size in [8_589_934_591, 8_589_934_592, 1 << 40, i64::MAX as u64] {
        let (header, _) = Case::sized("large", size).packed(&Attributes::default());
        let member = Reader::new(&header[..], Ending::AnyMember).next_member().unwrap().unwrap();
        assert_eq!(member.kind, read::Kind::File { size, extents: None });
    }
}

#[test]
fn attributes_of_any_bytes_come_back() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, "").unwrap();
    let long = "n".repeat(250);
    let names = [&b"user.a=b%c"[..], b"user.%3D%25%", b"user.new\nline", b"user.\xff\xfe", b"user.", long.as_bytes()];
    let mut expected = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let name = if name.len() > 200 { [b"user.", name].concat() } else { name.to_vec() };
        let value = [&[0, b'\n', 0xff, b'='][..], &vec![b'v'; index * 3]].concat();
        match lsetxattr(&path, self::name(&name), &value, XattrFlags::empty()) {
            Ok(()) => expected.push(Xattr { name, value }),
            Err(error) => assert_eq!(name, b"user.", "{error}"),
        }
    }
    run(Command::new("setfacl").args(["-n", "-m", "u:4294967294:rwx,g:0:r-x,m::rwx"]).arg(&path));
    let failed = |name: &[u8], error| panic!("{name:?}: {error}");
    let attributes = AttributeReader::default().of_open(File::open(&path).unwrap(), failed).unwrap();
    let (header, _) = Case::new("file").packed(&attributes);
    let mut member = Reader::new(&header[..], Ending::AnyMember).next_member().unwrap().unwrap();
    for xattrs in [&mut expected, &mut member.xattrs] {
        xattrs.retain(|xattr| !xattr.name.starts_with(b"security."));
        xattrs.sort_by(|one, other| one.name.cmp(&other.name));
    }
    assert!(expected.len() >= 5);
    assert_eq!(member.xattrs, expected);
    let acl = String::from_utf8(member.access_acl.unwrap()).unwrap();
    assert!(acl.contains("user:4294967294:rwx") && acl.contains("group:0:r-x"), "{acl}");
}

/// A name as bsdtar prints it, and GNU tar with the quoting style `escape`.
fn as_tar_prints(name: &[u8]) -> String {
    name.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => write!(text, "\\{byte:03o}").unwrap(),
        }
        text
    })
}

/// A time in a listing of GNU tar, which counts fractions before 1970 backwards, but from the second
/// that they are in. (What it restores is right.)
fn as_gnu_tar_dates(Time { seconds, nanoseconds }: Time) -> String {
    let is_shifted = seconds < 0 && nanoseconds > 0;
    let (seconds, nanoseconds) =
        if is_shifted { (seconds + 1, 1_000_000_000 - nanoseconds) } else { (seconds, nanoseconds) };
    let date = run(Command::new("date").args(["-u", "+%Y-%m-%d %T"]).arg(format!("-d@{seconds}")));
    let date = String::from_utf8(date).unwrap();
    if nanoseconds == 0 {
        return date.trim_end().to_owned();
    }
    format!("{}.{nanoseconds:09}", date.trim_end()).trim_end_matches('0').to_owned()
}

#[test]
fn gnu_tar_lists_them_alike() {
    let cases = cases();
    let (_place, path, _) = archive(&cases);
    let arguments = ["-tv", "--numeric-owner", "--full-time", "--quoting-style=escape", "-f"];
    let listed = run(Command::new("tar").args(arguments).arg(path).env("TZ", "UTC"));
    let listed = String::from_utf8(listed).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), cases.len());
    for (case, line) in cases.iter().zip(lines) {
        let (path, letter) = case.listed();
        let Metadata { uid, gid, size, device: (major, minor), modified, .. } = case.metadata;
        let amount = match letter {
            'c' | 'b' => format!("{major},{minor}"),
            '-' => size.to_string(),
            _ => "0".to_owned(),
        };
        let link = match letter {
            'h' => format!(" link to {}", as_tar_prints(&case.target)),
            'l' => format!(" -> {}", as_tar_prints(&case.target)),
            _ => String::new(),
        };
        let date = as_gnu_tar_dates(modified);
        let owner = format!("{uid}/{gid}");
        assert!(line.starts_with(letter), "{line}");
        // Columns are as wide as the widest so far.
        let rest = line.split_once(&owner).unwrap_or_else(|| panic!("{owner}: {line}")).1.trim_start();
        let name = rest.strip_prefix(&format!("{amount} {date}")).unwrap_or_else(|| panic!("{amount} {date}: {rest}"));
        assert_eq!(name.trim_start(), format!("{}{link}", as_tar_prints(&path)).trim_start());
    }
}

#[test]
fn python_lists_them_alike() {
    const SCRIPT: &str = "
import sys, tarfile
def hexed(text):
    return text.encode('utf-8', 'surrogateescape').hex()
with tarfile.open(sys.argv[1], errors='surrogateescape') as tar:
    for member in tar:
        time = member.pax_headers.get('mtime', str(member.mtime))
        device = (member.devmajor, member.devminor) if member.isdev() and not member.isfifo() else (0, 0)
        size = member.size if member.isreg() else 0
        print(hexed(member.name), hexed(member.linkname), member.uid, member.gid, size, time, *device)
";
    let cases = cases();
    let (_place, path, _) = archive(&cases);
    let listed = String::from_utf8(run(Command::new("python3").args(["-c", SCRIPT]).arg(path))).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), cases.len());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (case, line) in cases.iter().zip(lines) {
        let (path, _) = case.listed();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        let Metadata { uid, gid, size, device: (major, minor), modified, .. } = case.metadata;
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields[..2], [hex(path), hex(&case.target)]);
        let size = if case.metadata.kind == Kind::File && !case.is_hard_link { size } else { 0 };
        assert_eq!(
            fields[2..5],
            [uid, gid].map(u64::from).into_iter().chain([size]).map(|number| number.to_string()).collect::<Vec<_>>()[..]
        );
        assert_eq!(fields[6..], [major, minor].map(|number| number.to_string()));
        assert_eq!(seconds(fields[5]), modified, "{line}");
    }
}

/// The time of a decimal number of seconds.
fn seconds(text: &str) -> Time {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: i128 = format!("{fraction:0<9}").parse().unwrap();
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let all = i128::from(whole.parse::<i64>().unwrap()) * 1_000_000_000 + sign * nanoseconds;
    Time {
        seconds: i64::try_from(all.div_euclid(1_000_000_000)).unwrap(),
        nanoseconds: u32::try_from(all.rem_euclid(1_000_000_000)).unwrap(),
    }
}

/// Without what is in a record and no UTF-8: bsdtar reads it, with a warning for each.
#[test]
fn bsdtar_lists_them_alike() {
    let mut cases = cases();
    cases.retain(|case| case.path.len() < 100 && case.segments.is_none() || case.path.is_ascii());
    let (_place, path, _) = archive(&cases);
    let listed = run(Command::new("bsdtar").args(["-tvn", "-f"]).arg(path).env("TZ", "UTC"));
    let listed = String::from_utf8(listed).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), cases.len());
    for (case, line) in cases.iter().zip(lines) {
        let (path, letter) = case.listed();
        let Metadata { uid, gid, size, device: (major, minor), .. } = case.metadata;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        assert!(line.starts_with(letter) && words[2..4] == [uid.to_string(), gid.to_string()], "{line}");
        match letter {
            'c' | 'b' => assert_eq!(words[4], format!("{major},{minor}")),
            '-' => assert_eq!(words[4], size.to_string()),
            _ => {}
        }
        let link = match letter {
            'h' => format!(" link to {}", as_tar_prints(&case.target)),
            'l' => format!(" -> {}", as_tar_prints(&case.target)),
            _ => String::new(),
        };
        assert!(line.ends_with(&format!(" {}{link}", as_tar_prints(&path))), "{line}");
    }
}

/// What a file system in memory holds for one file is more than any reader wants to take.
#[test]
fn more_attributes_than_a_header_holds_are_reported() {
    let Ok(place) = tempfile::tempdir_in("/dev/shm") else {
        println!("there is no /dev/shm: not tested");
        return;
    };
    let path = place.path().join("file");
    fs::write(&path, "").unwrap();
    let value = vec![b'v'; 64 << 10];
    for number in 0..300 {
        if let Err(error) = lsetxattr(&path, format!("user.{number}"), &value, XattrFlags::empty()) {
            println!("/dev/shm takes no such attributes: {error}: not tested");
            return;
        }
    }
    let mut lost = 0;
    let attributes = AttributeReader::default().of_open(File::open(&path).unwrap(), |_, _| lost += 1).unwrap();
    let (header, _) = Case::symlink(path_of(paths::LONGEST), path_of(paths::LONGEST)).packed(&attributes);
    let member = Reader::new(&header[..], Ending::AnyMember).next_member().unwrap().unwrap();
    assert!(lost > 0 && member.xattrs.len() > 50 && member.xattrs.len() + lost >= 300, "{lost}");
}
