//! A whole tar at once, without bundles and chunks: the bytes that a backup's pieces add up to.

use std::io::{self, Write};

use crate::archive::header::{END, padding};
use crate::archive::incident::Incident;
use crate::archive::member::{Member, Packer, read_padded};
use crate::archive::walk::Entry;

/// How much of a file is read at a time.
const READ: usize = 256 << 10;

/// Writes what a walk finds as one tar. `report` is told what goes wrong with single entries.
///
/// # Errors
///
/// Those of `out`, and of files without names.
pub fn write_tar(
    found: impl IntoIterator<Item = io::Result<Result<Entry, Incident>>>,
    out: &mut impl Write,
    report: &mut dyn FnMut(Incident),
) -> io::Result<()> {
    let mut packer = Packer::new(&std::env::temp_dir());
    let mut buffer = vec![0; READ];
    for found in found {
        match found? {
            Ok(entry) => {
                let role = packer.role(&entry)?;
                if let Some(member) = packer.pack(&entry, role, report)? {
                    write_member(&entry, &member, &mut buffer, out, report)?;
                }
            }
            Err(incident) => report(incident),
        }
    }
    out.write_all(&END)
}

fn write_member(
    entry: &Entry,
    member: &Member,
    buffer: &mut [u8],
    out: &mut impl Write,
    report: &mut dyn FnMut(Incident),
) -> io::Result<()> {
    out.write_all(&member.header)?;
    let Some(file) = member.content.file() else { return Ok(()) };
    let mut failure = None;
    for piece in member.content.pieces() {
        let (mut offset, mut left) = (piece.offset, piece.length);
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..count];
            if let Err(error) = read_padded(file, offset, part) {
                failure.get_or_insert(error);
            }
            out.write_all(part)?;
            offset += count as u64;
            left -= count as u64;
        }
    }
    let filled = usize::try_from(padding(member.content.stored())).unwrap_or(0);
    out.write_all(&END[..filled])?;

    if let Some(what) = member.after_reading(failure) {
        report(Incident::new(&entry.path, what));
    }
    Ok(())
}
