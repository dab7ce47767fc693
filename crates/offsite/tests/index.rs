//! Indexes and chains of them: what is written is what is read, whatever is wrong is an error at
//! its line.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use offsite::index::{
    Entry, Error, Head, History, Inode, Kind, Merge, Part, Place, Reader, Row, Time, Totals, Writer, limits,
    read_and_write,
};
use offsite::names::BackupId;
use offsite::plan::{Shape, SliceName, Span, Take, Title};

const OLD: &str = "20261121T074500Z-00000001";
const BASE: &str = "20261122T074500Z-00000002";
const OWN: &str = "20261123T074500Z-7f3a9c01";

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

fn head(backup: &str, base: Option<&str>, runs: &[&str]) -> Head {
    let (host, set) = ("web-1".parse().unwrap(), "default".parse().unwrap());
    let title = Title { host, set, backup: id(backup), shape: Shape::Tar };
    Head { title, base: base.map(id), runs: runs.iter().map(|run| id(run)).collect() }
}

fn place(backup: &str, number: u32, frame: (u64, u64, u64), piece: (u64, u64)) -> Place {
    Place {
        slice: SliceName { backup: id(backup), number },
        frame: Span { offset: frame.0, length: frame.1 },
        raw: frame.2,
        piece: Take { skip: piece.0, take: piece.1 },
    }
}

fn entry(path: &[u8], kind: Kind, places: Vec<Place>) -> Entry {
    let mtime = Time { seconds: 1_790_000_000, nanoseconds: 5 };
    let inode = Inode { mode: 0o644, uid: 0, gid: 1000, mtime };
    Entry { path: path.to_vec(), kind, inode, links: false, torn: false, places }
}

/// One of everything.
fn sample() -> String {
    let bundle = |skip, take| vec![place(OWN, 0, (0, 900, 9216), (skip, take))];
    let mut rows = vec![
        entry(b"", Kind::Folder, bundle(0, 512)),
        entry(b"a", Kind::File { size: 5, sparse: None }, bundle(512, 2048)),
        entry(b"a\xff%", Kind::Symlink { target: b"\n\xc3".to_vec() }, bundle(3072, 1536)),
        entry(b"b", Kind::HardLink { leader: b"a".to_vec() }, bundle(4608, 512)),
        entry(b"c", Kind::Fifo, bundle(5120, 512)),
        entry(b"d", Kind::CharacterDevice { major: 1, minor: 3 }, bundle(5632, 512)),
        entry(b"e", Kind::BlockDevice { major: 8, minor: u32::MAX }, bundle(6144, 512)),
        entry("f/ä".as_bytes(), Kind::File { size: 1 << 40, sparse: Some(513) }, bundle(6656, 2560)),
        entry(
            b"g",
            Kind::File { size: 1_050_000, sparse: None },
            vec![
                place(OWN, 0, (900, 100, 512), (0, 512)),
                place(OWN, 0, (1000, 7000, 1_000_000), (0, 1_000_000)),
                place(BASE, 3, (5, 6, 50_000), (0, 50_000)),
                place(OWN, 0, (8000, 20, 112), (0, 112)),
            ],
        ),
    ];
    rows[1].links = true;
    rows[1].inode.mtime = Time { seconds: -1, nanoseconds: 999_999_999 };
    rows[2].inode.mtime = Time { seconds: i64::MIN, nanoseconds: 0 };
    rows[7].torn = true;
    let mut writer = Writer::new(Vec::new(), head(OWN, None, &[BASE, OWN])).unwrap();
    rows.into_iter().for_each(|entry| writer.row(&Row::Entry(entry)).unwrap());
    let end = place(OWN, 1, (0, 30, 1024), (0, 1024));
    String::from_utf8(writer.end(Some(end), None).unwrap()).unwrap()
}

#[test]
fn an_index_is_written_as_the_format_has_it() {
    let expected = [
        r#"{"offsite-index":1,"host":"web-1","set":"default","backup":"20261123T074500Z-7f3a9c01","stream":null,"base":null,"runs":["20261122T074500Z-00000002","20261123T074500Z-7f3a9c01"]}"#,
        r#"{"path":"","kind":"folder","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"at":[[1,0,0,900,9216,0,512]]}"#,
        r#"{"path":"a","kind":"file","mode":420,"uid":0,"gid":1000,"mtime":[-1,999999999],"size":5,"links":true,"at":[[2048]]}"#,
        r#"{"path":"a%FF%25","kind":"symlink","mode":420,"uid":0,"gid":1000,"mtime":[-9223372036854775808,0],"target":"\n%C3","at":[[1,0,0,900,9216,3072,1536]]}"#,
        r#"{"path":"b","kind":"hardlink","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"leader":"a","at":[[512]]}"#,
        r#"{"path":"c","kind":"fifo","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"at":[[512]]}"#,
        r#"{"path":"d","kind":"character","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"device":[1,3],"at":[[512]]}"#,
        r#"{"path":"e","kind":"block","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"device":[8,4294967295],"at":[[512]]}"#,
        r#"{"path":"f/ä","kind":"file","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"size":1099511627776,"sparse":513,"torn":true,"at":[[2560]]}"#,
        r#"{"path":"g","kind":"file","mode":420,"uid":0,"gid":1000,"mtime":[1790000000,5],"size":1050000,"at":[[100,512],[7000,1000000],[0,3,5,6,50000],[1,0,8000,20,112]]}"#,
        r#"{"entries":9,"parts":0,"gone":0,"all":9,"bytes":1060352,"end":[1,1,0,30,1024]}"#,
        "",
    ];
    assert_eq!(sample(), expected.join("\n"));
    assert_eq!(read_and_write(sample().as_bytes()).unwrap(), sample().as_bytes());
}

#[test]
fn an_index_cut_anywhere_is_not_complete() {
    let text = sample();
    for length in 0..text.len() {
        assert!(read_and_write(&text.as_bytes()[..length]).is_err(), "the first {length} bytes");
    }
}

#[test]
fn no_changed_byte_goes_unnoticed_or_panics() {
    let text = sample().into_bytes();
    for at in 0..text.len() {
        for byte in [0, b'"', b'0', b'9', b'%', b',', b'[', 0xff, text[at] ^ 1] {
            let mut changed = text.clone();
            changed[at] = byte;
            // It is another index, written as it must be, or none.
            if let Ok(again) = read_and_write(&changed) {
                assert_eq!(again, changed);
            }
        }
        let mut shorter = text.clone();
        shorter.remove(at);
        if let Ok(again) = read_and_write(&shorter) {
            assert_eq!(again, shorter);
        }
    }
}

fn line(path: &str, rest: &str) -> String {
    format!(r#"{{"path":"{path}",{rest}}}"#)
}

const INODE: &str = r#""mode":420,"uid":0,"gid":0,"mtime":[0,0]"#;

fn folder(path: &str, at: &str) -> String {
    line(path, &format!(r#""kind":"folder",{INODE},"at":[{at}]"#))
}

fn file(path: &str, size: &str, at: &str) -> String {
    line(path, &format!(r#""kind":"file",{INODE},"size":{size},"at":[{at}]"#))
}

fn first(base: &str, runs: &str) -> String {
    format!(
        r#"{{"offsite-index":1,"host":"h","set":"s","backup":"{OWN}","stream":null,"base":{base},"runs":[{runs}]}}"#
    )
}

fn full() -> String {
    first("null", &format!("\"{OWN}\""))
}

fn delta() -> String {
    first(&format!("\"{BASE}\""), &format!("\"{OWN}\""))
}

fn tail(entries: u64, parts: u64, gone: u64, bytes: u64) -> String {
    format!(
        r#"{{"entries":{entries},"parts":{parts},"gone":{gone},"all":{entries},"bytes":{bytes},"end":[0,0,9,9,1024]}}"#
    )
}

fn text(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

const AT: &str = "[0,0,0,9,512]";

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_way_to_be_wrong_is_an_error_at_its_line() {
    let (full, delta) = (full(), delta());
    let row = |line: String| text(&[&full, &line]);
    let a = |rest: &str| line("a", rest);
    let of_file = |rest: &str| a(&format!(r#""kind":"file",{INODE},{rest}"#));
    let stream = full.replace("\"stream\":null", "\"stream\":\"db\"");
    let stream = |lines: &[&str]| text(&[&[stream.as_str()], lines].concat());
    let many = ["[0,0,0,9,512]", &",[0,0,0,9,512]".repeat(4096)].concat();
    let all = ["[0,0,0,9,512]", &",[0,0,0,9,512]".repeat(4095)].concat();
    let big_number = u64::from(u32::MAX) + 1;
    let runs =
        |runs: &[&str]| first("null", &runs.iter().map(|run| format!("\"{run}\"")).collect::<Vec<_>>().join(","));
    let a_and = |line: String| text(&[&full, &folder("a", AT), &line]);
    let cases: Vec<(String, u64, &str)> = vec![
        (String::new(), 1, "no index"),
        ("x\n".to_owned(), 1, "no index"),
        (full.replace("\":1", "\":2") + "\n", 1, "no index"),
        (full.clone(), 1, "not complete"),
        (full.replace("\"h\"", "\".h\"") + "\n", 1, "from byte 27 on"),
        (full.replace(",\"set\"", ", \"set\"") + "\n", 1, "from byte 30 on"),
        (full.clone() + " \n", 1, "from byte"),
        (runs(&[OWN, BASE]) + "\n", 1, "not in order"),
        (runs(&[OWN, OWN]) + "\n", 1, "not in order"),
        (runs(&["20261123T074500Z-7f3a9c02"]) + "\n", 1, "later"),
        (first(&format!("\"{OWN}\""), "") + "\n", 1, "not earlier"),
        (text(&[&full]), 2, "not complete"),
        (text(&[&full, &"x".repeat(limits::LINE + 1)]), 2, "longer than 2097152"),
        (text(&[&full, &"x".repeat(limits::LINE)]), 2, "from byte 1 on"),
        (text(&[&full, &folder("\u{1}", AT)]), 2, "from byte 10 on"),
        (row(folder("/", AT)), 2, "absolute"),
        (row(folder("a/", AT)), 2, "empty component"),
        (row(folder("a/../b", AT)), 2, "\"..\""),
        (row(folder("a\\u0000", AT)), 2, "NUL"),
        (row(folder("a\\/b", AT)), 2, "from byte 11 on"),
        (row(folder("a%41", AT)), 2, "from byte 11 on"),
        (row(folder("%C3%A4", AT)), 2, "from byte 9 on"),
        (row(folder(&"a".repeat(65537), AT)), 2, "longer than 65536"),
        (row(file("", "0", AT)), 2, "its kind cannot be"),
        (row(a(r#""kind":"gone""#)), 2, "full"),
        (row(a(r#""kind":"socket""#)), 2, "from byte 21 on"),
        (row(a(r#""mode":1,"kind":"file""#)), 2, "from byte 12 on"),
        (row(folder("a", AT).replace("420", "4096")), 2, "its mode cannot be"),
        (row(folder("a", AT).replace("420", "0644")), 2, "from byte"),
        (row(folder("a", AT).replace("\"uid\":0", "\"uid\":4294967296")), 2, "out of bounds"),
        (row(folder("a", AT).replace("\"uid\":0", "\"uid\":-1")), 2, "from byte"),
        (row(folder("a", AT).replace("\"uid\":0", "\"uid\":0.0")), 2, "from byte"),
        (row(folder("a", AT).replace("[0,0],", "[-0,0],")), 2, "from byte"),
        (row(folder("a", AT).replace("[0,0],", "[0,1000000000],")), 2, "its time cannot be"),
        (row(folder("a", AT).replace("[0,0],", "[9223372036854775808,0],")), 2, "out of bounds"),
        (row(folder("a", AT).replace("[0,0],", "[-9223372036854775809,0],")), 2, "out of bounds"),
        (row(file("a", "9223372036854775808", AT)), 2, "out of bounds"),
        (row(of_file(&format!(r#""size":1,"sparse":2,"at":[{AT}]"#))), 2, "its size cannot be"),
        (row(a(&format!(r#""kind":"symlink",{INODE},"target":"","at":[{AT}]"#))), 2, "its target cannot be"),
        (row(a(&format!(r#""kind":"symlink",{INODE},"target":"\u0000","at":[{AT}]"#))), 2, "its target cannot be"),
        (row(a(&format!(r#""kind":"hardlink",{INODE},"leader":"a","at":[{AT}]"#))), 2, "its leader cannot be"),
        (row(a(&format!(r#""kind":"hardlink",{INODE},"leader":"b","at":[{AT}]"#))), 2, "its leader cannot be"),
        (row(a(&format!(r#""kind":"hardlink",{INODE},"leader":"","at":[{AT}]"#))), 2, "its leader cannot be"),
        (row(a(&format!(r#""kind":"hardlink",{INODE},"leader":"..","at":[{AT}]"#))), 2, "its leader cannot be"),
        (row(a(&format!(r#""kind":"folder",{INODE},"links":true,"at":[{AT}]"#))), 2, "its mark as a leader cannot be"),
        (row(a(&format!(r#""kind":"fifo",{INODE},"torn":true,"at":[{AT}]"#))), 2, "its mark as torn cannot be"),
        (row(of_file(&format!(r#""size":0,"links":false,"at":[{AT}]"#))), 2, "from byte"),
        (row(of_file(&format!(r#""size":0,"torn":true,"links":true,"at":[{AT}]"#))), 2, "from byte"),
        (row(a(r#""kind":"stream","size":0,"at":[]"#)), 2, "its kind cannot be"),
        (row(folder("a", "")), 2, "0 places"),
        (row(folder("a", &many)), 2, "4097 places"),
        (row(folder("a", "[1,0,0,9,512]")), 2, "does not refer to"),
        (row(folder("a", "[0,0,0,0,512]")), 2, "reaches beyond"),
        (row(folder("a", "[0,0,536870912,1,512]")), 2, "reaches beyond"),
        (row(folder("a", "[0,0,0,9,33554433]")), 2, "reaches beyond"),
        (row(folder("a", "[0,0,0,9,0]")), 2, "reaches beyond"),
        (row(folder("a", "[0,0,0,9,512,1,512]")), 2, "reaches beyond"),
        (row(folder("a", "[0,0,0,9,512,1,0]")), 2, "reaches beyond"),
        (row(folder("a", &format!("[0,{big_number},0,9,512]"))), 2, "out of bounds"),
        (row(folder("a", "[512]")), 2, "from byte"),
        (row(folder("a", "[9,512]")), 2, "from byte"),
        (row(folder("a", "[0,0,0]")), 2, "from byte"),
        (row(folder("a", "[0,0,0,9,512,0,512]")), 2, "from byte"),
        (row(folder("a", "[0,0,0,9,512,0,512,1]")), 2, "from byte"),
        (row(folder("a", "[0,0,0,9,1024,0,512],[0,0,0,9,1024,512,512]")), 2, "from byte"),
        (row(folder("a", "[0,0,0,9,512],[0,0,9,9,512]")), 2, "from byte"),
        (row(folder("a", "[0,0,0,9,512],[1]")), 2, "reaches beyond"),
        (a_and(folder("a", AT)), 3, "does not come after"),
        (a_and(folder("A", AT)), 3, "does not come after"),
        (text(&[&full, &folder("a!", AT), &folder("a/b", AT)]), 3, "does not come after"),
        (text(&[&full, &file("a", "0", AT), &folder("a/b", AT)]), 3, "no folder"),
        (text(&[&full, &file("a", "1", AT), &folder("b", AT)]), 2, "512 bytes, which cannot"),
        (text(&[&full, &file("a", "1", AT), "{"]), 3, "from byte 1 on"),
        (a_and(line("a", r#""part":1,"at":[]"#)), 3, "out of order"),
        (text(&[&full, &line("a", r#""part":1,"at":[]"#)]), 2, "out of order"),
        (text(&[&full, &file("a", "0", &all), &line("a", r#""part":1,"at":[]"#)]), 3, "0 places"),
        (text(&[&full, &file("a", "0", &all), &line("a", r#""part":2,"at":[[0,0,0,9,512]]"#)]), 3, "out of order"),
        (text(&[&full, &file("a", "0", &all), &line("b", r#""part":1,"at":[[0,0,0,9,512]]"#)]), 3, "out of order"),
        (text(&[&full, &folder("a", "[0,0,0,9,511]"), &tail(1, 0, 0, 1535)]), 2, "511 bytes, which cannot"),
        (text(&[&full, &folder("a", AT), &tail(2, 0, 0, 1536)]), 3, "counts"),
        (text(&[&full, &folder("a", AT), &tail(1, 1, 0, 1536)]), 3, "counts"),
        (text(&[&full, &folder("a", AT), &tail(1, 0, 1, 1536)]), 3, "counts"),
        (text(&[&full, &folder("a", AT), &tail(1, 0, 0, 1537)]), 3, "counts"),
        (text(&[&full, &folder("a", AT), &tail(1, 0, 0, 1536).replace("\"all\":1", "\"all\":2")]), 3, "counts"),
        (text(&[&full, &tail(0, 0, 0, 1024).replace("[0,0,9,9,1024]", "null")]), 2, "end cannot be"),
        (text(&[&full, &tail(0, 0, 0, 1025).replace("1024]", "1025]")]), 2, "end cannot be"),
        (text(&[&full, &tail(0, 0, 0, 1024).replace("1024]", "2048,0,1024]")]), 2, "end cannot be"),
        (text(&[&full, &tail(0, 0, 0, 1024), ""]), 3, "goes on"),
        (text(&[&full, &tail(0, 0, 0, 1024)]) + " ", 3, "goes on"),
        (text(&[&delta, &a(r#""kind":"gone","at":[]"#)]), 2, "from byte"),
        (text(&[&delta, &a(r#""kind":"gone""#), &a(r#""kind":"gone""#)]), 3, "does not come after"),
        (text(&[&delta, &file("a", "0", AT), &line("a/b", r#""kind":"gone""#), &folder("a/c", AT)]), 4, "no folder"),
        (text(&[&delta, &folder("a", AT), &tail(1, 0, 0, 1535)]), 3, "counts"),
        (text(&[&delta, &folder("a", AT), &tail(1, 0, 0, (1 << 53) + 1)]), 3, "out of bounds"),
        (stream(&[&folder("a", AT)]), 2, "one row"),
        (stream(&[r#"{"path":"dc","kind":"stream","size":0,"at":[]}"#]), 2, "one row"),
        (stream(&[r#"{"path":"db","kind":"stream","size":0,"links":true,"at":[]}"#]), 2, "mark as a leader"),
        (stream(&[r#"{"path":"db","kind":"stream","size":5,"at":[]}"#]), 2, "0 places"),
        (stream(&[r#"{"path":"db","kind":"stream","size":5,"at":[[0,0,0,1,4]]}"#, "x"]), 3, "from byte 1 on"),
        (stream(&[r#"{"path":"db","kind":"stream","size":5,"at":[[0,0,0,1,4]]}"#, &tail(1, 0, 0, 4)]), 2, "4 bytes"),
        (stream(&[&tail(0, 0, 0, 0)]), 2, "end cannot be"),
        (stream(&[&tail(0, 0, 0, 0).replace("[0,0,9,9,1024]", "null")]), 2, "one row"),
    ];
    for (text, line, problem) in cases {
        let shown: String = text.chars().take(500).collect();
        match read_and_write(text.as_bytes()) {
            Err(error) => {
                assert_eq!(error.line, line, "{shown}: {error}");
                assert!(error.to_string().contains(problem), "{shown}: {error}");
            }
            Ok(_) => panic!("{shown} is accepted"),
        }
    }
    let invalid = [text(&[&full]).as_bytes(), b"{\"path\":\"\xff\"}\n"].concat();
    assert!(
        read_and_write(&invalid)
            .unwrap_err()
            .to_string()
            .ends_with("line 2: it is not as an index has it, from byte 10 on")
    );
}

/// What a reader accepts beside the sample.
#[test]
fn bounds_are_within() {
    let all = ["[0,0,0,9,512]", &",[0,0,0,9,512]".repeat(4095)].concat();
    let bytes = 4097 * 512;
    for good in [
        text(&[&full(), &tail(0, 0, 0, 1024)]),
        text(&[&delta(), &tail(0, 0, 0, 1024)]),
        text(&[&full(), &folder("a", "[0,4294967295,536870911,1,33554432]"), &tail(1, 0, 0, (32 << 20) + 1024)]),
        text(&[
            &full(),
            &file("a", "0", &all),
            &line("a", r#""part":1,"at":[[0,0,0,9,512]]"#),
            &tail(1, 1, 0, bytes + 1024),
        ]),
        text(&[&full(), &folder(&"a".repeat(65536), AT), &tail(1, 0, 0, 1536)]),
        text(&[&full(), &folder(&"\\u0001".repeat(65536), AT), &tail(1, 0, 0, 1536)]),
        text(&[&full(), &file("a", "9223372036854775807,\"sparse\":0", AT), &tail(1, 0, 0, 1536)]),
        text(&[&delta(), &folder("a", AT), &line("b", r#""kind":"gone""#), &tail(1, 0, 1, 99999)]),
        text(&[
            &delta(),
            &file("a", "0", AT),
            &line("a/b", r#""kind":"gone""#),
            &folder("b", AT),
            &tail(2, 0, 1, 99999),
        ]),
    ] {
        assert_eq!(read_and_write(good.as_bytes()).unwrap(), good.as_bytes());
    }
    let stream = full().replace("\"stream\":null", "\"stream\":\"db\"");
    let end = tail(1, 0, 0, 0).replace("[0,0,9,9,1024]", "null");
    let empty = text(&[&stream, r#"{"path":"db","kind":"stream","size":0,"at":[]}"#, &end]);
    assert_eq!(read_and_write(empty.as_bytes()).unwrap(), empty.as_bytes());
    let unchanged =
        text(&[&stream.replace("\"base\":null", &format!("\"base\":\"{BASE}\"")), &end.replace(":1,", ":0,")]);
    assert_eq!(read_and_write(unchanged.as_bytes()).unwrap(), unchanged.as_bytes());
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let mut writer = Writer::new(Vec::new(), head(OWN, None, &[OWN])).unwrap();
    let row =
        |path: &[u8], backup| Row::Entry(entry(path, Kind::Folder, vec![place(backup, 0, (0, 9, 512), (0, 512))]));
    writer.row(&row(b"b", OWN)).unwrap();
    let error = writer.row(&row(b"a", OWN)).unwrap_err();
    assert_eq!(error.to_string(), "no row of an index: the path does not come after that of the row before");
    let error = writer.row(&row(b"c", OLD)).unwrap_err().to_string();
    assert!(error.contains("does not refer to"), "{error}");
    let writer = Writer::new(Vec::new(), head(OWN, Some(BASE), &[OWN])).unwrap();
    let end = place(OWN, 0, (0, 9, 1024), (0, 1024));
    assert!(writer.end(Some(end), None).is_err(), "a delta does not know what it amounts to");
    assert!(Writer::new(Vec::new(), head(OWN, Some(OWN), &[])).is_err());
}

/// Reads a chain to its end.
fn merged(chain: &[Vec<u8>]) -> Result<(Vec<Row>, Totals), Error> {
    let readers = chain.iter().map(|index| Reader::new(index.as_slice())).collect::<Result<_, _>>()?;
    let mut merge = Merge::new(readers)?;
    let mut rows = Vec::new();
    while let Some(row) = merge.next_row()? {
        assert!(merge.end().is_none());
        rows.push(row);
    }
    assert!(merge.next_row()?.is_none());
    Ok((rows, merge.end().unwrap().0))
}

/// Reads what became of each path of a chain: what each of its backups held, without places but with their hashes.
fn histories(chain: &[Vec<u8>]) -> Result<Vec<Vec<(Entry, u64)>>, Error> {
    let readers = chain.iter().map(|index| Reader::new(index.as_slice())).collect::<Result<_, _>>()?;
    let mut history = History::new(readers)?;
    let mut held = vec![Vec::new(); chain.len()];
    while let Some(past) = history.next_path()? {
        for (level, held) in held.iter_mut().enumerate() {
            held.extend(past.at(level).map(|version| (version.entry.clone(), version.places)));
        }
    }
    Ok(held)
}

#[test]
fn a_chain_that_is_none_is_an_error_at_its_line() {
    let index = |backup: u32, base: u32, lines: &[&str], totals: (u64, u64)| {
        let name = |number: u32| format!("\"20261123T074500Z-{number:08x}\"");
        let base = if base == 0 { "null".to_owned() } else { name(base) };
        let first = first(&base, &name(1)).replace(&format!("\"{OWN}\""), &name(backup));
        let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count() as u64;
        let (entries, bytes) = totals;
        let tail = tail(count("folder") + count("file"), 0, count("gone"), bytes);
        let all = tail.split("\"all\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
        let tail = tail.replace(&format!("\"all\":{all},"), &format!("\"all\":{entries},"));
        text(&[&[first.as_str()], lines, &[tail.as_str()]].concat()).into_bytes()
    };
    let gone = |path: &str| line(path, r#""kind":"gone""#);
    let base = index(1, 0, &[&folder("a", AT), &folder("b", AT)], (2, 2048));
    let same = |backup, base| index(backup, base, &[], (2, 2048));
    assert_eq!(merged(std::slice::from_ref(&base)).unwrap().1, Totals { entries: 2, bytes: 2048 });
    let chain: Vec<_> = (2..=16).map(|backup| same(backup, backup - 1)).collect();
    let chain = [vec![base.clone()], chain].concat();
    assert_eq!(merged(&chain).unwrap().0.len(), 2);
    let too_long = [chain, vec![same(17, 16)]].concat();
    let other_set = String::from_utf8(same(2, 1)).unwrap().replace("\"set\":\"s\"", "\"set\":\"t\"").into_bytes();
    let other_shape = r#""stream":"db""#;
    let other_shape = String::from_utf8(same(2, 1)).unwrap().replace("\"stream\":null", other_shape).into_bytes();
    let cases: Vec<(Vec<Vec<u8>>, u64, &str)> = vec![
        (vec![], 1, "a chain of 0 indexes"),
        (too_long, 1, "a chain of 17 indexes"),
        (vec![same(2, 1)], 1, "does not build on"),
        (vec![base.clone(), same(3, 2)], 1, "does not build on"),
        (vec![base.clone(), same(3, 2), same(2, 1)], 1, "does not build on"),
        (vec![base.clone(), base.clone()], 1, "does not build on"),
        (vec![base.clone(), other_set], 1, "does not build on"),
        (vec![base.clone(), other_shape], 1, "does not build on"),
        (vec![base.clone(), index(2, 1, &[&gone("0")], (2, 2048))], 2, "was not there"),
        (vec![base.clone(), index(2, 1, &[&gone("a"), &gone("c")], (2, 2048))], 3, "was not there"),
        (
            vec![base.clone(), index(2, 1, &[&gone("a")], (1, 1536)), index(3, 2, &[&gone("a")], (0, 1024))],
            2,
            "was not there",
        ),
        (vec![base.clone(), index(2, 1, &[&gone("a")], (2, 2048))], 3, "counts"),
        (vec![base.clone(), index(2, 1, &[&folder("a", AT)], (2, 2049))], 3, "counts"),
        (vec![base.clone(), index(2, 1, &[&folder("c", AT)], (2, 2560))], 3, "counts"),
        (vec![base.clone(), index(2, 1, &[&file("a", "0", AT), &folder("b/c", AT)], (3, 2560))], 0, ""),
        (
            vec![
                base.clone(),
                index(2, 1, &[&folder("a/x", AT)], (3, 2560)),
                index(3, 2, &[&file("a", "0", AT)], (3, 2560)),
            ],
            2,
            "no folder",
        ),
    ];
    for (number, (chain, line, problem)) in cases.into_iter().enumerate() {
        match histories(&chain) {
            Err(error) => assert!(line > 0 && error.to_string().contains(problem), "case {number}: {error}"),
            Ok(_) => assert_eq!(line, 0, "case {number}"),
        }
        match merged(&chain) {
            Err(error) => {
                assert_eq!(error.line, line, "case {number}: {error}");
                assert!(error.to_string().contains(problem), "case {number}: {error}");
            }
            Ok(_) => assert_eq!(line, 0, "case {number}"),
        }
    }
}

/// A generator of numbers, always the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }

    fn path(&mut self) -> Vec<u8> {
        let components: [&[u8]; 9] = [b"a", b"b", b"a!", b"\x01", b"\xff\xc3", "ä".as_bytes(), b"%", b"\"\\", b"a b"];
        let count = 1 + self.below(3);
        (0..count).map(|_| self.of(&components)).collect::<Vec<_>>().join(&b'/')
    }

    fn places(&mut self, runs: &[BackupId], least: u64) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        let more = if self.below(200) == 0 { 8000 } else { self.below(4) };
        for _ in 0..=more {
            let slice = SliceName { backup: self.of(runs), number: u32::try_from(self.below(2)).unwrap() };
            let any =
                Place::whole(slice, Span { offset: self.below(5), length: 1 + self.below(4) }, 512 << self.below(4));
            let place = match (self.below(4), places.last()) {
                (0, Some(last)) => {
                    let frame = Span { offset: last.frame.offset + last.frame.length, ..any.frame };
                    Place { slice: last.slice, frame, ..any }
                }
                (1, Some(last)) if last.piece.skip + last.piece.take < last.raw => {
                    Place { piece: Take { skip: last.piece.skip + last.piece.take, take: 512 }, ..*last }
                }
                (2, _) => any,
                _ => Place { piece: Take { skip: 512 * self.below(any.raw / 512), take: 512 }, ..any },
            };
            places.push(place);
        }
        let bytes: u64 = places.iter().map(|place| place.piece.take).sum();
        let slice = SliceName { backup: runs[0], number: 7 };
        if bytes < least {
            places.push(Place::whole(slice, Span { offset: 0, length: 1 }, least));
        }
        places
    }

    fn entry(&mut self, path: Vec<u8>, folder: bool, runs: &[BackupId]) -> Entry {
        let number = u32::try_from(self.below(9)).unwrap();
        let kind = match self.below(7) {
            _ if folder => Kind::Folder,
            0 => Kind::Symlink { target: self.path() },
            1 => Kind::Fifo,
            2 => Kind::CharacterDevice { major: number, minor: u32::MAX },
            3 => Kind::BlockDevice { major: number, minor: 0 },
            4 => Kind::File { size: 1 << 40, sparse: Some(self.below(2000)) },
            _ => Kind::File { size: self.below(3000), sparse: None },
        };
        let mtime = Time { seconds: self.of(&[0, -1, 7, i64::MAX, i64::MIN]), nanoseconds: number };
        let inode = Inode { mode: number * 500, uid: self.of(&[0, u32::MAX]), gid: number, mtime };
        let links = !folder && self.below(3) == 0;
        let torn = matches!(kind, Kind::File { .. }) && self.below(5) == 0;
        let mut places = self.places(runs, 8192);
        let bytes: u64 = places.iter().map(|place| place.piece.take).sum();
        if !bytes.is_multiple_of(512) {
            places.pop();
        }
        Entry { path, kind, inode, links, torn, places }
    }
}

/// A tree by its paths' components, whose order is that of an index; entries with all their places.
type Tree = BTreeMap<Vec<Vec<u8>>, Entry>;

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

/// Changes a tree: what lies in something makes that a folder, what replaces a folder empties it.
fn change(tree: &mut Tree, random: &mut Random, runs: &[BackupId]) {
    for _ in 0..=random.below(8) {
        let path = random.path();
        let key = components(&path);
        let folder = random.below(3) == 0;
        let remove = random.below(3) == 0;
        if remove || !folder {
            tree.retain(|other, _| !other.starts_with(&key));
        }
        if remove {
            continue;
        }
        tree.retain(|other, entry| !(key.starts_with(other) && key != *other) || entry.kind == Kind::Folder);
        tree.insert(key, random.entry(path, folder, runs));
    }
    if random.below(4) == 0 {
        tree.insert(components(b""), random.entry(Vec::new(), true, runs));
    }
}

fn rows(entry: &Entry) -> Vec<Row> {
    let mut chunks = entry.places.chunks(limits::PLACES);
    let mut first = entry.clone();
    first.places = chunks.next().unwrap_or_default().to_vec();
    let parts = chunks
        .zip(1..)
        .map(|(places, number)| Row::Part(Part { path: entry.path.clone(), number, places: places.to_vec() }));
    std::iter::once(Row::Entry(first)).chain(parts).collect()
}

fn totals(tree: &Tree) -> Totals {
    let bytes: u64 = tree.values().flat_map(|entry| &entry.places).map(|place| place.piece.take).sum();
    Totals { entries: tree.len() as u64, bytes: bytes + 1024 }
}

#[test]
fn chains_of_random_changes_are_the_newest_tree() {
    let mut with_parts = 0;
    for seed in 0..300 {
        let mut random = Random(seed);
        let (mut tree, mut chain, mut runs, mut base) = (Tree::new(), Vec::new(), Vec::new(), None);
        let mut trees = Vec::new();
        for number in 0..1 + u8::try_from(random.below(16)).unwrap() {
            let before = tree.clone();
            let backup = BackupId::new(id(OWN).start(), [0, 0, number, 0]);
            runs.push(backup);
            change(&mut tree, &mut random, &runs);
            let head = Head { base, runs: runs.clone(), ..head(&backup.to_string(), None, &[]) };
            let mut writer = Writer::new(Vec::new(), head).unwrap();
            let mut paths: Vec<_> = before.keys().chain(tree.keys()).collect();
            paths.sort();
            paths.dedup();
            for path in paths {
                match (before.get(path), tree.get(path)) {
                    (Some(old), Some(new)) if old == new => {}
                    (_, Some(new)) => rows(new).iter().for_each(|row| writer.row(row).unwrap()),
                    (_, None) => writer.row(&Row::Gone(path.join(&b'/'))).unwrap(),
                }
            }
            let end = place(&backup.to_string(), 0, (0, 9, 1024), (0, 1024));
            chain.push(writer.end(Some(end), base.map(|_| totals(&tree))).unwrap());
            trees.push(tree.clone());
            base = Some(backup);
        }
        for index in &chain {
            assert_eq!(&read_and_write(index).unwrap(), index, "seed {seed}");
        }
        let expected: Vec<_> = tree.values().flat_map(rows).collect();
        with_parts += expected.iter().filter(|row| matches!(row, Row::Part(_))).count();
        assert_eq!(merged(&chain).unwrap(), (expected, totals(&tree)), "seed {seed}");
        let mut hashes = BTreeMap::new();
        for (held, tree) in histories(&chain).unwrap().into_iter().zip(&trees) {
            assert_eq!(held.len(), tree.len(), "seed {seed}");
            for ((entry, hash), expected) in held.into_iter().zip(tree.values()) {
                assert_eq!(entry, Entry { places: Vec::new(), ..expected.clone() }, "seed {seed}");
                let places = format!("{:?}", expected.places);
                assert_eq!(*hashes.entry(hash).or_insert_with(|| places.clone()), places, "seed {seed}");
            }
        }
    }
    assert!(with_parts > 0, "no row was long");
}

/// `cargo test --release -p offsite --test index -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn measure() {
    let mut writer = Writer::new(Vec::new(), head(OWN, None, &[OWN])).unwrap();
    let start = std::time::Instant::now();
    let mut skip = 0;
    for number in 0..1_000_000_u32 {
        let path = format!("usr/share/linux-source-6.1/drivers/net/{:03}/file-{number:07}.c", number / 1000);
        let take = 1024 + u64::from(number % 16) * 512;
        skip = if skip + take > 4 << 20 { 0 } else { skip };
        let frame = (u64::from(number / 1000), 1, 4 << 20);
        let kind = Kind::File { size: take - 1024, sparse: None };
        writer.row(&Row::Entry(entry(path.as_bytes(), kind, vec![place(OWN, 0, frame, (skip, take))]))).unwrap();
        skip += take;
    }
    let index = writer.end(Some(place(OWN, 1, (0, 9, 1024), (0, 1024))), None).unwrap();
    println!("written in {:?}, {} bytes", start.elapsed(), index.len());
    let start = std::time::Instant::now();
    let mut merge = Merge::new(vec![Reader::new(index.as_slice()).unwrap()]).unwrap();
    let mut count = 0;
    while merge.next_row().unwrap().is_some() {
        count += 1;
    }
    println!("{count} rows merged in {:?}", start.elapsed());
}
