//! Go-betweens: in plain on one side, TLS on the other.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::agent::Agent;

/// How ciphertext goes over the wire.
#[derive(Clone, Copy)]
pub enum Pieces {
    /// As it comes.
    Whole,
    /// In segments of a few bytes.
    Crumbs,
}

/// Clients come to this in plain, and it goes to `to` over TLS, as to `localhost`.
pub fn before(to: SocketAddr, tls: Arc<ClientConfig>, pieces: Pieces) -> Agent {
    let tls = TlsConnector::from(tls);
    Agent::start(move |_, plain| {
        let tls = tls.clone();
        async move {
            let Ok(socket) = TcpStream::connect(to).await else {
                return drop(plain.set_zero_linger());
            };
            let _ = socket.set_nodelay(true);
            let name = "localhost".try_into().unwrap();
            match tls.connect(name, Segments { socket, pieces }).await {
                Ok(secure) => join(plain, secure).await,
                Err(_) => drop(plain.set_zero_linger()),
            }
        }
    })
}

/// Proxies come to this over TLS, and it goes to `to` in plain.
pub fn behind(to: SocketAddr, tls: Arc<ServerConfig>) -> Agent {
    let tls = TlsAcceptor::from(tls);
    Agent::start(move |_, socket| {
        let tls = tls.clone();
        async move {
            if let Ok(secure) = tls.accept(socket).await
                && let Ok(plain) = TcpStream::connect(to).await
            {
                let _ = plain.set_nodelay(true);
                join(plain, secure).await;
            }
        }
    })
}

async fn join(mut plain: TcpStream, mut secure: impl AsyncRead + AsyncWrite + Unpin) {
    if copy_bidirectional(&mut plain, &mut secure).await.is_err() {
        let _ = plain.set_zero_linger();
    }
}

/// A socket that takes and gives as much at once as it likes.
struct Segments {
    socket: TcpStream,
    pieces: Pieces,
}

impl Segments {
    fn most(&self) -> usize {
        match self.pieces {
            Pieces::Whole => usize::MAX,
            Pieces::Crumbs => fastrand::usize(1..48),
        }
    }
}

impl AsyncRead for Segments {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.most().min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        let read = Pin::new(&mut self.socket).poll_read(cx, &mut part);
        let n = part.filled().len();
        buf.advance(n);
        read
    }
}

impl AsyncWrite for Segments {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.most().min(bytes.len());
        Pin::new(&mut self.socket).poll_write(cx, &bytes[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
