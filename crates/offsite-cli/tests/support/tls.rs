//! Certificates of services, and a server that shows one.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::host::until;
use super::ports::Ports;
use super::{OpenSsl, Words, run};

/// What makes a certificate one of a service on this host, as it should be.
pub(crate) const GOOD: &str = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";

/// Makes a certificate that signs itself, `NAME.pem` in a folder, and its key, `NAME-key.pem`.
#[track_caller]
pub(crate) fn certificate(folder: &Path, name: &str, options: &str) -> PathBuf {
    // Only the newest knows of other days than those that begin today.
    let mut openssl = OpenSsl::Next.command("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes");
    openssl.words("-subj /CN=127.0.0.1").words(options).words(&format!("-out {name}.pem -keyout {name}-key.pem"));
    run(openssl.current_dir(folder)).ok();
    folder.join(format!("{name}.pem"))
}

/// A web server that shows a certificate, until the test ends.
pub(crate) struct TlsServer {
    child: Child,
    ports: Ports,
}

impl TlsServer {
    /// With `NAME.pem` and `NAME-key.pem` of a folder.
    #[track_caller]
    pub(crate) fn start(folder: &Path, name: &str) -> Self {
        let ports = Ports::claim();
        let address = ports.address(0);
        let mut openssl = Command::new("openssl");
        openssl.words(&format!("s_server -quiet -www -cert {name}.pem -key {name}-key.pem -accept {address}"));
        openssl.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: openssl.spawn().expect("openssl starts"), ports };
        until("the server listens", || TcpStream::connect(address).is_ok());
        server
    }

    /// A bucket there, by `http` or `https`.
    pub(crate) fn location(&self, scheme: &str) -> String {
        format!("s3://b?endpoint={scheme}://{}", self.ports.address(0))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
