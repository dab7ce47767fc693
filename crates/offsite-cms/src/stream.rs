//! Long streams: any input to a row of slices, and back (format.md §5).

use std::io::{self, Write};
use std::num::NonZero;
use std::ops::Range;

use crate::error::{Error, Result, SliceProblem, UsageError};
use crate::input::{Fetched, Input, OpenInput, Pieces};
use crate::limits;
use crate::pipeline;
use crate::recipients::Recipients;
use crate::slice::{Opener, Sealer, SliceBuffer, SliceNumber, StreamKind};

/// What an operation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Number of slices; 1 for a message that is not sliced.
    pub slices: u64,
    /// Bytes of plaintext.
    pub plaintext: u64,
}

impl Totals {
    /// Counts a slice with `plaintext` bytes.
    fn add(&mut self, plaintext: usize) -> Result<(), UsageError> {
        self.slices += 1;
        self.plaintext += plaintext as u64;
        if self.plaintext > limits::STREAM_PLAINTEXT { Err(UsageError::StreamTooLong) } else { Ok(()) }
    }
}

/// Called with the number of bytes of input that are done since the last call.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Encrypts `input` in the `cms` profile, as a stream of this kind, on so many threads. `emit` gets each
/// slice, in order, whole.
///
/// # Errors
///
/// [`Error::Usage`] for a slice size that is not possible; [`Error::Read`]; [`Error::Write`] with
/// what `emit` returned.
#[expect(clippy::missing_panics_doc, reason = "the pipeline fetches before it works")]
pub fn encrypt(
    input: Input,
    recipients: &Recipients,
    kind: StreamKind<'_>,
    slice_size: usize,
    threads: NonZero<usize>,
    mut emit: impl FnMut(&[u8]) -> io::Result<()> + Send,
    progress: Progress<'_>,
) -> Result<Totals> {
    struct Slot {
        buffer: SliceBuffer,
        fetched: Option<(Fetched, SliceNumber)>,
        last: bool,
        plaintext: usize,
    }
    let sealer = Sealer::new(recipients, kind)?;
    let length = sealer.plaintext_length(slice_size)?;
    if length == 0 {
        return Err(UsageError::SliceSize.into());
    }
    let mut pieces = Pieces::new(input.open()?, length);
    let mut totals = Totals::default();
    pipeline::run(
        at_once(threads, slice_size),
        || Slot { buffer: sealer.buffer(length), fetched: None, last: false, plaintext: 0 },
        |number, slot| {
            let Some(fetched) = pieces.fetch(number, slot.buffer.plaintext_mut())? else { return Ok(false) };
            slot.fetched = Some((fetched, sealer.next_number()?));
            Ok(true)
        },
        |_, slot| {
            let (fetched, number) = slot.fetched.take().expect("fetch comes before work");
            let piece = fetched.read(&mut slot.buffer.plaintext_mut()[..=length])?;
            (slot.last, slot.plaintext) = (piece.last, piece.length);
            sealer.seal(number, piece.last, &mut slot.buffer, piece.length)
        },
        |_, slot| {
            totals.add(slot.plaintext)?;
            emit(slot.buffer.slice()).map_err(Error::Write)?;
            progress(slot.plaintext as u64);
            Ok(!slot.last)
        },
    )?;
    Ok(totals)
}

/// Decrypts a row of slices, of which the first is `slice_size` bytes long.
pub(crate) fn decrypt(
    input: OpenInput,
    opener: &Opener,
    slice_size: usize,
    threads: NonZero<usize>,
    output: &mut (dyn Write + Send),
    progress: Progress<'_>,
) -> Result<Totals> {
    struct Slot {
        bytes: Box<[u8]>,
        fetched: Option<Fetched>,
        last: bool,
        plaintext: Range<usize>,
    }
    let mut pieces = Pieces::new(input, slice_size);
    let mut totals = Totals::default();
    pipeline::run(
        at_once(threads, slice_size),
        || Slot { bytes: vec![0; slice_size + 1].into_boxed_slice(), fetched: None, last: false, plaintext: 0..0 },
        |number, slot| {
            slot.fetched = pieces.fetch(number, &mut slot.bytes)?;
            Ok(slot.fetched.is_some())
        },
        |number, slot| {
            let piece = slot.fetched.take().expect("fetch comes before work").read(&mut slot.bytes)?;
            let slice = &mut slot.bytes[..piece.length];
            let at_slice = |problem| Error::Slice { slice: number, at: number * slice_size as u64, problem };
            let short_number = u32::try_from(number).map_err(|_| at_slice(SliceProblem::NotASlice))?;
            slot.plaintext = opener.open(short_number, piece.last, slice).map_err(at_slice)?;
            slot.last = piece.last;
            Ok(())
        },
        |_, slot| {
            let plaintext = &slot.bytes[slot.plaintext.clone()];
            totals.add(plaintext.len())?;
            output.write_all(plaintext).map_err(Error::Write)?;
            progress(plaintext.len() as u64);
            Ok(!slot.last)
        },
    )?;
    Ok(totals)
}

/// So many slices at once, each with a thread that reads, works and writes in turn: a third buffer beside two
/// cores is only more memory that leaves the cache (a quarter slower, measured). At least two, so
/// that one can work while another waits for a disk; fewer where slices are large.
fn at_once(threads: NonZero<usize>, slice_size: usize) -> usize {
    threads.get().max(2).min(limits::SLICES_IN_FLIGHT / slice_size.max(1)).max(1)
}
