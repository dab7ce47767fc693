//! The rules that hold within a receipt (format.md §14).

use std::collections::BTreeSet;

use time::Duration;

use super::{Error, Object, Previous, Problem, Receipt, Result, Run, TimeProblem};
use crate::hashes::{Fingerprint, Hashed};
use crate::names::BackupFile;

/// Every limit of a receipt.
pub mod limits {
    /// Largest receipt, signature and all, in bytes: for [`Read::get`](crate::store::Read::get).
    pub const SIZE: usize = offsite_cms::limits::SIGNED_MESSAGE;
    /// Largest number of anything: what every reader of JSON keeps exactly.
    pub const NUMBER: u64 = 1 << 53;
    /// Largest object, a slice or not, in bytes.
    pub const OBJECT: u64 = offsite_cms::limits::SLICE_SIZE_MAX as u64;
    /// Most slices of a run.
    pub const SLICES: u64 = offsite_cms::limits::STREAM_SLICES;
    /// Most recipients of a run.
    pub const RECIPIENTS: usize = offsite_cms::limits::RECIPIENTS;
    /// Most receipts that are unconfirmed: one a day, for two months.
    pub const UNCONFIRMED: usize = 64;
    /// Longest time of reuse, in seconds: 36,525 days.
    pub const REUSE_FOR: u64 = 36_525 * 86_400;
    /// Longest name of a program, in bytes.
    pub const PROGRAM: usize = 64;
    /// Most objects beside slices, and most objects of the indexes in the chain.
    pub const OBJECTS: usize = 1 << 16;
    /// Most earlier indexes in the chain.
    pub const CHAIN: usize = 15;
    /// Most earlier runs: one every two hours for 15 years.
    pub const RUNS: usize = 1 << 16;
    /// Most ranges of slices, of all runs together: 26 MiB of text.
    pub const RANGES: usize = 1 << 20;
    /// Longest certificate, in bytes of DER.
    pub const CERTIFICATE: usize = 16 << 10;
    /// Longest time that a backup may take, in days.
    pub const DAYS: i64 = 366;
}

fn ensure(key: &'static str, fits: bool, problem: Problem) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::Field { key, problem }) }
}

/// A number or a count of entries within its limit.
fn within(key: &'static str, found: u64, limit: u64) -> Result<()> {
    ensure(key, found <= limit, Problem::TooMuch(limit))
}

fn ascends<T: Ord>(key: &'static str, mut entries: impl Iterator<Item = T>) -> Result<()> {
    let Some(mut last) = entries.next() else { return Ok(()) };
    for entry in entries {
        ensure(key, last < entry, Problem::Order)?;
        last = entry;
    }
    Ok(())
}

fn object(key: &'static str, contents: Hashed) -> Result<()> {
    ensure(key, contents.size > 0, Problem::Empty)?;
    within(key, contents.size, limits::OBJECT)
}

/// Checks everything but the times.
pub(super) fn check(receipt: &Receipt) -> Result<()> {
    let Receipt { program, counts, unconfirmed, recipients, .. } = receipt;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b" .+_-".contains(&byte);
    ensure("program", !program.is_empty(), Problem::Empty)?;
    within("program", program.len() as u64, limits::PROGRAM as u64)?;
    ensure("program", program.bytes().all(word), Problem::Form)?;
    for (key, number) in [
        ("files", counts.files),
        ("folders", counts.folders),
        ("others", counts.others),
        ("bytes", counts.bytes),
        ("errors", counts.errors),
        ("slice_bytes", receipt.slice_bytes),
        ("stored_bytes", receipt.stored_bytes()),
    ] {
        within(key, number, limits::NUMBER)?;
    }
    within("unconfirmed", unconfirmed.len() as u64, limits::UNCONFIRMED as u64)?;
    ascends("unconfirmed", unconfirmed.iter().map(|link| link.backup))?;
    let previous = match receipt.previous {
        Previous::Receipt(link) => Some(link.backup),
        Previous::None(_) => None,
    };
    ensure("previous", previous != Some(receipt.backup), Problem::Contradicts("backup"))?;
    let twice = |backup| backup == receipt.backup || Some(backup) == previous;
    ensure("unconfirmed", !unconfirmed.iter().any(|link| twice(link.backup)), Problem::Order)?;
    within("reuse_for", receipt.reuse_for, limits::REUSE_FOR)?;
    ensure("recipients", !recipients.is_empty(), Problem::Empty)?;
    within("recipients", recipients.len() as u64, limits::RECIPIENTS as u64)?;
    ascends("recipients", recipients.iter())?;
    slices(receipt)?;
    objects(&receipt.objects, receipt.slices > 0)?;
    chain(receipt)?;
    runs(receipt)?;
    within("signer", receipt.signer.der().len() as u64, limits::CERTIFICATE as u64)
}

fn slices(receipt: &Receipt) -> Result<()> {
    within("slices", receipt.slices, limits::SLICES)?;
    let most = receipt.slices.saturating_mul(limits::OBJECT);
    let fits = (receipt.slices..=most).contains(&receipt.slice_bytes);
    ensure("slice_bytes", fits, Problem::Contradicts("slices"))
}

/// All that there must be, in order, and nothing else.
fn objects(objects: &[Object], with_slices: bool) -> Result<()> {
    const KEY: &str = "objects";
    within(KEY, objects.len() as u64, limits::OBJECTS as u64)?;
    objects.iter().try_for_each(|one| object(KEY, one.contents))?;
    ascends(KEY, objects.iter().map(|object| object.file))?;
    let count = |is: fn(BackupFile) -> bool| (0_u32..).zip(objects.iter().filter(|object| is(object.file))).last();
    // What ascends from 0, and ends with one less than its length, has no gap.
    let index = count(|file| matches!(file, BackupFile::Index(_)));
    let plan = count(|file| matches!(file, BackupFile::Plan(_)));
    let whole = index.is_some_and(|(last, object)| object.file == BackupFile::Index(last))
        && plan.is_some_and(|(last, object)| object.file == BackupFile::Plan(last));
    let has = |file| objects.iter().any(|object| object.file == file);
    let rest = has(BackupFile::Recipients) && has(BackupFile::Recover) && has(BackupFile::Checksums) == with_slices;
    ensure(KEY, whole && rest, Problem::Entries)
}

/// Backups in a row, each once, with all of its objects from number 0.
fn chain(receipt: &Receipt) -> Result<()> {
    const KEY: &str = "index_chain";
    within(KEY, receipt.index_chain.len() as u64, limits::OBJECTS as u64)?;
    let mut backups = BTreeSet::new();
    let mut last = None;
    for one in &receipt.index_chain {
        object(KEY, one.contents)?;
        let follows = match last {
            Some((backup, number)) if backup == one.backup => one.number.checked_sub(1) == Some(number),
            _ => one.number == 0 && one.backup != receipt.backup && backups.insert(one.backup),
        };
        ensure(KEY, follows, Problem::Order)?;
        last = Some((one.backup, one.number));
    }
    within(KEY, backups.len() as u64, limits::CHAIN as u64)
}

fn runs(receipt: &Receipt) -> Result<()> {
    const KEY: &str = "runs";
    let Receipt { runs, recipients, .. } = receipt;
    within(KEY, runs.len() as u64, limits::RUNS as u64)?;
    ascends(KEY, runs.iter().map(|run| run.backup))?;
    ensure(KEY, runs.iter().all(|run| run.backup != receipt.backup), Problem::Contradicts("backup"))?;
    within(KEY, runs.iter().map(|run| run.slices.len() as u64).sum(), limits::RANGES as u64)?;
    runs.iter().try_for_each(|one| run(KEY, one, recipients))
}

fn run(key: &'static str, run: &Run, recipients: &[Fingerprint]) -> Result<()> {
    let Run { slices, other_recipients: others, .. } = run;
    object(key, run.checksums)?;
    ensure(key, !slices.is_empty(), Problem::Empty)?;
    let ordered = slices.iter().all(|range| range.first <= range.last);
    let apart = slices.windows(2).all(|pair| u64::from(pair[0].last) + 1 < u64::from(pair[1].first));
    ensure(key, ordered && apart, Problem::Order)?;
    within(key, (recipients.len() + others.len()) as u64, limits::RECIPIENTS as u64)?;
    ascends(key, others.iter())?;
    ensure(key, !others.iter().any(|other| recipients.contains(other)), Problem::Contradicts("recipients"))
}

/// Checks that the times do not contradict each other.
pub(super) fn check_times(receipt: &Receipt) -> Result<()> {
    let start = receipt.start();
    let latest = start.checked_add(Duration::days(limits::DAYS));
    if receipt.end < start {
        return Err(Error::Times(TimeProblem::Backwards));
    }
    if receipt.end.unix_timestamp() > super::encode::LATEST || latest.is_some_and(|latest| receipt.end > latest) {
        return Err(Error::Times(TimeProblem::TooLong));
    }
    let chain = receipt.index_chain.iter().map(|object| object.backup);
    let used = chain.chain(receipt.runs.iter().map(|run| run.backup));
    match used.into_iter().find(|used| used.start() > start) {
        Some(later) => Err(Error::Times(TimeProblem::UsesLater(later))),
        None => Ok(()),
    }
}
