//! Notices of the end, and words of it: systemd, sockets that are handed over, a file and a command,
//! metrics in the log, Azure and GCP; all through the real binary.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by its panic, and shows what the proxy said"
)]

mod harness;

mod azure;
mod emf;
mod file_and_command;
mod gcp;
mod sockets;
mod systemd;
