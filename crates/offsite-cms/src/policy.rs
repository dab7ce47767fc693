//! What is accepted when a message is read: the whole of it, in one place (format.md §7).
//!
//! Everything here is checked before a private key is used. Nothing falls back: parameters that
//! cannot be read are refused, not replaced by defaults. Absent and NULL parameters are equal
//! (RFC 5754 §2).

use aws_lc_rs::digest;

use crate::der::{self, Cursor, Element};
use crate::error::{Error, Result};
use crate::oid;
pub use crate::refusal::Refusal;

/// The two content types that hold encrypted content for recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// EnvelopedData (RFC 5652 §6.1): no integrity check.
    EnvelopedData,
    /// AuthEnvelopedData (RFC 5083 §2.1).
    AuthEnvelopedData,
}

impl Container {
    /// The name of the type as the RFCs write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EnvelopedData => "envelopedData",
            Self::AuthEnvelopedData => "authEnvelopedData",
        }
    }

    /// The content type that an envelope begins with.
    pub(crate) fn from_oid(contents: &[u8]) -> Result<Self> {
        match contents {
            oid::ENVELOPED_DATA => Ok(Self::EnvelopedData),
            oid::AUTH_ENVELOPED_DATA => Ok(Self::AuthEnvelopedData),
            other => Err(Refusal::ContentType(oid::name(other)).into()),
        }
    }
}

/// How the content is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the ciphers'")]
pub enum ContentCipher {
    Aes128Cbc,
    Aes128Gcm,
    Aes192Cbc,
    Aes192Gcm,
    Aes256Cbc,
    Aes256Gcm,
    DesEde3Cbc,
}

impl ContentCipher {
    /// The cipher's name as the RFCs write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Cbc => "aes128-CBC",
            Self::Aes128Gcm => "aes128-GCM",
            Self::Aes192Cbc => "aes192-CBC",
            Self::Aes192Gcm => "aes192-GCM",
            Self::Aes256Cbc => "aes256-CBC",
            Self::Aes256Gcm => "aes256-GCM",
            Self::DesEde3Cbc => "des-EDE3-CBC",
        }
    }

    /// Length of its key in bytes.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::Aes128Cbc | Self::Aes128Gcm => 16,
            Self::Aes192Cbc | Self::Aes192Gcm | Self::DesEde3Cbc => 24,
            Self::Aes256Cbc | Self::Aes256Gcm => 32,
        }
    }

    /// Length of its nonce or initialisation vector in bytes.
    #[must_use]
    pub const fn nonce_length(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm => 12,
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 16,
            Self::DesEde3Cbc => 8,
        }
    }

    /// Reads a ContentEncryptionAlgorithmIdentifier: the cipher, and its nonce or IV.
    pub(crate) fn from_algorithm(container: Container, algorithm: &Algorithm<'_>) -> Result<(Self, Vec<u8>)> {
        let cipher = match (container, algorithm.oid) {
            (Container::AuthEnvelopedData, oid::AES_128_GCM) => Self::Aes128Gcm,
            (Container::AuthEnvelopedData, oid::AES_192_GCM) => Self::Aes192Gcm,
            (Container::AuthEnvelopedData, oid::AES_256_GCM) => Self::Aes256Gcm,
            (Container::EnvelopedData, oid::AES_128_CBC) => Self::Aes128Cbc,
            (Container::EnvelopedData, oid::AES_192_CBC) => Self::Aes192Cbc,
            (Container::EnvelopedData, oid::AES_256_CBC) => Self::Aes256Cbc,
            (Container::EnvelopedData, oid::DES_EDE3_CBC) => Self::DesEde3Cbc,
            (_, other) => {
                return Err(Refusal::ContentCipher { cipher: oid::name(other), container: container.name() }.into());
            }
        };
        let malformed = || Refusal::CipherParameters(cipher.name());
        let parameters = algorithm.parameters.ok_or_else(malformed)?;
        let nonce = match container {
            Container::EnvelopedData if parameters.tag == der::OCTET_STRING => parameters.contents,
            Container::AuthEnvelopedData if parameters.tag == der::SEQUENCE => gcm_nonce(parameters, malformed())?,
            _ => return Err(malformed().into()),
        };
        if nonce.len() != cipher.nonce_length() {
            return Err(Refusal::NonceLength { found: nonce.len(), expected: cipher.nonce_length() }.into());
        }
        Ok((cipher, nonce.to_vec()))
    }
}

/// GCMParameters (RFC 5084 §3.2).
fn gcm_nonce<'a>(parameters: Element<'a>, malformed: Refusal) -> Result<&'a [u8], Refusal> {
    let mut fields = parameters.open();
    let Ok(nonce) = fields.expect(der::OCTET_STRING) else { return Err(malformed) };
    if fields.is_empty() {
        return Err(Refusal::IcvLengthMissing);
    }
    match (fields.unsigned(), fields.end()) {
        (Ok(16), Ok(())) => Ok(nonce.contents),
        (Ok(length), Ok(())) => Err(Refusal::IcvLength(length)),
        _ => Err(malformed),
    }
}

/// The integrity check value of AuthEnvelopedData.
pub(crate) fn tag(mac: &[u8]) -> Result<[u8; 16]> {
    mac.try_into().map_err(|_| Refusal::TagLength(mac.len()).into())
}

/// A digest for OAEP, MGF1 and the key derivation of ECDH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn from_oid(contents: &[u8]) -> Result<Self, Refusal> {
        match contents {
            oid::SHA_1 => Ok(Self::Sha1),
            oid::SHA_256 => Ok(Self::Sha256),
            oid::SHA_384 => Ok(Self::Sha384),
            oid::SHA_512 => Ok(Self::Sha512),
            other => Err(Refusal::Digest(oid::name(other))),
        }
    }

    pub(crate) fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// AlgorithmIdentifier (RFC 5280 §4.1.1.2).
#[derive(Clone, Copy)]
pub(crate) struct Algorithm<'a> {
    pub(crate) oid: &'a [u8],
    /// None where they are absent or NULL.
    pub(crate) parameters: Option<Element<'a>>,
    /// The whole element.
    pub(crate) whole: &'a [u8],
}

impl<'a> Algorithm<'a> {
    /// Reads the next element of `cursor`; its tag is SEQUENCE, or `[n]` where it is IMPLICIT.
    pub(crate) fn read_tagged(cursor: &mut Cursor<'a>, tag: u8) -> Result<Self> {
        let element = cursor.expect(tag)?;
        let mut fields = element.open();
        let oid = fields.oid()?;
        let parameters = if fields.is_empty() { None } else { Some(fields.any()?) };
        fields.end()?;
        let parameters = parameters.filter(|parameters| parameters.tag != der::NULL);
        Ok(Self { oid, parameters, whole: element.whole })
    }

    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        Self::read_tagged(cursor, der::SEQUENCE)
    }
}

/// How RSA encrypts the content-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyTransport {
    /// RSAES-PKCS1-v1_5 (RFC 3370 §4.2.1).
    Pkcs1,
    /// RSAES-OAEP (RFC 3560).
    Oaep { digest: Digest, mgf1: Digest, label: Vec<u8> },
}

impl KeyTransport {
    pub(crate) fn from_algorithm(algorithm: &Algorithm<'_>) -> Result<Self, Refusal> {
        match algorithm.oid {
            oid::RSA_ENCRYPTION if algorithm.parameters.is_none() => Ok(Self::Pkcs1),
            oid::RSAES_OAEP => oaep(algorithm.parameters.ok_or(Refusal::OaepParameters)?),
            other => Err(Refusal::KeyEncryption(oid::name(other))),
        }
    }

    /// The name for people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pkcs1 => "RSA PKCS#1 v1.5".to_owned(),
            Self::Oaep { digest, mgf1, .. } if digest == mgf1 => format!("RSA-OAEP {}", digest.name()),
            Self::Oaep { digest, mgf1, .. } => format!("RSA-OAEP {} with MGF1 {}", digest.name(), mgf1.name()),
        }
    }
}

impl Digest {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }
}

/// RSAES-OAEP-params (RFC 8017 appendix A.2.1): three optional fields, each with its default.
fn oaep(parameters: Element<'_>) -> Result<KeyTransport, Refusal> {
    let read = || -> Result<KeyTransport> {
        let malformed = || Error::from(Refusal::OaepParameters);
        if parameters.tag != der::SEQUENCE {
            return Err(malformed());
        }
        let mut fields = parameters.open();
        let mut field = |number| -> Result<Option<Algorithm<'_>>> {
            let Some(outer) = fields.optional(der::context_constructed(number))? else { return Ok(None) };
            let mut inner = outer.open();
            let algorithm = Algorithm::read(&mut inner)?;
            inner.end()?;
            Ok(Some(algorithm))
        };
        let without_parameters = |algorithm: &Algorithm<'_>| match algorithm.parameters {
            None => Ok(Digest::from_oid(algorithm.oid)?),
            Some(_) => Err(malformed()),
        };
        let digest = field(0)?.map_or(Ok(Digest::Sha1), |algorithm| without_parameters(&algorithm))?;
        let mgf1 = match field(1)? {
            None => Digest::Sha1,
            Some(Algorithm { oid: oid::MGF1, parameters: Some(hash), .. }) => {
                let mut hash = Cursor::new(hash.whole, 0, "MGF1 parameters");
                without_parameters(&Algorithm::read(&mut hash)?)?
            }
            Some(_) => return Err(malformed()),
        };
        let label = match field(2)? {
            None => Vec::new(),
            Some(Algorithm { oid: oid::P_SPECIFIED, parameters: Some(label), .. })
                if label.tag == der::OCTET_STRING =>
            {
                label.contents.to_vec()
            }
            Some(_) => return Err(malformed()),
        };
        fields.end()?;
        Ok(KeyTransport::Oaep { digest, mgf1, label })
    };
    read().map_err(|error| match error {
        Error::Refused(refusal) => refusal,
        _ => Refusal::OaepParameters,
    })
}

/// How ECDH yields the key that wraps the content-encryption key (RFC 5753 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyAgreement {
    pub(crate) kdf: Digest,
    /// Length of the key-encryption key in bytes: 16, 24 or 32.
    pub(crate) kek_length: usize,
    /// The wrap's AlgorithmIdentifier as it stands in the message; the derivation binds it.
    pub(crate) wrap_algorithm: Vec<u8>,
}

impl KeyAgreement {
    pub(crate) fn from_algorithm(algorithm: &Algorithm<'_>) -> Result<Self, Refusal> {
        let kdf = match algorithm.oid {
            oid::STD_DH_SHA1_KDF | oid::COFACTOR_DH_SHA1_KDF => Digest::Sha1,
            oid::STD_DH_SHA256_KDF | oid::COFACTOR_DH_SHA256_KDF => Digest::Sha256,
            oid::STD_DH_SHA384_KDF | oid::COFACTOR_DH_SHA384_KDF => Digest::Sha384,
            oid::STD_DH_SHA512_KDF | oid::COFACTOR_DH_SHA512_KDF => Digest::Sha512,
            other => return Err(Refusal::KeyEncryption(oid::name(other))),
        };
        let parameters = algorithm.parameters.ok_or(Refusal::AgreementParameters)?;
        let wrap = Algorithm::read(&mut Cursor::new(parameters.whole, 0, "key wrap algorithm"))
            .map_err(|_| Refusal::AgreementParameters)?;
        let kek_length = match wrap.oid {
            oid::AES_128_WRAP => 16,
            oid::AES_192_WRAP => 24,
            oid::AES_256_WRAP => 32,
            other => return Err(Refusal::KeyWrap(oid::name(other))),
        };
        match wrap.parameters {
            None => Ok(Self { kdf, kek_length, wrap_algorithm: wrap.whole.to_vec() }),
            Some(_) => Err(Refusal::AgreementParameters),
        }
    }

    /// The name for people.
    pub(crate) fn name(&self) -> String {
        format!("ECDH {} with AES-{} key wrap", self.kdf.name(), self.kek_length * 8)
    }
}
