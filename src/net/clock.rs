//! The time as it is needed for timeouts: to a few milliseconds, and nearly for nothing.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment, as the kernel noted it at its last tick: 10 ms late at the most, and a tenth of the
/// cost of `Instant::now`. Of one process; it never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The last tick.
    pub fn now() -> Tick {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        let millis = time.tv_sec * 1_000 + time.tv_nsec / 1_000_000;
        Tick(u64::try_from(millis).unwrap_or(0))
    }

    /// How long ago it was, to the millisecond.
    pub fn elapsed(self) -> Duration {
        Tick::now().since(self)
    }

    /// How long after another it was; zero if it was not.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// As a number that [`Tick::from_millis`] takes.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// What [`Tick::as_millis`] gave.
    pub fn from_millis(millis: u64) -> Tick {
        Tick(millis)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_goes_with_the_exact_clock() {
        let (tick, exact) = (Tick::now(), Instant::now());
        while exact.elapsed() < Duration::from_millis(40) {
            std::hint::spin_loop();
        }
        let (coarse, exact) = (tick.elapsed(), exact.elapsed());
        let apart = coarse.abs_diff(exact);
        assert!(
            apart < Duration::from_millis(15),
            "{coarse:?} and {exact:?}"
        );
        assert_eq!(Tick::from_millis(tick.as_millis()), tick);
    }
}
