//! What earlier verifications have seen of each set, in a file of the operator's own: so that what vanishes
//! or becomes another is found, though nothing that is left in the store tells of it.
//!
//! A set's record moves forward along the chain of its receipts, and never otherwise unless somebody has
//! [accepted](Seen::accept) what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::finding::{Finding, FindingId, What};
use crate::as_text::{text, texts};
use crate::error::{Error, Result};
use crate::files::{self, Output};
use crate::hashes::{Fingerprint, Sha256};
use crate::names::{BackupId, HostName, SetName};
use crate::operations::backups::{Found, Scope};
use crate::pins::Pins;
use crate::receipt::{Link, Previous, Receipt, rfc_3339};

/// Longest file, in bytes: a hundred thousand sets.
const LONGEST: usize = 64 << 20;

/// The version of the file's form.
const VERSION: u32 = 1;

/// What earlier verifications have seen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    #[serde(rename = "offsite-seen")]
    version: u32,
    /// By host and set.
    sets: Vec<SeenSet>,
    /// What was found, and that nobody has accepted.
    open: Vec<Noted>,
    /// What was found, and that somebody has accepted.
    accepted: Vec<Noted>,
    /// The file as it was read; None where there was none.
    #[serde(skip)]
    file: Option<Sha256>,
}

/// The latest backup of a set, as it was seen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenSet {
    of: Of,
    #[serde(with = "text")]
    backup: BackupId,
    /// SHA-256 of its receipt.
    #[serde(with = "text")]
    receipt: Sha256,
    /// Who may sign the set's backups.
    #[serde(with = "texts")]
    signers: Vec<Fingerprint>,
    #[serde(with = "texts")]
    recipients: Vec<Fingerprint>,
}

/// A host and a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Of {
    #[serde(with = "text")]
    host: HostName,
    #[serde(with = "text")]
    set: SetName,
}

/// A finding.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    #[serde(with = "text")]
    id: FindingId,
    /// Of which set; None for an object that is of none.
    of: Option<Of>,
    text: String,
    /// When it was found first.
    since: String,
    /// The signer that was not trusted, if that is what was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    signer: Vec<Fingerprint>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { version: VERSION, sets: Vec::new(), open: Vec::new(), accepted: Vec::new(), file: None }
    }
}

impl Seen {
    /// Reads the file of an earlier verification; None where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::File`], [`Error::TooLong`]; [`Error::NotSeen`] where it is something else.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(contents) = read_file(path)? else { return Ok(None) };
        let failed = |problem: String| Error::NotSeen { path: path.to_path_buf(), problem };
        let mut seen: Self = serde_json::from_slice(&contents).map_err(|error| failed(error.to_string()))?;
        // As it was written, unless somebody has had a hand in it.
        seen.sets.sort_unstable_by(|one, other| one.of.cmp(&other.of));
        seen.file = Some(Sha256::of(&contents));
        match seen.version {
            VERSION => Ok(Some(seen)),
            version => Err(failed(format!("version {version} is not known"))),
        }
    }

    /// Writes it, durably, in place of what was there, which must be what was read: another verification may have
    /// seen more than this one.
    ///
    /// # Errors
    ///
    /// [`Error::SeenMeanwhile`]; [`Error::TooLong`] where it could not be read again; [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<()> {
        if read_file(path)?.as_deref().map(Sha256::of) != self.file {
            return Err(Error::SeenMeanwhile(path.to_path_buf()));
        }
        // Strings and numbers: nothing that JSON could refuse.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        if text.len() > LONGEST {
            return Err(Error::TooLong { path: path.to_path_buf(), limit: LONGEST });
        }
        let mut output = Output::replace_secret(path)?;
        output.write_all(&text).map_err(Error::file("write", path))?;
        output.finish()
    }

    /// A finding of an earlier verification is known and dealt with. It is told no more, and what it says has
    /// become another is taken as it is now; a signer is trusted.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchFinding`].
    pub fn accept(&mut self, id: FindingId) -> Result<()> {
        let position = self.open.iter().position(|noted| noted.id == id).ok_or(Error::NoSuchFinding(id.to_string()))?;
        let noted = self.open.remove(position);
        // A signer is trusted for a host.
        if let Some(set) = self.sets.iter_mut().find(|set| noted.of.as_ref().is_some_and(|of| of.host == set.of.host)) {
            set.signers.extend(&noted.signer);
        }
        self.accepted.push(noted);
        Ok(())
    }

    /// As [`Seen::accept`], all of them.
    pub fn accept_all(&mut self) {
        for id in self.open.iter().map(|noted| noted.id).collect::<Vec<_>>() {
            // It is there.
            let _ = self.accept(id);
        }
    }

    /// Whom to trust for this host, where nobody else says so: who signed what was seen of it.
    pub(super) fn pins(&self, host: &HostName) -> Pins {
        let mut pins = Pins::default();
        let first = self.sets.partition_point(|set| set.of.host < *host);
        for set in self.sets[first..].iter().take_while(|set| set.of.host == *host) {
            set.signers.iter().for_each(|signer| pins.add(host, *signer));
        }
        pins
    }

    /// Whether a set was seen.
    pub(super) fn has(&self, host: &HostName, set: &SetName) -> bool {
        self.sets.binary_search_by(|seen| (&seen.of.host, &seen.of.set).cmp(&(host, set))).is_ok()
    }

    /// Compares a set's backups with what was seen, and takes the latest up unless something is found that
    /// nobody has accepted. A backup from before `kept_since` may have been removed by rule.
    pub(super) fn compare(
        &mut self,
        counting: &[(Found, Receipt)],
        latest: &(Found, Receipt),
        kept_since: Option<OffsetDateTime>,
    ) -> Vec<What> {
        let (found, receipt) = latest;
        let of = Of { host: found.name.host.clone(), set: found.name.set.clone() };
        let position = self.sets.binary_search_by(|set| set.of.cmp(&of));
        let mut findings = Vec::new();
        let mut signers = vec![found.signer];
        if let Some(set) = position.ok().and_then(|position| self.sets.get(position)) {
            let may_be_gone = |backup: BackupId| kept_since.is_some_and(|since| backup.start() < since);
            findings.extend(set.moved(counting, receipt, &may_be_gone));
            findings.extend(set.recipients_changed(counting, receipt));
            signers.extend(set.signers.iter().filter(|signer| **signer != found.signer));
        }
        let pair = (of.host.clone(), of.set.clone());
        if !findings.iter().all(|what| find(&self.accepted, FindingId::of(Some(&pair), what)).is_some()) {
            return findings;
        }
        let recipients = receipt.recipients.clone();
        let seen = SeenSet { of, backup: receipt.backup, receipt: found.receipt.sha256, signers, recipients };
        match position {
            Ok(position) => self.sets[position] = seen,
            Err(position) => self.sets.insert(position, seen),
        }
        findings
    }

    /// The sets in the scope that were seen, and of which there is nothing now. Those of which that is accepted are
    /// forgotten.
    pub(super) fn gone(&mut self, scope: &Scope, is_there: &dyn Fn(&HostName, &SetName) -> bool) -> Vec<Finding> {
        let mut gone = Vec::new();
        self.sets.retain(|set| {
            let Of { host, set: name } = &set.of;
            if !scope.has(host, name) || is_there(host, name) {
                return true;
            }
            let what = What::SetGone { last: set.backup };
            let finding = Finding { of: Some((host.clone(), name.clone())), what };
            let is_accepted = find(&self.accepted, finding.id()).is_some();
            gone.push(finding);
            !is_accepted
        });
        gone
    }

    /// Leaves only those findings that are to be told, adds those of earlier that nobody has accepted, and notes
    /// them all.
    pub(super) fn settle(&mut self, scope: &Scope, now: OffsetDateTime, findings: &mut Vec<Finding>) {
        let now_found: BTreeSet<FindingId> = findings.iter().map(Finding::id).collect();
        let in_scope = |noted: &Noted| match &noted.of {
            Some(of) => scope.has(&of.host, &of.set),
            // Of no set: whether it would have been found only a look at everything tells.
            None => *scope == Scope::default() || now_found.contains(&noted.id),
        };
        let (known, elsewhere): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(in_scope);
        let mut known: BTreeMap<FindingId, Noted> = known.into_iter().map(|noted| (noted.id, noted)).collect();
        let (accepted, accepted_elsewhere): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.accepted).into_iter().partition(in_scope);
        (self.open, self.accepted) = (elsewhere, accepted_elsewhere);
        findings.retain(|finding| {
            if !finding.what.stays() {
                return true;
            }
            let id = finding.id();
            if let Some(noted) = find(&accepted, id) {
                self.accepted.push(noted.clone());
                return finding.what.harms_the_latest();
            }
            let text = finding.to_string();
            let since = known.remove(&id).map_or_else(|| rfc_3339(now), |noted| noted.since);
            let signer = finding.what.distrusted().into_iter().collect();
            self.open.push(Noted { id, of: of(finding), text, since, signer });
            true
        });
        for noted in known.into_values() {
            let pair = noted.of.clone().map(|of| (of.host, of.set));
            let what = What::Earlier { id: noted.id, text: noted.text.clone(), since: noted.since.clone() };
            findings.push(Finding { of: pair, what });
            self.open.push(noted);
        }
    }
}

/// What the file holds; None where there is none.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match files::read_at_most(path, LONGEST) {
        Ok(contents) => Ok(Some(contents)),
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn find(noted: &[Noted], id: FindingId) -> Option<&Noted> {
    noted.iter().find(|noted| noted.id == id)
}

fn of(finding: &Finding) -> Option<Of> {
    finding.of.clone().map(|(host, set)| Of { host, set })
}

impl SeenSet {
    /// That the latest backup is not this one, nor follows it.
    fn moved(
        &self,
        counting: &[(Found, Receipt)],
        latest: &Receipt,
        may_be_gone: &dyn Fn(BackupId) -> bool,
    ) -> Option<What> {
        let counting: BTreeMap<BackupId, &(Found, Receipt)> =
            counting.iter().map(|backup| (backup.1.backup, backup)).collect();
        match counting.get(&self.backup) {
            Some((found, _)) if found.receipt.sha256 != self.receipt => {
                return Some(What::ReceiptChanged { backup: self.backup });
            }
            None if !may_be_gone(self.backup) => return Some(What::LastSeenGone { backup: self.backup }),
            _ => {}
        }
        let mut receipt = latest;
        // Ids may go in a circle, though the hashes beside them cannot.
        let mut passed = BTreeSet::new();
        while passed.insert(receipt.backup) {
            if receipt.backup == self.backup || receipt.unconfirmed.iter().any(|link| link.backup == self.backup) {
                return None;
            }
            let Previous::Receipt(Link { backup: before, .. }) = receipt.previous else { break };
            match counting.get(&before) {
                Some((_, previous)) => receipt = previous,
                // What a rule may have removed, and comes after it, may have followed it.
                None if before == self.backup || before > self.backup && may_be_gone(before) => return None,
                None => break,
            }
        }
        Some(What::NotFollowing { backup: latest.backup, last: self.backup })
    }

    /// The backups since, and the latest, that are sealed to others than that one; each change once.
    fn recipients_changed<'r>(
        &'r self,
        counting: &'r [(Found, Receipt)],
        latest: &'r Receipt,
    ) -> impl Iterator<Item = What> + 'r {
        let since = counting.iter().map(|(_, receipt)| receipt).filter(|receipt| receipt.backup > self.backup);
        let mut told = BTreeSet::new();
        let changed = since
            .chain([latest])
            .filter(move |receipt| receipt.recipients != self.recipients && told.insert(&receipt.recipients));
        let lacking = |these: &[Fingerprint], those: &[Fingerprint]| {
            these.iter().filter(|one| !those.contains(one)).copied().collect()
        };
        changed.map(move |receipt| What::RecipientsChanged {
            backup: receipt.backup,
            added: lacking(&receipt.recipients, &self.recipients),
            removed: lacking(&self.recipients, &receipt.recipients),
        })
    }
}
