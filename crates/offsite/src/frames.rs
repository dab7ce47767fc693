//! Frames: pieces of a backup's stream, each one zstd frame (RFC 8878), so that frames in a row
//! are a zstd stream as well.

use std::io;

use zstd::bulk;
use zstd::zstd_safe::{self, CParameter};

/// Largest plaintext of a frame, in bytes: 32 MiB (format.md §16.1). Who decompresses a frame needs
/// as much memory.
pub const RAW: usize = 32 << 20;

/// Compresses frames. There is one for each thread: its tables are used again.
pub struct Compressor(bulk::Compressor<'static>);

impl Compressor {
    /// A new one: level 3 of zstd, with a window of all of a bundle and tables of half the usual size,
    /// which stay in a core's cache. Measured on the Linux 6.1 source in pieces of 4 MiB, that takes 12 %
    /// less time than level 3 as it is (513 against 452 MB/s), and 0.4 % more room.
    ///
    /// # Errors
    ///
    /// The library's: no memory.
    pub fn new() -> io::Result<Self> {
        let mut compressor = bulk::Compressor::new(3)?;
        for parameter in [CParameter::WindowLog(22), CParameter::HashLog(16), CParameter::ChainLog(15)] {
            compressor.set_parameter(parameter)?;
        }
        // The envelope authenticates each byte; a sum would only be compared once more.
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self(compressor))
    }

    /// Makes `raw` a frame at the end of `frames`; its length in bytes.
    ///
    /// # Errors
    ///
    /// The library's: no memory.
    pub fn compress(&mut self, raw: &[u8], frames: &mut Vec<u8>) -> io::Result<usize> {
        let start = frames.len();
        frames.reserve(zstd_safe::compress_bound(raw.len()));
        let mut end = io::Cursor::new(std::mem::take(frames));
        end.set_position(start as u64);
        let compressed = self.0.compress_to_buffer(raw, &mut end);
        *frames = end.into_inner();
        frames.truncate(start + compressed.as_ref().map_or(0, |length| *length));
        compressed
    }
}

/// Why a frame is not what an index says of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It is no zstd frame, or a damaged one.
    #[error("it is no zstd frame: {0}")]
    Damaged(io::Error),
    /// It decompresses to another length.
    #[error("a frame of {found} bytes, not {expected}")]
    Length {
        /// So many bytes, or at least so many.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// Other bytes follow it.
    #[error("more than one frame")]
    NotOne,
}

/// Decompresses frames. There is one for each thread.
pub struct Decompressor(bulk::Decompressor<'static>);

impl Decompressor {
    /// A new one.
    ///
    /// # Errors
    ///
    /// The library's: no memory.
    pub fn new() -> io::Result<Self> {
        bulk::Decompressor::new().map(Self)
    }

    /// Decompresses one frame of `raw` bytes, at most [`RAW`], into `out`, whose contents go.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub fn decompress(&mut self, frame: &[u8], raw: u64, out: &mut Vec<u8>) -> Result<(), FrameError> {
        out.clear();
        self.append(frame, raw, out)
    }

    /// Decompresses one frame of `raw` bytes, at most [`RAW`], to the end of `out`.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; `out` is then as it was.
    pub fn append(&mut self, frame: &[u8], raw: u64, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let expected = usize::try_from(raw).ok().filter(|raw| *raw <= RAW);
        let expected = expected.ok_or(FrameError::Length { found: RAW as u64, expected: raw })?;
        let length = zstd_safe::find_frame_compressed_size(frame)
            .map_err(|code| FrameError::Damaged(io::Error::other(zstd_safe::get_error_name(code))))?;
        if length != frame.len() {
            return Err(FrameError::NotOne);
        }
        let start = out.len();
        // One byte more shows a frame that goes on.
        out.reserve(expected + 1);
        let mut end = io::Cursor::new(std::mem::take(out));
        end.set_position(start as u64);
        let found = self.0.decompress_to_buffer(frame, &mut end);
        *out = end.into_inner();
        out.truncate(start + found.as_ref().map_or(0, |found| *found));
        match found.map_err(FrameError::Damaged)? {
            found if found == expected => Ok(()),
            found => {
                out.truncate(start);
                Err(FrameError::Length { found: found as u64, expected: raw })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(raw: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        Compressor::new().unwrap().compress(raw, &mut frame).unwrap();
        frame
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let mut compressor = Compressor::new().unwrap();
        let mut decompressor = Decompressor::new().unwrap();
        let raw: Vec<u8> = (0..5_000_000_u32).flat_map(|number| (number / 3).to_le_bytes()).collect();
        let mut frames = b"before".to_vec();
        let mut lengths = Vec::new();
        for length in [1, 2, 1000, raw.len(), 0] {
            lengths.push((length, compressor.compress(&raw[..length], &mut frames).unwrap()));
        }
        let mut rest = &frames[6..];
        let mut out = Vec::new();
        for (raw_length, length) in lengths {
            let (frame, after) = rest.split_at(length);
            decompressor.decompress(frame, raw_length as u64, &mut out).unwrap();
            assert!(out == raw[..raw_length]);
            rest = after;
        }
        assert!(rest.is_empty());
        assert!(zstd::stream::decode_all(&frames[6..]).unwrap().starts_with(&raw[..1]));
    }

    #[test]
    fn a_frame_is_one_and_of_the_length_that_is_said() {
        let good = frame(&[7; 1000]);
        let mut out = Vec::new();
        let mut decompress = |frame: &[u8], raw| Decompressor::new().unwrap().decompress(frame, raw, &mut out);
        decompress(&good, 1000).unwrap();
        assert!(matches!(decompress(&good, 1001), Err(FrameError::Length { found: 1000, expected: 1001 })));
        assert!(decompress(&good, 999).is_err());
        assert!(decompress(&good, u64::MAX).is_err());
        assert!(matches!(decompress(&[good.clone(), good.clone()].concat(), 1000), Err(FrameError::NotOne)));
        for length in 0..good.len() {
            assert!(decompress(&good[..length], 1000).is_err(), "the first {length} bytes");
        }
        assert!(decompress(b"no frame at all", 15).is_err());
    }
}
