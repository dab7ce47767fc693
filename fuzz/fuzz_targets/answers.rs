//! Any bytes as what a server of S3 or SFTP answers. Checked: no panic, and nothing in the words made of
//! them that a terminal would take for more than text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use offsite::store::read_answers;

fuzz_target!(|data: &[u8]| {
    for words in read_answers(data) {
        assert!(!words.contains(char::is_control), "not fit for a terminal: {words:?}");
    }
});
