//! Any bytes as a block of the entries that a state keeps. Checked: no panic, no more memory than the block
//! accounts for, and what is read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use offsite::state::read_and_write;

fuzz_target!(|data: &[u8]| assert!(read_and_write(data)));
