//! Quick drills of made stores: that they get little, and that what they leave out they do not prove.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/small_store.rs"]
mod small_store;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::Mutex;

use offsite::archive::unpack::{Problem, Report};
use offsite::cms::{KeyFile, Recipients};
use offsite::hashes::Fingerprint;
use offsite::names::{Folder, ObjectName};
use offsite::operations::backups::{Found, Scope, Which};
use offsite::operations::drill::{Blame, Drill, Drilled, Extent, Key, candidates, drill};
use offsite::operations::restore::{Error, Watch};
use offsite::pins::Pins;
use offsite::store::{self, Listed, Read, Reason};
use offsite::{Damage, Events, Warning};
use small_store::{Item, Pair, SmallStore, Spec, file, noise, p256, rsa, signer};

const FIRST: &str = "web-1/default/20200101T000000Z-00000001";
const SECOND: &str = "web-1/default/20200102T000000Z-00000002";

struct Silent;

impl Events for Silent {
    fn progress(&self, bytes: u64) {
        panic!("a quick drill restores nothing, not {bytes} bytes");
    }

    fn warn(&self, _: Warning) {}

    fn damage(&self, damage: &Damage) {
        panic!("{damage} goes into the report");
    }
}

impl Report for Silent {
    fn problem(&self, problem: Problem) {
        panic!("{problem}");
    }
}

impl Watch for Silent {
    fn lost(&self, _: &[u8], error: &Error) {
        panic!("{error}");
    }
}

/// Notes what is got from a store, which can be reached for so many objects.
struct Watched {
    store: Box<dyn Read>,
    got: Mutex<Vec<String>>,
    reachable: usize,
}

impl Read for Watched {
    fn get(&self, object: &ObjectName, limit: usize) -> store::Result<Vec<u8>> {
        let mut got = self.got.lock().unwrap();
        if got.len() == self.reachable {
            let reason = Reason::Unreachable(io::ErrorKind::TimedOut.into());
            return Err(store::Error { store: "here".to_owned(), action: "get", object: None, reason });
        }
        self.store.get(object, limit).inspect(|_| got.push(object.to_string()))
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> store::Result<()> {
        self.store.list(folder, each)
    }
}

fn latest(store: &SmallStore) -> Found {
    let candidates = candidates(&*store.read(), &Scope::default(), Which::Latest, &Pins::default()).unwrap();
    assert!(candidates.strays.is_empty());
    let [set] = <[_; 1]>::try_from(candidates.sets).unwrap();
    assert!(set.failures.is_empty());
    set.found.unwrap()
}

fn keys(pairs: &[&Pair]) -> Vec<Key> {
    let unlocked = |pair: &Pair| KeyFile::read(pair.pem.as_bytes()).unwrap().unlock(None).unwrap();
    (1..)
        .zip(pairs)
        .map(|(number, pair)| Key { path: format!("{number}.pem").into(), private: unlocked(pair) })
        .collect()
}

/// A quick drill of the latest backup, and what it got.
fn quick(store: &SmallStore, pairs: &[&Pair], reachable: usize) -> (Drilled, Vec<String>) {
    let watched = Watched { store: store.read(), got: Mutex::default(), reachable };
    let keys = keys(pairs);
    let what = Drill {
        store: &watched,
        keys: &keys,
        extent: Extent::Quick,
        folder: store.beside(),
        threads: NonZero::<usize>::MIN,
    };
    let drilled = drill(&what, &latest(store), &Silent);
    let got = watched.got.into_inner().unwrap();
    assert_eq!(drilled.objects, got.len() as u64);
    (drilled, got)
}

fn both() -> Recipients {
    let mut certificates = [rsa(), p256()].map(|pair| pair.recipients.certificates()[0].clone());
    // As a receipt has them.
    certificates.sort_by_key(Fingerprint::of);
    Recipients::new(certificates.to_vec()).unwrap()
}

/// Two backups, of which the second needs the first, which has several slices.
fn two_runs(first: &Recipients, second: &Recipients) -> SmallStore {
    let store = SmallStore::new();
    let signer = signer("web-1");
    let items = (0..6).map(|number| Item::File(["0", "1", "2", "3", "4", "5"][number], noise(600_000, number as u64)));
    let items = items.collect();
    let made = store.backup(&Spec { items, recipients: first, ..Spec::new(FIRST, &signer) });
    assert!(made.slices.len() > 2, "{} slices", made.slices.len());
    let spec =
        Spec { base: Some(&made), recipients: second, items: vec![file("9", "new")], ..Spec::new(SECOND, &signer) };
    store.backup(&spec);
    store
}

#[test]
fn a_quick_drill_gets_one_object_of_each_stream() {
    let store = two_runs(&both(), &both());
    for pairs in [&[rsa()][..], &[p256()], &[rsa(), p256()]] {
        let (drilled, got) = quick(&store, pairs, usize::MAX);
        assert!(drilled.failures.is_empty(), "{:?}", drilled.failures);
        assert_eq!(drilled.opened, vec![true; pairs.len()]);
        let proven =
            drilled.recipients.iter().filter(|recipient| recipient.proven).map(|recipient| recipient.fingerprint);
        let expected = pairs.iter().map(|pair| Fingerprint::of(&pair.recipients.certificates()[0]));
        assert_eq!(proven.collect::<BTreeSet<_>>(), expected.collect());
        assert_eq!((drilled.recipients.len(), drilled.restored, drilled.bytes), (2, None, 0));

        let (slices, others): (Vec<_>, Vec<_>) = got.into_iter().partition(|object| object.contains("/slice-"));
        let folders: Vec<_> = slices.iter().map(|slice| slice.rsplit_once('/').unwrap().0).collect();
        assert_eq!(folders, [format!("data/{FIRST}"), format!("data/{SECOND}")]);
        let expected = [
            format!("receipts/{SECOND}.p7s"),
            format!("data/{SECOND}/recipients.pem"),
            format!("data/{SECOND}/slices.sha256"),
            format!("data/{FIRST}/slices.sha256"),
            format!("data/{FIRST}/index.p7m"),
            format!("data/{SECOND}/index.p7m"),
            format!("data/{SECOND}/plan.p7m"),
        ];
        assert_eq!(others, expected);
    }
}

#[test]
fn a_run_that_a_key_does_not_open_is_named() {
    let store = two_runs(&rsa().recipients, &both());
    let (drilled, _) = quick(&store, &[p256(), rsa()], usize::MAX);
    assert_eq!(drilled.opened, [false, true]);
    let [failure] = drilled.failures.first() else { panic!("{:?}", drilled.failures) };
    assert_eq!(failure.blame, Blame::Key);
    let expected = format!("with the key in 1.pem: data/{FIRST}/index.p7m: the message is not encrypted to this key");
    assert!(failure.cause.starts_with(&expected), "{}", failure.cause);
    let proven: Vec<_> = drilled.recipients.iter().filter(|recipient| recipient.proven).collect();
    assert_eq!((proven.len(), proven[0].key), (1, Some(1)));

    // A receipt that leaves out the index of that run: its slices show it.
    let store = SmallStore::new();
    let signer = signer("web-1");
    let made = store.backup(&Spec::new(FIRST, &signer));
    let (recipients, edit) = (both(), |receipt: &mut offsite::receipt::Receipt| receipt.index_chain.clear());
    let items = vec![file("9", "new")];
    let second = Spec { base: Some(&made), recipients: &recipients, items, edit: &edit, ..Spec::new(SECOND, &signer) };
    store.backup(&second);
    let (drilled, _) = quick(&store, &[p256()], usize::MAX);
    let [failure] = drilled.failures.first() else { panic!("{:?}", drilled.failures) };
    assert!(failure.cause.contains(&format!("data/{FIRST}/slice-00000000.p7m: ")), "{}", failure.cause);
    assert!(drilled.recipients.iter().all(|recipient| !recipient.proven));
}

/// Wherever the store goes, the drill ends there, and proves nothing.
#[test]
fn a_store_that_goes_away_ends_the_drill() {
    let store = two_runs(&both(), &both());
    let (whole, got) = quick(&store, &[rsa()], usize::MAX);
    assert!(!whole.outage && got.len() == 9, "{got:?}");
    for reachable in 0..got.len() {
        let (drilled, _) = quick(&store, &[rsa()], reachable);
        assert!(drilled.outage, "after {reachable}");
        assert_eq!(drilled.failures.worst(), Some(Blame::Store));
        assert_eq!(drilled.recipients.len(), if reachable == 0 { 0 } else { 2 });
        assert!(drilled.opened == [false] && drilled.recipients.iter().all(|recipient| !recipient.proven));
    }
}

/// Of what is damaged each is told once, however many keys there are; and no key is proven.
#[test]
fn each_damage_is_told_once() {
    let store = two_runs(&both(), &both());
    for (number, name) in ["index.p7m", "plan.p7m", "recipients.pem", "slices.sha256"].into_iter().enumerate() {
        std::fs::remove_file(store.object(&format!("data/{SECOND}/{name}"))).unwrap();
        let (drilled, _) = quick(&store, &[rsa(), p256()], usize::MAX);
        let failures = drilled.failures.first();
        let is_missing = |name: &str| {
            let text = format!("data/{SECOND}/{name}: it is not in the store");
            failures.iter().filter(|failure| failure.cause == text).count() == 1
        };
        assert!(failures.len() == number + 1 && is_missing(name), "{failures:?}");
        assert_eq!((drilled.failures.worst(), drilled.opened), (Some(Blame::Backup), vec![false, false]));
    }
}
