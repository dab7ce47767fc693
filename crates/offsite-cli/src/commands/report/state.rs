//! Whether a set is as it should be.

use offsite::hashes::Fingerprint;
use offsite::operations::report::{Reported, Set};
use offsite::operations::verify::{Finding, What};
use offsite::receipt::Status;

use super::drills::{Drills, OfSet};
use crate::words::counted;

/// How things stand, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Something is wrong.
    Bad,
    /// Somebody should have a look.
    Attention,
    Good,
}

impl Level {
    /// The name of its class and of its sign.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Attention => "attention",
            Self::Good => "good",
        }
    }
}

/// A set, and all that is said of it.
pub(super) struct Row<'r> {
    pub(super) set: &'r Set,
    /// What is wrong.
    pub(super) findings: Vec<&'r Finding>,
    pub(super) drills: Option<&'r OfSet>,
    pub(super) level: Level,
    /// Why, the gravest first; none where all is well.
    pub(super) reasons: Vec<String>,
}

impl Row<'_> {
    /// The set's name, which is also that of its place in the page.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.set.host, self.set.set)
    }

    /// Why, in short.
    pub(super) fn reason(&self) -> &str {
        self.reasons.first().map_or("ok", String::as_str)
    }

    /// Whether the last drill has failed.
    pub(super) fn has_failed_a_drill(&self) -> bool {
        self.drills.and_then(|drills| drills.last.as_ref()).is_some_and(|last| !last.passed)
    }

    /// Whether the last drill has proven that this recipient's key opens the backup.
    pub(super) fn has_proven(&self, recipient: &Fingerprint) -> bool {
        let last = self.drills.and_then(|drills| drills.last.as_ref());
        last.is_some_and(|last| last.proven.contains(&recipient.to_string()))
    }

    /// Whether the latest backup is older than it may be.
    pub(super) fn is_too_old(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding.what, What::TooOld(_)))
    }
}

/// A row for each set, the gravest first. Findings of no set have none.
pub(super) fn rows<'r>(reported: &'r Reported, drills: Option<&'r Drills>) -> Vec<Row<'r>> {
    // Both are by host and set, but for findings that came last.
    let mut findings: Vec<&Finding> = reported.findings.iter().collect();
    findings.sort_by(|one, other| one.of.cmp(&other.of));
    let row = |set: &'r Set| {
        let is_of =
            |finding: &Finding| finding.of.as_ref().map(|(host, name)| (host, name)).cmp(&Some((&set.host, &set.set)));
        let start = findings.partition_point(|finding| is_of(finding).is_lt());
        let length = findings[start..].partition_point(|finding| is_of(finding).is_eq());
        let mut row = Row {
            set,
            findings: findings[start..start + length].to_vec(),
            drills: drills.and_then(|drills| drills.of(&set.host, &set.set)),
            level: Level::Good,
            reasons: Vec::new(),
        };
        let bad = wrong(&row);
        let attention = remarkable(&row, drills.is_some());
        row.level = match (bad.is_empty(), attention.is_empty()) {
            (false, _) => Level::Bad,
            (true, false) => Level::Attention,
            (true, true) => Level::Good,
        };
        row.reasons = bad.into_iter().chain(attention).collect();
        row
    };
    let mut rows: Vec<Row<'_>> = reported.sets.iter().map(row).collect();
    rows.sort_by_key(|row| row.level);
    rows
}

/// What makes the page's exit code.
fn wrong(row: &Row<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut others = 0;
    for finding in &row.findings {
        match &finding.what {
            What::SetGone { .. } => reasons.push("gone".to_owned()),
            What::TooOld(None) => reasons.push("no backup".to_owned()),
            What::TooOld(Some(_)) => reasons.push("too old".to_owned()),
            _ => others += 1,
        }
    }
    if others > 0 {
        reasons.push(counted(others, "finding"));
    }
    if row.has_failed_a_drill() {
        reasons.push("drill failed".to_owned());
    }
    reasons
}

/// What is not wrong in the store.
fn remarkable(row: &Row<'_>, with_drills: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    let Some(latest) = row.set.latest() else { return reasons };
    if latest.status == Status::Partial {
        reasons.push("partial".to_owned());
    }
    if with_drills && row.drills.is_none() {
        reasons.push("never drilled".to_owned());
    }
    reasons
}
