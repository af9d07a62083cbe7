//! What each side of a session says of its messages, and what the two books show side by side.
//!
//! Both sides number what they send from 1 on. A message is *lost* if one side's socket took it and
//! the other side never had it. One that the agent sent while the Close was already on its way to
//! the client *crossed* it: nothing may follow a Close (RFC 6455 5.5.1), nor a FIN, so it
//! could not be delivered; such a message can only be among the last ones of its session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long before the client saw the end of its session the agent may have sent what that end
/// crossed. It covers the way through a busy machine; messages are two to five in a second, so
/// that it can hide one at most.
pub(super) const CROSSING: Duration = Duration::from_millis(100);

/// How many sendings keep their time; far more than fit into [`CROSSING`].
const REMEMBERED: usize = 16;

/// What goes on in a session of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Traffic {
    /// A WebSocket on which the client asks and the agent answers.
    Chat,
    /// A WebSocket on which the agent sends unasked.
    Push,
    /// Lines over TCP, each sent back.
    Tcp,
    /// A subscription to server-sent events.
    Sse,
    /// Quick requests over HTTP connections that are kept alive.
    Http,
    /// Requests that take the agent a while.
    Slow,
}

impl Traffic {
    /// Every kind of traffic, in the order in which it is shown.
    pub(super) const ALL: [Traffic; 6] = [
        Traffic::Chat,
        Traffic::Push,
        Traffic::Tcp,
        Traffic::Sse,
        Traffic::Http,
        Traffic::Slow,
    ];

    /// The name that people read.
    pub(super) fn name(self) -> &'static str {
        match self {
            Traffic::Chat => "websocket, chat",
            Traffic::Push => "websocket, push",
            Traffic::Tcp => "tcp",
            Traffic::Sse => "sse",
            Traffic::Http => "http",
            Traffic::Slow => "http, slow",
        }
    }

    /// Whether the agent's messages can cross the end of a session; a response cannot, for nothing
    /// ends an HTTP connection between a request and its response.
    fn may_cross(self) -> bool {
        !matches!(self, Traffic::Http | Traffic::Slow)
    }
}

/// The messages that one side has sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    count: u64,
    recent: VecDeque<Instant>,
}

impl Sent {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The number that the next message bears.
    pub(super) fn next(&self) -> u64 {
        self.count.saturating_add(1)
    }

    /// Notes that the next message has been taken by the socket.
    pub(super) fn note(&mut self, at: Instant) {
        self.count = self.next();
        self.recent.push_back(at);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// How many of the last `tail` messages were sent at `since` or later.
    fn late(&self, tail: u64, since: Instant) -> u64 {
        let late = self
            .recent
            .iter()
            .rev()
            .take_while(|at| **at >= since)
            .count() as u64;
        late.min(tail)
    }

    fn merge(&mut self, other: Sent) {
        self.count = self.count.saturating_add(other.count);
        self.recent.extend(other.recent);
        while self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }
}

/// The messages that one side has had from the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    count: u64,
    last: u64,
    wrong: u64,
}

impl Received {
    /// How many came, each whole and later in number than the one before.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Notes a message that came whole, with its number; one that is not later in number than the
    /// last came twice or out of order.
    pub(super) fn note(&mut self, number: u64) {
        if number > self.last {
            self.count = self.count.saturating_add(1);
            self.last = number;
        } else {
            self.damaged();
        }
    }

    /// Notes a message that is not what was sent.
    pub(super) fn damaged(&mut self) {
        self.wrong = self.wrong.saturating_add(1);
    }

    fn merge(&mut self, other: Received) {
        self.count = self.count.saturating_add(other.count);
        self.last = self.last.max(other.last);
        self.wrong = self.wrong.saturating_add(other.wrong);
    }
}

/// How a session ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a WebSocket Close of this code between two messages, then FIN.
    Closed(u16),
    /// With FIN after a whole line.
    Line,
    /// With the end of the response after a whole event.
    Event,
    /// Every request was answered, and no connection ended in the face of one.
    Answered,
    /// The client had enough.
    Left,
    /// In any other way; the sentence says which.
    Torn(String),
}

impl End {
    /// Whether an application would have nothing to repair.
    pub(super) fn is_clean(&self) -> bool {
        match self {
            // 1000 (normal), 1001 (going away), 1012 (service restart): RFC 6455 7.4.1, IANA.
            End::Closed(code) => matches!(code, 1000 | 1001 | 1012),
            End::Torn(_) => false,
            End::Line | End::Event | End::Answered | End::Left => true,
        }
    }

    /// The end in words.
    pub(super) fn words(&self) -> String {
        match self {
            End::Closed(code) => format!("closed with {code} between messages"),
            End::Line => "ended after a whole line".to_owned(),
            End::Event => "ended after a whole event".to_owned(),
            End::Answered => "had every request answered".to_owned(),
            End::Left => "left by themselves".to_owned(),
            End::Torn(how) => format!("NOT CLEAN: {how}"),
        }
    }
}

/// A session in its client's book.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The name under which the agent has it too.
    pub id: u32,
    /// What went on in it.
    pub traffic: Traffic,
    /// From the client to the agent.
    pub sent: Sent,
    /// From the agent to the client.
    pub received: Received,
    /// How it ended.
    pub end: End,
    /// When the client saw that it was ending.
    pub ended: Instant,
}

/// A session in the agent's book.
#[derive(Clone, Debug, Default)]
pub(super) struct Counterpart {
    /// From the agent to the client.
    pub sent: Sent,
    /// From the client to the agent.
    pub received: Received,
}

impl Counterpart {
    /// Adds what was counted elsewhere in the same session.
    pub(super) fn merge(&mut self, other: Counterpart) {
        self.sent.merge(other.sent);
        self.received.merge(other.received);
    }
}

/// One session, or many of them, with the two books side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Messages that clients sent.
    pub up_sent: u64,
    /// How many of them the agent had.
    pub up_arrived: u64,
    /// Messages that the agent sent.
    pub down_sent: u64,
    /// How many of them the clients had.
    pub down_arrived: u64,
    /// Messages of the agent that crossed the end of their session.
    pub crossed: u64,
    /// Messages that were lost, in either direction.
    pub lost: u64,
    /// Messages that came damaged, twice or out of order, in either direction.
    pub wrong: u64,
}

impl Account {
    /// Holds the client's book of a session against the agent's.
    pub(super) fn settle(session: &Session, agent: &Counterpart) -> Account {
        let up_missing = session.sent.count().saturating_sub(agent.received.count());
        let down_missing = agent.sent.count().saturating_sub(session.received.count());
        let since = session.ended.checked_sub(CROSSING).unwrap_or(session.ended);
        let crossed = match session.traffic.may_cross() {
            true => agent.sent.late(
                agent.sent.count().saturating_sub(session.received.last),
                since,
            ),
            false => 0,
        };
        let crossed = crossed.min(down_missing);
        Account {
            up_sent: session.sent.count(),
            up_arrived: agent.received.count(),
            down_sent: agent.sent.count(),
            down_arrived: session.received.count(),
            crossed,
            lost: up_missing.saturating_add(down_missing - crossed),
            wrong: session.received.wrong.saturating_add(agent.received.wrong),
        }
    }

    /// What the client's book shows where the agent's is not at hand: a message is taken for lost
    /// when one with a higher number came, and a question that has no answer counts as crossed.
    pub(super) fn alone(session: &Session) -> Account {
        let Session { sent, received, .. } = session;
        Account {
            up_sent: sent.count(),
            down_arrived: received.count(),
            crossed: match session.traffic {
                Traffic::Push | Traffic::Sse => 0,
                _ => sent.count().saturating_sub(received.count()),
            },
            lost: received.last.saturating_sub(received.count()),
            wrong: received.wrong,
            ..Account::default()
        }
    }

    /// The account of two together.
    pub(super) fn plus(self, other: Account) -> Account {
        Account {
            up_sent: self.up_sent.saturating_add(other.up_sent),
            up_arrived: self.up_arrived.saturating_add(other.up_arrived),
            down_sent: self.down_sent.saturating_add(other.down_sent),
            down_arrived: self.down_arrived.saturating_add(other.down_arrived),
            crossed: self.crossed.saturating_add(other.crossed),
            lost: self.lost.saturating_add(other.lost),
            wrong: self.wrong.saturating_add(other.wrong),
        }
    }
}

#[cfg(test)]
mod tests;
