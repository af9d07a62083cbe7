//! What can be told of a session, and of a connection that is none at the moment.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{Direction, EndpointId, Kind, ListenerIndex, SessionId};

/// What a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// A session of this kind.
    Session(Kind),
    /// Nothing that a client would notice losing: kept alive between requests, or without a byte
    /// so far.
    Nothing,
}

/// The client of a session: many may share the address of a balancer, which their keys tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client<'a> {
    /// By its key.
    Key(&'a str),
    /// By its address, where there is no key.
    Addr(IpAddr),
}

/// A session as its worker saw it when asked.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its id; a connection that holds nothing has one too, so that it can be asked to go.
    pub id: SessionId,
    /// Where it was accepted.
    pub listener: ListenerIndex,
    /// The endpoint it is on, or on its way to.
    pub endpoint: Option<EndpointId>,
    /// What it is.
    pub holding: Holding,
    /// The client's address.
    pub client: SocketAddr,
    /// What names the client behind that address, where a header does.
    pub key: Option<Arc<str>>,
    /// How long it has been open.
    pub age: Duration,
    /// How long nothing has come, by direction.
    pub idle: [Duration; Direction::COUNT],
    /// Bytes, by direction.
    pub bytes: [u64; Direction::COUNT],
    /// Whole messages, by direction; zero for what has none.
    pub messages: [u64; Direction::COUNT],
    /// Whether it has been asked to go.
    pub asked: bool,
}

impl Facts {
    /// Whether it is a session, and no connection without one.
    pub fn is_session(&self) -> bool {
        self.holding != Holding::Nothing
    }

    /// Whose it is, as far as that is known.
    pub fn client_key_or_addr(&self) -> Client<'_> {
        match &self.key {
            Some(key) => Client::Key(key),
            None => Client::Addr(self.client.ip()),
        }
    }

    /// How long nothing has come from either side.
    pub fn quiet(&self) -> Duration {
        self.idle[0].min(self.idle[1])
    }
}
