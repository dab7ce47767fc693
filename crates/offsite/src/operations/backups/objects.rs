//! Getting what a receipt lists.

use std::ops::ControlFlow;

use offsite_cms as cms;

use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::hashes::{Hashed, Sha256};
use crate::names::ObjectName;
use crate::store::{self, Reason};

/// Gets an object that must be so long and have this hash. Where the store keeps versions, one of them
/// may be it, whatever became of the object since.
pub(in crate::operations) fn get(store: &dyn store::Read, object: &ObjectName, expected: Hashed) -> Result<Vec<u8>> {
    get_in(store, object, expected, Vec::new())
}

/// The same, in memory that is no longer needed.
pub(super) fn get_in(
    store: &dyn store::Read,
    object: &ObjectName,
    expected: Hashed,
    memory: Vec<u8>,
) -> Result<Vec<u8>> {
    let error = match get_current(store, object, expected, memory) {
        Err(error) if !may_pass(&error) => error,
        got => return got,
    };
    // Why the object at hand is not it is what counts, unless the others cannot be asked for now.
    match get_older(store, object, expected) {
        Ok(Some(bytes)) => Ok(bytes),
        Err(outage) if may_pass(&outage) => Err(outage),
        _ => Err(error),
    }
}

/// Whether it may be better a little later.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.is_retryable())
}

fn get_older(store: &dyn store::Read, object: &ObjectName, expected: Hashed) -> Result<Option<Vec<u8>>> {
    let mut right = None;
    store.versions(object, usize::try_from(expected.size).unwrap_or(usize::MAX), &mut |bytes| {
        if Hashed::of(&bytes) != expected {
            return ControlFlow::Continue(());
        }
        right = Some(bytes);
        ControlFlow::Break(())
    })?;
    Ok(right)
}

fn get_current(store: &dyn store::Read, object: &ObjectName, expected: Hashed, memory: Vec<u8>) -> Result<Vec<u8>> {
    let damage = |problem| Error::from(Damage { object: object.clone(), problem });
    let limit = usize::try_from(expected.size).unwrap_or(usize::MAX);
    let bytes = store.get_in(object, limit, memory).map_err(|error| match error.reason {
        Reason::NotFound => damage(Problem::Missing),
        Reason::NotAnObject => damage(Problem::NotAnObject),
        Reason::TooLarge { limit } => damage(Problem::TooLong(limit as u64)),
        _ => error.into(),
    })?;
    if bytes.len() != limit {
        return Err(damage(Problem::Size { found: bytes.len() as u64, expected: expected.size }));
    }
    if Sha256::of(&bytes) != expected.sha256 { Err(damage(Problem::Hash)) } else { Ok(bytes) }
}

/// By blame: an object that is the one listed, and that does not open.
pub(super) fn not_opened(object: &ObjectName, error: cms::Error) -> Error {
    let object = object.clone();
    match error {
        source @ (cms::Error::NotForThisKey { .. } | cms::Error::Decryption) => Error::WrongKey { object, source },
        source @ cms::Error::Crypto(_) => Error::Cms { path: None, source },
        source => Damage { object, problem: Problem::Message(source) }.into(),
    }
}
