//! What all requests over HTTP have in common: how a client is made, whom TLS trusts, and in which words
//! failures are told.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// A client that does what it is told and no more: it follows no redirects, and tries nothing again.
///
/// # Errors
///
/// Where there is no TLS to be had.
pub(crate) fn builder() -> Result<reqwest::ClientBuilder, rustls::Error> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .user_agent(concat!("offsite/", env!("CARGO_PKG_VERSION")))
        // What a request says, and how it is signed, is meant for one place only.
        .redirect(reqwest::redirect::Policy::none())
        // The retries are the caller's, who must know of each attempt.
        .retry(reqwest::retry::never());
    Ok(builder)
}

/// Trusts what the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name; where nothing is found,
/// as in an empty directory tree, the authorities that browsers trust.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// An error, and what caused it. One that an error of the system's was made of is not its source, but
/// lies within.
pub(crate) fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let within = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        within.map(|error| error as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

/// Made fit for a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}
