//! Builds the rooms below from a validated configuration and wires them: workers, acceptors, the
//! health thread, the drain.
//!
//! Nothing is decided here that a room below could decide.

mod acceptor;
mod access_line;
mod access_log;
mod births;
mod client;
mod door;
mod doors;
mod error;
mod health;
mod hello;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod huge_pages;
mod log;
mod memory;
mod peers;
mod place;
mod plan;
mod platforms;
mod process;
mod reload;
mod sockets;
#[cfg(feature = "systemd")]
mod systemd;
mod tls;
mod upkeep;
mod watching;
mod wiring;
mod worker;

pub use error::Error;
pub use process::{App, Ended, run};
pub use reload::Source;
