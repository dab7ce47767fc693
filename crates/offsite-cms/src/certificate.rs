//! X.509 certificates, as far as encrypting to one and finding oneself among recipients needs
//! (RFC 5280 §4.1).
//!
//! Why not a library: issuer and serial number go into messages as the very bytes they are in the
//! certificate, and certificates in use carry serial numbers that strict readers refuse.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use time::{Date, Month, OffsetDateTime, Time};

use crate::der::{self, Cursor, Element};
use crate::error::{Error, KeyError, Result};
use crate::oid;
use crate::pem;
use crate::policy::Algorithm;

/// A certificate: a recipient's, or a signer's.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// IssuerAndSerialNumber (RFC 5652 §10.2.4): both elements raw, in a SEQUENCE.
    pub(crate) issuer_and_serial: Vec<u8>,
    /// The subjectKeyIdentifier extension, if there is one.
    pub(crate) key_identifier: Option<Vec<u8>>,
    /// Whether its keyUsage extension says that the key is for no kind of encryption.
    pub(crate) signs_only: bool,
    /// SubjectPublicKeyInfo, whole.
    pub(crate) public_key_info: Vec<u8>,
    pub(crate) public_key: PublicKey,
    subject: String,
    issuer: String,
    serial: String,
    not_before: Option<OffsetDateTime>,
    not_after: Option<OffsetDateTime>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.name())
    }
}

/// A public key's kind, and its subjectPublicKey bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa(Vec<u8>),
    Ec(Curve, Vec<u8>),
}

impl PublicKey {
    /// The kind for people.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Rsa(bits) => format!("RSA-{}", modulus_bits(bits)),
            Self::Ec(curve, _) => curve.name().to_owned(),
        }
    }

    /// The key identifier by the first method of RFC 5280 §4.2.1.2.
    pub(crate) fn identifier(&self) -> Vec<u8> {
        let (Self::Rsa(bits) | Self::Ec(_, bits)) = self;
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref().to_vec()
    }
}

/// An elliptic curve of SP 800-186.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) fn from_oid(contents: &[u8]) -> Option<Self> {
        match contents {
            oid::P_256 => Some(Self::P256),
            oid::P_384 => Some(Self::P384),
            oid::P_521 => Some(Self::P521),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Length of a coordinate in bytes.
    pub(crate) const fn coordinate(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl Certificate {
    /// Reads the one certificate of a file, PEM or DER.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] where there is none, or several (whoever encrypts to one of two would lose the
    /// other unnoticed), or its key is of another kind than RSA, P-256, P-384 or P-521;
    /// [`Error::Malformed`] where it is damaged.
    pub fn from_file(contents: &[u8]) -> Result<Self> {
        if contents.first() == Some(&der::SEQUENCE) {
            // A message or a private key begins as a certificate does, but only just.
            let inner = Cursor::new(contents, 0, "the certificate").sequence()?.peek();
            return if inner == Some(der::SEQUENCE) {
                Self::from_der(contents)
            } else {
                Err(KeyError::NoCertificate.into())
            };
        }
        let mut certificates = Self::all_from_file(contents)?.into_iter();
        match (certificates.next(), certificates.next()) {
            (Some(certificate), None) => Ok(certificate),
            (None, _) => Err(KeyError::NoCertificate.into()),
            (Some(_), Some(_)) => Err(KeyError::SeveralCertificates.into()),
        }
    }

    /// Every certificate of a PEM file, in order.
    ///
    /// # Errors
    ///
    /// As [`Certificate::from_file`], but for [`KeyError::NoCertificate`].
    pub fn all_from_file(contents: &[u8]) -> Result<Vec<Self>> {
        let blocks = pem::blocks(contents)?;
        let certificates = blocks.iter().filter(|block| matches!(&*block.label, "CERTIFICATE" | "X509 CERTIFICATE"));
        certificates.map(|block| Self::from_der(&block.contents)).collect()
    }

    /// Reads a certificate's DER.
    ///
    /// # Errors
    ///
    /// As [`Certificate::from_file`].
    pub fn from_der(contents: &[u8]) -> Result<Self> {
        let mut outer = Cursor::new(contents, 0, "the certificate");
        let certificate = outer.expect(der::SEQUENCE)?;
        outer.end()?;
        let mut fields = certificate.open().sequence()?;
        fields.optional(der::context_constructed(0))?;
        let serial = fields.expect(der::INTEGER)?;
        Algorithm::read(&mut fields)?;
        let issuer = fields.expect(der::SEQUENCE)?;
        let mut validity = fields.sequence()?;
        let (not_before, not_after) = (date(validity.any()?), date(validity.any()?));
        let subject = fields.expect(der::SEQUENCE)?;
        let public_key_info = fields.expect(der::SEQUENCE)?;
        fields.optional(der::context(1))?;
        fields.optional(der::context(2))?;
        let Extensions { key_identifier, signs_only } = match fields.optional(der::context_constructed(3))? {
            Some(extensions) => Extensions::read(extensions)?,
            None => Extensions::default(),
        };
        Ok(Self {
            der: contents.to_vec(),
            issuer_and_serial: der::sequence(&[issuer.whole, serial.whole]),
            key_identifier,
            signs_only,
            public_key_info: public_key_info.whole.to_vec(),
            public_key: public_key(public_key_info)?,
            subject: distinguished_name(subject),
            issuer: distinguished_name(issuer),
            serial: hex(serial.contents),
            not_before,
            not_after,
        })
    }

    /// The certificate's DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as a PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der).to_string()
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &self.der).as_ref());
        fingerprint
    }

    /// The subject for people; the serial number where the subject is empty.
    #[must_use]
    pub fn name(&self) -> String {
        if self.subject.is_empty() { format!("serial {}", self.serial) } else { self.subject.clone() }
    }

    /// The public key's kind for people: `RSA-4096`, `P-256`.
    #[must_use]
    pub fn key_kind(&self) -> String {
        self.public_key.kind()
    }

    /// Whether the public key is an RSA key.
    #[must_use]
    pub fn is_rsa(&self) -> bool {
        matches!(self.public_key, PublicKey::Rsa(_))
    }

    /// End of the validity; None where it cannot be read.
    #[must_use]
    pub fn not_after(&self) -> Option<OffsetDateTime> {
        self.not_after
    }

    /// Start of the validity; None where it cannot be read.
    #[must_use]
    pub fn not_before(&self) -> Option<OffsetDateTime> {
        self.not_before
    }

    /// Issuer and serial number for people.
    #[must_use]
    pub fn issuer_and_serial_name(&self) -> String {
        issuer_and_serial_name(&self.issuer, &self.serial)
    }
}

fn issuer_and_serial_name(issuer: &str, serial: &str) -> String {
    if issuer.is_empty() { format!("serial {serial}") } else { format!("{issuer} (serial {serial})") }
}

/// IssuerAndSerialNumber for people.
pub(crate) fn describe_issuer_and_serial(element: Element<'_>) -> String {
    let read = || -> Result<String> {
        let mut fields = element.open();
        let issuer = distinguished_name(fields.expect(der::SEQUENCE)?);
        Ok(issuer_and_serial_name(&issuer, &hex(fields.expect(der::INTEGER)?.contents)))
    };
    read().unwrap_or_else(|_| "an unreadable name".to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 3279 §2.3.1, RFC 5480 §2).
pub(crate) fn public_key(info: Element<'_>) -> Result<PublicKey> {
    let mut fields = info.open();
    let algorithm = Algorithm::read(&mut fields)?;
    let bits = fields.bit_string()?.to_vec();
    fields.end()?;
    match algorithm.oid {
        oid::RSA_ENCRYPTION => Ok(PublicKey::Rsa(bits)),
        oid::EC_PUBLIC_KEY => {
            let curve = algorithm.parameters.filter(|parameters| parameters.tag == der::OID);
            match curve.and_then(|parameters| Curve::from_oid(parameters.contents)) {
                Some(curve) => Ok(PublicKey::Ec(curve, bits)),
                None => {
                    let name =
                        curve.map_or_else(|| "explicit parameters".to_owned(), |curve| oid::name(curve.contents));
                    Err(KeyError::Kind(format!("an elliptic curve other than P-256, P-384 and P-521 ({name})")).into())
                }
            }
        }
        other => Err(KeyError::Kind(oid::name(other)).into()),
    }
}

/// Bits of the modulus of an RSAPublicKey (RFC 8017 appendix A.1.1); 0 where it cannot be read.
pub(crate) fn modulus_bits(public_key: &[u8]) -> usize {
    let read = || Cursor::new(public_key, 0, "the public key").sequence()?.expect(der::INTEGER);
    let Ok::<_, Error>(modulus) = read() else { return 0 };
    let significant = modulus.contents.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// What of a certificate's extensions matters here.
#[derive(Default)]
struct Extensions {
    key_identifier: Option<Vec<u8>>,
    signs_only: bool,
}

/// keyEncipherment, dataEncipherment and keyAgreement in the first octet of KeyUsage's bits (RFC 5280 §4.2.1.3).
const ENCRYPTION: u8 = 0b0011_1000;

impl Extensions {
    /// subjectKeyIdentifier and keyUsage (RFC 5280 §4.2.1.2, §4.2.1.3).
    fn read(extensions: Element<'_>) -> Result<Self> {
        let mut read = Self::default();
        let mut extensions = extensions.open().sequence()?;
        while !extensions.is_empty() {
            let mut extension = extensions.sequence()?;
            let id = extension.oid()?;
            extension.optional(der::BOOLEAN)?;
            let value = extension.expect(der::OCTET_STRING)?;
            match id {
                oid::SUBJECT_KEY_IDENTIFIER if read.key_identifier.is_none() => {
                    read.key_identifier = Some(value.open().expect(der::OCTET_STRING)?.contents.to_vec());
                }
                oid::KEY_USAGE => {
                    // The number of bits that do not count comes first.
                    let bits = value.open().expect(der::BIT_STRING)?.contents.get(1).copied();
                    read.signs_only = bits.is_some_and(|bits| bits & ENCRYPTION == 0);
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// UTCTime or GeneralizedTime (RFC 5280 §4.1.2.5); None for what neither form allows, since a
/// strange date must not keep anybody from their data.
fn date(element: Element<'_>) -> Option<OffsetDateTime> {
    let text = std::str::from_utf8(element.contents).ok()?.strip_suffix('Z')?;
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let (year, rest) = match element.tag {
        0x17 => (digits(0, 2).map(|year| i32::from(year) + if year < 50 { 2000 } else { 1900 })?, 2),
        0x18 => (text.get(..4)?.parse().ok()?, 4),
        _ => return None,
    };
    let part = |index: usize| digits(rest + 2 * index, rest + 2 * index + 2);
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(1)?).ok()?;
    let time = Time::from_hms(part(2)?, part(3)?, part(4).unwrap_or(0)).ok()?;
    Some(date.with_time(time).assume_utc())
}

/// A Name for people: `CN=backup, O=Example`. Control characters are left out.
fn distinguished_name(name: Element<'_>) -> String {
    let mut parts = Vec::new();
    let mut sets = name.open();
    while let Ok(Some(set)) = sets.optional(der::SET) {
        let mut attributes = set.open();
        while let Ok(mut attribute) = attributes.sequence() {
            let (Ok(kind), Ok(value)) = (attribute.oid(), attribute.any()) else { break };
            let text: String = match value.tag {
                // BMPString is UTF-16, big-endian.
                0x1e => {
                    let units = value.contents.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
                    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
                }
                _ => String::from_utf8_lossy(value.contents).into_owned(),
            };
            let text: String = text.chars().filter(|character| !character.is_control()).collect();
            parts.push(format!("{}={text}", oid::name(kind)));
        }
    }
    parts.join(", ")
}
