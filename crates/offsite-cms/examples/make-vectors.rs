//! Writes `testdata/vectors`, one file for each message that a reader must open or refuse, and
//! `testdata/keys` where there are none yet.
//!
//! `cargo run -p offsite-cms --example make-vectors`
//!
//! What a vector expects is written here by hand, from `docs/format.md`; nothing is taken from what
//! the library answers. Messages come from the library, from OpenSSL, and from code of this
//! program, which can seal whatever is wrong.

#[path = "make-vectors/armour.rs"]
mod armour;
#[path = "make-vectors/cbc.rs"]
mod cbc;
#[path = "make-vectors/encoding.rs"]
mod encoding;
#[path = "make-vectors/flips.rs"]
mod flips;
#[path = "make-vectors/forge.rs"]
mod forge;
#[path = "make-vectors/good.rs"]
mod good;
#[path = "make-vectors/key_management.rs"]
mod key_management;
#[path = "make-vectors/keys.rs"]
mod keys;
#[path = "make-vectors/native.rs"]
mod native;
#[path = "make-vectors/policy.rs"]
mod policy;
#[path = "make-vectors/streams.rs"]
mod streams;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "make-vectors/vector.rs"]
mod vector;

use std::fs;

use vector::Vector;

fn main() {
    keys::make();
    let groups: [fn() -> Vec<Vector>; 8] = [
        good::vectors,
        flips::vectors,
        policy::vectors,
        key_management::vectors,
        cbc::vectors,
        streams::vectors,
        encoding::vectors,
        armour::vectors,
    ];
    let vectors: Vec<Vector> = groups.into_iter().flat_map(|group| group()).collect();
    let folder = support::testdata("vectors");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the old vectors are removed");
    }
    fs::create_dir_all(&folder).expect("testdata/vectors is made");
    let mut size = 0;
    for vector in &vectors {
        let path = folder.join(&vector.name);
        assert!(!path.exists(), "two vectors are called {}", vector.name);
        let file = vector.encode();
        size += file.len();
        fs::write(&path, file).expect("a vector is written");
    }
    println!("{} vectors, {size} bytes", vectors.len());
}
