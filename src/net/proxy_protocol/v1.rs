//! Version 1: a line of text (section 2.1).

use std::net::{IpAddr, SocketAddr};

use super::{Header, Malformed, Proxied};

/// What each begins with.
pub(super) const PREFIX: &[u8] = b"PROXY ";

/// Reads a whole line, its CR and LF included.
pub(super) fn parse(line: &[u8]) -> Result<Header, Malformed> {
    let text = line
        .strip_suffix(b"\r\n")
        .and_then(|line| line.strip_prefix(PREFIX))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(Malformed::Line)?;
    let mut words = text.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Ok(Header::Local);
    }
    let words: Vec<&str> = words.take(5).collect();
    let [client, destination, client_port, destination_port] = words[..] else {
        return Err(Malformed::Line);
    };
    let address = |text: &str, port: &str| {
        let ip: IpAddr = text.parse().ok()?;
        let is_right = match family {
            "TCP4" => ip.is_ipv4(),
            "TCP6" => ip.is_ipv6(),
            _ => false,
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        // No leading zeros (section 2.1).
        let plain = digits && (port == "0" || !port.starts_with('0'));
        let port = plain.then(|| port.parse().ok()).flatten()?;
        is_right.then(|| SocketAddr::new(ip.to_canonical(), port))
    };
    let client = address(client, client_port).ok_or(Malformed::Line)?;
    let destination = address(destination, destination_port).ok_or(Malformed::Line)?;
    Ok(Header::Proxied(Proxied {
        client,
        destination,
        vpc_endpoint: None,
    }))
}
