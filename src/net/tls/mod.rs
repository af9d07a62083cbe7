//! TLS, on both sides: whom to trust, what to show, and the records of a connection.

mod certificates;
mod client;
mod fault;
mod helper;
mod kept;
mod key_pair;
mod layer;
mod registry;
mod reload;
mod scratch;
mod server;
mod step;
mod stream;
mod trust;
mod turns;
mod x509;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use certificates::{Certificates, Expiry};
pub use client::Tls;
pub use fault::Fault;
pub use layer::Layer;
pub use registry::TlsListeners;
pub use reload::Watch;
pub use server::{Broken, HandshakeError, Handshakes, Reloads, TlsListener};
pub use stream::TlsStream;
pub use turns::Turns;

/// Named wherever it is used, since with two in one build the library's own choice panics.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
