//! Listening sockets. One per listener, so that there is one queue to empty at the end: closing
//! one of several SO_REUSEPORT sockets resets what waits in its queue.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::watch::{self, WatchedListener};

/// Connections the kernel may hold before they are accepted; it cuts this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening socket, and whose it is.
#[derive(Debug)]
pub struct TcpBound {
    /// The socket.
    pub socket: TcpListener,
    /// Whether it is somebody else's too: what is done to the socket itself outlives this process,
    /// and what waits in its queue when we close it is lost to nobody.
    pub is_shared: bool,
}

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
        socket.set_tcp_nodelay(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    listen().map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {addr}: {e}")))
}

/// A classic BPF program that drops segments which ask for a connection. A listener's filter sees
/// them from the TCP header on, whose flags are byte 13 (RFC 9293 3.1).
fn no_syn() -> [SockFilter; 5] {
    [
        SockFilter::new(0x30, 0, 0, 13),       // load the flags
        SockFilter::new(0x54, 0, 0, 0x12),     // of them SYN and ACK
        SockFilter::new(0x15, 0, 1, 0x02),     // if it is SYN alone
        SockFilter::new(0x06, 0, 0, 0),        // drop it
        SockFilter::new(0x06, 0, 0, u32::MAX), // else take it whole
    ]
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
pub struct Listening {
    socket: WatchedListener,
    /// Whether it has no Nagle's delay: then what is accepted has none either.
    is_nodelay: bool,
}

impl Listening {
    /// Watches a bound, non-blocking socket.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(socket: TcpListener) -> io::Result<Listening> {
        let is_nodelay = SockRef::from(&socket).tcp_nodelay().unwrap_or_default();
        Ok(Listening {
            socket: watch::readable(socket)?,
            is_nodelay,
        })
    }

    /// The socket itself, watched by nobody.
    pub fn into_socket(self) -> TcpListener {
        self.socket.into_inner()
    }

    /// The next connection, non-blocking and without Nagle's delay. Cancel safe: a connection is
    /// accepted or still in the queue.
    ///
    /// # Errors
    /// None ends the listener: after [`AcceptError::Exhausted`] wait a while, after
    /// [`AcceptError::Passing`] go on.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        loop {
            let mut guard = self
                .socket
                .readable()
                .await
                .map_err(AcceptError::Exhausted)?;
            match self.try_accept() {
                Some(accepted) => return accepted,
                None => guard.clear_ready(),
            }
        }
    }

    /// Lets no new connection begin, while those whose handshake is under way still come into the
    /// queue. Without that a connection which is established between the last look at the queue and
    /// the close of the socket would be reset.
    ///
    /// # Errors
    /// When the kernel takes no filter; nothing has changed then.
    pub fn take_no_more(&self) -> io::Result<()> {
        SockRef::from(self.socket.get_ref()).attach_filter(&no_syn())
    }

    /// What waits in the queue now; none when it is empty.
    pub fn try_accept(&self) -> Option<Result<(TcpStream, SocketAddr), AcceptError>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            return Some(match acceptfrom_with(self.socket.get_ref(), flags) {
                Ok((socket, from)) => {
                    let socket = TcpStream::from(socket);
                    if !self.is_nodelay {
                        // A socket that was reset meanwhile shows it at the first read.
                        let _ = socket.set_nodelay(true);
                    }
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

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// A socket that has sent its SYN.
    fn connecting(to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&to.into());
        socket
    }

    /// How a connect went; none if it has not within so many seconds.
    fn outcome(socket: &Socket, seconds: i64) -> Option<Option<io::ErrorKind>> {
        let limit = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit)).unwrap();
        (ready > 0).then(|| socket.take_error().unwrap().map(|error| error.kind()))
    }

    /// Be the listening socket our own or somebody else's.
    #[tokio::test]
    async fn what_is_accepted_has_no_nagles_delay() {
        let ours = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        given.set_nonblocking(true).unwrap();
        for listener in [ours, given] {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let listening = Listening::new(listener).unwrap();
            let (accepted, from) = listening.accept().await.unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            assert!(accepted.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn who_is_connected_is_accepted_and_nobody_else_connects() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let listening = Listening::new(listener).unwrap();
        let before = connecting(addr);
        assert_eq!(outcome(&before, 5), Some(None));
        listening.take_no_more().unwrap();
        let after = connecting(addr);
        assert_eq!(outcome(&after, 0), None, "its SYN is not answered");
        assert!(matches!(listening.try_accept(), Some(Ok(_))));
        assert!(listening.try_accept().is_none());
        drop(listening);
        let refused = Some(Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(
            outcome(&after, 20),
            refused,
            "and refused when it asks again"
        );
    }
}
