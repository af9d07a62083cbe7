//! Addresses: those that are bound, and those of agents.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use toml::de::DeValue;

use super::choice::parse_word;
use super::{Show, Wrong, string};
use crate::config::keys::Default;
use crate::config::types::{Bind, Endpoint, Protocol};

/// What a unix socket's path follows.
const UNIX: &str = "unix:";

/// The longest path of a unix socket: `sun_path` of Linux without its end.
const LONGEST_PATH: usize = 107;

/// Where to bind what may be a unix socket, from the text of a flag.
pub(in crate::config) fn parse_bind(text: &str) -> Result<Bind, Wrong> {
    match text.strip_prefix(UNIX) {
        Some(path) => unix_path(text, path, "admin").map(|()| Bind::Unix(path.into())),
        None => parse_socket_address(text).map(Bind::Tcp),
    }
}

/// Whether this can be the path of a unix socket.
fn unix_path(text: &str, path: &str, example: &str) -> Result<(), Wrong> {
    let wrong = |why: &str| {
        let help = format!("write an absolute path, such as \"unix:/run/lameduck/{example}.sock\"");
        Err(Wrong::new(format!("`{text}` {why}"), help))
    };
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return wrong("is not the path of a unix socket");
    }
    if path.len() > LONGEST_PATH {
        return wrong(&format!(
            "is longer than the {LONGEST_PATH} bytes of a unix socket's path"
        ));
    }
    Ok(())
}

/// An address to bind, from the text of a flag.
pub(in crate::config) fn parse_socket_address(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.starts_with(UNIX) {
        return Err(Wrong::new(
            format!("only admin.bind may be a unix socket: `{text}`"),
            "write an address and a port, such as \"127.0.0.1:9181\"",
        ));
    }
    let help = match text.rsplit_once(':') {
        Some(("" | "*", port)) if is_port(port) => {
            format!("write \"0.0.0.0:{port}\", or \"[::]:{port}\" for IPv6 too")
        }
        Some(("localhost", port)) if is_port(port) => format!("write \"127.0.0.1:{port}\""),
        Some((host, port)) if is_port(port) && host.parse::<Ipv6Addr>().is_ok() => {
            format!("write \"[{host}]:{port}\"")
        }
        None if is_port(text) => {
            format!("write \"0.0.0.0:{text}\", or \"127.0.0.1:{text}\" for this machine alone")
        }
        _ => "write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"".into(),
    };
    Err(Wrong::new(
        format!("`{text}` is not an address to bind"),
        help,
    ))
}

/// Where an agent listens, from the text of a flag.
pub(in crate::config) fn parse_endpoint(text: &str) -> Result<Endpoint, Wrong> {
    match text.strip_prefix(UNIX) {
        Some(path) => unix_path(text, path, "agent").map(|()| Endpoint(text.into())),
        None => parse_authority(text),
    }
}

/// A host and a port.
pub(in crate::config) fn parse_authority(text: &str) -> Result<Endpoint, Wrong> {
    endpoint_of("an agent", text)
}

fn endpoint_of(whom: &str, text: &str) -> Result<Endpoint, Wrong> {
    const EXAMPLE: &str = "write host:port, such as \"127.0.0.1:9000\"";
    let wrong = |help: String| Wrong::new(format!("`{text}` is not the address of {whom}"), help);
    if text.starts_with(UNIX) {
        let what = format!("{whom} is not reached through a unix socket here: `{text}`");
        return Err(Wrong::new(what, EXAMPLE));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let bare = rest.split('/').next().unwrap_or_default();
        return Err(wrong(match split_endpoint(bare) {
            Some(_) => format!("write \"{bare}\", without a scheme or path"),
            None => EXAMPLE.to_owned(),
        }));
    }
    match split_endpoint(text) {
        Some((_, 0)) => Err(wrong(
            "write the port that is listened on, not 0".to_owned(),
        )),
        Some(_) => Ok(Endpoint(text.into())),
        None => Err(wrong(match text.parse::<Ipv6Addr>() {
            Ok(address) => format!("write \"[{address}]:port\""),
            Err(_) => EXAMPLE.to_owned(),
        })),
    }
}

fn split_endpoint(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = is_port(port).then(|| port.parse().ok())??;
    let legal = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    legal.then_some((host, port))
}

/// Whether this can be a name or an IPv4 address. Underscores are no host name by the book, but
/// container networks hand them out.
fn is_host(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 253 && !text.starts_with('.') && text.chars().all(legal)
}

/// Whether this is a port as people write it: `u16::from_str` takes a sign too.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// An address to bind.
pub(in crate::config) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    if let DeValue::Integer(port) = value {
        let what = format!("`{port}` is not an address to bind");
        return Err(Wrong::new(what, format!("write \"0.0.0.0:{port}\"")));
    }
    parse_socket_address(string(value, "an address", "such as \"0.0.0.0:8080\"")?)
}

/// Where to bind what may be a unix socket.
pub(in crate::config) fn bind(value: &DeValue<'_>) -> Result<Bind, Wrong> {
    match value {
        DeValue::String(text) => parse_bind(text),
        other => socket_address(other).map(Bind::Tcp),
    }
}

/// Where an agent listens.
pub(in crate::config) fn endpoint(value: &DeValue<'_>) -> Result<Endpoint, Wrong> {
    let example = "such as \"127.0.0.1:9000\", or \"unix:/run/agent.sock\"";
    parse_endpoint(string(value, "host:port or unix:/path", example)?)
}

/// Where a peer listens, if there is one.
pub(in crate::config) fn peer(value: &DeValue<'_>) -> Result<Option<Endpoint>, Wrong> {
    let text = string(value, "host:port", "such as \"10.0.0.7:8080\"")?;
    endpoint_of("a peer", text).map(Some)
}

/// A listener in one word, as `--listen` takes it: `http://0.0.0.0:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenUrl {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The address to bind.
    pub bind: SocketAddr,
}

impl FromStr for ListenUrl {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            let help = "write where to listen, such as \"http://0.0.0.0:8080\"";
            return Err(Wrong::new("the value is empty", help));
        }
        let Some((scheme, address)) = text.split_once("://") else {
            return Err(Wrong::new(
                format!("`{text}` does not say what is spoken there"),
                format!("write \"http://{text}\" or \"tcp://{text}\""),
            ));
        };
        let protocol = match scheme {
            "https" | "wss" | "tls" => {
                return Err(Wrong::new(
                    format!("this version does not end TLS: `{text}`"),
                    format!("write \"http://{address}\" behind a balancer that does"),
                ));
            }
            "ws" => Protocol::Http,
            scheme => parse_word(scheme)?,
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        Ok(Self {
            protocol,
            bind: parse_socket_address(address)?,
        })
    }
}

impl Show for Bind {
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Show for Option<Endpoint> {
    fn show(&self) -> String {
        let shown = self.as_ref().map(|endpoint| format!("\"{endpoint}\""));
        shown.unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("none"),
        }
    }
}

impl Show for SocketAddr {
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn an_address_to_bind_is_numeric() {
        assert_eq!(taken("\"0.0.0.0:8080\"", socket_address).port(), 8080);
        assert_eq!(taken("\"[::]:0\"", socket_address).port(), 0);
        for (text, help) in [
            ("\":8080\"", "\"0.0.0.0:8080\""),
            ("\"*:8080\"", "\"0.0.0.0:8080\""),
            ("\"8080\"", "\"127.0.0.1:8080\""),
            ("8080", "\"0.0.0.0:8080\""),
            ("\"localhost:80\"", "\"127.0.0.1:80\""),
            ("\":::80\"", "\"[::]:80\""),
            ("\"0.0.0.0\"", "\"[::]:8080\""),
            ("\"0.0.0.0:70000\"", "an IP address and a port"),
        ] {
            refused(text, socket_address, "is not an address to bind", help);
        }
        let alone = "only admin.bind may be a unix socket";
        refused("\"unix:/run/x\"", socket_address, alone, "127.0.0.1");
    }

    #[test]
    fn a_unix_socket_has_an_absolute_path_that_is_not_too_long() {
        assert_eq!(taken("\"unix:/run/x\"", bind), Bind::Unix("/run/x".into()));
        let local = Bind::Tcp(([127, 0, 0, 1], 1).into());
        assert_eq!(taken("\"127.0.0.1:1\"", bind), local);
        let long = format!("unix:/{}", "a".repeat(106));
        assert_eq!(
            parse_bind(&long).expect("just short enough").to_string(),
            long
        );
        for text in [
            "unix:",
            "unix:run/x",
            "unix:/",
            "unix:/run/",
            "unix:/a\0b",
            "unix://",
        ] {
            let wrong = parse_bind(text).expect_err(text);
            assert!(wrong.what.contains("is not the path"), "{wrong:?}");
            assert!(wrong.help.contains("unix:/run/lameduck/admin.sock"));
        }
        let wrong = parse_bind(&format!("{long}a")).expect_err("too long");
        assert!(wrong.what.contains("107 bytes"), "{wrong:?}");
        refused(
            "\"9181\"",
            bind,
            "is not an address to bind",
            "\"127.0.0.1:9181\"",
        );
    }

    #[test]
    fn an_endpoint_has_a_host_and_a_port() {
        for text in [
            "127.0.0.1:9000",
            "agent:1",
            "my_agent.svc.local:65535",
            "[::1]:9000",
            "unix:/run/agent.sock",
        ] {
            assert_eq!(parse_endpoint(text).expect(text).to_string(), text);
        }
        for (text, help) in [
            ("127.0.0.1", "host:port"),
            ("127.0.0.1:0", "not 0"),
            (":9000", "host:port"),
            ("agent:port", "host:port"),
            ("agent:+90", "host:port"),
            ("agent:65536", "host:port"),
            ("::1", "\"[::1]:port\""),
            (
                "http://127.0.0.1:9000/",
                "\"127.0.0.1:9000\", without a scheme",
            ),
            ("a b:9000", "host:port"),
            ("", "host:port"),
        ] {
            let value = format!("{text:?}");
            refused(&value, endpoint, "is not the address of an agent", help);
        }
        let path = "is not the path of a unix socket";
        refused("\"unix:run/x\"", endpoint, path, "unix:/run/lameduck/agent");
        let none = "a peer is not reached through a unix socket";
        refused("\"unix:/run/x\"", peer, none, "host:port");
    }

    #[test]
    fn a_listen_url_says_what_is_spoken() {
        let listen = |text: &str| text.parse::<ListenUrl>();
        let http = listen("http://0.0.0.0:8080").expect("legal");
        assert_eq!((http.protocol, http.bind.port()), (Protocol::Http, 8080));
        assert_eq!(listen("http://0.0.0.0:8080/"), Ok(http));
        assert_eq!(
            listen("tcp://[::]:9000").expect("legal").protocol,
            Protocol::Tcp
        );
        for (text, help) in [
            ("", "\"http://0.0.0.0:8080\""),
            ("0.0.0.0:8080", "\"http://0.0.0.0:8080\""),
            ("https://0.0.0.0:8443", "\"http://0.0.0.0:8443\""),
            ("udp://0.0.0.0:1", "\"http\" or \"tcp\""),
            ("http://0.0.0.0:80/chat", "an IP address and a port"),
        ] {
            let wrong = listen(text).expect_err(text);
            assert!(wrong.help.contains(help), "{text}: {wrong:?}");
        }
    }
}
