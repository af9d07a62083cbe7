//! The header that a connection to an agent begins with.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncWriteExt as _;

use super::crc32c::Crc32c;
use super::{Proxied, v1, v2};
use crate::config::ProxyOut;
use crate::net::Socket;

/// Says to an agent whose connection it is; our own where it is nobody's. Nothing is said where
/// nothing is to be.
///
/// # Errors
/// When the agent has gone.
pub async fn introduce(
    socket: &mut Socket,
    version: ProxyOut,
    client: Option<&Proxied>,
) -> io::Result<()> {
    match version {
        ProxyOut::Off => Ok(()),
        ProxyOut::V1 => socket.write_all(line(client).as_bytes()).await,
        ProxyOut::V2 => socket.write_all(&binary(client)).await,
    }
}

/// Version 1; UNKNOWN without a client.
pub(super) fn line(client: Option<&Proxied>) -> String {
    let prefix = String::from_utf8_lossy(v1::PREFIX);
    let Some(proxied) = client else {
        return format!("{prefix}UNKNOWN\r\n");
    };
    let (client, to) = (proxied.client, proxied.destination);
    let (family, from_ip, to_ip) = match (client.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ("TCP4", from.to_string(), to.to_string()),
        (from, to) => ("TCP6", v6(from).to_string(), v6(to).to_string()),
    };
    let (from_port, to_port) = (client.port(), to.port());
    format!("{prefix}{family} {from_ip} {to_ip} {from_port} {to_port}\r\n")
}

/// Version 2, with a checksum, and the VPC endpoint that the client came through; LOCAL without a
/// client.
pub(super) fn binary(client: Option<&Proxied>) -> Vec<u8> {
    let mut header = v2::SIGNATURE.to_vec();
    let Some(proxied) = client else {
        header.extend([v2::VERSION | v2::LOCAL, v2::UNSPECIFIED, 0, 0]);
        return header;
    };
    let (family, addresses) = addresses(proxied.client, proxied.destination);
    let vpc_endpoint = proxied.vpc_endpoint.as_deref();
    let mut tlvs = vec![v2::CRC32C, 0, 4, 0, 0, 0, 0];
    // It came in a header that was no longer than any may be, so its length fits.
    if let Some((value, length)) =
        vpc_endpoint.and_then(|value| Some((value, u16::try_from(value.len()).ok()?)))
    {
        tlvs.push(v2::AWS);
        tlvs.extend(length.to_be_bytes());
        tlvs.extend(value);
    }
    let length = u16::try_from(addresses.len() + tlvs.len()).unwrap_or(u16::MAX);
    // STREAM is the lower half of the family.
    header.extend([v2::VERSION | v2::PROXY, family << 4 | 1]);
    header.extend(length.to_be_bytes());
    header.extend(&addresses);
    let at = header.len() + 3;
    header.extend(&tlvs);
    let crc = Crc32c::new().with(&header).value();
    header[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    header
}

fn addresses(client: SocketAddr, to: SocketAddr) -> (u8, Vec<u8>) {
    let mut bytes = Vec::with_capacity(36);
    let family = match (client.ip(), to.ip()) {
        (IpAddr::V4(client), IpAddr::V4(to)) => {
            bytes.extend(client.octets());
            bytes.extend(to.octets());
            v2::INET
        }
        (client, to) => {
            bytes.extend(v6(client).octets());
            bytes.extend(v6(to).octets());
            v2::INET6
        }
    };
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    (family, bytes)
}

/// Both addresses of a header are of one family.
fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
