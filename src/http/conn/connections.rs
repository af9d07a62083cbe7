//! A worker's HTTP connections: who is there, who is asked to go, and who is cut.

mod upkeep;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::{Conn, Stage, Told, Wire};
use crate::net::proxy_protocol::Proxied;
use crate::session::{
    Connected, CutSession, Facts, Gone, Holding, Home, Kind, ListenerIndex, Page, SessionId, Whom,
    WorkerIndex,
};

/// A worker's HTTP connections.
#[derive(Clone, Debug)]
pub struct Connections(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    worker: WorkerIndex,
    conns: RefCell<Slab<Rc<Conn>>>,
    /// Sessions that were cut or have taken their leave, until somebody asks.
    gone: RefCell<Gone>,
}

/// So many are looked at in a row: the memory of each may be far away, and a worker's sessions would wait behind thousands.
const IN_A_ROW: usize = 16;

/// Cut sessions that are kept to be told of one by one.
const LISTED: usize = 100;

/// A place in [`Connections`]: taken out when this is dropped.
#[derive(Debug)]
pub(in crate::http) struct Seat {
    connections: Connections,
    slot: usize,
    pub(in crate::http) conn: Rc<Conn>,
}

impl Seat {
    /// The connection has ended well: what was complete was also written.
    pub(in crate::http) fn ended_well(self) {
        self.conn.over(true);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.conn.over(false);
        if let Some(since) = self.conn.asked_since.get() {
            self.connections
                .0
                .gone
                .borrow_mut()
                .took
                .push(since.elapsed());
        }
        self.connections.0.conns.borrow_mut().try_remove(self.slot);
    }
}

impl Connections {
    /// No connections yet.
    pub fn new(worker: WorkerIndex) -> Connections {
        Connections(Rc::new(Inner {
            worker,
            conns: RefCell::default(),
            gone: RefCell::default(),
        }))
    }

    /// Takes a connection in.
    pub(in crate::http) fn seat(
        &self,
        connected: Connected,
        client: SocketAddr,
        proxied: Option<Box<Proxied>>,
    ) -> Seat {
        let mut conns = self.0.conns.borrow_mut();
        let entry = conns.vacant_entry();
        let slot = entry.key();
        let conn = Rc::new(Conn {
            client,
            proxied,
            key: RefCell::default(),
            listener: connected.listener(),
            wire: Arc::new(Wire::new()),
            endpoint: Cell::default(),
            connected: RefCell::new(Some(connected)),
            upgrade: RefCell::default(),
            session: RefCell::default(),
            ticket: RefCell::default(),
            done: Cell::default(),
            resumable: Cell::default(),
            told: Cell::default(),
            asked_since: Cell::default(),
            until: Cell::default(),
            cut: Cell::default(),
            waker: RefCell::default(),
            opened: Instant::now(),
            turn: Cell::default(),
            owes_a_body: Cell::default(),
            pace: Cell::default(),
            worker: self.0.worker,
            slot,
            told_bytes: Cell::default(),
        });
        entry.insert(Rc::clone(&conn));
        Seat {
            connections: self.clone(),
            slot,
            conn,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.conns.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many have been there for so long.
    pub fn lasting(&self, time: Duration) -> usize {
        let conns = self.0.conns.borrow();
        conns.iter().filter(|(_, conn)| conn.lasts(time)).count()
    }

    /// Whether any has been there for so long.
    pub fn has_lasting(&self, time: Duration) -> bool {
        let conns = self.0.conns.borrow();
        conns.iter().any(|(_, conn)| conn.lasts(time))
    }

    fn id(&self, slot: usize, conn: &Conn) -> SessionId {
        SessionId::new(self.0.worker, Home::Http, slot, conn.turn.get())
    }

    fn facts(&self, slot: usize, conn: &Conn) -> Facts {
        let session = conn.session.borrow();
        let (holding, opened) = match &*session {
            Some(counted) => (Holding::Session(counted.kind()), counted.opened()),
            None => (Holding::Nothing, conn.opened),
        };
        Facts {
            id: self.id(slot, conn),
            listener: conn.listener,
            holding,
            endpoint: conn.endpoint.get().filter(|_| session.is_some()),
            client: conn.client,
            key: conn.key.borrow().clone(),
            age: opened.elapsed(),
            idle: [conn.wire.idle(0), conn.wire.idle(1)],
            bytes: [0, 1].map(|way| conn.wire.bytes(way)),
            messages: [0; 2],
            asked: conn.told.get().is_some(),
        }
    }

    /// The facts of at most `limit` connections, from a slot on.
    pub fn list(&self, from: usize, limit: usize) -> Page {
        let conns = self.0.conns.borrow();
        Page::of(&conns, from, limit, |slot, conn| {
            Some(self.facts(slot, conn))
        })
    }

    /// Asks a connection to go: at once if it is between two requests, else when the response is
    /// over, and at `until` in any case. A session that has ended by itself has left its
    /// connection behind, which is asked all the same.
    pub fn leave(&self, id: SessionId, until: Instant) {
        let conns = self.0.conns.borrow();
        let Some(conn) = conns.get(id.slot()) else {
            return;
        };
        if self.id(id.slot(), conn) == id {
            let until = conn.until.get().map_or(until, |before| before.min(until));
            conn.until.set(Some(until));
            if conn.kind().is_some() && conn.asked_since.get().is_none() {
                conn.asked_since.set(Some(Instant::now()));
            }
            conn.tell(Told::Leave);
        }
    }

    /// Looks for connections whose time is over: silent ones, slow heads, idle ones, those whose
    /// client does not end its side, and those that were asked to go and have not. Called every few
    /// hundred milliseconds.
    ///
    /// `between` is called between some of them and the next. It must not come back here.
    pub fn sweep(
        &self,
        limits: impl Fn(ListenerIndex) -> Option<(Duration, Duration)>,
        between: impl Fn(),
    ) {
        let now = Instant::now();
        self.each(between, |slot, conn| {
            if conn.wire.is_lingering_for_too_long() {
                conn.wake();
            }
            let Some((header_timeout, idle_timeout)) = limits(conn.listener) else {
                return;
            };
            let age = conn.wire.in_stage_for();
            match conn.wire.stage() {
                Stage::Fresh | Stage::Head if age >= header_timeout => {
                    conn.wire.expire();
                    conn.tell(Told::Leave);
                }
                Stage::Idle if age >= idle_timeout => conn.tell(Told::Leave),
                _ => {}
            }
            if conn.until.get().is_some_and(|until| now >= until) {
                self.cut_one(slot, conn);
            }
        });
    }

    fn each(&self, between: impl Fn(), mut look: impl FnMut(usize, &Conn)) {
        for (n, (slot, conn)) in self.0.conns.borrow().iter().enumerate() {
            if n.is_multiple_of(IN_A_ROW) {
                between();
            }
            look(slot, conn);
        }
    }

    fn cut_one(&self, slot: usize, conn: &Conn) {
        let facts = self.facts(slot, conn);
        if let (Holding::Session(kind), false) = (facts.holding, conn.cut.replace(true)) {
            let why = match kind {
                Kind::Sse if conn.resumable.get() => "no event ended before the deadline",
                Kind::Sse => "the answer was still being generated",
                _ => "the request was still under way",
            };
            let cut = &mut self.0.gone.borrow_mut().cut;
            if cut.len() < LISTED {
                cut.push(CutSession { facts, why });
            }
        }
        conn.tell(Told::Cut);
    }

    /// Ends these at once, and tells which sessions were cut, now or alone before.
    pub fn cut(&self, whom: &Whom) -> Gone {
        for (slot, conn) in self.0.conns.borrow().iter() {
            let session = conn.session.borrow().is_some();
            let endpoint = conn.endpoint.get().filter(|_| session);
            if whom.means(conn.listener, endpoint, self.id(slot, conn)) {
                self.cut_one(slot, conn);
            }
        }
        self.0.gone.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenerLimits;
    use crate::session::Ledger;
    use crate::session::metrics::Durations;

    /// A connection that comes.
    fn seat(connections: &Connections) -> Seat {
        let ledger = Arc::new(Ledger::new(1, Durations::discarded()));
        let connected = ledger.connected(ListenerIndex(0));
        connections.seat(connected, ([127, 0, 0, 1], 1).into(), None)
    }

    #[tokio::test]
    async fn others_come_in_between_when_many_are_looked_at() {
        let connections = Connections::new(WorkerIndex(0));
        let _seats: Vec<Seat> = (0..3 * IN_A_ROW).map(|_| seat(&connections)).collect();
        let limits = ListenerLimits::default();
        let (between, looked_at) = (Cell::new(0), Cell::new(0));
        let count = |cell: &Cell<usize>| cell.set(cell.get() + 1);
        let times = |_| {
            count(&looked_at);
            None
        };
        connections.sweep(times, || count(&between));
        assert_eq!((between.take(), looked_at.get()), (3, 3 * IN_A_ROW));
        connections.upkeep(|_| &limits, Duration::ZERO, || count(&between));
        assert_eq!(between.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_last_from_their_beginning() {
        let connections = Connections::new(WorkerIndex(0));
        let second = Duration::from_secs(1);
        assert!(!connections.has_lasting(Duration::ZERO));
        let _early = seat(&connections);
        assert!(!connections.has_lasting(second));
        tokio::time::advance(second).await;
        let _late = seat(&connections);
        assert!(connections.has_lasting(second));
        assert_eq!(connections.lasting(second), 1);
        assert!(!connections.has_lasting(2 * second));
    }
}
