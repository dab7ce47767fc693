//! Content that the policy refuses, though the key would open it.

use crate::forge::{
    self, AES_256_CBC_OID, AES_256_GCM_OID, CIPHER, CONTENT_TYPE, ENVELOPE, ICV_LENGTH, NONCE, PARAMETERS, Recipient,
    TAG, algorithm, auth_enveloped_data, cbc, cbc_algorithm, enveloped_data, foreign, gcm, gcm_algorithm, ofb, padded,
    random,
};
use crate::keys::EC;
use crate::support::der::{Element, INTEGER, octets, oid, sequence, set, tagged};
use crate::support::sample;
use crate::vector::Vector;

const AES_256_CCM: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 47];
const AES_256_OFB: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 43];
const AES_256_CFB: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 44];
const CHACHA20_POLY1305: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 18];
const CEK_HKDF_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 31];
const CONTENT_TYPE_ATTRIBUTE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];

/// Other OIDs in the place of the content cipher's, and the words for them.
const CIPHERS: [(&str, &[u8], &str); 4] = [
    ("ccm", AES_256_CCM, "aes256-CCM inside authEnvelopedData"),
    ("chacha20-poly1305", CHACHA20_POLY1305, "chacha20Poly1305 inside authEnvelopedData"),
    ("cek-hkdf", CEK_HKDF_SHA256, "cek-hkdf-sha256 inside authEnvelopedData"),
    ("unknown-cipher", &[0x2a, 0x03, 0x04], "1.2.3.4 inside authEnvelopedData"),
];

/// Other content types, and the words for them.
const CONTENT_TYPES: [(&str, &[u8], &str); 4] = [
    ("signed-data", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2], "signedData"),
    ("encrypted-data", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6], "encryptedData"),
    ("compressed-data", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 9], "compressedData"),
    ("unknown-content-type", &[0x2a, 0x03, 0x04], "1.2.3.4"),
];

/// Makes one thing wrong.
type Edit = fn(&mut Element);

/// Edits of a good message with AES-256-GCM: name, edit, error, words.
const EDITS: [(&str, Edit, &str, &str); 21] = [
    ("tag-of-0-bytes", |message| message.at(TAG).contents().truncate(0), "refused/tag-length", "0 bytes"),
    ("tag-of-1-byte", |message| message.at(TAG).contents().truncate(1), "refused/tag-length", "1 bytes"),
    ("tag-of-4-bytes", |message| message.at(TAG).contents().truncate(4), "refused/tag-length", "4 bytes"),
    ("tag-of-12-bytes", |message| message.at(TAG).contents().truncate(12), "refused/tag-length", "12 bytes"),
    ("tag-of-15-bytes", |message| message.at(TAG).contents().truncate(15), "refused/tag-length", "15 bytes"),
    ("tag-of-17-bytes", |message| message.at(TAG).contents().push(0), "refused/tag-length", "17 bytes"),
    ("tag-missing", |message| message.at(ENVELOPE).drop_child(), "truncated", "integrity check value"),
    (
        "tag-no-octets",
        |message| *message.at(TAG) = Element::Primitive(INTEGER, vec![0; 16]),
        "malformed",
        "integrity check value",
    ),
    (
        "icv-length-12",
        |message| *message.at(ICV_LENGTH).contents() = vec![12],
        "refused/icv-length",
        "12 instead of 16",
    ),
    ("icv-length-0", |message| *message.at(ICV_LENGTH).contents() = vec![0], "refused/icv-length", "0 instead of 16"),
    ("icv-length-272", |message| *message.at(ICV_LENGTH).contents() = vec![1, 16], "refused/icv-length", "272"),
    (
        "icv-length-negative",
        |message| *message.at(ICV_LENGTH).contents() = vec![0xf0],
        "refused/cipher-parameters",
        "aes256-GCM",
    ),
    (
        "icv-length-missing",
        |message| message.at(PARAMETERS).drop_child(),
        "refused/icv-length-missing",
        "aes-ICVlen is missing",
    ),
    (
        "nonce-of-8-bytes",
        |message| message.at(NONCE).contents().truncate(8),
        "refused/nonce-length",
        "8 bytes instead of 12",
    ),
    (
        "nonce-of-16-bytes",
        |message| message.at(NONCE).contents().extend([0; 4]),
        "refused/nonce-length",
        "16 bytes instead of 12",
    ),
    (
        "nonce-of-0-bytes",
        |message| message.at(NONCE).contents().clear(),
        "refused/nonce-length",
        "0 bytes instead of 12",
    ),
    (
        "nonce-no-octets",
        |message| *message.at(NONCE) = Element::Primitive(INTEGER, vec![1; 12]),
        "refused/cipher-parameters",
        "aes256-GCM",
    ),
    (
        "gcm-parameters-null",
        |message| *message.at(PARAMETERS) = forge::null(),
        "refused/cipher-parameters",
        "aes256-GCM",
    ),
    (
        "gcm-parameters-trailing",
        |message| message.at(PARAMETERS).children().push(octets(b"")),
        "refused/cipher-parameters",
        "aes256-GCM",
    ),
    (
        "gcm-parameters-octets",
        |message| *message.at(PARAMETERS) = octets(&[7; 12]),
        "refused/cipher-parameters",
        "aes256-GCM",
    ),
    (
        "unauthenticated-attributes",
        |message| message.at(ENVELOPE).children().push(tagged(2, vec![attribute()])),
        "refused/attributes",
        "attributes",
    ),
];

pub(crate) fn vectors() -> Vec<Vector> {
    let plaintext = sample(100);
    let recipient = Recipient::of(EC);
    let good = || foreign(|cek| vec![recipient.ecdh_info(cek)], &plaintext);
    let fails =
        |name: &str, message: &Element, expect, contains| Vector::fails(name, EC, message.encode(), expect, contains);

    let mut vectors = Vec::new();
    for (name, edit, expect, contains) in EDITS {
        let mut message = good();
        edit(&mut message);
        vectors.push(fails(name, &message, expect, contains));
    }
    for (name, id, contains) in CIPHERS {
        let mut message = good();
        *message.at(CIPHER) = oid(id);
        vectors.push(fails(&format!("auth-{name}"), &message, "refused/content-cipher", contains));
    }
    for (name, id, contains) in CONTENT_TYPES {
        let mut message = good();
        *message.at(CONTENT_TYPE) = oid(id);
        vectors.push(fails(name, &message, "refused/content-type", contains));
    }

    let (cek, iv, nonce) = (random::<32>(), random::<16>(), random::<12>());
    let infos = vec![recipient.ecdh_info(&cek)];
    let unauthenticated = |id: &[u8], content: &[u8]| {
        auth_enveloped_data(infos.clone(), algorithm(id, vec![octets(&iv)]), content, &[0; 16])
    };
    let message = unauthenticated(AES_256_CBC_OID, &cbc(&cek, iv, &padded(&plaintext)));
    let vector = fails("auth-cbc", &message, "refused/content-cipher", "aes256-CBC inside authEnvelopedData");
    vectors.push(vector.comment("CVE-2026-34182: stock OpenSSL 3.0.19 opens it"));
    let message = unauthenticated(AES_256_OFB, &ofb(&cek, iv, &plaintext));
    let vector = fails("auth-ofb", &message, "refused/content-cipher", "aes256-OFB inside authEnvelopedData");
    vectors.push(vector.comment("CVE-2026-34182: stock OpenSSL 3.0.19 opens it"));
    let message = unauthenticated(AES_256_CFB, &plaintext);
    vectors.push(fails("auth-cfb", &message, "refused/content-cipher", "aes256-CFB inside authEnvelopedData"));

    let (content, tag) = gcm(&cek, nonce, &[], &plaintext);
    let message = enveloped_data(infos.clone(), gcm_algorithm(&nonce), &content);
    vectors.push(fails("enveloped-gcm", &message, "refused/content-cipher", "aes256-GCM inside envelopedData"));
    let message = enveloped_data(infos.clone(), algorithm(AES_256_OFB, vec![octets(&iv)]), &ofb(&cek, iv, &plaintext));
    vectors.push(fails("enveloped-ofb", &message, "refused/content-cipher", "aes256-OFB inside envelopedData"));
    let message = enveloped_data(infos.clone(), cbc_algorithm(&iv[..8]), &cbc(&cek, iv, &padded(&plaintext)));
    vectors.push(fails("cbc-iv-of-8-bytes", &message, "refused/nonce-length", "8 bytes instead of 16"));
    let message =
        enveloped_data(infos.clone(), algorithm(AES_256_CBC_OID, vec![]), &cbc(&cek, iv, &padded(&plaintext)));
    vectors.push(fails("cbc-iv-missing", &message, "refused/cipher-parameters", "aes256-CBC"));

    let short = algorithm(AES_256_GCM_OID, vec![sequence(vec![octets(&nonce), Element::Primitive(INTEGER, vec![12])])]);
    let message = auth_enveloped_data(infos.clone(), short, &content, &tag[..12]);
    vectors.push(fails("tag-and-icv-length-12", &message, "refused/icv-length", "12 instead of 16"));

    let attributes = set(vec![attribute()]);
    let (content, tag) = gcm(&cek, nonce, &attributes.encode(), &plaintext);
    let mut message = auth_enveloped_data(infos, gcm_algorithm(&nonce), &content, &tag);
    message.at(ENVELOPE).children().insert(3, tagged(1, vec![attribute()]));
    vectors.push(fails("authenticated-attributes", &message, "refused/attributes", "attributes"));
    vectors
}

/// contentType: data.
fn attribute() -> Element {
    sequence(vec![oid(CONTENT_TYPE_ATTRIBUTE), set(vec![oid(forge::DATA)])])
}
