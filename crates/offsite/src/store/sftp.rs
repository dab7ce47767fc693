//! A store in a directory on another host, over SFTP: an object is a file, a folder of objects a
//! directory, as in a directory of this host, which it can be copied to and from.
//!
//! The host's `ssh` logs in, as its configuration says: keys, known hosts and jumps are a matter of
//! `~/.ssh/config`. The environment variable `OFFSITE_SSH` holds another program with options,
//! separated by spaces, to be run in place of `ssh`. Nobody is asked for anything: the host's key
//! must be known, and the key must be in an agent or have no passphrase.
//!
//! SFTP has no right to add alone: whoever may log in to put, may read, change and delete as well,
//! as far as the server lets its user. What is put is safe from the host that puts it only where
//! something behind the server keeps it, such as snapshots of the file system.
//!
//! A connection that is lost, or silent for a minute, is made anew, and what was under way is done
//! again. Of a put whose answer was lost nobody knows whether it was done: what lies under its name
//! is then compared with what was put.
//!
//! An object is written under a temporary name, synced (`fsync@openssh.com`), and linked to its name
//! (`hardlink@openssh.com`), which fails where that is taken. On a server without these extensions
//! an object's durability is the server's own affair, and two programs that put one name at the same
//! time may both succeed: then the last one's object stays. A server follows links, so links among
//! the folders are only seen, and passed over or refused, when nobody makes them in that moment.
//!
//! `STORE` and `.offsite-….unfinished` are as in a directory.

mod new_file;
mod remote;
mod session;
mod ssh;
mod walk;
mod wire;

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Mutex;

use bytes::Bytes;

use self::new_file::{Maker, NotMade};
use self::remote::{Remote, locked, missing, reason};
use self::session::{Fault, Session};
use self::ssh::Ssh;
use self::wire::Kind;
use super::pace::Pace;
use super::patience::Patience;
use super::{Delete, Listed, Notice, Put, PutSettings, Read, Reason, Result, SftpLocation, StoreId};
use crate::names::{Folder, ObjectName};

const ID_FILE: &str = "STORE";

/// How often a put starts anew because a [`Delete`] removed the emptied folder that it had found.
const ATTEMPTS: u32 = 16;

/// Puts into a directory on another host.
pub(super) struct SftpPut {
    remote: Remote,
    id: StoreId,
    maker: Maker,
    /// Folders that this handle has seen.
    known: Mutex<BTreeSet<String>>,
    /// Objects that an earlier attempt of this handle may have put.
    in_doubt: Mutex<BTreeSet<ObjectName>>,
}

impl SftpPut {
    /// Opens the directory, which is made if its parent exists.
    pub(super) fn open(location: &SftpLocation, settings: &PutSettings) -> Result<Self> {
        Self::open_over(Ssh::from_environment(), location, settings)
    }

    fn open_over(ssh: Ssh, location: &SftpLocation, settings: &PutSettings) -> Result<Self> {
        let remote = Remote::new(ssh, location, Patience::new(settings.notice.clone()));
        let maker = Maker::new(Pace::new(settings.limit));
        let id = remote.attempt("open", "", |session| {
            if !remote.is_there(session)? {
                remote.make(session)?;
            }
            read_or_make_id(&remote, session, settings.new_id, &maker)
        })?;
        Ok(Self { remote, id, maker, known: Mutex::default(), in_doubt: Mutex::default() })
    }

    /// One attempt, over one connection.
    fn try_put(&self, session: &Session, object: &ObjectName, bytes: &[u8]) -> Result<(), Reason> {
        self.maker.tidy(session);
        let is_in_doubt = locked(&self.in_doubt).contains(object);
        if is_in_doubt && self.holds_these(session, object, bytes)? {
            return Ok(());
        }
        let (folder, name) = object.split();
        let path = self.remote.path(folder);
        let mut attempt = 1;
        loop {
            let made = self.make_folder(session, folder);
            match made.and_then(|()| self.maker.create(session, &path, name, bytes)) {
                Ok(()) => return Ok(()),
                Err(NotMade::NoFolder(_)) if attempt < ATTEMPTS => {
                    locked(&self.known).clear();
                    attempt += 1;
                }
                Err(NotMade::InDoubt(fault)) => {
                    locked(&self.in_doubt).insert(object.clone());
                    return Err(reason(fault));
                }
                // What is in doubt may come to its name even now: the server reads what was sent to it.
                Err(NotMade::Taken) if is_in_doubt && self.holds_these(session, object, bytes)? => return Ok(()),
                Err(NotMade::Taken) => return Err(Reason::AlreadyExists),
                Err(NotMade::NoFolder(fault)) => return Err(reason(fault)),
                Err(NotMade::Because(reason)) => return Err(reason),
            }
        }
    }

    /// Whether an object is there, and durable, that has these contents; another one is an error.
    fn holds_these(&self, session: &Session, object: &ObjectName, bytes: &[u8]) -> Result<bool, Reason> {
        let size = match self.remote.status(session, object) {
            Err(Reason::NotFound) => return Ok(false),
            status => status?.size,
        };
        if size != Some(bytes.len() as u64) {
            return Err(Reason::AlreadyExists);
        }
        let mut held = Vec::new();
        self.remote.read(session, object.as_str(), bytes.len() as u64, bytes.len(), &mut held)?;
        if held != bytes {
            return Err(Reason::AlreadyExists);
        }
        new_file::settle(session, &self.remote.path(object.as_str()))?;
        Ok(true)
    }

    /// Makes what is missing of a folder.
    fn make_folder(&self, session: &Session, folder: &str) -> Result<(), NotMade> {
        if locked(&self.known).contains(folder) {
            return Ok(());
        }
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        for path in ends.map(|end| self.remote.path(&folder[..end])) {
            let is_folder = || session.link_status(&path).map(|there| there.map(|there| there.is_folder()));
            let there = match is_folder()? {
                None => match session.make_folder(&path) {
                    // Somebody else made it, and may have taken it away again.
                    Err(fault @ Fault::Refused(_)) => is_folder()?.ok_or_else(|| NotMade::no_folder(fault))?,
                    made => made.map(|()| true)?,
                },
                Some(there) => there,
            };
            if !there {
                return Err(NotMade::Because(Reason::NotAnObject));
            }
        }
        locked(&self.known).insert(folder.to_owned());
        Ok(())
    }
}

impl Put for SftpPut {
    fn put(&self, object: &ObjectName, bytes: Bytes) -> Result<()> {
        let put = self.remote.attempt("put", object.as_str(), |session| self.try_put(session, object, &bytes));
        if put.as_ref().map_or_else(|error| !error.is_retryable(), |()| true) {
            locked(&self.in_doubt).remove(object);
        }
        put
    }

    /// Each waits for several answers in turn: while one does, another can send.
    fn at_once(&self) -> usize {
        4
    }

    fn id(&self) -> Result<Option<StoreId>> {
        Ok(Some(self.id))
    }

    fn holds(&self, object: &ObjectName, size: u64) -> Result<Option<bool>> {
        self.remote.attempt("look for", object.as_str(), |session| match self.remote.status(session, object) {
            Err(Reason::NotFound | Reason::NotAnObject) => Ok(Some(false)),
            status => Ok(Some(status?.size == Some(size))),
        })
    }
}

/// Reads from a directory on another host.
pub(super) struct SftpRead(Remote);

impl SftpRead {
    pub(super) fn open(location: &SftpLocation, notice: Notice) -> Result<Self> {
        Self::open_over(Ssh::from_environment(), location, notice)
    }

    fn open_over(ssh: Ssh, location: &SftpLocation, notice: Notice) -> Result<Self> {
        open_existing(ssh, location, notice).map(Self)
    }
}

impl Read for SftpRead {
    fn get(&self, object: &ObjectName, limit: usize) -> Result<Vec<u8>> {
        self.get_in(object, limit, Vec::new())
    }

    fn get_in(&self, object: &ObjectName, limit: usize, mut memory: Vec<u8>) -> Result<Vec<u8>> {
        self.0.attempt("get", object.as_str(), |session| {
            let size = self.0.status(session, object)?.size;
            let size = size.ok_or_else(|| Reason::Io(io::Error::other("the server does not tell the file's size")))?;
            self.0.read(session, object.as_str(), size, limit, &mut memory)
        })?;
        Ok(memory)
    }

    fn list(&self, folder: &Folder, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<()> {
        let mut last: Option<ObjectName> = None;
        self.0.attempt("list", folder.as_str(), |session| {
            let skip = last.clone();
            let mut each = |listed: Listed| {
                // Another connection begins at the beginning.
                if skip.as_ref().is_some_and(|last| listed.object <= *last) {
                    return ControlFlow::Continue(());
                }
                last = Some(listed.object.clone());
                each(listed)
            };
            if !is_among_folders(&self.0, session, folder)? {
                return Ok(());
            }
            let mut walk = walk::Walk::new(session, self.0.path(""), &mut each);
            walk.folder(folder).map(|_| ()).map_err(reason)
        })
    }
}

/// Whether a folder is there. Something else in its place, or on the way to it, is an error.
fn is_among_folders(remote: &Remote, session: &Session, folder: &Folder) -> Result<bool, Reason> {
    let folder = folder.as_str();
    let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
    for path in ends.map(|end| &folder[..end]).filter(|path| !path.is_empty()) {
        match session.link_status(&remote.path(path)).map_err(reason)? {
            None => return Ok(false),
            Some(there) if there.is_folder() => {}
            Some(_) => return Err(Reason::NotAnObject),
        }
    }
    Ok(true)
}

/// Deletes from a directory on another host.
pub(super) struct SftpDelete(Remote);

impl SftpDelete {
    pub(super) fn open(location: &SftpLocation, notice: Notice) -> Result<Self> {
        Self::open_over(Ssh::from_environment(), location, notice)
    }

    fn open_over(ssh: Ssh, location: &SftpLocation, notice: Notice) -> Result<Self> {
        open_existing(ssh, location, notice).map(Self)
    }

    /// A folder without objects is no more than clutter. One that is not empty stays, and so does
    /// what lies above it.
    fn remove_empty(&self, session: &Session, mut folder: &str) {
        while !folder.is_empty() && session.of_path(Kind::RemoveFolder, &self.0.path(folder)).done().is_ok() {
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

impl Delete for SftpDelete {
    fn delete(&self, object: &ObjectName) -> Result<()> {
        self.0.attempt("delete", object.as_str(), |session| {
            match self.0.status(session, object) {
                Ok(_) => match session.of_path(Kind::Remove, &self.0.path(object.as_str())).done().map_err(missing) {
                    Err(Reason::NotFound) => {}
                    removed => removed?,
                },
                Err(Reason::NotFound) => {}
                Err(reason) => return Err(reason),
            }
            self.remove_empty(session, object.split().0);
            Ok(())
        })
    }
}

fn open_existing(ssh: Ssh, location: &SftpLocation, notice: Notice) -> Result<Remote> {
    let remote = Remote::new(ssh, location, Patience::short(notice));
    remote.attempt("open", "", |session| if remote.is_there(session)? { Ok(()) } else { Err(Reason::NoStore) })?;
    Ok(remote)
}

/// The store's id. Of several programs that make one at once, one wins, and all read its id.
fn read_or_make_id(remote: &Remote, session: &Session, new_id: StoreId, maker: &Maker) -> Result<StoreId, Reason> {
    let line = match read_id(remote, session) {
        Err(Reason::NotFound) => {
            let line = format!("{new_id}\n");
            match maker.create(session, &remote.path(""), ID_FILE, line.as_bytes()) {
                Ok(()) | Err(NotMade::Taken) => {}
                Err(NotMade::Because(reason)) => return Err(reason),
                Err(NotMade::InDoubt(fault)) => return Err(reason(fault)),
                Err(NotMade::NoFolder(_)) => return Err(Reason::NoStore),
            }
            read_id(remote, session)?
        }
        Err(Reason::TooLarge { .. }) => return Err(Reason::BadId),
        line => line?,
    };
    str::from_utf8(&line).ok().and_then(|line| line.strip_suffix('\n')).ok_or(Reason::BadId)?.parse()
}

fn read_id(remote: &Remote, session: &Session) -> Result<Vec<u8>, Reason> {
    let status = session.link_status(&remote.path(ID_FILE)).map_err(reason)?.ok_or(Reason::NotFound)?;
    if !status.is_file() {
        return Err(Reason::NotAnObject);
    }
    let mut line = Vec::new();
    remote.read(session, ID_FILE, status.size.unwrap_or(0), 64, &mut line)?;
    Ok(line)
}

/// What a packet says: its kind, and what follows its number, or all of it if it is a server's first.
pub(super) fn read_packet(bytes: &[u8]) -> String {
    let answer = bytes.split_first().map(|(kind, payload)| wire::answer(*kind, payload.to_vec()));
    format!("{:?} {answer:?}", wire::extensions(bytes))
}

#[cfg(test)]
mod tests;
