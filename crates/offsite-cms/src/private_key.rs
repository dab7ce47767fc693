//! A private key at work: it finds its recipient in a message and unwraps the content-encryption
//! key.

use aws_lc_rs::agreement;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::certificate::{Certificate, Curve, PublicKey};
use crate::error::{Error, KeyError, Result};
use crate::ffi;
use crate::policy::{ContentCipher, KeyAgreement, KeyTransport, Refusal};
use crate::random;
use crate::recipient_info::{self, Originator, RecipientId, RecipientInfo};

/// A content-encryption key.
pub(crate) type Cek = Zeroizing<Vec<u8>>;

/// A private key, unlocked, with the certificates that lay in its file.
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
    certificates: Vec<Certificate>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

pub(crate) enum Secret {
    Rsa { key: ffi::RsaKey, public: Vec<u8> },
    Ec { curve: Curve, key: agreement::PrivateKey, public: Vec<u8> },
}

impl Secret {
    /// From the scalar of a key on `curve`.
    pub(crate) fn ec(curve: Curve, scalar: &[u8]) -> Result<Self> {
        // Some writers leave out leading zeros (RFC 5915 §3 says not to).
        let length = curve.coordinate();
        let excess = scalar.len().saturating_sub(length);
        if scalar[..excess].iter().any(|byte| *byte != 0) {
            return Err(KeyError::Invalid.into());
        }
        let mut padded = Zeroizing::new(vec![0; length]);
        let scalar = &scalar[excess..];
        padded[length - scalar.len()..].copy_from_slice(scalar);
        let key = agreement::PrivateKey::from_private_key(agreement(curve), &padded).map_err(|_| KeyError::Invalid)?;
        let public = key.compute_public_key().map_err(|_| KeyError::Invalid)?.as_ref().to_vec();
        Ok(Self::Ec { curve, key, public })
    }
}

/// A curve's ECDH.
pub(crate) fn agreement(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}

/// A content-encryption key from a message.
pub(crate) struct Unwrapped {
    pub(crate) cek: Cek,
    /// The RSA padding was wrong, and a random key stands in. Nothing that it decrypts may leave,
    /// and no error may tell (RFC 3218 §2.3.2).
    pub(crate) stand_in: bool,
}

impl PrivateKey {
    /// `certificates` that are not this key's are dropped.
    pub(crate) fn new(secret: Secret, mut certificates: Vec<Certificate>) -> Self {
        let public = match &secret {
            Secret::Rsa { public, .. } => PublicKey::Rsa(public.clone()),
            Secret::Ec { curve, public, .. } => PublicKey::Ec(*curve, public.clone()),
        };
        certificates.retain(|certificate| certificate.public_key.identifier() == public.identifier());
        Self { secret, public, certificates }
    }

    /// The kind for people: `RSA-4096`, `P-256`.
    #[must_use]
    pub fn kind(&self) -> String {
        self.public.kind()
    }

    /// Its certificates, of those that lay in its file.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether a certificate is this key's: more than one may be.
    #[must_use]
    pub fn is_of(&self, certificate: &Certificate) -> bool {
        certificate.public_key.identifier() == self.public.identifier()
    }

    /// Unwraps the content-encryption key that a message holds for this key.
    ///
    /// A recipient that names this key, by a certificate of its file or by its identifier, is the
    /// one. Where none does, as with a key alone, every recipient of its kind is tried.
    pub(crate) fn unwrap(&self, recipients: &[RecipientInfo], cipher: ContentCipher) -> Result<Unwrapped> {
        let named = |info: &&RecipientInfo| match info {
            RecipientInfo::KeyTransport { id, .. } | RecipientInfo::KeyAgreement { id, .. } => self.is_named_by(id),
            RecipientInfo::Other(_) => false,
        };
        let named: Vec<_> = recipients.iter().filter(named).collect();
        let is_named = !named.is_empty();
        let candidates = if is_named { named } else { recipients.iter().collect() };
        let mut refusal = None;
        let mut failed = false;
        let mut stand_in = false;
        for info in candidates {
            match self.try_one(info, cipher) {
                None => {}
                Some(Ok(Some(cek))) => return Ok(Unwrapped { cek, stand_in: false }),
                Some(Ok(None)) => match info {
                    // The one that names this key decides. Were the next one tried, a second
                    // recipient would show whether the padding of the first was right.
                    RecipientInfo::KeyTransport { algorithm: Ok(KeyTransport::Pkcs1), .. } if is_named => {
                        stand_in = true;
                        break;
                    }
                    RecipientInfo::KeyTransport { algorithm: Ok(KeyTransport::Pkcs1), .. } => stand_in = true,
                    _ => failed = true,
                },
                // Another recipient's curve is none of this key's business.
                Some(Err(Refusal::OriginatorKey)) if !is_named => failed = true,
                Some(Err(error)) => refusal = refusal.or(Some(error)),
            }
        }
        if stand_in {
            let mut cek = Zeroizing::new(vec![0; cipher.key_length()]);
            random::fill(&mut cek)?;
            return Ok(Unwrapped { cek, stand_in: true });
        }
        match refusal {
            Some(refusal) => Err(refusal.into()),
            None if failed && is_named => Err(Error::Decryption),
            None => Err(Error::NotForThisKey { recipients: recipients.iter().map(RecipientInfo::name).collect() }),
        }
    }

    fn is_named_by(&self, id: &RecipientId) -> bool {
        self.certificates.iter().any(|certificate| id.is(certificate))
            || matches!(id, RecipientId::KeyIdentifier(id) if *id == self.public.identifier())
    }

    /// None where the recipient is of another kind than this key; a key, or None where it does not
    /// open.
    fn try_one(&self, info: &RecipientInfo, cipher: ContentCipher) -> Option<Result<Option<Cek>, Refusal>> {
        match (info, &self.secret) {
            (RecipientInfo::KeyTransport { algorithm, encrypted_key, .. }, Secret::Rsa { key, .. }) => {
                let unwrap = |algorithm: &KeyTransport| {
                    let cek = key.decrypt(algorithm, encrypted_key);
                    cek.filter(|cek| cek.len() == cipher.key_length())
                };
                Some(algorithm.as_ref().map(unwrap).map_err(Clone::clone))
            }
            (RecipientInfo::KeyAgreement { algorithm, originator, wrapped_key, .. }, Secret::Ec { key, .. }) => {
                Some(algorithm.as_ref().map_err(Clone::clone).and_then(|algorithm| {
                    let kek = agree(key, algorithm, originator)?;
                    match ffi::aes_unwrap(&kek, wrapped_key) {
                        Some(cek) if cek.len() != cipher.key_length() => Err(Refusal::KeyLength(cipher.name())),
                        cek => Ok(cek),
                    }
                }))
            }
            _ => None,
        }
    }
}

/// Ephemeral-static ECDH, up to the key-encryption key.
fn agree(
    key: &agreement::PrivateKey,
    algorithm: &KeyAgreement,
    originator: &Originator,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let point = originator.public_key.as_deref().ok_or(Refusal::OriginatorKey)?;
    // RFC 5480 §2.2 has uncompressed points for all; AWS-LC reads other forms, too, even a whole
    // SubjectPublicKeyInfo.
    if point.first() != Some(&4) {
        return Err(Refusal::OriginatorKey);
    }
    let info = recipient_info::shared_info(&algorithm.wrap_algorithm, originator.ukm.as_deref(), algorithm.kek_length);
    let point = agreement::UnparsedPublicKey::new(key.algorithm(), point);
    agreement::agree(key, point, Refusal::OriginatorKey, |secret| {
        Ok(x963_kdf(algorithm.kdf.algorithm(), secret, &info, algorithm.kek_length))
    })
}

/// The key derivation of ANSI X9.63 (SEC 1 §3.6.1): digests of the secret, a counter from one, and
/// the shared info. AWS-LC has only derivations that begin with the counter.
pub(crate) fn x963_kdf(
    algorithm: &'static digest::Algorithm,
    secret: &[u8],
    info: &[u8],
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + algorithm.output_len()));
    for counter in 1_u32.. {
        if key.len() >= length {
            break;
        }
        let mut context = digest::Context::new(algorithm);
        context.update(secret);
        context.update(&counter.to_be_bytes());
        context.update(info);
        key.extend_from_slice(context.finish().as_ref());
    }
    key.truncate(length);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::hex;

    /// NIST CAVP, ansx963_2001.rsp: SHA-256, shared secret 192 bits, no shared info, 128 bits.
    #[test]
    fn x963_kdf_gives_the_nist_vector() {
        let secret = [
            0x96, 0xc0, 0x56, 0x19, 0xd5, 0x6c, 0x32, 0x8a, 0xb9, 0x5f, 0xe8, 0x4b, 0x18, 0x26, 0x4b, 0x08, 0x72, 0x5b,
            0x85, 0xe3, 0x3f, 0xd3, 0x4f, 0x08,
        ];
        assert_eq!(hex(&x963_kdf(&digest::SHA256, &secret, &[], 16)), "443024c3dae66b95e6f5670601558f71");
    }
}
