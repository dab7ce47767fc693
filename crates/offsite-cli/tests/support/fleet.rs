//! A store of very many hosts: receipts that are signed and chained as a host's are, and beside them what they
//! list, as far as whoever has no key looks at it. Slices are holes of the right length.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use offsite::checksums;
use offsite::cms::keygen::{KeyType, NewKey, Purpose};
use offsite::cms::signed_data::SigningKey;
use offsite::hashes::{Fingerprint, Hashed, Sha256};
use offsite::names::{BackupFile, BackupId, BackupName};
use offsite::receipt::{self, Counts, Given, Link, NoPrevious, Object, Previous, Receipt};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::folder;

/// Below one folder: `store` and `signers`.
pub(crate) struct Fleet {
    folder: TempDir,
    signer: SigningKey,
    recipients: Vec<NewKey>,
    /// Objects that are the same in all backups.
    same: Vec<Object>,
    pub(crate) now: OffsetDateTime,
}

/// A backup to be.
pub(crate) struct Night {
    pub(crate) start: OffsetDateTime,
    /// Bytes that it holds.
    pub(crate) bytes: u64,
    /// Bytes that it puts.
    pub(crate) stored: u64,
    pub(crate) errors: u64,
}

impl Fleet {
    /// Without any host, for recipients of these names whose certificates end in so many days.
    pub(crate) fn new(recipients: &[(&str, u32)]) -> Self {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        let made = now - Duration::days(1000);
        let key = |(name, days): &(&str, u32)| {
            NewKey::generate(KeyType::P256, Purpose::Encryption, name, made, days + 1000).unwrap()
        };
        let mut recipients: Vec<NewKey> = recipients.iter().map(key).collect();
        recipients.sort_by_key(|key| Fingerprint::of(key.certificate()));
        let (signer, _) = SigningKey::generate("fleet", made, 36_500).unwrap();
        // Very many small files, of which most disks make only some thousand a second.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| folder());
        let pem: String = recipients.iter().map(|key| key.certificate().to_pem()).collect();
        let same = [
            (BackupFile::Index(0), "an index"),
            (BackupFile::Plan(0), "a plan"),
            (BackupFile::Recipients, &pem),
            (BackupFile::Recover, "what this is"),
        ];
        let same = same.map(|(file, text)| {
            fs::write(folder.path().join(file.to_string()), text).unwrap();
            Object { file, contents: Hashed::of(text.as_bytes()) }
        });
        let fleet = Self { folder, signer, recipients, same: same.to_vec(), now };
        fs::create_dir(fleet.path("signers")).unwrap();
        fleet
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn offsite(&self, line: &str) -> std::process::Command {
        let mut command = super::offsite(line);
        command.env_remove("OFFSITE_SIGNERS").env("OFFSITE_STORE", self.path("store"));
        command.current_dir(self.folder.path());
        command
    }

    /// So many nights of a host, the last one some hours ago.
    pub(crate) fn nights(&self, host: usize, nights: u32) -> Vec<Night> {
        let mut random = host as u64 + 1;
        let mut bytes = (1 << 28) * (1 + host as u64 % 40);
        let minutes = i64::try_from(90 + host * 7 % 240).unwrap();
        let night = |ago: u32| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let change = 1 + (random >> 40) % (bytes / 200);
            bytes += change / 3;
            let is_first = ago == nights - 1;
            Night {
                start: self.now - Duration::days(ago.into()) - Duration::minutes(minutes),
                bytes,
                stored: if is_first { bytes / 2 } else { change / 2 },
                errors: 0,
            }
        };
        (0..nights).rev().map(night).collect()
    }

    /// Puts the backups of a set, and pins its signer.
    pub(crate) fn put(&self, host: &str, set: &str, nights: &[Night]) -> Vec<BackupName> {
        let pin = self.path("signers").join(format!("{host}.pem"));
        fs::write(pin, self.signer.certificate().to_pem()).unwrap();
        let mut previous = Previous::None(NoPrevious::NoState);
        let mut names = Vec::new();
        for (number, night) in (0_u32..).zip(nights) {
            let backup = BackupId::new(night.start, number.to_be_bytes());
            let name = BackupName { host: host.parse().unwrap(), set: set.parse().unwrap(), backup };
            let sha256 = self.backup(&name, night, previous);
            previous = Previous::Receipt(Link { backup, sha256 });
            names.push(name);
        }
        names
    }

    fn backup(&self, name: &BackupName, night: &Night, previous: Previous) -> Sha256 {
        let data = self.path("store/data").join(name.to_string());
        fs::create_dir_all(&data).unwrap();
        let (slices, slice_bytes, list) = put_slices(&data, night.stored.max(1));
        let checksums = Object { file: BackupFile::Checksums, contents: Hashed::of(&list) };
        fs::write(data.join(checksums.file.to_string()), &list).unwrap();
        let same = self.same.iter().map(|same| {
            let file = same.file.to_string();
            fs::hard_link(self.path(&file), data.join(&file)).unwrap();
            *same
        });
        let objects = std::iter::once(checksums).chain(same).collect();
        let end = night.start + Duration::minutes(4);
        let receipt = Receipt {
            host: name.host.clone(),
            set: name.set.clone(),
            backup: name.backup,
            end,
            program: "offsite 0.1.0".to_owned(),
            given: Given::Files,
            counts: Counts {
                files: night.bytes / 20_000,
                folders: night.bytes / 300_000,
                others: 12,
                bytes: night.bytes,
                errors: night.errors,
            },
            previous,
            unconfirmed: Vec::new(),
            reuse_for: 90 * 86_400,
            recipients: self.recipients.iter().map(|key| Fingerprint::of(key.certificate())).collect(),
            slices,
            slice_bytes,
            objects,
            index_chain: Vec::new(),
            runs: Vec::new(),
            signer: self.signer.certificate().clone(),
        };
        let message = receipt::sign(&receipt, &self.signer).unwrap();
        let path = self.path("store").join(name.receipt().as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &message).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(end.into()).unwrap();
        Sha256::of(&message)
    }
}

/// Slices of at most 512 MiB, and the list of them.
fn put_slices(data: &Path, stored: u64) -> (u64, u64, Vec<u8>) {
    let most = receipt::limits::OBJECT;
    let mut list = checksums::Writer::new(Vec::new());
    let (mut left, mut slices) = (stored, 0);
    while left > 0 {
        let size = left.min(most);
        File::create(data.join(format!("slice-{slices:08}.p7m"))).unwrap().set_len(size).unwrap();
        list.slice(size, Sha256::of(&[0])).unwrap();
        (left, slices) = (left - size, slices + 1);
    }
    (slices, stored, list.end())
}
