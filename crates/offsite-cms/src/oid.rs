//! Object identifiers, as the content octets of their DER encoding.

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $bytes:expr, $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &[u8] = &$bytes;)*

        /// The usual name of an object identifier, if it is one that this crate knows.
        pub(crate) fn known_name(oid: &[u8]) -> Option<&'static str> {
            [$(($name, $text)),*].into_iter().find(|(known, _)| *known == oid).map(|(_, text)| text)
        }
    };
}

oids! {
    // Content types: RFC 5652 §4, §6.1; RFC 5083 §2.1.
    DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1], "data";
    SIGNED_DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2], "signedData";
    ENVELOPED_DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3], "envelopedData";
    DIGESTED_DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 5], "digestedData";
    ENCRYPTED_DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6], "encryptedData";
    AUTH_ENVELOPED_DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23], "authEnvelopedData";
    COMPRESSED_DATA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 9], "compressedData";
    // Attributes: RFC 5652 §11.
    CONTENT_TYPE = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3], "contentType";
    MESSAGE_DIGEST = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4], "messageDigest";
    // Content encryption: RFC 3565 §4.1, RFC 3370 §5.1, RFC 5084 §3.2; and ones refused by name.
    AES_128_CBC = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2], "aes128-CBC";
    AES_192_CBC = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 22], "aes192-CBC";
    AES_256_CBC = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42], "aes256-CBC";
    DES_EDE3_CBC = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7], "des-EDE3-CBC";
    AES_128_GCM = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 6], "aes128-GCM";
    AES_192_GCM = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 26], "aes192-GCM";
    AES_256_GCM = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 46], "aes256-GCM";
    AES_128_CCM = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 7], "aes128-CCM";
    AES_256_CCM = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 47], "aes256-CCM";
    AES_256_OFB = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 43], "aes256-OFB";
    AES_256_CFB = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 44], "aes256-CFB";
    RC2_CBC = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 2], "rc2-CBC";
    DES_CBC = [0x2b, 0x0e, 3, 2, 7], "des-CBC";
    CHACHA20_POLY1305 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 18], "chacha20Poly1305";
    CEK_HKDF_SHA256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 31], "cek-hkdf-sha256";
    // Key wrap: RFC 3565 §4.2, RFC 3370 §4.3.1.
    AES_128_WRAP = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 5], "aes128-wrap";
    AES_192_WRAP = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 25], "aes192-wrap";
    AES_256_WRAP = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 45], "aes256-wrap";
    CMS_3DES_WRAP = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 6], "3DES key wrap";
    // RSA: RFC 8017 appendix A.
    RSA_ENCRYPTION = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], "rsaEncryption";
    RSAES_OAEP = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7], "RSAES-OAEP";
    MGF1 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8], "MGF1";
    P_SPECIFIED = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 9], "pSpecified";
    // Digests: RFC 8017 appendix B.1.
    SHA_1 = [0x2b, 0x0e, 3, 2, 26], "SHA-1";
    SHA_256 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], "SHA-256";
    SHA_384 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], "SHA-384";
    SHA_512 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], "SHA-512";
    // Elliptic curves: RFC 5480 §2.1.1.
    EC_PUBLIC_KEY = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], "ecPublicKey";
    P_256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256";
    P_384 = [0x2b, 0x81, 0x04, 0, 34], "P-384";
    P_521 = [0x2b, 0x81, 0x04, 0, 35], "P-521";
    X25519 = [0x2b, 0x65, 0x6e], "X25519";
    ED25519 = [0x2b, 0x65, 0x70], "Ed25519";
    // ECDH with the X9.63 key derivation: RFC 5753 §7.1.4. The curves' cofactor is 1, so the
    // cofactor schemes give the same secret.
    STD_DH_SHA1_KDF = [0x2b, 0x81, 0x05, 0x10, 0x86, 0x48, 0x3f, 0, 2], "dhSinglePass-stdDH-sha1kdf";
    STD_DH_SHA256_KDF = [0x2b, 0x81, 0x04, 1, 11, 1], "dhSinglePass-stdDH-sha256kdf";
    STD_DH_SHA384_KDF = [0x2b, 0x81, 0x04, 1, 11, 2], "dhSinglePass-stdDH-sha384kdf";
    STD_DH_SHA512_KDF = [0x2b, 0x81, 0x04, 1, 11, 3], "dhSinglePass-stdDH-sha512kdf";
    COFACTOR_DH_SHA1_KDF = [0x2b, 0x81, 0x05, 0x10, 0x86, 0x48, 0x3f, 0, 3], "dhSinglePass-cofactorDH-sha1kdf";
    COFACTOR_DH_SHA256_KDF = [0x2b, 0x81, 0x04, 1, 14, 1], "dhSinglePass-cofactorDH-sha256kdf";
    COFACTOR_DH_SHA384_KDF = [0x2b, 0x81, 0x04, 1, 14, 2], "dhSinglePass-cofactorDH-sha384kdf";
    COFACTOR_DH_SHA512_KDF = [0x2b, 0x81, 0x04, 1, 14, 3], "dhSinglePass-cofactorDH-sha512kdf";
    // Signatures: RFC 5758 §3.2.
    ECDSA_SHA_256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], "ecdsa-with-SHA256";
    // Encrypted private keys: RFC 8018 appendix A, RFC 7914 §7.
    PBES2 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13], "PBES2";
    PBKDF2 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12], "PBKDF2";
    SCRYPT = [0x2b, 0x06, 1, 4, 1, 0xda, 0x47, 4, 11], "scrypt";
    HMAC_SHA_1 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 7], "hmacWithSHA1";
    HMAC_SHA_256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9], "hmacWithSHA256";
    HMAC_SHA_384 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 10], "hmacWithSHA384";
    HMAC_SHA_512 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 11], "hmacWithSHA512";
    // Names and extensions of certificates: RFC 5280 appendix A.
    COMMON_NAME = [0x55, 4, 3], "CN";
    COUNTRY = [0x55, 4, 6], "C";
    LOCALITY = [0x55, 4, 7], "L";
    STATE = [0x55, 4, 8], "ST";
    ORGANIZATION = [0x55, 4, 10], "O";
    ORGANIZATIONAL_UNIT = [0x55, 4, 11], "OU";
    EMAIL = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress";
    SUBJECT_KEY_IDENTIFIER = [0x55, 0x1d, 14], "subjectKeyIdentifier";
    KEY_USAGE = [0x55, 0x1d, 15], "keyUsage";
}

/// An object identifier for people: its usual name, else its numbers with dots.
pub(crate) fn name(oid: &[u8]) -> String {
    known_name(oid).map_or_else(|| dotted(oid), str::to_owned)
}

/// Longest object identifier that is spelt out, in bytes. Those in use have some 20; the text of one
/// is three times as long and stands in errors, once for each of 64 recipients.
const LONGEST: usize = 64;

/// The numbers of an object identifier (X.690 §8.19); `?` stands for what cannot be read.
fn dotted(oid: &[u8]) -> String {
    if oid.len() > LONGEST {
        return "?".to_owned();
    }
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    let mut open = false;
    for &byte in oid {
        if arc >> 57 != 0 {
            return "?".to_owned();
        }
        arc = arc << 7 | u64::from(byte & 0x7f);
        open = byte & 0x80 != 0;
        if !open {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first.to_string());
                arc -= first * 40;
            }
            arcs.push(arc.to_string());
            arc = 0;
        }
    }
    if open || arcs.is_empty() { "?".to_owned() } else { arcs.join(".") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(name(AES_256_GCM), "aes256-GCM");
        assert_eq!(dotted(AES_256_GCM), "2.16.840.1.101.3.4.1.46");
        assert_eq!(dotted(STD_DH_SHA1_KDF), "1.3.133.16.840.63.0.2");
        assert_eq!(dotted(&[0x2a, 0x86]), "?");
        assert_eq!(dotted(&[]), "?");
        assert_eq!(dotted(&[0xff; 20]), "?");
        assert_eq!(dotted(&[1; 64]).len(), 3 + 63 * 2);
        assert_eq!(dotted(&[1; 65]), "?");
    }
}
