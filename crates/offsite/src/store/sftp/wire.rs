//! The packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), and the extensions that OpenSSH
//! added to it. Only what a store needs.

/// A client's requests (§3).
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
    Init = 1,
    Open = 3,
    Close = 4,
    Read = 5,
    Write = 6,
    LinkStat = 7,
    OpenFolder = 11,
    ReadFolder = 12,
    Remove = 13,
    MakeFolder = 14,
    RemoveFolder = 15,
    Stat = 17,
    Rename = 18,
    Extended = 200,
}

/// The only version that every server speaks.
pub(super) const VERSION: u32 = 3;

/// How a file is opened (§6.3).
pub(super) const READ: u32 = 0x01;
pub(super) const WRITE: u32 = 0x02;
pub(super) const CREATE: u32 = 0x08;
pub(super) const EXCLUSIVE: u32 = 0x20;

/// Packets from a server are no longer than this: OpenSSH's own limit.
pub(super) const LONGEST: u32 = 256 << 10;

/// A request as it is sent, but for the data of a write.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request with its number.
    pub(super) fn new(kind: Kind, id: u32) -> Self {
        Self(vec![0, 0, 0, 0, kind as u8]).number(id)
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn text(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let mut with_length = self.number(length(text.len()));
        with_length.0.extend(text);
        with_length
    }

    /// The packet's beginning, to be followed by so many bytes of data.
    pub(super) fn followed_by(mut self, data: usize) -> Vec<u8> {
        let rest = length(self.0.len() - 4 + data);
        self.0[..4].copy_from_slice(&rest.to_be_bytes());
        self.0
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.followed_by(0)
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("names and pieces of data are short")
}

/// A server's answer.
#[derive(Debug)]
pub(super) enum Answer {
    Status(Status),
    Handle(Vec<u8>),
    /// A packet that ends with this many bytes of a file.
    Data(Vec<u8>),
    Names(Vec<Name>),
    Attributes(Attributes),
}

/// What became of a request (§7).
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) code: u32,
    /// In the server's words.
    pub(super) message: String,
}

impl Status {
    pub(super) const OK: u32 = 0;
    pub(super) const END: u32 = 1;
    pub(super) const NO_SUCH_FILE: u32 = 2;
    pub(super) const PERMISSION_DENIED: u32 = 3;
    pub(super) const FAILURE: u32 = 4;
    pub(super) const OP_UNSUPPORTED: u32 = 8;
    /// Of version 6, but sent by servers of version 3 as well.
    pub(super) const WRITE_PROTECTED: u32 = 12;
    pub(super) const NO_SPACE: u32 = 14;
    pub(super) const QUOTA_EXCEEDED: u32 = 15;
}

/// An entry of a folder.
#[derive(Debug)]
pub(super) struct Name {
    /// Whatever bytes the server's file system allows.
    pub(super) name: Vec<u8>,
    pub(super) attributes: Attributes,
}

/// What a server tells of a file (§5): each part of it, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    /// As in `st_mode`.
    pub(super) mode: Option<u32>,
    /// When it was last changed, in seconds since 1970.
    pub(super) changed: Option<u32>,
}

impl Attributes {
    pub(super) fn is_file(&self) -> bool {
        self.kind() == Some(0o100_000)
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind() == Some(0o040_000)
    }

    fn kind(&self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o170_000)
    }
}

/// Bytes that are no packet, or not the one that may come here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads an answer: what follows the request's number. Memory is in proportion to the bytes.
pub(super) fn answer(kind: u8, payload: Vec<u8>) -> Result<Answer, Malformed> {
    let mut rest = Rest(&payload);
    match kind {
        101 => {
            let code = rest.number()?;
            // Old servers send no message.
            let message = if rest.0.is_empty() { &[][..] } else { rest.text()? };
            Ok(Answer::Status(Status { code, message: String::from_utf8_lossy(message).into_owned() }))
        }
        // No longer than §6.2 allows: it is sent with every request.
        102 => rest
            .text()
            .and_then(|handle| if handle.len() <= 256 { Ok(Answer::Handle(handle.to_vec())) } else { Err(Malformed) }),
        103 => {
            let length = rest.text()?.len();
            if length + 4 == payload.len() { Ok(Answer::Data(payload)) } else { Err(Malformed) }
        }
        104 => {
            // The count is only believed as the entries come.
            let mut names = Vec::new();
            for _ in 0..rest.number()? {
                let name = rest.text()?.to_vec();
                rest.text()?;
                names.push(Name { name, attributes: rest.attributes()? });
            }
            Ok(Answer::Names(names))
        }
        105 => rest.attributes().map(Answer::Attributes),
        _ => Err(Malformed),
    }
}

/// The bytes of a file in an [`Answer::Data`].
pub(super) fn data(packet: &[u8]) -> &[u8] {
    packet.get(4..).unwrap_or_default()
}

/// What a server can do beyond version 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// `fsync@openssh.com`
    pub(super) sync: bool,
    /// `hardlink@openssh.com`
    pub(super) link: bool,
}

pub(super) const SYNC: &str = "fsync@openssh.com";
pub(super) const LINK: &str = "hardlink@openssh.com";

/// Reads a server's first packet, after its length.
pub(super) fn extensions(packet: &[u8]) -> Result<Extensions, Malformed> {
    let mut rest = Rest(packet.strip_prefix(&[2]).ok_or(Malformed)?);
    if rest.number()? < VERSION {
        return Err(Malformed);
    }
    let mut extensions = Extensions::default();
    while !rest.0.is_empty() {
        let (name, version) = (rest.text()?, rest.text()?);
        extensions.sync |= (name, version) == (SYNC.as_bytes(), b"1");
        extensions.link |= (name, version) == (LINK.as_bytes(), b"1");
    }
    Ok(extensions)
}

/// What is not yet read of a packet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
    }

    fn long(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?))
    }

    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & 0x1 != 0 {
            attributes.size = Some(self.long()?);
        }
        // Owner and group.
        if flags & 0x2 != 0 {
            self.take(8)?;
        }
        if flags & 0x4 != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & 0x8 != 0 {
            // After the time of the last access.
            self.take(4)?;
            attributes.changed = Some(self.number()?);
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.number()? {
                self.text()?;
                self.text()?;
            }
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a packet holds after its length, kind and number.
    fn payload(request: Request) -> Vec<u8> {
        request.end().split_off(9)
    }

    fn blank() -> Request {
        Request::new(Kind::Init, 0)
    }

    fn attributes(request: Request) -> Request {
        let request = request.number(0x8000_000f).long(1 << 40).number(1).number(2).number(0o100_644);
        request.number(3).number(4).number(1).text("name").text("value")
    }

    /// Every packet that a server may send.
    fn packets() -> Vec<(u8, Vec<u8>)> {
        vec![
            (101, payload(blank().number(4).text("Failure").text("en"))),
            (102, payload(blank().text("handle"))),
            (103, payload(blank().text("data"))),
            (104, payload(attributes(attributes(blank().number(2).text("a").text("long")).text(b"\xff").text("")))),
            (105, payload(attributes(blank()))),
        ]
    }

    #[test]
    fn answers_are_read() {
        let expected = Attributes { size: Some(1 << 40), mode: Some(0o100_644), changed: Some(4) };
        for (kind, packet) in packets() {
            match answer(kind, packet).unwrap() {
                Answer::Status(Status { code, message }) => assert_eq!((code, &*message), (4, "Failure")),
                Answer::Handle(handle) => assert_eq!(handle, b"handle"),
                Answer::Data(packet) => assert_eq!(data(&packet), b"data"),
                Answer::Names(names) => {
                    assert_eq!(names.iter().map(|name| &*name.name).collect::<Vec<_>>(), [&b"a"[..], b"\xff"]);
                    assert!(names.iter().all(|name| name.attributes == expected));
                }
                Answer::Attributes(attributes) => assert_eq!(attributes, expected),
            }
        }
        assert!(expected.is_file() && !expected.is_folder());
    }

    #[test]
    fn a_status_needs_no_message() {
        let answer = answer(101, payload(blank().number(2))).unwrap();
        assert!(matches!(answer, Answer::Status(Status { code: Status::NO_SUCH_FILE, .. })), "{answer:?}");
    }

    #[test]
    fn broken_packets_are_refused() {
        for (kind, packet) in packets() {
            for length in 0..packet.len() {
                // A status may end after its code and after its message.
                let is_whole = kind == 101 && (length == 4 || length >= 15);
                assert_eq!(answer(kind, packet[..length].to_vec()).is_ok(), is_whole, "{kind}, {length} bytes");
            }
        }
        for (kind, packet) in [
            (104, payload(blank().number(u32::MAX))),
            (103, payload(blank().number(u32::MAX))),
            (105, payload(blank().number(0x8000_0000).number(u32::MAX))),
            (102, payload(blank().text([0; 257]))),
            (106, Vec::new()),
        ] {
            assert_eq!(answer(kind, packet).err(), Some(Malformed), "{kind}");
        }
    }

    #[test]
    fn extensions_are_told_by_name_and_version() {
        let packet = |version, names: &[(&str, &str)]| {
            let request =
                names.iter().fold(blank().number(version), |request, (name, version)| request.text(name).text(version));
            [vec![2], payload(request)].concat()
        };
        let all = packet(3, &[("x@y", "2"), (SYNC, "1"), (LINK, "1")]);
        assert_eq!(extensions(&all), Ok(Extensions { sync: true, link: true }));
        assert_eq!(extensions(&packet(3, &[(SYNC, "2")])), Ok(Extensions::default()));
        assert_eq!(extensions(&packet(2, &[])), Err(Malformed));
        for end in [0, 1, 4, all.len() - 1] {
            assert_eq!(extensions(&all[..end]), Err(Malformed), "{end} bytes");
        }
    }
}
