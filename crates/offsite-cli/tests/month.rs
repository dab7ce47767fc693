//! A month of real life: night after night something has changed, and every night comes back as it
//! was, by the command and by stock tools.
//!
//! What changes is a matter of chance. `OFFSITE_TEST_SEED` repeats what a failed test has told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/life.rs"]
mod life;
#[path = "support/manifest.rs"]
mod manifest;
mod support;
#[path = "../../offsite/tests/support/mod.rs"]
mod trees;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use life::{Chance, Life, alter, fill};
use manifest::Manifest;
use rustix::fs::{XattrFlags, lsetxattr};
use rustix::rand::{GetRandomFlags, getrandom};
use support::host::{Host, json};
use support::room::{GIB, Room};
use support::{Words, check_all, found_in_path, run, run_reading};
use tempfile::TempDir;

/// What all chance begins with, from the system unless it is given.
fn seed() -> u64 {
    let seed = env::var("OFFSITE_TEST_SEED").map_or_else(
        |_| {
            let mut bytes = [0; 8];
            getrandom(&mut bytes, GetRandomFlags::empty()).unwrap();
            u64::from_le_bytes(bytes)
        },
        |given| given.parse().expect("OFFSITE_TEST_SEED is a number"),
    );
    println!("OFFSITE_TEST_SEED={seed}");
    seed
}

/// Waits until what was changed is known to have been changed before the backup.
fn settle() {
    thread::sleep(Duration::from_millis(2100));
}

/// What a set backs up each night: it lies in the host's folder, and is called like its set.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Tree(&'static str),
    Stream(&'static str),
}

impl Subject {
    fn name(self) -> &'static str {
        let (Self::Tree(name) | Self::Stream(name)) = self;
        name
    }

    /// Of the subject where it lives, or where it was restored.
    fn manifest(self, folder: &Path) -> Manifest {
        match self {
            Self::Tree(name) => Manifest::of_tree(&folder.join(name)),
            Self::Stream(name) => Manifest::of_content(&folder.join(name)),
        }
    }

    /// Backs it up, and returns the backup's id, and how many bytes the store has grown by.
    fn back_up(self, host: &Host, options: &str) -> (String, u64) {
        let before = length_of(&host.path("store"));
        let mut command = host.backup(options);
        command.words("--json --set").arg(self.name());
        let ended = match self {
            Self::Tree(name) => run(command.arg(name)),
            Self::Stream(name) => run_reading(command.arg("--stdin").arg(name), &host.path(name)),
        };
        let summary = json(&ended.ok());
        (summary["id"].as_str().unwrap().to_owned(), length_of(&host.path("store")) - before)
    }
}

/// Who restores a backup.
#[derive(Clone, Copy, Debug)]
enum By {
    Command,
    Script,
}

impl By {
    /// Restores a backup into a folder within `desk`, and panics unless it is as expected.
    fn check(self, host: &Host, desk: &Path, subject: Subject, id: &str, expected: &Manifest, story: &str) {
        let name = subject.name();
        let into = desk.join(format!("{id}-{name}-by-{self:?}"));
        let ended = match self {
            Self::Command => run(host.restore("--into").arg(&into).args(["--set", name, "--backup", id])),
            Self::Script => run(host
                .bash(
                    r#"sh RECOVER.sh -s signer.pem "store/receipts/$BACKUP.p7s" key.pem "store/data/$BACKUP" "$INTO""#,
                )
                .env("BACKUP", format!("here/{name}/{id}"))
                .env("INTO", &into)),
        };
        let story = format!("{story}: {self:?}: {}", ended.ok().story());
        subject.manifest(&into).assert_is(expected, &story);
        fs::remove_dir_all(into).unwrap();
    }
}

/// What the script needs, beside the key.
fn write_script(host: &Host) {
    run(&mut host.bash(r#""$OFFSITE" recovery-script >RECOVER.sh; openssl x509 -in signing-key.pem -out signer.pem"#))
        .ok();
}

/// How many bytes the files below a folder hold.
fn length_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let length = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => length_of(&entry.path()),
        metadata => metadata.len(),
    };
    entries.map(|entry| length(entry.unwrap())).sum()
}

/// Whether backups build on each other: then some must be asked to be full.
fn is_incremental(host: &Host) -> bool {
    let help = run(&mut host.offsite("backup --help")).ok();
    String::from_utf8(help.stdout).unwrap().contains("--full")
}

/// A night of the small tree and its dump.
struct Night {
    /// With what is to come back, for each subject.
    backups: Vec<(Subject, String, Manifest)>,
}

const NIGHTS: usize = 12;

/// In this night nothing has changed.
const QUIET: usize = 7;

const SMALL: [Subject; 2] = [Subject::Tree("tree"), Subject::Stream("dump")];

/// Lives in the tree, and backs it up each night.
fn live(host: &Host, seed: u64) -> Vec<Night> {
    let mut chance = Chance::new(seed);
    let incremental = is_incremental(host);
    let mut life = Life::begin(&host.path("tree"), Chance::new(chance.number()));
    fill(&host.path("dump"), 5 << 20, |length| chance.records(length));
    let slice_size = *chance.one_of(&["1M", "1M", "3M", "16M"]);
    let reuse_for = *chance.one_of(&["1d", "30d", "90d"]);
    let mut size = slice_size;
    let (mut nights, mut first) = (Vec::new(), Vec::new());
    for night in 1..=NIGHTS {
        println!("night {night}");
        if night != 1 && night != QUIET {
            life.wild_day(25);
            alter(&host.path("dump"), &mut chance);
        }
        // A backup that follows a change at once has to be careful with it.
        if night == 2 || night == QUIET || chance.once_in(2) {
            settle();
        }
        // Other slices hold other chunks: what is read again then, since it had just changed, is put again.
        if night != QUIET {
            size = if chance.once_in(5) { "2M" } else { slice_size };
        }
        let full = if incremental && night != QUIET && chance.once_in(6) { "--full" } else { "" };
        let options = format!("--slice-size {size} --reuse-for {reuse_for} {full}");
        let mut backups = Vec::new();
        for (number, subject) in SMALL.into_iter().enumerate() {
            let manifest = subject.manifest(&host.path("."));
            let (id, stored) = subject.back_up(host, &options);
            println!("  {}: {id}: {options}: {} entries, {stored} bytes", subject.name(), manifest.entries());
            match night {
                1 => first.push(stored),
                QUIET if incremental => assert!(stored < first[number] / 4, "seed {seed}: {subject:?}: {stored}"),
                _ => {}
            }
            backups.push((subject, id, manifest));
        }
        nights.push(Night { backups });
    }
    nights
}

#[test]
fn every_night_comes_back_as_it_was() {
    let seed = seed();
    let host = Host::new();
    let nights = live(&host, seed);
    assert_eq!(host.backups().len(), NIGHTS * SMALL.len());
    write_script(&host);
    let mut cases = Vec::new();
    for night in 0..NIGHTS {
        for number in 0..SMALL.len() {
            cases.extend([By::Command, By::Script].map(|by| (night, number, by)));
        }
    }
    check_all(&cases, NIGHTS * SMALL.len() * 2, |&(night, number, by)| {
        let (subject, id, manifest) = &nights[night].backups[number];
        by.check(&host, &host.path("."), *subject, id, manifest, &format!("seed {seed}, night {}", night + 1));
    });
    let (_, latest, _) = &nights[NIGHTS - 1].backups[0];
    let script = r#"
        cmp <("$OFFSITE" restore -k key.pem --set tree --tar -) <(sh RECOVER.sh -t key.pem "store/data/here/tree/$ID")"#;
    run(host.bash(script).env("ID", latest)).ok();
}

/// A tree that is not as it was must be told from one that is.
#[test]
fn a_manifest_tells_every_difference() {
    let host = Host::new();
    host.write("tree/file", "content");
    host.write("tree/folder/other", "other");
    let script = r#"
        ln tree/file tree/linked; ln -s file tree/symbolic; truncate -s 2M tree/sparse; touch -d '2001-01-01' tree/*
        [[ $EUID != 0 ]] || chown -h 1:2 tree/*"#;
    run(&mut host.bash(script)).ok();
    let expected = Manifest::of_tree(&host.path("tree"));
    let mut changes = vec![
        ("echo CONTENT >file; truncate -s 7 file", "content differs after byte 0"),
        ("touch -d '2001-01-01 00:00:00.000000001' symbolic", "time is"),
        ("chmod u+x folder/other", r#""folder/other": mode is"#),
        ("cp -p file new; mv new linked", r#""linked": first name is"#),
        ("ln -snf other symbolic", "target is"),
        ("rm symbolic; mkfifo symbolic", "kind is"),
        ("rm folder/other", r#""folder/other": is missing"#),
        ("mkdir folder/more", r#""folder/more": should not"#),
        ("cp --sparse=never sparse new; mv new sparse", "lie on the disk"),
        ("truncate -s +1 folder/other", "size is"),
    ];
    if trees::everything::is_root() {
        changes.push(("chown -h 2:2 symbolic", "owner is"));
    }
    let tell = |change: &str, told: &str| {
        let script = format!("cd copy; {change}; touch -r ../tree .; touch -r ../tree/folder folder");
        run(&mut host.bash(&script)).ok();
        let difference = Manifest::of_tree(&host.path("copy")).first_difference(&expected).unwrap_or_default();
        assert!(difference.contains(told), "{change}: {difference}");
    };
    for (change, told) in changes {
        run(&mut host.bash("rm -rf copy; cp -a tree copy")).ok();
        Manifest::of_tree(&host.path("copy")).assert_is(&expected, "a copy");
        tell(change, told);
    }
    run(&mut host.bash("rm -rf copy; cp -a tree copy")).ok();
    match lsetxattr(host.path("copy/folder"), "user.some", b"value", XattrFlags::empty()) {
        Ok(()) => tell("true", r#""folder": attributes are"#),
        Err(error) => println!("this file system takes no attributes: {error}: not tested"),
    }
}

/// What the large month compares with: a repository for each subject.
struct Restic<'a>(&'a Host);

impl Restic<'_> {
    fn command(&self, subject: Subject) -> Command {
        found_in_path("restic");
        let mut command = Command::new("restic");
        self.0.at(&mut command);
        command.env("RESTIC_PASSWORD", "none").env("RESTIC_CACHE_DIR", self.0.path("restic-cache"));
        command.arg("--quiet").arg("--repo").arg(self.repository(subject));
        command
    }

    fn repository(&self, subject: Subject) -> PathBuf {
        self.0.path(format!("restic-{}", subject.name()))
    }

    /// Backs it up, and returns how many bytes the repository has grown by.
    fn back_up(&self, subject: Subject) -> u64 {
        let before = length_of(&self.repository(subject));
        if before == 0 {
            run(self.command(subject).arg("init")).ok();
        }
        let mut command = self.command(subject);
        match subject {
            Subject::Tree(name) => run(command.args(["backup", name])),
            Subject::Stream(name) => {
                run_reading(command.words("backup --stdin --stdin-filename").arg(name), &self.0.path(name))
            }
        }
        .ok();
        length_of(&self.repository(subject)) - before
    }
}

const LARGE: [Subject; 3] = [Subject::Tree("tree"), Subject::Tree("file"), Subject::Stream("dump")];

/// What was stored, by whom: bytes that `offsite` and restic have put in one night.
#[derive(Clone, Copy, Debug)]
struct Stored {
    ours: u64,
    theirs: u64,
}

impl Stored {
    #[allow(clippy::cast_precision_loss, reason = "a ratio of a few digits")]
    fn ratio(self) -> f64 {
        self.ours as f64 / self.theirs as f64
    }

    /// The columns of a table.
    fn row(stored: [Self; 3]) -> String {
        let mut row = String::new();
        for stored in stored {
            write!(row, " {} | {} | {:.2} |", stored.ours, stored.theirs, stored.ratio()).unwrap();
        }
        row
    }
}

/// The large month: a tree of sources, an image of a disk and a nightly dump.
struct Month {
    host: Host,
    /// Where things are restored to: nothing is written to a disk there, so that they are soon removed.
    desk: TempDir,
    chance: Chance,
    life: Life,
    /// How many nights it has.
    nights: usize,
}

impl Month {
    fn begin(room: &Room, tree: &Path, nights: usize, seed: u64) -> Self {
        let (host, mut chance) = (Host::within(&room.path(".")), Chance::new(seed));
        run(Command::new("cp").arg("-a").arg(tree).arg(host.path("tree"))).ok();
        fs::create_dir(host.path("file")).unwrap();
        fill(&host.path("file/image"), 2 * GIB, |length| chance.noise(length));
        fill(&host.path("dump"), GIB, |length| chance.records(length));
        let life = Life::within(&host.path("tree"), Chance::new(chance.number()));
        let desk = env::var_os("OFFSITE_TEST_LARGE_DIR").unwrap_or_else(|| "/dev/shm".into());
        let desk = tempfile::tempdir_in(desk).unwrap();
        Self { host, desk, chance, life, nights }
    }

    /// In this night nothing has changed.
    fn quiet(&self) -> usize {
        self.nights / 3 + 1
    }

    /// In this night one percent of the tree's files have other content, and nothing else.
    fn one_percent(&self) -> usize {
        2 * self.nights / 3 + 1
    }

    /// What happens before this night's backups.
    fn day(&mut self, night: usize) {
        if night == 1 || night == self.quiet() {
            return;
        }
        let files = self.life.files() / 100;
        if night == self.one_percent() {
            self.life.edit_only(files);
        } else {
            self.life.usual_day(files);
        }
        for name in ["file/image", "dump"] {
            alter(&self.host.path(name), &mut self.chance);
        }
    }

    /// Backs everything up, sees that it comes back, and returns what was stored, and what is to come
    /// back again at the end.
    fn night(&self, story: &str) -> Vec<(Subject, String, Manifest, Stored)> {
        settle();
        let back_up = |subject: Subject| {
            let (id, ours) = subject.back_up(&self.host, "");
            let stored = Stored { ours, theirs: Restic(&self.host).back_up(subject) };
            let manifest = subject.manifest(&self.host.path("."));
            By::Command.check(&self.host, self.desk.path(), subject, &id, &manifest, story);
            (subject, id, manifest, stored)
        };
        LARGE.map(back_up).into()
    }
}

/// Thirty nights of the Linux sources, a disk's image of 2 GiB and a dump of 1 GiB, beside restic,
/// with what each stored. It takes an hour, and about 18 GiB in /var/tmp and 2 GiB in
/// /dev/shm, or all of it in `OFFSITE_TEST_LARGE_DIR`; the sources are those that `scripts/bench` unpacks:
///
/// ```text
/// OFFSITE_TEST_MONTH_TREE=/var/tmp/offsite-benchmark/tree \
///     cargo test --release -p offsite-cli --test month -- --ignored --nocapture
/// ```
///
/// `OFFSITE_TEST_MONTH_NIGHTS` makes it shorter; the goals are those of a whole month.
#[test]
#[ignore = "large: needs a tree, and an hour"]
fn a_month_of_sources_stores_no_more_than_restic() {
    let tree = env::var_os("OFFSITE_TEST_MONTH_TREE").map(PathBuf::from);
    let tree = tree.expect("OFFSITE_TEST_MONTH_TREE names a tree of sources, such as scripts/bench unpacks");
    assert!(tree.is_dir(), "{} is no folder", tree.display());
    let nights = env::var("OFFSITE_TEST_MONTH_NIGHTS").map_or(30, |nights| nights.parse().unwrap());
    assert!(nights >= 3, "a month has three nights at least");
    let seed = seed();
    let room = Room::with(18 * GIB);
    let mut month = Month::begin(&room, &tree.canonicalize().unwrap(), nights, seed);

    println!(
        "| night | tree: offsite | restic | ratio | file: offsite | restic | ratio | dump: offsite | restic | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (mut kept, mut stored) = (Vec::new(), Vec::new());
    for night in 1..=nights {
        month.day(night);
        let story = format!("seed {seed}, night {night}");
        let backups = month.night(&story);
        let tonight = [0, 1, 2].map(|number: usize| backups[number].3);
        println!("| {night} |{}", Stored::row(tonight));
        stored.push(tonight);
        if night == 1 || night == nights || night.is_multiple_of(5) {
            kept.push((story, backups));
        }
    }
    let total = [0, 1, 2].map(|number: usize| Stored {
        ours: stored.iter().map(|tonight| tonight[number].ours).sum(),
        theirs: stored.iter().map(|tonight| tonight[number].theirs).sum(),
    });
    println!("| all |{}", Stored::row(total));

    write_script(&month.host);
    for (story, backups) in &kept {
        for (subject, id, manifest, _) in backups {
            By::Script.check(&month.host, month.desk.path(), *subject, id, manifest, story);
        }
    }

    let tree_at = |night: usize| stored[night - 1][0];
    let quiet = Stored { ours: tree_at(month.quiet()).ours, theirs: tree_at(1).ours };
    let goals = [
        ("one percent changed, of restic's", tree_at(month.one_percent()), 1.3),
        ("nothing changed, of the first night's", quiet, 0.005),
        ("tree, of restic's", total[0], 0.9),
        ("file, of restic's", total[1], 1.05),
        ("dump, of restic's", total[2], 1.05),
    ];
    let missed: Vec<_> = goals.iter().filter(|(_, stored, most)| stored.ratio() > *most).collect();
    assert!(missed.is_empty(), "seed {seed}: {missed:?}");
}
