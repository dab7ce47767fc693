//! What is kept of an entry until its turn comes.

use crate::index::order::{Mark, Name, Placed, Role};

/// An entry without its places.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    pub(super) name: Name,
    pub(super) role: Role,
}

impl Entry {
    pub(super) fn of(placed: &Placed) -> Self {
        let Placed { mark, name, role, .. } = *placed;
        Self { mark, name, role }
    }
}
