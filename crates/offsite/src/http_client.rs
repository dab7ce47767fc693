//! What all requests over HTTP have in common: how a client is made, whom TLS trusts, and in which words
//! failures are told.

use std::env;
use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use time::{Date, OffsetDateTime};

use crate::shown::shown;

/// A client that does what it is told and no more: it follows no redirects, and tries nothing again.
/// `is_https` says whether it goes over TLS: who may be trusted there need not be known for anything else.
///
/// # Errors
///
/// Where there is no TLS to be had.
pub(crate) fn builder(is_https: bool) -> Result<reqwest::ClientBuilder, NoTls> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(is_https)?)
        .user_agent(concat!("offsite/", env!("CARGO_PKG_VERSION")))
        // What a request says, and how it is signed, is meant for one place only.
        .redirect(reqwest::redirect::Policy::none())
        // The retries are the caller's, who must know of each attempt.
        .retry(reqwest::retry::never());
    Ok(builder)
}

/// Why there is no TLS to be had. Where somebody is named to be trusted, nobody else is in their stead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTls {
    #[error("cannot read {}, which {variable} names: {source}", shown(.path))]
    Unreadable { path: PathBuf, variable: &'static str, source: io::Error },
    #[error("{}, which {variable} names, holds no certificate in PEM", shown(.path))]
    NoCertificate { path: PathBuf, variable: &'static str },
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

impl From<NoTls> for io::Error {
    fn from(error: NoTls) -> Self {
        let kind = match &error {
            NoTls::Unreadable { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Trusts what the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name; where nothing is found,
/// as in an empty directory tree, the authorities that browsers trust.
fn tls(is_https: bool) -> Result<ClientConfig, NoTls> {
    let mut roots = match named() {
        Ok(roots) => roots,
        Err(_) if !is_https => RootCertStore::empty(),
        Err(error) => return Err(error),
    };
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

const CERTIFICATES: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// What the environment names, of which each must hold a certificate, or the system's.
fn named() -> Result<RootCertStore, NoTls> {
    let set = |variable| env::var_os(variable).filter(|value| !value.is_empty());
    let file = set(CERTIFICATES).map(PathBuf::from);
    let folders: Vec<PathBuf> =
        set(FOLDERS).iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty()).collect();
    let mut roots = RootCertStore::empty();
    if file.is_none() && folders.is_empty() {
        roots.add_parsable_certificates(of_system().certs);
    }
    if let Some(path) = file {
        let loaded = load_certs_from_paths(Some(&path), None);
        add(&mut roots, loaded, path, CERTIFICATES)?;
    }
    for path in folders {
        let loaded = load_certs_from_paths(None, Some(&path));
        add(&mut roots, loaded, path, FOLDERS)?;
    }
    Ok(roots)
}

/// What the system trusts.
fn of_system() -> CertificateResult {
    if env::var_os(CERTIFICATES).is_none() {
        return load_native_certs();
    }
    // That would take an empty value for the name of a file.
    let places = openssl_probe::probe();
    load_certs_from_paths(places.cert_file.as_deref(), places.cert_dir.first().map(PathBuf::as_path))
}

/// Adds what was found at a path. What is wrong beside a certificate, as in a folder with other files, is passed over.
fn add(
    roots: &mut RootCertStore,
    loaded: CertificateResult,
    path: PathBuf,
    variable: &'static str,
) -> Result<(), NoTls> {
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added > 0 {
        return Ok(());
    }
    Err(match loaded.errors.into_iter().next().map(|error| error.kind) {
        Some(rustls_native_certs::ErrorKind::Io { inner: source, path }) => {
            NoTls::Unreadable { path, variable, source }
        }
        _ => NoTls::NoCertificate { path, variable },
    })
}

/// Why a service's certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Whoever signed it, be it itself, is not trusted.
    #[error("no authority that is trusted here has signed it")]
    UnknownIssuer,
    /// It is an authority's, which vouches for others.
    #[error("it is an authority's own (CA:TRUE), not a service's")]
    Authority,
    /// It is over.
    #[error("it expired on {0}")]
    Expired(Date),
    /// It is not valid yet.
    #[error("it is not valid before {0}")]
    NotYetValid(Date),
    /// It is for other hosts.
    #[error("it is not for {0}")]
    OtherName(String),
    /// Something that is rarely wrong.
    #[error("{0}")]
    Other(String),
}

/// What WebPKI calls a certificate of an authority that a service shows as its own.
const AUTHORITY: &str = "CaUsedAsEndEntity";

impl CertificateFault {
    /// The fault that an error tells of, if it does.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let Some(rustls::Error::InvalidCertificate(error)) = error.downcast_ref::<rustls::Error>() else { return None };
        Some(match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(date(*not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYetValid(date(*not_before)),
            CertificateError::NotValidForNameContext { expected, .. } => Self::OtherName(plain(&expected.to_str())),
            CertificateError::Other(error) if error.to_string() == AUTHORITY => Self::Authority,
            error => Self::Other(plain(&error.to_string())),
        })
    }
}

/// The day of a time; the first of all for one that no calendar has.
fn date(time: UnixTime) -> Date {
    let time = i64::try_from(time.as_secs()).ok().and_then(|time| OffsetDateTime::from_unix_timestamp(time).ok());
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
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
