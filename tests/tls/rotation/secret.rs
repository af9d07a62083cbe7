//! Where certificates come from: a folder as Kubernetes mounts a secret.

use std::os::unix::fs::symlink;
use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::harness::authority::Pair;
use crate::renewed::{replace, swap};
use crate::scene::Files;

/// By which way new certificates come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Each file is put in the place of the old one.
    Rename,
    /// Kubernetes: a link is turned to another folder.
    Link,
    /// One that is no certificate, in the place of the old one.
    Bad,
}

/// A folder as Kubernetes mounts a secret, and what is in it.
pub struct Secret {
    pub files: Files,
    versions: usize,
}

impl Secret {
    pub fn new() -> Secret {
        let files = Files::new();
        let mut secret = Secret { files, versions: 0 };
        let pair = secret.files.pair.clone();
        secret.turn(&pair);
        for name in ["tls.crt", "tls.key"] {
            let path = secret.folder().join(name);
            std::fs::remove_file(&path).unwrap();
            symlink(format!("..data/{name}"), path).unwrap();
        }
        secret
    }

    fn folder(&self) -> &Path {
        self.files.folder.path()
    }

    /// Has the link lead to a new folder with this.
    fn turn(&mut self, pair: &Pair) {
        self.versions += 1;
        let version = format!("..{}", self.versions);
        let folder = self.folder().join(&version);
        std::fs::create_dir(&folder).unwrap();
        pair.write(&folder, "tls");
        let new = self.folder().join("..new");
        symlink(version, &new).unwrap();
        std::fs::rename(new, self.folder().join("..data")).unwrap();
    }

    /// Brings a new certificate; gives the one that is good from now on, if it is another.
    pub fn renew(&mut self, way: Way) -> Option<Vec<u8>> {
        let pair = self.files.authority.pair(&["localhost"]);
        let data = self.folder().join("..data");
        match way {
            Way::Link => self.turn(&pair),
            Way::Rename => swap(&data, &pair),
            Way::Bad => {
                replace(&data, "tls.crt", "nonsense");
                return None;
            }
        }
        let pem = pair.certificate.as_bytes();
        Some(CertificateDer::from_pem_slice(pem).unwrap().to_vec())
    }
}
