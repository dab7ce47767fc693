//! DER in memory: a cursor over complete elements, and a writer (X.690 §10).
//!
//! Why not a library: certificates' issuer and serial number must be copied as the bytes they are,
//! errors must name the byte of the file at hand, and the one encoder must also write a header
//! whose content follows later. What is left after that is this file.

use crate::error::{Error, Result};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The identifier octet of the primitive context-specific tag `[number]`.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// The identifier octet of the constructed context-specific tag `[number]`.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One element: identifier, contents, and the bytes of the whole.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    /// Identifier, length and contents.
    pub(crate) whole: &'a [u8],
    /// Position of the contents' first byte in the input, for errors.
    contents_at: u64,
    what: &'static str,
}

impl<'a> Element<'a> {
    /// A cursor over what the element contains.
    pub(crate) fn open(&self) -> Cursor<'a> {
        Cursor { bytes: self.contents, at: self.contents_at, what: self.what }
    }

    /// The error that something is wrong with this element.
    pub(crate) fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed { what: self.what, at: self.contents_at, why }
    }
}

/// A position in a row of DER elements. Lengths must be definite and minimal.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: u64,
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`, which lies at byte `at` of the input; `what` names the
    /// whole in errors.
    pub(crate) fn new(bytes: &'a [u8], at: u64, what: &'static str) -> Self {
        Self { bytes, at, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed { what: self.what, at: self.at, why }
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Element<'a>> {
        let (tag, header, length) = self.header()?;
        let end = header.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(self.malformed("an element is longer than what holds it"));
        };
        let (whole, rest) = self.bytes.split_at(end);
        let contents_at = self.at + header as u64;
        let element = Element { tag, contents: &whole[header..], whole, contents_at, what: self.what };
        self.bytes = rest;
        self.at += end as u64;
        Ok(element)
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>> {
        if self.peek() != Some(tag) {
            return Err(self.malformed("another element is expected here"));
        }
        self.any()
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>> {
        if self.peek() == Some(tag) { self.any().map(Some) } else { Ok(None) }
    }

    pub(crate) fn oid(&mut self) -> Result<&'a [u8]> {
        self.expect(OID).map(|element| element.contents)
    }

    /// A cursor into the next element, a SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Result<Cursor<'a>> {
        self.expect(SEQUENCE).map(|element| element.open())
    }

    /// An INTEGER between 0 and 2^63 - 1.
    pub(crate) fn unsigned(&mut self) -> Result<u64> {
        let element = self.expect(INTEGER)?;
        match element.contents {
            [] => Err(element.malformed("an integer is empty")),
            [first, ..] if first & 0x80 != 0 => Err(element.malformed("an integer is negative")),
            [0, second, ..] if second & 0x80 == 0 => Err(element.malformed("an integer has leading zeros")),
            bytes if bytes.len() > 8 => Err(element.malformed("an integer is too large")),
            bytes => Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))),
        }
    }

    /// The bytes of the next element, a BIT STRING of whole bytes.
    pub(crate) fn bit_string(&mut self) -> Result<&'a [u8]> {
        let element = self.expect(BIT_STRING)?;
        match element.contents {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(element.malformed("a bit string does not end at a byte")),
        }
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed("there is more than belongs here")) }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// Tag, length of the header, length of the contents.
    fn header(&self) -> Result<(u8, usize, usize)> {
        let too_short = || self.malformed("it ends in the middle of an element");
        let [tag, first, rest @ ..] = self.bytes else { return Err(too_short()) };
        if tag & 0x1f == 0x1f {
            return Err(self.malformed("a tag number above 30"));
        }
        let count = match first {
            0..=0x7f => return Ok((*tag, 2, usize::from(*first))),
            0x80 => return Err(self.malformed("an indefinite length where DER is required")),
            0x81..=0x84 => usize::from(first & 0x7f),
            _ => return Err(self.malformed("a length of more than four bytes")),
        };
        let bytes = rest.get(..count).ok_or_else(too_short)?;
        let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if length < 0x80 || bytes[0] == 0 {
            return Err(self.malformed("a length that is not minimal"));
        }
        Ok((*tag, 2 + count, length))
    }
}

/// How many bytes the length octets of `length` take.
pub(crate) const fn length_octets(length: u64) -> usize {
    match length {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        0x100_0000..=0xffff_ffff => 5,
        0x1_0000_0000..=0xff_ffff_ffff => 6,
        0x100_0000_0000..=0xffff_ffff_ffff => 7,
        0x1_0000_0000_0000..=0xff_ffff_ffff_ffff => 8,
        _ => 9,
    }
}

/// Appends identifier and length octets; `length` bytes of contents are to follow.
pub(crate) fn push_header(out: &mut Vec<u8>, tag: u8, length: u64) {
    out.push(tag);
    let count = length_octets(length);
    let bytes = length.to_be_bytes();
    if count > 1 {
        out.push(0x80 | u8::try_from(count - 1).expect("at most eight length octets"));
        out.extend_from_slice(&bytes[9 - count..]);
    } else {
        out.push(bytes[7]);
    }
}

/// An element of these parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    push_header(&mut out, tag, length as u64);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

pub(crate) fn oid(contents: &[u8]) -> Vec<u8> {
    element(OID, &[contents])
}

pub(crate) fn octet_string(contents: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[contents])
}

/// An INTEGER.
pub(crate) fn unsigned(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let skip = bytes.iter().take(7).take_while(|byte| **byte == 0).count();
    let sign: &[u8] = if bytes[skip] & 0x80 != 0 { &[0] } else { &[] };
    element(INTEGER, &[sign, &bytes[skip..]])
}

/// An AlgorithmIdentifier with these encoded parameters, or none.
pub(crate) fn algorithm(algorithm: &[u8], parameters: &[u8]) -> Vec<u8> {
    sequence(&[&oid(algorithm), parameters])
}

/// A SET OF these elements, in DER's order: that of their encodings (X.690 §11.6).
pub(crate) fn set_of(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    element(SET, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip_and_are_minimal() {
        for length in [0usize, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000] {
            let encoded = element(OCTET_STRING, &[&vec![0; length]]);
            assert_eq!(encoded.len(), 1 + length_octets(length as u64) + length);
            let mut cursor = Cursor::new(&encoded, 0, "test");
            assert_eq!(cursor.expect(OCTET_STRING).unwrap().contents.len(), length);
            cursor.end().unwrap();
        }
    }

    #[test]
    fn integers_round_trip() {
        for value in [0, 1, 0x7f, 0x80, 0xff, 0x100, 100_000, i64::MAX as u64] {
            assert_eq!(Cursor::new(&unsigned(value), 0, "test").unsigned().unwrap(), value);
        }
    }

    #[test]
    fn what_is_not_der_is_refused_at_its_byte() {
        let cases: &[(&[u8], u64)] = &[
            (&[], 5),
            (&[0x30], 5),
            (&[0x30, 0x80, 0, 0], 5),
            (&[0x30, 0x01], 5),
            (&[0x30, 0x81, 0x01, 0], 5),
            (&[0x30, 0x82, 0x00, 0x80], 5),
            (&[0x30, 0x85, 1, 1, 1, 1, 1], 5),
            (&[0x3f, 0x01, 0], 5),
        ];
        for (bytes, expected) in cases {
            match Cursor::new(bytes, 5, "test").any().map(|_| ()) {
                Err(Error::Malformed { at, .. }) => assert_eq!(at, *expected, "{bytes:02x?}"),
                other => panic!("{bytes:02x?}: {other:?}"),
            }
        }
    }
}
