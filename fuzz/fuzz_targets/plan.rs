//! Any bytes as a plan. Checked: no panic, little memory; what is accepted is written again byte
//! for byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use offsite::plan::rewrite;

fuzz_target!(|data: &[u8]| {
    if let Ok(again) = rewrite(data) {
        assert_eq!(again, data, "a plan has another text");
    }
});
