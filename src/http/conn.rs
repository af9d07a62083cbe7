//! A client's HTTP/1.1 connection as the registry sees it: at most one session at a time, and the
//! ways to ask it to go.

mod recorded;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::net::Tick;
use crate::net::proxy_protocol::Proxied;
use crate::session::{
    Connected, Counted, CutSession, Direction, EndpointId, Facts, Gone, Holding, Home, Kind,
    ListenerIndex, Outcome, Page, SessionId, Ticket, Whom, WorkerIndex,
};

/// How long a client has, after our FIN, to read what was sent and end its own side.
const LINGER: Duration = Duration::from_secs(1);

/// Where a connection stands between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Not a byte has come.
    Fresh,
    /// A head has begun.
    Head,
    /// A request is being answered.
    Busy,
    /// Kept alive between requests.
    Idle,
}

/// What the socket's side of a connection and its task tell each other.
///
/// hyper wants the socket's side `Send`, so these are atomics, though one thread uses them.
#[derive(Debug)]
pub(super) struct Wire {
    stage: AtomicU8,
    /// The tick of the last change of stage.
    since: AtomicU64,
    /// The tick of the last bytes, by direction.
    last: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    flushed: AtomicBool,
    expired: AtomicBool,
    /// Whether the client's going is to be noticed while it is answered.
    watched: AtomicBool,
    gone: AtomicBool,
    /// The tick since which the client takes nothing of what is written; zero while it does.
    blocked: AtomicU64,
    /// The tick of our FIN; zero before it.
    lingers: AtomicU64,
}

impl Wire {
    fn new() -> Wire {
        let now = Tick::now().as_millis();
        Wire {
            stage: AtomicU8::new(Stage::Fresh as u8),
            since: AtomicU64::new(now),
            last: [AtomicU64::new(now), AtomicU64::new(now)],
            bytes: Default::default(),
            flushed: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            lingers: AtomicU64::new(0),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Fresh,
            1 => Stage::Head,
            2 => Stage::Busy,
            _ => Stage::Idle,
        }
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.enter_at(stage, Tick::now());
    }

    fn enter_at(&self, stage: Stage, now: Tick) {
        self.stage.store(stage as u8, Ordering::Relaxed);
        self.since.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Notes bytes that came (0) or went (1).
    pub(super) fn moved(&self, direction: usize, n: u64) {
        let bytes = &self.bytes[direction];
        bytes.store(bytes.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        let now = Tick::now();
        self.last[direction].store(now.as_millis(), Ordering::Relaxed);
        if direction == 1 {
            self.blocked.store(0, Ordering::Relaxed);
        }
        if direction == 0 && matches!(self.stage(), Stage::Fresh | Stage::Idle) {
            self.enter_at(Stage::Head, now);
        }
    }

    /// Notes that the client does not take what is written.
    pub(super) fn note_blocked(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            let now = Tick::now().as_millis();
            self.blocked.store(now, Ordering::Relaxed);
        }
    }

    /// For how long the client has taken nothing of what waits for it; none if it does.
    fn blocked_for(&self) -> Option<Duration> {
        let since = self.blocked.load(Ordering::Relaxed);
        (since > 0).then(|| Tick::from_millis(since).elapsed())
    }

    /// Whether the client's time after our FIN is over, which begins when this is asked first.
    pub(super) fn has_lingered(&self) -> bool {
        if self.lingers.load(Ordering::Relaxed) == 0 {
            let now = Tick::now().as_millis();
            self.lingers.store(now, Ordering::Relaxed);
        }
        self.is_lingering_for_too_long()
    }

    fn is_lingering_for_too_long(&self) -> bool {
        let since = self.lingers.load(Ordering::Relaxed);
        since > 0 && Tick::from_millis(since).elapsed() >= LINGER
    }

    /// Notes that everything written so far is in the kernel's hands.
    pub(super) fn note_flush(&self) {
        self.flushed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Notes that a watched client has ended its side.
    pub(super) fn note_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    fn in_stage_for(&self) -> Duration {
        Tick::from_millis(self.since.load(Ordering::Relaxed)).elapsed()
    }

    fn idle(&self, direction: usize) -> Duration {
        Tick::from_millis(self.last[direction].load(Ordering::Relaxed)).elapsed()
    }
}

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
        self.wire
            .watched
            .store(kind == Kind::Sse, Ordering::Relaxed);
        if kind == Kind::Http {
            self.endpoint.set(None);
            self.turn.set(self.turn.get().wrapping_add(1));
            self.wire.enter(Stage::Busy);
        }
    }

    /// Notes whether a request's body is waited for.
    pub(super) fn owes_a_body(&self, owes: bool) {
        self.owes_a_body.set(owes);
    }

    /// Has the session that is about to open count.
    pub(super) fn hold(&self, ticket: Option<Box<Ticket>>) {
        self.ticket.replace(ticket);
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
        self.wire.flushed.store(false, Ordering::Relaxed);
        self.done.set(Some(outcome));
    }

    /// Ends the session whose response is in the kernel's hands.
    pub(super) fn settle(&self) {
        if self.done.get().is_some() && self.wire.flushed.load(Ordering::Relaxed) {
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
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// The kind of the session that is open.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.session.borrow().as_ref().map(Counted::kind)
    }

    /// The connection is over; `upgraded` if it goes on in the pump.
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

/// Cut sessions that are kept to be told of one by one.
const LISTED: usize = 100;

/// A place in [`Connections`]: taken out when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Connections,
    slot: usize,
    pub(super) conn: Rc<Conn>,
}

impl Seat {
    /// The connection has ended well: what was complete was also written.
    pub(super) fn ended_well(self) {
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
    pub(super) fn seat(
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
            bytes: [0, 1].map(|way| conn.wire.bytes[way].load(Ordering::Relaxed)),
            messages: [0; 2],
            asked: conn.told.get().is_some(),
        }
    }

    /// The facts of at most `limit` connections, from a slot on.
    pub fn list(&self, from: usize, limit: usize) -> Page {
        let conns = self.0.conns.borrow();
        let mut page = Page::default();
        for (slot, conn) in conns.iter().skip_while(|(slot, _)| *slot < from) {
            if page.facts.len() == limit {
                page.next = Some(slot);
                break;
            }
            page.facts.push(self.facts(slot, conn));
        }
        page
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
    pub fn sweep(&self, limits: impl Fn(ListenerIndex) -> Option<(Duration, Duration)>) {
        let now = Instant::now();
        for (slot, conn) in self.0.conns.borrow().iter() {
            if conn.wire.is_lingering_for_too_long() {
                conn.wake();
            }
            let Some((header_timeout, idle_timeout)) = limits(conn.listener) else {
                continue;
            };
            let age = conn.wire.in_stage_for();
            match conn.wire.stage() {
                Stage::Fresh | Stage::Head if age >= header_timeout => {
                    conn.wire.expired.store(true, Ordering::Relaxed);
                    conn.tell(Told::Leave);
                }
                Stage::Idle if age >= idle_timeout => conn.tell(Told::Leave),
                _ => {}
            }
            if conn.until.get().is_some_and(|until| now >= until) {
                self.cut_one(slot, conn);
            }
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
