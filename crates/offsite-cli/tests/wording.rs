//! What `backup` and `restore` say, and to whom: a person on a terminal, or nobody but cron.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{KeyPair, Run, Words, offsite, openssl, run};
use tempfile::TempDir;

/// A folder with a tree, a store to be, and two recipients.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(support::folder());
        fs::create_dir(desk.path().join("tree")).unwrap();
        fs::write(desk.path().join("tree/file"), "content").unwrap();
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `offsite` in the folder, which also has the state and the signing key.
    fn offsite(&self, line: &str) -> Command {
        let mut command = offsite(line);
        for variable in ["OFFSITE_STORE", "OFFSITE_SIGNERS", "OFFSITE_RECIPIENTS"] {
            command.env_remove(variable);
        }
        command.env("OFFSITE_STATE_DIR", self.path().join("state"));
        command.env("OFFSITE_SIGNING_KEY", self.path().join("signing-key.pem"));
        command.current_dir(self.path());
        command
    }

    fn backup(&self, options: &str) -> Run {
        let mut command = self.offsite("backup --host web-1");
        command.arg("-r").arg(KeyPair::of("p256").cert).arg("-r").arg(KeyPair::of("p384").cert);
        run(command.words(options))
    }

    fn restore(&self, options: &str) -> Run {
        run(self.offsite("restore --from store -k").arg(KeyPair::of("p256").both).words(options))
    }

    fn receipts(&self) -> usize {
        fs::read_dir(self.path().join("store/receipts/web-1/default")).map_or(0, Iterator::count)
    }
}

#[test]
fn cron_hears_of_a_new_signing_key_and_of_nothing_else() {
    let desk = Desk::new();
    let first = desk.backup("--to store tree").ok().does_not_say("first backup");
    let lines: Vec<&str> = first.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", first.story());
    first.says("offsite: warning: made this host's signing key").says("sha256:");
    let second = desk.backup("--to store tree").ok();
    assert_eq!((second.stderr.as_str(), second.stdout.len()), ("", 0));
    assert_eq!(desk.receipts(), 2);
    fs::remove_dir_all(desk.path().join("state")).unwrap();
    let anew = desk.backup("--to store tree").ok();
    assert_eq!(anew.stderr, "", "a lost state is a first backup");
}

#[test]
fn a_backup_of_nothing_is_none() {
    let desk = Desk::new();
    desk.backup("--to store tree").ok();
    desk.backup("--to store treee").fails(1).one_error().says("cannot read treee: No such file or directory");
    assert_eq!(desk.receipts(), 1);
    desk.backup("--to store tree treee")
        .fails(2)
        .says("the set default is of other paths: ")
        .says("hint: --full makes these paths the set's; with --set NAME they are a set of their own");
    let partial = desk.backup("--to store --full tree treee").fails(3);
    partial.says("warning: cannot read treee").says("warning: 1 thing could not be read, so the backup is partial");
    assert_eq!(desk.receipts(), 2);
    desk.backup("--to store -n tree treee").fails(3).says("so the backup would be partial");
    assert_eq!(desk.receipts(), 2);
}

#[test]
fn wrong_usage_of_backup_says_what_is_meant() {
    let desk = Desk::new();
    desk.backup("--to store --exec db.sql").fails(2).one_error().says("--exec NAME has no command").says("hint: ");
    desk.backup("--to store --exec db.sql -- /no/such").fails(1).one_error().says("hint: after --exec NAME --");
    desk.backup("--to disk/store tree").fails(1).one_error().says("there is no disk, ").says("mounted?");
    desk.backup("--to gs://bucket/p tree").fails(2).says("gs: locations are not known");
    let late_prefix = run(&mut desk.offsite("list --from s3://b?endpoint=https://h/p")).fails(2).one_error();
    late_prefix.says("a prefix stands before the ?").says("hint: it is a folder, s3://BUCKET/PREFIX?");
    desk.backup("--to store ../tree").fails(2).one_error().says("'..'").says("hint: a backup keeps paths as they are");
    desk.backup("--to store tree tree/file")
        .fails(2)
        .one_error()
        .says("overlap")
        .says("hint: name the upper one alone");
    let mut empty = desk.offsite("backup --host web-1 --to store -r no.pem");
    run(empty.arg("")).fails(2).one_error().says("'' is no path").says("hint: name files and folders");
    desk.backup("--to store --exclude [ tree")
        .fails(2)
        .one_error()
        .says("'['")
        .says("hint: patterns are as in .gitignore");
    desk.backup("--to store --exclude \\[ tree -n").ok();
    desk.backup("--to store --exclude-from no tree")
        .fails(2)
        .one_error()
        .says("no: ")
        .says("hint: --exclude-from takes");
    desk.backup("--to store --exclude-if-present a/b tree")
        .fails(2)
        .one_error()
        .says("hint: --exclude-if-present takes");
    desk.backup("--to store").fails(2).says("PATH");
    assert_eq!(desk.receipts(), 0);
}

#[test]
fn what_goes_wrong_on_the_first_day_comes_with_a_way_on() {
    let desk = Desk::new();
    desk.backup("--to store tree").ok();
    desk.backup("--to store tree --full -r no.pem").fails(1).one_error().says("no.pem").says("hint: look at the path");
    run(openssl("x509 -in signing-key.pem -out signer.pem").current_dir(desk.path())).ok();
    desk.backup("--to store tree -r signer.pem")
        .fails(2)
        .one_error()
        .says("signatures only")
        .says("hint: a host's sign");
    desk.backup("--to store treee --full")
        .fails(1)
        .one_error()
        .says("cannot read treee")
        .says("hint: look at the path");
    fs::create_dir(desk.path().join("empty")).unwrap();
    for command in
        ["prune --keep-within 30d", "verify", &format!("key check -k {}", KeyPair::of("p256").both.display())]
    {
        let empty = run(desk.offsite(command).words("--from empty")).fails(1).one_error();
        empty.says("there is no backup").says("hint: is the folder or prefix right");
    }
    run(&mut desk.offsite("list --from stroe")).fails(1).one_error().says("stroe").says("hint: look at the path");
    let wrong = KeyPair::of("p521").both;
    run(desk.offsite("restore --from store --into out -k").arg(wrong))
        .fails(1)
        .one_error()
        .says("hint: use the private key");
}

#[test]
fn a_file_that_is_no_message_is_asked_about() {
    let desk = Desk::new();
    for command in [&format!("decrypt -k {}", KeyPair::of("p256").both.display()), "inspect"] {
        let refused = run(desk.offsite(command).arg("tree/file")).fails(1).one_error();
        refused.says("tree/file: the input is not a CMS message").says("hint: is this the right file?");
    }
}

/// A set has many backups: whatever is wrong with --signer is said once, and not of each of them.
#[test]
fn whom_to_trust_is_missing_once() {
    let desk = Desk::new();
    desk.backup("--to store tree").ok();
    desk.backup("--to store tree").ok();
    for signer in ["nowhere.pem", "nowhere/"] {
        for host in ["", "--host web-1"] {
            let missing = run(desk.offsite("list --from store --signer").arg(signer).words(host)).fails(1).one_error();
            missing.says(&format!("cannot read {signer}: No such file")).says("hint: look at the path");
        }
    }
    fs::create_dir(desk.path().join("signers")).unwrap();
    run(openssl("x509 -in signing-key.pem -out signers/web-1-signer.pem").current_dir(desk.path())).ok();
    let is_missing = |told: Run| {
        told.fails(1).one_error().says("signers: there is no web-1.pem in it").says("hint: put the certificate");
    };
    is_missing(desk.restore("--into out --signer signers"));
    for command in ["list", "verify", "prune --keep-within 30d"] {
        is_missing(run(desk.offsite(command).words("--from store --signer signers --host web-1")));
    }
    // Where it is not said which host is meant, other hosts are looked at all the same.
    for command in ["list", "verify"] {
        let told = run(desk.offsite(command).words("--from store --signer signers")).fails(4);
        let told = told
            .says("its signer is not trusted for this host")
            .says("hint: if it is the host's own, name it with --signer");
        assert_eq!(told.stderr.matches("name it with --signer").count(), 1, "{}", told.story());
    }
    fs::rename(desk.path().join("signers/web-1-signer.pem"), desk.path().join("signers/web-1.pem")).unwrap();
    desk.restore("--into out --signer signers").ok();
}

#[test]
fn hints_of_restore_name_options_that_it_has() {
    let desk = Desk::new();
    desk.backup("--to store tree").ok();
    desk.restore("--tar out.tar").ok();
    desk.restore("--tar out.tar").fails(1).one_error().says("out.tar exists already").does_not_say("--force");
    desk.restore("--into out").ok();
    desk.restore("--into out").fails(1).one_error().says("out is not empty").says("--overwrite");
    // What is wrong with the folder is told before a passphrase is asked for.
    let without_key =
        |into| run(desk.offsite("restore --from store -k nowhere.pem --into").arg(into)).fails(1).one_error();
    without_key("out").says("out is not empty").says("--overwrite");
    without_key("no/where").says("cannot make no/where: No such file or directory");
    desk.restore("--stdout").fails(2).one_error().says("hint: name one regular file");
    desk.restore("--into other /tree/nothing").fails(1).one_error().says("hint: paths are as `offsite files`");
}

#[test]
fn a_damaged_slice_is_named_once() {
    let desk = Desk::new();
    desk.backup("--to store tree").ok();
    let set = desk.path().join("store/data/web-1/default");
    let backup = fs::read_dir(set).unwrap().next().unwrap().unwrap().path();
    let slice = backup.join("slice-00000000.p7m");
    let mut bytes = fs::read(&slice).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&slice, bytes).unwrap();
    let failed = desk.restore("--into out").fails(4).one_error().says("hint: --keep-going");
    let error = failed.stderr.lines().find(|line| line.contains("error: ")).unwrap();
    assert_eq!(error.matches("slice-00000000.p7m").count(), 1, "{error}");
    desk.restore("--into other --keep-going").fails(4).says("lost: tree: ").says("lost: 2 entries");
}

#[test]
fn a_person_on_a_terminal_is_told_more() {
    let desk = Desk::new();
    let both = ["p256", "p384"].map(|kind| format!("-r {}", KeyPair::of(kind).cert.display())).join(" ");
    let key = KeyPair::of("p256").both;
    let on_a_terminal = |line: String| {
        let mut command = support::on_a_terminal(&format!("{} {line}", env!("CARGO_BIN_EXE_offsite")));
        command.env("OFFSITE_STATE_DIR", "state").env("OFFSITE_SIGNING_KEY", "signing-key.pem");
        run(command.current_dir(desk.path()))
    };
    let text = |run: &Run| String::from_utf8_lossy(&run.stdout).into_owned();
    let first = on_a_terminal(format!("backup --host web-1 --to store {both} tree")).ok();
    let said = text(&first);
    assert!(said.contains("offsite: the first backup of this set from this host"), "{said}");
    assert!(said.contains("offsite: backed up 1 file, 1 folder, 0 others, 7 B; stored"), "{said}");
    let restored = text(&on_a_terminal(format!("restore --from store -k {} --into out", key.display())).ok());
    assert!(restored.contains("offsite: restored: 2 entries"), "{restored}");
    let refused = on_a_terminal(format!("restore --from store -k {} --tar -", key.display())).fails(2);
    assert!(text(&refused).contains("hint: send it to a file or a pipe"), "{}", refused.story());
}
