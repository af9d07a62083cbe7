//! Sockets: bound, accepted, dialled, and what the kernel knows of them.
//!
//! No protocol above TCP and no phase come in here.

mod accept;
mod clock;
mod descriptors;
mod dial;
mod inherited;
mod options;
pub mod proxy_protocol;
mod socket;
pub mod sockinfo;
mod tasks;
mod tls;
mod unix;
pub mod watch;

pub use accept::{AcceptError, Listening, TcpBound, bind};
pub use clock::Tick;
pub use descriptors::{Descriptors, RESERVED};
pub use dial::{DialError, Dialer, Endpoints};
pub use inherited::{Given, GivenSocket, Inherited};
pub use options::set_options;
pub use socket::Socket;
pub use tasks::Tasks;
pub use tls::Tls;
pub use unix::{UnixBound, UnixListening};
