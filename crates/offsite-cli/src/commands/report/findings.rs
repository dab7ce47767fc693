//! Everything that is wrong, by what is to be done about it.

use std::collections::BTreeMap;
use std::io;

use offsite::operations::verify::Finding;

use super::html::{Html, Short};
use super::page::Page;
use super::parts::number;
use crate::commands::findings::remedy;

/// Most findings that are told one by one.
const FINDINGS: usize = 1000;

/// Most characters of a finding's text.
const TEXT: usize = 600;

pub(super) fn section(html: &mut Html<'_>, page: &Page<'_>) -> io::Result<()> {
    let findings = &page.reported.findings;
    html.element("section", &[("aria-labelledby", &"findings")], |html| {
        html.line("h2", &[("id", &"findings")], "Findings")?;
        let mut by_remedy = BTreeMap::<&str, Vec<&Finding>>::new();
        for finding in findings.iter().take(FINDINGS) {
            by_remedy.entry(remedy(finding)).or_default().push(finding);
        }
        if by_remedy.is_empty() {
            return html.line("p", &[], "None.");
        }
        for (remedy, findings) in by_remedy {
            html.element("article", &[], |html| {
                html.element("p", &[("class", &"remedy")], |html| {
                    html.line("b", &[], "What to do: ")?;
                    with_commands(html, remedy)
                })?;
                html.element("ul", &[("class", &"findings")], |html| {
                    findings.iter().try_for_each(|finding| one(html, finding))
                })
            })?;
        }
        match findings.len().checked_sub(FINDINGS).filter(|more| *more > 0) {
            Some(more) => {
                html.line("p", &[], format_args!("And {} more: offsite verify tells all.", number(more as u64)))
            }
            None => Ok(()),
        }
    })
}

/// What is in backticks is to be typed.
fn with_commands(html: &mut Html<'_>, text: &str) -> io::Result<()> {
    let mut is_command = false;
    text.split('`').try_for_each(|part| {
        let written = if is_command { html.line("code", &[], part) } else { html.text(part) };
        is_command = !is_command;
        written
    })
}

fn one(html: &mut Html<'_>, finding: &Finding) -> io::Result<()> {
    html.element("li", &[], |html| {
        if let Some((host, set)) = &finding.of {
            html.line("a", &[("href", &format_args!("#{host}/{set}"))], format_args!("{host}/{set}"))?;
            html.text(": ")?;
        }
        html.text(Short(&finding.what, TEXT))?;
        html.line("code", &[("class", &"id")], finding.id())
    })
}
