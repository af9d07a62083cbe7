//! HTTP: the server side, the client side, the layers between them, the handshake of an upgrade,
//! event streams.
//!
//! hyper parses and writes; what is decided here is what passes and what does not. No phase is
//! decided and no session is picked to go in this room: it is told, and does it politely.

mod admission;
mod agent_body;
mod agent_io;
mod body;
mod budget;
pub mod check;
mod client_key;
mod client_stream;
mod conn;
mod event_boundary;
mod event_stream;
mod fields;
pub mod gate;
mod gather;
mod io;
mod pool;
mod problem;
mod proxy;
mod request_body;
mod retry;
mod server;
mod stickiness;
mod toll;
mod upgrade;
mod waiting;
mod written_head;

pub use conn::Connections;
pub use pool::Agent;
pub use server::{Accepted, Arrival, Front, HealthAnswer, Site};
