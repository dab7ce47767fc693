//! A service that is pinged: it keeps what it was sent, and answers as a test wants it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What was sent.
#[derive(Clone, Debug)]
pub(crate) struct Ping {
    pub(crate) method: String,
    /// The path, with parameters.
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

impl Ping {
    /// What a person reads there.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// How requests are answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// With these statuses, the last of them from then on.
    Answers(&'static [u16]),
    /// Not at all, and the connection stays.
    Hangs,
    /// By closing the connection.
    HangsUp,
}

/// A service on a port of its own, until the test ends.
pub(crate) struct CheckService {
    port: u16,
    pings: Arc<Mutex<Vec<Ping>>>,
}

impl CheckService {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let pings = Arc::new(Mutex::new(Vec::new()));
        let kept = pings.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, kept) = (connection.expect("a connection"), kept.clone());
                thread::spawn(move || serve(connection, manner, &kept));
            }
        });
        Self { port, pings }
    }

    /// The address of a check there.
    pub(crate) fn address(&self) -> String {
        format!("{}/s3cr3t", self.origin())
    }

    /// The address of the service.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pings(&self) -> Vec<Ping> {
        self.pings.lock().expect("no panic meanwhile").clone()
    }

    /// What was sent where to, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.pings().iter().map(|ping| ping.path.clone()).collect()
    }
}

fn serve(connection: TcpStream, manner: Manner, kept: &Mutex<Vec<Ping>>) {
    let mut reader = BufReader::new(connection.try_clone().expect("a second handle"));
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line.trim_end().to_owned()).unwrap_or_default()
    };
    let first = line();
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let headers: Vec<String> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
    let length = headers.iter().find_map(|header| header.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("the body comes");
    let number = {
        let mut kept = kept.lock().expect("no panic meanwhile");
        kept.push(Ping { method, path, body });
        kept.len() - 1
    };
    let mut connection = connection;
    match manner {
        Manner::Answers(statuses) => {
            let status = statuses.get(number).or(statuses.last()).expect("a status");
            let answer = format!("HTTP/1.1 {status} Something\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK");
            // Who has gone does not want it.
            let _ = connection.write_all(answer.as_bytes());
        }
        Manner::Hangs => {
            let _ = connection.read(&mut [0]);
        }
        Manner::HangsUp => {}
    }
}
