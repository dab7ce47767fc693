//! `encrypt`: anything to a message or a row of them, in one file or one file each.

use std::fs;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cms::{Input, Profile, Recipients, StreamKind, Totals};
use offsite_cms as cms;
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::events::{Events, Warning};
use crate::files::{self, Output, Place, Together};

/// What to encrypt, how, and where to.
pub struct Encrypt<'a> {
    /// The plaintext.
    pub input: &'a Place,
    /// Where the message goes.
    pub output: &'a Place,
    /// Whether existing files are replaced.
    pub replace: bool,
    /// Which readers it is for.
    pub profile: Profile,
    /// Length of a slice in bytes.
    pub slice_size: usize,
    /// How many slices are worked on at once; two at least.
    pub threads: NonZero<usize>,
    /// Whether each slice goes into a file of its own, `OUT.000000` and so on.
    pub split: bool,
    /// The time, for the certificates' validity.
    pub now: OffsetDateTime,
}

/// Encrypts for `recipients`. A file appears only once it is complete.
///
/// # Errors
///
/// [`Error::Cms`] for recipients or a slice size that cannot be; [`Error::File`],
/// [`Error::Exists`] and [`Error::TooManyPieces`] where files cannot be read or written.
pub fn encrypt(what: &Encrypt<'_>, recipients: &Recipients, events: &dyn Events) -> Result<Totals> {
    warn_of_validity(recipients, what.now, events);
    let (source, length) = files::open_input(what.input)?;
    let mut writer = match (what.split, what.output) {
        (true, Place::Path(path)) => Writer::Split(Split::new(path, what.replace)?),
        _ => Writer::Single(Output::create(what.output, what.replace)?),
    };
    let result = match what.profile {
        Profile::Cms => {
            let emit = |slice: &[u8]| writer.write_slice(slice);
            let progress = |bytes| events.progress(bytes);
            cms::encrypt(source, recipients, StreamKind::File, what.slice_size, what.threads, emit, &progress)
        }
        Profile::Smime => {
            events.warn(Warning::WritingUnauthenticated);
            smime(what, source, length, recipients, &mut writer, events)
        }
    };
    let totals = result.map_err(|error| match error {
        cms::Error::Write(source) => writer.failure(source),
        // Of the recipients and the sizes, not of the plaintext.
        error @ (cms::Error::Usage(_) | cms::Error::Key(_)) => Error::cms(None)(error),
        error => Error::cms(what.input.path())(error),
    })?;
    writer.finish()?;
    Ok(totals)
}

/// One message, or with `split` as many as it takes to keep each within the slice size.
fn smime(
    what: &Encrypt<'_>,
    source: Input,
    length: Option<u64>,
    recipients: &Recipients,
    writer: &mut Writer,
    events: &dyn Events,
) -> cms::Result<Totals> {
    let mut source = source.into_reader()?;
    let most = if what.split { cms::smime::plaintext_length(what.slice_size, recipients)? } else { u64::MAX };
    // At once where the length is known, else when it comes to that.
    let warned = !what.split && length.is_some_and(|length| length >= WARN_AT);
    if warned {
        events.warn(Warning::TooLargeForOpenssl);
    }
    let done = AtomicU64::new(0);
    let progress = |bytes: u64| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        if !what.split && !warned && (before..before + bytes).contains(&WARN_AT) {
            events.warn(Warning::TooLargeForOpenssl);
        }
        events.progress(bytes);
    };
    let mut totals = Totals::default();
    loop {
        let output = writer.start_message().map_err(cms::Error::Write)?;
        let message = cms::smime::encrypt(&mut source, most, recipients, output, &progress)?;
        totals.slices += 1;
        totals.plaintext += message.plaintext;
        if message.plaintext < most {
            return Ok(totals);
        }
    }
}

/// The warning comes this long, in bytes, before the message is too long: the encoding adds less.
const WARN_AT: u64 = cms::limits::OPENSSL_MESSAGE - (32 << 20);

/// Warns of recipients whose time is over, or yet to come.
pub(super) fn warn_of_validity(recipients: &Recipients, now: OffsetDateTime, events: &dyn Events) {
    for certificate in recipients.certificates() {
        let warn = |expired, date: OffsetDateTime| {
            events.warn(Warning::Validity { name: certificate.name(), expired, date: date.date().to_string() });
        };
        match (certificate.not_before(), certificate.not_after()) {
            (_, Some(end)) if end < now => warn(true, end),
            (Some(start), _) if start > now => warn(false, start),
            _ => {}
        }
    }
}

enum Writer {
    Single(Output),
    Split(Split),
}

impl Writer {
    fn write_slice(&mut self, slice: &[u8]) -> io::Result<()> {
        self.start_message()?.write_all(slice)
    }

    /// Where the next message goes.
    fn start_message(&mut self) -> io::Result<&mut Output> {
        match self {
            Self::Single(output) => Ok(output),
            Self::Split(split) => split.next().map_err(io::Error::other),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Single(output) => output.finish(),
            Self::Split(split) => split.finish(),
        }
    }

    /// The error of a write: one of ours passes through.
    fn failure(&self, source: io::Error) -> Error {
        let path = match self {
            Self::Single(output) => output.path().to_path_buf(),
            Self::Split(split) => split.name(split.finished),
        };
        match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => Error::file("write", &path)(source),
        }
    }
}

/// A row of files, `OUT.000000` and so on. Those of a run that fails are removed again.
struct Split {
    prefix: PathBuf,
    replace: bool,
    current: Option<Output>,
    /// How many have their names.
    finished: u64,
    names: Together,
}

impl Split {
    fn new(prefix: &Path, replace: bool) -> Result<Self> {
        Ok(Self { prefix: prefix.to_path_buf(), replace, current: None, finished: 0, names: Together::default() })
    }

    fn name(&self, number: u64) -> PathBuf {
        let mut name = self.prefix.clone().into_os_string();
        name.push(format!(".{number:06}"));
        name.into()
    }

    fn next(&mut self) -> Result<&mut Output> {
        self.finish_current()?;
        if self.finished > 999_999 {
            return Err(Error::TooManyPieces);
        }
        let output = Output::create(&Place::Path(self.name(self.finished)), self.replace)?;
        Ok(self.current.insert(output))
    }

    fn finish_current(&mut self) -> Result<()> {
        if let Some(current) = self.current.take() {
            current.finish()?;
            self.names.add(self.name(self.finished));
            self.finished += 1;
        }
        Ok(())
    }

    /// What an earlier, longer run left behind must not pass for this one's.
    fn finish(mut self) -> Result<()> {
        self.finish_current()?;
        for number in self.finished.. {
            let left_over = self.name(number);
            if !left_over.try_exists().map_err(Error::file("read", &left_over))? {
                break;
            }
            if !self.replace {
                return Err(Error::Exists { path: left_over, replaceable: true });
            }
            fs::remove_file(&left_over).map_err(Error::file("remove", &left_over))?;
        }
        self.names.keep();
        Ok(())
    }
}
