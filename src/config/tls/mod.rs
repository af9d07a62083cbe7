//! `[listener.tls]` and `[upstream.NAME.tls]`: TLS to the clients and to the agent.
//!
//! It is on where the table is in the file. Whether the files that it names are any good is known
//! to `net`, which reads them.

mod client;
mod server;

pub use client::ClientTls;
pub(super) use client::RawClientTls;
pub(super) use server::RawServerTls;
pub use server::{ClientAuth, ServerTls, TlsVersion};
