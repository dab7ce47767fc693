//! The recovery script, run by dash with the programs that it names and no others, on backups made by
//! hand; what must not be restored; and the page that says how to do without the script.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use offsite::archive::header::END;
use offsite::cms::keygen::{KeyType, NewKey, Purpose};
use offsite::hashes::Sha256;
use offsite::index::{Entry, Inode, Kind, Place, Row};
use offsite::plan::Shape;
use offsite::recovery;
use support::made_by_hand::{HandMade, Member, bundle, chunks, id, lay, members_of, rows};
use support::{Numbers, run};
use tempfile::TempDir;
use time::OffsetDateTime;

const KILLED: &str = "20261120T074500Z-00000001";
const FULL: &str = "20261121T074500Z-00000002";
const DELTA: &str = "20261122T074500Z-00000003";
const NEWEST: &str = "20261123T074500Z-7f3a9c01";

/// The only programs that the script finds, beside those of coreutils.
const TOOLS: [&str; 5] = ["zstd", "tar", "sed", "awk", "grep"];
const COREUTILS: [&str; 24] = [
    "cat",
    "chmod",
    "cp",
    "cut",
    "dd",
    "dirname",
    "head",
    "ls",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "od",
    "printf",
    "rm",
    "rmdir",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tr",
    "uname",
    "wc",
];

/// The OpenSSL programs.
#[derive(Clone, Copy, Debug)]
enum OpenSsl {
    /// The one that this machine came with.
    Stock,
    /// The newest release, built by `scripts/setup-peers`.
    Next,
}

fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("missing: {program}"))
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/openssl-next")
}

impl OpenSsl {
    fn program(self) -> PathBuf {
        let program = match self {
            Self::Stock => found("openssl"),
            Self::Next => peers().join("openssl"),
        };
        assert!(program.exists(), "{} is missing: run scripts/setup-peers", program.display());
        program
    }
}

/// A place to recover in: a folder of tools for PATH, one for temporary files, the script, the keys.
struct Desk {
    folder: TempDir,
    openssl: OpenSsl,
}

impl Desk {
    fn new(openssl: OpenSsl) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap(), openssl };
        for name in ["bin", "temp"] {
            fs::create_dir(desk.path(name)).unwrap();
        }
        for tool in TOOLS.iter().chain(&COREUTILS) {
            symlink(found(tool), desk.path("bin").join(tool)).unwrap();
        }
        symlink(openssl.program(), desk.path("bin/openssl")).unwrap();
        fs::write(desk.path("RECOVER.sh"), recovery::SCRIPT).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    /// The program with nothing of this test's environment, in this folder.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", self.path("bin")).env("TMPDIR", self.path("temp"));
        if let OpenSsl::Next = self.openssl {
            command.env("OPENSSL_CONF", peers().join("openssl.cnf"));
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn script(&self) -> Command {
        let mut command = self.command(&found("dash"));
        command.arg("RECOVER.sh");
        command
    }

    /// Restores into `out`, which is what it returns.
    #[track_caller]
    fn restores(&self, private: &Path, backup: &Path) -> PathBuf {
        let out = self.path("out");
        succeeds(self.script().arg(private).arg(backup).arg(&out));
        self.is_tidy();
        out
    }

    /// What `-t` writes.
    #[track_caller]
    fn writes(&self, private: &Path, backup: &Path) -> Vec<u8> {
        let written = succeeds(self.script().arg("-t").arg(private).arg(backup)).stdout;
        self.is_tidy();
        written
    }

    /// Nothing is left of temporary files.
    #[track_caller]
    fn is_tidy(&self) {
        assert_eq!(fs::read_dir(self.path("temp")).unwrap().count(), 0, "temporary files are left");
    }
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output
}

/// The command must fail with code 1, and its last word be this.
#[track_caller]
fn fails(command: &mut Command, words: &str) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{stderr}");
    assert!(stderr.contains(words), "{words:?} is not in\n{stderr}");
    output
}

fn key(key_type: KeyType, name: &str) -> NewKey {
    let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    NewKey::generate(key_type, Purpose::Encryption, name, now, 36_500).unwrap()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect()
}

/// A tree of everything that a plain user can make; its path is what it has in the archive, too.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("closed/deep")).unwrap();
    fs::write(path("closed/deep/file"), "deep").unwrap();
    for (length, name) in [(0, "a empty"), (1, "b -rf"), (513, "c $(touch pwned)"), (40_000, "d new\nline")] {
        fs::write(path(name), noise(length, length as u64 + 1)).unwrap();
    }
    fs::write(path("big"), noise(1_300_001, 77)).unwrap();
    fs::hard_link(path("d new\nline"), path("e hard link")).unwrap();
    symlink("../../etc/passwd", path("f symlink")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path("g fifo"), rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
    let sparse = fs::File::create(path("h sparse")).unwrap();
    sparse.set_len(9_000_000).unwrap();
    fs::set_permissions(path("b -rf"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(path("closed"), fs::Permissions::from_mode(0o1755)).unwrap();
    folder
}

/// The restored tree is the one at `root`, in every respect that rsync knows.
#[track_caller]
fn same_tree(root: &Path, out: &Path) {
    let restored = out.join(root.strip_prefix("/").unwrap());
    let slash = |path: &Path| format!("{}/", path.display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-a", "-n", "-i", "-c", "-H", "-A", "-X", "--delete"]).arg(slash(root)).arg(slash(&restored));
    assert_eq!(String::from_utf8_lossy(&run(&mut rsync)), "");
}

/// A full backup of a tree, in two slices and a few frames; the tar that it is.
fn full(set: &mut HandMade, root: &Path) -> (Vec<Member>, Vec<u8>) {
    let mut members = members_of(root);
    let big = members.iter().position(|member| member.entry.path.ends_with(b"/big")).unwrap();
    let big = members.remove(big);
    let expected = [&bundle(&members)[..], &big.tar, &END].concat();
    let half = members.len() / 2;
    let pieces = chunks(&big, 400_000);
    let (first, second) = members.split_at_mut(half);
    let slices = [vec![bundle(first), bundle(second)], [pieces, vec![END.to_vec()]].concat()];
    let frames = set.run(FULL, &slices);
    lay(first, frames[0]);
    lay(second, frames[1]);
    let mut big = big;
    big.entry.places = frames[2..frames.len() - 1].iter().map(|frame| frame.all()).collect();
    members.push(big);
    members.sort_by(|a, b| offsite::paths::compare(&a.entry.path, &b.entry.path));
    set.backup(FULL, None, rows(&members), Some(frames.last().unwrap().all()));
    (members, expected)
}

#[test]
fn a_full_backup_is_restored_for_every_kind_of_key() {
    let tree = tree();
    for (openssl, key_type) in [
        (OpenSsl::Stock, KeyType::Rsa2048),
        (OpenSsl::Stock, KeyType::P256),
        (OpenSsl::Next, KeyType::Rsa2048),
        (OpenSsl::Next, KeyType::P521),
    ] {
        let desk = Desk::new(openssl);
        let keys = [key(key_type, "everyday"), key(KeyType::P384, "failsafe")];
        let mut set = HandMade::new(&keys.each_ref().map(|key| key.certificate().clone()));
        let (_, expected) = full(&mut set, tree.path());
        for (number, key) in keys.iter().enumerate() {
            let private = desk.write("private key.pem", key.private_pem(None).unwrap().as_bytes());
            assert!(desk.writes(&private, &set.data(FULL)) == expected, "{openssl:?}, key {number}");
        }
        let out = desk.restores(&desk.path("private key.pem"), &set.data(FULL));
        same_tree(tree.path(), &out);
    }
}

/// A desk with a key pair, and a full backup of a small tree that is sealed to it.
struct Case {
    desk: Desk,
    private: PathBuf,
    set: HandMade,
    tree: TempDir,
    expected: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let (desk, key, tree) = (Desk::new(OpenSsl::Stock), key(KeyType::P256, "key"), tree());
        let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
        let mut set = HandMade::new(&[key.certificate().clone()]);
        let (_, expected) = full(&mut set, tree.path());
        desk.write("signer.pem", set.signer_pem());
        Self { desk, private, set, tree, expected }
    }

    /// The script, to restore the full backup into `out`.
    fn script(&self) -> Command {
        self.script_for(&self.private, &self.set.data(FULL))
    }

    fn script_for(&self, private: &Path, backup: &Path) -> Command {
        let mut script = self.desk.script();
        script.arg(private).arg(backup).arg(self.desk.path("out"));
        script
    }

    /// The same with this receipt and signer.
    fn script_with(&self, signer: &Path, receipt: &Path) -> Command {
        let mut script = self.desk.script();
        script.arg("-s").arg(signer).arg(receipt).arg(&self.private).arg(self.set.data(FULL));
        script.arg(self.desk.path("out"));
        script
    }

    fn plan(&self) -> String {
        self.set.plan_of(id(FULL))
    }

    /// The restore fails, says this, and leaves nothing that it should not.
    #[track_caller]
    fn refused(&self, script: &mut Command, words: &str) {
        fails(script, words);
        self.desk.is_tidy();
        assert!(!self.desk.path("pwned").exists() && !Path::new("pwned").exists(), "a command was run");
        self.only_true_things();
        let _ = fs::remove_dir_all(self.desk.path("out"));
    }

    /// What was restored is what was backed up, as far as it goes.
    #[track_caller]
    fn only_true_things(&self) {
        let out = self.desk.path("out");
        let mut folders = vec![out.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let original = Path::new("/").join(path.strip_prefix(&out).unwrap());
                    let original = fs::read(&original).unwrap_or_else(|_| panic!("{} was made up", path.display()));
                    assert!(original.starts_with(&fs::read(&path).unwrap()), "{} is not true", path.display());
                }
            }
        }
    }

    #[track_caller]
    fn nothing_restored(&self, script: &mut Command, words: &str) {
        let out = self.desk.path("out");
        fails(script, words);
        self.desk.is_tidy();
        assert!(!self.desk.path("pwned").exists(), "a command was run");
        assert!(fs::read_dir(&out).is_ok_and(|mut entries| entries.next().is_none()), "something was restored");
    }

    /// Puts this plan, well sealed, in the place of the true one; it must be refused for this reason.
    #[track_caller]
    fn refuses_plan(&mut self, plan: impl AsRef<[u8]>, words: &str) {
        self.set.replace_plan(FULL, plan.as_ref());
        self.refused(&mut self.script(), words);
    }
}

/// Members dead and alive in the slices of a killed run, a large file with chunks in an earlier
/// backup's frames, a hard link to an old file, three indexes, and a plan that is longer than a slice.
#[test]
fn a_chain_is_restored_from_the_frames_of_all_its_runs() {
    let desk = Desk::new(OpenSsl::Stock);
    let key = key(KeyType::P256, "key");
    let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
    let mut set = HandMade::new(&[key.certificate().clone()]);
    set.short_slices(100);

    let tree = tempfile::tempdir().unwrap();
    let path = |name: &str| tree.path().join(name);
    for number in 0..20 {
        fs::write(path(&format!("file {number:02}")), noise(700 * number, number as u64 + 1)).unwrap();
    }
    let mut content = noise(2_000_000, 99);
    fs::write(path("large"), &content).unwrap();
    let named = |members: &[Member], name: &str| {
        let name = format!("/{name}").into_bytes();
        members.iter().position(|member| member.entry.path.ends_with(&name)).unwrap()
    };

    // A killed run: the folder and 20 files in a bundle, and most of the large file.
    let mut old = members_of(tree.path());
    let large = old.remove(named(&old, "large"));
    let pieces = chunks(&large, 500_000);
    let frames = set.run(KILLED, &[vec![bundle(&old)], pieces[..3].to_vec()]);
    lay(&mut old, frames[0]);
    // The backup that went on from there.
    let own = set.run(FULL, &[[&pieces[3..], &[END.to_vec()]].concat()]);
    let end = own.last().unwrap().all();
    let mut full = old.clone();
    full.push(large.clone());
    full.last_mut().unwrap().entry.places =
        frames[1..].iter().chain(&own[..own.len() - 1]).map(|frame| frame.all()).collect();
    set.backup(FULL, None, rows(&full), Some(end));
    let expected = [&bundle(&old)[..], &large.tar, &END].concat();
    assert!(desk.writes(&private, &set.data(FULL)) == expected, "the full backup differs");

    // A day later: files are gone, one has changed, and the third chunk of the large file.
    for number in [3, 4, 9] {
        fs::remove_file(path(&format!("file {number:02}"))).unwrap();
    }
    fs::write(path("file 12"), "changed").unwrap();
    content[1_200_000] ^= 1;
    fs::write(path("large"), &content).unwrap();
    let now = members_of(tree.path());
    let (mut folder, mut changed, mut large) =
        (now[0].clone(), now[named(&now, "file 12")].clone(), now[named(&now, "large")].clone());
    let pieces = chunks(&large, 500_000);
    let frames =
        set.run(DELTA, &[vec![bundle(&[folder.clone(), changed.clone()])], vec![pieces[0].clone(), pieces[3].clone()]]);
    let mut both = [folder.clone(), changed.clone()];
    lay(&mut both, frames[0]);
    [folder, changed] = both;
    large.entry.places = full.last().unwrap().entry.places.clone();
    (large.entry.places[0], large.entry.places[3]) = (frames[1].all(), frames[2].all());
    let gone = |number: usize| Row::Gone(old[named(&old, &format!("file {number:02}"))].entry.path.clone());
    let entry = |member: &Member| Row::Entry(member.entry.clone());
    let rows = vec![entry(&folder), gone(3), gone(4), gone(9), entry(&changed), entry(&large)];
    set.backup(DELTA, Some(FULL), rows, Some(end));
    let alive = |dead: &[usize]| {
        let dead: Vec<_> = dead.iter().map(|number| named(&old, &format!("file {number:02}"))).collect();
        let alive = old[1..].iter().zip(1..).filter(|(_, at)| !dead.contains(at));
        bundle(&alive.map(|(member, _)| member.clone()).collect::<Vec<_>>())
    };
    let expected = [&alive(&[3, 4, 9, 12])[..], &bundle(&[folder.clone(), changed.clone()]), &large.tar, &END].concat();
    assert!(desk.writes(&private, &set.data(DELTA)) == expected, "the first delta differs");

    // And another: the last file is gone, and another has a second name.
    fs::remove_file(path("file 19")).unwrap();
    fs::hard_link(path("file 07"), path("link")).unwrap();
    let now = members_of(tree.path());
    let mut more = [now[0].clone(), now[named(&now, "file 07")].clone(), now[named(&now, "link")].clone()];
    let frames = set.run(NEWEST, &[vec![bundle(&more)]]);
    lay(&mut more, frames[0]);
    let rows = vec![entry(&more[0]), entry(&more[1]), gone(19), entry(&more[2])];
    set.backup(NEWEST, Some(DELTA), rows, Some(end));
    let expected = [&alive(&[3, 4, 7, 9, 12, 19])[..], &changed.tar, &large.tar, &bundle(&more), &END].concat();
    assert!(desk.writes(&private, &set.data(NEWEST)) == expected, "the second delta differs");

    let plan = set.plan_of(id(NEWEST));
    assert!(plan.lines().any(|line| line.starts_with("cut ") && line.split(' ').count() > 10), "{plan}");
    assert!(set.data(NEWEST).join("plan-00000001.p7m").exists() && !set.receipt(KILLED).exists());
    let mut script = desk.script();
    script.arg("-s").arg(desk.write("signer.pem", set.signer_pem())).arg(set.receipt(NEWEST));
    let said = succeeds(script.arg(&private).arg(set.data(NEWEST)).arg("out"));
    assert!(!String::from_utf8_lossy(&said.stderr).contains("not proven"));
    same_tree(tree.path(), &desk.path("out"));
    desk.is_tidy();

    // The plan's objects are one stream: none can be left out, none take another's place.
    let object = |number: u32| set.data(NEWEST).join(format!("plan-{number:08}.p7m"));
    let second = fs::read(object(1)).unwrap();
    fs::write(object(1), fs::read(object(2)).unwrap()).unwrap();
    fails(desk.script().arg("-t").arg(&private).arg(set.data(NEWEST)), "plan-00000001.p7m is refused: another slice");
    fs::remove_file(object(1)).unwrap();
    fails(desk.script().arg("-t").arg(&private).arg(set.data(NEWEST)), "plan-00000001.p7m is missing");
    fs::write(object(1), second).unwrap();
    let extra = (1..).find(|number| !object(*number).exists()).unwrap();
    fs::write(object(extra), "more").unwrap();
    fails(desk.script().arg("-t").arg(&private).arg(set.data(NEWEST)), "comes after the end of the plan");
}

#[test]
fn a_stream_is_restored_as_a_file_of_its_name() {
    let desk = Desk::new(OpenSsl::Next);
    let key = key(KeyType::Rsa2048, "key");
    let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
    let mut set = HandMade::new(&[key.certificate().clone()]);
    set.shape = Shape::Stream("db.sql".parse().unwrap());
    let content = noise(900_000, 5);
    let pieces: Vec<Vec<u8>> = content.chunks(250_000).map(<[u8]>::to_vec).collect();
    // Ten slices of a frame each, more than are kept, and all of them twice.
    let frames = set.run(FULL, &pieces.iter().cycle().take(12).map(|piece| vec![piece.clone()]).collect::<Vec<_>>());
    let places: Vec<_> = frames.iter().chain(&frames).map(|frame| frame.all()).collect();
    let twice = [&content[..], &content, &content].concat();
    let expected = [&twice[..], &twice].concat();
    set.backup(FULL, None, vec![stream_row("db.sql", expected.len() as u64, places)], None);
    assert!(desk.writes(&private, &set.data(FULL)) == expected, "-t differs");
    let out = desk.restores(&private, &set.data(FULL));
    assert!(fs::read(out.join("db.sql")).unwrap() == expected, "the file differs");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);

    // Nothing at all is a stream, too.
    set.run(DELTA, &[]);
    set.backup(DELTA, None, vec![stream_row("db.sql", 0, Vec::new())], None);
    assert_eq!(desk.writes(&private, &set.data(DELTA)), b"");
    fails(desk.script().arg(&private).arg(set.data(DELTA)).arg(&out), "is not empty");
}

fn stream_row(name: &str, size: u64, places: Vec<Place>) -> Row {
    let kind = Kind::Stream { size };
    let inode = Inode::default();
    Row::Entry(Entry { path: name.as_bytes().to_vec(), kind, inode, links: false, torn: false, places })
}

/// Flips a bit of a file, so far from its end.
fn flip(path: &Path, from_end: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - 1 - from_end;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn slices_that_are_not_what_they_were_are_refused() {
    let case = Case::new();
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

#[test]
fn only_the_right_key_opens_it() {
    let case = Case::new();
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
    case.nothing_restored(&mut case.script_for(&alone, &case.set.data(FULL)), "there is no certificate of the private");
    // Several, of others and of old, the right one last.
    let many = [other.certificate().to_pem(), certificate.to_owned(), fs::read_to_string(&alone).unwrap()].concat();
    assert!(case.desk.writes(&case.desk.write("many.pem", many), &case.set.data(FULL)) == case.expected);
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
    let mut case = Case::new();
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

/// Messages that OpenSSL opens, but offsite does not write.
#[test]
fn other_kinds_of_messages_are_refused() {
    let case = Case::new();
    let certificate = case.desk.write("certificate.pem", fs::read(case.set.data(FULL).join("recipients.pem")).unwrap());
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

#[test]
fn plans_are_hostile_until_proven_otherwise() {
    let mut case = Case::new();
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
    let mut case = Case::new();
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
    let mut case = Case::new();
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

/// Runs it on a terminal of its own, where it is told this.
fn on_a_terminal(desk: &Desk, arguments: &str, typed: &str) -> Output {
    let input = fs::File::open(desk.write("typed", typed)).unwrap();
    let mut script = desk.command(&found("script"));
    let command = format!("{} RECOVER.sh {arguments}", found("dash").display());
    script.args(["--quiet", "--return", "--echo", "never", "--command", &command, "/dev/null"]).stdin(input);
    script.env("SHELL", found("dash")).output().unwrap()
}

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn the_passphrase_is_asked_for_once() {
    let case = Case::new();
    let mut set = HandMade::new(&[key(KeyType::P256, "key").certificate().clone()]);
    for key_type in [KeyType::P384, KeyType::Rsa2048] {
        let key = key(key_type, "with a passphrase");
        set = HandMade::new(&[key.certificate().clone()]);
        full(&mut set, case.tree.path());
        case.desk.write("locked.pem", key.private_pem(Some(PASSPHRASE.as_bytes())).unwrap().as_bytes());
        let arguments = format!("locked.pem {} out", set.data(FULL).display());
        let refused = on_a_terminal(&case.desk, &arguments, "wrong\n");
        let said = String::from_utf8_lossy(&refused.stdout);
        assert!(!refused.status.success() && said.contains("cannot unlock the private key in ./locked.pem"), "{said}");
        let done = on_a_terminal(&case.desk, &arguments, &format!("{PASSPHRASE}\n"));
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.matches("pass phrase").count() == 1, "{said}");
        assert!(!said.contains(PASSPHRASE), "{said}");
        same_tree(case.tree.path(), &case.desk.path("out"));
        fs::remove_dir_all(case.desk.path("out")).unwrap();
        case.desk.is_tidy();
    }
    drop(set);
}

/// Puts a program before each tool, which notes its arguments and environment, and becomes the tool.
fn spy(desk: &Desk) {
    let bin = desk.path("bin");
    fs::create_dir(desk.path("real")).unwrap();
    for tool in fs::read_dir(&bin).unwrap().map(Result::unwrap) {
        let (path, real) = (tool.path(), desk.path("real").join(tool.file_name()));
        fs::rename(&path, &real).unwrap();
        let note = format!(
            "#!{}\n{} /proc/$$/cmdline /proc/$$/environ >>{}\nexec {} \"$@\"\n",
            found("dash").display(),
            found("cat").display(),
            desk.path("notes").display(),
            real.display()
        );
        fs::write(&path, note).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What must be nowhere: the passphrase, and the private key as PEM and as bytes.
fn secrets(key: &NewKey) -> Vec<Vec<u8>> {
    let pem = key.private_pem(None).unwrap();
    let body = pem.lines().skip(1).take_while(|line| !line.starts_with('-'));
    let mut secrets: Vec<_> = body.filter(|line| line.len() > 20).map(|line| line.as_bytes().to_vec()).collect();
    assert!(secrets.len() >= 2, "{} lines", secrets.len());
    secrets.push(PASSPHRASE.as_bytes().to_vec());
    secrets
}

#[track_caller]
fn holds_none(bytes: &[u8], secrets: &[Vec<u8>], what: &str) {
    for secret in secrets {
        let found = bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "{what} holds {}", String::from_utf8_lossy(secret));
    }
}

/// The processes of a group: what each was started with.
fn processes(group: u32) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let of_group = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(2)) == Some(&group.to_string());
        if of_group && entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            found.push((entry.path(), [read("cmdline"), read("environ")].concat()));
        }
    }
    found
}

/// The files in the temporary folder, and what they hold.
fn temporary(desk: &Desk) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = fs::read_dir(desk.path("temp")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn the_private_key_is_nowhere_to_be_found() {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let case = Case::new();
    let key = key(KeyType::Rsa2048, "key");
    let mut set = HandMade::new(&[key.certificate().clone()]);
    full(&mut set, case.tree.path());
    let (secrets, desk) = (secrets(&key), &case.desk);
    let private = desk.write("private.pem", key.private_pem(None).unwrap().as_bytes());
    desk.write("locked.pem", key.private_pem(Some(PASSPHRASE.as_bytes())).unwrap().as_bytes());
    spy(desk);
    let done = on_a_terminal(desk, &format!("locked.pem {} out", set.data(FULL).display()), &format!("{PASSPHRASE}\n"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let notes = fs::read(desk.path("notes")).unwrap();
    let count = |words: &[u8]| notes.windows(words.len()).filter(|window| *window == words).count();
    assert!(count(b"-inkey\0/dev/stdin\0-recip\0") == 3 && count(b"TMPDIR=") > 20, "the notes are not complete");
    holds_none(&notes, &secrets, "a program's arguments or environment");

    // Nobody reads what it writes, so that it stands still in the middle; then it is ended.
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::KILL] {
        let mut script = desk.script();
        // A variable that is exported stays so; none of the script's may be.
        script.env("private_key", "x").env("public_key", "x").env("key", "x");
        script.arg("-t").arg(&private).arg(set.data(FULL)).stdout(Stdio::piped()).process_group(0);
        let mut child = script.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let stalled = || temporary(desk).iter().any(|(path, _)| path.ends_with("slice-1"));
        for wait in 0.. {
            assert!(wait < 600, "it does not get there");
            std::thread::sleep(std::time::Duration::from_millis(50));
            if stalled() {
                break;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        let running = processes(child.id());
        assert!(running.len() >= 3, "{running:?}");
        for (path, contents) in running.iter().chain(&temporary(desk)) {
            holds_none(contents, &secrets, &path.display().to_string());
        }
        if signal == Signal::KILL {
            kill_process_group(pid, signal).unwrap();
        } else {
            kill_process(pid, signal).unwrap();
        }
        let status = child.wait().unwrap();
        let left = temporary(desk);
        if signal == Signal::KILL {
            assert!(left.len() > 2, "{left:?}");
            left.iter().for_each(|(path, contents)| holds_none(contents, &secrets, &path.display().to_string()));
        } else {
            assert_eq!(status.code(), Some(128 + signal.as_raw()));
            desk.is_tidy();
            assert_eq!(processes(child.id()).len(), 0, "{signal:?} leaves processes behind");
        }
    }
    holds_none(&fs::read(desk.path("notes")).unwrap(), &secrets, "a program's arguments or environment");
}

const PAGE: &str = include_str!("../../../docs/restore-by-hand.md");

/// The page's commands, as they stand there.
fn commands() -> Vec<&'static str> {
    let blocks = PAGE.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```\n").unwrap().0);
    blocks.collect()
}

#[test]
fn the_page_does_what_it_says() {
    let case = Case::new();
    let desk = &case.desk;
    let values = [
        ("PRIVATE", "private.pem"),
        ("SCRIPT", "RECOVER.sh"),
        ("SIGNER", "signer.pem"),
        ("HOST", "web-1"),
        ("SET", "default"),
        ("BACKUP", FULL),
    ];
    for name in ["data", "receipts"] {
        symlink(case.set.store().join(name), desk.path(name)).unwrap();
    }
    // `sh` is the only program that the page needs beside the script's.
    symlink(found("dash"), desk.path("bin/sh")).unwrap();
    let commands = commands();
    let (variables, commands) = commands.split_first().unwrap();
    let named: Vec<&str> = variables.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(named, values.map(|(name, _)| name));
    assert_eq!(commands.len(), 10);
    let values: String = values.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let text = format!("set -eu\n{values}{}\n", commands.join("\n"));
    let done = succeeds(desk.command(&found("dash")).arg("-c").arg(&text));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("plan.p7m: OK") && said.contains(&format!("{FULL}/slice-00000000.p7m: OK")), "{said}");
    assert!(said.contains(&format!("end {0}\n{0}\n", case.expected.len())), "{said}");
    for words in ["algorithm: aes-256-gcm", "INTEGER           :10", "mac:"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(fs::read(desk.path("backup.tar")).unwrap() == case.expected, "the tar differs");
    same_tree(case.tree.path(), &desk.path("restored"));
    same_tree(case.tree.path(), &desk.path("by-hand"));
}

#[test]
fn the_page_has_the_hash_of_the_script() {
    let hash = Sha256::of(recovery::SCRIPT.as_bytes()).to_string();
    assert!(PAGE.contains(&format!("\n  `{hash}`\n")), "RECOVER.sh has changed: its SHA-256 is {hash}");
}

#[test]
fn wrong_usage_is_told() {
    let case = Case::new();
    let backup = case.set.data(FULL);
    let usage = |arguments: &[&str]| {
        let output = case.desk.script().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: sh RECOVER.sh"), "{output:?}");
    };
    usage(&[]);
    usage(&["-h"]);
    usage(&["private.pem", "x"]);
    usage(&["private.pem", "x", "y", "z"]);
    usage(&["-t", "private.pem", "x", "y"]);
    usage(&["-s", "signer.pem"]);
    let mut elsewhere = case.script_for(&case.private, case.desk.folder.path());
    fails(&mut elsewhere, "is not named .../HOST/SET/BACKUP");
    fails(&mut case.script_for(&case.private, &case.desk.path("none")), "cannot enter the backup's folder");
    // From within the folder.
    let mut within = case.desk.command(&found("dash"));
    within.current_dir(&backup).arg(case.desk.path("RECOVER.sh")).arg("-t").arg(&case.private).arg(".");
    assert!(succeeds(&mut within).stdout == case.expected);
    fs::remove_file(case.desk.path("bin/zstd")).unwrap();
    fails(&mut case.script(), "missing: zstd");
}
