//! The schedule alone, and in simulated drains of thousands of sessions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::session::{Home, ListenerIndex, WorkerIndex};

const TICK: Duration = Duration::from_millis(20);
/// Facts come once a second.
const REFRESH: u32 = 50;
const LIMITS: Limits = Limits {
    close_timeout: Duration::from_secs(5),
    ahead: Duration::ZERO,
    at_once: 500,
};

fn session(slot: usize, kind: Kind, idle: Duration) -> Facts {
    Facts {
        endpoint: None,
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

fn websockets(count: usize) -> Vec<Facts> {
    (0..count)
        .map(|i| session(i, Kind::Websocket, Duration::from_millis(i as u64)))
        .collect()
}

/// A schedule whose limits play no part.
fn schedule(now: Instant, window: Duration) -> Schedule {
    let limits = Limits {
        close_timeout: Duration::from_millis(1),
        at_once: usize::MAX,
        ..LIMITS
    };
    Schedule::new(now, Deadline::after(now, window), limits)
}

fn plan(schedule: &mut Schedule, facts: &[Facts]) -> Vec<SessionId> {
    let mut plan = schedule.new_plan();
    facts.iter().for_each(|facts| plan.add(facts));
    schedule.adopt(plan)
}

/// The order in which all of these are asked.
fn order(facts: &[Facts]) -> Vec<usize> {
    let now = Instant::now();
    let mut schedule = schedule(now, Duration::ZERO);
    plan(&mut schedule, facts);
    let mut order: Vec<_> = schedule.due(now).iter().map(|id| id.slot()).collect();
    order.reverse();
    order
}

/// What becomes of a simulated session.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// It ends by itself so long after the closing began.
    by_itself: Option<Duration>,
    /// So long after it was asked it is gone; none for one that never answers.
    when_asked: Option<Duration>,
}

const AT_ONCE: Fate = Fate {
    by_itself: None,
    when_asked: Some(Duration::ZERO),
};

/// A drain that was simulated.
#[derive(Debug, Default)]
struct Simulated {
    /// When each was asked, by slot.
    asked: BTreeMap<usize, Duration>,
    /// How many had been asked and were not gone, at the most.
    most_going: usize,
    twice: usize,
}

impl Simulated {
    fn per_tenth(&self) -> Vec<usize> {
        let mut tenths = Vec::new();
        for at in self.asked.values() {
            let tenth = usize::try_from(at.as_millis() / 100).unwrap();
            tenths.resize(tenths.len().max(tenth + 1), 0);
            tenths[tenth] += 1;
        }
        tenths
    }

    fn last(&self) -> Duration {
        self.asked.values().max().copied().unwrap_or_default()
    }
}

/// Runs a schedule against sessions with these fates.
fn simulate(fates: &[Fate], window: Duration, limits: Limits) -> Simulated {
    let start = Instant::now();
    let mut schedule = Schedule::new(start, Deadline::after(start, window), limits);
    let mut result = Simulated::default();
    let is_there = |slot: usize, asked: &BTreeMap<usize, Duration>, at: Duration| {
        let fate = fates[slot];
        // A session that never answers is cut alone.
        let takes = fate.when_asked.unwrap_or(limits.close_timeout);
        let went_as_asked = asked.get(&slot).is_some_and(|since| at >= *since + takes);
        !went_as_asked && fate.by_itself.is_none_or(|when| at < when)
    };
    let ticks = u32::try_from(window.as_millis() / TICK.as_millis()).unwrap();
    for tick in 0..ticks {
        let at = TICK * tick;
        if tick % REFRESH == 0 {
            let facts: Vec<_> = (0..fates.len())
                .filter(|slot| is_there(*slot, &result.asked, at))
                .map(|slot| Facts {
                    asked: result.asked.contains_key(&slot),
                    ..session(slot, Kind::Websocket, Duration::ZERO)
                })
                .collect();
            assert!(
                plan(&mut schedule, &facts).is_empty(),
                "no request is in flight"
            );
        }
        for id in schedule.due(start + at) {
            result.twice += usize::from(result.asked.insert(id.slot(), at).is_some());
        }
        let going = result.asked.keys();
        let going = going.filter(|slot| is_there(**slot, &result.asked, at));
        result.most_going = result.most_going.max(going.count());
    }
    result
}

#[test]
fn everybody_is_asked_once_and_in_time() {
    for count in [1, 2, 7, 1_000, 9_000] {
        let asked = simulate(&vec![AT_ONCE; count], Duration::from_secs(20), LIMITS);
        assert_eq!((asked.asked.len(), asked.twice), (count, 0));
        let reserved = Duration::from_secs(20) - Duration::from_millis(2_500);
        assert!(asked.last() <= reserved, "{:?}", asked.last());
    }
}

#[test]
fn the_rate_is_even() {
    let asked = simulate(&vec![AT_ONCE; 4_000], Duration::from_secs(20), LIMITS);
    let per_tenth = asked.per_tenth();
    let mean = 4_000 / per_tenth.len();
    let most = per_tenth.iter().max().unwrap();
    assert!(
        *most <= mean + mean / 3,
        "{most} in a tenth, a mean of {mean}"
    );
    // Over nearly all of the time there is.
    assert!(asked.last() > Duration::from_secs(13), "{:?}", asked.last());
}

#[test]
fn who_is_asked_last_can_be_told_as_long_before() {
    let limits = Limits {
        ahead: Duration::from_secs(5),
        ..LIMITS
    };
    let asked = simulate(&vec![AT_ONCE; 1_000], Duration::from_secs(40), limits);
    assert!(
        asked.last() <= Duration::from_secs(25),
        "{:?}",
        asked.last()
    );
    // A window that is too short for that is shared.
    let asked = simulate(&vec![AT_ONCE; 1_000], Duration::from_secs(8), limits);
    assert!(asked.last() > Duration::from_secs(3), "{:?}", asked.last());
}

#[test]
fn sessions_that_go_by_themselves_slow_the_rate_down() {
    // Half of them leave in the course of the first five seconds.
    let fate = |i: u64| Fate {
        by_itself: i
            .is_multiple_of(2)
            .then(|| Duration::from_millis(i * 5 / 2)),
        ..AT_ONCE
    };
    let fates: Vec<_> = (0..2_000).map(fate).collect();
    let per_tenth = simulate(&fates, Duration::from_secs(30), LIMITS).per_tenth();
    let early: usize = per_tenth[..10].iter().sum();
    let later: usize = per_tenth[100..110].iter().sum();
    assert!(later * 10 < early * 8, "{early} a second, then {later}");
    assert!(later > 0, "and it does not stop");
}

#[test]
fn sessions_that_are_slow_to_go_speed_it_up() {
    let window = Duration::from_secs(30);
    let slow = Fate {
        by_itself: None,
        when_asked: Some(Duration::from_secs(6)),
    };
    let patient = Limits {
        close_timeout: Duration::from_secs(8),
        at_once: usize::MAX,
        ..LIMITS
    };
    let swift = simulate(&vec![AT_ONCE; 1_000], window, patient);
    let slowly = simulate(&vec![slow; 1_000], window, patient);
    assert!(slowly.last() < swift.last(), "{:?}", slowly.last());
    let last_gone = slowly.last() + Duration::from_secs(6);
    assert!(last_gone < window, "the last is gone after {last_gone:?}");
}

#[test]
fn no_more_are_asked_at_once_than_the_limit_says() {
    let slow = Fate {
        by_itself: None,
        when_asked: Some(Duration::from_secs(2)),
    };
    let limits = Limits {
        close_timeout: Duration::from_secs(2),
        at_once: 40,
        ..LIMITS
    };
    // 200 sessions of two seconds each need 14 at once in 30 s, and some more are not yet known to
    // be gone; without a limit, the even rate would do with fewer than these too.
    let asked = simulate(&vec![slow; 200], Duration::from_secs(30), limits);
    assert!(asked.most_going <= 40, "{}", asked.most_going);
    let tight = Limits {
        at_once: 8,
        ..limits
    };
    let asked_tightly = simulate(&vec![slow; 60], Duration::from_secs(30), tight);
    assert!(
        asked_tightly.most_going <= 8,
        "{}",
        asked_tightly.most_going
    );
    assert_eq!(asked_tightly.asked.len(), 60);
    assert_eq!(asked.asked.len(), 200);
}

#[test]
fn a_window_that_is_too_short_for_the_limit_counts_for_more() {
    let limits = Limits {
        at_once: 5,
        ..LIMITS
    };
    let silent = Fate {
        by_itself: None,
        when_asked: None,
    };
    let asked = simulate(&vec![silent; 2_000], Duration::from_secs(20), limits);
    assert_eq!(asked.asked.len(), 2_000, "nobody is left unasked");
}

#[test]
fn quiet_sessions_go_first_and_tcp_goes_last() {
    let facts = [
        session(0, Kind::Tcp, Duration::from_secs(60)),
        session(1, Kind::Websocket, Duration::from_millis(5)),
        session(2, Kind::Sse, Duration::from_secs(30)),
        session(3, Kind::Websocket, Duration::from_secs(90)),
        session(4, Kind::Grpc, Duration::from_secs(90)),
    ];
    assert_eq!(order(&facts), [3, 2, 4, 1, 0]);
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
    let order = order(&facts);
    let places: Vec<_> = (0..order.len())
        .filter(|place| order[*place] < 10)
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
    let order = order(&facts);
    let places: Vec<_> = (0..100).filter(|place| order[*place] < 10).collect();
    let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).min();
    assert!(nearest >= Some(2), "{places:?}");
}

#[test]
fn requests_in_flight_are_told_at_once() {
    let mut facts = [session(0, Kind::Http, Duration::ZERO)];
    let mut schedule = schedule(Instant::now(), Duration::from_secs(10));
    assert_eq!(plan(&mut schedule, &facts).len(), 1);
    facts[0].asked = true;
    assert!(plan(&mut schedule, &facts).is_empty(), "and only once");
}

#[test]
fn a_share_is_the_same_part_of_each_kind_and_the_quiet_ones() {
    let idle = Duration::from_secs;
    let mut facts: Vec<_> = (0..10)
        .map(|i| session(i, Kind::Websocket, idle(i as u64)))
        .collect();
    facts.extend((10..14).map(|i| session(i, Kind::Tcp, idle(i as u64))));
    facts.push(session(20, Kind::Http, idle(90)));
    facts.push(Facts {
        asked: true,
        ..session(21, Kind::Websocket, idle(90))
    });
    let chosen = choose(facts, 0.25);
    let mut slots: Vec<_> = chosen.iter().map(|facts| facts.id.slot()).collect();
    slots.sort_unstable();
    assert_eq!(slots, [7, 8, 9, 13]);
}

#[test]
fn a_shorter_window_hurries_those_that_are_left() {
    let start = Instant::now();
    let mut schedule = schedule(start, Duration::from_secs(100));
    plan(&mut schedule, &websockets(100));
    schedule.shorten(start, Deadline::after(start, Duration::from_secs(1)));
    assert_eq!(schedule.due(start + Duration::from_secs(1)).len(), 100);
}

fn fate() -> impl Strategy<Value = Fate> {
    let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    let by_itself = prop::option::weighted(0.3, millis(0..30_000));
    let when_asked = prop::option::weighted(0.9, millis(0..5_000));
    (by_itself, when_asked).prop_map(|(by_itself, when_asked)| Fate {
        by_itself,
        when_asked,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever becomes of the sessions: each is asked at most once, before what is kept for the
    /// last handshake, and nobody who stays is left unasked.
    #[test]
    fn a_plan_asks_each_session_once_inside_the_window(
        fates in prop::collection::vec(fate(), 1..400),
        window in 2_u64..40,
        at_once in 1_usize..600,
    ) {
        let window = Duration::from_secs(window);
        let limits = Limits { at_once, ..LIMITS };
        let asked = simulate(&fates, window, limits);
        prop_assert_eq!(asked.twice, 0);
        let reserve = LIMITS.close_timeout.min(window / RESERVE_PARTS);
        prop_assert!(asked.last() <= window - reserve + TICK, "{:?}", asked.last());
        for (slot, fate) in fates.iter().enumerate() {
            let stays = fate.by_itself.is_none();
            prop_assert!(!stays || asked.asked.contains_key(&slot), "{slot} was never asked");
        }
    }
}
