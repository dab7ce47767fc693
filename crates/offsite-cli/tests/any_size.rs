//! Messages of any size, in constant memory: also those that OpenSSL writes but cannot read.
//!
//! These take minutes and about 13 GiB of disk, in `OFFSITE_TEST_LARGE_DIR` or /var/tmp.

mod support;

use std::fs;

use support::room::{GIB, MIB, Room, assert_memory};
use support::{KeyPair, run};

const FROM_FILE: &str = r#"/usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" decrypt -k "$KEY" "$MESSAGE" | is_plain"#;
const FROM_PIPE: &str = r#"cat "$MESSAGE" | /usr/bin/time -f %M -o "$MEMORY" "$OFFSITE" decrypt -k "$KEY" | is_plain"#;

/// A message of OpenSSL's, of a size that OpenSSL itself cannot read.
fn opens_what_openssl_cannot(command: &str, cipher: &str, size: u64) {
    // The message, and once more while it comes from a pipe: GCM is verified before it is released.
    let room = Room::with(2 * size + size / 50);
    let pair = KeyPair::of("rsa2048");

    let encrypt =
        format!(r#"plain | openssl {command} -encrypt -stream -binary {cipher} -outform DER -out "$MESSAGE" "$CERT""#);
    run(&mut room.bash(&encrypt, size, &pair)).ok();
    let length = fs::metadata(room.path("message")).expect("there is a message").len();
    assert!(length > size, "the message has {length} bytes");

    for script in [FROM_FILE, FROM_PIPE] {
        run(&mut room.bash(script, size, &pair)).ok();
        assert_memory(&room.path("memory"), 64 * MIB);
    }

    let refuse =
        format!(r#"openssl {command} -decrypt -inform DER -recip "$CERT" -inkey "$KEY" -in "$MESSAGE" -out /dev/null"#);
    let stock = run(&mut room.bash(&refuse, size, &pair));
    assert!(!stock.succeeded(), "OpenSSL can do it, too: {}", stock.story());
}

#[test]
#[ignore = "large: run by scripts/test"]
fn smime_message_of_2_5_gib() {
    opens_what_openssl_cannot("smime", "-aes256", 5 * GIB / 2);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn smime_message_of_6_gib() {
    opens_what_openssl_cannot("smime", "-aes256", 6 * GIB);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn cms_message_of_2_5_gib() {
    opens_what_openssl_cannot("cms", "-aes-256-gcm", 5 * GIB / 2);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn cms_message_of_6_gib() {
    opens_what_openssl_cannot("cms", "-aes-256-gcm", 6 * GIB);
}

#[test]
#[ignore = "large: run by scripts/test"]
fn stream_of_20_gib_from_pipe_to_pipe() {
    // Nothing but the memory reports goes to the disk.
    let (room, size, pair) = (Room::with(MIB), 20 * GIB, KeyPair::of("rsa2048"));
    let script = r#"
        plain |
            /usr/bin/time -f %M -o "$MEMORY.encrypt" "$OFFSITE" encrypt -r "$CERT" |
            /usr/bin/time -f %M -o "$MEMORY.decrypt" "$OFFSITE" decrypt -k "$KEY" |
            is_plain"#;
    run(&mut room.bash(script, size, &pair)).ok();
    for program in ["memory.encrypt", "memory.decrypt"] {
        assert_memory(&room.path(program), 80 * MIB);
    }
}
