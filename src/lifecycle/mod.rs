//! What starts a drain from outside, and who is told as it goes and when it is over.
//!
//! A trigger hears of the end and says so to the drain; no session and no socket of a session
//! comes in here.

pub mod hooks;
mod signals;

pub use signals::Signals;
