//! One flipped bit in each field, and in each length, of three envelopes.
//!
//! RecipientInfos are not authenticated (RFC 5083 §2.1): a bit of theirs that no decision rests on
//! changes nothing, and the message opens. In a long stream they must be those of the first slice.

use crate::keys::{EC, RSA};
use crate::native;
use crate::support::der::{Span, span, spans};
use crate::support::sample;
use crate::vector::Vector;

/// A bit of a field: where, and what must come of flipping it.
struct Flip {
    name: &'static str,
    path: &'static [usize],
    /// Number of the byte in the field's contents; `LAST` is the last one.
    byte: usize,
    mask: u8,
    expect: &'static str,
    contains: &'static str,
}

const LAST: usize = usize::MAX;

const fn flip(
    name: &'static str,
    path: &'static [usize],
    byte: usize,
    expect: &'static str,
    contains: &'static str,
) -> Flip {
    Flip { name, path, byte, mask: 1, expect, contains }
}

const NUMBER: usize = 10;
const FLAG: usize = 11;

/// A single message of the library's to a P-256 key.
const NATIVE: [Flip; 21] = [
    flip("content-type", &[0], LAST, "refused/content-type", "1.2.840.113549.1.9.16.1.22"),
    flip("version", &[1, 0, 0], 0, "slice/not-a-slice", "slice 0 (from byte 0)"),
    flip("recipient-version", &[1, 0, 1, 0, 0], 0, "ok", ""),
    flip("originator-algorithm", &[1, 0, 1, 0, 1, 0, 0, 0], LAST, "ok", ""),
    flip("originator-point", &[1, 0, 1, 0, 1, 0, 1], LAST, "refused/originator-key", "point"),
    flip("originator-point-form", &[1, 0, 1, 0, 1, 0, 1], 1, "refused/originator-key", "point"),
    flip("originator-unused-bits", &[1, 0, 1, 0, 1, 0, 1], 0, "malformed", "RecipientInfos"),
    flip("key-agreement", &[1, 0, 1, 0, 2, 0], LAST, "refused/key-encryption", "1.3.132.1.11.0"),
    flip("key-wrap", &[1, 0, 1, 0, 2, 1, 0], LAST, "refused/key-wrap", "aes256-CFB"),
    flip("recipient-issuer", &[1, 0, 1, 0, 3, 0, 0, 0, 0, 0, 1], LAST, "ok", ""),
    flip("recipient-serial", &[1, 0, 1, 0, 3, 0, 0, 1], LAST, "ok", ""),
    flip("wrapped-key", &[1, 0, 1, 0, 3, 0, 1], 20, "decryption", "wrong private key, or the message was altered"),
    flip("inner-content-type", &[1, 0, 2, 0], LAST, "slice/not-a-slice", "slice 0 (from byte 0)"),
    flip("cipher", &[1, 0, 2, 1, 0], LAST, "refused/content-cipher", "aes256-CCM inside authEnvelopedData"),
    flip("nonce-prefix", &[1, 0, 2, 1, 1, 0], 0, "decryption", "wrong private key, or the message was altered"),
    flip("nonce-number", &[1, 0, 2, 1, 1, 0], NUMBER, "slice/out-of-order", "slice 0 (from byte 0): it is number 1"),
    flip("nonce-last-flag", &[1, 0, 2, 1, 1, 0], FLAG, "slice/not-last", "cut off"),
    Flip { mask: 2, ..flip("nonce-last-flag-3", &[1, 0, 2, 1, 1, 0], FLAG, "slice/not-a-slice", "slice 0") },
    flip("icv-length", &[1, 0, 2, 1, 1, 1], 0, "refused/icv-length", "17"),
    flip("content", &[1, 0, 2, 2], 50, "slice/altered", "slice 0 (from byte 0)"),
    flip("tag", &[1, 0, 3], LAST, "slice/altered", "slice 0 (from byte 0)"),
];

/// A message of OpenSSL's with AES-128-GCM to an RSA key by OAEP.
const FOREIGN: [Flip; 16] = [
    flip("content-type", &[0], LAST, "refused/content-type", "1.2.840.113549.1.9.16.1.22"),
    flip("version", &[1, 0, 0], 0, "ok", ""),
    flip("recipient-version", &[1, 0, 1, 0, 0], 0, "ok", ""),
    flip("recipient-issuer", &[1, 0, 1, 0, 1, 0, 0, 0, 1], LAST, "ok", ""),
    flip("recipient-serial", &[1, 0, 1, 0, 1, 1], LAST, "ok", ""),
    flip("key-transport", &[1, 0, 1, 0, 2, 0], LAST, "refused/key-encryption", "1.2.840.113549.1.1.6"),
    flip("oaep-hash", &[1, 0, 1, 0, 2, 1, 0, 0, 0], LAST, "refused/digest", "2.16.840.1.101.3.4.2.0"),
    flip("oaep-mgf", &[1, 0, 1, 0, 2, 1, 1, 0, 0], LAST, "refused/oaep-parameters", "RSAES-OAEP"),
    flip("oaep-mgf-hash", &[1, 0, 1, 0, 2, 1, 1, 0, 1, 0], LAST, "refused/digest", "2.16.840.1.101.3.4.2.0"),
    flip("encrypted-key", &[1, 0, 1, 0, 3], 100, "decryption", "wrong private key, or the message was altered"),
    flip("inner-content-type", &[1, 0, 2, 0], LAST, "ok", ""),
    flip("cipher", &[1, 0, 2, 1, 0], LAST, "refused/content-cipher", "aes128-CCM inside authEnvelopedData"),
    flip("nonce", &[1, 0, 2, 1, 1, 0], 0, "decryption", "wrong private key, or the message was altered"),
    flip("icv-length", &[1, 0, 2, 1, 1, 1], 0, "refused/icv-length", "17"),
    flip("content", &[1, 0, 2, 2], 50, "decryption", "wrong private key, or the message was altered"),
    flip("tag", &[1, 0, 3], LAST, "decryption", "wrong private key, or the message was altered"),
];

/// The second of a stream's three slices.
const MIDDLE: [Flip; 21] = [
    flip("content-type", &[0], LAST, "slice/not-a-slice", "slice 1 (from byte 2048)"),
    flip("version", &[1, 0, 0], 0, "slice/not-a-slice", "slice 1 (from byte 2048)"),
    flip("recipient-version", &[1, 0, 1, 0, 0], 0, "slice/other-recipients", "slice 1"),
    flip("originator-algorithm", &[1, 0, 1, 0, 1, 0, 0, 0], LAST, "slice/other-recipients", "slice 1"),
    flip("originator-point", &[1, 0, 1, 0, 1, 0, 1], LAST, "slice/other-recipients", "slice 1"),
    flip("originator-unused-bits", &[1, 0, 1, 0, 1, 0, 1], 0, "slice/not-a-slice", "slice 1"),
    flip("key-agreement", &[1, 0, 1, 0, 2, 0], LAST, "slice/other-recipients", "slice 1"),
    flip("key-wrap", &[1, 0, 1, 0, 2, 1, 0], LAST, "slice/other-recipients", "slice 1"),
    flip("recipient-issuer", &[1, 0, 1, 0, 3, 0, 0, 0, 0, 0, 1], LAST, "slice/other-recipients", "slice 1"),
    flip("recipient-serial", &[1, 0, 1, 0, 3, 0, 0, 1], LAST, "slice/other-recipients", "slice 1"),
    flip("wrapped-key", &[1, 0, 1, 0, 3, 0, 1], 20, "slice/other-recipients", "slice 1"),
    flip("inner-content-type", &[1, 0, 2, 0], LAST, "slice/not-a-slice", "slice 1 (from byte 2048)"),
    flip("cipher", &[1, 0, 2, 1, 0], LAST, "slice/not-a-slice", "slice 1 (from byte 2048)"),
    flip("nonce-prefix", &[1, 0, 2, 1, 1, 0], 0, "slice/other-stream", "slice 1 (from byte 2048)"),
    flip("nonce-number", &[1, 0, 2, 1, 1, 0], NUMBER, "slice/out-of-order", "slice 1 (from byte 2048): it is number 0"),
    flip("nonce-last-flag", &[1, 0, 2, 1, 1, 0], FLAG, "slice/goes-on", "slice 1 (from byte 2048)"),
    Flip { mask: 2, ..flip("nonce-last-flag-2", &[1, 0, 2, 1, 1, 0], FLAG, "slice/not-a-slice", "slice 1") },
    flip("icv-length", &[1, 0, 2, 1, 1, 1], 0, "slice/not-a-slice", "slice 1 (from byte 2048)"),
    flip("content", &[1, 0, 2, 2], 50, "slice/altered", "slice 1 (from byte 2048)"),
    flip("tag", &[1, 0, 3], LAST, "slice/altered", "slice 1 (from byte 2048)"),
    flip("content-first-byte", &[1, 0, 2, 2], 0, "slice/altered", "slice 1 (from byte 2048)"),
];

pub(crate) fn vectors() -> Vec<Vector> {
    let plaintext = sample(300);
    let native = native::stream(EC, &plaintext);
    let foreign = crate::good::openssl(
        "cms -encrypt -binary -aes-128-gcm -outform DER -recip rsa2048.pem \
         -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256",
        &plaintext,
    );
    let part = native::plaintext_length(EC);
    let stream_plaintext = sample(2 * part + 100);
    let slices = native::slices(EC, &stream_plaintext);
    assert_eq!(slices.len(), 3, "three slices");

    let mut vectors = Vec::new();
    for flip in NATIVE {
        vectors.push(flip.vector("native", EC, flipped(&native, &flip), &plaintext, &[]));
    }
    for flip in FOREIGN {
        vectors.push(flip.vector("foreign", RSA, flipped(&foreign, &flip), &plaintext, &[]));
    }
    let with_middle = |middle: Vec<u8>| [&slices[0][..], &middle, &slices[2]].concat();
    for flip in MIDDLE {
        let message = with_middle(flipped(&slices[1], &flip));
        vectors.push(flip.vector("middle", EC, message, &stream_plaintext, &stream_plaintext[..part]));
    }

    for (number, altered) in flipped_lengths(&native) {
        let (expect, contains) = NATIVE_LENGTHS.at(number);
        let vector = Vector::fails(format!("native-length-{number:02}"), EC, altered.message, expect, contains);
        vectors.push(vector.comment(altered.comment));
    }
    for (number, altered) in flipped_lengths(&foreign) {
        let (expect, contains) = FOREIGN_LENGTHS.at(number);
        let vector = Vector::fails(format!("foreign-length-{number:02}"), RSA, altered.message, expect, contains);
        vectors.push(vector.comment(altered.comment));
    }
    for (number, altered) in flipped_lengths(&slices[1]) {
        let (expect, contains) = MIDDLE_LENGTHS.at(number);
        let message = with_middle(altered.message);
        let vector = Vector::fails(format!("middle-length-{number:02}"), EC, message, expect, contains);
        vectors.push(vector.after(&stream_plaintext[..part]).comment(altered.comment));
    }
    vectors
}

fn flipped(message: &[u8], flip: &Flip) -> Vec<u8> {
    let contents = span(message, flip.path).contents;
    let at = if flip.byte == LAST { contents.end - 1 } else { contents.start + flip.byte };
    let mut message = message.to_vec();
    message[at] ^= flip.mask;
    message
}

impl Flip {
    /// `plaintext` is what comes out if it opens, `before` what is released if it does not.
    fn vector(&self, group: &str, key: &'static str, message: Vec<u8>, plaintext: &[u8], before: &[u8]) -> Vector {
        let name = format!("{group}-flip-{}", self.name);
        match self.expect {
            "ok" => Vector::ok(name, key, message, plaintext).comment("RecipientInfos and types are not authenticated"),
            expect => Vector::fails(name, key, message, expect, self.contains).after(before),
        }
    }
}

/// A message with a length octet changed.
struct Altered {
    message: Vec<u8>,
    comment: String,
}

/// The message with the lowest bit flipped in each length octet, numbered.
fn flipped_lengths(message: &[u8]) -> Vec<(usize, Altered)> {
    let octets = |span: Span| span.length.clone().map(move |at| (span.path.clone(), at));
    let altered = |(path, at): (Vec<usize>, usize)| {
        let mut message = message.to_vec();
        message[at] ^= 1;
        Altered { message, comment: format!("byte {at}, in the length of element {path:?}") }
    };
    spans(message).into_iter().flat_map(octets).map(altered).enumerate().collect()
}

/// What must come of a flipped length: most fail alike, some otherwise.
struct Lengths {
    most: (&'static str, &'static str),
    others: &'static [(usize, &'static str, &'static str)],
}

impl Lengths {
    fn at(&self, number: usize) -> (&'static str, &'static str) {
        let other = self.others.iter().find(|(other, ..)| *other == number);
        other.map_or(self.most, |(_, expect, contains)| (*expect, *contains))
    }
}

/// The first octet says that three follow, of which the last is a part of the content type.
const NO_TYPE: (usize, &str, &str) = (0, "not-cms", "content type");
/// A content type that is an octet shorter is another one.
const OTHER_TYPE: (usize, &str, &str) = (3, "refused/content-type", "1.2.840.113549.1.9.16.1");

const NATIVE_LENGTHS: Lengths = Lengths {
    most: ("malformed", ""),
    others: &[
        NO_TYPE,
        (1, "slice/not-a-slice", "slice 0 (from byte 0)"),
        OTHER_TYPE,
        (45, "slice/not-a-slice", "slice 0 (from byte 0)"),
        (47, "slice/not-a-slice", "slice 0 (from byte 0)"),
    ],
};
const FOREIGN_LENGTHS: Lengths = Lengths { most: ("malformed", ""), others: &[NO_TYPE, OTHER_TYPE] };
const MIDDLE_LENGTHS: Lengths = Lengths { most: ("slice/not-a-slice", "slice 1 (from byte 2048)"), others: &[] };
