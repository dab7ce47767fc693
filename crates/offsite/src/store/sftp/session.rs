//! One connection: requests of several threads go out as they come, many before the first answer,
//! and each waits for its own.
//!
//! A server is trusted with nothing: it may send only what was asked for, in packets of a bounded
//! length. When it is silent for too long while something is asked, `ssh` is ended, and with it
//! every wait.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ssh::{End, LastWords, Ssh};
use super::wire::{self, Answer, Attributes, Extensions, Kind, Name, Request, Status};
use crate::store::{Reason, SftpLocation};

/// A piece of a file. Every server takes packets of so many bytes (§3).
pub(super) const PIECE: usize = 32 << 10;

/// How many pieces are under way at once: 2 MiB, as much as OpenSSH's channel takes.
pub(super) const WINDOW: usize = 64;

/// How long a server may say nothing while something is asked of it: as long as `ssh` takes to find
/// a dead line.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// The longest answer that is no list of names: a piece, and what stands around it.
pub(super) const ANSWER: u32 = (1 + 32) << 10;

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server's answer.
    Refused(Status),
    /// There is none, and will be none: it may have been done nevertheless.
    Ended(End),
}

impl Fault {
    /// Whether the server's answer is this.
    pub(super) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Refused(status) if status.code == code)
    }
}

/// A file or folder that is open on the server.
#[derive(Clone, Debug)]
pub(super) struct Handle(Vec<u8>);

/// A connection. Dropped, it is closed.
pub(super) struct Session {
    line: Arc<Line>,
    input: Mutex<ChildStdin>,
    extensions: Extensions,
}

impl Session {
    /// Logs in. A server may be silent for so long while something is asked of it.
    pub(super) fn connect(ssh: &Ssh, location: &SftpLocation, silence: Duration) -> Result<Self, ConnectError> {
        let (mut child, words) = ssh.start(location).map_err(ConnectError::NotStarted)?;
        let input = child.stdin.take().expect("its stdin is a pipe");
        let output = child.stdout.take().expect("its stdout is a pipe");
        let line = Arc::new(Line::new(child, silence));
        thread::spawn({
            let line = line.clone();
            move || line.listen(output, words)
        });
        thread::spawn({
            let line = line.clone();
            move || line.watch()
        });
        let mut session = Self { line, input: Mutex::new(input), extensions: Extensions::default() };
        // Where the connection ends at once, its own end tells more than ours.
        let _ = session.write(&[&Request::new(Kind::Init, wire::VERSION).end()]);
        session.extensions = session.line.extensions().map_err(ConnectError::Ended)?;
        Ok(session)
    }

    pub(super) fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Whether requests are in vain.
    pub(super) fn is_over(&self) -> bool {
        self.line.state().end.is_some()
    }

    /// Sends a request, made of its number.
    fn ask(&self, most: u32, data: &[u8], request: impl FnOnce(u32) -> Request) -> Pending<'_> {
        let id = self.line.expect_answer(most);
        let head = request(id).followed_by(data.len());
        // When it cannot be sent, the connection ends, and that is what the wait will tell.
        let _ = self.write(&[&head, data]);
        Pending { line: &self.line, id }
    }

    fn write(&self, packet: &[&[u8]]) -> io::Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let written = packet.iter().try_for_each(|piece| input.write_all(piece));
        if written.is_err() {
            // Half a packet may be sent: nothing can follow it.
            self.line.kill();
        }
        written
    }

    /// Asks for something that is named by a path alone.
    pub(super) fn of_path(&self, kind: Kind, path: &str) -> Pending<'_> {
        self.ask(ANSWER, &[], |id| Request::new(kind, id).text(path))
    }

    /// What lies there; links are not followed. None where there is nothing.
    pub(super) fn link_status(&self, path: &str) -> Result<Option<Attributes>, Fault> {
        self.of_path(Kind::LinkStat, path).attributes()
    }

    pub(super) fn open(&self, path: &str, flags: u32) -> Result<Handle, Fault> {
        self.ask(ANSWER, &[], |id| Request::new(Kind::Open, id).text(path).number(flags).number(0)).handle()
    }

    pub(super) fn open_folder(&self, path: &str) -> Result<Handle, Fault> {
        self.of_path(Kind::OpenFolder, path).handle()
    }

    pub(super) fn close(&self, handle: &Handle) -> Pending<'_> {
        self.ask(ANSWER, &[], |id| Request::new(Kind::Close, id).text(&handle.0))
    }

    pub(super) fn write_piece(&self, handle: &Handle, offset: u64, piece: &[u8]) -> Pending<'_> {
        let length = u32::try_from(piece.len()).expect("a piece is short");
        self.ask(ANSWER, piece, |id| Request::new(Kind::Write, id).text(&handle.0).long(offset).number(length))
    }

    pub(super) fn read_piece(&self, handle: &Handle, offset: u64, length: usize) -> Pending<'_> {
        let length = u32::try_from(length).expect("a piece is short");
        self.ask(ANSWER, &[], |id| Request::new(Kind::Read, id).text(&handle.0).long(offset).number(length))
    }

    pub(super) fn read_folder(&self, handle: &Handle) -> Pending<'_> {
        self.ask(wire::LONGEST, &[], |id| Request::new(Kind::ReadFolder, id).text(&handle.0))
    }

    pub(super) fn make_folder(&self, path: &str) -> Result<(), Fault> {
        self.ask(ANSWER, &[], |id| Request::new(Kind::MakeFolder, id).text(path).number(0)).done()
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.ask(ANSWER, &[], |id| Request::new(Kind::Rename, id).text(from).text(to)).done()
    }

    /// Gives a file a second name, where the server can; it fails where that is taken.
    pub(super) fn link(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.ask(ANSWER, &[], |id| Request::new(Kind::Extended, id).text(wire::LINK).text(from).text(to)).done()
    }

    /// Makes a file durable, where the server can.
    pub(super) fn sync(&self, handle: &Handle) -> Pending<'_> {
        self.ask(ANSWER, &[], |id| Request::new(Kind::Extended, id).text(wire::SYNC).text(&handle.0))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.line.kill();
    }
}

/// Why there is no connection.
pub(super) enum ConnectError {
    NotStarted(Reason),
    Ended(End),
}

/// A request that is under way. One that is not waited for is forgotten.
pub(super) struct Pending<'a> {
    line: &'a Line,
    id: u32,
}

impl Pending<'_> {
    fn wait(self) -> Result<Answer, Fault> {
        let mut state = self.line.state();
        loop {
            match state.asked.get_mut(&self.id) {
                Some(Asked { answer: Some(_), .. }) => {
                    let asked = state.asked.remove(&self.id).expect("it is there");
                    return Ok(asked.answer.expect("it has come"));
                }
                _ => match &state.end {
                    Some(end) => return Err(Fault::Ended(end.clone())),
                    None => state = self.line.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                },
            }
        }
    }

    /// Ends the connection over an answer to something else.
    fn not_this(line: &Line, answer: Answer) -> Fault {
        match answer {
            Answer::Status(status) if status.code != Status::OK => Fault::Refused(status),
            _ => {
                let end = line.end(End::not_sftp("an answer to another question"));
                line.kill();
                Fault::Ended(end)
            }
        }
    }

    pub(super) fn done(self) -> Result<(), Fault> {
        let line = self.line;
        match self.wait()? {
            Answer::Status(status) if status.code == Status::OK => Ok(()),
            answer => Err(Self::not_this(line, answer)),
        }
    }

    fn handle(self) -> Result<Handle, Fault> {
        let line = self.line;
        match self.wait()? {
            Answer::Handle(handle) => Ok(Handle(handle)),
            answer => Err(Self::not_this(line, answer)),
        }
    }

    /// None where there is nothing of that name.
    pub(super) fn attributes(self) -> Result<Option<Attributes>, Fault> {
        let line = self.line;
        match self.wait()? {
            Answer::Attributes(attributes) => Ok(Some(attributes)),
            Answer::Status(status) if status.code == Status::NO_SUCH_FILE => Ok(None),
            answer => Err(Self::not_this(line, answer)),
        }
    }

    /// Bytes of a file, as [`wire::data`] shows them; None at its end.
    pub(super) fn data(self) -> Result<Option<Vec<u8>>, Fault> {
        let line = self.line;
        match self.wait()? {
            Answer::Data(packet) => Ok(Some(packet)),
            Answer::Status(status) if status.code == Status::END => Ok(None),
            answer => Err(Self::not_this(line, answer)),
        }
    }

    /// Some of a folder's entries; None at its end.
    pub(super) fn names(self) -> Result<Option<Vec<Name>>, Fault> {
        let line = self.line;
        match self.wait()? {
            Answer::Names(names) => Ok(Some(names)),
            Answer::Status(status) if status.code == Status::END => Ok(None),
            answer => Err(Self::not_this(line, answer)),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        match state.asked.get_mut(&self.id) {
            Some(asked) if asked.answer.is_none() => asked.forgotten = true,
            _ => _ = state.asked.remove(&self.id),
        }
    }
}

/// What the threads of a connection share.
struct Line {
    state: Mutex<State>,
    /// An answer came, or the end.
    changed: Condvar,
    /// The end came.
    ended: Condvar,
    child: Mutex<Child>,
    silence: Duration,
}

struct State {
    /// What the server told of itself.
    extensions: Option<Extensions>,
    /// The requests that wait, by their numbers.
    asked: HashMap<u32, Asked>,
    next: u32,
    /// Since when the server is silent.
    heard: Instant,
    end: Option<End>,
}

struct Asked {
    /// The longest answer that may come.
    most: u32,
    answer: Option<Answer>,
    /// Nobody waits for it any more.
    forgotten: bool,
}

impl Line {
    fn new(child: Child, silence: Duration) -> Self {
        let heard = Instant::now();
        let state = State { extensions: None, asked: HashMap::new(), next: 0, heard, end: None };
        let (changed, ended) = (Condvar::new(), Condvar::new());
        Self { state: Mutex::new(state), changed, ended, child: Mutex::new(child), silence }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends `ssh`, and so the connection.
    fn kill(&self) {
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    /// Ends every wait; returns the first reason for it.
    fn end(&self, end: End) -> End {
        let end = self.state().end.get_or_insert(end).clone();
        self.changed.notify_all();
        self.ended.notify_all();
        end
    }

    fn expect_answer(&self, most: u32) -> u32 {
        let mut state = self.state();
        if state.asked.is_empty() {
            state.heard = Instant::now();
        }
        while state.asked.contains_key(&state.next) {
            state.next = state.next.wrapping_add(1);
        }
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.asked.insert(id, Asked { most, answer: None, forgotten: false });
        id
    }

    fn extensions(&self) -> Result<Extensions, End> {
        let mut state = self.state();
        loop {
            match (&state.extensions, &state.end) {
                (_, Some(end)) => return Err(end.clone()),
                (Some(extensions), _) => return Ok(*extensions),
                _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Reads all that the server sends, to the end.
    fn listen(&self, output: ChildStdout, words: LastWords) {
        let mut output = io::BufReader::with_capacity(2 * PIECE, output);
        let heard = self.hello(&mut output).and_then(|()| {
            loop {
                self.hear(&mut output)?;
            }
        });
        match heard {
            Err(Unheard::Nonsense(what)) => {
                self.end(End::not_sftp(what));
                self.kill();
            }
            Err(Unheard::Ended) | Ok(()) => {}
        }
        drop(output);
        let end = words.at_end_of(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner));
        self.end(end);
    }

    fn hello(&self, output: &mut impl Read) -> Result<(), Unheard> {
        let length = number(output)?;
        if length > ANSWER {
            return Err(Unheard::Nonsense("does a start-up file of its shell print something?"));
        }
        let extensions =
            wire::extensions(&bytes(output, length)?).map_err(|_| Unheard::Nonsense("it greets otherwise"))?;
        let mut state = self.state();
        (state.extensions, state.heard) = (Some(extensions), Instant::now());
        self.changed.notify_all();
        Ok(())
    }

    fn hear(&self, output: &mut impl Read) -> Result<(), Unheard> {
        let (length, kind, id) = (number(output)?, byte(output)?, number(output)?);
        let most = self.state().asked.get(&id).filter(|asked| asked.answer.is_none()).map(|asked| asked.most);
        let most = most.ok_or(Unheard::Nonsense("an answer that nobody asked for"))?;
        let rest = length.checked_sub(5).filter(|_| length <= most).ok_or(Unheard::Nonsense("a packet's length"))?;
        let answer = wire::answer(kind, bytes(output, rest)?).map_err(|_| Unheard::Nonsense("a broken packet"))?;
        let mut state = self.state();
        state.heard = Instant::now();
        match state.asked.get_mut(&id) {
            Some(asked) if !asked.forgotten => asked.answer = Some(answer),
            _ => _ = state.asked.remove(&id),
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Ends the connection when the server is silent for too long.
    fn watch(&self) {
        let mut state = self.state();
        while state.end.is_none() {
            let is_asked = state.extensions.is_none() || state.asked.values().any(|asked| asked.answer.is_none());
            if is_asked && state.heard.elapsed() > self.silence {
                drop(state);
                self.end(End::silence(self.silence));
                self.kill();
                return;
            }
            state = self.ended.wait_timeout(state, self.silence / 20).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Why no more packets are read.
enum Unheard {
    Ended,
    Nonsense(&'static str),
}

fn bytes(output: &mut impl Read, length: u32) -> Result<Vec<u8>, Unheard> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| Unheard::Ended)?];
    output.read_exact(&mut bytes).map_err(|_| Unheard::Ended)?;
    Ok(bytes)
}

fn array<const LENGTH: usize>(output: &mut impl Read) -> Result<[u8; LENGTH], Unheard> {
    let mut bytes = [0; LENGTH];
    output.read_exact(&mut bytes).map_err(|_| Unheard::Ended)?;
    Ok(bytes)
}

fn byte(output: &mut impl Read) -> Result<u8, Unheard> {
    array(output).map(|[byte]| byte)
}

fn number(output: &mut impl Read) -> Result<u32, Unheard> {
    array(output).map(u32::from_be_bytes)
}
