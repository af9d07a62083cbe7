//! HTTP clients: pollers on a kept connection, slow requests, readers of event streams.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::balancer::View;
use super::super::wire::{End, Wire, request};
use super::{Style, tick};

/// What a poller did and saw.
#[derive(Clone, Debug, Default)]
pub struct PollRecord {
    /// Requests answered with 200.
    pub answered: u64,
    /// Responses that announced the end of their connection.
    pub last_ones: u64,
    /// Connections that ended between requests, unannounced.
    pub ended_idle: u64,
    /// What went wrong.
    pub faults: Vec<String>,
}

/// Asks at a pace on a kept connection, and opens the next one where the last ended, as long as
/// the balancer would still send it here.
pub async fn poll(addr: SocketAddr, every: Duration, balancer: View) -> PollRecord {
    let mut record = PollRecord::default();
    while !balancer.looks_away() {
        let mut wire = match Wire::connect(addr).await {
            Ok(wire) => wire,
            Err(error) => {
                record
                    .faults
                    .push(format!("poller: no connection: {error}"));
                break;
            }
        };
        if poll_on(&mut wire, every, &mut record).await.is_err() {
            break;
        }
    }
    record
}

async fn poll_on(wire: &mut Wire, every: Duration, record: &mut PollRecord) -> Result<(), ()> {
    let mut pace = Style::Chat(every).pace();
    loop {
        tokio::select! {
            () = tick(&mut pace) => {}
            alive = wire.more() => {
                if alive || wire.end == Some(End::Reset) {
                    record.faults.push(format!("poller: out of the blue: {:?}", wire.end));
                }
                record.ended_idle += 1;
                return Ok(());
            }
        }
        match wire.request("GET", "/poll", &[], b"").await {
            Ok(response) if response.status == 200 && response.body.whole => {
                record.answered += 1;
                if response.is_last() {
                    record.last_ones += 1;
                    return Ok(());
                }
            }
            Ok(response) => record
                .faults
                .push(format!("poller: {}", response.head.first)),
            Err(error) => record.faults.push(format!("poller: {error}")),
        }
        if !record.faults.is_empty() {
            return Err(());
        }
    }
}

/// One request on a connection of its own; says what was wrong with the answer.
pub async fn fetch(addr: SocketAddr, path: &str) -> Result<(), String> {
    let fetched = async {
        let mut wire = Wire::connect(addr).await?;
        wire.request("GET", path, &[], b"").await
    };
    match fetched.await {
        Ok(response) if response.status == 200 && response.body.whole => Ok(()),
        Ok(response) => Err(format!(
            "{path}: {} {}",
            response.head.first,
            response.text()
        )),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

/// What a reader of an event stream saw.
#[derive(Clone, Debug, Default)]
pub struct EventsRecord {
    /// Whole events with an id.
    pub events: u64,
    /// When the body ended.
    pub ended_at: Option<Instant>,
    /// The last `retry:`, in milliseconds.
    pub retry: Option<u64>,
    /// What went wrong.
    pub faults: Vec<String>,
}

/// Reads an event stream to its end, which must be that of a whole body after a whole event.
pub async fn events(addr: SocketAddr, method: &str, path: &str) -> EventsRecord {
    let mut record = EventsRecord::default();
    let read = async {
        let mut wire = Wire::connect(addr).await?;
        let fields = [("accept", "text/event-stream")];
        wire.send(request(method, path, &fields, b"")).await?;
        wire.response(method).await
    };
    let response = match read.await {
        Ok(response) => response,
        Err(error) => {
            record.faults.push(format!("events: {error}"));
            return record;
        }
    };
    record.ended_at = Some(Instant::now());
    if response.status != 200 {
        record.faults.push(format!(
            "events: {} {}",
            response.head.first,
            response.text()
        ));
        return record;
    }
    if !response.body.whole {
        record
            .faults
            .push("events: the body ended without its last chunk".to_owned());
    }
    let text = response.text();
    if !text.is_empty() && !text.ends_with("\n\n") {
        record
            .faults
            .push(format!("events: the last event is torn: {text:?}"));
    }
    for line in text.lines() {
        if let Some(id) = line.strip_prefix("id: ") {
            if id.parse() != Ok(record.events) {
                record
                    .faults
                    .push(format!("events: {id} came as number {}", record.events));
            }
            record.events += 1;
        }
        if let Some(retry) = line.strip_prefix("retry:") {
            record.retry = retry.trim().parse().ok();
        }
    }
    record
}
