//! `cargo bench --bench micro`: what stands on the path of a byte, the scrape and the order of a drain,
//! each alone.

mod parts;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Items are frames, so the throughput tells the cost of a header; with large frames it is the cost of a byte.
#[divan::bench(args = [16, 64, 1024, 65_535])]
fn boundary(bencher: Bencher<'_, '_>, payload: u16) {
    let mut frames = parts::Frames::new(payload);
    bencher
        .counter(BytesCount::of_slice(&frames.bytes))
        .counter(ItemsCount::new(frames.count))
        .bench_local(|| black_box(&mut frames).follow());
}

/// A request's head.
#[divan::bench]
fn gate(bencher: Bencher<'_, '_>) {
    let mut head = parts::Head::new();
    bencher
        .counter(BytesCount::new(head.len()))
        .bench_local(|| black_box(&mut head).admit());
}

/// A session's counting.
#[divan::bench]
fn ledger(bencher: Bencher<'_, '_>) {
    let ledger = parts::ledger();
    bencher.bench_local(|| parts::session(black_box(&ledger)));
}

/// The text of the metrics, by listeners.
#[divan::bench(args = [1, 8])]
fn scrape(bencher: Bencher<'_, '_>, listeners: u16) {
    let exposition = parts::exposition(listeners);
    bencher.bench_local(|| exposition.render());
}

/// Who goes when, by sessions.
#[divan::bench(args = [100, 1_000, 9_000])]
fn schedule(bencher: Bencher<'_, '_>, sessions: usize) {
    let facts = parts::websockets(sessions);
    bencher
        .counter(ItemsCount::new(sessions))
        .bench_local(|| parts::spread(black_box(&facts)));
}
