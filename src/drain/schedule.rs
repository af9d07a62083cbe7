//! Who is asked to go, and when: quiet sessions first, raw TCP last, the rate even over what is
//! left of the window. Pure: time and facts in, ids out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::{Client, Facts, Holding, Kind, SessionId};

/// So long without a byte is a quiet session.
const QUIET: Duration = Duration::from_secs(1);

/// The even spread of one drain's closings.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The last moment at which somebody is asked.
    end: Instant,
    /// Fractions of a session that are due.
    credit: f64,
    last: Instant,
    asked: HashSet<SessionId>,
    /// Those to be asked, the next one last.
    waiting: Vec<SessionId>,
}

impl Schedule {
    /// A spread from `now` to `end`.
    pub(super) fn new(now: Instant, end: Instant) -> Schedule {
        Schedule {
            end,
            credit: 1.0,
            last: now,
            asked: HashSet::new(),
            waiting: Vec::new(),
        }
    }

    /// The deadline has moved earlier.
    pub(super) fn shorten(&mut self, end: Instant) {
        self.end = self.end.min(end);
    }

    /// Puts those that have not been asked into order. Requests in flight are told at once: they
    /// finish, and their connection is not used again.
    pub(super) fn plan(&mut self, facts: &[Facts]) -> Vec<SessionId> {
        let new = |facts: &&Facts| !facts.asked && !self.asked.contains(&facts.id);
        let in_flight = |facts: &Facts| facts.holding == Holding::Session(Kind::Http);
        let at_once: Vec<_> = facts
            .iter()
            .filter(new)
            .filter(|f| in_flight(f))
            .map(|f| f.id)
            .collect();
        let mut rest: Vec<_> = facts.iter().filter(new).filter(|f| !in_flight(f)).collect();
        rest.sort_by_key(|facts| rank(facts));
        self.waiting = apart(&rest);
        self.waiting.reverse();
        self.asked.extend(&at_once);
        at_once
    }

    /// Those that are due now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<SessionId> {
        let left = self.end.saturating_duration_since(self.last).as_secs_f64();
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
        self.credit -= due as f64;
        let ids = self.waiting.split_off(self.waiting.len() - due);
        self.asked.extend(&ids);
        ids
    }
}

/// What comes before everything else in the order: raw TCP goes last, and within the rest who is
/// quiet goes first.
fn class(facts: &Facts) -> (bool, bool) {
    let is_tcp = facts.holding == Holding::Session(Kind::Tcp);
    (is_tcp, facts.quiet() < QUIET)
}

/// Keeps the order of the classes, and within each puts the sessions of one client as far apart as
/// they go: whoever has many loses them one by one.
fn apart(sorted: &[&Facts]) -> Vec<SessionId> {
    let mut ids = Vec::with_capacity(sorted.len());
    for class in sorted.chunk_by(|a, b| class(a) == class(b)) {
        let mut of_client: HashMap<Client<'_>, (usize, usize)> = HashMap::new();
        for facts in class {
            of_client.entry(facts.client_key_or_addr()).or_default().0 += 1;
        }
        let mut places: Vec<_> = class
            .iter()
            .enumerate()
            .map(|(index, facts)| {
                let (count, seen) = of_client.entry(facts.client_key_or_addr()).or_default();
                *seen += 1;
                let place = match *count {
                    1 => (index as f64 + 0.5) / class.len() as f64,
                    count => (*seen as f64 - 0.5) / count as f64,
                };
                (place, facts.id)
            })
            .collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        ids.extend(places.into_iter().map(|(_, id)| id));
    }
    ids
}

/// The place in the order: the least goes first.
fn rank(facts: &Facts) -> (bool, bool, u8, std::cmp::Reverse<Duration>) {
    let kind = match facts.holding {
        Holding::Nothing => 0,
        Holding::Session(Kind::Sse | Kind::Websocket) => 1,
        Holding::Session(Kind::Http | Kind::Grpc) => 2,
        Holding::Session(Kind::Tcp) => 3,
    };
    let (is_tcp, is_lively) = class(facts);
    (is_tcp, is_lively, kind, std::cmp::Reverse(facts.quiet()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Home, ListenerIndex, WorkerIndex};

    fn session(slot: usize, kind: Kind, idle: Duration) -> Facts {
        Facts {
            id: SessionId::new(WorkerIndex(0), Home::Pump, slot, 0),
            listener: ListenerIndex(0),
            holding: Holding::Session(kind),
            client: ([127, 0, 0, 1], 1).into(),
            key: None,
            age: idle,
            idle: [idle; 2],
            bytes: [0; 2],
            messages: [0; 2],
            asked: false,
        }
    }

    fn run(count: usize, window: Duration, tick: Duration) -> Vec<(Duration, SessionId)> {
        let facts: Vec<_> = (0..count)
            .map(|i| session(i, Kind::Websocket, Duration::from_millis(i as u64)))
            .collect();
        let start = Instant::now();
        let mut schedule = Schedule::new(start, start + window);
        assert!(schedule.plan(&facts).is_empty());
        let mut asked = Vec::new();
        let mut now = start;
        while now <= start + window {
            asked.extend(schedule.due(now).into_iter().map(|id| (now - start, id)));
            now += tick;
        }
        asked
    }

    #[test]
    fn everybody_is_asked_once_and_in_time() {
        for count in [1, 2, 7, 1_000, 9_000] {
            let asked = run(count, Duration::from_secs(20), Duration::from_millis(20));
            let ids: HashSet<_> = asked.iter().map(|(_, id)| *id).collect();
            assert_eq!((asked.len(), ids.len()), (count, count));
        }
    }

    #[test]
    fn the_rate_is_even() {
        let asked = run(4_000, Duration::from_secs(20), Duration::from_millis(20));
        let mut per_slice = [0; 200];
        for (at, _) in &asked {
            let slice = (at.as_millis() / 100).min(199) as usize;
            per_slice[slice] += 1;
        }
        let most = per_slice.iter().max().unwrap();
        assert!(*most <= 26, "a mean of 20 in 100 ms, and {most} at most");
    }

    #[test]
    fn quiet_sessions_go_first_and_tcp_goes_last() {
        let facts = [
            session(0, Kind::Tcp, Duration::from_secs(60)),
            session(1, Kind::Websocket, Duration::from_millis(5)),
            session(2, Kind::Sse, Duration::from_secs(30)),
            session(3, Kind::Websocket, Duration::from_secs(90)),
        ];
        let now = Instant::now();
        let mut schedule = Schedule::new(now, now);
        schedule.plan(&facts);
        let mut order: Vec<_> = schedule.due(now).iter().map(|id| id.slot()).collect();
        order.reverse();
        assert_eq!(order, [3, 2, 1, 0]);
    }

    #[test]
    fn the_sessions_of_one_client_are_asked_apart() {
        let mut facts: Vec<_> = (0..100)
            .map(|i| session(i, Kind::Websocket, Duration::ZERO))
            .collect();
        for (i, facts) in facts.iter_mut().enumerate() {
            // Ten sessions of one client, and ninety of clients with one each.
            let last = if i < 10 { 1 } else { u8::try_from(i).unwrap() };
            facts.client = ([10, 0, 0, last], 1).into();
        }
        let now = Instant::now();
        let mut schedule = Schedule::new(now, now);
        schedule.plan(&facts);
        let mut order = schedule.due(now);
        order.reverse();
        let places: Vec<_> = order
            .iter()
            .enumerate()
            .filter(|(_, id)| id.slot() < 10)
            .map(|(place, _)| place)
            .collect();
        let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(nearest >= Some(2), "{places:?}");
    }

    #[test]
    fn behind_one_address_the_sessions_of_one_key_are_asked_apart() {
        let mut facts: Vec<_> = (0..100)
            .map(|i| session(i, Kind::Websocket, Duration::ZERO))
            .collect();
        for (i, facts) in facts.iter_mut().enumerate() {
            let of_whom = if i < 10 { 0 } else { i };
            facts.key = Some(format!("user-{of_whom}").into());
        }
        let sorted: Vec<_> = facts.iter().collect();
        let order = apart(&sorted);
        let places: Vec<_> = (0..100).filter(|i| order[*i].slot() < 10).collect();
        let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(nearest >= Some(2), "{places:?}");
    }

    #[test]
    fn requests_in_flight_are_told_at_once() {
        let facts = [session(0, Kind::Http, Duration::ZERO)];
        let now = Instant::now();
        let mut schedule = Schedule::new(now, now + Duration::from_secs(10));
        assert_eq!(schedule.plan(&facts).len(), 1);
        assert!(schedule.plan(&facts).is_empty(), "and only once");
    }

    #[test]
    fn a_shorter_window_hurries_those_that_are_left() {
        let facts: Vec<_> = (0..100)
            .map(|i| session(i, Kind::Websocket, Duration::ZERO))
            .collect();
        let start = Instant::now();
        let mut schedule = Schedule::new(start, start + Duration::from_secs(100));
        schedule.plan(&facts);
        let soon = start + Duration::from_secs(1);
        schedule.shorten(soon);
        assert_eq!(schedule.due(soon).len(), 100);
    }
}
