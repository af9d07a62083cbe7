//! A WebSocket agent on tokio-tungstenite: an independent reader of what the proxy sends.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::ledger::{Close, Ledger, Side, message, number};
use super::super::wire::End;
use super::{Agent, parameter};

/// An agent whose sessions are named, and do what they do, by their path:
/// `/echo/NAME` answers each message with the same, `/chat/NAME?every=MS` sends one unasked at that
/// pace (in three frames, with a Ping between them, with `&parts=1`), `/quiet/NAME` only listens.
pub struct WebSocketAgent {
    /// The listening part.
    pub agent: Agent,
    /// What its sessions sent and received.
    pub ledger: Ledger,
}

impl WebSocketAgent {
    /// Starts it.
    pub fn start() -> WebSocketAgent {
        let ledger = Ledger::default();
        let entries = ledger.clone();
        let agent = Agent::start(move |_, stream| serve(stream, entries.clone()));
        WebSocketAgent { agent, ledger }
    }
}

async fn serve(stream: TcpStream, ledger: Ledger) {
    let mut path = String::new();
    #[allow(
        clippy::result_large_err,
        reason = "the callback's error type is tungstenite's own"
    )]
    let note = |request: &Request, response: Response| {
        path = request.uri().to_string();
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, note).await else {
        return;
    };
    let name = path.split(['/', '?']).nth(2).unwrap_or_default().to_owned();
    let side = converse(socket, &path).await;
    ledger.enter(&name, side);
}

async fn converse(mut socket: WebSocketStream<TcpStream>, path: &str) -> Side {
    let mut side = Side::default();
    let echo = path.starts_with("/echo/");
    let parts = parameter(path, "parts").is_some();
    let mut pace =
        parameter(path, "every").map(|ms| tokio::time::interval(Duration::from_millis(ms)));
    loop {
        let received = tokio::select! {
            _ = async { pace.as_mut().unwrap().tick().await }, if pace.is_some() => {
                let text = message(side.sent);
                let sent = match parts {
                    true => send_in_parts(&mut socket, text).await,
                    false => socket.send(Message::text(text)).await,
                };
                match sent {
                    Ok(()) => side.sent += 1,
                    // The reading half says why.
                    Err(_) => pace = None,
                }
                continue;
            }
            received = socket.next() => received,
        };
        match received {
            Some(Ok(Message::Close(close))) => {
                let code = close.map_or(1005, |close| close.code.into());
                side.close = Some(Close {
                    code,
                    at: Instant::now(),
                });
                pace = None;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(got)) => {
                side.received.push(number(&got.clone().into_data()));
                if echo && socket.send(got).await.is_ok() {
                    side.sent += 1;
                }
            }
            None | Some(Err(Error::ConnectionClosed)) => {
                side.end = Some(End::Fin);
                break;
            }
            Some(Err(error)) => {
                side.end = Some(End::Reset);
                side.faults.push(format!("agent: {error}"));
                break;
            }
        }
    }
    side.ended_at = Some(Instant::now());
    side
}

/// Sends a message as three frames, each in a write of its own, with a Ping inside.
async fn send_in_parts(socket: &mut WebSocketStream<TcpStream>, text: String) -> Result<(), Error> {
    let bytes = text.into_bytes();
    let third = bytes.len() / 3;
    let frame = |bytes: &[u8], opcode, last| {
        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(opcode), last))
    };
    socket
        .send(frame(&bytes[..third], Data::Text, false))
        .await?;
    tokio::task::yield_now().await;
    socket
        .send(frame(&bytes[third..2 * third], Data::Continue, false))
        .await?;
    socket.send(Message::Ping(Default::default())).await?;
    tokio::task::yield_now().await;
    socket
        .send(frame(&bytes[2 * third..], Data::Continue, true))
        .await
}
