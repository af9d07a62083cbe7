//! A client's HTTP/1.1 connection as the registry sees it: at most one session at a time, and the
//! ways to ask it to go.

mod connections;
mod recorded;
mod wire;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::Tick;
use crate::net::proxy_protocol::Proxied;
use crate::session::{
    Connected, Counted, Direction, EndpointId, Kind, ListenerIndex, Outcome, Ticket, WorkerIndex,
};

use super::upgrade::Upgrade;

pub use connections::Connections;
pub(super) use wire::{Stage, Wire};

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// To go when what is under way is over.
    Leave,
    /// To go now.
    Cut,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) client: SocketAddr,
    /// What agents are told of the client, where they are.
    pub(super) proxied: Option<Box<Proxied>>,
    /// What names the client behind that address, by the last request.
    pub(super) key: RefCell<Option<Arc<str>>>,
    pub(super) listener: ListenerIndex,
    pub(super) wire: Arc<Wire>,
    /// Where the request under way goes, or the last one went.
    pub(super) endpoint: Cell<Option<EndpointId>>,
    /// Given to the pump with an upgrade.
    pub(super) connected: RefCell<Option<Connected>>,
    /// What it goes on as once the last response is written.
    upgrade: RefCell<Option<Box<Upgrade>>>,
    session: RefCell<Option<Counted>>,
    /// Held where a limit counts the session.
    ticket: RefCell<Option<Box<Ticket>>>,
    /// Set when the response is complete; the session ends with the flush of it.
    done: Cell<Option<Outcome>>,
    /// Whether the session may be ended early at a boundary.
    pub(super) resumable: Cell<bool>,
    told: Cell<Option<Told>>,
    /// Since when a session was asked to go.
    asked_since: Cell<Option<Instant>>,
    /// When a session that was asked to go is cut alone.
    until: Cell<Option<Instant>>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    opened: Instant,
    turn: Cell<u32>,
    /// Whether a request's body is waited for, where its speed is looked at.
    owes_a_body: Cell<bool>,
    /// What had come when its speed was looked at.
    pace: Cell<Option<Pace>>,
    worker: WorkerIndex,
    slot: usize,
    /// Bytes of sessions that have ended, by direction.
    told_bytes: Cell<[u64; Direction::COUNT]>,
}

/// How much had come, and when.
#[derive(Clone, Copy, Debug)]
struct Pace {
    bytes: u64,
    since: Tick,
}

impl Conn {
    /// Opens a session of this kind, in the place of the one there was.
    pub(super) fn open(&self, kind: Kind) {
        let mut counted = match self.connected.borrow().as_ref() {
            Some(connected) => connected.ledger().open(self.listener, kind),
            None => return,
        };
        if let Some(mut before) = self.session.take() {
            self.note(&mut before);
            if let (Kind::Sse, Some(was), Some(record)) = (kind, before.record(), counted.record())
            {
                record.request.clone_from(&was.request);
                record.upstream.clone_from(&was.upstream);
            }
            before.end(Outcome::Finished);
        }
        self.session.replace(Some(counted));
        self.done.set(None);
        self.resumable.set(false);
        // A stream of events may be silent for hours; a request is answered some time.
        self.wire.watch(kind == Kind::Sse);
        if kind == Kind::Http {
            self.endpoint.set(None);
            self.turn.set(self.turn.get().wrapping_add(1));
            self.wire.enter(Stage::Busy);
        }
    }

    /// Notes that the proxy answers by itself: no session opens, but the head is there.
    pub(super) fn note_own_answer(&self) {
        self.finish();
        self.wire.enter(Stage::Busy);
        self.complete(Outcome::Finished);
    }

    /// Notes whether a request's body is waited for.
    pub(super) fn owes_a_body(&self, owes: bool) {
        self.owes_a_body.set(owes);
    }

    /// Has the session that is about to open count.
    pub(super) fn hold(&self, ticket: Option<Box<Ticket>>) {
        self.ticket.replace(ticket);
    }

    /// Notes what it goes on as.
    pub(super) fn goes_on_as(&self, upgrade: Upgrade) {
        self.upgrade.replace(Some(Box::new(upgrade)));
    }

    /// What it goes on as, if HTTP is over.
    pub(super) fn take_upgrade(&self) -> Option<Box<Upgrade>> {
        self.upgrade.take()
    }

    /// Takes the count over, with the session.
    pub(super) fn take_ticket(&self) -> Option<Box<Ticket>> {
        self.ticket.take()
    }

    /// Has the last session not count any more, whose response is complete.
    pub(super) fn give_ticket_back(&self) {
        self.ticket.take();
    }

    /// Notes that the response is complete, or has failed; it still has to be flushed.
    pub(super) fn complete(&self, outcome: Outcome) {
        self.wire.begin_flush();
        self.done.set(Some(outcome));
    }

    /// Ends the session whose response is in the kernel's hands.
    pub(super) fn settle(&self) {
        if self.done.get().is_some() && self.wire.is_flushed() {
            self.finish();
            self.wire.enter(Stage::Idle);
        }
    }

    fn finish(&self) {
        if let (Some(outcome), Some(mut session)) = (self.done.take(), self.session.take()) {
            self.note(&mut session);
            self.ticket.take();
            let asked = self.told.get().is_some() && self.resumable.get();
            let outcome = if asked && outcome == Outcome::Finished {
                Outcome::Closed
            } else {
                outcome
            };
            session.end(outcome);
        }
    }

    /// Whether this session was asked to go and may.
    pub(super) fn should_leave(&self) -> bool {
        self.told.get().is_some() && self.resumable.get()
    }

    /// What the connection was told.
    pub(super) fn told(&self) -> Option<Told> {
        self.told.get()
    }

    /// Has the task woken when the connection is told something.
    pub(super) fn listen(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }

    fn tell(&self, what: Told) {
        if self.told.get() != Some(Told::Cut) {
            self.told.set(Some(what));
        }
        // The process may end soon, and a client's own end says that it has got everything.
        self.wire.note_has_said_all(false);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether it has been there for so long.
    fn lasts(&self, time: Duration) -> bool {
        self.opened.elapsed() >= time
    }

    /// The kind of the session that is open.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.session.borrow().as_ref().map(Counted::kind)
    }

    /// The connection is over; `flushed` if what was complete has also been written.
    fn over(&self, flushed: bool) {
        if flushed {
            self.finish();
        }
        if let Some(mut session) = self.session.take() {
            self.note(&mut session);
            let left_by_itself = session.kind() == Kind::Sse && self.resumable.get();
            session.end(match self.told.get() {
                _ if self.cut.get() => Outcome::Cut,
                Some(Told::Leave) if left_by_itself => Outcome::Closed,
                None if left_by_itself => Outcome::Finished,
                _ => Outcome::Failed,
            });
        }
    }
}
