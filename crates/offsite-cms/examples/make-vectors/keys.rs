//! The private keys of the vectors. They are published with the project and protect nothing.

use std::fs;

use crate::support::{OpenSsl, key_path, read, run, testdata};

pub(crate) const RSA: &str = "rsa2048.pem";
pub(crate) const EC: &str = "p256.pem";
/// Keys that no message is for.
pub(crate) const RSA_STRANGER: &str = "rsa2048-stranger.pem";
pub(crate) const EC_STRANGER: &str = "p256-stranger.pem";
/// The key of [`EC`] without its certificate.
pub(crate) const EC_ALONE: &str = "p256-alone.pem";
/// One of each kind.
pub(crate) const KINDS: [&str; 6] = [RSA, "rsa3072.pem", "rsa4096.pem", EC, "p384.pem", "p521.pem"];

const REQUESTS: [(&str, &str); 8] = [
    (RSA, "rsa:2048"),
    ("rsa3072.pem", "rsa:3072"),
    ("rsa4096.pem", "rsa:4096"),
    (EC, "ec -pkeyopt ec_paramgen_curve:P-256"),
    ("p384.pem", "ec -pkeyopt ec_paramgen_curve:P-384"),
    ("p521.pem", "ec -pkeyopt ec_paramgen_curve:P-521"),
    (RSA_STRANGER, "rsa:2048"),
    (EC_STRANGER, "ec -pkeyopt ec_paramgen_curve:P-256"),
];

/// Makes the keys that are not there: to make them anew would change every vector.
pub(crate) fn make() {
    fs::create_dir_all(testdata("keys")).expect("testdata/keys is made");
    for (name, request) in REQUESTS {
        let (path, certificate) = (key_path(name), key_path("new-certificate"));
        if path.exists() {
            continue;
        }
        let mut command = OpenSsl::Stock.command("req -x509 -nodes -days 100000 -newkey");
        command.args(request.split_whitespace()).arg("-subj").arg(format!("/CN={}", name.trim_end_matches(".pem")));
        run(command.arg("-keyout").arg(&path).arg("-out").arg(&certificate));
        let both = [read(&path), read(&certificate)].concat();
        fs::write(&path, both).and_then(|()| fs::remove_file(&certificate)).expect("a key is written");
        if name == EC {
            run(OpenSsl::Stock.command("pkey -in").arg(&path).arg("-out").arg(key_path(EC_ALONE)));
        }
    }
}
