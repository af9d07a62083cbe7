//! One call of the agent: a POST on a connection of its own.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::HookUrl;

/// The largest body of an answer.
const LARGEST: usize = 16 * 1024;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("the answer broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// Sends JSON to a hook, and gives the body of an answer that is a success.
///
/// # Errors
/// Whatever kept a whole answer from coming within `limit`.
pub(super) async fn post(url: &HookUrl, body: Bytes, limit: Duration) -> Result<Bytes, Failed> {
    let answered = timeout(limit, answer(url, body)).await;
    answered.unwrap_or(Err(Failed::Timeout(limit)))
}

async fn answer(url: &HookUrl, body: Bytes) -> Result<Bytes, Failed> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(&*url.path)
        .header(HOST, &*url.authority.0)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| Failed::Broken(error.into()))?;
    let socket = TcpStream::connect(&*url.authority.0)
        .await
        .map_err(Failed::Connect)?;
    // What is written is one small request; a socket that was reset meanwhile shows it at a read.
    let _ = socket.set_nodelay(true);
    let broken = |error: hyper::Error| Failed::Broken(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(broken)?;
    // Never ends: when the connection does, what is awaited hears of it.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    let answered = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failed::Status(status));
        }
        match Limited::new(response.into_body(), LARGEST).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failed::TooLarge),
            Err(error) => Err(Failed::Broken(error)),
        }
    };
    tokio::select! {
        answered = answered => answered,
        never = connection => match never {},
    }
}
