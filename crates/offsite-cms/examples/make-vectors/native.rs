//! Messages that the library writes.

use std::num::NonZero;

use offsite_cms::{Input, Recipients, Sealer, SliceBuffer, StreamKind, encrypt, smime};

use crate::support::der::elements;
use crate::support::{certificate, ignore};

/// Size of a slice: small, so that the vectors are.
pub(crate) const SLICE: usize = 2048;

fn recipients(key: &str) -> Recipients {
    Recipients::new(vec![certificate(key)]).expect("a recipient")
}

/// How much plaintext a slice of [`SLICE`] bytes holds.
pub(crate) fn plaintext_length(key: &str) -> usize {
    let sealer = Sealer::new(&recipients(key), StreamKind::File).expect("a sealer");
    sealer.plaintext_length(SLICE).expect("a possible size")
}

/// A long stream.
pub(crate) fn stream(key: &str, plaintext: &[u8]) -> Vec<u8> {
    let input = Input::Stream(Box::new(std::io::Cursor::new(plaintext.to_vec())));
    let mut out = Vec::new();
    let emit = |slice: &[u8]| {
        out.extend_from_slice(slice);
        Ok(())
    };
    encrypt(input, &recipients(key), StreamKind::File, SLICE, NonZero::<usize>::MIN, emit, &ignore)
        .expect("the library encrypts");
    out
}

/// The slices of a long stream.
pub(crate) fn slices(key: &str, plaintext: &[u8]) -> Vec<Vec<u8>> {
    elements(&stream(key, plaintext)).into_iter().map(<[u8]>::to_vec).collect()
}

/// One sealed slice of a backup.
pub(crate) fn backup_slice(sealer: &Sealer, last: bool, plaintext: &[u8]) -> Vec<u8> {
    let mut buffer: SliceBuffer = sealer.buffer(plaintext.len());
    buffer.plaintext_mut()[..plaintext.len()].copy_from_slice(plaintext);
    let number = sealer.next_number().expect("a number");
    sealer.seal(number, last, &mut buffer, plaintext.len()).expect("the library seals");
    buffer.slice().to_vec()
}

/// A sealer of a backup's slices.
pub(crate) fn backup_sealer(key: &str) -> Sealer {
    Sealer::new(&recipients(key), StreamKind::Slices("host/set/backup")).expect("a sealer")
}

/// A message in the smime profile.
pub(crate) fn smime(key: &str, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    smime::encrypt(&mut &plaintext[..], u64::MAX, &recipients(key), &mut out, &ignore).expect("the library encrypts");
    out
}
