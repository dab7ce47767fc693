//! Archives as GNU tar writes them become what they were made of.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, SystemTime};

use super::*;

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree with everything in it; devices, owners and other namespaces only as root.
fn everything(tree: &Path) {
    let at = |name: &str| tree.join(name);
    fs::create_dir_all(at("empty")).unwrap();
    fs::create_dir_all(at("sub/deeper")).unwrap();
    fs::write(at("zero"), "").unwrap();
    fs::write(at("file"), "content").unwrap();
    fs::write(at("zeros"), vec![0; 3 << 20]).unwrap();
    fs::write(at("large"), (0..5_000_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>()).unwrap();
    for name in ["sub/hard", "sub/deeper/hard", "a-hard"] {
        fs::hard_link(at("file"), at(name)).unwrap();
    }
    for (name, target) in [("dangling", "no/where"), ("loop", "loop"), ("up", "../../.."), ("absolute", "/etc/passwd")]
    {
        std::os::unix::fs::symlink(target, at(name)).unwrap();
    }
    std::os::unix::fs::symlink("x".repeat(3000), at("long-link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    fs::write(at(&"n".repeat(255)), "long name").unwrap();
    fs::write(at("new\nline\t"), "odd").unwrap();
    fs::write(tree.join(OsString::from_vec(b"broken\xff\xfe=%".to_vec())), "odd").unwrap();
    let mut deep = tree.to_path_buf();
    while deep.as_os_str().len() - tree.as_os_str().len() < 3900 {
        deep.push("d".repeat(99));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(90)), "deep").unwrap();
    sparse(&at("sparse"));
    File::create(at("hole")).unwrap().set_len(64 << 20).unwrap();
    let attribute = |name: &str, value: &str, file: &str| {
        run("attr", "setfattr", &["-h", "-n", name, "-v", value, at(file).to_str().unwrap()]);
    };
    attribute("user.one", "1", "file");
    attribute("user.a=b%c%3D", "0x00ff0a00", "zero");
    attribute("user.folder", "", "sub");
    for (acl, file) in [("u:12345:rw,g:23456:r", "file"), ("d:u:12345:rwx,d:g::r,u:54321:x", "sub")] {
        run("acl", "setfacl", &["-m", acl, at(file).to_str().unwrap()]);
    }
    for (mode, file) in
        [(0o4755, "zero"), (0o2711, "large"), (0o1777, "sub/deeper"), (0o000, "hole"), (0o444, "sparse")]
    {
        chmod(&at(file), mode);
    }
    if is_root() {
        as_root(tree);
    }
    for (file, seconds, nanoseconds) in [
        ("file", -1_000_000_000, 1),
        ("zero", -1, 999_999_999),
        ("large", 5_000_000_000, 5),
        ("dangling", 7, 7),
        ("fifo", 0, 0),
    ] {
        set_time(&at(file), seconds, nanoseconds);
    }
    for (folder, seconds) in [("sub/deeper", 1), ("sub", -77), ("empty", 4_000_000_000), ("", 3)] {
        set_time(&at(folder), seconds, 123_456_789);
    }
}

fn sparse(path: &Path) {
    let file = File::create(path).unwrap();
    for number in 0..64_u64 {
        file.write_all_at(&[1; 4096], number * (3 << 20)).unwrap();
    }
    file.set_len(400 << 20).unwrap();
}

fn as_root(tree: &Path) {
    let at = |name: &str| tree.join(name);
    let makes_devices = [("null", FileType::CharacterDevice, (1, 3)), ("disk", FileType::BlockDevice, (259, 70_000))];
    for (name, kind, (major, minor)) in makes_devices {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, Mode::from_raw_mode(0o640), number).unwrap();
    }
    for (name, owner) in
        [("large", "3000000:4000000"), ("dangling", "5:6"), ("fifo", "7:8"), ("sub", "9:10"), ("null", "1:2")]
    {
        run("coreutils", "chown", &["-h", owner, at(name).to_str().unwrap()]);
    }
    chmod(&at("large"), 0o6711);
    for (name, file) in [("trusted.t", "file"), ("trusted.link", "dangling"), ("trusted.fifo", "fifo")] {
        run("attr", "setfattr", &["-h", "-n", name, "-v", "x", at(file).to_str().unwrap()]);
    }
    // A file's capabilities go when its owner changes: cap_net_raw+ep.
    let capability = "0x0100000200200000000000000000000000000000";
    run("attr", "setfattr", &["-n", "security.capability", "-v", capability, at("zeros").to_str().unwrap()]);
    run("acl", "setfacl", &["-m", "u:12345:r", at("fifo").to_str().unwrap()]);
}

#[test]
fn a_tree_with_everything_in_it() {
    for place in Place::both() {
        let tree = place.path("outside/tree");
        fs::create_dir(&tree).unwrap();
        everything(&tree);
        let archive = packed(&tree);
        let totals = unpack(&archive, place.unpacker(Existing::Refuse)).unwrap();
        assert_eq!(place.problems.taken(), [""; 0]);
        assert!(totals.made > 60 && totals.kept + totals.not_made == 0, "{totals:?}");
        assert_same(&tree, &place.target("tree"));
        for name in ["sparse", "hole"] {
            let [before, after] =
                [tree.join(name), place.target("tree").join(name)].map(|path| fs::metadata(path).unwrap());
            assert!(after.blocks() <= before.blocks(), "{name}: {} {}", after.blocks(), before.blocks());
        }
        let zeros = fs::metadata(place.target("tree/zeros")).unwrap();
        assert_eq!((zeros.len(), zeros.blocks() >= (3 << 20) / 512), (3 << 20, true));
        resumed(&place, &archive, &tree);
    }
}

/// A second run keeps what is finished and mends the rest.
fn resumed(place: &Place, archive: &[u8], tree: &Path) {
    let target = place.target("tree");
    fs::write(target.join("file"), "changed").unwrap();
    fs::remove_file(target.join("loop")).unwrap();
    File::options().write(true).open(target.join("large")).unwrap().set_len(10).unwrap();
    fs::remove_file(target.join("zero")).unwrap();
    fs::create_dir(target.join("left")).unwrap();
    fs::remove_dir(target.join("left")).unwrap();
    let totals = unpack(archive, place.unpacker(Existing::Resume)).unwrap();
    assert_eq!(place.problems.taken(), [""; 0]);
    assert!(totals.kept >= 6, "{totals:?}");
    assert_same(tree, &target);
    let totals = unpack(archive, place.unpacker(Existing::Replace)).unwrap();
    assert_eq!(totals.kept, 0);
    assert_same(tree, &target);
    assert!(unpack(archive, place.unpacker(Existing::Refuse)).unwrap_err().contains("already"));
}

/// The target itself comes first, and gets its time last.
#[test]
fn a_tree_without_a_name() {
    for place in Place::both() {
        let tree = place.path("outside");
        fs::create_dir(tree.join("d")).unwrap();
        fs::write(tree.join("d/f"), "x").unwrap();
        run("acl", "setfacl", &["-m", "d:u:12345:rwx,g:54321:r", tree.to_str().unwrap()]);
        set_time(&tree, -5, 7);
        let names = ["--no-recursion", "--acls", "-C", tree.to_str().unwrap(), ".", "d", "d/f", "canary"];
        let archive = run("tar", "tar", &[&["--format=pax", "-cf", "-"], &names[..]].concat());
        assert_eq!(unpack(&archive, place.unpacker(Existing::Refuse)).unwrap().made, 4);
        assert_same(&tree, &place.path("target"));
    }
}

#[test]
fn paths_longer_than_the_kernel_takes() {
    for place in Place::both() {
        let unpacker = place.unpacker(Existing::Refuse);
        let component = "d".repeat(200);
        let path = vec![component.as_str(); 50].join("/");
        assert!(path.len() > 10_000);
        unpacker.put(&file(format!("{path}/f"))).unwrap();
        unpacker.put(&hard_link(format!("{path}/g"), format!("{path}/f"))).unwrap();
        unpacker.put(&symlink(format!("{path}/l"), "x")).unwrap();
        unpacker.put(&folder(&path)).unwrap();
        unpacker.finish().unwrap();
        assert_eq!(place.problems.taken(), [""; 0]);
    }
}

#[test]
fn a_default_acl_of_the_target_is_not_inherited() {
    let place = Place::new(true);
    let tree = place.path("outside/tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    fs::write(tree.join("d/f"), "x").unwrap();
    let target = place.path("target");
    run("acl", "setfacl", &["-m", "d:u:12345:rwx,u:12345:rwx", target.to_str().unwrap()]);
    unpack(&packed(&tree), place.unpacker(Existing::Refuse)).unwrap();
    assert_same(&tree, &place.target("tree"));
}

#[test]
fn a_name_in_an_acl_is_reported() {
    let place = Place::new(true);
    let unpacker = place.unpacker(Existing::Refuse);
    let acl = |text: &str| Member { access_acl: Some(text.into()), ..file(format!("{}", text.len())) };
    unpacker.put(&acl("user::rw-,user:joe:r--:12345,group::r--,mask::r--,other::---")).unwrap();
    unpacker.put(&acl("user::rw-\nuser:12345:rwx\t#effective:r--\ngroup::r--\nmask::r--\nother::---\n")).unwrap();
    assert_eq!(place.problems.taken(), [""; 0]);
    for (text, words) in
        [("user:joe:r--", "joe"), ("user::rwz", "no entry"), ("a", "no entry"), ("mask:1:r--", "no entry")]
    {
        unpacker.put(&acl(text)).unwrap();
        let problems = place.problems.taken();
        assert!(problems.len() == 1 && problems[0].contains("the ACL") && problems[0].contains(words), "{problems:?}");
    }
}

/// A plain user restores what is read-only, even to its owner, and again over it.
#[test]
fn a_plain_user_restores_read_only_folders() {
    for place in Place::both() {
        chmod(place.folder.path(), 0o755);
        let tree = place.path("outside/tree");
        fs::create_dir_all(tree.join("closed/inner")).unwrap();
        for name in ["closed/f", "closed/inner/g"] {
            fs::write(tree.join(name), "x").unwrap();
            run("attr", "setfattr", &["-n", "user.a", "-v", "b", tree.join(name).to_str().unwrap()]);
            chmod(&tree.join(name), 0o444);
        }
        run("acl", "setfacl", &["-m", "u:12345:rx", tree.join("closed").to_str().unwrap()]);
        chmod(&tree.join("closed/f"), 0o4444);
        // chown takes setuid away, so the owner comes first.
        as_plain_user(place.folder.path(), || ());
        chmod(&tree.join("closed/f"), 0o4444);
        chmod(&tree.join("closed/inner"), 0o500);
        chmod(&tree.join("closed"), 0o555);
        let archive = packed(&tree);
        let restore = |existing| unpack(&archive, place.unpacker(existing)).unwrap();
        let path = place.folder.path().join("nothing");
        fs::write(&path, "").unwrap();
        as_plain_user(&path, || {
            assert_eq!(restore(Existing::Refuse).made, 5);
            assert_eq!(place.problems.taken(), [""; 0]);
            assert_eq!(restore(Existing::Resume), Totals { made: 3, kept: 2, not_made: 0 });
            restore(Existing::Replace);
        });
        assert_same(&tree, &place.target("tree"));
    }
}

/// What only root may do is reported, and all else is done.
#[test]
fn what_a_plain_user_cannot_is_reported() {
    let place = Place::new(true);
    chmod(place.folder.path(), 0o755);
    as_plain_user(place.folder.path(), || {
        let unpacker = place.unpacker(Existing::Refuse);
        let theirs = |made: Member| Member { uid: 12345, gid: 23456, ..made };
        let device = unpacker.put(&member("null", Kind::CharacterDevice { major: 1, minor: 3 })).unwrap();
        assert_eq!(device, Outcome::NotMade);
        for made in [file("f"), folder("d"), symlink("l", "x"), member("p", Kind::Fifo)] {
            let made = Member { mode: 0o6755, ..theirs(made) };
            assert_eq!(unpacker.put(&made).unwrap(), Outcome::Made);
        }
        assert_eq!(unpacker.finish().unwrap(), Totals { made: 4, kept: 0, not_made: 1 });
        let mut problems = place.problems.taken();
        problems.sort();
        let refused = "Operation not permitted (os error 1)";
        let owner = |name: &str| format!("{name}: cannot set owner and group: {refused}");
        let device = format!("null: cannot make a device: {refused}");
        assert_eq!(problems, [owner("d"), owner("f"), owner("l"), device, owner("p")]);
        let data = fs::metadata(place.target("f")).unwrap();
        assert_eq!((data.mode() & 0o7777, data.mtime()), (0o755, 1_000_000_000));
    });
}

/// The greatest number means "leave it" to the kernel: what has it stays ours, and must not run as us.
#[test]
fn the_owner_that_nobody_is_is_reported() {
    let place = Place::new(true);
    let unpacker = place.unpacker(Existing::Refuse);
    let own = file("f");
    for (path, uid, gid, mode) in [("u", u32::MAX, own.gid, 0o755), ("g", own.uid, u32::MAX, 0o4755)] {
        unpacker.put(&Member { uid, gid, mode: 0o6755, ..file(path) }).unwrap();
        assert_eq!(place.problems.taken().len(), 1);
        assert_eq!(fs::metadata(place.target(path)).unwrap().mode() & 0o7777, mode);
    }
}

/// A leader's member under its follower's path is the file itself.
#[test]
fn a_follower_without_its_leader_is_the_file() {
    let place = Place::new(true);
    let unpacker = place.unpacker(Existing::Refuse);
    let leader = file("a/leader");
    let follower = hard_link("b/follower", "a/leader");
    assert!(matches!(unpacker.put(&follower), Err(Error::LinkTarget { fault: LinkFault::Missing, .. })));
    unpacker.put(&Member { path: follower.path, ..leader }).unwrap();
    assert_eq!(fs::read(place.target("b/follower")).unwrap(), b"data");
}

#[test]
fn times_are_set_to_the_nanosecond() {
    let place = Place::new(true);
    let unpacker = place.unpacker(Existing::Refuse);
    let mtime = Time { seconds: -2, nanoseconds: 500_000_000 };
    unpacker.put(&Member { mtime, ..file("f") }).unwrap();
    let found = fs::metadata(place.target("f")).unwrap().modified().unwrap();
    assert_eq!(SystemTime::UNIX_EPOCH.duration_since(found).unwrap(), Duration::from_millis(1500));
}
