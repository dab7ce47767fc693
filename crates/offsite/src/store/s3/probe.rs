//! What may be done to a bucket, tried: each power by the request that a thief of the credential would send.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use opendal_core::options::{ListOptions, StatOptions};
use time::Duration;

use super::Bucket;
use crate::store::pace::Pace;
use crate::store::probe::{BYTES, Names};
use crate::store::{Power, Probe, Reason, Result, S3Location};

/// Tries what may be done to a bucket.
pub(in crate::store) struct S3Probe {
    bucket: Bucket,
    names: Names,
    put: Mutex<Vec<Version>>,
}

/// Something that was put.
#[derive(Clone)]
struct Version {
    object: String,
    id: Option<String>,
}

impl S3Probe {
    pub(in crate::store) fn open(location: &S3Location, names: Names) -> Result<Self> {
        let bucket = Bucket::open(location, Pace::new(None))?;
        Ok(Self { bucket, names, put: Mutex::default() })
    }

    fn all_put(&self) -> MutexGuard<'_, Vec<Version>> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, object: &str, if_not_exists: bool) -> Result<(), Reason> {
        let id = self.bucket.wait(self.bucket.put(object, Bytes::from_static(BYTES), if_not_exists))?;
        self.all_put().push(Version { object: object.to_owned(), id });
        Ok(())
    }

    /// Asks for the first key of a list, whatever prefix the store has.
    fn list(&self, start: &str, versions: bool) -> Result<(), Reason> {
        let options = ListOptions { recursive: true, versions, limit: Some(1), ..ListOptions::default() };
        let operator = &self.bucket.operator;
        self.bucket.wait(async { operator.lister_options(start, options).await?.next().await.transpose().map(drop) })
    }

    /// The version of this host's object that was put last.
    fn last_version(&self) -> Result<Version, Reason> {
        let all = self.all_put();
        let own = all.iter().rfind(|put| put.object == self.names.data && put.id.is_some());
        own.cloned().ok_or(Reason::NoVersions)
    }

    fn delete_version(&self) -> Result<(), Reason> {
        let Version { object, id } = self.last_version()?;
        self.bucket.delete(&object, id)
    }

    /// Deletes every version of an object and every mark that hides it; where these are not shown, what
    /// was put.
    fn remove(&self, put: &Version) -> Result<(), Reason> {
        match self.bucket.versions(&put.object, None, true) {
            Ok(all) => all.into_iter().try_for_each(|version| self.bucket.delete(&put.object, version.id)),
            Err(_) => self.bucket.delete(&put.object, put.id.clone()),
        }
    }
}

impl Probe for S3Probe {
    fn powers(&self) -> &'static [Power] {
        &Power::OF_BUCKETS
    }

    fn attempt(&self, power: Power) -> Result<()> {
        let Names { data, receipt, other_data, other_receipt, own } = &self.names;
        let conditional = self.bucket.conditional;
        let (action, object, tried) = match power {
            Power::Put => ("put", data, self.put(data, conditional)),
            Power::PutReceipt => ("put", receipt, self.put(receipt, conditional)),
            Power::PutAgain => ("put", data, self.put(data, true)),
            Power::Overwrite => ("put", data, self.put(data, false)),
            Power::Get => ("get", data, self.bucket.get(data, None, BYTES.len(), Vec::new()).map(drop)),
            Power::Head => {
                let key = self.bucket.key(data);
                let head = self.bucket.operator.stat_options(&key, StatOptions::default());
                ("ask for", data, self.bucket.wait(head).map(drop))
            }
            Power::List => ("list", own, self.list(&self.bucket.key(own), false)),
            Power::ListAll => ("list", own, self.list("", false)),
            Power::ListVersions => ("list", own, self.list(&self.bucket.key(own), true)),
            Power::PutElsewhere => ("put", other_data, self.put(other_data, conditional)),
            Power::PutReceiptElsewhere => ("put", other_receipt, self.put(other_receipt, conditional)),
            Power::Delete => ("delete", data, self.bucket.delete(data, None)),
            Power::DeleteVersion => ("delete", data, self.delete_version()),
        };
        tried.map_err(|reason| self.bucket.failed(action, object, reason))
    }

    fn keeps_versions(&self) -> bool {
        self.last_version().is_ok()
    }

    fn clock_ahead(&self) -> Option<Duration> {
        self.bucket.ahead.get()
    }

    fn clean(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.all_put());
        let stay: BTreeSet<String> =
            all.into_iter().filter(|put| self.remove(put).is_err()).map(|put| put.object).collect();
        stay.into_iter().collect()
    }
}
