//! Any bytes as a message. Checked: no panic, no hang, little memory; a file and a pipe, however it
//! drips, are read alike; of an authenticated message that is no stream not a byte is written unless
//! all of it is verified; and a header that goes on without end is given up.

#![no_main]

use std::io::Read;
use std::num::NonZero;

use libfuzzer_sys::fuzz_target;
use offsite_cms::{Input, Inspection, Message, PrivateKey, Result, inspect, limits};
use offsite_fuzz::{KEYS, NoThreadLeft, as_drops, as_file, as_stream, file, is_text};

fuzz_target!(|data: &[u8]| {
    let _no_thread_left = NoThreadLeft::since_now();
    let one = || as_stream(data);
    let other = || if data.len().is_multiple_of(2) { as_file(data) } else { as_drops(data, 1 + data.len() % 61) };
    let text = is_text(data);
    // What takes long is left to short inputs, which begin as many headers as long ones.
    if !text && data.len() < 64 {
        let _ = Message::open(Input::Stream(Box::new(Endless::new(data))), &KEYS[1]);
    }

    let (inspected, again) = (inspect(one(), &|_| ()), inspect(other(), &|_| ()));
    assert_eq!(is_clean(&inspected), is_clean(&again), "the kind of input changes what is accepted");
    if !text {
        assert_eq!(format!("{inspected:?}"), format!("{again:?}"), "the kind of input changes what is seen");
    }
    for key in &*KEYS {
        let (opened, again) = (open(&one, key), open(&other, key));
        assert_eq!(opened.is_ok(), again.is_ok(), "the kind of input changes what is accepted");
        // Errors may differ: where PKCS#1 v1.5 fails, a random key takes its place.
        if !text || opened.is_ok() {
            let bytes = |opened| match opened {
                Ok(bytes) | Err(bytes) => bytes,
            };
            assert_eq!(bytes(opened), bytes(again), "the kind of input changes what comes out");
        }
    }
});

fn is_clean(inspected: &Result<Inspection>) -> bool {
    inspected.as_ref().is_ok_and(|inspected| inspected.findings.is_empty())
}

/// What comes out before the end, or before an error.
fn open(input: &dyn Fn() -> Input, key: &PrivateKey) -> Result<Vec<u8>, Vec<u8>> {
    let Ok(message) = Message::open(input(), key) else { return Err(Vec::new()) };
    let authenticated = message.is_authenticated();
    let mut out = Vec::new();
    match message.decrypt(&mut out, &|| Ok(file(&[])), NonZero::<usize>::MIN, &|_| ()) {
        Ok(totals) => {
            assert_eq!(totals.plaintext, out.len() as u64);
            Ok(out)
        }
        Err(_) => {
            // A stream is verified slice by slice; the target `stream` looks at those.
            let stream = || inspect(input(), &|_| ()).is_ok_and(|inspected| inspected.stream.is_some());
            assert!(!authenticated || out.is_empty() || stream(), "unverified bytes came out");
            Err(out)
        }
    }
}

/// `data`, and then its last bytes again and again.
struct Endless {
    data: Vec<u8>,
    tail: usize,
    at: usize,
    given: usize,
}

impl Endless {
    fn new(data: &[u8]) -> Self {
        let tail = data.len().saturating_sub(2 + data.len() % 16);
        Self { data: data.to_vec(), tail, at: 0, given: 0 }
    }
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        // Beside the header itself there is what is read ahead.
        assert!(self.given <= 2 * limits::HEADER, "a header is read without end");
        if self.at == self.data.len() {
            self.at = self.tail;
        }
        let count = (&self.data[self.at..]).read(out)?;
        self.at += count;
        self.given += count;
        Ok(count)
    }
}
