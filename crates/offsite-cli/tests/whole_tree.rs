//! A tree of everything, and of every size: backed up and restored, by the command and by stock tools.
//!
//! It takes minutes, and about 17 GiB of disk in /var/tmp and 2 GiB in /dev/shm, or all of it in
//! `OFFSITE_TEST_LARGE_DIR`.

#[path = "../../offsite/tests/support/mod.rs"]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod trees;

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use support::room::{GIB, MIB, Room, assert_memory, text};
use support::{KeyPair, found_in_path, run};
use trees::everything::{assert_identical, everything, noise};

/// What the recovery script may use, beside OpenSSL and coreutils.
const TOOLS: [&str; 6] = ["zstd", "tar", "sed", "awk", "grep", "openssl"];

const LARGE: u64 = 5 * GIB;

/// `$ROOT`: everything, and what is large or many.
fn make_tree(room: &Room, root: &Path, pair: &KeyPair) {
    everything(root);
    let large = root.join("large");
    fs::create_dir(&large).expect("a folder is made");
    run(room.bash(r#"plain >"$ROOT/large/file""#, LARGE, pair).env("ROOT", root)).ok();
    let sparse = File::create(large.join("sparse")).expect("a file is made");
    sparse.set_len(10 * GIB).expect("a hole takes no space");
    sparse.write_all_at(&noise(1 << 20, 3), 5 * GIB + 4096).expect("data are written");
    let equal = noise(100 << 20, 4);
    for name in ["equal", "equal, too"] {
        fs::write(large.join(name), &equal).expect("a file is written");
    }
}

/// `$ROOT`: 100,000 small files.
fn make_many(root: &Path) {
    for folder in 0..250_usize {
        let folder_path = root.join(format!("many/{folder}"));
        fs::create_dir_all(&folder_path).expect("a folder is made");
        for number in 0..400 {
            let content = format!("{folder} {number}\n").repeat((folder * 400 + number) % 97);
            fs::write(folder_path.join(format!("file {number}")), content).expect("a file is written");
        }
    }
}

/// A folder with the tools for recovery alone.
fn tools(room: &Room) {
    let bin = room.path("bin");
    fs::create_dir(&bin).expect("a folder is made");
    let coreutils = run(Command::new("bash").args(["-c", "dpkg -L coreutils | sed -n 's:^.*/s*bin/::p'"])).ok();
    let coreutils = text(coreutils.stdout);
    for tool in TOOLS.into_iter().chain(coreutils.split_whitespace().filter(|tool| *tool != "[")) {
        symlink(found_in_path(tool), bin.join(tool)).expect("a link is made");
    }
    symlink(found_in_path("dash"), room.path("dash")).expect("a link is made");
}

/// Backs up `$PWD/tree`, and restores it by offsite and by the script.
fn check(room: &Room, pair: &KeyPair, least: usize) {
    tools(room);
    let root = room.path("tree");
    let script = |script: &str| {
        let mut command = room.bash(script, LARGE, pair);
        command.current_dir(room.path("."));
        command.env("OFFSITE_STATE_DIR", room.path("state")).env("OFFSITE_SIGNING_KEY", room.path("signing-key.pem"));
        command.env("OFFSITE_STORE", room.path("store"));
        run(&mut command).ok();
    };
    let is_same = |restored: &Path| {
        let restored = restored.join("tree");
        assert_identical("-naHAXi", &root, &restored);
        let blocks = |root: &Path| root.join("large/sparse").metadata().map_or(0, |metadata| metadata.blocks());
        assert!(blocks(&restored) <= blocks(&root), "holes are filled");
        fs::remove_dir_all(restored).expect("the tree is removed");
    };

    script(r#"/usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" backup -r "$CERT" --host here tree"#);
    assert_memory(&room.path("memory"), 160 * MIB);
    script(r#"/usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" restore -k "$KEY" --into by-command"#);
    assert_memory(&room.path("memory"), 192 * MIB);
    is_same(&room.path("by-command"));

    script(
        r#"
        backup=(store/data/here/default/*)
        RECOVER() { env -i PATH="$PWD/bin" TMPDIR="$PWD" ./dash RECOVER.sh "$@"; }
        "$OFFSITE" recovery-script >RECOVER.sh
        RECOVER "$KEY" "${backup[0]}" by-hand
        "$OFFSITE" restore -k "$KEY" --tar - | tee >(digest >one) >(tar -t | wc -l >gnu) >(bsdtar -t | wc -l >bsd) |
            python3 -c 'import sys, tarfile; print(sum(1 for _ in tarfile.open(fileobj=sys.stdin.buffer, mode="r|")))' >python
        RECOVER -t "$KEY" "${backup[0]}" | digest >other
        "$OFFSITE" files -k "$KEY" >files"#,
    );
    is_same(&room.path("by-hand"));
    let read = |name: &str| fs::read_to_string(room.path(name)).expect("the script has written it");
    assert_eq!(read("one"), read("other"), "RECOVER.sh -t and restore --tar differ");
    let entries = read("files").lines().count();
    assert!(entries > least, "{entries} entries");
    for reader in ["gnu", "bsd", "python"] {
        assert_eq!(read(reader).trim(), entries.to_string(), "{reader}");
    }
}

#[test]
#[ignore = "large: run by scripts/test"]
fn everything_and_what_is_large_comes_back_as_it_was() {
    let room = Room::with(17 * GIB);
    let pair = KeyPair::of("p256");
    make_tree(&room, &room.path("tree"), &pair);
    check(&room, &pair, 100);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn a_hundred_thousand_files_come_back_as_they_were() {
    // Where nothing is written to a disk: some take minutes to remove as many files.
    let room = Room::within("/dev/shm", 2 * GIB);
    make_many(&room.path("tree"));
    check(&room, &KeyPair::of("rsa2048"), 100_000);
}
