//! Who is asked to go, and when: quiet sessions first, raw TCP last, the rate even over what is
//! left of the window. Pure: time and facts in, ids out.
//!
//! The rate follows what happens. Who goes by itself need not be asked, so the others are asked
//! more slowly; when those that were asked are slow to go, the rest is asked sooner, so that the
//! last of them has as long.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::{Deadline, Facts, Holding, Kind, SessionId};

/// So long without a byte is a quiet session.
const QUIET: Duration = Duration::from_secs(1);
/// The part of the time there is in which everybody is asked; who is asked last still has the rest
/// to wait for a good moment in.
const ASKING: f64 = 0.85;
/// The part of the time left that sessions which are slow to go can move the last question by.
const MOST_LATENESS: f64 = 0.5;
/// The part of a window that is kept for the last close handshakes, at the most.
const RESERVE_PARTS: u32 = 8;

/// What bounds a spread.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest that a close handshake takes.
    pub close_timeout: Duration,
    /// How long before its Close a session hears of it, where it does.
    pub ahead: Duration,
    /// The most sessions that have been asked and are not gone, as long as the window suffices.
    pub at_once: usize,
}

/// The even spread of one drain's closings.
#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    deadline: Deadline,
    /// Kept at the end, so that the close handshake of the last one still fits.
    reserve: Duration,
    /// The last moment at which somebody is asked, if those who are asked go at once.
    end: Instant,
    /// Fractions of a session that are due.
    credit: f64,
    last: Instant,
    /// How many of those that were asked were still there when the facts came, or were asked since.
    going: usize,
    /// Those to be asked, the next one last.
    waiting: Vec<Candidate>,
}

/// A session that is to be asked: no more is kept of thousands of them.
#[derive(Debug)]
struct Candidate {
    rank: Rank,
    id: SessionId,
    /// Whose it is, as a number.
    client: u64,
    /// Where in its class, from 0 to 1.
    place: f32,
}

/// The place in the order: the least goes first.
type Rank = (Class, u8, Reverse<u32>);

/// What comes before everything else in the order: raw TCP goes last, and within the rest who is
/// quiet goes first.
type Class = (bool, bool);

/// Who is there, as it is taken down.
#[derive(Debug, Default)]
pub struct Plan {
    at_once: Vec<SessionId>,
    going: usize,
    waiting: Vec<Candidate>,
    hasher: RandomState,
}

impl Plan {
    /// Takes one down.
    pub fn add(&mut self, facts: &Facts) {
        if facts.asked {
            self.going += usize::from(goes_by_asking(facts));
        } else if facts.holding == Holding::Session(Kind::Http) {
            self.at_once.push(facts.id);
        } else {
            self.waiting.push(Candidate {
                rank: rank(facts),
                id: facts.id,
                client: self.hasher.hash_one(facts.client_key_or_addr()),
                place: 0.0,
            });
        }
    }
}

impl Schedule {
    /// A spread from `now` over the time to the deadline.
    pub fn new(now: Instant, deadline: Deadline, limits: Limits) -> Schedule {
        let mut schedule = Schedule {
            limits,
            deadline,
            reserve: limits.close_timeout,
            end: deadline.at(),
            credit: 1.0,
            last: now,
            going: 0,
            waiting: Vec::new(),
        };
        schedule.shorten(now, deadline);
        schedule
    }

    /// The deadline has moved earlier.
    pub fn shorten(&mut self, now: Instant, deadline: Deadline) {
        self.deadline = self.deadline.sooner(deadline);
        let left = self.deadline.left(now);
        // In a short window the handshakes may not eat the spread.
        self.reserve = self.reserve.min(left / RESERVE_PARTS);
        let left = left - self.reserve;
        // Who is asked last hears of it as long before as all others, and still waits for a moment.
        let ahead = left.saturating_sub(2 * self.limits.ahead).max(left / 2);
        self.end = self.end.min(now + left.mul_f64(ASKING).min(ahead));
    }

    /// Kept at the end for a close handshake.
    pub fn reserve(&self) -> Duration {
        self.reserve
    }

    /// A plan to put everybody into who is there.
    pub fn new_plan(&mut self) -> Plan {
        self.going = 0;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.clear();
        Plan {
            waiting,
            ..Plan::default()
        }
    }

    /// Goes by this plan from now on; what is returned are those to be asked at once: requests in
    /// flight, which finish, and whose connection is not used again.
    pub fn adopt(&mut self, plan: Plan) -> Vec<SessionId> {
        let Plan {
            at_once,
            going,
            mut waiting,
            ..
        } = plan;
        waiting.sort_unstable_by_key(|candidate| candidate.rank);
        set_apart(&mut waiting);
        waiting.reverse();
        (self.waiting, self.going) = (waiting, going);
        at_once
    }

    /// Those that are due now.
    pub fn due(&mut self, now: Instant) -> Vec<SessionId> {
        let left = self
            .end()
            .saturating_duration_since(self.last)
            .as_secs_f64();
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        if self.waiting.is_empty() {
            self.credit = 1.0;
            return Vec::new();
        }
        let waiting = self.waiting.len() as f64;
        self.credit += if passed >= left {
            waiting
        } else {
            waiting * passed / left
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a credit is never negative, and its fraction is kept"
        )]
        let due = (self.credit as usize).min(self.waiting.len());
        let due = due.min(self.room(left));
        // What the limit held back is not made up for at once: the rate follows by itself.
        self.credit = (self.credit - due as f64).min(1.0);
        self.going += due;
        let asked = self.waiting.drain(self.waiting.len() - due..);
        asked.map(|candidate| candidate.id).collect()
    }

    /// When the last is asked: earlier by as long as those that are asked take to go. How long that
    /// is follows from their number and the rate at which they are asked (Little's law).
    fn end(&self) -> Instant {
        let left = self.end.saturating_duration_since(self.last);
        if self.waiting.is_empty() || left.is_zero() {
            return self.end;
        }
        let takes = left.mul_f64(self.going as f64 / self.waiting.len() as f64);
        let slack = self.deadline.at() - self.reserve - self.end;
        let sooner = takes.saturating_sub(slack).min(left.mul_f64(MOST_LATENESS));
        self.end - sooner
    }

    /// How many more may be asked with so many seconds left: as many as the limit says, or as many
    /// as have to be if each takes as long to go as it may.
    fn room(&self, left: f64) -> usize {
        let waiting = self.waiting.len() as f64;
        let rounds = left / self.limits.close_timeout.as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of sessions, rounded up; a float too large for it saturates"
        )]
        let needed = (waiting / rounds.max(0.001)).ceil() as usize;
        let limit = self.limits.at_once.max(needed);
        limit.saturating_sub(self.going)
    }
}

/// Those who go when a share of all is drained: of each kind that part, the quiet ones first.
/// Requests in flight are over soon anyway.
pub fn choose(facts: Vec<Facts>, share: f64) -> Vec<Facts> {
    let mut by_kind: BTreeMap<Option<Kind>, Vec<Facts>> = BTreeMap::new();
    for facts in facts.into_iter().filter(|facts| !facts.asked) {
        let kind = match facts.holding {
            Holding::Session(Kind::Http) => continue,
            Holding::Session(kind) => Some(kind),
            Holding::Nothing => None,
        };
        by_kind.entry(kind).or_default().push(facts);
    }
    let chosen = by_kind.into_values().flat_map(|mut of_kind| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a length is a length"
        )]
        let part = (of_kind.len() as f64 * share).ceil() as usize;
        of_kind.sort_by_key(rank);
        of_kind.truncate(part);
        of_kind
    });
    chosen.collect()
}

/// Whether a session goes because it is asked: a request in flight goes when it is answered, and a
/// raw connection when both its sides have said what they had to say.
fn goes_by_asking(facts: &Facts) -> bool {
    matches!(
        facts.holding,
        Holding::Session(Kind::Websocket | Kind::Sse | Kind::Grpc)
    )
}

/// Keeps the order of the classes, and within each puts the sessions of one client as far apart as
/// they go: whoever has many loses them one by one.
fn set_apart(sorted: &mut [Candidate]) {
    for class in sorted.chunk_by_mut(|a, b| a.rank.0 == b.rank.0) {
        let mut of_client: HashMap<u64, (u32, u32)> = HashMap::new();
        for candidate in class.iter() {
            of_client.entry(candidate.client).or_default().0 += 1;
        }
        let all = class.len() as f32;
        for (index, candidate) in class.iter_mut().enumerate() {
            let (count, seen) = of_client.entry(candidate.client).or_default();
            *seen += 1;
            candidate.place = match *count {
                1 => (index as f32 + 0.5) / all,
                count => (*seen as f32 - 0.5) / count as f32,
            };
        }
        class.sort_unstable_by(|a, b| a.place.total_cmp(&b.place));
    }
}

fn rank(facts: &Facts) -> Rank {
    let is_tcp = facts.holding == Holding::Session(Kind::Tcp);
    let kind = match facts.holding {
        Holding::Nothing => 0,
        Holding::Session(Kind::Sse | Kind::Websocket) => 1,
        Holding::Session(Kind::Http | Kind::Grpc) => 2,
        Holding::Session(Kind::Tcp) => 3,
    };
    let quiet = u32::try_from(facts.quiet().as_millis()).unwrap_or(u32::MAX);
    ((is_tcp, facts.quiet() < QUIET), kind, Reverse(quiet))
}
