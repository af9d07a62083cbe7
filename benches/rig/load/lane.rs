//! One lane: a question on its way, over a connection of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::conn::Conn;
use super::exchange::Exchange;

/// Whether a connection is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Open,
    Once,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The answer to the greeting is awaited.
    Greets,
    /// An answer is awaited.
    Asks,
    /// The end is awaited.
    Leaves,
    /// Nothing is on its way.
    Rests,
}

/// What an answer is followed by, when nothing is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Rest,
    /// The lane's next question.
    Again,
    /// A question on the lane whose turn it is: this number, or the next after it that rests.
    Pass(usize),
}

/// What becomes of a lane that only listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// More is to come.
    GoesOn,
    /// Its connection is over.
    IsOver,
}

/// A lane.
pub(super) struct Lane {
    /// Where it connects to.
    pub(super) to: SocketAddr,
    pub(super) exchange: Rc<dyn Exchange>,
    pub(super) keep: Keep,
    pub(super) conn: Option<Conn>,
    pub(super) stage: Stage,
    pub(super) number: u64,
    /// When the question was due that is on its way.
    pub(super) due: Option<Instant>,
    /// When the next ones were due, where the answer to the last has not come yet.
    pub(super) owed: VecDeque<Instant>,
    /// The time between two questions of a paced lane.
    pub(super) period: Duration,
}
