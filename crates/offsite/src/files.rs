//! Files and standard streams as inputs and outputs. An output file appears under its name only
//! when it is complete.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cms::Input;
use offsite_cms as cms;
use tempfile::{NamedTempFile, TempPath};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::unfinished::{Unfinished, unfinished};

/// A file, or standard input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard input or output.
    Standard,
    /// A file by its name.
    Path(PathBuf),
}

impl Place {
    /// The file's name.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Standard => None,
            Self::Path(path) => Some(path),
        }
    }
}

/// Opens an input, and tells its length in bytes where that is known.
///
/// # Errors
///
/// [`Error::File`] where it cannot be opened.
pub fn open_input(place: &Place) -> Result<(Input, Option<u64>)> {
    let (file, path) = match place {
        Place::Standard => (io::stdin().as_fd().try_clone_to_owned().map(File::from), Path::new("standard input")),
        Place::Path(path) => (File::open(path), path.as_path()),
    };
    let opened = file.and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        widen_pipe(&file);
        let length = Some(file.metadata()?).filter(fs::Metadata::is_file).map(|metadata| metadata.len());
        Ok((Input::from_file(file)?, length))
    });
    opened.map_err(Error::file("read", path))
}

/// A pipe holds 64 KiB unless it is asked for more; fewer changes between the processes at its
/// ends are worth a third of the time. Where the system refuses, nothing is lost.
fn widen_pipe(file: &File) {
    const PIPE: usize = 1 << 20;
    let is_pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    if is_pipe {
        let _ = rustix::pipe::fcntl_setpipe_size(file, PIPE);
    }
}

/// Reads a file of keys or certificates whole.
///
/// # Errors
///
/// [`Error::File`] or [`Error::TooLarge`].
pub fn read_key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let limit = cms::limits::KEY_FILE;
    // All of it at once: a growing buffer would leave copies of a secret behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(usize::try_from(limit + 1).unwrap_or(usize::MAX)));
    let file = File::open(path).map_err(Error::file("read", path))?;
    file.take(limit + 1).read_to_end(&mut contents).map_err(Error::file("read", path))?;
    if contents.len() as u64 > limit { Err(Error::TooLarge(path.to_path_buf())) } else { Ok(contents) }
}

/// Reads a file of at most `limit` bytes whole.
///
/// # Errors
///
/// [`Error::File`] or [`Error::TooLong`].
pub(crate) fn read_at_most(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::file("read", path))?;
    let mut contents = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut contents).map_err(Error::file("read", path))?;
    if contents.len() > limit { Err(Error::TooLong { path: path.to_path_buf(), limit }) } else { Ok(contents) }
}

/// Where output goes. What is not [finished](Output::finish) leaves no file behind.
pub struct Output(Kind);

enum Kind {
    /// A pipe, a device, standard output: written as it comes.
    Direct { file: File, path: PathBuf },
    /// A temporary file in the folder of the one that it becomes.
    Unfinished { file: File, temporary: Registered, path: PathBuf, permissions: fs::Permissions, replace: bool },
}

impl Output {
    /// Opens standard output; or a device or fifo; or a file that must not exist unless `replace`.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], or [`Error::File`].
    pub fn create(place: &Place, replace: bool) -> Result<Self> {
        let path = match place {
            Place::Standard => {
                let path = PathBuf::from("standard output");
                let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
                let file = file.map_err(Error::file("write", &path))?;
                widen_pipe(&file);
                return Ok(Self(Kind::Direct { file, path }));
            }
            Place::Path(path) => path,
        };
        let failed = Error::file("write", path);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(path).map_err(failed)?;
                return Ok(Self(Kind::Direct { file, path: path.clone() }));
            }
            Ok(_) if !replace => return Err(Error::Exists { path: path.clone(), replaceable: true }),
            _ => {}
        }
        Self::unfinished(path, 0o666, replace)
    }

    /// Opens a file that only its owner may read, and that must not exist when it is finished.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub(crate) fn create_secret(path: &Path) -> Result<Self> {
        Self::unfinished(path, 0o600, false)
    }

    /// Opens a file that only its owner may read, and that replaces another when it is finished.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub(crate) fn replace_secret(path: &Path) -> Result<Self> {
        Self::unfinished(path, 0o600, true)
    }

    /// Opens a file that everybody may read, whatever the umask says, and that replaces another when it is
    /// finished.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn replace_public(path: &Path) -> Result<Self> {
        let mut output = Self::unfinished(path, 0o644, true)?;
        if let Kind::Unfinished { permissions, .. } = &mut output.0 {
            permissions.set_mode(0o644);
        }
        Ok(output)
    }

    fn unfinished(path: &Path, mode: u32, replace: bool) -> Result<Self> {
        let failed = Error::file("write", path);
        // Behind a symbolic link the file is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        // As the umask says, or as the file that is replaced has it; but not before it is finished.
        let as_usual = fs::Permissions::from_mode(mode);
        let replaced = fs::metadata(&path).ok().map(|metadata| metadata.permissions());
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".offsite-").suffix(".unfinished").permissions(as_usual);
        // The lock keeps an interrupt from coming between creation and registration.
        let mut unfinished = unfinished();
        let temporary = builder.tempfile_in(folder(&path)).map_err(|error| failed(without_path(error)))?;
        let (file, temporary) = NamedTempFile::into_parts(temporary);
        let made = file.metadata().map_err(&failed)?.permissions();
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(&failed)?;
        let permissions = replaced.unwrap_or(made);
        unfinished.push(temporary.to_path_buf().into());
        drop(unfinished);
        Ok(Self(Kind::Unfinished { file, temporary: Registered(Some(temporary)), path, permissions, replace }))
    }

    /// Lets those start it, if it is a new file, who may read it; also where it replaces one that nobody could.
    pub(crate) fn make_executable(&mut self) {
        if let Kind::Unfinished { permissions, .. } = &mut self.0 {
            let mode = permissions.mode();
            permissions.set_mode(mode | (mode & 0o444) >> 2);
        }
    }

    /// Makes the output durable and gives it its name.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] where a file has appeared there meanwhile, or [`Error::File`].
    pub fn finish(self) -> Result<()> {
        match self.0 {
            Kind::Direct { .. } => Ok(()),
            Kind::Unfinished { file, mut temporary, path, permissions, replace } => {
                let failed = Error::file("write", &path);
                file.set_permissions(permissions).and_then(|()| file.sync_all()).map_err(&failed)?;
                let mut unfinished = unfinished();
                let Some(temporary) = temporary.take(&mut unfinished) else { return Ok(()) };
                let persisted = if replace { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
                persisted.map_err(|failure| match failure.error.kind() {
                    io::ErrorKind::AlreadyExists => Error::Exists { path: path.clone(), replaceable: true },
                    _ => failed(failure.error),
                })?;
                drop(unfinished);
                sync_folder(&path)
            }
        }
    }

    /// The file's name, for errors.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kind::Direct { path, .. } | Kind::Unfinished { path, .. } => path,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (Kind::Direct { file, .. } | Kind::Unfinished { file, .. }) = &mut self.0;
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same error without the temporary file's name, which means nothing to the user. The library
/// gives it out as text only.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((reason, _)) => io::Error::new(error.kind(), reason),
        None => error,
    }
}

/// The folder of a file.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    let folder = folder(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("write", folder))
}

/// A file without a name, for what need not outlive the process.
///
/// # Errors
///
/// Where none of the folders takes one.
pub fn nameless_file(beside: Option<&Path>) -> io::Result<File> {
    let folders = [
        beside.map(|path| folder(path).to_path_buf()),
        std::env::var_os("TMPDIR").map(PathBuf::from),
        Some("/var/tmp".into()),
    ];
    let mut result = Err(io::ErrorKind::NotFound.into());
    for folder in folders.into_iter().flatten() {
        result = tempfile::tempfile_in(folder);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Files that have their names, but are of use only together: dropping this removes them, and so
/// does an interrupt, unless they are [kept](Together::keep).
#[derive(Default)]
pub(crate) struct Together(Vec<PathBuf>);

impl Together {
    /// Adds a file that has its name.
    pub(crate) fn add(&mut self, path: PathBuf) {
        unfinished().push(path.clone().into());
        self.0.push(path);
    }

    /// They are complete.
    pub(crate) fn keep(mut self) {
        self.forget();
        self.0.clear();
    }

    fn forget(&self) {
        // They are numbered, so they were added in the order of their names.
        unfinished().retain(|file| self.0.binary_search_by(|path| path.as_path().cmp(file.path())).is_err());
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
        self.forget();
    }
}

/// A temporary file that an interrupt removes; so does dropping it.
struct Registered(Option<TempPath>);

impl Registered {
    fn take(&mut self, unfinished: &mut Vec<Unfinished>) -> Option<TempPath> {
        let path = self.0.take()?;
        unfinished.retain(|other| *other.path() != *path);
        Some(path)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.0.is_some() {
            drop(self.take(&mut unfinished()));
        }
    }
}
