//! Backups made to do harm, properly sealed and signed: by a host that was taken over, or by whoever
//! has the certificates and may write into a store without pins. Restoring them is an error that says
//! where; nothing outside the target is touched, and memory stays within its bound.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;
#[path = "../../offsite/tests/support/mod.rs"]
mod trees;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use offsite::archive::header::END;
use offsite::cms::Certificate;
use offsite::index::Row;
use offsite::names::BackupFile;
use offsite::receipt::{ChainObject, Receipt, SliceRange};
use support::host::Host;
use support::room::{MIB, assert_memory};
use support::{KeyPair, Run, Words, needed, run};
use trees::everything::noise;
use trees::made_by_hand::{HandMade, Member, bundle, chunks, id, lay, members_of, rows};
use trees::walk;

const ID: &str = "20261121T074500Z-00000002";
const LATER: &str = "20261122T074500Z-00000003";

/// A backup made by hand, what it is of, and what it must not touch.
struct Attack {
    host: Host,
    set: HandMade,
    /// Members of the small files, which lie in one frame.
    members: Vec<Member>,
    /// What the tree is called in the backup.
    tree: String,
}

impl Attack {
    /// Nothing is wrong with it yet.
    fn new() -> Self {
        Self::with(|_, _| ())
    }

    /// `change` gets the members before they are packed, and what the tree is called.
    fn with(change: impl FnOnce(&mut Vec<Member>, &str)) -> Self {
        needed("/usr/bin/time".into());
        let host = Host::new();
        for name in ["a", "folder/b", "z"] {
            host.write(&format!("tree/{name}"), name);
        }
        fs::hard_link(host.path("tree/a"), host.path("tree/link")).unwrap();
        symlink("a", host.path("tree/symbolic")).unwrap();
        host.write("tree/zz large", noise(300_000, 5));
        host.write("outside/secret", "secret");
        host.write("outside/folder/file", "file");
        let mut set = new_set();
        let mut members = members_of(&host.path("tree"));
        let tree = String::from_utf8(members[0].entry.path.clone()).unwrap();
        let large = members.pop().unwrap();
        change(&mut members, &tree);
        put(&mut set, ID, &mut members, large);
        Self { host, set, members, tree }
    }

    /// Runs `offsite` on it, in `work`, in little memory and not for ever.
    fn run(&self, line: &str) -> Run {
        let work = self.host.path("work");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir(&work).unwrap();
        let mut command = Command::new("timeout");
        command.words("60 /usr/bin/time -f %M -o ../memory").arg(env!("CARGO_BIN_EXE_offsite")).words(line);
        self.host.at(&mut command).env("OFFSITE_STORE", self.set.store()).current_dir(work);
        let ended = run(&mut command);
        // What failed has a first line that says so.
        let memory = fs::read_to_string(self.host.path("memory")).unwrap();
        fs::write(self.host.path("memory"), memory.lines().last().unwrap()).unwrap();
        assert_memory(&self.host.path("memory"), 192 * MIB);
        ended
    }

    /// Requires every way to restore it to be an error of what is stored, which says `said`; a choice
    /// of files as well if `chosen`.
    #[track_caller]
    fn fails(&self, chosen: bool, said: &str) {
        let before = self.guarded();
        let choice = format!("restore -k ../key.pem --into out {}", self.tree);
        let ways = [
            "restore -k ../key.pem --into out",
            "restore -k ../key.pem --into out --keep-going",
            "restore -k ../key.pem --tar out.tar",
            "restore -k ../key.pem --dry-run",
            &choice,
        ];
        for way in &ways[..if chosen { 5 } else { 4 }] {
            let ended = self.run(way).fails(4).says(said);
            assert!(ended.stderr.contains("offsite: error: "), "{}", ended.story());
            assert!(!self.host.path("work/out.tar").exists(), "{said}: a tar is there");
            let beside: Vec<_> =
                fs::read_dir(self.host.path("work")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(beside.iter().all(|name| name == "out"), "{beside:?}");
            assert_eq!(self.guarded(), before, "{said}: {way}");
        }
    }

    /// All that must stay as it is, contents and metadata, and how many names each file has.
    fn guarded(&self) -> String {
        let mut text = String::new();
        for folder in ["outside", "tree", "."] {
            let mut paths: Vec<PathBuf> = Vec::new();
            list(&self.host.path(folder), folder != ".", &mut paths);
            for path in paths.iter().filter(|path| !path.ends_with("work") && !path.ends_with("memory")) {
                let data = path.symlink_metadata().unwrap();
                let content = if data.is_file() { fs::read(path).unwrap() } else { Vec::new() };
                let (time, mode) = ((data.mtime(), data.mtime_nsec()), data.mode());
                let is_guarded = folder != ".";
                let of_it = if is_guarded {
                    format!("{time:?} {mode:o} {} {}", data.nlink(), data.uid())
                } else {
                    String::new()
                };
                writeln!(text, "{} {of_it} {content:?}", path.display()).unwrap();
            }
        }
        text
    }

    /// Changes the text of the index.
    fn index(&mut self, change: impl FnOnce(String) -> String) {
        let before = self.set.index_of(ID);
        let after = change(before.clone());
        assert_ne!(before, after, "nothing is changed");
        self.set.replace_index(ID, after.as_bytes());
    }

    fn plan(&mut self, change: impl FnOnce(String) -> String) {
        let before = self.set.plan_of(id(ID));
        let after = change(before.clone());
        assert_ne!(before, after, "nothing is changed");
        self.set.replace_plan(ID, after.as_bytes());
    }

    /// Changes one place of a path in the index: the text of the numbers after `"at":`.
    fn place(&mut self, name: &str, places: &str) {
        let start = format!("{{\"path\":\"{}/{name}\"", self.tree);
        self.index(|text| {
            let changed = text.lines().map(|line| match line.split_once("\"at\":") {
                Some((row, _)) if line.starts_with(&start) => format!("{row}\"at\":{places}}}\n"),
                _ => format!("{line}\n"),
            });
            changed.collect()
        });
    }
}

fn new_set() -> HandMade {
    let certificate = Certificate::from_file(&fs::read(KeyPair::of("p256").cert).unwrap()).unwrap();
    HandMade::new(&[certificate])
}

/// Makes a backup: small files in one frame and slice, a large one in frames of another.
fn put(set: &mut HandMade, backup: &str, members: &mut [Member], mut large: Member) {
    let pieces = chunks(&large, 100_000);
    let frames = set.run(backup, &[vec![bundle(members)], pieces.into_iter().chain([END.to_vec()]).collect()]);
    lay(members, frames[0]);
    let (end, of_large) = frames[1..].split_last().unwrap();
    large.entry.places = of_large.iter().map(|frame| frame.all()).collect();
    let mut all = rows(members);
    all.push(Row::Entry(large.entry));
    set.backup(backup, None, all, Some(end.all()));
}

/// The paths below a folder, all or only the first level's.
fn list(folder: &Path, deep: bool, into: &mut Vec<PathBuf>) {
    into.push(folder.to_path_buf());
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if deep && path.symlink_metadata().unwrap().is_dir() { list(&path, deep, into) } else { into.push(path) }
    }
}

/// An entry of a tar as anybody could write it.
fn ustar(name: &str, kind: u8, link: &str, size: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, size.as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut member = header.to_vec();
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

#[test]
fn nothing_is_wrong_with_what_the_attacks_begin_with() {
    let attack = Attack::new();
    attack.run("restore -k ../key.pem --into out").ok();
    let restored = attack.host.path("work/out").join(&attack.tree);
    trees::everything::assert_identical("-naHi", &attack.host.path("tree"), &restored);
    assert_eq!(attack.members.len() + 1, walk(&[&attack.host.path("tree")]).count());
}

/// The index says what is right, the member in the slice another thing.
#[test]
fn members_that_lead_elsewhere() {
    let outside = "/outside/evil";
    let cases: &[(&str, u8, &str, &str, &[u8])] = &[
        ("../outside/evil", b'0', "", "00000000001\0", b"x"),
        ("../../outside/evil", b'0', "", "00000000001\0", b"x"),
        (outside, b'0', "", "00000000001\0", b"x"),
        ("./evil", b'0', "", "00000000001\0", b"x"),
        ("evil", b'0', "", "00000000001\0", b"x"),
        ("a//b", b'0', "", "00000000001\0", b"x"),
        ("", b'0', "", "00000000001\0", b"x"),
        ("evil", b'2', "/etc/passwd", "00000000000\0", b""),
        ("evil", b'2', "../../outside", "00000000000\0", b""),
        ("evil", b'1', "../../outside/secret", "00000000000\0", b""),
        ("evil", b'1', "/etc/passwd", "00000000000\0", b""),
        ("evil/", b'5', "", "00000000000\0", b""),
        ("evil", b'3', "", "00000000000\0", b""),
        ("evil", b'7', "", "00000000001\0", b"x"),
        ("evil", b'S', "", "00000000001\0", b"x"),
        ("././@LongLink", b'L', "", "00000000001\0", b"x"),
        ("evil", b'x', "", "77777777777\0", b"x"),
        ("evil", b'0', "", "77777777777\0", b"x"),
        ("evil", b'0', "", "-0000000001\0", b"x"),
        ("evil", b'0', "", "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\0", b"x"),
    ];
    assert!(cases.len() > 10);
    for (name, kind, link, size, content) in cases {
        let attack = Attack::with(|members, tree| {
            // Of the length that the index must have for it.
            let honest = if content.is_empty() { "/symbolic" } else { "/z" };
            let member = members.iter_mut().find(|member| member.entry.path.ends_with(honest.as_bytes())).unwrap();
            assert!(tree.len() < 90);
            member.tar = ustar(name, *kind, link, size, content);
        });
        println!("{name} {}", char::from(*kind));
        attack.fails(true, "slice-00000000.p7m");
    }
}

/// The index itself leads elsewhere. It is refused before anything is made.
#[test]
fn indexes_that_lead_elsewhere() {
    let paths =
        ["..", ".", "../../../../outside/evil", "/etc/evil", "", "a\\u0000b", "//", "z/../../evil", "%2E%2E", "%2F"];
    for evil in paths {
        let mut attack = Attack::new();
        let (old, new) = (format!("\"path\":\"{}/z\"", attack.tree), format!("\"path\":\"{}/{evil}\"", attack.tree));
        attack.index(|text| text.replacen(&old, &new, 1));
        attack.fails(true, "index.p7m");
    }
    for evil in ["../outside/secret", "/etc/passwd", "", ".."] {
        let mut attack = Attack::new();
        let (old, new) = (format!("\"leader\":\"{}/a\"", attack.tree), format!("\"leader\":\"{evil}\""));
        attack.index(|text| text.replacen(&old, &new, 1));
        attack.fails(true, "index.p7m");
    }
    // To itself, to a folder, to what is not there, to what has one name only.
    for leader in ["link", "folder", "", "aa", "symbolic", "z"] {
        let mut attack = Attack::new();
        let old = format!("\"leader\":\"{}/a\"", attack.tree);
        let new = format!("\"leader\":\"{}/{leader}\"", attack.tree).replace("/\"", "\"");
        attack.index(|text| text.replacen(&old, &new, 1));
        println!("a link to {leader}");
        attack.fails(true, "index");
    }
}

#[test]
fn indexes_that_lie() {
    type Lie = fn(String, &str) -> String;
    let lies: [(&str, Lie); 16] = [
        ("a path twice", |text, tree| {
            let row = text.lines().find(|line| line.starts_with(&format!("{{\"path\":\"{tree}/z\""))).unwrap();
            text.replacen(row, &format!("{row}\n{row}"), 1)
        }),
        ("a file that is a folder as well", |text, tree| {
            text.replacen(&format!("{tree}/folder/b"), &format!("{tree}/a/b"), 1)
        }),
        ("out of order", |text, tree| text.replacen(&format!("{tree}/z\""), &format!("{tree}/0\""), 1)),
        ("no entries", |text, _| text.replacen("{\"entries\":8", "{\"entries\":0", 1)),
        ("many entries", |text, _| text.replacen("{\"entries\":8", "{\"entries\":9007199254740992", 1)),
        ("all", |text, _| text.replacen("\"all\":8", "\"all\":9", 1)),
        ("bytes", |text, _| text.replacen("\"bytes\":", "\"bytes\":1", 1)),
        ("no end", |text, _| format!("{}null}}\n", &text[..text.rfind("\"end\":").unwrap() + 6])),
        ("nothing after the last row", |text, _| format!("{}\n", text.trim_end().rsplit_once('\n').unwrap().0)),
        ("cut off", |text, _| text[..text.len() - 10].to_owned()),
        ("another host", |text, _| text.replacen("web-1", "web-2", 1)),
        ("another backup", |text, _| text.replacen(ID, LATER, 1)),
        ("its own base", |text, _| text.replacen("\"base\":null", &format!("\"base\":\"{ID}\""), 1)),
        ("a base that is not there", |text, _| {
            text.replacen("\"base\":null", "\"base\":\"20200101T000000Z-00000001\"", 1)
        }),
        ("a stream", |text, _| text.replacen("\"stream\":null", "\"stream\":\"x\"", 1)),
        ("a mode", |text, _| text.replacen("\"mode\":420", "\"mode\":4096", 1)),
    ];
    for (what, lie) in lies {
        let mut attack = Attack::new();
        let tree = attack.tree.clone();
        println!("{what}");
        attack.index(|text| lie(text, &tree));
        attack.fails(true, "index.p7m");
    }
}

/// Places that are none, or other than those of the member. Of a whole restore the plan is what
/// differs.
#[test]
fn places_that_lie() {
    for places in [
        "[[0,9,0,10,512]]",
        "[[7,0,0,10,512]]",
        "[[0,0,536870911,1,512]]",
        "[[0,0,100000,10,512]]",
        "[[0,0,0,536870912,33554432]]",
        "[[0,0,0,10,33554432]]",
        "[[0,0,0,10,33554433]]",
        "[[0,0,0,10,512,0,1024]]",
        "[[0,0,0,10,9223372036854775807]]",
        "[[0,0,-1,10,512]]",
        "[[0,0,0,10,0]]",
        "[]",
        "[[1,1,1,1,1,1,1,1]]",
    ] {
        let mut attack = Attack::new();
        attack.place("z", places);
        println!("{places}");
        attack.fails(true, "");
    }
}

/// Text that is endless once it is decompressed.
#[test]
fn texts_that_are_bombs() {
    let zeros = vec![b'0'; 400 << 20];
    let mut attack = Attack::new();
    let index = attack.set.index_of(ID);
    let head = index.split_inclusive('\n').next().unwrap();
    for start in ["", head, "{\"path\":\""] {
        attack.set.replace_index(ID, &[start.as_bytes(), &zeros].concat());
        attack.fails(true, "index.p7m");
    }
    let mut attack = Attack::new();
    let plan = attack.set.plan_of(id(ID));
    for start in ["", plan.split_inclusive('\n').next().unwrap(), &plan] {
        attack.set.replace_plan(ID, &[start.as_bytes(), &zeros].concat());
        attack.fails(false, "plan");
    }
}

#[test]
fn plans_that_lie() {
    type Lie = fn(String) -> String;
    let lies: [(&str, Lie); 8] = [
        ("empty", |_| String::new()),
        ("of another backup", |plan| plan.replacen(ID, LATER, 1)),
        ("of another host", |plan| plan.replacen("web-1", "web-2", 1)),
        ("longer", |plan| plan.replacen("\nend ", "\nend 1", 1)),
        ("cut off", |plan| plan[..plan.rfind("end").unwrap()].to_owned()),
        ("more after the end", |plan| format!("{plan}whole 0 0 1\n")),
        ("a slice elsewhere", |plan| plan.replacen(&format!("{ID}/slice"), &format!("../{ID}/slice"), 1)),
        ("another order", |plan| {
            let mut lines: Vec<&str> = plan.lines().collect();
            lines.swap(2, 3);
            lines.join("\n") + "\n"
        }),
    ];
    for (what, lie) in lies {
        let mut attack = Attack::new();
        println!("{what}");
        attack.plan(lie);
        attack.fails(false, "plan");
    }
}

/// What a receipt says is checked in itself, and against what there is.
#[test]
fn receipts_that_lie() {
    type Lie = fn(String) -> String;
    let receipt = format!("receipts/web-1/default/{ID}.p7s");
    let lies: [(&str, Lie, &str); 12] = [
        ("another host", |text| text.replacen("\"web-1\"", "\"web-2\"", 1), &receipt),
        ("another set", |text| text.replacen("\"default\"", "\"other\"", 1), &receipt),
        ("another backup", |text| text.replacen(ID, LATER, 1), &receipt),
        ("a number too large", |text| text.replacen("\"files\": ", "\"files\": 99999999999999999", 1), &receipt),
        ("a negative number", |text| text.replacen("\"files\": ", "\"files\": -", 1), &receipt),
        ("more slices", |text| text.replacen("\"slices\": 2", "\"slices\": 3", 1), "slices.sha256"),
        ("fewer slices", |text| text.replacen("\"slices\": 2", "\"slices\": 1", 1), "slices.sha256"),
        ("a name that leads elsewhere", |text| text.replacen("index.p7m", "../index.p7m", 1), &receipt),
        (
            "no index",
            |text| text.lines().filter(|line| !line.contains("index.p7m")).map(|line| format!("{line}\n")).collect(),
            &receipt,
        ),
        (
            "an endless list",
            |text| text.replacen("\"objects\": [\n", &format!("\"objects\": [\n{}", "[".repeat(1 << 20)), 1),
            &receipt,
        ),
        (
            "an endless chain",
            |text| {
                let line = |day: u32| {
                    let sha256 = "0".repeat(64);
                    format!(
                        r#"{{"backup": "202011{day:02}T000000Z-00000001", "name": "index.p7m", "size": 1, "sha256": "{sha256}"}}"#
                    )
                };
                let chain: Vec<String> = (1..=20).map(line).collect();
                text.replacen("\"index_chain\": [\n", &format!("\"index_chain\": [\n{}\n", chain.join(",\n")), 1)
            },
            &receipt,
        ),
        ("not JSON", |_| "\0".repeat(1 << 20), &receipt),
    ];
    for (what, lie, said) in lies {
        let mut attack = Attack::new();
        println!("{what}");
        attack.set.sign_text(ID, |text| {
            let changed = lie(text.clone());
            assert_ne!(text, changed);
            changed
        });
        let damaged = attack.run("list").fails(if said == receipt { 4 } else { 0 });
        if said == receipt {
            damaged.says(&receipt);
            for way in ["restore -k ../key.pem --into out", "files -k ../key.pem"] {
                attack.run(way).fails(4).says(&receipt);
                assert_eq!(fs::read_dir(attack.host.path("work")).unwrap().count(), 0);
            }
        } else {
            attack.fails(true, said);
        }
    }
}

/// What a receipt makes up of the earlier backups that it builds on.
#[test]
fn chains_that_lie() {
    type Lie = fn(&mut Receipt);
    let lies: [(&str, Lie, &str); 6] = [
        ("no base", |receipt| receipt.index_chain.clear(), "index.p7m"),
        (
            "a base that is not there",
            |receipt| receipt.index_chain[0].backup = id("20200101T000000Z-00000001"),
            "20200101T000000Z-00000001/index.p7m",
        ),
        (
            "no second object of a base",
            |receipt| receipt.index_chain.push(ChainObject { number: 1, ..receipt.index_chain[0] }),
            // The first is the last, it says, and another follows.
            "index.p7m",
        ),
        (
            "its own index",
            |receipt| {
                let own = receipt.objects.iter().find(|object| object.file == BackupFile::Index(0)).unwrap();
                receipt.index_chain[0].contents = own.contents;
            },
            "index.p7m",
        ),
        (
            "slices beyond those of a run",
            |receipt| receipt.runs[0].slices = SliceRange::of(0..1 << 20),
            "slices.sha256",
        ),
        (
            "a run that is not there",
            |receipt| receipt.runs[0].backup = id("20200101T000000Z-00000001"),
            "slices.sha256",
        ),
    ];
    for (what, lie, said) in lies {
        let mut attack = Attack::new();
        let mut added = attack.members.last().unwrap().clone();
        let frames = attack.set.run(LATER, &[vec![added.tar.clone(), END.to_vec()]]);
        lay(std::slice::from_mut(&mut added), frames[0]);
        attack.set.backup(LATER, Some(ID), rows(&[added]), Some(frames[1].all()));
        attack.run("restore -k ../key.pem --into out").ok();
        println!("{what}");
        attack.set.sign(id(LATER), lie);
        attack.fails(true, said);
    }
}

/// Well sealed objects of another host, set or backup, in the place of this one's: first as they are,
/// then with a receipt that vouches for them.
#[test]
fn objects_of_others() {
    for (host, set, backup) in [("web-2", "default", ID), ("web-1", "other", ID), ("web-1", "default", LATER)] {
        for objects in [&["index.p7m"][..], &["plan.p7m"], &["slice-00000000.p7m", "slices.sha256"]] {
            println!("{objects:?} of {host}/{set}/{backup}");
            let mut attack = Attack::new();
            let mut other = new_set();
            (other.host, other.set) = (host.parse().unwrap(), set.parse().unwrap());
            let mut members = members_of(&attack.host.path("tree"));
            let large = members.pop().unwrap();
            put(&mut other, backup, &mut members, large);
            for object in objects {
                fs::copy(other.data(backup).join(object), attack.set.data(ID).join(object)).unwrap();
            }
            // Of several that are wrong, any may come first.
            let said = if objects[1..].is_empty() { objects[0] } else { "" };
            let said = format!("data/web-1/default/{ID}/{said}");
            attack.fails(objects[0] != "plan.p7m", &said);
            attack.set.sign_as_it_is(ID);
            if objects[0].starts_with("slice") {
                // The plan tells the slice's hash, and differs before anything is opened.
                attack.fails(false, "plan");
                let choice = format!("restore -k ../key.pem --into out {}/a", attack.tree);
                attack.run(&choice).fails(4).says("/slice-00000000.p7m");
            } else {
                attack.fails(objects[0] != "plan.p7m", objects[0]);
            }
        }
    }
}

/// Links that were in the target, or come to be there while files are made.
#[test]
fn links_in_the_target_lead_nowhere() {
    let attack = Attack::new();
    let before = attack.guarded();
    let first = attack.tree.split('/').next().unwrap();
    for (link, option) in
        [(first, "--overwrite"), (first, "--resume"), (&attack.tree, "--overwrite"), (&attack.tree, "--resume")]
    {
        let out = attack.host.path("out");
        fs::create_dir_all(out.join(link).parent().unwrap()).unwrap();
        symlink(attack.host.path("outside"), out.join(link)).unwrap();
        let guarded = attack.guarded();
        attack.run(&format!("restore -k ../key.pem --into ../out {option}"));
        assert_eq!(attack.guarded(), guarded, "{link} {option}");
        fs::remove_dir_all(out).unwrap();
    }
    assert_eq!(attack.guarded(), before);
}

#[test]
fn a_folder_that_becomes_a_link_meanwhile_leads_nowhere() {
    let host = Host::new();
    (0..2000).for_each(|number| drop(host.write(&format!("tree/folder/deep/{number}"), noise(100, number + 1))));
    fs::create_dir_all(host.path("outside/deep")).unwrap();
    run(&mut host.backup("tree")).ok();
    let done = AtomicBool::new(false);
    let (folder, aside) = (host.path("restored/tree/folder"), host.path("restored/tree/aside"));
    let swaps = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if fs::rename(&folder, &aside).is_ok() {
                    let _ = symlink(host.path("outside"), &folder);
                    swaps.fetch_add(1, Ordering::Relaxed);
                    let _ = fs::remove_file(&folder);
                    let _ = fs::rename(&aside, &folder);
                } else {
                    // A restore has made the folder anew meanwhile.
                    let _ = fs::remove_dir_all(&aside);
                }
            }
        });
        // Many of them end at once, at a folder that is a link.
        for round in 1.. {
            let ended = run(&mut host.restore("--into restored --overwrite"));
            assert!(!ended.story().contains("a signal") && !ended.stderr.contains("panicked"), "{}", ended.story());
            if (round >= 10 && swaps.load(Ordering::Relaxed) > 100) || round == 300 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let swaps = swaps.into_inner();
    assert!(swaps > 100, "only {swaps} times");
    let mut paths = Vec::new();
    list(&host.path("outside"), true, &mut paths);
    assert_eq!(paths, [host.path("outside"), host.path("outside/deep")]);
}
