//! What the targets share: test keys, inputs of both kinds, and changes to bytes.

use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;

use offsite_cms::{Input, KeyFile, PrivateKey};
use rustix::fs::{MemfdFlags, memfd_create};

/// Key and certificate in one file, for tests only: the whole world knows them.
pub const RSA_PEM: &[u8] = include_bytes!("../keys/test-only-rsa2048.pem");
/// The same on P-256.
pub const P256_PEM: &[u8] = include_bytes!("../keys/test-only-p256.pem");

/// The keys that messages in the corpora are encrypted to.
pub static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| [RSA_PEM, P256_PEM].map(unlock));

fn unlock(pem: &[u8]) -> PrivateKey {
    KeyFile::read(pem).and_then(|file| file.unlock(None)).expect("the test keys are valid")
}

/// A file in memory that holds `bytes`, at its start.
pub fn file(bytes: &[u8]) -> File {
    let file = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("the kernel has memfd");
    let mut file = File::from(file);
    file.write_all(bytes).expect("memory can be written");
    std::io::Seek::rewind(&mut file).expect("memory has a start");
    file
}

/// `bytes` as a regular file.
pub fn as_file(bytes: &[u8]) -> Input {
    Input::File(file(bytes))
}

/// `bytes` as a pipe gives them.
pub fn as_stream(bytes: &[u8]) -> Input {
    Input::Stream(Box::new(Cursor::new(bytes.to_vec())))
}

/// `bytes` as a slow pipe gives them: at most `step` at a time.
pub fn as_drops(bytes: &[u8], step: usize) -> Input {
    struct Drops(Cursor<Vec<u8>>, usize);
    impl Read for Drops {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let count = out.len().min(self.1);
            self.0.read(&mut out[..count])
        }
    }
    Input::Stream(Box::new(Drops(Cursor::new(bytes.to_vec()), step)))
}

/// Waits, when it goes, until no more threads run than when it was made. A scope of threads ends with
/// their work, before they are quite gone, and what a thread still holds looks like a leak.
pub struct NoThreadLeft(usize);

impl NoThreadLeft {
    /// Counts the threads that run now.
    pub fn since_now() -> Self {
        Self(threads())
    }
}

impl Drop for NoThreadLeft {
    fn drop(&mut self) {
        while threads() > self.0 {
            std::thread::yield_now();
        }
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux lists threads").count()
}

/// Whether `bytes` are taken for text: PEM or S/MIME. Damage in armour shows where the text is read,
/// ahead of what lies in it, so how the text drips in decides which of several errors comes first.
pub fn is_text(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}

/// Bytes that a change takes: what is done, two places, a value.
const CHANGE: usize = 6;

/// Changes `bytes` as `changes` says, six bytes a change. `unit` is the length of what is swapped,
/// repeated and left out whole; `other` is as long a row of such units, to take some from.
pub fn change(bytes: &mut Vec<u8>, unit: usize, other: &[u8], changes: &[u8]) {
    // Nothing is learnt from ever more changes, or from ever longer bytes.
    const MOST_CHANGES: usize = 32;
    let longest = 2 * bytes.len();
    for change in changes.chunks_exact(CHANGE).take(MOST_CHANGES) {
        let [what, a0, a1, b0, b1, value] = *change else { unreachable!("chunks are exact") };
        let a = usize::from(u16::from_be_bytes([a0, a1]));
        let b = usize::from(u16::from_be_bytes([b0, b1]));
        let length = bytes.len();
        let (at, to) = (a % (length + 1), b % (length + 1));
        let (from, to) = (at.min(to), at.max(to));
        let units = length / unit;
        let whole = |number: usize| {
            let number = number % units.max(1);
            (number * unit).min(length)..((number + 1) * unit).min(length)
        };
        match what % 14 {
            // Single bytes.
            0 if at < length => bytes[at] ^= value,
            1 if at < length => bytes[at] = value,
            2 => bytes.insert(at, value),
            // Any ranges.
            3 => drop(bytes.drain(from..to)),
            4 => {
                let range = bytes[from..to].to_vec();
                bytes.splice(from..from, range);
            }
            5 => bytes[from..to].rotate_left(usize::from(value) % (to - from).max(1)),
            6 => bytes[from..to].fill(value),
            7 => bytes.truncate(at),
            8 => bytes.resize(length + b % (2 * unit), value),
            // Whole units.
            9 => {
                let (one, another) = (bytes[whole(a)].to_vec(), bytes[whole(b)].to_vec());
                bytes.splice(whole(a), another);
                let length = bytes.len();
                let place = whole(b);
                bytes.splice(place.start.min(length)..place.end.min(length), one);
            }
            10 => drop(bytes.drain(whole(a))),
            11 => {
                let copy = bytes[whole(a)].to_vec();
                let place = whole(b).start;
                bytes.splice(place..place, copy);
            }
            12 => {
                let copy = bytes[whole(a)].to_vec();
                bytes.splice(whole(b), copy);
            }
            13 if !other.is_empty() => {
                let from = b % other.len() / unit * unit;
                bytes.splice(whole(a), other[from..(from + unit).min(other.len())].iter().copied());
            }
            _ => {}
        }
        bytes.truncate(longest);
    }
}
