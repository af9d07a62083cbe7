//! What is shown: health and metrics, on a listener and a thread of their own.
//!
//! Nothing here is reachable through a data listener but readiness, where `health_path` is set;
//! nothing here holds a session.

mod exposition;
mod health;
mod readiness;
mod server;

pub use exposition::{Exposition, recorder};
pub use health::{Health, readiness};
pub use readiness::Readiness;
pub use server::serve;
