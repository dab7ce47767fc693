//! `offsite inspect`

use std::fmt::Write as _;
use std::io::{self, Write as _};

use offsite::cms::Inspection;
use offsite::operations;
use serde::Serialize;

use crate::arguments::{self, PlaceArgument};
use crate::commands::{Failure, input_length};
use crate::terminal::{self, Progress};

/// The JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    content_type: &'a str,
    content_encryption: &'a str,
    authenticated: bool,
    armoured: bool,
    recipients: Vec<Recipient<'a>>,
    messages: u64,
    /// Bytes, without armour.
    size: u64,
    /// Bytes of encrypted content.
    content: u64,
    stream: Option<Stream>,
    findings: &'a [String],
}

#[derive(Serialize)]
struct Recipient<'a> {
    name: &'a str,
    key_encryption: &'a str,
}

#[derive(Serialize)]
struct Stream {
    slices: u64,
    slice_size: u64,
    complete: bool,
}

pub(crate) fn run(arguments: &arguments::Inspect) -> Result<(), Failure> {
    let input = PlaceArgument::or_standard(arguments.input.as_ref());
    terminal::note_if_typed(&input);
    let progress = Progress::new(input_length(&input), None);
    let inspected = operations::inspect(&input, &progress);
    progress.clear();
    let view = inspected?;
    let text = if arguments.json { json(&view) } else { text(&view) };
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        terminal::error(&format!("cannot write standard output: {error}"));
        return Err(Failure::Reported);
    }
    for finding in &view.findings {
        terminal::error(finding);
    }
    if view.findings.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

fn json(view: &Inspection) -> String {
    let recipients = view.recipients.iter();
    let report = Report {
        content_type: view.container.name(),
        content_encryption: view.cipher.name(),
        authenticated: view.is_authenticated(),
        armoured: view.armoured,
        recipients: recipients
            .map(|view| Recipient { name: &view.name, key_encryption: &view.key_encryption })
            .collect(),
        messages: view.messages,
        size: view.size,
        content: view.content,
        stream: view.stream.map(|stream| Stream {
            slices: view.messages,
            slice_size: stream.slice_size,
            complete: stream.complete,
        }),
        findings: &view.findings,
    };
    // Strings and numbers: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn text(view: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    let authenticated = if view.is_authenticated() { "authenticated" } else { "unauthenticated" };
    line("message", &format!("{}, {}, {authenticated}", view.container.name(), view.cipher.name()));
    for (index, recipient) in view.recipients.iter().enumerate() {
        line(if index == 0 { "recipients" } else { "" }, &format!("{}: {}", recipient.name, recipient.key_encryption));
    }
    match view.stream {
        Some(stream) => {
            let state = if stream.complete { "complete, as far as shows without a key" } else { "damaged" };
            let slices = if view.messages == 1 { "slice" } else { "slices" };
            line("stream", &format!("{} {slices} of {} bytes, {state}", view.messages, stream.slice_size));
        }
        None => line("messages", &view.messages.to_string()),
    }
    line("size", &format!("{} bytes{}", view.size, if view.armoured { ", in armour" } else { "" }));
    line("content", &format!("{} bytes", view.content));
    text
}
