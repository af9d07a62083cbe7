//! `[[listener.route]]`: which upstream a session goes to.

use std::sync::Arc;

use super::section::{Found, Reader, Section};
use super::types::{Protocol, UpstreamName};
use super::value;

/// A rule that sends some of a listener's sessions to an upstream of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host that is asked for, in lower case: by the Host field, or by the server name of TLS
    /// where it is passed through. `*.example.com` stands for every name below. None for any.
    pub host: Option<Arc<str>>,
    /// What the path begins with, whole segments of it. None for any.
    pub path: Option<Arc<str>>,
    /// Where it goes.
    pub upstream: UpstreamName,
}

impl Route {
    /// Whether a session for this host and path goes here. A host may have its port.
    pub fn takes(&self, host: &str, path: &str) -> bool {
        let host_fits = self.host.as_deref().is_none_or(|own| is_host(own, host));
        host_fits && self.path.as_deref().is_none_or(|own| is_below(own, path))
    }
}

/// Whether a name is the one meant, or below it where that begins with `*.`.
fn is_host(own: &str, host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        // What is left of an IPv6 address is no port.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    match own.strip_prefix('*') {
        None => own.eq_ignore_ascii_case(name),
        Some(suffix) => {
            let at = name.len().checked_sub(suffix.len());
            at.is_some_and(|at| {
                at > 0 && name.as_bytes()[at..].eq_ignore_ascii_case(suffix.as_bytes())
            })
        }
    }
}

/// Whether a path is this one or goes on below it.
fn is_below(own: &str, path: &str) -> bool {
    let rest = path.strip_prefix(own);
    rest.is_some_and(|rest| own.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// A route as it was read.
pub(super) struct RawRoute {
    pub(super) path_of_table: String,
    host: Found<Option<Arc<str>>>,
    path: Found<Option<Arc<str>>>,
    pub(super) upstream: Option<Found<UpstreamName>>,
}

impl RawRoute {
    pub(super) fn read(table: &mut Section<'_>) -> RawRoute {
        RawRoute {
            path_of_table: table.path().to_owned(),
            host: table.read("host", value::route_host, None),
            path: table.read("path", value::route_path, None),
            upstream: table.required("upstream", value::upstream_name, "upstream = \"agent\""),
        }
    }

    pub(super) fn into_route(self) -> Option<Route> {
        Some(Route {
            host: self.host.value,
            path: self.path.value,
            upstream: self.upstream?.value,
        })
    }

    /// Reports what means nothing here.
    pub(super) fn check(&self, protocol: Option<Protocol>, reader: &Reader<'_>) {
        let (at, of) = (&self.path.origin, &self.path_of_table);
        match protocol {
            Some(Protocol::Tcp) => {
                let what = "raw TCP says neither a host nor a path".to_owned();
                let help =
                    "leave the route out, or write protocol = \"http\" or \"tls-passthrough\"";
                let at = self
                    .upstream
                    .as_ref()
                    .map_or(at, |upstream| &upstream.origin);
                reader.error(at, of, what, help.to_owned());
            }
            Some(Protocol::TlsPassthrough) if self.path.value.is_some() => {
                let what = "the path is not seen where TLS is passed through".to_owned();
                let help = "leave it out, or end TLS here with [listener.tls]".to_owned();
                reader.error(at, &format!("{of}.path"), what, help);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: Option<&str>) -> Route {
        Route {
            host: host.map(Arc::from),
            path: path.map(Arc::from),
            upstream: UpstreamName("agent".into()),
        }
    }

    #[test]
    fn a_host_is_whole_or_below_a_star() {
        let exact = route(Some("chat.example.com"), None);
        for (host, takes) in [
            ("chat.example.com", true),
            ("Chat.Example.COM:8443", true),
            ("chat.example.com.", true),
            ("a.chat.example.com", false),
            ("example.com", false),
            ("", false),
        ] {
            assert_eq!(exact.takes(host, "/"), takes, "{host}");
        }
        let below = route(Some("*.example.com"), None);
        for (host, takes) in [
            ("a.example.com", true),
            ("a.b.EXAMPLE.com", true),
            ("example.com", false),
            (".example.com", false),
            ("badexample.com", false),
            ("é.example.com", true),
            ("[::1]:80", false),
        ] {
            assert_eq!(below.takes(host, "/"), takes, "{host}");
        }
    }

    #[test]
    fn a_path_is_taken_by_whole_segments() {
        let api = route(None, Some("/api"));
        for (path, takes) in [
            ("/api", true),
            ("/api/x", true),
            ("/apis", false),
            ("/", false),
        ] {
            assert_eq!(api.takes("any", path), takes, "{path}");
        }
        assert!(route(None, Some("/api/")).takes("any", "/api/x"));
        assert!(!route(None, Some("/api/")).takes("any", "/api"));
        assert!(route(None, None).takes("", "*"));
    }
}
