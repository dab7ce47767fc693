//! The one module with `unsafe`: AWS-LC's C interface, for what `aws-lc-rs` does not offer. GCM in
//! a stream (a foreign message may be larger than memory), CBC with any of its keys, RSA
//! decryption with a hash of its own for MGF1 and with a label, AES-192 key wrap, scrypt, and the
//! key derivation of old PEM files. Each wrapper owns what it allocates and passes only lengths
//! that it has taken from slices.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use aws_lc_sys as lc;
use zeroize::Zeroizing;

use crate::error::{Error, KeyError, Result};
use crate::limits;
use crate::policy::{ContentCipher, Digest, KeyTransport};

/// Whether a [`Cipher`] encrypts or decrypts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

/// A content cipher at work on a stream. CBC adds and removes padding as RFC 5652 §6.3 has it.
pub(crate) struct Cipher {
    context: NonNull<lc::EVP_CIPHER_CTX>,
    kind: ContentCipher,
}

// SAFETY: an EVP_CIPHER_CTX holds no reference to a thread; it may be used from any one at a time,
// and `&mut self` in every method sees to that.
unsafe impl Send for Cipher {}

impl Drop for Cipher {
    fn drop(&mut self) {
        // SAFETY: `context` came from EVP_CIPHER_CTX_new and is freed once. It is wiped as well.
        unsafe { lc::EVP_CIPHER_CTX_free(self.context.as_ptr()) }
    }
}

impl Cipher {
    /// Most bytes that [`Cipher::update`] may write beyond the length of its input.
    pub(crate) const BLOCK: usize = 16;

    /// `key` and `nonce` must have the cipher's lengths.
    pub(crate) fn new(kind: ContentCipher, direction: Direction, key: &[u8], nonce: &[u8]) -> Result<Self> {
        assert_eq!(key.len(), kind.key_length(), "the caller checks the key's length");
        assert_eq!(nonce.len(), kind.nonce_length(), "the policy checks the nonce's length");
        // SAFETY: no preconditions; these return static tables and a new context or null.
        let (algorithm, context) = unsafe { (evp_cipher(kind), NonNull::new(lc::EVP_CIPHER_CTX_new())) };
        let context = context.ok_or(Error::Crypto("out of memory"))?;
        let cipher = Self { context, kind };
        let encrypt = c_int::from(direction == Direction::Encrypt);
        // SAFETY: context and algorithm are valid; key and nonce have the lengths that the
        // algorithm reads (asserted above; 12 bytes is GCM's default nonce length).
        let ok = unsafe {
            lc::EVP_CipherInit_ex(context.as_ptr(), algorithm, ptr::null_mut(), key.as_ptr(), nonce.as_ptr(), encrypt)
        };
        check(ok, "a content cipher cannot start")?;
        Ok(cipher)
    }

    /// Works on `input`; returns how many bytes of `output` it wrote: as many as `input` has, give
    /// or take a block.
    pub(crate) fn update(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize> {
        assert!(output.len() >= input.len() + Self::BLOCK, "the output holds the input and a block");
        let length = c_int::try_from(input.len()).map_err(|_| Error::Crypto("a piece of 2 GiB or more"))?;
        let mut written: c_int = 0;
        // SAFETY: the context is initialised; `input` has `length` bytes, and at most `length` and
        // a block are written to `output`, which holds as many (asserted). They cannot overlap:
        // one is borrowed shared, the other exclusively.
        let ok = unsafe {
            lc::EVP_CipherUpdate(self.context.as_ptr(), output.as_mut_ptr(), &raw mut written, input.as_ptr(), length)
        };
        check(ok, "a content cipher failed")?;
        usize::try_from(written).map_err(|_| Error::Crypto("a content cipher failed"))
    }

    /// The last block: the padding when encrypting by CBC; when decrypting, what the padding
    /// leaves.
    ///
    /// # Errors
    ///
    /// [`Error::Decryption`] where the padding is wrong.
    pub(crate) fn finish(self, output: &mut [u8; Self::BLOCK]) -> Result<usize> {
        let mut written: c_int = 0;
        // SAFETY: the context is initialised; at most one block is written to `output`.
        let ok = unsafe { lc::EVP_CipherFinal_ex(self.context.as_ptr(), output.as_mut_ptr(), &raw mut written) };
        clear_errors();
        if ok == 1 { usize::try_from(written).map_err(|_| Error::Decryption) } else { Err(Error::Decryption) }
    }

    /// Ends the decryption of a GCM message: does the integrity check value fit?
    ///
    /// # Errors
    ///
    /// [`Error::Decryption`] where it does not.
    pub(crate) fn verify(self, mut tag: [u8; 16]) -> Result<()> {
        assert!(self.kind.nonce_length() == 12, "only GCM has a tag");
        // SAFETY: the context is initialised with a GCM cipher; the call copies 16 bytes of `tag`.
        let ok = unsafe {
            let tag: *mut u8 = tag.as_mut_ptr();
            lc::EVP_CIPHER_CTX_ctrl(self.context.as_ptr(), lc::EVP_CTRL_AEAD_SET_TAG, 16, tag.cast())
        };
        check(ok, "a content cipher failed")?;
        self.finish(&mut [0; Self::BLOCK]).map(|_| ())
    }
}

fn evp_cipher(kind: ContentCipher) -> *const lc::EVP_CIPHER {
    // SAFETY: these functions take nothing and return pointers to static tables.
    unsafe {
        match kind {
            ContentCipher::Aes128Cbc => lc::EVP_aes_128_cbc(),
            ContentCipher::Aes128Gcm => lc::EVP_aes_128_gcm(),
            ContentCipher::Aes192Cbc => lc::EVP_aes_192_cbc(),
            ContentCipher::Aes192Gcm => lc::EVP_aes_192_gcm(),
            ContentCipher::Aes256Cbc => lc::EVP_aes_256_cbc(),
            ContentCipher::Aes256Gcm => lc::EVP_aes_256_gcm(),
            ContentCipher::DesEde3Cbc => lc::EVP_des_ede3_cbc(),
        }
    }
}

/// AES key unwrap (RFC 3394); None where the integrity check fails.
pub(crate) fn aes_unwrap(kek: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let bits = match kek.len() {
        16 => 128,
        24 => 192,
        32 => 256,
        _ => return None,
    };
    if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
        return None;
    }
    let mut out = Zeroizing::new(vec![0; wrapped.len() - 8]);
    // SAFETY: AES_KEY is plain data, for which all zeros are a valid value; AES_set_decrypt_key
    // reads bits / 8 = kek.len() bytes; AES_unwrap_key reads `wrapped` and writes 8 bytes less.
    let written = unsafe {
        let mut key: lc::AES_KEY = std::mem::zeroed();
        let ready = lc::AES_set_decrypt_key(kek.as_ptr(), bits, &raw mut key) == 0;
        let written = if ready {
            lc::AES_unwrap_key(&raw const key, ptr::null(), out.as_mut_ptr(), wrapped.as_ptr(), wrapped.len())
        } else {
            -1
        };
        lc::OPENSSL_cleanse((&raw mut key).cast(), size_of::<lc::AES_KEY>());
        written
    };
    clear_errors();
    (usize::try_from(written) == Ok(out.len())).then_some(out)
}

/// An RSA private key.
pub(crate) struct RsaKey(NonNull<lc::EVP_PKEY>);

// SAFETY: AWS-LC locks what an EVP_PKEY changes in use (blinding, cached values); the pointer is
// owned by this value alone.
unsafe impl Send for RsaKey {}
// SAFETY: as above; every use through `&self` is one that AWS-LC documents as safe concurrently.
unsafe impl Sync for RsaKey {}

impl Drop for RsaKey {
    fn drop(&mut self) {
        // SAFETY: the pointer came from EVP_parse_private_key and is freed once.
        unsafe { lc::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

impl RsaKey {
    /// Reads PrivateKeyInfo (RFC 5958). AWS-LC checks that the numbers are a key.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self> {
        // SAFETY: CBS is plain data that CBS_init fills; `der` outlives it. The result is null or
        // a new key.
        let (key, bits) = unsafe {
            let mut input: lc::CBS = std::mem::zeroed();
            lc::CBS_init(&raw mut input, der.as_ptr(), der.len());
            let key = NonNull::new(lc::EVP_parse_private_key(&raw mut input)).map(Self);
            let bits = key.as_ref().filter(|key| lc::EVP_PKEY_id(key.0.as_ptr()) == lc::EVP_PKEY_RSA);
            let bits = bits.map(|key| lc::EVP_PKEY_bits(key.0.as_ptr()));
            (key, bits)
        };
        clear_errors();
        let bits = bits.and_then(|bits| usize::try_from(bits).ok()).ok_or(KeyError::Invalid)?;
        if !limits::RSA_BITS.contains(&bits) {
            return Err(KeyError::Kind(format!("RSA with {bits} bits; between 2048 and 8192 are read")).into());
        }
        key.ok_or_else(|| KeyError::Invalid.into())
    }

    /// Decrypts; None where the padding is wrong, or anything else.
    pub(crate) fn decrypt(&self, algorithm: &KeyTransport, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // SAFETY: the key is valid; the result is null or a new context, owned by the guard.
        let context =
            unsafe { NonNull::new(lc::EVP_PKEY_CTX_new(self.0.as_ptr(), ptr::null_mut())) }.map(PkeyContext)?;
        // SAFETY: the key is valid.
        let size = usize::try_from(unsafe { lc::EVP_PKEY_size(self.0.as_ptr()) }).ok()?;
        let mut out = Zeroizing::new(vec![0; size]);
        let mut length = out.len();
        // SAFETY: the context is valid. `decrypt` writes at most `length` bytes to `out`, which
        // holds as many, and reads `ciphertext`.
        let ok = unsafe {
            lc::EVP_PKEY_decrypt_init(context.0.as_ptr()) == 1
                && context.set_padding(algorithm)
                && lc::EVP_PKEY_decrypt(
                    context.0.as_ptr(),
                    out.as_mut_ptr(),
                    &raw mut length,
                    ciphertext.as_ptr(),
                    ciphertext.len(),
                ) == 1
        };
        clear_errors();
        out.truncate(length);
        ok.then_some(out)
    }
}

/// Frees an operation's context.
struct PkeyContext(NonNull<lc::EVP_PKEY_CTX>);

impl Drop for PkeyContext {
    fn drop(&mut self) {
        // SAFETY: the pointer came from EVP_PKEY_CTX_new and is freed once.
        unsafe { lc::EVP_PKEY_CTX_free(self.0.as_ptr()) }
    }
}

impl PkeyContext {
    /// # Safety
    ///
    /// The context must be initialised for decryption.
    unsafe fn set_padding(&self, algorithm: &KeyTransport) -> bool {
        let context = self.0.as_ptr();
        // SAFETY: the context is initialised; digests are static; the label is copied into memory
        // of AWS-LC's, which the call takes over if it succeeds.
        unsafe {
            match algorithm {
                KeyTransport::Pkcs1 => lc::EVP_PKEY_CTX_set_rsa_padding(context, lc::RSA_PKCS1_PADDING) == 1,
                KeyTransport::Oaep { digest, mgf1, label } => {
                    lc::EVP_PKEY_CTX_set_rsa_padding(context, lc::RSA_PKCS1_OAEP_PADDING) == 1
                        && lc::EVP_PKEY_CTX_set_rsa_oaep_md(context, evp_digest(*digest)) == 1
                        && lc::EVP_PKEY_CTX_set_rsa_mgf1_md(context, evp_digest(*mgf1)) == 1
                        && (label.is_empty() || {
                            let copy = lc::OPENSSL_memdup(label.as_ptr().cast(), label.len());
                            let set = !copy.is_null()
                                && lc::EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy.cast(), label.len()) == 1;
                            if !set {
                                lc::OPENSSL_free(copy);
                            }
                            set
                        })
                }
            }
        }
    }
}

fn evp_digest(digest: Digest) -> *const lc::EVP_MD {
    // SAFETY: these functions take nothing and return pointers to static tables.
    unsafe {
        match digest {
            Digest::Sha1 => lc::EVP_sha1(),
            Digest::Sha256 => lc::EVP_sha256(),
            Digest::Sha384 => lc::EVP_sha384(),
            Digest::Sha512 => lc::EVP_sha512(),
        }
    }
}

/// scrypt (RFC 7914); false where the parameters are not allowed or need more than
/// [`limits::SCRYPT_MEMORY`].
pub(crate) fn scrypt(passphrase: &[u8], salt: &[u8], cost: u64, block: u64, parallel: u64, key: &mut [u8]) -> bool {
    let memory = usize::try_from(limits::SCRYPT_MEMORY).unwrap_or(usize::MAX);
    // SAFETY: the slices are read, and `key` written, with their own lengths.
    let ok = unsafe {
        lc::EVP_PBE_scrypt(
            passphrase.as_ptr().cast(),
            passphrase.len(),
            salt.as_ptr(),
            salt.len(),
            cost,
            block,
            parallel,
            memory,
            key.as_mut_ptr(),
            key.len(),
        )
    };
    clear_errors();
    ok == 1
}

/// The key of an old encrypted PEM file: MD5 of passphrase and salt, again and again
/// (`EVP_BytesToKey` with one iteration).
pub(crate) fn old_pem_key(kind: ContentCipher, passphrase: &[u8], salt: [u8; 8]) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; kind.key_length()]);
    // SAFETY: cipher and digest are static tables; `salt` has the 8 bytes that are read; the call
    // writes the cipher's key length to `key`, and no IV where its place is null.
    let length = unsafe {
        lc::EVP_BytesToKey(
            evp_cipher(kind),
            lc::EVP_md5(),
            salt.as_ptr(),
            passphrase.as_ptr(),
            passphrase.len(),
            1,
            key.as_mut_ptr(),
            ptr::null_mut(),
        )
    };
    assert_eq!(usize::try_from(length), Ok(kind.key_length()), "EVP_BytesToKey returns the key's length");
    key
}

fn check(ok: c_int, what: &'static str) -> Result<()> {
    if ok == 1 {
        return Ok(());
    }
    clear_errors();
    Err(Error::Crypto(what))
}

/// AWS-LC queues errors by thread; nobody reads them here.
fn clear_errors() {
    // SAFETY: no preconditions.
    unsafe { lc::ERR_clear_error() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3394 §4.6: 256 bits of key data with a 256-bit KEK; and §4.3 with 192 bits.
    #[test]
    fn aes_unwrap_gives_the_rfc_vectors() {
        let kek: Vec<u8> = (0..32).collect();
        let wrapped = hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
        let key = hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
        assert_eq!(*aes_unwrap(&kek, &wrapped).unwrap(), key);
        let wrapped = hex("96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d");
        assert_eq!(*aes_unwrap(&kek[..24], &wrapped).unwrap(), key[..16]);
        assert!(aes_unwrap(&kek, &wrapped).is_none());
        assert!(aes_unwrap(&kek, &wrapped[..20]).is_none());
        assert!(aes_unwrap(&kek[..5], &wrapped).is_none());
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }
}
