//! Holds: leases for work that no connection shows.
//!
//! Taken over the admin API, watched by the drain; workers never look here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::time::Instant;

/// The shortest time a hold may be taken for.
pub const SHORTEST_HOLD: Duration = Duration::from_secs(1);
/// The longest time a hold may be taken for without being prolonged.
pub const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// The most holds at once; whoever takes more has lost count of them.
const MOST: usize = 10_000;

/// One hold of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId(u64);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

impl FromStr for HoldId {
    type Err = UnknownHold;

    fn from_str(text: &str) -> Result<HoldId, UnknownHold> {
        let number = text.strip_prefix('h').and_then(|n| n.parse().ok());
        number.map(HoldId).ok_or(UnknownHold)
    }
}

/// No such hold is live: it was given back, or its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such hold; it was given back, or its time is over")]
pub struct UnknownHold;

/// Why a hold was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefused {
    /// The time is too short or too long.
    #[error("a hold is taken for {SHORTEST_HOLD:?} to {LONGEST_HOLD:?}")]
    Ttl,
    /// There are too many.
    #[error("{MOST} holds are live; give some back")]
    TooMany,
}

/// A hold as it is shown.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// Why it was taken.
    pub reason: String,
    /// When it was taken.
    pub taken: Instant,
    /// When it ends unless it is prolonged.
    pub expires: Instant,
}

/// The live holds, shared by whoever gives them out and whoever waits for them.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    live: Arc<DashMap<HoldId, Hold>>,
    next: Arc<AtomicU64>,
}

impl Holds {
    /// No holds.
    pub fn new() -> Holds {
        Holds::default()
    }

    /// Takes a hold.
    ///
    /// # Errors
    /// [`HoldRefused`] when the time is out of bounds or there are too many.
    pub fn take(&self, now: Instant, ttl: Duration, reason: &str) -> Result<Hold, HoldRefused> {
        check(ttl)?;
        self.expire(now);
        if self.live.len() >= MOST {
            return Err(HoldRefused::TooMany);
        }
        let id = HoldId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let reason = reason.to_owned();
        let hold = Hold {
            id,
            reason,
            taken: now,
            expires: now + ttl,
        };
        self.live.insert(id, hold.clone());
        Ok(hold)
    }

    /// Prolongs a hold: it ends `ttl` from now.
    ///
    /// # Errors
    /// [`UnknownHold`] inside when it is not live any more; [`HoldRefused`] for the time.
    pub fn prolong(
        &self,
        now: Instant,
        id: HoldId,
        ttl: Duration,
    ) -> Result<Result<Hold, UnknownHold>, HoldRefused> {
        check(ttl)?;
        Ok(match self.live.entry(id) {
            Entry::Occupied(mut hold) if hold.get().expires > now => {
                hold.get_mut().expires = now + ttl;
                Ok(hold.get().clone())
            }
            _ => Err(UnknownHold),
        })
    }

    /// Gives a hold back.
    ///
    /// # Errors
    /// [`UnknownHold`] when it is not live any more.
    pub fn give_back(&self, now: Instant, id: HoldId) -> Result<Hold, UnknownHold> {
        match self.live.remove(&id) {
            Some((_, hold)) if hold.expires > now => Ok(hold),
            _ => Err(UnknownHold),
        }
    }

    /// Drops the holds whose time is over, and tells which they were.
    pub fn expire(&self, now: Instant) -> Vec<Hold> {
        if self.live.is_empty() {
            return Vec::new();
        }
        let over = |hold: &Hold| hold.expires <= now;
        let expired: Vec<Hold> = self
            .live
            .iter()
            .filter(|hold| over(hold))
            .map(|hold| hold.clone())
            .collect();
        for hold in &expired {
            self.live.remove_if(&hold.id, |_, hold| over(hold));
        }
        expired
    }

    /// How many are live.
    pub fn live(&self, now: Instant) -> usize {
        self.live.iter().filter(|hold| hold.expires > now).count()
    }

    /// The live ones, oldest first.
    pub fn list(&self, now: Instant) -> Vec<Hold> {
        let mut holds: Vec<Hold> = self
            .live
            .iter()
            .filter(|hold| hold.expires > now)
            .map(|hold| hold.clone())
            .collect();
        holds.sort_by_key(|hold| hold.id);
        holds
    }
}

fn check(ttl: Duration) -> Result<(), HoldRefused> {
    if (SHORTEST_HOLD..=LONGEST_HOLD).contains(&ttl) {
        Ok(())
    } else {
        Err(HoldRefused::Ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_hold_lives_until_its_time_is_over() {
        let (holds, now) = (Holds::new(), Instant::now());
        let hold = holds.take(now, TTL, "indexing").unwrap();
        assert_eq!(holds.live(now + TTL - Duration::from_millis(1)), 1);
        assert_eq!(holds.live(now + TTL), 0);
        assert_eq!(holds.expire(now + TTL).len(), 1);
        assert_eq!(holds.give_back(now + TTL, hold.id).err(), Some(UnknownHold));
    }

    #[test]
    fn a_heartbeat_prolongs_it() {
        let (holds, now) = (Holds::new(), Instant::now());
        let hold = holds.take(now, TTL, "").unwrap();
        let later = now + Duration::from_secs(9);
        holds.prolong(later, hold.id, TTL).unwrap().unwrap();
        assert_eq!(holds.live(now + TTL), 1);
        let too_late = holds.prolong(later + TTL, hold.id, TTL).unwrap();
        assert_eq!(too_late.err(), Some(UnknownHold));
    }

    #[test]
    fn times_out_of_bounds_are_refused() {
        let (holds, now) = (Holds::new(), Instant::now());
        for ttl in [Duration::ZERO, LONGEST_HOLD + Duration::from_secs(1)] {
            assert_eq!(holds.take(now, ttl, "").err(), Some(HoldRefused::Ttl));
        }
    }
}
