//! PEM and S/MIME armour. Checked: any text gives an answer, and is accepted or not however it drips
//! in; bytes in armour with lines of any length are seen as the bytes themselves are, whether they are
//! a valid message or not.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use offsite_cms::{Input, Inspection, inspect};
use offsite_fuzz::{as_drops, as_stream, is_text};

/// Valid messages.
const MESSAGES: [&[u8]; 3] = [
    include_bytes!("../corpus/envelope/offsite-p256.der"),
    include_bytes!("../corpus/envelope/offsite-smime.ber"),
    include_bytes!("../corpus/envelope/openssl-gcm-oaep.der"),
];

fuzz_target!(|data: &[u8]| {
    let drops = as_drops(data, 1 + data.len() % 61);
    assert_eq!(accepted(as_stream(data)), accepted(drops), "how it drips in changes what is accepted");
    let first = data.first().copied().unwrap_or_default();
    let message = MESSAGES[usize::from(first) % MESSAGES.len()];
    let plain = see(as_stream(message));
    assert!(plain.starts_with("Ok"), "{plain}");
    for pem in [true, false] {
        assert_eq!(see(as_stream(&armour(message, pem, data))), plain, "armour changes what is seen");
        if !is_text(data) {
            assert_eq!(see(as_stream(&armour(data, pem, b"?"))), see(as_stream(data)), "armour changes what is seen");
        }
    }
});

/// What inspection says, but for the armour.
fn see(input: Input) -> String {
    let inspected = inspect(input, &|_| ()).map(|mut inspected| {
        inspected.armoured = false;
        inspected
    });
    format!("{inspected:?}")
}

/// What inspection says of what has nothing wrong with it.
fn accepted(input: Input) -> Option<Inspection> {
    inspect(input, &|_| ()).ok().filter(|inspected| inspected.findings.is_empty())
}

/// `contents` in armour, whose lines are as long as `lines` says, again and again.
fn armour(contents: &[u8], pem: bool, lines: &[u8]) -> Vec<u8> {
    let head: &[u8] =
        if pem { b"-----BEGIN CMS-----\n" } else { b"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" };
    let mut text = head.to_vec();
    let base64 = STANDARD.encode(contents);
    let mut rest = base64.as_bytes();
    for line in lines.iter().cycle() {
        if rest.is_empty() || lines.iter().all(|line| line % 128 == 0) {
            break;
        }
        let (now, later) = rest.split_at(usize::from(line % 128).min(rest.len()));
        text.extend_from_slice(now);
        text.extend_from_slice(if line & 0x80 == 0 { b"\n" } else { b"\r\n" });
        rest = later;
    }
    text.extend_from_slice(rest);
    if pem {
        text.extend_from_slice(b"\n-----END CMS-----\n");
    }
    text
}
