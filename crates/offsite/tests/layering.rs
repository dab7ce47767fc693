//! The layers of the workspace: what each part may use. The compiler guards the borders between
//! the crates; this test guards those within them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate's modules, the lowest first: a module uses only those that stand before it, so there
/// are no cycles.
const LAYERS: [(&str, &[&[&str]]); 3] = [
    (
        "offsite-cms",
        &[
            &["limits", "oid", "refusal"],
            &["error"],
            &["der", "pem", "pipeline", "random"],
            &["policy"],
            &["ber", "certificate", "ffi"],
            &["input", "armour", "recipient_info"],
            &["private_key", "envelope"],
            &["key_file", "recipients"],
            &["keygen", "slice"],
            &["signed_data", "stream"],
            &["smime", "inspect", "decrypt"],
        ],
    ),
    (
        "offsite",
        &[
            &[
                "as_text",
                "at_once",
                "chunks",
                "frames",
                "hashes",
                "names",
                "ordered",
                "paths",
                "recovery",
                "shown",
                "slices",
                "sort",
                "spool",
                "table",
                "times",
                "unfinished",
            ],
            &["baked", "checksums", "http_client", "paper", "receipt/error"],
            // A ping is no store, but goes over HTTP as S3 does: of what lies above, only the client is shared.
            &["ping", "receipt/encode"],
            &["receipt/check", "receipt/parse"],
            &["receipt"],
            &["plan/read", "plan/write"],
            &["plan"],
            &["index/limits", "index/text"],
            &["index/error"],
            &["index/check", "index/scan"],
            &["index/write"],
            &["index/read"],
            &["index/chain"],
            &["index/merge"],
            &["index/order"],
            &["index/history"],
            &["index/plan_of"],
            &["index"],
            &["store/location", "store/pace", "store/directory/new_file", "store/directory/walk"],
            &["store/error"],
            &["store/patience", "store/probe", "store/s3/refusal", "store/sftp/wire", "store/sftp/ssh"],
            &["store/s3/transport", "store/sftp/session"],
            &["store/directory/probe", "store/s3/probe", "store/sftp/remote", "store/sftp/walk"],
            &["store/sftp/new_file"],
            &["store/directory", "store/s3", "store/sftp", "store/conformance"],
            &["store"],
            &["damage"],
            &["error"],
            &["files"],
            &["state/blocks"],
            &["state/entries", "state/last"],
            &["state/tables"],
            &["state/journal", "state/memory"],
            &["state/take_up"],
            &["state"],
            &["archive/limits", "archive/metadata", "archive/incident", "archive/roots"],
            &["archive/names"],
            &["archive/folder", "archive/links"],
            &["archive/attributes", "archive/excludes"],
            &["archive/header", "archive/walk"],
            &["archive/sparse"],
            &["archive/member"],
            &["archive/write"],
            &["archive/read/pax"],
            &["archive/read/header", "archive/read/sparse"],
            &["archive/read"],
            &["archive/again"],
            &["archive/unpack/acl", "archive/unpack/beneath", "archive/unpack/error", "archive/unpack/made"],
            &["archive/unpack/attributes", "archive/unpack/folders"],
            &["archive/unpack/new_file"],
            &["archive/unpack"],
            &["archive"],
            &["events"],
            &["pins", "signer"],
            &[
                "operations/decrypt",
                "operations/encrypt",
                "operations/inspect",
                "operations/key_check",
                "operations/keygen",
                "operations/keys",
            ],
            &["operations/bake"],
            &[
                "operations/backup/jobs",
                "operations/backup/limits",
                "operations/backup/merged",
                "operations/backup/renewal",
                "operations/backup/sealed",
                "operations/backup/tally",
            ],
            &["operations/backup/reuse"],
            &["operations/backup/base", "operations/backup/chunks"],
            &["operations/backup/bundle", "operations/backup/rows"],
            &["operations/backup/tree"],
            &["operations/backup/stream"],
            &["operations/backup"],
            &["operations/backups/find", "operations/backups/objects", "operations/backups/selection"],
            &["operations/backups/choose", "operations/backups/slices", "operations/backups/stream"],
            &["operations/backups/sample"],
            &["operations/backups/open"],
            &["operations/backups"],
            &["operations/verify/finding"],
            &["operations/verify/chain", "operations/verify/needs", "operations/verify/seen"],
            &["operations/prune/needed", "operations/prune/rules"],
            &["operations/prune/sweep"],
            &["operations/find/chains", "operations/find/globs", "operations/find/runs"],
            &[
                "operations/diff",
                "operations/doctor",
                "operations/files",
                "operations/find",
                "operations/list",
                "operations/prune",
                "operations/verify",
            ],
            &["operations/report/history"],
            &["operations/report"],
            &[
                "operations/restore/entry",
                "operations/restore/error",
                "operations/restore/ordered",
                "operations/restore/queue",
            ],
            &["operations/restore/cache", "operations/restore/links"],
            &["operations/restore/large"],
            &["operations/restore/jobs"],
            &["operations/restore/work"],
            &["operations/restore"],
            &["operations/drill/counted", "operations/drill/failure"],
            &["operations/drill/heard"],
            &["operations/drill"],
            &["operations"],
        ],
    ),
    (
        "offsite-cli",
        &[
            &["arguments/values", "words"],
            &["arguments/common"],
            &[
                "arguments/backup",
                "arguments/bake",
                "arguments/decrypt",
                "arguments/diff",
                "arguments/doctor",
                "arguments/drill",
                "arguments/encrypt",
                "arguments/files",
                "arguments/find",
                "arguments/inspect",
                "arguments/key_check",
                "arguments/keygen",
                "arguments/list",
                "arguments/prune",
                "arguments/report",
                "arguments/restore",
                "arguments/verify",
                "arguments/version",
            ],
            &["arguments/defaults"],
            &["arguments"],
            &["baked", "glibc", "host", "metrics", "notify"],
            &["terminal"],
            &["exit"],
            &["monitor"],
            &["interrupt"],
            &["commands"],
            &[
                "commands/doctor/words",
                "commands/drill/report",
                "commands/entry",
                "commands/findings",
                "commands/printer",
            ],
            &["commands/drill/markdown", "commands/report/html"],
            &["commands/report/chart", "commands/report/drills"],
            &["commands/report/state"],
            &["commands/report/parts"],
            &["commands/report/recipients"],
            &["commands/report/page"],
            &["commands/report/details", "commands/report/findings", "commands/report/overview"],
            &["commands/report/document"],
            &[
                "commands/backup",
                "commands/bake",
                "commands/decrypt",
                "commands/diff",
                "commands/doctor",
                "commands/drill",
                "commands/encrypt",
                "commands/files",
                "commands/find",
                "commands/inspect",
                "commands/key_check",
                "commands/keygen",
                "commands/list",
                "commands/prune",
                "commands/recovery_script",
                "commands/report",
                "commands/restore",
                "commands/verify",
                "commands/version",
            ],
        ],
    ),
];

/// What a crate must never know, in its code or among its dependencies.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    ("offsite-cms", &["std::net", "std::process", "std::env", "tokio", "clap", "tar", "zstd", "opendal", "tempfile"]),
    ("offsite", &["clap", "indicatif", "rpassword", "std::process::exit", "println", "eprintln"]),
    ("offsite-cli", &["aws_lc_rs", "zstd", "tar", "opendal"]),
];

#[test]
fn modules_use_only_lower_layers() {
    for (name, layers) in LAYERS {
        let modules = modules(name);
        let listed: BTreeSet<&str> = layers.iter().flat_map(|layer| layer.iter().copied()).collect();
        let found: BTreeSet<&str> = modules.iter().map(|(module, _)| module.as_str()).collect();
        assert_eq!(listed, found, "{name}: the table and the files differ");
        let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
        for (module, code) in &modules {
            for used in uses(module, code, &listed) {
                let of_folder = module.starts_with(&format!("{used}/"));
                let (own, other) = (layer_of(module), layer_of(&used));
                let other = other.unwrap_or_else(|| panic!("{name}/{module} uses {used}, which is no module"));
                assert!(of_folder || Some(other) < own, "{name}/{module} uses {used}, which is not below it");
            }
        }
    }
}

#[test]
fn crates_know_only_their_own_matters() {
    for (name, forbidden) in FORBIDDEN {
        let manifest = fs::read_to_string(folder(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).expect("a crate has dependencies");
        let dependencies = dependencies.split("\n[").next().unwrap();
        for word in forbidden {
            assert!(!dependencies.lines().any(|line| line.starts_with(word)), "{name} depends on {word}");
            for (module, code) in modules(name) {
                let uses = code.lines().any(|line| {
                    line.contains(&format!("{word}::"))
                        || line.contains(&format!("{word}!"))
                        || line.ends_with(&format!("{word};"))
                });
                assert!(!uses, "{name}/{module} knows {word}");
            }
        }
    }
}

/// `unsafe` stands in one small module of a crate that needs it.
#[test]
fn unsafe_code_is_in_one_place() {
    let mut places = Vec::new();
    for (name, _) in LAYERS {
        let with_unsafe = modules(name).into_iter().filter(|(_, code)| code.contains("unsafe "));
        places.extend(with_unsafe.map(|(module, _)| format!("{name}/{module}")));
    }
    assert_eq!(places, ["offsite-cms/ffi", "offsite-cli/glibc"]);
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Every module of a crate but its root and tests: its name, and its code without comments.
fn modules(name: &str) -> Vec<(String, String)> {
    let source = folder(name).join("src");
    let mut folders = vec![source.clone()];
    let mut modules = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let module = path.strip_prefix(&source).unwrap().with_extension("");
            let module = module.to_str().unwrap().to_owned();
            let is_test = module.split('/').any(|part| part == "tests");
            if module != "lib" && module != "main" && !is_test {
                modules.push((module, code(&fs::read_to_string(path).unwrap())));
            }
        }
    }
    assert!(!modules.is_empty(), "{name} has no modules");
    modules
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules that a module's code names: by `crate::` or `super::`, each with a path or a group of them.
fn uses(module: &str, code: &str, listed: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (start, word) in ["crate::", "super::"].iter().flat_map(|word| code.match_indices(word)) {
        let mut folder: Vec<&str> = if word == "super::" { module.split('/').collect() } else { Vec::new() };
        let mut rest = &code[start..];
        if code[..start].ends_with("super::") {
            continue;
        }
        while let Some(after) = rest.strip_prefix("super::") {
            folder.pop();
            rest = after;
        }
        rest = rest.strip_prefix("crate::").unwrap_or(rest);
        let paths = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap_or_default(),
        };
        for path in paths.split(',') {
            let names = path.trim().split("::").take_while(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
            let path: Vec<&str> = folder.iter().copied().chain(names).collect();
            // The innermost module of that path; a function's name may follow.
            let found = (1..=path.len()).rev().map(|length| path[..length].join("/"));
            used.extend(found.into_iter().find(|path| listed.contains(path.as_str())));
        }
    }
    used
}
