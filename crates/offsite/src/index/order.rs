//! The entries of a backup in the order of its plan (format.md §12.6).

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::{Entry, Inode, Kind, Place, Row};
use crate::names::BackupId;
use crate::plan::{SliceName, Span, Take};
use crate::sort::{Sorted, Sorter};
use crate::spool::Spool;

/// Why the entries of an index cannot be put in order, or no plan follows from them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The index is wrong.
    #[error(transparent)]
    Index(#[from] Error),
    /// A temporary file cannot be used, or the plan not be written.
    #[error("the plan cannot be derived from the index: {0}")]
    Io(#[from] io::Error),
    /// Nothing is known of a slice.
    #[error("the index refers to {0}, of which nothing is known")]
    UnknownSlice(SliceName),
    /// A frame reaches beyond its slice.
    #[error("the index refers to bytes {} to {} of {slice}, which is {size} bytes long", .frame.offset, .frame.offset + .frame.length)]
    Beyond {
        /// The slice.
        slice: SliceName,
        /// The frame.
        frame: Span,
        /// Length of the slice in bytes, sealed.
        size: u64,
    },
    /// Two rows lie in the same bytes, or say other things of a frame.
    #[error("the index contradicts itself about what lies at byte {} of {slice}", .frame.offset)]
    Contradiction {
        /// The slice.
        slice: SliceName,
        /// The frame of the later of the two.
        frame: Span,
    },
    /// A hard link's leader is not there, is no leader, or does not come before the link.
    #[error("the hard link in row {0} of the index does not follow what it links to")]
    Link(u64),
    /// A row comes without the entry that it is a part of, or is gone: no row of a whole backup.
    #[error("row {0} is none of a whole backup")]
    Row(u64),
}

/// Bytes of an encoded place.
pub(crate) const PLACE: usize = 36;
/// Bytes of it that say where in all slices it lies; their order is that of the plan.
const POSITION: usize = 24;
/// Bytes of an encoded entry: first place, where its others lie, how many there are, mark, name, role.
const ENTRY: usize = PLACE + 8 + 8 + MARK + 16 + 1;
/// Bytes of a mark.
const MARK: usize = 16;
/// Bytes of the name of a leader, of whether it is a link to it, the entry, its row, whether it is
/// chosen.
const LINK: usize = 16 + 1 + ENTRY + 8 + 1;

/// An entry in the order of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Where it begins.
    pub(crate) first: Place,
    /// How many more places it has.
    pub(crate) more: u64,
    /// The number of the first of them, among all.
    start: u64,
    /// What the index says of it, to be compared with its member.
    pub(crate) mark: Mark,
    /// What it is called.
    pub(crate) name: Name,
    /// What is to become of its member.
    pub(crate) role: Role,
}

/// What is to become of an entry's member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is as it stands there.
    Itself = 0,
    /// It is a leader that was not chosen: the first chosen link to it takes its place, and its own
    /// name, too, in its stead.
    Adopted = 1,
    /// It is a link to a leader that was not chosen, and becomes one to the first chosen link.
    Relinked = 2,
}

/// Where the path of an entry is kept and, for [`Role::Relinked`], that of what it links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    position: u64,
    path: u32,
    target: u32,
}

/// 128 bits for what an index says of an entry beside where it lies. Nobody who writes an index
/// knows the keys, so equal marks are of equal entries.
pub(crate) type Mark = [u8; MARK];

/// Makes marks.
#[derive(Clone, Default)]
pub(crate) struct Marks([RandomState; 2]);

impl Marks {
    /// The mark of an entry. The member of a hard link has no fraction of a second.
    pub(crate) fn of(&self, path: &[u8], kind: &Kind, inode: &Inode) -> Mark {
        let mut inode = *inode;
        if matches!(kind, Kind::HardLink { .. }) {
            inode.mtime.nanoseconds = 0;
        }
        let mut mark = [0; MARK];
        for (half, state) in mark.chunks_exact_mut(8).zip(&self.0) {
            half.copy_from_slice(&state.hash_one((path, kind, inode)).to_be_bytes());
        }
        mark
    }
}

/// Takes the rows of a backup. Memory does not grow with their number: what does not fit goes to
/// files without names.
pub(crate) struct Rows {
    first: Sorter<ENTRY>,
    links: Sorter<LINK>,
    more: Spool,
    /// The paths, one after the other, where they are kept.
    names: Option<Spool>,
    marks: Marks,
    /// The entry at hand, unless it needs not be kept.
    pending: Option<Pending>,
    rows: u64,
}

struct Pending {
    entry: Placed,
    chosen: bool,
    link: Link,
}

/// What an entry is to hard links.
enum Link {
    /// Nothing.
    None,
    /// Of this path.
    Leader([u8; 16]),
    /// To this path.
    Follower([u8; 16]),
}

impl Rows {
    /// Keeps what does not fit into memory in files without names in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            first: Sorter::new(folder),
            links: Sorter::new(folder),
            more: Spool::new(folder),
            names: None,
            marks: Marks::default(),
            pending: None,
            rows: 0,
        }
    }

    /// The same, with the names of entries.
    pub(crate) fn with_names(folder: &Path) -> Self {
        Self { names: Some(Spool::new(folder)), ..Self::new(folder) }
    }

    /// Takes the next row, entries and parts, of the backup. Of what is not chosen nothing comes out
    /// but the leaders of chosen links.
    pub(crate) fn row(&mut self, row: &Row, chosen: bool) -> Result<(), PlanError> {
        self.rows += 1;
        let rest = match row {
            Row::Entry(entry) => {
                self.flush()?;
                let Some((first, rest)) = entry.places.split_first() else { return Ok(()) };
                self.pending = self.pending(entry, first, chosen)?;
                rest
            }
            Row::Part(part) if self.rows > 1 => &part.places,
            Row::Part(_) | Row::Gone(_) => return Err(PlanError::Row(self.rows)),
        };
        let Some(Pending { entry, .. }) = &mut self.pending else { return Ok(()) };
        entry.more += rest.len() as u64;
        for place in rest {
            self.more.push(&encode(place))?;
        }
        Ok(())
    }

    fn pending(&mut self, entry: &Entry, first: &Place, chosen: bool) -> io::Result<Option<Pending>> {
        let link = match &entry.kind {
            Kind::HardLink { leader } => Link::Follower(hash(leader)),
            _ if entry.links => Link::Leader(hash(&entry.path)),
            _ => Link::None,
        };
        if !chosen && !matches!(link, Link::Leader(_)) {
            return Ok(None);
        }
        let (mut name, mut mark) = (Name { position: 0, path: 0, target: 0 }, [0; MARK]);
        if let Some(names) = &mut self.names {
            mark = self.marks.of(&entry.path, &entry.kind, &entry.inode);
            name.path = u32::try_from(entry.path.len()).map_err(|_| too_long())?;
            name.position = names.push(&entry.path)?;
        }
        let start = self.more.length() / PLACE as u64;
        let entry = Placed { first: *first, more: 0, start, mark, name, role: Role::Itself };
        Ok(Some(Pending { entry, chosen, link }))
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(Pending { entry, chosen, link }) = self.pending.take() else { return Ok(()) };
        let record = encode_entry(&entry);
        let (hash, is_link) = match link {
            Link::None => return self.first.push(record),
            Link::Leader(hash) => (hash, 0),
            Link::Follower(hash) => (hash, 1),
        };
        let mut note = [0; LINK];
        note[..16].copy_from_slice(&hash);
        note[16] = is_link;
        note[17..17 + ENTRY].copy_from_slice(&record);
        note[17 + ENTRY..LINK - 1].copy_from_slice(&self.rows.to_be_bytes());
        note[LINK - 1] = u8::from(chosen);
        self.links.push(note)
    }

    /// Ends the input, and requires each chosen link to come after its leader.
    pub(crate) fn order(mut self) -> Result<Order, PlanError> {
        self.flush()?;
        Linking { first: &mut self.first, names: self.names.as_mut(), leader: None, heir: None }.all(self.links)?;
        let names = Names(self.names.map(Arc::new));
        Ok(Order { sorted: self.first.sorted()?, more: self.more, names, marks: self.marks, before: None })
    }
}

/// Sees to it that links have something to link to.
struct Linking<'a> {
    first: &'a mut Sorter<ENTRY>,
    names: Option<&'a mut Spool>,
    /// The leader at hand: its name's hash and itself, and whether it is chosen.
    leader: Option<([u8; 16], Placed, bool)>,
    /// The link that stands in for a leader that is not chosen.
    heir: Option<Name>,
}

impl Linking<'_> {
    fn all(mut self, links: Sorter<LINK>) -> Result<(), PlanError> {
        let mut sorted = links.sorted()?;
        while let Some(record) = sorted.next()? {
            let hash: [u8; 16] = std::array::from_fn(|byte| record[byte]);
            let entry: [u8; ENTRY] = std::array::from_fn(|byte| record[17 + byte]);
            let chosen = record[LINK - 1] == 1;
            if record[16] == 0 {
                if chosen {
                    self.first.push(entry)?;
                }
                (self.leader, self.heir) = (Some((hash, decode_entry(&entry), chosen)), None);
                continue;
            }
            let row = u64::from_be_bytes(std::array::from_fn(|byte| record[17 + ENTRY + byte]));
            self.follower(&hash, &decode_entry(&entry), row)?;
        }
        Ok(())
    }

    fn follower(&mut self, hash: &[u8; 16], entry: &Placed, row: u64) -> Result<(), PlanError> {
        let position = |entry: &Placed| encode(&entry.first)[..POSITION].to_vec();
        let leader = self.leader.as_ref().filter(|(of, ..)| of == hash);
        let leader = leader.filter(|(_, leader, _)| position(leader) < position(entry));
        let (_, leader, chosen) = *leader.ok_or(PlanError::Link(row))?;
        let entry = match (chosen, self.heir) {
            (true, _) => *entry,
            (false, None) => {
                self.heir = Some(entry.name);
                // The mark is of the leader's path.
                let name = self.name(leader.name, entry.name)?;
                Placed { name, role: Role::Adopted, ..leader }
            }
            (false, Some(heir)) => Placed { name: self.name(entry.name, heir)?, role: Role::Relinked, ..*entry },
        };
        Ok(self.first.push(encode_entry(&entry))?)
    }

    /// Keeps two names together: of a member, and what it becomes or links to.
    fn name(&mut self, one: Name, other: Name) -> io::Result<Name> {
        let Some(names) = &mut self.names else { return Ok(one) };
        let (path, target) = (path(names, one)?, path(names, other)?);
        let position = names.push(&[path, target].concat())?;
        Ok(Name { position, path: one.path, target: other.path })
    }
}

/// The entries in order, any number of times.
pub(crate) struct Order {
    sorted: Sorted<ENTRY>,
    more: Spool,
    names: Names,
    marks: Marks,
    before: Option<Place>,
}

impl Order {
    /// The next entry. Its first place lies behind that of the one before it.
    pub(crate) fn next(&mut self) -> Result<Option<Placed>, PlanError> {
        let Some(record) = self.sorted.next()? else { return Ok(None) };
        let entry = decode_entry(&record);
        check_apart(self.before.as_ref(), &entry.first)?;
        self.before = Some(entry.first);
        Ok(Some(entry))
    }

    /// Begins anew with the first entry.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.before = None;
        self.sorted.rewind()
    }

    /// Hands all places of an entry to `each`, in order.
    pub(crate) fn places<E: From<io::Error>>(
        &self,
        entry: &Placed,
        mut each: impl FnMut(&Place) -> Result<(), E>,
    ) -> Result<(), E> {
        each(&entry.first)?;
        let (mut first, mut left) = (entry.start, entry.more);
        let mut buffer = [0; 256 * PLACE];
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(256);
            let bytes = &mut buffer[..now * PLACE];
            self.more.read(first * PLACE as u64, bytes)?;
            bytes.chunks_exact(PLACE).try_for_each(|place| each(&decode(place)))?;
            first += now as u64;
            left -= now as u64;
        }
        Ok(())
    }

    /// The names of entries; empty ones where they were not kept.
    pub(crate) fn names(&self) -> Names {
        self.names.clone()
    }

    /// What marks were made with.
    pub(crate) fn marks(&self) -> Marks {
        self.marks.clone()
    }
}

/// The names of entries, for any thread.
#[derive(Clone)]
pub(crate) struct Names(Option<Arc<Spool>>);

impl Names {
    /// The path of the entry in the index; of an adopted one its leader's.
    pub(crate) fn path(&self, name: Name) -> io::Result<Vec<u8>> {
        self.0.as_deref().map_or_else(|| Ok(Vec::new()), |names| path(names, name))
    }

    /// What an adopted entry is called instead, or what a relinked one links to.
    pub(crate) fn target(&self, name: Name) -> io::Result<Vec<u8>> {
        self.path(Name { position: name.position + u64::from(name.path), path: name.target, target: 0 })
    }
}

/// Requires a first place to lie behind the one before it, in the same frame or a later one.
fn check_apart(before: Option<&Place>, place: &Place) -> Result<(), PlanError> {
    let Some(before) = before.filter(|before| before.slice == place.slice) else { return Ok(()) };
    let apart = if place.in_frame_of(before) {
        place.piece.skip >= before.piece.skip + before.piece.take
    } else {
        place.frame.offset >= before.frame.offset + before.frame.length
    };
    let Place { slice, frame, .. } = *place;
    if apart { Ok(()) } else { Err(PlanError::Contradiction { slice, frame }) }
}

fn path(names: &Spool, name: Name) -> io::Result<Vec<u8>> {
    let mut path = vec![0; usize::try_from(name.path).map_err(|_| too_long())?];
    names.read(name.position, &mut path)?;
    Ok(path)
}

fn too_long() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

/// An entry in bytes, whose order is that of the plan.
fn encode_entry(entry: &Placed) -> [u8; ENTRY] {
    let Placed { first, more, start, mark, name, role } = entry;
    let mut bytes = [0; ENTRY];
    let fields: [&[u8]; 8] = [
        &encode(first),
        &start.to_be_bytes(),
        &more.to_be_bytes(),
        mark,
        &name.position.to_be_bytes(),
        &name.path.to_be_bytes(),
        &name.target.to_be_bytes(),
        &[*role as u8],
    ];
    let mut rest = &mut bytes[..];
    for field in fields {
        let (place, after) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = after;
    }
    bytes
}

fn decode_entry(bytes: &[u8; ENTRY]) -> Placed {
    let long = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let short = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    const NAME: usize = PLACE + 16 + MARK;
    Placed {
        first: decode(bytes),
        start: long(PLACE),
        more: long(PLACE + 8),
        mark: std::array::from_fn(|byte| bytes[PLACE + 16 + byte]),
        name: Name { position: long(NAME), path: short(NAME + 8), target: short(NAME + 12) },
        role: match bytes[ENTRY - 1] {
            0 => Role::Itself,
            1 => Role::Adopted,
            _ => Role::Relinked,
        },
    }
}

/// A place in bytes, whose order is that of backups, slices, frames, and pieces of frames.
pub(crate) fn encode(place: &Place) -> [u8; PLACE] {
    let Place { slice, frame, raw, piece } = place;
    // All are of an index, whose limits are below 2^32.
    let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let numbers =
        [slice.number, short(frame.offset), short(piece.skip), short(piece.take), short(frame.length), short(*raw)];
    let mut bytes = [0; PLACE];
    bytes[..12].copy_from_slice(&slice.backup.to_bytes());
    for (four, number) in bytes[12..].chunks_exact_mut(4).zip(numbers) {
        four.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

/// The place at the start of [`encode`]'s bytes.
pub(crate) fn decode(bytes: &[u8]) -> Place {
    let backup = BackupId::from_bytes(std::array::from_fn(|byte| bytes[byte]));
    let number = |index: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[12 + 4 * index + byte]));
    let [offset, skip, take, length, raw] = [1, 2, 3, 4, 5].map(|index| u64::from(number(index)));
    let slice = SliceName { backup, number: number(0) };
    Place { slice, frame: Span { offset, length }, raw, piece: Take { skip, take } }
}

/// 128 bits that stand for a path. Who makes two paths collide makes a plan fail, or a link that
/// the archive's reader then refuses.
fn hash(path: &[u8]) -> [u8; 16] {
    let half = |start: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(start);
        hasher.write(path);
        hasher.finish().to_be_bytes()
    };
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&half(0));
    hash[8..].copy_from_slice(&half(1));
    hash
}
