//! What the tests stand on: the proxy as a child process, agents behind it, clients in front.

pub mod agent;
#[allow(dead_code, reason = "shared with the tests of TLS")]
pub mod authority;
pub mod balancer;
pub mod client;
pub mod crowd;
pub mod delay;
pub mod descriptors;
pub mod frames;
pub mod ledger;
pub mod log;
pub mod manners;
pub mod metrics;
pub mod patience;
pub mod peer;
pub mod proxy;
pub mod python;
pub mod secured;
pub mod stunnel;
pub mod vitals;
pub mod wire;

pub use patience::{patience, within};
pub use proxy::Proxy;
