//! Listening sockets. One per listener, so that there is one queue to empty at the end: closing
//! one of several SO_REUSEPORT sockets resets what waits in its queue.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};

use super::watch::{self, WatchedListener};

/// Connections the kernel may hold before they are accepted; it cuts this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds an address and listens on it. An IPv6 wildcard takes IPv4 as well.
///
/// # Errors
/// When the address is taken or not ours; the error names it.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    listen().map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {addr}: {e}")))
}

/// Why nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// There is no descriptor or memory left; the connection waits in the queue.
    #[error("no room for another connection: {0}")]
    Exhausted(io::Error),
    /// This one connection has gone; the next may be well.
    #[error("a connection was lost before it was accepted: {0}")]
    Passing(io::Error),
}

impl AcceptError {
    /// What an error of the system means.
    pub(super) fn of(errno: Errno) -> AcceptError {
        match errno {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
                AcceptError::Exhausted(errno.into())
            }
            _ => AcceptError::Passing(errno.into()),
        }
    }
}

/// A listening socket, watched by the runtime it was made on.
#[derive(Debug)]
pub struct Listening(WatchedListener);

impl Listening {
    /// Watches a bound, non-blocking socket.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(socket: TcpListener) -> io::Result<Listening> {
        Ok(Listening(watch::readable(socket)?))
    }

    /// The next connection, non-blocking and without Nagle's delay. Cancel safe: a connection is
    /// accepted or still in the queue.
    ///
    /// # Errors
    /// None ends the listener: after [`AcceptError::Exhausted`] wait a while, after
    /// [`AcceptError::Passing`] go on.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        loop {
            let mut guard = self.0.readable().await.map_err(AcceptError::Exhausted)?;
            match self.try_accept() {
                Some(accepted) => return accepted,
                None => guard.clear_ready(),
            }
        }
    }

    /// What waits in the queue now; none when it is empty.
    pub fn try_accept(&self) -> Option<Result<(TcpStream, SocketAddr), AcceptError>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            return Some(match acceptfrom_with(self.0.get_ref(), flags) {
                Ok((socket, from)) => {
                    let socket = TcpStream::from(socket);
                    // A socket that was reset meanwhile shows it at the first read.
                    let _ = socket.set_nodelay(true);
                    Ok((socket, client_address(from)))
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return None,
                Err(e) => Err(AcceptError::of(e)),
            });
        }
    }
}

/// The peer's address; an IPv4 client of an IPv6 socket is shown as IPv4.
fn client_address(from: Option<SocketAddrAny>) -> SocketAddr {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let addr = from
        .and_then(|from| SocketAddr::try_from(from).ok())
        .unwrap_or(unknown);
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
