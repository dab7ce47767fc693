//! The rules of [`Put`], [`Read`] and [`Delete`] as tests. Every store passes them: [`all`] with
//! open handles; [`killed`], [`full`] and [`refused`] with what the store's own tests set up.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::ops::ControlFlow;
use std::process::Child;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;

use super::{Delete, Listed, Put, Read, Reason};
use crate::names::ObjectName;

/// Handles of one empty store.
pub(super) struct Store<'a> {
    pub(super) put: &'a dyn Put,
    /// As another process has it.
    pub(super) reopened: &'a dyn Put,
    pub(super) read: &'a dyn Read,
    pub(super) delete: &'a dyn Delete,
}

/// Every rule that needs nothing but the handles. The store is empty afterwards.
pub(super) fn all(store: &Store<'_>) {
    what_is_put_is_there(store);
    nothing_is_replaced(store);
    get_keeps_to_its_limit(store);
    what_is_missing_is_told(store);
    lists_are_in_order(store);
    a_folder_is_no_prefix(store);
    a_list_stops_when_told(store);
    one_of_several_puts_wins(store);
    folders_come_and_go_under_puts(store);
    the_id_stays(store);
    for object in names(store.read, "") {
        store.delete.delete(&name(&object)).unwrap();
    }
    assert_eq!(names(store.read, ""), [""; 0], "objects are listed after they were deleted");
}

/// The names of all objects below a folder, as listed.
pub(super) fn names(read: &dyn Read, folder: &str) -> Vec<String> {
    list(read, folder).into_iter().map(|listed| listed.object.as_str().to_owned()).collect()
}

fn list(read: &dyn Read, folder: &str) -> Vec<Listed> {
    let mut all = Vec::new();
    let mut each = |listed| {
        all.push(listed);
        ControlFlow::Continue(())
    };
    read.list(&folder.parse().unwrap(), &mut each).expect("a list succeeds");
    all
}

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

/// Bytes that no other number or size gives. They cost little, so that a process which puts them is
/// mostly putting.
fn contents(number: u64, size: usize) -> Bytes {
    let pattern = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ size as u64;
    let mut bytes = pattern.to_le_bytes().repeat(size.div_ceil(8));
    bytes.truncate(size);
    bytes.into()
}

fn what_is_put_is_there(store: &Store<'_>) {
    for (number, size) in [0, 1, 4096, 20 << 20].into_iter().enumerate() {
        let object = name(&format!("data/host/set/backup/slice-{number:08}.p7m"));
        let bytes = contents(number as u64, size);
        let before = OffsetDateTime::now_utc() - Duration::from_secs(60);
        store.put.put(&object, bytes.clone()).expect("a put succeeds");
        let got = store.read.get(&object, size).expect("what is put can be got");
        assert!(got == bytes, "{object}: what is got is not what was put");
        let listed = list(store.read, "data").into_iter().find(|listed| listed.object == object);
        let listed = listed.expect("what is put is listed");
        assert_eq!(listed.size, size as u64, "{object}: the listed size is wrong");
        let after = OffsetDateTime::now_utc() + Duration::from_secs(60);
        assert!(listed.time > before && listed.time < after, "{object}: listed as of {}", listed.time);
        for (asked, expected) in [(size as u64, true), (size as u64 + 1, false)] {
            let held = store.reopened.holds(&object, asked).expect("a store can tell or declines");
            assert!(held.is_none_or(|held| held == expected), "{object}: asked for {asked} bytes, {held:?}");
        }
        store.delete.delete(&object).expect("a delete succeeds");
        let reason = store.read.get(&object, size).expect_err("what is deleted is gone").reason;
        assert!(matches!(reason, Reason::NotFound), "{reason:?}");
        assert!(store.reopened.holds(&object, size as u64).unwrap() != Some(true), "{object} is held after its delete");
        store.put.put(&object, bytes.clone()).expect("a name that was deleted can be put again");
    }
}

fn nothing_is_replaced(store: &Store<'_>) {
    let object = name("replaced/object");
    store.put.put(&object, Bytes::from_static(b"first")).unwrap();
    for (put, bytes) in
        [(store.put, "other"), (store.put, "first"), (store.reopened, "other"), (store.reopened, "first")]
    {
        let error = put.put(&object, bytes.into()).expect_err("a name is put once");
        assert!(matches!(error.reason, Reason::AlreadyExists), "{error:?}");
        assert!(!error.is_retryable(), "to try again cannot help");
        assert!(error.to_string().contains("replaced/object"), "{error}: does not name the object");
        assert_eq!(store.read.get(&object, 100).unwrap(), b"first", "an object was replaced");
    }
}

fn get_keeps_to_its_limit(store: &Store<'_>) {
    for size in [0, 1, 100_000] {
        let object = name(&format!("limit/{size}"));
        store.put.put(&object, contents(9, size)).unwrap();
        assert_eq!(store.read.get(&object, size).expect("the limit itself is allowed").len(), size);
        for limit in [size.checked_sub(1), (size > 1).then_some(0)].into_iter().flatten() {
            let reason = store.read.get(&object, limit).expect_err("an object beyond the limit is not got").reason;
            assert!(matches!(reason, Reason::TooLarge { limit: told } if told == limit), "{reason:?}");
        }
    }
}

fn what_is_missing_is_told(store: &Store<'_>) {
    store.put.put(&name("missing/there"), Bytes::new()).unwrap();
    for missing in ["missing/not", "missing/not/below", "nowhere/to/be/found"] {
        let missing = name(missing);
        let error = store.read.get(&missing, 100).expect_err("what is not there cannot be got");
        assert!(matches!(error.reason, Reason::NotFound), "{error:?}");
        assert!(error.to_string().contains(missing.as_str()), "{error}: does not name the object");
        assert!(store.put.holds(&missing, 0).unwrap() != Some(true), "{missing} is held");
        store.delete.delete(&missing).expect("what is not there is deleted already");
    }
    assert_eq!(names(store.read, "nowhere"), [""; 0], "a folder that does not exist has no objects");
}

/// In the order of bytes, in which `/` comes after `-` and `.`, and before digits and letters.
const ORDER: [&str; 11] = [
    "order/-/x",
    "order/A/x",
    "order/a-b/x",
    "order/a.b/x",
    "order/a/b-c",
    "order/a/b/c",
    "order/a/b0",
    "order/a/c",
    "order/a0/x",
    "order/ab/x",
    "order/b",
];

fn lists_are_in_order(store: &Store<'_>) {
    for number in 0..ORDER.len() {
        let object = ORDER[number * 7 % ORDER.len()];
        store.put.put(&name(object), object.into()).unwrap();
    }
    assert_eq!(names(store.read, "order"), ORDER, "the order is not that of the names' bytes");
    let everything = names(store.read, "");
    assert!(everything.is_sorted() && everything.len() > ORDER.len(), "the topmost folder: {everything:?}");
}

fn a_folder_is_no_prefix(store: &Store<'_>) {
    assert_eq!(names(store.read, "order/a"), ORDER[4..8], "order/a, and nothing else that begins so");
    assert_eq!(names(store.read, "order/a/b"), ["order/a/b/c"]);
    assert_eq!(names(store.read, "ord"), [""; 0], "a part of a component is no folder");
}

fn a_list_stops_when_told(store: &Store<'_>) {
    for stop in 1..=ORDER.len() {
        let mut told = 0;
        let mut each = |_| {
            told += 1;
            if told == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.read.list(&"order".parse().unwrap(), &mut each).expect("to stop is no error");
        assert_eq!(told, stop, "a list goes on after it was told to stop");
    }
}

fn one_of_several_puts_wins(store: &Store<'_>) {
    for round in 0..30 {
        // Every other round in a folder that is yet to be made; every third with equal bytes.
        let object = name(&format!("race/{}/{round}", round / 2));
        let bytes = |number: u64| contents(if round % 3 == 0 { round } else { round + 100 * number }, 100_000);
        let start = Barrier::new(2);
        let results = thread::scope(|scope| {
            let threads = [(0, store.put), (1, store.reopened)].map(|(number, put)| {
                let (object, start, bytes) = (&object, &start, bytes(number));
                scope.spawn(move || {
                    start.wait();
                    put.put(object, bytes)
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        let winner = results.iter().position(Result::is_ok).expect("one put wins");
        let loser = results[1 - winner].as_ref().expect_err("only one put wins");
        assert!(matches!(loser.reason, Reason::AlreadyExists), "{loser:?}");
        let got = store.read.get(&object, 100_000).unwrap();
        assert!(got == bytes(winner as u64), "round {round}: the object is not the winner's");
    }
}

/// A folder that loses its last object while another comes into it.
fn folders_come_and_go_under_puts(store: &Store<'_>) {
    thread::scope(|scope| {
        for (number, put) in [store.put, store.reopened].into_iter().enumerate() {
            scope.spawn(move || {
                for round in 0..50 {
                    let object = name(&format!("come/and/go/{number}-{round}"));
                    put.put(&object, Bytes::from_static(b"x")).expect("a put succeeds beside deletes");
                    store.delete.delete(&object).expect("a delete succeeds beside puts");
                }
            });
        }
        scope.spawn(|| (0..50).for_each(|_| drop(names(store.read, "come"))));
    });
    assert_eq!(names(store.read, "come"), [""; 0]);
}

fn the_id_stays(store: &Store<'_>) {
    let ids =
        [store.put.id(), store.put.id(), store.reopened.id()].map(|id| id.expect("a store has an id or declines"));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

/// What another process does until it is killed: it puts objects, and tells of each that is done.
pub(super) fn put_until_killed(put: &dyn Put, round: &str) {
    let round: u64 = round.parse().unwrap();
    for number in round << 32.. {
        // From nothing to 2 MiB, in no order.
        let size = usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 43).unwrap();
        put.put(&name(&format!("killed/{round}/{number}-{size}")), contents(number, size)).unwrap();
        io::stdout().write_all(format!("\nput {number}-{size}\n").as_bytes()).unwrap();
    }
}

/// A process that is killed at any moment leaves whole objects only, and all that it told of.
/// `start` starts one that does [`put_until_killed`] with its argument.
pub(super) fn killed(read: &dyn Read, delete: &dyn Delete, start: impl Fn(&str) -> Child) {
    for round in 0..20 {
        let mut child = start(&round.to_string());
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        while !first.starts_with("put ") {
            first.clear();
            assert!(told.read_line(&mut first).unwrap() > 0, "the process ended before its first put");
        }
        thread::sleep(Duration::from_micros(RandomState::new().hash_one(round) % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        told.read_to_string(&mut first).unwrap();
        let folder = format!("killed/{round}");
        let there = names(read, &folder);
        let whole_lines = first.rsplit_once('\n').map_or("", |(lines, _)| lines);
        for put in whole_lines.lines().filter_map(|line| line.strip_prefix("put ")) {
            assert!(there.contains(&format!("{folder}/{put}")), "{put} was put, and is not there");
        }
        for object in there {
            let (number, size) = object.rsplit('/').next().unwrap().split_once('-').unwrap();
            let size = size.parse().unwrap();
            let got = read.get(&name(&object), size).unwrap();
            assert!(got == contents(number.parse().unwrap(), size), "{object} is not whole: {} bytes", got.len());
            delete.delete(&name(&object)).unwrap();
        }
    }
}

/// A store that has no room for 20 MiB, but some for a little.
pub(super) fn full(put: &dyn Put, read: &dyn Read) {
    let object = name("full/object");
    for _ in 0..2 {
        let error = put.put(&object, contents(1, 20 << 20)).expect_err("there is no room");
        assert!(matches!(error.reason, Reason::Full(_)), "{error:?}");
        assert!(error.to_string().contains("full/object"), "{error}: does not name the object");
        assert_eq!(names(read, "full"), [""; 0], "a part of an object is listed");
        assert!(put.holds(&object, 20 << 20).unwrap() != Some(true), "a part of an object is held");
    }
    put.put(&object, Bytes::from_static(b"little")).expect("what failed can be put again, and takes no room");
    assert_eq!(read.get(&object, 100).unwrap(), b"little");
}

/// A store that forbids to put.
pub(super) fn refused(put: &dyn Put, read: &dyn Read) {
    let object = name("refused/object");
    let error = put.put(&object, Bytes::from_static(b"x")).expect_err("to put is forbidden");
    assert!(matches!(error.reason, Reason::PermissionDenied(_)), "{error:?}");
    assert!(!error.is_retryable(), "to try again cannot help");
    assert!(error.to_string().contains("refused/object"), "{error}: does not name the object");
    assert_eq!(names(read, ""), [""; 0]);
}
