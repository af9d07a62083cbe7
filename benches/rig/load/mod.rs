//! The load: clients and an agent, one thread, one readiness set.
//!
//! It has to cost less than what it measures, since each is alone on a core: so it knows just enough HTTP and
//! WebSocket for the messages that are its own.

mod agent;
mod conn;
mod exchange;
mod http;
mod lane;
mod lanes;
mod payload;
mod secure;
mod set;
mod websocket;

pub(crate) use agent::{Agent, Role};
pub(crate) use conn::Conn;
pub(crate) use exchange::{Exchange, Goodbye, Message, Request};
pub(crate) use http::{Chunks, head_len, reply};
pub(crate) use lane::{Heard, Keep};
pub(crate) use lanes::{Lanes, Place};
pub(crate) use payload::{pattern, payload};
pub(crate) use secure::Secure;
pub(crate) use set::{Set, Who, is_over};
pub(crate) use websocket::{BINARY, CLOSE, CLOSE_BACK, Protocol, is_upgraded, upgrade};
