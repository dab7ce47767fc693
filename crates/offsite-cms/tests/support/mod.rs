//! What the tests and the generator of the vectors share.

#![allow(dead_code, reason = "each program uses its own part of this")]

pub(crate) mod der;
pub(crate) mod names;

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use offsite_cms::{Certificate, Input, KeyFile, Message, PrivateKey, Result, Totals};

/// So many slices are worked on at once.
pub(crate) const THREADS: NonZero<usize> = NonZero::new(2).expect("2 is not 0");

/// The folder `testdata` of the repository, or what lies in it.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file of `testdata/keys`: private key and certificate.
pub(crate) fn key_path(name: &str) -> PathBuf {
    testdata("keys").join(name)
}

pub(crate) fn private_key(name: &str) -> PrivateKey {
    KeyFile::read(&read(&key_path(name))).and_then(|file| file.unlock(None)).expect("a private key")
}

pub(crate) fn certificate(name: &str) -> Certificate {
    Certificate::from_file(&read(&key_path(name))).expect("a certificate")
}

/// `length` bytes without a pattern, the same each time.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha_256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// The message of a vector.
pub(crate) fn vector_message(name: &str) -> Vec<u8> {
    let file = read(&testdata("vectors").join(name));
    let head = file.windows(2).position(|window| window == b"\n\n").expect("a blank line ends the header");
    file[head + 2..].to_vec()
}

/// Where nobody watches.
pub(crate) fn ignore(_: u64) {}

/// Reads `bytes` in pieces of the sizes given, over and over, and is interrupted now and then.
pub(crate) struct OddReader {
    bytes: io::Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    calls: usize,
}

impl OddReader {
    pub(crate) fn new(bytes: &[u8], sizes: &[usize]) -> Self {
        Self { bytes: io::Cursor::new(bytes.to_vec()), sizes: sizes.to_vec(), calls: 0 }
    }

    pub(crate) fn input(bytes: &[u8], sizes: &[usize]) -> Input {
        Input::Stream(Box::new(Self::new(bytes, sizes)))
    }
}

impl Read for OddReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(5) {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = out.len().min(self.sizes[self.calls % self.sizes.len()]);
        self.bytes.read(&mut out[..count])
    }
}

/// What came of a decryption: how it ended, and what was released until then.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) result: Result<Totals>,
    pub(crate) released: Vec<u8>,
}

impl Opened {
    /// Panics unless all went well and exactly `expected` was released.
    #[track_caller]
    pub(crate) fn is(self, expected: &[u8]) {
        match self.result {
            Ok(totals) => assert_eq!(totals.plaintext, self.released.len() as u64, "the totals"),
            Err(error) => panic!("{error:?}"),
        }
        assert_same(&self.released, expected);
    }
}

/// Decrypts what is small enough to need no spool file.
pub(crate) fn open(input: Input, key: &PrivateKey) -> Opened {
    let mut released = Vec::new();
    let spool = || Err(io::Error::other("a spool file is asked for"));
    let result = Message::open(input, key).and_then(|message| message.decrypt(&mut released, &spool, THREADS, &ignore));
    Opened { result, released }
}

/// Decrypts from a stream in odd pieces.
pub(crate) fn open_stream(message: &[u8], key: &PrivateKey) -> Opened {
    open(OddReader::input(message, &[1, 7, 4096, 65_537]), key)
}

/// Decrypts from a file.
pub(crate) fn open_file(message: &[u8], key: &PrivateKey) -> Opened {
    open(Input::File(temporary_file(message)), key)
}

/// A file without a name that holds `bytes`, at its start.
pub(crate) fn temporary_file(bytes: &[u8]) -> fs::File {
    use io::{Seek, Write};
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("the temporary file is written");
    file
}

/// Panics, without printing them all, unless the bytes are equal.
#[track_caller]
pub(crate) fn assert_same(actual: &[u8], expected: &[u8]) {
    if actual != expected {
        let at = actual.iter().zip(expected).take_while(|(a, b)| a == b).count();
        panic!("{} bytes that differ at {at} from the {} expected", actual.len(), expected.len());
    }
}

/// The OpenSSL programs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenSsl {
    /// The one that this machine came with.
    Stock,
    /// The newest release, built by `scripts/setup-peers`.
    Next,
}

impl OpenSsl {
    pub(crate) const ALL: [Self; 2] = [Self::Stock, Self::Next];

    /// This OpenSSL with the words of `line` as its first arguments.
    pub(crate) fn command(self, line: &str) -> Command {
        let mut command = match self {
            Self::Stock => Command::new("openssl"),
            Self::Next => {
                let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/openssl-next");
                let program = home.join("openssl");
                assert!(program.exists(), "{} is missing: run scripts/setup-peers", program.display());
                let mut command = Command::new(program);
                command.env("OPENSSL_CONF", home.join("openssl.cnf"));
                command
            }
        };
        command.args(line.split_whitespace());
        command
    }
}

/// Runs a command to its end; panics with all that it said unless it ended well.
#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/setup-peers"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
}
