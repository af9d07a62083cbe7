//! The relay: bytes from here to there. The pump, its halves, the boundaries in a stream.
//!
//! A relayed session is data, not a task: it can be listed, asked to go, or given another upstream
//! half by a function call on its own worker. No HTTP, no phase and no plan of a drain come in
//! here; the relay is told whom to ask to go, and finds the moment.

mod allowance;
mod announce;
mod blame;
pub mod boundary;
pub mod close_frame;
mod end;
mod flow;
mod half;
mod leave;
mod meter;
mod moment;
mod patience;
mod pipe;
mod pump;
mod rare;
mod relayed;
mod traffic;
mod transfer;

#[cfg(test)]
pub(crate) use pump::tests::{seat, session};
pub use pump::{Guest, Place, Pump, Stalled, Tunnel};
pub use relayed::Speech;
