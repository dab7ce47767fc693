//! Hard links, kept until all files are there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Memory for links, in bytes: 1 MiB; more go to a file without a name.
const MEMORY: usize = 1 << 20;

/// Links of any number, from several threads.
pub(super) struct Links {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    in_file: u64,
    /// What follows.
    buffer: Vec<u8>,
}

impl Links {
    /// Keeps what does not fit into memory in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), state: Mutex::default() }
    }

    /// Keeps a link.
    pub(super) fn push(&self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for name in [path, target] {
            let length = u32::try_from(name.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            state.buffer.extend_from_slice(&length.to_le_bytes());
            state.buffer.extend_from_slice(name);
        }
        if state.buffer.len() < MEMORY {
            return Ok(());
        }
        let State { file, in_file, buffer } = &mut *state;
        let file = match file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.folder)?),
        };
        file.write_all_at(buffer, *in_file)?;
        *in_file += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    /// Gives back path and target of each.
    pub(super) fn each<E: From<io::Error>>(
        self,
        mut visit: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let State { file, in_file, buffer } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stored = file.map(|file| At { file, at: 0, end: in_file });
        let stored: Box<dyn Read> = match stored {
            Some(stored) => Box::new(io::BufReader::with_capacity(64 << 10, stored)),
            None => Box::new(io::empty()),
        };
        let mut source = stored.chain(&buffer[..]);
        while let Some(path) = next(&mut source)? {
            let target = next(&mut source)?.ok_or_else(|| E::from(io::ErrorKind::UnexpectedEof.into()))?;
            visit(path, target)?;
        }
        Ok(())
    }
}

/// The next name, or None at the end.
fn next(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if source.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    source.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length);
    let mut name = Vec::new();
    source.take(length.into()).read_to_end(&mut name)?;
    Ok(Some(name))
}

/// A file from its start, wherever its own position is.
struct At {
    file: File,
    at: u64,
    end: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
