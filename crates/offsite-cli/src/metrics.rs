//! Figures of the last run, in a file for the textfile collector of Prometheus's node_exporter (text
//! exposition format 0.0.4). A file is that of one host and set: each run replaces it as a whole.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use offsite::files::Output;
use offsite::names::{HostName, SetName};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// Longest file that an earlier run has left, in bytes.
const LONGEST: u64 = 64 << 10;

/// What is kept from run to run.
const LAST_SUCCESS: &str = "last_success_timestamp_seconds";

/// Figures that a run has counted, by their names there; absent where it made no backup.
const COUNTED: [(&str, &str); 6] = [
    ("files", "Files in the backup of the last run."),
    ("bytes", "Bytes of content in the backup of the last run."),
    ("stored_bytes", "Bytes that the last run has put into the store."),
    ("objects", "Objects that the last run has put into the store."),
    ("errors", "What the last run could not read."),
    ("full", "Whether the last run stored everything again."),
];

/// Where metrics of a backup go, and whose they are.
pub(crate) struct Metrics {
    path: PathBuf,
    labels: String,
}

/// How a run ended.
pub(crate) struct Ended<'a> {
    pub(crate) start: OffsetDateTime,
    pub(crate) end: OffsetDateTime,
    pub(crate) exit_code: u8,
    pub(crate) counts: &'a Map<String, Value>,
}

impl Metrics {
    /// Without a host's name, should the run fail for want of one, it is empty.
    pub(crate) fn new(path: &Path, host: Option<&HostName>, set: &SetName) -> Self {
        let host = host.map_or("", HostName::as_str);
        let labels = format!("{{host=\"{}\",set=\"{}\"}}", escaped(host), escaped(set.as_str()));
        Self { path: path.to_path_buf(), labels }
    }

    /// Replaces the file. Whoever reads it meanwhile sees the old one or the new one, whole.
    pub(crate) fn write(&self, run: &Ended<'_>) -> offsite::Result<()> {
        let text = self.text(run);
        let mut file = Output::replace_public(&self.path)?;
        file.write_all(text.as_bytes()).map_err(|source| offsite::Error::File {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        file.finish()
    }

    fn text(&self, run: &Ended<'_>) -> String {
        let seconds = |time: OffsetDateTime| {
            let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
            format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
        };
        let mut text = String::new();
        let mut add = |name: &str, help: &str, value: &str| {
            let Self { labels, .. } = self;
            text.push_str(&format!("# HELP offsite_backup_{name} {help}\n# TYPE offsite_backup_{name} gauge\n"));
            text.push_str(&format!("offsite_backup_{name}{labels} {value}\n"));
        };
        add("start_timestamp_seconds", "When the last run started.", &seconds(run.start));
        add("end_timestamp_seconds", "When the last run ended.", &seconds(run.end));
        let duration = format!("{:.3}", (run.end - run.start).as_seconds_f64());
        add("duration_seconds", "How long the last run took.", &duration);
        add(
            "exit_code",
            "How the last run ended: 0 is a complete backup, 3 a partial one.",
            &run.exit_code.to_string(),
        );
        let last_success = if run.exit_code == 0 { Some(seconds(run.end)) } else { self.last_success() };
        if let Some(value) = last_success {
            add(LAST_SUCCESS, "When a run last ended with a complete backup.", &value);
        }
        for (name, help) in COUNTED {
            let value = match run.counts.get(name) {
                Some(Value::Bool(value)) => u64::from(*value),
                Some(value) => value.as_u64().unwrap_or_default(),
                None => continue,
            };
            add(name, help, &value.to_string());
        }
        text
    }

    /// What the file says of the last success, if it is this host's and set's.
    fn last_success(&self) -> Option<String> {
        let mut text = String::new();
        File::open(&self.path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        let before = format!("offsite_backup_{LAST_SUCCESS}{} ", self.labels);
        let value = text.lines().find_map(|line| line.strip_prefix(&before))?;
        value.parse::<f64>().is_ok().then(|| value.to_owned())
    }
}

/// A label's value, as it stands between quotation marks.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        assert_eq!(escaped("web-1"), "web-1");
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
