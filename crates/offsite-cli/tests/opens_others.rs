//! `offsite decrypt` opens what other people's programs write.

mod support;

use std::path::{Path, PathBuf};

use support::{
    ALL_KINDS, EC, KeyPair, OpenSsl, Words, assert_holds, bouncy_castle, check_all, file, folder, offsite, openssl,
    run, sample,
};
use tempfile::TempDir;

const FORMS: [&str; 3] = ["DER", "PEM", "SMIME"];
const CBC: [&str; 4] = ["-aes128", "-aes192", "-aes256", "-des3"];
const GCM: [&str; 3] = ["-aes-128-gcm", "-aes-192-gcm", "-aes-256-gcm"];
const HASHES: [&str; 4] = ["sha1", "sha256", "sha384", "sha512"];

/// Long enough for several of the 4096-byte pieces that `-stream` writes, and no multiple.
const LENGTH: usize = 10_007;

/// One message of `openssl cms|smime -encrypt`, to be opened by each of its recipients.
#[derive(Clone, Debug)]
struct Case {
    openssl: OpenSsl,
    command: &'static str,
    form: &'static str,
    stream: bool,
    cipher: &'static str,
    /// Recipients named by subjectKeyIdentifier instead of issuer and serial number.
    key_id: bool,
    recipients: Vec<Recipient>,
}

/// The kind of key and the `-keyopt`s that say how the content key is sent to it.
#[derive(Clone, Debug)]
struct Recipient {
    kind: &'static str,
    options: Vec<String>,
}

impl Recipient {
    fn plain(kind: &'static str) -> Self {
        Self { kind, options: Vec::new() }
    }

    fn oaep(kind: &'static str, hash: &str, mgf1_hash: &str) -> Self {
        let options =
            ["rsa_padding_mode:oaep".to_owned(), format!("rsa_oaep_md:{hash}"), format!("rsa_mgf1_md:{mgf1_hash}")];
        Self { kind, options: options.into() }
    }

    fn ecdh(kind: &'static str, hash: &str) -> Self {
        Self { kind, options: vec![format!("ecdh_kdf_md:{hash}")] }
    }
}

impl Case {
    fn authenticated(&self) -> bool {
        self.cipher.ends_with("-gcm")
    }

    /// The forms, streaming or not, of a message.
    fn forms(command: &'static str, cipher: &'static str, key_id: bool, recipients: &[Recipient]) -> Vec<Self> {
        let mut cases = Vec::new();
        for form in FORMS {
            for stream in [false, true] {
                let recipients = recipients.to_vec();
                cases.push(Self { openssl: OpenSsl::Stock, command, form, stream, cipher, key_id, recipients });
            }
        }
        cases
    }

    /// Lets OpenSSL write the message. The answer is its path and how it was made.
    fn encrypt(&self, folder: &TempDir, plain: &[u8]) -> (PathBuf, String) {
        let message = folder.path().join("message");
        let mut command = self.openssl.command(self.command);
        command.words("-encrypt -binary").arg(self.cipher).args(["-outform", self.form]);
        if self.stream {
            command.arg("-stream");
        }
        if self.key_id {
            command.arg("-keyid");
        }
        command.arg("-in").arg(file(folder, "plain", plain)).arg("-out").arg(&message);
        for recipient in &self.recipients {
            let cert = KeyPair::of(recipient.kind).cert;
            // `smime` knows recipients only as arguments after the options.
            if self.command == "cms" {
                command.arg("-recip");
            }
            command.arg(cert);
            for option in &recipient.options {
                command.args(["-keyopt", option]);
            }
        }
        let story = run(&mut command).ok().story();
        (message, story)
    }

    /// Encrypts with OpenSSL, decrypts with `offsite`, by every recipient, with a key file that
    /// holds the certificate and with one that does not.
    fn check(&self) {
        let (folder, plain) = (folder(), sample(LENGTH));
        let (message, made) = self.encrypt(&folder, &plain);
        for recipient in &self.recipients {
            let pair = KeyPair::of(recipient.kind);
            for key_file in [&pair.both, &pair.key] {
                let out = folder.path().join("out");
                let run = run(offsite("decrypt -k").arg(key_file).arg("-o").arg(&out).arg(&message));
                if self.cipher == "-des3" && pair.is_ec() {
                    let refused = run.fails(1).one_error().says("3DES key wrap");
                    assert!(!out.exists(), "output despite refusal: {}", refused.story());
                    continue;
                }
                let opened = if self.authenticated() {
                    run.ok().does_not_say("unauthenticated")
                } else {
                    run.ok().says("unauthenticated")
                };
                assert_holds(&out, &plain, &format!("{made}\n{}", opened.story()));
                std::fs::remove_file(&out).expect("the output is there");
            }
        }
    }
}

/// Opens `message` with each key file of its only recipient.
fn decrypt(key_file: &Path, message: &Path, out: &Path, options: &str) -> support::Run {
    run(offsite("decrypt").words(options).arg("-k").arg(key_file).arg("-o").arg(out).arg(message))
}

#[test]
fn openssl_smime() {
    let mut cases = Vec::new();
    for cipher in CBC {
        for recipients in [
            vec![Recipient::plain("rsa2048")],
            vec![Recipient::plain("rsa3072")],
            vec![Recipient::plain("rsa4096"), Recipient::plain("rsa2048"), Recipient::plain("rsa3072")],
        ] {
            cases.extend(Case::forms("smime", cipher, false, &recipients));
        }
    }
    check_all(&cases, CBC.len() * 3 * 6, Case::check);
}

#[test]
fn openssl_cms_with_every_key_transport() {
    let mut transports = vec![Recipient::plain("rsa2048")];
    for hash in HASHES {
        for mgf1_hash in HASHES {
            transports.push(Recipient::oaep("rsa2048", hash, mgf1_hash));
        }
        for kind in EC {
            transports.push(Recipient::ecdh(kind, hash));
        }
    }
    let mut cases = Vec::new();
    for cipher in CBC.into_iter().chain(GCM) {
        for key_id in [false, true] {
            for transport in &transports {
                cases.extend(Case::forms("cms", cipher, key_id, std::slice::from_ref(transport)));
            }
        }
    }
    check_all(&cases, 7 * 2 * (1 + 4 * 4 + 4 * 3) * 6, Case::check);
}

#[test]
fn openssl_cms_with_its_defaults_for_each_kind_of_key() {
    let mut cases = Vec::new();
    for cipher in CBC.into_iter().chain(GCM) {
        for kind in ALL_KINDS {
            cases.extend(Case::forms("cms", cipher, false, &[Recipient::plain(kind)]));
        }
    }
    check_all(&cases, 7 * 6 * 6, Case::check);
}

#[test]
fn openssl_cms_with_recipients_of_all_kinds() {
    let recipients = [
        Recipient::plain("rsa2048"),
        Recipient::ecdh("p384", "sha384"),
        Recipient::oaep("rsa4096", "sha256", "sha1"),
        Recipient::plain("p256"),
        Recipient::oaep("rsa3072", "sha512", "sha512"),
        Recipient::ecdh("p521", "sha512"),
    ];
    let mut cases = Vec::new();
    for cipher in CBC.into_iter().chain(GCM) {
        for key_id in [false, true] {
            let forms = Case::forms("cms", cipher, key_id, &recipients);
            for openssl in OpenSsl::ALL {
                cases.extend(forms.iter().cloned().map(|case| Case { openssl, ..case }));
            }
        }
    }
    check_all(&cases, 7 * 2 * 6 * 2, Case::check);
}

/// One case for each cipher and each way to send the content key, to be met with a wrong key
/// and with `--strict`.
fn one_of_each() -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in CBC.into_iter().chain(GCM) {
        for recipient in [
            Recipient::plain("rsa2048"),
            Recipient::oaep("rsa2048", "sha256", "sha256"),
            Recipient::ecdh("p256", "sha256"),
        ] {
            if cipher != "-des3" || recipient.kind != "p256" {
                let recipients = vec![recipient];
                cases.push(Case {
                    openssl: OpenSsl::Stock,
                    command: "cms",
                    form: "DER",
                    stream: true,
                    cipher,
                    key_id: false,
                    recipients,
                });
            }
        }
    }
    cases
}

#[test]
fn wrong_key_gives_one_error_and_no_output() {
    check_all(&one_of_each(), 7 * 3 - 1, |case| {
        let folder = folder();
        let (message, _) = case.encrypt(&folder, &sample(LENGTH));
        // A key of the same kind is the harder case: only the content can tell that it is wrong.
        let same_kind = if case.recipients[0].kind == "p256" { "p256" } else { "rsa2048" };
        for wrong in [stranger(&folder, same_kind), KeyPair::of("rsa3072").both, KeyPair::of("p384").key] {
            let out = folder.path().join("out");
            let refused = decrypt(&wrong, &message, &out, "").fails(1).one_error();
            assert!(!out.exists(), "output despite refusal: {}", refused.story());
        }
    });
}

/// A private key that no message is for, without a certificate.
fn stranger(folder: &TempDir, kind: &str) -> PathBuf {
    let path = folder.path().join("stranger.pem");
    let options = match kind {
        "p256" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        _ => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    };
    run(openssl("genpkey").words(options).arg("-out").arg(&path)).ok();
    path
}

#[test]
fn strict_refuses_what_is_unauthenticated() {
    check_all(&one_of_each(), 7 * 3 - 1, |case| {
        let (folder, plain) = (folder(), sample(LENGTH));
        let (message, _) = case.encrypt(&folder, &plain);
        let out = folder.path().join("out");
        let run = decrypt(&KeyPair::of(case.recipients[0].kind).both, &message, &out, "--strict");
        if case.authenticated() {
            assert_holds(&out, &plain, &run.ok().story());
        } else {
            let refused = run.fails(1).one_error().says("unauthenticated");
            assert!(!out.exists(), "output despite refusal: {}", refused.story());
        }
    });
}

#[test]
fn bouncy_castle_messages() {
    let mut cases = Vec::new();
    for (content, cipher) in
        [("auth", "aes128-gcm"), ("auth", "aes256-gcm"), ("enveloped", "aes128-cbc"), ("enveloped", "aes256-cbc")]
    {
        for (transport, kind) in [
            ("pkcs1", "rsa2048"),
            ("oaep-sha1", "rsa2048"),
            ("oaep-sha256", "rsa4096"),
            ("ecdh-sha1", "p256"),
            ("ecdh-sha256", "p384"),
            ("ecdh-sha512", "p521"),
        ] {
            for encoding in ["der", "ber"] {
                cases.push((format!("encrypt {content} {cipher} {transport} {encoding}"), kind));
            }
        }
    }
    check_all(&cases, 4 * 6 * 2, |(line, kind)| {
        let (folder, plain, pair) = (folder(), sample(LENGTH), KeyPair::of(kind));
        let (message, out) = (folder.path().join("message"), folder.path().join("out"));
        run(bouncy_castle(line).arg(&pair.cert).arg(file(&folder, "plain", &plain)).arg(&message)).ok();
        let opened = decrypt(&pair.both, &message, &out, "").ok();
        assert_holds(&out, &plain, &format!("{line}\n{}", opened.story()));
    });
}
