//! What starts a drain from outside, and who is told as it goes and when it is over.
//!
//! A trigger hears of the end and says so to the drain; no session and no socket of a session
//! comes in here. Each platform has a room of its own, and reaches the process through its desk.

#[cfg(feature = "aws")]
mod aws;
mod backoff;
mod call;
mod desk;
#[cfg(feature = "ecs")]
mod ecs;
pub mod hooks;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod platform;
pub mod settings;
mod signals;

pub use desk::Desks;
pub use platform::Platforms;
pub use signals::Signals;
