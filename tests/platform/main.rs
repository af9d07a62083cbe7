//! The real binary on a cloud of our own: the platforms' interfaces over real HTTP, with the true
//! order of events. No mock to be had fires lifecycle hooks, or knows how one is completed.

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it found by panicking and printing, and owns its tasks by its runtime"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of a test are small"
)]

#[allow(dead_code, reason = "shared with the other black-box tests")]
#[path = "../it/harness/mod.rs"]
mod harness;

mod cloud;
mod scene;

mod clock;
mod cloud_keeps_its_word;
mod faults;
mod moto;
mod orders;
mod others;
mod scale_in;
