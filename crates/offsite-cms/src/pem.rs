//! PEM blocks of keys and certificates (RFC 7468), with the headers of old private keys (RFC 1421).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{KeyError, Result};

/// One block of a PEM file.
pub(crate) struct Block {
    /// What stands behind BEGIN.
    pub(crate) label: String,
    /// `Name: value` lines.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) contents: Zeroizing<Vec<u8>>,
}

impl Block {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Every block of `text`, in order. What stands between blocks is ignored, as everywhere.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(label) = boundary(line, "BEGIN") else { continue };
        let damaged = KeyError::Pem { line: index + 1 };
        let mut headers = Vec::new();
        let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
        loop {
            let Some((_, line)) = lines.next() else { return Err(damaged.into()) };
            if let Some(end) = boundary(line, "END") {
                if end != label {
                    return Err(damaged.into());
                }
                break;
            }
            match line.iter().position(|byte| *byte == b':') {
                Some(colon) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
                    headers.push((text(&line[..colon]), text(&line[colon + 1..])));
                }
                None => base64.extend_from_slice(line),
            }
        }
        let contents = STANDARD.decode(&*base64).map_err(|_| damaged)?;
        blocks.push(Block { label, headers, contents: Zeroizing::new(contents) });
    }
    Ok(blocks)
}

/// The label of a `-----BEGIN label-----` line.
fn boundary(line: &[u8], word: &str) -> Option<String> {
    let label =
        line.strip_prefix(b"-----")?.strip_prefix(word.as_bytes())?.strip_prefix(b" ")?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}

/// A block with these contents.
pub(crate) fn encode(label: &str, contents: &[u8]) -> Zeroizing<String> {
    // Four characters for three bytes and a line feed for 64 characters: what holds a secret must
    // not be moved, or copies of it stay behind.
    let characters = contents.len().div_ceil(3) * 4;
    let mut text = Zeroizing::new(String::with_capacity(characters + characters / 64 + 2 * label.len() + 64));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in contents.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn blocks_round_trip_among_other_text() {
        let contents: Vec<u8> = (0..=255).collect();
        let text = format!("Bag Attributes\n{}junk\r\n{}", *encode("A B", &contents), *encode("C", b""));
        let found = blocks(text.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].label.as_str(), &found[0].contents[..]), ("A B", &contents[..]));
        assert_eq!((found[1].label.as_str(), found[1].contents.len()), ("C", 0));
    }

    #[test]
    fn damage_names_the_line() {
        for text in [
            "\n-----BEGIN A-----\nAAAA\n",
            "\n-----BEGIN A-----\nAAAA\n-----END B-----\n",
            "\n-----BEGIN A-----\nA=A\n-----END A-----\n",
        ] {
            match blocks(text.as_bytes()) {
                Err(Error::Key(KeyError::Pem { line })) => assert_eq!(line, 2),
                other => panic!("{text:?}: {:?}", other.map(|blocks| blocks.len())),
            }
        }
    }
}
