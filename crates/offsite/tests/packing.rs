//! Trees packed by us and unpacked by others, and files that change while they are packed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use offsite::archive::incident::{Incident, What};
use offsite::archive::member::{Content, Packer};
use offsite::archive::read::{Ending, Reader};
use offsite::archive::unpack::{Existing, Problem, Report, Unpacker};
use offsite::archive::walk::{Entry, Walk};
use offsite::archive::write::write_tar;
use rustix::fs::{CWD, Mode, mkfifoat};
use support::everything::{assert_identical, everything, is_root, noise, set_modified};
use support::{archive_path, entry_named, name, run, walk};
use tempfile::TempDir;

/// Packs a walk. Nothing may be worth a report.
fn pack(walk: Walk) -> Vec<u8> {
    let mut tar = Vec::new();
    write_tar(walk, &mut tar, &mut |incident| panic!("{incident:?}")).unwrap();
    tar
}

struct Packed {
    place: TempDir,
    /// What was packed has this archive path.
    prefix: Vec<u8>,
}

/// `PLACE/source`, packed to `PLACE/tar`.
fn packed_everything() -> Packed {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    everything(&source);
    let tar = pack(walk(&[&source]));
    assert!(tar == pack(walk(&[&source])), "the same tree gave other bytes");
    assert!(tar.len() < 10 << 20, "holes were stored");
    fs::write(place.path().join("tar"), tar).unwrap();
    Packed { place, prefix: archive_path(&source) }
}

#[test]
fn gnu_tar_restores_everything() {
    let Packed { place, prefix } = packed_everything();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-x", "--xattrs", "--xattrs-include=*", "--acls", "-p", "--numeric-owner", "--same-owner"]);
    let said = run(tar.arg("--delay-directory-restore").arg("-C").arg(&out).arg("-f").arg(place.path().join("tar")));
    assert!(said.is_empty());
    let (source, restored) = (place.path().join("source"), out.join(name(&prefix)));
    assert_identical("-naHAXi", &source, &restored);
    for entry in fs::read_dir(&source).unwrap() {
        let name = entry.unwrap().file_name();
        let blocks = |root: &Path| root.join(&name).symlink_metadata().unwrap().blocks();
        if name.as_bytes().starts_with(b"sparse") {
            assert!(blocks(&restored) <= blocks(&source), "{name:?}");
        }
    }
    let inode = |path: &str| restored.join(path).symlink_metadata().unwrap().ino();
    assert_eq!(inode("z links/file"), inode("a links/deep/file"));
    assert_eq!(inode("dangling"), inode("a links/dangling"));
}

/// All paths below a folder, by their definition, as a tar names them.
fn names(path: &Path, found: &mut Vec<Vec<u8>>) {
    let is_folder = path.symlink_metadata().unwrap().is_dir();
    found.push([&archive_path(path)[..], if is_folder { b"/" } else { b"" }].concat());
    if is_folder {
        let mut inside: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        inside.sort();
        inside.iter().for_each(|path| names(path, found));
    }
}

/// A name as bsdtar prints it in the C locale.
fn as_bsdtar(name: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        b'\\' => "\\\\".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\{byte:03o}"),
    };
    name.iter().map(escaped).collect()
}

#[test]
fn bsdtar_lists_the_same() {
    let Packed { place, .. } = packed_everything();
    let mut expected = Vec::new();
    names(&place.path().join("source"), &mut expected);
    let expected: String = expected.iter().map(|name| as_bsdtar(name) + "\n").collect();
    let listed = run(Command::new("bsdtar").arg("-tf").arg(place.path().join("tar")));
    assert_eq!(String::from_utf8(listed).unwrap(), expected);
    let long = run(Command::new("bsdtar").arg("-tvf").arg(place.path().join("tar")));
    let long = String::from_utf8(long).unwrap();
    assert!(long.lines().any(|line| line.starts_with('h') && line.contains("a links/file link to ")), "{long}");
    assert!(!is_root() || long.lines().any(|line| line.starts_with('b') && line.contains(" 4000,1000000 ")), "{long}");
}

/// Not compared: names of attributes, of which bsdtar does not undo the escapes; lists with numbers
/// beyond 2^31; times, since it takes -1.25 for 0.75 s before 1970.
#[test]
fn bsdtar_restores_contents_and_owners() {
    let Packed { place, prefix } = packed_everything();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut bsdtar = Command::new("bsdtar");
    bsdtar.args(["-x", "-p", "--numeric-owner", "-C"]).arg(&out).arg("-f").arg(place.path().join("tar"));
    run(&mut bsdtar);
    assert_identical("-nrlpgoDHi", &place.path().join("source"), &out.join(name(&prefix)));
}

#[test]
fn python_reads_the_same() {
    const SCRIPT: &str = "
import hashlib, sys, tarfile
with tarfile.open(sys.argv[1], errors='surrogateescape') as tar:
    for member in tar:
        data = tar.extractfile(member).read() if member.isreg() else b''
        name = member.name.encode('utf-8', 'surrogateescape').hex()
        print(name, member.isdir(), member.size if member.isreg() else 0, hashlib.md5(data).hexdigest())
";
    const DIGEST: &str = "
import hashlib, sys
for line in sys.stdin.buffer.read().split(b'\\0')[:-1]:
    print(hashlib.md5(open(line, 'rb').read()).hexdigest())
";
    let Packed { place, .. } = packed_everything();
    let listed = run(Command::new("python3").args(["-c", SCRIPT]).arg(place.path().join("tar")));
    let listed = String::from_utf8(listed).unwrap();
    let listed: Vec<Vec<&str>> = listed.lines().map(|line| line.split(' ').collect()).collect();

    let mut expected = Vec::new();
    names(&place.path().join("source"), &mut expected);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected: Vec<_> = expected.iter().map(|name| hex(name.strip_suffix(b"/").unwrap_or(name))).collect();
    assert!(listed.iter().map(|fields| fields[0]).eq(expected.iter().map(String::as_str)));

    for file in ["a links/sparse", "sparse odd hole", "sparse with end", "sparse of many pieces", "length 1048577"] {
        let path = place.path().join("source").join(file);
        let list = place.path().join("list");
        fs::write(&list, [path.as_os_str().as_bytes(), b"\0"].concat()).unwrap();
        let digest = run(Command::new("python3").args(["-c", DIGEST]).stdin(File::open(&list).unwrap()));
        let digest = String::from_utf8(digest).unwrap();
        let name = hex(&archive_path(&path));
        let fields =
            listed.iter().find(|fields| fields[0] == name && fields[2] != "0").unwrap_or_else(|| panic!("{file}"));
        assert_eq!((fields[2], fields[3]), (&*path.metadata().unwrap().len().to_string(), digest.trim()), "{file}");
    }
}

#[test]
fn an_end_is_two_blocks_of_zeros() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "content").unwrap();
    let tar = pack(walk(&[&place.path().join("file")]));
    let header = tar.len() - 512 - 1024;
    assert!(tar.len().is_multiple_of(512) && tar[header..].starts_with(b"content\0"));
    assert!(tar[header + 7..].iter().all(|byte| *byte == 0));
}

#[test]
fn the_working_directory_has_no_prefix() {
    // Where tests run: the crate's own folder.
    let tar = pack(walk(&[Path::new(".")]));
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("tar"), &tar).unwrap();
    let listed = run(Command::new("tar").arg("-tf").arg(place.path().join("tar")));
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.starts_with("./\nCargo.toml\n") && listed.contains("\nsrc/\nsrc/archive/\n"), "{listed}");

    let [ours, theirs] = ["ours", "theirs"].map(|name| place.path().join(name));
    fs::create_dir(&ours).unwrap();
    fs::create_dir(&theirs).unwrap();
    let options = ["-x", "-p", "--numeric-owner", "--acls", "--xattrs", "--delay-directory-restore", "-f"];
    run(Command::new("tar").args(options).arg(place.path().join("tar")).arg("-C").arg(&theirs));
    let unpacker = Unpacker::new(&ours, Existing::Refuse, &NoProblem).unwrap();
    let mut reader = Reader::new(&tar[..], Ending::Zeros);
    while let Some(member) = reader.next_member().unwrap() {
        unpacker.member(&member, &mut reader).unwrap();
    }
    unpacker.finish().unwrap();
    assert_identical("-naHAXi", Path::new("."), &ours);
    assert_identical("-naHAXi", Path::new("."), &theirs);
}

struct NoProblem;

impl Report for NoProblem {
    fn problem(&self, problem: Problem) {
        panic!("{problem}");
    }
}

#[test]
fn sockets_are_left_out() {
    let place = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(place.path().join("socket")).unwrap();
    let mut incidents = Vec::new();
    let mut tar = Vec::new();
    write_tar(walk(&[place.path()]), &mut tar, &mut |incident| incidents.push(incident)).unwrap();
    assert!(matches!(incidents[..], [Incident { what: What::Socket, .. }]));
    assert!(!incidents[0].is_loss());
}

fn packer() -> Packer {
    Packer::new(&std::env::temp_dir())
}

/// Packs one entry, of whatever has become of it.
fn pack_one(packer: &mut Packer, entry: &Entry) -> (Option<offsite::archive::member::Member>, Vec<What>) {
    let mut incidents = Vec::new();
    let role = packer.role(entry).unwrap();
    let member = packer.pack(entry, role, &mut |incident| incidents.push(incident.what)).unwrap();
    (member, incidents)
}

#[test]
fn what_changes_between_walk_and_opening_is_reported() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for name in ["deleted", "link now", "fifo now", "another", "other"] {
        fs::write(path(name), name).unwrap();
    }
    symlink("target", path("link gone")).unwrap();
    let entries: Vec<_> = walk(&[place.path()]).map(|found| found.unwrap().unwrap()).collect();
    fs::remove_file(path("deleted")).unwrap();
    fs::remove_file(path("link now")).unwrap();
    symlink("/etc/passwd", path("link now")).unwrap();
    fs::remove_file(path("fifo now")).unwrap();
    mkfifoat(CWD, path("fifo now"), Mode::RUSR).unwrap();
    fs::rename(path("other"), path("another")).unwrap();
    fs::remove_file(path("link gone")).unwrap();
    fs::write(path("link gone"), "").unwrap();

    let mut packer = packer();
    let mut outcome = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name() == name.as_bytes()).unwrap();
        pack_one(&mut packer, entry)
    };
    assert!(matches!(outcome("deleted"), (None, what) if matches!(what[..], [What::Vanished])));
    assert!(matches!(outcome("link now"), (None, what) if matches!(what[..], [What::Replaced])));
    assert!(matches!(outcome("fifo now"), (None, what) if matches!(what[..], [What::Replaced])));
    assert!(matches!(outcome("link gone"), (None, what) if matches!(what[..], [What::Replaced])));
    // Another file of the same name is packed as what it is now.
    let (member, what) = outcome("another");
    assert!(what.is_empty());
    assert_eq!(member.unwrap().content.stored(), 5);
}

#[test]
fn a_lost_leader_is_followed_by_the_next_name() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("a"), "content").unwrap();
    for name in ["b", "c", "d"] {
        fs::hard_link(path("a"), path(name)).unwrap();
    }
    let entries: Vec<_> = walk(&[place.path()]).map(|found| found.unwrap().unwrap()).collect();
    fs::remove_file(path("a")).unwrap();
    fs::write(path("a"), "another file").unwrap();
    fs::remove_file(path("b")).unwrap();
    let mut packer = packer();
    let contents: Vec<_> = entries[1..].iter().map(|entry| pack_one(&mut packer, entry).0).collect();
    let stored: Vec<_> = contents.iter().map(|member| member.as_ref().map(|member| member.content.stored())).collect();
    assert_eq!(stored, [Some(12), None, Some(7), Some(0)]);
    let link = &contents[3].as_ref().unwrap().header;
    assert!(link.windows(2).any(|bytes| bytes == b"/c"), "d does not link to c");
}

/// A writer that does something once, after the first bytes.
struct Meanwhile<F: FnOnce()> {
    written: Vec<u8>,
    deed: Option<F>,
}

impl<F: FnOnce()> Write for Meanwhile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(deed) = self.deed.take() {
            deed();
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written of a file to which something happens after its header; and what is reported.
fn meanwhile(path: &Path, deed: impl FnOnce()) -> (Vec<u8>, Vec<What>) {
    let mut out = Meanwhile { written: Vec::new(), deed: Some(deed) };
    let mut incidents = Vec::new();
    write_tar(walk(&[path]), &mut out, &mut |incident| incidents.push(incident.what)).unwrap();
    let end = out.written.len() - 1024;
    assert!(out.written.len().is_multiple_of(512));
    (out.written[..end].to_vec(), incidents)
}

#[test]
fn what_changes_under_the_reading_keeps_its_length() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    let length = 1_000_000;
    let content = noise(length, 13);
    let stored = |tar: &[u8]| tar[tar.len() - length.next_multiple_of(512)..][..length].to_vec();

    fs::write(&path, &content).unwrap();
    let (tar, what) =
        meanwhile(&path, || fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(300_000).unwrap());
    assert!(matches!(what[..], [What::Shrank]), "{what:?}");
    assert!(stored(&tar) == [&content[..300_000], &vec![0; 700_000]].concat());

    fs::write(&path, &content).unwrap();
    let (tar, what) =
        meanwhile(&path, || fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap());
    assert!(matches!(what[..], [What::Grew]), "{what:?}");
    assert!(stored(&tar) == content);

    fs::write(&path, &content).unwrap();
    set_modified(&path, 1, 1);
    let (_, what) = meanwhile(&path, || {
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"other", 999_000).unwrap();
    });
    assert!(matches!(what[..], [What::Changed]), "{what:?}");
}

#[test]
fn content_is_plain_sparse_or_none() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("plain"), "plain").unwrap();
    File::create(place.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(place.path().join("folder")).unwrap();
    let member = |name: &str| {
        let (member, what) = pack_one(&mut packer(), &entry_named(walk(&[place.path()]), name));
        assert!(what.is_empty());
        member.unwrap()
    };
    assert!(matches!(member("plain").content, Content::Plain { size: 5, .. }));
    assert!(matches!(member("folder").content, Content::None));
    let sparse = member("sparse");
    assert!(matches!(&sparse.content, Content::Sparse { segments, .. } if segments.is_empty()));
    assert!(
        sparse.header.ends_with(&[0; 400]) && sparse.header.windows(20).any(|map| map == b"1\n1099511627776\n0\n\0\0")
    );
}
