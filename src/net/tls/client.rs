//! TLS as a client: whom to trust, what to show, and the handshake.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::layer::Layer;
use super::stream::TlsStream;
use super::{provider, trust};

/// Makes connections over TLS, to servers that one of its roots vouches for.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the roots of the web.
    ///
    /// # Errors
    /// When the library refuses its own defaults.
    pub fn web() -> io::Result<Tls> {
        Tls::with_roots(trust::web())
    }

    /// Trusts the authorities of a PEM file, and nobody else.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn of_file(path: &Path) -> io::Result<Tls> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        Tls::with_roots(trust::of_file(path).map_err(wrong)?)
    }

    fn with_roots(roots: RootCertStore) -> io::Result<Tls> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(Arc::new(config)))
    }

    /// Shakes hands on a connection to the host of this name or address.
    ///
    /// # Errors
    /// When the name cannot be one of a server, and when the handshake fails.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> io::Result<TlsStream> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(socket, Layer::client(Arc::clone(&self.0), name)?);
        poll_fn(|cx| stream.poll_shake(cx)).await?;
        Ok(stream)
    }
}
