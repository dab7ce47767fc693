//! Writing HTML in which nothing is markup but what the program says is.
//!
//! Why no template crate: what it would take over are these few functions. Tags and names of attributes are
//! `&'static str`, everything else goes through [`Escaping`], and there is no way round it, which the known crates
//! offer for good reasons of others; an element's end is written by whoever wrote its start; and the page goes
//! to its file as it is made, whatever its length.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

/// A page that is being written.
pub(super) struct Html<'o> {
    out: &'o mut dyn Write,
}

/// Attributes of an element. Values may be anybody's.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl<'o> Html<'o> {
    /// A document, from its first line on.
    pub(super) fn document(out: &'o mut dyn Write) -> io::Result<Self> {
        out.write_all(b"<!doctype html>\n")?;
        Ok(Self { out })
    }

    /// An element and what is in it.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.start(tag, attributes)?;
        content(self)?;
        write!(self.out, "</{tag}>")
    }

    /// An element with nothing but text in it.
    pub(super) fn line(&mut self, tag: &'static str, attributes: Attributes<'_>, text: impl Display) -> io::Result<()> {
        self.element(tag, attributes, |html| html.text(text))
    }

    /// An element that has no end, such as `meta`.
    pub(super) fn void(&mut self, tag: &'static str, attributes: Attributes<'_>) -> io::Result<()> {
        self.start(tag, attributes)
    }

    /// Text.
    pub(super) fn text(&mut self, text: impl Display) -> io::Result<()> {
        self.escaped(&text)
    }

    /// A new line in the source, for people who read that.
    pub(super) fn line_break(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    /// The style sheet. Nothing is escaped in it.
    pub(super) fn style(&mut self, css: &'static str) -> io::Result<()> {
        write!(self.out, "<style>{css}</style>")
    }

    fn start(&mut self, tag: &'static str, attributes: Attributes<'_>) -> io::Result<()> {
        write!(self.out, "<{tag}")?;
        for (name, value) in attributes {
            write!(self.out, " {name}=\"")?;
            self.escaped(value)?;
            self.out.write_all(b"\"")?;
        }
        self.out.write_all(b">")
    }

    fn escaped(&mut self, text: &dyn Display) -> io::Result<()> {
        let mut escaping = Escaping { out: self.out, failed: None };
        match write!(escaping, "{text}") {
            Ok(()) => Ok(()),
            Err(_) => Err(escaping.failed.unwrap_or_else(|| io::Error::other("a text that cannot be written"))),
        }
    }
}

/// Text as it stands in HTML, within an element or in quotes. Characters that are not seen, or turn the direction
/// of what stands beside them, give way to one that is seen.
struct Escaping<'o> {
    out: &'o mut dyn Write,
    failed: Option<io::Error>,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((position, character)) =
            rest.char_indices().find(|(_, character)| stand_in(*character).is_some())
        {
            let (before, after) = rest.split_at(position);
            self.write(before)?;
            self.write(stand_in(character).unwrap_or_default())?;
            rest = &after[character.len_utf8()..];
        }
        self.write(rest)
    }
}

impl Escaping<'_> {
    fn write(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.failed = Some(error);
            fmt::Error
        })
    }
}

/// What is written for a character that cannot stand for itself.
fn stand_in(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        ' ' => None,
        // No width, or of direction (UAX #9), or of tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => Some("\u{fffd}"),
        control if control.is_control() => Some("\u{fffd}"),
        _ => None,
    }
}

/// A text of others, cut where it is longer than so many characters.
pub(super) struct Short<T>(pub(super) T, pub(super) usize);

impl<T: Display> Display for Short<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cutting = Cutting { out: f, left: self.1, cut: false };
        match write!(cutting, "{}", self.0) {
            Err(_) if !cutting.cut => Err(fmt::Error),
            _ => Ok(()),
        }
    }
}

struct Cutting<'f, 'o> {
    out: &'f mut fmt::Formatter<'o>,
    left: usize,
    cut: bool,
}

impl fmt::Write for Cutting<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            None => {
                self.left -= text.chars().count();
                self.out.write_str(text)
            }
            Some((end, _)) => {
                self.out.write_str(&text[..end])?;
                self.out.write_str("…")?;
                self.cut = true;
                // Nothing more is to come.
                Err(fmt::Error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Html<'_>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut Html { out: &mut out }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_of_others_is_markup() {
        let hostile = "</p><script>\"'&\u{202e}\u{200b}\u{0}\r\n\u{85}x";
        let expected = "&lt;/p&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}x";
        assert_eq!(written(|html| html.line("p", &[], hostile)), format!("<p>{expected}</p>"));
        let attribute = written(|html| html.void("meta", &[("content", &hostile)]));
        assert_eq!(attribute, format!("<meta content=\"{expected}\">"));
    }

    #[test]
    fn other_writing_is_left_as_it_is() {
        let text = "Bäckerei Żółć, 株式会社, חברה 🥐 a-b/c";
        assert_eq!(written(|html| html.text(text)), text);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(Short("äöü", 3).to_string(), "äöü");
        assert_eq!(Short("äöüx", 3).to_string(), "äöü…");
        assert_eq!(Short(format_args!("{}{}{}", "ab", "cd", "ef"), 3).to_string(), "abc…");
        assert_eq!(Short("", 0).to_string(), "");
    }

    #[test]
    fn an_output_that_fails_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Html { out: &mut Full }.text("text").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
