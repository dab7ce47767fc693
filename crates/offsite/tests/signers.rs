//! The host's signing key, and the pins that say whose signatures count.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use offsite::cms::keygen::{KeyType, NewKey, Purpose};
use offsite::cms::signed_data::SigningKey;
use offsite::cms::{self, Certificate};
use offsite::hashes::Fingerprint;
use offsite::names::HostName;
use offsite::pins::{Pins, Verdict};
use offsite::signer::{Signer, read_or_make};
use offsite::{Error, PinProblem, Result};
use time::OffsetDateTime;

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn signer_in(path: &Path) -> Result<Signer> {
    read_or_make(path, &host("web-1"), OffsetDateTime::UNIX_EPOCH)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_key_is_made_once_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config/offsite/signing-key.pem");
    let signer = signer_in(&path).unwrap();
    assert!(signer.made && !signer.exposed);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(signer.key.certificate().name(), "CN=web-1");
    let contents = fs::read(&path).unwrap();
    let again = signer_in(&path).unwrap();
    assert!(!again.made);
    assert_eq!(again.fingerprint(), signer.fingerprint());
    assert_eq!(fs::read(&path).unwrap(), contents);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something else is left");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(signer_in(&path).unwrap().exposed);
    // A name without a folder is one in the folder at hand.
    assert!(matches!(signer_in(Path::new("")), Err(Error::File { .. })));
}

#[test]
fn people_tell_the_signer_by_what_openssl_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let signer = signer_in(&path).unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&path);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let (_, digits) = output.trim().split_once('=').unwrap();
    assert_eq!(signer.fingerprint().to_string(), format!("sha256:{}", digits.replace(':', "").to_lowercase()));
    assert_eq!(Fingerprint::from_people(&format!("sha256:{digits}")), Ok(signer.fingerprint()));
}

#[test]
fn what_is_no_signing_key_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let recipient =
        NewKey::generate(KeyType::Rsa2048, Purpose::Encryption, "r", OffsetDateTime::UNIX_EPOCH, 1).unwrap();
    for contents in ["", "text", &recipient.private_pem(None).unwrap()] {
        fs::write(&path, contents).unwrap();
        assert!(matches!(signer_in(&path), Err(Error::Cms { path: Some(_), .. })), "{contents:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
    }
    let link = folder.path().join("link.pem");
    symlink(folder.path().join("nowhere.pem"), &link).unwrap();
    assert!(matches!(signer_in(&link), Err(Error::File { .. })));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(!folder.path().join("nowhere.pem").exists());
    assert!(matches!(signer_in(folder.path()), Err(Error::File { .. })));
    assert!(matches!(signer_in(&path.join("below")), Err(Error::File { .. })));
}

/// Starts itself several times: with `KEY` in the environment it is one of these.
#[test]
fn of_many_processes_one_makes_the_key() {
    const KEY: &str = "OFFSITE_TEST_SIGNING_KEY";
    if let Some(path) = std::env::var_os(KEY) {
        let signer = signer_in(Path::new(&path)).unwrap();
        println!("\nKEY {} {}", signer.made, signer.fingerprint());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let path = folder.path().join(format!("{round}/key.pem"));
        let start = |_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "--nocapture", "of_many_processes_one_makes_the_key"]);
            command.env(KEY, &path).stdout(Stdio::piped()).spawn().unwrap()
        };
        let processes: Vec<_> = (0..8).map(start).collect();
        let outputs = processes.into_iter().map(|process| process.wait_with_output().unwrap());
        let lines: Vec<String> = outputs
            .map(|output| {
                let text = String::from_utf8(output.stdout).unwrap();
                text.lines().find(|line| line.starts_with("KEY ")).unwrap_or_else(|| panic!("{text}")).to_owned()
            })
            .collect();
        let made = lines.iter().filter(|line| line.starts_with("KEY true ")).count();
        let expected = signer_in(&path).unwrap().fingerprint().to_string();
        assert_eq!(made, 1, "{lines:?}");
        assert!(lines.iter().all(|line| line.ends_with(&expected)), "{lines:?}");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something else is left");
    }
}

fn certificate(name: &str) -> Certificate {
    SigningKey::generate(name, OffsetDateTime::UNIX_EPOCH, 1).unwrap().0.certificate().clone()
}

fn pins(value: impl AsRef<OsStr>, one: Option<&HostName>) -> Result<Pins> {
    Pins::read([value.as_ref()], one)
}

#[test]
fn without_pins_nothing_is_proven() {
    let pins = Pins::read([], None).unwrap();
    assert_eq!(pins.check(&host("web-1"), &certificate("web-1")), Verdict::NoPins);
}

#[test]
fn a_folder_pins_each_host_by_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let [one, renewed, two, other] = ["web-1", "web-1", "web-2", "web-1"].map(certificate);
    let file = |name: &str, contents: &str| fs::write(folder.path().join(name), contents).unwrap();
    file("web-1.pem", &format!("first\n{}then\n{}", one.to_pem(), renewed.to_pem()));
    file("web-2.pem", &two.to_pem());
    file("README", "what this is");
    file(".web-3.pem.swp", "half a file");
    file(".web-3.pem", "half a file");
    let pins = pins(folder.path(), None).unwrap();
    let (web_1, web_2, web_3) = (host("web-1"), host("web-2"), host("web-3"));
    for (host, signer, verdict) in [
        (&web_1, &one, Verdict::Pinned),
        (&web_1, &renewed, Verdict::Pinned),
        (&web_2, &two, Verdict::Pinned),
        // A thief of one host's key is nobody on another, and a name proves nothing.
        (&web_1, &two, Verdict::NotPinned),
        (&web_2, &one, Verdict::NotPinned),
        (&web_1, &other, Verdict::NotPinned),
        (&web_3, &one, Verdict::NotPinned),
    ] {
        assert_eq!(pins.check(host, signer), verdict, "{host}, {signer:?}");
    }
}

#[test]
fn an_empty_folder_trusts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pins = pins(folder.path(), None).unwrap();
    assert_eq!(pins.check(&host("web-1"), &certificate("web-1")), Verdict::NotPinned);
}

#[test]
fn a_file_or_fingerprint_pins_the_one_host_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two, other] = ["a", "b", "c"].map(certificate);
    let (pem, der) = (folder.path().join("signers"), folder.path().join("signer.der"));
    fs::write(&pem, one.to_pem() + &two.to_pem()).unwrap();
    fs::write(&der, one.der()).unwrap();
    let fingerprint = Fingerprint::of(&one).to_string();
    let (web_1, web_2) = (host("web-1"), host("web-2"));
    for value in [pem.as_os_str(), der.as_os_str(), OsStr::new(&fingerprint)] {
        let pins = pins(value, Some(&web_1)).unwrap();
        assert_eq!(pins.check(&web_1, &one), Verdict::Pinned, "{value:?}");
        assert_eq!(pins.check(&web_1, &other), Verdict::NotPinned, "{value:?}");
        assert_eq!(pins.check(&web_2, &one), Verdict::NotPinned, "{value:?}");
    }
    let all = Pins::read([der.as_os_str(), OsStr::new(&Fingerprint::of(&two).to_string())], Some(&web_1)).unwrap();
    assert_eq!([&one, &two].map(|signer| all.check(&web_1, signer)), [Verdict::Pinned; 2]);
    // The file that holds the signing key is as good.
    let own = folder.path().join("own/key.pem");
    let signer = signer_in(&own).unwrap();
    assert_eq!(pins(&own, Some(&web_1)).unwrap().check(&web_1, signer.key.certificate()), Verdict::Pinned);
}

#[test]
fn what_pins_nobody_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    };
    let signer = certificate("web-1");
    let recipient = NewKey::generate(KeyType::P384, Purpose::Encryption, "", OffsetDateTime::UNIX_EPOCH, 1).unwrap();
    let web_1 = host("web-1");
    let problem = |value: &OsStr, one| match pins(value, one) {
        Err(Error::Pin { problem, .. }) => problem,
        other => panic!("{value:?}: {other:?}"),
    };
    let good = file("signer.pem", &signer.to_pem());
    assert_eq!(problem(good.as_os_str(), None), PinProblem::NoHost);
    assert_eq!(problem(OsStr::new(&Fingerprint::of(&signer).to_string()), None), PinProblem::NoHost);
    let bare = Fingerprint::of(&signer).to_string().replace("sha256:", "");
    for bad in ["sha256:", "sha256:ab", "sha256:\u{e4}", &bare] {
        assert_eq!(problem(OsStr::new(bad), Some(&web_1)), PinProblem::NotAFingerprint);
    }
    let not_a_signer = PinProblem::NotASigner { kind: "P-384".to_owned() };
    let mixed = file("mixed.pem", &(signer.to_pem() + &recipient.certificate().to_pem()));
    assert_eq!(problem(mixed.as_os_str(), Some(&web_1)), not_a_signer);
    file("strange/web 1.pem", &signer.to_pem());
    assert_eq!(problem(folder.path().join("strange").as_os_str(), None), PinProblem::NotAHost);
    file("wrong/web-1.pem", &recipient.certificate().to_pem());
    assert_eq!(problem(folder.path().join("wrong").as_os_str(), None), not_a_signer);
    for contents in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        let empty = file("empty/web-1.pem", contents);
        for (value, one) in [(empty.as_path(), Some(&web_1)), (empty.parent().unwrap(), None)] {
            let error = pins(value, one).unwrap_err();
            assert!(matches!(error, Error::Cms { path: Some(_), source: cms::Error::Key(_) }), "{error}");
        }
    }
    for one in [Some(&web_1), None] {
        let missing = pins(folder.path().join("missing"), one).unwrap_err();
        assert!(matches!(missing, Error::File { action: "read", .. }), "{missing}");
    }
    // Of the host at hand a folder must have a file, unless another value says whom to trust.
    file("others/web-2.pem", &signer.to_pem());
    let others = folder.path().join("others");
    assert_eq!(problem(others.as_os_str(), Some(&web_1)), PinProblem::Missing(web_1.clone()));
    assert!(pins(&others, Some(&host("web-2"))).is_ok() && pins(&others, None).is_ok());
    assert!(Pins::read([others.as_os_str(), good.as_os_str()], Some(&web_1)).is_ok());
}
