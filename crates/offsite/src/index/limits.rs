//! Every limit of an index, each with its unit and its reason. A length read from input passes one
//! of these before memory is asked for (format.md §12).

use offsite_cms::limits::SLICE_SIZE_MAX;

use crate::paths;

/// Longest line, in bytes: 2 MiB, of which each index of a chain keeps one in memory.
pub const LINE: usize = 2 << 20;

/// Most places of a row; more go on in the path's next part.
pub const PLACES: usize = 4096;

/// Most backups that an index, or a chain of them, refers to: one every two minutes for 90 days.
pub const RUNS: usize = 1 << 16;

/// Most indexes of a chain: a full one and fifteen deltas.
pub const CHAIN: usize = 16;

/// Longest plaintext of a frame, in bytes: 32 MiB. A bundle ends once it has passed 4 MiB, and the
/// member that ends it may have a pax header of 16 MiB. Who decompresses a frame needs as much memory.
pub const RAW: u64 = 32 << 20;

/// Largest file, in bytes: what the kernel's signed 64 bits hold. A sparse one can be as large.
pub const FILE_SIZE: u64 = i64::MAX as u64;

/// Longest stream of a backup, and most rows, places and parts: what every tool counts exactly.
pub const TOTAL: u64 = 1 << 53;

/// Most pairs of SKIP and TAKE in one step of a plan. They fit its longest line, of 256 KiB.
pub const TAKES: usize = 8192;

/// Longest text of one byte of a name: a control character as `\u0001`.
const ESCAPED: usize = 6;
/// Longest text of a place: two brackets and seven numbers, each with a comma.
const PLACE: usize = 2 + 6 + 11 + 10 + 10 + 9 + 9 + 9;
/// Longest text of everything else of a row.
const REST: usize = 1024;

const _: () = {
    assert!(2 * ESCAPED * paths::LONGEST + PLACES * PLACE + REST <= LINE);
    assert!(RUNS * "\"20261123T074500Z-7f3a9c01\",".len() + REST <= LINE);
    assert!(TAKES * " 33554432 33554432".len() + REST < 256 << 10);
    assert!(RAW <= u32::MAX as u64 && SLICE_SIZE_MAX <= u32::MAX as usize);
};
