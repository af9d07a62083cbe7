//! Version 2: binary, with TLVs (section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::Crc32c;
use super::{Header, Malformed, Proxied};

/// What each begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, the command, the family and the length of the rest.
pub(super) const FIXED: usize = 16;

pub(super) const VERSION: u8 = 0x20;
pub(super) const LOCAL: u8 = 0x0;
pub(super) const PROXY: u8 = 0x1;
pub(super) const UNSPECIFIED: u8 = 0x0;
pub(super) const INET: u8 = 0x1;
pub(super) const INET6: u8 = 0x2;
const UNIX: u8 = 0x3;
const UNIX_ADDRESSES: usize = 216;

/// The types of TLVs (section 2.2.1 to 2.2.8, and AWS's).
pub(super) const CRC32C: u8 = 0x03;
pub(super) const AWS: u8 = 0xea;
/// What stands before the value of a TLV.
const TLV_HEAD: usize = 3;

/// How many bytes follow the fixed part.
pub(super) fn rest_of(fixed: &[u8; FIXED]) -> usize {
    usize::from(u16::from_be_bytes([fixed[14], fixed[15]]))
}

/// Reads a whole header.
pub(super) fn parse(header: &[u8]) -> Result<Header, Malformed> {
    let (fixed, rest) = header
        .split_first_chunk::<FIXED>()
        .ok_or(Malformed::Field)?;
    if !fixed.starts_with(SIGNATURE) {
        return Err(Malformed::NoHeader);
    }
    if rest.len() != rest_of(fixed) || fixed[12] & 0xf0 != VERSION {
        return Err(Malformed::Field);
    }
    let addresses = match fixed[12] & 0x0f {
        // The addresses are to be ignored, whatever they are.
        LOCAL => return Ok(Header::Local),
        PROXY => match fixed[13] >> 4 {
            UNSPECIFIED => return Ok(Header::Local),
            INET => 12,
            INET6 => 36,
            UNIX => UNIX_ADDRESSES,
            _ => return Err(Malformed::Field),
        },
        _ => return Err(Malformed::Field),
    };
    let (addresses, tlvs) = rest.split_at_checked(addresses).ok_or(Malformed::Field)?;
    let vpc_endpoint = walk(tlvs, header)?;
    let Some((client, destination)) = inet(addresses).or_else(|| inet6(addresses)) else {
        // A unix socket of the balancer's own machine: it has no address that means anything here.
        return Ok(Header::Local);
    };
    Ok(Header::Proxied(Proxied {
        client,
        destination,
        vpc_endpoint,
    }))
}

fn inet(addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let a: &[u8; 12] = addresses.try_into().ok()?;
    let ip = |at: usize| Ipv4Addr::new(a[at], a[at + 1], a[at + 2], a[at + 3]);
    let port = |at: usize| u16::from_be_bytes([a[at], a[at + 1]]);
    Some(((ip(0), port(8)).into(), (ip(4), port(10)).into()))
}

fn inet6(addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let a: &[u8; 36] = addresses.try_into().ok()?;
    let (client, rest) = a.split_first_chunk::<16>()?;
    let (destination, ports) = rest.split_first_chunk::<16>()?;
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let address = |ip: &[u8; 16], port| SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port);
    Some((address(client, port(0)), address(destination, port(2))))
}

/// Checks the checksum, if there is one, and gives the value of the VPC endpoint's TLV.
fn walk(tlvs: &[u8], header: &[u8]) -> Result<Option<Box<[u8]>>, Malformed> {
    let mut vpc_endpoint = None;
    let mut left = tlvs;
    while !left.is_empty() {
        let (head, behind) = left
            .split_first_chunk::<TLV_HEAD>()
            .ok_or(Malformed::Field)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, behind) = behind.split_at_checked(length).ok_or(Malformed::Field)?;
        match head[0] {
            CRC32C => {
                let told: [u8; 4] = value.try_into().map_err(|_| Malformed::Field)?;
                // Of the whole header, with zeros in the place of the checksum itself.
                let at = header.len() - behind.len() - value.len();
                let crc = Crc32c::new().with(&header[..at]).with(&[0; 4]).with(behind);
                if crc.value() != u32::from_be_bytes(told) {
                    return Err(Malformed::Checksum);
                }
            }
            AWS => vpc_endpoint = Some(value.into()),
            _ => {}
        }
        left = behind;
    }
    Ok(vpc_endpoint)
}
