//! Archives by hand, each wrong in one way, and what real programs write.

use super::*;
use crate::paths;
use Fault::{
    Checksum, CutOff, Disagree, NotUstar, Padding, Record, RepeatedRecord, SparseMap, StrayPaxHeader, TooLong, TooMany,
    Type, UnknownRecord, Value,
};

const BLOCK: usize = limits::BLOCK;

/// A ustar header with a right checksum.
fn header(name: &[u8], kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    for (at, text) in [(100, "0000644"), (108, "0000000"), (116, "0000000"), (136, "00000000001")] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[329..336].copy_from_slice(b"0000000");
    block[337..344].copy_from_slice(b"0000000");
    with_checksum(block)
}

fn with_checksum(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(BLOCK), 0);
    content
}

fn record(keyword: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (1..9).find_map(|digits| Some(rest + digits).filter(|all| all.to_string().len() == digits)).unwrap();
    [length.to_string().as_bytes(), b" ", keyword, b"=", value, b"\n"].concat()
}

/// A member with these records.
fn with_records(records: &[u8], header: &[u8], content: &[u8]) -> Vec<u8> {
    let pax = self::header(b"PaxHeaders/x", b'x', records.len() as u64);
    [&pax[..], &padded(records), header, &padded(content)].concat()
}

fn with_record(keyword: &str, value: &[u8]) -> Vec<u8> {
    with_records(&record(keyword.as_bytes(), value), &header(b"f", b'0', 0), b"")
}

fn ended(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0; 2 * BLOCK]].concat()
}

#[track_caller]
fn fault(bytes: &[u8]) -> (u64, Fault) {
    match read(&ended(bytes)) {
        Err(Error::Damaged { offset, fault }) => (offset, fault),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn only(bytes: &[u8]) -> Member {
    let bytes = ended(bytes);
    let mut reader = Reader::new(&bytes[..], Ending::Zeros);
    let member = reader.next_member().unwrap().unwrap();
    assert_eq!(reader.next_member().unwrap(), None);
    assert_eq!(reader.next_member().unwrap(), None);
    member
}

#[test]
fn plain_members_are_read() {
    let bytes = [&header(b"d/", b'5', 0)[..], &header(b"d/f", b'0', 5), &padded(b"hello")].concat();
    let bytes = ended(&bytes);
    let mut reader = Reader::new(&bytes[..], Ending::Zeros);
    let folder = reader.next_member().unwrap().unwrap();
    assert_eq!((folder.path.as_slice(), folder.kind, folder.mode), (&b"d"[..], Kind::Directory, 0o644));
    let file = reader.next_member().unwrap().unwrap();
    assert_eq!((file.path.as_slice(), file.kind.content(), file.offset), (&b"d/f"[..], 5, 512));
    let mut content = String::new();
    reader.read_to_string(&mut content).unwrap();
    assert_eq!(content, "hello");
    assert_eq!(reader.next_member().unwrap(), None);
    assert_eq!(read(&bytes).unwrap(), 2);
}

#[test]
fn the_folder_that_all_lies_in_has_the_empty_path() {
    assert_eq!(only(&header(b"./", b'5', 0)).path, b"");
    let records = with_records(&record(b"path", b"./"), &header(b"x", b'5', 0), b"");
    assert_eq!(only(&records).path, b"");
    for (name, kind, path) in [("./", b'0', "./"), (".", b'5', "."), ("././", b'5', "./."), ("./a/", b'5', "./a")] {
        assert_eq!(only(&header(name.as_bytes(), kind, 0)).path, path.as_bytes());
    }
    assert_eq!(fault(&header(b"", b'5', 0)), (0, Fault::Field(Field::Path)));
}

#[test]
fn a_prefix_is_part_of_the_path() {
    let mut block = header(b"f", b'0', 0);
    block[345..348].copy_from_slice(b"a/b");
    assert_eq!(only(&with_checksum(block)).path, b"a/b/f");
}

#[test]
fn a_part_of_an_archive_ends_after_any_member() {
    let bytes = [&header(b"f", b'0', 5)[..], &padded(b"hello")].concat();
    let mut reader = Reader::new(&bytes[..], Ending::AnyMember);
    assert!(reader.next_member().unwrap().is_some());
    assert!(reader.next_member().unwrap().is_none());
    assert!(matches!(read(&bytes), Err(Error::Damaged { offset: 1024, fault: CutOff })));
}

#[test]
fn records_are_read() {
    let time = |value: &[u8]| only(&with_record("mtime", value)).mtime;
    let at = |seconds, nanoseconds| Time { seconds, nanoseconds };
    assert_eq!(time(b"12.25"), at(12, 250_000_000));
    assert_eq!(time(b"-1.5"), at(-2, 500_000_000));
    assert_eq!(time(b"-0.000000001"), at(-1, 999_999_999));
    assert_eq!(time(b"-7"), at(-7, 0));
    assert_eq!(time(b"99999999999.000000001"), at(99_999_999_999, 1));
    assert_eq!(only(&with_record("uid", b"0")).uid, 0);
    assert_eq!(only(&with_record("uid", b"4294967295")).uid, u32::MAX);
    assert_eq!(only(&with_record("path", b"\xff\n=")).path, b"\xff\n=");
    assert_eq!(only(&with_record("SCHILY.acl.access", b"user::rwx\n")).access_acl.unwrap(), b"user::rwx\n");
    let xattr = only(&with_record("SCHILY.xattr.user.a%3Db%25%zz", b"\0\n")).xattrs.remove(0);
    assert_eq!((xattr.name.as_slice(), xattr.value.as_slice()), (&b"user.a=b%%zz"[..], &b"\0\n"[..]));
    let target = record(b"linkpath", b"../x");
    let link = only(&with_records(&target, &header(b"l", b'2', 0), b""));
    assert_eq!(link.kind, Kind::Symlink { target: b"../x".to_vec() });
}

#[test]
fn a_number_with_junk_is_an_error() {
    let keywords = ["size", "uid", "gid", "mtime", "atime", "GNU.sparse.major", "GNU.sparse.realsize"];
    let values: [&[u8]; 8] = [b"", b" 1", b"1 ", b"+1", b"0x1", b"1e3", b"99999999999999999999", b"1.0000000001"];
    for keyword in keywords {
        for value in values {
            assert_eq!(fault(&with_record(keyword, value)), (512, Value(keyword.into())), "{keyword} {value:?}");
        }
    }
    for value in [&b"-"[..], b".5", b"1.", b"--1", b"9223372036854775808", b"1.5-"] {
        assert_eq!(fault(&with_record("mtime", value)), (512, Value(b"mtime".to_vec())));
    }
    for value in [&b"-1"[..], b"4294967296"] {
        assert_eq!(fault(&with_record("uid", value)), (512, Value(b"uid".to_vec())));
    }
    for (at, field) in
        [(100, Field::Mode), (108, Field::Uid), (116, Field::Gid), (124, Field::Size), (136, Field::Mtime)]
    {
        for junk in [b"8", b"-", b"\x80", b"\0", b" "] {
            let mut block = header(b"f", b'0', 0);
            block[at..=at].copy_from_slice(junk);
            assert_eq!(fault(&with_checksum(block)), (0, Fault::Field(field)));
        }
    }
    let mut block = header(b"f", b'0', 0);
    block[100..107].copy_from_slice(b"0100644");
    assert_eq!(fault(&with_checksum(block)), (0, Fault::Field(Field::Mode)));
}

#[test]
fn paths_with_junk_are_errors() {
    for keyword in ["path", "linkpath", "GNU.sparse.name"] {
        for value in [&b""[..], b"a\0b"] {
            assert_eq!(fault(&with_record(keyword, value)), (512, Value(keyword.into())));
        }
    }
    let long = vec![b'a'; paths::LONGEST + 1];
    for (keyword, kind, what) in [("path", b'0', "a path"), ("linkpath", b'1', "a link target")] {
        let member = with_records(&record(keyword.as_bytes(), &long), &header(b"f", kind, 0), b"");
        let too_long = TooLong { what, limit: paths::LONGEST };
        assert_eq!(fault(&member), (512 + padded(&long).len() as u64, too_long));
        let member = with_records(&record(keyword.as_bytes(), &long[1..]), &header(b"f", kind, 0), b"");
        assert_eq!(only(&member).offset, 0);
    }
    // A folder's slash is no part of its path.
    let folder = [&long[1..], b"/"].concat();
    let member = with_records(&record(b"path", &folder), &header(b"f", b'5', 0), b"");
    assert_eq!(only(&member).path.len(), paths::LONGEST);
    let mut block = header(b"f\0g", b'0', 0);
    assert_eq!(fault(&with_checksum(block.clone())), (0, Fault::Field(Field::Path)));
    block = header(b"l", b'2', 0);
    assert_eq!(fault(&block), (0, Fault::Field(Field::LinkTarget)));
}

#[test]
fn headers_that_are_not_written_here_are_errors() {
    for kind in [0, b'7', b'g', b'L', b'K', b'S', b'V', b'D', b'X', 0xff] {
        assert_eq!(fault(&header(b"f", kind, 0)), (0, Type(kind)));
        assert_eq!(fault(&[header(b"f", kind, 3), padded(b"abc")].concat()), (0, Type(kind)));
    }
    let mut block = header(b"f", b'0', 0);
    block[257..265].copy_from_slice(b"ustar  \0");
    assert_eq!(fault(&with_checksum(block)), (0, NotUstar));
    let mut block = header(b"f", b'0', 0);
    block[0] = b'g';
    assert_eq!(fault(&block), (0, Checksum));
    let pax = [header(b"x", b'x', 0), header(b"x", b'x', 0), header(b"f", b'0', 0)].concat();
    assert_eq!(fault(&pax), (512, StrayPaxHeader));
    assert_eq!(fault(&header(b"x", b'x', 0)), (512, Checksum));
}

#[test]
fn records_that_do_not_fit_are_errors() {
    let with = |records: &[u8]| with_records(records, &header(b"f", b'0', 0), b"");
    let wrong: [&[u8]; 11] = [
        b"x",
        b"5",
        b" 5 a=\n",
        b"99 uid=1\n",
        b"7 uid=1\n",
        b"10 uid=1\n",
        b"09 a=1\n",
        b"6 a=1",
        b"3 =",
        b"6 =12\n",
        b"0 a=1\n",
    ];
    for records in wrong {
        assert_eq!(fault(&with(records)), (512, Record), "{:?}", records.escape_ascii().to_string());
    }
    assert_eq!(fault(&with(b"18446744073709551617 a=1\n")), (512, Record));
    let second = [record(b"uid", b"0"), b"nonsense".to_vec()].concat();
    assert_eq!(fault(&with(&second)), (520, Record));
}

#[test]
fn a_record_stands_there_once() {
    let twice = |one: &[u8], other: &[u8]| {
        let records = [record(one, b"1"), record(other, b"1")].concat();
        fault(&with_records(&records, &header(b"f", b'0', 0), b"")).1
    };
    for keyword in [&b"mtime"[..], b"path", b"uname", b"SCHILY.xattr.user.a"] {
        assert_eq!(twice(keyword, keyword), RepeatedRecord(keyword.to_vec()));
    }
    assert!(matches!(twice(b"SCHILY.xattr.user.%25", b"SCHILY.xattr.user.%"), RepeatedRecord(_)));
}

#[test]
fn unknown_records_are_errors() {
    for keyword in ["GNU.sparse.map", "GNU.sparse.size", "LIBARCHIVE.creationtime", "Path", "SCHILY.dev"] {
        assert_eq!(fault(&with_record(keyword, b"1")), (512, UnknownRecord(keyword.into())));
    }
    assert_eq!(fault(&with_record("hdrcharset", b"UTF-8")), (512, Value(b"hdrcharset".to_vec())));
    assert_eq!(fault(&with_record("SCHILY.xattr.", b"1")), (512, Value(b"".to_vec())));
}

#[test]
fn every_length_has_a_limit() {
    let huge = header(b"x", b'x', limits::PAX_HEADER as u64 + 1);
    assert_eq!(fault(&huge), (512, TooLong { what: "a pax header", limit: limits::PAX_HEADER }));
    let name = format!("SCHILY.xattr.user.{}", "a".repeat(limits::XATTR_NAME));
    assert!(matches!(fault(&with_record(&name, b"")), (512, TooLong { .. })));
    assert!(matches!(
        fault(&with_record("SCHILY.xattr.user.a", &vec![0; limits::XATTR_VALUE + 1])),
        (512, TooLong { .. })
    ));
    assert!(matches!(fault(&with_record("SCHILY.acl.default", &vec![0; limits::ACL_TEXT + 1])), (512, TooLong { .. })));
    let many: Vec<u8> =
        (0..=limits::PAX_RECORDS).flat_map(|i| record(format!("SCHILY.xattr.u{i}").as_bytes(), b"")).collect();
    let many = with_records(&many, &header(b"f", b'0', 0), b"");
    assert!(matches!(fault(&many).1, TooMany { .. }));
}

#[test]
fn sizes_must_agree() {
    let sized = |record_size: &[u8], size| {
        let file = [header(b"f", b'0', size), padded(&[1; 7][..usize::try_from(size).unwrap()])].concat();
        with_records(&record(b"size", record_size), &file, b"")
    };
    assert_eq!(only(&sized(b"7", 7)).kind.content(), 7);
    for (record, own) in [(&b"6"[..], 7), (b"8", 7), (b"7", 0), (b"8589934592", 7), (b"0", 7)] {
        assert_eq!(fault(&sized(record, own)), (1024, Disagree(Field::Size)));
    }
    // Too large for the header, which then says nothing; the content is not there.
    assert!(matches!(read(&ended(&sized(b"8589934592", 0))), Err(Error::Source(_))));
    for kind in b'1'..=b'6' {
        let member = [header(b"f", kind, 3), padded(b"abc")].concat();
        assert_eq!(fault(&member), (0, Disagree(Field::Size)));
    }
    assert_eq!(fault(&with_record("uid", b"5")), (1024, Disagree(Field::Uid)));
}

fn sparse(map: &[u8], data: usize, size: &[u8]) -> Vec<u8> {
    let records = [
        record(b"GNU.sparse.major", b"1"),
        record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.name", b"true"),
        record(b"GNU.sparse.realsize", size),
    ];
    let content = [padded(map), vec![b'd'; data]].concat();
    with_records(&records.concat(), &header(b"GNUSparseFile.0/f", b'0', content.len() as u64), &content)
}

#[test]
fn sparse_files_are_read() {
    let member = only(&sparse(b"3\n0\n10\n4096\n512\n9999\n0\n", 522, b"9999"));
    assert_eq!(member.path, b"true");
    let extent = |offset, length| Extent { offset, length };
    let extents = vec![extent(0, 10), extent(4096, 512), extent(9999, 0)];
    assert_eq!(member.kind.content(), 522);
    assert_eq!(member.kind, Kind::File { size: 9999, extents: Some(extents) });
    assert_eq!(only(&sparse(b"0\n", 0, b"5")).kind, Kind::File { size: 5, extents: Some(vec![]) });
    // A map of several blocks.
    let map: String = (0..200).map(|i| format!("{}\n1\n", 1_000_000 + 2 * i)).collect();
    assert_eq!(only(&sparse(format!("200\n{map}").as_bytes(), 200, b"2000000")).kind.content(), 200);
}

#[test]
fn lies_in_a_sparse_map_are_errors() {
    let maps: [&[u8]; 12] = [
        b"",
        b"\n",
        b"x\n",
        b"1\n5\n",
        b"1\n0\n11\n",
        b"2\n4\n2\n5\n1\n",
        b"2\n4\n2\n0\n1\n",
        b"1\n 0\n1\n",
        b"1\n0\n-1\n",
        b"000000000000000000001\n",
        b"1\n9223372036854775807\n9223372036854775807\n",
        b"1\n18446744073709551615\n2\n",
    ];
    for map in maps {
        assert!(matches!(fault(&sparse(map, 0, b"10")).1, SparseMap | Padding), "{:?}", map.escape_ascii().to_string());
    }
    assert_eq!(fault(&sparse(b"0\nx", 0, b"10")).1, Padding);
    assert_eq!(fault(&sparse(b"1\n0\n5\n", 4, b"10")).1, Disagree(Field::Size));
    assert_eq!(fault(&sparse(b"1\n0\n5\n", 6, b"10")).1, Disagree(Field::Size));
    let too_many = format!("{}\n", limits::EXTENTS + 1);
    assert!(matches!(fault(&sparse(too_many.as_bytes(), 0, b"10")).1, TooMany { .. }));
    for missing in ["GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"] {
        assert_eq!(fault(&with_record(missing, b"1")).1, SparseMap);
    }
    let mut folder = sparse(b"", 0, b"10");
    let at = folder.len() - BLOCK;
    folder[at..].copy_from_slice(&header(b"d", b'5', 0));
    assert_eq!(fault(&folder).1, SparseMap);
}

#[test]
fn only_zeros_fill_blocks_and_follow_the_end() {
    let mut bytes = [&header(b"f", b'0', 5)[..], &padded(b"hello")].concat();
    bytes[1023] = 1;
    assert_eq!(fault(&bytes), (517, Padding));
    let mut bytes = ended(&header(b"f", b'0', 0));
    bytes.extend([0; 10_000]);
    assert_eq!(read(&bytes).unwrap(), 1);
    bytes.push(1);
    assert!(matches!(read(&bytes), Err(Error::Damaged { fault: Padding, .. })));
    bytes.pop();
    bytes.resize(bytes.len() + (2 << 20), 0);
    assert!(matches!(read(&bytes), Err(Error::Damaged { fault: Padding, .. })));
    let half = [header(b"f", b'0', 0), vec![0; BLOCK], header(b"f", b'0', 0)].concat();
    assert_eq!(fault(&half), (1024, Padding));
}

#[test]
fn it_is_cut_off_wherever_it_is_cut() {
    let bytes = [sparse(b"1\n0\n5\n", 5, b"10"), with_record("path", b"x"), ended(b"")].concat();
    assert_eq!(read(&bytes).unwrap(), 2);
    for length in 0..bytes.len() {
        let result = read(&bytes[..length]);
        match result {
            Err(Error::Damaged { offset, fault: CutOff }) => assert_eq!(offset, length as u64),
            // Within the content it comes through `Read`.
            Err(Error::Source(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            other => panic!("{length}: {other:?}"),
        }
    }
}
