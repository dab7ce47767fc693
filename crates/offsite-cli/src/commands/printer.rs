//! Printing what comes one by one.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

/// Prints things as they come: a line each, or the elements of an array of JSON.
pub(crate) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    count: u64,
}

impl Printer {
    /// To standard output.
    pub(crate) fn new(json: bool) -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), json, count: 0 }
    }

    /// How many things there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// One more thing, with its line or its report.
    pub(crate) fn thing<R: Serialize>(
        &mut self,
        line: impl FnOnce() -> String,
        report: impl FnOnce() -> R,
    ) -> io::Result<()> {
        self.count += 1;
        if !self.json {
            return writeln!(self.out, "{}", line());
        }
        self.out.write_all(if self.count == 1 { b"[\n" } else { b",\n" })?;
        serde_json::to_writer(&mut self.out, &report()).map_err(io::Error::from)
    }

    /// The end. Of a list that is not whole the JSON is not whole, either.
    pub(crate) fn end(mut self, whole: bool) -> io::Result<()> {
        if self.json && whole {
            self.out.write_all(if self.count == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()
    }
}
