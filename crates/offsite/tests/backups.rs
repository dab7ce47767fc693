//! Backups in a store: which are found, which are trusted, and that nothing is opened which a
//! receipt does not vouch for.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/small_store.rs"]
mod small_store;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use offsite::cms::PrivateKey;
use offsite::cms::signed_data::SigningKey;
use offsite::hashes::Hashed;
use offsite::index::Row;
use offsite::names::BackupFile;
use offsite::operations::backups::{Backup, Found, Scope, Selection, Which, choose};
use offsite::operations::{files, list};
use offsite::pins::{Pins, Verdict};
use offsite::plan::SliceName;
use offsite::receipt::{Given, Object, Receipt, Status};
use offsite::{Damage, Error, Events, Warning};
use small_store::{Item, SmallStore, Spec, file, fingerprint, name, noise, other_rsa, p256, rsa, signer};
use time::{Duration, OffsetDateTime};

const IDS: [&str; 4] = [
    "20200101T000000Z-00000001",
    "20200102T000000Z-00000002",
    "20200103T000000Z-00000003",
    "20200104T000000Z-00000004",
];

/// What an operation told.
#[derive(Default)]
struct Told {
    warnings: Mutex<Vec<Warning>>,
    damage: Mutex<Vec<String>>,
}

impl Events for Told {
    fn progress(&self, _: u64) {}

    fn warn(&self, warning: Warning) {
        self.warnings.lock().unwrap().push(warning);
    }

    fn damage(&self, damage: &Damage) {
        self.damage.lock().unwrap().push(damage.to_string());
    }
}

impl Told {
    fn warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.warnings.lock().unwrap())
    }

    fn damage(&self) -> Vec<String> {
        self.damage.lock().unwrap().clone()
    }
}

fn web(id: &str) -> String {
    format!("web-1/default/{id}")
}

fn scope(host: Option<&str>, set: Option<&str>) -> Scope {
    Scope { host: host.map(|host| host.parse().unwrap()), set: set.map(|set| set.parse().unwrap()) }
}

fn everything() -> Scope {
    Scope::default()
}

fn listed(store: &SmallStore, pins: &Pins) -> (Vec<String>, Told) {
    let told = Told::default();
    let all = list(&*store.read(), &everything(), pins, &told).unwrap();
    (all.iter().map(|found| found.name.to_string()).collect(), told)
}

fn chosen(store: &SmallStore, scope: &Scope, which: Which, pins: &Pins) -> Result<Found, Error> {
    choose(&*store.read(), scope, which, pins, &Told::default())
}

fn latest(store: &SmallStore) -> Found {
    chosen(store, &everything(), Which::Latest, &Pins::default()).unwrap()
}

fn which(id: &str) -> Which {
    Which::Id(id.parse().unwrap())
}

/// The paths in the only set's latest backup.
fn paths(store: &SmallStore, key: &PrivateKey) -> Result<Vec<String>, Error> {
    let read = store.read();
    let backup = Backup::open(&*read, key, &latest(store))?;
    let mut paths = Vec::new();
    files(&backup, Selection::default(), &mut |entry| {
        paths.push(String::from_utf8(entry.path).unwrap());
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(paths)
}

#[track_caller]
fn fails<T>(result: Result<T, Error>, text: &str) -> Error {
    let error = result.err().unwrap_or_else(|| panic!("no error, where one says {text:?}"));
    assert!(error.to_string().contains(text), "{error} does not say {text:?}");
    error
}

/// Damage, and not another error.
#[track_caller]
fn is_damaged<T>(result: Result<T, Error>, text: &str) {
    let error = fails(result, text);
    assert!(matches!(error, Error::Damage(_)), "{error:?}");
}

#[test]
fn all_hosts_and_sets_are_listed_the_oldest_first() {
    let store = SmallStore::new();
    let signer = signer("one");
    let names = [web(IDS[1]), web(IDS[0]), format!("web-1/default-2/{}", IDS[2]), format!("db/default/{}", IDS[0])];
    for name in &names {
        store.backup(&Spec::new(name, &signer));
    }
    let (all, told) = listed(&store, &Pins::default());
    assert_eq!(all, [&names[3], &names[1], &names[0], &names[2]].map(String::clone));
    assert!(matches!(told.warnings()[..], [Warning::OriginNotProven]) && told.damage().is_empty());
    for (host, set, count) in [(Some("web-1"), None, 3), (None, Some("default"), 3), (Some("db"), Some("default"), 1)] {
        let all = list(&*store.read(), &scope(host, set), &Pins::default(), &Told::default()).unwrap();
        assert_eq!(all.len(), count, "{host:?} {set:?}");
    }
    let nobody = list(&*store.read(), &scope(Some("web"), None), &Pins::default(), &Told::default());
    fails(nobody, "there is no backup of the host web");
    let (all, told) = listed(&SmallStore::new(), &Pins::default());
    assert!(all.is_empty() && told.warnings().is_empty(), "an empty store");
}

#[test]
fn what_a_receipt_says_is_listed() {
    let store = SmallStore::new();
    let signer = signer("one");
    let edit = |receipt: &mut Receipt| receipt.counts.errors = 2;
    let made = store.backup(&Spec { edit: &edit, ..Spec::new(&web(IDS[0]), &signer) });
    let found = latest(&store);
    assert_eq!((found.status, found.counts), (Status::Partial, made.receipt.counts));
    assert_eq!((found.stored_bytes, found.signer), (made.receipt.stored_bytes(), fingerprint(&signer)));
    assert_eq!((found.end, found.trust), (made.receipt.end, Verdict::NoPins));
    assert_eq!(found.receipt, Hashed::of(&fs::read(store.object(found.name.receipt().as_str())).unwrap()));
}

#[test]
fn one_backup_is_decided_for_or_none() {
    let store = SmallStore::new();
    let signer = signer("one");
    let none = Pins::default();
    fails(chosen(&store, &everything(), Which::Latest, &none), "there is no backup in the store");
    for name in [web(IDS[0]), web(IDS[1]), format!("web-1/more/{}", IDS[2]), format!("db/default/{}", IDS[3])] {
        store.backup(&Spec::new(&name, &signer));
    }
    for (host, set, text) in [
        (None, None, "the store holds backups of 3 sets: db/default, web-1/default, web-1/more"),
        (Some("web-1"), None, "2 sets: web-1/default, web-1/more"),
        (None, Some("default"), "2 sets: db/default, web-1/default"),
    ] {
        let error = fails(chosen(&store, &scope(host, set), Which::Latest, &none), text);
        assert!(matches!(error, Error::Ambiguous(_)));
    }
    let both = scope(Some("web-1"), Some("default"));
    assert_eq!(chosen(&store, &both, Which::Latest, &none).unwrap().name.to_string(), web(IDS[1]));
    assert_eq!(chosen(&store, &both, which(IDS[0]), &none).unwrap().name.to_string(), web(IDS[0]));
    assert_eq!(chosen(&store, &scope(None, Some("more")), which(IDS[2]), &none).unwrap().name.host.as_str(), "web-1");
    fails(chosen(&store, &both, which(IDS[3]), &none), &format!("there is no backup {}", web(IDS[3])));
    fails(chosen(&store, &scope(Some("web-1"), Some("x")), Which::Latest, &none), "there is no backup of web-1/x");
}

#[test]
fn the_time_that_counts_is_the_earlier_one() {
    let store = SmallStore::new();
    let signer = signer("one");
    let ahead = "20200102T120000Z-00000001";
    let right = "20200102T060000Z-00000002";
    for id in [ahead, right] {
        store.backup(&Spec::new(&web(id), &signer));
    }
    // Copied: both stored now.
    assert_eq!(latest(&store).name, name(&web(ahead)));
    let midnight = name(&web(IDS[1])).backup.start();
    store.stored(&name(&web(ahead)), midnight);
    assert_eq!(latest(&store).name, name(&web(right)));
    store.stored(&name(&web(ahead)), midnight + Duration::hours(7));
    assert_eq!(latest(&store).name, name(&web(ahead)));
}

#[test]
fn a_backup_from_the_future_does_not_count() {
    let store = SmallStore::new();
    let signer = signer("one");
    for id in [IDS[0], IDS[1]] {
        store.backup(&Spec::new(&web(id), &signer));
    }
    let start = name(&web(IDS[1])).backup.start();
    store.stored(&name(&web(IDS[1])), start - Duration::days(1));
    assert_eq!(listed(&store, &Pins::default()).0.len(), 2);
    store.stored(&name(&web(IDS[1])), start - Duration::days(1) - Duration::seconds(1));
    assert_eq!(latest(&store).name, name(&web(IDS[0])));
    let text = "its time is 2020-01-02T00:00:00Z, more than a day after it was stored, 2019-12-31T23:59:59Z";
    let (all, told) = listed(&store, &Pins::default());
    assert_eq!((all, told.damage()), (vec![web(IDS[0])], vec![format!("receipts/{}.p7s: {text}", web(IDS[1]))]));
    is_damaged(chosen(&store, &everything(), which(IDS[1]), &Pins::default()), text);
}

#[test]
fn what_is_no_receipt_of_that_backup_is_reported_and_passed_over() {
    let store = SmallStore::new();
    let signer = signer("one");
    for name in [web(IDS[0]), web(IDS[1]), web(IDS[2]), format!("db/default/{}", IDS[3])] {
        store.backup(&Spec::new(&name, &signer));
    }
    let receipt = |name: &str| store.object(&format!("receipts/{name}.p7s"));
    let mut altered = fs::read(receipt(&web(IDS[1]))).unwrap();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    fs::write(receipt(&web(IDS[1])), altered).unwrap();
    fs::rename(receipt(&web(IDS[2])), receipt(&web("20200103T000000Z-99999999"))).unwrap();
    fs::copy(receipt(&format!("db/default/{}", IDS[3])), receipt(&web(IDS[3]))).unwrap();
    store.put("receipts/web-1/notes.txt", b"notes");
    store.put(&format!("receipts/{}.p7s", web("20200105T000000Z-00000005")), b"");

    let (all, told) = listed(&store, &Pins::default());
    assert_eq!(all, [format!("db/default/{}", IDS[3]), web(IDS[0])]);
    let expected = [
        ("web-1/notes.txt", "it lies among the receipts, and is not named as one"),
        (&format!("{}.p7s", web(IDS[1])), "it is not validly signed"),
        (&format!("{}.p7s", web("20200103T000000Z-99999999")), &format!("it is the receipt of {}", web(IDS[2]))),
        (&format!("{}.p7s", web(IDS[3])), &format!("it is the receipt of db/default/{}", IDS[3])),
        (&format!("{}.p7s", web("20200105T000000Z-00000005")), "it is not validly signed"),
    ];
    let damage = told.damage();
    assert_eq!(damage.len(), expected.len(), "{damage:?}");
    for ((object, text), damage) in expected.iter().zip(&damage) {
        assert!(damage.starts_with(&format!("receipts/{object}: {text}")), "{damage}, not {object}: {text}");
    }

    let of_web = scope(Some("web-1"), None);
    assert_eq!(chosen(&store, &of_web, Which::Latest, &Pins::default()).unwrap().name.to_string(), web(IDS[0]));
    is_damaged(chosen(&store, &of_web, which(IDS[1]), &Pins::default()), "it is not validly signed");
    fails(chosen(&store, &of_web, which(IDS[2]), &Pins::default()), "there is no backup web-1/default/20200103");
    is_damaged(chosen(&store, &of_web, which(IDS[3]), &Pins::default()), "it is the receipt of db/default/");
}

#[test]
fn of_several_signers_a_pin_decides() {
    let store = SmallStore::new();
    let (good, evil) = (signer("web-1"), signer("web-1"));
    for (id, signer) in [(IDS[0], &good), (IDS[1], &evil), (IDS[2], &good), (IDS[3], &evil)] {
        store.backup(&Spec::new(&web(id), signer));
    }
    let dates = format!(
        "{} from 2020-01-01T00:00:00Z to 2020-01-03T00:00:00Z, {} from 2020-01-02T00:00:00Z to 2020-01-04T00:00:00Z",
        fingerprint(&good),
        fingerprint(&evil)
    );
    let text = format!("the backups of web-1/default are of several signers: {dates}");
    for which in [Which::Latest, which(IDS[0])] {
        let error = fails(chosen(&store, &everything(), which, &Pins::default()), &text);
        assert!(matches!(error, Error::SeveralSigners { .. }));
    }
    let (all, told) = listed(&store, &Pins::default());
    assert_eq!(all.len(), 4);
    match &told.warnings()[..] {
        [Warning::SeveralSigners { signers, .. }, Warning::OriginNotProven] => assert_eq!(signers.len(), 2),
        other => panic!("{other:?}"),
    }

    let mut pins = Pins::default();
    pins.add(&"web-1".parse().unwrap(), fingerprint(&good));
    let told = Told::default();
    let found = choose(&*store.read(), &everything(), Which::Latest, &pins, &told).unwrap();
    assert_eq!((found.name, found.trust), (name(&web(IDS[2])), Verdict::Pinned));
    assert!(told.warnings().is_empty());
    let untrusted = format!("its signer is not trusted for this host: {}", fingerprint(&evil));
    let expected = [IDS[1], IDS[3]].map(|id| format!("receipts/{}.p7s: {untrusted}", web(id)));
    assert_eq!(told.damage(), expected);
    assert_eq!(chosen(&store, &everything(), which(IDS[0]), &pins).unwrap().name, name(&web(IDS[0])));
    is_damaged(chosen(&store, &everything(), which(IDS[3]), &pins), &untrusted);
    let (all, told) = listed(&store, &pins);
    assert_eq!((all.len(), told.damage()), (4, expected.to_vec()));

    // A host's signer does not speak for another.
    let mut pins = Pins::default();
    pins.add(&"db".parse().unwrap(), fingerprint(&good));
    fails(chosen(&store, &everything(), Which::Latest, &pins), "there is no backup of web-1/default");
}

#[test]
fn only_its_own_key_opens_a_backup() {
    for (pair, others) in [(rsa(), [other_rsa(), p256()]), (p256(), [rsa(), other_rsa()])] {
        let store = SmallStore::new();
        let signer = signer("one");
        store.backup(&Spec { recipients: &pair.recipients, ..Spec::new(&web(IDS[0]), &signer) });
        assert_eq!(paths(&store, &pair.private).unwrap(), ["a"]);
        for other in others {
            let error = fails(paths(&store, &other.private), "/index.p7m: the message is not encrypted to this key");
            assert!(matches!(error, Error::WrongKey { .. }), "{error:?}");
        }
    }
}

/// A full backup and two deltas. Two files of `large` bytes do not fit one slice if that is 900,000.
fn chain(store: &SmallStore, large: usize) -> Vec<small_store::Made> {
    let signer = signer("one");
    let large = || String::from_utf8(noise(large, 1)).unwrap();
    let items = vec![file("a", &large()), file("b/large", &large()), file("b/two", "two"), file("c", &large())];
    let first = store.backup(&Spec { items, ..Spec::new(&web(IDS[0]), &signer) });
    let items = vec![Item::Gone("b/two"), file("b/three", "three"), file("c", "smaller")];
    let second = store.backup(&Spec { items, base: Some(&first), ..Spec::new(&web(IDS[1]), &signer) });
    let items = vec![file("d", "four")];
    let third = store.backup(&Spec { items, base: Some(&second), ..Spec::new(&web(IDS[2]), &signer) });
    vec![first, second, third]
}

#[test]
fn a_chain_reads_as_one() {
    let store = SmallStore::new();
    let made = chain(&store, 10);
    let read = store.read();
    for (made, expected) in made.iter().zip([
        vec!["a", "b/large", "b/two", "c"],
        vec!["a", "b/large", "b/three", "c"],
        vec!["a", "b/large", "b/three", "c", "d"],
    ]) {
        let which = Which::Id(made.receipt.backup);
        let found = chosen(&store, &everything(), which, &Pins::default()).unwrap();
        let backup = Backup::open(&*read, &rsa().private, &found).unwrap();
        let mut index = backup.index().unwrap();
        let mut found = Vec::new();
        while let Some(row) = index.next_row().unwrap() {
            if let Row::Entry(entry) = row {
                assert_eq!(entry.places, [made.live[&entry.path]]);
                found.push(String::from_utf8(entry.path).unwrap());
            }
        }
        assert_eq!(found, expected);
        let mut plan = Vec::new();
        backup.plan().unwrap().read_to_end(&mut plan).unwrap();
        assert_eq!(plan, made.plan);
    }
}

#[test]
fn slices_of_all_runs_open_on_several_threads() {
    let store = SmallStore::new();
    let made = chain(&store, 900_000);
    let last = made.last().unwrap();
    let read = store.read();
    let backup = Backup::open(&*read, &rsa().private, &latest(&store)).unwrap();
    let slices = backup.slices().unwrap();
    let needed: Vec<_> = last.live.values().collect();
    assert!(needed.iter().any(|place| place.slice.number > 0) && needed.len() == 5, "slices of more than one number");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for (path, place) in &last.live {
                    let opened = slices.open(place.slice).unwrap();
                    let frame = &opened[usize::try_from(place.frame.offset).unwrap()..];
                    let frame = &frame[..usize::try_from(place.frame.length).unwrap()];
                    let mut member = Vec::new();
                    offsite::frames::Decompressor::new().unwrap().decompress(frame, place.raw, &mut member).unwrap();
                    assert!(member.starts_with(path), "{path:?}");
                    assert_eq!(slices.known(place.slice), Some(last.slices[&place.slice]));
                }
            });
        }
    });
    // Of the first run one slice is no longer needed.
    let dead = last.slices.keys().find(|name| !needed.iter().any(|place| place.slice == **name));
    let own_end = SliceName { number: 7, ..needed[0].slice };
    let stranger = SliceName { backup: "20200101T000000Z-99999999".parse().unwrap(), number: 0 };
    for name in [*dead.unwrap(), own_end, stranger] {
        assert_eq!(slices.known(name), None, "{name}");
        is_damaged(slices.open(name), &format!("{name}: the backup needs it, and the receipt does not list it"));
    }
}

/// Something done to an object's file, and what is then said of it.
type Harm = (fn(&Path), &'static str);

const HARM: [Harm; 5] = [
    (remove, "it is not in the store"),
    (cut, "it is 50 bytes long, not "),
    (lengthen, "it is longer than "),
    (alter, "its SHA-256 is not the one that the receipt vouches for"),
    (make_folder, "something that is no object lies there"),
];

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn cut(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(50).unwrap();
}

fn lengthen(path: &Path) {
    fs::write(path, [&fs::read(path).unwrap()[..], b"x"].concat()).unwrap();
}

fn alter(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn make_folder(path: &Path) {
    remove(path);
    fs::create_dir(path).unwrap();
}

#[test]
fn nothing_is_opened_that_the_receipt_does_not_vouch_for() {
    // The delta's receipt vouches for what it builds on as well.
    let own = ["index.p7m", "slices.sha256", "slice-00000000.p7m", "plan.p7m"].map(|object| (IDS[2], object));
    let earlier = ["index.p7m", "slices.sha256", "slice-00000000.p7m"].map(|object| (IDS[0], object));
    for (harm, text) in HARM {
        for (id, object) in own.into_iter().chain(earlier) {
            let store = SmallStore::new();
            let made = chain(&store, 10);
            let object = format!("data/{}/{object}", web(id));
            harm(&store.object(&object));
            is_damaged(open_all(&store, made.last().unwrap()), &format!("{object}: {text}"));
        }
    }
}

/// Opens everything of the latest backup, as a restore would.
fn open_all(store: &SmallStore, made: &small_store::Made) -> Result<(), Error> {
    let read = store.read();
    let backup = Backup::open(&*read, &rsa().private, &latest(store))?;
    let mut index = backup.index()?;
    while index.next_row().map_err(|error| backup.index_error(error))?.is_some() {}
    let mut plan = offsite::plan::Reader::new(backup.plan()?).map_err(|error| backup.plan_error(error))?;
    while plan.next_step().map_err(|error| backup.plan_error(error))?.is_some() {}
    let slices = backup.slices()?;
    for place in made.live.values() {
        slices.open(place.slice)?;
    }
    Ok(())
}

/// Signed by the host itself, and yet not what it must be: a program that is wrong, or a host that
/// is no longer itself.
#[test]
fn what_a_receipt_vouches_for_is_still_checked() {
    let other = SmallStore::new();
    let signer = signer("one");
    other.backup(&Spec::new(&web(IDS[1]), &signer));
    let others = |object: &str| fs::read(other.object(&format!("data/{}/{object}", web(IDS[1])))).unwrap();
    for (file, object, text) in [
        (BackupFile::Index(0), "index.p7m", "the message is no stream of this kind and context"),
        (BackupFile::Plan(0), "plan.p7m", "the message is no stream of this kind and context"),
        (BackupFile::Index(0), "plan.p7m", "the message is no stream of this kind and context"),
        (BackupFile::Index(0), "recipients.pem", "the input is not a CMS message"),
        (BackupFile::Checksums, "recipients.pem", "the list of slices, line 1"),
    ] {
        let bytes = others(object);
        let store = SmallStore::new();
        let edit = |receipt: &mut Receipt| {
            let listed = receipt.objects.iter_mut().find(|object| object.file == file).unwrap();
            listed.contents = Hashed::of(&bytes);
        };
        let made = store.backup(&Spec { edit: &edit, ..Spec::new(&web(IDS[0]), &signer) });
        let object = format!("data/{}/{file}", web(IDS[0]));
        fs::write(store.object(&object), &bytes).unwrap();
        is_damaged(open_all(&store, &made), &format!("{object}: {text}"));
    }
}

#[test]
fn files_are_no_stream() {
    let store = SmallStore::new();
    let signer = signer("one");
    let edit = |receipt: &mut Receipt| receipt.given = Given::Stdin;
    store.backup(&Spec { edit: &edit, ..Spec::new(&web(IDS[0]), &signer) });
    is_damaged(
        paths(&store, &rsa().private),
        "/index.p7m: it is of a stream where the receipt is of files, or the other",
    );
}

#[test]
fn an_index_must_decompress_to_that_of_its_backup() {
    let signer = signer("one");
    let other = SmallStore::new();
    let made = other.backup(&Spec::new(&web(IDS[1]), &signer));
    let text = made.indexes[0].clone();
    let whole = small_store::compressed(&text);
    let large_window = {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(24).unwrap();
        std::io::Write::write_all(&mut encoder, &text).unwrap();
        encoder.finish().unwrap()
    };
    for (compressed, problem) in [
        (whole.clone(), format!("it is of {}", web(IDS[1]))),
        (whole[..whole.len() - 1].to_vec(), "its plaintext does not decompress: incomplete frame".to_owned()),
        (text, "its plaintext does not decompress: ".to_owned()),
        (large_window, "its plaintext does not decompress: Frame requires too much memory".to_owned()),
        (
            small_store::compressed(b"text\n"),
            "the index, line 1: this is no index of a version that is read".to_owned(),
        ),
        (Vec::new(), "its plaintext does not decompress: incomplete frame".to_owned()),
    ] {
        let store = SmallStore::new();
        store.backup(&Spec { compressed_index: Some(compressed), ..Spec::new(&web(IDS[0]), &signer) });
        is_damaged(paths(&store, &rsa().private), &format!("data/{}/index.p7m: {problem}", web(IDS[0])));
    }
}

/// Whose index takes three objects.
fn long_index() -> Vec<Item> {
    (0..50).map(|number| Item::Symlink(format!("link {number:02}"), noise(60_000, number))).collect()
}

#[test]
fn an_index_of_several_objects_is_one() {
    let store = SmallStore::new();
    let signer = signer("one");
    let made = store.backup(&Spec { items: long_index(), ..Spec::new(&web(IDS[0]), &signer) });
    assert_eq!(made.receipt.objects.iter().filter(|object| is_index(object)).count(), 3);
    assert_eq!(paths(&store, &rsa().private).unwrap().len(), 50);
    fs::remove_file(store.object(&format!("data/{}/index-00000002.p7m", web(IDS[0])))).unwrap();
    is_damaged(paths(&store, &rsa().private), "/index-00000002.p7m: it is not in the store");
}

fn is_index(object: &Object) -> bool {
    matches!(object.file, BackupFile::Index(_))
}

/// Gives a backup other objects of its index, and a receipt that vouches for them.
fn change_index(store: &SmallStore, receipt: &Receipt, signer: &SigningKey, change: fn(&mut Vec<Vec<u8>>)) {
    let name = name(&web(&receipt.backup.to_string()));
    let path = |file| store.object(name.file(file).as_str());
    let (index, mut objects): (Vec<Object>, Vec<Object>) = receipt.objects.iter().copied().partition(is_index);
    let mut slices: Vec<Vec<u8>> = index.iter().map(|object| fs::read(path(object.file)).unwrap()).collect();
    change(&mut slices);
    for (number, slice) in (0..).zip(&slices) {
        let file = BackupFile::Index(number);
        fs::write(path(file), slice).unwrap();
        objects.push(Object { file, contents: Hashed::of(slice) });
    }
    objects.sort_by_key(|object| object.file);
    let message = offsite::receipt::sign(&Receipt { objects, ..receipt.clone() }, signer).unwrap();
    fs::write(store.object(name.receipt().as_str()), message).unwrap();
}

/// What is done to a stream, and what is then said of it.
type Change = (fn(&mut Vec<Vec<u8>>), &'static str);

#[test]
fn an_indexs_objects_are_of_its_stream_and_complete() {
    let signer = signer("one");
    let changes: [Change; 3] = [
        (|slices| slices.swap(0, 1), "/index.p7m: it is number 1"),
        (|slices| slices.truncate(2), "/index-00000001.p7m: the input ends after it, but it is not the last slice"),
        (|slices| slices.push(slices[2].clone()), "bytes long, the first is 1048576"),
    ];
    for (change, text) in changes {
        let store = SmallStore::new();
        let made = store.backup(&Spec { items: long_index(), ..Spec::new(&web(IDS[0]), &signer) });
        change_index(&store, &made.receipt, &signer, change);
        is_damaged(paths(&store, &rsa().private), text);
    }
}

#[test]
fn a_list_of_slices_must_hold_those_that_the_receipt_needs() {
    let store = SmallStore::new();
    let signer = signer("one");
    let edit = |receipt: &mut Receipt| receipt.slice_bytes += 1;
    let made = store.backup(&Spec { edit: &edit, ..Spec::new(&web(IDS[0]), &signer) });
    let bytes = made.receipt.slice_bytes;
    let text = format!("slices.sha256: it lists 1 slices of {} bytes, the receipt 1 of {bytes}", bytes - 1);
    is_damaged(open_all(&store, &made), &text);

    let edit = |receipt: &mut Receipt| receipt.runs[0].slices[0].last += 5;
    let items = vec![file("b", "two")];
    let made = store.backup(&Spec { items, base: Some(&made), edit: &edit, ..Spec::new(&web(IDS[1]), &signer) });
    let text = format!("data/{}/slices.sha256: it does not list slice 5, which the receipt needs", web(IDS[0]));
    is_damaged(open_all(&store, &made), &text);
}

#[test]
fn a_receipt_that_changes_between_choice_and_opening_is_refused() {
    let store = SmallStore::new();
    let signer = signer("one");
    store.backup(&Spec::new(&web(IDS[0]), &signer));
    let found = latest(&store);
    fs::remove_file(store.object(found.name.receipt().as_str())).unwrap();
    let second = SmallStore::new();
    second.backup(&Spec { items: vec![file("b", "other")], ..Spec::new(&web(IDS[0]), &signer) });
    let receipt = fs::read(second.object(found.name.receipt().as_str())).unwrap();
    fs::write(store.object(found.name.receipt().as_str()), receipt).unwrap();
    let read = store.read();
    is_damaged(Backup::open(&*read, &rsa().private, &found), &format!("receipts/{}.p7s: ", web(IDS[0])));
}

#[test]
fn paths_choose_what_lies_at_and_below_them() {
    let store = SmallStore::new();
    chain(&store, 10);
    let read = store.read();
    let backup = Backup::open(&*read, &rsa().private, &latest(&store)).unwrap();
    let select = |paths: &[&str]| {
        let mut found = Vec::new();
        let selection = Selection::new(paths.iter().map(|path| path.as_bytes().to_vec()));
        let result = files(&backup, selection, &mut |entry| {
            found.push(String::from_utf8(entry.path).unwrap());
            std::ops::ControlFlow::Continue(())
        });
        (found, result)
    };
    let (found, result) = select(&["/b", "a"]);
    assert!(result.is_ok() && found == ["a", "b/large", "b/three"], "{found:?}");
    let (found, result) = select(&["c", "b/two", "e\n"]);
    assert_eq!(found, ["c"]);
    fails(result, "not in the backup: b/two, \"e\\n\"");
}

#[test]
fn times_of_a_store_that_are_none_do_not_matter() {
    let store = SmallStore::new();
    let signer = signer("one");
    store.backup(&Spec::new(&web(IDS[0]), &signer));
    store.stored(&name(&web(IDS[0])), OffsetDateTime::from_unix_timestamp(4_102_444_800).unwrap());
    assert_eq!(latest(&store).time(), name(&web(IDS[0])).backup.start());
}
