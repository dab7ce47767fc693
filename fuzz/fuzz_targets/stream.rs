//! A long stream that is changed as an attacker could: bytes, ranges and whole slices altered,
//! left out, repeated, swapped, cut off, appended, or taken from another stream to the same key.
//! Checked: what comes out is the plaintext of the first slices, whole, and no byte else; success
//! only where nothing was changed; a file and a pipe give the same.
//!
//! One change is nobody's to find: RecipientInfos stand outside what is authenticated (RFC 5083
//! §2.2), and parts of them are not needed to unwrap the key. A stream whose slices all have them
//! changed alike, or whose only slice has, still is what was encrypted.
//!
//! The stream is made anew in each process, so its random bytes differ from run to run; its lengths,
//! and with them what an input means, do not.

#![no_main]

use std::num::NonZero;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use offsite_cms::{Certificate, Input, Message, Recipients, Sealer, StreamKind, encrypt};
use offsite_fuzz::{KEYS, NoThreadLeft, P256_PEM, as_drops, as_file, as_stream, change, file, is_text};

/// Enough for a header with one P-256 recipient, and little for the fuzzer to carry.
const SLICE: usize = 1024;

struct Made {
    stream: Vec<u8>,
    plaintext: Vec<u8>,
    /// Another stream to the same key, as long.
    other: Vec<u8>,
    other_plaintext: Vec<u8>,
    /// Plaintext of a slice, in bytes.
    piece: usize,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let recipients = Certificate::from_file(P256_PEM).and_then(|certificate| Recipients::new(vec![certificate]));
    let recipients = recipients.expect("the test certificate is valid");
    let sealer = Sealer::new(&recipients, StreamKind::File).expect("a stream begins");
    let piece = sealer.plaintext_length(SLICE).expect("a header fits a slice");
    // Nine full slices and a short one.
    let plaintext: Vec<u8> = (0..9 * piece + 100).map(|index| (index % 251) as u8).collect();
    let make = |plaintext: &[u8]| {
        let mut stream = Vec::new();
        let emit = |slice: &[u8]| {
            stream.extend_from_slice(slice);
            Ok(())
        };
        encrypt(as_stream(plaintext), &recipients, StreamKind::File, SLICE, NonZero::<usize>::MIN, emit, &|_| ())
            .expect("encryption works");
        stream
    };
    let stream = make(&plaintext);
    let other_plaintext: Vec<u8> = plaintext.iter().map(|byte| !byte).collect();
    let other = make(&other_plaintext);
    Made { stream, plaintext, other, other_plaintext, piece }
});

fuzz_target!(|changes: &[u8]| {
    let _no_thread_left = NoThreadLeft::since_now();
    let made = &*MADE;
    let mut bytes = made.stream.clone();
    change(&mut bytes, SLICE, &made.other, changes);
    let from_file = open(as_file(&bytes));
    let from_pipe = open(as_drops(&bytes, 1 + changes.len() % 997));
    // Errors in what now looks like text depend on how it drips in.
    let same = from_file == from_pipe || is_text(&bytes) && from_file.1.is_some() && from_pipe.1.is_some();
    assert!(same, "the kind of input changes what comes out: {:?}, {:?}", from_file.1, from_pipe.1);
    let (out, error) = from_file;
    // The first slice says which stream it is: an attacker may put another in its place, whole.
    let replaced = !out.is_empty() && out[0] == made.other_plaintext[0];
    let (stream, plaintext) =
        if replaced { (&made.other, &made.other_plaintext) } else { (&made.stream, &made.plaintext) };
    assert!(plaintext.starts_with(&out), "something else than the plaintext came out");
    assert!(out.len() % made.piece == 0 || out.len() == plaintext.len(), "a part of a slice came out");
    if error.is_none() {
        assert!(out == *plaintext, "success, but not all came out");
        assert_eq!(authenticated(&bytes), authenticated(stream), "success for a changed stream");
    } else {
        assert!(bytes != *stream, "an unchanged stream is refused: {error:?}");
    }
});

/// A stream without the part of its headers that is not authenticated, which ends before the nonces:
/// the first bytes in which slices differ.
fn authenticated(stream: &[u8]) -> Vec<&[u8]> {
    static HEADER: LazyLock<usize> = LazyLock::new(|| {
        let (first, second) = MADE.stream.split_at(SLICE);
        first.iter().zip(second).take_while(|(one, other)| one == other).count()
    });
    stream.chunks(SLICE).map(|slice| slice.get(*HEADER..).unwrap_or_default()).collect()
}

/// What comes out, and the error.
fn open(input: Input) -> (Vec<u8>, Option<String>) {
    let mut out = Vec::new();
    let opened = Message::open(input, &KEYS[1]);
    let result =
        opened.and_then(|message| message.decrypt(&mut out, &|| Ok(file(&[])), NonZero::<usize>::MIN, &|_| ()));
    (out, result.err().map(|error| error.to_string()))
}
