//! A certificate, its chain and its key.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::fault::Fault;
use super::{provider, x509};

/// A certificate with its key, and what it says.
#[derive(Clone, Debug)]
pub(super) struct KeyPair {
    /// The name of the file it is from, without its ending.
    pub(super) name: String,
    pub(super) key: Arc<CertifiedKey>,
    /// The names it is for, in lower case.
    pub(super) names: Vec<String>,
    pub(super) not_after: SystemTime,
}

/// The keys of the configuration that name the two files, for what is wrong with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
}

impl KeyPair {
    /// Reads both; the key may stand in the file of the certificate.
    ///
    /// # Errors
    /// When one of them cannot be read, holds nothing of its kind, or when they do not belong
    /// together.
    pub(super) fn load(keys: Keys, certificate: &Path, key: &Path) -> Result<KeyPair, Fault> {
        let chain = chain(certificate).map_err(|what| Fault {
            key: keys.certificate,
            what,
            help: "name a PEM file with the certificate, and its chain behind it".to_owned(),
        })?;
        let signing = PrivateKeyDer::from_pem_file(key).map_err(|error| Fault {
            key: keys.key,
            what: match error {
                pem::Error::NoItemsFound => format!("{}: there is no key in it", key.display()),
                error => format!("{}: {error}", key.display()),
            },
            help: "name a PEM file with the private key, without a passphrase".to_owned(),
        })?;
        let said = chain.first().and_then(|first| x509::read(first));
        let said = said.ok_or_else(|| Fault {
            key: keys.certificate,
            what: format!("{}: this is no certificate", certificate.display()),
            help: "name a PEM file with the certificate, and its chain behind it".to_owned(),
        })?;
        let pair = CertifiedKey::from_der(chain, signing, &provider()).map_err(|error| Fault {
            key: keys.key,
            what: format!(
                "{}: it does not fit {}: {error}",
                key.display(),
                certificate.display()
            ),
            help: "name the key that the certificate was made for".to_owned(),
        })?;
        let name = certificate.file_stem().unwrap_or_default();
        Ok(KeyPair {
            name: name.to_string_lossy().into_owned(),
            key: Arc::new(pair),
            names: said.names.iter().map(|n| n.to_ascii_lowercase()).collect(),
            not_after: said.not_after,
        })
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: pem::Error| format!("{}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    let chain: Vec<_> = read.collect::<Result<_, _>>().map_err(wrong)?;
    match chain.is_empty() {
        true => Err(format!("{}: there is no certificate in it", path.display())),
        false => Ok(chain),
    }
}
