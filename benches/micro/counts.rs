//! `just bench-counts`: how many instructions the same parts take, by Valgrind. Unlike a time, that is
//! the same in every run, so that a change of one percent is seen. The scrape is left out: it asks the
//! kernel what the process has used.

#![allow(
    missing_docs,
    unused_qualifications,
    clippy::exit,
    reason = "they are in what the macros make"
)]
#![allow(
    dead_code,
    reason = "the other bench has more of them, and asks how large they are"
)]

mod parts;

use std::hint::black_box;
use std::sync::Arc;

use gungraun::prelude::*;
use lameduck::session::{Facts, Ledger};
use parts::{Frames, Head, ledger, session, spread, websockets};

// 1 MiB of them.
#[library_benchmark]
#[benches::payload(args = [16, 64, 1_024, 65_535], setup = Frames::new)]
fn boundary(mut frames: Frames) -> u32 {
    black_box(&mut frames).follow()
}

#[library_benchmark]
#[bench::head(Head::new())]
fn gate(mut head: Head) -> bool {
    black_box(&mut head).admit()
}

#[library_benchmark]
#[bench::session(ledger())]
fn counting(ledger: Arc<Ledger>) {
    session(black_box(&ledger));
}

#[library_benchmark]
#[benches::sessions(args = [100, 1_000, 9_000], setup = websockets)]
fn schedule(facts: Vec<Facts>) -> usize {
    spread(black_box(&facts))
}

library_benchmark_group!(
    name = alone,
    benchmarks = [boundary, gate, counting, schedule]
);

main!(library_benchmark_groups = alone);
