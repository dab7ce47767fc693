//! Any bytes as the checksums of a run's slices. Checked: no panic; what is accepted is written
//! again byte for byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use offsite::checksums::rewrite;

fuzz_target!(|data: &[u8]| {
    if let Ok(again) = rewrite(data) {
        assert_eq!(again, data, "checksums have another text");
    }
});
