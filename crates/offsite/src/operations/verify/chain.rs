//! The chain of a set's receipts: each names the one before it, with its hash (format.md §14).

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::finding::What;
use crate::hashes::Sha256;
use crate::names::BackupId;
use crate::receipt::{Link, Previous};

/// A receipt's place in its chain.
pub(super) struct Linked {
    /// It itself, as it is stored.
    pub(super) own: Link,
    /// The one before it.
    pub(super) previous: Previous,
    /// Those between that one and this that may or may not be there.
    pub(super) unconfirmed: Vec<Link>,
}

/// What is wrong with the chain of a set, whose receipts are given by ascending id. A receipt from before
/// `kept_since` may have been removed by rule.
pub(super) fn check(receipts: &[Linked], kept_since: Option<OffsetDateTime>) -> Vec<What> {
    let stored: BTreeMap<BackupId, Sha256> =
        receipts.iter().map(|receipt| (receipt.own.backup, receipt.own.sha256)).collect();
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    for receipt in receipts {
        let next = receipt.own.backup;
        let previous = match &receipt.previous {
            Previous::Receipt(link) => Some((link, true)),
            Previous::None(_) => None,
        };
        let unconfirmed = receipt.unconfirmed.iter().map(|link| (link, false));
        for (link, must_be_there) in previous.into_iter().chain(unconfirmed) {
            let backup = link.backup;
            let may_be_gone = !must_be_there || kept_since.is_some_and(|since| backup.start() < since);
            let finding = match stored.get(&backup) {
                Some(sha256) if *sha256 == link.sha256 => continue,
                Some(_) => What::ReceiptReplaced { backup, next },
                None if may_be_gone => continue,
                None => What::ReceiptMissing { missing: backup, next },
            };
            if told.insert(backup) {
                findings.push(finding);
            }
        }
    }
    findings.extend(forks(receipts));
    findings
}

/// Receipts that several follow. One that is unconfirmed in another is of the same chain.
fn forks(receipts: &[Linked]) -> impl Iterator<Item = What> {
    let unconfirmed: BTreeSet<BackupId> =
        receipts.iter().flat_map(|receipt| receipt.unconfirmed.iter().map(|link| link.backup)).collect();
    let mut followers = BTreeMap::<BackupId, Vec<BackupId>>::new();
    for receipt in receipts.iter().filter(|receipt| !unconfirmed.contains(&receipt.own.backup)) {
        if let Previous::Receipt(previous) = &receipt.previous {
            followers.entry(previous.backup).or_default().push(receipt.own.backup);
        }
    }
    let several = followers.into_iter().filter(|(_, next)| next.len() > 1);
    several.map(|(previous, next)| What::Forked { previous, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::NoPrevious;

    fn link(number: u8) -> Link {
        let backup = format!("202601{number:02}T000000Z-00000000").parse().unwrap();
        Link { backup, sha256: Sha256::of(&[number]) }
    }

    fn linked(number: u8, previous: Option<u8>, unconfirmed: &[u8]) -> Linked {
        let none = Previous::None(NoPrevious::NoState);
        Linked {
            own: link(number),
            previous: previous.map_or(none, |previous| Previous::Receipt(link(previous))),
            unconfirmed: unconfirmed.iter().map(|number| link(*number)).collect(),
        }
    }

    fn found(receipts: &[Linked], kept_since: Option<u8>) -> Vec<String> {
        let since = kept_since.map(|number| link(number).backup.start());
        check(receipts, since).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_chain_without_a_gap_is_right() {
        let chain = [linked(1, None, &[]), linked(2, Some(1), &[]), linked(3, Some(2), &[])];
        assert_eq!(found(&chain, None), [""; 0]);
        // The state was lost, and a new chain begun.
        assert_eq!(found(&[linked(1, None, &[]), linked(2, None, &[])], None), [""; 0]);
    }

    #[test]
    fn what_is_unconfirmed_may_be_there_or_not() {
        let there = [linked(1, None, &[]), linked(2, Some(1), &[]), linked(3, Some(1), &[2])];
        assert_eq!(found(&there, None), [""; 0]);
        let gone = [linked(1, None, &[]), linked(3, Some(1), &[2])];
        assert_eq!(found(&gone, None), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_found_unless_a_rule_may_have_removed_it() {
        let chain = [linked(1, None, &[]), linked(3, Some(2), &[]), linked(4, Some(2), &[])];
        let missing =
            "the receipt of 20260102T000000Z-00000000 is gone, which that of 20260103T000000Z-00000000 follows";
        assert_eq!(found(&chain[..2], None), [missing]);
        assert_eq!(found(&chain[..2], Some(2)), [missing]);
        assert_eq!(found(&chain[..2], Some(3)), [""; 0]);
        // It is told once, and that the two make a fork besides.
        assert_eq!(found(&chain, None).len(), 2);
    }

    #[test]
    fn another_receipt_is_found() {
        let mut chain = [linked(1, None, &[]), linked(2, Some(1), &[]), linked(3, Some(1), &[2])];
        chain[0].own.sha256 = Sha256::of(b"another");
        let replaced =
            "the receipt of 20260101T000000Z-00000000 is not the one that that of 20260102T000000Z-00000000 follows";
        assert_eq!(found(&chain, None), [replaced]);
    }

    #[test]
    fn forks_are_found() {
        let chain = [linked(1, None, &[]), linked(2, Some(1), &[]), linked(3, Some(1), &[])];
        let forked = "several receipts follow that of 20260101T000000Z-00000000: \
             20260102T000000Z-00000000, 20260103T000000Z-00000000";
        assert_eq!(found(&chain, None), [forked]);
    }
}
