//! Reads a header from a socket, and not a byte of what is behind it.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{Header, Malformed, V1_LONGEST, V2_LONGEST, v1, v2};

/// Why no header was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection was closed before its first byte, as by a balancer that only looks whether
    /// somebody listens.
    #[error("the connection was closed without a byte")]
    Nothing,
    /// It ended within the header, or was reset.
    #[error("the connection ended within the header: {0}")]
    Ended(io::Error),
    /// What came is no header.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads the header that a connection begins with. What is behind it stays in the socket. Not
/// cancel safe: what was read of a header is lost.
///
/// # Errors
/// See [`ReadError`].
pub async fn read(socket: &mut TcpStream) -> Result<Header, ReadError> {
    // So long is every header of either version, and no more is ever read than is known to be of it.
    let mut start = [0; v2::SIGNATURE.len()];
    let begun = socket.read(&mut start).await.map_err(ReadError::Ended)?;
    if begun == 0 {
        return Err(ReadError::Nothing);
    }
    let mut have = begun;
    loop {
        let begins = |whole: &[u8]| whole.starts_with(&start[..have.min(whole.len())]);
        if !begins(v2::SIGNATURE) && !begins(v1::PREFIX) {
            return Err(Malformed::NoHeader.into());
        }
        if have == start.len() {
            break;
        }
        let n = socket.read(&mut start[have..]).await;
        match n.map_err(ReadError::Ended)? {
            0 => return Err(ReadError::Ended(io::ErrorKind::UnexpectedEof.into())),
            n => have += n,
        }
    }
    if start == *v2::SIGNATURE {
        version_2(socket).await
    } else {
        version_1(socket, &start).await
    }
}

async fn version_2(socket: &mut TcpStream) -> Result<Header, ReadError> {
    let mut fixed = [0; v2::FIXED];
    let (signature, behind) = fixed.split_at_mut(v2::SIGNATURE.len());
    signature.copy_from_slice(v2::SIGNATURE);
    socket.read_exact(behind).await.map_err(ReadError::Ended)?;
    let length = v2::FIXED + v2::rest_of(&fixed);
    if length > V2_LONGEST {
        return Err(Malformed::TooLong.into());
    }
    let mut header = vec![0; length];
    header[..v2::FIXED].copy_from_slice(&fixed);
    let rest = &mut header[v2::FIXED..];
    socket.read_exact(rest).await.map_err(ReadError::Ended)?;
    Ok(v2::parse(&header)?)
}

async fn version_1(socket: &mut TcpStream, start: &[u8]) -> Result<Header, ReadError> {
    let mut line = [0; V1_LONGEST];
    line[..start.len()].copy_from_slice(start);
    let mut have = start.len();
    loop {
        // Looked at first, since how long the line is is not known; what is behind it stays.
        let seen = socket.peek(&mut line[have..]).await;
        let seen = seen.map_err(ReadError::Ended)?;
        if seen == 0 {
            return Err(ReadError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let end = memchr::memchr(b'\n', &line[have..have + seen]).map(|at| at + 1);
        let of_it = end.unwrap_or(seen);
        let taken = socket.read_exact(&mut line[have..have + of_it]).await;
        taken.map_err(ReadError::Ended)?;
        have += of_it;
        if end.is_some() {
            return Ok(v1::parse(&line[..have])?);
        }
        if have == line.len() {
            return Err(Malformed::TooLong.into());
        }
    }
}
