//! `offsite keygen --paper`: the page is printed by a browser, and read back from its picture by other people's
//! programs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::{Words, assert_holds, assert_same, bash, file, folder, offsite, openssl, read, run};
use tempfile::TempDir;

const PASSPHRASE: &str = "not on the page";

/// A key pair with a page, in a folder of its own.
fn on_paper(kind: &str, protection: &str) -> TempDir {
    let folder = folder();
    file(&folder, "passphrase", PASSPHRASE.as_bytes());
    run(offsite("keygen --paper -o acme --type").arg(kind).words(protection).current_dir(folder.path())).ok();
    folder
}

/// A bash script in the folder.
#[track_caller]
fn script(folder: &TempDir, script: &str) -> String {
    let printed = run(bash(script).current_dir(folder.path()).env("OFFSITE", env!("CARGO_BIN_EXE_offsite"))).ok();
    String::from_utf8(printed.stdout).unwrap()
}

/// Prints the page to a PDF, and that to a picture of each sheet, as a good printer would.
fn print(folder: &TempDir) {
    let browser = "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --user-data-dir=browser \
        --no-pdf-header-footer --print-to-pdf=page.pdf acme-PAPER.html >browser.log 2>&1 || { cat browser.log >&2; exit 1; }
        pdftoppm -r 200 -gray -png page.pdf sheet";
    script(folder, browser);
}

/// Scans the codes of all sheets, in the order of their numbers.
fn scanned(folder: &TempDir) -> Vec<String> {
    // Each code is its number's line and up to nine of the file's; they are found in any order.
    let found = script(folder, "for sheet in sheet-*.png; do zbarimg --quiet --raw \"$sheet\" || [[ $? == 4 ]]; done");
    let mut parts: Vec<(usize, String)> = Vec::new();
    for line in found.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(number) => parts.push((number.split(' ').next().unwrap().parse().unwrap(), format!("{line}\n"))),
            None => parts.last_mut().unwrap().1 += &format!("{line}\n"),
        }
    }
    parts.sort();
    parts.into_iter().map(|(_, part)| part).collect()
}

/// The lines as they are printed: number, text, checksum.
fn printed(folder: &TempDir) -> Vec<(usize, String, String)> {
    let text = script(folder, "pdftotext -layout page.pdf -");
    let lines = text.lines().filter_map(|line| {
        let (number, rest) = line.trim().split_once(' ')?;
        let (text, checksum) = rest.trim().rsplit_once(' ')?;
        let is_checksum = checksum.len() == 4 && checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let text = text.trim();
        let text = if text.starts_with("-----") { text.to_owned() } else { text.replace(' ', "") };
        Some((number.parse().ok().filter(|_| is_checksum)?, text, checksum.to_owned()))
    });
    lines.collect()
}

fn private(folder: &TempDir) -> PathBuf {
    folder.path().join("acme-PRIVATE.pem")
}

#[track_caller]
fn opens_a_message(folder: &TempDir, key: &Path) {
    let message = folder.path().join("message");
    let plaintext = file(folder, "plaintext", b"from paper");
    run(offsite("encrypt --force -r").arg(folder.path().join("acme-cert.pem")).arg("-o").arg(&message).arg(plaintext))
        .ok();
    let passphrase = folder.path().join("passphrase");
    let by_us = run(offsite("decrypt -k").arg(key).arg("--passphrase-file").arg(&passphrase).arg(&message)).ok();
    assert_eq!(by_us.stdout, b"from paper");
    let mut stock = openssl("cms -decrypt -inform DER -inkey");
    stock.arg(key).arg("-recip").arg(key).arg("-in").arg(&message);
    let by_openssl = run(stock.arg("-passin").arg(format!("file:{}", passphrase.display()))).ok();
    assert_eq!(by_openssl.stdout, b"from paper");
}

#[test]
fn the_largest_key_is_read_back_from_its_picture() {
    for (kind, codes) in [("rsa4096", 10), ("p256", 2)] {
        let folder = on_paper(kind, "--passphrase-file passphrase");
        print(&folder);
        let original = read(&private(&folder));

        let parts = scanned(&folder);
        assert_eq!(parts.len(), codes, "{kind}");
        for (index, part) in parts.iter().enumerate() {
            assert!(part.starts_with(&format!("# {} of {codes}\n", index + 1)), "{part}");
        }
        file(&folder, "parts", parts.concat().as_bytes());
        script(&folder, "sed '/^#/d' parts >PRIVATE.pem");
        let scanned = folder.path().join("PRIVATE.pem");
        assert_holds(&scanned, &original, "scanned");
        opens_a_message(&folder, &scanned);

        let lines = printed(&folder);
        let numbers: Vec<_> = lines.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, (1..=lines.len()).collect::<Vec<_>>(), "{kind}");
        let typed: String = lines.iter().map(|(_, text, _)| format!("{text}\n")).collect();
        assert_same(typed.as_bytes(), &original, "typed");
        // As the page says, by stock tools.
        let command = "while IFS= read -r line; do printf %s \"$line\" | sha256sum | cut -c1-4; done <PRIVATE.pem";
        let checksums: Vec<_> = lines.iter().map(|(_, _, checksum)| checksum.as_str()).collect();
        assert_eq!(script(&folder, command).lines().collect::<Vec<_>>(), checksums);

        // The key alone is enough for a message.
        let end = typed.find("-----END ENCRYPTED PRIVATE KEY-----\n").unwrap();
        let alone = format!("{}-----END ENCRYPTED PRIVATE KEY-----\n", &typed[..end]);
        let alone = file(&folder, "alone.pem", alone.as_bytes());
        let mut check = offsite("key check --passphrase-file passphrase -k");
        run(check.arg(alone).arg("message").current_dir(folder.path())).ok();
    }
}

#[test]
fn the_page_names_the_key_and_is_right_about_it() {
    let folder = on_paper("p384", "--passphrase-file passphrase");
    print(&folder);
    let text = script(&folder, "pdftotext -layout page.pdf - | tr -d ' \\n'");
    let told = "
        sha256sum acme-PRIVATE.pem | cut -d' ' -f1
        openssl x509 -in acme-cert.pem -outform DER | sha256sum | cut -d' ' -f1
        echo CN=acme; echo P-384; date -u +%F; echo acme-PRIVATE.pem";
    for told in script(&folder, told).lines() {
        assert!(text.contains(told), "no {told} in {text}");
    }
    assert!(text.contains("Thepassphraseisnotonthispage") && !text.contains("notonthepage"));
    let mode = fs::metadata(folder.path().join("acme-PAPER.html")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // Nothing is fetched, and nothing runs.
    let page = String::from_utf8(read(&folder.path().join("acme-PAPER.html"))).unwrap();
    for active in ["<script", "http:", "https:", "url(", "src=", "href="] {
        assert!(!page.contains(active), "{active}");
    }

    let bare = on_paper("p256", "--no-passphrase");
    print(&bare);
    assert!(script(&bare, "pdftotext -layout page.pdf -").contains("no passphrase protects"));
    assert_eq!(
        script(&bare, "sed '/^#/d' <(for sheet in sheet-*.png; do zbarimg -q --raw $sheet || :; done) | grep -c KEY")
            .trim(),
        "2"
    );
}

#[test]
fn the_commands_on_the_page_are_right() {
    let folder = on_paper("p256", "--no-passphrase");
    script(&folder, "cp acme-PRIVATE.pem PRIVATE.pem");
    let page = String::from_utf8(read(&folder.path().join("acme-PAPER.html"))).unwrap();
    let blocks = page.split("<pre>").skip(1).map(|block| block.split("</pre>").next().unwrap());
    let blocks: Vec<String> = blocks.map(|block| block.replace("&lt;", "<").replace("&gt;", ">")).collect();
    let [scan, lines, check, open] = &blocks[..] else { panic!("{blocks:?}") };
    assert!(scan.contains("sed '/^#/d' parts >PRIVATE.pem"), "{scan}");
    let numbered = script(&folder, lines);
    assert!(numbered.lines().count() > 10 && numbered.trim_start().starts_with("1\t"), "{numbered}");
    let checked = script(&folder, &check.replace("offsite key", "\"$OFFSITE\" key"));
    assert!(checked.contains("sha256 Fingerprint=") || checked.contains("SHA256 Fingerprint="), "{checked}");
    assert!(checked.contains("CN=acme, the key's own"), "{checked}");
    file(&folder, "plaintext", b"opened");
    script(&folder, "\"$OFFSITE\" encrypt -r acme-cert.pem -o FILE.p7m plaintext");
    script(&folder, open.lines().find(|line| line.starts_with("openssl ")).unwrap());
    assert_holds(&folder.path().join("FILE"), b"opened", "by the page's last command");
}

#[test]
fn nothing_is_overwritten_and_nothing_left_of_a_failure() {
    let folder = folder();
    let page = file(&folder, "acme-PAPER.html", b"precious");
    let keygen =
        |line: &str| run(offsite("keygen --type p256 --no-passphrase -o acme").words(line).current_dir(folder.path()));
    keygen("--paper").fails(1).one_error().says("acme-PAPER.html exists already").does_not_say("--force");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_holds(&page, b"precious", "refused");
    keygen("").ok();
    assert_holds(&page, b"precious", "no page was asked for");
}
