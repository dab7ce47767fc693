//! Messages from code of our own, beside the library's: it seals anything, also what is wrong.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rand::fill;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{agreement, digest, hmac};

use crate::support::certificate;
use crate::support::der::{BIT_STRING, Element, integer, octets, oid, sequence, set, span, tagged};

pub(crate) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
pub(crate) const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
pub(crate) const AUTH_ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23];
pub(crate) const AES_256_GCM_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 46];
pub(crate) const AES_256_CBC_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
pub(crate) const AES_256_WRAP_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 45];
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
pub(crate) const RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7];
pub(crate) const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
pub(crate) const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const STD_DH_SHA256_KDF: &[u8] = &[0x2b, 0x81, 0x04, 1, 11, 1];

/// Paths into an envelope, from ContentInfo on.
pub(crate) const CONTENT_TYPE: &[usize] = &[0];
pub(crate) const ENVELOPE: &[usize] = &[1, 0];
pub(crate) const VERSION: &[usize] = &[1, 0, 0];
pub(crate) const INFOS: &[usize] = &[1, 0, 1];
pub(crate) const CONTENT_INFO: &[usize] = &[1, 0, 2];
pub(crate) const CIPHER: &[usize] = &[1, 0, 2, 1, 0];
pub(crate) const PARAMETERS: &[usize] = &[1, 0, 2, 1, 1];
pub(crate) const NONCE: &[usize] = &[1, 0, 2, 1, 1, 0];
pub(crate) const ICV_LENGTH: &[usize] = &[1, 0, 2, 1, 1, 1];
pub(crate) const CONTENT: &[usize] = &[1, 0, 2, 2];
pub(crate) const TAG: &[usize] = &[1, 0, 3];

pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    fill(&mut bytes).expect("random bytes");
    bytes
}

pub(crate) fn null() -> Element {
    Element::Primitive(0x05, Vec::new())
}

/// An AlgorithmIdentifier.
pub(crate) fn algorithm(id: &[u8], parameters: Vec<Element>) -> Element {
    sequence([vec![oid(id)], parameters].concat())
}

/// A certificate, as far as RecipientInfos need it.
pub(crate) struct Recipient {
    /// IssuerAndSerialNumber.
    id: Element,
    public_key_info: Vec<u8>,
}

impl Recipient {
    pub(crate) fn of(key_file: &str) -> Self {
        let certificate = certificate(key_file);
        let part = |path: &[usize]| certificate.der()[span(certificate.der(), path).whole].to_vec();
        let id = sequence(vec![Element::Raw(part(&[0, 3])), Element::Raw(part(&[0, 1]))]);
        Self { id, public_key_info: part(&[0, 6]) }
    }

    fn rsa(&self) -> PublicEncryptingKey {
        PublicEncryptingKey::from_der(&self.public_key_info).expect("an RSA key")
    }

    /// `cek` encrypted by RSA PKCS#1 v1.5.
    pub(crate) fn pkcs1(&self, cek: &[u8]) -> Vec<u8> {
        let key = Pkcs1PublicEncryptingKey::new(self.rsa()).expect("an RSA key");
        let mut encrypted = vec![0; key.ciphertext_size()];
        key.encrypt(cek, &mut encrypted).expect("RSA encrypts").to_vec()
    }

    /// `cek` encrypted by RSA-OAEP with SHA-256.
    pub(crate) fn oaep(&self, cek: &[u8]) -> Vec<u8> {
        let key = OaepPublicEncryptingKey::new(self.rsa()).expect("an RSA key");
        let mut encrypted = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, cek, &mut encrypted, None).expect("RSA encrypts").to_vec()
    }

    /// KeyTransRecipientInfo.
    pub(crate) fn key_transport(&self, algorithm: Element, encrypted_key: &[u8]) -> Element {
        sequence(vec![integer(0), self.id.clone(), algorithm, octets(encrypted_key)])
    }

    /// KeyTransRecipientInfo with PKCS#1 v1.5.
    pub(crate) fn pkcs1_info(&self, cek: &[u8]) -> Element {
        self.key_transport(algorithm(RSA_ENCRYPTION, vec![null()]), &self.pkcs1(cek))
    }

    /// KeyAgreeRecipientInfo with P-256, SHA-256 and AES-256 key wrap (RFC 5753 §3.1, §7.2).
    pub(crate) fn ecdh_info(&self, cek: &[u8]) -> Element {
        let point = &self.public_key_info[span(&self.public_key_info, &[1]).contents][1..];
        let ephemeral = agreement::PrivateKey::generate(&agreement::ECDH_P256).expect("a key");
        let own_point = ephemeral.compute_public_key().expect("a point");
        let wrap = algorithm(AES_256_WRAP_OID, vec![]);
        let info = sequence(vec![wrap.clone(), tagged(2, vec![octets(&256_u32.to_be_bytes())])]).encode();
        let kek = agreement::agree(
            &ephemeral,
            agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point),
            "a point of P-256",
            |secret| Ok(digest::digest(&digest::SHA256, &[secret, &[0, 0, 0, 1], &info].concat())),
        )
        .expect("agreement");
        let mut wrapped = vec![0; cek.len() + 8];
        let kek = AesKek::new(&AES_256, kek.as_ref()).expect("a key");
        kek.wrap(cek, &mut wrapped).expect("key wrap");
        let bits = Element::Primitive(BIT_STRING, [&[0], own_point.as_ref()].concat());
        let originator = tagged(0, vec![tagged(1, vec![algorithm(EC_PUBLIC_KEY, vec![]), bits])]);
        let keys = sequence(vec![sequence(vec![self.id.clone(), octets(&wrapped)])]);
        tagged(1, vec![integer(3), originator, algorithm(STD_DH_SHA256_KDF, vec![wrap]), keys])
    }
}

/// AES-256-GCM: ciphertext and tag.
pub(crate) fn gcm(key: &[u8], nonce: [u8; 12], associated: &[u8], plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key"));
    let mut content = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(associated), &mut content).expect("GCM");
    (content, tag.as_ref().to_vec())
}

/// AES-256-CBC of whole blocks, without padding.
pub(crate) fn cbc(key: &[u8; 32], iv: [u8; 16], blocks: &[u8]) -> Vec<u8> {
    let key = UnboundCipherKey::new(&cipher::AES_256, key).expect("a key");
    encrypt(&EncryptingKey::cbc(key).expect("a key"), iv, blocks)
}

/// AES-256-OFB.
pub(crate) fn ofb(key: &[u8; 32], iv: [u8; 16], plaintext: &[u8]) -> Vec<u8> {
    let key = UnboundCipherKey::new(&cipher::AES_256, key).expect("a key");
    encrypt(&EncryptingKey::ofb(key).expect("a key"), iv, plaintext)
}

fn encrypt(key: &EncryptingKey, iv: [u8; 16], plaintext: &[u8]) -> Vec<u8> {
    let mut content = plaintext.to_vec();
    key.less_safe_encrypt(&mut content, EncryptionContext::Iv128(FixedLength::from(iv))).expect("a cipher");
    content
}

/// The padding of RFC 5652 §6.3.
pub(crate) fn padded(plaintext: &[u8]) -> Vec<u8> {
    let count = 16 - plaintext.len() % 16;
    let byte = u8::try_from(count).expect("16 at most");
    [plaintext, &vec![byte; count]].concat()
}

/// ContentInfo with EnvelopedData.
pub(crate) fn enveloped_data(infos: Vec<Element>, cipher: Element, content: &[u8]) -> Element {
    content_info(ENVELOPED_DATA, vec![integer(0), set(infos), encrypted_content_info(cipher, content)])
}

/// ContentInfo with AuthEnvelopedData.
pub(crate) fn auth_enveloped_data(infos: Vec<Element>, cipher: Element, content: &[u8], tag: &[u8]) -> Element {
    let content = encrypted_content_info(cipher, content);
    content_info(AUTH_ENVELOPED_DATA, vec![integer(0), set(infos), content, octets(tag)])
}

fn content_info(content_type: &[u8], fields: Vec<Element>) -> Element {
    sequence(vec![oid(content_type), tagged(0, vec![sequence(fields)])])
}

fn encrypted_content_info(cipher: Element, content: &[u8]) -> Element {
    sequence(vec![oid(DATA), cipher, Element::Primitive(0x80, content.to_vec())])
}

/// The AlgorithmIdentifier of AES-256-GCM.
pub(crate) fn gcm_algorithm(nonce: &[u8]) -> Element {
    algorithm(AES_256_GCM_OID, vec![sequence(vec![octets(nonce), integer(16)])])
}

/// The AlgorithmIdentifier of AES-256-CBC.
pub(crate) fn cbc_algorithm(iv: &[u8]) -> Element {
    algorithm(AES_256_CBC_OID, vec![octets(iv)])
}

/// A good foreign message: AES-256-GCM with a random nonce.
pub(crate) fn foreign(infos: impl FnOnce(&[u8]) -> Vec<Element>, plaintext: &[u8]) -> Element {
    let (cek, nonce) = (random::<32>(), random::<12>());
    let (content, tag) = gcm(&cek, nonce, &[], plaintext);
    auth_enveloped_data(infos(&cek), gcm_algorithm(&nonce), &content, &tag)
}

/// A stream whose key is known.
pub(crate) struct Stream {
    pub(crate) cek: [u8; 32],
    /// RecipientInfos.
    pub(crate) infos: Vec<Element>,
    prefix: [u8; 7],
}

impl Stream {
    pub(crate) fn new(recipient: &Recipient, kind: &str, context: &str) -> Self {
        let cek = random();
        Self { cek, infos: vec![recipient.ecdh_info(&cek)], prefix: prefix(&cek, kind, context) }
    }

    /// The same key and RecipientInfos, but for another kind of stream.
    pub(crate) fn as_kind(&self, kind: &str, context: &str) -> Self {
        Self { cek: self.cek, infos: self.infos.clone(), prefix: prefix(&self.cek, kind, context) }
    }

    /// One slice with this number and last flag.
    pub(crate) fn slice(&self, number: u32, last: u8, plaintext: &[u8]) -> Element {
        let nonce = [&self.prefix[..], &number.to_be_bytes(), &[last]].concat();
        let nonce = nonce.try_into().expect("12 bytes");
        let (content, tag) = gcm(&self.cek, nonce, &[], plaintext);
        auth_enveloped_data(self.infos.clone(), gcm_algorithm(&nonce), &content, &tag)
    }
}

/// `HKDF-Expand-SHA256(CEK, "offsite v1" ‖ 0 ‖ kind ‖ 0 ‖ context, 7)`: one block (RFC 5869 §2.3).
fn prefix(cek: &[u8; 32], kind: &str, context: &str) -> [u8; 7] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cek);
    let info = [b"offsite v1\0", kind.as_bytes(), b"\0", context.as_bytes(), &[1]].concat();
    hmac::sign(&key, &info).as_ref()[..7].try_into().expect("seven bytes")
}
