//! Sockets: bound, accepted, dialled, and what the kernel knows of them.
//!
//! No protocol above TCP and no phase come in here.

mod accept;
mod clock;
mod connect;
mod descriptors;
mod dialled;
mod inherited;
mod options;
pub mod parking;
mod plain;
pub mod proxy_protocol;
mod socket;
pub mod sockinfo;
mod spare_time;
mod tarpit;
mod tasks;
pub mod tls;
mod unix;
mod upstream;
pub mod watch;

pub use accept::{AcceptError, Listening, TcpBound, bind};
pub use clock::Tick;
pub use descriptors::{Descriptors, RESERVED};
pub use dialled::Dialled;
pub use inherited::{Given, GivenSocket, Inherited};
pub use options::set_options;
pub use plain::PlainStream;
pub use socket::Socket;
pub use tarpit::{Tarpit, Wait};
pub use tasks::Tasks;
pub use tls::Tls;
pub use unix::{UnixBound, UnixListening};
pub use upstream::{
    Address, Asked, DialError, Dialer, Endpoints, Key, Member, Resolve, Seat, System, Upstreams,
    hash_of, hash_of_address,
};
