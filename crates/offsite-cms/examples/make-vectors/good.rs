//! Messages that open: of OpenSSL's and of the library's.

use std::io::Write;
use std::process::Stdio;

use crate::forge::{self, Recipient, Stream};
use crate::keys::{EC, EC_ALONE, KINDS, RSA};
use crate::support::{OpenSsl, sample, testdata};
use crate::vector::Vector;
use crate::{armour, native};

/// Lengths of plaintext: one piece, and several of the 4096 bytes that `-stream` writes.
const SHORT: usize = 100;
const LONG: usize = 5000;

/// A message of OpenSSL's: name, key, length of the plaintext, arguments.
type Case = (&'static str, &'static str, usize, &'static str);

/// By both versions.
const BOTH: [Case; 10] = [
    (
        "rsa2048",
        RSA,
        SHORT,
        "-aes-256-gcm -outform DER -recip rsa2048.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256",
    ),
    ("rsa3072", "rsa3072.pem", SHORT, "-aes-256-gcm -outform DER -recip rsa3072.pem"),
    ("rsa4096", "rsa4096.pem", SHORT, "-aes-192-gcm -outform DER -recip rsa4096.pem"),
    ("p256", EC, SHORT, "-aes-256-gcm -outform DER -recip p256.pem"),
    ("p384", "p384.pem", SHORT, "-aes-256-gcm -outform DER -recip p384.pem -keyopt ecdh_kdf_md:sha384"),
    ("p521", "p521.pem", SHORT, "-aes-128-gcm -outform DER -recip p521.pem -keyopt ecdh_kdf_md:sha512"),
    ("ber", EC, LONG, "-aes-256-gcm -stream -outform DER -recip p256.pem"),
    ("cbc", RSA, SHORT, "-aes-256-cbc -outform DER -recip rsa2048.pem"),
    ("cbc-ber", RSA, LONG, "-aes-256-cbc -stream -outform DER -recip rsa2048.pem"),
    ("empty", EC, 0, "-aes-256-gcm -outform DER -recip p256.pem"),
];

/// By one version, since they do not touch what differs.
const ONE: [Case; 16] = [
    ("3des", RSA, SHORT, "-des3 -outform DER -recip rsa2048.pem"),
    ("cbc-128", RSA, SHORT, "-aes-128-cbc -outform DER -recip rsa2048.pem"),
    ("cbc-192-ecdh", EC, SHORT, "-aes-192-cbc -outform DER -recip p256.pem"),
    ("cbc-oaep-sha1", RSA, SHORT, "-aes-256-cbc -outform DER -recip rsa2048.pem -keyopt rsa_padding_mode:oaep"),
    (
        "oaep-sha512-mgf1-sha1",
        RSA,
        SHORT,
        "-aes-256-gcm -outform DER -recip rsa2048.pem -keyopt rsa_padding_mode:oaep \
         -keyopt rsa_oaep_md:sha512 -keyopt rsa_mgf1_md:sha1",
    ),
    (
        "oaep-sha384",
        RSA,
        SHORT,
        "-aes-256-gcm -outform DER -recip rsa2048.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha384",
    ),
    ("ecdh-sha512", EC, SHORT, "-aes-256-gcm -outform DER -recip p256.pem -keyopt ecdh_kdf_md:sha512"),
    ("keyid-rsa", RSA, SHORT, "-aes-256-gcm -keyid -outform DER -recip rsa2048.pem"),
    ("keyid-p256", EC_ALONE, SHORT, "-aes-256-gcm -keyid -outform DER -recip p256.pem"),
    ("key-alone", EC_ALONE, SHORT, "-aes-256-gcm -outform DER -recip p384.pem -recip p256.pem"),
    ("several", "p521.pem", SHORT, "-aes-256-gcm -outform DER -recip rsa2048.pem -recip p256.pem -recip p521.pem"),
    (
        "beside-a-shared-key",
        EC,
        SHORT,
        "-aes-256-gcm -outform DER -secretkeyid 01 -recip p256.pem \
         -secretkey 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
    ("pem", EC, SHORT, "-aes-256-gcm -outform PEM -recip p256.pem"),
    ("smime", EC, SHORT, "-aes-256-gcm -outform SMIME -recip p256.pem"),
    ("smime-ber", RSA, LONG, "-aes-256-cbc -stream -outform SMIME -recip rsa2048.pem"),
    ("pem-crlf", EC, SHORT, "-aes-256-gcm -outform PEM -crlfeol -recip p256.pem"),
];

pub(crate) fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (openssl, group) in [(OpenSsl::Stock, "openssl-3.0"), (OpenSsl::Next, "openssl-4.0")] {
        vectors.extend(BOTH.map(|case| by_openssl(openssl, group, "cms", case)));
    }
    vectors.extend(ONE.map(|case| by_openssl(OpenSsl::Stock, "openssl-3.0", "cms", case)));
    let old = ("smime-command", RSA, SHORT, "-aes-256-cbc -outform DER rsa2048.pem");
    vectors.push(by_openssl(OpenSsl::Stock, "openssl-3.0", "smime", old));

    let short = sample(SHORT);
    for key in KINDS {
        let name = format!("native-{}", key.trim_end_matches(".pem"));
        vectors.push(Vector::ok(name, key, native::stream(key, &short), &short));
    }
    let part = native::plaintext_length(EC);
    for (name, length) in [
        ("native-empty", 0),
        ("native-one-full-slice", part),
        ("native-two-slices", part + 1),
        ("native-full-last-slice", 3 * part),
        ("native-three-slices", 2 * part + 100),
    ] {
        let plaintext = sample(length);
        vectors.push(Vector::ok(name, EC, native::stream(EC, &plaintext), &plaintext));
    }
    let plaintext = sample(2 * part + 100);
    let stream = native::stream(EC, &plaintext);
    vectors.push(Vector::ok("native-pem", EC, armour::pem("CMS", &stream), &plaintext));
    vectors.push(Vector::ok("native-smime-armour", EC, armour::smime("base64", &stream), &plaintext));
    vectors.push(Vector::ok("native-key-alone", EC_ALONE, stream, &plaintext));
    vectors.push(Vector::ok("smime-profile", RSA, native::smime(RSA, &plaintext), &plaintext));

    let recipient = Recipient::of(EC);
    let forged = Stream::new(&recipient, "file", "");
    let slice = |number, last, part: &[u8]| forged.slice(number, last, part).encode();
    let message =
        [slice(0, 0, &plaintext[..500]), slice(1, 0, &plaintext[500..1000]), slice(2, 1, &plaintext[1000..1007])];
    let vector = Vector::ok("forged-stream", EC, message.concat(), &plaintext[..1007]);
    vectors.push(vector.comment("three slices by other code than the library's"));
    let message = forge::foreign(|cek| vec![recipient.ecdh_info(cek)], &short).encode();
    vectors.push(Vector::ok("forged-foreign", EC, message, &short).comment("by other code than the library's"));
    vectors
}

fn by_openssl(openssl: OpenSsl, group: &str, command: &str, (name, key, length, arguments): Case) -> Vector {
    let plaintext = sample(length);
    let line = format!("{command} -encrypt -binary {arguments}");
    let message = run(openssl, &line, &plaintext);
    Vector::ok(format!("{group}-{name}"), key, message, &plaintext).comment(format!("openssl {line}"))
}

/// What stock OpenSSL writes, run with these words in the folder of the keys.
pub(crate) fn openssl(line: &str, input: &[u8]) -> Vec<u8> {
    run(OpenSsl::Stock, line, input)
}

fn run(openssl: OpenSsl, line: &str, input: &[u8]) -> Vec<u8> {
    let mut command = openssl.command(line);
    command.current_dir(testdata("keys")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("openssl starts");
    // The inputs are shorter than a pipe's buffer, and the end of this statement closes it.
    child.stdin.take().expect("a pipe").write_all(input).expect("openssl reads");
    let output = child.wait_with_output().expect("openssl ends");
    assert!(output.status.success(), "openssl {line}: {}", output.status);
    output.stdout
}
