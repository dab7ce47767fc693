//! The plaintext of an index or a plan: objects in a row, opened and decompressed while it is read.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use cms::{PrivateKey, SliceOpener, SliceProblem, StreamKind};
use offsite_cms as cms;
use zstd::stream::read::Decoder;

use super::objects;
use crate::damage::{Damage, Problem};
use crate::error::{Error, Result};
use crate::hashes::Hashed;
use crate::names::{BackupFile, BackupName, ObjectName};
use crate::store;

/// Largest window of what is decompressed, as a power of two: 8 MiB (format.md §11), which every
/// decoder of zstd takes. It is the memory that a frame can ask for.
const WINDOW_LOG: u32 = 23;

/// How much plaintext is decompressed at a time, in bytes: 64 KiB.
const BUFFER: usize = 64 << 10;

/// Text stream of a backup.
#[derive(Clone, Copy)]
pub(super) enum Text {
    Index,
    Plan,
}

impl Text {
    pub(super) fn file(self, number: u32) -> BackupFile {
        match self {
            Self::Index => BackupFile::Index(number),
            Self::Plan => BackupFile::Plan(number),
        }
    }

    pub(super) fn kind(self, context: &str) -> StreamKind<'_> {
        match self {
            Self::Index => StreamKind::Index(context),
            Self::Plan => StreamKind::Plan(context),
        }
    }
}

/// Reads an index's or a plan's text. Memory: one object, and the window of what is compressed.
///
/// An error that reading it returns holds an [`enum@Error`], which
/// [`io::Error::downcast`] gets out again.
pub struct Plaintext<'a> {
    reader: BufReader<Decoder<'static, Opened<'a>>>,
    /// The stream's first object.
    object: ObjectName,
}

impl<'a> Plaintext<'a> {
    /// Starts reading the stream of these objects, in order, of this backup.
    pub(super) fn new(
        store: &'a dyn store::Read,
        key: &'a PrivateKey,
        name: BackupName,
        text: Text,
        objects: Vec<Hashed>,
    ) -> Result<Self> {
        let object = name.file(text.file(0));
        let opened = Opened { store, key, name, text, objects, next: 0, opener: None, bytes: Vec::new(), rest: 0..0 };
        // There is no memory: nothing has been read yet.
        let failed = |source| Error::File { action: "decompress", path: object.as_str().into(), source };
        let mut decoder = Decoder::with_buffer(opened).map_err(failed)?;
        decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
        Ok(Self { reader: BufReader::with_capacity(BUFFER, decoder), object })
    }

    /// The stream's first object.
    #[must_use]
    pub fn object(&self) -> &ObjectName {
        &self.object
    }
}

impl Read for Plaintext<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out).map_err(|error| named(&self.object, error))
    }
}

impl BufRead for Plaintext<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf().map_err(|error| named(&self.object, error))
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }
}

/// An error with one of ours inside: what is none yet is the decompressor's.
fn named(object: &ObjectName, error: io::Error) -> io::Error {
    let damage = |source| Damage { object: object.clone(), problem: Problem::Compression(source) }.into();
    io::Error::other(error.downcast::<Error>().unwrap_or_else(damage))
}

/// The stream before it is decompressed.
struct Opened<'a> {
    store: &'a dyn store::Read,
    key: &'a PrivateKey,
    name: BackupName,
    text: Text,
    /// What the objects must be, by their numbers.
    objects: Vec<Hashed>,
    /// The number of the next one.
    next: u32,
    /// Made of the first object.
    opener: Option<SliceOpener>,
    /// The object at hand, opened in place.
    bytes: Vec<u8>,
    /// What of its plaintext has not been read.
    rest: Range<usize>,
}

impl Opened<'_> {
    /// Gets and opens the next object, if there is one. What stream slices must be (format.md §5)
    /// holds here as well: the receipt could have been signed by a program that is wrong.
    fn advance(&mut self, contents: Hashed) -> Result<()> {
        let object = self.name.file(self.text.file(self.next));
        // Before the next one comes: there is memory for one.
        self.bytes = Vec::new();
        self.bytes = objects::get(self.store, &object, contents)?;
        let opener = match self.opener.take() {
            Some(opener) => opener,
            None => SliceOpener::new(&self.bytes, self.key, self.text.kind(&self.name.to_string()))
                .map_err(|error| objects::not_opened(&object, error))?,
        };
        let last = self.next as usize + 1 == self.objects.len();
        let first = self.objects.first().map_or(0, |first| first.size);
        let opened = if contents.size == first || last && contents.size < first {
            opener.open_in_stream(self.next, last, &mut self.bytes)
        } else {
            Err(SliceProblem::Size { found: contents.size, expected: first })
        };
        self.rest = opened.map_err(|problem| Damage { object, problem: Problem::Slice(problem) })?;
        self.opener = Some(opener);
        self.next += 1;
        Ok(())
    }
}

impl BufRead for Opened<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.is_empty()
            && let Some(contents) = self.objects.get(self.next as usize)
        {
            self.advance(*contents).map_err(io::Error::other)?;
        }
        Ok(&self.bytes[self.rest.clone()])
    }

    fn consume(&mut self, count: usize) {
        self.rest.start += count;
    }
}

impl Read for Opened<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
