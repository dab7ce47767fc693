//! What an archive or another process may try; the canary outside the target stays as it is.

use super::*;
use crate::archive::read::{self, Xattr};

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let long = vec![b'a'; paths::LONGEST + 1];
    let paths: [(&[u8], PathFault); 18] = [
        (b"", PathFault::Empty),
        (b"/", PathFault::Absolute),
        (b"/tmp/x", PathFault::Absolute),
        (b"//x", PathFault::Absolute),
        (b"..", PathFault::Parent),
        (b"../outside/x", PathFault::Parent),
        (b"a/../../outside/x", PathFault::Parent),
        (b"a/..", PathFault::Parent),
        (b".", PathFault::Current),
        (b"./x", PathFault::Current),
        (b"a/./x", PathFault::Current),
        (b"a/.", PathFault::Current),
        (b"a//x", PathFault::EmptyComponent),
        (b"a/", PathFault::EmptyComponent),
        (b"a\0b", PathFault::Nul),
        (b"\0", PathFault::Nul),
        (b"a/b\0/../../x", PathFault::Nul),
        (&long, PathFault::TooLong),
    ];
    for place in Place::both() {
        let unpacker = place.unpacker(Existing::Replace);
        unpacker.put(&file("leader")).unwrap();
        for (path, fault) in paths {
            let kinds = [file(path), symlink(path, "x"), hard_link(path, "leader"), member(path, Kind::Fifo)];
            // The target itself is a folder.
            for made in kinds.into_iter().chain((!path.is_empty()).then(|| folder(path))) {
                let error = unpacker.put(&made).unwrap_err();
                assert!(matches!(error, Error::Path { fault: found, .. } if found == fault), "{error}");
            }
            let error = unpacker.put(&hard_link("link", path)).unwrap_err();
            assert!(matches!(error, Error::LinkTarget { fault: LinkFault::Path(found), .. } if found == fault));
        }
        unpacker.finish().unwrap();
        assert_eq!(fs::read_dir(place.path("target")).unwrap().count(), 1);
        place.assert_untouched();
    }
}

#[test]
fn an_error_names_the_member_fit_for_a_terminal() {
    let place = Place::new(true);
    let error = place.unpacker(Existing::Refuse).put(&file("a\x1b[2J\n/../b")).unwrap_err();
    assert_eq!(error.to_string(), r#"member "a\u{1b}[2J\n/../b": its path holds "..""#);
}

#[test]
fn no_member_goes_through_a_link_of_the_archive() {
    for existing in [Existing::Refuse, Existing::Replace, Existing::Resume] {
        for place in Place::both() {
            let unpacker = place.unpacker(existing);
            let outside = place.outside();
            let outside = outside.as_os_str().as_bytes();
            for (name, target) in [("l", outside), ("up", b"../outside"), ("loop", b"loop"), ("here", b".")] {
                unpacker.put(&symlink(name, target)).unwrap();
                for path in [format!("{name}/canary"), format!("{name}/new"), format!("{name}/a/b")] {
                    for made in [file(&path), folder(&path), symlink(&path, "x"), member(&path, Kind::Fifo)] {
                        let error = unpacker.put(&made).unwrap_err();
                        assert!(matches!(error, Error::Through { .. }), "{existing:?}: {error}");
                    }
                }
                // The link itself is no folder, and is not written to.
                assert!(matches!(unpacker.put(&folder(name)), Err(Error::Through { .. })));
                assert!(matches!(unpacker.put(&file(name)), Err(Error::Repeated { .. })));
                assert!(fs::symlink_metadata(place.target(name)).unwrap().is_symlink());
            }
            unpacker.finish().unwrap();
            place.assert_untouched();
        }
    }
}

#[test]
fn a_link_that_was_there_is_replaced_or_in_the_way() {
    for place in Place::both() {
        for (name, existing) in [("a", Existing::Refuse), ("b", Existing::Replace), ("c", Existing::Resume)] {
            for (part, made) in
                [("f", file(format!("{name}f"))), ("d", folder(format!("{name}d"))), ("p", file(format!("{name}p/x")))]
            {
                let path = place.target(&format!("{name}{part}"));
                let there = if part == "f" { place.path("outside/canary") } else { place.outside() };
                std::os::unix::fs::symlink(there, &path).unwrap();
                let unpacker = place.unpacker(existing);
                let result = unpacker.put(&made);
                unpacker.finish().unwrap();
                if existing == Existing::Refuse {
                    assert!(matches!(result, Err(Error::Exists { .. } | Error::Through { .. })), "{result:?}");
                } else {
                    assert_eq!(result.unwrap(), Outcome::Made);
                    assert!(!fs::symlink_metadata(path).unwrap().is_symlink());
                }
            }
        }
        place.assert_untouched();
    }
}

#[test]
fn hard_links_go_to_files_of_this_run_only() {
    for place in Place::both() {
        fs::write(place.target("before"), "data").unwrap();
        fs::hard_link(place.path("outside/canary"), place.target("old")).unwrap();
        let unpacker = place.unpacker(Existing::Replace);
        let outside = place.outside();
        for made in [file("d/leader"), symlink("file", outside.join("canary").as_os_str().as_bytes())] {
            unpacker.put(&made).unwrap();
        }
        unpacker.put(&symlink("folder", outside.as_os_str().as_bytes())).unwrap();
        unpacker.put(&member("fifo", Kind::Fifo)).unwrap();
        for target in ["before", "old", "d", "folder/canary"] {
            let error = unpacker.put(&hard_link("link", target)).unwrap_err();
            let not_ours = matches!(error, Error::LinkTarget { fault: LinkFault::NotOurs | LinkFault::Missing, .. });
            assert!(not_ours, "{target}: {error}");
        }
        for target in ["missing", "missing/too", "d/leader/x"] {
            let error = unpacker.put(&hard_link("link", target)).unwrap_err();
            assert!(matches!(error, Error::LinkTarget { fault: LinkFault::Missing, .. }), "{target}: {error}");
        }
        assert!(!place.target("link").exists());
        for (link, target) in [("e/link", "d/leader"), ("e/file", "file"), ("e/fifo", "fifo")] {
            unpacker.put(&hard_link(link, target)).unwrap();
            let [one, other] = [link, target].map(|path| fs::symlink_metadata(place.target(path)).unwrap());
            assert_eq!((one.ino(), one.nlink(), other.ino()), (other.ino(), 2, one.ino()));
        }
        unpacker.finish().unwrap();
        fs::remove_file(place.target("old")).unwrap();
        place.assert_untouched();
    }
}

/// A file that is replaced is a new one: other names of the old one keep their content.
#[test]
fn what_is_replaced_is_not_written_to() {
    for place in Place::both() {
        fs::hard_link(place.path("outside/canary"), place.target("f")).unwrap();
        let unpacker = place.unpacker(Existing::Replace);
        unpacker.put(&file("f")).unwrap();
        unpacker.finish().unwrap();
        assert_eq!(fs::read(place.target("f")).unwrap(), b"data");
        place.assert_untouched();
    }
}

#[test]
fn folders_are_not_replaced_and_members_not_repeated() {
    for existing in [Existing::Refuse, Existing::Replace, Existing::Resume] {
        let place = Place::new(true);
        fs::create_dir(place.target("there")).unwrap();
        let unpacker = place.unpacker(existing);
        assert!(matches!(unpacker.put(&file("there")), Err(Error::Exists { .. })));
        unpacker.put(&file("there/f")).unwrap();
        unpacker.put(&folder("there")).unwrap();
        assert!(matches!(unpacker.put(&folder("there")), Err(Error::Repeated { .. })));
        assert!(matches!(unpacker.put(&file("there/f")), Err(Error::Repeated { .. })), "{existing:?}");
        assert!(matches!(unpacker.put(&folder("there/f")), Err(Error::Through { .. })));
        assert!(matches!(unpacker.put(&file("there/f/g")), Err(Error::Through { .. })));
        place.assert_untouched();
    }
}

#[test]
fn content_that_ends_too_early_leaves_no_file() {
    let place = Place::new(true);
    let unpacker = place.unpacker(Existing::Refuse);
    let long = member("d/f", Kind::File { size: 1 << 40, extents: None });
    assert!(matches!(unpacker.put(&long), Err(Error::Content { .. })));
    assert!(!place.target("d/f").exists());
    // Numbers of inodes come again.
    unpacker.put(&file("d/f")).unwrap();
    unpacker.put(&file("d/g")).unwrap();
    let extents = vec![Extent { offset: u64::MAX - 1, length: 4 }];
    let far = member("far", Kind::File { size: u64::MAX, extents: Some(extents) });
    assert!(matches!(unpacker.put(&far), Err(Error::System { .. })));
    assert!(!place.target("far").exists());
}

#[test]
fn a_link_raced_in_is_not_followed() {
    for place in Place::both() {
        let folder = place.target("d");
        let link = place.path("target/link");
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(place.outside(), &link).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let unpacker = place.unpacker(Existing::Replace);
        let mut made = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let exchange = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(rustix::fs::CWD, &folder, rustix::fs::CWD, &link, exchange)
                        .or_else(|_| std::os::unix::fs::symlink(place.outside(), &link).map_err(|_| Errno::EXIST))
                        .unwrap_or_default();
                }
            });
            let end = std::time::Instant::now() + std::time::Duration::from_secs(1);
            for number in 0_u64.. {
                if std::time::Instant::now() > end {
                    break;
                }
                // It must find the link there again, though it may replace it.
                let path = format!("d/{number}");
                let made_one = match number % 4 {
                    0 => unpacker.put(&file(&path)),
                    1 => unpacker.put(&symlink(&path, "x")),
                    2 => unpacker.put(&member(&path, Kind::Fifo)),
                    _ => unpacker.put(&super::folder(&path)),
                };
                made += u64::from(made_one.is_ok());
                let _ = unpacker.put(&hard_link(format!("h{number}"), "d/canary"));
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(made > 0);
        unpacker.finish().unwrap();
        place.assert_untouched();
    }
}

/// A small archive of each kind of member, as GNU tar writes it.
fn small() -> Vec<u8> {
    let source = tempfile::tempdir().unwrap();
    let tree = source.path().join("t");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    fs::hard_link(tree.join("file"), tree.join("hard")).unwrap();
    std::os::unix::fs::symlink("../../outside/canary", tree.join("link")).unwrap();
    packed(&tree)
}

#[test]
fn an_archive_cut_off_anywhere_is_an_error() {
    let archive = small();
    let end = archive.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(limits::BLOCK) + 2 * limits::BLOCK;
    for length in (0..end).step_by(limits::BLOCK / 2) {
        let place = Place::new(length % limits::BLOCK == 0);
        let error = unpack(&archive[..length], place.unpacker(Existing::Refuse)).unwrap_err();
        assert!(error.contains("cut off"), "{error}");
        place.assert_untouched();
    }
    let place = Place::new(true);
    assert_eq!(unpack(&archive[..end], place.unpacker(Existing::Refuse)).unwrap().made, 4);
}

/// Each bit of each block; of a header with its checksum made right again, for else it is found at
/// once. Where the reader refuses an archive, all that comes before is as it was, and harmless; and
/// where it finds what was there before, too.
#[test]
fn no_flipped_bit_leads_outside() {
    let archive = small();
    let end = archive.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let expected = members(&archive);
    let mut unpacked = 0;
    for bit in 0..end * 8 {
        let mut damaged = with_bit(&archive, bit);
        let block = bit / 8 / limits::BLOCK * limits::BLOCK;
        let header = &mut damaged[block..block + limits::BLOCK];
        if &archive[block + 257..block + 262] == b"ustar" {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            // A NUL and a space that end the checksum differ in one bit, and are as good.
            let ends_checksum = (154..156).contains(&(bit / 8 - block));
            assert!(ends_checksum || read::read(&with_bit(&archive, bit)).is_err());
        }
        let found = members(&damaged);
        if found.is_some() && found != expected {
            let place = Place::new(bit % 2 == 0);
            let _ = unpack(&damaged, place.unpacker(Existing::Refuse));
            place.assert_untouched();
            unpacked += 1;
        }
    }
    assert!(unpacked > 500, "{unpacked}");
}

/// What the reader makes of an archive, if it accepts it.
fn members(archive: &[u8]) -> Option<Vec<Member>> {
    let mut reader = Reader::new(archive, Ending::Zeros);
    std::iter::from_fn(|| reader.next_member().transpose()).collect::<Result<_, _>>().ok()
}

fn with_bit(archive: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = archive.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    damaged
}

/// It gets its attributes like any folder, once, and after all that lies in it.
#[test]
fn the_target_itself_is_a_member() {
    for place in Place::both() {
        let parent = place.before.clone();
        let unpacker = place.unpacker(Existing::Refuse);
        let root = Member {
            mode: 0o2750,
            xattrs: vec![Xattr { name: b"user.a".to_vec(), value: b"b".to_vec() }],
            ..folder("")
        };
        assert_eq!(unpacker.put(&root).unwrap(), Outcome::Made);
        assert!(matches!(unpacker.put(&root), Err(Error::Repeated { .. })));
        unpacker.put(&folder("d")).unwrap();
        unpacker.put(&file("d/f")).unwrap();
        for link in ["", "./", "."] {
            assert!(matches!(unpacker.put(&hard_link("link", link)), Err(Error::LinkTarget { .. })));
        }
        unpacker.finish().unwrap();
        assert_eq!(place.problems.taken(), [""; 0]);
        let data = fs::metadata(place.path("target")).unwrap();
        let expected = (0o2750, root.mtime.seconds, i64::from(root.mtime.nanoseconds));
        assert_eq!((data.mode() & 0o7777, data.mtime(), data.mtime_nsec()), expected);
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(place.path("target"), "user.a", &mut value).unwrap();
        assert_eq!(&value[..length], b"b");
        assert_eq!(place.state(), parent);
    }
}
