//! Receipts: one text each, nothing in it that is not checked, and stock tools read and verify them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use offsite::checksums;
use offsite::cms::Certificate;
use offsite::cms::signed_data::{self, SigningKey};
use offsite::hashes::{Fingerprint, Hashed, Sha256};
use offsite::names::{BackupFile, BackupId};
use offsite::receipt::{
    ChainObject, Counts, Error, Given, Link, NoPrevious, Object, Previous, Problem, Receipt, Run, SliceRange, Status,
    TimeProblem, limits, open, sign,
};
use time::{Duration, OffsetDateTime};

const ID: &str = "20261123T074500Z-7f3a9c01";
const EARLIER: [&str; 3] = ["20261101T074500Z-00000001", "20261120T074500Z-00000002", "20261122T074500Z-00000003"];

fn key(name: &str) -> SigningKey {
    SigningKey::generate(name, OffsetDateTime::UNIX_EPOCH, 36_500).unwrap().0
}

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::from([number; 32])
}

fn hashed(number: u8) -> Hashed {
    Hashed { size: u64::from(number) + 1, sha256: Sha256::of(&[number]) }
}

fn link(backup: &str) -> Link {
    Link { backup: id(backup), sha256: Sha256::of(backup.as_bytes()) }
}

/// One with something in every list.
fn incremental(signer: &Certificate) -> Receipt {
    let files = [
        BackupFile::Checksums,
        BackupFile::Index(0),
        BackupFile::Index(1),
        BackupFile::Plan(0),
        BackupFile::Plan(1),
        BackupFile::Plan(2),
        BackupFile::Recipients,
        BackupFile::Recover,
    ];
    let chain = [(EARLIER[0], 0), (EARLIER[0], 1), (EARLIER[2], 0)];
    Receipt {
        host: "web-1".parse().unwrap(),
        set: "default".parse().unwrap(),
        backup: id(ID),
        end: id(ID).start() + Duration::seconds(3723),
        program: "offsite 0.1.0".to_owned(),
        given: Given::Files,
        counts: Counts { files: 12, folders: 3, others: 1, bytes: 1 << 40, errors: 2 },
        previous: Previous::Receipt(link(EARLIER[1])),
        unconfirmed: vec![link(EARLIER[0]), link(EARLIER[2])],
        reuse_for: 90 * 86_400,
        recipients: vec![fingerprint(1), fingerprint(7)],
        slices: 3,
        slice_bytes: 40_000_000,
        objects: (0..).zip(files).map(|(number, file)| Object { file, contents: hashed(number) }).collect(),
        index_chain: chain
            .map(|(backup, number)| ChainObject { backup: id(backup), number, contents: hashed(9) })
            .to_vec(),
        runs: vec![
            Run {
                backup: id(EARLIER[0]),
                checksums: hashed(10),
                slices: vec![SliceRange { first: 0, last: 0 }, SliceRange { first: 2, last: u32::MAX }],
                other_recipients: vec![fingerprint(0), fingerprint(8)],
            },
            Run {
                backup: id(EARLIER[2]),
                checksums: hashed(11),
                slices: SliceRange::of([5, 6, 6, 7]),
                other_recipients: vec![],
            },
        ],
        signer: signer.clone(),
    }
}

/// The smallest there is: a stream of nothing.
fn smallest(signer: &Certificate) -> Receipt {
    let mut receipt = incremental(signer);
    receipt.end = receipt.start();
    receipt.given = Given::Stdin;
    receipt.counts = Counts { files: 1, ..Counts::default() };
    receipt.previous = Previous::None(NoPrevious::NoState);
    (receipt.slices, receipt.slice_bytes) = (0, 0);
    receipt.recipients.truncate(1);
    let needed = [BackupFile::Index(0), BackupFile::Plan(0), BackupFile::Recipients, BackupFile::Recover];
    receipt.objects.retain(|object| needed.contains(&object.file));
    receipt.unconfirmed.clear();
    receipt.index_chain.clear();
    receipt.runs.clear();
    receipt
}

fn opened(message: &[u8]) -> Result<Receipt, Error> {
    open(message, &"web-1".parse().unwrap(), &"default".parse().unwrap(), id(ID))
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

#[test]
fn a_receipt_is_written_as_the_format_has_it() {
    let key = key("web-1");
    let receipt = smallest(key.certificate());
    let text = String::from_utf8(receipt.encode().unwrap()).unwrap();
    let signer = text.lines().nth_back(1).unwrap();
    assert!(signer.starts_with("\"signer\": \"MII") && signer.ends_with('"'));
    let objects: Vec<String> = receipt
        .objects
        .iter()
        .map(|Object { file, contents }| {
            format!("{{\"name\": \"{file}\", \"size\": {}, \"sha256\": \"{}\"}}", contents.size, contents.sha256)
        })
        .collect();
    let expected = format!(
        r#"{{
"format": "offsite-receipt 1",
"host": "web-1",
"set": "default",
"backup": "20261123T074500Z-7f3a9c01",
"start": "2026-11-23T07:45:00Z",
"end": "2026-11-23T07:45:00Z",
"program": "offsite 0.1.0",
"given": "stdin",
"status": "complete",
"files": 1,
"folders": 0,
"others": 0,
"bytes": 0,
"stored_bytes": {},
"errors": 0,
"previous": null,
"no_previous": "no-state",
"unconfirmed": [
],
"reuse_for": 7776000,
"recipients": [
"{}"
],
"slices": 0,
"slice_bytes": 0,
"objects": [
{}
],
"index_chain": [
],
"runs": [
],
{signer}
}}
"#,
        receipt.objects.iter().map(|object| object.contents.size).sum::<u64>(),
        fingerprint(1),
        objects.join(",\n"),
    );
    assert_eq!(text, expected);
    let text = String::from_utf8(incremental(key.certificate()).encode().unwrap()).unwrap();
    let line = format!(
        "{{\"backup\": \"{}\", {}, \"slices\": [[0, 0], [2, 4294967295]], \"other_recipients\": [\"{}\", \"{}\"]}},",
        EARLIER[0],
        format_args!("\"size\": 11, \"sha256\": \"{}\"", hashed(10).sha256),
        fingerprint(0),
        fingerprint(8)
    );
    assert!(text.lines().any(|found| found == line), "{text}");
    assert!(text.contains("\"end\": \"2026-11-23T08:47:03Z\",\n"), "{text}");
}

#[test]
fn what_is_signed_is_opened() {
    let key = key("web-1");
    for receipt in [incremental(key.certificate()), smallest(key.certificate())] {
        assert_eq!(Receipt::parse(&receipt.encode().unwrap()).unwrap(), receipt);
        let message = sign(&receipt, &key).unwrap();
        assert_eq!(opened(&message).unwrap(), receipt);
    }
    assert_eq!(incremental(key.certificate()).status(), Status::Partial);
    assert_eq!(smallest(key.certificate()).status(), Status::Complete);
    // A fraction of a second, and another offset, have no place in the text.
    let mut receipt = smallest(key.certificate());
    receipt.end = (receipt.end + Duration::milliseconds(999)).to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap());
    assert_eq!(Receipt::parse(&receipt.encode().unwrap()).unwrap(), smallest(key.certificate()));
}

type Edit = fn(&mut Receipt);

/// What no receipt may say: the key that is wrong, how, and the lie.
const LIES: &[(&str, Problem, Edit)] = &[
    ("program", Problem::Empty, |it| it.program.clear()),
    ("program", Problem::TooMuch(64), |it| it.program = "x".repeat(65)),
    ("program", Problem::Form, |it| it.program = "a\"b".to_owned()),
    ("program", Problem::Form, |it| it.program = "a\nb".to_owned()),
    ("program", Problem::Form, |it| it.program = "ä".to_owned()),
    ("files", Problem::TooMuch(limits::NUMBER), |it| it.counts.files = u64::MAX),
    ("folders", Problem::TooMuch(limits::NUMBER), |it| it.counts.folders = limits::NUMBER + 1),
    ("others", Problem::TooMuch(limits::NUMBER), |it| it.counts.others = u64::MAX),
    ("bytes", Problem::TooMuch(limits::NUMBER), |it| it.counts.bytes = u64::MAX),
    ("errors", Problem::TooMuch(limits::NUMBER), |it| it.counts.errors = u64::MAX),
    ("slice_bytes", Problem::TooMuch(limits::NUMBER), |it| it.slice_bytes = u64::MAX),
    ("stored_bytes", Problem::TooMuch(limits::NUMBER), |it| it.slice_bytes = limits::NUMBER),
    ("slices", Problem::TooMuch(1 << 32), |it| it.slices = (1 << 32) + 1),
    ("slice_bytes", Problem::Contradicts("slices"), |it| it.slices = 0),
    ("slice_bytes", Problem::Contradicts("slices"), |it| it.slice_bytes = 2),
    ("slice_bytes", Problem::Contradicts("slices"), |it| it.slice_bytes = 3 * limits::OBJECT + 1),
    ("previous", Problem::Contradicts("backup"), |it| it.previous = Previous::Receipt(link(ID))),
    ("unconfirmed", Problem::TooMuch(64), |it| it.unconfirmed = vec![link(EARLIER[0]); 65]),
    ("unconfirmed", Problem::Order, |it| it.unconfirmed.swap(0, 1)),
    ("unconfirmed", Problem::Order, |it| it.unconfirmed[1] = it.unconfirmed[0]),
    ("unconfirmed", Problem::Order, |it| it.unconfirmed[1] = link(ID)),
    ("unconfirmed", Problem::Order, |it| it.unconfirmed[1] = link(EARLIER[1])),
    ("reuse_for", Problem::TooMuch(limits::REUSE_FOR), |it| it.reuse_for = u64::MAX),
    ("recipients", Problem::Empty, |it| it.recipients.clear()),
    ("recipients", Problem::TooMuch(64), |it| it.recipients = (0..65).map(fingerprint).collect()),
    ("recipients", Problem::Order, |it| it.recipients.reverse()),
    ("recipients", Problem::Order, |it| it.recipients[0] = it.recipients[1]),
    ("objects", Problem::Entries, |it| it.objects.clear()),
    ("objects", Problem::Entries, |it| drop(it.objects.drain(0..=0))),
    ("objects", Problem::Entries, |it| drop(it.objects.drain(1..=1))),
    ("objects", Problem::Entries, |it| drop(it.objects.drain(1..3))),
    ("objects", Problem::Entries, |it| drop(it.objects.drain(4..=4))),
    ("objects", Problem::Entries, |it| drop(it.objects.drain(3..6))),
    ("objects", Problem::Entries, |it| it.objects[5].file = BackupFile::Plan(3)),
    ("objects", Problem::Entries, |it| drop(it.objects.drain(6..=6))),
    ("objects", Problem::Entries, |it| it.objects.truncate(7)),
    ("objects", Problem::Entries, |it| (it.slices, it.slice_bytes) = (0, 0)),
    ("objects", Problem::Order, |it| it.objects.swap(0, 1)),
    ("objects", Problem::Order, |it| it.objects.swap(1, 2)),
    ("objects", Problem::Order, |it| it.objects[1] = it.objects[2]),
    ("objects", Problem::Empty, |it| it.objects[3].contents.size = 0),
    ("objects", Problem::TooMuch(limits::OBJECT), |it| it.objects[3].contents.size = limits::OBJECT + 1),
    ("objects", Problem::TooMuch(1 << 16), |it| it.objects = vec![it.objects[0]; 65_537]),
    ("index_chain", Problem::Order, |it| drop(it.index_chain.drain(..1))),
    ("index_chain", Problem::Order, |it| it.index_chain.swap(0, 1)),
    ("index_chain", Problem::Order, |it| it.index_chain[1].number = 2),
    ("index_chain", Problem::Order, |it| it.index_chain[1].number = 0),
    ("index_chain", Problem::Order, |it| it.index_chain[2].number = 1),
    ("index_chain", Problem::Order, |it| it.index_chain[2].backup = id(ID)),
    ("index_chain", Problem::Order, |it| it.index_chain.push(it.index_chain[0])),
    ("index_chain", Problem::Empty, |it| it.index_chain[0].contents.size = 0),
    ("index_chain", Problem::TooMuch(limits::OBJECT), |it| it.index_chain[0].contents.size = u64::MAX),
    ("index_chain", Problem::TooMuch(1 << 16), |it| it.index_chain = vec![it.index_chain[0]; 65_537]),
    ("index_chain", Problem::TooMuch(15), |it| {
        let backup = |second| BackupId::new(OffsetDateTime::UNIX_EPOCH + Duration::seconds(second), [0; 4]);
        let first = it.index_chain[0];
        it.index_chain = (0..16).map(|second| ChainObject { backup: backup(second), ..first }).collect();
    }),
    ("runs", Problem::Order, |it| it.runs.swap(0, 1)),
    ("runs", Problem::Order, |it| it.runs[1].backup = it.runs[0].backup),
    ("runs", Problem::Contradicts("backup"), |it| it.runs[1].backup = id(ID)),
    ("runs", Problem::TooMuch(1 << 16), |it| it.runs = vec![it.runs[1].clone(); 65_537]),
    ("runs", Problem::TooMuch(1 << 20), |it| it.runs[1].slices = vec![it.runs[1].slices[0]; 1 << 20]),
    ("runs", Problem::Empty, |it| it.runs[0].checksums.size = 0),
    ("runs", Problem::TooMuch(limits::OBJECT), |it| it.runs[0].checksums.size = u64::MAX),
    ("runs", Problem::Empty, |it| it.runs[0].slices.clear()),
    ("runs", Problem::Order, |it| it.runs[0].slices.reverse()),
    ("runs", Problem::Order, |it| it.runs[0].slices[1].first = 1),
    ("runs", Problem::Order, |it| it.runs[0].slices[1] = SliceRange { first: 9, last: 8 }),
    ("runs", Problem::Order, |it| it.runs[0].other_recipients.reverse()),
    ("runs", Problem::Contradicts("recipients"), |it| it.runs[0].other_recipients[0] = fingerprint(1)),
    ("runs", Problem::TooMuch(64), |it| it.runs[0].other_recipients = (100..163).map(fingerprint).collect()),
];

#[test]
fn what_no_receipt_may_say_is_not_signed() {
    let key = key("web-1");
    for (number, (key_at_fault, expected, edit)) in LIES.iter().enumerate() {
        let mut receipt = incremental(key.certificate());
        edit(&mut receipt);
        match sign(&receipt, &key) {
            Err(Error::Field { key, problem }) => assert_eq!((key, problem), (*key_at_fault, *expected), "{number}"),
            other => panic!("{number}, {key_at_fault}: {other:?}"),
        }
    }
}

#[test]
fn times_must_be_sane() {
    const LATER: &str = "20261123T074501Z-00000000";
    let key = key("web-1");
    let edits: [(TimeProblem, Edit); 4] = [
        (TimeProblem::Backwards, |it| it.end = it.start() - Duration::SECOND),
        (TimeProblem::TooLong, |it| it.end = it.start() + Duration::days(366) + Duration::SECOND),
        (TimeProblem::UsesLater(id(LATER)), |it| it.index_chain[2].backup = id(LATER)),
        (TimeProblem::UsesLater(id(LATER)), |it| it.runs[1].backup = id(LATER)),
    ];
    for (expected, edit) in edits {
        let mut receipt = incremental(key.certificate());
        edit(&mut receipt);
        assert!(matches!(sign(&receipt, &key), Err(Error::Times(found)) if found == expected), "{expected}");
    }
    // A run that started within the same second may have the higher id.
    let mut receipt = incremental(key.certificate());
    let same = id("20261123T074500Z-ffffffff");
    (receipt.index_chain[2].backup, receipt.runs[1].backup) = (same, same);
    assert_eq!(opened(&sign(&receipt, &key).unwrap()).unwrap(), receipt);
    // The receipt before may be of a time when the clock was wrong.
    receipt.previous = Previous::Receipt(link("20991231T000000Z-00000000"));
    assert_eq!(opened(&sign(&receipt, &key).unwrap()).unwrap(), receipt);
    // What a signer signs all the same, a reader refuses.
    let text = String::from_utf8(receipt.encode().unwrap()).unwrap();
    for (end, expected) in [("2026-11-23T07:44:59Z", "before it starts"), ("9999-12-31T23:59:59Z", "more than a year")]
    {
        let message = key.sign(text.replace("2026-11-23T08:47:03Z", end).as_bytes()).unwrap();
        let error = opened(&message).unwrap_err();
        assert!(matches!(error, Error::Times(_)) && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_text_has_one_form() {
    let key = key("web-1");
    let text = String::from_utf8(incremental(key.certificate()).encode().unwrap()).unwrap();
    let cases = [
        ("", "\n", "not formed"),
        ("", " ", "not formed"),
        ("", "\u{feff}", "not formed"),
        ("{\n", "{", "not formed"),
        ("offsite-receipt 1", "offsite-receipt 2", "does not know: 2"),
        ("offsite-receipt 1", "offsite-receipt 1 ", "line 2"),
        ("offsite-receipt 1", "offsite-receipt ", "line 2"),
        ("offsite-receipt 1", "offsite-receipt 99999999999999999999", "line 2"),
        ("\"host\": ", "\"host\":", "not written as it must be, in line 3"),
        ("web-1", "web/1", "not formed as a receipt, in line 3"),
        ("web-1", "..", "line 3"),
        ("web-1", "w\\u0065b-1", "line 3"),
        ("\"web-1\"", "null", "line 3"),
        ("\"web-1\"", "[\"web-1\"]", "line 3"),
        ("\"host\": \"web-1\",\n", "", "not formed"),
        ("\"host\": \"web-1\",\n", "\"host\": \"web-1\",\n\"host\": \"web-1\",\n", "not formed"),
        ("\"host\": \"web-1\",\n", "\"host\": \"web-1\",\n\"more\": 1,\n", "not formed"),
        ("\"host\": \"web-1\",\n\"set\": \"default\",\n", "\"set\": \"default\",\n\"host\": \"web-1\",\n", "line 3"),
        ("\"start\": \"2026", "\"start\": \"2025", "\"start\": it contradicts \"backup\""),
        ("T08:47:03Z", "T08:47:03.0Z", "line 7"),
        ("T08:47:03Z", "T08:47:03+00:00", "line 7"),
        ("T08:47:03Z", "T09:47:03+01:00", "line 7"),
        ("T08:47:03Z", "T23:59:60Z", "line 7"),
        ("T08:47:03Z", "t08:47:03z", "line 7"),
        ("2026-11-23T08", "10000-11-23T08", "line 7"),
        ("\"files\",", "\"file\",", "line 9"),
        ("\"partial\"", "\"complete\"", "\"status\": it contradicts \"errors\""),
        ("\"files\": 12", "\"files\": 12.0", "line 11"),
        ("\"files\": 12", "\"files\": 1e1", "line 11"),
        ("\"files\": 12", "\"files\": -1", "line 11"),
        ("\"files\": 12", "\"files\": 012", "line 11"),
        ("\"files\": 12", "\"files\": 18446744073709551616", "line 11"),
        ("\"files\": 12", "\"files\": \"12\"", "line 11"),
        ("\"stored_bytes\": 4", "\"stored_bytes\": 5", "\"stored_bytes\": it contradicts \"objects\""),
        ("\"no_previous\": null", "\"no_previous\": \"no-state\"", "\"no_previous\": it contradicts \"previous\""),
        ("\"no_previous\": null,\n", "", "not written as it must be"),
        ("\"unconfirmed\": [\n", "\"unconfirmed\": [", "not written as it must be"),
        ("\"sha256:0101", "\"sha256:ABAB", "not formed"),
        ("\"sha256:0101", "\"0101", "not formed"),
        ("\"name\": \"plan.p7m\"", "\"name\": \"../plan.p7m\"", "not formed"),
        ("\"name\": \"plan.p7m\"", "\"name\": \"slice-00000000.p7m\"", "not formed"),
        ("\"name\": \"plan.p7m\", ", "", "not formed"),
        ("\"name\": \"plan.p7m\", ", "\"name\": \"plan.p7m\", \"more\": [[[]]], ", "not formed"),
        ("[0, 0]", "[0]", "not formed"),
        ("[0, 0]", "[0, 0, 0]", "not formed"),
        ("[0, 0]", "[0, 4294967296]", "not formed"),
        ("[0, 0]", "[0,0]", "not written as it must be"),
        ("\"signer\": \"", "\"signer\": \"=", "\"signer\": not formed"),
        ("\"signer\": \"MII", "\"signer\": \"AAA", "\"signer\": not formed"),
        ("\"\n}\n", "\"\n}", "not written as it must be"),
        ("\"\n}\n", "\"\n}\n\n", "not written as it must be"),
        ("\"\n}\n", "\"\n}\n{}\n", "not formed"),
        ("\"\n}\n", "\"\n}\n\0", "not formed"),
    ];
    for (from, to, problem) in cases {
        assert!(text.contains(from), "{from:?} is not in the text");
        let altered = text.replacen(from, to, 1);
        match Receipt::parse(altered.as_bytes()) {
            Err(error) => assert!(error.to_string().contains(problem), "{from:?} -> {to:?}: {error}"),
            Ok(_) => panic!("{from:?} -> {to:?} is accepted"),
        }
    }
}

#[test]
fn what_a_signed_receipt_may_not_say_is_not_read() {
    let key = key("web-1");
    let text = String::from_utf8(incremental(key.certificate()).encode().unwrap()).unwrap();
    let (one, seven) = (fingerprint(1).to_string(), fingerprint(7).to_string());
    let lies = [
        ("folders", "\"folders\": 3", "\"folders\": 9007199254740993"),
        ("program", "offsite 0.1.0", "offsite/0.1.0"),
        ("previous", EARLIER[1], ID),
        ("unconfirmed", EARLIER[2], EARLIER[0]),
        ("reuse_for", "7776000", "3155760001"),
        ("recipients", &one, &seven),
        ("slice_bytes", "\"slices\": 3", "\"slices\": 0"),
        ("objects", "\"name\": \"plan.p7m\"", "\"name\": \"plan-00000003.p7m\""),
        ("objects", "\"name\": \"index.p7m\"", "\"name\": \"index-00000001.p7m\""),
        ("index_chain", "\"name\": \"index-00000001.p7m\", \"size\": 10", "\"name\": \"index.p7m\", \"size\": 10"),
        ("runs", "[0, 0]", "[0, 1]"),
        ("runs", "[5, 7]", "[5, 4]"),
        ("runs", "[[5, 7]]", "[]"),
    ];
    for (at_fault, from, to) in lies {
        assert!(text.contains(from), "{from:?} is not in the text");
        match Receipt::parse(text.replacen(from, to, 1).as_bytes()) {
            Err(Error::Field { key, .. }) => assert_eq!(key, at_fault, "{from:?} -> {to:?}"),
            other => panic!("{from:?} -> {to:?}: {other:?}"),
        }
    }
    let chain = text.replacen("\"name\": \"index.p7m\", \"size\": 10", "\"name\": \"plan.p7m\", \"size\": 10", 1);
    let error = Receipt::parse(chain.as_bytes()).unwrap_err();
    assert!(matches!(error, Error::Field { key: "index_chain", problem: Problem::Form }), "{error}");
    let signer = text.split("\"signer\": \"").next().unwrap();
    let endless = format!("{signer}\"signer\": \"{}\"\n}}\n", "A".repeat(1 << 20));
    let error = Receipt::parse(endless.as_bytes()).unwrap_err();
    assert!(matches!(error, Error::Field { key: "signer", problem: Problem::TooMuch(16_384) }), "{error}");
}

/// Every other byte at every place: it fails, or is another receipt written as it must be.
#[test]
fn no_byte_can_be_other_unseen() {
    let key = key("web-1");
    let text = incremental(key.certificate()).encode().unwrap();
    for at in 0..text.len() {
        for other in [text[at] ^ 1, b' ', b'\n', b'"', b'9', 0, 0xff] {
            let mut altered = text.clone();
            altered[at] = other;
            if let Ok(receipt) = Receipt::parse(&altered) {
                assert!(check_of_encoding(&receipt, &altered), "byte {at} as {other:02x}");
            }
        }
    }
}

fn check_of_encoding(receipt: &Receipt, text: &[u8]) -> bool {
    match receipt.encode() {
        Ok(again) => again == text,
        Err(error) => matches!(error, Error::Times(_)),
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    let key = key("web-1");
    let receipt = incremental(key.certificate());
    let text = receipt.encode().unwrap();
    for length in 0..text.len() {
        assert!(Receipt::parse(&text[..length]).is_err(), "the first {length} bytes of the text");
    }
    let message = sign(&receipt, &key).unwrap();
    for length in 0..message.len() {
        let error = opened(&message[..length]).unwrap_err();
        assert!(matches!(error, Error::Signature(_)), "the first {length} bytes: {error}");
    }
    // Signed or not, half a text is none.
    let half = key.sign(&text[..text.len() / 2]).unwrap();
    assert!(matches!(opened(&half), Err(Error::Malformed { .. })));
}

#[test]
fn what_nests_without_end_is_refused() {
    let key = key("web-1");
    let text = String::from_utf8(incremental(key.certificate()).encode().unwrap()).unwrap();
    for (from, deep) in [("\"runs\": [", "["), ("\"previous\": {", "{\"backup\": ")] {
        let altered = text.replacen(from, &format!("{from}{}", deep.repeat(1 << 20)), 1);
        assert!(matches!(Receipt::parse(altered.as_bytes()), Err(Error::Malformed { .. })));
    }
}

#[test]
fn a_receipt_counts_only_in_its_own_place_and_by_its_own_signer() {
    let thief = key("web-1");
    let length = thief.certificate().der().len();
    // The length of a signature varies; a certificate of the same length needs no other changes.
    let key = std::iter::repeat_with(|| key("web-1")).find(|key| key.certificate().der().len() == length).unwrap();
    let receipt = incremental(key.certificate());
    let message = sign(&receipt, &key).unwrap();
    // In another place.
    let (host, set) = (&receipt.host, &receipt.set);
    let elsewhere = [
        open(&message, &"web-2".parse().unwrap(), set, receipt.backup),
        open(&message, host, &"other".parse().unwrap(), receipt.backup),
        open(&message, host, set, id(EARLIER[0])),
    ];
    for opened in elsewhere {
        let error = opened.unwrap_err();
        assert_eq!(error.to_string(), format!("it is the receipt of web-1/default/{ID}"));
    }
    // Altered within the signed message.
    let at = message.windows(5).position(|window| window == b"web-1").unwrap();
    let mut altered = message.clone();
    altered[at + 4] = b'2';
    assert!(matches!(opened(&altered), Err(Error::Signature(_))));
    // Signed again, as it was, by another key.
    let again = thief.sign(&receipt.encode().unwrap()).unwrap();
    assert!(matches!(opened(&again), Err(Error::OtherSigner)));
    assert!(matches!(sign(&receipt, &thief), Err(Error::OtherSigner)));
    // Made their own: valid, but the pins tell who it is.
    let own = Receipt { signer: thief.certificate().clone(), ..receipt.clone() };
    let opened_own = opened(&sign(&own, &thief).unwrap()).unwrap();
    assert_ne!(Fingerprint::of(&opened_own.signer), Fingerprint::of(key.certificate()));
    // With the certificate replaced, in the message or in the receipt.
    let (from, to) = (key.certificate().der(), thief.certificate().der());
    let at = message.windows(from.len()).position(|window| window == from).unwrap();
    let mut replaced = message.clone();
    replaced[at..at + from.len()].copy_from_slice(to);
    assert!(matches!(opened(&replaced), Err(Error::Signature(_))));
    let named = key.sign(&own.encode().unwrap()).unwrap();
    assert!(matches!(opened(&named), Err(Error::OtherSigner)));
    // The signature comes first: nothing is said of what is not signed.
    assert!(matches!(opened(&receipt.encode().unwrap()), Err(Error::Signature(_))));
    assert!(matches!(opened(b""), Err(Error::Signature(_))));
    // Something else that this host signed.
    assert!(matches!(opened(&key.sign(b"{}").unwrap()), Err(Error::Malformed { .. })));
}

/// The largest lists together fit the largest signed message.
#[test]
fn the_largest_receipt_can_be_signed() {
    let key = key("web-1");
    let mut receipt = incremental(key.certificate());
    let backup = |second: i64| BackupId::new(OffsetDateTime::UNIX_EPOCH + Duration::seconds(second), [0; 4]);
    let contents = Hashed { size: limits::OBJECT, sha256: Sha256::of(b"") };
    receipt.runs = (0..1 << 16)
        .map(|second| Run {
            backup: backup(second),
            checksums: contents,
            slices: SliceRange::of((0..16).map(|number| u32::MAX - 3 * number).rev()),
            other_recipients: vec![],
        })
        .collect();
    let first = receipt.index_chain[0];
    receipt.index_chain = (0..1 << 16).map(|number| ChainObject { number, contents, ..first }).collect();
    let message = sign(&receipt, &key).unwrap();
    assert!(message.len() < limits::SIZE, "{} bytes", message.len());
    assert!(opened(&message).unwrap() == receipt);
}

#[test]
fn ranges_are_what_numbers_come_to() {
    let range = |first, last| SliceRange { first, last };
    assert_eq!(SliceRange::of([]), []);
    assert_eq!(SliceRange::of([0, 0, 1, 3, 5, 6]), [range(0, 1), range(3, 3), range(5, 6)]);
    assert_eq!(SliceRange::of([u32::MAX - 1, u32::MAX, u32::MAX]), [range(u32::MAX - 1, u32::MAX)]);
}

/// The lines of the format page.
fn documented(marker: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md")).unwrap();
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    let found: Vec<&&str> = blocks.iter().filter(|block| block.contains(marker)).collect();
    assert_eq!(found.len(), 1, "one block of the format page has {marker}");
    (*found[0]).to_owned()
}

#[test]
fn stock_tools_verify_a_receipt_and_read_it_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let key = key("web-1");
    let plan = [&b"the first object of the plan"[..], b"the second", b"the third"];
    let mut receipt = incremental(key.certificate());
    for (number, bytes) in (0..).zip(plan) {
        let file = BackupFile::Plan(number);
        fs::write(folder.path().join(file.to_string()), bytes).unwrap();
        let object = receipt.objects.iter_mut().find(|object| object.file == file).unwrap();
        object.contents = Hashed::of(bytes);
    }
    fs::write(file("RECEIPT.p7s"), sign(&receipt, &key).unwrap()).unwrap();
    fs::write(file("SIGNER.pem"), key.certificate().to_pem()).unwrap();
    let sh = |script: &str| Command::new("sh").arg("-ec").arg(script).current_dir(folder.path()).output().unwrap();
    let verify = documented("openssl cms -verify");
    let output = sh(&verify);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(file("RECEIPT.json")).unwrap(), receipt.encode().unwrap());
    let read = documented("sed -n");
    let mut lines: Vec<String> = vec!["web-1".to_owned(), "default".to_owned(), ID.to_owned()];
    let names = ["plan.p7m", "plan-00000001.p7m", "plan-00000002.p7m"];
    lines.extend(plan.iter().zip(names).map(|(bytes, name)| format!("{}  {name}", Sha256::of(bytes))));
    let output = sh(&read);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), lines);
    // The last of these lines is what sha256sum reads.
    let last = read.lines().last().unwrap();
    let output = sh(&format!("{last} | sha256sum -c --strict --quiet"));
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    fs::write(file("plan-00000001.p7m"), b"another").unwrap();
    assert!(!sh(&format!("{last} | sha256sum -c --strict --quiet")).status.success());
    // Another host's signer, and an altered receipt.
    let other = self::key("web-1");
    fs::write(file("SIGNER.pem"), other.certificate().to_pem()).unwrap();
    assert!(!sh(&verify).status.success());
    fs::write(file("SIGNER.pem"), key.certificate().to_pem()).unwrap();
    let mut altered = fs::read(file("RECEIPT.p7s")).unwrap();
    let at = altered.windows(5).position(|window| window == b"web-1").unwrap();
    altered[at] ^= 1;
    fs::write(file("RECEIPT.p7s"), altered).unwrap();
    assert!(!sh(&verify).status.success());
}

#[test]
fn sha256sum_reads_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = checksums::Writer::new(Vec::new());
    for number in 0..12_u8 {
        let slice = vec![number; 1000 + usize::from(number)];
        fs::write(folder.path().join(format!("slice-{number:08}.p7m")), &slice).unwrap();
        writer.slice(slice.len() as u64, Sha256::of(&slice)).unwrap();
    }
    fs::write(folder.path().join("slices.sha256"), writer.end()).unwrap();
    let sum = |option: &str| {
        let mut command = Command::new("sha256sum");
        command.current_dir(folder.path()).args(["-c", option, "slices.sha256"]);
        command
    };
    for option in ["--quiet", "--strict", "--warn"] {
        let output = run(&mut sum(option));
        assert_eq!(output.stderr, b"", "{option}: {output:?}");
        let lines = String::from_utf8(output.stdout).unwrap().lines().count();
        assert_eq!(lines, if option == "--quiet" { 0 } else { 12 }, "{option}");
    }
    fs::write(folder.path().join("slice-00000007.p7m"), b"another").unwrap();
    assert!(!sum("--quiet").output().unwrap().status.success());
}

#[test]
fn a_receipt_is_an_ordinary_signed_message() {
    let key = key("web-1");
    let receipt = smallest(key.certificate());
    let message = sign(&receipt, &key).unwrap();
    let signed = signed_data::verify(&message).unwrap();
    assert_eq!(signed.content, receipt.encode().unwrap());
}
