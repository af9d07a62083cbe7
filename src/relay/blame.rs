//! Why a session that is cut was still there, and on whom it waited: as the state of its two flows
//! tells.

use std::time::Duration;

use crate::net::sockinfo;
use crate::session::Direction;

use super::leave::{Stay, way_to};
use super::moment::First;
use super::relayed::{Relayed, back};

/// So long without taking a byte of what waits for it is a side that does not read.
const STALLED: Duration = Duration::from_millis(250);

impl Relayed {
    /// What a session that is cut had not done, in words.
    pub(super) fn why_still_here(&self) -> &'static str {
        let told_first = match &self.stay {
            Stay::Staying => return "was not asked to go before the deadline",
            Stay::Asked(_) => None,
            Stay::Leaving(leaving) => Some(leaving.first),
        };
        // Before anything else: who does not read has not heard what it was told, and the words
        // of the other side, be it an answer, stand behind what it does not read.
        for side in [First::Client, First::Agent] {
            if self.is_stalled(way_to(side)) {
                return match side {
                    First::Client => "the client did not read what it was sent",
                    First::Agent => "the agent did not read what it was sent",
                };
            }
        }
        // Who was told first, and has answered, is waited for no more.
        let order = match told_first {
            Some(First::Agent) => [First::Agent, First::Client],
            _ => [First::Client, First::Agent],
        };
        let owes = order.into_iter().find(|side| self.owes_an_answer(*side));
        match (owes, self.has_boundaries()) {
            (Some(First::Client), true) => "the client did not answer the Close",
            (Some(First::Agent), true) => "the agent did not answer the Close",
            (Some(First::Client), false) => "the client did not end its side",
            (Some(First::Agent), false) => "the agent did not end its side",
            (None, true) if told_first.is_none() => "never stood between two messages",
            (None, false) if told_first.is_none() => "was never quiet",
            (None, _) => "did not end in time",
        }
    }

    /// Whether the destination of `way` does not take what waits for it.
    fn is_stalled(&self, way: Direction) -> bool {
        let destination = &self.halves[back(way).index()];
        let waits = self.waits(way);
        waits && sockinfo::last_sent(destination).is_none_or(|ago| ago >= STALLED)
    }

    /// Whether a side was told, by us or by the other side's own Close or end, and has not said
    /// its own.
    fn owes_an_answer(&self, side: First) -> bool {
        let to_it = &self.flows[way_to(side).index()];
        let its_words = &self.flows[back(way_to(side)).index()];
        let told = to_it.muted || to_it.finished || to_it.boundary.close_complete();
        told && !its_words.boundary.close_complete() && !its_words.ended
    }
}
