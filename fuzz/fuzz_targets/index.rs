//! Any bytes as a chain of indexes, with a NUL between each two, which no index holds. Checked: no
//! panic, little memory; what is accepted is written again byte for byte; what became of each path comes
//! in the order of time; the plan that follows from a chain is one that is accepted, and as long as the
//! indexes say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use offsite::index::{History, Merge, Reader, plan_of, read_and_write};
use offsite::plan::{self, Slice, SliceName};

fuzz_target!(|data: &[u8]| {
    let indexes: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let mut accepted = true;
    for index in &indexes {
        match read_and_write(index) {
            Ok(again) => assert_eq!(again, *index, "an index has another text"),
            Err(_) => accepted = false,
        }
    }
    let readers = || indexes.iter().map(|index| Reader::new(*index)).collect::<Result<Vec<_>, _>>();
    if let Ok(Ok(mut history)) = readers().map(History::new) {
        while let Ok(Some(past)) = history.next_path() {
            assert!(past.versions.is_sorted_by(|one, next| one.levels.end <= next.levels.start));
        }
    }
    let Ok(readers) = readers() else { return };
    let Ok(merge) = Merge::new(readers) else { return };
    let largest = offsite::cms::limits::SLICE_SIZE_MAX as u64;
    let known = |name: SliceName| Some(Slice { name, size: largest, sha256: [0xab; 32] });
    let Ok(plan) = plan_of(merge, known, &std::env::temp_dir(), Vec::new()) else { return };
    assert!(accepted, "a chain of indexes is accepted that alone are not");
    assert_eq!(plan::rewrite(&plan).expect("a plan that follows is accepted"), plan);
    let last = indexes.last().expect("a split gives something");
    let bytes = totals(last);
    assert!(plan.ends_with(format!("\nend {bytes}\n").as_bytes()), "the plan is not as long as the index says");
});

/// How long the backup is, as the newest index says.
fn totals(index: &[u8]) -> u64 {
    let mut reader = Reader::new(index).expect("it was accepted");
    while reader.next_row().expect("it was accepted").is_some() {}
    reader.tail().expect("the rows end with it").totals.bytes
}
