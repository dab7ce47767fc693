//! The store's directory on its host, for as many connections as it takes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::session::{ConnectError, Fault, Handle, PIECE, SILENCE, Session, WINDOW};
use super::ssh::Ssh;
use super::wire::{self, Attributes, Kind, Status};
use crate::names::ObjectName;
use crate::store::patience::Patience;
use crate::store::{Error, Location, Reason, Result, SftpLocation};

/// The directory, and its name for errors.
pub(super) struct Remote {
    ssh: Ssh,
    location: SftpLocation,
    name: String,
    patience: Patience,
    session: Mutex<Option<Arc<Session>>>,
    /// Whether the server has ever let us in.
    reached: AtomicBool,
}

impl Remote {
    pub(super) fn new(ssh: Ssh, location: &SftpLocation, patience: Patience) -> Self {
        let name = Location::Sftp(location.clone()).to_string();
        let (session, reached) = (Mutex::default(), AtomicBool::new(false));
        Self { ssh, location: location.clone(), name, patience, session, reached }
    }

    /// The path of an object, of a folder, or of the store itself (``).
    pub(super) fn path(&self, below: &str) -> String {
        let store = &self.location.path;
        if below.is_empty() { store.clone() } else { format!("{store}/{below}") }
    }

    /// Does something over a connection, and does it again over another one when that is lost.
    pub(super) fn attempt<T>(
        &self,
        action: &'static str,
        object: &str,
        mut call: impl FnMut(&Session) -> Result<T, Reason>,
    ) -> Result<T> {
        let object = Some(object.to_owned()).filter(|object| !object.is_empty());
        self.patience.attempt(|| {
            let answer = self.session().and_then(|session| call(&session));
            answer.map_err(|reason| Error { store: self.name.clone(), action, object: object.clone(), reason })
        })
    }

    /// The connection, or a new one. While one thread logs in the others wait for it.
    fn session(&self) -> Result<Arc<Session>, Reason> {
        let mut session = locked(&self.session);
        if let Some(session) = session.as_ref().filter(|session| !session.is_over()) {
            return Ok(session.clone());
        }
        *session = None;
        let new = Session::connect(&self.ssh, &self.location, SILENCE).map_err(|error| match error {
            ConnectError::NotStarted(reason) => reason,
            ConnectError::Ended(end) => end.before_login(self.reached.load(Ordering::Relaxed)),
        })?;
        self.reached.store(true, Ordering::Relaxed);
        Ok(session.insert(Arc::new(new)).clone())
    }

    /// Whether the directory is there. A link to one is as good.
    pub(super) fn is_there(&self, session: &Session) -> Result<bool, Reason> {
        self.is_folder(session, &self.location.path)
    }

    fn is_folder(&self, session: &Session, path: &str) -> Result<bool, Reason> {
        let attributes = session.of_path(Kind::Stat, path).attributes().map_err(reason)?;
        Ok(attributes.is_some_and(|attributes| attributes.is_folder()))
    }

    /// Makes the last component of the directory's path. One that appears meanwhile is as good.
    pub(super) fn make(&self, session: &Session) -> Result<(), Reason> {
        let path = &self.location.path;
        let parent = match path.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((parent, _)) => parent,
            None => ".",
        };
        if !self.is_folder(session, parent)? {
            return Err(Reason::NoParent { parent: PathBuf::from(parent) });
        }
        match session.make_folder(path) {
            Err(_) if self.is_there(session)? => Ok(()),
            made => made.map_err(reason),
        }
    }

    /// What an object is, unless it or what lies on the way to it is something else. A server
    /// follows links, so each folder is looked at.
    pub(super) fn status(&self, session: &Session, object: &ObjectName) -> Result<Attributes, Reason> {
        let name = object.as_str();
        let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        let asked: Vec<_> =
            folders.chain([name]).map(|path| session.of_path(Kind::LinkStat, &self.path(path))).collect();
        let mut last = Attributes::default();
        let objects_own = asked.len() - 1;
        for (number, asked) in asked.into_iter().enumerate() {
            last = asked.attributes().map_err(reason)?.ok_or(Reason::NotFound)?;
            if !(if number == objects_own { last.is_file() } else { last.is_folder() }) {
                return Err(Reason::NotAnObject);
            }
        }
        Ok(last)
    }

    /// Reads a whole file of at most so many bytes.
    pub(super) fn read(
        &self,
        session: &Session,
        object: &str,
        size: u64,
        limit: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        let size = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or(Reason::TooLarge { limit })?;
        let handle = session.open(&self.path(object), wire::READ).map_err(missing)?;
        bytes.clear();
        bytes.reserve_exact(size);
        let read = read(session, &handle, size, bytes);
        drop(session.close(&handle));
        read
    }
}

/// Reads a file's first bytes, many pieces at once.
fn read(session: &Session, handle: &Handle, size: usize, bytes: &mut Vec<u8>) -> Result<(), Reason> {
    let mut under_way = VecDeque::new();
    let mut next = 0;
    while bytes.len() < size {
        while under_way.len() < WINDOW && next < size {
            let length = PIECE.min(size - next);
            under_way.push_back((session.read_piece(handle, next as u64, length), length));
            next += length;
        }
        let (piece, length) = under_way.pop_front().expect("what is not read is under way");
        let packet = piece.data().map_err(reason)?;
        let piece = packet.as_deref().map(wire::data).filter(|piece| !piece.is_empty() && piece.len() <= length);
        let piece = piece.ok_or_else(|| Reason::Io(io::Error::other("the file is shorter than the server told")))?;
        bytes.extend(piece);
        if piece.len() < length {
            // A server may give less than it was asked for; what is under way begins too late.
            under_way.clear();
            next = bytes.len();
        }
    }
    Ok(())
}

pub(super) fn missing(fault: Fault) -> Reason {
    if fault.is(Status::NO_SUCH_FILE) { Reason::NotFound } else { reason(fault) }
}

pub(super) fn reason(fault: Fault) -> Reason {
    let status = match fault {
        Fault::Ended(end) => return end.after_login(),
        Fault::Refused(status) => status,
    };
    let text = match &*status.message {
        "" => format!("the server refuses with status {}", status.code),
        said => format!("the server says: {}", said.escape_debug()),
    };
    let error = |kind| io::Error::new(kind, text);
    match status.code {
        Status::PERMISSION_DENIED | Status::WRITE_PROTECTED => {
            Reason::PermissionDenied(error(io::ErrorKind::PermissionDenied))
        }
        Status::NO_SPACE => Reason::Full(error(io::ErrorKind::StorageFull)),
        Status::QUOTA_EXCEEDED => Reason::Full(error(io::ErrorKind::QuotaExceeded)),
        _ => Reason::Io(error(io::ErrorKind::Other)),
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
