//! The map of a sparse file, at the start of its content (GNU tar's manual, "PAX Format, Version
//! 1.0"): the number of extents, then offset and length of each, decimal numbers each in a line of
//! its own, filled with zeros to a whole block. The data follow.

use std::io::Read;

use super::pax::decimal;
use super::{Error, Extent, Fault, Field, Reader, Result, damaged};
use crate::archive::limits;

/// Reads the map of a file of `file_size` bytes whose map and data take `member_size`.
pub(super) fn read_map<R: Read>(reader: &mut Reader<R>, file_size: u64, member_size: u64) -> Result<Vec<Extent>> {
    let mut map = Map { block: [0; limits::BLOCK], next: limits::BLOCK, taken: 0, size: member_size, reader };
    let count = map.number()?;
    let count = usize::try_from(count).ok().filter(|count| *count <= limits::EXTENTS);
    let too_many = Fault::TooMany { what: "extents in a sparse file", limit: limits::EXTENTS };
    let count = count.ok_or_else(|| map.damaged(too_many))?;
    let mut extents = Vec::new();
    let (mut end, mut data) = (0, 0);
    for _ in 0..count {
        let extent = Extent { offset: map.number()?, length: map.number()? };
        let after = extent.offset.checked_add(extent.length).filter(|after| *after <= file_size);
        let after = after.filter(|_| extent.offset >= end);
        end = after.ok_or_else(|| map.damaged(Fault::SparseMap))?;
        data += extent.length;
        extents.push(extent);
    }
    map.finish()?;
    if map.taken + data != member_size {
        return Err(map.damaged(Fault::Disagree(Field::Size)));
    }
    Ok(extents)
}

struct Map<'a, R> {
    reader: &'a mut Reader<R>,
    /// The block at hand, and the next byte of it.
    block: [u8; limits::BLOCK],
    next: usize,
    /// Bytes of the content that blocks of the map have taken.
    taken: u64,
    /// Bytes of the content.
    size: u64,
}

impl<R: Read> Map<'_, R> {
    /// The next line.
    fn number(&mut self) -> Result<u64> {
        // 64 bits are 20 digits.
        let mut digits = Vec::with_capacity(20);
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if digits.len() == 20 => return Err(self.damaged(Fault::SparseMap)),
                digit => digits.push(digit),
            }
        }
        let number = decimal(&digits).filter(|number| *number <= limits::FILE_SIZE);
        number.ok_or_else(|| self.damaged(Fault::SparseMap))
    }

    fn byte(&mut self) -> Result<u8> {
        if self.next == self.block.len() {
            self.fill()?;
        }
        self.next += 1;
        Ok(self.block[self.next - 1])
    }

    fn fill(&mut self) -> Result<()> {
        if self.size - self.taken < limits::BLOCK as u64 {
            return Err(self.damaged(Fault::SparseMap));
        }
        self.block = self.reader.block()?;
        self.reader.content -= limits::BLOCK as u64;
        self.taken += limits::BLOCK as u64;
        self.next = 0;
        Ok(())
    }

    /// What is left of the last block is zeros.
    fn finish(&mut self) -> Result<()> {
        let zeros = self.block[self.next..].iter().all(|byte| *byte == 0);
        if zeros { Ok(()) } else { Err(self.damaged(Fault::Padding)) }
    }

    fn damaged(&self, fault: Fault) -> Error {
        damaged(self.reader.position)(fault)
    }
}
