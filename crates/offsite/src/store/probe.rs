//! What may be done to a store, tried.

use time::Duration;

use super::{Result, StoreId};
use crate::names::HostName;

/// May try everything, on objects of its own: their names have a component `.doctor`, which no
/// [`ObjectName`](crate::names::ObjectName) has, so that everything else passes over them.
pub trait Probe: Send + Sync {
    /// What can be tried here, in the order that makes sense of it: to put comes first, to delete last.
    fn powers(&self) -> &'static [Power];

    /// Tries it once. `Ok` says that it worked.
    ///
    /// # Errors
    ///
    /// What the store answered.
    fn attempt(&self, power: Power) -> Result<()>;

    /// Whether the store told that it keeps every version of what has been put.
    fn keeps_versions(&self) -> bool;

    /// How far the store's clock is ahead of this machine's; None where it told no time.
    fn clock_ahead(&self) -> Option<Duration>;

    /// Deletes what was put, as far as that is allowed; the names of what stays.
    fn clean(&self) -> Vec<String>;
}

/// Something that may be done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Power {
    /// To put an object among this host's data, as a backup does.
    Put,
    /// To put one among this host's receipts, as a backup does.
    PutReceipt,
    /// To put an object under a name that is taken, on condition that it is free.
    PutAgain,
    /// To put an object under a name that is taken, without a condition.
    Overwrite,
    /// To get an object.
    Get,
    /// To ask for an object's size and time.
    Head,
    /// To list this host's objects.
    List,
    /// To list all of the bucket.
    ListAll,
    /// To list the versions of this host's objects.
    ListVersions,
    /// To put an object among another host's data.
    PutElsewhere,
    /// To put one among another host's receipts.
    PutReceiptElsewhere,
    /// To delete an object; where versions are kept, to hide it.
    Delete,
    /// To delete a version of an object for good.
    DeleteVersion,
}

impl Power {
    /// Everything that may be done to a bucket, a put of a name that is taken first.
    pub(super) const OF_BUCKETS: [Self; 13] = [
        Self::Put,
        Self::PutReceipt,
        Self::PutAgain,
        Self::Overwrite,
        Self::Get,
        Self::Head,
        Self::List,
        Self::ListAll,
        Self::ListVersions,
        Self::PutElsewhere,
        Self::PutReceiptElsewhere,
        Self::Delete,
        Self::DeleteVersion,
    ];

    /// What is worth trying in a directory, whose owner may do anything.
    pub(super) const OF_DIRECTORIES: [Self; 3] = [Self::Put, Self::PutReceipt, Self::PutAgain];
}

/// What a probe's objects hold.
pub(super) const BYTES: &[u8] = b"tried by offsite doctor\n";

/// The names of a probe's objects.
pub(super) struct Names {
    /// Among this host's data.
    pub(super) data: String,
    /// Among this host's receipts.
    pub(super) receipt: String,
    /// Among the data of a host whose name begins with this one's: a policy that ends in `data/HOST*`
    /// instead of `data/HOST/*` lets that through.
    pub(super) other_data: String,
    /// Among that host's receipts.
    pub(super) other_receipt: String,
    /// The folder of this host's data, with its slash.
    pub(super) own: String,
}

impl Names {
    pub(super) fn new(host: &HostName, random: StoreId) -> Self {
        let name = |top: &str, host: &str| format!("{top}/{host}/.doctor/{random}");
        let other = format!("{host}-other");
        Self {
            data: name("data", host.as_str()),
            receipt: name("receipts", host.as_str()),
            other_data: name("data", &other),
            other_receipt: name("receipts", &other),
            own: format!("data/{host}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Folder, ObjectName};

    #[test]
    fn no_object_has_a_name_of_a_probe() {
        let names = Names::new(&"here".parse().unwrap(), StoreId::new([7; 16]));
        assert!(names.data.starts_with(&names.own));
        for name in [names.data, names.receipt, names.other_data, names.other_receipt] {
            assert!(name.parse::<ObjectName>().is_err(), "{name}");
            let (folder, _) = name.rsplit_once('/').unwrap();
            assert!(folder.parse::<Folder>().is_err(), "{folder}");
        }
    }
}
