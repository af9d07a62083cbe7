//! The hold that a call is kept alive by: without it a drain could be over before the agent has had
//! its say.

use std::time::Duration;

use tokio::time::Instant;

use crate::session::{
    Hold, HoldId, HoldRefused, Holds, LONGEST_HOLD, Phase, SHORTEST_HOLD, UnknownHold,
};

/// A call gives its hold back, so the hold may last a little longer: it ends by itself only if the
/// calls have stopped being made.
const SLACK: Duration = Duration::from_secs(1);

/// A hold for the length of a call. Whoever has it gives it back or prolongs it.
pub(super) struct Lease {
    holds: Holds,
    /// None if there were too many holds already, any of which keeps the drain from being over.
    id: Option<HoldId>,
    reason: String,
}

impl Lease {
    /// A hold for a call that may take so long.
    pub(super) fn take(holds: &Holds, phase: Phase, limit: Duration) -> Lease {
        let ttl = limit
            .saturating_add(SLACK)
            .clamp(SHORTEST_HOLD, LONGEST_HOLD);
        let reason = format!("hook {phase}");
        let hold = holds.take(Instant::now(), ttl, &reason);
        Lease {
            holds: holds.clone(),
            id: hold.ok().map(|hold| hold.id),
            reason,
        }
    }

    /// The agent wants no time.
    pub(super) fn give_back(self, now: Instant) {
        if let Some(id) = self.id {
            // The agent may have done so itself: the id stands in the status.
            let _ = self.holds.give_back(now, id);
        }
    }

    /// The agent wants so long from now.
    ///
    /// # Errors
    /// When that is too short or too long; then it is given back.
    pub(super) fn prolong(self, now: Instant, ttl: Duration) -> Result<Hold, HoldRefused> {
        let prolonged = match self.id {
            Some(id) => self.holds.prolong(now, id, ttl),
            None => Ok(Err(UnknownHold)),
        };
        match prolonged {
            Ok(Ok(hold)) => Ok(hold),
            Ok(Err(UnknownHold)) => self.holds.take(now, ttl, &self.reason),
            Err(refused) => {
                self.give_back(now);
                Err(refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn lease(holds: &Holds) -> Lease {
        Lease::take(holds, Phase::Closing, LIMIT)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_holds_the_drain_for_as_long_as_it_may_take() {
        let holds = Holds::new();
        let lease = lease(&holds);
        tokio::time::advance(LIMIT).await;
        assert_eq!(holds.live(Instant::now()), 1);
        lease.give_back(Instant::now());
        assert_eq!(holds.live(Instant::now()), 0);
        // Whatever the limit, a hold has bounds.
        for limit in [Duration::from_millis(1), Duration::from_secs(86_400)] {
            let lease = Lease::take(&holds, Phase::LameDuck, limit);
            assert_eq!(holds.live(Instant::now()), 1, "{limit:?}");
            lease.give_back(Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_agent_wants_counts_from_its_answer() {
        let holds = Holds::new();
        let lease = lease(&holds);
        tokio::time::advance(LIMIT).await;
        let ttl = Duration::from_secs(20);
        let hold = lease.prolong(Instant::now(), ttl).unwrap();
        assert_eq!(hold.reason, "hook closing");
        tokio::time::advance(ttl - Duration::from_millis(1)).await;
        assert_eq!(holds.live(Instant::now()), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(holds.live(Instant::now()), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_of_bounds_holds_nothing() {
        for ttl in [
            Duration::from_millis(999),
            LONGEST_HOLD + Duration::from_secs(1),
        ] {
            let holds = Holds::new();
            let refused = lease(&holds).prolong(Instant::now(), ttl);
            assert_eq!(refused.err(), Some(HoldRefused::Ttl));
            assert_eq!(holds.live(Instant::now()), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_the_agent_gave_back_meanwhile_is_taken_anew() {
        let holds = Holds::new();
        let lease = lease(&holds);
        let id = holds.list(Instant::now())[0].id;
        holds.give_back(Instant::now(), id).unwrap();
        lease.prolong(Instant::now(), LIMIT).unwrap();
        assert_eq!(holds.live(Instant::now()), 1);
    }
}
