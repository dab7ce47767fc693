//! Why a request failed: the service refused it ([`Refusal`]), or it was lost on the way ([`Lost`]).
//! Either travels through OpenDAL as the source of its error, and is found again by [`reason`].

use std::error::Error as StdError;
use std::fmt;
use std::io;

use http::{HeaderMap, StatusCode};
use opendal_core::ErrorKind;

use crate::http_client::{causes, plain};
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
}

impl Refusal {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        Self {
            status,
            code: element(&body, "Code").unwrap_or_default(),
            message: element(&body, "Message").unwrap_or_default(),
            region: region.map(plain),
        }
    }

    pub(super) fn into_error(self) -> opendal_core::Error {
        opendal_core::Error::new(self.kind(), self.to_string()).set_source(self)
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
        let not_authenticated = |fault| Reason::NotAuthenticated { fault, source: told() };
        match (self.status.as_u16(), &*self.code) {
            (_, "NoSuchBucket") => Reason::NoBucket,
            (_, "NoSuchKey" | "NoSuchVersion") | (404, _) => Reason::NotFound,
            (412, _) => Reason::AlreadyExists,
            (_, code) if code.contains("Quota") || code.contains("StorageFull") => Reason::Full(told()),
            (507, _) => Reason::Full(told()),
            // Nothing was done, since another request has the same name just now, or there are too many.
            (_, "SlowDown") | (409 | 429, _) => Reason::Busy(told()),
            // A part was lost or altered on the way, or the service cannot answer for the moment.
            (
                _,
                "RequestTimeout" | "IncompleteBody" | "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch",
            )
            | (408 | 499 | 500 | 502 | 503 | 504, _) => Reason::Unreachable(told()),
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
    NotTrusted(String),
    /// Whoever answered speaks no TLS, or none that we do.
    Tls(String),
    /// Anything else that befalls connections.
    Connection(String),
}

impl Lost {
    pub(super) fn new(error: &(dyn StdError + 'static)) -> Self {
        match causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(error)) => Self::NotTrusted(plain(&error.to_string())),
            Some(error) => Self::Tls(plain(&error.to_string())),
            None => Self::Connection(causes(error).last().map_or_else(String::new, |cause| plain(&cause.to_string()))),
        }
    }

    pub(super) fn into_error(self) -> opendal_core::Error {
        opendal_core::Error::new(ErrorKind::Unexpected, self.to_string()).set_source(self)
    }

    fn reason(&self) -> Reason {
        match self {
            Self::NotTrusted(why) => Reason::NotTrusted(why.clone()),
            Self::Tls(_) | Self::TooLong => Reason::Io(io::Error::other(self.to_string())),
            Self::Stalled => Reason::Unreachable(io::Error::new(io::ErrorKind::TimedOut, self.to_string())),
            Self::Connection(_) => Reason::Unreachable(io::Error::other(self.to_string())),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("nothing moved for a minute"),
            Self::TooLong => f.write_str("the service's answer is too long"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::NotTrusted(why) | Self::Connection(why) => f.write_str(why),
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

/// What OpenDAL and its signer found out by themselves.
fn other(error: &opendal_core::Error, cause: Option<&(dyn StdError + 'static)>) -> Reason {
    let told = || plain(&cause.map_or_else(|| error.message().to_owned(), ToString::to_string));
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
    use super::*;

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

    #[test]
    fn what_is_lost_may_come_again() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        for (lost, expected) in [
            (Lost::Stalled, "Unreachable"),
            (Lost::new(&reset), "Unreachable"),
            (Lost::TooLong, "Io"),
            (Lost::new(&rustls::Error::DecryptError), "Io"),
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
