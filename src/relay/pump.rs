//! The pump: one worker's relayed sessions in a slab, and a readiness set of their own.

mod drive;
mod guest;
mod sight;
mod slots;
mod turns;
mod upkeep;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use mio::Registry;
use tokio::time::Instant;

use crate::config::Goodbye;
use crate::net::Seat;
use crate::net::tls::Layer;
use crate::session::{
    Connected, Counted, CutSession, Direction, Facts, Gone, Holding, Home, Outcome, Page,
    SessionId, Terms, Ticket, Whom, WorkerIndex,
};

use super::allowance::Allowance;
use super::leave::{Limits, Stay, Verdict};
use super::patience::micros;
use super::pipe::Pipes;
use super::relayed::{ROOM, Relayed, Speech, Turn, token};
use super::traffic::Micros;
use super::transfer::LARGE;

/// So many turns go by one look at the clock: they take a fraction of a millisecond, and looks are felt in what a small
/// message costs.
const ONE_LOOK: usize = 16;
/// Cut sessions that are kept to be told of one by one.
const LISTED: usize = 100;

pub use guest::{Guest, Place};
use sight::Sight;
use slots::Slots;
pub use upkeep::Stalled;

/// What the pump takes over: two connected sockets, and what was read ahead on them.
#[derive(Debug)]
pub struct Tunnel {
    /// The client's socket, non-blocking.
    pub client: TcpStream,
    /// The TLS that is spoken on it, with what is in its hands.
    pub client_tls: Option<Box<Layer>>,
    /// The agent's socket, non-blocking: TCP or unix.
    pub upstream: socket2::Socket,
    /// Likewise.
    pub upstream_tls: Option<Box<Layer>>,
    /// Its place on the agent's endpoint.
    pub seat: Seat,
    /// Read from the client already, not yet sent to the agent.
    pub to_upstream: Bytes,
    /// Read from the agent already, not yet sent to the client.
    pub to_client: Bytes,
    /// What is spoken.
    pub speech: Speech,
    /// How it is asked to go.
    pub goodbye: Rc<Goodbye>,
    /// The connection, as counted.
    pub connected: Connected,
    /// The session, as counted; without it the first byte opens a session of kind `tcp`.
    pub counted: Option<Counted>,
    /// The client's address.
    pub client_addr: SocketAddr,
    /// What names the client behind that address, where a header does.
    pub client_key: Option<Arc<str>>,
    /// Held where a limit counts the session.
    pub ticket: Option<Box<Ticket>>,
    /// The largest WebSocket message, in bytes, and how long a close handshake may take.
    pub max_message: Option<(u64, Duration)>,
}

/// The handle of a worker's pump; it stays on the worker's thread.
#[derive(Clone, Debug)]
pub struct Pump {
    inner: Rc<RefCell<Inner>>,
    sight: Rc<RefCell<Sight>>,
}

#[derive(Debug)]
struct Inner {
    worker: WorkerIndex,
    registry: Rc<Registry>,
    slots: Slots,
    turn: TurnState,
    /// Slots of those that move much, and have more to do than their last turn allowed, or hear that there is more.
    again: VecDeque<usize>,
    /// Sessions that were asked to go, by slot and turn.
    leaving: Vec<(usize, u32)>,
    /// Which of them, counted from one, was read on at the last look though it was refused: of those who go on sending one
    /// at a look is, and the next is the one behind it. Zero where none was.
    read_on: usize,
    /// Those that were cut or have taken their leave, until somebody asks.
    gone: Gone,
    next_turn: u32,
    waker: Option<Waker>,
    /// How often something has happened that somebody else may have waited for.
    told: usize,
}

#[derive(Debug)]
struct TurnState {
    scratch: Option<Box<[u8]>>,
    epoch: Instant,
    /// What turns take for the time.
    now: Micros,
    allowance: Allowance,
    pipes: Option<Pipes>,
}

impl TurnState {
    fn now(&self) -> Micros {
        Micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Looks at the clock before the first of some turns, and before every so many of them.
    fn look_at_the_clock(&mut self, turns: usize) {
        if turns.is_multiple_of(ONE_LOOK) {
            self.now = self.now();
        }
    }

    fn moment(&self, at: Instant) -> Micros {
        let since = at.saturating_duration_since(self.epoch);
        Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// What is read into.
    fn scratch(&mut self) -> &mut [u8] {
        self.scratch.get_or_insert_with(new_scratch)
    }

    /// Lends the scratch for the time of `f`.
    fn with<T>(&mut self, f: impl FnOnce(&mut Turn) -> T) -> T {
        let scratch = self.scratch.take().unwrap_or_else(new_scratch);
        let mut turn = Turn {
            scratch,
            now: self.now,
            allowance: self.allowance,
            pipes: self.pipes.take().unwrap_or_default(),
        };
        let result = f(&mut turn);
        self.allowance = turn.allowance;
        self.pipes = Some(turn.pipes);
        self.scratch = Some(turn.scratch);
        result
    }
}

fn new_scratch() -> Box<[u8]> {
    vec![0; LARGE + ROOM].into_boxed_slice()
}

impl Pump {
    /// Makes a pump, and the future that drives it, which ends only with an error of the readiness
    /// set itself. Both belong to the runtime of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no descriptor left for a readiness set.
    pub fn new(worker: WorkerIndex) -> io::Result<(Pump, impl Future<Output = io::Result<()>>)> {
        let poll = mio::Poll::new()?;
        let registry = Rc::new(poll.registry().try_clone()?);
        let turn = TurnState {
            scratch: None,
            epoch: Instant::now(),
            now: Micros::default(),
            allowance: Allowance::default(),
            pipes: None,
        };
        let sight = Sight::new(poll, Rc::clone(&registry))?;
        let inner = Inner {
            worker,
            registry,
            slots: Slots::default(),
            turn,
            again: VecDeque::new(),
            leaving: Vec::new(),
            read_on: 0,
            gone: Gone::default(),
            next_turn: 0,
            waker: None,
            told: 0,
        };
        let pump = Pump {
            inner: Rc::new(RefCell::new(inner)),
            sight: Rc::new(RefCell::new(sight)),
        };
        let driver = drive::drive(pump.clone());
        Ok((pump, driver))
    }

    /// Takes a session over.
    ///
    /// # Errors
    /// When the sockets cannot be watched; the session then counts as failed.
    pub fn open(&self, tunnel: Tunnel) -> io::Result<()> {
        let place = self.keep_place(&tunnel.upstream)?;
        self.open_at(place, tunnel)
    }

    /// Takes a session over in the place of a guest, its agent's socket.
    ///
    /// # Errors
    /// When the client's socket cannot be watched; the session then counts as failed.
    pub fn open_at(&self, place: Place, tunnel: Tunnel) -> io::Result<()> {
        let begun = self.inner.borrow_mut().begin(place.slot, tunnel);
        // It is given up if the session has not begun.
        drop(place);
        begun
    }

    /// How many sessions and silent connections there are.
    pub fn len(&self) -> usize {
        self.inner.borrow().slots.sessions()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any has been there for so long.
    pub fn has_lasting(&self, time: Duration) -> bool {
        let inner = self.inner.borrow();
        let (now, time) = (inner.turn.now(), micros(time));
        let mut sessions = inner.slots.iter();
        sessions.any(|(_, session)| now.since(session.began) >= time)
    }

    /// The facts of at most `limit` sessions, from a slot on.
    pub fn list(&self, from: usize, limit: usize) -> Page {
        let inner = self.inner.borrow();
        let now = inner.turn.now();
        let facts = |slot: usize, session: &Relayed| inner.facts(slot, session, now);
        inner.slots.page(from, limit, facts)
    }

    /// Asks a session to go on these terms. One
    /// that has gone by itself is passed over.
    pub fn leave(&self, id: SessionId, terms: Terms) {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let slot = id.slot();
        let Some(session) = inner.slots.get_mut(slot) else {
            return;
        };
        if SessionId::new(inner.worker, Home::Pump, slot, session.turn) != id {
            return;
        }
        let first_time = matches!(session.stay, Stay::Staying);
        let limits = Limits {
            until: inner.turn.moment(terms.until),
            reserve: micros(terms.reserve),
            close_timeout: micros(terms.close_timeout),
        };
        session.ask(limits, inner.turn.now(), false);
        if first_time {
            inner.leaving.push((slot, session.turn));
        }
        if let Some(waker) = &inner.waker {
            waker.wake_by_ref();
        }
    }

    /// Ends these at once, and tells what was cut, now or alone before.
    pub fn cut(&self, whom: &Whom) -> Gone {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let now = inner.turn.now();
        let meant = inner.slots.iter().filter(|(slot, session)| {
            let id = SessionId::new(inner.worker, Home::Pump, *slot, session.turn);
            whom.means(session.connected.listener(), Some(session.seat.id()), id)
        });
        let slots: Vec<usize> = meant.map(|(slot, _)| slot).collect();
        for slot in slots {
            inner.cut(slot, now);
        }
        mem::take(&mut inner.gone)
    }
}

impl Inner {
    /// Begins a session in the slot of a guest.
    fn begin(&mut self, slot: usize, mut tunnel: Tunnel) -> io::Result<()> {
        let turn = self.next_turn;
        self.next_turn = self.next_turn.wrapping_add(1);
        let to_upstream = mem::take(&mut tunnel.to_upstream);
        let to_client = mem::take(&mut tunnel.to_client);
        self.turn.look_at_the_clock(0);
        let mut session = Relayed::new(tunnel, self.turn.now, turn);
        let client = &session.halves[Direction::ToUpstream.index()];
        client.register(&self.registry, token(slot, Direction::ToUpstream))?;
        self.turn.with(|turn| {
            session.take_early(Direction::ToUpstream, &to_upstream, turn);
            session.take_early(Direction::ToClient, &to_client, turn);
        });
        if let Some(news) = self.slots.news(slot).filter(|news| news.is_any()) {
            // No edge will tell of it again; the turn for it comes with the client's first.
            let flow = session.flow(Direction::ToClient);
            (flow.readable, flow.hung_up) = (true, news.hung_up);
        }
        if session.is_unheard() {
            self.leaving.push((slot, turn));
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
        self.slots.begin(slot, session);
        Ok(())
    }

    fn facts(&self, slot: usize, session: &Relayed, now: Micros) -> Facts {
        let holding = match &session.counted {
            Some(counted) => Holding::Session(counted.kind()),
            None => Holding::Nothing,
        };
        let per_way =
            |f: &dyn Fn(Direction) -> u64| [f(Direction::ToUpstream), f(Direction::ToClient)];
        let idle = |way: Direction| {
            let last = session.traffic.of(way).last.max(session.began);
            Duration::from_micros(now.since(last))
        };
        Facts {
            id: SessionId::new(self.worker, Home::Pump, slot, session.turn),
            listener: session.connected.listener(),
            endpoint: Some(session.seat.id()),
            holding,
            client: session.client,
            key: session.key().cloned(),
            age: Duration::from_micros(now.since(session.began)),
            idle: [idle(Direction::ToUpstream), idle(Direction::ToClient)],
            bytes: per_way(&|way| session.flows[way.index()].bytes),
            messages: match session.speech {
                Speech::Bytes => [0; 2],
                Speech::Websocket => per_way(&|way| session.traffic.of(way).messages),
            },
            asked: !matches!(session.stay, Stay::Staying),
        }
    }

    /// Takes a session out that has ended.
    fn bury(&mut self, slot: usize, outcome: Outcome) {
        self.told += 1;
        self.note(slot);
        let Some(session) = self.slots.remove(slot) else {
            return;
        };
        let asked_since = session
            .asked_since()
            .filter(|_| !session.is_asked_by_limit());
        if let (Some(since), Some(_)) = (asked_since, &session.counted) {
            let took = self.turn.now().since(since);
            self.gone.took.push(Duration::from_micros(took));
        }
        session.end(outcome);
    }

    /// Notes what is to be told of a session that ends, where something is.
    fn note(&mut self, slot: usize) {
        let Some(session) = self.slots.get_mut(slot) else {
            return;
        };
        let counted = session.counted.as_mut();
        if counted.and_then(Counted::record).is_none() {
            return;
        }
        let facts = self.facts(slot, &self.slots[slot], self.turn.now());
        let session = &mut self.slots[slot];
        let code = session.own_close_code();
        if let Some(record) = session.counted.as_mut().and_then(Counted::record) {
            record.note(facts);
            record.close_code = record.close_code.or(code);
        }
    }

    /// Ends a session whose time is over.
    fn cut(&mut self, slot: usize, now: Micros) {
        let facts = self.facts(slot, &self.slots[slot], now);
        self.note(slot);
        let Some(mut session) = self.slots.remove(slot) else {
            return;
        };
        let why = session.why_still_here();
        let outcome = session.cut();
        let is_told = session.counted.is_some() && !session.is_asked_by_limit();
        if outcome == Outcome::Cut && is_told && self.gone.cut.len() < LISTED {
            self.gone.cut.push(CutSession { facts, why });
        }
        session.end(outcome);
    }

    /// Looks at those that were asked to go.
    fn look_at_the_leaving(&mut self) {
        let now = self.turn.now();
        let mut urgency = 0.0;
        let mut index = 0;
        let next = self.read_on + 1;
        self.read_on = 0;
        while let Some(&(slot, turn)) = self.leaving.get(index) {
            let verdict = match self.slots.get_mut(slot) {
                Some(session) if session.turn == turn => {
                    let verdict = session.consider(now, &mut self.turn.allowance);
                    urgency += session.urgency(now);
                    if self.read_on == 0 && index + 1 >= next && session.read_on() {
                        self.read_on = index + 1;
                        self.queue(slot);
                    }
                    verdict
                }
                _ => {
                    self.leaving.swap_remove(index);
                    continue;
                }
            };
            match verdict {
                Verdict::Stays => index += 1,
                Verdict::Left(outcome) => {
                    self.bury(slot, outcome);
                    self.leaving.swap_remove(index);
                }
                Verdict::TimeIsOver => {
                    self.cut(slot, now);
                    self.leaving.swap_remove(index);
                }
            }
        }
        self.turn.allowance.pass(now, urgency);
    }
}

#[cfg(test)]
pub(crate) mod tests;
