//! Bytes that are kept for a while, one after the other: the last in memory, those before them in a
//! file without a name, which is made when it is needed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How many bytes are gathered in memory before they go to the file.
const TAIL: usize = 64 << 10;

/// Bytes that are added at the end, and read anywhere; any thread may read.
pub(crate) struct Spool {
    /// Where the file is made.
    folder: PathBuf,
    file: Option<File>,
    /// How many bytes are in the file.
    written: u64,
    /// Those that follow.
    tail: Vec<u8>,
}

impl Spool {
    /// An empty one, whose file will be in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), file: None, written: 0, tail: Vec::new() }
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        self.written + self.tail.len() as u64
    }

    /// Adds bytes at the end; where they begin.
    ///
    /// # Errors
    ///
    /// The file's.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if self.tail.len() + bytes.len() > TAIL && !self.tail.is_empty() {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile_in(&self.folder)?),
            };
            file.write_all_at(&self.tail, self.written)?;
            self.written += self.tail.len() as u64;
            self.tail.clear();
        }
        let position = self.length();
        self.tail.extend_from_slice(bytes);
        Ok(position)
    }

    /// Reads the bytes from `position` on.
    ///
    /// # Errors
    ///
    /// The file's; [`io::ErrorKind::UnexpectedEof`] where there are fewer.
    pub(crate) fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let in_file = usize::try_from(self.written.saturating_sub(position)).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at_mut(in_file);
        if let Some(file) = &self.file {
            file.read_exact_at(first, position)?;
        }
        let start = usize::try_from(position.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let tail = self.tail.get(start..).and_then(|tail| tail.get(..rest.len()));
        match tail {
            Some(tail) => rest.copy_from_slice(tail),
            None if rest.is_empty() => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    /// Forgets the bytes from `position` on.
    pub(crate) fn truncate(&mut self, position: u64) {
        match position.checked_sub(self.written) {
            Some(left) => self.tail.truncate(usize::try_from(left).unwrap_or(usize::MAX)),
            None => {
                self.written = position;
                self.tail.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, mut expected) = (Spool::new(folder.path()), Vec::new());
        for (number, length) in (0..).zip([0, 1, 5_000, TAIL, 3, TAIL + 1, 0, 40_000, 40_000, 17]) {
            let bytes = vec![number; length];
            assert_eq!(spool.push(&bytes).unwrap(), expected.len() as u64);
            expected.extend(bytes);
            assert_eq!(spool.length(), expected.len() as u64);
        }
        assert!(spool.written > 0 && spool.length() > spool.written);
        for start in (0..expected.len()).step_by(997) {
            for length in [0, 1, 1_000, 70_000, expected.len() - start] {
                let mut bytes = vec![0xff; length];
                let read = spool.read(start as u64, &mut bytes);
                match expected.get(start..start + length) {
                    Some(expected) => assert!(read.is_ok() && bytes == expected, "{length} from {start}"),
                    None => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
                }
            }
        }
        assert!(spool.read(spool.length() + 1, &mut [0]).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has a name");
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path());
        for byte in [1, 2, 3] {
            spool.push(&[byte; TAIL]).unwrap();
        }
        for position in [3 * TAIL as u64 - 1, TAIL as u64 + 5, 0] {
            spool.truncate(position);
            assert_eq!((spool.length(), spool.push(b"new").unwrap()), (position, position));
            let mut bytes = [0; 3];
            spool.read(position, &mut bytes).unwrap();
            assert_eq!(&bytes, b"new");
            assert!(spool.read(position + 1, &mut bytes).is_err());
        }
    }

    #[test]
    fn few_bytes_need_no_file() {
        let mut spool = Spool::new(Path::new("/nonexistent"));
        for _ in 0..100 {
            let position = spool.push(&[7; TAIL]).unwrap();
            spool.truncate(position);
        }
        spool.push(&[7; TAIL]).unwrap();
        assert!(spool.push(&[7]).is_err());
    }
}
