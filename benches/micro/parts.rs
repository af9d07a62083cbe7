//! The parts that are looked at alone, ready to work: how long each takes is asked by `main.rs`, how
//! many instructions by `counts.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lameduck::admin::Exposition;
use lameduck::config::ListenerName;
use lameduck::drain::schedule::{Limits, Schedule};
use lameduck::http::gate::Gate;
use lameduck::relay::boundary::{Boundary, Sender};
use lameduck::session::metrics::Durations;
use lameduck::session::{
    Deadline, Direction, Facts, Holding, Holds, Home, Kind, Ledger, Ledgers, ListenerIndex,
    Outcome, PhaseView, Roster, SessionId, WorkerIndex,
};
use tokio::sync::watch;
use tokio::time::Instant;

const CHAT: ListenerIndex = ListenerIndex(0);

/// A stream of WebSocket frames, and what follows their headers.
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    /// How many frames they are.
    pub(crate) count: usize,
    boundary: Boundary,
}

impl Frames {
    /// With so many bytes of payload each, as a client sends them, of at least 1 MiB.
    pub(crate) fn new(payload: u16) -> Frames {
        let [high, low] = payload.to_be_bytes();
        let header: &[u8] = match payload {
            0..126 => &[0x82, 0x80 | low, 1, 2, 3, 4],
            _ => &[0x82, 0xfe, high, low, 1, 2, 3, 4],
        };
        let frame = [header, &vec![7; usize::from(payload)]].concat();
        let count = (1_usize << 20).div_ceil(frame.len());
        Frames {
            bytes: frame.repeat(count),
            count,
            boundary: Boundary::new(Sender::Client),
        }
    }

    /// Follows all of them, as the pump does, a read at a time; how many messages they were.
    pub(crate) fn follow(&mut self) -> u32 {
        let reads = self.bytes.chunks(64 * 1024);
        reads.map(|read| self.boundary.advance(read).messages).sum()
    }
}

/// The strict reading of a request's head, before hyper's.
pub(crate) struct Head {
    bytes: Vec<u8>,
    gate: Gate,
}

impl Head {
    pub(crate) fn new() -> Head {
        let head = b"GET /v1/sessions/4711 HTTP/1.1\r\nHost: agent.example.com\r\n\
            User-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
        Head {
            bytes: head.to_vec(),
            gate: Gate::new(),
        }
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it may pass.
    pub(crate) fn admit(&mut self) -> bool {
        self.gate.admit(&mut self.bytes).is_none()
    }
}

/// What a worker counts.
pub(crate) fn ledger() -> Arc<Ledger> {
    Arc::new(Ledger::new(1, Durations::discarded()))
}

/// Opening a session, counting a message on it, ending it.
pub(crate) fn session(ledger: &Arc<Ledger>) {
    let session = ledger.open(CHAT, Kind::Websocket);
    ledger.bytes(CHAT, Direction::ToUpstream, 64);
    session.end(Outcome::Finished);
}

/// The text of `/metrics`, for so many listeners on four workers. The sessions do not count: only their
/// sums are read.
pub(crate) fn exposition(listeners: u16) -> Exposition {
    let ledgers: Vec<Arc<Ledger>> = (0..4)
        .map(|_| Arc::new(Ledger::new(usize::from(listeners), Durations::discarded())))
        .collect();
    let names = (0..listeners).map(|at| ListenerName(format!("listener-{at}").into()));
    let (_phase, view) = watch::channel(PhaseView::starting());
    Exposition {
        roster: Roster::new(names),
        upstreams: Default::default(),
        tls: Default::default(),
        ledgers: Ledgers::new(ledgers),
        phase: view,
        holds: Holds::new(),
        drains: Arc::new(Mutex::new(BTreeMap::new())),
        board: lameduck::admin::Board::default(),
        access_log_dropped: None,
    }
}

/// Whose the sessions of a drain are.
const CLIENTS: [([u8; 4], u16); 4] = [
    ([10, 0, 0, 1], 1),
    ([10, 0, 0, 2], 1),
    ([10, 0, 0, 3], 1),
    ([10, 0, 0, 4], 1),
];

/// So many WebSockets, of a few clients, each quiet for a time of its own.
pub(crate) fn websockets(count: usize) -> Vec<Facts> {
    let facts = (0..count).map(|slot| {
        let quiet = Duration::from_millis((slot * 7919 % 60_000) as u64);
        Facts {
            id: SessionId::new(WorkerIndex(0), Home::Pump, slot, 0),
            listener: CHAT,
            endpoint: None,
            holding: Holding::Session(Kind::Websocket),
            client: CLIENTS[slot % CLIENTS.len()].into(),
            key: None,
            age: quiet,
            idle: [quiet; 2],
            bytes: [0; 2],
            messages: [0; 2],
            asked: false,
        }
    });
    facts.collect()
}

/// A whole drain's worth of deciding, but for what changes meanwhile: the facts are taken down once
/// and put in order, then each 20 ms of a window of 30 s it is asked who goes. How many were.
pub(crate) fn spread(facts: &[Facts]) -> usize {
    let start = Instant::now();
    let limits = Limits {
        close_timeout: Duration::from_secs(5),
        ahead: Duration::ZERO,
        at_once: usize::MAX,
    };
    let deadline = Deadline::after(start, Duration::from_secs(30));
    let mut schedule = Schedule::new(start, deadline, limits);
    let mut plan = schedule.new_plan();
    facts.iter().for_each(|facts| plan.add(facts));
    let mut asked = schedule.adopt(plan).len();
    for tick in 1..=1_500 {
        asked += schedule.due(start + tick * Duration::from_millis(20)).len();
    }
    asked
}
