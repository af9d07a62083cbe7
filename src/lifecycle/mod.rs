//! What starts a drain from outside, and who is told as it goes and when it is over.
//!
//! A trigger hears of the end and says so to the drain; no session and no socket of a session
//! comes in here. Each platform has a room of its own, and reaches the process through its desk.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
mod backoff;
mod call;
mod desk;
#[cfg(feature = "ecs")]
mod ecs;
pub mod emf;
#[cfg(feature = "gcp")]
mod gcp;
pub mod hooks;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod other;
mod platform;
pub mod settings;
mod signals;
#[cfg(feature = "systemd")]
mod systemd;

pub use desk::Desks;
pub use platform::Platforms;
pub use signals::Signals;
#[cfg(feature = "systemd")]
pub use systemd::Systemd;
