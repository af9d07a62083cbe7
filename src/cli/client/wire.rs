//! One connection to the control API.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
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

/// A connection, which moves while something is awaited on it.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// Never ends: when the connection does, what is awaited hears of it.
    connection: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Connects to `host:port`.
pub(super) async fn open(authority: &str) -> Result<Wire, Broken> {
    let socket = match timeout(PATIENCE, TcpStream::connect(authority)).await {
        Ok(connected) => connected.map_err(Broken::Connect)?,
        Err(_) => return Err(Broken::Slow(PATIENCE)),
    };
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
