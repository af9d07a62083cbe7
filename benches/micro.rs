//! `cargo bench --bench micro`: what stands on the path of a byte, and the scrape, each alone.
//!
//! A frame's header, a request's head, a session's counting, the text of the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use lameduck::admin::Exposition;
use lameduck::config::ListenerName;
use lameduck::http::gate::Gate;
use lameduck::relay::boundary::{Boundary, Sender};
use lameduck::session::metrics::Durations;
use lameduck::session::{
    Direction, Holds, Kind, Ledger, Ledgers, ListenerIndex, Outcome, PhaseView, Roster,
};
use tokio::sync::watch;

fn main() {
    divan::main();
}

/// A stream of frames with so many bytes of payload each, as a client sends them, of at least 1 MiB.
fn stream(payload: u16) -> (Vec<u8>, usize) {
    let [high, low] = payload.to_be_bytes();
    let header: &[u8] = match payload {
        0..126 => &[0x82, 0x80 | low, 1, 2, 3, 4],
        _ => &[0x82, 0xfe, high, low, 1, 2, 3, 4],
    };
    let frame = [header, &vec![7; usize::from(payload)]].concat();
    let count = (1_usize << 20).div_ceil(frame.len());
    (frame.repeat(count), count)
}

/// Items are frames, so the throughput tells the cost of a header; with large frames it is the cost of a byte.
#[divan::bench(args = [16, 64, 1024, 65_535])]
fn boundary(bencher: Bencher<'_, '_>, payload: u16) {
    let (bytes, frames) = stream(payload);
    let mut boundary = Boundary::new(Sender::Client);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .counter(ItemsCount::new(frames))
        .bench_local(|| {
            let mut messages = 0;
            // As the pump does, a read at a time.
            for read in black_box(&bytes).chunks(64 * 1024) {
                messages += boundary.advance(read).messages;
            }
            messages
        });
}

const HEAD: &[u8] = b"GET /v1/sessions/4711 HTTP/1.1\r\nHost: agent.example.com\r\n\
    User-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";

/// The strict reading of a request's head, before hyper's.
#[divan::bench]
fn gate(bencher: Bencher<'_, '_>) {
    let mut gate = Gate::new();
    let mut head = HEAD.to_vec();
    bencher
        .counter(BytesCount::of_slice(HEAD))
        .bench_local(|| gate.admit(black_box(&mut head)));
}

const CHAT: ListenerIndex = ListenerIndex(0);

/// Opening a session, counting a message on it, ending it.
#[divan::bench]
fn ledger(bencher: Bencher<'_, '_>) {
    let ledger = Arc::new(Ledger::new(1, Durations::discarded()));
    bencher.bench_local(|| {
        let session = ledger.open(CHAT, Kind::Websocket);
        ledger.bytes(CHAT, Direction::ToUpstream, black_box(64));
        session.end(Outcome::Finished);
    });
}

/// The text of `/metrics`, for so many listeners on four workers. The sessions do not count: only their sums are
/// read.
#[divan::bench(args = [1, 8])]
fn scrape(bencher: Bencher<'_, '_>, listeners: u16) {
    let ledgers: Vec<Arc<Ledger>> = (0..4)
        .map(|_| Arc::new(Ledger::new(usize::from(listeners), Durations::discarded())))
        .collect();
    let names = (0..listeners).map(|at| ListenerName(format!("listener-{at}").into()));
    let (_phase, view) = watch::channel(PhaseView::starting());
    let exposition = Exposition {
        roster: Roster::new(names),
        upstreams: Default::default(),
        tls: Default::default(),
        ledgers: Ledgers::new(ledgers),
        phase: view,
        holds: Holds::new(),
        drains: Arc::new(Mutex::new(BTreeMap::new())),
        board: lameduck::admin::Board::default(),
        access_log_dropped: None,
    };
    bencher.bench_local(|| exposition.render());
}
