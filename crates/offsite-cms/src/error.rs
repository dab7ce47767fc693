//! What can go wrong, by blame: the machine, the message, the key file, the caller, or us.

use std::io;

use crate::refusal::Refusal;

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation ended.
///
/// Positions (`at`) count bytes from the start of the input, after PEM or S/MIME armour is taken
/// off. No message holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine: the input could not be read.
    #[error("cannot read the input: {0}")]
    Read(#[source] io::Error),
    /// The machine: the output could not be written.
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
    /// The machine: the temporary file for a large message from a pipe failed.
    #[error("cannot keep the encrypted message in a temporary file: {0}")]
    Spool(#[source] io::Error),

    /// The message: it is not CMS at all.
    #[error("the input is not a CMS message: {why}")]
    NotCms {
        /// What was found instead.
        why: &'static str,
    },
    /// The message or a key file: bytes that the standard does not allow here.
    #[error("{what}: {why}, at byte {at}")]
    Malformed {
        /// The element at hand.
        what: &'static str,
        /// Where it lies in the input.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The message ends before it is complete.
    #[error("{what} is cut off: the input ends at byte {at}")]
    Truncated {
        /// The element that is incomplete.
        what: &'static str,
        /// Length of the input.
        at: u64,
    },
    /// The message or a key file: beyond a limit of this program.
    #[error("{what} is larger than {limit} bytes, which is as much as is read")]
    TooLarge {
        /// The element at hand.
        what: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The message: PEM or S/MIME armour that is damaged.
    #[error("the armour of the input is damaged: {why}, in line {line}")]
    Armour {
        /// What is wrong.
        why: &'static str,
        /// The line, counted from one.
        line: u64,
    },
    /// The message uses what the policy does not accept.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The message is followed by something else.
    #[error(
        "the message ends at byte {at}, but the input goes on: several messages in one file, or something appended"
    )]
    Trailing {
        /// Where the message ends.
        at: u64,
    },
    /// The message is sound, but it is not the stream that is looked for.
    #[error("the message is no stream of this kind and context")]
    OtherStream,
    /// A slice of a long stream is not what it must be.
    #[error("slice {slice} (from byte {at}): {problem}")]
    Slice {
        /// Number of the slice, from zero, by its position.
        slice: u64,
        /// Where it begins in the input.
        at: u64,
        /// What is wrong with it.
        problem: SliceProblem,
    },
    /// The message's integrity check failed. One text for every cause, so that nothing is learnt
    /// from it about the key.
    #[error("wrong private key, or the message was altered")]
    Decryption,
    /// The message, read a second time, was not what had been verified.
    #[error("the input changed while it was read, at byte {at} of the content; nothing after that was released")]
    Changed {
        /// Position in the content.
        at: u64,
    },
    /// The message has no recipient that this key could be.
    #[error("the message is not encrypted to this key; it is for {}", list(.recipients))]
    NotForThisKey {
        /// The recipients, for people.
        recipients: Vec<String>,
    },

    /// The key file holds nothing that can be used.
    #[error("{0}")]
    Key(#[from] KeyError),

    /// The caller asked for what cannot be done.
    #[error("{0}")]
    Usage(#[from] UsageError),
    /// The cryptographic library refused what it should accept: out of memory or of entropy, or
    /// a bug.
    #[error("the cryptographic library failed: {0}")]
    Crypto(&'static str),
}

/// What is wrong with a slice of a long stream (format.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceProblem {
    /// The integrity check failed.
    #[error("it was altered: its integrity check fails")]
    Altered,
    /// It carries another number than its position.
    #[error("it is number {found}: slices are missing, repeated or out of order")]
    OutOfOrder {
        /// The number in its nonce.
        found: u32,
    },
    /// Its nonce belongs to another stream.
    #[error("it belongs to another stream")]
    OtherStream,
    /// Its recipients differ from the first slice's.
    #[error("its recipients differ from those of the first slice")]
    OtherRecipients,
    /// It is no envelope as this format has it.
    #[error("it is not encoded as a slice")]
    NotASlice,
    /// It is not as long as the others.
    #[error("it is {found} bytes long, the first is {expected}")]
    Size {
        /// Its length in bytes.
        found: u64,
        /// The length of every slice but the last, in bytes.
        expected: u64,
    },
    /// The input ends within it.
    #[error("the input ends within it: the stream is cut off")]
    CutOff,
    /// It is not the last, but nothing follows.
    #[error("the input ends after it, but it is not the last slice: the stream is cut off")]
    NotLast,
    /// It is the last, but something follows.
    #[error("it is the last, but the input goes on")]
    GoesOn,
    /// An empty last slice after others.
    #[error("it is empty, which only a stream's only slice may be")]
    Empty,
}

/// Why a key or certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file holds no private key.
    #[error("the file holds no private key")]
    NoPrivateKey,
    /// The file holds no certificate.
    #[error("the file holds no certificate")]
    NoCertificate,
    /// The file holds more than one of what must be one.
    #[error("the file holds several private keys")]
    SeveralPrivateKeys,
    /// The file holds more than one of what must be one.
    #[error("the file holds several certificates")]
    SeveralCertificates,
    /// A PEM block is not closed or not base64.
    #[error("the PEM block that begins in line {line} is damaged")]
    Pem {
        /// Line of its BEGIN, from one.
        line: usize,
    },
    /// The key is protected and no passphrase was given.
    #[error("the private key is protected by a passphrase")]
    PassphraseNeeded,
    /// The passphrase does not open the key.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The key is protected in a way that is not read, or too costly to try.
    #[error("the private key is protected in a way that is not read: {0}")]
    Protection(String),
    /// The kind of key is not read.
    #[error("this kind of key is not read: {0}")]
    Kind(String),
    /// The key itself is invalid.
    #[error("the private key is invalid")]
    Invalid,
    /// The public key in a certificate is invalid.
    #[error("the certificate's public key is invalid")]
    InvalidPublic,
    /// The signature under signed data does not fit it, or it is not signed as this format wants.
    #[error("the signature is not valid: {0}")]
    Signature(&'static str),
}

/// What a caller cannot ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// An envelope needs a recipient.
    #[error("no recipient")]
    NoRecipient,
    /// More recipients than are read back.
    #[error("more than {limit} recipients", limit = crate::limits::RECIPIENTS)]
    TooManyRecipients,
    /// Two recipients that a reader could not tell apart.
    #[error("two recipients have the same issuer and serial number ({0}), so a reader could not tell them apart")]
    SameRecipient(String),
    /// The certificate is a signer's: its key lies where backups are made.
    #[error("recipient {0}: this certificate is for signatures only")]
    SignsOnly(String),
    /// The recipient cannot be used in this profile.
    #[error("recipient {0}: the smime profile is for RSA keys only")]
    NotInSmime(String),
    /// The slice size is out of range.
    #[error("a slice has between 1 MiB and 512 MiB")]
    SliceSize,
    /// No DER encoding has exactly this size.
    #[error("no slice for these recipients is exactly {wanted} bytes long; {nearest} is possible")]
    UnreachableSliceSize {
        /// The size asked for, in bytes.
        wanted: usize,
        /// The next smaller one that can be reached, in bytes.
        nearest: usize,
    },
    /// Longer than a stream may be.
    #[error("the input is longer than a stream may be (1 PiB)")]
    StreamTooLong,
    /// Strict reading, and the message is not authenticated.
    #[error(
        "the message is unauthenticated (CBC without an integrity check), and only authenticated ones were asked for"
    )]
    Unauthenticated,
    /// A certificate's name cannot be written (RFC 5280 appendix A.1: at most 64 characters).
    #[error("a certificate's name has at most 64 characters, and no control characters")]
    CommonName,
    /// A certificate's validity cannot be written.
    #[error("a certificate cannot be valid for {0} days from now")]
    Days(u32),
}

fn list(recipients: &[String]) -> String {
    if recipients.is_empty() { "no recipient of a kind that is read".to_owned() } else { recipients.join("; ") }
}
