//! Signed messages: what the library signs, stock tools accept; what is altered, nobody does.

mod support;

use std::fs;

use offsite_cms::signed_data::{Signed, SigningKey, verify};
use offsite_cms::{Certificate, Error, KeyError, Result, limits};
use support::der::{Element, integer, octets, oid, sequence, set, span, tagged};
use support::{OpenSsl, assert_same, read, run, sample, vector_message};
use time::OffsetDateTime;

/// Paths into a signed message.
const SIGNED_DATA: &[usize] = &[1, 0];
const DIGEST_ALGORITHMS: &[usize] = &[1, 0, 1];
const CONTENT_INFO: &[usize] = &[1, 0, 2];
const CONTENT: &[usize] = &[1, 0, 2, 1, 0];
const CERTIFICATES: &[usize] = &[1, 0, 3];
const CERTIFICATE: &[usize] = &[1, 0, 3, 0];
const SIGNER_INFOS: &[usize] = &[1, 0, 4];
const SIGNER_INFO: &[usize] = &[1, 0, 4, 0];
const SIGNER_ID: &[usize] = &[1, 0, 4, 0, 1];
const SIGNED_ATTRIBUTES: &[usize] = &[1, 0, 4, 0, 3];
const SIGNATURE: &[usize] = &[1, 0, 4, 0, 5];

/// A key and its PEM file.
fn signing_key(name: &str) -> (SigningKey, String) {
    let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time");
    let (key, pem) = SigningKey::generate(name, now, 36_500).expect("a key");
    (key, pem.to_string())
}

fn signed(content: &[u8]) -> (SigningKey, Vec<u8>) {
    let (key, _) = signing_key("signer");
    let message = key.sign(content).expect("a signature");
    (key, message)
}

/// Panics unless verification fails as that of a message which was altered does.
#[track_caller]
fn refused(message: &[u8], story: &str) {
    match verify(message) {
        Err(Error::Key(KeyError::Signature(_)) | Error::Malformed { .. }) => {}
        other => panic!("{story}: {other:?}"),
    }
}

#[test]
fn what_is_signed_verifies() {
    let (key, pem) = signing_key("signer");
    let again = SigningKey::from_file(pem.as_bytes()).expect("the file is read");
    assert_eq!(again.certificate(), key.certificate());
    for content in [&b""[..], b"x", &sample(127), &sample(128), &sample(70_000), &sample(1 << 20)] {
        for key in [&key, &again] {
            let message = key.sign(content).expect("a signature");
            let Signed { content: found, certificate } = verify(&message).expect("a valid signature");
            assert_same(found, content);
            assert_eq!(&certificate, key.certificate());
            assert_same(&Element::parse(&message).encode(), &message);
        }
    }
}

#[test]
fn openssl_verifies_what_is_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let [message, signer, out] = ["message", "signer", "out"].map(|name| folder.path().join(name));
    for content in [&b""[..], b"line\nline\r\n", &sample(70_000)] {
        let (key, signed) = signed(content);
        fs::write(&message, signed).expect("the message is written");
        fs::write(&signer, key.certificate().to_pem()).expect("the certificate is written");
        for openssl in OpenSsl::ALL {
            let mut command = openssl.command("cms -verify -binary -nointern -noverify -inform DER");
            command.arg("-certfile").arg(&signer).arg("-in").arg(&message).arg("-out").arg(&out);
            run(&mut command);
            assert_same(&read(&out), content);
            fs::remove_file(&out).expect("the output is removed");
        }
    }
}

/// The certificate is not covered by the signature: the caller decides by it who may sign. A
/// flipped bit of the certificate must fail, or show as another certificate.
#[test]
fn every_flipped_bit_fails_or_shows() {
    let (key, message) = signed(b"a receipt");
    let certificate = span(&message, CERTIFICATE).contents;
    for bit in 0..message.len() * 8 {
        let mut altered = message.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        match verify(&altered) {
            Err(_) => {}
            Ok(signed) => {
                assert!(certificate.contains(&(bit / 8)), "bit {bit} is not the certificate's");
                assert_ne!(signed.certificate.fingerprint(), key.certificate().fingerprint(), "bit {bit}");
                assert_eq!(signed.content, b"a receipt", "bit {bit}");
            }
        }
    }
}

#[test]
fn every_truncation_fails() {
    let (_, message) = signed(b"a receipt");
    for length in 0..message.len() {
        verify(&message[..length]).expect_err("a message that is cut off");
    }
    verify(&[&message[..], &[0]].concat()).expect_err("a message with something after it");
}

/// A message, and what else an attacker has: a key of their own with the same name.
struct Attack {
    message: Element,
    others: Element,
}

type Edit = fn(&mut Attack);

const ATTACKS: [(&str, Edit); 20] = [
    ("content changed", |it| it.message.at(CONTENT).contents()[0] ^= 1),
    ("content longer", |it| it.message.at(CONTENT).contents().push(0)),
    ("content emptied", |it| it.message.at(CONTENT).contents().clear()),
    ("content detached", |it| it.message.at(CONTENT_INFO).drop_child()),
    ("content in pieces", |it| {
        let whole = it.message.at(CONTENT).clone();
        *it.message.at(CONTENT) = Element::Constructed(0x24, vec![whole]);
    }),
    ("content of another type", |it| *it.message.at(&[1, 0, 2, 0]) = oid(&[0x2a, 3, 4])),
    ("certificate replaced", |it| *it.message.at(CERTIFICATE) = it.others.at(CERTIFICATE).clone()),
    ("certificate and signer replaced", |it| {
        *it.message.at(CERTIFICATE) = it.others.at(CERTIFICATE).clone();
        *it.message.at(SIGNER_ID) = it.others.at(SIGNER_ID).clone();
    }),
    ("second certificate", |it| {
        let other = it.others.at(CERTIFICATE).clone();
        it.message.at(CERTIFICATES).children().push(other);
    }),
    ("certificate missing", |it| drop(it.message.at(SIGNED_DATA).children().remove(3))),
    ("revocation list", |it| it.message.at(SIGNED_DATA).children().insert(4, tagged(1, vec![]))),
    ("signature by another key", |it| *it.message.at(SIGNATURE) = it.others.at(SIGNATURE).clone()),
    ("signature emptied", |it| it.message.at(SIGNATURE).contents().clear()),
    ("signature of zeros", |it| {
        *it.message.at(SIGNATURE).contents() = sequence(vec![integer(0), integer(0)]).encode();
    }),
    ("unsigned attributes", |it| {
        let attribute = sequence(vec![oid(&[0x2a, 3, 4]), set(vec![octets(b"")])]);
        it.message.at(SIGNER_INFO).children().push(tagged(1, vec![attribute]));
    }),
    ("signed attribute added", |it| {
        let attribute = sequence(vec![oid(&[0x2a, 3, 4]), set(vec![octets(b"")])]);
        it.message.at(SIGNED_ATTRIBUTES).children().push(attribute);
    }),
    ("signed attributes missing", |it| drop(it.message.at(SIGNER_INFO).children().remove(3))),
    ("second signer", |it| {
        let other = it.others.at(SIGNER_INFO).clone();
        it.message.at(SIGNER_INFOS).children().push(other);
    }),
    ("no signer", |it| it.message.at(SIGNER_INFOS).children().clear()),
    ("second digest algorithm", |it| {
        let first = it.message.at(DIGEST_ALGORITHMS).children()[0].clone();
        it.message.at(DIGEST_ALGORITHMS).children().push(first);
    }),
];

#[test]
fn what_is_altered_is_refused() {
    let content = b"a receipt";
    let message = Element::parse(&signed(content).1);
    let others = Element::parse(&signed(content).1);
    for (name, edit) in ATTACKS {
        let mut attack = Attack { message: message.clone(), others: others.clone() };
        edit(&mut attack);
        refused(&attack.message.encode(), name);
    }
    refused(&message.encode_indefinite(), "indefinite lengths");
}

/// Nor does OpenSSL accept it, if it is told whose signature it must be.
#[test]
fn openssl_refuses_a_signature_by_another_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let [message, signer] = ["message", "signer"].map(|name| folder.path().join(name));
    let (key, _) = signed(b"a receipt");
    let (_, others) = signed(b"a receipt");
    fs::write(&message, others).expect("the message is written");
    fs::write(&signer, key.certificate().to_pem()).expect("the certificate is written");
    for openssl in OpenSsl::ALL {
        let mut command = openssl.command("cms -verify -binary -nointern -noverify -inform DER");
        command.arg("-certfile").arg(&signer).arg("-in").arg(&message);
        let output = command.output().expect("openssl runs");
        assert!(!output.status.success(), "{openssl:?}: {output:?}");
    }
}

/// There is one encoding of a signed message; OpenSSL signs in another.
#[test]
fn signatures_of_another_form_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let [content, signer, out] = ["content", "signer", "out"].map(|name| folder.path().join(name));
    fs::write(&content, b"a receipt").expect("the content is written");
    fs::write(&signer, signing_key("signer").1).expect("the key is written");
    let options = ["", "-noattr", "-keyid", "-nosmimecap", "-nocerts", "-md sha512"];
    for option in options {
        let mut command = OpenSsl::Stock.command("cms -sign -binary -nodetach -outform DER");
        command.args(option.split_whitespace());
        run(command.arg("-signer").arg(&signer).arg("-in").arg(&content).arg("-out").arg(&out));
        refused(&read(&out), &format!("openssl cms -sign {option}"));
    }
}

#[test]
fn what_is_no_signed_message_is_refused() {
    for name in ["forged-foreign", "native-p256"] {
        let message = vector_message(name);
        assert!(matches!(verify(&message), Err(Error::NotCms { .. })), "{name}");
    }
    for bytes in [&b""[..], b"text", &[0x30], &[0x30, 0x80, 0, 0]] {
        assert!(matches!(verify(bytes), Err(Error::Malformed { .. })), "{bytes:02x?}");
    }
}

#[test]
fn a_signed_message_ends_at_64_mib() {
    fn too_large<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::TooLarge { .. }))
    }
    let content = vec![7; limits::SIGNED_MESSAGE];
    let (key, _) = signing_key("signer");
    assert!(too_large(key.sign(&content)), "with the message around it, the content is too long");
    let longest = key.sign(&content[..content.len() - 2000]).expect("a signature");
    assert_same(verify(&longest).expect("a valid signature").content, &content[..content.len() - 2000]);
    assert!(too_large(verify(&[&content[..], b"x"].concat())));
}

#[test]
fn a_key_file_must_hold_the_key_and_its_certificate() {
    let (_, pem) = signing_key("signer");
    let (other, _) = signing_key("other");
    let end = pem.find("-----BEGIN CERTIFICATE").expect("a certificate");
    let (key, certificate) = pem.split_at(end);
    let kind = |file: &str| match SigningKey::from_file(file.as_bytes()) {
        Err(Error::Key(error)) => error,
        other => panic!("{:?}", other.map(|key| key.certificate().clone())),
    };
    assert_eq!(kind(certificate), KeyError::NoPrivateKey);
    assert_eq!(kind(key), KeyError::NoCertificate);
    assert_eq!(kind(&format!("{key}{}", other.certificate().to_pem())), KeyError::NoCertificate);
    let p384 = fs::read_to_string(support::key_path("p384.pem")).expect("a key file");
    assert_eq!(kind(&p384), KeyError::Invalid);
    assert_eq!(Certificate::from_file(pem.as_bytes()).expect("a certificate").name(), "CN=signer");
}
