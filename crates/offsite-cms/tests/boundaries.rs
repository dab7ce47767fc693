//! Lengths around every boundary, truncation at every byte, and machines that fail.

mod support;

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use offsite_cms::{
    Certificate, Error, Input, Message, PrivateKey, Recipients, Result, Sealer, StreamKind, Totals, UsageError,
    encrypt, inspect, limits, smime,
};
use support::der::{Element, elements, octets, span, tagged};
use support::{
    OddReader, OpenSsl, THREADS, assert_same, certificate, ignore, open, open_file, open_stream, private_key, run,
    sample, temporary_file, vector_message,
};

const EC: &str = "p256.pem";
const RSA: &str = "rsa2048.pem";

/// How many bytes a read gives, over and over.
const ODD: &[usize] = &[65_537, 4096, 7, 1];

fn recipients(key: &str) -> Recipients {
    Recipients::new(vec![certificate(key)]).expect("a recipient")
}

fn sealer(kind: StreamKind<'_>) -> Sealer {
    Sealer::new(&recipients(EC), kind).expect("a sealer")
}

/// The slices that `encrypt` emits until it ends, and how it ends.
fn slices_until_the_end(input: Input, slice_size: usize) -> (Result<Totals>, Vec<Vec<u8>>) {
    let mut slices = Vec::new();
    let emit = |slice: &[u8]| {
        slices.push(slice.to_vec());
        Ok(())
    };
    let result = encrypt(input, &recipients(EC), StreamKind::File, slice_size, THREADS, emit, &ignore);
    (result, slices)
}

fn slices(input: Input, slice_size: usize) -> Vec<Vec<u8>> {
    let (result, slices) = slices_until_the_end(input, slice_size);
    let totals = result.expect("the library encrypts");
    assert_eq!(totals.slices, slices.len() as u64, "the totals");
    slices
}

/// A native message or stream.
fn native(plaintext: &[u8], slice_size: usize) -> Vec<u8> {
    slices(Input::Stream(Box::new(Cursor::new(plaintext.to_vec()))), slice_size).concat()
}

/// Sizes of slices, each with lengths of plaintext made from what a slice holds.
const SLICE_SIZES: [usize; 10] = [
    512,
    2048,
    5000,
    65_535,
    65_536,
    65_537,
    // Here the content's own length takes three octets in one and four in the other.
    66_000,
    1 << 20,
    (1 << 20) + 1,
    3 << 20,
];

/// Around a slice's plaintext of `part` bytes.
fn lengths(part: usize) -> [usize; 7] {
    [0, 1, part - 1, part, part + 1, 2 * part, 3 * part + 7]
}

/// Encrypts and decrypts, both from a stream in pieces and from a file.
fn round_trip(plaintext: &[u8], slice_size: usize, part: usize, pieces: &[usize]) {
    let key = private_key(EC);
    for input in [OddReader::input(plaintext, pieces), Input::File(temporary_file(plaintext))] {
        let slices = slices(input, slice_size);
        let (last, others) = slices.split_last().expect("at least one slice");
        assert_eq!(slices.len(), plaintext.len().div_ceil(part).max(1), "the number of slices");
        assert!(others.iter().all(|slice| slice.len() == slice_size), "every slice but the last is as long as asked");
        assert!(last.len() <= slice_size, "the last slice is not longer");
        for slice in &slices {
            assert_same(&Element::parse(slice).encode(), slice);
        }
        let message = slices.concat();
        open(OddReader::input(&message, pieces), &key).is(plaintext);
        open_file(&message, &key).is(plaintext);
    }
}

#[test]
fn lengths_around_a_slice_round_trip() {
    for slice_size in SLICE_SIZES {
        let part = sealer(StreamKind::File).plaintext_length(slice_size).expect("a possible size");
        for length in lengths(part) {
            round_trip(&sample(length), slice_size, part, ODD);
        }
    }
}

#[test]
fn small_slices_round_trip_in_pieces_of_any_size() {
    for slice_size in [2048, 5000] {
        let part = sealer(StreamKind::File).plaintext_length(slice_size).expect("a possible size");
        for length in lengths(part) {
            for pieces in [1, 7, 4096, 65_537] {
                round_trip(&sample(length), slice_size, part, &[pieces]);
            }
        }
    }
}

#[test]
fn slices_beyond_2_to_24_bytes_round_trip() {
    let slice_size = (1 << 24) + 1000;
    let part = sealer(StreamKind::File).plaintext_length(slice_size).expect("a possible size");
    for length in [part - 1, part, part + 1] {
        round_trip(&sample(length), slice_size, part, &[65_537]);
    }
}

/// From a file that is not at its start.
#[test]
fn a_file_is_read_from_its_position() {
    let plaintext = sample(10_000);
    let file = |skipped: &[u8], bytes: &[u8]| {
        let mut file = temporary_file(&[skipped, bytes].concat());
        file.seek(SeekFrom::Start(skipped.len() as u64)).expect("a file");
        Input::from_file(file).expect("a file")
    };
    let message = slices(file(b"skipped", &plaintext), 2048).concat();
    open(file(b"skipped, too", &message), &private_key(EC)).is(&plaintext);
}

/// At a power of 256, each of the five elements around the content needs an octet more for its
/// length, and each makes one size impossible.
#[test]
fn sizes_that_no_encoding_has_are_named_with_the_next_smaller() {
    let sealer = sealer(StreamKind::File);
    for boundary in [1 << 16, 1 << 24] {
        let mut unreachable = 0;
        let mut below = None;
        for size in boundary - 100..boundary + 1000 {
            match sealer.plaintext_length(size) {
                Ok(length) => {
                    assert!(below.is_none_or(|below| length == below + 1), "one byte more for each size");
                    below = Some(length);
                }
                Err(UsageError::UnreachableSliceSize { wanted, nearest }) => {
                    assert_eq!(wanted, size);
                    assert!(nearest < size && size - nearest <= 5, "{nearest} for {size}");
                    assert_eq!(sealer.plaintext_length(nearest).ok(), below, "the nearest is the one before");
                    unreachable += 1;
                }
                Err(other) => panic!("{size}: {other}"),
            }
        }
        assert_eq!(unreachable, 5, "around {boundary}");
    }
}

#[test]
fn an_unreachable_size_fails_and_the_nearest_works() {
    let unreachable = (65_536..67_000).find_map(|size| match sealer(StreamKind::File).plaintext_length(size) {
        Err(UsageError::UnreachableSliceSize { nearest, .. }) => Some((size, nearest)),
        _ => None,
    });
    let (wanted, nearest) = unreachable.expect("an unreachable size");
    let plaintext = sample(200_000);
    let (result, emitted) = slices_until_the_end(OddReader::input(&plaintext, ODD), wanted);
    assert!(matches!(result, Err(Error::Usage(UsageError::UnreachableSliceSize { .. }))), "{result:?}");
    assert!(emitted.is_empty());
    let slices = slices(OddReader::input(&plaintext, ODD), nearest);
    assert_eq!(slices[0].len(), nearest);
    open_stream(&slices.concat(), &private_key(EC)).is(&plaintext);
}

#[test]
fn impossible_sizes_of_slices_are_refused() {
    let header_only = native(b"", 2048).len();
    for size in [0, 1, header_only - 1, header_only, limits::SLICE_SIZE_MAX + 1, usize::MAX] {
        let (result, emitted) = slices_until_the_end(OddReader::input(b"plaintext", ODD), size);
        assert!(matches!(result, Err(Error::Usage(UsageError::SliceSize))), "{size}: {result:?}");
        assert!(emitted.is_empty());
    }
    // One byte of plaintext in each slice.
    let plaintext = sample(20);
    let slices = slices(OddReader::input(&plaintext, ODD), header_only + 1);
    assert_eq!(slices.len(), 20);
    open_stream(&slices.concat(), &private_key(EC)).is(&plaintext);
}

/// What may come out of a message that is cut off.
#[derive(Clone, Copy, Debug)]
enum Released {
    Nothing,
    /// Whole slices with so many bytes of plaintext each.
    Slices(usize),
    /// Any beginning: nothing authenticates it.
    Beginning,
}

/// Nothing of a message that is cut off passes for the whole.
fn truncated_everywhere(name: &str, message: &[u8], key: &PrivateKey, plaintext: &[u8], allowed: Released) {
    open_stream(message, key).is(plaintext);
    for length in 0..message.len() {
        let cut = &message[..length];
        let opened =
            [open_stream(cut, key), open_file(cut, key), open(Input::Stream(Box::new(Cursor::new(cut.to_vec()))), key)];
        for opened in opened {
            let story = format!("{name}, the first {length} of {} bytes: {:?}", message.len(), opened.result);
            assert!(opened.result.is_err(), "{story}");
            assert!(plaintext.starts_with(&opened.released), "{story}");
            match allowed {
                Released::Nothing => assert!(opened.released.is_empty(), "{story}"),
                Released::Slices(part) => assert!(opened.released.len().is_multiple_of(part), "{story}"),
                Released::Beginning => {}
            }
        }
        let inspected = inspect(OddReader::input(cut, ODD), &ignore);
        assert!(inspected.is_err() || inspected.is_ok_and(|seen| !seen.findings.is_empty()), "{name} at {length}");
    }
}

/// The last line feed of PEM and S/MIME is no part of the message.
fn without_line_feed(mut message: Vec<u8>) -> Vec<u8> {
    message.truncate(message.trim_ascii_end().len());
    message
}

#[test]
fn truncation_at_every_byte_is_an_error() {
    let (ec, rsa) = (private_key(EC), private_key(RSA));
    let part = sealer(StreamKind::File).plaintext_length(512).expect("a possible size");
    let plaintext = sample(2 * part + 20);
    let stream = native(&plaintext, 512);
    assert_eq!(elements(&stream).len(), 3, "three slices");
    truncated_everywhere("native stream", &stream, &ec, &plaintext, Released::Slices(part));
    truncated_everywhere("native", &native(&sample(100), 2048), &ec, &sample(100), Released::Nothing);
    for (name, key, released) in [
        ("forged-foreign", &ec, Released::Nothing),
        ("foreign-indefinite", &ec, Released::Nothing),
        ("openssl-3.0-rsa2048", &rsa, Released::Nothing),
        ("cbc-good", &rsa, Released::Beginning),
        ("cbc-in-pieces", &rsa, Released::Beginning),
    ] {
        truncated_everywhere(name, &vector_message(name), key, &sample(100), released);
    }
    let pem = without_line_feed(vector_message("openssl-3.0-pem"));
    // Any line that begins with END ends PEM; the rest of that line is not read.
    let pem = &pem[..pem.len() - "CMS-----".len()];
    truncated_everywhere("openssl-3.0-pem", pem, &ec, &sample(100), Released::Nothing);
}

/// Runs what must come to an end, and fails where it does not.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        // The test may have given up.
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(120)) {
        // A panic drops the sender; joining passes it on.
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().expect("the work ends without a panic"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
    }
}

/// Takes `left` bytes, in small pieces, and fails then.
struct FailingWriter {
    taken: Vec<u8>,
    left: usize,
}

impl Write for FailingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.left).min(50);
        if count == 0 && !bytes.is_empty() {
            return Err(io::Error::other("no space"));
        }
        self.taken.extend_from_slice(&bytes[..count]);
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the first bytes of something, and fails then.
fn failing_input(bytes: &[u8], after: usize) -> Input {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    Input::Stream(Box::new(OddReader::new(&bytes[..after], &[7, 64]).chain(Fails)))
}

/// Messages of each way to be read, with their keys and plaintexts.
fn messages() -> Vec<(&'static str, Vec<u8>, &'static str, Vec<u8>)> {
    let plaintext = sample(300);
    let mut messages = vec![("native stream", native(&plaintext, 512), EC, plaintext)];
    for (name, key) in
        [("forged-foreign", EC), ("cbc-in-pieces", RSA), ("openssl-3.0-pem", EC), ("openssl-3.0-smime", EC)]
    {
        messages.push((name, vector_message(name), key, sample(100)));
    }
    messages
}

#[test]
fn a_failing_writer_is_an_error_at_each_position() {
    in_time(|| {
        for (name, message, key, plaintext) in messages() {
            let key = private_key(key);
            for left in 0..plaintext.len() {
                let mut writer = FailingWriter { taken: Vec::new(), left };
                let spool = || Err(io::Error::other("a spool file is asked for"));
                let opened = Message::open(OddReader::input(&message, ODD), &key).expect("a message");
                let result = opened.decrypt(&mut writer, &spool, THREADS, &ignore);
                assert!(matches!(result, Err(Error::Write(_))), "{name} at {left}: {result:?}");
                assert_same(&writer.taken, &plaintext[..left]);
            }
        }
    });
}

#[test]
fn a_failing_reader_is_an_error_at_each_position() {
    in_time(|| {
        for (name, message, key, plaintext) in messages() {
            let key = private_key(key);
            for after in 0..=message.len() {
                let opened = open(failing_input(&message, after), &key);
                assert!(matches!(opened.result, Err(Error::Read(_))), "{name} at {after}: {:?}", opened.result);
                assert!(plaintext.starts_with(&opened.released), "{name} at {after}");
                if let Ok(seen) = inspect(failing_input(&message, after), &ignore) {
                    assert!(!seen.findings.is_empty(), "{name} at {after}");
                }
            }
        }
    });
}

#[test]
fn encryption_ends_where_reading_or_writing_fails() {
    in_time(|| {
        let plaintext = sample(1000);
        let part = sealer(StreamKind::File).plaintext_length(512).expect("a possible size");
        for after in 0..=plaintext.len() {
            let (result, emitted) = slices_until_the_end(failing_input(&plaintext, after), 512);
            assert!(matches!(result, Err(Error::Read(_))), "at {after}: {result:?}");
            assert!(emitted.len() <= after / part, "at {after}: {} slices", emitted.len());
            let opened = open_stream(&emitted.concat(), &private_key(EC));
            assert!(opened.result.is_err(), "what is written so far is no whole stream");

            let mut out = FailingWriter { taken: Vec::new(), left: 300 + after };
            let result = smime::encrypt(&mut &plaintext[..], u64::MAX, &recipients(RSA), &mut out, &ignore);
            assert!(matches!(result, Err(Error::Write(_))), "at {after}: {result:?}");
        }
        for failing in 0..plaintext.len().div_ceil(part) {
            let mut emitted = 0;
            let emit = |_: &[u8]| {
                emitted += 1;
                if emitted > failing { Err(io::Error::other("no space")) } else { Ok(()) }
            };
            let result = encrypt(
                OddReader::input(&plaintext, ODD),
                &recipients(EC),
                StreamKind::File,
                512,
                THREADS,
                emit,
                &ignore,
            );
            assert!(matches!(result, Err(Error::Write(_))), "slice {failing}: {result:?}");
            assert_eq!(emitted, failing + 1, "nothing after the failure");
        }
    });
}

/// A signal may interrupt any read, and must do no more.
#[test]
fn an_interrupted_read_is_repeated_wherever_it_happens() {
    struct InterruptedAt {
        bytes: Cursor<Vec<u8>>,
        call: usize,
        calls: usize,
    }
    impl Read for InterruptedAt {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls == self.call {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = out.len().min(16);
            self.bytes.read(&mut out[..count])
        }
    }
    for (name, message, key, plaintext) in messages() {
        let key = private_key(key);
        for call in 1..message.len() / 16 + 4 {
            let reader = InterruptedAt { bytes: Cursor::new(message.clone()), call, calls: 0 };
            let opened = open(Input::Stream(Box::new(reader)), &key);
            assert!(opened.result.is_ok(), "{name}, interrupted in read {call}: {:?}", opened.result);
            assert_same(&opened.released, &plaintext);
        }
    }
}

fn smime(plaintext: &[u8], most: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut input = OddReader::new(plaintext, ODD);
    let totals = smime::encrypt(&mut input, most, &recipients(RSA), &mut out, &ignore).expect("the library encrypts");
    assert_eq!(totals.plaintext, most.min(plaintext.len() as u64));
    out
}

#[test]
fn smime_messages_round_trip_around_pieces_and_blocks() {
    const PIECE: usize = limits::PIECE;
    let key = private_key(RSA);
    let around = |length: usize| [length - 17, length - 16, length - 15, length - 1, length, length + 1, length + 16];
    let lengths = [0, 1, 15].into_iter().chain(around(17)).chain(around(PIECE)).chain(around(2 * PIECE));
    for length in lengths {
        let plaintext = sample(length);
        let message = smime(&plaintext, u64::MAX);
        open_stream(&message, &key).is(&plaintext);
        open_file(&message, &key).is(&plaintext);
    }
}

#[test]
fn smime_messages_of_a_given_size_hold_what_is_promised() {
    let plaintext = sample(3 * limits::PIECE);
    for size in [1000, limits::PIECE, limits::PIECE + 1, limits::PIECE + 1000, 2 * limits::PIECE + 1000] {
        let length = smime::plaintext_length(size, &recipients(RSA)).expect("RSA");
        let message = smime(&plaintext, length);
        assert!(message.len() <= size && message.len() + 100 > size, "{} for {size}", message.len());
        open_stream(&message, &private_key(RSA)).is(&plaintext[..usize::try_from(length).expect("short")]);
    }
}

/// A message that `decrypt` takes for a foreign one: the slice of a backup.
fn foreign(plaintext: &[u8]) -> Vec<u8> {
    let sealer = sealer(StreamKind::Slices("host/set/backup"));
    let mut buffer = sealer.buffer(plaintext.len());
    buffer.plaintext_mut()[..plaintext.len()].copy_from_slice(plaintext);
    let number = sealer.next_number().expect("a number");
    sealer.seal(number, true, &mut buffer, plaintext.len()).expect("the library seals");
    buffer.slice().to_vec()
}

/// The same as BER, with the content in pieces as `openssl cms -encrypt -stream` writes them.
fn in_pieces(message: &[u8]) -> Vec<u8> {
    let mut message = Element::parse(message);
    let content = message.at(&[1, 0, 2, 2]);
    *content = tagged(0, content.contents().chunks(4096).map(octets).collect());
    message.encode_indefinite()
}

/// Decrypts with a spool file that is counted.
fn open_spooling(input: Input, key: &PrivateKey) -> (support::Opened, usize) {
    let spools = AtomicUsize::new(0);
    let spool = || {
        spools.fetch_add(1, Ordering::Relaxed);
        tempfile::tempfile()
    };
    let mut released = Vec::new();
    let result = Message::open(input, key).and_then(|message| message.decrypt(&mut released, &spool, THREADS, &ignore));
    (support::Opened { result, released }, spools.into_inner())
}

const LARGE: usize = limits::FOREIGN_IN_MEMORY + (1 << 20) + 5;

#[test]
fn a_large_foreign_message_is_spooled_from_a_stream_and_read_twice_from_a_file() {
    let key = private_key(EC);
    for (length, spools_expected) in [
        (limits::FOREIGN_IN_MEMORY - 1, 0),
        (limits::FOREIGN_IN_MEMORY, 0),
        (limits::FOREIGN_IN_MEMORY + 1, 1),
        (LARGE, 1),
    ] {
        let plaintext = sample(length);
        let der = foreign(&plaintext);
        for message in [in_pieces(&der), der] {
            let (opened, spools) = open_spooling(OddReader::input(&message, &[65_537]), &key);
            opened.is(&plaintext);
            assert_eq!(spools, spools_expected, "spool files for {length} bytes");
            let (opened, spools) = open_spooling(Input::File(temporary_file(&message)), &key);
            opened.is(&plaintext);
            assert_eq!(spools, 0, "a file can be read again");
        }
    }
}

#[test]
fn nothing_of_a_large_foreign_message_is_released_before_it_is_verified() {
    let key = private_key(EC);
    let message = foreign(&sample(LARGE));
    for at in [1000, message.len() / 2, message.len() - 1] {
        let mut message = message.clone();
        message[at] ^= 1;
        for input in [OddReader::input(&message, &[65_537]), Input::File(temporary_file(&message))] {
            let (opened, _) = open_spooling(input, &key);
            assert!(matches!(opened.result, Err(Error::Decryption)), "byte {at}: {:?}", opened.result);
            assert!(opened.released.is_empty(), "byte {at}");
        }
    }
    for length in [message.len() - 1, message.len() - 18, LARGE / 2] {
        for input in [OddReader::input(&message[..length], &[65_537]), Input::File(temporary_file(&message[..length]))]
        {
            let (opened, _) = open_spooling(input, &key);
            assert!(matches!(opened.result, Err(Error::Truncated { .. })), "{length} bytes: {:?}", opened.result);
            assert!(opened.released.is_empty(), "{length} bytes");
        }
    }
}

#[test]
fn a_spool_file_that_fails_is_an_error() {
    let key = private_key(EC);
    let message = foreign(&sample(LARGE));
    let none = || Err(io::Error::other("no temporary file"));
    let read_only = || File::open("/dev/null");
    let spools: [&dyn Fn() -> io::Result<File>; 2] = [&none, &read_only];
    for spool in spools {
        let mut released = Vec::new();
        let opened = Message::open(OddReader::input(&message, &[65_537]), &key).expect("a message");
        let result = opened.decrypt(&mut released, spool, THREADS, &ignore);
        assert!(matches!(result, Err(Error::Spool(_))), "{result:?}");
        assert!(released.is_empty());
    }
}

/// Changes a file.
type Change<'a> = &'a (dyn Fn(&File) + Sync);

/// Decrypts a large foreign message from a file that `change` changes between the two passes.
fn open_changing(message: &[u8], change: Change<'_>) -> support::Opened {
    // The first pass reports each piece as it is read, the last, shorter one too.
    let pieces = LARGE / limits::FOREIGN_CHECK + 1;
    let file = temporary_file(message);
    let changed = file.try_clone().expect("a second handle");
    let calls = AtomicUsize::new(0);
    let progress = |_| {
        if calls.fetch_add(1, Ordering::Relaxed) + 1 == pieces {
            change(&changed);
        }
    };
    let spool = || Err(io::Error::other("a spool file is asked for"));
    let mut released = Vec::new();
    let opened = Message::open(Input::File(file), &private_key(EC)).expect("a message");
    let result = opened.decrypt(&mut released, &spool, THREADS, &progress);
    assert!(calls.into_inner() >= pieces, "the file is changed");
    support::Opened { result, released }
}

/// Overwrites what stands at a position.
fn overwrite(file: &File, at: usize, bytes: &[u8]) {
    file.write_all_at(bytes, at as u64).expect("the file is overwritten");
}

#[test]
fn a_file_that_changes_between_the_passes_is_noticed_before_anything_false_is_released() {
    let plaintext = sample(LARGE);
    let message = foreign(&plaintext);
    let header = message.len() - 18 - LARGE;
    for number in 0..=LARGE / limits::FOREIGN_CHECK {
        // Of the last piece the last byte: the tag behind it is read only after the change.
        let at = header + (number * limits::FOREIGN_CHECK + 77).min(LARGE - 1);
        let opened = open_changing(&message, &|file| overwrite(file, at, &[!message[at]]));
        assert!(matches!(opened.result, Err(Error::Changed { .. })), "piece {number}: {:?}", opened.result);
        assert_same(&opened.released, &plaintext[..number * limits::FOREIGN_CHECK]);
    }
}

#[test]
fn a_file_that_becomes_another_message_between_the_passes_is_noticed() {
    let plaintext = sample(LARGE);
    let message = foreign(&plaintext);
    let nonce_at = span(&message, &[1, 0, 2, 1, 1, 0]).contents.start;
    let other = foreign(&plaintext);
    // Whatever stays in its place is read by the first pass: the tag of the first message.
    let content_and_header = &other[..other.len() - 16];
    let opened = open_changing(&message, &|file| overwrite(file, 0, content_and_header));
    assert!(matches!(opened.result, Err(Error::Changed { at: 0 })), "{:?}", opened.result);
    assert!(opened.released.is_empty());

    // The second pass has the key and the nonce of the first: another nonce means nothing to it.
    open_changing(&message, &|file| overwrite(file, nonce_at, &[0; 12])).is(&plaintext);
}

#[test]
fn a_file_that_is_damaged_between_the_passes_is_reported_as_changed() {
    let plaintext = sample(LARGE);
    let message = foreign(&plaintext);
    let header = message.len() - 18 - LARGE;
    // The last piece of the content is a few bytes that the reader takes from its buffer, where the
    // tag is, too: the first pass no longer needs the file.
    let changes: [(&str, Change<'_>); 5] = [
        ("its end", &|file| file.set_len(message.len() as u64 - 1000).expect("the file is cut off")),
        ("all of it", &|file| file.set_len(0).expect("the file is cut off")),
        ("the first byte", &|file| overwrite(file, 0, b"x")),
        ("the content's length", &|file| overwrite(file, header - 2, &[0, 0])),
        ("a content in pieces", &|file| overwrite(file, 0, &in_pieces(&message)[..header + 100])),
    ];
    for (what, change) in changes {
        let opened = open_changing(&message, change);
        assert!(matches!(opened.result, Err(Error::Changed { .. })), "{what}: {:?}", opened.result);
        assert!(plaintext.starts_with(&opened.released), "{what}");
    }
}

/// Two certificates with one name and one serial number, as people make them by copying commands.
#[test]
fn recipients_with_the_same_issuer_and_serial_number_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate_of = |curve: &str| {
        let path = folder.path().join(curve);
        let mut command =
            OpenSsl::Stock.command("req -x509 -nodes -subj /CN=backup -set_serial 7 -days 10 -keyout /dev/null");
        run(command.args(["-newkey", "ec", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]).arg("-out").arg(&path));
        Certificate::from_file(&support::read(&path)).expect("a certificate")
    };
    let pair = vec![certificate_of("P-256"), certificate(RSA), certificate_of("P-384")];
    match Recipients::new(pair) {
        Err(Error::Usage(UsageError::SameRecipient(name))) => assert_eq!(name, "CN=backup (serial 07)"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_number_of_recipients_has_its_limits() {
    let none = Recipients::new(Vec::new());
    assert!(matches!(none, Err(Error::Usage(UsageError::NoRecipient))), "{none:?}");
    let many = Recipients::new(vec![certificate(EC); limits::RECIPIENTS + 1]);
    assert!(matches!(many, Err(Error::Usage(UsageError::TooManyRecipients))), "{many:?}");
}

#[test]
fn no_two_slices_get_the_same_number() {
    let sealer = sealer(StreamKind::Index("host/set/backup"));
    let numbers = |_| {
        let count = || (0..1000).map(|_| sealer.next_number().expect("a number").get()).collect::<Vec<_>>();
        count()
    };
    let mut all: Vec<u32> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || numbers(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    all.sort_unstable();
    assert_eq!(all, (0..4000).collect::<Vec<_>>());
}

/// Slices may be sealed in any order; each carries its own number and flag.
#[test]
fn a_slice_carries_its_number_and_the_last_flag() {
    let sealer = sealer(StreamKind::Plan("host/set/backup"));
    let numbers = [(); 3].map(|()| sealer.next_number().expect("a number"));
    let mut buffer = sealer.buffer(100);
    let mut prefixes = Vec::new();
    for (number, last) in numbers.into_iter().zip([false, true, false]).rev() {
        let expected = [&number.get().to_be_bytes()[..], &[u8::from(last)]].concat();
        sealer.seal(number, last, &mut buffer, 100).expect("the library seals");
        let nonce = Element::parse(buffer.slice()).at(&[1, 0, 2, 1, 1, 0]).contents().clone();
        assert_eq!(nonce[7..], expected);
        prefixes.push(nonce[..7].to_vec());
    }
    prefixes.dedup();
    assert_eq!(prefixes.len(), 1, "one prefix in a stream");
}

/// A buffer serves slices of any length up to its own, one after another.
#[test]
fn a_buffer_can_be_used_again() {
    let sealer = sealer(StreamKind::Slices("host/set/backup"));
    let key = private_key(EC);
    let mut buffer = sealer.buffer(70_000);
    for length in [70_000, 0, 1, 65_536, 127, 128] {
        let plaintext = sample(length);
        buffer.plaintext_mut()[..length].copy_from_slice(&plaintext);
        let number = sealer.next_number().expect("a number");
        sealer.seal(number, false, &mut buffer, length).expect("the library seals");
        assert_same(&Element::parse(buffer.slice()).encode(), buffer.slice());
        open_stream(buffer.slice(), &key).is(&plaintext);
    }
}
