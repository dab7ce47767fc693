//! File names fit for a terminal.

use std::path::Path;

/// A file name fit for a terminal: control characters and broken UTF-8 are escaped.
#[must_use]
pub fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().any(|character| character.is_control() || character == char::REPLACEMENT_CHARACTER) {
        format!("{path:?}")
    } else {
        text.into_owned()
    }
}
