//! Frames to sealed slices. A frame never crosses a slice: a slice closes early instead, so that each
//! is of use without the others (format.md §5, §16.1).
//!
//! One thread fills a slice while others seal, hash and put those before it. There are as many
//! buffers as threads and one more, each lent to the store without a copy, and nothing else grows
//! with the input.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use cms::{Sealer, SliceBuffer, SliceNumber};
use offsite_cms as cms;

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slice's number in its run.
    pub slice: u32,
    /// First byte of the frame in the slice's plaintext.
    pub offset: u64,
    /// The frame's length in bytes.
    pub length: u64,
}

/// A slice that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its length in bytes, sealed.
    pub size: u64,
    /// SHA-256 of its bytes, sealed.
    pub sha256: [u8; 32],
}

/// Why slices could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// A frame is larger than a slice's plaintext.
    #[error("a frame of {length} bytes does not fit a slice of {capacity}")]
    FrameTooLarge {
        /// Length of the frame in bytes.
        length: usize,
        /// How much a slice holds, in bytes.
        capacity: usize,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(cms::Error),
    /// Putting failed, or the caller's own part.
    #[error(transparent)]
    Other(E),
    /// Another thread failed; its error is the one that is returned in the end.
    #[error("stopped, because a slice could not be put")]
    Stopped,
}

impl<E> From<cms::UsageError> for Error<E> {
    fn from(error: cms::UsageError) -> Self {
        Self::Seal(error.into())
    }
}

/// Takes frames, in order.
pub struct Writer<'a> {
    sealer: &'a Sealer,
    capacity: usize,
    current: Option<Filling>,
    /// Slices to be sealed.
    full: SyncSender<Filled>,
    /// Buffers to be used again.
    free: Receiver<SliceBuffer>,
}

/// A slice that takes frames.
struct Filling {
    number: SliceNumber,
    buffer: SliceBuffer,
    length: usize,
}

/// A slice that takes no more.
struct Filled {
    slice: Filling,
    last: bool,
}

impl Writer<'_> {
    /// Adds a frame, to the slice at hand or, where it has no room, to the next.
    ///
    /// # Errors
    ///
    /// [`Error::FrameTooLarge`], or [`Error::Stopped`].
    pub fn frame<E>(&mut self, frame: &[u8]) -> Result<Place, Error<E>> {
        if frame.len() > self.capacity {
            return Err(Error::FrameTooLarge { length: frame.len(), capacity: self.capacity });
        }
        if self.current.as_ref().is_some_and(|slice| slice.length + frame.len() > self.capacity) {
            self.close(false)?;
        }
        let slice = match &mut self.current {
            Some(slice) => slice,
            empty => {
                let buffer = self.free.recv().map_err(|_| Error::Stopped)?;
                empty.insert(Filling { number: self.sealer.next_number()?, buffer, length: 0 })
            }
        };
        let span: Range<usize> = slice.length..slice.length + frame.len();
        slice.buffer.plaintext_mut()[span.clone()].copy_from_slice(frame);
        slice.length = span.end;
        Ok(Place { slice: slice.number.get(), offset: span.start as u64, length: frame.len() as u64 })
    }

    fn close<E>(&mut self, last: bool) -> Result<(), Error<E>> {
        match self.current.take() {
            Some(slice) => self.full.send(Filled { slice, last }).map_err(|_| Error::Stopped),
            None => Ok(()),
        }
    }
}

/// Runs `fill`, which hands frames to a [`Writer`], and meanwhile seals the slices that fill up and
/// gives each to `put` with its number and its hash; `at_once` of them at once, in any order. What `fill` returns, and the
/// slices by number. After a failure only what is under way is still put.
///
/// # Errors
///
/// The first failure of `put`, else that of `fill`.
pub fn write<T, E: Send>(
    sealer: &Sealer,
    slice_size: usize,
    at_once: usize,
    put: impl Fn(u32, &Sealed, Bytes) -> Result<(), E> + Sync,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<T, Error<E>>,
) -> Result<(T, Vec<Sealed>), Error<E>> {
    let capacity = sealer.plaintext_length(slice_size)?;
    let (full, to_seal) = sync_channel::<Filled>(at_once);
    let (give_back, free) = sync_channel(at_once + 1);
    for _ in 0..=at_once {
        // The channel has room for all of them.
        let _ = give_back.send(sealer.buffer(capacity));
    }
    let to_seal = Mutex::new(Some(to_seal));
    let done = Mutex::new(Done { sealed: Vec::new(), failure: None });
    let work = |give_back: SyncSender<SliceBuffer>| {
        while let Some(filled) = next(&to_seal) {
            match seal_and_put(sealer, filled, &put) {
                Ok((number, sealed, buffer)) => {
                    lock(&done).sealed.push((number, sealed));
                    let buffer = buffer.unwrap_or_else(|| sealer.buffer(capacity));
                    // Nobody takes it where the caller's part has ended.
                    let _ = give_back.send(buffer);
                }
                Err(error) => {
                    lock(&done).failure.get_or_insert(error);
                    // Without a receiver every further send fails, and the caller's part ends.
                    lock(&to_seal).take();
                }
            }
        }
    };
    let filled = thread::scope(|scope| {
        for _ in 0..at_once {
            let give_back = give_back.clone();
            scope.spawn(|| work(give_back));
        }
        // Once the threads have ended, nobody waits for a buffer from them.
        drop(give_back);
        let mut writer = Writer { sealer, capacity, current: None, full, free };
        let filled = fill(&mut writer);
        filled.and_then(|value| writer.close(true).map(|()| value))
    });
    let Done { mut sealed, failure } = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let value = filled?;
    sealed.sort_unstable_by_key(|(number, _)| *number);
    Ok((value, sealed.into_iter().map(|(_, sealed)| sealed).collect()))
}

struct Done<E> {
    sealed: Vec<(u32, Sealed)>,
    failure: Option<Error<E>>,
}

/// The next slice to be sealed; None at the end, or after a failure.
fn next(to_seal: &Mutex<Option<Receiver<Filled>>>) -> Option<Filled> {
    lock(to_seal).as_ref()?.recv().ok()
}

fn seal_and_put<E>(
    sealer: &Sealer,
    filled: Filled,
    put: &impl Fn(u32, &Sealed, Bytes) -> Result<(), E>,
) -> Result<(u32, Sealed, Option<SliceBuffer>), Error<E>> {
    let Filling { number, mut buffer, length } = filled.slice;
    let short_number = number.get();
    sealer.seal(number, filled.last, &mut buffer, length).map_err(Error::Seal)?;
    let slice = buffer.slice();
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, slice).as_ref());
    let sealed = Sealed { size: slice.len() as u64, sha256 };
    let buffer = lend(buffer, |slice| put(short_number, &sealed, slice)).map_err(Error::Other)?;
    Ok((short_number, sealed, buffer))
}

/// Lends the slice in a buffer to `put`, without a copy. The buffer comes back, unless somebody
/// still holds it: a connection may, for a moment.
///
/// # Errors
///
/// Those of `put`.
pub fn lend<E>(buffer: SliceBuffer, put: impl FnOnce(Bytes) -> Result<(), E>) -> Result<Option<SliceBuffer>, E> {
    struct Lent(Arc<SliceBuffer>);

    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            self.0.slice()
        }
    }

    let buffer = Arc::new(buffer);
    put(Bytes::from_owner(Lent(Arc::clone(&buffer))))?;
    Ok(Arc::into_inner(buffer))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use cms::keygen::{KeyType, NewKey, Purpose};
    use cms::{KeyFile, PrivateKey, Recipients, SliceOpener, StreamKind};
    use time::OffsetDateTime;

    use super::*;

    const RUN: StreamKind<'static> = StreamKind::Slices("web-1/default/20261123T074500Z-7f3a9c01");
    const SLICE: usize = 4096;

    fn key() -> (Sealer, PrivateKey) {
        let key = NewKey::generate(KeyType::P256, Purpose::Encryption, "test", OffsetDateTime::UNIX_EPOCH, 1).unwrap();
        let recipients = Recipients::new(vec![key.certificate().clone()]).unwrap();
        let file = key.private_pem(None).unwrap();
        (Sealer::new(&recipients, RUN).unwrap(), KeyFile::read(file.as_bytes()).unwrap().unlock(None).unwrap())
    }

    /// Frame `number`: some bytes of its own.
    fn frame(number: usize) -> Vec<u8> {
        vec![u8::try_from(number % 251).unwrap(); number * 37 % 3000]
    }

    #[test]
    fn frames_lie_where_the_writer_says_and_slices_are_of_the_size_asked_for() {
        let (sealer, key) = key();
        let objects = Mutex::new(Vec::new());
        let put = |number: u32, _: &Sealed, slice: Bytes| {
            lock(&objects).push((number, slice.to_vec()));
            Ok::<_, std::convert::Infallible>(())
        };
        let fill = |writer: &mut Writer<'_>| (0..500).map(|number| writer.frame(&frame(number))).collect();
        let (places, sealed): (Vec<Place>, _) = write(&sealer, SLICE, 2, put, fill).unwrap();
        let mut objects = objects.into_inner().unwrap();
        objects.sort();
        assert_eq!(objects.len(), sealed.len());
        assert!(objects.len() > 100 && objects.iter().all(|(_, slice)| slice.len() <= SLICE));
        let opener = SliceOpener::new(&objects[7].1, &key, RUN).unwrap();
        let mut plaintexts = Vec::new();
        for (index, (number, mut slice)) in objects.into_iter().enumerate() {
            assert_eq!((number as usize, slice.len() as u64), (index, sealed[index].size));
            assert_eq!(digest(&SHA256, &slice).as_ref(), sealed[index].sha256);
            plaintexts.push(opener.open(number, &mut slice).unwrap().to_vec());
        }
        for (number, place) in places.into_iter().enumerate() {
            let from = usize::try_from(place.offset).unwrap();
            let to = from + usize::try_from(place.length).unwrap();
            assert_eq!(plaintexts[place.slice as usize][from..to], frame(number), "frame {number}");
        }
    }

    #[test]
    fn nothing_is_put_where_there_is_no_frame() {
        let (sealer, _) = key();
        let put = |_: u32, _: &Sealed, _: Bytes| -> Result<(), std::convert::Infallible> {
            unreachable!("there is no slice")
        };
        let ((), sealed) = write(&sealer, SLICE, 2, put, |_| Ok(())).unwrap();
        assert_eq!(sealed, []);
    }

    #[test]
    fn the_first_failure_ends_it_all() {
        let (sealer, _) = key();
        for failing in [0_u32, 1, 20] {
            let put = |number: u32, _: &Sealed, _: Bytes| if number >= failing { Err(number) } else { Ok(()) };
            let fill = |writer: &mut Writer<'_>| loop {
                writer.frame(&frame(80))?;
            };
            let failed = write(&sealer, SLICE, 2, put, fill).map(|((), _)| ());
            // Each round goes on with the numbers of the one before.
            assert!(matches!(failed, Err(Error::Other(number)) if number >= failing), "{failed:?}");
        }
        let put = |_: u32, _: &Sealed, _: Bytes| Ok(());
        let failed = write(&sealer, SLICE, 2, put, |_| Err::<(), _>(Error::Other("the caller's")));
        assert!(matches!(failed, Err(Error::Other("the caller's"))));
        let failed = write(&sealer, SLICE, 2, put, |writer| writer.frame::<&str>(&[0; SLICE]));
        assert!(matches!(failed, Err(Error::FrameTooLarge { length: SLICE, .. })));
    }
}
