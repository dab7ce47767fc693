//! Those whom a message is encrypted to, and the content-encryption key wrapped for each.

use aws_lc_rs::agreement;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey};

use crate::certificate::{Certificate, Curve, PublicKey};
use crate::der;
use crate::error::{Error, KeyError, Result, UsageError};
use crate::limits;
use crate::oid;
use crate::policy::Digest;
use crate::private_key;
use crate::recipient_info;

/// Which readers a message is for (format.md §3, §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Authenticated: AuthEnvelopedData, AES-256-GCM, RSA-OAEP or ECDH. `openssl cms` 3.0 and later.
    Cms,
    /// Unauthenticated: EnvelopedData, AES-256-CBC, RSA PKCS#1 v1.5. `openssl smime` of any age.
    Smime,
}

/// At least one recipient, no two alike.
#[derive(Clone, Debug)]
pub struct Recipients(Vec<Certificate>);

impl Recipients {
    /// # Errors
    ///
    /// [`Error::Usage`] where there is none, or more than [`limits::RECIPIENTS`], or two with the
    /// same issuer and serial number, or one for signatures only, such as a host's own.
    pub fn new(certificates: Vec<Certificate>) -> Result<Self> {
        if certificates.is_empty() {
            return Err(UsageError::NoRecipient.into());
        }
        if certificates.len() > limits::RECIPIENTS {
            return Err(UsageError::TooManyRecipients.into());
        }
        for (index, certificate) in certificates.iter().enumerate() {
            if certificates[..index].iter().any(|other| other.issuer_and_serial == certificate.issuer_and_serial) {
                return Err(UsageError::SameRecipient(certificate.issuer_and_serial_name()).into());
            }
            if certificate.signs_only {
                return Err(UsageError::SignsOnly(certificate.name()).into());
            }
        }
        Ok(Self(certificates))
    }

    /// The certificates, in the order given.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// RecipientInfos, a SET: the key wrapped for each.
    pub(crate) fn wrap(&self, profile: Profile, cek: &[u8; 32]) -> Result<Vec<u8>> {
        let wrap = |certificate: &Certificate| match (&certificate.public_key, profile) {
            (PublicKey::Rsa(_), Profile::Cms) => oaep(certificate, cek),
            (PublicKey::Rsa(_), Profile::Smime) => pkcs1(certificate, cek),
            (PublicKey::Ec(curve, point), Profile::Cms) => ecdh(certificate, *curve, point, cek),
            (PublicKey::Ec(..), Profile::Smime) => Err(UsageError::NotInSmime(certificate.name()).into()),
        };
        Ok(der::set_of(self.0.iter().map(wrap).collect::<Result<_>>()?))
    }
}

fn rsa_key(certificate: &Certificate) -> Result<PublicEncryptingKey> {
    PublicEncryptingKey::from_der(&certificate.public_key_info).map_err(|_| {
        let (name, kind) = (certificate.name(), certificate.key_kind());
        KeyError::Kind(format!("{kind}, of recipient {name}; RSA keys have between 2048 and 8192 bits")).into()
    })
}

/// RSAES-OAEP with SHA-256 for both digests and no label.
fn oaep(certificate: &Certificate, cek: &[u8; 32]) -> Result<Vec<u8>> {
    let key = OaepPublicEncryptingKey::new(rsa_key(certificate)?).map_err(|_| KeyError::InvalidPublic)?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let encrypted =
        key.encrypt(&OAEP_SHA256_MGF1SHA256, cek, &mut encrypted, None).map_err(|_| Error::Crypto("RSA-OAEP"))?;
    let sha_256 = der::algorithm(oid::SHA_256, &[]);
    let digest = der::element(der::context_constructed(0), &[&sha_256]);
    let mgf1 = der::element(der::context_constructed(1), &[&der::algorithm(oid::MGF1, &sha_256)]);
    let algorithm = der::algorithm(oid::RSAES_OAEP, &der::sequence(&[&digest, &mgf1]));
    Ok(recipient_info::key_transport(certificate, &algorithm, encrypted))
}

fn pkcs1(certificate: &Certificate, cek: &[u8; 32]) -> Result<Vec<u8>> {
    let key = Pkcs1PublicEncryptingKey::new(rsa_key(certificate)?).map_err(|_| KeyError::InvalidPublic)?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(cek, &mut encrypted).map_err(|_| Error::Crypto("RSA PKCS#1 v1.5"))?;
    let algorithm = der::algorithm(oid::RSA_ENCRYPTION, &[der::NULL, 0]);
    Ok(recipient_info::key_transport(certificate, &algorithm, encrypted))
}

/// Ephemeral-static ECDH with the curve's own SHA-2 and AES-256 key wrap.
fn ecdh(certificate: &Certificate, curve: Curve, point: &[u8], cek: &[u8; 32]) -> Result<Vec<u8>> {
    let (scheme, kdf) = match curve {
        Curve::P256 => (oid::STD_DH_SHA256_KDF, Digest::Sha256),
        Curve::P384 => (oid::STD_DH_SHA384_KDF, Digest::Sha384),
        Curve::P521 => (oid::STD_DH_SHA512_KDF, Digest::Sha512),
    };
    let algorithm = private_key::agreement(curve);
    let ephemeral = agreement::PrivateKey::generate(algorithm).map_err(|_| Error::Crypto("ECDH"))?;
    let originator = ephemeral.compute_public_key().map_err(|_| Error::Crypto("ECDH"))?;
    let wrap_algorithm = der::algorithm(oid::AES_256_WRAP, &[]);
    let info = recipient_info::shared_info(&wrap_algorithm, None, 32);
    let recipient = agreement::UnparsedPublicKey::new(algorithm, point);
    let kek = agreement::agree(&ephemeral, recipient, Error::from(KeyError::InvalidPublic), |secret| {
        Ok(private_key::x963_kdf(kdf.algorithm(), secret, &info, 32))
    })?;
    let mut wrapped = [0; 40];
    let kek = AesKek::new(&AES_256, &kek).map_err(|_| Error::Crypto("AES key wrap"))?;
    kek.wrap(cek, &mut wrapped).map_err(|_| Error::Crypto("AES key wrap"))?;
    let scheme = der::algorithm(scheme, &wrap_algorithm);
    Ok(recipient_info::key_agreement(certificate, originator.as_ref(), &scheme, &wrapped))
}
