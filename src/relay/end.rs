//! How a relayed session ends by itself: an end is passed on as an end, a reset as a reset, and who has
//! been told everything is not waited for.
//!
//! What a session does that was asked to go stands in `leave.rs`.

use crate::net::sockinfo;
use crate::session::{Direction, Outcome};

use super::half::Half;
use super::leave::Stay;
use super::relayed::{Relayed, Speech, back};

impl Relayed {
    /// A half of which the kernel says that it was reset, though its end was read before.
    pub(super) fn note_reset(&mut self, side: usize) {
        self.dead[side] = true;
    }

    /// The source of `way` was reset; the other side is told as a reset tells it.
    pub(super) fn reset_by(&mut self, way: Direction) -> Outcome {
        if let Some(outcome) = self.reset_while_leaving(way) {
            return outcome;
        }
        let survivor = &self.halves[back(way).index()];
        self.lose(way, sockinfo::unacknowledged(survivor));
        survivor.abort();
        Outcome::Failed
    }

    /// Passes an end on once everything before it is written, and says whether all is over.
    pub(super) fn conclusion(&mut self) -> Option<Outcome> {
        if self.is_closing_enough() {
            return Some(self.natural_outcome());
        }
        for way in [Direction::ToUpstream, Direction::ToClient] {
            let flow = &self.flows[way.index()];
            if flow.ended && !flow.finished && !self.waits(way) {
                self.finish(way);
            }
        }
        if let Some(outcome) = self.left() {
            return Some(outcome);
        }
        let over = self.flows.iter().all(|flow| flow.ended && flow.finished);
        let over = over && !self.halves.iter().any(Half::has_unsent);
        let over = over || self.is_over_but_for_the_clients_end();
        over.then(|| self.natural_outcome())
    }

    /// Whether both sides have ended and have been sent everything, so that a close tells them the rest:
    /// with nothing unread it is a FIN.
    fn is_closing_enough(&self) -> bool {
        self.flows.iter().all(|flow| flow.ended) && self.is_plain_and_stays() && !self.any_waits()
    }

    /// Whether the agent has ended behind both sides' Closes: its end was passed on, and what a client would
    /// say behind its own is no message (RFC 6455 5.5.1).
    fn is_over_but_for_the_clients_end(&self) -> bool {
        let [client, agent] = &self.flows;
        agent.ended
            && agent.finished
            && client.boundary.close_complete()
            && !client.readable
            && self.has_boundaries()
            && self.is_plain_and_stays()
            && !self.any_waits()
    }

    fn is_plain_and_stays(&self) -> bool {
        matches!(self.stay, Stay::Staying) && !self.halves.iter().any(Half::is_tls)
    }

    fn any_waits(&self) -> bool {
        self.waits(Direction::ToUpstream) || self.waits(Direction::ToClient)
    }

    /// Tells the destination of `way` that nothing more will come.
    pub(super) fn finish(&mut self, way: Direction) {
        self.say_goodbye_before_the_end(way);
        if self.waits(way) {
            return;
        }
        self.halves[back(way).index()].finish();
        let flow = self.flow(way);
        flow.finished = true;
        flow.muted = true;
    }

    fn natural_outcome(&self) -> Outcome {
        let polite = match self.speech {
            Speech::Bytes => true,
            Speech::Websocket => self.flows.iter().any(|flow| flow.boundary.close_seen()),
        };
        match (&self.stay, polite) {
            (Stay::Leaving(_), _) => Outcome::Closed,
            // Its client was told, and went by itself.
            (_, true) if self.has_announced() => Outcome::Closed,
            (_, true) => Outcome::Finished,
            (_, false) => Outcome::Failed,
        }
    }

    /// Ends the session in the ledger; what it still held is counted as undelivered.
    pub(super) fn end(mut self, outcome: Outcome) {
        for way in [Direction::ToUpstream, Direction::ToClient] {
            let mut lost = self.flow(way).give_up();
            lost += self.halves[back(way).index()].give_up();
            if let Some(meter) = self.meter_mut() {
                lost += meter.held(way).len() as u64;
                meter.clear(way);
            }
            if outcome != Outcome::Finished {
                lost += self.halves[way.index()].unread();
            }
            self.lose(way, lost);
        }
        if let Some(counted) = self.counted.take() {
            counted.end(outcome);
        }
    }
}
