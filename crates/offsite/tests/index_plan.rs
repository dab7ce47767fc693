//! The plan that follows from a chain of indexes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use offsite::index::{Entry, Head, Inode, Kind, Merge, Place, Planner, Reader, Row, Totals, Writer, plan_of};
use offsite::names::BackupId;
use offsite::plan::{Reader as PlanReader, Shape, Slice, SliceName, Span, Step, Take, Title};

const OLD: &str = "20261121T074500Z-00000001";
const BASE: &str = "20261122T074500Z-00000002";
const OWN: &str = "20261123T074500Z-7f3a9c01";

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

fn name(backup: &str, number: u32) -> SliceName {
    SliceName { backup: id(backup), number }
}

fn title(backup: &str, shape: Shape) -> Title {
    Title { host: "web-1".parse().unwrap(), set: "default".parse().unwrap(), backup: id(backup), shape }
}

fn whole(backup: &str, number: u32, offset: u64, length: u64, raw: u64) -> Place {
    Place::whole(name(backup, number), Span { offset, length }, raw)
}

fn part(whole: Place, skip: u64, take: u64) -> Place {
    Place { piece: Take { skip, take }, ..whole }
}

fn entry(path: &str, kind: Kind, places: &[Place]) -> Row {
    let path = path.as_bytes().to_vec();
    Row::Entry(Entry { path, kind, inode: Inode::default(), links: false, torn: false, places: places.to_vec() })
}

fn file(path: &str, size: u64, places: &[Place]) -> Row {
    entry(path, Kind::File { size, sparse: None }, places)
}

fn leader(row: Row) -> Row {
    let Row::Entry(entry) = row else { panic!() };
    Row::Entry(Entry { links: true, ..entry })
}

fn link(path: &str, leader: &str, places: &[Place]) -> Row {
    entry(path, Kind::HardLink { leader: leader.as_bytes().to_vec() }, places)
}

fn index(head: Head, rows: &[Row], end: Option<Place>, totals: Option<Totals>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), head).unwrap();
    rows.iter().for_each(|row| writer.row(row).unwrap());
    writer.end(end, totals).unwrap()
}

fn known(name: SliceName) -> Option<Slice> {
    Some(Slice { name, size: 10_000, sha256: [0xab; 32] })
}

fn plan(chain: &[Vec<u8>]) -> String {
    let readers = chain.iter().map(|index| Reader::new(index.as_slice()).unwrap()).collect();
    // Nothing here needs more memory than there is, but for the places of large files.
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_of(Merge::new(readers).unwrap(), known, folder.path(), Vec::new()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    String::from_utf8(plan).unwrap()
}

/// Members dead and alive in the slices of a killed run and of the base, chunks of the base in a
/// file that has changed, a link to a file of the killed run, the end where it always was.
#[test]
fn a_chain_has_the_plan_that_it_must_have() {
    let bundle = whole(OLD, 0, 0, 100, 4096);
    let end = Some(whole(BASE, 1, 30, 20, 1024));
    let runs = |runs: &[&str]| runs.iter().map(|run| id(run)).collect();
    let base = index(
        Head { title: title(BASE, Shape::Tar), base: None, runs: runs(&[OLD, BASE]) },
        &[
            leader(file("a", 512, &[part(bundle, 0, 1024)])),
            file("b", 512, &[part(bundle, 1024, 1024)]),
            file(
                "big",
                2_000_000,
                &[
                    whole(BASE, 0, 0, 50, 512),
                    whole(BASE, 0, 50, 1000, 1_000_000),
                    whole(BASE, 0, 1050, 1000, 1_000_000),
                    whole(BASE, 0, 2050, 10, 384),
                ],
            ),
            file("c", 1024, &[part(bundle, 2048, 2048)]),
            entry("d", Kind::Folder, &[whole(BASE, 1, 0, 30, 512)]),
        ],
        end,
        None,
    );
    let hash = "ab".repeat(32);
    let expected = [
        format!("offsite-plan 1 web-1/default/{BASE} tar"),
        format!("slice 0 {OLD}/slice-00000000.p7m 10000 {hash}"),
        "whole 0 0 100".to_owned(),
        format!("slice 1 {BASE}/slice-00000000.p7m 10000 {hash}"),
        "whole 1 0 2060".to_owned(),
        format!("slice 2 {BASE}/slice-00000001.p7m 10000 {hash}"),
        "whole 2 0 50".to_owned(),
        "end 2006528\n".to_owned(),
    ];
    assert_eq!(plan(std::slice::from_ref(&base)), expected.join("\n"));

    let own_bundle = whole(OWN, 0, 960, 40, 1024);
    let own = index(
        Head { title: title(OWN, Shape::Tar), base: Some(id(BASE)), runs: runs(&[BASE, OWN]) },
        &[
            Row::Gone(b"b".to_vec()),
            file(
                "big",
                1_999_999,
                &[
                    whole(OWN, 0, 0, 50, 512),
                    whole(BASE, 0, 50, 1000, 1_000_000),
                    whole(OWN, 0, 50, 900, 999_999),
                    whole(OWN, 0, 950, 10, 385),
                ],
            ),
            link("h", "a", &[part(own_bundle, 0, 512)]),
            file("i", 0, &[part(own_bundle, 512, 512)]),
        ],
        end,
        Some(Totals { entries: 6, bytes: 3072 + 512 + 512 + 1_999_999 + 385 + 1024 + 1024 }),
    );
    let expected = [
        format!("offsite-plan 1 web-1/default/{OWN} tar"),
        format!("slice 0 {OLD}/slice-00000000.p7m 10000 {hash}"),
        "cut 0 0 100 0 1024 1024 2048".to_owned(),
        format!("slice 1 {BASE}/slice-00000001.p7m 10000 {hash}"),
        "whole 1 0 30".to_owned(),
        format!("slice 2 {OWN}/slice-00000000.p7m 10000 {hash}"),
        "whole 2 0 50".to_owned(),
        format!("slice 3 {BASE}/slice-00000000.p7m 10000 {hash}"),
        "whole 3 50 1000".to_owned(),
        "whole 2 50 950".to_owned(),
        "whole 1 30 20".to_owned(),
        "end 2006528\n".to_owned(),
    ];
    assert_eq!(plan(&[base, own]), expected.join("\n"));
}

#[test]
fn a_stream_is_its_places() {
    let head = |backup: &str, base: Option<&str>, runs: &[&str]| Head {
        title: title(backup, Shape::Stream("db.sql".parse().unwrap())),
        base: base.map(id),
        runs: runs.iter().map(|run| id(run)).collect(),
    };
    let stream = |size, places: &[Place]| entry("db.sql", Kind::Stream { size }, places);
    let empty = index(head(BASE, None, &[]), &[stream(0, &[])], None, None);
    assert_eq!(
        plan(std::slice::from_ref(&empty)),
        format!("offsite-plan 1 web-1/default/{BASE} stream db.sql\nend 0\n")
    );
    let twice = whole(OWN, 0, 0, 9, 7);
    let row = stream(15, &[twice, twice, whole(OWN, 0, 9, 9, 1)]);
    let own = index(head(OWN, Some(BASE), &[OWN]), &[row], None, Some(Totals { entries: 1, bytes: 15 }));
    let steps = "whole 0 0 9\nwhole 0 0 18\nend 15\n";
    assert!(plan(&[empty, own]).ends_with(steps));
}

/// What a planner says of rows.
fn refused(rows: &[Row], slices: impl FnMut(SliceName) -> Option<Slice>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut planner = Planner::new(folder.path());
    let plan = rows
        .iter()
        .try_for_each(|row| planner.row(row))
        .and_then(|()| planner.write(&title(OWN, Shape::Tar), None, slices, Vec::new()));
    plan.unwrap_err().to_string()
}

#[test]
fn what_no_plan_follows_from_is_an_error() {
    let bundle = whole(BASE, 0, 0, 100, 4096);
    let a = || leader(file("a", 0, &[part(bundle, 512, 512)]));
    let says = |rows: &[Row], words: &str| {
        let error = refused(rows, known);
        assert!(error.contains(words), "{error}");
    };
    says(&[a(), file("b", 0, &[part(bundle, 512, 512)])], "contradicts itself about what lies at byte 0");
    says(&[a(), file("b", 0, &[part(bundle, 513, 512)])], "contradicts itself");
    says(&[a(), file("b", 0, &[part(whole(BASE, 0, 0, 100, 4097), 1024, 512)])], "contradicts itself");
    says(&[a(), file("b", 0, &[part(whole(BASE, 0, 0, 101, 4096), 1024, 512)])], "contradicts itself");
    says(&[a(), file("b", 0, &[whole(BASE, 0, 99, 1, 512)])], "contradicts itself about what lies at byte 99");
    says(&[file("b", 0, &[whole(BASE, 0, 9999, 2, 512)])], "bytes 9999 to 10001 of 20261122T074500Z-00000002/slice-0");
    says(&[link("b", "a", &[part(bundle, 1024, 512)])], "row 1 of the index does not follow");
    says(&[a(), link("b", "a", &[part(bundle, 0, 512)])], "row 2 of the index does not follow");
    says(&[a(), link("b", "A", &[part(bundle, 1024, 512)])], "row 2");
    says(&[a(), link("b", "a", &[whole(OLD, 0, 0, 1, 512)])], "row 2");
    says(&[file("a", 0, &[part(bundle, 0, 512)]), link("b", "a", &[part(bundle, 512, 512)])], "row 2");
    says(&[Row::Gone(b"a".to_vec())], "row 1");
    assert!(refused(&[a()], |_| None).contains("slice-00000000.p7m, of which nothing is known"));
    // More places than are kept in memory.
    let nowhere = Planner::new(Path::new("/nonexistent")).row(&file("a", 0, &[bundle; 2_000]));
    assert!(nowhere.unwrap_err().to_string().starts_with("the plan cannot be derived from the index: "));
}

/// Every other member of the largest bundle of the smallest members: more pairs than a step has.
#[test]
fn a_cut_has_a_most_of_pairs() {
    let bundle = whole(BASE, 0, 0, 100, 32 << 20);
    let folder = tempfile::tempdir().unwrap();
    let mut planner = Planner::new(folder.path());
    let count = (32 << 20) / 1024;
    // In an order that has nothing to do with that of the plan.
    for number in (0..count).map(|number| number * 17 % count) {
        planner.row(&file("x", 0, &[part(bundle, number * 1024, 512)])).unwrap();
    }
    let plan = planner.write(&title(BASE, Shape::Tar), None, known, Vec::new()).unwrap();
    let mut reader = PlanReader::new(plan.as_slice()).unwrap();
    let (mut cuts, mut next) = (Vec::new(), 0);
    while let Some(step) = reader.next_step().unwrap() {
        if let Step::Cut { takes, .. } = step {
            cuts.push(takes.len());
            let mut at = 0;
            for Take { skip, take } in takes {
                assert_eq!((at + skip, take), (next, 512));
                at += skip + take;
                next += 1024;
            }
        }
    }
    assert_eq!(cuts, [8192; 4]);
}
