//! `[upstream.NAME.tls]`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::section::{Found, Origin, Reader, Section};
use crate::config::types::Endpoint;
use crate::config::value;

/// TLS to an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTls {
    /// The authorities that vouch for the agent; without it, those of the web.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to the agent, and its chain.
    pub certificate_file: Option<PathBuf>,
    /// Its key; without one, the key is in the same file.
    pub key_file: Option<PathBuf>,
    /// The name that is asked for, and that the agent's certificate must be for; without it, the
    /// host of the endpoint.
    pub server_name: Option<Arc<str>>,
}

/// `[upstream.NAME.tls]`.
pub(in crate::config) struct RawClientTls {
    path: String,
    origin: Origin,
    ca_file: Found<Option<PathBuf>>,
    certificate_file: Found<Option<PathBuf>>,
    key_file: Found<Option<PathBuf>>,
    server_name: Found<Option<Arc<str>>>,
}

impl RawClientTls {
    pub(in crate::config) fn read(table: &mut Section<'_>) -> Self {
        Self {
            path: table.path().to_owned(),
            origin: table.origin(),
            ca_file: table.read("ca_file", value::tls_file, None),
            certificate_file: table.read("certificate_file", value::tls_file, None),
            key_file: table.read("key_file", value::tls_file, None),
            server_name: table.read("server_name", value::server_name, None),
        }
    }

    /// Reports what does not fit together.
    pub(in crate::config) fn check(&self, endpoints: &[Found<Endpoint>], reader: &Reader<'_>) {
        let mut unix = endpoints.iter();
        if self.origin != Origin::Default
            && let Some(unix) = unix.find(|endpoint| endpoint.value.unix_path().is_some())
        {
            let what = format!("TLS is not spoken through `{}`", unix.value);
            let help = "leave the table out, or name a port".to_owned();
            reader.error(&self.origin, &self.path, what, help);
        }
        let certificate = &self.certificate_file;
        if self.key_file.is_given() && !certificate.is_given() {
            let what = "this is the key of no certificate".to_owned();
            let help = "add certificate_file".to_owned();
            let key = format!("{}.key_file", self.path);
            reader.error(&self.key_file.origin, &key, what, help);
        }
    }

    pub(in crate::config) fn into_tls(self) -> Option<ClientTls> {
        (self.origin != Origin::Default).then_some(ClientTls {
            ca_file: self.ca_file.value,
            certificate_file: self.certificate_file.value,
            key_file: self.key_file.value,
            server_name: self.server_name.value,
        })
    }
}
