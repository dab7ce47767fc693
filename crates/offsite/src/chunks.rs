//! Chunks: pieces of a large file, cut where its content says, so that a change in one place moves
//! no cut elsewhere (FastCDC, Xia et al., "The Design of Fast Content-Defined Chunking", 2020).

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use fastcdc::v2020::FastCDC;

/// How long chunks are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    min: usize,
    average: usize,
    max: usize,
}

impl Sizes {
    /// 512 KiB, 1 MiB on average, 4 MiB; or less, so that none is longer than `longest`.
    pub(crate) fn up_to(longest: usize) -> Self {
        // The cuts need even numbers.
        let max = longest.min(4 << 20) / 16 * 16;
        Self { min: max / 8, average: max / 4, max }
    }

    /// How long a chunk is at most, in bytes.
    pub(crate) fn longest(self) -> usize {
        self.max
    }
}

/// Room for what is read and not yet cut. One serves any number of files, one after the other.
#[derive(Default)]
pub(crate) struct Room(Vec<u8>);

/// Cuts what it reads into chunks.
pub(crate) struct Chunker<'a, R> {
    source: R,
    sizes: Sizes,
    /// Twice the longest chunk: so each byte is moved within it once at most.
    room: &'a mut [u8],
    /// What of it was read and is not yet cut.
    uncut: Range<usize>,
    ended: bool,
}

impl<'a, R: Read> Chunker<'a, R> {
    pub(crate) fn new(source: R, sizes: Sizes, room: &'a mut Room) -> Self {
        let length = 2 * sizes.max;
        if room.0.len() < length {
            room.0.resize(length, 0);
        }
        Self { source, sizes, room: &mut room.0[..length], uncut: 0..0, ended: false }
    }

    /// The source.
    pub(crate) fn into_source(self) -> R {
        self.source
    }

    /// The next chunk; None after the last. Its memory is the caller's to keep.
    ///
    /// # Errors
    ///
    /// The source's.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Sizes { min, average, max } = self.sizes;
        self.read()?;
        let found = &self.room[self.uncut.clone()];
        let found = &found[..found.len().min(max)];
        if found.is_empty() {
            return Ok(None);
        }
        let (_, length) = FastCDC::new(found, min, average, max).cut(0, found.len());
        self.uncut.start += length;
        Ok(Some(found[..length].to_vec()))
    }

    /// Reads on until the longest chunk can be cut, or the source ends.
    fn read(&mut self) -> io::Result<()> {
        let max = self.sizes.max;
        if self.uncut.len() < max && self.uncut.start > self.room.len() - max {
            self.room.copy_within(self.uncut.clone(), 0);
            self.uncut = 0..self.uncut.len();
        }
        while self.uncut.len() < max && !self.ended {
            match self.source.read(&mut self.room[self.uncut.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.uncut.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;

    /// Bytes without a pattern, always the same.
    fn noise(length: usize) -> Vec<u8> {
        let blocks = (0..length.div_ceil(32) as u64).map(|block| digest(&SHA256, &block.to_be_bytes()));
        let mut noise: Vec<u8> = blocks.flat_map(|block| block.as_ref().to_vec()).collect();
        noise.truncate(length);
        noise
    }

    fn chunks(bytes: &[u8], sizes: Sizes) -> Vec<Vec<u8>> {
        let mut room = Room::default();
        let mut chunker = Chunker::new(bytes, sizes, &mut room);
        std::iter::from_fn(|| chunker.next_chunk().unwrap()).collect()
    }

    #[test]
    fn chunks_are_the_file_and_within_their_sizes() {
        let sizes = Sizes::up_to(64 << 10);
        for length in [0, 1, 8 << 10, (8 << 10) + 1, 64 << 10, 3_000_000] {
            let bytes = noise(length);
            let chunks = chunks(&bytes, sizes);
            assert!(chunks.concat() == bytes);
            let (last, others) = chunks.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
            assert!(others.iter().all(|chunk| (sizes.min..=sizes.max).contains(&chunk.len())));
            assert!(last.is_none_or(|last| !last.is_empty() && last.len() <= sizes.max));
        }
        let zeros = chunks(&vec![0; 1_000_000], sizes);
        assert!(zeros.iter().rev().skip(1).all(|chunk| chunk.len() == sizes.max));
    }

    #[test]
    fn a_change_touches_the_chunks_around_it_alone() {
        let sizes = Sizes::up_to(64 << 10);
        let before = noise(3_000_000);
        let after = [&before[..1_000_000], b"something new", &before[1_000_000..]].concat();
        let (before, after) = (chunks(&before, sizes), chunks(&after, sizes));
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(before.len() > 100 && (1..=3).contains(&new), "{new} of {}", after.len());
    }

    #[test]
    fn sizes_are_what_is_usual_unless_slices_are_small() {
        assert_eq!(Sizes::up_to(16 << 20), Sizes { min: 512 << 10, average: 1 << 20, max: 4 << 20 });
        assert!(Sizes::up_to(1_000_003).max <= 1_000_003);
    }
}
