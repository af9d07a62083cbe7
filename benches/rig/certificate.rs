//! A certificate of the bench's own, and clients that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::{ClientConfig, RootCertStore};

use crate::Result;

/// The name in the certificate.
pub(crate) const NAME: &str = "localhost";

/// A certificate with its key, and the clients for it.
pub(crate) struct Certificate {
    chain: String,
    key: String,
    /// Clients of TLS 1.3 with AES-256-GCM, which is every subject's own first choice, and a whole handshake each
    /// time.
    pub(crate) clients: Arc<ClientConfig>,
}

impl Certificate {
    /// Of ECDSA on P-256, signed by itself.
    pub(crate) fn new() -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;
        let mut provider = default_provider();
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
        let mut clients = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        clients.resumption = Resumption::disabled();
        Ok(Self {
            chain: cert.pem(),
            key: signing_key.serialize_pem(),
            clients: Arc::new(clients),
        })
    }

    /// Puts both into one file.
    pub(crate) fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("certificate.pem");
        fs::write(&path, format!("{}{}", self.chain, self.key))?;
        Ok(path)
    }
}
