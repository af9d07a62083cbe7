//! One side of a relayed session: a socket, read and written without waiting, and its TLS.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use crate::net::sockinfo;
use crate::net::tls::Layer;

/// So many bytes that were not read are decrypted to be counted; beyond, ciphertext is counted.
const MOST_COUNTED: u64 = 64 * 1024;

/// One side of a session. What is called here is the same for TCP and for unix sockets.
#[derive(Debug)]
pub(super) struct Half {
    socket: Socket,
    tls: Option<Box<Layer>>,
}

/// What a read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// So many bytes; zero is the end of the stream.
    pub(super) bytes: usize,
    /// There may be more, of which the socket says nothing.
    pub(super) more: bool,
}

/// What a write has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wrote {
    /// So many bytes were taken; zero when none fits.
    pub(super) taken: usize,
    /// So many have reached the socket: of those, and of what was taken before.
    pub(super) delivered: usize,
}

impl Half {
    /// Takes over a connected, non-blocking socket, and the TLS that is spoken on it.
    pub(super) fn new(socket: impl Into<Socket>, tls: Option<Box<Layer>>) -> Half {
        let socket = socket.into();
        Half { socket, tls }
    }

    /// Has it watched under `token`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        watch(&self.socket, registry, token)
    }

    /// Whether TLS is spoken.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
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

    /// Reads what there is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Found> {
        if let Some(tls) = &mut self.tls {
            let bytes = tls.read(&mut self.socket, buffer);
            // An answer of TLS' own, such as an alert; what does not fit waits as all the rest.
            let _ = flush(tls, &mut self.socket);
            let (bytes, more) = (bytes?, tls.has_more());
            return Ok(Found { bytes, more });
        }
        // By the system call itself: the C library's looks each time whether the thread is to be cancelled.
        let (bytes, _) = retry_on_intr(|| recv(&self.socket, &mut *buffer, RecvFlags::empty()))?;
        // A short read has emptied the socket (epoll(7)); the next bytes are an edge.
        let more = bytes == buffer.len();
        Ok(Found { bytes, more })
    }

    /// Writes what fits. Over TLS, something may be taken and still wait; nothing more is taken
    /// before that is flushed. If it `is_last`, [`Half::finish`] or a close have to follow at once: the
    /// kernel waits for those, so that the last bytes and the FIN are one packet.
    pub(super) fn write(&mut self, bytes: &[u8], is_last: bool) -> io::Result<Wrote> {
        if let Some(tls) = &mut self.tls {
            let taken = tls.write(&mut self.socket, bytes)?;
            let delivered = tls.take_delivered();
            return Ok(Wrote { taken, delivered });
        }
        let flags = match is_last {
            true => SendFlags::NOSIGNAL | SendFlags::MORE,
            false => SendFlags::NOSIGNAL,
        };
        match retry_on_intr(|| send(&self.socket, bytes, flags)) {
            Ok(n) => Ok(Wrote {
                taken: n,
                delivered: n,
            }),
            Err(Errno::WOULDBLOCK) => Ok(Wrote::default()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether a write of so many bytes will be taken whole, as far as the kernel says.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        // Half of the buffer's size is for what the kernel needs besides (socket(7), SO_SNDBUF).
        let size = self.socket.send_buffer_size().unwrap_or(0) / 2;
        sockinfo::unacknowledged(&self.socket) + bytes as u64 <= size as u64
    }

    /// Whether something that was taken waits for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Writes what waits, and says how many bytes have reached the socket by that.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => {
                flush(tls, &mut self.socket)?;
                Ok(tls.take_delivered())
            }
            None => Ok(0),
        }
    }

    /// Says that nothing more will be sent: over TLS by a close_notify, with the FIN behind it.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.socket);
            if tls.has_unsent() {
                return;
            }
        }
        // A peer that has gone already needs no FIN.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Makes the close of this socket a reset. A unix socket knows none: its peer sees an end.
    pub(super) fn abort(&self) {
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    /// Gives up what waits for the socket, and says how many bytes it was that were taken.
    pub(super) fn give_up(&mut self) -> u64 {
        self.tls.as_mut().map_or(0, |tls| tls.give_up() as u64)
    }

    /// Bytes that the peer has sent and that were not read. Takes what it counts.
    pub(super) fn unread(&mut self) -> u64 {
        let waits = sockinfo::unread(&self.socket);
        let Some(tls) = &mut self.tls else {
            return waits;
        };
        let (mut bytes, mut buffer) = (0, [0; 4096]);
        while bytes < MOST_COUNTED {
            match tls.read(&mut self.socket, &mut buffer) {
                Ok(0) | Err(_) => return bytes,
                Ok(n) => bytes += n as u64,
            }
        }
        bytes + sockinfo::unread(&self.socket)
    }
}

/// Has readiness of either direction reported under `token`, once per edge.
pub(super) fn watch(socket: &Socket, registry: &Registry, token: Token) -> io::Result<()> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, interest)
}

/// Writes what waits, and a FIN behind a close_notify.
fn flush(tls: &mut Layer, socket: &mut Socket) -> io::Result<()> {
    if tls.has_unsent() {
        tls.flush(socket)?;
        if tls.is_closed() && !tls.has_unsent() {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }
    Ok(())
}

impl AsFd for Half {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn there_is_room_until_the_peer_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _deaf = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let mut half = Half::new(socket, None);
        let bytes = [0; 16 * 1024];
        assert!(half.has_room_for(bytes.len()));
        let (mut had_room, mut taken) = (true, bytes.len());
        while taken == bytes.len() {
            had_room = half.has_room_for(bytes.len());
            taken = half.write(&bytes, false).unwrap().taken;
        }
        assert!(!had_room, "the last one was not taken whole");
    }
}
