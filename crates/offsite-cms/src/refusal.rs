//! Why the policy refuses a message: apart from it, so that errors need not know the policy.

/// Why the policy refuses a message, or a recipient of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A content type that is no envelope.
    #[error("the message is {0}, not an envelope")]
    ContentType(String),
    /// A content cipher outside the list for this content type.
    #[error("content encrypted by {cipher} inside {container}")]
    ContentCipher {
        /// The cipher.
        cipher: String,
        /// The content type that it stands in.
        container: &'static str,
    },
    /// An integrity check value of another length than 16 bytes. CVE-2026-34182 is what comes of
    /// accepting shorter ones.
    #[error("an integrity check value of {0} bytes instead of 16")]
    TagLength(usize),
    /// `aes-ICVlen` is not 16 (RFC 5084 §3.2).
    #[error("aes-ICVlen is {0} instead of 16")]
    IcvLength(u64),
    /// `aes-ICVlen` is missing, which means 12 (RFC 5084 §3.2).
    #[error("aes-ICVlen is missing, which means an integrity check value of 12 bytes")]
    IcvLengthMissing,
    /// A nonce or initialisation vector of the wrong length.
    #[error("a nonce of {found} bytes instead of {expected}")]
    NonceLength {
        /// Length in bytes.
        found: usize,
        /// The only length accepted, in bytes.
        expected: usize,
    },
    /// Cipher parameters that cannot be read.
    #[error("malformed parameters of {0}")]
    CipherParameters(&'static str),
    /// Attributes in AuthEnvelopedData: none of the common writers adds them.
    #[error("attributes in authEnvelopedData")]
    Attributes,
    /// A key management algorithm outside the list.
    #[error("a content-encryption key encrypted by {0}")]
    KeyEncryption(String),
    /// A key wrap algorithm outside the list.
    #[error("a content-encryption key wrapped by {0}")]
    KeyWrap(String),
    /// OAEP parameters that cannot be read.
    #[error("malformed parameters of RSAES-OAEP")]
    OaepParameters,
    /// A digest outside the list.
    #[error("the digest {0}")]
    Digest(String),
    /// An originator's key that is not on the recipient's curve, or malformed.
    #[error("an originator's key that is not a point of the recipient's curve")]
    OriginatorKey,
    /// Key agreement parameters that cannot be read.
    #[error("malformed parameters of the key agreement")]
    AgreementParameters,
    /// A key wrap whose length does not fit the content cipher.
    #[error("a content-encryption key of the wrong length for {0}")]
    KeyLength(&'static str),
}
