//! DER into a tree and back, independent of the library's own reader and writer.

use std::ops::Range;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// An element, or what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Primitive(u8, Vec<u8>),
    Constructed(u8, Vec<Element>),
    /// Bytes as they are: for what is no DER.
    Raw(Vec<u8>),
}

impl Element {
    /// The one element that `bytes` are.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut elements = elements(bytes);
        assert_eq!(elements.len(), 1, "one element");
        let whole = elements.remove(0);
        let (tag, contents) = (whole[0], &whole[header(whole).0..]);
        if tag & 0x20 == 0 {
            Self::Primitive(tag, contents.to_vec())
        } else {
            Self::Constructed(tag, self::elements(contents).into_iter().map(Self::parse).collect())
        }
    }

    /// DER.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.clone(),
            Self::Primitive(tag, contents) => element(*tag, contents),
            Self::Constructed(tag, inner) => {
                element(*tag, &inner.iter().map(Self::encode).collect::<Vec<_>>().concat())
            }
        }
    }

    /// BER with indefinite lengths wherever they are possible.
    pub(crate) fn encode_indefinite(&self) -> Vec<u8> {
        match self {
            Self::Constructed(tag, inner) => {
                let contents = inner.iter().map(Self::encode_indefinite).collect::<Vec<_>>().concat();
                [&[*tag, 0x80], &contents[..], &[0, 0]].concat()
            }
            other => other.encode(),
        }
    }

    /// The element that `path` leads to, by the number of the child at each level.
    pub(crate) fn at(&mut self, path: &[usize]) -> &mut Self {
        path.iter().fold(self, |element, number| &mut element.children()[*number])
    }

    pub(crate) fn children(&mut self) -> &mut Vec<Self> {
        match self {
            Self::Constructed(_, inner) => inner,
            other => panic!("no children in {other:02x?}"),
        }
    }

    /// Removes the last child.
    pub(crate) fn drop_child(&mut self) {
        self.children().pop().expect("a child");
    }

    /// Removes the last byte.
    pub(crate) fn drop_byte(&mut self) {
        self.contents().pop().expect("a byte");
    }

    pub(crate) fn contents(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Primitive(_, contents) | Self::Raw(contents) => contents,
            Self::Constructed(..) => panic!("a constructed element has children"),
        }
    }
}

/// Where an element lies among the bytes of a message.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) path: Vec<usize>,
    pub(crate) whole: Range<usize>,
    /// The length octets.
    pub(crate) length: Range<usize>,
    pub(crate) contents: Range<usize>,
}

/// Every element of `message`, outer ones first.
pub(crate) fn spans(message: &[u8]) -> Vec<Span> {
    fn walk(message: &[u8], within: Range<usize>, path: &[usize], out: &mut Vec<Span>) {
        let mut at = within.start;
        for (number, whole) in elements(&message[within]).into_iter().enumerate() {
            let (header, length) = header(whole);
            let path = [path, &[number]].concat();
            let contents = at + header..at + header + length;
            out.push(Span {
                path: path.clone(),
                whole: at..contents.end,
                length: at + 1..at + header,
                contents: contents.clone(),
            });
            at = contents.end;
            if whole[0] & 0x20 != 0 {
                walk(message, contents, &path, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(message, 0..message.len(), &[], &mut out);
    // The outermost element is the only one at its level, so that its number says nothing.
    for span in &mut out {
        span.path.remove(0);
    }
    out
}

/// Where the element lies that `path` leads to.
pub(crate) fn span(message: &[u8], path: &[usize]) -> Span {
    let found = spans(message).into_iter().find(|span| span.path == path);
    found.unwrap_or_else(|| panic!("no element {path:?}"))
}

/// The elements that stand in a row.
pub(crate) fn elements(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = header(bytes);
        let (element, rest) = bytes.split_at(header + length);
        found.push(element);
        bytes = rest;
    }
    found
}

/// Length of the header and of the contents.
fn header(bytes: &[u8]) -> (usize, usize) {
    assert!(bytes[0] & 0x1f != 0x1f, "only tag numbers below 31");
    match usize::from(bytes[1]) {
        length @ 0..=0x7f => (2, length),
        first => {
            let count = first & 0x7f;
            assert!((1..=8).contains(&count), "only definite lengths");
            (2 + count, bytes[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    }
}

/// Identifier, length and contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let skip = length.iter().take(7).take_while(|byte| **byte == 0).count();
    let octets = &length[skip..];
    let mut out = vec![tag];
    if contents.len() > 0x7f {
        out.push(0x80 | u8::try_from(octets.len()).expect("eight at most"));
    }
    out.extend_from_slice(octets);
    out.extend_from_slice(contents);
    out
}

pub(crate) fn sequence(children: Vec<Element>) -> Element {
    Element::Constructed(SEQUENCE, children)
}

pub(crate) fn set(children: Vec<Element>) -> Element {
    Element::Constructed(SET, children)
}

/// `[number]`, constructed.
pub(crate) fn tagged(number: u8, children: Vec<Element>) -> Element {
    Element::Constructed(0xa0 | number, children)
}

pub(crate) fn oid(contents: &[u8]) -> Element {
    Element::Primitive(OID, contents.to_vec())
}

pub(crate) fn octets(contents: &[u8]) -> Element {
    Element::Primitive(OCTET_STRING, contents.to_vec())
}

pub(crate) fn integer(value: u8) -> Element {
    assert!(value < 0x80, "one byte");
    Element::Primitive(INTEGER, vec![value])
}
