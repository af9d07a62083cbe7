//! The pod's service account, as it is mounted. It is read for each call, for the token is replaced
//! every hour or so, and the authority now and then.

use std::io;
use std::path::{Path, PathBuf};

use http::HeaderValue;

use crate::net::Tls;

/// Where it is mounted.
#[derive(Debug)]
pub(super) struct Account(pub(super) PathBuf);

impl Account {
    /// The namespace of the pod.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn namespace(&self) -> Result<String, String> {
        read(&self.0.join("namespace"))
    }

    /// The value of `Authorization`.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no token.
    pub(super) fn bearer(&self) -> Result<HeaderValue, String> {
        let path = self.0.join("token");
        let bearer = format!("Bearer {}", read(&path)?);
        // Not with the error's own words: they could quote it.
        let mut bearer = HeaderValue::try_from(bearer)
            .map_err(|_| format!("{}: there is no token in it", path.display()))?;
        bearer.set_sensitive(true);
        Ok(bearer)
    }

    /// Trusts the authority of the cluster, and nobody else.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub(super) fn tls(&self) -> io::Result<Tls> {
        Tls::of_file(&self.0.join("ca.crt"))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}
