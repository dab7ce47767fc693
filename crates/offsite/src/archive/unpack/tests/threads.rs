//! Many threads, many folders.

use super::*;

#[test]
fn many_threads_unpack_at_once() {
    for place in Place::both() {
        let unpacker = place.unpacker(Existing::Refuse);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let unpacker = &unpacker;
                scope.spawn(move || {
                    for number in 0..200 {
                        let place = format!("{}/{}/{}", number % 5, number % 7, number % 3);
                        unpacker.put(&file(format!("{place}/{thread}-{number}"))).unwrap();
                        let link = hard_link(format!("links/{thread}-{number}"), format!("{place}/{thread}-{number}"));
                        unpacker.put(&link).unwrap();
                    }
                });
            }
        });
        for number in 0..5 {
            unpacker.put(&Member { mode: 0o500, ..folder(number.to_string()) }).unwrap();
        }
        assert_eq!(unpacker.finish().unwrap(), Totals { made: 8 * 200 * 2 + 5, kept: 0, not_made: 0 });
        assert_eq!(place.problems.taken(), [""; 0]);
        let data = fs::metadata(place.target("3")).unwrap();
        assert_eq!((data.mode() & 0o7777, data.mtime(), data.mtime_nsec()), (0o500, 1_000_000_000, 5));
        // A folder without a member of its own stays its owner's alone.
        assert_eq!(fs::metadata(place.target("3/1")).unwrap().mode() & 0o7777, 0o700);
    }
}

/// More folders than are kept in memory, with attributes of every kind.
#[test]
fn folders_come_back_deepest_first() {
    let target = tempfile::tempdir().unwrap();
    for capacity in [0, 1000, usize::MAX] {
        let mut folders = Folders::with_capacity(target.path(), capacity);
        let mut expected = Vec::new();
        for number in 0..300_u32 {
            let path = format!("{}{number}", "d/".repeat(number as usize % 4));
            let xattr = |name: &str| Xattr { name: name.into(), value: vec![7; number as usize] };
            let xattrs = (0..number % 3).map(|i| xattr(&format!("user.{i}"))).collect();
            let access_acl = (number % 2 == 0).then(|| b"user::rwx".to_vec());
            let default_acl = (number % 5 == 0).then(|| b"user::r-x".to_vec());
            let mtime = Time { seconds: -5, nanoseconds: number };
            let made = Member { mode: number, uid: 1, gid: 2, mtime, xattrs, access_acl, default_acl, ..folder(path) };
            folders.push(&made).unwrap();
            expected.push(made);
        }
        let mut found = Vec::new();
        folders.deepest_first(|member| found.push(member.clone())).unwrap();
        let depths: Vec<_> = found.iter().map(|member| member.path.split(|byte| *byte == b'/').count()).collect();
        assert!(depths.is_sorted_by(|one, next| one >= next));
        found.sort_by_key(|member| member.mode);
        assert_eq!(found, expected);
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }
}

use crate::archive::read::Xattr;
