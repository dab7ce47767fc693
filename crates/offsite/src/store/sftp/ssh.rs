//! The host's `ssh`, which logs in and encrypts the line. Keys, known hosts, jumps and names are a
//! matter of its own configuration.

use std::collections::VecDeque;
use std::env;
use std::io::{self, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::store::{Reason, SftpLocation};

/// Holds what is run in place of `ssh`, with options of its own, separated by spaces.
const VARIABLE: &str = "OFFSITE_SSH";

/// What our use of it needs: it must not ask, must notice a line that is dead within a minute, open
/// nothing but this one channel, and say why it fails, but greet nobody.
const OPTIONS: [&str; 10] = [
    "BatchMode=yes",
    "ConnectTimeout=30",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ControlMaster=no",
    "PermitLocalCommand=no",
    "LogLevel=ERROR",
];

/// How much is kept of what `ssh` says: its last words.
const WORDS: usize = 4 << 10;

/// How long an `ssh` that has closed its output may take to end, and its stderr to be closed.
const LAST: Duration = Duration::from_secs(5);

/// The program and its options.
#[derive(Clone, Debug)]
pub(super) struct Ssh(Vec<String>);

impl Ssh {
    /// What the environment names, or the program of that name.
    pub(super) fn from_environment() -> Self {
        Self::new(&env::var_os(VARIABLE).unwrap_or_default().to_string_lossy())
    }

    pub(super) fn new(command: &str) -> Self {
        let words: Vec<_> = command.split_ascii_whitespace().map(str::to_owned).collect();
        Self(if words.is_empty() { vec!["ssh".to_owned()] } else { words })
    }

    /// Starts it; what it will say is kept.
    pub(super) fn start(&self, location: &SftpLocation) -> Result<(Child, LastWords), Reason> {
        let (program, options) = self.0.split_first().expect("a command has at least a program");
        let mut command = Command::new(program);
        command.args(options).arg("-T");
        OPTIONS.iter().for_each(|option| _ = command.args(["-o", option]));
        if let Some(port) = location.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(user) = &location.user {
            command.args(["-l", user]);
        }
        command.args(["-s", "--", &location.host, "sftp"]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| not_started(program, &error))?;
        let words = LastWords::listen(child.stderr.take().expect("its stderr is a pipe"));
        Ok((child, words))
    }
}

fn not_started(program: &str, error: &io::Error) -> Reason {
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no program {program}: SFTP needs OpenSSH's client"),
        _ => format!("cannot start {program}: {error}"),
    };
    Reason::Io(io::Error::new(error.kind(), text))
}

/// What `ssh` says on its stderr.
pub(super) struct LastWords {
    said: Arc<Mutex<VecDeque<u8>>>,
    listener: JoinHandle<()>,
}

impl LastWords {
    fn listen(mut stderr: ChildStderr) -> Self {
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let words = Arc::clone(&said);
        let listener = thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut piece) {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.extend(&piece[..length]);
                let excess = words.len().saturating_sub(WORDS);
                words.drain(..excess);
            }
        });
        Self { said, listener }
    }

    /// Waits for the end of `ssh`, and tells why it came. Who inherited its stderr is not waited for long.
    pub(super) fn at_end_of(self, child: &mut Child) -> End {
        let start = Instant::now();
        while start.elapsed() < LAST && matches!(child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let status = child.wait();
        while start.elapsed() < LAST && !self.listener.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        let words = std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner));
        End::new(&String::from_utf8_lossy(&Vec::from(words)), status.ok())
    }
}

/// Why a connection ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) cause: Cause,
    pub(super) text: String,
}

/// What may be done about the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The line, or the server: another try may help.
    Line,
    /// Nothing listens where the server should.
    Refused,
    /// The address of the server, or of one on the way, is not known.
    Name,
    /// The server does not let us in.
    Login,
    /// Something is wrong at one of the ends, and stays so.
    Setup,
    /// What answers is no server for SFTP: `ssh` lets no line's error pass.
    Nonsense,
}

/// What `ssh` says in cases of which more is known than that the line failed.
const SAID: [(&str, Cause); 13] = [
    ("Permission denied (", Cause::Login),
    ("Too many authentication failures", Cause::Login),
    ("Host key verification failed", Cause::Setup),
    ("host key is known for", Cause::Setup),
    ("Could not resolve hostname", Cause::Name),
    ("Name or service not known", Cause::Name),
    ("No address associated with hostname", Cause::Name),
    ("Connection refused", Cause::Refused),
    ("subsystem request failed", Cause::Setup),
    ("Unable to negotiate with", Cause::Setup),
    ("Bad configuration option", Cause::Setup),
    ("bad configuration options", Cause::Setup),
    ("Bad owner or permissions on", Cause::Setup),
];

impl End {
    fn new(words: &str, status: Option<ExitStatus>) -> Self {
        let known = SAID.iter().find(|(said, _)| words.contains(said));
        let cause = known.map_or(Cause::Line, |(_, cause)| *cause);
        Self { cause, text: text(words, status) }
    }

    /// No bytes for too long.
    pub(super) fn silence(time: Duration) -> Self {
        Self { cause: Cause::Line, text: format!("the server did not answer for {} s", time.as_secs()) }
    }

    /// Bytes that are not of the protocol.
    pub(super) fn not_sftp(what: &str) -> Self {
        Self { cause: Cause::Nonsense, text: format!("what the server sends is not SFTP: {what}") }
    }

    /// Why there was no connection: once the server has let us in, everything may be so again a little later.
    pub(super) fn before_login(self, reached: bool) -> Reason {
        match self.cause {
            Cause::Login if !reached => {
                Reason::PermissionDenied(io::Error::new(io::ErrorKind::PermissionDenied, self.text))
            }
            Cause::Setup if !reached => Reason::Io(io::Error::other(self.text)),
            Cause::Name => Reason::unresolved(self.text),
            Cause::Refused => Reason::Unreachable(io::Error::new(io::ErrorKind::ConnectionRefused, self.text)),
            Cause::Nonsense => self.nonsense(),
            _ => Reason::Unreachable(io::Error::new(io::ErrorKind::NotConnected, self.text)),
        }
    }

    /// Why a connection that there was is gone.
    pub(super) fn after_login(self) -> Reason {
        match self.cause {
            Cause::Nonsense => self.nonsense(),
            _ => Reason::Unreachable(io::Error::new(io::ErrorKind::ConnectionAborted, self.text)),
        }
    }

    fn nonsense(self) -> Reason {
        Reason::Io(io::Error::new(io::ErrorKind::InvalidData, self.text))
    }
}

/// The last lines, on one, fit for a terminal.
fn text(words: &str, status: Option<ExitStatus>) -> String {
    let is_said = |line: &&str| !line.is_empty() && !line.chars().all(|character| "@ ".contains(character));
    let lines: Vec<&str> = words.lines().map(str::trim).filter(is_said).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(", ");
    let last = last.chars().map(|character| if character.is_control() { '?' } else { character });
    match (lines.is_empty(), status) {
        (false, _) => format!("ssh says: {}", last.collect::<String>().trim_end_matches('.')),
        (true, Some(status)) if !status.success() => format!("ssh ended: {status}"),
        (true, _) => "the server closed the connection".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_tell_the_cause() {
        for (words, cause) in [
            ("root@host: Permission denied (publickey).\r\n", Cause::Login),
            (
                "@@@@@@\n@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\nHost key verification failed.\n",
                Cause::Setup,
            ),
            ("ssh: Could not resolve hostname nowhere: Name or service not known\r\n", Cause::Name),
            ("ssh: Could not resolve hostname host: Temporary failure in name resolution\r\n", Cause::Name),
            ("ssh: connect to host host port 22: Connection refused\r\n", Cause::Refused),
            ("Timeout, server host not responding.\r\n", Cause::Line),
            ("", Cause::Line),
        ] {
            let end = End::new(words, None);
            assert_eq!(end.cause, cause, "{words}");
            assert!(!end.text.chars().any(char::is_control), "{}", end.text);
            assert!(matches!(end.clone().after_login(), Reason::Unreachable(_)));
            for reached in [true, false] {
                let is_retried =
                    matches!(end.clone().before_login(reached), Reason::Unreachable(_) | Reason::Unresolved(_));
                assert_eq!(is_retried, reached || !matches!(cause, Cause::Login | Cause::Setup), "{words}");
            }
        }
        assert_eq!(End::new("\n\x1b[2Ja.\n\n", None).text, "ssh says: ?[2Ja");
    }

    #[test]
    fn a_command_is_split_at_spaces() {
        assert_eq!(Ssh::new("").0, ["ssh"]);
        assert_eq!(Ssh::new(" /usr/bin/ssh  -F config ").0, ["/usr/bin/ssh", "-F", "config"]);
    }
}
