//! RecipientInfos that are malformed, or outside the list.

use crate::forge::{
    INFOS, MGF1, RSA_ENCRYPTION, RSAES_OAEP, Recipient, SHA_256, algorithm, cbc, cbc_algorithm, enveloped_data,
    foreign, null, padded, random,
};
use crate::keys::{EC, EC_STRANGER, RSA, RSA_STRANGER};
use crate::support::der::{BIT_STRING, Element, octets, oid, sequence, tagged};
use crate::support::sample;
use crate::vector::Vector;

/// The one text for every failure that could tell something of the key.
const UNIFORM: &str = "wrong private key, or the message was altered";

const MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5];
const P_SPECIFIED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 9];
const CMS_3DES_WRAP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 6];
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
/// dhSinglePass-stdDH-hkdf-sha256 (RFC 8418 §2.2).
const STD_DH_HKDF_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 19];

pub(crate) fn vectors() -> Vec<Vector> {
    let mut vectors = oaep();
    vectors.extend(pkcs1());
    vectors.extend(ecdh());
    vectors.extend(sets());
    vectors
}

fn sha_256() -> Element {
    algorithm(SHA_256, vec![])
}

fn mgf1(id: &[u8], parameters: Vec<Element>) -> Element {
    tagged(1, vec![algorithm(id, parameters)])
}

/// The key is encrypted by PKCS#1 v1.5, so that a reader which falls back to it opens them.
fn oaep() -> Vec<Vector> {
    let hash = || tagged(0, vec![sha_256()]);
    let mask = || mgf1(MGF1, vec![sha_256()]);
    let malformed = ("refused/oaep-parameters", "RSAES-OAEP");
    let digest = |name| ("refused/digest", name);
    let cases: Vec<(&str, Vec<Element>, (&str, &str))> = vec![
        ("absent", vec![], malformed),
        ("null", vec![null()], malformed),
        ("octets", vec![octets(b"")], malformed),
        ("set", vec![Element::Constructed(0x31, vec![])], malformed),
        ("two", vec![sequence(vec![]), sequence(vec![])], ("malformed", "RecipientInfos")),
        ("unknown-field", vec![sequence(vec![hash(), tagged(3, vec![sha_256()])])], malformed),
        ("hash-untagged", vec![sequence(vec![sha_256()])], malformed),
        ("fields-swapped", vec![sequence(vec![mask(), hash()])], malformed),
        ("field-repeated", vec![sequence(vec![hash(), hash()])], malformed),
        ("trailing", vec![sequence(vec![hash(), mask(), null()])], malformed),
        ("trailing-in-field", vec![sequence(vec![tagged(0, vec![sha_256(), null()])])], malformed),
        ("field-empty", vec![sequence(vec![tagged(0, vec![])])], malformed),
        ("hash-parameters", vec![sequence(vec![tagged(0, vec![algorithm(SHA_256, vec![octets(b"")])])])], malformed),
        ("hash-md5", vec![sequence(vec![tagged(0, vec![algorithm(MD5, vec![])])])], digest("1.2.840.113549.2.5")),
        ("mgf-other", vec![sequence(vec![hash(), mgf1(SHA_256, vec![sha_256()])])], malformed),
        ("mgf-hash-missing", vec![sequence(vec![hash(), mgf1(MGF1, vec![])])], malformed),
        ("mgf-hash-null", vec![sequence(vec![hash(), mgf1(MGF1, vec![null()])])], malformed),
        ("mgf-hash-no-algorithm", vec![sequence(vec![hash(), mgf1(MGF1, vec![oid(SHA_256)])])], malformed),
        (
            "mgf-hash-md5",
            vec![sequence(vec![hash(), mgf1(MGF1, vec![algorithm(MD5, vec![])])])],
            digest("1.2.840.113549.2.5"),
        ),
        (
            "label-other",
            vec![sequence(vec![hash(), mask(), tagged(2, vec![algorithm(SHA_256, vec![octets(b"")])])])],
            malformed,
        ),
        (
            "label-missing",
            vec![sequence(vec![hash(), mask(), tagged(2, vec![algorithm(P_SPECIFIED, vec![])])])],
            malformed,
        ),
        (
            "label-no-octets",
            vec![sequence(vec![hash(), mask(), tagged(2, vec![algorithm(P_SPECIFIED, vec![sha_256()])])])],
            malformed,
        ),
        ("wrong-padding", vec![sequence(vec![hash(), mask()])], ("decryption", UNIFORM)),
    ];
    let recipient = Recipient::of(RSA);
    let vector = |(name, parameters, (expect, contains)): (&str, _, _)| {
        let algorithm = algorithm(RSAES_OAEP, parameters);
        let infos = |cek: &[u8]| vec![recipient.key_transport(algorithm, &recipient.pkcs1(cek))];
        let message = foreign(infos, &sample(100)).encode();
        let vector = Vector::fails(format!("oaep-{name}"), RSA, message, expect, contains);
        vector.comment("the key is encrypted by PKCS#1 v1.5: nothing may fall back to it")
    };
    cases.into_iter().map(vector).collect()
}

/// What must look like any other failure, in GCM and in CBC.
fn pkcs1() -> Vec<Vector> {
    let recipient = Recipient::of(RSA);
    let rsa = |parameters: Vec<Element>, encrypted: &[u8]| {
        recipient.key_transport(algorithm(RSA_ENCRYPTION, parameters), encrypted)
    };
    let no_ciphertext = [&[0][..], &sample(255)].concat();
    let encrypted_keys: [(&str, &str, Vec<u8>, [u8; 32]); 6] = {
        let cek = random::<32>();
        [
            ("wrong-key", RSA_STRANGER, recipient.pkcs1(&cek), cek),
            ("wrong-padding", RSA, recipient.oaep(&cek), cek),
            ("no-ciphertext", RSA, no_ciphertext, cek),
            ("ciphertext-too-short", RSA, recipient.pkcs1(&cek)[1..].to_vec(), cek),
            ("key-too-short", RSA, recipient.pkcs1(&cek[..16]), cek),
            ("key-empty", RSA, recipient.pkcs1(&[]), cek),
        ]
    };
    let plaintext = sample(100);
    let mut vectors = Vec::new();
    for (name, key, encrypted, cek) in encrypted_keys {
        let infos = || vec![rsa(vec![null()], &encrypted)];
        let gcm = foreign(|_| infos(), &plaintext).encode();
        vectors.push(Vector::fails(format!("pkcs1-gcm-{name}"), key, gcm, "decryption", UNIFORM));
        let iv = random();
        let cbc = enveloped_data(infos(), cbc_algorithm(&iv), &cbc(&cek, iv, &padded(&plaintext))).encode();
        vectors.push(Vector::fails(format!("pkcs1-cbc-{name}"), key, cbc, "decryption", UNIFORM));
    }
    let good = foreign(|cek| vec![rsa(vec![], &recipient.pkcs1(cek))], &plaintext).encode();
    vectors.push(Vector::ok("pkcs1-parameters-absent", RSA, good, &plaintext).comment("absent is NULL"));
    let message = foreign(|cek| vec![rsa(vec![octets(b"")], &recipient.pkcs1(cek))], &plaintext).encode();
    vectors.push(Vector::fails("pkcs1-parameters", RSA, message, "refused/key-encryption", "rsaEncryption"));
    vectors
}

/// Within KeyAgreeRecipientInfo.
const ORIGINATOR: &[usize] = &[1];
const POINT: &[usize] = &[1, 0, 1];
const AGREEMENT: &[usize] = &[2];
const AGREEMENT_ID: &[usize] = &[2, 0];
const WRAP: &[usize] = &[2, 1];
const WRAP_ID: &[usize] = &[2, 1, 0];
const WRAPPED_KEY: &[usize] = &[3, 0, 1];

type Edit = fn(&mut Element);

const ECDH: [(&str, Edit, &str, &str); 25] = [
    ("wrap-missing", |info| info.at(AGREEMENT).drop_child(), "refused/agreement-parameters", "key agreement"),
    ("wrap-null", |info| *info.at(WRAP) = null(), "refused/agreement-parameters", "key agreement"),
    ("wrap-no-algorithm", |info| *info.at(WRAP) = oid(SHA_256), "refused/agreement-parameters", "key agreement"),
    ("wrap-empty", |info| info.at(WRAP).children().clear(), "refused/agreement-parameters", "key agreement"),
    (
        "wrap-parameters",
        |info| info.at(WRAP).children().push(octets(b"")),
        "refused/agreement-parameters",
        "key agreement",
    ),
    ("wrap-3des", |info| *info.at(WRAP_ID) = oid(CMS_3DES_WRAP), "refused/key-wrap", "3DES key wrap"),
    ("wrap-unknown", |info| *info.at(WRAP_ID) = oid(SHA_256), "refused/key-wrap", "SHA-256"),
    (
        "kdf-unknown",
        |info| *info.at(AGREEMENT_ID) = oid(&[0x2b, 0x81, 0x04, 1, 11, 9]),
        "refused/key-encryption",
        "1.3.132.1.11.9",
    ),
    (
        "kdf-hkdf",
        |info| *info.at(AGREEMENT_ID) = oid(STD_DH_HKDF_SHA256),
        "refused/key-encryption",
        "1.2.840.113549.1.9.16.3.19",
    ),
    ("kdf-other", |info| *info.at(AGREEMENT_ID) = oid(&[0x2b, 0x81, 0x04, 1, 11, 2]), "decryption", UNIFORM),
    (
        "point-off-the-curve",
        |info| *info.at(POINT).contents().last_mut().expect("a point") ^= 1,
        "refused/originator-key",
        "point",
    ),
    ("point-infinity", |info| *info.at(POINT).contents() = vec![0, 0], "refused/originator-key", "point"),
    ("point-empty", |info| *info.at(POINT).contents() = vec![0], "refused/originator-key", "point"),
    ("point-truncated", |info| info.at(POINT).drop_byte(), "refused/originator-key", "point"),
    ("point-too-long", |info| info.at(POINT).contents().push(0), "refused/originator-key", "point"),
    ("point-compressed", compress, "refused/originator-key", "point"),
    ("point-hybrid", |info| info.at(POINT).contents()[1] |= 2, "refused/originator-key", "point"),
    ("point-zero", |info| info.at(POINT).contents()[2..].fill(0), "refused/originator-key", "point"),
    ("point-of-p384", |info| *info.at(POINT) = point_of("p384.pem"), "refused/originator-key", "point"),
    (
        "point-as-certificates-have-it",
        |info| *info.at(POINT) = public_key_info(info),
        "refused/originator-key",
        "point",
    ),
    ("point-bits", |info| info.at(POINT).contents()[0] = 1, "malformed", "a bit string does not end at a byte"),
    (
        "originator-is-a-certificate",
        |info| *info.at(ORIGINATOR) = tagged(0, vec![sequence(vec![])]),
        "refused/originator-key",
        "point",
    ),
    ("originator-missing", |info| drop(info.children().remove(1)), "malformed", "RecipientInfos"),
    ("wrapped-key-cut", |info| info.at(WRAPPED_KEY).drop_byte(), "decryption", UNIFORM),
    ("wrapped-key-empty", |info| info.at(WRAPPED_KEY).contents().clear(), "decryption", UNIFORM),
];

/// The point with its x-coordinate only: the shared secret stays the same.
fn compress(info: &mut Element) {
    let point = info.at(POINT).contents();
    point[1] = 2 | point[65] & 1;
    point.truncate(34);
}

/// The public key of another certificate, as a BIT STRING.
fn point_of(key: &str) -> Element {
    let certificate = crate::support::certificate(key);
    let bits = crate::support::der::span(certificate.der(), &[0, 6, 1]);
    Element::Primitive(BIT_STRING, certificate.der()[bits.contents].to_vec())
}

/// A BIT STRING with SubjectPublicKeyInfo, which holds the right point, in the point's place.
fn public_key_info(info: &mut Element) -> Element {
    let certificate = crate::support::certificate(EC);
    let id = crate::support::der::span(certificate.der(), &[0, 6, 0]).whole;
    let whole = sequence(vec![Element::Raw(certificate.der()[id].to_vec()), info.at(POINT).clone()]);
    Element::Primitive(BIT_STRING, [&[0], &whole.encode()[..]].concat())
}

fn ecdh() -> Vec<Vector> {
    let recipient = Recipient::of(EC);
    let plaintext = sample(100);
    let mut vectors = Vec::new();
    for (name, edit, expect, contains) in ECDH {
        let infos = |cek: &[u8]| {
            let mut info = recipient.ecdh_info(cek);
            edit(&mut info);
            vec![info]
        };
        let message = foreign(infos, &plaintext).encode();
        vectors.push(Vector::fails(format!("ecdh-{name}"), EC, message, expect, contains));
    }
    let message = foreign(|cek| vec![recipient.ecdh_info(&cek[..16])], &plaintext).encode();
    vectors.push(Vector::fails("ecdh-key-too-short", EC, message, "refused/key-length", "aes256-GCM"));
    let message = foreign(|cek| vec![recipient.ecdh_info(cek)], &plaintext).encode();
    vectors.push(Vector::fails("ecdh-wrong-key", EC_STRANGER, message.clone(), "not-for-this-key", "CN=p256"));
    vectors.push(Vector::fails("ecdh-message-rsa-key", RSA, message, "not-for-this-key", "CN=p256"));
    let infos = |cek: &[u8]| {
        let mut info = recipient.ecdh_info(cek);
        *info.at(&[1, 0, 0, 0]) = oid(X25519);
        vec![info]
    };
    // The algorithm in front of the point is not read: the recipient's curve is the only one.
    let message = foreign(infos, &plaintext).encode();
    vectors.push(Vector::ok("ecdh-originator-algorithm", EC, message, &plaintext));
    vectors
}

/// RecipientInfos as a whole.
fn sets() -> Vec<Vector> {
    let recipient = Recipient::of(EC);
    let plaintext = sample(100);
    let message = |infos: &dyn Fn(&[u8]) -> Vec<Element>| foreign(infos, &plaintext);
    let unknown = || tagged(5, vec![octets(b"")]);
    let other = |number| tagged(number, vec![octets(b"")]);
    let strangers = |cek: &[u8], count| {
        [vec![Recipient::of(EC_STRANGER).ecdh_info(cek); count], vec![recipient.ecdh_info(cek)]].concat()
    };
    let fails = |name, message: Element, expect, contains| Vector::fails(name, EC, message.encode(), expect, contains);

    let mut without_set = message(&|cek| vec![recipient.ecdh_info(cek)]);
    *without_set.at(INFOS) = octets(b"");
    let mut sequence_for_set = message(&|cek| vec![recipient.ecdh_info(cek)]);
    *sequence_for_set.at(INFOS) = sequence(sequence_for_set.at(INFOS).children().clone());
    vec![
        Vector::ok("recipients-64", EC, message(&|cek| strangers(cek, 63)).encode(), &plaintext),
        fails("recipients-65", message(&|cek| strangers(cek, 64)), "malformed", "64 recipients"),
        fails("recipients-none", message(&|_| vec![]), "not-for-this-key", "no recipient"),
        fails("recipients-no-set", without_set, "malformed", "RecipientInfos"),
        fails("recipients-in-a-sequence", sequence_for_set, "malformed", "RecipientInfos"),
        fails(
            "recipients-only-others",
            message(&|_| vec![other(2), other(3), other(4)]),
            "not-for-this-key",
            "password",
        ),
        Vector::ok(
            "recipients-of-unknown-kinds",
            EC,
            message(&|cek| vec![unknown(), other(4), recipient.ecdh_info(cek)]).encode(),
            &plaintext,
        ),
        fails(
            "recipients-two-strangers",
            message(&|cek| vec![Recipient::of(EC_STRANGER).ecdh_info(cek); 2]),
            "not-for-this-key",
            "CN=p256-stranger",
        ),
    ]
}
