//! The closing stretch: the ticks at which sessions are asked to go.

use std::time::Duration;

use tokio::time::Instant;

use crate::session::{Deadline, Facts, SessionId, Terms, Workers};

use super::schedule::{Limits, Schedule};
use super::witness::Witness;

/// How often somebody may be asked.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// How often the facts are asked for again: who has become quiet, who is new.
const REFRESH: Duration = Duration::from_secs(1);

/// The closing stretch of a drain.
pub(super) struct Closing {
    schedule: Schedule,
    deadline: Deadline,
    close_timeout: Duration,
    refreshed: Option<Instant>,
    /// As they were asked for last; kept only if somebody wants to hear who is asked to go.
    facts: Vec<Facts>,
}

impl Closing {
    /// A stretch from now to the deadline.
    pub(super) fn new(now: Instant, deadline: Deadline, limits: Limits) -> Closing {
        Closing {
            schedule: Schedule::new(now, deadline, limits),
            deadline,
            close_timeout: limits.close_timeout,
            refreshed: None,
            facts: Vec::new(),
        }
    }

    /// The deadline has moved earlier.
    pub(super) fn shorten(&mut self, now: Instant, deadline: Deadline) {
        self.deadline = deadline;
        self.schedule.shorten(now, deadline);
        self.refreshed = None;
    }

    /// Asks those that are due, among those that are `meant`.
    pub(super) async fn tick(
        &mut self,
        workers: &Workers,
        witness: &Witness,
        meant: impl Fn(&Facts) -> bool,
    ) {
        let stale = self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH);
        if stale {
            let mut plan = self.schedule.new_plan();
            self.facts.clear();
            let look = |facts: Facts| {
                if meant(&facts) {
                    plan.add(&facts);
                    if witness.wants_asked() {
                        self.facts.push(facts);
                    }
                }
            };
            workers.each(look).await;
            let at_once = self.schedule.adopt(plan);
            self.ask(&at_once, workers, witness);
            self.refreshed = Some(Instant::now());
        }
        let due = self.schedule.due(Instant::now());
        self.ask(&due, workers, witness);
    }

    fn ask(&self, ids: &[SessionId], workers: &Workers, witness: &Witness) {
        if !ids.is_empty() {
            witness.tell_asked(&self.facts, ids);
            let terms = Terms {
                until: self.deadline.at(),
                reserve: self.schedule.reserve(),
                close_timeout: self.close_timeout,
            };
            workers.leave(ids, terms);
        }
    }
}
