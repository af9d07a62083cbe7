//! What starts a drain from outside, and who is told as it goes and when it is over.
//!
//! A trigger hears of the end and says so to the drain; no session and no socket of a session
//! comes in here. Each platform has a room of its own, and reaches the process through its desk.

#[cfg(feature = "aws")]
mod aws;
mod backoff;
mod call;
mod desk;
pub mod hooks;
mod platform;
mod signals;

pub use desk::Desks;
pub use platform::Platforms;
pub use signals::Signals;
