//! PEM and S/MIME around messages, damaged.

use crate::forge::{Recipient, cbc, cbc_algorithm, enveloped_data, foreign, padded, random};
use crate::keys::{EC, RSA};
use crate::native;
use crate::support::sample;
use crate::vector::Vector;

/// Base64 in lines of 64 characters (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quad = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        let digit = |at: usize| DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
        (0..4).map(|at| if at <= chunk.len() { char::from(digit(at)) } else { '=' }).collect::<String>()
    };
    let line = |line: &[u8]| line.chunks(3).map(quad).collect::<String>() + "\n";
    bytes.chunks(48).map(line).collect()
}

/// A PEM file.
pub(crate) fn pem(label: &str, bytes: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", base64(bytes)).into_bytes()
}

/// An S/MIME file.
pub(crate) fn smime(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let kind = "application/pkcs7-mime; smime-type=authEnveloped-data; name=\"smime.p7m\"";
    let head = format!("MIME-Version: 1.0\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n");
    format!("{head}{}\n", base64(bytes)).into_bytes()
}

/// The text with the first `from` replaced.
fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(text.to_vec()).expect("text");
    assert!(text.contains(from), "{from:?} is there");
    text.replacen(from, to, 1).into_bytes()
}

pub(crate) fn vectors() -> Vec<Vector> {
    let plaintext = sample(100);
    let message = foreign(|cek| vec![Recipient::of(EC).ecdh_info(cek)], &plaintext).encode();
    let native = native::stream(EC, &plaintext);
    let (cek, iv) = (random(), random());
    let infos = vec![Recipient::of(RSA).pkcs1_info(&cek)];
    let cbc = enveloped_data(infos, cbc_algorithm(&iv), &cbc(&cek, iv, &padded(&plaintext))).encode();
    let (foreign_pem, native_pem, cbc_pem) = (pem("CMS", &message), pem("CMS", &native), pem("PKCS7", &cbc));
    let mime = smime("base64", &message);
    let end = |text: &[u8]| text.windows(8).position(|window| window == b"-----END").expect("an END line");
    let without_end = |text: &[u8]| text[..end(text)].to_vec();
    let without_last_digit = |text: &[u8]| [&text[..end(text) - 2], &text[end(text) - 1..]].concat();
    let cut = |text: &[u8]| text[..text.len() / 2].to_vec();
    let with = |text: &[u8], more: &[u8]| [text, more].concat();
    let ok = |name, text: Vec<u8>| Vector::ok(name, EC, text, &plaintext);
    let fails = |name, text: Vec<u8>, contains| Vector::fails(name, EC, text, "armour", contains);
    vec![
        ok("pem-space-after-end", with(&foreign_pem, b"\n \r\n\t\n")),
        ok("pem-other-label", replaced(&replaced(&foreign_pem, "CMS", "PKCS7"), "CMS", "PKCS7")),
        ok(
            "pem-one-long-line",
            replaced(
                &String::from_utf8_lossy(&foreign_pem).replace('\n', "").into_bytes(),
                "-----BEGIN CMS-----",
                "-----BEGIN CMS-----\n",
            ),
        ),
        ok("pem-space-before-begin", with(b"\n\n", &foreign_pem)),
        ok("smime-folded-header", replaced(&mime, "; name", ";\n name")),
        ok("smime-capitals", replaced(&mime, "Content-Transfer-Encoding: base64", "CONTENT-TRANSFER-ENCODING: BASE64")),
        fails("pem-without-end", without_end(&foreign_pem), "END line is missing"),
        fails("pem-without-end-native", without_end(&native_pem), "END line is missing"),
        fails("pem-cut", cut(&foreign_pem), "END line is missing"),
        fails("pem-bad-base64", replaced(&foreign_pem, "\nM", "\n*"), "not base64"),
        fails("pem-padding-inside", replaced(&foreign_pem, "\nMI", "\n=="), "not base64"),
        fails("pem-digit-missing", without_last_digit(&foreign_pem), "cut off"),
        fails("pem-junk-after-end", with(&foreign_pem, b"junk\n"), "something follows the END line"),
        fails("pem-junk-after-end-native", with(&native_pem, b"junk\n"), "something follows the END line"),
        fails("pem-second-message", with(&foreign_pem, &foreign_pem), "something follows the END line"),
        fails("pem-begin-within", replaced(&foreign_pem, "-----END", "-----BEGIN"), "neither base64 nor the END line"),
        fails("smime-8bit", smime("8bit", &message), "content-transfer-encoding other than base64"),
        fails(
            "smime-quoted-printable",
            smime("quoted-printable", &message),
            "content-transfer-encoding other than base64",
        ),
        fails("smime-boundary", with(&mime, b"--boundary--\n"), "neither base64 nor the END line"),
        fails("smime-bad-base64", with(&mime, b"****"), "not base64"),
        Vector::fails(
            "smime-no-blank-line",
            EC,
            replaced(&mime, "\n\n", "\n"),
            "not-cms",
            "neither DER, PEM nor S/MIME",
        ),
        Vector::fails("pem-empty", EC, pem("CMS", b""), "not-cms", "empty"),
        Vector::fails("pem-trailing", EC, pem("CMS", &with(&message, b"x")), "trailing", "the input goes on"),
        Vector::fails("pem-without-end-cbc", RSA, without_end(&cbc_pem), "armour", "END line is missing")
            .after(&plaintext)
            .comment("nothing authenticates it, so it is released as it is read"),
    ]
}
