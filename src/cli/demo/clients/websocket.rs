//! A client with a WebSocket.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::framing::{Observed, Place};
use super::{Client, Ended, PATIENCE, Tally};
use crate::cli::demo::ledger::{End, Traffic};
use crate::cli::demo::message;

type Socket<S> = WebSocketStream<Observed<S>>;

/// Opens the session and talks until its end.
pub(super) async fn session(client: &Client, tally: &mut Tally) -> Ended {
    let target = &client.common.targets.http;
    let opening = async {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        shake_hands(client, stream).await
    };
    match client.open(opening).await {
        Ok((socket, _opened)) => talk(client, socket, tally).await,
        Err(ended) => ended,
    }
}

async fn shake_hands<S>(client: &Client, stream: S) -> Result<Socket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Client { id, common, .. } = client;
    let mode = if client.traffic == Traffic::Push {
        "push"
    } else {
        "chat"
    };
    let url = format!("ws://{}/ws?mode={mode}&id={id}", common.targets.http);
    let (socket, _) = client_async(url, Observed::new(stream)).await?;
    Ok(socket)
}

async fn talk<S>(client: &Client, mut socket: Socket<S>, tally: &mut Tally) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ticks = interval(client.pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = None;
    let mut leaving = None;
    loop {
        tokio::select! {
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) => hear(&text, &mut waiting, tally),
                Some(Ok(Message::Close(close))) => {
                    return part(socket, close, leaving).await;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ended::torn(format!("no Close: {error}")),
                None => return Ended::torn("no Close"),
            },
            _ = ticks.tick(), if client.traffic == Traffic::Chat
                && waiting.is_none()
                && leaving.is_none() => {
                let number = tally.sent.next();
                let text = message::numbered(number);
                match timeout(PATIENCE, socket.send(Message::text(text.clone()))).await {
                    Ok(Ok(())) => tally.sent.note(Instant::now()),
                    Ok(Err(error)) => return Ended::torn(format!("not sent: {error}")),
                    Err(_) => return Ended::torn("not sent in time"),
                }
                waiting = Some(text);
            }
            () = client.common.stop.cancelled(), if leaving.is_none() => {
                leaving = Some(Instant::now());
                // Where this fails, the next read says how.
                let close = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
                let _ = timeout(PATIENCE, socket.close(Some(close))).await;
            }
        }
        if leaving.is_some_and(|since| since.elapsed() > PATIENCE) {
            return Ended::torn("the Close was not answered");
        }
    }
}

/// Takes a message of the agent's down; an answer must end with what was asked.
fn hear(text: &str, waiting: &mut Option<String>, tally: &mut Tally) {
    let whole = |number: &u64| match waiting.take() {
        Some(asked) => text == message::answer(*number, &asked),
        None => text == message::numbered(*number),
    };
    match message::number(text).filter(whole) {
        Some(number) => tally.received.note(number),
        None => tally.received.damaged(),
    }
}

/// After a Close has come: the library answers it, and the other side ends the connection
/// (RFC 6455 7.1.1).
async fn part<S>(
    mut socket: Socket<S>,
    close: Option<CloseFrame>,
    leaving: Option<Instant>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let at = leaving.unwrap_or_else(Instant::now);
    // 1005 stands for a Close without a code (RFC 6455 7.4.1).
    let code = close.map_or(1005, |close| u16::from(close.code));
    let rest = timeout(PATIENCE, async {
        loop {
            match socket.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        }
    });
    let rest = rest.await;
    let end = match (socket.get_ref().close(), rest) {
        (_, Err(_)) => End::Torn(format!("Close {code}, but the connection was left open")),
        (_, Ok(Some(error))) => End::Torn(format!("Close {code}, then {error}")),
        (Some(Place::Between), Ok(None)) if leaving.is_some() => End::Left,
        (Some(Place::Between), Ok(None)) => End::Closed(code),
        (Some(Place::NotLast), Ok(None)) => End::Torn(format!("Close {code}, and more after it")),
        (Some(Place::Inside) | None, Ok(None)) => {
            End::Torn(format!("Close {code} inside a message"))
        }
    };
    Ended { end, at }
}

#[cfg(test)]
mod tests;
