//! The certificates of a listener, and which of them a client is shown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use crate::config::ServerTls;

use super::fault::Fault;
use super::key_pair::{KeyPair, Keys};

/// The certificates of a listener: at least one, the first for whoever asks for none of their names.
#[derive(Debug)]
pub struct Certificates {
    pairs: Vec<KeyPair>,
    /// By name; a wildcard without its `*`, so from the dot on.
    by_name: HashMap<String, Vec<usize>>,
}

/// What is to be known of a certificate that is in use.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// The name of its file, without its ending.
    pub name: String,
    /// Until when it holds.
    pub not_after: SystemTime,
}

impl Certificates {
    /// Reads the files that a `tls` table names.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(settings: &ServerTls) -> Result<Certificates, Vec<Fault>> {
        let (mut pairs, mut faults) = (Vec::new(), Vec::new());
        let files = match files(settings) {
            Ok(files) => files,
            Err(fault) => return Err(vec![fault]),
        };
        for (keys, certificate, key) in files {
            match KeyPair::load(keys, &certificate, &key) {
                Ok(pair) => pairs.push(pair),
                Err(fault) => faults.push(fault),
            }
        }
        match faults.is_empty() {
            true => Ok(Certificates::of(pairs)),
            false => Err(faults),
        }
    }

    fn of(pairs: Vec<KeyPair>) -> Certificates {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, pair) in pairs.iter().enumerate() {
            for name in &pair.names {
                let name = name.strip_prefix('*').unwrap_or(name);
                by_name.entry(name.to_owned()).or_default().push(at);
            }
        }
        Certificates { pairs, by_name }
    }

    /// The certificate for a client that asks for this name and can check signatures of these
    /// kinds. A wildcard stands for one label (RFC 6125 6.4.3).
    pub(super) fn pick(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_deref().and_then(|name| self.by_name.get(name));
        let wild = name.as_deref().and_then(|name| {
            let (label, _) = name.split_once('.')?;
            self.by_name.get(&name[label.len()..])
        });
        let named = exact.into_iter().chain(wild).flatten();
        let named: Vec<&KeyPair> = named.map(|at| &self.pairs[*at]).collect();
        let fits = |pair: &&&KeyPair| pair.key.key.choose_scheme(schemes).is_some();
        let pick = match named.first() {
            Some(first) => named.iter().find(fits).or(Some(first)).copied(),
            None => self.pairs.first(),
        };
        pick.map(|pair| Arc::clone(&pair.key))
    }

    /// Whether both show the same to everybody.
    pub(super) fn is_same(&self, other: &Certificates) -> bool {
        let same = |(a, b): (&KeyPair, &KeyPair)| a.name == b.name && a.key.cert == b.key.cert;
        self.pairs.len() == other.pairs.len() && self.pairs.iter().zip(&other.pairs).all(same)
    }

    /// Until when each holds.
    pub fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.pairs.iter().map(|pair| Expiry {
            name: pair.name.clone(),
            not_after: pair.not_after,
        })
    }
}

const OF_FILE: Keys = Keys {
    certificate: "certificate_file",
    key: "key_file",
};
const OF_FOLDER: Keys = Keys {
    certificate: "certificate_dir",
    key: "certificate_dir",
};

/// The files, each certificate's with its key's; the one for everybody else first.
pub(super) fn files(settings: &ServerTls) -> Result<Vec<(Keys, PathBuf, PathBuf)>, Fault> {
    let mut files = Vec::new();
    if let Some(certificate) = &settings.certificate_file {
        let key = settings.key_file.as_ref().unwrap_or(certificate);
        files.push((OF_FILE, certificate.clone(), key.clone()));
    }
    if let Some(folder) = &settings.certificate_dir {
        let wrong = |what: String| Fault {
            key: "certificate_dir",
            what: format!("{}: {what}", folder.display()),
            help: "name a directory with NAME.crt (or NAME.pem) and NAME.key in it".to_owned(),
        };
        let mut found = of_folder(folder).map_err(|error| wrong(error.to_string()))?;
        if found.is_empty() && files.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        found.sort();
        files.extend(found.into_iter().map(|(one, key)| (OF_FOLDER, one, key)));
    }
    Ok(files)
}

fn of_folder(folder: &Path) -> std::io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_certificate = matches!(ending, Some("crt" | "pem"));
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_certificate || hidden {
            continue;
        }
        let key = path.with_extension("key");
        let key = match key.exists() || ending == Some("crt") {
            true => key,
            false => path.clone(),
        };
        found.push((path, key));
    }
    Ok(found)
}
