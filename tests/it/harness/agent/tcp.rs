//! A TCP agent that speaks in lines.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::super::ledger::{Ledger, Side, message, number};
use super::super::wire::Wire;
use super::{Agent, Vacancy, parameter};

/// An agent whose sessions are named, and do what they do, by their first line: `/echo/NAME`
/// answers each line with the same, `/chat/NAME?every=MS` sends one unasked at that pace.
pub struct TcpAgent {
    /// The listening part.
    pub agent: Agent,
    /// What its sessions sent and received.
    pub ledger: Ledger,
}

impl TcpAgent {
    /// Starts it.
    pub fn start() -> TcpAgent {
        TcpAgent::at(Vacancy::new())
    }

    /// Starts it at a port that was taken before.
    pub fn at(vacancy: Vacancy) -> TcpAgent {
        let ledger = Ledger::default();
        let entries = ledger.clone();
        let agent = Agent::at(vacancy, move |_, stream| serve(stream, entries.clone()));
        TcpAgent { agent, ledger }
    }
}

async fn serve(stream: TcpStream, ledger: Ledger) {
    let mut wire = Wire::new(stream);
    // A connection without a byte is a probe.
    let Some(first) = wire.until(b"\n").await else {
        return;
    };
    let path = String::from_utf8_lossy(&first).trim().to_owned();
    let name = path.split(['/', '?']).nth(2).unwrap_or_default().to_owned();
    let mut side = Side::default();
    let echo = path.starts_with("/echo/");
    let mut pace =
        parameter(&path, "every").map(|ms| tokio::time::interval(Duration::from_millis(ms)));
    loop {
        tokio::select! {
            _ = async { pace.as_mut().unwrap().tick().await }, if pace.is_some() => {
                match wire.send(message(side.sent) + "\n").await {
                    Ok(()) => side.sent += 1,
                    Err(_) => pace = None,
                }
            }
            line = wire.until(b"\n") => {
                let Some(line) = line else { break };
                side.received.push(number(&line));
                if echo && wire.send(&line).await.is_ok() {
                    side.sent += 1;
                }
            }
        }
    }
    if !wire.ahead.is_empty() {
        side.faults.push(format!(
            "agent: the stream ended within a line: {:?}",
            wire.ahead
        ));
    }
    side.end = wire.end;
    side.ended_at = Some(Instant::now());
    wire.finish().await;
    ledger.enter(&name, side);
}
