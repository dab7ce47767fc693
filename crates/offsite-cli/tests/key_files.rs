//! Every form of private key file that OpenSSL writes is read, and what `offsite keygen` writes
//! works with OpenSSL alone.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::{
    ALL_KINDS, KeyPair, OpenSsl, Run, assert_holds, check_all, file, folder, offsite, openssl, read, run, sample,
};
use tempfile::TempDir;

const PASSPHRASE: &str = "a rather long passphrase, with spaces";
const LENGTH: usize = 10_007;

/// The OpenSSL commands that turn a plain private key into another form, for RSA and EC keys.
const PLAIN_RSA: [&str; 2] = ["pkey", "rsa -traditional"];
const PLAIN_EC: [&str; 2] = ["pkey", "ec"];
const ENCRYPTED_RSA: [&str; 3] = ["rsa -traditional -aes256", "rsa -traditional -aes128", "rsa -traditional -des3"];
const ENCRYPTED_EC: [&str; 3] = ["ec -aes256", "ec -aes128", "ec -des3"];
const ENCRYPTED_PKCS8: [&str; 6] = [
    "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256",
    "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1",
    "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA512",
    "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA256",
    "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1",
    "pkcs8 -topk8 -v2 aes-256-cbc -scrypt",
];

/// Where the certificate stands in the private key file.
#[derive(Clone, Copy, Debug)]
enum Certificate {
    Absent,
    First,
    Last,
}

/// A form of private key file.
#[derive(Clone, Debug)]
struct KeyFile {
    kind: &'static str,
    conversion: &'static str,
    encrypted: bool,
    certificate: Certificate,
}

impl KeyFile {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (kind, plain, encrypted) in
            [("rsa2048", PLAIN_RSA, ENCRYPTED_RSA), ("p256", PLAIN_EC, ENCRYPTED_EC), ("p521", PLAIN_EC, ENCRYPTED_EC)]
        {
            let plain = plain.into_iter().map(|conversion| (conversion, false));
            let encrypted = encrypted.into_iter().chain(ENCRYPTED_PKCS8).map(|conversion| (conversion, true));
            for (conversion, encrypted) in plain.chain(encrypted) {
                for certificate in [Certificate::Absent, Certificate::First, Certificate::Last] {
                    all.push(Self { kind, conversion, encrypted, certificate });
                }
            }
        }
        all
    }

    /// Writes this key file.
    fn write(&self, folder: &TempDir) -> PathBuf {
        let pair = KeyPair::of(self.kind);
        let converted = folder.path().join("converted.pem");
        let mut command = openssl(self.conversion);
        command.arg("-in").arg(&pair.key).arg("-out").arg(&converted);
        if self.encrypted {
            command.arg("-passout").arg(format!("pass:{PASSPHRASE}"));
        }
        run(&mut command).ok();
        let (key, certificate) = (read(&converted), read(&pair.cert));
        let armoured_as_encrypted = String::from_utf8_lossy(&key).contains("ENCRYPTED");
        assert_eq!(armoured_as_encrypted, self.encrypted, "{self:?} is not what OpenSSL wrote");
        let pem = match self.certificate {
            Certificate::Absent => key,
            Certificate::First => [certificate, key].concat(),
            Certificate::Last => [key, certificate].concat(),
        };
        file(folder, "key-file.pem", &pem)
    }
}

/// A message to the key pair of this kind, written by OpenSSL.
fn message(folder: &TempDir, kind: &str, plain: &[u8]) -> PathBuf {
    let message = folder.path().join("message");
    run(openssl("cms -encrypt -binary -aes-256-gcm -outform DER -in")
        .arg(file(folder, "plain", plain))
        .arg("-out")
        .arg(&message)
        .arg(KeyPair::of(kind).cert))
    .ok();
    message
}

fn decrypt(key_file: &Path, passphrase: Option<&str>, folder: &TempDir, message: &Path) -> Run {
    let mut command = offsite("decrypt -k");
    command.arg(key_file).arg("-o").arg(folder.path().join("out")).arg(message);
    if let Some(passphrase) = passphrase {
        command.arg("--passphrase-file").arg(file(folder, "passphrase", passphrase.as_bytes()));
    }
    run(&mut command)
}

#[test]
fn every_form_is_read() {
    check_all(&KeyFile::all(), 3 * (2 + 9) * 3, |case| {
        let (folder, plain) = (folder(), sample(LENGTH));
        let (key_file, message) = (case.write(&folder), message(&folder, case.kind, &plain));
        let passphrase = case.encrypted.then(|| format!("{PASSPHRASE}\n"));
        let opened = decrypt(&key_file, passphrase.as_deref(), &folder, &message).ok();
        assert_holds(&folder.path().join("out"), &plain, &opened.story());
    });
}

#[test]
fn parameters_before_an_ec_key_are_passed_over() {
    let (folder, plain, pair) = (folder(), sample(LENGTH), KeyPair::of("p256"));
    // What `openssl ecparam -name prime256v1 -genkey` writes: the curve's name, then the key.
    let parameters = run(&mut openssl("ecparam -name prime256v1")).ok().stdout;
    let key = run(openssl("ec -in").arg(&pair.key)).ok().stdout;
    let key_file = file(&folder, "key-file.pem", &[parameters, key].concat());
    let opened = decrypt(&key_file, None, &folder, &message(&folder, "p256", &plain)).ok();
    assert_holds(&folder.path().join("out"), &plain, &opened.story());
}

#[test]
fn wrong_passphrase_is_named_as_such() {
    let mut cases = KeyFile::all();
    cases.retain(|case| case.encrypted && matches!(case.certificate, Certificate::Last));
    check_all(&cases, 3 * 9, |case| {
        let folder = folder();
        let (key_file, message) = (case.write(&folder), message(&folder, case.kind, b"secret"));
        let refused = decrypt(&key_file, Some("not it"), &folder, &message).fails(1).one_error().says("passphrase");
        assert!(!folder.path().join("out").exists(), "output despite {}", refused.story());
    });
}

/// What `offsite keygen` made in a folder of its own.
struct Generated {
    folder: TempDir,
    private: PathBuf,
    cert: PathBuf,
    passphrase: Option<PathBuf>,
}

impl Generated {
    fn new(kind: &str, with_passphrase: bool) -> Self {
        let folder = folder();
        let passphrase = with_passphrase.then(|| file(&folder, "passphrase", PASSPHRASE.as_bytes()));
        let prefix = folder.path().join("safe");
        run(&mut keygen(&prefix, kind, passphrase.as_deref())).ok();
        let (private, cert) = (folder.path().join("safe-PRIVATE.pem"), folder.path().join("safe-cert.pem"));
        Self { folder, private, cert, passphrase }
    }

    /// The arguments that unlock the private key for OpenSSL.
    fn passin(&self) -> Vec<OsString> {
        self.passphrase.as_ref().map_or(Vec::new(), |path| {
            let mut source = OsString::from("file:");
            source.push(path);
            vec!["-passin".into(), source]
        })
    }
}

fn keygen(prefix: &Path, kind: &str, passphrase: Option<&Path>) -> std::process::Command {
    let mut command = offsite("keygen --type");
    command.arg(kind).arg("-o").arg(prefix);
    match passphrase {
        Some(path) => command.arg("--passphrase-file").arg(path),
        None => command.arg("--no-passphrase"),
    };
    command
}

#[test]
fn keygen_suits_openssl_alone() {
    let mut cases = Vec::new();
    for kind in ALL_KINDS {
        for with_passphrase in [true, false] {
            cases.push((kind, with_passphrase));
        }
    }
    check_all(&cases, 6 * 2, |&(kind, with_passphrase)| {
        let made = Generated::new(kind, with_passphrase);
        let mode = fs::metadata(&made.private).expect("the private key file is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "mode of the private key file: {mode:o}");
        let script = run(&mut offsite("recovery-script")).ok().stdout;
        assert_holds(&made.folder.path().join("safe-RECOVER.sh"), &script, "keygen");
        let pem = String::from_utf8(read(&made.private)).expect("PEM is text");
        assert_eq!(pem.contains("BEGIN ENCRYPTED PRIVATE KEY"), with_passphrase, "{pem}");

        for openssl in OpenSsl::ALL {
            run(openssl.command("pkey -noout -in").arg(&made.private).args(made.passin())).ok();
            let text = run(openssl.command("x509 -noout -text -in").arg(&made.cert)).ok();
            let text = String::from_utf8(text.stdout).expect("OpenSSL writes text");
            let expected = match kind {
                "p256" => "NIST CURVE: P-256",
                "p384" => "NIST CURVE: P-384",
                "p521" => "NIST CURVE: P-521",
                rsa => &format!("Public-Key: ({} bit)", &rsa["rsa".len()..]),
            };
            assert!(text.contains(expected), "no {expected:?} in {text}");
            assert_same_certificate(openssl, &made);
            opened_with_the_private_key_file_alone(openssl, &made);
        }
    });
}

/// Panics unless the private key file holds the certificate of the certificate file.
fn assert_same_certificate(openssl: OpenSsl, made: &Generated) {
    let [inside, beside] = [&made.private, &made.cert]
        .map(|path| run(openssl.command("x509 -noout -fingerprint -sha256 -in").arg(path)).ok().stdout);
    assert_eq!(inside, beside, "two different certificates");
}

/// Messages by `offsite` and by OpenSSL to the certificate, opened by both with one file.
fn opened_with_the_private_key_file_alone(openssl: OpenSsl, made: &Generated) {
    let plain = sample(LENGTH);
    let input = file(&made.folder, "plain", &plain);
    let (message, out) = (made.folder.path().join("message"), made.folder.path().join("out"));
    for mut encrypt in
        [offsite("encrypt --force -r"), openssl.command("cms -encrypt -binary -aes-256-gcm -outform DER -recip")]
    {
        let from = if encrypt.get_program() == env!("CARGO_BIN_EXE_offsite") { "-o" } else { "-out" };
        encrypt.arg(&made.cert).arg(from).arg(&message);
        if from == "-out" {
            encrypt.arg("-in");
        }
        let encrypted = run(encrypt.arg(&input)).ok();

        let opened = run(openssl
            .command("cms -decrypt -inform DER -inkey")
            .arg(&made.private)
            .arg("-recip")
            .arg(&made.private)
            .args(made.passin())
            .arg("-in")
            .arg(&message)
            .arg("-out")
            .arg(&out))
        .ok();
        assert_holds(&out, &plain, &format!("{}\n{}", encrypted.story(), opened.story()));

        let mut decrypt = offsite("decrypt --force -k");
        decrypt.arg(&made.private).arg("-o").arg(&out).arg(&message);
        if let Some(passphrase) = &made.passphrase {
            decrypt.arg("--passphrase-file").arg(passphrase);
        }
        let opened = run(&mut decrypt).ok();
        assert_holds(&out, &plain, &format!("{}\n{}", encrypted.story(), opened.story()));
    }
}

#[test]
fn keygen_overwrites_nothing() {
    for existing in ["safe-PRIVATE.pem", "safe-cert.pem", "safe-RECOVER.sh"] {
        let folder = folder();
        file(&folder, existing, b"precious");
        let before = contents(&folder);
        let refused = run(&mut keygen(&folder.path().join("safe"), "p256", None)).fails(1).one_error().says(existing);
        assert_eq!(contents(&folder), before, "{}", refused.story());
    }
}

#[test]
fn keygen_off_a_terminal_wants_a_decision_about_the_passphrase() {
    let folder = folder();
    let refused = run(offsite("keygen --type p256 -o").arg(folder.path().join("safe")));
    assert!(!refused.succeeded(), "{}", refused.story());
    let refused = refused.one_error().says("--no-passphrase");
    assert_eq!(contents(&folder), BTreeMap::new(), "{}", refused.story());
}

/// The files in a folder, by name.
fn contents(folder: &TempDir) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(folder.path()).expect("the folder is there");
    entries.map(|entry| entry.expect("an entry")).map(|entry| (entry.file_name(), read(&entry.path()))).collect()
}
