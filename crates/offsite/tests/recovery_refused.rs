//! What the recovery script must not restore: altered slices, other messages, hostile plans, receipts of
//! others. Each failure names what is wrong, and leaves nothing that was not verified.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use offsite::archive::header::END;
use offsite::cms::keygen::KeyType;
use offsite::hashes::Sha256;
use support::made_by_hand::{HandMade, lay, members_of, rows};
use support::recovery_desk::{Case, DELTA, FULL, NEWEST, OpenSsl, found, key, same_tree, succeeds};
use support::run;

/// Flips a bit of a file, so far from its end.
fn flip(path: &Path, from_end: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - 1 - from_end;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn slices_that_are_not_what_they_were_are_refused() {
    for openssl in OpenSsl::ALL {
        let case = Case::new(openssl);
        let slice = |number: u32| case.set.data(FULL).join(format!("slice-{number:08}.p7m"));
        let originals = [fs::read(slice(0)).unwrap(), fs::read(slice(1)).unwrap()];
        let put_back = || (0..).zip(&originals).for_each(|(number, bytes)| fs::write(slice(number), bytes).unwrap());
        let refused = |words: &str| {
            case.refused(&mut case.script(), words);
            put_back();
        };
        for from_end in [0, 17, 5000] {
            flip(&slice(1), from_end);
            refused("slice-00000001.p7m is altered: its SHA-256");
        }
        fs::write(slice(1), &originals[1][..originals[1].len() - 1]).unwrap();
        refused("slice-00000001.p7m is altered: it is not of the length");
        fs::write(slice(0), [&originals[0][..], b"\0"].concat()).unwrap();
        refused("slice-00000000.p7m is altered: it is not of the length");
        fs::write(slice(0), &originals[1]).unwrap();
        fs::write(slice(1), &originals[0]).unwrap();
        refused("slice-00000000.p7m is altered");
        fs::remove_file(slice(1)).unwrap();
        refused("slice-00000001.p7m is missing");
        for from_end in [0, 17, 100] {
            flip(&case.set.data(FULL).join("plan.p7m"), from_end);
            case.nothing_restored(&mut case.script(), "plan.p7m ");
            flip(&case.set.data(FULL).join("plan.p7m"), from_end);
        }
        succeeds(&mut case.script());
        same_tree(case.tree.path(), &case.desk.path("out"));
    }
}

#[test]
fn only_the_right_key_opens_it() {
    for openssl in OpenSsl::ALL {
        let case = Case::new(openssl);
        let other = key(KeyType::P256, "key");
        let other_private = case.desk.write("other.pem", other.private_pem(None).unwrap().as_bytes());
        case.nothing_restored(&mut case.script_for(&other_private, &case.set.data(FULL)), "sealed to others");
        case.nothing_restored(&mut case.script_for(&case.desk.write("none.pem", ""), &case.set.data(FULL)), "unlock");

        // Without its certificate the one among the recipients serves; without any there is none.
        let both = fs::read_to_string(&case.private).unwrap();
        let (alone, certificate) = both.split_at(both.find("-----BEGIN CERTIFICATE").unwrap());
        let alone = case.desk.write("alone.pem", alone);
        assert!(case.desk.writes(&alone, &case.set.data(FULL)) == case.expected);
        let recipients = case.set.data(FULL).join("recipients.pem");
        fs::write(&recipients, other.certificate().to_pem()).unwrap();
        case.nothing_restored(
            &mut case.script_for(&alone, &case.set.data(FULL)),
            "there is no certificate of the private",
        );
        // Several, of others and of old, the right one last.
        let many = [other.certificate().to_pem(), certificate.to_owned(), fs::read_to_string(&alone).unwrap()].concat();
        assert!(case.desk.writes(&case.desk.write("many.pem", many), &case.set.data(FULL)) == case.expected);
    }
}

/// The message with an integrity check value of 4 bytes, said to be one: the first of its 16.
fn with_short_tag(message: &[u8]) -> Vec<u8> {
    let mut short = message[..message.len() - 16].to_vec();
    let tag = short.len();
    short[tag - 1] = 4;
    short.extend_from_slice(&message[tag..tag + 4]);
    let parameters = [2, 1, 16, 0x80];
    let at = short.windows(4).position(|bytes| bytes == parameters).unwrap();
    short[at + 2] = 4;
    // The three that hold it all: a tag, 83 and three bytes, or 82 and two, of length.
    let mut at = 0;
    for skip in [13, 0, 0] {
        let bytes = usize::from(short[at + 1] - 0x80);
        let field = &mut short[at + 2..at + 2 + bytes];
        let length = field.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) - 12;
        field.copy_from_slice(&length.to_be_bytes()[8 - bytes..]);
        at += 2 + bytes + skip;
    }
    short
}

/// OpenSSL before 3.0.21 takes them, and four bytes can be guessed.
#[test]
fn short_integrity_check_values_are_refused() {
    for openssl in OpenSsl::ALL {
        let mut case = Case::new(openssl);
        let path = case.set.data(FULL).join("slice-00000001.p7m");
        let message = fs::read(&path).unwrap();
        let short = with_short_tag(&message);
        let mut print = Command::new(found("openssl"));
        let shown = run(print
            .args(["cms", "-cmsout", "-noout", "-print", "-inform", "DER", "-in"])
            .arg(case.desk.write("short", &short)));
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains("authEnvelopedData") && shown.contains("INTEGER           :04"), "no message: {shown}");
        fs::write(&path, &short).unwrap();
        let (old, new) = (Sha256::of(&message), Sha256::of(&short));
        let plan = case.plan();
        let adjusted = plan.replace(&format!(" {} {old}", message.len()), &format!(" {} {new}", short.len()));
        assert_ne!(adjusted, plan);
        case.refuses_plan(&adjusted, "slice-00000001.p7m is refused: not 16 bytes of integrity check value");

        case.set.replace_plan(FULL, plan.as_bytes());
        let path = case.set.data(FULL).join("plan.p7m");
        fs::write(&path, with_short_tag(&fs::read(&path).unwrap())).unwrap();
        case.nothing_restored(&mut case.script(), "plan.p7m is refused: not 16 bytes of integrity check value");
    }
}

/// Messages that OpenSSL opens, but offsite does not write.
#[test]
fn other_kinds_of_messages_are_refused() {
    for openssl in OpenSsl::ALL {
        let case = Case::new(openssl);
        let certificate =
            case.desk.write("certificate.pem", fs::read(case.set.data(FULL).join("recipients.pem")).unwrap());
        let plain = case.desk.write("plain", "offsite-plan 1");
        for (cipher, words) in [
            ("-aes-256-cbc", "plan.p7m is refused: not authenticated"),
            ("-aes-128-gcm", "plan.p7m is refused: not AES-256-GCM"),
            ("-aes-256-gcm", "plan.p7m is refused: another slice"),
        ] {
            let mut encrypt = Command::new(found("openssl"));
            encrypt.args(["cms", "-encrypt", "-binary", cipher, "-outform", "DER", "-in"]).arg(&plain).arg("-out");
            run(encrypt.arg(case.set.data(FULL).join("plan.p7m")).arg(&certificate));
            case.nothing_restored(&mut case.script(), words);
        }
        for junk in [&b""[..], b"0", b"\x30\x80", b"0\x82\x01", &[0x30; 100]] {
            fs::write(case.set.data(FULL).join("plan.p7m"), junk).unwrap();
            case.nothing_restored(&mut case.script(), "plan.p7m is refused: ");
        }
    }
}

#[test]
fn plans_are_hostile_until_proven_otherwise() {
    let mut case = Case::new(OpenSsl::Stock);
    let plan = case.plan();
    let lines: Vec<&str> = plan.lines().collect();
    assert!(lines.len() > 5 && lines[1].starts_with("slice 0 ") && lines[2].starts_with("whole 0 "));
    let evil = [
        "$(touch pwned)",
        "`touch pwned`",
        ";touch pwned",
        "&touch pwned&",
        "|touch pwned",
        ">pwned",
        "\ntouch pwned\n",
        "*",
        "-rf",
        "--checkpoint-action=exec=touch pwned",
        "../../../x",
        "/dev/zero",
        "'",
        "\"",
        "\\",
        "\0",
        "\u{e4}",
        "$((pwned=1))",
        "a[$(touch pwned)]",
        "0x1",
        "01",
        "1e3",
        "-1",
        "+1",
        "",
        " ",
        "\t",
        "9007199254740993",
        "99999999999999999999",
        "a\nend 0",
        "${private_key}",
    ];
    let mut tried = 0;
    for number in 0..lines.len() {
        let words: Vec<&str> = lines[number].split(' ').collect();
        for (place, word) in words.iter().enumerate() {
            // All of them in all words would take minutes: each word meets some, each of them many words.
            for (nth, text) in (0..).zip(&evil).skip((number * 7 + place) % 6).step_by(6) {
                let text = if nth % 2 == 0 { (*text).to_owned() } else { format!("{word}{text}") };
                let mut words = words.clone();
                words[place] = &text;
                let mut changed = lines.clone();
                let line = words.join(" ");
                changed[number] = &line;
                let changed = changed.join("\n") + "\n";
                if changed != plan {
                    tried += 1;
                    case.refuses_plan(&changed, "the plan");
                }
            }
        }
    }
    assert!(tried > 100, "{tried} plans");
}

/// What is well formed and still wrong.
#[test]
fn plans_that_do_not_add_up_are_refused() {
    let mut case = Case::new(OpenSsl::Stock);
    let plan = case.plan();
    let last = plan.lines().last().unwrap().to_owned();
    let total = case.expected.len();
    assert_eq!(last, format!("end {total}"));
    let lines = plan.lines().count();
    let cut = |length: usize| plan[..length].to_owned();
    let with = |from: &str, to: &str| {
        assert!(plan.contains(from), "{from} is not in {plan}");
        plan.replacen(from, to, 1)
    };
    let first = plan.lines().find(|line| line.starts_with("whole 0 ")).unwrap();
    let length = first.rsplit(' ').next().unwrap();
    let size = plan.lines().nth(1).unwrap().split(' ').nth(3).unwrap();
    let cases = [
        (cut(plan.len() - 1), "the plan is cut short".to_owned()),
        (cut(plan.len() - last.len() - 1), "the plan is cut short".to_owned()),
        (String::new(), "the plan is cut short".to_owned()),
        (format!("{plan}{last}\n"), format!("the plan, line {}: the plan goes on after its end", lines + 1)),
        (with(&last, &format!("end {}", total + 1)), format!("{total} bytes long")),
        (with(&last, &format!("end {}", total - 1)), format!("not the {} that", total - 1)),
        (with(&last, "end 0"), "the plan".to_owned()),
        (with(first, &format!("whole 0 0 {}", u64::MAX >> 11)), "the plan, line 3: it reaches beyond its".to_owned()),
        (with(first, &format!("whole 0 1 {size}")), "the plan, line 3: it reaches beyond its slice".to_owned()),
        // Within the message, but not within what it holds.
        (with(first, &format!("whole 0 0 {size}")), "the plan, line 3: it reaches beyond its slice".to_owned()),
        (with(first, &format!("whole 0 1 {length}")), "the plan, line 3: ".to_owned()),
        (with(first, &format!("whole 1 0 {length}")), "line 3: a slice that is not named before it".to_owned()),
        (with(first, "cut 0 0 100 0 512"), "the plan, line 3: ".to_owned()),
        (with(first, &format!("cut 0 0 {length} 0 1073741824")), "the plan, line 3: it reaches beyond its".to_owned()),
        (with(first, &format!("cut 0 0 {length} 999999999 1")), "the plan, line 3: it reaches beyond its".to_owned()),
        (with(first, "whole 0 0 0"), "the plan, line 3: no step".to_owned()),
        (with(first, ""), "the plan, line 3: no step".to_owned()),
        (with("slice 0", "slice 1"), "the plan, line 2: a slice is out of order".to_owned()),
        (with(" tar", " stream ../x"), "the plan, line 1: no name of a stream".to_owned()),
        (with(FULL, NEWEST), "the plan, line 1: not the plan of this backup".to_owned()),
        (with("web-1", "web-2"), "the plan, line 1: not the plan of this backup".to_owned()),
        (with("offsite-plan 1", "offsite-plan 2"), "the plan, line 1: not the plan of this backup".to_owned()),
        (with(&format!("{FULL}/slice"), &format!("{NEWEST}/slice")), format!("{NEWEST}/slice-00000000.p7m is missing")),
    ];
    for (changed, words) in cases {
        case.refuses_plan(changed, &words);
    }
    // Another backup's plan, which is true in its own place.
    case.set.replace_plan(FULL, plan.as_bytes());
    let frames = case.set.run(DELTA, &[vec![END.to_vec()]]);
    case.set.backup(DELTA, Some(FULL), Vec::new(), Some(frames[0].all()));
    fs::copy(case.set.data(DELTA).join("plan.p7m"), case.set.data(FULL).join("plan.p7m")).unwrap();
    case.nothing_restored(&mut case.script(), "the plan, line 1: not the plan of this backup");
    // A folder of another name is another backup.
    let moved = case.set.data(NEWEST);
    fs::rename(case.set.data(DELTA), &moved).unwrap();
    case.nothing_restored(&mut case.script_for(&case.private, &moved), "not the plan of this backup");
}

#[test]
fn the_receipt_proves_where_a_backup_comes_from() {
    for openssl in OpenSsl::ALL {
        let mut case = Case::new(openssl);
        let (signer, receipt) = (case.desk.path("signer.pem"), case.set.receipt(FULL));
        let said = succeeds(&mut case.script_with(&signer, &receipt));
        assert!(!String::from_utf8_lossy(&said.stderr).contains("not proven"));
        fs::remove_dir_all(case.desk.path("out")).unwrap();
        let said = succeeds(&mut case.script());
        assert!(String::from_utf8_lossy(&said.stderr).contains("origin not proven"));
        fs::remove_dir_all(case.desk.path("out")).unwrap();

        let other = HandMade::new(&[key(KeyType::P256, "other").certificate().clone()]);
        let other_signer = case.desk.write("other-signer.pem", other.signer_pem());
        case.nothing_restored(&mut case.script_with(&other_signer, &receipt), "is not signed by the signer in");
        // In the signature, and in what is signed.
        let message = fs::read(&receipt).unwrap();
        let host = message.windows(5).position(|bytes| bytes == b"web-1").unwrap();
        for from_end in [0, 30, message.len() - host] {
            flip(&receipt, from_end);
            case.nothing_restored(&mut case.script_with(&signer, &receipt), "is not signed by the signer in");
            flip(&receipt, from_end);
        }
        case.nothing_restored(&mut case.script_with(&signer, Path::new("none")), "none is not signed");

        // The same host's receipt of another backup; another host's.
        let frames = case.set.run(DELTA, &[vec![END.to_vec()]]);
        case.set.backup(DELTA, Some(FULL), Vec::new(), Some(frames[0].all()));
        let words = format!("is that of web-1/default/{DELTA}, not of web-1/default/{FULL}");
        case.nothing_restored(&mut case.script_with(&signer, &case.set.receipt(DELTA)), &words);
        let mut other = other;
        other.host = "web-2".parse().unwrap();
        other.sign_as(FULL);
        let words = format!("is that of web-2/default/{FULL}, not of web-1/default/{FULL}");
        case.nothing_restored(&mut case.script_with(&other_signer, &other.receipt(FULL)), &words);

        // A plan that somebody else has sealed, in the place of the host's.
        let genuine = fs::read(&receipt).unwrap();
        case.set.replace_plan(FULL, case.plan().as_bytes());
        fs::write(&receipt, genuine).unwrap();
        case.nothing_restored(&mut case.script_with(&signer, &receipt), "plan.p7m is not what the receipt says");
    }
}

/// The plan's objects are one stream: none can be left out, none take another's place.
#[test]
fn objects_of_a_plan_that_are_no_stream_are_refused() {
    let mut case = Case::new(OpenSsl::Stock);
    case.set.short_slices(60);
    let plan = case.plan();
    case.set.replace_plan(FULL, plan.as_bytes());
    assert!(case.desk.writes(&case.private, &case.set.data(FULL)) == case.expected);
    let object = |number: u32| case.set.data(FULL).join(format!("plan-{number:08}.p7m"));
    let second = fs::read(object(1)).unwrap();
    fs::write(object(1), fs::read(object(2)).unwrap()).unwrap();
    case.nothing_restored(&mut case.script(), "plan-00000001.p7m is refused: another slice");
    fs::remove_file(object(1)).unwrap();
    case.nothing_restored(&mut case.script(), "plan-00000001.p7m is missing");
    fs::write(object(1), second).unwrap();
    let extra = (1..).find(|number| !object(*number).exists()).unwrap();
    fs::write(object(extra), "more").unwrap();
    case.nothing_restored(&mut case.script(), "comes after the end of the plan");
    // That of another stream has the right number, but not the right mark.
    fs::remove_file(object(extra)).unwrap();
    let first = fs::read(case.set.data(FULL).join("plan.p7m")).unwrap();
    case.set.replace_plan(FULL, plan.as_bytes());
    fs::write(case.set.data(FULL).join("plan.p7m"), first).unwrap();
    case.nothing_restored(&mut case.script(), "plan-00000001.p7m does not belong to plan.p7m");
}

/// Well sealed, signed and planned, and still out to harm: GNU tar keeps it in the folder, and says so.
#[test]
fn members_that_lead_out_of_the_folder_are_not_restored() {
    let mut case = Case::new(OpenSsl::Stock);
    let mut header = tar::Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..8].copy_from_slice(b"../pwned");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    let frames = case.set.run(DELTA, &[vec![header.as_bytes().to_vec(), END.to_vec()]]);
    let mut members = vec![members_of(case.tree.path()).swap_remove(1)];
    members[0].tar = header.as_bytes().to_vec();
    lay(&mut members, frames[0]);
    case.set.backup(DELTA, None, rows(&members), Some(frames[1].all()));
    case.nothing_restored(&mut case.script_for(&case.private, &case.set.data(DELTA)), "could not be written");
    assert!(!case.desk.path("pwned").exists());
}
