//! The page: everything that is said, and in which order.
//!
//! What is drawn of each set is limited, however many backups it has: a row of [`MARKS`](offsite::operations::report::MARKS)
//! days, two charts of as many marks, and [`NEWEST`](offsite::operations::report::NEWEST) backups one by one: some ten
//! kilobytes.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use offsite::hashes::Sha256;

use super::html::Html;
use super::page::Page;
use super::state::Level;
use super::{details, findings, overview, recipients};
use crate::words::date_and_time;

const STYLE: &str = include_str!("style.css");

/// Writes it.
pub(super) fn write(page: &Page<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let mut html = Html::document(out)?;
    html.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |html| head(html, page))?;
        html.line_break()?;
        html.element("body", &[], |html| {
            signs(html)?;
            overview::header(html, page)?;
            html.element("main", &[], |html| {
                overview::summary(html, page)?;
                if !page.rows.is_empty() {
                    overview::table(html, page)?;
                    recipients::section(html, &page.recipients, page.drills.is_some(), page.now)?;
                    details::sets(html, page)?;
                }
                findings::section(html, page)
            })?;
            overview::footer(html, page)
        })?;
        html.line_break()
    })?;
    html.line_break()
}

fn head(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    // Whatever became of the escaping: nothing runs, nothing is fetched, and no style but this one counts.
    let hash = STANDARD.encode(Sha256::of(STYLE.as_bytes()).as_bytes());
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    html.void("meta", &[("charset", &"utf-8")])?;
    html.void("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy)])?;
    html.void("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")])?;
    html.void("meta", &[("name", &"color-scheme"), ("content", &"light dark")])?;
    html.void("meta", &[("name", &"referrer"), ("content", &"no-referrer")])?;
    html.void("meta", &[("name", &"robots"), ("content", &"noindex")])?;
    let sign = match page.level() {
        Level::Bad => "✕ ",
        Level::Attention => "! ",
        Level::Good => "✓ ",
    };
    html.line("title", &[], format_args!("{sign}Backups, {} UTC", date_and_time(page.now)))?;
    html.style(STYLE)
}

/// The signs of states, each of a shape of its own: drawn once, used everywhere.
fn signs(html: &mut Html<'_>) -> io::Result<()> {
    let shapes = [
        (Level::Good, "M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM6.7 12 3 8.3l1.5-1.5 2.2 2.2 4.8-4.8L13 5.7z"),
        (Level::Attention, "M8 .5 16 15H0zM7 6v4.5h2V6zM7 11.6v1.9h2v-1.9z"),
        (
            Level::Bad,
            "M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7zM4.1 5.6 6.5 8l-2.4 2.4 1.5 1.5L8 9.5l2.4 2.4 1.5-1.5L9.5 8l2.4-2.4-1.5-1.5L8 6.5 5.6 4.1z",
        ),
    ];
    html.element("svg", &[("class", &"signs"), ("aria-hidden", &"true")], |html| {
        for (level, shape) in shapes {
            let id = format!("sign-{}", level.name());
            html.element("symbol", &[("id", &id), ("viewBox", &"0 0 16 16")], |html| {
                html.line("path", &[("fill-rule", &"evenodd"), ("d", &shape)], "")
            })?;
        }
        Ok(())
    })
}
