//! One side of a relayed session: a socket, read and written without waiting.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::Socket;

/// One side of a session. What is called here is the same for TCP and for unix sockets.
#[derive(Debug)]
pub(super) struct Half {
    socket: Socket,
}

impl Half {
    /// Takes over a connected, non-blocking socket.
    pub(super) fn new(socket: impl Into<Socket>) -> Half {
        let socket = socket.into();
        Half { socket }
    }

    /// Has readiness of either direction reported under `token`, once per edge.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, interest)
    }

    /// The address of the other end; none if it has gone.
    pub(super) fn peer(&self) -> Option<Arc<str>> {
        let addr = self.socket.peer_addr().ok()?;
        let shown = match (addr.as_socket(), addr.as_pathname()) {
            (Some(addr), _) => addr.to_string(),
            (None, Some(path)) => format!("unix:{}", path.display()),
            (None, None) => return None,
        };
        Some(shown.into())
    }

    /// Reads what there is; zero is the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Writes what fits; zero when nothing does.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.socket.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                done => return done,
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&self) {
        // A peer that has gone already needs no FIN.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Makes the close of this socket a reset. A unix socket knows none: its peer sees an end.
    pub(super) fn abort(&self) {
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }
}

impl AsFd for Half {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
