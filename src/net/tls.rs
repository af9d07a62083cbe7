//! TLS as a client: whom to trust, and the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections over TLS, to servers that one of its roots vouches for.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    /// Trusts the roots of the web.
    ///
    /// # Errors
    /// When the library refuses its own defaults.
    pub fn web() -> io::Result<Tls> {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        Tls::with_roots(roots.collect())
    }

    /// Trusts the authorities of a PEM file, and nobody else.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn of_file(path: &Path) -> io::Result<Tls> {
        let wrong = |error: &dyn std::fmt::Display| {
            let what = format!("{}: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        Tls::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> io::Result<Tls> {
        // Named, since with two providers in one build the library's own choice panics.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands on a connection to the host of this name or address.
    ///
    /// # Errors
    /// When the name cannot be one of a server, and when the handshake fails.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, socket).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
