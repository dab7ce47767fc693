//! Signed messages: any bytes, and a valid message that is changed. Checked: no panic; nothing but
//! the signed content verifies, and under the signer's own certificate nothing but the very bytes
//! of the message.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use offsite_cms::Certificate;
use offsite_cms::signed_data::{SigningKey, verify};
use offsite_fuzz::change;

const CONTENT: &[u8] = b"a backup's plan and index, by name and digest";
const OTHER_CONTENT: &[u8] = b"another content";

struct Made {
    message: Vec<u8>,
    /// Another message by the same signer.
    other: Vec<u8>,
    signer: Certificate,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let (key, _) = SigningKey::generate("fuzz", time::OffsetDateTime::UNIX_EPOCH, 30_000).expect("a key is made");
    let sign = |content| key.sign(content).expect("signing works");
    Made { message: sign(CONTENT), other: sign(OTHER_CONTENT), signer: key.certificate().clone() }
});

fuzz_target!(|data: &[u8]| {
    let _ = verify(data);

    let made = &*MADE;
    let mut message = made.message.clone();
    change(&mut message, 64, &made.other, data);
    let valid = message == made.message || message == made.other;
    match verify(&message) {
        Ok(signed) => {
            assert!([CONTENT, OTHER_CONTENT].contains(&signed.content), "other content passes for signed");
            // The signature does not cover the certificate: who compares it sees that it is another.
            assert!(valid || signed.certificate != made.signer, "a changed message verifies");
        }
        Err(error) => assert!(!valid, "a valid message does not verify: {error}"),
    }
});
