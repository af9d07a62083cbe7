//! Header fields on their way through: what belongs to one connection only stays behind
//! (RFC 9110 7.6.1), and where a request came from is written in.

use std::cell::RefCell;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, Entry, FORWARDED, HOST, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, Request, Version};

use crate::config::Forwarded;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Stands on a late arrival that was passed to a peer. Who finds it there and is late itself passes
/// it no further: two proxies that drain at once would hand it to each other for ever.
const PASSED_ON: HeaderName = HeaderName::from_static("lameduck-passed-on");

/// The names of what belongs to one connection only.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    PASSED_ON,
];

/// Whether a field belongs to one connection only. Most heads have none, and to look at their few
/// names once costs less than to look each of these up.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "lameduck-passed-on"
    )
}

/// Whether the client sends no request behind this one (RFC 9112 9.3).
pub(super) fn is_last<B>(request: &Request<B>) -> bool {
    let says = |option| has_token(request.headers(), CONNECTION, option);
    says("close") || request.version() < Version::HTTP_11 && !says("keep-alive")
}

/// Takes away what belongs to the connection the message came on. What the `Connection` field
/// names goes too, but for what frames the message or routes it. A length beside a transfer coding is not the
/// message's (RFC 9112 6.3).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            // These go below, and most heads name no others.
            .filter(|name| !is_hop_by_hop(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The protocol that a request asks to be upgraded to, if it is one that may be passed on. `h2c`
/// is not: the agent would then speak HTTP/2 past every check made here. In HTTP/1.0 there is none (RFC 9110 7.8).
pub(super) fn requested_upgrade<B>(request: &Request<B>) -> Option<HeaderValue> {
    if request.version() < Version::HTTP_11 {
        return None;
    }
    let protocol = request.headers().get(UPGRADE)?;
    let asked = has_token(request.headers(), CONNECTION, "upgrade");
    let text = protocol.to_str().ok()?;
    let is_h2c = text
        .split(',')
        .any(|token| token.trim().eq_ignore_ascii_case("h2c"));
    (asked && !is_h2c).then(|| protocol.clone())
}

/// Whether a list-valued field has a token.
pub(super) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Whether a response is an event stream.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let Some(kind) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

/// Whether the client takes trailers, which is all that is passed on of `TE`.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && has_token(headers, TE, "trailers")
}

/// The values that say where a connection's requests come from.
#[derive(Debug)]
pub(super) struct Origin {
    client: IpAddr,
    address: HeaderValue,
    node: String,
    /// `http`, or `https` over TLS.
    scheme: &'static str,
    /// Whose certificate the client has shown.
    subject: Option<HeaderValue>,
    /// The last host that was asked for, and the element of `Forwarded` with it: a connection's
    /// requests are mostly for one.
    last: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl Origin {
    pub(super) fn new(client: IpAddr, scheme: &'static str, subject: Option<&str>) -> Origin {
        let node = match client {
            IpAddr::V4(v4) => v4.to_string(),
            // RFC 7239 6: an IPv6 address stands in brackets and quotes.
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        let unknown = HeaderValue::from_static("unknown");
        Origin {
            client,
            address: client.to_string().parse().unwrap_or(unknown),
            node,
            scheme,
            subject: subject.and_then(|subject| subject.parse().ok()),
            last: RefCell::default(),
        }
    }

    /// Whether this would be made for a connection of nobody with a certificate.
    pub(super) fn is_of(&self, client: IpAddr, scheme: &'static str) -> bool {
        self.client == client && self.scheme == scheme && self.subject.is_none()
    }

    /// The element of `Forwarded` for a request to this host.
    fn element(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let Some(host) = host else {
            return forwarded_element(self, None);
        };
        if let Some((last, element)) = &*self.last.borrow()
            && last == host
        {
            return element.clone();
        }
        let element = forwarded_element(self, Some(host));
        self.last.replace(Some((host.clone(), element.clone())));
        element
    }
}

/// Writes where the request came from, by the operator's rule.
pub(super) fn write_origin(headers: &mut HeaderMap, origin: &Origin, rule: Forwarded) {
    if rule == Forwarded::Leave {
        return;
    }
    let host = headers.get(HOST).cloned();
    let element = origin.element(host.as_ref());
    let address = origin.address.clone();
    let scheme = HeaderValue::from_static(origin.scheme);
    if rule == Forwarded::Replace {
        headers.insert(X_FORWARDED_FOR, address);
        headers.insert(FORWARDED, element);
        headers.insert(X_FORWARDED_PROTO, scheme);
        match host {
            Some(host) => headers.insert(X_FORWARDED_HOST, host),
            None => headers.remove(X_FORWARDED_HOST),
        };
        return;
    }
    append_to_list(headers, X_FORWARDED_FOR, address);
    append_to_list(headers, FORWARDED, element);
    // The first proxy knows best what the client asked for.
    headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// Writes whose certificate the client has shown, in the place of what it may say itself: also under
/// a name that is the same to servers which take `_` for `-`, and behind the body.
pub(super) fn write_subject(headers: &mut HeaderMap, origin: &Origin, name: &HeaderName) {
    let is_meant = |other: &[u8]| {
        let same = |(a, b): (&u8, &u8)| match (a, b) {
            (b'_' | b'-', b'_' | b'-') => true,
            (a, b) => a.eq_ignore_ascii_case(b),
        };
        let name = name.as_str().as_bytes();
        other.len() == name.len() && other.iter().zip(name).all(same)
    };
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|key| is_meant(key.as_str().as_bytes()))
        .cloned()
        .collect();
    for key in forged {
        headers.remove(key);
    }
    let trailers = headers.get_all(TRAILER).iter();
    let mut trailers = trailers.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if trailers.any(|trailer| is_meant(trailer.trim_ascii())) {
        headers.remove(TRAILER);
    }
    if let Some(subject) = &origin.subject {
        headers.insert(name.clone(), subject.clone());
    }
}

/// One element of `Forwarded` (RFC 7239 4); a host that would need escapes is left out.
fn forwarded_element(origin: &Origin, host: Option<&HeaderValue>) -> HeaderValue {
    let plain = |host: &&str| {
        host.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
    };
    let text = match host.and_then(|host| host.to_str().ok()).filter(plain) {
        Some(host) => format!(
            "for={};host=\"{host}\";proto={}",
            origin.node, origin.scheme
        ),
        None => format!("for={};proto={}", origin.node, origin.scheme),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("for=unknown"))
}

/// Adds a value to a list-valued field as one line, in the order of the hops.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let mut lines = match headers.entry(name) {
        Entry::Vacant(place) => {
            place.insert(value);
            return;
        }
        Entry::Occupied(lines) => lines,
    };
    let mut list = Vec::new();
    for line in &lines {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value.as_bytes());
    lines.insert(HeaderValue::from_bytes(&list).unwrap_or(value));
}

/// Whether a peer has passed the request on already.
pub(super) fn was_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(PASSED_ON)
}

/// Notes that the request goes to a peer.
pub(super) fn write_passed_on(headers: &mut HeaderMap) {
    headers.insert(PASSED_ON, HeaderValue::from_static("1"));
}

/// Adds a `Via` element with the operator's pseudonym (RFC 9110 7.6.3).
pub(super) fn write_via(headers: &mut HeaderMap, pseudonym: Option<&str>) {
    if let Some(name) = pseudonym
        && let Ok(value) = HeaderValue::try_from(format!("1.1 {name}"))
    {
        append_to_list(headers, VIA, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn the_last_request_of_a_client_is_known_by_its_word_or_its_version() {
        let is_last_of = |version, value: &'static str| {
            let request = Request::builder().version(version);
            is_last(&request.header(CONNECTION, value).body(()).unwrap())
        };
        assert!(is_last_of(Version::HTTP_11, "te, Close"));
        assert!(!is_last_of(Version::HTTP_11, "te"));
        assert!(is_last_of(Version::HTTP_10, "te"));
        assert!(!is_last_of(Version::HTTP_10, "Keep-Alive"));
    }

    /// RFC 9110 7.6.1 knows no exception, though nobody means a field by it.
    #[test]
    fn a_field_that_is_called_as_the_usual_option_goes_too() {
        let mut map = headers(&[("connection", "close"), ("close", "x"), ("stays", "y")]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("stays", "y")]));
    }

    #[test]
    fn each_hop_by_hop_field_alone_stays_behind() {
        for name in HOP_BY_HOP {
            assert!(is_hop_by_hop(&name), "{name}");
            let mut map = headers(&[("accept", "*/*")]);
            map.insert(name.clone(), HeaderValue::from_static("x"));
            strip_hop_by_hop(&mut map);
            assert_eq!(map, headers(&[("accept", "*/*")]), "{name}");
        }
    }

    #[test]
    fn what_connection_names_stays_behind() {
        let mut map = headers(&[
            ("connection", "close, x-secret"),
            ("connection", "keep-alive, content-length"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("content-length", "3"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("content-length", "3"), ("accept", "*/*")]));
    }

    #[test]
    fn the_origin_is_appended_in_the_order_of_the_hops() {
        let origin = Origin::new("203.0.113.9".parse().unwrap(), "http", None);
        let mut map = headers(&[
            ("host", "a.example"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "198.51.100.2"),
            ("x-forwarded-proto", "https"),
        ]);
        write_origin(&mut map, &origin, Forwarded::Append);
        assert_eq!(
            map["x-forwarded-for"],
            "198.51.100.1, 198.51.100.2, 203.0.113.9"
        );
        assert_eq!(map["x-forwarded-proto"], "https");
        assert_eq!(map["x-forwarded-host"], "a.example");
        assert_eq!(
            map["forwarded"],
            "for=203.0.113.9;host=\"a.example\";proto=http"
        );
    }

    #[test]
    fn what_a_client_made_up_is_replaced() {
        let origin = Origin::new("2001:db8::1".parse().unwrap(), "http", None);
        let mut map = headers(&[
            ("host", "a\"b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
        ]);
        write_origin(&mut map, &origin, Forwarded::Replace);
        assert_eq!(map["x-forwarded-for"], "2001:db8::1");
        assert_eq!(map["forwarded"], "for=\"[2001:db8::1]\";proto=http");
    }

    #[test]
    fn an_origin_is_one_clients_and_never_that_of_a_certificate() {
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|addr| addr.parse().unwrap());
        let origin = Origin::new(a, "http", None);
        assert!(origin.is_of(a, "http"));
        assert!(!origin.is_of(b, "http") && !origin.is_of(a, "https"));
        assert!(!Origin::new(a, "https", Some("CN=a")).is_of(a, "https"));
    }

    #[test]
    fn h2c_is_no_upgrade_to_pass_on() {
        let ask = |protocol: &str| {
            let request = Request::builder()
                .header("connection", "keep-alive, Upgrade")
                .header("upgrade", protocol)
                .body(())
                .unwrap();
            requested_upgrade(&request).is_some()
        };
        assert!(ask("websocket"));
        assert!(!ask("h2c"));
        assert!(!ask("websocket, H2C"));
    }
}
