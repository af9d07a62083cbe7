//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits that double, each with a random part, so that many who failed together do not come back
/// together.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `first` up to `most`.
    pub(super) fn new(first: Duration, most: Duration) -> Backoff {
        Backoff {
            first,
            most,
            next: first,
        }
    }

    /// The next wait: between half of it and the whole.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Begins anew, after something went well.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A time between looks, a tenth shorter or longer, so that many processes do not look in step.
pub(super) fn jittered(every: Duration) -> Duration {
    every.mul_f64(0.9 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(4));
        let mut backoff = Backoff::new(first, most);
        for whole in [1, 2, 4, 4] {
            let whole = Duration::from_secs(whole);
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
