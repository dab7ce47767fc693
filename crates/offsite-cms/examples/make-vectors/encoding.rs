//! Encodings that lie, go on for ever, or are no CMS.

use crate::forge::{CONTENT, CONTENT_INFO, ENVELOPE, INFOS, NONCE, Recipient, Stream, TAG, VERSION, foreign};
use crate::good;
use crate::keys::EC;
use crate::support::der::{Element, integer, octets, span, tagged};
use crate::support::{key_path, read, sample};
use crate::vector::Vector;

/// Deeper than any stack should go.
const BOMB: usize = 10_000;

pub(crate) fn vectors() -> Vec<Vector> {
    let mut vectors = lengths();
    vectors.extend(bombs());
    vectors.extend(structure());
    vectors.extend(others());
    vectors
}

fn message(plaintext: &[u8]) -> Element {
    foreign(|cek| vec![Recipient::of(EC).ecdh_info(cek)], plaintext)
}

/// The element that `path` leads to, with these length octets instead of its own.
fn with_length(message: &Element, path: &[usize], length: &[u8]) -> Vec<u8> {
    let bytes = message.encode();
    let octets = span(&bytes, path).length;
    [&bytes[..octets.start], length, &bytes[octets.end..]].concat()
}

/// The same, with indefinite lengths around it, which bound nothing.
fn with_length_unbounded(message: &Element, path: &[usize], length: &[u8]) -> Vec<u8> {
    let mut message = message.clone();
    let element = message.at(path);
    let encoded = element.encode();
    let header = span(&encoded, &[]).contents.start;
    *element = Element::Raw([&encoded[..1], length, &encoded[header..]].concat());
    message.encode_indefinite()
}

/// A content that ends at byte 2^64 - 1: with what follows it, its end cannot be counted.
fn with_content_to_the_brink(message: &Element) -> Vec<u8> {
    let draft = with_length_unbounded(message, CONTENT, MOST);
    let at = draft.windows(MOST.len()).position(|window| window == MOST).expect("the content's length") + MOST.len();
    let length = (u64::MAX - at as u64).to_be_bytes();
    with_length_unbounded(message, CONTENT, &[&[0x88], &length[..]].concat())
}

const TWO_TO_63: &[u8] = &[0x88, 0x80, 0, 0, 0, 0, 0, 0, 0];
const MOST: &[u8] = &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const NINE: &[u8] = &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 100];
const LONGER: &str = "longer than what holds it";

fn lengths() -> Vec<Vector> {
    let plaintext = sample(100);
    let good = message(&plaintext);
    let fails =
        |name: &str, message, expect, contains| Vector::fails(format!("length-{name}"), EC, message, expect, contains);
    let outer = |change: i32| {
        let mut bytes = good.encode();
        // The two octets behind 30 82.
        let length = i32::from(u16::from_be_bytes([bytes[2], bytes[3]])) + change;
        bytes[2..4].copy_from_slice(&u16::try_from(length).expect("two bytes").to_be_bytes());
        bytes
    };
    let native = Stream::new(&Recipient::of(EC), "file", "").slice(0, 1, &plaintext);
    let stream = Stream::new(&Recipient::of(EC), "file", "");
    let [first, second] = [stream.slice(0, 0, &plaintext), stream.slice(1, 1, &plaintext)];
    let liar = with_content_to_the_brink(&second);
    vec![
        fails("of-message-1-too-long", outer(1), "malformed", "the message"),
        fails("of-message-1000-too-long", outer(1000), "malformed", "the message"),
        fails("of-message-1-too-short", outer(-1), "malformed", LONGER),
        fails("of-message-100-too-short", outer(-100), "malformed", LONGER),
        fails("of-message-0", with_length(&good, &[], &[0]), "malformed", "the message"),
        fails("of-message-2-to-63", with_length(&good, &[], TWO_TO_63), "malformed", "the message"),
        fails("of-message-2-to-64-less-1", with_length(&good, &[], MOST), "malformed", LONGER),
        fails("of-message-nine-octets", with_length(&good, &[], NINE), "malformed", "more than eight bytes"),
        fails("of-message-127-octets", with_length(&good, &[], &[0xff]), "malformed", "more than eight bytes"),
        fails("of-content-too-long", with_length(&good, CONTENT, &[0x82, 1, 0]), "malformed", LONGER),
        fails("of-content-too-short", with_length(&good, CONTENT, &[50]), "malformed", "EncryptedContentInfo"),
        fails("of-content-2-to-63", with_length(&good, CONTENT, TWO_TO_63), "malformed", LONGER),
        fails("of-content-2-to-64-less-1", with_length(&good, CONTENT, MOST), "malformed", LONGER),
        fails("of-content-nine-octets", with_length(&good, CONTENT, NINE), "malformed", "more than eight bytes"),
        fails(
            "of-content-2-to-63-unbounded",
            with_length_unbounded(&good, CONTENT, TWO_TO_63),
            "truncated",
            "the content",
        ),
        fails("of-content-2-to-64-less-1-unbounded", with_length_unbounded(&good, CONTENT, MOST), "malformed", LONGER),
        fails("of-content-to-the-brink", with_content_to_the_brink(&good), "truncated", "the content"),
        fails("of-native-content-2-to-63", with_length_unbounded(&native, CONTENT, TWO_TO_63), "too-large", "a slice"),
        fails("of-native-content-to-the-brink", with_content_to_the_brink(&native), "too-large", "a slice"),
        fails("of-second-slice-to-the-brink", [first.encode(), liar].concat(), "slice/not-a-slice", "slice 1")
            .after(&plaintext),
        fails("of-recipients-2-to-63", with_length_unbounded(&good, INFOS, TWO_TO_63), "malformed", "RecipientInfos"),
        fails("of-recipients-2-to-64-less-1", with_length_unbounded(&good, INFOS, MOST), "malformed", LONGER),
        fails("of-recipients-0", with_length(&good, INFOS, &[0]), "malformed", "EncryptedContentInfo"),
        fails("of-tag-2-to-63", with_length_unbounded(&good, TAG, TWO_TO_63), "too-large", "integrity check value"),
        fails("of-nonce-2-to-63", with_length_unbounded(&good, NONCE, TWO_TO_63), "too-large", "EncryptedContentInfo"),
        fails(
            "primitive-indefinite-content",
            with_length(&good, CONTENT, &[0x80]),
            "malformed",
            "primitive element of indefinite length",
        ),
        fails(
            "primitive-indefinite-version",
            with_length(&good, VERSION, &[0x80]),
            "malformed",
            "primitive element of indefinite length",
        ),
        Vector::ok("length-not-minimal", EC, not_minimal(&good), &plaintext)
            .comment("BER allows it in a foreign message"),
    ]
}

/// Lengths with leading zeros, of the content and of what is around it.
fn not_minimal(message: &Element) -> Vec<u8> {
    let mut message = message.clone();
    let content = message.at(CONTENT).contents().clone();
    let length = u8::try_from(content.len()).expect("a short content");
    *message.at(CONTENT) = Element::Raw([&[0x80, 0x84, 0, 0, 0, length], &content[..]].concat());
    message.encode()
}

/// `depth` elements with this tag within each other.
fn nested(tag: u8, depth: usize, indefinite: bool) -> Vec<u8> {
    if indefinite {
        return [[tag, 0x80].repeat(depth), vec![0; 2 * depth]].concat();
    }
    // Headers from the inside out, since each one's length is that of what it holds.
    let mut headers = Vec::new();
    let mut length = 0_usize;
    for _ in 0..depth {
        let header = crate::support::der::element(tag, &vec![0; length]);
        let header = header[..header.len() - length].to_vec();
        length += header.len();
        headers.push(header);
    }
    headers.reverse();
    headers.concat()
}

fn bombs() -> Vec<Vector> {
    let good = message(&sample(100));
    let fails = |name: &str, message: Vec<u8>| {
        Vector::fails(format!("bomb-{name}"), EC, message, "malformed", "nested too deeply")
    };
    let in_recipients = |indefinite| {
        let mut message = good.clone();
        message.at(INFOS).children().push(Element::Raw(nested(0xa4, BOMB, indefinite)));
        message.encode()
    };
    let in_content = |indefinite| {
        let mut message = good.clone();
        *message.at(CONTENT) = tagged(0, vec![Element::Raw(nested(0x24, BOMB, indefinite))]);
        message.encode()
    };
    let mut endless = good.clone();
    *endless.at(CONTENT) = tagged(0, vec![octets(&[7; 100])]);
    let endless = endless.encode_indefinite();
    // Ten bytes end the five elements around the content's piece; the tag lies between.
    let cut = endless.len() - 10 - 18 + 2;
    vec![
        fails("definite-in-recipients", in_recipients(false)),
        fails("indefinite-in-recipients", in_recipients(true)),
        fails("definite-in-content", in_content(false)),
        fails("indefinite-in-content", in_content(true)),
        Vector::fails("bomb-of-messages", EC, nested(0x30, BOMB, true), "malformed", "nested too deeply"),
        Vector::fails("bomb-open-only", EC, [0x30, 0x80].repeat(BOMB), "malformed", "nested too deeply"),
        Vector::fails("endless-message", EC, endless[..endless.len() - 2].to_vec(), "truncated", "the message"),
        Vector::fails("endless-content", EC, endless[..cut - 4].to_vec(), "truncated", "the content"),
    ]
}

/// Fields that are missing, of another kind, or too many.
fn structure() -> Vec<Vector> {
    let plaintext = sample(100);
    let good = message(&plaintext);
    let edited = |edit: &dyn Fn(&mut Element)| {
        let mut message = good.clone();
        edit(&mut message);
        message.encode()
    };
    let fails = |name, message, expect, contains| Vector::fails(name, EC, message, expect, contains);
    let originator = |message: &mut Element| message.at(ENVELOPE).children().insert(1, tagged(0, vec![]));
    let trailing = [good.encode(), b"x".to_vec()].concat();
    let twice = [good.encode(), good.encode()].concat();
    let indefinite_trailing = [good.encode_indefinite(), vec![0, 0]].concat();
    vec![
        Vector::ok("foreign-indefinite", EC, good.encode_indefinite(), &plaintext),
        Vector::ok("foreign-originator-info", EC, edited(&originator), &plaintext),
        Vector::ok("foreign-content-empty", EC, message(b"").encode(), b""),
        fails("foreign-junk-after", trailing, "trailing", "the input goes on"),
        fails("foreign-message-after", twice, "trailing", "several messages in one file"),
        fails("foreign-ends-after-indefinite", indefinite_trailing, "trailing", "the input goes on"),
        fails("foreign-content-missing", edited(&|m| m.at(CONTENT_INFO).drop_child()), "malformed", "the content"),
        fails(
            "foreign-content-wrong-tag",
            edited(&|m| *m.at(CONTENT) = Element::Primitive(0x81, vec![1])),
            "malformed",
            "the content",
        ),
        fails(
            "foreign-content-piece-wrong-tag",
            edited(&|m| *m.at(CONTENT) = tagged(0, vec![integer(1)])),
            "malformed",
            "something else",
        ),
        fails(
            "foreign-version-missing",
            edited(&|m| drop(m.at(ENVELOPE).children().remove(0))),
            "malformed",
            "the message",
        ),
        fails("foreign-version-negative", edited(&|m| *m.at(VERSION).contents() = vec![0xff]), "malformed", "negative"),
        fails("foreign-version-empty", edited(&|m| m.at(VERSION).contents().clear()), "malformed", "empty"),
        fails("foreign-more-fields", edited(&|m| m.children().push(integer(1))), "malformed", "more than belongs here"),
        fails(
            "foreign-cut-before-tag",
            good.encode()[..good.encode().len() - 18].to_vec(),
            "truncated",
            "integrity check value",
        ),
        fails("foreign-cut-in-content", good.encode()[..good.encode().len() - 50].to_vec(), "truncated", "the content"),
        fails("foreign-cut-in-recipients", good.encode()[..100].to_vec(), "truncated", "RecipientInfos"),
        fails("tag-number-above-30", vec![0x3f, 0x81, 0x01, 0x00], "not-cms", "does not begin as one"),
        fails(
            "tag-number-above-30-inside",
            vec![0x30, 0x04, 0x3f, 0x81, 0x01, 0x00],
            "malformed",
            "a tag number above 30",
        ),
        fails("one-byte", vec![0x30], "truncated", "the message"),
        fails("end-of-contents-first", vec![0x30, 0x80, 0, 0], "malformed", "an end where an element is expected"),
    ]
}

/// What people try to decrypt that is no CMS.
fn others() -> Vec<Vector> {
    let fails = |name, message: &[u8], contains| Vector::fails(name, EC, message.to_vec(), "not-cms", contains);
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let age = b"age-encryption.org/v1\n-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\n";
    let age_armour =
        b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n-----END AGE ENCRYPTED FILE-----\n";
    let pgp_armour = b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n";
    let pgp = [&[0x85, 0x01, 0x0c, 3][..], &sample(60)].concat();
    let private_key_der = good::openssl("pkey -in p256.pem -outform DER", b"");
    let certificate_der = good::openssl("x509 -in p256.pem -outform DER", b"");
    let certificate = good::openssl("x509 -in p256.pem", b"");
    vec![
        fails("empty-input", b"", "empty"),
        fails("gzip", &gzip, "does not begin as one"),
        fails("age", age, "age"),
        fails("age-armour", age_armour, "age"),
        fails("openpgp-armour", pgp_armour, "OpenPGP"),
        fails("openpgp", &pgp, "does not begin as one"),
        fails("openssl-enc", b"Salted__01234567890123456789abcdef", "openssl enc"),
        fails("private-key", &read(&key_path(EC)), "a private key"),
        fails("private-key-der", &private_key_der, "content type"),
        fails("certificate", &certificate, "a certificate"),
        fails("certificate-der", &certificate_der, "content type"),
        fails("text", b"Dear reader,\n\nthis is no message.\n", "neither DER, PEM nor S/MIME"),
        fails("zeros", &[0; 512], "does not begin as one"),
    ]
}
