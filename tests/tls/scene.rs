//! A proxy that speaks TLS, and what it needs for that.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::Proxy;
use crate::harness::authority::{Authority, Pair};
use crate::harness::proxy::Builder;

/// The files of one test.
pub struct Files {
    pub authority: Authority,
    pub pair: Pair,
    pub folder: TempDir,
}

impl Files {
    /// An authority, and a certificate of its own for `localhost`.
    pub fn new() -> Files {
        let authority = Authority::new("The Authority");
        let pair = authority.pair(&["localhost"]);
        let folder = TempDir::new().unwrap();
        pair.write(folder.path(), "tls");
        authority.write(&folder.path().join("ca.pem"));
        Files {
            authority,
            pair,
            folder,
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The path as TOML.
    pub fn toml(&self, name: &str) -> String {
        quoted(&self.folder.path().join(name))
    }

    /// A proxy with one listener, over TLS.
    pub fn proxy(&self, protocol: &str, agent: SocketAddr) -> Builder {
        let proxy = match protocol {
            "http" => Proxy::http(agent),
            _ => Proxy::tcp(agent),
        };
        self.with_certificate(proxy.brief_lame_duck())
    }

    pub fn with_certificate(&self, proxy: Builder) -> Builder {
        proxy
            .set("listener.tls", "certificate_file", &self.toml("tls.crt"))
            .set("listener.tls", "key_file", &self.toml("tls.key"))
    }
}

pub fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
