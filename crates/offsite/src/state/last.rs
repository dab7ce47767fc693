//! What a state says of the last backup as a whole: the file `last`; and of a run that goes on: `run` in
//! its folder. Both are a line of JSON, and a line with its BLAKE3.

use std::fmt::{self, Display, Formatter};
use std::io;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blocks::damaged;
use crate::as_text::{text, texts};
use crate::hashes::{Fingerprint, Hashed, Sha256};
use crate::index::{Place, order};
use crate::names::BackupId;

/// Longest file of either kind, in bytes: thousands of runs with as many recipients as may be.
pub(super) const LONGEST: usize = 64 << 20;

/// What a set is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    /// These paths, absolute and as text, in ascending order.
    Paths(Vec<String>),
    /// Paths from a list.
    List,
    /// A stream of this name.
    Stream(String),
}

impl Display for Given {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paths(paths) => f.write_str(&paths.join(" ")),
            Self::List => f.write_str("the paths of a list"),
            Self::Stream(name) => write!(f, "the stream {name}"),
        }
    }
}

/// A run, and whom all of its objects are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The run.
    #[serde(with = "text")]
    pub backup: BackupId,
    /// Whom everything was sealed to, in ascending order.
    #[serde(with = "texts")]
    pub recipients: Vec<Fingerprint>,
}

/// What has to be known of a run to go on from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The version of the files' form.
    version: u32,
    /// The run itself.
    pub run: Run,
    /// What the set is of.
    pub given: Given,
    /// What tells the machine from others.
    pub machine: String,
    /// The key of the hashes of chunks.
    pub key: [u8; 32],
}

impl Begun {
    /// A run that begins now.
    pub(crate) fn new(run: Run, given: Given, machine: String, key: [u8; 32]) -> Self {
        Self { version: VERSION, run, given, machine, key }
    }
}

const VERSION: u32 = 1;

/// An earlier run of which slices may be used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRun {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its `slices.sha256`.
    #[serde(with = "hashed")]
    pub checksums: Hashed,
}

/// An index that a delta can be based on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIndex {
    /// The run that put it.
    #[serde(flatten)]
    pub run: Run,
    /// Its objects.
    #[serde(with = "hasheds")]
    pub objects: Vec<Hashed>,
}

/// A file of sorted records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// How many.
    pub records: u64,
    /// BLAKE3 of the file.
    pub hash: [u8; 32],
}

/// What is known of the last backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The last run.
    pub begun: Begun,
    /// The folder with `entries` and the tables.
    pub folder: String,
    /// The frame that ends the tar.
    #[serde(with = "place")]
    pub end: Option<Place>,
    /// The runs that `frames` refers to, oldest first.
    pub runs: Vec<KnownRun>,
    /// The indexes that a delta can be based on, the full one first. None where the next must be full.
    pub chain: Vec<KnownIndex>,
    /// Length of `entries` in bytes.
    pub entries: u64,
    /// The frames that anything live lies in.
    pub frames: TableFile,
    /// The chunks among them.
    pub chunks: TableFile,
    /// The slices that they lie in.
    pub slices: TableFile,
}

/// The text of either.
pub(super) fn to_text<T: Serialize>(what: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    let hash = blake3::hash(&text);
    text.extend_from_slice(format!("\n{hash}\n").as_bytes());
    text
}

/// Reads either.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] where it is damaged, or of another version.
pub(super) fn parse<T: DeserializeOwned + AsRef<Begun>>(text: &[u8]) -> io::Result<T> {
    let (json, hash) = text.split_at_checked(text.len().saturating_sub(66)).ok_or_else(damaged)?;
    if hash != format!("\n{}\n", blake3::hash(json)).as_bytes() {
        return Err(damaged());
    }
    let what: T = serde_json::from_slice(json).map_err(io::Error::other)?;
    if what.as_ref().version == VERSION { Ok(what) } else { Err(damaged()) }
}

impl AsRef<Begun> for Begun {
    fn as_ref(&self) -> &Begun {
        self
    }
}

impl AsRef<Begun> for Last {
    fn as_ref(&self) -> &Begun {
        &self.begun
    }
}

/// What an object is: its size and its SHA-256.
mod hashed {
    use super::*;

    pub(super) fn serialize<S: Serializer>(what: &Hashed, to: S) -> Result<S::Ok, S::Error> {
        (what.size, what.sha256.as_bytes()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hashed, D::Error> {
        let (size, sha256) = <(u64, [u8; 32])>::deserialize(from)?;
        Ok(Hashed { size, sha256: Sha256::from(sha256) })
    }
}

/// What several objects are.
mod hasheds {
    use super::*;

    pub(super) fn serialize<S: Serializer>(what: &[Hashed], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(what.iter().map(|one| (one.size, one.sha256.as_bytes())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hashed>, D::Error> {
        let all = Vec::<(u64, [u8; 32])>::deserialize(from)?;
        Ok(all.into_iter().map(|(size, sha256)| Hashed { size, sha256: Sha256::from(sha256) }).collect())
    }
}

/// A place, as the bytes that it is sorted by.
mod place {
    use super::*;

    pub(super) fn serialize<S: Serializer>(what: &Option<Place>, to: S) -> Result<S::Ok, S::Error> {
        what.as_ref().map(|place| order::encode(place).to_vec()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Place>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(from)?;
        let is_place = bytes.as_ref().is_none_or(|bytes| bytes.len() == order::PLACE);
        if is_place { Ok(bytes.map(|bytes| order::decode(&bytes))) } else { Err(D::Error::custom("no place")) }
    }
}
