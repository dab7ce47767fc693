//! One connection by way of the proxy: a thread reads and a thread writes in each direction.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::http::{self, LONGEST_HEAD, Request};
use super::line::{Item, Sender, Shape, TRAVELLING, Travelling, buffer};
use super::{Connections, Cut, Fault, Shared};

/// How long a thread waits for its socket before it looks whether the connection still is.
const LOOK: Duration = Duration::from_millis(20);

/// The sockets are closed when the last thread lets go of this.
pub(super) struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// The connection was reset: its threads end.
    dead: AtomicBool,
    /// The next bytes from the server are an answer that gets lost.
    loses_answer: AtomicBool,
    /// What still comes from the server is for nobody.
    is_cut: AtomicBool,
}

/// Forwards a client's connection until both sides have ended it.
pub(super) fn serve(client: TcpStream, shared: &Arc<Shared>) {
    let shape = shared.shape();
    // A connection takes a round trip.
    thread::sleep(shape.delay * 2);
    let Ok(server) = TcpStream::connect(shared.server) else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a stream has options");
        stream.set_read_timeout(Some(LOOK)).expect("a stream has options");
        stream.set_write_timeout(Some(LOOK)).expect("a stream has options");
    }
    let [dead, loses_answer, is_cut] = [false; 3].map(AtomicBool::new);
    let connection = Arc::new(Connection { client, server, dead, loses_answer, is_cut });
    {
        let mut state = shared.state();
        if state.over || state.connections == Connections::Refuse {
            connection.reset();
            return;
        }
        state.there.retain(|other| other.strong_count() > 0);
        state.there.push(Arc::downgrade(&connection));
    }
    let (to_server, at_server) = sync_channel(TRAVELLING);
    let (to_client, at_client) = sync_channel(TRAVELLING);
    let (answers, to_client) = (Sender::new(to_client.clone()), Sender::new(to_client));
    let to_server = Sender::new(to_server);
    thread::scope(|scope| {
        scope.spawn(|| connection.write(&connection.server, at_server));
        scope.spawn(|| connection.write(&connection.client, at_client));
        scope.spawn(|| connection.forward_answers(answers, shared));
        let client = Client { connection: &connection, shared, to_server, to_client, unread: Vec::new(), taken: 0 };
        client.forward_requests();
    });
}

impl Connection {
    /// Ends it without good manners.
    pub(super) fn reset(&self) {
        for stream in [&self.client, &self.server] {
            // Makes the close, by the last thread, a reset. An error means that it is closed already.
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        }
        self.dead.store(true, Ordering::SeqCst);
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Reads what there is. None when there will be no more.
    fn read(&self, mut from: &TcpStream, into: &mut Vec<u8>) -> Option<()> {
        loop {
            if self.is_dead() {
                return None;
            }
            match from.read(into) {
                Ok(0) => return None,
                Ok(length) => {
                    into.truncate(length);
                    return Some(());
                }
                Err(error) if is_wait(error.kind()) => {}
                Err(_) => {
                    self.reset();
                    return None;
                }
            }
        }
    }

    /// Writes what arrives, when it arrives.
    fn write(&self, to: &TcpStream, items: Receiver<Travelling>) {
        for (arrival, item) in items {
            thread::sleep(arrival.saturating_duration_since(Instant::now()));
            if self.is_dead() {
                return;
            }
            match item {
                Item::Bytes(bytes) => {
                    if !self.write_all(to, &bytes) {
                        return;
                    }
                }
                // An error means that it is closed already.
                Item::End => drop(to.shutdown(Shutdown::Write)),
                Item::Reset => self.reset(),
            }
        }
    }

    fn write_all(&self, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.is_dead() {
                return false;
            }
            match to.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if is_wait(error.kind()) => {}
                Err(_) => {
                    self.reset();
                    return false;
                }
            }
        }
        true
    }

    fn forward_answers(&self, to_client: Sender, shared: &Shared) {
        loop {
            let shape = shared.shape();
            let mut bytes = buffer(shape, u64::MAX);
            if self.read(&self.server, &mut bytes).is_none() {
                to_client.send(Item::End, shape);
                return;
            }
            if self.loses_answer.load(Ordering::SeqCst) {
                self.reset();
                return;
            }
            if self.is_cut.load(Ordering::SeqCst) {
                continue;
            }
            shared.down.pass(bytes.len(), shape);
            if !to_client.send(Item::Bytes(bytes), shape) {
                return;
            }
        }
    }
}

fn is_wait(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The client's side of a connection, which tells its requests apart.
struct Client<'c> {
    connection: &'c Connection,
    shared: &'c Shared,
    to_server: Sender,
    to_client: Sender,
    /// What was read beyond what was asked for.
    unread: Vec<u8>,
    /// How many bytes came so far.
    taken: u64,
}

/// The connection forwards no more requests.
struct Over;

impl Client<'_> {
    fn forward_requests(mut self) {
        while self.forward_request().is_ok() {}
    }

    fn forward_request(&mut self) -> Result<(), Over> {
        let head = self.head()?;
        let Some(request) = Request::parse(&head) else { return Err(self.refuse(&head)) };
        let Some(length) = request.body_length() else { return Err(self.refuse(&head)) };
        let connection = self.connection;
        let fault = self.shared.arrives(request.clone());
        match fault {
            None => {
                self.to_server(head)?;
                self.body(length, |client, bytes, _| client.to_server(bytes))
            }
            Some(Fault::LoseAnswer) => {
                // Not earlier: the client may wait for a word (`100 Continue`) before the body.
                let at_end = |left| connection.loses_answer.store(left == 0, Ordering::SeqCst);
                at_end(length);
                self.to_server(head)?;
                self.body(length, |client, bytes, left| {
                    at_end(left);
                    client.to_server(bytes)
                })
            }
            Some(Fault::Reset) => {
                self.to_server(head)?;
                self.body(length / 2, |client, bytes, _| client.to_server(bytes))?;
                Err(self.reset())
            }
            Some(Fault::Status(status)) => self.answer(status, &request, length),
            Some(Fault::Swallow) => {
                self.body(length, |_, _, _| Ok(()))?;
                Err(self.discard_all())
            }
            Some(Fault::Stall) => {
                self.body(length / 2, |_, _, _| Ok(()))?;
                Err(self.leave())
            }
        }
    }

    /// Answers for the server.
    fn answer(&mut self, status: u16, request: &Request, length: u64) -> Result<(), Over> {
        // A client that waits before it sends the body will not send it after this.
        let close = request.waits();
        if !close {
            self.body(length, |_, _, _| Ok(()))?;
        }
        let shape = self.shared.shape();
        self.to_client.send(Item::Bytes(http::answer(status, request, close)), shape);
        if close { Err(self.end()) } else { Ok(()) }
    }

    /// This is no request that the proxy can tell from the next: nobody should think that it passed.
    fn refuse(&self, head: &[u8]) -> Over {
        eprintln!("the proxy was sent what it cannot read: {}", String::from_utf8_lossy(head));
        self.connection.reset();
        Over
    }

    /// Cuts the connection when what was sent before has arrived.
    fn cut(&self, how: Cut) -> Over {
        match how {
            Cut::Reset => self.reset(),
            Cut::End => self.end(),
        }
    }

    fn reset(&self) -> Over {
        self.to_server.send(Item::Reset, self.shared.shape());
        self.leave()
    }

    /// Reads nothing more, until the connection has been reset.
    fn leave(&self) -> Over {
        while !self.connection.is_dead() {
            thread::sleep(LOOK);
        }
        Over
    }

    /// Ends the connection in good order, however much the client still sends.
    fn end(&self) -> Over {
        let shape = self.shared.shape();
        self.connection.is_cut.store(true, Ordering::SeqCst);
        self.to_client.send(Item::End, shape);
        self.to_server.send(Item::End, shape);
        self.discard_all()
    }

    /// Reads on, for nobody, until the client has ended the connection.
    fn discard_all(&self) -> Over {
        let mut bytes = buffer(Shape::default(), u64::MAX);
        while self.connection.read(&self.connection.client, &mut bytes).is_some() {
            bytes.resize(bytes.capacity(), 0);
        }
        self.to_server.send(Item::End, self.shared.shape());
        Over
    }

    fn to_server(&self, bytes: Vec<u8>) -> Result<(), Over> {
        if self.to_server.send(Item::Bytes(bytes), self.shared.shape()) { Ok(()) } else { Err(Over) }
    }

    /// The next request's head.
    fn head(&mut self) -> Result<Vec<u8>, Over> {
        loop {
            if let Some(length) = http::head_length(&self.unread) {
                let body = self.unread.split_off(length);
                return Ok(std::mem::replace(&mut self.unread, body));
            }
            if self.unread.len() > LONGEST_HEAD {
                return Err(self.refuse(&self.unread));
            }
            let bytes = self.read(u64::MAX)?;
            self.unread.extend(bytes);
        }
    }

    /// Hands out the next so many bytes, each chunk with how much is left after it.
    fn body(
        &mut self,
        length: u64,
        mut take: impl FnMut(&mut Self, Vec<u8>, u64) -> Result<(), Over>,
    ) -> Result<(), Over> {
        let mut left = length;
        while left > 0 {
            let bytes = if self.unread.is_empty() {
                self.read(left)?
            } else {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread.len());
                let rest = self.unread.split_off(length);
                std::mem::replace(&mut self.unread, rest)
            };
            left -= size(&bytes);
            take(self, bytes, left)?;
        }
        Ok(())
    }

    /// The next bytes that the line carries from the client.
    fn read(&mut self, most: u64) -> Result<Vec<u8>, Over> {
        let (shape, connections) = {
            let state = self.shared.state();
            (state.shape, state.connections)
        };
        let most = match connections {
            Connections::Cut { after, how } => match after.saturating_sub(self.taken) {
                0 => return Err(self.cut(how)),
                left => left.min(most),
            },
            Connections::Pass | Connections::Refuse => most,
        };
        let mut bytes = buffer(shape, most);
        if self.connection.read(&self.connection.client, &mut bytes).is_none() {
            self.to_server.send(Item::End, shape);
            return Err(Over);
        }
        self.taken += size(&bytes);
        self.shared.up.pass(bytes.len(), shape);
        Ok(bytes)
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits")
}
