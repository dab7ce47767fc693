//! Reading a plan, as hostile as it may be: every field is a number or a name before it is used.

use std::io::{self, BufRead, Read};

use super::{LINE, MAGIC, SLICE, SLICES, Shape, Slice, Span, Step, Take, Title};

/// What is wrong with a plan.
#[derive(Debug, thiserror::Error)]
#[error("the plan, line {line}: {problem}")]
pub struct Error {
    /// The line, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line of a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The first line is no title.
    #[error("this is no plan of a version that is read")]
    NotAPlan,
    /// It is no step.
    #[error("this is no step of a plan")]
    NotAStep,
    /// It is longer than any step is.
    #[error("it is too long")]
    TooLong,
    /// A slice has another number than the next one.
    #[error("a slice is out of order")]
    SliceOrder,
    /// It is a slice more than there may be.
    #[error("more than {SLICES} slices")]
    TooManySlices,
    /// A slice is empty or larger than a slice may be.
    #[error("a slice of {0} bytes")]
    SliceSize(u64),
    /// A step uses a slice that no line has named.
    #[error("slice {0} is not named before it is used")]
    UnknownSlice(u64),
    /// A step reaches beyond its slice, or takes nothing.
    #[error("it takes what the slice cannot hold")]
    Span,
    /// The plan ends without its last line, or goes on after it.
    #[error("the plan is not complete, or goes on after its end")]
    End,
}

/// Reads a plan's steps, in order. What it has read it has checked, but for what only the slices
/// can show.
pub struct Reader<R> {
    source: R,
    title: Title,
    line: u64,
    /// Sizes of the slices named so far.
    sizes: Vec<u32>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the title.
    ///
    /// # Errors
    ///
    /// [`Problem::NotAPlan`], or as [`Reader::next_step`].
    pub fn new(mut source: R) -> Result<Self, Error> {
        let at_title = |problem| Error { line: 1, problem };
        let line = line(&mut source).map_err(at_title)?.ok_or(at_title(Problem::NotAPlan))?;
        let title = title(&line).ok_or(at_title(Problem::NotAPlan))?;
        Ok(Self { source, title, line: 1, sizes: Vec::new(), ended: false })
    }

    /// Which backup the plan is of. Whether it is the one at hand is for the caller to compare.
    pub fn title(&self) -> &Title {
        &self.title
    }

    /// The next step; None after the last, which is [`Step::End`].
    ///
    /// # Errors
    ///
    /// What is wrong with the line at hand; nothing after it is read.
    pub fn next_step(&mut self) -> Result<Option<Step>, Error> {
        self.line += 1;
        self.checked().map_err(|problem| Error { line: self.line, problem })
    }

    fn checked(&mut self) -> Result<Option<Step>, Problem> {
        let line = match (line(&mut self.source)?, self.ended) {
            (None, true) => return Ok(None),
            (Some(line), false) => line,
            _ => return Err(Problem::End),
        };
        let step = parse(&line).ok_or(Problem::NotAStep)?;
        match &step {
            Step::Slice { number, .. } if *number != self.sizes.len() as u64 => return Err(Problem::SliceOrder),
            Step::Slice { number, .. } if *number >= u64::from(SLICES) => return Err(Problem::TooManySlices),
            Step::Slice { slice, .. } => {
                let size = u32::try_from(slice.size).ok().filter(|size| (1..=SLICE).contains(size));
                self.sizes.push(size.ok_or(Problem::SliceSize(slice.size))?);
            }
            Step::Whole { slice, frames } => self.check(*slice, *frames)?,
            Step::Cut { slice, frame, takes } => {
                self.check(*slice, *frame)?;
                let total = takes
                    .iter()
                    .try_fold(0_u64, |total, Take { skip, take }| total.checked_add(*skip)?.checked_add(*take));
                if takes.is_empty() || total.is_none() || takes.iter().any(|take| take.take == 0) {
                    return Err(Problem::Span);
                }
            }
            Step::End { .. } => self.ended = true,
        }
        Ok(Some(step))
    }

    /// The plaintext of a slice is shorter than the slice.
    fn check(&self, slice: u64, span: Span) -> Result<(), Problem> {
        let size =
            usize::try_from(slice).ok().and_then(|slice| self.sizes.get(slice)).ok_or(Problem::UnknownSlice(slice))?;
        match span.offset.checked_add(span.length) {
            Some(end) if span.length > 0 && end <= u64::from(*size) => Ok(()),
            _ => Err(Problem::Span),
        }
    }
}

/// Reads a whole plan, and writes its lines again: the entry point of the fuzzer.
///
/// # Errors
///
/// As [`Reader::next_step`].
pub fn rewrite(plan: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(plan)?;
    let mut text = format!("{}\n", reader.title());
    while let Some(step) = reader.next_step()? {
        text += &format!("{step}\n");
    }
    Ok(text.into_bytes())
}

/// A line without its line feed; None at the end. A last line without one is cut off.
fn line(source: &mut impl BufRead) -> Result<Option<String>, Problem> {
    let mut line = Vec::new();
    source.take(LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => String::from_utf8(line).map(Some).map_err(|_| Problem::NotAStep),
        Some(_) if line.len() as u64 + 1 == LINE => Err(Problem::TooLong),
        Some(_) => Err(Problem::End),
    }
}

fn title(line: &str) -> Option<Title> {
    let mut words = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.split(' ');
    let mut names = words.next()?.split('/');
    let (host, set, backup) = (names.next()?.parse().ok()?, names.next()?.parse().ok()?, names.next()?.parse().ok()?);
    let shape = match (words.next()?, words.next()) {
        ("tar", None) => Shape::Tar,
        ("stream", Some(name)) => Shape::Stream(name.parse().ok()?),
        _ => return None,
    };
    let complete = names.next().is_none() && words.next().is_none();
    complete.then_some(Title { host, set, backup, shape })
}

fn parse(line: &str) -> Option<Step> {
    let mut words = line.split(' ');
    let step = match words.next()? {
        "slice" => Step::Slice {
            number: number(words.next()?)?,
            slice: Slice {
                name: words.next()?.parse().ok()?,
                size: number(words.next()?)?,
                sha256: sha256(words.next()?)?,
            },
        },
        "whole" => Step::Whole { slice: number(words.next()?)?, frames: span(&mut words)? },
        "cut" => {
            let (slice, frame) = (number(words.next()?)?, span(&mut words)?);
            let mut takes = Vec::new();
            while let Some(skip) = words.next() {
                takes.push(Take { skip: number(skip)?, take: number(words.next()?)? });
            }
            Step::Cut { slice, frame, takes }
        }
        "end" => Step::End { total: number(words.next()?)? },
        _ => return None,
    };
    words.next().is_none().then_some(step)
}

fn span<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Span> {
    Some(Span { offset: number(words.next()?)?, length: number(words.next()?)? })
}

/// Digits alone, without leading zeros, of at most 2^53: what every tool counts exactly.
fn number(word: &str) -> Option<u64> {
    let canonical = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|number| canonical && *number <= 1 << 53)
}

fn sha256(word: &str) -> Option<[u8; 32]> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if word.len() != 64 || !word.bytes().all(digits) {
        return None;
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&word[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{SliceName, Writer};

    const ID: &str = "20261123T074500Z-7f3a9c01";
    const EARLIER: &str = "20261122T074500Z-00000000";

    fn title_of(shape: Shape) -> Title {
        Title { host: "web-1".parse().unwrap(), set: "default".parse().unwrap(), backup: ID.parse().unwrap(), shape }
    }

    fn slice(backup: &str, number: u32) -> Slice {
        Slice { name: SliceName { backup: backup.parse().unwrap(), number }, size: 1000, sha256: [0xab; 32] }
    }

    const fn span(offset: u64, length: u64) -> Span {
        Span { offset, length }
    }

    fn written() -> String {
        let mut plan = Writer::new(Vec::new(), &title_of(Shape::Tar)).unwrap();
        plan.frame(&slice(EARLIER, 3), span(0, 100), 400).unwrap();
        plan.frame(&slice(EARLIER, 3), span(100, 50), 100).unwrap();
        plan.cut(&slice(EARLIER, 3), span(150, 10), vec![Take { skip: 5, take: 7 }, Take { skip: 0, take: 1 }])
            .unwrap();
        plan.frame(&slice(ID, 0), span(0, 900), 1).unwrap();
        plan.frame(&slice(EARLIER, 3), span(0, 1), 2).unwrap();
        plan.frame(&slice(EARLIER, 3), span(2, 1), 3).unwrap();
        String::from_utf8(plan.end().unwrap()).unwrap()
    }

    fn read(text: &str) -> Result<Vec<Step>, Error> {
        let mut reader = Reader::new(text.as_bytes())?;
        let mut steps = Vec::new();
        while let Some(step) = reader.next_step()? {
            steps.push(step);
        }
        Ok(steps)
    }

    #[test]
    fn a_plan_is_written_as_the_format_has_it() {
        let hash = "ab".repeat(32);
        let expected = [
            format!("offsite-plan 1 web-1/default/{ID} tar"),
            format!("slice 0 {EARLIER}/slice-00000003.p7m 1000 {hash}"),
            "whole 0 0 150".to_owned(),
            "cut 0 150 10 5 7 0 1".to_owned(),
            format!("slice 1 {ID}/slice-00000000.p7m 1000 {hash}"),
            "whole 1 0 900".to_owned(),
            "whole 0 0 1".to_owned(),
            "whole 0 2 1".to_owned(),
            "end 514\n".to_owned(),
        ];
        assert_eq!(written(), expected.join("\n"));
        let stream = title_of(Shape::Stream("db.sql".parse().unwrap()));
        assert_eq!(stream.to_string(), format!("offsite-plan 1 web-1/default/{ID} stream db.sql"));
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let text = written();
        let steps = read(&text).unwrap();
        let again: Vec<String> = steps.iter().map(ToString::to_string).collect();
        assert_eq!(again, text.lines().skip(1).collect::<Vec<_>>());
        assert_eq!(Reader::new(text.as_bytes()).unwrap().title(), &title_of(Shape::Tar));
    }

    #[test]
    fn every_way_to_be_wrong_is_an_error_at_its_line() {
        let hash = "ab".repeat(32);
        let plan = |lines: &[&str]| format!("offsite-plan 1 h/s/{ID} tar\n{}\n", lines.join("\n"));
        let named = format!("slice 0 {ID}/slice-00000000.p7m 100 {hash}");
        let named = named.as_str();
        let cases: Vec<(String, u64, &str)> = vec![
            (String::new(), 1, "no plan"),
            ("offsite-plan 2 h/s/x tar\n".to_owned(), 1, "no plan"),
            (format!("offsite-plan 1 h/s/{ID} tar x\n"), 1, "no plan"),
            (format!("offsite-plan 1 h/../{ID} tar\n"), 1, "no plan"),
            (format!("offsite-plan 1 h/s/{ID}/x tar\n"), 1, "no plan"),
            (format!("offsite-plan 1 h/s/{ID} stream ../x\n"), 1, "no plan"),
            (format!("offsite-plan 1 h/s/{ID} tar"), 1, "not complete"),
            (plan(&["$(reboot)"]), 2, "no step"),
            (plan(&["slice 0 ../../x 1 $(reboot)"]), 2, "no step"),
            (plan(&[&named.replace("slice-0", "slice-+")]), 2, "no step"),
            (plan(&[&named.replace("abab", "ABAB")]), 2, "no step"),
            (plan(&[&named.replace("slice 0", "slice 1")]), 2, "out of order"),
            (plan(&[&named.replace(" 100 ", " 0 ")]), 2, "slice of 0 bytes"),
            (plan(&[&named.replace(" 100 ", " 536870913 ")]), 2, "slice of 536870913 bytes"),
            (plan(&["whole 0 0 1"]), 2, "slice 0 is not named"),
            (plan(&[named, "whole 0 0 101"]), 3, "cannot hold"),
            (plan(&[named, "whole 0 0 0"]), 3, "cannot hold"),
            (plan(&[named, "whole 0 00 1"]), 3, "no step"),
            (plan(&[named, "whole 0 0 1 "]), 3, "no step"),
            (plan(&[named, "whole 0 0 9007199254740993"]), 3, "no step"),
            (plan(&[named, "whole 0  0 1"]), 3, "no step"),
            (plan(&[named, "cut 0 0 1"]), 3, "cannot hold"),
            (plan(&[named, "cut 0 0 1 1"]), 3, "no step"),
            (plan(&[named, "cut 0 0 1 1 0"]), 3, "cannot hold"),
            (plan(&[named, "end 0", "end 0"]), 4, "goes on"),
            (plan(&[named]), 3, "not complete"),
            (plan(&[named, &format!("cut 0 0 1{}", " 0 1".repeat(70_000))]), 3, "too long"),
        ];
        for (text, line, problem) in cases {
            let shown: String = text.chars().take(200).collect();
            match read(&text) {
                Err(error) => {
                    assert_eq!(error.line, line, "{shown}: {error}");
                    assert!(error.to_string().contains(problem), "{shown}: {error}");
                }
                Ok(steps) => panic!("{shown}: {steps:?}"),
            }
        }
    }

    #[test]
    fn a_plan_cut_anywhere_is_not_complete() {
        let text = written();
        for length in 0..text.len() {
            assert!(read(&text[..length]).is_err(), "the first {length} bytes");
        }
    }
}
