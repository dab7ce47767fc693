//! What the tests of archives share: walks, and other people's programs as judges, set up by
//! `scripts/setup-peers`. A program that is not there fails the test that asked for it.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod backup;
pub(crate) mod everything;
pub(crate) mod made_by_hand;
pub(crate) mod recovery_desk;
pub(crate) mod restores;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use offsite::archive::excludes::Excludes;
use offsite::archive::incident::Incident;
use offsite::archive::roots::Roots;
use offsite::archive::walk::{Entry, Walk};

/// A walk over all of these.
pub(crate) fn walk(roots: &[&Path]) -> Walk {
    let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
    Walk::new(Roots::new(&roots).unwrap(), Excludes::none(), false, HashSet::new(), &std::env::temp_dir())
}

/// What a walk finds, apart by kind.
pub(crate) fn all(walk: Walk) -> (Vec<Vec<u8>>, Vec<Incident>) {
    let (mut paths, mut incidents) = (Vec::new(), Vec::new());
    for found in walk {
        match found.unwrap() {
            Ok(entry) => paths.push(entry.path),
            Err(incident) => incidents.push(incident),
        }
    }
    (paths, incidents)
}

/// What a path is called in an archive.
pub(crate) fn archive_path(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}

/// Archive paths as what they are below `root`: the root itself is the empty one.
pub(crate) fn below(root: &Path, paths: &[Vec<u8>]) -> Vec<String> {
    let root = archive_path(root);
    let below = |path: &Vec<u8>| {
        let rest = path.strip_prefix(&root[..]).unwrap_or_else(|| panic!("{path:?} is not below {root:?}"));
        String::from_utf8(rest.strip_prefix(b"/").unwrap_or(rest).to_vec()).unwrap()
    };
    paths.iter().map(below).collect()
}

/// The entry of this name below whatever was walked.
pub(crate) fn entry_named(walk: Walk, name: &str) -> Entry {
    let found = walk.filter_map(|found| found.unwrap().ok()).find(|entry| entry.name() == name.as_bytes());
    found.unwrap_or_else(|| panic!("no entry {name}"))
}

/// A name of any bytes.
pub(crate) fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Numbers that look random and are the same each time (xorshift).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Runs a program, which must succeed, and returns what it said.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.env("LC_ALL", "C").output().unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{command:?}: {error}");
        let program = command.get_program().to_str().unwrap();
        let package = match program {
            "setfacl" => "acl",
            "bsdtar" => "libarchive-tools",
            program => program,
        };
        panic!("missing: {program}: as root: apt-get install {package}, or scripts/setup-peers")
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output.stdout
}
