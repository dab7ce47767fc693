//! The file `slices.sha256`: the size and SHA-256 of each slice that a run put, in the form that
//! `sha256sum -c` reads (format.md §13). A receipt holds its hash, and so theirs.

use std::io::{self, BufRead, Read, Write};

use crate::hashes::Sha256;

/// Largest file, in bytes: 512 MiB, as much as a slice. Some 5.4 million slices.
pub const SIZE_MAX: u64 = 512 << 20;

/// Largest slice, in bytes.
const SLICE: u64 = offsite_cms::limits::SLICE_SIZE_MAX as u64;

/// Longest line, in bytes: 64 digits, two spaces, `slice-4294967295.p7m`, the line feed.
const LINE: u64 = 64 + 2 + 20 + 1;

/// A slice as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Its number in its run.
    pub number: u32,
    /// Its length in bytes, sealed.
    pub size: u64,
    /// SHA-256 of its bytes, sealed.
    pub sha256: Sha256,
}

/// Writes the file.
pub struct Writer<W> {
    out: W,
    next: u64,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Starts it. A run that put no slice has no such file.
    pub fn new(out: W) -> Self {
        Self { out, next: 0, written: 0 }
    }

    /// Adds the next slice.
    ///
    /// # Errors
    ///
    /// Those of `out`; `FileTooLarge` beyond [`SIZE_MAX`] or the last number; `InvalidInput` for a
    /// slice that is empty or larger than slices are.
    pub fn slice(&mut self, size: u64, sha256: Sha256) -> io::Result<()> {
        let number = u32::try_from(self.next).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if !(1..=SLICE).contains(&size) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let entry = format!("# {size}\n{sha256}  slice-{number:08}.p7m\n");
        self.written += entry.len() as u64;
        if self.written > SIZE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.next += 1;
        self.out.write_all(entry.as_bytes())
    }

    /// Ends it; gives back the writer.
    pub fn end(self) -> W {
        self.out
    }
}

/// What is wrong with a file of checksums.
#[derive(Debug, thiserror::Error)]
#[error("the list of slices, line {line}: {problem}")]
pub struct Error {
    /// The line, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line of checksums.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is not formed as the line that must stand there.
    #[error("it is not formed as it must be")]
    Form,
    /// A slice is empty or larger than a slice may be.
    #[error("a slice of {0} bytes")]
    SliceSize(u64),
    /// Another slice than the next one.
    #[error("a slice is missing, or out of order")]
    Order,
    /// It ends between the lines of a slice, or before the first.
    #[error("it is cut off")]
    CutOff,
    /// It is larger than is read.
    #[error("it is longer than {SIZE_MAX} bytes")]
    TooLong,
}

/// Reads the file, a slice at a time. What it gives out is of the right form; that the file is the
/// right one only the receipt can tell.
pub struct Reader<R> {
    source: io::Take<R>,
    line: u64,
    next: u64,
}

impl<R: BufRead> Reader<R> {
    /// Starts reading.
    pub fn new(source: R) -> Self {
        Self { source: source.take(SIZE_MAX + 1), line: 0, next: 0 }
    }

    /// The next slice; None after the last.
    ///
    /// # Errors
    ///
    /// What is wrong with the line at hand; nothing after it is read.
    pub fn next_slice(&mut self) -> Result<Option<Checksum>, Error> {
        self.checked().map_err(|problem| Error { line: self.line, problem })
    }

    fn checked(&mut self) -> Result<Option<Checksum>, Problem> {
        let Some(comment) = self.line()? else {
            return if self.next == 0 { Err(Problem::CutOff) } else { Ok(None) };
        };
        let digits = comment.strip_prefix("# ").ok_or(Problem::Form)?;
        let size = digits.parse().ok().filter(|size: &u64| size.to_string() == digits).ok_or(Problem::Form)?;
        if !(1..=SLICE).contains(&size) {
            return Err(Problem::SliceSize(size));
        }
        let entry = self.line()?.ok_or(Problem::CutOff)?;
        let (hash, name) = entry.split_once("  ").ok_or(Problem::Form)?;
        let sha256 = hash.parse().map_err(|_| Problem::Form)?;
        let digits = name.strip_prefix("slice-").and_then(|name| name.strip_suffix(".p7m")).ok_or(Problem::Form)?;
        let number: u32 = digits.parse().map_err(|_| Problem::Form)?;
        if format!("{number:08}") != digits {
            return Err(Problem::Form);
        }
        if u64::from(number) != self.next {
            return Err(Problem::Order);
        }
        self.next += 1;
        Ok(Some(Checksum { number, size, sha256 }))
    }

    /// A line without its line feed; None at the end.
    fn line(&mut self) -> Result<Option<String>, Problem> {
        self.line += 1;
        let mut line = Vec::new();
        (&mut self.source).take(LINE).read_until(b'\n', &mut line)?;
        if self.source.limit() == 0 {
            return Err(Problem::TooLong);
        }
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => String::from_utf8(line).map(Some).map_err(|_| Problem::Form),
            Some(_) if line.len() as u64 + 1 == LINE => Err(Problem::Form),
            Some(_) => Err(Problem::CutOff),
        }
    }
}

/// Reads a whole file of checksums, and writes it again: the entry point of the fuzzer.
///
/// # Errors
///
/// As [`Reader::next_slice`].
pub fn rewrite(file: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut reader, mut writer) = (Reader::new(file), Writer::new(Vec::new()));
    while let Some(slice) = reader.next_slice()? {
        let line = reader.line;
        writer.slice(slice.size, slice.sha256).map_err(|error| Error { line, problem: error.into() })?;
    }
    Ok(writer.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(slices: u64) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for number in 0..slices {
            writer.slice(number * 7_000_000 + 1, Sha256::of(&number.to_be_bytes())).unwrap();
        }
        writer.end()
    }

    #[test]
    fn what_is_written_is_read() {
        let file = written(70);
        let mut reader = Reader::new(&file[..]);
        for number in 0..70_u32 {
            let expected = Checksum {
                number,
                size: u64::from(number) * 7_000_000 + 1,
                sha256: Sha256::of(&u64::from(number).to_be_bytes()),
            };
            assert_eq!(reader.next_slice().unwrap(), Some(expected));
        }
        assert_eq!(reader.next_slice().unwrap(), None);
        assert_eq!(rewrite(&file).unwrap(), file);
        let first = format!("# 1\n{}  slice-00000000.p7m\n", Sha256::of(&[0; 8]));
        assert!(file.starts_with(first.as_bytes()));
    }

    #[test]
    fn a_file_cut_within_a_slice_is_refused() {
        let file = written(3);
        let mut whole = 0;
        for length in 0..file.len() {
            match rewrite(&file[..length]) {
                // Between two slices only the receipt can tell.
                Ok(again) => {
                    assert!(again == file[..length]);
                    whole += 1;
                }
                Err(Error { problem: Problem::CutOff, .. }) => {}
                Err(error) => panic!("the first {length} bytes: {error}"),
            }
        }
        assert_eq!(whole, 2);
    }

    #[test]
    fn every_way_to_be_wrong_is_an_error_at_its_line() {
        let hash = "ab".repeat(32);
        let slice = |number: u32| format!("# 5\n{hash}  slice-{number:08}.p7m\n");
        let good = slice(0);
        let cases = [
            (String::new(), 1, "cut off"),
            ("\n".to_owned(), 1, "formed"),
            (good.replace("# 5", "#5"), 1, "formed"),
            (good.replace("# 5", "# 05"), 1, "formed"),
            (good.replace("# 5", "# +5"), 1, "formed"),
            (good.replace("# 5", "# 5 "), 1, "formed"),
            (good.replace("# 5", "# 5\r"), 1, "formed"),
            (good.replace("# 5", "# 18446744073709551616"), 1, "formed"),
            (good.replace("# 5", "# 0"), 1, "slice of 0 bytes"),
            (good.replace("# 5", "# 536870913"), 1, "slice of 536870913 bytes"),
            ("# 5\n".to_owned(), 2, "cut off"),
            (good.replace("# 5\n", ""), 1, "formed"),
            (good.replace("  ", " "), 2, "formed"),
            (good.replace("  ", " *"), 2, "formed"),
            (good.replace("abab", "ABAB"), 2, "formed"),
            (good.replace("ab  ", "  "), 2, "formed"),
            (good.replace("slice-0", "slice-+"), 2, "formed"),
            (good.replace("slice-0", "slice-"), 2, "formed"),
            (good.replace("slice-0", "slice-00"), 2, "formed"),
            (good.replace("slice-0", "../slice-0"), 2, "formed"),
            (good.replace("p7m", "p7m\0"), 2, "formed"),
            (good.replace("slice-00000000", "slice-4294967296"), 2, "formed"),
            (good.replace("# 5", &format!("# 5{}", " ".repeat(1000))), 1, "formed"),
            (slice(1), 2, "out of order"),
            (slice(0) + &slice(0), 4, "out of order"),
            (slice(0) + &slice(2), 4, "out of order"),
            (slice(0) + "\n", 3, "formed"),
            (slice(0) + "# 5\n# 5\n", 4, "formed"),
        ];
        for (file, line, problem) in cases {
            match rewrite(file.as_bytes()) {
                Err(error) => {
                    assert_eq!(error.line, line, "{file:?}: {error}");
                    assert!(error.to_string().contains(problem), "{file:?}: {error}");
                }
                Ok(_) => panic!("{file:?} is accepted"),
            }
        }
        assert!(rewrite(b"# 5\n\xff\n").is_err());
    }

    #[test]
    fn the_writer_keeps_to_the_limits() {
        let hash = Sha256::of(b"");
        for size in [0, SLICE + 1] {
            let refused = Writer::new(io::sink()).slice(size, hash).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        let mut full = Writer { out: io::sink(), next: 1 << 32, written: 0 };
        assert_eq!(full.slice(1, hash).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let mut full = Writer { out: io::sink(), next: 0, written: SIZE_MAX };
        assert_eq!(full.slice(1, hash).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn an_endless_file_is_read_to_the_limit_only() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                unreachable!("it is a BufRead")
            }
        }
        impl BufRead for Endless {
            fn fill_buf(&mut self) -> io::Result<&[u8]> {
                Ok(b"# 1111")
            }
            fn consume(&mut self, count: usize) {
                self.0 += count as u64;
            }
        }
        let mut endless = Endless(0);
        assert!(matches!(Reader::new(&mut endless).next_slice(), Err(Error { line: 1, problem: Problem::Form })));
        assert!(endless.0 <= LINE);
    }
}
