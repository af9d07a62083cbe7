//! What can be told of a session, and of a connection that is none at the moment.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Direction, Kind, ListenerIndex, SessionId};

/// What a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// A session of this kind.
    Session(Kind),
    /// Nothing that a client would notice losing: kept alive between requests, or without a byte
    /// so far.
    Nothing,
}

/// A session as its worker saw it when asked.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its id; a connection that holds nothing has one too, so that it can be asked to go.
    pub id: SessionId,
    /// Where it was accepted.
    pub listener: ListenerIndex,
    /// What it is.
    pub holding: Holding,
    /// The client's address.
    pub client: SocketAddr,
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
    /// How long nothing has come from either side.
    pub fn quiet(&self) -> Duration {
        self.idle[0].min(self.idle[1])
    }
}
