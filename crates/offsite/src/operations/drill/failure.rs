//! Why it is not proven that a backup can be restored.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::damage::Damage;
use crate::error::{Error, Result};
use crate::operations::restore;
use crate::shown::shown;

/// What is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// This machine: a temporary file, or the folder to restore into.
    Machine,
    /// The store did not give something out.
    Store,
    /// A key does not open what it should.
    Key,
    /// What lies in the store is damaged, lost, or of somebody who is not trusted.
    Backup,
}

/// Why something is not proven, fit for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is to blame.
    pub blame: Blame,
    /// What is wrong.
    pub cause: String,
    /// What of the backup is lost by it.
    pub lost: Option<Lost>,
}

/// Entries that are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The path of one of them.
    pub path: String,
    /// How many others there are.
    pub others: u64,
}

impl Failure {
    fn new(blame: Blame, cause: impl ToString) -> Self {
        Self { blame, cause: cause.to_string(), lost: None }
    }

    /// That a key does not open an object.
    pub(super) fn of_key(key: &Path, error: &Error) -> Self {
        Self::new(Blame::Key, format!("with the key in {}: {error}", shown(key)))
    }

    /// That an entry is lost; the empty path stands for the end of the tar.
    pub(super) fn of_lost(path: &[u8], error: &restore::Error) -> Self {
        let lost = (!path.is_empty()).then(|| Lost { path: shown(Path::new(OsStr::from_bytes(path))), others: 0 });
        Self { lost, ..error.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lost {
            None => {}
            Some(Lost { path, others: 0 }) => write!(f, "lost: {path}: ")?,
            Some(Lost { path, others }) => write!(f, "lost: {path} and {others} more: ")?,
        }
        f.write_str(&self.cause)
    }
}

impl From<&Damage> for Failure {
    fn from(damage: &Damage) -> Self {
        Self::new(Blame::Backup, damage)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let blame = match error {
            Error::Damage(_) | Error::SeveralSigners { .. } | Error::NoBackup { .. } => Blame::Backup,
            Error::WrongKey { .. } => Blame::Key,
            Error::Store(_) => Blame::Store,
            _ => Blame::Machine,
        };
        Self::new(blame, error)
    }
}

impl From<&restore::Error> for Failure {
    fn from(error: &restore::Error) -> Self {
        match error {
            restore::Error::Slice { source, .. } => Self::from(&**source),
            restore::Error::File(error) => error.into(),
            error if error.is_damage() => Self::new(Blame::Backup, error),
            error => Self::new(Blame::Machine, error),
        }
    }
}

/// Most failures of a backup that are kept.
const KEPT: usize = 100;

/// Failures, each cause once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    first: Vec<Failure>,
    more: u64,
    worst: Option<Blame>,
}

impl Failures {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.worst.is_none()
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> &[Failure] {
        &self.first
    }

    /// How many more there are.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more
    }

    /// The gravest blame among all of them: that of a backup, then that of a key.
    #[must_use]
    pub fn worst(&self) -> Option<Blame> {
        self.worst
    }

    /// Adds one. What is lost is added up for each cause.
    pub(super) fn add(&mut self, failure: Failure) {
        self.worst = self.worst.max(Some(failure.blame));
        let is_known = |known: &Failure| (known.blame, &known.cause) == (failure.blame, &failure.cause);
        let Some(known) = self.first.iter().position(is_known) else {
            if self.first.len() < KEPT {
                self.first.push(failure);
            } else {
                self.more += 1;
            }
            return;
        };
        match (&mut self.first[known].lost, failure.lost) {
            (Some(known), Some(lost)) => known.others += 1 + lost.others,
            (known @ None, lost) => *known = lost,
            (Some(_), None) => {}
        }
    }

    /// Adds all of them.
    pub(super) fn append(&mut self, others: Self) {
        self.worst = self.worst.max(others.worst);
        self.more += others.more;
        others.first.into_iter().for_each(|failure| self.add(failure));
    }

    /// Takes an error in, unless it is that the store cannot be reached.
    pub(super) fn unless_outage<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Store(error)) if error.is_retryable() => Err(error.into()),
            Err(error) => {
                self.add((&error).into());
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(path: &str, cause: &str) -> Failure {
        Failure { lost: Some(Lost { path: path.to_owned(), others: 0 }), ..Failure::new(Blame::Backup, cause) }
    }

    #[test]
    fn a_cause_is_told_once() {
        let mut failures = Failures::default();
        assert!(failures.is_empty());
        failures.add(Failure::new(Blame::Backup, "a slice is missing"));
        failures.add(Failure::new(Blame::Key, "wrong"));
        let mut heard = Failures::default();
        ["a", "b", "c"].into_iter().for_each(|path| heard.add(lost(path, "a slice is missing")));
        heard.add(lost("d", "another is"));
        failures.append(heard);
        failures.add(Failure::new(Blame::Backup, "a slice is missing"));
        let texts: Vec<_> = failures.first().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["lost: a and 2 more: a slice is missing", "wrong", "lost: d: another is"]);
        assert_eq!((failures.more(), failures.worst()), (0, Some(Blame::Backup)));
    }

    #[test]
    fn what_is_kept_is_limited() {
        let mut failures = Failures::default();
        (0..250).for_each(|number| failures.add(Failure::new(Blame::Store, number)));
        failures.add(Failure::new(Blame::Key, "last"));
        assert_eq!((failures.first().len(), failures.more(), failures.worst()), (100, 151, Some(Blame::Key)));
    }
}
