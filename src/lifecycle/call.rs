//! One HTTP call: a request on a connection of its own, and the whole answer.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::Tls;

/// The largest body of an answer.
const LARGEST: usize = 1024 * 1024;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("the answer broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    #[error("`{0}` is not a URL that can be called")]
    Url(Uri),
    #[error("nobody is trusted for https: {0}")]
    Untrusted(String),
}

impl Failed {
    /// One word for the metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Failed::Connect(..) => "connect",
            Failed::Timeout(_) => "timeout",
            Failed::TooLarge => "too_large",
            Failed::Broken(_) => "broken",
            Failed::Url(_) => "url",
            Failed::Untrusted(_) => "untrusted",
        }
    }
}

/// Sends a request to its absolute URI, and gives the answer, whatever its status. `Host` and
/// `Connection` are added. Without `tls` only `http` URIs can be called.
///
/// # Errors
/// Whatever kept a whole answer from coming within `limit`.
pub(super) async fn send(
    request: Request<Bytes>,
    tls: Option<&Tls>,
    limit: Duration,
) -> Result<Response<Bytes>, Failed> {
    // Boxed, as it is large and calls are rare.
    let answered = timeout(limit, Box::pin(answer(request, tls))).await;
    answered.unwrap_or(Err(Failed::Timeout(limit)))
}

async fn answer(request: Request<Bytes>, tls: Option<&Tls>) -> Result<Response<Bytes>, Failed> {
    let uri = request.uri().clone();
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Failed::Url(uri));
    };
    let port = match (scheme, authority.port_u16()) {
        (_, Some(port)) => port,
        ("http", None) => 80,
        ("https", None) => 443,
        _ => return Err(Failed::Url(uri)),
    };
    let host = authority.host();
    let refused = |error| Failed::Connect(format!("{host}:{port}"), error);
    // An IPv6 address stands in brackets in a URI, and without them in a look-up.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let socket = TcpStream::connect((name, port)).await.map_err(refused)?;
    // What is written is one small request; a socket that was reset meanwhile shows it at a read.
    let _ = socket.set_nodelay(true);
    match (scheme, tls) {
        ("http", _) => exchange(request, TokioIo::new(socket)).await,
        ("https", Some(tls)) => {
            let stream = tls.connect(host, socket).await.map_err(refused)?;
            exchange(request, TokioIo::new(stream)).await
        }
        _ => Err(Failed::Url(uri)),
    }
}

async fn exchange(
    mut request: Request<Bytes>,
    io: impl Read + Write + Unpin,
) -> Result<Response<Bytes>, Failed> {
    let uri = std::mem::take(request.uri_mut());
    let broken = |error: hyper::Error| Failed::Broken(error.into());
    let unsound = |error: http::Error| Failed::Broken(error.into());
    if let Some(authority) = uri.authority() {
        let host = HeaderValue::try_from(authority.as_str());
        let host = host.map_err(|error| unsound(error.into()))?;
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path).map_err(|error| unsound(error.into()))?;
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(CONNECTION, close);
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    // Never ends: when the connection does, what is awaited hears of it.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    let answered = async {
        let response = sender
            .send_request(request.map(Full::new))
            .await
            .map_err(broken)?;
        let (head, body) = response.into_parts();
        match Limited::new(body, LARGEST).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(Failed::TooLarge),
            Err(error) => Err(Failed::Broken(error)),
        }
    };
    tokio::select! {
        answered = answered => answered,
        never = connection => match never {},
    }
}
