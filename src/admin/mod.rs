//! What is shown and steered: health and metrics, and the control API, on listeners and a thread of
//! their own.
//!
//! Nothing here is reachable through a data listener but readiness, where `health_path` is set;
//! nothing here holds a session.

mod board;
pub mod control;
mod exposition;
mod health;
mod readiness;
mod server;

pub use board::{Board, Platform};
pub use exposition::{Exposition, recorder};
pub use health::{Health, readiness};
pub use readiness::Readiness;
pub use server::{Answers, Bound, serve};
