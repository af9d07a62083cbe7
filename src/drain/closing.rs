//! The closing stretch: its times, and the ticks at which sessions are asked to go.

use std::time::Duration;

use tokio::time::Instant;

use crate::session::{Deadline, Facts, SessionId, Workers};

use super::schedule::Schedule;
use super::witness::Witness;

/// How often somebody may be asked.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// How often the facts are asked for again: who has become quiet, who is new.
const REFRESH: Duration = Duration::from_secs(1);

/// The closing stretch of a drain.
pub(super) struct Closing {
    schedule: Schedule,
    deadline: Deadline,
    /// Kept at the end, so that the close handshake of the last one still fits.
    reserve: Duration,
    refreshed: Option<Instant>,
    /// As they were asked for last; kept only if somebody wants to hear who is asked to go.
    facts: Vec<Facts>,
}

impl Closing {
    /// A stretch from now to the deadline, with so long for a close handshake at most.
    pub(super) fn new(now: Instant, deadline: Deadline, close_timeout: Duration) -> Closing {
        let left = deadline.left(now);
        // In a short window the handshakes may not eat the spread.
        let reserve = close_timeout.min(left / 8);
        // Who is asked last still has time to wait for its moment.
        let end = now + (left - reserve).mul_f64(0.85);
        Closing {
            schedule: Schedule::new(now, end),
            deadline,
            reserve,
            refreshed: None,
            facts: Vec::new(),
        }
    }

    /// The deadline has moved earlier.
    pub(super) fn shorten(&mut self, now: Instant, deadline: Deadline) {
        let left = deadline.left(now);
        self.deadline = deadline;
        self.reserve = self.reserve.min(left / 8);
        self.schedule
            .shorten(now + (left - self.reserve).mul_f64(0.85));
        self.refreshed = None;
    }

    /// Asks those that are due.
    pub(super) async fn tick(&mut self, workers: &Workers, witness: &Witness) {
        let stale = self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH);
        if stale {
            let facts = workers.facts().await;
            let at_once = self.schedule.plan(&facts);
            if witness.wants_asked() {
                self.facts = facts;
            }
            self.ask(&at_once, workers, witness);
            self.refreshed = Some(Instant::now());
        }
        let due = self.schedule.due(Instant::now());
        self.ask(&due, workers, witness);
    }

    fn ask(&self, ids: &[SessionId], workers: &Workers, witness: &Witness) {
        if !ids.is_empty() {
            witness.tell_asked(&self.facts, ids);
            workers.leave(ids, self.deadline.at(), self.reserve);
        }
    }
}
