//! A tree of everything that a file system can hold, and how two trees are compared.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, lsetxattr, makedev,
    mkdirat, mkfifoat, mknodat, openat, utimensat,
};

use super::{Numbers, name, run};

/// Whether the test may make everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Sets the time of the last change, of a link itself.
pub(crate) fn set_modified(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn own(path: &Path, uid: u32, gid: u32) {
    chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect()
}

/// Everything that a tree can hold, but for sockets. Folders' times come last.
pub(crate) fn everything(root: &Path) {
    fs::create_dir(root).unwrap();
    plain_things(root);
    names_and_paths(root);
    sparse_things(root);
    hard_links(root);
    attributes(root);
    if is_root() {
        as_root(root);
    }
    times(root);
}

fn plain_things(root: &Path) {
    for (length, seed) in [(0, 1), (1, 2), (511, 3), (512, 4), (513, 5), (1 << 20, 6), ((1 << 20) + 1, 7)] {
        fs::write(root.join(format!("length {length}")), noise(length, seed)).unwrap();
    }
    fs::create_dir_all(root.join("empty folder")).unwrap();
    fs::create_dir_all(root.join("closed folder")).unwrap();
    fs::write(root.join("closed folder/inside"), "inside").unwrap();
    let mode = |name: &str, mode| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("length 1", 0o4755);
    mode("length 511", 0o2750);
    mode("empty folder", 0o1777);
    if is_root() {
        mode("length 512", 0o000);
        mode("closed folder", 0o500);
    }
    for (target, link) in [
        ("nowhere", "dangling"),
        ("looping", "looping"),
        ("/etc/passwd", "absolute"),
        ("../../..", "upwards"),
        (&"t".repeat(100), "target of 100"),
        (&"long/".repeat(600), "long target"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    symlink(name(b"t\xff\n="), root.join("odd target")).unwrap();
    mkfifoat(CWD, root.join("fifo"), Mode::from_raw_mode(0o640)).unwrap();
}

fn names_and_paths(root: &Path) {
    for bytes in
        [&b"new\nline"[..], b"\xff\xfe not UTF-8", "ümläut".as_bytes(), b" ", b"-rf", b"tab\t", b"back\\slash\\n"]
    {
        fs::write(root.join(name(bytes)), bytes).unwrap();
    }
    for length in (90..=110).chain(150..=160).chain(250..=255) {
        fs::write(root.join("n".repeat(length)), "").unwrap();
        let folder = root.join("f".repeat(length));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("m".repeat(100)), "in a folder").unwrap();
    }
    // 4,000 bytes below the root: too long to be made in one go, with what stands before it.
    let mut folder = openat(CWD, root, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..20 {
        let component = "p".repeat(192);
        mkdirat(&folder, component.as_str(), Mode::RWXU).unwrap();
        folder = openat(&folder, component.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let file = openat(&folder, "q".repeat(140), OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    File::from(file).write_all(b"deep").unwrap();
}

const SPARSE: u64 = 64 << 20;

fn sparse_things(root: &Path) {
    let sparse = |name: &str, size: u64, data: &[(u64, usize)]| {
        let file = File::create(root.join(name)).unwrap();
        file.set_len(size).unwrap();
        for (offset, length) in data {
            file.write_all_at(&noise(*length, *offset + 9), *offset).unwrap();
        }
    };
    sparse("sparse all hole", SPARSE, &[]);
    sparse("sparse odd hole", SPARSE + 1, &[(0, 10)]);
    sparse("sparse with end", SPARSE + 777, &[(5 << 20, 100_000), (SPARSE, 777)]);
    sparse("sparse of many pieces", SPARSE, &(0..1000).map(|piece| (piece * 16384, 10)).collect::<Vec<_>>());
    let long = format!("sparse {}", "s".repeat(240));
    sparse(&long, SPARSE, &[(1 << 20, 1)]);
}

fn hard_links(root: &Path) {
    for folder in ["z links", "a links", "a links/deep"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    let link = |original: &str, name: &str| fs::hard_link(root.join(original), root.join(name)).unwrap();
    fs::write(root.join("z links/file"), noise(3000, 11)).unwrap();
    link("z links/file", "a links/deep/file");
    link("z links/file", "a links/file");
    link("z links/file", &format!("a links/{}", "l".repeat(250)));
    link("dangling", "a links/dangling");
    link("fifo", "a links/fifo");
    link("sparse all hole", "a links/sparse");
    // Before its leader's folder, but not before its leader.
    link(&format!("a links/{}", "l".repeat(250)), "a links!");
}

fn attributes(root: &Path) {
    let probe = Command::new("setfacl").args(["-m", "u:1:r"]).arg(root.join("length 513")).output();
    if probe.is_ok_and(|probe| String::from_utf8_lossy(&probe.stderr).contains("not supported")) {
        println!("this file system takes no access control lists: not tested");
        return;
    }
    let set =
        |path: &str, name: &str, value: &[u8]| lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    set("length 513", "user.plain", b"value");
    set("length 513", "user.a=b%c=%3D", b"with = and\nnew line and \0 and \xff");
    set("length 513", "user.empty", b"");
    set("empty folder", "user.large", &noise(2000, 12));
    set("z links/file", "user.on a link", b"once");
    for (rules, path) in [
        ("u:70000:rwx,g:12:r-x,m::rwx", "length 513"),
        ("u:3000000:---", "a links"),
        ("d:u:1:rwx,d:g:4000000000:r,d:o::-", "a links/deep"),
    ] {
        run(Command::new("setfacl").args(["-n", "-m", rules]).arg(root.join(path)));
    }
}

fn as_root(root: &Path) {
    own(&root.join("length 0"), 2_097_151, 2_097_151);
    own(&root.join("length 512"), 2_097_152, 4_000_000_000);
    own(&root.join("dangling"), 1000, 3_000_000);
    own(&root.join("empty folder"), 65534, 1);
    for (name, kind, device) in [
        ("character device", FileType::CharacterDevice, makedev(1, 3)),
        ("block device", FileType::BlockDevice, makedev(4000, 1_000_000)),
    ] {
        mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o600), device).unwrap();
    }
    lsetxattr(root.join("dangling"), "trusted.on link", b"link", XattrFlags::empty()).unwrap();
    lsetxattr(root.join("fifo"), "trusted.on fifo", b"fifo", XattrFlags::empty()).unwrap();
    // cap_net_raw, permitted and effective: an owner's change after it would remove it.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    lsetxattr(root.join("length 1"), "security.capability", &capability, XattrFlags::empty()).unwrap();
}

fn times(root: &Path) {
    set_modified(&root.join("length 0"), 1_700_000_000, 0);
    set_modified(&root.join("length 1"), 0, 1);
    set_modified(&root.join("length 511"), -1, 0);
    set_modified(&root.join("length 512"), -6, 750_000_000);
    set_modified(&root.join("length 513"), 8_589_934_591, 999_999_999);
    set_modified(&root.join("dangling"), 9_000_000_000, 120_000_000);
    set_modified(&root.join("fifo"), -1_000_000_000, 1);
    set_modified(&root.join("a links/deep"), 8_589_934_592, 0);
    set_modified(&root.join("closed folder"), 1, 500);
    set_modified(root, -10, 1);
}

/// Fails unless `rsync`, told to make `restored` equal to `source`, sees nothing to do.
#[track_caller]
pub(crate) fn assert_identical(compared: &str, source: &Path, restored: &Path) {
    let as_folder = |path: &Path| [path.as_os_str().as_bytes(), b"/"].concat();
    let mut rsync = Command::new("rsync");
    rsync.args([compared, "--numeric-ids", "--checksum", "--delete", "--modify-window=-1"]);
    let said = run(rsync.arg(name(&as_folder(source))).arg(name(&as_folder(restored))));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
