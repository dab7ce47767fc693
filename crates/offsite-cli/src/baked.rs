//! What is baked into this binary.

use std::hint::black_box;

use offsite::baked::{self, Area, Settings};

/// The area that `bake` writes into, in a copy of the program's file.
#[used]
static AREA: Area = baked::empty();

/// The area as it is in this binary's file.
pub(crate) fn area() -> &'static Area {
    // The compiler must not put what it sees above in the place of what it reads here. That is all that keeps it
    // from it, and tests/bake.rs shows that it does.
    black_box(&AREA)
}

/// What is baked in.
///
/// # Errors
///
/// Where it is damaged.
pub(crate) fn settings() -> Result<Settings, baked::Error> {
    Settings::read(area())
}
