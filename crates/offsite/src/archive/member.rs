//! Members: entries as they stand in a tar.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::readlinkat;
use rustix::io::Errno;

use crate::archive::attributes::{AttributeReader, Attributes};
use crate::archive::header::{self, Form};
use crate::archive::incident::{Incident, What};
use crate::archive::links::{HardLinks, Role};
use crate::archive::metadata::{Kind, Metadata};
use crate::archive::sparse::{self, Segment};
use crate::archive::walk::Entry;

/// An entry as it stands in a tar: header, content, and zeros up to a multiple of 512 bytes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Member {
    /// What stands before the content.
    pub header: Vec<u8>,
    /// The content.
    pub content: Content,
    /// What the header says that it leads to.
    pub leads_to: LeadsTo,
    /// Whether others may be hard links to it.
    pub is_leader: bool,
    /// The metadata that the header tells. For a file: of the moment at which it was opened.
    pub metadata: Metadata,
}

/// What a member leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a tar knows no other links")]
pub enum LeadsTo {
    /// Nothing: it is no link.
    Nothing,
    /// What a symbolic link says.
    Target(Vec<u8>),
    /// The archive path of the first of an inode's names.
    Leader(Vec<u8>),
}

/// A member's content.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a tar knows no other content")]
pub enum Content {
    /// None.
    None,
    /// A file's bytes.
    Plain {
        /// The file.
        file: File,
        /// How many of them.
        size: u64,
    },
    /// Pieces of a file.
    Sparse {
        /// The file.
        file: File,
        /// The pieces; their map is in the header.
        segments: Vec<Segment>,
    },
}

impl Content {
    /// How many bytes it is, without what fills the last block.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.pieces().map(|piece| piece.length).sum()
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::None => None,
            Self::Plain { file, .. } | Self::Sparse { file, .. } => Some(file),
        }
    }

    /// The file's pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Segment> {
        let (whole, pieces) = match self {
            Self::None => (None, &[][..]),
            Self::Plain { size, .. } => (Some(Segment { offset: 0, length: *size }), &[][..]),
            Self::Sparse { segments, .. } => (None, segments.as_slice()),
        };
        whole.into_iter().chain(pieces.iter().copied())
    }
}

/// Makes members of a walk's entries, in its order: of each the role, then the member, unless it is
/// kept.
pub struct Packer {
    links: HardLinks,
    attributes: AttributeReader,
}

/// An entry's inode, at hand.
struct Source {
    metadata: Metadata,
    file: Option<File>,
    target: Vec<u8>,
}

impl Packer {
    /// Keeps what does not fit into memory in files without names in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { links: HardLinks::new(folder), attributes: AttributeReader::default() }
    }

    /// What the next entry is among the names of its inode.
    ///
    /// # Errors
    ///
    /// Those of the files without names.
    pub fn role(&mut self, entry: &Entry) -> io::Result<Role> {
        // None is stored, so nothing is to follow it.
        if entry.metadata.kind == Kind::Socket {
            return Ok(Role::Alone);
        }
        self.links.role(&entry.path, &entry.metadata)
    }

    /// The entry, whose role was asked for last, is not packed: its member stays where an earlier
    /// backup put it.
    ///
    /// # Errors
    ///
    /// Those of the files without names.
    pub fn keep(&mut self, entry: &Entry) -> io::Result<()> {
        self.links.keep(&entry.metadata)
    }

    /// The member of the entry whose role was asked for last; None if it cannot or need not be stored.
    /// `report` is told why, and of what is stored only in part.
    ///
    /// # Errors
    ///
    /// Those of the files without names.
    pub fn pack(
        &mut self,
        entry: &Entry,
        mut role: Role,
        report: &mut dyn FnMut(Incident),
    ) -> io::Result<Option<Member>> {
        if entry.metadata.kind == Kind::Socket {
            report(Incident::new(&entry.path, What::Socket));
            return Ok(None);
        }
        if let Role::Follower { leader, .. } = &role {
            return Ok(Some(follower(entry, &entry.metadata, leader)));
        }
        let source = match Source::open(entry) {
            Ok(source) => source,
            Err(error) => {
                report(Incident::of_error(&entry.path, "open", error));
                self.links.lost(&entry.metadata)?;
                return Ok(None);
            }
        };
        if source.metadata.inode != entry.metadata.inode || source.metadata.born != entry.metadata.born {
            // The name has passed to another file since the walk came by.
            self.links.lost(&entry.metadata)?;
            role = self.links.role(&entry.path, &source.metadata)?;
            if let Role::Follower { leader, .. } = &role {
                return Ok(Some(follower(entry, &source.metadata, leader)));
            }
        }
        let attributes = self.attributes(entry, &source, report);
        let inode = source.metadata.clone();
        match member(entry, source, &attributes) {
            Ok(member) => Ok(Some(Member { is_leader: role == Role::Leader, ..member })),
            Err(incident) => {
                report(incident);
                self.links.lost(&inode)?;
                Ok(None)
            }
        }
    }

    fn attributes(&mut self, entry: &Entry, source: &Source, report: &mut dyn FnMut(Incident)) -> Attributes {
        let failed = |name: &[u8], error: Errno| {
            let what = What::AttributeUnreadable { name: name.to_vec(), source: error.into() };
            report(Incident::new(&entry.path, what));
        };
        let read = match (&source.file, entry.folder()) {
            (Some(file), _) => self.attributes.of_open(file, failed),
            (None, Some(folder)) => self.attributes.of_open(folder, failed),
            (None, None) => self.attributes.of_name(entry.parent(), entry.name(), failed),
        };
        read.unwrap_or_else(|error| {
            // Also what is said where /proc is not mounted; then the entry is still there.
            if error == Errno::NOENT && Metadata::of_name(entry.parent(), entry.name()) == Err(Errno::NOENT) {
                return Attributes::default();
            }
            let what = What::Unreadable { action: "read the attributes of", source: error.into() };
            report(Incident::new(&entry.path, what));
            Attributes::default()
        })
    }
}

impl Source {
    fn open(entry: &Entry) -> Result<Self, Errno> {
        let (folder, name) = (entry.parent(), entry.name());
        let mut source = Self { metadata: entry.metadata.clone(), file: None, target: Vec::new() };
        match entry.metadata.kind {
            Kind::File => {
                let (file, metadata) = folder.file(name)?;
                (source.file, source.metadata) = (Some(file), metadata);
            }
            Kind::Symlink => source.target = readlinkat(folder, name, Vec::new())?.into_bytes(),
            _ => {}
        }
        Ok(source)
    }
}

fn follower(entry: &Entry, metadata: &Metadata, leader: &[u8]) -> Member {
    let header = header::encode(&entry.path, metadata, Form::HardLink { leader }, &Attributes::default());
    let leads_to = LeadsTo::Leader(leader.to_vec());
    Member { header, content: Content::None, leads_to, is_leader: false, metadata: metadata.clone() }
}

fn member(entry: &Entry, source: Source, attributes: &Attributes) -> Result<Member, Incident> {
    let Source { metadata, file, target } = source;
    let encode = |form| header::encode(&entry.path, &metadata, form, attributes);
    let (header, content) = match file {
        None if metadata.kind == Kind::Symlink => (encode(Form::Symlink { target: &target }), Content::None),
        None => (encode(Form::Plain), Content::None),
        Some(file) => {
            let size = metadata.size;
            let failed = |error| Incident::of_error(&entry.path, "find the holes of", error);
            // Only a file that occupies less than its size can have a hole worth a map.
            let segments = if metadata.occupied < size { sparse::segments(&file, size).map_err(failed)? } else { None };
            match segments {
                Some(segments) => {
                    let map = sparse::map(&segments, size);
                    let content = Content::Sparse { file, segments };
                    (encode(Form::Sparse { stored: content.stored(), map: &map }), content)
                }
                None => (encode(Form::Plain), Content::Plain { file, size }),
            }
        }
    };
    let leads_to = if metadata.kind == Kind::Symlink { LeadsTo::Target(target) } else { LeadsTo::Nothing };
    Ok(Member { header, content, leads_to, is_leader: false, metadata })
}

impl Member {
    /// What is to be told once the content has been read: why not all of it could be, or else how the
    /// file differs from what it was when it was opened.
    #[must_use]
    pub fn after_reading(&self, failure: Option<io::Error>) -> Option<What> {
        let unreadable = |source| Some(What::Unreadable { action: "read", source });
        match failure {
            Some(source) => unreadable(source),
            None => self.changes().unwrap_or_else(|error| unreadable(error.into())),
        }
    }

    /// Compares the file with what it was when it was opened.
    fn changes(&self) -> Result<Option<What>, Errno> {
        let Some(file) = self.content.file() else { return Ok(None) };
        let (then, now) = (&self.metadata, Metadata::of_open(file)?);
        Ok(match now.size.cmp(&then.size) {
            std::cmp::Ordering::Greater => Some(What::Grew),
            std::cmp::Ordering::Less => Some(What::Shrank),
            std::cmp::Ordering::Equal if (now.modified, now.changed) == (then.modified, then.changed) => None,
            std::cmp::Ordering::Equal => Some(What::Changed),
        })
    }
}

/// Fills `buffer` from a file. Where the file ends or fails first, zeros follow what was read.
///
/// # Errors
///
/// The system's; the buffer is filled nevertheless.
pub fn read_padded(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                buffer[filled..].fill(0);
                return Err(error);
            }
        }
    }
    buffer[filled..].fill(0);
    Ok(())
}
