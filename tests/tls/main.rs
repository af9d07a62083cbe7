//! TLS, to the clients and to the agent: through the real binary, with rustls and OpenSSL at the other
//! end.
//!
//! The clients and agents of the other black-box tests speak in plain to a go-between of the test's
//! own (`between`), which speaks TLS to the proxy and passes each end on: a close_notify as a FIN, and
//! an end without one as a reset.

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

mod between;
mod chromium;
mod reporter;
mod scene;

mod browser;
mod checked;
mod client_certificates;
mod drains;
mod handshakes;
mod openssl;
mod passthrough;
mod relayed;
mod renewed;
mod rotation;
mod upstream;
