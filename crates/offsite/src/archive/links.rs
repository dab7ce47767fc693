//! Hard links: which of an inode's names carries its content.

use std::collections::HashMap;

use crate::archive::metadata::Metadata;

/// What an entry is among the names of its inode.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no other role")]
pub enum Role {
    /// The only name, or a folder.
    Alone,
    /// The first name in the order of the walk, which carries the content.
    Leader,
    /// A later name: a link to the archive path of the leader.
    Follower(Vec<u8>),
}

/// The inodes of which more names may come. An inode is forgotten with its last name.
#[derive(Debug, Default)]
pub struct HardLinks(HashMap<(u64, u64), Group>);

#[derive(Debug)]
struct Group {
    leader: Vec<u8>,
    metadata: Metadata,
    to_come: u32,
}

impl Group {
    /// Whether an inode of the same number is the leader's, and not one that came after it: where
    /// the file system tells when an inode was made, that decides.
    fn is_of(&self, metadata: &Metadata) -> bool {
        let Metadata { kind, size, modified, born, .. } = &self.metadata;
        let same = (*kind, *size, *modified) == (metadata.kind, metadata.size, metadata.modified);
        *kind == metadata.kind && *born == metadata.born && (born.is_some() || same)
    }
}

impl HardLinks {
    /// The role of the next entry. Entries are asked about once, in the order of the walk.
    pub fn role(&mut self, path: &[u8], metadata: &Metadata) -> Role {
        if metadata.links < 2 || metadata.is_folder() {
            return Role::Alone;
        }
        let group = self.0.get_mut(&metadata.inode).filter(|group| group.is_of(metadata));
        let Some(group) = group else {
            let group = Group { leader: path.to_vec(), metadata: metadata.clone(), to_come: metadata.links - 1 };
            self.0.insert(metadata.inode, group);
            return Role::Leader;
        };
        group.to_come -= 1;
        if group.to_come > 0 {
            return Role::Follower(group.leader.clone());
        }
        let leader = self.0.remove(&metadata.inode).map(|group| group.leader);
        Role::Follower(leader.unwrap_or_default())
    }

    /// The leader of this inode could not be stored: the next of its names leads.
    pub fn lost(&mut self, metadata: &Metadata) {
        self.0.remove(&metadata.inode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::metadata::Time;

    fn inode(born: Option<i64>, size: u64) -> Metadata {
        let file = tempfile::tempfile().unwrap();
        let born = born.map(|seconds| Time { seconds, nanoseconds: 0 });
        Metadata { born, size, links: 3, inode: (1, 7), ..Metadata::of_open(&file).unwrap() }
    }

    #[test]
    fn a_number_that_is_used_again_is_another_inode() {
        for (first, second) in [(inode(Some(1), 5), inode(Some(2), 5)), (inode(None, 5), inode(None, 6))] {
            let mut links = HardLinks::default();
            assert_eq!(links.role(b"a", &first), Role::Leader);
            assert_eq!(links.role(b"b", &first), Role::Follower(b"a".to_vec()));
            assert_eq!(links.role(b"c", &second), Role::Leader);
            assert_eq!(links.role(b"d", &second), Role::Follower(b"c".to_vec()));
        }
    }

    #[test]
    fn a_file_that_grows_is_the_same_inode_where_its_birth_is_known() {
        let mut links = HardLinks::default();
        assert_eq!(links.role(b"a", &inode(Some(1), 5)), Role::Leader);
        assert_eq!(links.role(b"b", &inode(Some(1), 6)), Role::Follower(b"a".to_vec()));
    }
}
