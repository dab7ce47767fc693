//! What a binary has baked in: recipients, a store and options, in an area that is reserved for them
//! (format.md §18).
//!
//! The area is a static of the binary. Who bakes writes a copy of the binary's file with another area in the
//! place of its own. No secret may stand in it: whoever has the binary can read it.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use offsite_cms::Certificate;
use serde::{Deserialize, Serialize};

use crate::hashes::Sha256;

/// Length of the area, in bytes: room for the certificates of some twenty recipients.
pub const CAPACITY: usize = 64 << 10;

/// What an area begins with. It stands in a binary once, in the area itself, which is how that is found: so
/// nothing but [`empty`], at compile time, may use it.
const MAGIC: [u8; 32] = *b"offsite area \x8d\xc4\x1f\x9b\xe2\x57\x03\xfa\x66\xb1\x7e\xd8\x2c\x95\x40\xee\x0b\xa3\x71";

/// Length of [`MAGIC`].
const MARK: usize = 32;
/// The hash of everything else follows the mark.
const HASH: usize = MARK + 32;
/// The version and the length of the text follow the hash, each in four bytes.
const TEXT: usize = HASH + 8;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// A reserved area.
pub type Area = [u8; CAPACITY];

/// The area of a binary that has nothing baked in. For the initial value of a static, and nothing else.
#[must_use]
pub const fn empty() -> Area {
    let mut area = [0; CAPACITY];
    let mut at = 0;
    while at < MARK {
        area[at] = MAGIC[at];
        at += 1;
    }
    area
}

/// What is baked in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// To whom everything is encrypted.
    pub recipients: Vec<Certificate>,
    /// Where the store is.
    pub store: Option<String>,
    /// The values of options, as they stand on a command line, by the options' names.
    pub options: BTreeMap<String, Vec<String>>,
}

/// Why what is baked in cannot be read, or be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The area is not what was written.
    #[error("what is baked into this binary is damaged: its SHA-256 is not what it should be")]
    Damaged,
    /// Another version of this format.
    #[error("what is baked into this binary is of version {0}, and this is a program for version {VERSION}")]
    Version(u32),
    /// It is whole, and not what such an area holds.
    #[error("what is baked into this binary cannot be read: {0}")]
    Contents(String),
    /// There is more than the area holds.
    #[error("this is {length} bytes to bake in, and there is room for {most}", most = CAPACITY - TEXT)]
    TooLong {
        /// How much there is, in bytes.
        length: usize,
    },
}

/// The text in the area.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// PEM.
    recipients: String,
    store: Option<String>,
    options: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The recipients' certificates as PEM.
    #[must_use]
    pub fn recipients_pem(&self) -> String {
        self.recipients.iter().map(Certificate::to_pem).collect()
    }

    /// What an area holds.
    ///
    /// # Errors
    ///
    /// Where the area is not as it was written, or of another version.
    pub fn read(area: &Area) -> Result<Self, Error> {
        if area[MARK..].iter().all(|byte| *byte == 0) {
            return Ok(Self::default());
        }
        if area[MARK..HASH] != *hash(area).as_bytes() {
            return Err(Error::Damaged);
        }
        let number = |at: usize| u32::from_be_bytes([area[at], area[at + 1], area[at + 2], area[at + 3]]);
        let (version, length) = (number(HASH), number(HASH + 4) as usize);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let text = area[TEXT..].get(..length).ok_or_else(|| Error::Contents("its length is wrong".to_owned()))?;
        let text: Text = serde_json::from_slice(text).map_err(|error| Error::Contents(error.to_string()))?;
        let recipients = Certificate::all_from_file(text.recipients.as_bytes());
        let recipients = recipients.map_err(|error| Error::Contents(error.to_string()))?;
        Ok(Self { recipients, store: text.store, options: text.options })
    }

    /// The area that holds these, in the place of `area`, whose mark it takes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`].
    pub fn write(&self, area: &Area) -> Result<Vec<u8>, Error> {
        let mut written = vec![0; CAPACITY];
        written[..MARK].copy_from_slice(mark(area));
        if self.is_empty() {
            return Ok(written);
        }
        let text = Text { recipients: self.recipients_pem(), store: self.store.clone(), options: self.options.clone() };
        let text = serde_json::to_vec(&text).map_err(|error| Error::Contents(error.to_string()))?;
        let too_long = Error::TooLong { length: text.len() };
        written.get_mut(TEXT..TEXT + text.len()).ok_or(too_long.clone())?.copy_from_slice(&text);
        let length = u32::try_from(text.len()).map_err(|_| too_long)?;
        written[HASH..HASH + 4].copy_from_slice(&VERSION.to_be_bytes());
        written[HASH + 4..TEXT].copy_from_slice(&length.to_be_bytes());
        let hash = hash(&written);
        written[MARK..HASH].copy_from_slice(hash.as_bytes());
        Ok(written)
    }
}

/// What an area is found by.
fn mark(area: &Area) -> &[u8] {
    &area[..MARK]
}

/// The SHA-256 of an area without its hash.
fn hash(area: &[u8]) -> Sha256 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&area[..MARK]);
    context.update(&area[HASH..]);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash.into()
}

/// Where the area lies in the file of its binary: the one place that is the same, byte for byte. None where
/// there is none, or a second mark.
#[must_use]
pub fn place_in(binary: &[u8], area: &Area) -> Option<usize> {
    let mut places = binary.windows(MARK).enumerate().filter(|(_, window)| *window == mark(area)).map(|(at, _)| at);
    let (place, None) = (places.next()?, places.next()) else { return None };
    (binary.get(place..place + CAPACITY)? == area).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(settings: &Settings) -> Box<Area> {
        settings.write(&empty()).unwrap().into_boxed_slice().try_into().unwrap()
    }

    fn some() -> Settings {
        let options = BTreeMap::from([("exclude".to_owned(), vec!["*.tmp".to_owned(), "/srv/\"x".to_owned()])]);
        Settings { recipients: Vec::new(), store: Some("s3://b".to_owned()), options }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Settings::read(&empty()), Ok(Settings::default()));
        assert_eq!(Settings::read(&area(&some())), Ok(some()));
        assert_eq!(*area(&Settings::default()), empty());
        // What was baked in before is replaced as a whole.
        assert_eq!(Settings::default().write(&area(&some())).unwrap(), empty());
    }

    #[test]
    fn no_byte_can_be_other_unseen() {
        let whole = area(&some());
        for at in (MARK..200).chain([CAPACITY / 2, CAPACITY - 1]) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(Settings::read(&damaged), Err(Error::Damaged), "byte {at}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let with = |change: &dyn Fn(&mut Area)| {
            let mut other = area(&some());
            change(&mut other);
            let hash = hash(&*other);
            other[MARK..HASH].copy_from_slice(hash.as_bytes());
            Settings::read(&other)
        };
        assert_eq!(with(&|area| area[HASH + 3] = 2), Err(Error::Version(2)));
        assert!(matches!(with(&|area| area[HASH + 4] = 1), Err(Error::Contents(_))));
        assert!(matches!(with(&|area| area[TEXT] = b'x'), Err(Error::Contents(_))));
    }

    #[test]
    fn there_is_a_limit() {
        let store = Some("x".repeat(CAPACITY));
        let length = CAPACITY + r#"{"recipients":"","store":"","options":{}}"#.len();
        let long = Settings { store, ..Settings::default() };
        assert_eq!(long.write(&empty()), Err(Error::TooLong { length }));
    }

    #[test]
    fn the_place_must_be_the_only_one() {
        let area = area(&some());
        let with = |parts: &[&[u8]]| place_in(&parts.concat(), &area);
        assert_eq!(with(&[b"before", &*area, b"after"]), Some(6));
        assert_eq!(with(&[b"before", &area[..CAPACITY - 1]]), None);
        assert_eq!(with(&[&*area, mark(&area)]), None);
        assert_eq!(with(&[b"before", &empty()]), None);
        assert_eq!(with(&[]), None);
    }
}
