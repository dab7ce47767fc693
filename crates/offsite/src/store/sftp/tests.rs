//! Against OpenSSH's own server, which `ssh` starts in place of a connection: no port, no daemon.

use std::ffi::OsStr;
use std::fs;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::session::{ANSWER, ConnectError, SILENCE};
use super::*;
use crate::store::conformance::{self, Store};
use crate::store::nobody;
use crate::store::{Error, Location};

const ID: &str = "00112233445566778899aabbccddeeff";

const SSHD: &str = "/usr/sbin/sshd";

/// A host with a user who may log in, and a folder for stores.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        assert!(Path::new(SSHD).exists(), "there is no {SSHD}: the tests need the package openssh-server");
        // As root, it wants a folder that the system makes when it starts it.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let host = Self { folder: tempfile::tempdir().unwrap() };
        ["host", "user", "stranger"].iter().for_each(|name| host.make_key(name));
        fs::create_dir(host.path("home")).unwrap();
        fs::copy(host.path("user.pub"), host.path("authorized_keys")).unwrap();
        host.know("host.pub");
        host.serve("");
        host.connect("exec $SSHD");
        let config = format!(
            "BatchMode yes\nIdentityFile {0}/user\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {0}/known_hosts\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n\
             HostKeyAlias host\nProxyCommand sh {0}/connect\n",
            host.folder.path().display()
        );
        fs::write(host.path("config"), config).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_key(&self, name: &str) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.path(name));
        assert!(command.status().expect("ssh-keygen is there, as ssh is").success());
    }

    /// The key by which `ssh` knows the host.
    fn know(&self, key: &str) {
        let key = fs::read_to_string(self.path(key)).unwrap();
        fs::write(self.path("known_hosts"), format!("host {key}")).unwrap();
    }

    /// How the server serves, with options of sftp-server.
    fn serve(&self, options: &str) {
        let config = format!(
            "HostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nLogLevel ERROR\n\
             Subsystem sftp internal-sftp {options}\n",
            self.folder.path().display()
        );
        fs::write(self.path("sshd_config"), config).unwrap();
    }

    /// What there is for a connection: a script, in which `$SSHD` is the server.
    fn connect(&self, script: &str) {
        let folder = self.folder.path().display();
        let script =
            format!("FOLDER={folder}\nSSHD='{SSHD} -i -e -f {folder}/sshd_config'\nexec 2>>$FOLDER/log\n{script}\n");
        fs::write(self.path("new"), script).unwrap();
        fs::rename(self.path("new"), self.path("connect")).unwrap();
    }

    fn ssh(&self) -> Ssh {
        Ssh::new(&format!("ssh -F {}/config", self.folder.path().display()))
    }

    fn location(&self, path: &str) -> SftpLocation {
        let path = self.path(path).to_str().unwrap().to_owned();
        SftpLocation { user: None, host: "host".to_owned(), port: None, path }
    }

    fn put(&self) -> SftpPut {
        self.try_put("store").unwrap()
    }

    fn try_put(&self, path: &str) -> Result<SftpPut> {
        SftpPut::open_over(self.ssh(), &self.location(path), &PutSettings::new(ID.parse().unwrap()))
    }

    fn read(&self) -> SftpRead {
        SftpRead::open_over(self.ssh(), &self.location("store"), nobody()).unwrap()
    }

    fn delete(&self) -> SftpDelete {
        SftpDelete::open_over(self.ssh(), &self.location("store"), nobody()).unwrap()
    }

    /// The files that lie in the store.
    fn files(&self) -> Vec<String> {
        let mut folders = vec![self.path("store")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path.strip_prefix(self.path("store")).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        files.sort();
        files
    }
}

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn contents(size: usize) -> Bytes {
    (0..251).cycle().take(size).collect::<Vec<u8>>().into()
}

fn conforms_with(options: &str) {
    let host = Host::new();
    host.serve(options);
    let (put, reopened, read, delete) = (host.put(), host.put(), host.read(), host.delete());
    conformance::all(&Store { put: &put, reopened: &reopened, read: &read, delete: &delete });
    assert_eq!(host.files(), [ID_FILE], "deleting every object leaves more than the id");
    assert_eq!(fs::read_dir(host.path("store")).unwrap().count(), 1, "a folder is left");
}

#[test]
fn conforms() {
    conforms_with("");
}

#[test]
fn conforms_without_extensions() {
    conforms_with("-P hardlink,fsync,posix-rename,limits");
}

/// Another process, in which only the test below runs: it puts into the store until it is killed.
#[test]
#[ignore = "another test starts it"]
fn in_another_process() {
    let [ssh, path, round] = ["SSH", "STORE", "ROUND"].map(|name| std::env::var(format!("OFFSITE_TEST_{name}")));
    if let (Ok(ssh), Ok(path), Ok(round)) = (ssh, path, round) {
        let location = SftpLocation { user: None, host: "host".to_owned(), port: None, path };
        let put = SftpPut::open_over(Ssh::new(&ssh), &location, &PutSettings::new(ID.parse().unwrap())).unwrap();
        conformance::put_until_killed(&put, &round);
    }
}

#[test]
fn a_killed_put_leaves_no_part() {
    let host = Host::new();
    drop(host.put());
    conformance::killed(&host.read(), &host.delete(), |round| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["store::sftp::tests::in_another_process", "--exact", "--ignored", "--nocapture"]);
        command.env("OFFSITE_TEST_SSH", format!("ssh -F {}/config", host.folder.path().display()));
        command.env("OFFSITE_TEST_STORE", host.path("store")).env("OFFSITE_TEST_ROUND", round);
        command.stdout(Stdio::piped()).spawn().unwrap()
    });
}

/// A limit on the size of files stands in for a disk that fills up in the midst of an object.
#[test]
fn a_full_disk_takes_no_part() {
    let host = Host::new();
    host.connect("trap '' XFSZ; ulimit -f 1024; exec $SSHD");
    conformance::full(&host.put(), &host.read());
    assert_eq!(host.files(), [ID_FILE, "full/object"], "a part is left");
}

#[test]
fn a_read_only_server_refuses() {
    let host = Host::new();
    drop(host.put());
    host.serve("-R");
    conformance::refused(&host.put(), &host.read());
    let error = host.try_put("unmakeable").err().unwrap();
    assert!(matches!(error.reason, Reason::PermissionDenied(_)), "{error}");
}

#[test]
fn only_the_last_part_of_the_path_is_made() {
    let host = Host::new();
    let error = host.try_put("store/below").err().unwrap();
    assert!(matches!(&error.reason, Reason::NoParent { parent } if *parent == host.path("store")), "{error}");
    let read = SftpRead::open_over(host.ssh(), &host.location("store"), nobody()).err().unwrap();
    let delete = SftpDelete::open_over(host.ssh(), &host.location("store"), nobody()).err().unwrap();
    assert!(matches!((&read.reason, &delete.reason), (Reason::NoStore, Reason::NoStore)), "{read}, {delete}");
    assert!(!host.path("store").exists(), "something was made");
    assert_eq!(host.put().id().unwrap().unwrap().to_string(), ID);
    assert_eq!(fs::read_to_string(host.path("store/STORE")).unwrap(), format!("{ID}\n"));
    fs::write(host.path("store/STORE"), ID).unwrap();
    assert!(matches!(host.try_put("store").err().unwrap().reason, Reason::BadId));
}

#[test]
fn links_and_foreign_files_are_no_objects() {
    let host = Host::new();
    let (put, read, delete) = (host.put(), host.read(), host.delete());
    put.put(&name("a/object"), contents(6)).unwrap();
    let store = host.path("store");
    fs::write(host.path("home/file"), "file").unwrap();
    symlink("../home", store.join("link")).unwrap();
    symlink("object", store.join("a/link")).unwrap();
    symlink("nowhere", store.join("a/dangling")).unwrap();
    fs::write(store.join("a/.offsite-1-1.unfinished"), "part").unwrap();
    fs::write(store.join("a/no object"), "").unwrap();
    fs::write(store.join("a").join(OsStr::from_bytes(b"\xff")), "").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, store.join("a/fifo"), rustix::fs::Mode::RWXU).unwrap();
    fs::create_dir_all(store.join("a/b/c/d/e/f/g/h/i")).unwrap();
    fs::write(store.join("a/b/c/d/e/f/g/h/i/deep"), "").unwrap();
    assert_eq!(conformance::names(&read, ""), ["a/object"]);
    for foreign in ["link/file", "a/link", "a/dangling", "a/fifo", "a/b", "a/object/below"] {
        let foreign = name(foreign);
        let reason = read.get(&foreign, 100).unwrap_err().reason;
        assert!(matches!(reason, Reason::NotAnObject), "{foreign}: {reason}");
        assert_eq!(put.holds(&foreign, 4).unwrap(), Some(false), "{foreign}");
        put.put(&foreign, Bytes::from_static(b"new")).unwrap_err();
    }
    delete.delete(&name("link/file")).unwrap_err();
    assert_eq!(fs::read(host.path("home/file")).unwrap(), b"file");
    assert_eq!(fs::read_dir(host.path("home")).unwrap().count(), 1);
}

#[test]
fn any_page_gives_the_same_list() {
    let host = Host::new();
    let put = host.put();
    let expected = ["a/d-e/0", "a/d-e/1", "a/d.e/0", "a/d/0", "a/d/1.x", "a/d/f-", "a/d/f./x", "a/d/f/0", "b/e"];
    expected.iter().for_each(|object| put.put(&name(object), Bytes::new()).unwrap());
    let read = host.read();
    for page in [1, 2, 3, 5, 100] {
        let mut listed = Vec::new();
        let mut each = |object: Listed| {
            listed.push(object.object.as_str().to_owned());
            ControlFlow::Continue(())
        };
        let listing = read.0.attempt("list", "", |session| {
            let mut walk = walk::Walk::new(session, read.0.path(""), &mut each).with_page(page);
            walk.folder(&"".parse().unwrap()).map_err(reason)
        });
        assert!(listing.unwrap().is_continue());
        assert_eq!(listed, expected, "pages of {page}");
    }
}

#[test]
fn the_limit_is_kept() {
    let host = Host::new();
    let settings = PutSettings { limit: NonZero::new(1 << 20), ..PutSettings::new(ID.parse().unwrap()) };
    let put = SftpPut::open_over(host.ssh(), &host.location("store"), &settings).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..2 {
            let put = &put;
            scope.spawn(move || put.put(&name(&format!("data/{number}")), contents(1 << 20)).unwrap());
        }
    });
    let time = start.elapsed().as_secs_f64();
    assert!(time > 1.4, "2 MiB at 1 MiB a second took {time} s");
}

/// The line breaks in the midst of an object, and again, and then holds.
#[test]
fn a_put_survives_a_lost_line() {
    let host = Host::new();
    let told = Arc::new(AtomicUsize::new(0));
    let notice = {
        let told = told.clone();
        Arc::new(move |error: &Error, _| {
            assert!(error.to_string().contains("data/object"), "{error}");
            told.fetch_add(1, Ordering::Relaxed);
        })
    };
    host.connect(
        "echo >>$FOLDER/lines\n[ $(wc -l <$FOLDER/lines) -gt 2 ] && exec $SSHD\nstdbuf -o0 head -c 3000000 | $SSHD",
    );
    let settings = PutSettings { notice, ..PutSettings::new(ID.parse().unwrap()) };
    let put = SftpPut::open_over(host.ssh(), &host.location("store"), &settings).unwrap();
    let bytes = contents(10 << 20);
    put.put(&name("data/object"), bytes.clone()).expect("the third line holds");
    assert!(told.load(Ordering::Relaxed) <= 1, "an outage is told twice");
    assert_eq!(fs::read(host.path("lines")).unwrap().len(), 3, "not as often as needed");
    assert!(host.read().get(&name("data/object"), bytes.len()).unwrap() == bytes);
    assert_eq!(host.files(), [ID_FILE, "data/object"], "a part is left");
}

/// The line breaks after any number of the server's bytes, so also between the moment in which an
/// object gets its name and the answer that tells it.
#[test]
fn a_put_whose_answer_is_lost_succeeds() {
    let host = Host::new();
    let (put, read, bytes) = (host.put(), host.read(), contents(50_000));
    let connect = || Session::connect(&host.ssh(), &host.location("store"), SILENCE);
    host.connect("$SSHD | tee $FOLDER/sent");
    put.try_put(&connect().ok().unwrap(), &name("cut/not"), &bytes).unwrap();
    let all = fs::metadata(host.path("sent")).unwrap().len();
    let mut lost_after = 0;
    for cut in (all - 600..all).step_by(25) {
        let object = name(&format!("cut/{cut}"));
        host.connect(&format!("$SSHD | {{ stdbuf -o0 head -c {cut}; kill $$; }}"));
        let session = connect();
        host.connect("exec $SSHD");
        // It broke before the put began.
        let Ok(session) = session else { continue };
        let first = put.try_put(&session, &object, &bytes);
        if first.is_err() {
            lost_after += usize::from(host.path("store").join(object.as_str()).exists());
            put.put(&object, bytes.clone()).expect("it was not put by anybody else");
        }
        let other = put.put(&object, bytes.clone()).unwrap_err().reason;
        assert!(matches!(other, Reason::AlreadyExists), "{other}");
        assert!(read.get(&object, 50_000).unwrap() == bytes);
    }
    assert!(lost_after > 0, "no answer was lost");
}

/// Of bytes that are not those of the attempt in doubt, a put is told.
#[test]
fn a_put_in_doubt_takes_no_other_bytes_for_its_own() {
    let host = Host::new();
    let put = host.put();
    for (object, other) in [("doubt/longer", 101), ("doubt/else", 100)] {
        let object = name(object);
        host.put().put(&object, vec![1; other].into()).unwrap();
        locked(&put.in_doubt).insert(object.clone());
        let reason = put.put(&object, vec![0; 100].into()).unwrap_err().reason;
        assert!(matches!(reason, Reason::AlreadyExists), "{reason}");
        assert!(locked(&put.in_doubt).is_empty());
    }
}

#[test]
fn a_list_goes_on_after_a_lost_line() {
    let host = Host::new();
    let put = host.put();
    let expected: Vec<_> = (0..300).map(|number| format!("list/{:02}/{number:03}", number / 10)).collect();
    std::thread::scope(|scope| {
        for part in expected.chunks(75) {
            scope.spawn(|| part.iter().for_each(|object| put.put(&name(object), Bytes::new()).unwrap()));
        }
    });
    // Enough to log in, and not for the whole list.
    host.connect("$SSHD | tee $FOLDER/sent");
    conformance::names(&host.read(), "list/00");
    let cut = fs::metadata(host.path("sent")).unwrap().len() + 8000;
    host.connect(&format!(
        "echo >>$FOLDER/lines\n[ $(wc -l <$FOLDER/lines) -gt 1 ] && exec $SSHD\n$SSHD | {{ stdbuf -o0 head -c {cut}; kill $$; }}"
    ));
    assert_eq!(conformance::names(&host.read(), ""), expected);
    assert_eq!(fs::read(host.path("lines")).unwrap().len(), 2, "the line did not break once");
}

/// What does not get better by itself is told at once, in the words of `ssh`.
#[test]
fn what_is_set_up_wrongly_is_told_at_once() {
    let start = Instant::now();
    let host = Host::new();
    let refused = |ssh: Ssh, location: &SftpLocation| {
        let error = SftpPut::open_over(ssh, location, &PutSettings::new(ID.parse().unwrap())).err().unwrap();
        assert!(!error.is_retryable(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&Location::Sftp(location.clone()).to_string()), "{text}");
        (error.reason, text)
    };
    let here = host.location("store");

    let (reason, text) = refused(Ssh::new("/no/such/ssh"), &here);
    assert!(matches!(reason, Reason::Io(_)) && text.contains("there is no program /no/such/ssh"), "{text}");

    host.know("stranger.pub");
    let (reason, text) = refused(host.ssh(), &here);
    assert!(matches!(reason, Reason::Io(_)) && text.contains("Host key verification failed"), "{text}");
    host.know("host.pub");

    fs::copy(host.path("stranger.pub"), host.path("authorized_keys")).unwrap();
    let (reason, text) = refused(host.ssh(), &here);
    assert!(matches!(reason, Reason::PermissionDenied(_)) && text.contains("Permission denied (publickey)"), "{text}");
    fs::copy(host.path("user.pub"), host.path("authorized_keys")).unwrap();

    let settings = fs::read_to_string(host.path("sshd_config")).unwrap();
    fs::write(host.path("sshd_config"), settings.replace("Subsystem", "#")).unwrap();
    let (reason, text) = refused(host.ssh(), &here);
    assert!(matches!(reason, Reason::Io(_)) && text.contains("subsystem request failed"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(30), "something was tried again");
}

/// What may get better: `is_retryable` of a connection that nobody answers.
#[test]
fn nobody_there_may_be_tried_again() {
    let host = Host::new();
    // Where it cannot even say who it is, ssh ends without a word.
    host.connect("read greeting; echo gone >&2; exit 1");
    let ConnectError::Ended(end) = Session::connect(&host.ssh(), &host.location("store"), SILENCE).err().unwrap()
    else {
        panic!("ssh was not started")
    };
    assert_eq!(end.cause, ssh::Cause::Line, "{end:?}");
    assert!(end.text.starts_with("ssh says: "), "{end:?}");
    assert!(matches!(end.before_login(false), Reason::Unreachable(_)));
}

/// What `ssh` started may outlive it, and keep its stderr open.
#[test]
fn what_was_said_counts_though_somebody_might_say_more() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("ssh");
    fs::write(&script, "sleep 30 </dev/null >/dev/null &\necho 'host: Permission denied (publickey).' >&2\nexit 255")
        .unwrap();
    let location = SftpLocation { user: None, host: "host".to_owned(), port: None, path: "/store".to_owned() };
    let start = Instant::now();
    let ended = Session::connect(&Ssh::new(&format!("sh {}", script.display())), &location, SILENCE);
    let Err(ConnectError::Ended(end)) = ended else { panic!("ssh was not started") };
    assert_eq!((end.cause, &*end.text), (ssh::Cause::Login, "ssh says: host: Permission denied (publickey)"));
    assert!(start.elapsed() < Duration::from_secs(20), "all that was said was waited for");
}

/// Runs something in place of `ssh`: a server that sends these bytes, and then nothing more.
fn speaking(bytes: &[u8]) -> (tempfile::TempDir, Ssh, SftpLocation) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("bytes"), bytes).unwrap();
    fs::write(path("ssh"), format!("cat {}\nexec sleep 1000", path("bytes"))).unwrap();
    let location = SftpLocation { user: None, host: "host".to_owned(), port: None, path: path("store") };
    let ssh = Ssh::new(&format!("sh {}", path("ssh")));
    (folder, ssh, location)
}

fn packet(kind: u8, id: Option<u32>, rest: &[u8]) -> Vec<u8> {
    let body = [&[kind][..], &id.map_or(Vec::new(), |id| id.to_be_bytes().to_vec()), rest].concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// One that takes the connection and nothing else.
#[test]
fn silence_ends_a_connection() {
    for hello in [packet(2, Some(3), b""), Vec::new()] {
        let (_folder, ssh, location) = speaking(&hello);
        let silence = Duration::from_millis(300);
        let end = match Session::connect(&ssh, &location, silence) {
            Ok(session) => {
                // Longer than any pipe: the silence also ends a write that waits.
                let handle = vec![0; 1 << 20];
                let asked = session.of_path(Kind::Stat, str::from_utf8(&handle).unwrap());
                asked.done().unwrap_err()
            }
            Err(ConnectError::Ended(end)) => Fault::Ended(end),
            Err(ConnectError::NotStarted(reason)) => panic!("{reason}"),
        };
        let Fault::Ended(end) = end else { panic!("{end:?}") };
        assert_eq!(end.cause, ssh::Cause::Line, "{end:?}");
        assert!(end.text.contains("did not answer"), "{end:?}");
    }
}

#[test]
fn a_hostile_server_gets_an_error() {
    let hello = packet(2, Some(3), b"");
    let with = |after: &[u8]| [&hello[..], after].concat();
    let long = |length: u32| with(&[&length.to_be_bytes()[..], &[105], &[0; 4]].concat());
    for (what, bytes) in [
        ("a greeting", b"Welcome to the server!\n".to_vec()),
        ("an old version", packet(2, Some(2), b"")),
        ("another first packet", packet(105, Some(0), b"")),
        ("the longest packet", long(u32::MAX)),
        ("a packet too long", long(ANSWER + 1)),
        ("the shortest packet", long(0)),
        ("a packet too short", long(4)),
        ("an answer to nothing", with(&packet(105, Some(7), &[0; 4]))),
        ("an unknown answer", with(&packet(150, Some(0), b""))),
        ("endless names", with(&packet(104, Some(0), &u32::MAX.to_be_bytes()))),
        ("data that nobody asked for", with(&packet(103, Some(0), b"\0\0\0\x01x"))),
        ("success without an answer", with(&packet(101, Some(0), &[0; 12]))),
        ("attributes cut off", with(&packet(105, Some(0), &[0, 0, 0, 1]))),
    ] {
        let (_folder, ssh, location) = speaking(&bytes);
        let start = Instant::now();
        let put = SftpPut::open_over(ssh, &location, &PutSettings::new(ID.parse().unwrap()));
        let text = put.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("is not SFTP"), "{what}: {text}");
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: it was tried again");
    }
}
