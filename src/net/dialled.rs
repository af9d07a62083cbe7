//! A connection to an agent that was dialled, on its way to whoever watches it.

use std::io;
use std::net::SocketAddr;

use super::socket::Socket;
use super::tls::Layer;

/// A connected, non-blocking socket.
#[derive(Debug)]
pub enum Dialled {
    /// No runtime has it in its readiness set.
    Unwatched(std::net::TcpStream),
    /// The runtime that it was dialled on has.
    Watched(Socket),
}

impl Dialled {
    /// Has it watched by the runtime of the calling thread.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn watched(self) -> io::Result<Socket> {
        match self {
            Dialled::Unwatched(socket) => Ok(Socket::Tcp(tokio::net::TcpStream::from_std(socket)?)),
            Dialled::Watched(socket) => Ok(socket),
        }
    }

    /// Has it watched by nobody: the socket, with its TLS; it stays non-blocking.
    ///
    /// # Errors
    /// When it cannot be taken out of the runtime's readiness set.
    pub fn into_parts(self) -> io::Result<(socket2::Socket, Option<Box<Layer>>)> {
        match self {
            Dialled::Unwatched(socket) => Ok((socket.into(), None)),
            Dialled::Watched(socket) => socket.into_parts(),
        }
    }

    /// The address that it is connected to; none for a unix socket, and none when the peer has
    /// gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Dialled::Unwatched(socket) => socket.peer_addr().ok(),
            Dialled::Watched(socket) => socket.peer_addr(),
        }
    }
}
