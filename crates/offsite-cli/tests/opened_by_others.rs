//! What `offsite encrypt` writes is opened by other people's programs.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{
    ALL_KINDS, EC, Gpgsm, KeyPair, Nss, OpenSsl, RSA, Words, assert_holds, assert_same, bouncy_castle, check_all, file,
    folder, offsite, read, run, run_reading, sample,
};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// A plaintext, and the message that `offsite encrypt` with `options` made of it.
struct Encrypted {
    folder: TempDir,
    plain: Vec<u8>,
    message: PathBuf,
    story: String,
}

impl Encrypted {
    fn new(options: &str, recipients: &[&KeyPair], length: usize) -> Self {
        let (folder, plain) = (folder(), sample(length));
        let message = folder.path().join("message");
        let mut command = offsite("encrypt");
        command.words(options);
        for pair in recipients {
            command.arg("-r").arg(&pair.cert);
        }
        command.arg("-o").arg(&message).arg(file(&folder, "plain", &plain));
        let story = run(&mut command).ok().story();
        Self { folder, plain, message, story }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// The lengths of the messages in the file, which must be definite-length DER and nothing else:
    /// OpenSSL itself does not mind what follows the first message.
    fn messages(&self) -> Vec<usize> {
        let file = read(&self.message);
        let mut rest = file.as_slice();
        let mut lengths = Vec::new();
        while let [tag, first, more @ ..] = rest {
            assert!(*tag == 0x30 && *first != 0x80, "not definite-length DER: {}", self.story);
            // The number of bytes that hold the length, if it does not fit into the first.
            let extra = if *first < 0x80 { 0 } else { usize::from(first & 0x7f) };
            let content = match extra {
                0 => usize::from(*first),
                _ => more[..extra].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            };
            let length = 2 + extra + content;
            assert!(length <= rest.len(), "cut off: {}", self.story);
            lengths.push(length);
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "a byte too many: {}", self.story);
        lengths
    }

    /// Panics unless OpenSSL's `command` (`cms` or `smime`) opens the message with this key.
    fn opened_by_openssl(&self, openssl: OpenSsl, command: &str, pair: &KeyPair) {
        let opened = run(openssl
            .command(command)
            .words("-decrypt -inform DER -recip")
            .arg(&pair.cert)
            .arg("-inkey")
            .arg(&pair.key)
            .arg("-in")
            .arg(&self.message)
            .arg("-out")
            .arg(self.out()))
        .ok();
        assert_holds(&self.out(), &self.plain, &format!("{}\n{}", self.story, opened.story()));
    }
}

#[test]
fn cms_profile_with_each_kind_of_key() {
    let mut cases = Vec::new();
    for kind in ALL_KINDS {
        for openssl in OpenSsl::ALL {
            for length in [0, 1, 100_000, 5 * MIB] {
                cases.push((kind, openssl, length));
            }
        }
    }
    check_all(&cases, 6 * 2 * 4, |&(kind, openssl, length)| {
        let pair = KeyPair::of(kind);
        let encrypted = Encrypted::new("", &[&pair], length);
        assert_eq!(encrypted.messages().len(), 1, "one message: {}", encrypted.story);
        encrypted.opened_by_openssl(openssl, "cms", &pair);
    });
}

#[test]
fn cms_profile_with_five_recipients_of_all_kinds() {
    let pairs = ["rsa2048", "p384", "rsa4096", "p256", "p521"].map(KeyPair::of);
    let encrypted = Encrypted::new("--profile cms", &pairs.each_ref(), 100_000);
    for openssl in OpenSsl::ALL {
        for pair in &pairs {
            encrypted.opened_by_openssl(openssl, "cms", pair);
        }
    }
}

/// The recipes for a stream of several slices, as documented.
const LOOP_OVER_FILE: &str = r#"
    while "$OPENSSL" cms -decrypt -inform DER -recip "$CERT" -inkey "$KEY"; do :; done <"$IN""#;
const SPLIT_A_PIPE: &str = r#"
    cat "$IN" | split -b 1048576 --filter='"$OPENSSL" cms -decrypt -inform DER -recip "$CERT" -inkey "$KEY"'"#;

#[test]
fn stream_of_several_slices() {
    let mut cases = Vec::new();
    for kind in ["rsa2048", "p256"] {
        for openssl in OpenSsl::ALL {
            for recipe in [LOOP_OVER_FILE, SPLIT_A_PIPE] {
                cases.push((kind, openssl, recipe));
            }
        }
    }
    let length = 3 * MIB + MIB / 2;
    check_all(&cases, 2 * 2 * 2, |&(kind, openssl, recipe)| {
        let pair = KeyPair::of(kind);
        let encrypted = Encrypted::new("--slice-size 1M", &[&pair], length);
        let slices = encrypted.messages();
        assert!(slices.len() == 4 && slices[..3] == [MIB; 3] && slices[3] <= MIB, "{slices:?}: {}", encrypted.story);
        let opened =
            run(openssl.bash(recipe).env("CERT", &pair.cert).env("KEY", &pair.key).env("IN", &encrypted.message)).ok();
        assert_same(&opened.stdout, &encrypted.plain, &opened.story());
    });
}

#[test]
fn stream_of_several_slices_in_files_of_their_own() {
    let pair = KeyPair::of("rsa3072");
    let encrypted = Encrypted::new("--slice-size 1M --split", &[&pair], 3 * MIB + MIB / 2);
    assert!(!encrypted.message.exists(), "--split writes no file without a number");
    for openssl in OpenSsl::ALL {
        let mut joined = Vec::new();
        for number in 0..4 {
            let slice = encrypted.folder.path().join(format!("message.{number:06}"));
            let size = fs::metadata(&slice).expect("the slice is there").len();
            assert!(if number < 3 { size == 1 << 20 } else { size < 1 << 20 }, "slice {number}: {size} bytes");
            let opened = run_reading(
                openssl.command("cms -decrypt -inform DER -recip").arg(&pair.cert).arg("-inkey").arg(&pair.key),
                &slice,
            );
            joined.extend_from_slice(&opened.ok().stdout);
        }
        assert_same(&joined, &encrypted.plain, &encrypted.story);
    }
    assert!(!encrypted.folder.path().join("message.000004").exists(), "four slices are enough");
}

#[test]
fn smime_profile_with_openssl() {
    let pairs = RSA.map(KeyPair::of);
    for length in [0, 1, 100_000] {
        let for_all = Encrypted::new("--profile smime", &pairs.each_ref(), length);
        for openssl in OpenSsl::ALL {
            for pair in &pairs {
                for_all.opened_by_openssl(openssl, "smime", pair);
                let for_one = Encrypted::new("--profile smime", &[pair], length);
                for_one.opened_by_openssl(openssl, "smime", pair);
            }
        }
    }
}

#[test]
fn smime_profile_with_gpgsm() {
    let pair = KeyPair::of("rsa2048");
    let gpgsm = Gpgsm::with_key(&pair);
    opened_by(&pair, |message, out| gpgsm.decrypt(message, out).ok().story());
}

#[test]
fn smime_profile_with_nss() {
    let pair = KeyPair::of("rsa2048");
    let nss = Nss::with_key(&pair);
    opened_by(&pair, |message, out| nss.decrypt(message, out).ok().story());
}

/// Panics unless `open` opens smime messages for this key alone, and for it and another.
fn opened_by(pair: &KeyPair, open: impl Fn(&Path, &Path) -> String) {
    let other = KeyPair::of("rsa4096");
    for recipients in [&[pair][..], &[&other, pair]] {
        let encrypted = Encrypted::new("--profile smime", recipients, 100_000);
        let story = open(&encrypted.message, &encrypted.out());
        assert_holds(&encrypted.out(), &encrypted.plain, &story);
    }
}

#[test]
fn cms_profile_with_bouncy_castle() {
    check_all(&ALL_KINDS, 6, |kind| {
        let (pair, other) = (KeyPair::of(kind), KeyPair::of(if *kind == "p384" { "p521" } else { "p384" }));
        let encrypted = Encrypted::new("", &[&other, &pair], 100_000);
        let opened =
            run(bouncy_castle("decrypt").arg(&pair.key).arg(&pair.cert).arg(&encrypted.message).arg(encrypted.out()))
                .ok();
        assert_holds(&encrypted.out(), &encrypted.plain, &opened.story());
    });
}

#[test]
fn smime_profile_refuses_ec_recipients() {
    let rsa = KeyPair::of("rsa2048");
    for kind in EC {
        let ec = KeyPair::of(kind);
        let folder = folder();
        let message = folder.path().join("message");
        let refused = run(offsite("encrypt --profile smime -r")
            .arg(&rsa.cert)
            .arg("-r")
            .arg(&ec.cert)
            .arg("-o")
            .arg(&message)
            .arg(file(&folder, "plain", b"secret")))
        .one_error();
        let story = refused.story();
        assert!(!refused.succeeded(), "{story}");
        let reason = refused.stderr.to_lowercase();
        assert!(reason.contains("smime") && reason.contains("rsa"), "no reason given: {story}");
        assert!(!message.exists(), "a message was written: {story}");
    }
}

#[test]
fn message_is_not_the_plaintext() {
    let pair = KeyPair::of("p256");
    for options in ["--profile cms --slice-size 1M", "--profile cms"] {
        let encrypted = Encrypted::new(options, &[&pair], 2 * MIB);
        let message = read(&encrypted.message);
        let piece = &encrypted.plain[MIB..MIB + 16];
        assert!(!message.windows(16).any(|window| window == piece), "plaintext in the message");
    }
}
