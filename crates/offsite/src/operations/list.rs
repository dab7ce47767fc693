//! `list`: the backups in a store, from their receipts; needs no key.

use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::operations::backups::{self, Found, Scope};
use crate::pins::Pins;
use crate::store;

/// All backups in the scope, ordered by host and set, the oldest first. Those of signers who are not
/// pinned are among them. What is wrong is told to `events`.
///
/// # Errors
///
/// [`Error::NoBackup`] where a host or set was named and has none; [`Error::Store`].
pub fn list(store: &dyn store::Read, scope: &Scope, pins: &Pins, events: &dyn Events) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    backups::survey(store, scope, pins, events, &mut |found, _| {
        found.findings().for_each(|damage| events.damage(&damage));
        all.push(found);
    })?;
    if all.is_empty() && *scope != Scope::default() {
        return Err(Error::NoBackup { host: scope.host.clone(), set: scope.set.clone() });
    }
    if pins.is_empty() && !all.is_empty() {
        for of_set in all.chunk_by(|one, other| one.name.of() == other.name.of()) {
            let (signers, name) = (backups::signers(of_set), &of_set[0].name);
            if signers.len() > 1 {
                events.warn(Warning::SeveralSigners { host: name.host.clone(), set: name.set.clone(), signers });
            }
        }
        events.warn(Warning::OriginNotProven);
    }
    Ok(all)
}
