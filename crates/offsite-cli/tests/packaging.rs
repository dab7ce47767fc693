//! What is given to others: the Debian package on a clean Debian, manual pages, completions, units, the SBOM.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use support::{Run, Words, bash, file, folder, needed, offsite, peers, read, run};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `scripts/package` makes of the binary under test, and below `root` what the Debian package holds.
static PACKAGES: LazyLock<PathBuf> = LazyLock::new(|| {
    let made = make("packages");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(debian_package(&made)).arg(made.join("root"))).ok();
    made
});

/// Runs `scripts/package`, in a folder that is kept in the build folder until the next run.
fn make(name: &str) -> PathBuf {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new(project().join("scripts/package"));
    command.env("SOURCE_DATE_EPOCH", "1795909841");
    run(command.arg("--binary").arg(env!("CARGO_BIN_EXE_offsite")).arg("--output").arg(&output)).ok();
    output
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn debian_package(made: &Path) -> PathBuf {
    made.join(format!("offsite_{VERSION}_amd64.deb"))
}

/// Files of the package in one of its folders, and there is at least one.
fn installed(below: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(PACKAGES.join("root").join(below)).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{below} is empty");
    files
}

/// The commands that `--help` lists, as often as there are any below them.
fn commands_below(above: &str, found: &mut BTreeSet<String>) {
    let help = run(&mut offsite(&format!("{above} --help"))).ok();
    let text = String::from_utf8(help.stdout).unwrap();
    let listed = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Further lines of a description are indented by more.
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        let name = format!("{above} {name}");
        commands_below(&name, found);
        found.insert(name);
    }
}

#[test]
fn every_command_has_a_manual_page_that_is_clean() {
    let mut commands = BTreeSet::new();
    commands_below("", &mut commands);
    assert!(commands.len() >= 13, "{commands:?}");
    let expected = commands.iter().map(|command| format!("offsite{}.1.gz", command.replace(' ', "-")));
    let expected: BTreeSet<_> = expected.chain(["offsite.1.gz".to_owned()]).collect();
    let pages = installed("usr/share/man/man1");
    let names = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), expected);
    for page in pages {
        let mut man = Command::new("man");
        man.words("--warnings --encoding=UTF-8 --local-file")
            .arg(&page)
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8");
        let shown = run(&mut man).ok();
        assert_eq!(shown.stderr, "", "{}", shown.story());
        let text = String::from_utf8(shown.stdout).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == section), "{}: no {section} in\n{text}", page.display());
        }
        let is_above = text.lines().any(|line| line == "SUBCOMMANDS");
        let has_example = text.lines().any(|line| line.starts_with("         offsite "));
        assert!(is_above || has_example, "{}: no example in\n{text}", page.display());
        assert!(!text.contains('`'), "{}: a backquote in\n{text}", page.display());
        let lint = bash("zcat \"$page\" | mandoc -T lint -W warning").env("page", &page).output().unwrap();
        assert!(lint.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&lint.stdout));
    }
}

#[test]
fn shells_complete_commands_and_options() {
    let share = PACKAGES.join("root/usr/share");
    let completed = |words: &str| {
        let script = "source \"$file\"; COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _offsite offsite \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; echo \"${COMPREPLY[@]}\"";
        let mut command = bash(script);
        command.env("file", share.join("bash-completion/completions/offsite")).env("words", words);
        String::from_utf8(run(&mut command).ok().stdout).unwrap()
    };
    assert_eq!(completed("offsite verif"), "verify\n");
    assert_eq!(completed("offsite backup --exclude-f"), "--exclude-from\n");
    run(Command::new("zsh").arg("-n").arg(share.join("zsh/vendor-completions/_offsite"))).ok();
    run(Command::new("fish").arg("--no-execute").arg(share.join("fish/vendor_completions.d/offsite.fish"))).ok();
}

#[test]
fn the_units_are_sound_and_exposed_to_little() {
    let units = folder();
    for unit in installed("usr/lib/systemd/system") {
        // The binary is not installed on this machine.
        let text = String::from_utf8(read(&unit)).unwrap();
        let text =
            text.replace("ExecStart=/usr/bin/offsite ", &format!("ExecStart={} ", env!("CARGO_BIN_EXE_offsite")));
        file(&units, unit.file_name().unwrap().to_str().unwrap(), text.as_bytes());
    }
    let analyze = |line: &str, unit: &str| {
        let found = run(Command::new("systemd-analyze").words(line).arg(units.path().join(unit))).ok();
        assert_eq!(found.stderr, "", "{}", found.story());
    };
    for unit in ["offsite.service", "offsite.timer", "offsite@.service", "offsite@.timer"] {
        analyze("verify --man=no", unit);
    }
    // On systemd's scale of 0 to 100. It must read everything, and reach a store: 25 is what that takes.
    analyze("security --offline=true --threshold=27", "offsite.service");
}

#[test]
fn the_same_bytes_come_of_the_same_binary() {
    let again = make("packages-again");
    let sums = String::from_utf8(read(&again.join("SHA256SUMS"))).unwrap();
    assert_eq!(sums.lines().count(), 3, "{sums}");
    assert_eq!(sums, String::from_utf8(read(&PACKAGES.join("SHA256SUMS"))).unwrap());
    run(Command::new("sha256sum").words("--check --strict SHA256SUMS").current_dir(&again)).ok();
}

#[test]
fn lintian_finds_nothing() {
    let mut lintian = Command::new("lintian");
    let found = run(lintian.words("--allow-root --fail-on error,warning").arg(debian_package(&PACKAGES))).ok();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn the_sbom_is_valid_and_holds_what_is_linked() {
    let sbom = PACKAGES.join(format!("offsite-{VERSION}-x86_64-linux.cdx.json"));
    let schemas = needed(peers().join("python/cyclonedx/schema/_res"));
    let script = "import json, pathlib, sys
from jsonschema import Draft7Validator, RefResolver
schemas = pathlib.Path(sys.argv[1])
names = {'bom-1.5', 'spdx', 'jsf-0.82'}
documents = [json.loads((schemas / f'{name}.SNAPSHOT.schema.json').read_text()) for name in sorted(names)]
resolver = RefResolver.from_schema(documents[0], store={document['$id']: document for document in documents})
Draft7Validator(documents[0], resolver=resolver).validate(json.loads(pathlib.Path(sys.argv[2]).read_text()))
";
    // Debian's own, which has what setup-peers installs.
    run(Command::new("/usr/bin/python3").args(["-W", "ignore", "-c", script]).arg(schemas).arg(&sbom)).ok();
    let sbom: Value = serde_json::from_slice(&read(&sbom)).unwrap();
    let components = sbom["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name).unwrap();
    assert_eq!(named("glibc")["scope"], "required");
    assert_eq!(named("cc")["scope"], "excluded");
    assert_eq!(named("aws-lc-sys")["components"][0]["name"], "aws-lc");
    let lock = String::from_utf8(read(&project().join("Cargo.lock"))).unwrap();
    let hash = named("aws-lc-sys")["hashes"][0]["content"].as_str().unwrap();
    assert!(lock.contains(&format!("checksum = \"{hash}\"")), "{hash}");
    assert!(components.iter().all(|component| component["licenses"][0]["expression"].is_string()));
    assert!(components.iter().all(|component| component["name"] != "clap_mangen"), "it is no part of the binary");
}

/// Runs a script once all else is there, and ends it all.
const SCRIPT_SERVICE: &str = "[Service]
Type=oneshot
ExecStart=-/bin/sh -ex /root/script
ExecStopPost=/bin/systemctl --no-block poweroff
Environment=HOME=/root
StandardOutput=append:/root/said
StandardError=append:/root/said
[Install]
WantedBy=multi-user.target
";

/// A clean Debian, to install into.
struct Debian(tempfile::TempDir);

impl Debian {
    fn new() -> Self {
        let debian = Self(folder());
        let tree = needed(peers().join("debian"));
        run(Command::new("cp").arg("-a").arg(tree.join(".")).arg(debian.0.path())).ok();
        debian
    }

    /// Boots it, and runs a script there as root; what that said.
    fn booted(&self, script: &str) -> String {
        let path = |name: &str| self.0.path().join(name);
        fs::write(path("root/script"), script).unwrap();
        fs::write(path("etc/systemd/system/script.service"), SCRIPT_SERVICE).unwrap();
        self.sh("systemctl --quiet enable script.service").ok();
        let mut container = Command::new("timeout");
        container.words("60 systemd-nspawn --quiet --keep-unit --register=no --boot --directory").arg(self.0.path());
        let booted = run(&mut container);
        let said = fs::read_to_string(path("root/said"));
        said.unwrap_or_else(|_| panic!("systemd has not run the script: {}", booted.story()))
    }

    /// Runs a script there, as root.
    fn sh(&self, script: &str) -> Run {
        let command = bash("mount -t proc proc \"$tree/proc\"; exec chroot \"$tree\" sh -euc \"$script\"");
        let mut isolated = Command::new("unshare");
        isolated.arg("--mount").arg(command.get_program()).args(command.get_args()).env_clear();
        isolated.env("tree", self.0.path()).env("script", script);
        run(isolated.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root"))
    }
}

#[test]
fn the_package_works_on_a_clean_debian_and_leaves_the_key_behind() {
    let debian = Debian::new();
    fs::copy(debian_package(&PACKAGES), debian.0.path().join("root/offsite.deb")).unwrap();
    debian.sh("dpkg -i /root/offsite.deb").ok();
    let version = debian.sh("offsite --version").ok();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("offsite {VERSION}\n"));
    debian
        .sh("cd /root
            offsite keygen -o everyday --type p256 --no-passphrase
            offsite keygen -o failsafe --type p256 --no-passphrase
            offsite backup --host web-1 -r everyday-cert.pem -r failsafe-cert.pem --to store /etc
            offsite restore --from store --host web-1 -k failsafe-PRIVATE.pem --into restored
            diff -r --no-dereference /etc/default restored/etc/default
            test -s /usr/share/man/man1/offsite-backup.1.gz -a -s /usr/share/doc/offsite/copyright
            (cd / && md5sum --quiet --check /var/lib/dpkg/info/offsite.md5sums)
            echo changed >>/etc/default/offsite")
        .ok();
    debian.sh("dpkg -i /root/offsite.deb; grep -q changed /etc/default/offsite").ok();
    debian
        .sh("dpkg -r offsite
            ! command -v offsite
            test -s /etc/offsite/signing-key.pem -a -n \"$(ls /var/lib/offsite)\" -a -s /etc/default/offsite")
        .ok();
    debian
        .sh("dpkg -P offsite
            test -s /etc/offsite/signing-key.pem -a ! -e /var/lib/offsite -a ! -e /etc/default/offsite
            find / -xdev -name '*offsite*' ! -path '/root/*' ! -path '/proc/*'")
        .ok()
        .says("/etc/offsite is kept")
        .leaves("/etc/offsite\n");
}

impl Run {
    /// Panics unless standard output ends with `text`.
    #[track_caller]
    fn leaves(self, text: &str) {
        assert!(String::from_utf8_lossy(&self.stdout).ends_with(&format!(" ...\n{text}")), "{}", self.story());
    }
}

#[test]
#[ignore = "boots systemd in a container, which not every machine allows"]
fn the_service_reads_everything_and_writes_only_where_it_may() {
    let debian = Debian::new();
    fs::copy(debian_package(&PACKAGES), debian.0.path().join("root/offsite.deb")).unwrap();
    debian.sh("dpkg -i /root/offsite.deb").ok();
    let said = debian.booted(
        "cd /root
        offsite keygen -o everyday --type p256 --no-passphrase
        offsite keygen -o failsafe --type p256 --no-passphrase
        mkdir -p /etc/offsite /mnt/backups/offsite
        cp *-cert.pem /etc/offsite
        echo OFFSITE_STORE=/mnt/backups/offsite/store >/etc/default/offsite
        echo 'OFFSITE_RECIPIENTS=\"/etc/offsite/everyday-cert.pem\n/etc/offsite/failsafe-cert.pem\"' >>/etc/default/offsite
        echo 'OFFSITE_OPTIONS=\"--host web-1\"\nOFFSITE_PATHS=\"/etc /home /tmp\"' >>/etc/default/offsite
        echo 'OFFSITE_OPTIONS=\"--host web-1 --set user --exec user\"' >/etc/default/offsite-user
        echo 'OFFSITE_PATHS=\"-- setpriv --reuid=games --regid=games --init-groups id -nu\"' >>/etc/default/offsite-user
        install -D -m 600 -o games /dev/null /home/games/private && echo private >/home/games/private
        echo passing >/tmp/passing
        ! systemctl start offsite
        journalctl -u offsite | grep 'store: Read-only file system'
        for unit in offsite offsite@user; do
            mkdir -p /etc/systemd/system/$unit.service.d
            echo '[Service]\nReadWritePaths=/mnt/backups/offsite' >/etc/systemd/system/$unit.service.d/store.conf
        done
        echo CapabilityBoundingSet=CAP_SETUID CAP_SETGID >>/etc/systemd/system/offsite@user.service.d/store.conf
        systemctl daemon-reload
        systemctl start offsite
        systemctl start offsite@user
        systemctl enable --now offsite.timer
        systemctl is-active offsite.timer
        test -s /etc/offsite/signing-key.pem
        export OFFSITE_STORE=/mnt/backups/offsite/store
        offsite restore -k failsafe-PRIVATE.pem --set default --into restored
        diff restored/home/games/private /home/games/private
        diff restored/tmp/passing /tmp/passing
        diff -r restored/etc/default /etc/default
        test $(offsite restore -k failsafe-PRIVATE.pem --set user --stdout) = games
        dpkg -r offsite
        ! systemctl is-active offsite.timer
        echo all is well
",
    );
    assert!(said.contains("\nall is well\n"), "{said}");
}
