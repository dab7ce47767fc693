//! SHA-256, of objects and of certificates, and how it is written.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use offsite_cms::Certificate;

/// A text that is no such hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {0}")]
pub struct HashError(&'static str);

/// A SHA-256. Its text is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// That of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let error = HashError("SHA-256 of 64 hexadecimal digits");
        let mut hash = [0; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(error) };
        if pairs.len() != hash.len() {
            return Err(error);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high).ok_or(error)? << 4 | digit(*low).ok_or(error)?;
        }
        Ok(Self(hash))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// What tells one certificate from every other: the SHA-256 of its DER. Its text is `sha256:` and 64
/// lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// That of a certificate.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        Self(certificate.fingerprint().into())
    }

    /// Reads one as people write it: the digits in either case, and in pairs with colons between
    /// them as `openssl x509 -fingerprint` has them.
    ///
    /// # Errors
    ///
    /// Where it is not `sha256:` and 64 digits.
    pub fn from_people(text: &str) -> Result<Self, HashError> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let separated = digits.len() == 95 && digits.bytes().skip(2).step_by(3).all(|byte| byte == b':');
        let digits = if separated { digits.replace(':', "") } else { digits.to_owned() };
        digits.to_ascii_lowercase().parse().map(Self).map_err(|_| NO_FINGERPRINT)
    }
}

const NO_FINGERPRINT: HashError = HashError("fingerprint: sha256: and 64 hexadecimal digits");

impl From<[u8; 32]> for Fingerprint {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash.into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        text.strip_prefix("sha256:").and_then(|digits| digits.parse().ok()).map(Self).ok_or(NO_FINGERPRINT)
    }
}

/// What an object must be: so long, with this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
}

impl Hashed {
    /// What these bytes are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, sha256: Sha256::of(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_hash_has_one_text() {
        let hash = Sha256::of(b"abc");
        assert_eq!(hash.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(hash));
        let fingerprint = Fingerprint::from(*hash.as_bytes());
        assert_eq!(fingerprint.to_string(), format!("sha256:{ABC}"));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        let longer = format!("{ABC}00");
        let multibyte = format!("{}ä", &ABC[..62]);
        for bad in ["", &ABC[1..], &ABC[2..], &longer, &multibyte, &ABC.to_uppercase(), &ABC.replace("ba", "+a")] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
            assert!(format!("sha256:{bad}").parse::<Fingerprint>().is_err(), "{bad}");
        }
        assert!(ABC.parse::<Fingerprint>().is_err());
    }

    #[test]
    fn people_write_fingerprints_in_more_ways() {
        let fingerprint = Fingerprint::from(*Sha256::of(b"abc").as_bytes());
        let pairs: Vec<&str> = (0..32).map(|index| &ABC[2 * index..2 * index + 2]).collect();
        for good in [ABC.to_owned(), ABC.to_uppercase(), pairs.join(":"), pairs.join(":").to_uppercase()] {
            assert_eq!(Fingerprint::from_people(&format!("sha256:{good}")), Ok(fingerprint), "{good}");
        }
        for bad in [ABC, "sha256:", &format!("SHA256:{ABC}"), &format!("sha256: {ABC}"), &format!("sha256:{ABC}:")] {
            assert!(Fingerprint::from_people(bad).is_err(), "{bad}");
        }
        let elsewhere = format!("sha256:{}", pairs.join(":").replacen("ba:78", "b:a78", 1));
        assert!(Fingerprint::from_people(&elsewhere).is_err());
    }
}
