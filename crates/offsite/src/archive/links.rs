//! Hard links: which of an inode's names carries its content.

use std::io;
use std::path::Path;

use crate::archive::metadata::{Kind, Metadata, Time};
use crate::spool::Spool;
use crate::table::Growing;

/// What an entry is among the names of its inode.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no other role")]
pub enum Role {
    /// The only name, or a folder.
    Alone,
    /// The first name in the order of the walk, which carries the content.
    Leader,
    /// A later name: a link to the leader.
    Follower {
        /// The leader's archive path.
        leader: Vec<u8>,
        /// Whether the leader's member stays where an earlier backup put it.
        leader_is_kept: bool,
    },
}

/// Memory for groups, in bytes: some 25,000 of them. More are searched in files.
const MEMORY: usize = 4 << 20;

/// The inodes of which more names may come. An inode is forgotten with its last name; memory does not
/// grow with their number.
pub struct HardLinks {
    groups: Growing<RECORD, KEY>,
    /// The leaders' paths.
    paths: Spool,
}

/// Bytes of an inode's device and number.
const KEY: usize = 16;
/// Bytes of an [`identity`].
const IDENTITY: usize = 21;
/// Bytes of an encoded group: key, identity, where the path lies and how long it is, names to come,
/// whether the leader is kept.
const RECORD: usize = KEY + IDENTITY + 8 + 4 + 4 + 1;

/// The names of an inode.
struct Group {
    key: [u8; KEY],
    identity: [u8; IDENTITY],
    /// Where the leader's path lies, and its length.
    path: (u64, u32),
    to_come: u32,
    is_kept: bool,
}

impl Group {
    fn encode(&self) -> [u8; RECORD] {
        let Self { key, identity, path, to_come, is_kept } = self;
        let mut bytes = [0; RECORD];
        let fields: [&[u8]; 6] = [
            key,
            identity,
            &path.0.to_be_bytes(),
            &path.1.to_be_bytes(),
            &to_come.to_be_bytes(),
            &[u8::from(*is_kept)],
        ];
        write(&mut bytes, &fields);
        bytes
    }

    fn decode(bytes: &[u8; RECORD]) -> Self {
        const PATH: usize = KEY + IDENTITY;
        let short = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Self {
            key: std::array::from_fn(|byte| bytes[byte]),
            identity: std::array::from_fn(|byte| bytes[KEY + byte]),
            path: (u64::from_be_bytes(std::array::from_fn(|byte| bytes[PATH + byte])), short(PATH + 8)),
            to_come: short(PATH + 12),
            is_kept: bytes[RECORD - 1] != 0,
        }
    }
}

/// Fills bytes with fields.
fn write(mut bytes: &mut [u8], fields: &[&[u8]]) {
    for field in fields {
        let (place, rest) = bytes.split_at_mut(field.len());
        place.copy_from_slice(field);
        bytes = rest;
    }
}

fn key((device, number): (u64, u64)) -> [u8; KEY] {
    let mut key = [0; KEY];
    write(&mut key, &[&device.to_be_bytes(), &number.to_be_bytes()]);
    key
}

/// What tells an inode from one that had its number before: where the file system tells when an inode
/// was made, that decides. It does not begin with zero.
fn identity(metadata: &Metadata) -> [u8; IDENTITY] {
    let Metadata { kind, size, modified, born, .. } = metadata;
    let kind: u8 = match kind {
        Kind::File => 1,
        Kind::Folder => 2,
        Kind::Symlink => 3,
        Kind::Fifo => 4,
        Kind::CharacterDevice => 5,
        Kind::BlockDevice => 6,
        Kind::Socket => 7,
    };
    // Of an inode that was made at a known time, the size says nothing.
    let (kind, size, time) = born.map_or((kind, *size, *modified), |born| (kind | 0x80, 0, born));
    let Time { seconds, nanoseconds } = time;
    let mut identity = [0; IDENTITY];
    write(&mut identity, &[&[kind], &size.to_be_bytes(), &seconds.to_be_bytes(), &nanoseconds.to_be_bytes()]);
    identity
}

impl HardLinks {
    /// Keeps what does not fit into memory in files without names in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self::with_memory(folder, MEMORY)
    }

    fn with_memory(folder: &Path, memory: usize) -> Self {
        Self { groups: Growing::new(folder, memory), paths: Spool::new(folder) }
    }

    /// The role of the next entry. Entries are asked about once, in the order of the walk.
    ///
    /// # Errors
    ///
    /// Those of the files.
    pub fn role(&mut self, path: &[u8], metadata: &Metadata) -> io::Result<Role> {
        if metadata.links < 2 || metadata.is_folder() {
            return Ok(Role::Alone);
        }
        let Some(mut group) = self.group(metadata)? else {
            self.lead(path, metadata)?;
            return Ok(Role::Leader);
        };
        let mut leader = vec![0; usize::try_from(group.path.1).map_err(|_| io::ErrorKind::FileTooLarge)?];
        self.paths.read(group.path.0, &mut leader)?;
        group.to_come -= 1;
        if group.to_come == 0 {
            self.forget(&group)?;
        } else {
            self.groups.insert(group.encode())?;
        }
        Ok(Role::Follower { leader, leader_is_kept: group.is_kept })
    }

    /// The leader that was found last is one whose member stays where an earlier backup put it.
    ///
    /// # Errors
    ///
    /// Those of the files.
    pub fn keep(&mut self, metadata: &Metadata) -> io::Result<()> {
        match self.group(metadata)? {
            Some(group) => self.groups.insert(Group { is_kept: true, ..group }.encode()),
            None => Ok(()),
        }
    }

    /// The leader of this inode could not be stored: the next of its names leads.
    ///
    /// # Errors
    ///
    /// Those of the files.
    pub fn lost(&mut self, metadata: &Metadata) -> io::Result<()> {
        match self.groups.get(&key(metadata.inode))? {
            Some(group) => self.forget(&Group::decode(&group)),
            None => Ok(()),
        }
    }

    /// The names of this inode, if one has come and more may.
    fn group(&self, metadata: &Metadata) -> io::Result<Option<Group>> {
        let group = self.groups.get(&key(metadata.inode))?.map(|group| Group::decode(&group));
        Ok(group.filter(|group| group.identity == identity(metadata)))
    }

    fn lead(&mut self, path: &[u8], metadata: &Metadata) -> io::Result<()> {
        let length = u32::try_from(path.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let path = (self.paths.push(path)?, length);
        let (key, identity) = (key(metadata.inode), identity(metadata));
        self.groups.insert(Group { key, identity, path, to_come: metadata.links - 1, is_kept: false }.encode())
    }

    fn forget(&mut self, group: &Group) -> io::Result<()> {
        self.groups.remove(&group.key)?;
        let (start, length) = group.path;
        if self.groups.is_empty() {
            self.paths.truncate(0);
        } else if start + u64::from(length) == self.paths.length() {
            // The names of most inodes come close together.
            self.paths.truncate(start);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(born: Option<i64>, size: u64) -> Metadata {
        let file = tempfile::tempfile().unwrap();
        let born = born.map(|seconds| Time { seconds, nanoseconds: 0 });
        Metadata { born, size, links: 3, inode: (1, 7), ..Metadata::of_open(&file).unwrap() }
    }

    fn follower(leader: &[u8]) -> Role {
        Role::Follower { leader: leader.to_vec(), leader_is_kept: false }
    }

    /// In memory alone.
    fn links() -> HardLinks {
        HardLinks::new(Path::new("/nonexistent"))
    }

    #[test]
    fn a_number_that_is_used_again_is_another_inode() {
        let born = |nanoseconds| Some(Time { seconds: 1, nanoseconds });
        let pairs = [
            (inode(Some(1), 5), inode(Some(2), 5)),
            (Metadata { born: born(1), ..inode(None, 5) }, Metadata { born: born(2), ..inode(None, 5) }),
            (inode(None, 5), inode(None, 6)),
            (inode(None, 5), Metadata { modified: Time { seconds: 1, nanoseconds: 0 }, ..inode(None, 5) }),
            (inode(None, 5), inode(Some(1), 5)),
            (inode(Some(1), 5), Metadata { kind: Kind::Fifo, ..inode(Some(1), 5) }),
        ];
        for (first, second) in pairs {
            let mut links = links();
            assert_eq!(links.role(b"a", &first).unwrap(), Role::Leader);
            assert_eq!(links.role(b"b", &first).unwrap(), follower(b"a"));
            assert_eq!(links.role(b"c", &second).unwrap(), Role::Leader);
            assert_eq!(links.role(b"d", &second).unwrap(), follower(b"c"));
        }
    }

    #[test]
    fn a_file_that_grows_is_the_same_inode_where_its_birth_is_known() {
        let mut links = links();
        assert_eq!(links.role(b"a", &inode(Some(1), 5)).unwrap(), Role::Leader);
        assert_eq!(links.role(b"b", &inode(Some(1), 6)).unwrap(), follower(b"a"));
    }

    #[test]
    fn followers_know_of_a_leader_that_is_kept() {
        let (mut links, inode) = (links(), inode(Some(1), 5));
        links.keep(&inode).unwrap();
        for kept in [true, false] {
            assert_eq!(links.role(b"a", &inode).unwrap(), Role::Leader);
            if kept {
                links.keep(&inode).unwrap();
            }
            let follower = Role::Follower { leader: b"a".to_vec(), leader_is_kept: kept };
            assert_eq!(links.role(b"b", &inode).unwrap(), follower);
            assert_eq!(links.role(b"c", &inode).unwrap(), follower);
        }
    }

    #[test]
    fn a_leader_that_is_lost_leaves_its_place() {
        let (mut links, inode) = (links(), inode(Some(1), 5));
        links.lost(&inode).unwrap();
        assert_eq!(links.role(b"a", &inode).unwrap(), Role::Leader);
        links.lost(&inode).unwrap();
        assert_eq!(links.role(b"b", &inode).unwrap(), Role::Leader);
        assert_eq!(links.role(b"c", &inode).unwrap(), follower(b"b"));
    }

    #[test]
    fn pairs_in_one_folder_need_no_file() {
        let (mut links, open) = (links(), inode(Some(1), 5));
        // One whose other names lie elsewhere.
        assert_eq!(links.role(b"open", &open).unwrap(), Role::Leader);
        for number in 0..100_000 {
            let inode = Metadata { links: 2, inode: (1, 1000 + number), ..open.clone() };
            let path = format!("a long way down to the folder/{number}");
            assert_eq!(links.role(path.as_bytes(), &inode).unwrap(), Role::Leader);
            assert_eq!(links.role(b"other", &inode).unwrap(), follower(path.as_bytes()));
        }
        assert_eq!(links.role(b"other", &open).unwrap(), follower(b"open"));
    }

    #[test]
    fn what_does_not_fit_into_memory_is_found_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let (mut links, any) = (HardLinks::with_memory(folder.path(), 20_000), inode(Some(1), 5));
        // Each has three names; the second pass comes in another order.
        let (count, step) = (10_007, 5_003);
        let inode = |number| Metadata { inode: (1, number), ..any.clone() };
        let path = |number: u64| format!("{}/{number}", "folder".repeat(20)).into_bytes();
        for number in 0..count {
            assert_eq!(links.role(&path(number), &inode(number)).unwrap(), Role::Leader);
            if number % 2 == 0 {
                links.keep(&inode(number)).unwrap();
            }
        }
        for number in (0..2 * count).map(|index| index * step % count) {
            let expected = Role::Follower { leader: path(number), leader_is_kept: number % 2 == 0 };
            assert_eq!(links.role(b"follower", &inode(number)).unwrap(), expected);
        }
        for number in 0..count {
            assert_eq!(links.role(b"again", &inode(number)).unwrap(), Role::Leader);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file has a name");
    }
}
