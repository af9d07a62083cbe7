//! How many calls the API takes: a token bucket for all of them together.
//!
//! It shares its thread with health, which must answer whatever a client of the API does.

use tokio::time::Instant;

/// Calls a second. A hundred agents that prolong a hold every second, beside a dashboard, are below
/// it; a loop without a pause is not.
const RATE: f64 = 100.0;
/// Calls at once, after a silence: a crowd that starts together.
const BURST: f64 = 200.0;

/// The bucket. Time is its caller's.
#[derive(Debug)]
pub struct Bucket {
    calls: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(now: Instant) -> Bucket {
        Bucket {
            calls: BURST,
            filled: now,
        }
    }

    /// Takes a call out; false if there is none left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled);
        self.calls = BURST.min(self.calls + since.as_secs_f64() * RATE);
        self.filled = self.filled.max(now);
        let granted = self.calls >= 1.0;
        if granted {
            self.calls -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(bucket: &mut Bucket, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| bucket.take(now)).count()
    }

    #[test]
    fn a_burst_is_granted_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert_eq!(taken(&mut bucket, start, 300), 200);
        let second = start + Duration::from_secs(1);
        assert_eq!(taken(&mut bucket, second, 300), 100);
        let half = second + Duration::from_millis(505);
        assert_eq!(taken(&mut bucket, half, 300), 50);
    }

    #[test]
    fn silence_fills_it_no_further_than_to_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(taken(&mut bucket, later, 500), 200);
        // A clock that is read out of order gives nothing twice.
        assert_eq!(taken(&mut bucket, start, 500), 0);
        assert_eq!(taken(&mut bucket, later, 500), 0);
    }

    #[test]
    fn a_steady_caller_below_the_rate_is_never_refused() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for call in 0..5_000_u64 {
            assert!(
                bucket.take(start + Duration::from_micros(call * 10_100)),
                "{call}"
            );
        }
    }
}
