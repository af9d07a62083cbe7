//! When a task's protection is to be said, said again, and given back.

use std::time::Duration;

use tokio::time::Instant;

/// So long nothing must ask for the protection before it is given back: sessions come and go, and ECS
/// counts the calls.
const SETTLED: Duration = Duration::from_secs(5);

/// What the agent is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Protect the task, from now on for its time.
    Protect,
    /// Protect it no longer.
    Release,
}

/// What was said of the protection.
#[derive(Debug)]
pub(super) struct Protection {
    /// How long it holds each time.
    length: Duration,
    /// When it was last said, while it holds.
    said: Option<Instant>,
    /// Since when nothing asks for it, while it holds.
    unwanted: Option<Instant>,
}

impl Protection {
    /// Nothing said yet.
    pub(super) fn new(length: Duration) -> Protection {
        Protection {
            length,
            said: None,
            unwanted: None,
        }
    }

    /// What is to be said now, whether or not it is wanted; `over` waits for nothing more.
    pub(super) fn order(&mut self, now: Instant, wanted: bool, over: bool) -> Option<Order> {
        if wanted {
            self.unwanted = None;
            // Half of its time is left for what may go wrong with saying it again.
            let fresh = self.said.is_some_and(|said| now < said + self.length / 2);
            return (!fresh).then_some(Order::Protect);
        }
        self.said?;
        let unwanted = *self.unwanted.get_or_insert(now);
        (over || now >= unwanted + SETTLED).then_some(Order::Release)
    }

    /// The agent has taken an order that was given at this moment.
    pub(super) fn taken(&mut self, order: Order, at: Instant) {
        (self.said, self.unwanted) = match order {
            Order::Protect => (Some(at), None),
            Order::Release => (None, None),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(600);

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_said_at_once_and_again_when_half_is_over() {
        let start = Instant::now();
        let mut protection = Protection::new(LENGTH);
        assert_eq!(protection.order(start, false, false), None);
        assert_eq!(protection.order(start, true, false), Some(Order::Protect));
        // Until the agent has taken it, it has not been said.
        assert_eq!(protection.order(start, true, false), Some(Order::Protect));
        protection.taken(Order::Protect, start);
        assert_eq!(protection.order(start + secs(299), true, false), None);
        let again = start + secs(300);
        assert_eq!(protection.order(again, true, false), Some(Order::Protect));
        protection.taken(Order::Protect, again);
        assert_eq!(protection.order(again + secs(299), true, false), None);
    }

    #[test]
    fn it_is_given_back_when_it_is_not_wanted_for_a_while() {
        let start = Instant::now();
        let mut protection = Protection::new(LENGTH);
        protection.taken(Order::Protect, start);
        assert_eq!(protection.order(start + secs(10), false, false), None);
        assert_eq!(protection.order(start + secs(14), true, false), None);
        assert_eq!(protection.order(start + secs(16), false, false), None);
        assert_eq!(protection.order(start + secs(20), false, false), None);
        let idle = start + secs(21);
        assert_eq!(protection.order(idle, false, false), Some(Order::Release));
        protection.taken(Order::Release, idle);
        assert_eq!(protection.order(idle + secs(60), false, true), None);
    }

    #[test]
    fn it_is_given_back_at_once_when_all_is_over() {
        let start = Instant::now();
        let mut protection = Protection::new(LENGTH);
        protection.taken(Order::Protect, start);
        assert_eq!(protection.order(start, false, true), Some(Order::Release));
    }
}
