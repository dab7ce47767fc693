//! Writing an index.

use std::io::{self, Write};

use super::check::{Checker, check_head};
use super::error::Problem;
use super::text::push_string;
use super::{Entry, Head, Inode, Kind, Place, Row, Tail, Totals};
use crate::names::BackupId;
use crate::plan::{Shape, Title};

/// Why an index is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output cannot be written.
    #[error("the index cannot be written: {0}")]
    Io(#[from] io::Error),
    /// An index cannot have such a row, here. The caller's mistake, or a limit.
    #[error("no row of an index: {0}")]
    Row(Problem),
}

/// Writes an index, row by row in the order of [`compare`](crate::paths::compare).
pub struct Writer<W> {
    out: W,
    runs: Vec<BackupId>,
    full: bool,
    checker: Checker,
    last: Option<Place>,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Starts an index.
    ///
    /// # Errors
    ///
    /// Those of `out`; [`Problem::Runs`] and [`Problem::Base`].
    pub fn new(mut out: W, head: Head) -> Result<Self, WriteError> {
        check_head(&head).map_err(WriteError::Row)?;
        let mut line = Vec::with_capacity(4096);
        push_head(&head, &mut line);
        out.write_all(&line)?;
        let checker = Checker::new(&head);
        Ok(Self { out, full: head.base.is_none(), runs: head.runs, checker, last: None, line })
    }

    /// Writes a row.
    ///
    /// # Errors
    ///
    /// Those of `out`; what no index may have, [`Problem::Order`] among others, after which nothing
    /// more can be written.
    pub fn row(&mut self, row: &Row) -> Result<(), WriteError> {
        self.check(row).map_err(WriteError::Row)?;
        self.out.write_all(&self.line)?;
        Ok(())
    }

    fn check(&mut self, row: &Row) -> Result<(), Problem> {
        if !matches!(row, Row::Part(_)) {
            self.checker.close()?;
        }
        self.checker.row(row)?;
        self.line.clear();
        push_row(row, &mut self.line);
        let places = match row {
            Row::Gone(_) => None,
            _ => Some(row.places()),
        };
        if let Some(places) = places {
            self.line.extend_from_slice(b",\"at\":[");
            for (number, place) in places.iter().enumerate() {
                if number > 0 {
                    self.line.push(b',');
                }
                push_place(place, self.last.as_ref(), &self.runs, &mut self.line)?;
                self.last = Some(*place);
            }
            self.line.push(b']');
        }
        self.line.extend_from_slice(b"}\n");
        Ok(())
    }

    /// Ends the index; gives back the writer. A tar has an end, a stream none; it is all of a frame
    /// of [`END`](super::END) bytes. A delta says what the whole backup amounts to, a full index
    /// counts that itself.
    ///
    /// # Errors
    ///
    /// Those of `out`; what cannot be.
    pub fn end(mut self, end: Option<Place>, totals: Option<Totals>) -> Result<W, WriteError> {
        self.tail(end, totals).map_err(WriteError::Row)?;
        self.out.write_all(&self.line)?;
        Ok(self.out)
    }

    fn tail(&mut self, end: Option<Place>, totals: Option<Totals>) -> Result<(), Problem> {
        self.checker.close()?;
        let mut tail = Tail { end, ..*self.checker.seen() };
        match totals {
            Some(totals) => tail.totals = totals,
            None if self.full => tail.totals.bytes += end.map_or(0, |end| end.raw),
            None => return Err(Problem::Counts),
        }
        self.checker.end(&tail)?;
        let line = &mut self.line;
        line.clear();
        let numbers = [
            ("{\"entries\":", tail.entries),
            (",\"parts\":", tail.parts),
            (",\"gone\":", tail.gone),
            (",\"all\":", tail.totals.entries),
            (",\"bytes\":", tail.totals.bytes),
        ];
        numbers.into_iter().for_each(|(key, number)| push_number(key, number, line));
        line.extend_from_slice(b",\"end\":");
        match &tail.end {
            Some(end) => push_place(end, None, &self.runs, line)?,
            None => line.extend_from_slice(b"null"),
        }
        line.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn push_head(head: &Head, line: &mut Vec<u8>) {
    let Head { title: Title { host, set, backup, shape }, base, runs } = head;
    // All of these are of letters, digits, dots, dashes and underscores.
    let quoted = |text: Option<String>| text.map_or("null".to_owned(), |text| format!("\"{text}\""));
    let stream = match shape {
        Shape::Tar => None,
        Shape::Stream(name) => Some(name.to_string()),
    };
    let (stream, base) = (quoted(stream), quoted(base.map(|base| base.to_string())));
    let runs: Vec<_> = runs.iter().map(|run| quoted(Some(run.to_string()))).collect();
    let runs = runs.join(",");
    let text = format!(
        "{{\"offsite-index\":1,\"host\":\"{host}\",\"set\":\"{set}\",\"backup\":\"{backup}\",\"stream\":{stream},\"base\":{base},\"runs\":[{runs}]}}\n"
    );
    line.extend_from_slice(text.as_bytes());
}

/// A row up to its places.
fn push_row(row: &Row, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"path\":");
    push_string(row.path(), line);
    match row {
        Row::Entry(entry) => push_entry(entry, line),
        Row::Part(part) => push_number(",\"part\":", part.number, line),
        Row::Gone(_) => line.extend_from_slice(b",\"kind\":\"gone\""),
    }
}

fn push_entry(entry: &Entry, line: &mut Vec<u8>) {
    let word = match &entry.kind {
        Kind::File { .. } => "file",
        Kind::Folder => "folder",
        Kind::Symlink { .. } => "symlink",
        Kind::HardLink { .. } => "hardlink",
        Kind::Fifo => "fifo",
        Kind::CharacterDevice { .. } => "character",
        Kind::BlockDevice { .. } => "block",
        Kind::Stream { .. } => "stream",
    };
    line.extend_from_slice(b",\"kind\":\"");
    line.extend_from_slice(word.as_bytes());
    line.push(b'"');
    if !matches!(entry.kind, Kind::Stream { .. }) {
        let Inode { mode, uid, gid, mtime } = &entry.inode;
        push_number(",\"mode\":", u64::from(*mode), line);
        push_number(",\"uid\":", u64::from(*uid), line);
        push_number(",\"gid\":", u64::from(*gid), line);
        let sign = if mtime.seconds < 0 { ",\"mtime\":[-" } else { ",\"mtime\":[" };
        push_number(sign, mtime.seconds.unsigned_abs(), line);
        push_number(",", u64::from(mtime.nanoseconds), line);
        line.push(b']');
    }
    match &entry.kind {
        Kind::File { size, sparse } => {
            push_number(",\"size\":", *size, line);
            sparse.iter().for_each(|stored| push_number(",\"sparse\":", *stored, line));
        }
        Kind::Stream { size } => push_number(",\"size\":", *size, line),
        Kind::Symlink { target: name } => {
            line.extend_from_slice(b",\"target\":");
            push_string(name, line);
        }
        Kind::HardLink { leader: name } => {
            line.extend_from_slice(b",\"leader\":");
            push_string(name, line);
        }
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            push_number(",\"device\":[", u64::from(*major), line);
            push_number(",", u64::from(*minor), line);
            line.push(b']');
        }
        Kind::Folder | Kind::Fifo => {}
    }
    line.extend_from_slice(if entry.links { b",\"links\":true" } else { b"" });
    line.extend_from_slice(if entry.torn { b",\"torn\":true" } else { b"" });
}

/// A place in the shortest form that says it beside the place before.
fn push_place(place: &Place, last: Option<&Place>, runs: &[BackupId], line: &mut Vec<u8>) -> Result<(), Problem> {
    let Place { slice, frame, raw, piece } = place;
    if last.is_some_and(|last| place.continues(last)) {
        push_number("[", piece.take, line);
    } else if last.is_some_and(|last| place.follows(last)) {
        push_number("[", frame.length, line);
        push_number(",", *raw, line);
    } else {
        let run = runs.binary_search(&slice.backup).map_err(|_| Problem::UnknownRun)?;
        push_number("[", run as u64, line);
        push_number(",", u64::from(slice.number), line);
        push_number(",", frame.offset, line);
        push_number(",", frame.length, line);
        push_number(",", *raw, line);
        if !place.is_whole() {
            push_number(",", piece.skip, line);
            push_number(",", piece.take, line);
        }
    }
    line.push(b']');
    Ok(())
}

fn push_number(key: &str, mut number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(key.as_bytes());
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[first..]);
}
