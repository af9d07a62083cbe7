//! The line in the log that says that sessions are refused: at most one a second for each reason.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::{ListenerIndex, Refusal, Roster};

/// The listeners' names, and when each reason was told last. Shared by all workers.
#[derive(Debug)]
pub struct Complaints {
    roster: Roster,
    begun: Instant,
    /// In milliseconds; zero is never.
    told: [AtomicU64; Refusal::COUNT],
    /// Refusals since.
    untold: [AtomicU64; Refusal::COUNT],
}

const SECOND: u64 = 1_000;

impl Complaints {
    /// Nothing told yet.
    pub fn new(roster: Roster) -> Complaints {
        Complaints {
            roster,
            begun: Instant::now(),
            told: Default::default(),
            untold: Default::default(),
        }
    }

    /// Tells that a listener has refused something, unless it was told just now.
    pub(super) fn refused(&self, listener: ListenerIndex, why: Refusal) {
        if let Some(times) = self.is_due(why) {
            let listener = self.roster.name(listener);
            tracing::info!(listener, reason = why.label(), times, "refused");
        }
    }

    /// How often it has happened since it was told, if it is to be told now.
    fn is_due(&self, why: Refusal) -> Option<u64> {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = now + SECOND;
        let times = self.untold[why.index()].fetch_add(1, Ordering::Relaxed) + 1;
        let told = &self.told[why.index()];
        let last = told.load(Ordering::Relaxed);
        let (order, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let due = now.saturating_sub(last) >= SECOND;
        let mine = due && told.compare_exchange(last, now, order, failed).is_ok();
        if mine {
            self.untold[why.index()].fetch_sub(times, Ordering::Relaxed);
        }
        mine.then_some(times)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_reason_is_told_once_a_second_with_its_number() {
        let complaints = Complaints::new(Roster::new([]));
        assert_eq!(complaints.is_due(Refusal::Sessions), Some(1));
        for _ in 0..7 {
            assert_eq!(complaints.is_due(Refusal::Sessions), None);
        }
        assert_eq!(complaints.is_due(Refusal::RequestRate), Some(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(complaints.is_due(Refusal::Sessions), Some(8));
        assert_eq!(complaints.is_due(Refusal::Sessions), None);
    }
}
