//! Opening any message that the policy accepts: a long stream of ours, or a foreign one.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::num::NonZero;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::armour;
use crate::ber::{self, BerReader, StringReader};
use crate::envelope::Header;
use crate::error::{Error, Result, SliceProblem};
use crate::ffi::{Cipher, Direction};
use crate::input::{FileInput, Input, OpenInput};
use crate::limits;
use crate::policy::Container;
use crate::private_key::{PrivateKey, Unwrapped};
use crate::random;
use crate::slice::{Opener, StreamKind};
use crate::stream::{self, Progress, Totals};

type Source = Box<dyn Read + Send>;

/// A message whose content-encryption key is unwrapped and whose content is not yet read.
pub struct Message(Kind);

enum Kind {
    Stream { input: OpenInput, opener: Box<Opener>, slice_size: usize },
    Foreign(Box<Foreign>),
}

/// A message that is not of our stream format: alone in its file.
struct Foreign {
    ber: BerReader<Source>,
    header: Header,
    content: StringReader,
    unwrapped: Unwrapped,
    /// Where the message can be read once more.
    again: Option<FileInput>,
}

/// Reads up to the content, taking off armour.
fn read_header(source: Source) -> Result<(BerReader<Source>, Header, StringReader, bool)> {
    let unarmoured = armour::take_off(source)?;
    let mut ber = BerReader::new(unarmoured.reader);
    let (header, content) = Header::read(&mut ber)?;
    Ok((ber, header, content, unarmoured.armoured))
}

impl Message {
    /// Reads the header and unwraps the content-encryption key.
    ///
    /// # Errors
    ///
    /// Where the input is no message, or one that the policy refuses, or not for this key.
    pub fn open(input: Input, key: &PrivateKey) -> Result<Self> {
        Self::open_as(input, key, StreamKind::File)
    }

    /// Opens a stream of this kind and context, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::OtherStream`] where it is another message, and as [`Message::open`].
    pub fn open_stream(input: Input, key: &PrivateKey, kind: StreamKind<'_>) -> Result<Self> {
        match Self::open_as(input, key, kind)? {
            Self(Kind::Foreign(_)) => Err(Error::OtherStream),
            stream => Ok(stream),
        }
    }

    fn open_as(input: Input, key: &PrivateKey, kind: StreamKind<'_>) -> Result<Self> {
        let (again, source): (_, Source) = match input.open()? {
            OpenInput::File(file) => (Some(file.clone()), Box::new(file.reader(0))),
            OpenInput::Stream(source) => (None, source),
        };
        let (mut ber, header, content, armoured) = read_header(source)?;
        let unwrapped = key.unwrap(&header.recipients, header.cipher)?;
        let opener = Opener::recognise(&header, &unwrapped.cek, kind)?;
        if let Some(opener) = opener {
            // A native stream is DER. In another encoding it was altered: read as a single foreign
            // message, its first slice would pass for the whole.
            let first = |problem| Error::Slice { slice: 0, at: 0, problem };
            let length = content.length.ok_or(first(SliceProblem::NotASlice))?;
            let slice_size = opener
                .slice_size(length)
                .ok_or(Error::TooLarge { what: "a slice", limit: limits::SLICE_SIZE_MAX as u64 })?;
            let input = match again {
                Some(file) if !armoured => OpenInput::File(file),
                _ => {
                    let (consumed, source) = ber.into_parts();
                    OpenInput::Stream(Box::new(Cursor::new(consumed).chain(source)))
                }
            };
            return Ok(Self(Kind::Stream { input, opener: Box::new(opener), slice_size }));
        }
        ber.stop_recording();
        Ok(Self(Kind::Foreign(Box::new(Foreign { ber, header, content, unwrapped, again }))))
    }

    /// Whether the content has an integrity check. Without one, whoever had the message in hand
    /// could have changed it.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        match &self.0 {
            Kind::Stream { .. } => true,
            Kind::Foreign(foreign) => foreign.header.container == Container::AuthEnvelopedData,
        }
    }

    /// Writes the plaintext, of a stream on so many threads. Of an authenticated message nothing is written that has not been
    /// verified; of another, everything up to the first error is.
    ///
    /// `spool` makes a file for the ciphertext of a large foreign message that can be read only
    /// once.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] or [`Error::Decryption`] where the message was altered; [`Error::Malformed`],
    /// [`Error::Truncated`] or [`Error::Trailing`] where it is damaged; [`Error::Read`],
    /// [`Error::Write`], [`Error::Spool`] where the machine fails.
    pub fn decrypt(
        self,
        output: &mut (dyn Write + Send),
        spool: &dyn Fn() -> io::Result<File>,
        threads: NonZero<usize>,
        progress: Progress<'_>,
    ) -> Result<Totals> {
        match self.0 {
            Kind::Stream { input, opener, slice_size } => {
                stream::decrypt(input, &opener, slice_size, threads, output, progress)
            }
            Kind::Foreign(foreign) => {
                let plaintext = match foreign.header.container {
                    Container::AuthEnvelopedData => foreign.decrypt_verified(output, spool, progress)?,
                    Container::EnvelopedData => foreign.decrypt_unverified(output, progress)?,
                };
                Ok(Totals { slices: 1, plaintext })
            }
        }
    }
}

impl Foreign {
    fn cipher(&self) -> Result<Cipher> {
        Cipher::new(self.header.cipher, Direction::Decrypt, &self.unwrapped.cek, &self.header.nonce)
    }

    /// EnvelopedData: there is nothing to verify, so it streams out.
    fn decrypt_unverified(mut self, output: &mut (dyn Write + Send), progress: Progress<'_>) -> Result<u64> {
        let mut cipher = self.cipher()?;
        let mut ciphertext = vec![0; limits::PIECE];
        let mut plaintext = Zeroizing::new(vec![0; limits::PIECE + Cipher::BLOCK]);
        let mut total = 0;
        // What a stand-in key yields is thrown away here, after the same work.
        let mut release = |plaintext: &[u8]| {
            total += plaintext.len() as u64;
            if self.unwrapped.stand_in { Ok(()) } else { output.write_all(plaintext).map_err(Error::Write) }
        };
        loop {
            let count = self.content.fill(&mut self.ber, &mut ciphertext)?;
            let written = cipher.update(&ciphertext[..count], &mut plaintext)?;
            release(&plaintext[..written])?;
            progress(count as u64);
            if count < ciphertext.len() {
                break;
            }
        }
        let mut last = [0; Cipher::BLOCK];
        let rest = cipher.finish(&mut last)?;
        release(&last[..rest])?;
        self.header.read_trailer(&mut self.ber)?;
        Header::read_end(&mut self.ber)?;
        if self.unwrapped.stand_in { Err(Error::Decryption) } else { Ok(total) }
    }

    /// AuthEnvelopedData: a first pass verifies, a second one decrypts what it verified.
    fn decrypt_verified(
        mut self,
        output: &mut (dyn Write + Send),
        spool: &dyn Fn() -> io::Result<File>,
        progress: Progress<'_>,
    ) -> Result<u64> {
        let mut checks = Checks::new()?;
        let mut kept = Kept::Memory(Vec::new());
        let mut cipher = self.cipher()?;
        let mut ciphertext = vec![0; limits::FOREIGN_CHECK];
        let mut plaintext = Zeroizing::new(vec![0; limits::FOREIGN_CHECK + Cipher::BLOCK]);
        let mut total = 0;
        loop {
            let count = self.content.fill(&mut self.ber, &mut ciphertext)?;
            total += count as u64;
            if total > limits::GCM_CONTENT {
                return Err(Error::TooLarge { what: "the content", limit: limits::GCM_CONTENT });
            }
            // What comes out is not verified yet, and overwritten by the next piece.
            for piece in ciphertext[..count].chunks(limits::PIECE) {
                cipher.update(piece, &mut plaintext)?;
            }
            checks.add(&ciphertext[..count]);
            kept.add(&ciphertext[..count], self.again.as_ref(), spool)?;
            progress(count as u64 / 2);
            if count < ciphertext.len() {
                break;
            }
        }
        let tag = self.header.read_trailer(&mut self.ber)?.ok_or(Error::Decryption)?;
        Header::read_end(&mut self.ber)?;
        cipher.verify(tag)?;

        let mut cipher = self.cipher()?;
        // What was well-formed in the first pass and is not in the second has changed.
        let changed_at = |at: u64| {
            move |error| match error {
                error @ (Error::Read(_) | Error::Spool(_)) => error,
                _ => Error::Changed { at },
            }
        };
        let mut kept = kept.open().map_err(changed_at(0))?;
        let mut left = total;
        for number in 0.. {
            let count = kept.fill(&mut ciphertext).map_err(changed_at(total - left))?;
            let changed = Error::Changed { at: total - left };
            left = match left.checked_sub(count as u64) {
                Some(left) if checks.fits(number, &ciphertext[..count]) => left,
                _ => return Err(changed),
            };
            let written = cipher.update(&ciphertext[..count], &mut plaintext)?;
            output.write_all(&plaintext[..written]).map_err(Error::Write)?;
            progress(count as u64 - count as u64 / 2);
            if count < ciphertext.len() {
                break;
            }
        }
        if left == 0 { Ok(total) } else { Err(Error::Changed { at: total - left }) }
    }
}

/// Keyed hashes of the ciphertext's chunks with their positions, under a key that nobody knows.
struct Checks {
    key: hmac::Key,
    hashes: Vec<hmac::Tag>,
}

impl Checks {
    fn new() -> Result<Self> {
        let key = Zeroizing::new(random::array::<32>()?);
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*key), hashes: Vec::new() })
    }

    fn hash(&self, number: usize, chunk: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(number as u64).to_be_bytes());
        context.update(chunk);
        context.sign()
    }

    fn add(&mut self, chunk: &[u8]) {
        let hash = self.hash(self.hashes.len(), chunk);
        self.hashes.push(hash);
    }

    fn fits(&self, number: usize, chunk: &[u8]) -> bool {
        self.hashes.get(number).is_some_and(|hash| hash.as_ref() == self.hash(number, chunk).as_ref())
    }
}

/// Where the second pass finds the ciphertext.
enum Kept {
    Memory(Vec<u8>),
    /// In the input itself.
    Again(FileInput),
    /// In a file of our own.
    Spool(File),
}

impl Kept {
    /// Keeps a chunk, in memory as long as there is not too much.
    fn add(&mut self, chunk: &[u8], again: Option<&FileInput>, spool: &dyn Fn() -> io::Result<File>) -> Result<()> {
        if let Self::Memory(kept) = self {
            if kept.len() + chunk.len() <= limits::FOREIGN_IN_MEMORY {
                kept.extend_from_slice(chunk);
                return Ok(());
            }
            *self = match again {
                Some(file) => Self::Again(file.clone()),
                None => {
                    let mut file = spool().map_err(Error::Spool)?;
                    file.write_all(kept).map_err(Error::Spool)?;
                    Self::Spool(file)
                }
            };
        }
        match self {
            Self::Spool(file) => file.write_all(chunk).map_err(Error::Spool),
            Self::Memory(_) | Self::Again(_) => Ok(()),
        }
    }

    fn open(self) -> Result<SecondPass> {
        Ok(match self {
            Self::Memory(bytes) => SecondPass::Plain(Box::new(Cursor::new(bytes))),
            Self::Spool(mut file) => {
                file.rewind().map_err(Error::Spool)?;
                SecondPass::Plain(Box::new(file))
            }
            Self::Again(file) => {
                let (mut ber, _, content, _) = read_header(Box::new(file.reader(0)))?;
                ber.stop_recording();
                SecondPass::Message(ber, content)
            }
        })
    }
}

/// The ciphertext once more.
enum SecondPass {
    Plain(Source),
    Message(BerReader<Source>, StringReader),
}

impl SecondPass {
    fn fill(&mut self, out: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(source) => ber::read_full(source, out),
            Self::Message(ber, content) => content.fill(ber, out),
        }
    }
}
