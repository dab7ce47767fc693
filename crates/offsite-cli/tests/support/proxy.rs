//! A line to a server that the tests can watch, slow down and break: a proxy on loopback that
//! forwards bytes unchanged, so that signatures of requests still hold.

mod connection;
mod http;
mod line;

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::ports::Ports;
use connection::Connection;
pub(crate) use http::Request;
use line::Direction;
pub(crate) use line::Shape;

/// What becomes of a request instead of its being forwarded and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is read, not forwarded, and answered with this status.
    Status(u16),
    /// The connection is reset when half of the body was forwarded.
    Reset,
    /// It is read, not forwarded, and never answered.
    Swallow,
    /// Half of the body is read, and nothing more: what the client sends backs up.
    Stall,
    /// It is forwarded; when the answer comes, the connection is reset instead.
    LoseAnswer,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// They are forwarded.
    Pass,
    /// Nobody listens; those that there are, are reset.
    Refuse,
    /// Each is forwarded until so many bytes have come from the client, and then it is cut.
    Cut { after: u64, how: Cut },
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// By a reset (RST).
    Reset,
    /// By an end in good order (FIN).
    End,
}

/// The proxy, for as long as this lives. Whatever is set holds from the next request, connection or
/// chunk of bytes.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy before the server, which changes nothing yet.
    #[track_caller]
    pub(crate) fn before(server: SocketAddr) -> Self {
        let ports = Ports::claim();
        let shared = Arc::new(Shared {
            server,
            ports,
            up: Direction::new(),
            down: Direction::new(),
            state: Mutex::default(),
            listening: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || own.listen());
        shared.until_listening(true);
        Self { shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The requests that came since the start, or since they were taken last.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.state().requests)
    }

    /// Sets what the line is like.
    pub(crate) fn shape(&self, shape: Shape) {
        self.shared.state().shape = shape;
    }

    /// What becomes of the next requests, one fault each, before others are thought of.
    pub(crate) fn fail_next(&self, faults: &[Fault]) {
        self.shared.state().faults.next.extend(faults);
    }

    /// One of these faults hits so many of a hundred requests, by chance, the same each time.
    pub(crate) fn fail_share(&self, percent: u64, faults: &[Fault], seed: u64) {
        assert!(!faults.is_empty(), "no fault to choose from");
        self.shared.state().faults.share = Some(Share { percent, faults: faults.to_vec(), random: seed });
    }

    /// From now on requests are forwarded.
    pub(crate) fn fail_none(&self) {
        self.shared.state().faults = Faults::default();
    }

    /// Sets what becomes of connections. The port is open, or closed, when this returns.
    pub(crate) fn connections(&self, connections: Connections) {
        let refuse = connections == Connections::Refuse;
        let there = {
            let mut state = self.shared.state();
            state.connections = connections;
            if refuse { std::mem::take(&mut state.there) } else { Vec::new() }
        };
        there.iter().filter_map(Weak::upgrade).for_each(|connection| connection.reset());
        self.shared.wake();
        self.shared.until_listening(!refuse);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let there = {
            let mut state = self.shared.state();
            state.over = true;
            std::mem::take(&mut state.there)
        };
        there.iter().filter_map(Weak::upgrade).for_each(|connection| connection.reset());
        self.shared.wake();
    }
}

/// What the proxy's threads share.
struct Shared {
    server: SocketAddr,
    ports: Ports,
    up: Direction,
    down: Direction,
    state: Mutex<State>,
    /// Told when the port was opened or closed, or should be.
    listening: Condvar,
}

struct State {
    shape: Shape,
    faults: Faults,
    connections: Connections,
    requests: Vec<Request>,
    there: Vec<Weak<Connection>>,
    is_listening: bool,
    /// Nobody uses the proxy any more.
    over: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            faults: Faults::default(),
            connections: Connections::Pass,
            requests: Vec::new(),
            there: Vec::new(),
            is_listening: false,
            over: false,
        }
    }
}

#[derive(Default)]
struct Faults {
    next: VecDeque<Fault>,
    share: Option<Share>,
}

struct Share {
    percent: u64,
    faults: Vec<Fault>,
    random: u64,
}

impl Faults {
    /// What becomes of a request that came.
    fn draw(&mut self) -> Option<Fault> {
        self.next.pop_front().or_else(|| self.share.as_mut().and_then(Share::draw))
    }
}

impl Share {
    fn draw(&mut self) -> Option<Fault> {
        if self.random() % 100 >= self.percent {
            return None;
        }
        let count = u64::try_from(self.faults.len()).expect("there are few");
        let number = usize::try_from(self.random() % count).expect("there are few");
        Some(self.faults[number])
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Shared {
    fn address(&self) -> SocketAddr {
        self.ports.address(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever is in there is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shape(&self) -> Shape {
        self.state().shape
    }

    /// Notes a request, and tells what becomes of it.
    fn arrives(&self, mut request: Request) -> Option<Fault> {
        let mut state = self.state();
        request.fault = state.faults.draw();
        let fault = request.fault;
        state.requests.push(request);
        fault
    }

    /// Takes connections until all is over; closes the port while they are refused.
    fn listen(self: Arc<Self>) {
        let mut listener = None;
        loop {
            let mut state = self.state();
            if state.over {
                return;
            }
            if state.connections == Connections::Refuse {
                listener = None;
                state.is_listening = false;
                self.listening.notify_all();
                drop(self.listening.wait(state).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            let listener = listener.get_or_insert_with(|| open(self.address()));
            state.is_listening = true;
            self.listening.notify_all();
            drop(state);
            if let Ok((client, _)) = listener.accept() {
                let shared = Arc::clone(&self);
                thread::spawn(move || connection::serve(client, &shared));
            }
        }
    }

    /// Makes the listener look at what it should do.
    fn wake(&self) {
        self.listening.notify_all();
        // Nobody listens if the port is closed already.
        let _ = TcpStream::connect(self.address());
    }

    fn until_listening(&self, expected: bool) {
        let state = self.state();
        let is_not_yet = |state: &mut State| state.is_listening != expected;
        drop(self.listening.wait_while(state, is_not_yet).unwrap_or_else(PoisonError::into_inner));
    }
}

fn open(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).expect("the port is claimed");
    // Connections inherit it. With the megabytes that the kernel would take, a client would seem to
    // be rid of what the line has not carried yet.
    set_socket_recv_buffer_size(&listener, 128 << 10).expect("a size is set");
    listener
}
