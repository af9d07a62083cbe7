//! TLS as a client: whom to trust, what to show, and the handshake.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::config::ClientTls;

use super::fault::Fault;
use super::key_pair::{KeyPair, Keys};
use super::layer::Layer;
use super::stream::TlsStream;
use super::{provider, trust};

const SHOWN: Keys = Keys {
    certificate: "certificate_file",
    key: "key_file",
};

/// Makes connections over TLS, to servers that one of its roots vouches for.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// The name that is asked for, whatever the host is called.
    name: Option<ServerName<'static>>,
}

impl Tls {
    /// Trusts the roots of the web.
    ///
    /// # Errors
    /// When the library refuses its own defaults.
    pub fn web() -> io::Result<Tls> {
        Tls::with(trust::web(), None)
    }

    /// Trusts the authorities of a PEM file, and nobody else.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn of_file(path: &Path) -> io::Result<Tls> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        Tls::with(trust::of_file(path).map_err(wrong)?, None)
    }

    /// The way to an agent, by the `tls` table of its upstream.
    ///
    /// # Errors
    /// Everything that is wrong with the files that it names.
    pub fn of(settings: &ClientTls) -> Result<Tls, Vec<Fault>> {
        let fault = |key, what: String, help: &str| Fault {
            key,
            what,
            help: help.to_owned(),
        };
        let mut faults = Vec::new();
        let roots = match &settings.ca_file {
            None => trust::web(),
            Some(path) => trust::of_file(path).unwrap_or_else(|what| {
                let help = "name a PEM file with the certificates of authorities";
                faults.push(fault("ca_file", what, help));
                RootCertStore::empty()
            }),
        };
        let shown = settings.certificate_file.as_ref().and_then(|certificate| {
            let key = settings.key_file.as_ref().unwrap_or(certificate);
            KeyPair::load(SHOWN, certificate, key)
                .map_err(|fault| faults.push(fault))
                .ok()
        });
        let name = settings.server_name.as_deref().map(server_name).transpose();
        let name = name.unwrap_or_else(|error| {
            let help = "write a name such as \"agent.internal\", or an address";
            faults.push(fault("server_name", error.to_string(), help));
            None
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let made = Tls::with(roots, shown.map(|pair| pair.key));
        let made = made.map_err(|error| vec![fault("ca_file", error.to_string(), "")]);
        Ok(Tls { name, ..made? })
    }

    fn with(roots: RootCertStore, shown: Option<Arc<CertifiedKey>>) -> io::Result<Tls> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(key) => {
                let key: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(key));
                builder.with_client_cert_resolver(key)
            }
        };
        Ok(Tls {
            config: Arc::new(config),
            name: None,
        })
    }

    /// Shakes hands on a connection to the host of this name or address.
    ///
    /// # Errors
    /// When the name cannot be one of a server, and when the handshake fails.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> io::Result<TlsStream> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        let mut stream = TlsStream::new(socket, Layer::client(Arc::clone(&self.config), name)?);
        poll_fn(|cx| stream.poll_shake(cx)).await?;
        Ok(stream)
    }
}

/// The name of a host; an IPv6 address may stand in brackets.
fn server_name(host: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
}
