//! The edge against the real binary: whose a connection is, what its client may take, and what the
//! access log tells of it.

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

mod peer;
mod scene;

mod access_log;
mod attacks;
mod broken_frames;
mod limits;
mod messages;
mod proxy_in;
mod proxy_out;
mod slow;
