//! TCP clients that speak in lines with [`super::super::agent::tcp::TcpAgent`].

use std::net::SocketAddr;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::super::ledger::{Side, message, number};
use super::super::wire::Wire;
use super::websocket::Record;
use super::{Style, tick};

/// Opens a session of this name and manner, such as `/echo/anna`.
pub async fn open(addr: SocketAddr, path: &str) -> Result<Wire, String> {
    let mut wire = Wire::connect(addr)
        .await
        .map_err(|e| format!("{path}: {e}"))?;
    wire.send(format!("{path}\n"))
        .await
        .map_err(|e| format!("{path}: {e}"))?;
    Ok(wire)
}

/// A client over an open session, until it ends. It ends its own direction when `leave` is called
/// off, or when the other side has ended.
pub async fn converse(
    mut wire: Wire,
    name: &str,
    style: Style,
    leave: CancellationToken,
) -> Record {
    let mut side = Side::default();
    let mut pace = style.pace();
    let mut left = false;
    let asks = matches!(style, Style::Ask(_));
    loop {
        tokio::select! {
            () = tick(&mut pace), if !left => {
                if asks && (side.received.len() as u64) < side.sent {
                    continue;
                }
                match wire.send(message(side.sent) + "\n").await {
                    Ok(()) => side.sent += 1,
                    Err(_) => pace = None,
                }
            }
            () = leave.cancelled(), if !left => {
                left = true;
                wire.finish().await;
            }
            line = wire.until(b"\n") => {
                let Some(line) = line else { break };
                side.received.push(number(&line));
            }
        }
    }
    side.ended_at = Some(Instant::now());
    if !wire.ahead.is_empty() {
        side.faults
            .push(format!("the stream ended within a line: {:?}", wire.ahead));
    }
    side.end = wire.end;
    wire.finish().await;
    let unanswered = if asks {
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
