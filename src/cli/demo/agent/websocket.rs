//! The agent's WebSocket: it answers each message, or sends its own unasked.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Desk;
use super::http::{Body, text};
use crate::cli::demo::book::Entry;
use crate::cli::demo::ledger::Traffic;
use crate::cli::demo::message;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The time between two messages that are sent unasked.
const PUSH_EVERY: Duration = Duration::from_millis(300);

/// Every so manyth of them goes out as two frames, the second so much after the first: a Close that
/// came in between would tear a message in two.
const FRAGMENTED: u64 = 3;
const BETWEEN_FRAGMENTS: Duration = Duration::from_millis(40);

/// The longest that one message may take to be written, and the end of the connection to come after
/// the Closes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers the handshake (RFC 6455 4.2.2); the conversation is a task of its own.
pub(super) fn upgrade(
    mut request: Request<Incoming>,
    desk: &Desk,
    id: Option<u32>,
    traffic: Traffic,
) -> Response<Body> {
    let headers = request.headers();
    let wanted = headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let version = headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_some_and(|value| value == "13");
    let accept = headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let (true, true, Some(accept)) = (wanted, version, accept) else {
        let mut refusal = text(StatusCode::UPGRADE_REQUIRED, "Here WebSocket is spoken.\n");
        refusal
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        refusal
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        refusal
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return refusal;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    desk.tasks
        .spawn(converse(upgrade, desk.book.open(id, traffic), traffic));

    let mut response = Response::new(Empty::<Bytes>::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Talks until the other side has closed or is gone; the entry keeps what was counted.
async fn converse(upgrade: OnUpgrade, mut entry: Entry, traffic: Traffic) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let mut pushes = interval(PUSH_EVERY);
    pushes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    if let Some(number) = message::number(&text) {
                        entry.side.received.note(number);
                    }
                    if answer(&mut socket, &mut entry, &text).await.is_err() {
                        return;
                    }
                }
                // The library has its own Close ready; it goes out as the socket is read on.
                Some(Ok(Message::Close(_))) => break,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            _ = pushes.tick(), if traffic == Traffic::Push => {
                if push(&mut socket, &mut entry).await.is_err() {
                    return;
                }
            }
        }
    }
    // Bounded, since the other side might never go; there is nothing left to be done about it.
    let _ = timeout(PATIENCE, async {
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
}

async fn answer(socket: &mut Socket, entry: &mut Entry, text: &str) -> Result<(), Error> {
    let answer = message::answer(entry.side.sent.next(), text);
    within(socket.send(Message::text(answer))).await?;
    entry.side.sent.note(Instant::now());
    Ok(())
}

async fn push(socket: &mut Socket, entry: &mut Entry) -> Result<(), Error> {
    let number = entry.side.sent.next();
    let text = message::numbered(number);
    if number.is_multiple_of(FRAGMENTED) {
        let mut text = Bytes::from(text);
        let rest = text.split_off(text.len() / 2);
        let first = Frame::message(text, OpCode::Data(Data::Text), false);
        let second = Frame::message(rest, OpCode::Data(Data::Continue), true);
        within(socket.send(Message::Frame(first))).await?;
        sleep(BETWEEN_FRAGMENTS).await;
        within(socket.send(Message::Frame(second))).await?;
    } else {
        within(socket.send(Message::text(text))).await?;
    }
    entry.side.sent.note(Instant::now());
    Ok(())
}

/// Bounds a write: a client that reads nothing must not hold its session for ever.
async fn within(write: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    timeout(PATIENCE, write)
        .await
        .unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())))
}
