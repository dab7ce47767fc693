//! PEM (RFC 7468) and S/MIME (RFC 8551 §3.3) around a message: recognised, and taken off as it
//! streams by.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::ber;
use crate::error::{Error, Result};

/// Longest line of a MIME header or PEM boundary, in bytes; RFC 5322 §2.1.1 allows 998.
const LINE: u64 = 4096;

/// Most lines before the base64 begins.
const LINES: u64 = 100;

/// A message's DER or BER, whatever it came in.
pub(crate) struct Unarmoured {
    pub(crate) reader: Box<dyn Read + Send>,
    /// Whether armour was taken off.
    pub(crate) armoured: bool,
}

/// Looks at the first bytes of `source` and takes off what armour there is.
pub(crate) fn take_off(mut source: Box<dyn Read + Send>) -> Result<Unarmoured> {
    let mut start = [0; 64];
    let count = ber::read_full(&mut source, &mut start)?;
    let start = &start[..count];
    let source: Box<dyn Read + Send> = Box::new(Cursor::new(start.to_vec()).chain(source));
    // DER begins with a SEQUENCE's tag, which is the character '0', and a length.
    let text = start.trim_ascii_start().first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
    if !text {
        return Ok(Unarmoured { reader: source, armoured: false });
    }
    if let Some(why) = other_format(start) {
        return Err(Error::NotCms { why });
    }
    let mut lines = BufReader::with_capacity(64 << 10, source);
    let (line, pem) = skip_headers(&mut lines)?;
    let reader = Box::new(Base64Reader {
        source: lines,
        line,
        pem,
        digits: Vec::new(),
        decoded: Vec::new(),
        taken: 0,
        ended: false,
        padded: false,
    });
    Ok(Unarmoured { reader, armoured: true })
}

/// What people try to decrypt that is no CMS message.
fn other_format(start: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 5] = [
        (b"age-encryption.org/", "it is encrypted by age"),
        (b"-----BEGIN AGE ENCRYPTED FILE", "it is encrypted by age"),
        (b"-----BEGIN PGP MESSAGE", "it is encrypted by OpenPGP"),
        (b"Salted__", "it is encrypted by a passphrase, with `openssl enc`"),
        (b"-----BEGIN CERTIFICATE", "it is a certificate"),
    ];
    FORMATS.into_iter().find(|(prefix, _)| start.starts_with(prefix)).map(|(_, why)| why)
}

/// Reads up to the base64. The number of lines read, and whether it is PEM.
fn skip_headers(lines: &mut impl BufRead) -> Result<(u64, bool)> {
    let mut any_header = false;
    for number in 1..=LINES {
        let mut line = Vec::new();
        io::Read::take(&mut *lines, LINE).read_until(b'\n', &mut line).map_err(Error::Read)?;
        let text = line.trim_ascii();
        if line.is_empty() {
            break;
        } else if text.is_empty() && any_header {
            return Ok((number, false));
        } else if text.starts_with(b"-----BEGIN ") && !any_header {
            if text.windows(11).any(|window| window == b"PRIVATE KEY") {
                return Err(Error::NotCms { why: "it is a private key" });
            }
            return Ok((number, true));
        } else if text.to_ascii_lowercase().starts_with(b"content-transfer-encoding:")
            && !text.to_ascii_lowercase().ends_with(b"base64")
        {
            return Err(Error::Armour { why: "a content-transfer-encoding other than base64", line: number });
        } else if text.contains(&b':') || line.starts_with(b" ") || line.starts_with(b"\t") {
            any_header = true;
        } else if !text.is_empty() {
            break;
        }
    }
    Err(Error::NotCms { why: "it begins with neither DER, PEM nor S/MIME headers" })
}

/// Decodes base64 up to the END line of PEM, or the end of S/MIME.
struct Base64Reader<R> {
    source: BufReader<R>,
    line: u64,
    pem: bool,
    /// Digits not yet decoded: fewer than four between reads.
    digits: Vec<u8>,
    decoded: Vec<u8>,
    /// How much of `decoded` is read.
    taken: usize,
    ended: bool,
    /// Whether what was decoded last ended with padding.
    padded: bool,
}

impl<R: Read> Read for Base64Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.decoded.len() && !self.ended {
            self.decode()?;
        }
        let count = out.len().min(self.decoded.len() - self.taken);
        out[..count].copy_from_slice(&self.decoded[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl<R: Read> Base64Reader<R> {
    fn damaged(&self, why: &'static str) -> io::Error {
        io::Error::other(Error::Armour { why, line: self.line })
    }

    /// Replaces what is decoded, and read, by what the next buffer of text holds.
    fn decode(&mut self) -> io::Result<()> {
        let text = self.source.fill_buf()?;
        let mut length = text.len();
        let mut boundary = false;
        if text.is_empty() {
            self.ended = true;
        }
        for (index, byte) in text.iter().enumerate() {
            match byte {
                b'\n' => self.line += 1,
                b'\r' | b' ' | b'\t' => {}
                b'-' => {
                    (length, boundary) = (index, true);
                    break;
                }
                digit => self.digits.push(*digit),
            }
        }
        self.source.consume(length);
        if boundary {
            self.end_line()?;
            self.ended = true;
        } else if self.ended && self.pem {
            return Err(self.damaged("the END line is missing"));
        }
        let whole = self.digits.len() / 4 * 4;
        if self.ended && whole < self.digits.len() {
            return Err(self.damaged("the base64 is cut off"));
        }
        if self.padded && whole > 0 {
            return Err(self.damaged("something follows the base64's padding"));
        }
        self.padded |= whole > 0 && self.digits[whole - 1] == b'=';
        self.decoded.clear();
        self.taken = 0;
        STANDARD.decode_vec(&self.digits[..whole], &mut self.decoded).map_err(|_| self.damaged("it is not base64"))?;
        self.digits.drain(..whole);
        Ok(())
    }

    /// Reads the END line and what follows, which may only be space.
    fn end_line(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        io::Read::take(&mut self.source, LINE).read_until(b'\n', &mut line)?;
        if !self.pem || !line.starts_with(b"-----END ") {
            return Err(self.damaged("a line that is neither base64 nor the END line"));
        }
        loop {
            // An interrupt must not reach the caller, who would begin anew, after the END line.
            let rest = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                rest => rest?,
            };
            if rest.is_empty() {
                return Ok(());
            }
            if rest.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Err(self.damaged("something follows the END line"));
            }
            let length = rest.len();
            self.source.consume(length);
        }
    }
}
