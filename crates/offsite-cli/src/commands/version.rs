//! `offsite version`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use offsite::baked::Settings;
use offsite::cms::Certificate;
use offsite::hashes::Fingerprint;
use offsite::receipt::rfc_3339;
use serde::Serialize;

use crate::commands::{Failure, written};
use crate::{arguments, baked};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The JSON report. Keys are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    /// None where it is damaged.
    baked: Option<Baked<'a>>,
}

#[derive(Serialize)]
struct Baked<'a> {
    recipients: Vec<Recipient>,
    store: Option<&'a str>,
    options: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct Recipient {
    name: String,
    kind: String,
    fingerprint: String,
    /// None where the certificate does not say it.
    expires: Option<String>,
}

impl Recipient {
    fn of(certificate: &Certificate) -> Self {
        Self {
            name: certificate.name(),
            kind: certificate.key_kind(),
            fingerprint: Fingerprint::of(certificate).to_string(),
            expires: certificate.not_after().map(rfc_3339),
        }
    }
}

pub(crate) fn run(arguments: &arguments::Version) -> Result<(), Failure> {
    let settings = baked::settings();
    let shown = settings.as_ref().ok();
    let text = if arguments.json { json(shown) } else { text(shown) };
    written(io::stdout().write_all(text.as_bytes()))?;
    settings.map(drop).map_err(|error| offsite::Error::from(error).into())
}

fn json(settings: Option<&Settings>) -> String {
    let baked = settings.map(|settings| Baked {
        recipients: settings.recipients.iter().map(Recipient::of).collect(),
        store: settings.store.as_deref(),
        options: &settings.options,
    });
    // Strings: nothing that JSON could refuse.
    let mut text = serde_json::to_string_pretty(&Report { version: VERSION, baked }).unwrap_or_default();
    text.push('\n');
    text
}

fn text(settings: Option<&Settings>) -> String {
    let mut text = format!("offsite {VERSION}\n");
    let Some(settings) = settings else { return text };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<20}{value}");
    };
    if settings.is_empty() {
        line("baked in", "nothing");
    }
    for recipient in settings.recipients.iter().map(Recipient::of) {
        let Recipient { name, kind, fingerprint, expires } = recipient;
        let expires = expires.map(|expires| format!(", expires {expires}")).unwrap_or_default();
        line("recipient", &format!("{name}, {kind}{expires}"));
        line("", &fingerprint);
    }
    if let Some(store) = &settings.store {
        line("--to", store);
    }
    for (name, values) in &settings.options {
        values.iter().for_each(|value| line(&format!("--{name}"), value));
    }
    text
}
