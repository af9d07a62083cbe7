//! WebSocket clients that see every frame.

use std::net::SocketAddr;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::super::frames::{CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};
use super::super::ledger::{Close, Side, message, number};
use super::super::wire::{Response, Wire, request};
use super::{Style, between, tick};

/// The fields of an upgrade request.
pub const UPGRADE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The answer to that key (RFC 6455, 1.3).
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Asks for a WebSocket.
pub async fn ask(addr: SocketAddr, path: &str) -> std::io::Result<(Wire, Response)> {
    let mut wire = Wire::connect(addr).await?;
    wire.send(request("GET", path, &UPGRADE, b"")).await?;
    let response = wire.response("GET").await?;
    Ok((wire, response))
}

/// Opens a WebSocket.
pub async fn open(addr: SocketAddr, path: &str) -> Result<Wire, String> {
    let (wire, response) = ask(addr, path).await.map_err(|e| format!("{path}: {e}"))?;
    if response.status != 101 || response.field("sec-websocket-accept") != Some(ACCEPT) {
        return Err(format!(
            "{path}: {} {}",
            response.head.first,
            response.text()
        ));
    }
    Ok(wire)
}

/// What a client did and saw.
#[derive(Clone, Debug)]
pub struct Record {
    /// The session's name.
    pub name: String,
    /// The ledger.
    pub side: Side,
    /// Questions without an answer.
    pub unanswered: u64,
    /// Whether the client itself wanted to go.
    pub left: bool,
}

/// A client over an open WebSocket, until the session ends. It goes by itself when `leave` is
/// called off.
pub async fn converse(
    mut wire: Wire,
    name: &str,
    style: Style,
    leave: CancellationToken,
) -> Record {
    let mut talk = Talk {
        style,
        ..Talk::default()
    };
    let mut pace = style.pace();
    let mut left = false;
    loop {
        let frame = tokio::select! {
            // What has arrived is heard before anything is said: who speaks into a Close that it has
            // in its own buffer shows nothing of the proxy.
            biased;
            () = leave.cancelled(), if !left && talk.may_speak() && talk.piece == 0 => {
                left = true;
                talk.said_close = true;
                let _ = wire.send(Frame::close(1000).masked()).await;
                continue;
            }
            frame = Frame::read(&mut wire) => frame,
            () = tick(&mut pace), if talk.may_speak() => {
                if wire.send(talk.speak()).await.is_err() {
                    talk.broken = true;
                }
                continue;
            }
        };
        let Some(frame) = frame else { break };
        let heard = talk.side.received.len();
        let answer = talk.hear(&frame);
        if let (Style::Think(shortest, longest), Some(pace)) = (style, &mut pace)
            && talk.side.received.len() > heard
        {
            pace.reset_after(between(shortest, longest));
        }
        if let Some(answer) = answer {
            let _ = wire.send(answer).await;
        }
    }
    let mut side = talk.side;
    side.ended_at = Some(Instant::now());
    side.end = wire.end;
    if !wire.ahead.is_empty() {
        side.faults
            .push(format!("the stream ended within a frame: {:?}", wire.ahead));
    }
    let asked = matches!(style, Style::Ask(_) | Style::Think(..));
    let unanswered = if asked {
        side.sent - side.received.len() as u64
    } else {
        0
    };
    Record {
        name: name.to_owned(),
        side,
        unanswered,
        left,
    }
}

struct Talk {
    side: Side,
    style: Style,
    /// How many pieces of the current message have gone out.
    piece: usize,
    /// What has come of a fragmented message.
    inside: Option<Vec<u8>>,
    said_close: bool,
    broken: bool,
}

impl Default for Talk {
    fn default() -> Talk {
        Talk {
            side: Side::default(),
            style: Style::Listen,
            piece: 0,
            inside: None,
            said_close: false,
            broken: false,
        }
    }
}

impl Talk {
    fn may_speak(&self) -> bool {
        !self.said_close && !self.broken && self.side.close.is_none()
    }

    /// What goes out at a tick.
    fn speak(&mut self) -> Vec<u8> {
        let text = message(self.side.sent).into_bytes();
        match self.style {
            Style::Ask(_) | Style::Think(..)
                if (self.side.received.len() as u64) < self.side.sent =>
            {
                return Vec::new();
            }
            Style::ChatInParts(_) => return self.next_piece(&text),
            _ => {}
        }
        self.side.sent += 1;
        Frame::new(TEXT, text).masked()
    }

    fn next_piece(&mut self, text: &[u8]) -> Vec<u8> {
        let third = text.len() / 3;
        self.piece += 1;
        match self.piece {
            1 => Frame::part(TEXT, &text[..third]).masked(),
            2 => Frame::part(CONTINUATION, &text[third..2 * third]).masked(),
            _ => {
                self.piece = 0;
                self.side.sent += 1;
                Frame::new(CONTINUATION, &text[2 * third..]).masked()
            }
        }
    }

    /// Takes a frame in; gives what must be answered.
    fn hear(&mut self, frame: &Frame) -> Option<Vec<u8>> {
        if frame.masked {
            self.side.faults.push(format!("a masked frame: {frame:?}"));
        }
        if self.side.close.is_some() {
            self.side
                .faults
                .push(format!("a frame behind the Close: {frame:?}"));
            return None;
        }
        match frame.opcode {
            CLOSE => {
                if self.inside.is_some() {
                    self.side
                        .faults
                        .push("the Close came inside a message".to_owned());
                }
                let code = frame.close_code().unwrap_or(1005);
                self.side.close = Some(Close {
                    code,
                    at: Instant::now(),
                });
                return self.answer_close(code);
            }
            PING => return Some(Frame::new(PONG, frame.payload.clone()).masked()),
            PONG => {}
            opcode => self.hear_data(opcode, frame),
        }
        None
    }

    fn answer_close(&mut self, code: u16) -> Option<Vec<u8>> {
        if std::mem::replace(&mut self.said_close, true) {
            return None;
        }
        // A message that has begun is finished first: RFC 6455, 5.5.1.
        let mut answer = Vec::new();
        while self.piece != 0 {
            let text = message(self.side.sent).into_bytes();
            answer.extend(self.next_piece(&text));
        }
        answer.extend(Frame::close(code).masked());
        Some(answer)
    }

    fn hear_data(&mut self, opcode: u8, frame: &Frame) {
        match (&mut self.inside, opcode) {
            (Some(so_far), CONTINUATION) => so_far.extend(&frame.payload),
            (None, CONTINUATION) | (Some(_), _) => {
                self.side
                    .faults
                    .push(format!("a frame out of place: {frame:?}"));
                return;
            }
            (inside @ None, _) => *inside = Some(frame.payload.clone()),
        }
        if frame.last {
            let whole = self.inside.take().expect("just put there");
            self.side.received.push(number(&whole));
        }
    }
}
