//! Which signers are trusted, and for which host. A valid signature says that somebody signed;
//! only a pin says who may.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use offsite_cms::Certificate;

use crate::error::{Error, PinProblem, Result};
use crate::files;
use crate::hashes::Fingerprint;
use crate::names::HostName;

/// What the pins say of a signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is pinned for this host.
    Pinned,
    /// There are pins, and this signer is not among those of this host.
    NotPinned,
    /// Nothing is pinned at all: who signed is not proven.
    NoPins,
}

/// The signers that are trusted, each for one host. Certificates are told by their fingerprints
/// alone, never by names.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// Whether any were asked for. A folder without certificates trusts nobody.
    given: bool,
    /// A folder that was read, which should have a file for every host.
    folder: Option<PathBuf>,
    signers: BTreeMap<HostName, BTreeSet<Fingerprint>>,
}

impl Pins {
    /// Reads values of `--signer`:
    ///
    /// - `sha256:` and a fingerprint, for `host`;
    /// - a file of one or more certificates, for `host`;
    /// - a folder of such files, each `<host>.pem` for its own host; what does not end with `.pem` or
    ///   begins with a dot is passed over.
    ///
    /// `host` is the one host at hand: a host's signer must not speak for another.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] where a value pins nothing, nothing is pinned for the host at hand, or there is none;
    /// [`Error::File`], [`Error::TooLarge`], [`Error::Cms`] where one cannot be read.
    pub fn read<'a>(values: impl IntoIterator<Item = &'a OsStr>, host: Option<&HostName>) -> Result<Self> {
        let mut pins = Self::default();
        for value in values {
            pins.given = true;
            let path = Path::new(value);
            let one_host = || host.ok_or(pin(path, PinProblem::NoHost));
            let bytes = value.as_encoded_bytes();
            let is_bare = bytes.len() == 64 && bytes.iter().all(u8::is_ascii_hexdigit) && !path.exists();
            if is_bare || bytes.starts_with(b"sha256:") {
                let fingerprint = value.to_str().and_then(|text| Fingerprint::from_people(text).ok());
                pins.add(one_host()?, fingerprint.ok_or_else(|| pin(path, PinProblem::NotAFingerprint))?);
            } else if fs::metadata(path).map_err(Error::file("read", path))?.is_dir() {
                pins.read_folder(path)?;
            } else {
                pins.read_file(path, one_host()?)?;
            }
        }
        match host {
            Some(host) => pins.require(host).map(|()| pins),
            None => Ok(pins),
        }
    }

    /// Sees to it that a folder of pins, if one was read, has a file for the host at hand: otherwise none of its
    /// backups would be trusted.
    pub(crate) fn require(&self, host: &HostName) -> Result<()> {
        match &self.folder {
            Some(folder) if !self.signers.contains_key(host) => Err(pin(folder, PinProblem::Missing(host.clone()))),
            _ => Ok(()),
        }
    }

    /// Trusts a signer for a host.
    pub fn add(&mut self, host: &HostName, signer: Fingerprint) {
        self.given = true;
        self.signers.entry(host.clone()).or_default().insert(signer);
    }

    /// Whether nothing is pinned at all, so that no signer is proven.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.given
    }

    /// What the pins say of this signer of this host's backups.
    #[must_use]
    pub fn check(&self, host: &HostName, signer: &Certificate) -> Verdict {
        let pinned = self.signers.get(host).is_some_and(|signers| signers.contains(&Fingerprint::of(signer)));
        match (pinned, self.given) {
            (true, _) => Verdict::Pinned,
            (false, true) => Verdict::NotPinned,
            (false, false) => Verdict::NoPins,
        }
    }

    fn read_folder(&mut self, folder: &Path) -> Result<()> {
        self.folder = Some(folder.to_path_buf());
        let failed = Error::file("read", folder);
        for entry in fs::read_dir(folder).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if name.starts_with(b".") || !name.ends_with(b".pem") {
                continue;
            }
            let host = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
            self.read_file(&path, &host.ok_or_else(|| pin(&path, PinProblem::NotAHost))?)?;
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path, host: &HostName) -> Result<()> {
        let contents = files::read_key_file(path)?;
        let failed = Error::cms(Some(path));
        let mut certificates = Certificate::all_from_file(&contents).map_err(&failed)?;
        if certificates.is_empty() {
            // DER, or an error that says why not.
            certificates.push(Certificate::from_file(&contents).map_err(&failed)?);
        }
        for certificate in certificates {
            // No other key signs receipts: this is a recipient's, most likely.
            if certificate.key_kind() != "P-256" {
                return Err(pin(path, PinProblem::NotASigner { kind: certificate.key_kind() }));
            }
            self.add(host, Fingerprint::of(&certificate));
        }
        Ok(())
    }
}

fn pin(value: &Path, problem: PinProblem) -> Error {
    Error::Pin { value: value.to_path_buf(), problem }
}
