//! Which chains of indexes are read, so that each backup's index is.

use std::collections::HashMap;

use crate::hashes::Sha256;
use crate::operations::backups::index_chain;
use crate::receipt::Receipt;

/// A chain that is to be read, as the last of its backups has it.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The backups that are told by it, each with the level of its index: oldest first.
    pub(super) backups: Vec<(usize, usize)>,
}

/// Puts backups together whose indexes are those of one chain.
#[derive(Default)]
pub(super) struct Chains {
    chains: Vec<Chain>,
    /// The chain that ends with an index of this hash; that is a hash of all of the chain.
    ends: HashMap<Sha256, usize>,
}

impl Chains {
    /// Takes the backup of this number and receipt; they come by ascending id, and what a backup builds on has a lower
    /// one. It goes on with the longest chain that its own begins with. Only receipts that say the same of all objects
    /// of an index share it.
    pub(super) fn take(&mut self, number: usize, receipt: &Receipt) {
        let mut hash = Vec::new();
        let indexes = index_chain(receipt).into_iter().map(|(backup, objects)| {
            hash.extend_from_slice(&backup.to_bytes());
            for object in objects {
                hash.extend_from_slice(&object.size.to_be_bytes());
                hash.extend_from_slice(object.sha256.as_bytes());
            }
            let all = Sha256::of(&hash);
            hash = all.as_bytes().to_vec();
            all
        });
        let indexes: Vec<Sha256> = indexes.collect();
        let Some((own, builds_on)) = indexes.split_last() else { return };
        let goes_on = builds_on.iter().rev().find_map(|index| self.ends.remove(index));
        let chain = goes_on.unwrap_or_else(|| {
            self.chains.push(Chain::default());
            self.chains.len() - 1
        });
        self.chains[chain].backups.push((builds_on.len(), number));
        self.ends.insert(*own, chain);
    }

    pub(super) fn into_chains(self) -> Vec<Chain> {
        self.chains
    }
}
