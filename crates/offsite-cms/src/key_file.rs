//! Private keys in files: PKCS#8 plain and encrypted (RFC 5958, RFC 8018), PKCS#1 (RFC 8017), SEC1
//! (RFC 5915), and PEM encrypted in the old way (RFC 1421, as OpenSSL has it).
//!
//! Why not a library: a second set of ciphers and derivations beside the one in use would be more
//! to trust than the hundred lines that read their parameters.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use crate::certificate::{Certificate, Curve};
use crate::der::{self, Cursor};
use crate::error::{Error, KeyError, Result};
use crate::ffi::{self, Cipher, Direction};
use crate::limits;
use crate::oid;
use crate::pem;
use crate::policy::{Algorithm, ContentCipher};
use crate::private_key::{PrivateKey, Secret};

/// A file with one private key and any number of certificates, not yet unlocked.
pub struct KeyFile {
    form: Form,
    contents: Zeroizing<Vec<u8>>,
    certificates: Vec<Certificate>,
}

enum Form {
    Pkcs8,
    EncryptedPkcs8,
    Pkcs1,
    Sec1,
    /// RSA or EC, under a cipher with this IV.
    OldPem {
        rsa: bool,
        cipher: ContentCipher,
        iv: Vec<u8>,
    },
}

impl KeyFile {
    /// Reads a PEM file, or the DER of PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Key`] where the file holds no private key, or several, or a kind that is
    /// not read; [`crate::Error::Malformed`] where it is damaged.
    pub fn read(file: &[u8]) -> Result<Self> {
        if file.first() == Some(&der::SEQUENCE) {
            let contents = Zeroizing::new(file.to_vec());
            return Ok(Self { form: form_of_der(&contents)?, contents, certificates: Vec::new() });
        }
        let mut found = None;
        for block in pem::blocks(file)? {
            let form = match &*block.label {
                "PRIVATE KEY" => Form::Pkcs8,
                "ENCRYPTED PRIVATE KEY" => Form::EncryptedPkcs8,
                "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                    let rsa = block.label.starts_with("RSA");
                    match block.header("DEK-Info") {
                        Some(info) => old_pem(rsa, info)?,
                        None if rsa => Form::Pkcs1,
                        None => Form::Sec1,
                    }
                }
                label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Kind(label.to_owned()).into()),
                _ => continue,
            };
            if found.replace((form, block.contents)).is_some() {
                return Err(KeyError::SeveralPrivateKeys.into());
            }
        }
        let (form, contents) = found.ok_or(KeyError::NoPrivateKey)?;
        Ok(Self { form, contents, certificates: Certificate::all_from_file(file)? })
    }

    /// Whether a passphrase protects the key.
    #[must_use]
    pub fn needs_passphrase(&self) -> bool {
        matches!(self.form, Form::EncryptedPkcs8 | Form::OldPem { .. })
    }

    /// The format of the key, for people.
    #[must_use]
    pub fn form(&self) -> &'static str {
        match self.form {
            Form::Pkcs8 | Form::EncryptedPkcs8 => "PKCS #8",
            Form::Pkcs1 | Form::OldPem { rsa: true, .. } => "PKCS #1",
            Form::Sec1 | Form::OldPem { rsa: false, .. } => "SEC 1",
        }
    }

    /// How a passphrase protects the key, for people; None where none does.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Key`] where that is a way that is not read; [`crate::Error::Malformed`].
    pub fn protection(&self) -> Result<Option<String>> {
        match &self.form {
            Form::EncryptedPkcs8 => Pbes2::read(&self.contents)?.name().map(Some),
            Form::OldPem { cipher, .. } => Ok(Some(format!("MD5 and {}", cipher.name()))),
            Form::Pkcs8 | Form::Pkcs1 | Form::Sec1 => Ok(None),
        }
    }

    /// The certificates in the file, whosever they are.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The key itself.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Key`]: a passphrase is needed, or wrong, or the key is invalid.
    pub fn unlock(&self, passphrase: Option<&[u8]>) -> Result<PrivateKey> {
        let passphrase = || passphrase.ok_or(KeyError::PassphraseNeeded);
        let secret = match &self.form {
            Form::Pkcs8 => from_pkcs8(&self.contents)?,
            Form::Pkcs1 => from_pkcs1(&self.contents)?,
            Form::Sec1 => from_sec1(&self.contents, None)?,
            Form::EncryptedPkcs8 => {
                let plain = Pbes2::read(&self.contents)?.decrypt(passphrase()?)?;
                from_pkcs8(&plain).map_err(after_decryption)?
            }
            Form::OldPem { rsa, cipher, iv } => {
                let salt = iv.first_chunk().ok_or(KeyError::Invalid)?;
                let key = ffi::old_pem_key(*cipher, passphrase()?, *salt);
                let plain = decrypt(*cipher, &key, iv, &self.contents)?;
                let secret = if *rsa { from_pkcs1(&plain) } else { from_sec1(&plain, None) };
                secret.map_err(after_decryption)?
            }
        };
        Ok(PrivateKey::new(secret, self.certificates.clone()))
    }
}

/// One time in 256 a wrong passphrase leaves valid padding, and bytes that are no key.
fn after_decryption(error: Error) -> Error {
    match error {
        error @ Error::Key(KeyError::Kind(_)) => error,
        _ => KeyError::WrongPassphrase.into(),
    }
}

/// What a DER file is, by its first elements.
fn form_of_der(contents: &[u8]) -> Result<Form> {
    let mut fields = Cursor::new(contents, 0, "the private key").sequence()?;
    if fields.peek() == Some(der::SEQUENCE) {
        return Ok(Form::EncryptedPkcs8);
    }
    fields.expect(der::INTEGER).map_err(|_| KeyError::NoPrivateKey)?;
    match fields.peek() {
        Some(der::SEQUENCE) => Ok(Form::Pkcs8),
        Some(der::INTEGER) => Ok(Form::Pkcs1),
        Some(der::OCTET_STRING) => Ok(Form::Sec1),
        _ => Err(KeyError::NoPrivateKey.into()),
    }
}

/// PrivateKeyInfo (RFC 5958 §2).
fn from_pkcs8(contents: &[u8]) -> Result<Secret> {
    let mut fields = Cursor::new(contents, 0, "the private key").sequence()?;
    fields.unsigned()?;
    let algorithm = Algorithm::read(&mut fields)?;
    let key = fields.expect(der::OCTET_STRING)?;
    match algorithm.oid {
        oid::RSA_ENCRYPTION => {
            Ok(Secret::Rsa { key: ffi::RsaKey::from_pkcs8(contents)?, public: rsa_public(key.contents)? })
        }
        oid::EC_PUBLIC_KEY => {
            let curve = algorithm.parameters.and_then(|parameters| Curve::from_oid(parameters.contents));
            let curve = curve
                .ok_or_else(|| KeyError::Kind("an elliptic curve other than P-256, P-384 and P-521".to_owned()))?;
            from_sec1(key.contents, Some(curve))
        }
        other => Err(KeyError::Kind(oid::name(other)).into()),
    }
}

/// RSAPrivateKey (RFC 8017 appendix A.1.2).
fn from_pkcs1(contents: &[u8]) -> Result<Secret> {
    let public = rsa_public(contents)?;
    let algorithm = der::algorithm(oid::RSA_ENCRYPTION, &[der::NULL, 0]);
    let pkcs8 =
        Zeroizing::new(der::sequence(&[&der::unsigned(0), &algorithm, &Zeroizing::new(der::octet_string(contents))]));
    Ok(Secret::Rsa { key: ffi::RsaKey::from_pkcs8(&pkcs8)?, public })
}

/// The RSAPublicKey within an RSAPrivateKey.
fn rsa_public(contents: &[u8]) -> Result<Vec<u8>> {
    let mut fields = Cursor::new(contents, 0, "the RSA private key").sequence()?;
    fields.unsigned()?;
    Ok(der::sequence(&[fields.expect(der::INTEGER)?.whole, fields.expect(der::INTEGER)?.whole]))
}

/// ECPrivateKey (RFC 5915 §3); its curve is its own, or where it has none, that of PKCS#8.
fn from_sec1(contents: &[u8], curve: Option<Curve>) -> Result<Secret> {
    let mut fields = Cursor::new(contents, 0, "the EC private key").sequence()?;
    fields.unsigned()?;
    let scalar = fields.expect(der::OCTET_STRING)?.contents;
    let own = match fields.optional(der::context_constructed(0))? {
        Some(parameters) => {
            let named = parameters.open().oid().ok().and_then(Curve::from_oid);
            Some(
                named
                    .ok_or_else(|| KeyError::Kind("an elliptic curve other than P-256, P-384 and P-521".to_owned()))?,
            )
        }
        None => None,
    };
    let curve = own.or(curve).ok_or_else(|| KeyError::Kind("an EC key without a curve".to_owned()))?;
    Secret::ec(curve, scalar)
}

/// EncryptedPrivateKeyInfo (RFC 5958 §3) under PBES2 (RFC 8018 §6.2).
struct Pbes2<'a> {
    derivation: Algorithm<'a>,
    cipher: ContentCipher,
    iv: &'a [u8],
    encrypted: &'a [u8],
}

impl<'a> Pbes2<'a> {
    fn read(contents: &'a [u8]) -> Result<Self> {
        let mut fields = Cursor::new(contents, 0, "the encrypted private key").sequence()?;
        let algorithm = Algorithm::read(&mut fields)?;
        let encrypted = fields.expect(der::OCTET_STRING)?.contents;
        let protection = |name: &[u8]| KeyError::Protection(oid::name(name));
        let parameters = match (algorithm.oid, algorithm.parameters) {
            (oid::PBES2, Some(parameters)) if parameters.tag == der::SEQUENCE => parameters,
            (other, _) => return Err(protection(other).into()),
        };
        let mut parameters = parameters.open();
        let derivation = Algorithm::read(&mut parameters)?;
        let scheme = Algorithm::read(&mut parameters)?;
        let cipher = match scheme.oid {
            oid::AES_128_CBC => ContentCipher::Aes128Cbc,
            oid::AES_192_CBC => ContentCipher::Aes192Cbc,
            oid::AES_256_CBC => ContentCipher::Aes256Cbc,
            oid::DES_EDE3_CBC => ContentCipher::DesEde3Cbc,
            other => return Err(protection(other).into()),
        };
        let iv =
            scheme.parameters.filter(|iv| iv.tag == der::OCTET_STRING && iv.contents.len() == cipher.nonce_length());
        let iv = iv.ok_or_else(|| protection(scheme.oid))?.contents;
        Ok(Self { derivation, cipher, iv, encrypted })
    }

    fn decrypt(&self, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let mut key = Zeroizing::new(vec![0; self.cipher.key_length()]);
        derive(&self.derivation, passphrase, &mut key)?;
        decrypt(self.cipher, &key, self.iv, self.encrypted)
    }

    /// The derivation with its cost, and the cipher, for people.
    fn name(&self) -> Result<String> {
        let mut derivation = oid::name(self.derivation.oid);
        if let Some(parameters) = self.derivation.parameters {
            let mut parameters = parameters.open();
            parameters.expect(der::OCTET_STRING)?;
            let cost = parameters.unsigned()?;
            derivation += &match self.derivation.oid {
                oid::SCRYPT => format!(" (N {cost}, r {}, p {})", parameters.unsigned()?, parameters.unsigned()?),
                _ => format!(" ({cost} iterations)"),
            };
        }
        Ok(format!("{derivation} and {}", self.cipher.name()))
    }
}

/// PBKDF2 (RFC 8018 §5.2) or scrypt (RFC 7914), within the limits.
fn derive(algorithm: &Algorithm<'_>, passphrase: &[u8], key: &mut [u8]) -> Result<()> {
    let refused = || KeyError::Protection(oid::name(algorithm.oid));
    let costly = || KeyError::Protection(format!("{} with more work than is tried", oid::name(algorithm.oid)));
    let mut parameters = algorithm.parameters.ok_or_else(refused)?.open();
    let salt = parameters.expect(der::OCTET_STRING)?.contents;
    match algorithm.oid {
        oid::PBKDF2 => {
            let iterations = parameters.unsigned()?;
            if iterations > limits::PBKDF2_ITERATIONS {
                return Err(costly().into());
            }
            let iterations = u32::try_from(iterations).ok().and_then(NonZeroU32::new).ok_or_else(refused)?;
            parameters.optional(der::INTEGER)?;
            // The default function is HMAC-SHA-1 (RFC 8018 appendix A.2).
            let function = if parameters.is_empty() { oid::HMAC_SHA_1 } else { Algorithm::read(&mut parameters)?.oid };
            let function = match function {
                oid::HMAC_SHA_1 => pbkdf2::PBKDF2_HMAC_SHA1,
                oid::HMAC_SHA_256 => pbkdf2::PBKDF2_HMAC_SHA256,
                oid::HMAC_SHA_384 => pbkdf2::PBKDF2_HMAC_SHA384,
                oid::HMAC_SHA_512 => pbkdf2::PBKDF2_HMAC_SHA512,
                other => return Err(KeyError::Protection(oid::name(other)).into()),
            };
            pbkdf2::derive(function, iterations, salt, passphrase, key);
            Ok(())
        }
        oid::SCRYPT => {
            let (cost, block, parallel) = (parameters.unsigned()?, parameters.unsigned()?, parameters.unsigned()?);
            let work = cost.checked_mul(block).and_then(|work| work.checked_mul(parallel));
            if work.is_none_or(|work| work > limits::SCRYPT_WORK) {
                return Err(costly().into());
            }
            if ffi::scrypt(passphrase, salt, cost, block, parallel, key) { Ok(()) } else { Err(refused().into()) }
        }
        _ => Err(refused().into()),
    }
}

/// Decrypts a key. Wrong padding means a wrong passphrase.
fn decrypt(cipher: ContentCipher, key: &[u8], iv: &[u8], encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(vec![0; encrypted.len() + 2 * Cipher::BLOCK]);
    let mut context = Cipher::new(cipher, Direction::Decrypt, key, iv)?;
    let written = context.update(encrypted, &mut plain)?;
    let mut last = Zeroizing::new([0; Cipher::BLOCK]);
    let rest = context.finish(&mut last).map_err(|_| KeyError::WrongPassphrase)?;
    plain[written..written + rest].copy_from_slice(&last[..rest]);
    plain.truncate(written + rest);
    Ok(plain)
}

/// `DEK-Info: CIPHER,IV`
fn old_pem(rsa: bool, info: &str) -> Result<Form> {
    let refused = || KeyError::Protection(info.to_owned());
    let (name, iv) = info.split_once(',').ok_or_else(refused)?;
    let cipher = match name.trim() {
        "AES-128-CBC" => ContentCipher::Aes128Cbc,
        "AES-192-CBC" => ContentCipher::Aes192Cbc,
        "AES-256-CBC" => ContentCipher::Aes256Cbc,
        "DES-EDE3-CBC" => ContentCipher::DesEde3Cbc,
        _ => return Err(refused().into()),
    };
    let digits =
        iv.trim().as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let iv: Vec<u8> = digits.collect::<Option<_>>().ok_or_else(refused)?;
    if iv.len() != cipher.nonce_length() {
        return Err(refused().into());
    }
    Ok(Form::OldPem { rsa, cipher, iv })
}

/// EncryptedPrivateKeyInfo with scrypt and AES-256-CBC. OpenSSL's limit on scrypt is 32 MiB, which
/// N and r fill; p makes a guess cost as much as 512 MiB would.
pub(crate) fn encrypt_pkcs8(pkcs8: &[u8], passphrase: &[u8], salt: [u8; 16], iv: [u8; 16]) -> Result<Vec<u8>> {
    const COST: u64 = 1 << 14;
    const BLOCK: u64 = 8;
    const PARALLEL: u64 = 32;
    let cipher = ContentCipher::Aes256Cbc;
    let mut key = Zeroizing::new(vec![0; cipher.key_length()]);
    if !ffi::scrypt(passphrase, &salt, COST, BLOCK, PARALLEL, &mut key) {
        return Err(Error::Crypto("scrypt"));
    }
    let mut encrypted = vec![0; pkcs8.len() + 2 * Cipher::BLOCK];
    let mut context = Cipher::new(cipher, Direction::Encrypt, &key, &iv)?;
    let written = context.update(pkcs8, &mut encrypted)?;
    let mut last = [0; Cipher::BLOCK];
    let rest = context.finish(&mut last)?;
    encrypted[written..written + rest].copy_from_slice(&last[..rest]);
    encrypted.truncate(written + rest);
    let parameters =
        [der::octet_string(&salt), der::unsigned(COST), der::unsigned(BLOCK), der::unsigned(PARALLEL)].concat();
    let derivation = der::algorithm(oid::SCRYPT, &der::sequence(&[&parameters]));
    let scheme = der::algorithm(oid::AES_256_CBC, &der::octet_string(&iv));
    let algorithm = der::algorithm(oid::PBES2, &der::sequence(&[&derivation, &scheme]));
    Ok(der::sequence(&[&algorithm, &der::octet_string(&encrypted)]))
}
