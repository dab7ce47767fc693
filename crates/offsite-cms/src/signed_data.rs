//! Signed messages: SignedData (RFC 5652 §5) around its content, by one ECDSA P-256 key
//! (format.md §6). There is one encoding of each, so a reader builds the message anew from its
//! parts and compares: nothing else can stand in it.
//!
//! The certificate is carried, not checked: anybody can make another one for the same key. Whoever
//! trusts a signer compares the whole certificate, by its fingerprint. Nor is a message's own digest
//! an identity: for each ECDSA signature there is a second one that fits as well.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use time::OffsetDateTime;

use crate::certificate::{Certificate, Curve, PublicKey};
use crate::der::{self, Cursor};
use crate::error::{Error, KeyError, Result};
use crate::keygen::{KeyType, NewKey, Purpose};
use crate::limits;
use crate::oid;
use crate::pem;

/// A signer's private key with its certificate.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    certificate: Certificate,
}

impl SigningKey {
    /// Makes a new one and its PEM file's contents, which hold the private key, unprotected.
    ///
    /// # Errors
    ///
    /// As [`NewKey::generate`].
    pub fn generate(common_name: &str, now: OffsetDateTime, days: u32) -> Result<(Self, zeroize::Zeroizing<String>)> {
        let key = NewKey::generate(KeyType::P256, Purpose::Signature, common_name, now, days)?;
        Ok((Self::from_parts(key.pkcs8(), key.certificate().clone())?, key.private_pem(None)?))
    }

    /// Reads what [`SigningKey::generate`] made.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] where the file does not hold one P-256 key and its certificate.
    pub fn from_file(file: &[u8]) -> Result<Self> {
        let mut blocks = pem::blocks(file)?;
        let key = blocks.iter().position(|block| block.label == "PRIVATE KEY").ok_or(KeyError::NoPrivateKey)?;
        let key = blocks.swap_remove(key);
        Self::from_parts(&key.contents, Certificate::from_file(file)?)
    }

    fn from_parts(pkcs8: &[u8], certificate: Certificate) -> Result<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).map_err(|_| KeyError::Invalid)?;
        let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        if certificate.public_key != PublicKey::Ec(Curve::P256, public) {
            return Err(KeyError::NoCertificate.into());
        }
        Ok(Self { pair, certificate })
    }

    /// The signer's certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs `content`; the message holds it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond [`limits::SIGNED_MESSAGE`]; [`Error::Crypto`] if the library fails.
    pub fn sign(&self, content: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), &der::element(der::SET, &[&signed_attributes(content)]));
        let signature = signature.map_err(|_| Error::Crypto("ECDSA"))?;
        let message = encode(content, &self.certificate, signature.as_ref());
        if message.len() > limits::SIGNED_MESSAGE {
            return Err(Error::TooLarge { what: "a signed message", limit: limits::SIGNED_MESSAGE as u64 });
        }
        Ok(message)
    }
}

/// What a valid signature covers, and by whom. Who may sign is for the caller to decide.
#[derive(Debug)]
pub struct Signed<'a> {
    /// The signed content.
    pub content: &'a [u8],
    /// The signer's certificate, as the message carries it.
    pub certificate: Certificate,
}

/// Checks a message of [`SigningKey::sign`].
///
/// # Errors
///
/// [`Error::Malformed`] or [`KeyError::Signature`] where it is not one, or its signature does not
/// fit.
pub fn verify(message: &[u8]) -> Result<Signed<'_>> {
    if message.len() > limits::SIGNED_MESSAGE {
        return Err(Error::TooLarge { what: "a signed message", limit: limits::SIGNED_MESSAGE as u64 });
    }
    let (content, certificate, signature) = parts(message)?;
    if certificate.len() as u64 > limits::KEY_FILE {
        return Err(Error::TooLarge { what: "the signer's certificate", limit: limits::KEY_FILE });
    }
    let certificate = Certificate::from_der(certificate)?;
    if encode(content, &certificate, signature) != message {
        return Err(KeyError::Signature("the message is not encoded as it must be").into());
    }
    let PublicKey::Ec(Curve::P256, point) = &certificate.public_key else {
        return Err(KeyError::Signature("the signer's key is not on P-256").into());
    };
    let attributes = der::element(der::SET, &[&signed_attributes(content)]);
    let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&attributes, signature);
    verified.map_err(|_| KeyError::Signature("it does not fit the content"))?;
    Ok(Signed { content, certificate })
}

/// Content, certificate and signature, where they lie in a message.
fn parts(message: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let mut fields = Cursor::new(message, 0, "the signed message").sequence()?;
    if fields.oid()? != oid::SIGNED_DATA {
        return Err(Error::NotCms { why: "it is not signedData" });
    }
    let mut signed_data = fields.expect(der::context_constructed(0))?.open().sequence()?;
    signed_data.expect(der::INTEGER)?;
    signed_data.expect(der::SET)?;
    let mut content_info = signed_data.sequence()?;
    content_info.oid()?;
    let content = content_info.expect(der::context_constructed(0))?.open().expect(der::OCTET_STRING)?.contents;
    let certificate = signed_data.expect(der::context_constructed(0))?.contents;
    let mut signer_info = signed_data.expect(der::SET)?.open().sequence()?;
    signer_info.expect(der::INTEGER)?;
    signer_info.expect(der::SEQUENCE)?;
    signer_info.expect(der::SEQUENCE)?;
    signer_info.expect(der::context_constructed(0))?;
    signer_info.expect(der::SEQUENCE)?;
    let signature = signer_info.expect(der::OCTET_STRING)?.contents;
    Ok((content, certificate, signature))
}

/// The contents of SignedAttributes: content type and digest, in DER's order.
fn signed_attributes(content: &[u8]) -> Vec<u8> {
    let attribute = |kind: &[u8], value: &[u8]| der::sequence(&[&der::oid(kind), &der::element(der::SET, &[value])]);
    let digest = digest::digest(&digest::SHA256, content);
    let content_type = attribute(oid::CONTENT_TYPE, &der::oid(oid::DATA));
    [content_type, attribute(oid::MESSAGE_DIGEST, &der::octet_string(digest.as_ref()))].concat()
}

fn encode(content: &[u8], certificate: &Certificate, signature: &[u8]) -> Vec<u8> {
    let version = der::unsigned(1);
    let sha_256 = der::algorithm(oid::SHA_256, &[]);
    let signer_info = der::sequence(&[
        &version,
        &certificate.issuer_and_serial,
        &sha_256,
        &der::element(der::context_constructed(0), &[&signed_attributes(content)]),
        &der::algorithm(oid::ECDSA_SHA_256, &[]),
        &der::octet_string(signature),
    ]);
    let content = der::element(der::context_constructed(0), &[&der::octet_string(content)]);
    let signed_data = der::sequence(&[
        &version,
        &der::element(der::SET, &[&sha_256]),
        &der::sequence(&[&der::oid(oid::DATA), &content]),
        &der::element(der::context_constructed(0), &[certificate.der()]),
        &der::element(der::SET, &[&signer_info]),
    ]);
    der::sequence(&[&der::oid(oid::SIGNED_DATA), &der::element(der::context_constructed(0), &[&signed_data])])
}
