//! The command as people and scripts meet it: output files, exit codes, words, interrupts.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{
    KeyPair, Words, assert_holds, assert_same, bash, copy_offsite, file, folder, offsite, openssl, read, run,
    run_reading, sample,
};

/// Encrypts `plaintext` to a P-256 key, in slices of 1 MiB.
fn encrypted(folder: &tempfile::TempDir, plaintext: &[u8]) -> std::path::PathBuf {
    let input = file(folder, "plaintext", plaintext);
    let out = folder.path().join("message.p7m");
    run(offsite("encrypt --slice-size 1M -r").arg(KeyPair::of("p256").cert).arg("-o").arg(&out).arg(input)).ok();
    out
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_binary_is_static_and_runs_in_an_empty_tree() {
    let tree = folder();
    copy_offsite(&tree.path().join("offsite"));
    let plaintext = sample(100_000);
    file(&tree, "plaintext", &plaintext);
    let pair = KeyPair::of("rsa2048");
    fs::copy(pair.cert, tree.path().join("cert.pem")).unwrap();
    fs::copy(pair.both, tree.path().join("both.pem")).unwrap();
    let inside = |line: &str| {
        // A user namespace lets a plain user change the root, too.
        let mut command = Command::new("unshare");
        run(command.words("--map-root-user --root").arg(tree.path()).arg("/offsite").words(line)).ok();
    };
    inside("encrypt -r cert.pem -o message plaintext");
    inside("decrypt -k both.pem -o back message");
    inside("keygen -o new --type p256 --no-passphrase");
    assert_holds(&tree.path().join("back"), &plaintext, "in an empty tree");
}

#[test]
fn a_failure_leaves_no_file() {
    let folder = folder();
    let plaintext = sample(2_500_000);
    let message = encrypted(&folder, &plaintext);
    let mut damaged = read(&message);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let damaged = file(&folder, "damaged.p7m", &damaged);
    let before = names(folder.path());
    let out = folder.path().join("out");
    let key = KeyPair::of("p256").key;
    let decrypt = |input: &Path| {
        let mut command = offsite("decrypt -k");
        command.arg(&key).arg("-o").arg(&out).arg(input);
        command
    };
    run(&mut decrypt(&damaged)).fails(1).one_error().says("slice 1 (from byte 1048576)").says("altered");
    run(&mut decrypt(&folder.path().join("absent"))).fails(1).one_error().says("absent");
    run(&mut decrypt(folder.path())).fails(1).one_error().says("directory");
    assert_eq!(names(folder.path()), before);

    // To a pipe goes what is intact, and nothing of the altered slice.
    let piped = run_reading(offsite("decrypt -k").arg(&key), &damaged).fails(1).one_error();
    assert!(plaintext.starts_with(&piped.stdout));
    let plaintext_of_a_slice = piped.stdout.len();
    assert!((1_040_000..1_048_576).contains(&plaintext_of_a_slice), "{plaintext_of_a_slice}");
}

#[test]
fn an_existing_file_is_replaced_only_by_force_and_only_when_all_is_well() {
    let folder = folder();
    let plaintext = sample(10_000);
    let message = encrypted(&folder, &plaintext);
    let cut = file(&folder, "cut.p7m", &read(&message)[..5_000]);
    let out = file(&folder, "out", b"precious");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("out", &link).unwrap();
    let key = KeyPair::of("p256").key;
    let decrypt = |options: &str, out: &Path, input: &Path| {
        run(offsite("decrypt").words(options).arg("-k").arg(&key).arg("-o").arg(out).arg(input))
    };
    decrypt("", &out, &message).fails(1).one_error().says("exists already").says("--force");
    decrypt("", &link, &message).fails(1).says("exists already");
    decrypt("--force", &out, &cut).fails(1).one_error();
    assert_holds(&out, b"precious", "after failures");
    decrypt("--force", &link, &message).ok();
    assert!(link.is_symlink(), "the link stays a link");
    assert_holds(&out, &plaintext, "replaced");
}

#[test]
fn output_files_follow_the_umask_and_are_written_in_place_to_devices() {
    let folder = folder();
    let message = encrypted(&folder, &sample(1000));
    let key = KeyPair::of("p256").key;
    let out = folder.path().join("out");
    run(bash("umask 027; \"$offsite\" decrypt -k \"$key\" -o \"$out\" \"$message\"")
        .env("offsite", env!("CARGO_BIN_EXE_offsite"))
        .env("key", &key)
        .env("out", &out)
        .env("message", &message))
    .ok();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o640);
    // What replaces a file is as private as that was.
    fs::set_permissions(&out, Permissions::from_mode(0o600)).unwrap();
    run(offsite("decrypt --force -k").arg(&key).arg("-o").arg(&out).arg(&message)).ok();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    run(offsite("decrypt -o /dev/null -k").arg(&key).arg(&message)).ok();
    run(offsite("decrypt -o /dev/full -k").arg(&key).arg(&message))
        .fails(1)
        .one_error()
        .says("/dev/full")
        .says("No space left");
}

#[test]
fn split_files_of_another_run_never_mix_in() {
    let folder = folder();
    let plaintext = sample(2_500_000);
    let input = file(&folder, "plaintext", &plaintext);
    let short = file(&folder, "short", &plaintext[..1_500_000]);
    let out = folder.path().join("out");
    let cert = KeyPair::of("p256").cert;
    let split = |options: &str, input: &Path| {
        run(offsite("encrypt --split --slice-size 1M -r").arg(&cert).words(options).arg("-o").arg(&out).arg(input))
    };
    split("", &input).ok();
    let all = ["out.000000", "out.000001", "out.000002", "plaintext", "short"];
    assert_eq!(names(folder.path()), all);
    split("", &short)
        .fails(1)
        .one_error()
        .says("error: ")
        .says("out.000000 exists already")
        .does_not_say("cannot write");
    fs::remove_file(folder.path().join("out.000000")).unwrap();
    fs::remove_file(folder.path().join("out.000001")).unwrap();
    split("", &short).fails(1).one_error().says("out.000002 exists already");
    assert_eq!(names(folder.path()), ["out.000002", "plaintext", "short"]);
    split("--force", &short).ok();
    assert_eq!(names(folder.path()), ["out.000000", "out.000001", "plaintext", "short"]);
    run(offsite("encrypt --split -r").arg(&cert).arg(&input)).fails(2).says("offsite: error: ");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let pair = KeyPair::of("p256");
    let folder = folder();
    let same_again = folder.path().join("copy.pem");
    fs::copy(&pair.cert, &same_again).unwrap();
    run(&mut offsite("encrypt --slice-size 1K")).fails(2).says("offsite: error: ").says("between 1M and 512M");
    run(&mut offsite("encrypt --profile pgp")).fails(2).says("offsite: error: ").says("smime");
    run(&mut offsite("decrypt")).fails(2).says("--key");
    run(&mut offsite("frobnicate")).fails(2).says("offsite: error: ");
    run(&mut offsite("")).fails(2).says("Usage");
    run(offsite("encrypt").env_remove("OFFSITE_RECIPIENTS")).fails(2).one_error().says("no recipient").says("-r");
    run(offsite("encrypt -r").arg(&pair.cert).arg("-r").arg(&same_again)).fails(2).one_error().says("same issuer");
    let smime = run(offsite("encrypt --profile smime -r").arg(&pair.cert)).fails(2);
    smime.says("RSA").says("--profile");
}

#[test]
fn what_cannot_be_read_looks_as_every_other_error() {
    let help = |command: &str| format!("`offsite {command} --help` has the options, and examples");
    let missing = |options: &str| format!("the following required arguments were not provided: {options}");
    for (line, error, hint) in [
        (
            "backup --wiat",
            "unexpected argument '--wiat' found".to_owned(),
            "a similar argument exists: '--wait'".to_owned(),
        ),
        ("backup -r x", missing("--to <STORE>, <PATH>..."), help("backup")),
        ("--log-format text key check", missing("--key <PRIVATE>"), help("key check")),
        (
            "inspekt",
            "unrecognized subcommand 'inspekt'".to_owned(),
            "a similar subcommand exists: 'inspect'".to_owned(),
        ),
        (
            "encrypt --profile pgp",
            "invalid value 'pgp' for '--profile <PROFILE>' [possible values: cms, smime]".to_owned(),
            help("encrypt"),
        ),
        (
            "restore --from x -k k --into a --stdout",
            "the argument '--into <DIR>' cannot be used with '--stdout'".to_owned(),
            help("restore"),
        ),
    ] {
        let told = run(offsite(line).env_remove("OFFSITE_STORE")).fails(2);
        assert_eq!(told.stderr, format!("offsite: error: {error}\noffsite: hint: {hint}\n"), "{line}");
    }
    let json = run(&mut offsite("verify --log-format json --x")).fails(2);
    let line: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(line["message"], "unexpected argument '--x' found");
    assert!(line["hint"].is_string(), "{line}");
}

#[test]
fn help_and_version_succeed_and_every_command_has_an_example() {
    run(&mut offsite("--version")).ok();
    for command in commands("") {
        let command = command.as_str();
        let help = run(offsite(command).arg("--help")).ok();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains(&format!("\n  offsite {command} ")), "{command}: no example in {text}");
    }
}

/// Examples are to be copied, so that they are as wide as written; all else is broken where the terminal ends.
#[test]
fn help_fits_a_terminal_of_80_columns() {
    let help = |command: &str, columns: &str| {
        let help = run(offsite(command).arg("--help").env("COLUMNS", columns)).ok();
        String::from_utf8(help.stdout).unwrap()
    };
    let fits = |line: &&str| line.chars().count() <= 80;
    for command in commands("") {
        let wide = help(&command, "1000");
        let (_, after) = wide.split_once("\nExample").unwrap();
        for part in after.trim_end().split("\n\n") {
            let (examples, prose): (Vec<_>, Vec<_>) = part.lines().partition(|line| line.starts_with("  "));
            assert!(examples.iter().all(fits), "{command}: an example is too wide: {part}");
            assert!(prose.len() <= 1, "{command}: prose with a line break in it: {part}");
        }
        // The usage that clap makes is one line, however long.
        let narrow = help(&command, "80");
        let wide = narrow.lines().filter(|line| !line.starts_with("Usage: ")).find(|line| !fits(line));
        assert_eq!(wide, None, "{command}");
    }
}

#[test]
fn help_tells_what_a_command_takes_and_how_it_takes_it() {
    let help = |command: &str| String::from_utf8(run(offsite(command).arg("--help")).ok().stdout).unwrap();
    for command in ["list", "find", "verify", "report", "drill", "prune", "key check"] {
        let help = help(command);
        assert!(help.contains("Only backups of this host\n") && help.contains("Only backups of this set\n"), "{help}");
        // What a bucket held at another time cannot be pruned.
        assert_eq!(help.contains("--store-as-of"), command != "prune", "{help}");
    }
    for command in ["files", "diff", "restore"] {
        let help = help(command);
        assert!(help.contains("must be given where") && !help.contains("Only backups of this"), "{help}");
    }
}

/// The commands that the help of `of` names, and those below them.
fn commands(of: &str) -> Vec<String> {
    let help = run(offsite(of).arg("--help")).ok();
    let text = String::from_utf8(help.stdout).unwrap();
    let listed = text.split_once("\nCommands:\n").unwrap().1.split("\n\n").next().unwrap();
    // Text that goes on stands further in.
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(name, _)| name);
    let names = names.filter(|name| !["", "help"].contains(name)).map(|name| format!("{of} {name}").trim().to_owned());
    let all: Vec<String> = names.flat_map(|name| if name == "key" { commands("key") } else { vec![name] }).collect();
    assert!(!all.is_empty(), "{text}");
    all
}

#[test]
fn the_recovery_script_is_printed() {
    let printed = run(&mut offsite("recovery-script")).ok();
    let expected = include_bytes!("../../offsite/src/recovery/RECOVER.sh");
    assert_same(&printed.stdout, expected, &printed.story());
    let full = run(bash("\"$offsite\" recovery-script >/dev/full").env("offsite", env!("CARGO_BIN_EXE_offsite")));
    full.fails(1).one_error().says("standard output");
}

#[test]
fn keys_that_cannot_serve_are_named_as_what_they_are() {
    let folder = folder();
    let pair = KeyPair::of("p256");
    let ed25519 = folder.path().join("ed25519.pem");
    run(openssl("genpkey -algorithm ed25519 -out").arg(&ed25519)).ok();
    let p224 = folder.path().join("p224.pem");
    run(openssl("req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-224 -subj /CN=p224 -keyout /dev/null -out")
        .arg(&p224))
    .ok();
    let small = folder.path().join("small.pem");
    run(openssl("req -x509 -nodes -newkey rsa:1024 -subj /CN=small -keyout /dev/null -out").arg(&small)).ok();
    run(offsite("decrypt -k").arg(&pair.cert)).fails(1).one_error().says("no private key").says("hint");
    run(offsite("decrypt -k").arg(&ed25519)).fails(1).one_error().says("Ed25519");
    run(offsite("decrypt -k").arg(folder.path())).fails(1).one_error();
    run(offsite("encrypt -r").arg(&pair.key)).fails(1).one_error().says("no certificate").says("hint");
    run(offsite("encrypt -r").arg(&p224)).fails(1).one_error().says("P-256");
    run(offsite("encrypt -r").arg(&small)).fails(1).one_error().says("RSA-1024").says("2048");
    run(offsite("encrypt -o /dev/null -r").arg(&pair.both)).ok().says("warning").says("private key");
}

#[test]
fn two_certificates_in_one_file_are_not_taken_for_one() {
    let folder = folder();
    let (first, second) = (KeyPair::of("p256"), KeyPair::of("rsa2048"));
    let both = file(&folder, "both.pem", &[read(&first.cert), read(&second.cert)].concat());
    run(offsite("encrypt -r").arg(&both)).fails(1).one_error().says("several certificates").says("hint");
    run(offsite("encrypt").env("OFFSITE_RECIPIENTS", &both)).fails(1).one_error().says("several certificates");
}

#[test]
fn a_key_that_is_not_a_recipient_learns_who_is() {
    let folder = folder();
    let message = encrypted(&folder, b"not for you");
    for kind in ["rsa2048", "p384"] {
        let stranger = KeyPair::of(kind).both;
        run(offsite("decrypt -k").arg(stranger).arg(&message)).fails(1).one_error().says("CN=p256").says("hint");
    }
    let other = folder.path().join("other");
    run(offsite("keygen --type p256 --no-passphrase -o").arg(&other)).ok();
    let other = folder.path().join("other-PRIVATE.pem");
    run(offsite("decrypt -k").arg(other).arg(&message)).fails(1).one_error().says("CN=p256").says("hint");
}

#[test]
fn file_names_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let odd = |name: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(name));
    let (plaintext, message, back) = (odd(b"a\xffb \n"), odd(b"m\xfe"), odd(b"\xfd"));
    fs::write(&plaintext, "odd").unwrap();
    let pair = KeyPair::of("p256");
    run(offsite("encrypt -r").arg(&pair.cert).arg("-o").arg(&message).arg(&plaintext)).ok();
    run(offsite("inspect").arg(&message)).ok();
    run(offsite("decrypt -k").arg(&pair.key).arg("-o").arg(&back).arg(&message)).ok();
    assert_holds(&back, b"odd", "under an odd name");
    let escaped = run(offsite("decrypt -k").arg(&pair.key).arg(&plaintext)).fails(1).one_error();
    assert!(escaped.stderr.lines().all(|line| line.starts_with("offsite: ")), "{}", escaped.stderr);
}

#[test]
fn an_expired_certificate_is_a_warning_and_no_obstacle() {
    let folder = folder();
    let pair = KeyPair::of("p256");
    let expired = folder.path().join("expired.pem");
    // `req` makes no certificates of the past; `x509` does, with a negative number of days.
    let request = folder.path().join("request.pem");
    run(openssl("req -new -subj /CN=old -key").arg(&pair.key).arg("-out").arg(&request)).ok();
    run(openssl("x509 -req -days -1 -in").arg(&request).arg("-signkey").arg(&pair.key).arg("-out").arg(&expired)).ok();
    let plaintext = file(&folder, "plaintext", b"late");
    let message = folder.path().join("message");
    let encrypt = run(offsite("encrypt -r").arg(&expired).arg("-o").arg(&message).arg(&plaintext)).ok();
    encrypt.says("offsite: warning: ").says("CN=old").says("expired on 20");
    let decrypt = run(offsite("decrypt -k").arg(&pair.key).arg(&message)).ok().does_not_say("expired");
    assert_eq!(decrypt.stdout, b"late");
}

#[test]
fn recipients_come_from_the_environment_as_names_or_as_text() {
    let folder = folder();
    let plaintext = file(&folder, "plaintext", b"shared");
    let (first, second) = (KeyPair::of("p256"), KeyPair::of("rsa2048"));
    let names = format!("\n{}\n{}\n", first.cert.display(), second.cert.display());
    let text = [read(&first.cert), read(&second.cert)].concat();
    for (number, recipients) in [names, String::from_utf8(text).unwrap()].into_iter().enumerate() {
        let message = folder.path().join(format!("message-{number}"));
        run(offsite("encrypt -o").arg(&message).arg(&plaintext).env("OFFSITE_RECIPIENTS", recipients)).ok();
        for pair in [&first, &second] {
            let decrypted = run(offsite("decrypt -k").arg(&pair.key).arg(&message)).ok();
            assert_eq!(decrypted.stdout, b"shared");
        }
    }
}

#[test]
fn inspect_describes_and_finds_what_is_missing() {
    let folder = folder();
    let message = encrypted(&folder, &sample(2_500_000));
    let report = |path: &Path, code: i32| -> serde_json::Value {
        serde_json::from_slice(&run(offsite("inspect --json").arg(path)).fails(code).stdout).unwrap()
    };
    let whole = report(&message, 0);
    assert_eq!(whole["content_type"], "authEnvelopedData");
    assert_eq!(whole["content_encryption"], "aes256-GCM");
    assert_eq!(whole["authenticated"], true);
    assert_eq!(whole["messages"], 3);
    assert_eq!(whole["size"], fs::metadata(&message).unwrap().len());
    assert_eq!(whole["content"], 2_500_000);
    assert_eq!(whole["stream"]["slice_size"], 1 << 20);
    assert_eq!(whole["stream"]["complete"], true);
    assert!(whole["recipients"][0]["name"].as_str().unwrap().contains("CN=p256"), "{whole}");
    let bytes = read(&message);
    let cases = [
        ("the last slice is missing", bytes[..2 << 20].to_vec(), "cut off"),
        ("the middle slice is missing", [&bytes[..1 << 20], &bytes[2 << 20..]].concat(), "out of order"),
        ("the first slice is missing", bytes[1 << 20..].to_vec(), "begins with slice 1"),
        ("it ends in mid-slice", bytes[..1_500_000].to_vec(), "ends at byte 1500000"),
        ("something follows", [&bytes[..], b"x"].concat(), "goes on"),
    ];
    for (what, bytes, finding) in cases {
        let damaged = report(&file(&folder, "damaged", &bytes), 1);
        assert_eq!(damaged["stream"]["complete"], false, "{what}: {damaged}");
        let findings = damaged["findings"].to_string();
        assert!(findings.contains(finding), "{what}: {findings}");
    }
    run(offsite("inspect").arg(&message)).ok().does_not_say("error");
}

#[test]
fn an_interrupt_removes_the_unfinished_file() {
    let folder = folder();
    let out = folder.path().join("out");
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(130)), ("HUP", Some(130)), ("KILL", None)] {
        let mut child = offsite("encrypt -r")
            .arg(KeyPair::of("p256").cert)
            .arg("-o")
            .arg(&out)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&sample(100_000)).unwrap();
        wait_until(|| !names(folder.path()).is_empty());
        run(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string())).ok();
        assert_eq!(child.wait().unwrap().code(), code, "{signal}");
        let left = names(folder.path());
        if signal == "KILL" {
            assert!(
                left.len() == 1 && left[0].ends_with(".unfinished"),
                "only an unfinished file may be left: {left:?}"
            );
        } else {
            assert_eq!(left, Vec::<String>::new(), "{signal}");
        }
    }
}

#[test]
fn an_interrupt_removes_the_pieces_that_are_finished() {
    let folder = folder();
    let mut child = offsite("encrypt --split --slice-size 1M -r")
        .arg(KeyPair::of("p256").cert)
        .arg("-o")
        .arg(folder.path().join("out"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&sample(5_000_000)).unwrap();
    wait_until(|| names(folder.path()).contains(&"out.000002".to_owned()));
    run(Command::new("kill").arg("-INT").arg(child.id().to_string())).ok();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn what_is_not_finished_is_private() {
    let folder = folder();
    let mut child = offsite("encrypt -r")
        .arg(KeyPair::of("p256").cert)
        .arg("-o")
        .arg(folder.path().join("out"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| !names(folder.path()).is_empty());
    let unfinished = folder.path().join(&names(folder.path())[0]);
    wait_until(|| fs::metadata(&unfinished).unwrap().permissions().mode() & 0o777 == 0o600);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_pipe_that_closes_ends_the_command_with_an_error() {
    let folder = folder();
    let message = encrypted(&folder, &sample(3_000_000));
    let script = "\"$offsite\" decrypt -k \"$key\" \"$message\" | head -c 10 >/dev/null";
    let command = run(bash(script)
        .env("offsite", env!("CARGO_BIN_EXE_offsite"))
        .env("key", KeyPair::of("p256").key)
        .env("message", &message))
    .fails(1);
    command.one_error().says("standard output");
}

/// Runs a command on a terminal, where this is typed.
fn on_a_terminal(command: &str, typed: &str, folder: &Path) -> support::Run {
    let typed_file = folder.join("typed");
    fs::write(&typed_file, typed).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_offsite")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    run_reading(support::on_a_terminal(command).current_dir(folder).env("PATH", path), &typed_file)
}

#[test]
fn passphrases_are_asked_for_on_a_terminal() {
    let folder = folder();
    let home = folder.path();
    on_a_terminal("offsite keygen -o k --type p256", "one\ntwo\n", home).fails(1);
    assert!(!home.join("k-PRIVATE.pem").exists());
    let made = on_a_terminal("offsite keygen -o k --type p256", "correct horse\ncorrect horse\n", home).ok();
    let shown = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(shown.contains("passphrase") && !shown.contains("correct horse"), "{shown}");
    assert!(shown.contains("next, on each server: offsite backup -r k-cert.pem --to STORE PATH"), "{shown}");
    assert!(String::from_utf8(read(&home.join("k-PRIVATE.pem"))).unwrap().contains("ENCRYPTED PRIVATE KEY"));
    fs::write(home.join("plaintext"), "secret").unwrap();
    run(offsite("encrypt -r k-cert.pem -o message plaintext").current_dir(home)).ok();
    on_a_terminal("offsite decrypt -k k-PRIVATE.pem -o back message", "wrong\ncorrect horse\n", home).ok();
    assert_holds(&home.join("back"), b"secret", "with a passphrase typed at the second try");
    let refused = on_a_terminal("offsite encrypt -r k-cert.pem plaintext", "", home).fails(2);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("standard output is a terminal"));
}

#[test]
fn progress_shows_on_a_terminal_and_nowhere_else() {
    let folder = folder();
    let home = folder.path();
    let pair = KeyPair::of("p256");
    fs::copy(&pair.cert, home.join("cert.pem")).unwrap();
    File::create(home.join("zeros")).unwrap().set_len(1 << 30).unwrap();
    // However fast this machine is, there is something to see for two seconds.
    let slow = "bash -o pipefail -c 'offsite encrypt -r cert.pem zeros | (sleep 2; cat >/dev/null)'";
    let shown = on_a_terminal(slow, "", home).ok();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("1.00 GiB") && shown.contains('%'), "{shown}");
    let silent = run(offsite("encrypt -r cert.pem -o /dev/null zeros").current_dir(home)).ok();
    assert_eq!((silent.stdout.len(), silent.stderr.as_str()), (0, ""));
}

#[test]
fn a_message_too_large_for_openssl_is_warned_of_once() {
    let folder = folder();
    let cert = KeyPair::of("rsa2048").cert;
    let zeros = folder.path().join("zeros");
    let size = |bytes| File::create(&zeros).unwrap().set_len(bytes).unwrap();
    let encrypt = |options: &str| {
        let mut command = offsite("encrypt --profile smime -o");
        command.arg(folder.path().join("out")).arg("-r").arg(&cert).words(options);
        command
    };
    let warnings = |run: support::Run| run.ok().stderr.matches("larger than 1.5 GiB").count();
    size(100 << 20);
    assert_eq!(warnings(run(encrypt("--force").arg(&zeros))), 0);
    size(1600 << 20);
    assert_eq!(warnings(run(encrypt("--force").arg(&zeros))), 1);
    assert_eq!(warnings(run(encrypt("--split --slice-size 512M").arg(&zeros))), 0);
    let piped = bash("head -c 1600M /dev/zero | \"$offsite\" encrypt --profile smime -o /dev/null -r \"$cert\"")
        .env("offsite", env!("CARGO_BIN_EXE_offsite"))
        .env("cert", &cert)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(piped.stderr).unwrap().matches("larger than 1.5 GiB").count(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = folder();
    let message = encrypted(&folder, b"x");
    let out = folder.path().join("absent/out");
    let key = KeyPair::of("p256").key;
    run(offsite("decrypt -k").arg(&key).arg("-o").arg(&out).arg(&message))
        .fails(1)
        .one_error()
        .says("absent/out")
        .does_not_say(".unfinished");
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    let closed_out = run(offsite("keygen --type p256 --no-passphrase -o").arg(closed.join("k")));
    // The permissions of a folder do not bind root.
    assert!(closed_out.succeeded() == names(&closed).contains(&"k-PRIVATE.pem".to_owned()), "{}", closed_out.story());
}
