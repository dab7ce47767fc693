//! Bytes in blocks, each behind its length and a hash. What was damaged is noticed, and a file that was
//! still being written when its process ended is good up to its last whole block.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes before a block: its length, and the first half of its BLAKE3.
const HEAD: usize = 4 + 16;

/// A block is written once it has so many bytes.
const FULL: usize = 64 << 10;

/// Longest block, in bytes: a full one, and the longest record after it.
const LONGEST: usize = 1 << 20;

/// Writes blocks of records; none crosses two blocks.
pub(super) struct Writer {
    file: File,
    /// The block at hand, with room for what stands before it.
    block: Vec<u8>,
    size: u64,
}

impl Writer {
    /// Makes a file, which must not be there.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let mut block = Vec::with_capacity(HEAD + FULL + (4 << 10));
        block.resize(HEAD, 0);
        Ok(Self { file, block, size: 0 })
    }

    /// Where the next record goes. Whether it begins a block tells [`is_empty`](Self::is_empty).
    pub(super) fn record(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    /// Whether the next record begins a block.
    pub(super) fn is_empty(&self) -> bool {
        self.block.len() == HEAD
    }

    /// Ends a record; writes the block if it is full.
    pub(super) fn end_record(&mut self) -> io::Result<()> {
        if self.block.len() >= HEAD + FULL { self.flush() } else { Ok(()) }
    }

    /// Writes the block at hand.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let (head, bytes) = self.block.split_at_mut(HEAD);
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= LONGEST);
        let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&blake3::hash(bytes).as_bytes()[..HEAD - 4]);
        self.file.write_all(&self.block)?;
        self.size += self.block.len() as u64;
        self.block.truncate(HEAD);
        Ok(())
    }

    /// The file, for whoever makes it durable meanwhile.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the last block, and makes the file durable; its length in bytes.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.sync_data()?;
        Ok(self.size)
    }
}

/// Reads blocks.
pub(super) struct Reader {
    source: BufReader<io::Take<File>>,
    /// Bytes that are left.
    left: u64,
    block: Vec<u8>,
}

impl Reader {
    /// Reads the first `size` bytes of a file.
    ///
    /// # Errors
    ///
    /// Where it is shorter, or not to be read.
    pub(super) fn open(path: &Path, size: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() < size {
            return Err(damaged());
        }
        Ok(Self { source: BufReader::with_capacity(256 << 10, file.take(size)), left: size, block: Vec::new() })
    }

    /// Reads what there is of a file.
    pub(super) fn open_all(path: &Path) -> io::Result<Self> {
        let size = path.metadata()?.len();
        Self::open(path, size)
    }

    /// The next block; None after the last.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] where it is not what was written.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.left = self.left.checked_sub(HEAD as u64).ok_or_else(damaged)?;
        self.source.read_exact(&mut head)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        self.left = self.left.checked_sub(u64::from(length)).ok_or_else(damaged)?;
        let length = usize::try_from(length).ok().filter(|length| (1..=LONGEST).contains(length));
        self.block.resize(length.ok_or_else(damaged)?, 0);
        self.source.read_exact(&mut self.block)?;
        let intact = blake3::hash(&self.block).as_bytes()[..HEAD - 4] == head[4..];
        if intact { Ok(Some(&self.block)) } else { Err(damaged()) }
    }
}

/// What is read is not what was written.
pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, records: &[&[u8]]) -> u64 {
        let mut writer = Writer::create(path).unwrap();
        for record in records {
            writer.record().extend_from_slice(record);
            writer.end_record().unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(path: &Path, size: u64) -> io::Result<Vec<Vec<u8>>> {
        let mut reader = Reader::open(path, size)?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next()? {
            blocks.push(block.to_vec());
        }
        Ok(blocks)
    }

    #[test]
    fn blocks_hold_whole_records_and_no_byte_can_change_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        let long = vec![7; FULL - 1];
        let size = write(&path, &[b"one", &long, b"two"]);
        assert_eq!(read(&path, size).unwrap(), [[&b"one"[..], &long].concat(), b"two".to_vec()]);
        let good = fs::read(&path).unwrap();
        assert_eq!(good.len() as u64, size);
        for at in [0, 3, 4, 19, 20, 25, good.len() - 30, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path, size).is_err(), "byte {at}");
        }
        for length in (0..100).chain((100..size).step_by(977)).chain(size - 50..size) {
            fs::write(&path, &good[..usize::try_from(length).unwrap()]).unwrap();
            assert!(read(&path, size).is_err(), "{length} bytes");
        }
        assert_eq!(read(&path, 0).unwrap(), Vec::<Vec<u8>>::new());
    }
}
