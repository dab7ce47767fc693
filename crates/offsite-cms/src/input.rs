//! Where bytes come from: a file that can be read at any place, or a stream.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ber;
use crate::error::{Error, Result};

/// The input of an operation.
pub enum Input {
    /// A regular file, from its current position: it is read at several places at once, and again
    /// where that is needed.
    File(File),
    /// Anything else.
    Stream(Box<dyn Read + Send>),
}

impl Input {
    /// Reads from a file at its current position if it is a regular one, else as a stream.
    ///
    /// # Errors
    ///
    /// Where the file's kind cannot be told.
    pub fn from_file(file: File) -> io::Result<Self> {
        if file.metadata()?.is_file() { Ok(Self::File(file)) } else { Ok(Self::Stream(Box::new(file))) }
    }

    /// A reader from the start.
    ///
    /// # Errors
    ///
    /// Where a file's position cannot be told.
    pub fn into_reader(self) -> Result<Box<dyn Read + Send>> {
        Ok(match self.open()? {
            OpenInput::File(file) => Box::new(file.reader(0)),
            OpenInput::Stream(source) => source,
        })
    }

    pub(crate) fn open(self) -> Result<OpenInput> {
        Ok(match self {
            Self::File(mut file) => {
                let start = io::Seek::stream_position(&mut file).map_err(Error::Read)?;
                OpenInput::File(FileInput { file: Arc::new(file), start })
            }
            Self::Stream(stream) => OpenInput::Stream(stream),
        })
    }
}

pub(crate) enum OpenInput {
    File(FileInput),
    Stream(Box<dyn Read + Send>),
}

/// A file, from `start` on.
#[derive(Clone)]
pub(crate) struct FileInput {
    file: Arc<File>,
    start: u64,
}

impl FileInput {
    /// A reader of its own, from byte `position` on.
    pub(crate) fn reader(&self, position: u64) -> FileReader {
        FileReader { input: self.clone(), position }
    }
}

pub(crate) struct FileReader {
    input: FileInput,
    position: u64,
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.file.read_at(out, self.input.start + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// An input as a row of pieces of equal length, but for the last: those of a stream are read one
/// after another, those of a file side by side.
pub(crate) struct Pieces {
    input: OpenInput,
    /// Length of every piece but the last, in bytes.
    length: usize,
    /// The byte of a stream that told that the piece before was not the last.
    ahead: Option<u8>,
    /// Set once the last piece is read.
    ended: Arc<AtomicBool>,
}

/// What is read of a piece.
#[derive(Clone, Copy, Default)]
pub(crate) struct Piece {
    pub(crate) length: usize,
    pub(crate) last: bool,
}

/// A piece that is read, or a file's that can be.
pub(crate) enum Fetched {
    Read(Piece),
    At { file: FileInput, position: u64, ended: Arc<AtomicBool> },
}

impl Pieces {
    pub(crate) fn new(input: OpenInput, length: usize) -> Self {
        Self { input, length, ahead: None, ended: Arc::default() }
    }

    /// Piece `number`, the next one, or None after the last. `out` is a byte longer than a piece:
    /// if that byte is there, the piece is not the last.
    pub(crate) fn fetch(&mut self, number: u64, out: &mut [u8]) -> Result<Option<Fetched>> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let source = match &mut self.input {
            OpenInput::File(file) => {
                let position = number * self.length as u64;
                return Ok(Some(Fetched::At { file: file.clone(), position, ended: self.ended.clone() }));
            }
            OpenInput::Stream(source) => source,
        };
        let kept = usize::from(self.ahead.is_some());
        if let Some(byte) = self.ahead.take() {
            out[0] = byte;
        }
        let count = kept + ber::read_full(source, &mut out[kept..=self.length])?;
        if count > self.length {
            self.ahead = Some(out[self.length]);
        }
        Ok(Some(Fetched::Read(Piece::of(count, self.length, &self.ended))))
    }
}

impl Fetched {
    /// Reads a file's piece; `out` as for [`Pieces::fetch`], and no longer.
    pub(crate) fn read(self, out: &mut [u8]) -> Result<Piece> {
        match self {
            Self::Read(piece) => Ok(piece),
            Self::At { file, position, ended } => {
                let count = ber::read_full(&mut file.reader(position), out)?;
                if count == 0 && position > 0 && !ended.load(Ordering::Relaxed) {
                    let shrank =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read");
                    return Err(Error::Read(shrank));
                }
                Ok(Piece::of(count, out.len() - 1, &ended))
            }
        }
    }
}

impl Piece {
    fn of(count: usize, length: usize, ended: &AtomicBool) -> Self {
        let last = count <= length;
        if last {
            ended.store(true, Ordering::Relaxed);
        }
        Self { length: count.min(length), last }
    }
}
