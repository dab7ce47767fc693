//! A private key's file as a page to print: as QR codes to scan and as lines to type (format.md §19).

use std::fmt::Write;

use offsite_cms::Certificate;
use qrcodegen::{QrCode, QrCodeEcc, QrSegment, Version};
use zeroize::Zeroizing;

use crate::hashes::{Fingerprint, Sha256};

/// Instructions and style. The marks say where the rest comes.
const PAGE: &str = include_str!("paper/page.html");
const MARKS: [&str; 3] = ["<!--facts-->", "<!--codes-->", "<!--lines-->"];

/// Lines of PEM in a code: it is of version 20 then, 97 modules in 70 mm, which a phone reads from paper.
const LINES: usize = 9;
/// The largest version of a code that may come of them (ISO/IEC 18004).
const LARGEST: u8 = 25;
/// Room for the text of a code, in bytes.
const PART: usize = 1024;
/// Light modules around a code.
const QUIET: i32 = 4;

/// Room for a code or the page's other parts, in bytes: text that holds a secret must not move while it grows, or
/// copies of it stay behind.
const ROOM: usize = 64 << 10;

/// What is put on paper.
pub(crate) struct Paper<'a> {
    /// What the file is called.
    pub(crate) name: &'a str,
    /// The file: PEM, of the key and its certificate.
    pub(crate) pem: &'a str,
    /// The key's certificate.
    pub(crate) certificate: &'a Certificate,
    /// Whether a passphrase protects the key.
    pub(crate) protected: bool,
    /// The day on which the page is made.
    pub(crate) date: time::Date,
}

impl Paper<'_> {
    /// The page: HTML that needs nothing else.
    pub(crate) fn html(&self) -> Zeroizing<String> {
        let lines: Vec<&str> = self.pem.lines().collect();
        let parts = lines.len().div_ceil(LINES);
        let mut html = Zeroizing::new(String::with_capacity((parts + 1) * ROOM));
        let mut rest = PAGE;
        for (mark, write) in MARKS.into_iter().zip([Self::facts, Self::codes, Self::lines]) {
            let (before, after) = rest.split_once(mark).expect("the page has all marks, in order");
            html.push_str(before);
            write(self, &lines, &mut html);
            rest = after;
        }
        html.push_str(rest);
        html
    }

    fn facts(&self, _: &[&str], html: &mut String) {
        let protection = if self.protected {
            "This page holds a private key. Whoever has it and its passphrase reads every backup that was made for it. \
             The passphrase is not on this page: keep it elsewhere, and keep it."
        } else {
            "This page holds a private key that no passphrase protects. Whoever sees this page reads every backup that \
             was made for it."
        };
        let _ = writeln!(html, "<p class=\"warning\">{protection}</p>\n<table>");
        let certificate = self.certificate;
        let rows = [
            ("file", escaped(self.name)),
            ("key", certificate.key_kind()),
            ("certificate of", escaped(&certificate.name())),
            ("its SHA-256 fingerprint", format!("<code>{}</code>", Fingerprint::of(certificate))),
            ("SHA-256 of the file", format!("<code>{}</code>", Sha256::of(self.pem.as_bytes()))),
            ("passphrase", if self.protected { "needed" } else { "none" }.to_owned()),
            ("made on", self.date.to_string()),
        ];
        for (name, value) in rows {
            let _ = writeln!(html, "<tr><th>{name}</th><td>{value}</td></tr>");
        }
        html.push_str("</table>");
    }

    /// The codes: each holds some whole lines of the file, below its number.
    fn codes(&self, lines: &[&str], html: &mut String) {
        let count = lines.len().div_ceil(LINES);
        for (index, lines) in lines.chunks(LINES).enumerate() {
            let mut part = Zeroizing::new(String::with_capacity(PART));
            let _ = write!(part, "# {} of {count}", index + 1);
            for line in lines {
                part.push('\n');
                part.push_str(line);
            }
            // What the code's own steps leave in memory cannot be wiped from here.
            let segments = [QrSegment::make_bytes(part.as_bytes())];
            let largest = Version::new(LARGEST);
            let code =
                QrCode::encode_segments_advanced(&segments, QrCodeEcc::Medium, Version::MIN, largest, None, false);
            let code = code.expect("nine lines of PEM are 607 bytes, and there is room for 997");
            html.push_str("<figure>");
            svg(&code, html);
            let _ = writeln!(html, "<figcaption>{} of {count}</figcaption></figure>", index + 1);
        }
    }

    /// The lines: number, text in eights, checksum.
    fn lines(&self, lines: &[&str], html: &mut String) {
        for (index, line) in lines.iter().enumerate() {
            let _ = write!(html, "<div class=\"line\"><i>{:>3}</i><span>", index + 1);
            if line.starts_with('-') {
                html.push_str(line);
            } else {
                for eight in line.as_bytes().chunks(8) {
                    // Base64: each byte is a character.
                    html.push_str("<s>");
                    eight.iter().for_each(|byte| html.push(char::from(*byte)));
                    html.push_str("</s>");
                }
            }
            let _ = writeln!(html, "</span><b>{}</b></div>", checksum(line));
        }
    }
}

/// Four digits that find a mistyped line: the first of its SHA-256, as `sha256sum` has it.
fn checksum(line: &str) -> String {
    Sha256::of(line.as_bytes()).to_string()[..4].to_owned()
}

/// A code as a picture: each run of dark modules of a row is a rectangle.
fn svg(code: &QrCode, html: &mut String) {
    let size = code.size() + 2 * QUIET;
    let _ = write!(html, "<svg viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\"><path d=\"");
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).expect("a code has at most 177 modules in a row");
            if run > 0 {
                let _ = write!(html, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run + 1;
        }
    }
    html.push_str("\"/></svg>");
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_stand_in_the_page_in_order() {
        let places: Vec<_> = MARKS.iter().map(|mark| PAGE.find(mark).unwrap()).collect();
        assert!(places.is_sorted());
        assert!(MARKS.iter().all(|mark| PAGE.matches(mark).count() == 1));
        assert!(!PAGE.contains("<script") && !PAGE.contains("http"));
    }

    #[test]
    fn a_checksum_is_what_sha256sum_begins_with() {
        assert_eq!(checksum("abc"), "ba78");
    }

    #[test]
    fn names_are_text() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
