//! Requests of HTTP/1.1 (RFC 9112), as far as to tell one from the next.

use super::Fault;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query, as it was sent.
    pub(crate) target: String,
    /// Each header, its name in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// What became of it, if it was not simply forwarded.
    pub(crate) fault: Option<Fault>,
}

/// A head is no longer than this.
pub(super) const LONGEST_HEAD: usize = 64 << 10;

/// The length of the head that the bytes begin with, if all of it is there.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|position| position + 4)
}

impl Request {
    /// Reads a whole head.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.trim_end().split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.map(header).collect::<Option<_>>()?;
        Some(Self { method, target, headers, fault: None })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().expect("there is a first part")
    }

    /// How many bytes follow the head; None if that is told in another way than by a length.
    pub(super) fn body_length(&self) -> Option<u64> {
        if self.header("transfer-encoding").is_some() {
            return None;
        }
        self.header("content-length").map_or(Some(0), |length| length.parse().ok())
    }

    /// Whether the client may wait for a word before it sends the body.
    pub(super) fn waits(&self) -> bool {
        self.header("expect").is_some()
    }
}

/// An answer like those of S3.
pub(super) fn answer(status: u16, request: &Request, close: bool) -> Vec<u8> {
    let code = match status {
        500 => "InternalError",
        501 => "NotImplemented",
        503 => "SlowDown",
        _ => "Error",
    };
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    let length = body.len();
    let connection = if close { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n{connection}\r\n"
    );
    let body = if request.method == "HEAD" { String::new() } else { body };
    (head + &body).into_bytes()
}
