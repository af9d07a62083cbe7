//! A connection over TLS as tasks use it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::layer::Layer;
use super::x509;

/// The longest plaintext of one record.
const RECORD: usize = 16_384;

/// A socket and its TLS.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    layer: Box<Layer>,
}

/// A socket that a [`Layer`] reads and writes without waiting.
struct Ready<'s>(&'s TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsStream {
    pub(super) fn new(socket: TcpStream, layer: Layer) -> TlsStream {
        let layer = Box::new(layer);
        TlsStream { socket, layer }
    }

    /// Waits until the handshake can go on.
    pub(super) async fn can_shake(&self) -> io::Result<()> {
        match self.layer.has_unsent() {
            true => self.socket.writable().await,
            false => self.socket.readable().await,
        }
    }

    /// Goes on with the handshake as far as the socket lets it; true when it is over.
    pub(super) fn shake(&mut self) -> io::Result<bool> {
        self.layer.shake(&mut Ready(&self.socket))
    }

    /// Goes on with the handshake; ready when it is over.
    pub(super) fn poll_shake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.layer.shake(&mut Ready(&self.socket))? {
                return Poll::Ready(Ok(()));
            }
            if self.layer.has_unsent() {
                ready!(self.socket.poll_write_ready(cx))?;
            } else {
                ready!(self.socket.poll_read_ready(cx))?;
            }
        }
    }

    /// Whether the peer has sent a byte.
    pub(super) fn has_begun(&self) -> bool {
        self.layer.has_begun()
    }

    /// Whose certificate the peer has shown, as RFC 4514 writes it; none if it has shown none.
    pub fn peer_subject(&self) -> Option<String> {
        x509::read(self.layer.peer_certificate()?).map(|said| said.subject)
    }

    /// The socket and its TLS, with what it has read ahead and what it has not sent yet.
    pub fn into_parts(self) -> (TcpStream, Box<Layer>) {
        (self.socket, self.layer)
    }

    /// The address that it is connected to; none when the peer has gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// Bytes that have reached the socket since this was asked last.
    pub fn take_delivered(&mut self) -> usize {
        self.layer.take_delivered()
    }

    /// Whether the peer is known to have ended its side. What it says is kept for the next read. The
    /// task is woken when there is something new to be known.
    pub fn poll_has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.layer.has_ended(&mut Ready(&self.socket)) {
                return true;
            }
            // Only a socket that has been emptied has anything to wake for.
            if self.layer.has_more() || self.socket.poll_read_ready(cx).is_pending() {
                return false;
            }
        }
    }

    /// Writes what fits now, without being woken for the rest.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.layer.write(&mut Ready(&self.socket), bytes)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let TlsStream { socket, layer } = &mut *self;
        // What is not filled has to be zeroed each time.
        let most = buf.remaining().min(RECORD);
        loop {
            let read = layer.read(&mut Ready(socket), buf.initialize_unfilled_to(most));
            // Answers to what was read, such as an alert; the rest goes with the next write.
            let _ = layer.flush(&mut Ready(socket));
            match read {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => ready!(socket.poll_read_ready(cx))?,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let TlsStream { socket, layer } = &mut *self;
        loop {
            let n = layer.write(&mut Ready(socket), bytes)?;
            if n > 0 || bytes.is_empty() {
                return Poll::Ready(Ok(n));
            }
            ready!(socket.poll_write_ready(cx))?;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let TlsStream { socket, layer } = &mut *self;
        loop {
            layer.flush(&mut Ready(socket))?;
            if !layer.has_unsent() {
                return Poll::Ready(Ok(()));
            }
            ready!(socket.poll_write_ready(cx))?;
        }
    }

    /// Sends a close_notify, and a FIN behind it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let TlsStream { socket, layer } = &mut *self;
        layer.close(&mut Ready(socket));
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
