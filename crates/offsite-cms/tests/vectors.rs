//! Every message of `testdata/vectors` comes to what its header says: in pieces from a stream, from
//! a file, and looked at without a key.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::catch_unwind;
use std::path::Path;

use offsite_cms::{Error, Input, inspect, limits};
use support::der::{element, octets, oid};
use support::{OddReader, Opened, ignore, names, private_key, read, sha_256, testdata};

/// Fewer would mean that some were lost.
const LEAST: usize = 540;

/// One file: `key: value` lines, a blank line, the message.
struct Vector {
    expect: String,
    key: String,
    payload_sha_256: String,
    /// A word of the error.
    contains: String,
    message: Vec<u8>,
    /// Where the message begins in the file.
    at: u64,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let file = read(path);
        let head = file.windows(2).position(|window| window == b"\n\n").expect("a blank line ends the header");
        let text = std::str::from_utf8(&file[..head]).expect("the header is text");
        let message = file[head + 2..].to_vec();
        let at = head as u64 + 2;
        let (expect, key, payload_sha_256, contains) = Default::default();
        let mut vector = Self { expect, key, payload_sha_256, contains, message, at };
        for line in text.lines() {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no `key: value`: {line}"));
            match name {
                "expect" => value.clone_into(&mut vector.expect),
                "key" => value.clone_into(&mut vector.key),
                "payload-sha256" => value.clone_into(&mut vector.payload_sha_256),
                "message-contains" => value.clone_into(&mut vector.contains),
                "comment" => {}
                unknown => panic!("the header has an unknown line: {unknown}"),
            }
        }
        let known = vector.expect == "ok" || names::ALL.contains(&&*vector.expect);
        assert!(known, "no error is called {:?}", vector.expect);
        assert!(!vector.key.is_empty(), "the header names no key");
        assert_eq!(vector.payload_sha_256.len(), 64, "the header has a hash of what may be released");
        vector
    }

    /// What differs from the header.
    fn differences(&self, opened: &Opened) -> Vec<String> {
        let mut differences = Vec::new();
        let mut expect = |what: &str, expected: &str, found: &str| {
            if expected != found {
                differences.push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        match &opened.result {
            Ok(_) => expect("the end", &self.expect, "ok"),
            Err(error) => {
                expect("the end", &self.expect, names::of(error));
                let text = error.to_string();
                if !text.contains(&self.contains) {
                    expect("the text", &self.contains, &text);
                }
            }
        }
        expect("what is released", &self.payload_sha_256, &sha_256(&opened.released));
        differences
    }

    fn check(&self, path: &Path) -> Vec<String> {
        let key = private_key(&self.key);
        // The message lies behind the header, as a file's current position may.
        let file = || {
            let mut file = File::open(path).expect("the vector is there");
            file.seek(SeekFrom::Start(self.at)).expect("the vector is a file");
            Input::from_file(file).expect("the vector is a file")
        };
        let whole = || Input::Stream(Box::new(io::Cursor::new(self.message.clone())));
        let by_bytes = || OddReader::input(&self.message, &[1]);
        let in_pieces = || OddReader::input(&self.message, &[1, 7, 4096, 65_537]);
        let inputs: [(&str, &dyn Fn() -> Input); 4] =
            [("a file", &file), ("a stream", &whole), ("bytes", &by_bytes), ("odd pieces", &in_pieces)];
        let mut differences = Vec::new();
        for (name, input) in inputs {
            let found = self.differences(&support::open(input(), &key));
            differences.extend(found.into_iter().map(|difference| format!("from {name}: {difference}")));
        }
        let seen = [file(), in_pieces()].map(|input| inspect(input, &ignore).map_err(|error| error.to_string()));
        if seen[0] != seen[1] {
            differences.push(format!("inspected from a file {:?}, from odd pieces {:?}", seen[0], seen[1]));
        }
        if let (true, Err(error)) = (self.expect == "ok", &seen[0]) {
            differences.push(format!("it opens, but cannot be inspected: {error}"));
        }
        differences
    }
}

fn vectors() -> Vec<(String, Vector)> {
    let folder = testdata("vectors");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() >= LEAST, "only {} vectors", paths.len());
    paths.iter().map(|path| (path.file_name().expect("a name").display().to_string(), Vector::read(path))).collect()
}

#[test]
fn every_vector_comes_to_what_it_says() {
    let mut failures = Vec::new();
    for (name, vector) in vectors() {
        let path = testdata("vectors").join(&name);
        let found = catch_unwind(|| vector.check(&path)).unwrap_or_else(|_| vec!["it panics".to_owned()]);
        failures.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_error_that_a_message_can_cause_has_a_vector() {
    let expected: BTreeSet<String> = vectors().into_iter().map(|(_, vector)| vector.expect).collect();
    let missing: Vec<_> = names::ALL.into_iter().filter(|name| !expected.contains(*name)).collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

/// A message up to its RecipientInfos, and an OtherRecipientInfo over and over.
struct EndlessHeader {
    start: Vec<u8>,
    again: Vec<u8>,
    at: usize,
}

impl EndlessHeader {
    fn new() -> Self {
        let auth_enveloped_data = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23]).encode();
        let start = [&[0x30, 0x80], &auth_enveloped_data[..], &[0xa0, 0x80, 0x30, 0x80, 2, 1, 0, 0x31, 0x80]].concat();
        Self { start, again: element(0xa4, &octets(&[7; 1000]).encode()), at: 0 }
    }
}

impl Read for EndlessHeader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = match self.at.checked_sub(self.start.len()) {
            None => &self.start[self.at..],
            Some(at) => &self.again[at % self.again.len()..],
        };
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

/// Too large, and without an end, to lie in a file.
#[test]
fn a_header_ends_at_1_mib() {
    let opened = support::open(Input::Stream(Box::new(EndlessHeader::new())), &private_key("p256.pem"));
    match opened.result {
        Err(Error::TooLarge { what, limit }) => {
            assert_eq!(what, "RecipientInfos");
            assert!(limit <= limits::HEADER as u64, "{limit}");
        }
        other => panic!("{other:?}"),
    }
    assert!(opened.released.is_empty());
    inspect(Input::Stream(Box::new(EndlessHeader::new())), &ignore).expect_err("without an end");
}

/// One element, and one length, beyond the limit.
#[test]
fn an_element_of_the_header_ends_at_1_mib() {
    let huge = element(0xa4, &octets(&vec![7; limits::HEADER]).encode());
    let message = [&EndlessHeader::new().start[..], &huge].concat();
    let opened = support::open_stream(&message, &private_key("p256.pem"));
    assert!(matches!(opened.result, Err(Error::TooLarge { .. })), "{:?}", opened.result);
}
