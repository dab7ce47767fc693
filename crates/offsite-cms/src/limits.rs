//! Every limit of the format and of this implementation, each with its unit and its reason.
//! A length read from input passes one of these before memory is asked for (format.md §8).

/// Longest content of one AES-GCM message, in bytes: 2^39 - 256 bits (SP 800-38D §5.2.1.1).
pub const GCM_CONTENT: u64 = (1 << 36) - 32;

/// Longest plaintext of one stream, in bytes: 1 PiB. The slice number's 32 bits and the largest
/// slice would allow 2 EiB; one content-encryption key's bound on distinguishing (equation 7 of
/// ePrint 2024/051) is 2^-37 at 1 PiB.
pub const STREAM_PLAINTEXT: u64 = 1 << 50;

/// Most slices of one stream: the slice number is four bytes.
pub const STREAM_SLICES: u64 = 1 << 32;

/// Smallest size of a slice, in bytes of DER: 1 MiB.
pub const SLICE_SIZE_MIN: usize = 1 << 20;

/// Largest size of a slice, in bytes of DER: 512 MiB. Stock OpenSSL holds 2.3 to 3.5 times as much
/// while it decrypts, and refuses 1.5 GiB and more.
pub const SLICE_SIZE_MAX: usize = 512 << 20;

/// Size of a slice where nothing else is said, in bytes of DER: 16 MiB.
pub const SLICE_SIZE_DEFAULT: usize = 16 << 20;

/// Longest envelope that `openssl cms|smime -decrypt` reads, in bytes of DER or BER: OpenSSL's
/// `BUF_MEM` stops at 0x5ffffffc. The smime profile warns before it.
pub const OPENSSL_MESSAGE: u64 = 0x5fff_fffc;

/// Longest header of an envelope, everything before the content, in bytes: 1 MiB.
pub const HEADER: usize = 1 << 20;

/// Most RecipientInfos read from one envelope, and most certificates encrypted to. A header of
/// 1 MiB could hold some 8,000; trying a private key on each would be a long wait for nothing.
pub const RECIPIENTS: usize = 64;

/// Deepest nesting of BER elements. RecipientInfos need 9 levels, a content in pieces of pieces 5
/// more (OpenSSL allows 5 levels of strings).
pub const BER_DEPTH: usize = 16;

/// Longest foreign GCM message that is verified in memory instead of in two passes over the
/// input, in bytes of content: 8 MiB.
pub const FOREIGN_IN_MEMORY: usize = 8 << 20;

/// Distance between the checks of the second pass over a foreign GCM message, in bytes: 1 MiB. A
/// message of `GCM_CONTENT` then needs 65,536 of 32 bytes, 2 MiB.
pub const FOREIGN_CHECK: usize = 1 << 20;

/// Memory for the slices in flight, in bytes: 64 MiB, and never less than one slice.
pub const SLICES_IN_FLIGHT: usize = 64 << 20;

/// Piece in which content that is not sliced is read, worked on and written, in bytes: 256 KiB
/// stays in a core's cache.
pub const PIECE: usize = 256 << 10;

/// Longest file of keys and certificates, in bytes: 1 MiB.
pub const KEY_FILE: u64 = 1 << 20;

/// Longest passphrase, in bytes: OpenSSL's own limit for a prompt.
pub const PASSPHRASE: usize = 1024;

/// Most PBKDF2 iterations for a private key: 100 million, about a minute.
pub const PBKDF2_ITERATIONS: u64 = 100_000_000;

/// Most memory for the scrypt of a private key, in bytes: 1 GiB.
pub const SCRYPT_MEMORY: u64 = 1 << 30;

/// Most work for the scrypt of a private key, as N·r·p: 2^28, about two minutes. `keygen` writes
/// 2^14·8·32 = 2^22.
pub const SCRYPT_WORK: u64 = 1 << 28;

/// RSA keys, in bits of the modulus.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Longest signed message, in bytes: 64 MiB, held in memory.
pub const SIGNED_MESSAGE: usize = 64 << 20;

const _: () = {
    assert!(SLICE_SIZE_MIN > HEADER / 2 && SLICE_SIZE_DEFAULT >= SLICE_SIZE_MIN);
    assert!(SLICE_SIZE_MAX >= SLICE_SIZE_DEFAULT);
    assert!((SLICE_SIZE_MAX as u64) < OPENSSL_MESSAGE / 2 && OPENSSL_MESSAGE < GCM_CONTENT);
    assert!(STREAM_SLICES * (SLICE_SIZE_MAX as u64) > STREAM_PLAINTEXT);
    assert!(FOREIGN_IN_MEMORY >= FOREIGN_CHECK && FOREIGN_CHECK.is_multiple_of(PIECE));
};
