//! A client that asks by HTTP, over a connection that it keeps as long as it may.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::{Client, Ended, OPENING, Opened, PATIENCE, Tally};
use crate::cli::demo::agent::NUMBER;
use crate::cli::demo::ledger::{End, Traffic};

/// The most bytes of a response that are read.
const BODY: usize = 1024 * 1024;

/// What a slow request is to take.
const SLOW: Duration = Duration::from_millis(1500);

pub(super) type Connection = SendRequest<Empty<Bytes>>;

/// Connects; the connection's own work is a task of the tracker's.
pub(super) async fn connect(target: &str, tasks: &TaskTracker) -> io::Result<Connection> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tasks.spawn(async move {
        // Whoever waits for a response gets the error too, and says it.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The connection had gone before a byte of the request was sent.
    #[error("the connection had been closed")]
    Unsent,
    /// The request may have been sent.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// The request could not be written down.
    #[error(transparent)]
    Unwritable(#[from] http::Error),
}

impl From<Unanswered> for io::Error {
    fn from(error: Unanswered) -> io::Error {
        io::Error::other(error)
    }
}

/// Sends a GET, and waits for the head of the response.
pub(super) async fn get(
    connection: &mut Connection,
    target: &str,
    path: &str,
) -> Result<Response<Incoming>, Unanswered> {
    let request = Request::get(path).header(HOST, target).body(Empty::new())?;
    connection
        .try_send_request(request)
        .await
        .map_err(|mut error| match error.take_message() {
            Some(_) => Unanswered::Unsent,
            None => Unanswered::Broken(error.into_error()),
        })
}

/// Reads a response to its end.
pub(super) async fn whole(response: Response<Incoming>) -> io::Result<Bytes> {
    let body = Limited::new(response.into_body(), BODY).collect().await;
    body.map(|body| body.to_bytes()).map_err(io::Error::other)
}

/// Asks again and again until the connection may no longer be kept, nor be opened anew.
pub(super) async fn session(client: &Client, tally: &mut Tally) -> Ended {
    let (mut connection, _opened) = match open(client).await {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    loop {
        tokio::select! {
            () = sleep(client.pace) => {}
            () = client.common.stop.cancelled() => return Ended::now(End::Left),
        }
        let lasting = matches!(timeout(PATIENCE, connection.ready()).await, Ok(Ok(())));
        if !lasting && !client.may_return() {
            return Ended::now(End::Answered);
        }
        if !lasting {
            match timeout(
                OPENING,
                connect(&client.common.targets.http, &client.common.tasks),
            )
            .await
            {
                Ok(Ok(fresh)) => connection = fresh,
                Ok(Err(error)) => return Ended::torn(format!("not opened again: {error}")),
                Err(_) => return Ended::torn("not opened again in time"),
            }
        }
        match timeout(SLOW + PATIENCE, ask(client, &mut connection, tally)).await {
            Ok(Ok(Kept::Open)) => {}
            Ok(Ok(Kept::Told | Kept::Gone)) if client.may_return() => {}
            Ok(Ok(Kept::Told | Kept::Gone)) => return Ended::now(End::Answered),
            Ok(Err(how)) => return Ended::torn(how),
            Err(_) => return Ended::torn("a request was not answered in time"),
        }
    }
}

async fn open(client: &Client) -> Result<(Connection, Opened<'_>), Ended> {
    client
        .open(connect(&client.common.targets.http, &client.common.tasks))
        .await
}

/// Whether a connection can be used again.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Open,
    /// The response said `Connection: close` (RFC 9112 9.6).
    Told,
    /// It was closed before the request could be sent.
    Gone,
}

/// One request with its response, both in the book; what went wrong, in words.
async fn ask(
    client: &Client,
    connection: &mut Connection,
    tally: &mut Tally,
) -> Result<Kept, String> {
    let number = tally.sent.next();
    let path = match client.traffic {
        Traffic::Slow => format!("/slow?ms={}&id={}&n={number}", SLOW.as_millis(), client.id),
        _ => format!("/?id={}&n={number}", client.id),
    };
    let asked = Instant::now();
    let response = match get(connection, &client.common.targets.http, &path).await {
        Ok(response) => response,
        Err(Unanswered::Unsent) => return Ok(Kept::Gone),
        Err(error) => {
            tally.sent.note(asked);
            return Err(format!("a request was not answered: {error}"));
        }
    };
    tally.sent.note(asked);
    let status = response.status();
    if !status.is_success() {
        return Err(format!("a request was answered with {status}"));
    }
    let kept = kept(response.headers());
    let echoed: Option<u64> = response
        .headers()
        .get(NUMBER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    whole(response)
        .await
        .map_err(|error| format!("an answer was not whole: {error}"))?;
    match echoed {
        Some(echoed) if echoed == number => tally.received.note(number),
        _ => tally.received.damaged(),
    }
    Ok(kept)
}

fn kept(headers: &HeaderMap) -> Kept {
    let told = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("close"));
    if told { Kept::Told } else { Kept::Open }
}

impl Client {
    /// Whether a new connection would still be sent here. Where nobody asks for the health, having
    /// been told to go is enough.
    fn may_return(&self) -> bool {
        self.common.targets.health.is_some() && !self.common.view.borrow().away
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn close_is_heard_among_other_options() {
        let told = |value: &'static str| {
            kept(&HeaderMap::from_iter([(
                CONNECTION,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(told("close"), Kept::Told);
        assert_eq!(told("x, Close"), Kept::Told);
        assert_eq!(told("keep-alive"), Kept::Open);
        assert_eq!(kept(&HeaderMap::new()), Kept::Open);
    }
}
