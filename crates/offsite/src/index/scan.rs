//! A line as a row of expected pieces: what an index writes has one form, so that reading it needs
//! no parser of JSON, and what differs in anything is refused where it differs.

use super::error::Problem;
use super::text::take_string;

/// What is left of a line.
pub(super) struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Of a line, which is UTF-8 and has lost its line feed.
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    /// It is not as it must be, from here on.
    pub(super) fn wrong(&self) -> Problem {
        Problem::Syntax(self.at + 1)
    }

    /// Passes over `text`, if it comes next.
    pub(super) fn skips(&mut self, text: &str) -> bool {
        let comes = self.rest().starts_with(text.as_bytes());
        self.at += if comes { text.len() } else { 0 };
        comes
    }

    /// Passes over `text`.
    pub(super) fn expect(&mut self, text: &str) -> Result<(), Problem> {
        if self.skips(text) { Ok(()) } else { Err(self.wrong()) }
    }

    /// A number of at most `most`, without leading zeros.
    pub(super) fn number(&mut self, most: u64) -> Result<u64, Problem> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = &self.rest()[..digits];
        if digits == 0 || digits > 1 && text[0] == b'0' {
            return Err(self.wrong());
        }
        let add = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        let number = text.iter().try_fold(0, add).filter(|number| *number <= most);
        let number = number.ok_or(Problem::Number(self.at + 1))?;
        self.at += digits;
        Ok(number)
    }

    /// A number of 32 bits.
    pub(super) fn number32(&mut self) -> Result<u32, Problem> {
        let at = self.at + 1;
        let number = self.number(u64::from(u32::MAX))?;
        u32::try_from(number).map_err(|_| Problem::Number(at))
    }

    /// A number with a sign where it is negative.
    pub(super) fn signed(&mut self) -> Result<i64, Problem> {
        let at = self.at;
        let negative = self.skips("-");
        let number = self.number(i64::MIN.unsigned_abs())?;
        match (negative, number) {
            (true, 0) => Err(Problem::Syntax(at + 1)),
            (true, _) => Ok(0_i64.wrapping_sub_unsigned(number)),
            (false, _) => i64::try_from(number).map_err(|_| Problem::Number(at + 1)),
        }
    }

    /// A name.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, Problem> {
        let (name, length) = take_string(self.rest()).map_err(|at| Problem::Syntax(self.at + at + 1))?;
        self.at += length;
        Ok(name)
    }

    /// A string that is of plain letters, parsed.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, Problem> {
        let at = self.at + 1;
        let name = self.string()?;
        let parsed = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
        parsed.ok_or(Problem::Syntax(at))
    }

    /// Nothing more.
    pub(super) fn end(&self) -> Result<(), Problem> {
        if self.at == self.line.len() { Ok(()) } else { Err(self.wrong()) }
    }
}
