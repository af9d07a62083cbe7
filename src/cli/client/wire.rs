//! One connection to the control API.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// The longest that connecting may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection brings no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Connect(io::Error),
    #[error("nothing came within {0:?}")]
    Slow(Duration),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// Where a proxy is reached.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// `host:port`.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(authority) => f.write_str(authority),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection, which moves while something is awaited on it.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// Never ends: when the connection does, what is awaited hears of it.
    connection: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Connects.
pub(super) async fn open(address: &Address) -> Result<Wire, Broken> {
    match address {
        Address::Tcp(authority) => shake_hands(soon(TcpStream::connect(authority)).await?).await,
        Address::Unix(path) => shake_hands(soon(UnixStream::connect(path)).await?).await,
    }
}

async fn soon<T>(connect: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    match timeout(PATIENCE, connect).await {
        Ok(connected) => connected.map_err(Broken::Connect),
        Err(_) => Err(Broken::Slow(PATIENCE)),
    }
}

async fn shake_hands(
    socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<Wire, Broken> {
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let connection = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    Ok(Wire {
        sender,
        connection: Box::pin(connection),
    })
}

impl Wire {
    /// Sends a request, and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Broken> {
        let sent = self.sender.send_request(request);
        Ok(tokio::select! {
            sent = sent => sent?,
            never = &mut self.connection => match never {},
        })
    }

    /// Waits for something that comes over this connection.
    pub(super) async fn drive<T>(
        &mut self,
        wanted: impl Future<Output = Result<T, hyper::Error>>,
    ) -> Result<T, Broken> {
        Ok(tokio::select! {
            wanted = wanted => wanted?,
            never = &mut self.connection => match never {},
        })
    }
}
