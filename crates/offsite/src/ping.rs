//! Tells a service that watches over runs when one begins and how it ends, as healthchecks.io and its
//! like have it: a request to the address of a check, or to a path below it. The service tells people where
//! nothing comes in time.
//!
//! - A ping must not harm what it tells of: it takes no longer than its patience, whatever happens to it.
//! - Whoever knows an address can report in our name. So errors tell its host, and never all of it.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{StatusCode, Url};
use tokio::time::{sleep, timeout};

use crate::http_client::{self, CertificateFault, causes, plain};

/// An attempt takes at most so long.
const ATTEMPT: Duration = Duration::from_secs(4);

/// Waits so long before it is tried again, each time; the list's end is that of all attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// The address of a check.
#[derive(Clone)]
pub struct Address(Url);

/// Not the address of a check. It is not repeated, since most of it may be right, and secret.
#[derive(Debug, thiserror::Error)]
#[error("the address to ping is not of the form https://HOST/…")]
pub struct NotAnAddress;

impl Address {
    /// Reads an address: `http` or `https`, with or without a path and parameters.
    ///
    /// # Errors
    ///
    /// [`NotAnAddress`]
    pub fn parse(text: &OsStr) -> Result<Self, NotAnAddress> {
        let url = text.to_str().and_then(|text| Url::parse(text).ok()).ok_or(NotAnAddress)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
        if is_web { Ok(Self(url)) } else { Err(NotAnAddress) }
    }

    /// What of it may be shown.
    fn host(&self) -> String {
        plain(self.0.host_str().unwrap_or_default())
    }

    /// Where a signal goes: below the path, before the parameters.
    fn of(&self, signal: Signal) -> Url {
        let below = match signal {
            Signal::Start => "start".to_owned(),
            Signal::Success => return self.0.clone(),
            Signal::Failure => "fail".to_owned(),
            Signal::ExitCode(code) => code.to_string(),
        };
        let mut url = self.0.clone();
        // Only addresses without a host have no path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&below);
        }
        url
    }
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A run begins.
    Start,
    /// It is done.
    Success,
    /// It failed.
    Failure,
    /// It ended with this exit code; every one but 0 counts as a failure.
    ExitCode(u8),
}

/// A ping that did not arrive, as far as can be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot ping {host}: {reason}")]
pub struct Error {
    /// The service.
    pub host: String,
    /// Why not.
    pub reason: String,
}

/// Sends a signal, with `body` for a person to read. Tries it again for as long as `patience` where that may help.
///
/// # Errors
///
/// [`Error`] where the service has not confirmed it by then.
pub fn ping(address: &Address, signal: Signal, body: &str, patience: Duration) -> Result<(), Error> {
    let failed = |reason| Error { host: address.host(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let mut reason = SILENT.to_owned();
    // A timer can only be made where it runs.
    let outcome = runtime.block_on(async { timeout(patience, post(address.of(signal), body, &mut reason)).await });
    // The system may still be looking for the host's address, which cannot be stopped, and is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(failed(reason)),
    }
}

/// Where no reason is better known.
const SILENT: &str = "no answer";

/// Posts until it is confirmed, or that is of no use; whether it is confirmed. `reason` is why not, at any time.
async fn post(url: Url, body: &str, reason: &mut String) -> bool {
    let client = http_client::builder(url.scheme() == "https").map_err(|error| plain(&error.to_string()));
    let client = client.and_then(|builder| builder.timeout(ATTEMPT).build().map_err(in_words));
    let client = match client {
        Ok(client) => client,
        Err(why) => {
            *reason = why;
            return false;
        }
    };
    let mut pauses = PAUSES.iter();
    loop {
        // Some services want a length even where there is nothing.
        let request = client.post(url.clone()).header(CONTENT_LENGTH, body.len()).body(body.to_owned());
        let answer = request.send().await;
        let may_help = match answer {
            Ok(answer) if answer.status().is_success() => return true,
            Ok(answer) => {
                *reason = format!("the service answered {}", answer.status());
                is_passing(answer.status())
            }
            Err(error) => {
                *reason = in_words(error);
                true
            }
        };
        match pauses.next() {
            Some(pause) if may_help => sleep(*pause).await,
            _ => return false,
        }
    }
}

/// Whether the same request may have another answer soon.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// What befell a request, without its address.
fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return SILENT.to_owned();
    }
    let error = error.without_url();
    if let Some(fault) = causes(&error).find_map(CertificateFault::of) {
        return format!("its certificate is not trusted: {fault}");
    }
    let system = causes(&error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(ToString::to_string);
    let last = || causes(&error).last().map_or_else(String::new, ToString::to_string);
    plain(&system.unwrap_or_else(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_below_the_path() {
        for (text, start, success) in [
            ("https://hc.example/uuid", "https://hc.example/uuid/start", "https://hc.example/uuid"),
            ("https://hc.example/key/web-1/", "https://hc.example/key/web-1/start", "https://hc.example/key/web-1/"),
            (
                "http://hc.example:8000/a?create=1",
                "http://hc.example:8000/a/start?create=1",
                "http://hc.example:8000/a?create=1",
            ),
            ("https://hc.example", "https://hc.example/start", "https://hc.example/"),
        ] {
            let address = Address::parse(OsStr::new(text)).unwrap();
            let of = |signal| address.of(signal).to_string();
            assert_eq!((&*of(Signal::Start), &*of(Signal::Success)), (start, success));
            assert!(of(Signal::Failure).contains("/fail") && of(Signal::ExitCode(3)).contains("/3"), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        for wrong in
            ["", "hc.example/secret", "ftp://hc.example/secret", "https://", "mailto:secret@hc.example", "/secret"]
        {
            let error = Address::parse(OsStr::new(wrong)).err().unwrap();
            assert!(!error.to_string().contains("secret"), "{wrong}");
        }
    }
}
