//! The PROXY protocol, versions 1 and 2: who the client is, said by the balancer before the
//! client's first byte (haproxy.org, proxy-protocol.txt, 2020).
//!
//! Our own, since no crate at hand both checks the checksum and tells LOCAL from an address that is
//! not known. Parsing is pure; only `read` knows of sockets.

mod crc32c;
mod read;
mod v1;
mod v2;
mod write;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use read::{ReadError, read};
pub use write::introduce;

/// The most bytes of a header of version 1, its line's end included (section 2.1).
const V1_LONGEST: usize = 107;
/// The most bytes of a header of version 2 that are taken: more than any balancer sends.
const V2_LONGEST: usize = 16 * 1024;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection is the balancer's own, such as a health check, or nothing is known of the
    /// client: the addresses of the socket hold.
    Local,
    /// It is a client's.
    Proxied(Proxied),
}

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client's address.
    pub client: SocketAddr,
    /// The address that the client has connected to.
    pub destination: SocketAddr,
    /// The value of the AWS VPC endpoint's TLV (0xEA), if there was one.
    pub vpc_endpoint: Option<Box<[u8]>>,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin as one.
    #[error("it does not begin with a PROXY protocol header")]
    NoHeader,
    /// The line of version 1 is not as it should be.
    #[error("the line of version 1 is malformed")]
    Line,
    /// A field of version 2 is not as it should be.
    #[error("a field of version 2 is malformed")]
    Field,
    /// It is longer than is taken.
    #[error("the header is too long")]
    TooLong,
    /// The checksum is wrong.
    #[error("the checksum (CRC32c) is wrong")]
    Checksum,
}
