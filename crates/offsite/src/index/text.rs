//! Names as text: UTF-8, with all other bytes and `%` as `%XX`; and that text in JSON. A name has
//! one text, and a text that is no name's is refused (format.md §12.2).

use std::fmt::Write as _;

/// A name of any bytes as text: what is not UTF-8, and `%`, as `%` and two upper-case hexadecimal
/// digits.
#[must_use]
pub fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for (number, part) in chunk.valid().split('%').enumerate() {
            text.push_str(if number > 0 { "%25" } else { "" });
            text.push_str(part);
        }
        for byte in chunk.invalid() {
            write!(text, "%{byte:02X}").expect("a String takes every text");
        }
    }
    text
}

/// Appends a name as a string of JSON.
pub(super) fn push_string(name: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    for chunk in name.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(plain) = rest.iter().position(|byte| is_special(*byte)) {
            out.extend_from_slice(&rest[..plain]);
            let byte = rest[plain];
            rest = &rest[plain + 1..];
            match byte {
                b'%' => out.extend_from_slice(b"%25"),
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0x08 => out.extend_from_slice(b"\\b"),
                0x09 => out.extend_from_slice(b"\\t"),
                0x0a => out.extend_from_slice(b"\\n"),
                0x0c => out.extend_from_slice(b"\\f"),
                0x0d => out.extend_from_slice(b"\\r"),
                _ => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
            }
        }
        out.extend_from_slice(rest);
        for byte in chunk.invalid() {
            out.extend_from_slice(&[b'%', UPPER[usize::from(byte >> 4)], UPPER[usize::from(byte & 15)]]);
        }
    }
    out.push(b'"');
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'%')
}

/// Reads the string of JSON at the start of UTF-8 text: the name, and the length of its text with
/// both quotation marks. Or else where it is not as [`push_string`] writes it.
pub(super) fn take_string(text: &[u8]) -> Result<(Vec<u8>, usize), usize> {
    let mut name = Vec::new();
    let mut at = 1;
    let mut must_compare = false;
    if text.first() != Some(&b'"') {
        return Err(0);
    }
    loop {
        let rest = &text[at..];
        let plain = rest.iter().position(|byte| is_special(*byte)).ok_or(text.len())?;
        name.extend_from_slice(&rest[..plain]);
        at += plain;
        match rest[plain] {
            b'"' => break,
            b'%' => {
                let byte = hex(text.get(at + 1..at + 3).ok_or(at)?, b'A').ok_or(at)?;
                if byte.is_ascii() && byte != b'%' {
                    return Err(at);
                }
                // Whether a byte is part of no character shows only beside its neighbours.
                must_compare |= !byte.is_ascii();
                name.push(byte);
                at += 3;
            }
            b'\\' => {
                let (byte, length) = unescape(&rest[plain..]).ok_or(at)?;
                name.push(byte);
                at += length;
            }
            _ => return Err(at),
        }
    }
    at += 1;
    if must_compare {
        let mut again = Vec::with_capacity(at);
        push_string(&name, &mut again);
        if again != text[..at] {
            return Err(0);
        }
    }
    Ok((name, at))
}

/// The byte that a backslash and what follows it stand for, and their length.
fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    Some(match text.get(1)? {
        byte @ (b'"' | b'\\') => (*byte, 2),
        b'b' => (0x08, 2),
        b't' => (0x09, 2),
        b'n' => (0x0a, 2),
        b'f' => (0x0c, 2),
        b'r' => (0x0d, 2),
        b'u' => {
            let byte = hex(text.get(2..6)?.strip_prefix(b"00")?, b'a')?;
            let has_no_other = byte < 0x20 && !matches!(byte, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d);
            (has_no_other.then_some(byte)?, 6)
        }
        _ => return None,
    })
}

/// Two hexadecimal digits, those above nine in the case of `ten`.
fn hex(digits: &[u8], ten: u8) -> Option<u8> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        _ if (ten..ten + 6).contains(&digit) => Some(digit - ten + 10),
        _ => None,
    };
    match digits {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(name: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(name, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_name_has_one_text() {
        let names: [(&[u8], &str); 10] = [
            (b"", r#""""#),
            (b"a/b c", r#""a/b c""#),
            (b"100%", r#""100%25""#),
            (b"%41", r#""%2541""#),
            ("ä\u{7f}\u{2028}".as_bytes(), "\"ä\u{7f}\u{2028}\""),
            (b"\"\\\x08\t\n\x0c\r\x00\x1b", r#""\"\\\b\t\n\f\r\u0000\u001b""#),
            (b"\xff\xc3", r#""%FF%C3""#),
            (b"\xc3\xa4\xc3", "\"ä%C3\""),
            (b"\xed\xa0\x80\xf4\x90\x80\x80", r#""%ED%A0%80%F4%90%80%80""#),
            (b"\xe2\x82a", r#""%E2%82a""#),
        ];
        for (name, text) in names {
            assert_eq!(string(name), text);
            let followed = format!("{text},");
            assert_eq!(take_string(followed.as_bytes()), Ok((name.to_vec(), text.len())));
        }
        assert_eq!(escaped(b"\xff%\n\"a"), "%FF%25\n\"a");
        for text in [
            "",
            "a",
            "\"",
            "\"a",
            "\"%\"",
            "\"%2\"",
            "\"%41\"",
            "\"%2F\"",
            "\"%0A\"",
            "\"%c3\"",
            "\"%C3%A4\"",
            "\"%F0%9F%98%80\"",
            "\"%2525%C3%A4\"",
            "\"\n\"",
            r#""\/""#,
            r#""\u0041""#,
            r#""\u000a""#,
            r#""\u001B""#,
            r#""\u00e4""#,
            r#""\u0100""#,
            r#""\u00""#,
            r#""\x41""#,
            r#""\"#,
        ] {
            assert!(take_string(text.as_bytes()).is_err(), "{text} is accepted");
        }
    }

    #[test]
    fn every_short_name_comes_back() {
        let bytes = [0x01, b'%', b'a', b'"', b'\\', 0x7f, 0x80, 0xa4, 0xc3, 0xe2, 0x82, 0xac, 0xf0, 0xff];
        for length in 0..5_u32 {
            for mut number in 0..bytes.len().pow(length) {
                let name: Vec<u8> = (0..length)
                    .map(|_| {
                        let byte = bytes[number % bytes.len()];
                        number /= bytes.len();
                        byte
                    })
                    .collect();
                let text = string(&name);
                assert_eq!(take_string(text.as_bytes()), Ok((name, text.len())));
            }
        }
    }
}
