//! A client's connection, plain or over TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::PlainStream;
use crate::net::tls::{Layer, TlsStream};

/// A client's connection.
pub(super) enum ClientStream {
    /// What is written is in the kernel's hands.
    Plain(PlainStream),
    /// What is written may wait until it is flushed.
    Tls(TlsStream),
}

impl ClientStream {
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, ClientStream::Tls(_))
    }

    /// What its requests are fetched by.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            ClientStream::Plain(_) => "http",
            ClientStream::Tls(_) => "https",
        }
    }

    /// Whose certificate the client has shown.
    pub(super) fn subject(&self) -> Option<String> {
        match self {
            ClientStream::Plain(_) => None,
            ClientStream::Tls(stream) => stream.peer_subject(),
        }
    }

    /// The socket and its TLS, for what comes after an upgrade.
    pub(super) fn into_parts(self) -> io::Result<(std::net::TcpStream, Option<Box<Layer>>)> {
        match self {
            ClientStream::Plain(socket) => Ok((socket.into_std()?, None)),
            ClientStream::Tls(stream) => {
                let (socket, layer) = stream.into_parts();
                Ok((socket.into_std()?, Some(layer)))
            }
        }
    }

    /// Whether the client has ended its side, or is gone. What it says is left unread.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            ClientStream::Plain(socket) => socket.is_gone(cx),
            ClientStream::Tls(stream) => stream.poll_has_ended(cx),
        }
    }

    /// Writes what fits now.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            ClientStream::Plain(socket) => socket.try_write(bytes),
            ClientStream::Tls(stream) => stream.try_write(bytes),
        }
    }

    /// Writes bytes behind which the connection is ended at once: the kernel may wait for that, so that they and
    /// the FIN are one packet.
    pub(super) fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            ClientStream::Plain(socket) => socket.poll_write_last(cx, bytes),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Of `n` bytes that were written just now, and of those before, how many are in the kernel's
    /// hands and have not been told of.
    pub(super) fn delivered(&mut self, n: usize) -> u64 {
        let n = match self {
            ClientStream::Plain(_) => n,
            ClientStream::Tls(stream) => stream.take_delivered(),
        };
        n as u64
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    /// Records are made of one piece.
    fn is_write_vectored(&self) -> bool {
        !self.is_tls()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(_) => Poll::Ready(Ok(())),
            ClientStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
