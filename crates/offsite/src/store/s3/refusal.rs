//! Why a request failed: the service refused it ([`Refusal`]), or it was lost on the way ([`Lost`]).
//! Either travels through OpenDAL as the source of its error, and is found again by [`reason`].

use std::error::Error as StdError;
use std::fmt;
use std::io;

use http::{HeaderMap, StatusCode};
use opendal_core::ErrorKind;
use rustls::InvalidMessage;

use crate::http_client::{CertificateFault, causes, plain};
use crate::store::{CredentialFault, Reason};

/// No more than that of an answer is read for its words.
pub(super) const LONGEST: usize = 64 << 10;

/// What a service answered instead of doing what it was asked for: a status (RFC 9110 §15), and the code
/// and message of S3's error responses.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
    /// The region that the bucket is in, where the service tells.
    region: Option<String>,
    /// Whether it wants to be asked by TLS, and was not.
    wants_tls: bool,
}

/// What the servers of Go, nginx and Apache call that; there is no code for it.
const WANTS_TLS: [&str; 3] = ["to an HTTPS server", "sent to HTTPS port", "to an SSL-enabled server port"];

impl Refusal {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        Self {
            status,
            code: element(&body, "Code").unwrap_or_default(),
            message: element(&body, "Message").unwrap_or_default(),
            region: region.map(plain),
            wants_tls: status == StatusCode::BAD_REQUEST && WANTS_TLS.iter().any(|said| body.contains(said)),
        }
    }

    pub(super) fn into_error(self) -> opendal_core::Error {
        opendal_core::Error::new(self.kind(), self.to_string()).set_source(self)
    }

    /// What a web server answers where S3's own answer would have a code.
    pub(super) fn foreign(&self) -> Option<String> {
        let is_foreign = self.code.is_empty() && self.status == StatusCode::NOT_FOUND;
        is_foreign.then(|| format!("it answered {}", self.status))
    }

    fn kind(&self) -> ErrorKind {
        match self.status {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unexpected,
        }
    }

    /// What that means for the one who asked. Codes: Amazon S3 API Reference, "Error responses".
    fn reason(&self) -> Reason {
        let told = || io::Error::other(self.to_string());
        let cut = || io::Error::new(io::ErrorKind::ConnectionAborted, self.to_string());
        let not_authenticated = |fault| Reason::NotAuthenticated { fault, source: told() };
        match (self.status.as_u16(), &*self.code) {
            _ if self.wants_tls => Reason::NotHttp(self.to_string()),
            (_, "NoSuchBucket") => Reason::NoBucket,
            (_, "NoSuchKey" | "NoSuchVersion") | (404, _) => Reason::NotFound,
            (412, _) => Reason::AlreadyExists,
            (_, code) if code.contains("Quota") || code.contains("StorageFull") => Reason::Full(told()),
            (507, _) => Reason::Full(told()),
            // Nothing was done, since another request has the same name just now, or there are too many.
            (_, "SlowDown") | (409 | 429, _) => Reason::Busy(told()),
            // A part was lost on the way.
            (_, "RequestTimeout" | "IncompleteBody") | (408 | 499 | 502 | 504, _) => Reason::Unreachable(cut()),
            // A part was altered on the way, or the service cannot answer for the moment.
            (_, "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch") | (500 | 503, _) => {
                Reason::Unreachable(told())
            }
            (_, "InvalidAccessKeyId") => not_authenticated(CredentialFault::UnknownKeyId),
            (_, "SignatureDoesNotMatch") => not_authenticated(CredentialFault::WrongSecret),
            (_, "ExpiredToken" | "InvalidToken") => not_authenticated(CredentialFault::Expired),
            (_, "RequestTimeTooSkewed") => not_authenticated(CredentialFault::Clock),
            (401 | 403, _) => Reason::PermissionDenied(told()),
            (405 | 501, _) => Reason::Unsupported(self.to_string()),
            (300..=399, _) => Reason::Elsewhere { region: self.region.clone() },
            _ => Reason::Io(told()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.code, &*self.message) {
            _ if self.wants_tls => write!(f, "the service answered {}, since it wants https", self.status.as_u16()),
            ("", _) => write!(f, "the service answered {}", self.status),
            (code, "") => write!(f, "the service answered {}, {code}", self.status.as_u16()),
            (code, message) => write!(f, "the service answered {}, {code}: {message}", self.status.as_u16()),
        }
    }
}

impl StdError for Refusal {}

/// The text of the first XML element of this name, made fit for a terminal.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let inner = inner.replace("&quot;", "\"").replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">");
    let inner = inner.replace("&amp;", "&");
    let short: String = inner.trim().trim_end_matches('.').chars().take(300).collect();
    Some(plain(&short))
}

/// Why no answer came, or not all of it.
#[derive(Debug)]
pub(super) enum Lost {
    /// Nothing moved for too long.
    Stalled,
    /// An answer that ought to be short has no end.
    TooLong,
    /// Whoever answered is not the one that its certificate is trusted for.
    NotTrusted(CertificateFault),
    /// Whoever answered speaks no TLS.
    NotTls,
    /// Whoever answered speaks no TLS that we do.
    Tls(String),
    /// What came by plain HTTP is none.
    NotHttp(String),
    /// Whoever answered is no S3 service.
    NotS3(String),
    /// The host's address is not known.
    Unresolved(String),
    /// Anything else that befalls connections: they are refused, not made, or cut, as the kind says.
    Connection(io::ErrorKind, String),
}

/// How hyper calls an answer that is no HTTP, such as an alert of TLS.
const GARBLED: &str = "invalid HTTP ";

impl Lost {
    pub(super) fn new(error: &(dyn StdError + 'static)) -> Self {
        if let Some(fault) = causes(error).find_map(CertificateFault::of) {
            return Self::NotTrusted(fault);
        }
        match causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => return Self::NotTls,
            Some(error) => return Self::Tls(plain(&error.to_string())),
            None => {}
        }
        let words = causes(error).last().map_or_else(String::new, |cause| plain(&cause.to_string()));
        let request = error.downcast_ref::<reqwest::Error>();
        if request.is_some_and(reqwest::Error::is_dns) {
            return Self::Unresolved(words);
        }
        let is_http = request.and_then(reqwest::Error::url).is_some_and(|url| url.scheme() == "http");
        if is_http && words.starts_with(GARBLED) {
            return Self::NotHttp(words);
        }
        let mut of_system = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        let kind = if of_system.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused) {
            io::ErrorKind::ConnectionRefused
        } else if request.is_some_and(reqwest::Error::is_connect) {
            io::ErrorKind::NotConnected
        } else {
            io::ErrorKind::ConnectionAborted
        };
        Self::Connection(kind, words)
    }

    pub(super) fn into_error(self) -> opendal_core::Error {
        opendal_core::Error::new(ErrorKind::Unexpected, self.to_string()).set_source(self)
    }

    fn reason(&self) -> Reason {
        match self {
            Self::NotTrusted(why) => Reason::NotTrusted(why.clone()),
            Self::NotTls => Reason::NotTls,
            Self::NotHttp(_) => Reason::NotHttp(self.to_string()),
            Self::NotS3(why) => Reason::NotS3(why.clone()),
            Self::Unresolved(why) => Reason::unresolved(why.clone()),
            Self::Tls(_) | Self::TooLong => Reason::Io(io::Error::other(self.to_string())),
            Self::Stalled => Reason::Unreachable(io::Error::new(io::ErrorKind::TimedOut, self.to_string())),
            Self::Connection(kind, why) => Reason::Unreachable(io::Error::new(*kind, why.clone())),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("nothing moved for a minute"),
            Self::TooLong => f.write_str("the service's answer is too long"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::NotTls => f.write_str("no TLS"),
            Self::NotHttp(why) => write!(f, "what answers there speaks no HTTP: {why}"),
            Self::NotTrusted(why) => why.fmt(f),
            Self::NotS3(why) | Self::Unresolved(why) | Self::Connection(_, why) => f.write_str(why),
        }
    }
}

impl StdError for Lost {}

/// What OpenDAL says where there is nothing to sign with.
const SIGNING: &str = "signing http request";

/// What an error of OpenDAL means.
pub(super) fn reason(error: &opendal_core::Error) -> Reason {
    let causes = || causes(error);
    if error.message() == SIGNING {
        return Reason::NoCredentials(causes().last().map_or_else(String::new, ToString::to_string));
    }
    let refusal = causes().find_map(|cause| cause.downcast_ref::<Refusal>()).map(Refusal::reason);
    let lost = || causes().find_map(|cause| cause.downcast_ref::<Lost>()).map(Lost::reason);
    refusal.or_else(lost).unwrap_or_else(|| other(error, causes().last()))
}

/// What OpenDAL says where an answer is not the XML that it ought to be: services break lists off where they are
/// busy.
const PARSING: &str = "deserialize xml";

/// What OpenDAL and its signer found out by themselves.
fn other(error: &opendal_core::Error, cause: Option<&(dyn StdError + 'static)>) -> Reason {
    let told = || plain(&cause.map_or_else(|| error.message().to_owned(), ToString::to_string));
    if error.message() == PARSING {
        return Reason::Unreachable(io::Error::other(format!("its answer breaks off, or is none of S3's: {}", told())));
    }
    match error.kind() {
        ErrorKind::NotFound => Reason::NotFound,
        ErrorKind::ConditionNotMatch => Reason::AlreadyExists,
        ErrorKind::PermissionDenied => Reason::PermissionDenied(io::Error::other(told())),
        _ if error.is_temporary() => Reason::Unreachable(io::Error::other(told())),
        _ => Reason::Io(io::Error::other(told())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::http_client;

    fn refusal(status: u16, code: &str) -> Refusal {
        let body = format!("<?xml?><Error><Code>{code}</Code><Message>Because.</Message></Error>");
        Refusal::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    /// The reason, by name, after a way through OpenDAL's error.
    fn name(error: &opendal_core::Error) -> String {
        let text = format!("{:?}", reason(error));
        text.split(['(', ' ']).next().unwrap().to_owned()
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let cases = [
            (404, "NoSuchBucket", "NoBucket"),
            (404, "NoSuchKey", "NotFound"),
            (404, "", "NotFound"),
            (412, "PreconditionFailed", "AlreadyExists"),
            (403, "QuotaExceeded", "Full"),
            (507, "", "Full"),
            (503, "SlowDown", "Busy"),
            (409, "ConditionalRequestConflict", "Busy"),
            (429, "", "Busy"),
            (400, "RequestTimeout", "Unreachable"),
            (400, "XAmzContentChecksumMismatch", "Unreachable"),
            (500, "InternalError", "Unreachable"),
            (503, "ServiceUnavailable", "Unreachable"),
            (403, "AccessDenied", "PermissionDenied"),
            (403, "InvalidObjectState", "PermissionDenied"),
            (403, "", "PermissionDenied"),
            (403, "InvalidAccessKeyId", "NotAuthenticated"),
            (400, "ExpiredToken", "NotAuthenticated"),
            (501, "NotImplemented", "Unsupported"),
            (405, "MethodNotAllowed", "Unsupported"),
            (301, "PermanentRedirect", "Elsewhere"),
            (400, "InvalidArgument", "Io"),
            (418, "", "Io"),
        ];
        for (status, code, expected) in cases {
            assert_eq!(name(&refusal(status, code).into_error()), expected, "{status} {code}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_credential_is_told_apart() {
        for (code, expected) in [
            ("InvalidAccessKeyId", CredentialFault::UnknownKeyId),
            ("SignatureDoesNotMatch", CredentialFault::WrongSecret),
            ("InvalidToken", CredentialFault::Expired),
            ("RequestTimeTooSkewed", CredentialFault::Clock),
        ] {
            let Reason::NotAuthenticated { fault, .. } = refusal(403, code).reason() else { panic!("{code}") };
            assert_eq!(fault, expected);
        }
    }

    /// A put that was cut may get through in smaller pieces; one whose service fails does not.
    #[test]
    fn only_what_was_cut_is_told_so() {
        let cut = io::ErrorKind::ConnectionAborted;
        for (status, code, expected) in
            [(400, "RequestTimeout", cut), (504, "", cut), (499, "", cut), (500, "", io::ErrorKind::Other)]
        {
            let Reason::Unreachable(source) = refusal(status, code).reason() else { panic!("{status}") };
            assert_eq!(source.kind(), expected, "{status}");
        }
    }

    #[test]
    fn a_server_that_wants_tls_says_so_in_its_own_way() {
        for body in [
            "Client sent an HTTP request to an HTTPS server.\n",
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
            "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
        ] {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
            assert_eq!(refusal.reason().to_string(), "the service answered 400, since it wants https");
            assert_eq!(name(&refusal.into_error()), "NotHttp");
        }
        let other = Refusal::new(StatusCode::OK, &HeaderMap::new(), b"sent to HTTPS port");
        assert!(!other.wants_tls);
    }

    #[test]
    fn a_refusal_says_what_the_service_says() {
        assert_eq!(refusal(403, "AccessDenied").to_string(), "the service answered 403, AccessDenied: Because");
        let of = |body: &str| Refusal::new(StatusCode::BAD_GATEWAY, &HeaderMap::new(), body.as_bytes()).to_string();
        for body in ["", "<html>Bad gateway</html>", "<Code>X", "<Code></Code>", "\u{1b}]0;x\u{7}"] {
            assert_eq!(of(body), "the service answered 502 Bad Gateway", "{body:?}");
        }
        assert_eq!(of("<Code>X</Code>"), "the service answered 502, X");
        let odd = of("<Code>\u{1b}[2J</Code><Message>a &lt;b&gt; 'c' &quot;d&quot;\u{7}</Message>");
        assert_eq!(odd, "the service answered 502, \\u{1b}[2J: a <b> 'c' \"d\"\\u{7}");
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-1".parse().unwrap());
        let elsewhere = Refusal::new(StatusCode::MOVED_PERMANENTLY, &headers, b"").into_error();
        assert_eq!(reason(&elsewhere).to_string(), "the bucket is in another region, eu-1");
    }

    /// What becomes of a request to somebody who answers with these bytes, or is not there.
    fn lost(answer: Option<&'static [u8]>) -> Lost {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        if let Some(answer) = answer {
            thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                let _ = connection.read(&mut [0; 4096]).unwrap();
                connection.write_all(answer).unwrap();
            });
        } else {
            drop(listener);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = http_client::builder(false).unwrap().no_proxy().build().unwrap();
        Lost::new(&runtime.block_on(client.get(url).send()).unwrap_err())
    }

    #[test]
    fn a_connection_is_refused_or_cut_or_speaks_something_else() {
        assert!(matches!(lost(None), Lost::Connection(io::ErrorKind::ConnectionRefused, _)));
        assert!(matches!(lost(Some(b"")), Lost::Connection(io::ErrorKind::ConnectionAborted, _)));
        // What TLS answers to an unexpected message (RFC 8446 §6).
        let alert = b"\x15\x03\x03\x00\x02\x02\x0a";
        assert_eq!(name(&lost(Some(alert)).into_error()), "NotHttp");
    }

    #[test]
    fn what_is_lost_may_come_again() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        for (lost, expected) in [
            (Lost::Stalled, "Unreachable"),
            (Lost::new(&reset), "Unreachable"),
            (Lost::TooLong, "Io"),
            (Lost::new(&rustls::Error::DecryptError), "Io"),
            (Lost::new(&rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)), "NotTls"),
            (
                Lost::new(&io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired))),
                "NotTrusted",
            ),
        ] {
            let words = lost.to_string();
            assert_eq!(name(&lost.into_error()), expected, "{words}");
        }
        let signing = opendal_core::Error::new(ErrorKind::Unexpected, SIGNING);
        assert_eq!(name(&signing), "NoCredentials");
    }
}
