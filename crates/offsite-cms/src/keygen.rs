//! New key pairs: a private key and a certificate for it, signed by itself.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    KeyPair as _, RSA_PKCS1_SHA256,
};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, IsCa, KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, Curve, PublicKey};
use crate::error::{Error, Result, UsageError};
use crate::key_file;
use crate::pem;
use crate::random;

/// The kinds of key that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum KeyType {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
}

/// What a key is for; its certificate says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Being encrypted to.
    Encryption,
    /// Signing.
    Signature,
}

/// A private key and its certificate, not yet in any file.
pub struct NewKey {
    pkcs8: Zeroizing<Vec<u8>>,
    certificate: Certificate,
}

impl NewKey {
    /// Makes a key pair, and a certificate with the name `common_name` (which may be empty), valid
    /// from `now` for `days` days.
    ///
    /// # Errors
    ///
    /// [`UsageError`] where the name or the end cannot be written; [`Error::Crypto`] if the library fails.
    pub fn generate(
        key_type: KeyType,
        purpose: Purpose,
        common_name: &str,
        now: OffsetDateTime,
        days: u32,
    ) -> Result<Self> {
        let now = now.replace_nanosecond(0).map_err(|_| UsageError::Days(days))?;
        let end = now.checked_add(Duration::days(days.into())).filter(|end| end.year() <= 9999);
        if common_name.chars().count() > 64 || common_name.chars().any(char::is_control) {
            return Err(UsageError::CommonName.into());
        }
        let pair = KeyPair::generate(key_type)?;
        let mut params = CertificateParams::default();
        params.not_before = now;
        params.not_after = end.ok_or(UsageError::Days(days))?;
        // Positive, and never shorter: the top bits are 01.
        let mut serial = random::array::<16>()?;
        serial[0] = serial[0] & 0x3f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        // States basicConstraints CA:FALSE, and with it the subjectKeyIdentifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_identifier_method = KeyIdMethod::PreSpecified(pair.public().identifier());
        params.key_usages = vec![match (purpose, pair.public()) {
            (Purpose::Signature, _) => KeyUsagePurpose::DigitalSignature,
            (Purpose::Encryption, PublicKey::Rsa(_)) => KeyUsagePurpose::KeyEncipherment,
            (Purpose::Encryption, PublicKey::Ec(..)) => KeyUsagePurpose::KeyAgreement,
        }];
        let certificate = params.self_signed(&pair).map_err(|_| Error::Crypto("a certificate cannot be signed"))?;
        Ok(Self { certificate: Certificate::from_der(certificate.der())?, pkcs8: pair.pkcs8 })
    }

    /// The private key (PKCS#8, encrypted if there is a passphrase) and the certificate, as PEM:
    /// one file that stock tools decrypt with.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] if the library fails.
    pub fn private_pem(&self, passphrase: Option<&[u8]>) -> Result<Zeroizing<String>> {
        let key = match passphrase {
            None => pem::encode("PRIVATE KEY", &self.pkcs8),
            Some(passphrase) => {
                let encrypted = key_file::encrypt_pkcs8(&self.pkcs8, passphrase, random::array()?, random::array()?)?;
                pem::encode("ENCRYPTED PRIVATE KEY", &encrypted)
            }
        };
        let certificate = self.certificate.to_pem();
        let mut file = Zeroizing::new(String::with_capacity(key.len() + certificate.len()));
        file.push_str(&key);
        file.push_str(&certificate);
        Ok(file)
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The private key's PKCS#8.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

/// A key pair that can sign its own certificate.
struct KeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: Signer,
    public: PublicKey,
}

enum Signer {
    Rsa(rsa::KeyPair),
    Ec(Curve, EcdsaKeyPair),
}

impl KeyPair {
    fn generate(key_type: KeyType) -> Result<Self> {
        match key_type {
            KeyType::Rsa2048 => Self::rsa(KeySize::Rsa2048),
            KeyType::Rsa3072 => Self::rsa(KeySize::Rsa3072),
            KeyType::Rsa4096 => Self::rsa(KeySize::Rsa4096),
            KeyType::P256 => Self::ec(Curve::P256),
            KeyType::P384 => Self::ec(Curve::P384),
            KeyType::P521 => Self::ec(Curve::P521),
        }
    }

    fn rsa(size: KeySize) -> Result<Self> {
        let failed = |_| Error::Crypto("an RSA key cannot be made");
        let pair = rsa::KeyPair::generate(size).map_err(failed)?;
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'static>>::as_der(&pair).map_err(failed)?;
        let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
        let public = PublicKey::Rsa(pair.public_key().as_ref().to_vec());
        Ok(Self { pkcs8, signer: Signer::Rsa(pair), public })
    }

    fn ec(curve: Curve) -> Result<Self> {
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Curve::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        };
        let failed = |_| Error::Crypto("an EC key cannot be made");
        let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
        let pkcs8 = Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec());
        let public = PublicKey::Ec(curve, pair.public_key().as_ref().to_vec());
        Ok(Self { pkcs8, signer: Signer::Ec(curve, pair), public })
    }

    fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        let (PublicKey::Rsa(bits) | PublicKey::Ec(_, bits)) = &self.public;
        bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.signer {
            Signer::Rsa(_) => &PKCS_RSA_SHA256,
            Signer::Ec(Curve::P256, _) => &PKCS_ECDSA_P256_SHA256,
            Signer::Ec(Curve::P384, _) => &PKCS_ECDSA_P384_SHA384,
            Signer::Ec(Curve::P521, _) => &PKCS_ECDSA_P521_SHA512,
        }
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, rcgen::Error> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| rcgen::Error::RemoteKeyError)?;
                Ok(signature)
            }
            Signer::Ec(_, pair) => {
                let signature = pair.sign(&random, message).map_err(|_| rcgen::Error::RemoteKeyError)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}
