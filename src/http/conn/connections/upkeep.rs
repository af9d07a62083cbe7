//! Once a second, where something of that kind is limited: event streams whose time is over are
//! asked to go, and clients that send too slowly or do not read are disconnected.

use std::time::Duration;

use tokio::time::Instant;

use super::Connections;
use crate::config::{Lifetime, ListenerLimits, MIN_SPEED_OVER};
use crate::http::conn::{Conn, Pace, Stage, Told};
use crate::http::server::BUFFER;
use crate::net::Tick;
use crate::session::{Counted, Kind, ListenerIndex, Refusal, SessionId};

/// The shortest time that a stream has for its leave when its time is over.
const LEAVE: Duration = Duration::from_secs(30);
/// What hyper holds at most for a client that does not read.
const HELD: u64 = BUFFER as u64;

impl Connections {
    /// Asks those to go that have lived for too long, and ends those that are too slow.
    ///
    /// `between` is called between some of them and the next. It must not come back here.
    pub fn upkeep<'l>(
        &self,
        limits: impl Fn(ListenerIndex) -> &'l ListenerLimits,
        close_timeout: Duration,
        between: impl Fn(),
    ) {
        self.each(between, |_, conn| {
            let limits = limits(conn.listener);
            if limits.sse.is_bounded() && conn.is_over(&limits.sse) {
                conn.ask(Instant::now() + LEAVE.max(2 * close_timeout));
            }
            if let Some(speed) = limits.min_speed
                && conn.is_slow(speed)
            {
                conn.hurry(Refusal::MinSpeed);
            }
            if let Some(limit) = limits.stalled_timeout
                && conn.wire.blocked_for().is_some_and(|since| since >= limit)
            {
                conn.disconnect(Refusal::Stalled);
            }
        });
    }

    /// About how many bytes are held for clients that do not read.
    pub fn held(&self) -> u64 {
        let conns = self.0.conns.borrow();
        let blocked = conns
            .iter()
            .filter(|(_, conn)| conn.wire.blocked_for().is_some());
        blocked.count() as u64 * HELD
    }

    /// The connections whose clients do not read, for how long, and how much is held for each.
    pub fn stalled(&self) -> Vec<(SessionId, Duration, u64)> {
        let conns = self.0.conns.borrow();
        let stalled = conns
            .iter()
            .filter_map(|(slot, conn)| Some((self.id(slot, conn), conn.wire.blocked_for()?, HELD)));
        stalled.collect()
    }

    /// Ends a connection whose client does not read.
    pub fn disconnect(&self, id: SessionId, why: Refusal) {
        let conns = self.0.conns.borrow();
        if let Some(conn) = conns.get(id.slot())
            && self.id(id.slot(), conn) == id
        {
            conn.disconnect(why);
        }
    }
}

impl Conn {
    /// Whether this is an event stream that has lived for too long, and nobody has asked it to go.
    fn is_over(&self, life: &Lifetime) -> bool {
        let session = self.session.borrow();
        let stream = session.as_ref().filter(|it| it.kind() == Kind::Sse);
        if self.told.get().is_some() {
            return false;
        }
        let age = stream.map(Counted::opened).map(|opened| opened.elapsed());
        let is_idle = life.idle_timeout.is_some_and(|limit| {
            age.is_some_and(|age| age >= limit) && self.wire.idle(0).min(self.wire.idle(1)) >= limit
        });
        let is_old = life.max_age.is_some_and(|limit| {
            // Another part for each, by the moment at which it began.
            let part = f64::from(self.opened.elapsed().subsec_nanos() ^ self.turn.get()) / 1e9;
            let earlier = limit.mul_f64(life.jitter * part.fract());
            age.is_some_and(|age| age >= limit - earlier)
        });
        is_idle || is_old
    }

    /// Asks an event stream to go. An answer is not cut for being long.
    fn ask(&self, until: Instant) {
        if self.resumable.get() {
            self.until.set(Some(until));
        }
        self.tell(Told::Leave);
    }

    /// Whether a request has come too slowly for some time.
    fn is_slow(&self, speed: u64) -> bool {
        let owes = match self.wire.stage() {
            Stage::Head => true,
            Stage::Busy => self.owes_a_body.get(),
            Stage::Fresh | Stage::Idle => false,
        };
        let bytes = self.wire.bytes(0);
        let fresh = Pace {
            bytes,
            since: Tick::now(),
        };
        match self.pace.get() {
            _ if !owes => self.pace.set(None),
            Some(pace) if pace.since.elapsed() >= MIN_SPEED_OVER => {
                self.pace.set(Some(fresh));
                return bytes - pace.bytes < speed.saturating_mul(MIN_SPEED_OVER.as_secs());
            }
            Some(_) => {}
            None => self.pace.set(Some(fresh)),
        }
        false
    }

    /// Ends a request that comes too slowly; one whose head is not there yet is answered with a 408.
    fn hurry(&self, why: Refusal) {
        if self.wire.stage() != Stage::Head {
            return self.disconnect(why);
        }
        if !self.wire.expire() {
            self.refuse(why);
            self.tell(Told::Leave);
        }
    }

    fn refuse(&self, why: Refusal) {
        if let Some(connected) = &*self.connected.borrow() {
            connected.ledger().refused(self.listener, why);
        }
    }

    fn disconnect(&self, why: Refusal) {
        if self.told.get() == Some(Told::Cut) {
            return;
        }
        self.refuse(why);
        self.tell(Told::Cut);
    }
}
