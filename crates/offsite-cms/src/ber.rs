//! BER as a stream: elements of definite or indefinite length, content of any size, in constant
//! memory (X.690 §8.1).
//!
//! Why not a library: none reads an element without holding it whole.

use std::io::{ErrorKind, Read};

use crate::der;
use crate::error::{Error, Result};
use crate::limits;

/// Reads elements from `source`. Open elements are a stack: what is read next lies within the
/// innermost, and an element that claims to be longer than what holds it is an error at once.
pub(crate) struct BerReader<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What `buffer[start..end]` holds is read from the source and not yet consumed.
    start: usize,
    end: usize,
    /// Bytes consumed.
    position: u64,
    /// End of each open element, by position; None where its length is indefinite.
    open: Vec<Option<u64>>,
    /// The bytes consumed so far, while they are wanted.
    record: Option<Vec<u8>>,
}

/// What the identifier and length octets say.
#[derive(Clone, Copy)]
struct Header {
    tag: u8,
    length: Option<u64>,
}

/// How far an element that is read whole may reach.
#[derive(Clone, Copy)]
struct Limit {
    /// By position.
    end: u64,
    /// In bytes, for the error.
    bytes: usize,
}

impl Limit {
    fn check(self, position: u64, what: &'static str) -> Result<()> {
        if position > self.end { Err(Error::TooLarge { what, limit: self.bytes as u64 }) } else { Ok(()) }
    }
}

impl Header {
    const fn is_constructed(self) -> bool {
        self.tag & 0x20 != 0
    }
}

impl<R: Read> BerReader<R> {
    /// Starts recording what is consumed, until [`BerReader::stop_recording`].
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; 64 << 10].into_boxed_slice(),
            start: 0,
            end: 0,
            position: 0,
            open: Vec::new(),
            record: Some(Vec::new()),
        }
    }

    /// Bytes consumed so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Ends the recording, which would grow with the content.
    pub(crate) fn stop_recording(&mut self) {
        self.record = None;
    }

    /// What is consumed since the start, what is read ahead, and the source behind it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, R) {
        let mut bytes = self.record.unwrap_or_default();
        bytes.extend_from_slice(&self.buffer[self.start..self.end]);
        (bytes, self.source)
    }

    /// Whether the innermost open element, or the input, ends here.
    pub(crate) fn at_end(&mut self, what: &'static str) -> Result<bool> {
        match self.open.last() {
            None => self.fill(1).map(|available| available == 0),
            Some(Some(end)) => Ok(self.position == *end),
            Some(None) => Ok(self.need(2, what)? == [0, 0]),
        }
    }

    /// The next element's tag, or None at the end of the innermost open element.
    pub(crate) fn peek(&mut self, what: &'static str) -> Result<Option<u8>> {
        if self.at_end(what)? {
            return Ok(None);
        }
        Ok(Some(self.need(1, what)?[0]))
    }

    /// Opens the next element, which must be constructed and have this tag.
    pub(crate) fn enter(&mut self, tag: u8, what: &'static str) -> Result<()> {
        if self.peek(what)? != Some(tag) {
            return Err(self.malformed(what, "another element is expected here"));
        }
        let header = self.header(what)?;
        self.push(header, what)
    }

    /// Closes the innermost open element, which must end here.
    pub(crate) fn leave(&mut self, what: &'static str) -> Result<()> {
        if !self.at_end(what)? {
            return Err(self.malformed(what, "there is more than belongs here"));
        }
        if let Some(None) = self.open.pop() {
            self.consume(2);
        }
        Ok(())
    }

    /// The next element whole, as DER, from at most `limit` bytes. Indefinite lengths become
    /// definite, lengths minimal, and strings in pieces whole.
    ///
    /// What is consumed counts, not what comes of it: empty pieces come to nothing, and there may
    /// be no end of them.
    pub(crate) fn element(&mut self, limit: usize, what: &'static str) -> Result<Vec<u8>> {
        let depth = self.open.len();
        let limit = Limit { end: self.position.saturating_add(limit as u64), bytes: limit };
        let header = self.header(what)?;
        let mut out = Vec::new();
        self.element_contents(header, limit, what, &mut out)?;
        debug_assert_eq!(self.open.len(), depth);
        Ok(out)
    }

    /// Appends the element that `header` begins to `out`.
    fn element_contents(&mut self, header: Header, limit: Limit, what: &'static str, out: &mut Vec<u8>) -> Result<()> {
        limit.check(self.position, what)?;
        let mut contents = Vec::new();
        // A BIT STRING in pieces (0x23) is written by nobody and stays as it is, so it fails later.
        let string_in_pieces = header.tag == der::OCTET_STRING | 0x20;
        if header.is_constructed() {
            self.push(header, what)?;
            while !self.at_end(what)? {
                let inner = self.header(what)?;
                if string_in_pieces && inner.tag & !0x20 != der::OCTET_STRING {
                    return Err(self.malformed(what, "a string in pieces holds something else"));
                }
                let from = contents.len();
                self.element_contents(inner, limit, what, &mut contents)?;
                if string_in_pieces {
                    let piece = der::Cursor::new(&contents[from..], self.position, what).any()?;
                    let header_length = piece.whole.len() - piece.contents.len();
                    contents.drain(from..from + header_length);
                }
            }
            self.leave(what)?;
        } else {
            let length =
                header.length.ok_or_else(|| self.malformed(what, "a primitive element of indefinite length"))?;
            limit.check(self.position.saturating_add(length), what)?;
            self.check_within(length, what)?;
            self.read_exact(length, what, &mut contents)?;
        }
        let tag = if string_in_pieces { der::OCTET_STRING } else { header.tag };
        der::push_header(out, tag, contents.len() as u64);
        out.append(&mut contents);
        Ok(())
    }

    /// Consumes identifier and length octets.
    fn header(&mut self, what: &'static str) -> Result<Header> {
        let [tag, first] = *self.need(2, what)? else { unreachable!("two bytes were asked for") };
        if tag & 0x1f == 0x1f {
            return Err(self.malformed(what, "a tag number above 30"));
        }
        if tag == 0 {
            return Err(self.malformed(what, "an end where an element is expected"));
        }
        let (count, length) = match first {
            0..=0x7f => (0, Some(u64::from(first))),
            0x80 => (0, None),
            0x81..=0x88 => {
                let count = usize::from(first & 0x7f);
                let bytes = &self.need(2 + count, what)?[2..];
                (count, Some(bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))))
            }
            _ => return Err(self.malformed(what, "a length of more than eight bytes")),
        };
        let header = Header { tag, length };
        if length.is_none() && !header.is_constructed() {
            return Err(self.malformed(what, "a primitive element of indefinite length"));
        }
        self.consume(2 + count);
        Ok(header)
    }

    /// Makes a constructed element the innermost open one.
    fn push(&mut self, header: Header, what: &'static str) -> Result<()> {
        if self.open.len() == limits::BER_DEPTH {
            return Err(self.malformed(what, "elements are nested too deeply"));
        }
        let end = match header.length {
            None => None,
            Some(length) => Some(self.check_within(length, what)?),
        };
        self.open.push(end);
        Ok(())
    }

    /// The position `length` bytes on, which must lie within every open element.
    fn check_within(&self, length: u64, what: &'static str) -> Result<u64> {
        let end = self.position.checked_add(length);
        let bound = self.open.iter().rev().find_map(|end| *end).unwrap_or(u64::MAX);
        end.filter(|end| *end <= bound).ok_or_else(|| self.malformed(what, "an element is longer than what holds it"))
    }

    fn malformed(&self, what: &'static str, why: &'static str) -> Error {
        Error::Malformed { what, at: self.position, why }
    }

    /// The next `count` bytes, not consumed. Within an element of definite length they may lie
    /// beyond its end; the checks on lengths find that.
    fn need(&mut self, count: usize, what: &'static str) -> Result<&[u8]> {
        if self.fill(count)? < count {
            let at = self.position + (self.end - self.start) as u64;
            return Err(Error::Truncated { what, at });
        }
        Ok(&self.buffer[self.start..self.start + count])
    }

    /// Reads until `count` bytes are buffered or the source ends; how many there are.
    fn fill(&mut self, count: usize) -> Result<usize> {
        debug_assert!(count <= self.buffer.len());
        while self.end - self.start < count {
            if self.buffer.len() - self.start < count {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            match read(&mut self.source, &mut self.buffer[self.end..])? {
                0 => break,
                count => self.end += count,
            }
        }
        Ok(self.end - self.start)
    }

    fn consume(&mut self, count: usize) {
        let bytes = &self.buffer[self.start..self.start + count];
        if let Some(record) = &mut self.record {
            record.extend_from_slice(bytes);
        }
        self.start += count;
        self.position += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Appends `length` bytes; memory is taken as they arrive, not as the length claims.
    fn read_exact(&mut self, length: u64, what: &'static str, out: &mut Vec<u8>) -> Result<()> {
        let mut left = length;
        while left > 0 {
            self.need(1, what)?;
            let available = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.start);
            out.extend_from_slice(&self.buffer[self.start..self.start + available]);
            self.consume(available);
            left -= available as u64;
        }
        Ok(())
    }

    /// Up to `out.len()` bytes; 0 only at the end of the input. Large reads skip the buffer.
    fn read_some(&mut self, out: &mut [u8], what: &'static str) -> Result<usize> {
        let buffered = self.end - self.start;
        let count = if buffered == 0 && out.len() >= self.buffer.len() {
            let count = read(&mut self.source, out)?;
            if let Some(record) = &mut self.record {
                record.extend_from_slice(&out[..count]);
            }
            self.position += count as u64;
            count
        } else {
            let available = self.fill(1)?.min(out.len());
            out[..available].copy_from_slice(&self.buffer[self.start..self.start + available]);
            self.consume(available);
            available
        };
        if count == 0 {
            return Err(Error::Truncated { what, at: self.position });
        }
        Ok(count)
    }
}

/// The octets of a string of any length, primitive or in pieces: `[tag] IMPLICIT OCTET STRING`.
pub(crate) struct StringReader {
    /// Number of open elements around the string.
    depth: usize,
    /// Octets left of the current piece.
    piece: u64,
    what: &'static str,
    /// The string's length where one length says it.
    pub(crate) length: Option<u64>,
}

impl StringReader {
    /// Starts at the next element of `ber`, whose tag, but for the bit that says 'constructed', is
    /// `tag`.
    pub(crate) fn open<R: Read>(ber: &mut BerReader<R>, tag: u8, what: &'static str) -> Result<Self> {
        if ber.peek(what)?.map(|found| found & !0x20) != Some(tag) {
            return Err(ber.malformed(what, "another element is expected here"));
        }
        let header = ber.header(what)?;
        let depth = ber.open.len();
        if header.is_constructed() {
            ber.push(header, what)?;
            return Ok(Self { depth, piece: 0, what, length: None });
        }
        let length = header.length.ok_or_else(|| ber.malformed(what, "a primitive element of indefinite length"))?;
        ber.check_within(length, what)?;
        Ok(Self { depth, piece: length, what, length: Some(length) })
    }

    /// Fills `out` as far as the string goes; less than its length only at the string's end.
    pub(crate) fn fill<R: Read>(&mut self, ber: &mut BerReader<R>, out: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < out.len() && (self.piece > 0 || self.next_piece(ber)?) {
            let wanted = usize::try_from(self.piece).unwrap_or(usize::MAX).min(out.len() - filled);
            let count = ber.read_some(&mut out[filled..filled + wanted], self.what)?;
            self.piece -= count as u64;
            filled += count;
        }
        Ok(filled)
    }

    /// Moves on to the next piece that is not empty; false at the end of the string.
    fn next_piece<R: Read>(&mut self, ber: &mut BerReader<R>) -> Result<bool> {
        while ber.open.len() > self.depth {
            if ber.at_end(self.what)? {
                ber.leave(self.what)?;
                continue;
            }
            let header = ber.header(self.what)?;
            if header.tag & !0x20 != der::OCTET_STRING {
                return Err(ber.malformed(self.what, "a string in pieces holds something else"));
            }
            if header.is_constructed() {
                ber.push(header, self.what)?;
                continue;
            }
            let length = header.length.unwrap_or_default();
            ber.check_within(length, self.what)?;
            if length > 0 {
                self.piece = length;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// One read, again when a signal interrupts it.
pub(crate) fn read(source: &mut impl Read, out: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(out) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.map_err(armour_or_read),
        }
    }
}

/// Fills `out` as far as the source goes.
pub(crate) fn read_full(source: &mut impl Read, out: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match read(source, &mut out[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Armour is taken off below [`Read`], so its errors arrive as I/O errors.
fn armour_or_read(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that begins with `start` and repeats `unit` for ever.
    fn endless(start: &'static [u8], unit: &'static [u8]) -> impl Read {
        struct Repeat(&'static [u8], usize);
        impl Read for Repeat {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                for byte in out.iter_mut() {
                    *byte = self.0[self.1];
                    self.1 = (self.1 + 1) % self.0.len();
                }
                Ok(out.len())
            }
        }
        start.chain(Repeat(unit, 0))
    }

    #[test]
    fn what_has_no_end_ends_at_the_limit() {
        let cases: [(&[u8], &[u8]); 5] = [
            (&[0x24, 0x80], &[0x04, 0x00]),
            (&[0x30, 0x80], &[0x05, 0x00]),
            (&[0x30, 0x80], &[0x30, 0x80, 0x00, 0x00]),
            (&[0x24, 0x80, 0x24, 0x80], &[0x04, 0x00]),
            (&[0x04, 0x84, 0x7f, 0xff, 0xff, 0xff], &[0x00]),
        ];
        for (start, unit) in cases {
            let mut ber = BerReader::new(endless(start, unit));
            let end = ber.element(1000, "test");
            assert!(matches!(end, Err(Error::TooLarge { limit: 1000, .. })), "{start:02x?}: {end:?}");
            assert!(ber.position() <= 1006, "{start:02x?}: {} bytes consumed", ber.position());
        }
    }

    #[test]
    fn an_element_becomes_der() {
        let cases: [(&[u8], &[u8]); 4] = [
            (&[0x30, 0x80, 0x02, 0x81, 0x01, 0x05, 0x00, 0x00], &[0x30, 0x03, 0x02, 0x01, 0x05]),
            (&[0x24, 0x80, 0x04, 0x01, 0xaa, 0x24, 0x03, 0x04, 0x01, 0xbb, 0x00, 0x00], &[0x04, 0x02, 0xaa, 0xbb]),
            (&[0x31, 0x84, 0x00, 0x00, 0x00, 0x00], &[0x31, 0x00]),
            (&[0xa0, 0x80, 0x30, 0x80, 0x00, 0x00, 0x00, 0x00], &[0xa0, 0x02, 0x30, 0x00]),
        ];
        for (encoded, der) in cases {
            let mut ber = BerReader::new(encoded);
            assert_eq!(ber.element(encoded.len(), "test").unwrap(), der, "{encoded:02x?}");
            assert!(ber.at_end("test").unwrap());
            assert!(BerReader::new(encoded).element(1, "test").is_err(), "{encoded:02x?}");
        }
    }
}
