//! `[listener.tls]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::config::section::{Found, Origin, Reader, Section};
use crate::config::types::Protocol;
use crate::config::value;

/// Handshakes cost about a millisecond each, so that this many are a second's work with room for
/// clients that are far away.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

/// TLS to the clients of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// The certificate for whoever asks for none of the others, and its chain.
    pub certificate_file: Option<PathBuf>,
    /// Its key; without one, the key is in the same file.
    pub key_file: Option<PathBuf>,
    /// A directory with more, chosen by the name that the client asks for.
    pub certificate_dir: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The longest that a handshake may take.
    pub handshake_timeout: Duration,
    /// The most handshakes under way at once, per worker.
    pub max_handshakes: NonZeroUsize,
    /// Whether clients have to show a certificate.
    pub client_auth: ClientAuth,
    /// The authorities that vouch for clients; there where they are asked for a certificate.
    pub client_ca_file: Option<PathBuf>,
    /// The request header by which the agent learns whose certificate was shown.
    pub client_subject_header: Option<HeaderName>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They may; one that nobody vouches for fails the handshake.
    Optional,
    /// They must.
    Required,
}

/// `[listener.tls]`.
pub(in crate::config) struct RawServerTls {
    path: String,
    origin: Origin,
    certificate_file: Found<Option<PathBuf>>,
    key_file: Found<Option<PathBuf>>,
    certificate_dir: Found<Option<PathBuf>>,
    min_version: Found<TlsVersion>,
    handshake_timeout: Found<Duration>,
    max_handshakes: Found<NonZeroUsize>,
    client_auth: Found<ClientAuth>,
    client_ca_file: Found<Option<PathBuf>>,
    client_subject_header: Found<Option<HeaderName>>,
}

impl RawServerTls {
    pub(in crate::config) fn read(table: &mut Section<'_>) -> Self {
        Self {
            path: table.path().to_owned(),
            origin: table.origin(),
            certificate_file: table.read("certificate_file", value::tls_file, None),
            key_file: table.read("key_file", value::tls_file, None),
            certificate_dir: table.read("certificate_dir", value::folder, None),
            min_version: table.read("min_version", value::tls_version, TlsVersion::Tls12),
            handshake_timeout: table.read(
                "handshake_timeout",
                value::positive_duration,
                Duration::from_secs(10),
            ),
            max_handshakes: table.read("max_handshakes", value::at_once, AT_ONCE),
            client_auth: table.read("client_auth", value::client_auth, ClientAuth::Off),
            client_ca_file: table.read("client_ca_file", value::tls_file, None),
            client_subject_header: table.read("client_subject_header", value::subject_header, None),
        }
    }

    fn is_on(&self) -> bool {
        self.origin != Origin::Default
    }

    /// Reports what does not fit together.
    pub(in crate::config) fn check(&self, protocol: Option<Protocol>, reader: &Reader<'_>) {
        if !self.is_on() {
            return;
        }
        let key = |key: &str| format!("{}.{key}", self.path);
        if protocol == Some(Protocol::TlsPassthrough) {
            let what = "TLS is passed through here, and not ended".to_owned();
            let help = "leave the table out, or write protocol = \"http\" or \"tcp\"".to_owned();
            reader.error(&self.origin, &self.path, what, help);
        }
        let given = |found: &Found<Option<PathBuf>>| found.value.is_some() || !found.is_sound();
        if !given(&self.certificate_file) && !given(&self.certificate_dir) {
            let what = "there is no certificate to show".to_owned();
            let help = "add certificate_file and key_file, or certificate_dir".to_owned();
            reader.error(&self.origin, &self.path, what, help);
        }
        if given(&self.key_file) && !given(&self.certificate_file) {
            let what = "this is the key of no certificate".to_owned();
            let help = "add certificate_file".to_owned();
            reader.error(&self.key_file.origin, &key("key_file"), what, help);
        }
        let (auth, ca) = (&self.client_auth, &self.client_ca_file);
        if auth.is_sound() && auth.value != ClientAuth::Off && !given(ca) {
            let what = "it is not said who vouches for the clients".to_owned();
            let help = "add client_ca_file".to_owned();
            reader.error(&auth.origin, &key("client_auth"), what, help);
        }
        let means_nothing = |origin: &Origin, name: &str, help: &str| {
            let what = "means nothing where clients show no certificate".to_owned();
            reader.warning(origin, &key(name), what, help.to_owned());
        };
        if auth.is_sound() && auth.value == ClientAuth::Off && given(ca) {
            let help = "write client_auth = \"required\" or \"optional\"";
            means_nothing(&ca.origin, "client_ca_file", help);
        }
        let header = &self.client_subject_header;
        let without = protocol.filter(|protocol| *protocol != Protocol::Http);
        if let (true, Some(protocol)) = (header.is_given(), without) {
            let what = format!("there are no headers on a {} listener", protocol.label());
            let help = "leave it out, or write protocol = \"http\"".to_owned();
            reader.error(&header.origin, &key("client_subject_header"), what, help);
        }
    }

    pub(in crate::config) fn into_tls(self) -> Option<ServerTls> {
        self.is_on().then(|| ServerTls {
            certificate_file: self.certificate_file.value,
            key_file: self.key_file.value,
            certificate_dir: self.certificate_dir.value,
            min_version: self.min_version.value,
            handshake_timeout: self.handshake_timeout.value,
            max_handshakes: self.max_handshakes.value,
            client_auth: self.client_auth.value,
            client_ca_file: self.client_ca_file.value,
            client_subject_header: self.client_subject_header.value,
        })
    }
}
