//! Slices of a long stream: sealed and opened (format.md §5).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::Zeroizing;

use crate::ber::BerReader;
use crate::envelope::{Header, NONCE, TAG, TRAILER, Template};
use crate::error::{Error, Result, SliceProblem, UsageError};
use crate::limits;
use crate::policy::{Container, ContentCipher};
use crate::private_key::PrivateKey;
use crate::random;
use crate::recipients::{Profile, Recipients};

/// What a stream is: it is bound into every nonce, so no stream passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind<'a> {
    /// What `encrypt` writes and `decrypt` reads.
    File,
    /// A backup's slices; the context is `host/set/backup`.
    Slices(&'a str),
    /// A backup's index; the context is `host/set/backup`.
    Index(&'a str),
    /// A backup's plan; the context is `host/set/backup`.
    Plan(&'a str),
}

/// Length of the part of the nonce that is the stream's own.
pub(crate) const PREFIX: usize = 7;

impl StreamKind<'_> {
    /// `HKDF-Expand-SHA256(CEK, "offsite v1" ‖ 0 ‖ kind ‖ 0 ‖ context, 7)` (RFC 5869 §2.3).
    pub(crate) fn prefix(self, cek: &[u8; 32]) -> Result<[u8; PREFIX]> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                PREFIX
            }
        }
        let (kind, context) = match self {
            Self::File => ("file", ""),
            Self::Slices(context) => ("slices", context),
            Self::Index(context) => ("index", context),
            Self::Plan(context) => ("plan", context),
        };
        let info: [&[u8]; 5] = [b"offsite v1\0", kind.as_bytes(), b"\0", context.as_bytes(), b""];
        let mut prefix = [0; PREFIX];
        let key = Prk::new_less_safe(HKDF_SHA256, cek);
        key.expand(&info, Length).and_then(|okm| okm.fill(&mut prefix)).map_err(|_| Error::Crypto("HKDF"))?;
        Ok(prefix)
    }
}

/// The nonce of the STREAM construction: prefix, slice number, last flag.
fn nonce(prefix: [u8; PREFIX], number: u32, last: bool) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..PREFIX].copy_from_slice(&prefix);
    nonce[PREFIX..PREFIX + 4].copy_from_slice(&number.to_be_bytes());
    nonce[NONCE - 1] = u8::from(last);
    nonce
}

/// The number of a slice that is to be sealed: each is handed out once, so no nonce is used twice.
#[derive(Debug)]
pub struct SliceNumber(u32);

impl SliceNumber {
    /// The number, from zero.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0
    }
}

/// Seals the slices of one stream under a content-encryption key of its own, which never leaves
/// it: no stream is continued by another sealer.
pub struct Sealer {
    key: LessSafeKey,
    prefix: [u8; PREFIX],
    template: Template,
    next: AtomicU64,
}

impl Sealer {
    /// Draws a content-encryption key and wraps it for each recipient.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] where a recipient's public key is invalid.
    pub fn new(recipients: &Recipients, kind: StreamKind<'_>) -> Result<Self> {
        let cek = Zeroizing::new(random::array::<32>()?);
        let recipient_infos = recipients.wrap(Profile::Cms, &cek)?;
        let key = aead_key(&cek)?;
        Ok(Self { key, prefix: kind.prefix(&cek)?, template: Template { recipient_infos }, next: AtomicU64::new(0) })
    }

    /// How much plaintext a slice of exactly `slice_size` bytes holds.
    ///
    /// # Errors
    ///
    /// [`UsageError`] where the size is too small for the header, too large, or one that DER's
    /// lengths skip.
    pub fn plaintext_length(&self, slice_size: usize) -> Result<usize, UsageError> {
        if slice_size > limits::SLICE_SIZE_MAX || slice_size as u64 <= self.template.size(0) {
            return Err(UsageError::SliceSize);
        }
        let content =
            |size: usize| self.template.content_for(size as u64).and_then(|length| usize::try_from(length).ok());
        content(slice_size).ok_or_else(|| {
            let nearest = (0..slice_size).rev().find(|size| content(*size).is_some()).unwrap_or_default();
            UsageError::UnreachableSliceSize { wanted: slice_size, nearest }
        })
    }

    /// A buffer for slices with up to `plaintext` bytes of plaintext.
    #[must_use]
    pub fn buffer(&self, plaintext: usize) -> SliceBuffer {
        let headroom = self.template.header([0; NONCE], plaintext as u64).len();
        SliceBuffer { bytes: vec![0; headroom + plaintext + TRAILER].into_boxed_slice(), headroom, slice: 0..0 }
    }

    /// The next slice's number.
    ///
    /// # Errors
    ///
    /// [`UsageError::StreamTooLong`] after 2^32.
    pub fn next_number(&self) -> Result<SliceNumber, UsageError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        u32::try_from(number).map(SliceNumber).map_err(|_| UsageError::StreamTooLong)
    }

    /// Seals the first `length` bytes of the buffer's plaintext, in place; the buffer then holds
    /// the slice.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] if the library fails.
    ///
    /// # Panics
    ///
    /// Where `length` is more than the buffer holds.
    #[expect(clippy::needless_pass_by_value, reason = "a number is used up")]
    pub fn seal(&self, number: SliceNumber, last: bool, buffer: &mut SliceBuffer, length: usize) -> Result<()> {
        let nonce = nonce(self.prefix, number.0, last);
        let header = self.template.header(nonce, length as u64);
        let SliceBuffer { bytes, headroom, slice } = buffer;
        let start = *headroom - header.len();
        let end = *headroom + length;
        bytes[start..*headroom].copy_from_slice(&header);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut bytes[*headroom..end]);
        let tag = tag.map_err(|_| Error::Crypto("AES-GCM"))?;
        bytes[end..end + 2].copy_from_slice(&TRAILER_HEADER);
        bytes[end + 2..end + TRAILER].copy_from_slice(tag.as_ref());
        *slice = start..end + TRAILER;
        Ok(())
    }
}

/// Identifier and length of the integrity check value's OCTET STRING.
#[expect(clippy::cast_possible_truncation, reason = "16 fits a byte")]
const TRAILER_HEADER: [u8; 2] = [crate::der::OCTET_STRING, TAG as u8];

/// Room for one slice: its header before the plaintext, its integrity check value behind.
pub struct SliceBuffer {
    bytes: Box<[u8]>,
    /// Where the plaintext begins.
    headroom: usize,
    /// Where the slice lies, once it is sealed.
    slice: Range<usize>,
}

impl SliceBuffer {
    /// Room for the plaintext, and a byte more at least: who fills it sees whether input follows.
    pub fn plaintext_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.headroom..]
    }

    /// The slice that was sealed last.
    #[must_use]
    pub fn slice(&self) -> &[u8] {
        &self.bytes[self.slice.clone()]
    }
}

/// Opens the slices of one stream.
pub(crate) struct Opener {
    key: LessSafeKey,
    prefix: [u8; PREFIX],
    template: Template,
}

impl Opener {
    /// An opener for the stream that an envelope with this header begins, if the nonce shows that
    /// it is one of this kind. Nobody can make or unmake that mark without the content-encryption
    /// key.
    pub(crate) fn recognise(header: &Header, cek: &[u8], kind: StreamKind<'_>) -> Result<Option<Self>> {
        if (header.container, header.cipher) != (Container::AuthEnvelopedData, ContentCipher::Aes256Gcm) {
            return Ok(None);
        }
        let Ok(cek) = <&[u8; 32]>::try_from(cek) else { return Ok(None) };
        let prefix = kind.prefix(cek)?;
        if header.nonce[..PREFIX] != prefix {
            return Ok(None);
        }
        let template = Template { recipient_infos: header.recipient_infos.clone() };
        Ok(Some(Self { key: aead_key(cek)?, prefix, template }))
    }

    /// Length of a slice of this stream around `content` bytes; None where that is more than a slice
    /// may have.
    pub(crate) fn slice_size(&self, content: u64) -> Option<usize> {
        // The content first: a length from a hostile header could overflow the sum.
        let content = Some(content).filter(|content| *content <= limits::SLICE_SIZE_MAX as u64)?;
        usize::try_from(self.template.size(content)).ok().filter(|size| *size <= limits::SLICE_SIZE_MAX)
    }

    /// Opens `slice`, the whole of slice `number`, in place; where its plaintext lies. Every byte of
    /// the header is compared with the only one that may stand there.
    pub(crate) fn open(&self, number: u32, last: bool, slice: &mut [u8]) -> Result<Range<usize>, SliceProblem> {
        match self.body_at(number, last, slice) {
            Some(body_at) => self.open_body(number, last, slice, body_at),
            None => Err(self.diagnose(number, last, slice)),
        }
    }

    /// Where the content begins, if what stands before it is right.
    fn body_at(&self, number: u32, last: bool, slice: &[u8]) -> Option<usize> {
        let length = self.template.content_for(slice.len() as u64)?;
        let header = self.template.header(nonce(self.prefix, number, last), length);
        slice.starts_with(&header).then_some(header.len())
    }

    /// Verifies and decrypts the content.
    fn open_body(
        &self,
        number: u32,
        last: bool,
        slice: &mut [u8],
        body_at: usize,
    ) -> Result<Range<usize>, SliceProblem> {
        let (content, trailer) = slice[body_at..].split_last_chunk_mut::<TRAILER>().ok_or(SliceProblem::NotASlice)?;
        let (trailer_header, tag) = trailer.split_at(2);
        if trailer_header != TRAILER_HEADER {
            return Err(SliceProblem::NotASlice);
        }
        if content.is_empty() && number > 0 {
            return Err(SliceProblem::Empty);
        }
        let nonce = Nonce::assume_unique_for_key(nonce(self.prefix, number, last));
        let opened = self.key.open_in_place_separate_tag(nonce, Aad::empty(), tag, content);
        opened.map(|plaintext| body_at..body_at + plaintext.len()).map_err(|_| SliceProblem::Altered)
    }

    /// What is wrong with a slice whose header is not as it must be. Nothing is trusted here; it
    /// only chooses the words.
    fn diagnose(&self, number: u32, last: bool, slice: &[u8]) -> SliceProblem {
        let mut ber = BerReader::new(slice);
        let (header, content) = match Header::read(&mut ber) {
            Ok(read) => read,
            Err(Error::Truncated { .. }) => return SliceProblem::CutOff,
            Err(_) => return SliceProblem::NotASlice,
        };
        let Ok(nonce) = <[u8; NONCE]>::try_from(header.nonce) else { return SliceProblem::NotASlice };
        if header.recipient_infos != self.template.recipient_infos {
            return SliceProblem::OtherRecipients;
        }
        if nonce[..PREFIX] != self.prefix {
            return SliceProblem::OtherStream;
        }
        let found = u32::from_be_bytes(nonce[PREFIX..PREFIX + 4].try_into().expect("four bytes"));
        if found != number {
            return SliceProblem::OutOfOrder { found };
        }
        let Some(length) = content.length else { return SliceProblem::NotASlice };
        let Some(size) = self.slice_size(length) else { return SliceProblem::NotASlice };
        if nonce[NONCE - 1] > 1 || !slice.starts_with(&self.template.header(nonce, length)) {
            return SliceProblem::NotASlice;
        }
        let found = slice.len();
        match (nonce[NONCE - 1], last) {
            (0, true) if size == found => SliceProblem::NotLast,
            (_, true) if size > found => SliceProblem::CutOff,
            (1, _) if size <= found => SliceProblem::GoesOn,
            _ => SliceProblem::Size { found: size as u64, expected: found as u64 },
        }
    }
}

/// Opens single slices of one run of a backup, in any order. Unlike the slices of a stream they
/// need not be complete, or all there: what must be there is another's to know (format.md §5).
pub struct SliceOpener(Opener);

impl SliceOpener {
    /// Learns the content-encryption key from any slice of the run.
    ///
    /// # Errors
    ///
    /// [`Error::OtherStream`] where it is no slice of this kind and context; as
    /// [`crate::Message::open`] where it cannot be read.
    pub fn new(slice: &[u8], key: &PrivateKey, kind: StreamKind<'_>) -> Result<Self> {
        let (header, _) = Header::read(&mut BerReader::new(slice))?;
        let unwrapped = key.unwrap(&header.recipients, header.cipher)?;
        Opener::recognise(&header, &unwrapped.cek, kind)?.map(Self).ok_or(Error::OtherStream)
    }

    /// Opens `slice`, the whole of slice `number`, in place; gives back its plaintext. Whether it is
    /// the last of its run does not matter.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open<'a>(&self, number: u32, slice: &'a mut [u8]) -> Result<&'a [u8], SliceProblem> {
        let plaintext = self.open_within(number, slice)?;
        Ok(&slice[plaintext])
    }

    /// As [`Self::open`]; gives back where the plaintext lies in `slice`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open_within(&self, number: u32, slice: &mut [u8]) -> Result<Range<usize>, SliceProblem> {
        let last = self.0.body_at(number, false, slice).is_none();
        self.0.open(number, last, slice)
    }

    /// Opens a slice of a stream that is read from its start to its end: whether it is the last
    /// matters. That all but the last are of one size is for the caller to see to.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open_in_stream(&self, number: u32, last: bool, slice: &mut [u8]) -> Result<Range<usize>, SliceProblem> {
        self.0.open(number, last, slice)
    }
}

fn aead_key(cek: &[u8; 32]) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, cek).map(LessSafeKey::new).map_err(|_| Error::Crypto("AES-GCM"))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::certificate::hex;
    use crate::keygen::{KeyType, NewKey, Purpose};

    fn sealer(key_type: KeyType) -> Sealer {
        let key = NewKey::generate(key_type, Purpose::Encryption, "test", OffsetDateTime::UNIX_EPOCH, 1).unwrap();
        Sealer::new(&Recipients::new(vec![key.certificate().clone()]).unwrap(), StreamKind::File).unwrap()
    }

    #[test]
    fn what_is_sealed_encodes_to_itself() {
        for key_type in [KeyType::Rsa2048, KeyType::P256, KeyType::P384, KeyType::P521] {
            let sealer = sealer(key_type);
            for length in [0, 1, 127, 128, 65_535, 65_536, 100_000] {
                let mut buffer = sealer.buffer(100_000);
                let number = sealer.next_number().unwrap();
                sealer.seal(number, false, &mut buffer, length).unwrap();
                let slice = buffer.slice();
                let (header, content) = Header::read(&mut BerReader::new(slice)).unwrap();
                let template = Template { recipient_infos: header.recipient_infos };
                let encoded = template.header(header.nonce.try_into().unwrap(), content.length.unwrap());
                assert_eq!(content.length, Some(length as u64));
                assert_eq!(template.size(length as u64), slice.len() as u64);
                assert_eq!(hex(&encoded), hex(&slice[..encoded.len()]));
                assert_eq!(slice[slice.len() - TRAILER..][..2], TRAILER_HEADER);
            }
        }
    }

    /// HKDF-Expand by itself (RFC 5869 §2.3): one block, T(1) = HMAC(CEK, info ‖ 01).
    #[test]
    fn the_prefix_is_hkdf_expand() {
        use aws_lc_rs::hmac;
        let cek = [7; 32];
        let key = hmac::Key::new(hmac::HMAC_SHA256, &cek);
        let cases: [(StreamKind<'_>, &[u8]); 3] = [
            (StreamKind::File, b"offsite v1\0file\0\x01"),
            (StreamKind::Slices("h/s/b"), b"offsite v1\0slices\0h/s/b\x01"),
            (StreamKind::Plan("h/s/b"), b"offsite v1\0plan\0h/s/b\x01"),
        ];
        for (kind, info) in cases {
            assert_eq!(kind.prefix(&cek).unwrap(), hmac::sign(&key, info).as_ref()[..PREFIX]);
        }
    }

    #[test]
    fn numbers_are_handed_out_once_and_end() {
        let sealer = sealer(KeyType::P256);
        let numbers: Vec<u32> = (0..3).map(|_| sealer.next_number().unwrap().get()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        sealer.next.store(limits::STREAM_SLICES, Ordering::Relaxed);
        assert_eq!(sealer.next_number().map(|number| number.get()), Err(UsageError::StreamTooLong));
    }
}
