//! A machine with one core and 512 MiB of memory: many small files and a large one, there and back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::host::Host;
use support::room::{GIB, MIB, Room, assert_memory};
use support::{KeyPair, found_in_path, needed, run, sample};

const FILES: usize = 50_000;

/// What a backup or a restore may have resident there, at the usual slice size: a quarter more than measured.
const MOST: u64 = 144 * MIB;

#[test]
#[ignore = "large: run by scripts/test"]
fn one_core_and_512_mib_are_enough() {
    let room = Room::with(5 * GIB);
    let host = Host::within(&room.path(""));
    let text = sample(FILES + 2048);
    for number in 0..FILES {
        let length = 100 + number % 1900;
        host.write(&format!("tree/{}/{number}", number / 100), &text[number % 1000..][..length]);
    }
    run(room.bash(r#"plain >"$LARGE""#, GIB, &KeyPair::of("p256")).env("LARGE", host.path("tree/large"))).ok();

    let machine = Machine::new(&host);
    machine.takes("backup -r cert.pem --host here tree", MOST);
    machine.takes("backup -r cert.pem --host here tree", MOST);
    machine.takes("backup -r cert.pem --host here --full --threads 1 tree", MOST);
    machine.takes("restore -k key.pem --into restored", MOST);
    run(&mut host.bash("diff -r tree restored/tree")).ok();
}

/// One core for a command, and where a control group can be made, 512 MiB for it and its share of the page cache.
struct Machine<'h> {
    host: &'h Host,
    core: String,
    group: Option<PathBuf>,
}

impl<'h> Machine<'h> {
    fn new(host: &'h Host) -> Self {
        needed("/usr/bin/time".into());
        found_in_path("taskset");
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let core = allowed.split([',', '-']).next().unwrap().to_owned();
        // Version 1 has a tree of its own for memory, version 2 one for everything.
        let places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let group = places.iter().find_map(|(tree, limit)| {
            let group = Path::new(tree).join(format!("offsite-test-{}", std::process::id()));
            fs::create_dir(&group).ok()?;
            // Written without making a file: where memory is not controlled there is none of this name.
            let limited = fs::File::options()
                .write(true)
                .open(group.join(limit))
                .and_then(|mut file| std::io::Write::write_all(&mut file, (512 * MIB).to_string().as_bytes()));
            if limited.is_err() {
                let _ = fs::remove_dir(&group);
            }
            limited.ok().map(|()| group)
        });
        Self { host, core, group }
    }

    /// Runs a command there; panics if it fails, or has more memory resident.
    #[track_caller]
    fn takes(&self, line: &str, most: u64) {
        let join = if self.group.is_some() { r#"echo $$ >"$GROUP/cgroup.procs"; "# } else { "" };
        let script = format!(r#"{join}exec taskset -c "$CORE" /usr/bin/time -f %M -o memory "$OFFSITE" {line}"#);
        let mut command = self.host.bash(&script);
        command.env("CORE", &self.core).env("GROUP", self.group.clone().unwrap_or_default());
        run(&mut command).ok();
        let memory = self.host.path("memory");
        println!("{line}: {} KiB, limited: {}", fs::read_to_string(&memory).unwrap().trim(), self.group.is_some());
        assert_memory(&memory, most);
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
    }
}
