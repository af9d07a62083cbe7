//! The configuration: schema, defaults, validation.
//!
//! What leaves this room is a [`Config`] that cannot be wrong. No sockets, no clocks, no threads
//! come in here, and no other room reads the raw file.
//!
//! The way through: [`load()`] parses the text; `schema` asks a `section` for each key, whose parser
//! is in `value`; [`Overrides`] go on top; `rules` hold the values against each other; and what
//! was found on the way, in [`Finding`]s with their places, is told at once.

mod announcement;
mod edge;
mod finding;
pub mod flag;
mod keys;
mod load;
mod overrides;
pub mod platform;
mod restart;
mod route;
mod rules;
mod schema;
mod section;
mod tls;
mod token;
mod types;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

pub use announcement::Announcement;
pub use edge::{
    AccessLog, AccessLogTo, Keepalive, Lifetime, Limits, ListenerEdge, ListenerLimits,
    MIN_SPEED_OVER, Network, ProxyIn, ProxyOut, TcpOptions, UpstreamEdge,
};
pub use finding::{Faults, Finding, Place, Severity};
pub use keys::{Default, Key, known_keys};
pub use load::{Loaded, load};
pub use overrides::Overrides;
pub use platform::{Aws, PlatformName, Platforms};
pub use restart::needs_restart;
pub use route::Route;
pub use tls::{ClientAuth, ClientTls, ServerTls, TlsVersion};
pub use token::Token;
pub use types::*;
pub use upstream::{Balance, Check, CheckKind, Eject, HashOn, Upstream};
pub use value::{ListenUrl, Wrong};
