//! Writing the `smime` profile: one EnvelopedData of any length, as BER, in constant memory
//! (format.md §4). Unauthenticated.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use crate::ber;
use crate::der;
use crate::error::{Error, Result};
use crate::ffi::{Cipher, Direction};
use crate::limits;
use crate::oid;
use crate::policy::ContentCipher;
use crate::random;
use crate::recipients::{Profile, Recipients};
use crate::stream::{Progress, Totals};

/// The constructed, indefinite form of an element, and its end.
const INDEFINITE: u8 = 0x80;
const END: [u8; 2] = [0, 0];

/// Encrypts up to `most` bytes of `input` in the `smime` profile.
///
/// # Errors
///
/// [`Error::Usage`] for a recipient without an RSA key; [`Error::Read`], [`Error::Write`].
pub fn encrypt(
    input: &mut dyn Read,
    most: u64,
    recipients: &Recipients,
    output: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<Totals> {
    let cek = Zeroizing::new(random::array::<32>()?);
    let iv = random::array::<16>()?;
    let mut cipher = Cipher::new(ContentCipher::Aes256Cbc, Direction::Encrypt, &*cek, &iv)?;
    let mut out = Vec::with_capacity(limits::PIECE + 64);
    push_header(&mut out, &recipients.wrap(Profile::Smime, &cek)?, iv);
    output.write_all(&out).map_err(Error::Write)?;

    let mut input = input.take(most);
    let mut plaintext = Zeroizing::new(vec![0; limits::PIECE]);
    let mut ciphertext = vec![0; limits::PIECE + Cipher::BLOCK];
    let mut totals = Totals { slices: 1, plaintext: 0 };
    loop {
        let count = ber::read_full(&mut input, &mut plaintext)?;
        let mut written = cipher.update(&plaintext[..count], &mut ciphertext)?;
        totals.plaintext += count as u64;
        let ends = count < plaintext.len();
        if !ends {
            write_piece(output, &ciphertext[..written]).map_err(Error::Write)?;
            progress(count as u64);
            continue;
        }
        let mut last = [0; Cipher::BLOCK];
        let rest = cipher.finish(&mut last)?;
        ciphertext[written..written + rest].copy_from_slice(&last[..rest]);
        written += rest;
        write_piece(output, &ciphertext[..written]).map_err(Error::Write)?;
        progress(count as u64);
        break;
    }
    // Content, EncryptedContentInfo, EnvelopedData, its [0], ContentInfo.
    output.write_all(&[END; 5].concat()).map_err(Error::Write)?;
    Ok(totals)
}

/// How much plaintext a message of at most `size` bytes holds, with these recipients.
///
/// # Errors
///
/// [`Error::Usage`] for a recipient without an RSA key.
pub fn plaintext_length(size: usize, recipients: &Recipients) -> Result<u64> {
    let mut header = Vec::new();
    push_header(&mut header, &recipients.wrap(Profile::Smime, &[0; 32])?, [0; 16]);
    // Each piece has a header of five bytes at most; the last block is padding; ten bytes end it.
    let pieces = size / limits::PIECE + 1;
    Ok(size.saturating_sub(header.len() + 5 * pieces + Cipher::BLOCK + 10) as u64)
}

/// Everything before the content's pieces.
fn push_header(out: &mut Vec<u8>, recipient_infos: &[u8], iv: [u8; 16]) {
    out.extend([der::SEQUENCE, INDEFINITE]);
    out.extend(der::oid(oid::ENVELOPED_DATA));
    out.extend([der::context_constructed(0), INDEFINITE, der::SEQUENCE, INDEFINITE]);
    out.extend(der::unsigned(0));
    out.extend_from_slice(recipient_infos);
    out.extend([der::SEQUENCE, INDEFINITE]);
    out.extend(der::oid(oid::DATA));
    out.extend(der::algorithm(oid::AES_256_CBC, &der::octet_string(&iv)));
    out.extend([der::context_constructed(0), INDEFINITE]);
}

fn write_piece(output: &mut dyn Write, piece: &[u8]) -> io::Result<()> {
    let mut header = Vec::with_capacity(6);
    der::push_header(&mut header, der::OCTET_STRING, piece.len() as u64);
    output.write_all(&header)?;
    output.write_all(piece)
}
