//! Files with holes: where their data lies, and the map of it that pax 1.0 defines.

use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::archive::header::BLOCK;
use crate::archive::limits::EXTENTS;

/// A piece of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a piece has no other properties")]
pub struct Segment {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

impl Segment {
    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// The pieces of a file that hold data; None if that is all of it, or holes cannot be told.
///
/// Each begins at a multiple of 512, and ends at one or at the end of the file: GNU tar pads
/// pieces to blocks and other readers do not, so only such pieces mean the same to all.
///
/// # Errors
///
/// The system's.
pub fn segments(file: impl AsFd, size: u64) -> Result<Option<Vec<Segment>>, Errno> {
    let file = file.as_fd();
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            // Cut off since.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        push(&mut found, start, end, size);
        if found.len() >= EXTENTS {
            return Ok(None);
        }
        // A file system that found no data where it said would keep us here for ever.
        at = end.max(at + 1);
    }
    let is_whole = size == 0 || found == [Segment { offset: 0, length: size }];
    Ok(if is_whole { None } else { Some(found) })
}

fn push(found: &mut Vec<Segment>, start: u64, end: u64, size: u64) {
    let start = start / BLOCK * BLOCK;
    let end = end.next_multiple_of(BLOCK).min(size);
    match found.last_mut() {
        Some(last) if last.end() >= start => last.length = end.max(last.end()) - last.offset,
        _ => found.push(Segment { offset: start, length: end - start }),
    }
}

/// The map that stands before the data: how many pieces, then offset and length of each, a line a
/// number, filled to a multiple of 512. The last piece is empty and lies at the file's end, so
/// that a hole before it is kept.
#[must_use]
pub fn map(segments: &[Segment], size: u64) -> Vec<u8> {
    let end = Segment { offset: size, length: 0 };
    let mut map = format!("{}\n", segments.len() + 1).into_bytes();
    for Segment { offset, length } in segments.iter().chain([&end]) {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    map.resize(map.len().next_multiple_of(512), 0);
    map
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn segments_of(size: u64, data: &[(u64, &[u8])]) -> Option<Vec<Segment>> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in data {
            file.write_all_at(bytes, *offset).unwrap();
        }
        segments(&file, size).unwrap()
    }

    #[test]
    fn are_found_between_holes() {
        assert_eq!(segments_of(0, &[]), None);
        assert_eq!(segments_of(5, &[(0, b"whole")]), None);
        assert_eq!(segments_of(1 << 40, &[]), Some(Vec::new()));
        let found = segments_of((1 << 30) + 5, &[(1 << 20, b"middle"), (1 << 30, b"end")]).unwrap();
        assert!(found.iter().all(|segment| segment.offset % 512 == 0));
        assert!(found.iter().any(|segment| segment.offset <= 1 << 20 && segment.end() >= (1 << 20) + 6));
        assert_eq!(found.last().unwrap().end(), (1 << 30) + 5);
    }

    #[test]
    fn more_than_can_be_mapped_are_none() {
        let file = tempfile::tempfile().unwrap();
        let step = 8 << 10;
        let write = |file: &File, from: usize, to: usize| {
            for number in from..to {
                file.write_all_at(b"x", number as u64 * step).unwrap();
            }
        };
        file.set_len(EXTENTS as u64 * step).unwrap();
        write(&file, 0, EXTENTS - 1);
        let found = segments(&file, EXTENTS as u64 * step).unwrap();
        assert_eq!(found.unwrap().len(), EXTENTS - 1);
        write(&file, EXTENTS - 1, EXTENTS);
        assert_eq!(segments(&file, EXTENTS as u64 * step).unwrap(), None);
    }

    #[test]
    fn are_rounded_to_blocks_and_joined() {
        let mut found = Vec::new();
        push(&mut found, 700, 800, 10_000);
        push(&mut found, 1000, 1025, 10_000);
        push(&mut found, 5000, 5120, 10_000);
        push(&mut found, 9999, 10_000, 10_000);
        let pairs: Vec<_> = found.iter().map(|segment| (segment.offset, segment.length)).collect();
        assert_eq!(pairs, [(512, 1024), (4608, 512), (9728, 272)]);
    }

    #[test]
    fn map_is_that_of_gnu_tar() {
        let map = map(&[Segment { offset: 512, length: 1024 }], 5000);
        assert_eq!(map.len(), 512);
        assert!(map.starts_with(b"2\n512\n1024\n5000\n0\n\0"));
    }
}
