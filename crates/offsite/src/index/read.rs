//! Reading an index, as hostile as it may be.

use std::io::{BufRead, Read};

use super::check::{Checker, check_head};
use super::error::{Error, Problem};
use super::scan::Scan;
use super::write::{WriteError, Writer};
use super::{Entry, Head, Inode, Kind, Part, Place, Row, Tail, Time, Totals, limits};
use crate::names::BackupId;
use crate::plan::{Shape, SliceName, Span, Take, Title};

/// Reads an index, row by row. What it has given out it has checked, but for what only other
/// indexes and the slices can show. Memory: one line.
pub struct Reader<R> {
    source: R,
    head: Head,
    line: u64,
    buffer: Vec<u8>,
    checker: Checker,
    last: Option<Place>,
    tail: Option<Tail>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line. Whether the index is the one at hand is for the caller to compare.
    ///
    /// # Errors
    ///
    /// [`Problem::NotAnIndex`], [`Problem::Runs`], [`Problem::Base`], or as [`Self::next_row`].
    pub fn new(mut source: R) -> Result<Self, Error> {
        let mut buffer = Vec::new();
        let mut backup = None;
        let mut read = || {
            let any = read_line(&mut source, &mut buffer)?;
            let head = if any { head(&buffer)? } else { return Err(Problem::NotAnIndex) };
            backup = Some(head.title.backup);
            check_head(&head)?;
            Ok(head)
        };
        let head = read();
        let head = head.map_err(|problem| Error { backup, line: 1, problem })?;
        let checker = Checker::new(&head);
        Ok(Self { source, head, line: 1, buffer, checker, last: None, tail: None })
    }

    /// Which index it is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The last line; None before it has been read.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The next row; None after the last.
    ///
    /// # Errors
    ///
    /// What is wrong with the line at hand; nothing can be read after it.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if self.tail.is_some() {
            return Ok(None);
        }
        self.line += 1;
        let line = self.read_line().map_err(|problem| self.error(problem))?;
        if !matches!(line, Line::Row(Row::Part(_))) {
            let closed = self.checker.close();
            closed.map_err(|problem| Error { line: self.line - 1, ..self.error(problem) })?;
        }
        self.check(line).map_err(|problem| self.error(problem))
    }

    /// An error in the line at hand.
    pub(super) fn error(&self, problem: Problem) -> Error {
        Error { backup: Some(self.head.title.backup), line: self.line, problem }
    }

    fn read_line(&mut self) -> Result<Line, Problem> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if !read_line(&mut self.source, &mut buffer)? {
            return Err(Problem::End);
        }
        let mut scan = Scan::new(&buffer);
        let line = if scan.skips("{\"path\":") {
            let path = scan.string()?;
            Line::Row(self.rest_of_row(path, &mut scan)?)
        } else {
            Line::Tail(self.tail_of(&mut scan)?)
        };
        scan.end()?;
        self.buffer = buffer;
        Ok(line)
    }

    fn check(&mut self, line: Line) -> Result<Option<Row>, Problem> {
        match line {
            Line::Row(row) => {
                self.checker.row(&row)?;
                Ok(Some(row))
            }
            Line::Tail(tail) => {
                self.checker.end(&tail)?;
                if !self.source.fill_buf().map_err(Problem::Read)?.is_empty() {
                    self.line += 1;
                    return Err(Problem::End);
                }
                self.tail = Some(tail);
                Ok(None)
            }
        }
    }

    fn rest_of_row(&mut self, path: Vec<u8>, scan: &mut Scan<'_>) -> Result<Row, Problem> {
        if scan.skips(",\"part\":") {
            let number = scan.number(limits::TOTAL)?;
            return Ok(Row::Part(Part { path, number, places: self.places(scan)? }));
        }
        if scan.skips(",\"kind\":\"gone\"}") {
            return Ok(Row::Gone(path));
        }
        let (kind, inode) = kind(scan)?;
        let links = scan.skips(",\"links\":true");
        let torn = scan.skips(",\"torn\":true");
        Ok(Row::Entry(Entry { path, kind, inode, links, torn, places: self.places(scan)? }))
    }

    /// The places, and the end of the row.
    fn places(&mut self, scan: &mut Scan<'_>) -> Result<Vec<Place>, Problem> {
        let mut places = Vec::new();
        scan.expect(",\"at\":[")?;
        if !scan.skips("]") {
            loop {
                if places.len() == limits::PLACES {
                    return Err(Problem::Places(limits::PLACES + 1));
                }
                let place = place(self.last.as_ref(), &self.head.runs, scan)?;
                places.push(place);
                self.last = Some(place);
                if !scan.skips(",") {
                    break;
                }
            }
            scan.expect("]")?;
        }
        scan.expect("}")?;
        Ok(places)
    }

    fn tail_of(&self, scan: &mut Scan<'_>) -> Result<Tail, Problem> {
        let mut number = |key: &str| {
            scan.expect(key)?;
            scan.number(limits::TOTAL)
        };
        let entries = number("{\"entries\":")?;
        let parts = number(",\"parts\":")?;
        let gone = number(",\"gone\":")?;
        let totals = Totals { entries: number(",\"all\":")?, bytes: number(",\"bytes\":")? };
        scan.expect(",\"end\":")?;
        let end = if scan.skips("null") { None } else { Some(place(None, &self.head.runs, scan)?) };
        scan.expect("}")?;
        Ok(Tail { entries, parts, gone, totals, end })
    }
}

/// A line after the first.
enum Line {
    Row(Row),
    Tail(Tail),
}

/// Reads an index and writes it again, which gives the same bytes. For tests and fuzzing.
///
/// # Errors
///
/// What is wrong with it.
///
/// # Panics
///
/// Where what was read cannot be written: that would be a defect of this module.
pub fn read_and_write(index: &[u8]) -> Result<Vec<u8>, Error> {
    let expect = |result: Result<(), WriteError>| result.expect("what is read can be written");
    let mut reader = Reader::new(index)?;
    let mut writer = Writer::new(Vec::new(), reader.head().clone()).expect("what is read can be written");
    while let Some(row) = reader.next_row()? {
        expect(writer.row(&row));
    }
    let tail = *reader.tail().expect("the rows end with the last line");
    Ok(writer.end(tail.end, Some(tail.totals)).expect("what is read can be written"))
}

/// Reads a line without its line feed; false at the end. A line without one is cut off.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Problem> {
    line.clear();
    source.take(limits::LINE as u64 + 1).read_until(b'\n', line).map_err(Problem::Read)?;
    match line.pop() {
        None => Ok(false),
        Some(b'\n') => match std::str::from_utf8(line) {
            Ok(_) => Ok(true),
            Err(error) => Err(Problem::Syntax(error.valid_up_to() + 1)),
        },
        Some(_) if line.len() == limits::LINE => Err(Problem::TooLong),
        Some(_) => Err(Problem::End),
    }
}

fn head(line: &[u8]) -> Result<Head, Problem> {
    let mut scan = Scan::new(line);
    if !scan.skips("{\"offsite-index\":1,") {
        return Err(Problem::NotAnIndex);
    }
    scan.expect("\"host\":")?;
    let host = scan.parsed()?;
    scan.expect(",\"set\":")?;
    let set = scan.parsed()?;
    scan.expect(",\"backup\":")?;
    let backup = scan.parsed()?;
    scan.expect(",\"stream\":")?;
    let shape = if scan.skips("null") { Shape::Tar } else { Shape::Stream(scan.parsed()?) };
    scan.expect(",\"base\":")?;
    let base = if scan.skips("null") { None } else { Some(scan.parsed()?) };
    scan.expect(",\"runs\":[")?;
    let mut runs: Vec<BackupId> = Vec::new();
    if !scan.skips("]") {
        loop {
            if runs.len() == limits::RUNS {
                return Err(Problem::Runs);
            }
            runs.push(scan.parsed()?);
            if !scan.skips(",") {
                break;
            }
        }
        scan.expect("]")?;
    }
    scan.expect("}")?;
    scan.end()?;
    Ok(Head { title: Title { host, set, backup, shape }, base, runs })
}

/// From the kind to what depends on it.
fn kind(scan: &mut Scan<'_>) -> Result<(Kind, Inode), Problem> {
    scan.expect(",\"kind\":\"")?;
    let word = ["file", "folder", "symlink", "hardlink", "fifo", "character", "block", "stream"]
        .into_iter()
        .find(|word| scan.skips(word))
        .ok_or_else(|| scan.wrong())?;
    scan.expect("\"")?;
    let inode = if word == "stream" { Inode::default() } else { inode(scan)? };
    let mut name = |key: &str| {
        scan.expect(key)?;
        scan.string()
    };
    let kind = match word {
        "symlink" => Kind::Symlink { target: name(",\"target\":")? },
        "hardlink" => Kind::HardLink { leader: name(",\"leader\":")? },
        "folder" => Kind::Folder,
        "fifo" => Kind::Fifo,
        "character" | "block" => {
            scan.expect(",\"device\":[")?;
            let major = scan.number32()?;
            scan.expect(",")?;
            let minor = scan.number32()?;
            scan.expect("]")?;
            if word == "block" { Kind::BlockDevice { major, minor } } else { Kind::CharacterDevice { major, minor } }
        }
        _ => {
            scan.expect(",\"size\":")?;
            let size = scan.number(limits::FILE_SIZE)?;
            if word == "stream" {
                Kind::Stream { size }
            } else {
                let sparse = scan.skips(",\"sparse\":").then(|| scan.number(limits::FILE_SIZE)).transpose()?;
                Kind::File { size, sparse }
            }
        }
    };
    Ok((kind, inode))
}

fn inode(scan: &mut Scan<'_>) -> Result<Inode, Problem> {
    scan.expect(",\"mode\":")?;
    let mode = scan.number32()?;
    scan.expect(",\"uid\":")?;
    let uid = scan.number32()?;
    scan.expect(",\"gid\":")?;
    let gid = scan.number32()?;
    scan.expect(",\"mtime\":[")?;
    let seconds = scan.signed()?;
    scan.expect(",")?;
    let nanoseconds = scan.number32()?;
    scan.expect("]")?;
    Ok(Inode { mode, uid, gid, mtime: Time { seconds, nanoseconds } })
}

/// A place, in the shortest form that says it beside the place before.
fn place(last: Option<&Place>, runs: &[BackupId], scan: &mut Scan<'_>) -> Result<Place, Problem> {
    let wrong = scan.wrong();
    scan.expect("[")?;
    let mut numbers = [0; 7];
    let mut count = 0;
    loop {
        let number = numbers.get_mut(count).ok_or_else(|| scan.wrong())?;
        *number = scan.number(u64::from(u32::MAX))?;
        count += 1;
        if !scan.skips(",") {
            break;
        }
    }
    scan.expect("]")?;
    let [run, slice, offset, length, raw, skip, take] = numbers;
    // Whether it is within bounds is checked with its row. Until then no sum can overflow: a row
    // has at most 4,096 places, and each number is of 32 bits.
    let place = match (count, last) {
        (1, Some(last)) => {
            let skip = last.piece.skip + last.piece.take;
            Place { piece: Take { skip, take: run }, ..*last }
        }
        (2, Some(last)) => {
            let frame = Span { offset: last.frame.offset + last.frame.length, length: run };
            Place::whole(last.slice, frame, slice)
        }
        (5 | 7, _) => {
            let backup = usize::try_from(run).ok().and_then(|run| runs.get(run));
            let backup = *backup.ok_or(Problem::UnknownRun)?;
            let number = u32::try_from(slice).map_err(|_| Problem::Place)?;
            let whole = Place::whole(SliceName { backup, number }, Span { offset, length }, raw);
            let place = if count == 5 { whole } else { Place { piece: Take { skip, take }, ..whole } };
            let shorter = last.is_some_and(|last| place.continues(last) || place.follows(last));
            if shorter || count == 7 && place.is_whole() {
                return Err(wrong);
            }
            place
        }
        _ => return Err(wrong),
    };
    Ok(place)
}
