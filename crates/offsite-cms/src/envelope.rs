//! An envelope: EnvelopedData (RFC 5652 §6.1) or AuthEnvelopedData (RFC 5083 §2.1). Read in either
//! encoding up to its content and after it; written as the slice that it is in a stream.

use std::io::Read;

use crate::ber::{BerReader, StringReader};
use crate::der::{self, Cursor};
use crate::error::{Error, Result};
use crate::limits;
use crate::oid;
use crate::policy::{self, Algorithm, Container, ContentCipher, Refusal};
use crate::recipient_info::{self, RecipientInfo};

/// Everything before the content.
pub(crate) struct Header {
    pub(crate) container: Container,
    /// RecipientInfos, a SET, as DER.
    pub(crate) recipient_infos: Vec<u8>,
    pub(crate) recipients: Vec<RecipientInfo>,
    pub(crate) cipher: ContentCipher,
    pub(crate) nonce: Vec<u8>,
}

const MESSAGE: &str = "the message";
const RECIPIENTS: &str = "RecipientInfos";
const CONTENT_INFO: &str = "EncryptedContentInfo";
const CONTENT: &str = "the content";
const MAC: &str = "the integrity check value";

impl Header {
    /// Reads up to the content, which the second value reads.
    pub(crate) fn read<R: Read>(ber: &mut BerReader<R>) -> Result<(Self, StringReader)> {
        let Some(first) = ber.peek(MESSAGE)? else { return Err(Error::NotCms { why: "it is empty" }) };
        if first != der::SEQUENCE {
            return Err(Error::NotCms {
                why: "it does not begin as one does, so it is not encrypted, or by another program",
            });
        }
        let start = ber.position();
        let element = |ber: &mut BerReader<R>, what| {
            let read = usize::try_from(ber.position() - start).unwrap_or(usize::MAX);
            ber.element(limits::HEADER.saturating_sub(read), what)
        };
        ber.enter(der::SEQUENCE, MESSAGE)?;
        let content_type = element(ber, MESSAGE)?;
        let content_type = Cursor::new(&content_type, 0, MESSAGE)
            .oid()
            .map_err(|_| Error::NotCms { why: "it does not name a content type" })?
            .to_vec();
        let container = Container::from_oid(&content_type)?;
        ber.enter(der::context_constructed(0), MESSAGE)?;
        ber.enter(der::SEQUENCE, MESSAGE)?;
        let version = element(ber, MESSAGE)?;
        Cursor::new(&version, ber.position() - version.len() as u64, MESSAGE).unsigned()?;
        if ber.peek(MESSAGE)? == Some(der::context_constructed(0)) {
            element(ber, "OriginatorInfo")?;
        }
        let at = ber.position();
        let recipient_infos = element(ber, RECIPIENTS)?;
        let recipients = recipient_info::read_all(&recipient_infos, at)?;
        ber.enter(der::SEQUENCE, CONTENT_INFO)?;
        let inner_type = element(ber, CONTENT_INFO)?;
        Cursor::new(&inner_type, ber.position() - inner_type.len() as u64, CONTENT_INFO).oid()?;
        let at = ber.position();
        let algorithm = element(ber, CONTENT_INFO)?;
        let algorithm = Algorithm::read(&mut Cursor::new(&algorithm, at, CONTENT_INFO))?;
        let (cipher, nonce) = ContentCipher::from_algorithm(container, &algorithm)?;
        let content = StringReader::open(ber, der::context(0), CONTENT)?;
        Ok((Self { container, recipient_infos, recipients, cipher, nonce }, content))
    }

    /// Reads what follows the content, to the end of the message; the integrity check value of
    /// AuthEnvelopedData.
    pub(crate) fn read_trailer<R: Read>(&self, ber: &mut BerReader<R>) -> Result<Option<[u8; 16]>> {
        ber.leave(CONTENT_INFO)?;
        let tag = match self.container {
            Container::AuthEnvelopedData => {
                if ber.peek(MAC)? == Some(der::context_constructed(1)) {
                    return Err(Refusal::Attributes.into());
                }
                let at = ber.position();
                let mac = ber.element(limits::HEADER, MAC)?;
                let tag = policy::tag(Cursor::new(&mac, at, MAC).expect(der::OCTET_STRING)?.contents)?;
                if ber.peek(MESSAGE)? == Some(der::context_constructed(2)) {
                    return Err(Refusal::Attributes.into());
                }
                Some(tag)
            }
            Container::EnvelopedData => {
                if ber.peek(MESSAGE)? == Some(der::context_constructed(1)) {
                    ber.element(limits::HEADER, "UnprotectedAttributes")?;
                }
                None
            }
        };
        for _ in 0..3 {
            ber.leave(MESSAGE)?;
        }
        Ok(tag)
    }

    /// Nothing may follow a message that is alone.
    pub(crate) fn read_end<R: Read>(ber: &mut BerReader<R>) -> Result<()> {
        if ber.at_end(MESSAGE)? { Ok(()) } else { Err(Error::Trailing { at: ber.position() }) }
    }
}

/// The envelope of the `cms` profile around the same RecipientInfos with any nonce and any length
/// of content (format.md §3).
pub(crate) struct Template {
    pub(crate) recipient_infos: Vec<u8>,
}

/// Length of nonce and integrity check value in bytes (RFC 5084 §3.2).
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;

/// What follows the content: an OCTET STRING with the integrity check value.
pub(crate) const TRAILER: usize = 2 + TAG;

impl Template {
    /// Length of the envelope around `content` bytes.
    pub(crate) fn size(&self, content: u64) -> u64 {
        let (_, lengths) = self.lengths(content);
        wrapped(lengths[0])
    }

    /// Length of the content in an envelope of exactly `size` bytes. None where there is none: at a
    /// power of 256 a length takes a byte more, in each of the five elements around the content.
    pub(crate) fn content_for(&self, size: u64) -> Option<u64> {
        let least = self.size(0);
        // Between no content and any other, the five lengths grow by at most 8 bytes each.
        let most = size.checked_sub(least)?;
        (most.saturating_sub(40)..=most).rev().find(|content| self.size(*content) == size)
    }

    /// Everything before a content of `content` bytes.
    pub(crate) fn header(&self, nonce: [u8; NONCE], content: u64) -> Vec<u8> {
        let (algorithm, lengths) = self.lengths(content);
        let [content_info, explicit, auth_enveloped_data, encrypted_content_info] = lengths;
        let mut out = Vec::with_capacity(self.recipient_infos.len() + 128);
        der::push_header(&mut out, der::SEQUENCE, content_info);
        out.extend(der::oid(oid::AUTH_ENVELOPED_DATA));
        der::push_header(&mut out, der::context_constructed(0), explicit);
        der::push_header(&mut out, der::SEQUENCE, auth_enveloped_data);
        out.extend(der::unsigned(0));
        out.extend_from_slice(&self.recipient_infos);
        der::push_header(&mut out, der::SEQUENCE, encrypted_content_info);
        out.extend(der::oid(oid::DATA));
        let nonce_at = out.len() + algorithm.len() - NONCE - 3;
        out.extend(algorithm);
        out[nonce_at..nonce_at + NONCE].copy_from_slice(&nonce);
        der::push_header(&mut out, der::context(0), content);
        out
    }

    /// The content's AlgorithmIdentifier with a nonce of zeros, and the lengths of the contents of
    /// ContentInfo, its `[0]`, AuthEnvelopedData and EncryptedContentInfo.
    fn lengths(&self, content: u64) -> (Vec<u8>, [u64; 4]) {
        let parameters = der::sequence(&[&der::octet_string(&[0; NONCE]), &der::unsigned(TAG as u64)]);
        let algorithm = der::algorithm(oid::AES_256_GCM, &parameters);
        let oid_length = |contents: &[u8]| 2 + contents.len() as u64;
        let encrypted_content_info = oid_length(oid::DATA) + algorithm.len() as u64 + wrapped(content);
        let version = 3;
        let auth_enveloped_data =
            version + self.recipient_infos.len() as u64 + wrapped(encrypted_content_info) + TRAILER as u64;
        let explicit = wrapped(auth_enveloped_data);
        let content_info = oid_length(oid::AUTH_ENVELOPED_DATA) + wrapped(explicit);
        (algorithm, [content_info, explicit, auth_enveloped_data, encrypted_content_info])
    }
}

/// Length of an element with contents of this length.
const fn wrapped(contents: u64) -> u64 {
    1 + der::length_octets(contents) as u64 + contents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fit_the_encoding_and_are_inverted() {
        let template = Template { recipient_infos: der::element(der::SET, &[&[0; 700]]) };
        for around in [0_u64, 127, 128, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24, (1 << 32) - 1, 1 << 32] {
            for content in around.saturating_sub(900)..around + 900 {
                let size = template.size(content);
                assert_eq!(template.header([7; NONCE], content).len() as u64 + content + TRAILER as u64, size);
                assert_eq!(template.content_for(size), Some(content));
            }
        }
        assert_eq!(template.content_for(3), None);
    }

    #[test]
    fn some_sizes_cannot_be_reached() {
        let template = Template { recipient_infos: der::element(der::SET, &[&[0; 700]]) };
        let before = template.size((1 << 24) - 1);
        assert_eq!(template.size(1 << 24), before + 2);
        assert_eq!(template.content_for(before + 1), None);
    }
}
