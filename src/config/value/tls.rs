//! Keys of the `tls` tables.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use toml::de::DeValue;

use super::choice::{Choice, word};
use super::{Show, Wrong, string};
use crate::config::keys::Default;
use crate::config::tls::{ClientAuth, TlsVersion};

impl Choice for TlsVersion {
    const WORDS: &'static [(&'static str, Self)] =
        &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
}

impl Choice for ClientAuth {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", ClientAuth::Off),
        ("optional", ClientAuth::Optional),
        ("required", ClientAuth::Required),
    ];
}

/// The oldest version of TLS that is spoken.
pub(in crate::config) fn tls_version(value: &DeValue<'_>) -> Result<TlsVersion, Wrong> {
    word(value)
}

/// Whether clients show a certificate.
pub(in crate::config) fn client_auth(value: &DeValue<'_>) -> Result<ClientAuth, Wrong> {
    word(value)
}

/// A file with certificates or a key.
pub(in crate::config) fn tls_file(value: &DeValue<'_>) -> Result<Option<PathBuf>, Wrong> {
    let help = "such as \"/etc/lameduck/tls.crt\"";
    let text = string(value, "the path of a file", help)?;
    if text.is_empty() || text.ends_with('/') {
        let what = format!("`{text}` is not the path of a file");
        return Err(Wrong::new(what, format!("write one {help}")));
    }
    Ok(Some(PathBuf::from(text)))
}

/// A directory.
pub(in crate::config) fn folder(value: &DeValue<'_>) -> Result<Option<PathBuf>, Wrong> {
    let help = "such as \"/etc/lameduck/certificates\"";
    match string(value, "the path of a directory", help)? {
        "" => Err(Wrong::new("the path is empty", format!("write one {help}"))),
        text => Ok(Some(PathBuf::from(text))),
    }
}

/// The header for the subject of a client's certificate.
pub(in crate::config) fn subject_header(value: &DeValue<'_>) -> Result<Option<HeaderName>, Wrong> {
    let help = "such as \"x-client-subject\"";
    let text = string(value, "the name of a header", help)?;
    let name = HeaderName::try_from(text).map_err(|_| {
        let what = format!("`{text}` is not the name of a header");
        Wrong::new(what, format!("write letters, digits and dashes, {help}"))
    })?;
    // What frames and routes a message is not ours to overwrite.
    match name.as_str() {
        "host" | "content-length" | "transfer-encoding" | "connection" | "upgrade" | "te" => {
            let what = format!("`{text}` has a meaning of its own in HTTP");
            Err(Wrong::new(what, format!("write another, {help}")))
        }
        _ => Ok(Some(name)),
    }
}

/// The name of a server: a DNS name or an address.
pub(in crate::config) fn server_name(value: &DeValue<'_>) -> Result<Option<Arc<str>>, Wrong> {
    let help = "such as \"agent.internal\"";
    let text = string(value, "the name of a server", help)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    match !text.is_empty() && text.len() <= 253 && text.chars().all(legal) {
        true => Ok(Some(text.into())),
        false => {
            let what = format!("`{text}` is not the name of a server");
            Err(Wrong::new(
                what,
                format!("write one without a port, {help}"),
            ))
        }
    }
}

impl Show for Option<Arc<str>> {
    fn show(&self) -> String {
        self.as_ref()
            .map(|text| format!("{text:?}"))
            .unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn versions_and_words_are_taken() {
        assert_eq!(taken("\"1.3\"", tls_version), TlsVersion::Tls13);
        assert_eq!(taken("\"optional\"", client_auth), ClientAuth::Optional);
        refused("1.3", tls_version, "found a fraction", "\"1.2\" or \"1.3\"");
        refused("\"1.1\"", tls_version, "`1.1`", "\"1.2\" or \"1.3\"");
        refused("\"on\"", client_auth, "`on`", "\"required\"");
    }

    #[test]
    fn paths_and_names_are_taken() {
        assert_eq!(taken("\"a.pem\"", tls_file), Some("a.pem".into()));
        assert_eq!(taken("\"/tls/\"", folder), Some("/tls/".into()));
        assert_eq!(taken("\"a.b-c\"", server_name), Some("a.b-c".into()));
        refused("\"/tls/\"", tls_file, "not the path", "tls.crt");
        refused("\"\"", folder, "is empty", "such as");
        refused("\"a b\"", server_name, "`a b`", "agent.internal");
        let header = taken("\"X-Subject\"", subject_header);
        assert_eq!(header.unwrap().as_str(), "x-subject");
        refused("\"Host\"", subject_header, "a meaning", "write another");
        refused("\"a b\"", subject_header, "not the name", "dashes");
    }
}
