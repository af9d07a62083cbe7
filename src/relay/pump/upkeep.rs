//! Once a second: sessions whose time is over are asked to go, and clients that do not read are
//! disconnected. Only where something of that kind is limited.

use std::time::Duration;

use crate::config::{Lifetime, ListenerLimits};
use crate::net::sockinfo;
use crate::session::{Direction, Home, ListenerIndex, Outcome, Refusal, SessionId};

use super::Pump;
use crate::relay::leave::{Limits, Stay};
use crate::relay::patience::{micros, spread};
use crate::relay::relayed::{Relayed, Speech};
use crate::relay::traffic::Micros;

/// The shortest time that a session has for its leave when its time is over.
const LEAVE: Duration = Duration::from_secs(30);

/// A session whose client does not read.
#[derive(Clone, Copy, Debug)]
pub struct Stalled {
    /// Which.
    pub id: SessionId,
    /// For how long.
    pub since: Duration,
    /// Bytes that are held for it.
    pub held: u64,
}

impl Pump {
    /// Asks those to go that have lived for too long, and ends those whose clients have not read for
    /// too long.
    pub fn upkeep<'l>(
        &self,
        limits: impl Fn(ListenerIndex) -> &'l ListenerLimits,
        close_timeout: Duration,
    ) {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let now = inner.turn.now();
        let terms = Limits {
            until: Micros(now.0 + micros(LEAVE.max(2 * close_timeout))),
            reserve: micros(close_timeout),
            close_timeout: micros(close_timeout),
        };
        let (mut asked, mut stalled) = (false, Vec::new());
        for (slot, session) in inner.slots.iter_mut() {
            let limits = limits(session.connected.listener());
            let life = match session.speech {
                Speech::Websocket => &limits.websocket,
                Speech::Bytes => &limits.tcp,
            };
            if life.is_bounded() && session.is_over(life, now) {
                session.ask(terms, now, true);
                inner.leaving.push((slot, session.turn));
                asked = true;
            }
            if let Some(limit) = limits.stalled_timeout
                && session.stalled_for().is_some_and(|since| since >= limit)
            {
                stalled.push(slot);
            }
        }
        for slot in stalled {
            inner.disconnect(slot, Refusal::Stalled);
        }
        if asked && let Some(waker) = &inner.waker {
            waker.wake_by_ref();
        }
    }

    /// Bytes that are held for clients that do not read.
    pub fn held(&self) -> u64 {
        let inner = self.inner.borrow();
        let sessions = inner.slots.iter();
        sessions.map(|(_, session)| session.held()).sum()
    }

    /// The sessions whose clients do not read.
    pub fn stalled(&self) -> Vec<Stalled> {
        let inner = self.inner.borrow();
        let sessions = inner.slots.iter();
        let stalled = sessions.filter_map(|(slot, session)| {
            Some(Stalled {
                id: SessionId::new(inner.worker, Home::Pump, slot, session.turn),
                since: session.stalled_for()?,
                held: session.held(),
            })
        });
        stalled.collect()
    }

    /// Ends a session whose client does not read.
    pub fn disconnect(&self, id: SessionId, why: Refusal) {
        let mut inner = self.inner.borrow_mut();
        let is_it = inner.slots.get(id.slot()).is_some_and(|session| {
            SessionId::new(inner.worker, Home::Pump, id.slot(), session.turn) == id
        });
        if is_it {
            inner.disconnect(id.slot(), why);
        }
    }
}

impl super::Inner {
    fn disconnect(&mut self, slot: usize, why: Refusal) {
        let session = &self.slots[slot];
        let ledger = session.connected.ledger();
        ledger.refused(session.connected.listener(), why);
        self.note(slot);
        let Some(mut session) = self.slots.remove(slot) else {
            return;
        };
        // The agent is told; the client would not read it, and what it has not read goes with it.
        let _ = session.cut();
        session.halves[Direction::ToUpstream.index()].abort();
        session.end(Outcome::Failed);
    }
}

impl Relayed {
    /// Whether the session has lived for too long, and nobody has asked it to go.
    fn is_over(&self, life: &Lifetime, now: Micros) -> bool {
        if !matches!(self.stay, Stay::Staying) {
            return false;
        }
        let last = self.flows.iter().enumerate().map(|(index, _)| {
            let way = Direction::ALL[index];
            self.traffic.of(way).last
        });
        let last = last.max().unwrap_or_default().max(self.began);
        let is_idle = life
            .idle_timeout
            .is_some_and(|limit| now.since(last) >= micros(limit));
        let is_old = life.max_age.is_some_and(|age| {
            let earlier = spread(self.turn, micros(age.mul_f64(life.jitter)));
            now.since(self.began) >= micros(age) - earlier
        });
        is_idle || is_old
    }

    /// For how long the client has taken nothing of what waits for it; none if nothing waits.
    fn stalled_for(&self) -> Option<Duration> {
        let client = &self.halves[Direction::ToUpstream.index()];
        self.waits(Direction::ToClient)
            .then(|| sockinfo::last_sent(client))?
    }

    fn held(&self) -> u64 {
        self.flows[Direction::ToClient.index()].held()
    }
}
