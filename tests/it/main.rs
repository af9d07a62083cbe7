//! Black-box tests: each one runs the real binary between an agent and clients of ours.
//!
//! One binary for all of them; a file is a rule, named by it. What the tests stand on is in
//! [`harness`]. `LAMEDUCK_TEST_PATIENCE` stretches every bounded wait by a factor, and
//! `LAMEDUCK_TEST_SEED` repeats a random run.

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

mod harness;

mod alerts;
mod drain_announces;
mod drain_answers;
mod drain_endpoint;
mod drain_endpoint_crowd;
mod drain_ends_early;
mod drain_events;
mod drain_far;
mod drain_forwards;
mod drain_hooks;
mod drain_hostile;
mod drain_mixed;
mod drain_peers;
mod drain_refuses;
mod drain_tcp;
mod drain_websocket;
mod event_streams;
mod faults;
mod house;
mod http_rules;
mod metrics;
mod relay_bytes;
mod reload;
mod reload_crowd;
mod routes;
mod self_check;
mod self_check_delay;
mod self_check_stunnel;
mod unix_agents;
mod upstreams;
mod upstreams_lost;
