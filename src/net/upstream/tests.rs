//! Endpoints without sockets: whom a session goes to, as sessions come and endpoints fail.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::config::{Balance, Eject, Endpoint, HashOn};
use crate::net::Tick;

fn upstream(balance: Balance, endpoints: &[&str]) -> Upstream {
    Upstream {
        name: UpstreamName("agent".into()),
        endpoints: endpoints.iter().map(|e| Endpoint((*e).into())).collect(),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::ZERO,
        idle_timeout: Duration::from_secs(4),
        balance,
        slow_start: Duration::ZERO,
        resolve_interval: Duration::from_secs(30),
        check: None,
        eject: None,
        tls: None,
        edge: Default::default(),
    }
}

const THREE: [&str; 3] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];

/// Endpoints that were all reached.
fn well(upstream: &Upstream) -> Arc<Endpoints> {
    let endpoints = Arc::new(Endpoints::new(0, upstream));
    for member in endpoints.members() {
        member.note_reached(true, false);
    }
    endpoints
}

async fn seat(dialer: &Dialer, key: Key) -> Seat {
    dialer.choose(key, &[]).await.unwrap()
}

fn label(seat: &Seat) -> String {
    seat.member().label().to_string()
}

/// How many of so many sessions, all of which stay, each endpoint has.
async fn spread(dialer: &Dialer, count: usize) -> (BTreeMap<String, usize>, Vec<Seat>) {
    let mut seats = Vec::new();
    for _ in 0..count {
        seats.push(seat(dialer, None).await);
    }
    let mut counts = BTreeMap::new();
    for seat in &seats {
        *counts.entry(label(seat)).or_default() += 1;
    }
    (counts, seats)
}

#[tokio::test]
async fn the_fewest_sessions_of_all_workers_win() {
    let endpoints = well(&upstream(Balance::Least, &THREE));
    let (one, other) = (Dialer::new(Arc::clone(&endpoints)), Dialer::new(endpoints));
    let (counts, mut seats) = spread(&one, 60).await;
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [20, 20, 20]);
    // Those of one endpoint end: another worker fills it up again.
    seats.retain(|seat| label(seat) != THREE[1]);
    let (counts, _more) = spread(&other, 20).await;
    assert_eq!(counts, BTreeMap::from([(THREE[1].to_owned(), 20)]));
}

#[tokio::test]
async fn ties_are_broken_at_random() {
    let endpoints = well(&upstream(Balance::Least, &THREE));
    let mut counts = HashMap::new();
    for _ in 0..300 {
        let dialer = Dialer::new(Arc::clone(&endpoints));
        let first = seat(&dialer, None).await;
        *counts.entry(label(&first)).or_insert(0) += 1;
    }
    assert!(
        counts.len() == 3 && counts.values().all(|n| *n > 50),
        "{counts:?}"
    );
}

#[tokio::test]
async fn each_has_its_turn() {
    let endpoints = well(&upstream(Balance::RoundRobin, &THREE));
    let dialer = Dialer::new(endpoints);
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(label(&seat(&dialer, None).await));
    }
    assert_eq!(order, [THREE, THREE].concat());
}

#[tokio::test]
async fn of_two_at_random_the_emptier_wins() {
    let endpoints = well(&upstream(Balance::RandomTwo, &THREE));
    let dialer = Dialer::new(Arc::clone(&endpoints));
    let (counts, _seats) = spread(&dialer, 300).await;
    assert!(
        counts.values().all(|n| (80..=120).contains(n)),
        "{counts:?}"
    );
    let fullest = endpoints.members().into_iter().max_by_key(|m| m.sessions());
    let fullest = fullest.unwrap();
    let extra: Vec<_> = (0..100).map(|_| Seat::take(&fullest)).collect();
    let (counts, _seats) = spread(&dialer, 30).await;
    assert_eq!(counts.get(&fullest.label().to_string()), None, "{counts:?}");
    drop(extra);
}

#[tokio::test]
async fn a_client_stays_where_it_was_and_a_lost_endpoint_moves_its_own_alone() {
    let on = Balance::Hash(HashOn::Address);
    let endpoints = well(&upstream(on.clone(), &THREE));
    let dialer = Dialer::new(Arc::clone(&endpoints));
    // Another replica, that lists them in another order.
    let mut others = THREE;
    others.reverse();
    let replica = Dialer::new(well(&upstream(on, &others)));
    let lost = Arc::clone(&endpoints.members()[0]);
    let (mut moved, mut at_lost) = (0, 0);
    for client in 0..3000_u32 {
        let key = Some(hash_of(&client.to_be_bytes()));
        let before = label(&seat(&dialer, key).await);
        assert_eq!(before, label(&seat(&dialer, key).await));
        assert_eq!(before, label(&seat(&replica, key).await));
        lost.note_reached(false, false);
        let after = label(&seat(&dialer, key).await);
        lost.note_reached(true, false);
        let was_lost = before == lost.label().to_string();
        at_lost += u32::from(was_lost);
        moved += u32::from(before != after);
        assert!(was_lost || before == after, "{before} {after}");
    }
    assert_eq!(moved, at_lost);
    assert!((800..1200).contains(&at_lost), "{at_lost} of 3000");
}

#[tokio::test]
async fn what_is_down_is_tried_last_and_what_is_drained_never() {
    let endpoints = well(&upstream(Balance::Least, &THREE));
    let dialer = Dialer::new(Arc::clone(&endpoints));
    let [down, drained, _] = &endpoints.members()[..] else {
        panic!("three");
    };
    down.note_reached(false, false);
    endpoints.set_drained(drained.id(), true);
    let mut tried = Vec::new();
    let mut order = Vec::new();
    while let Ok(seat) = dialer.choose(None, &tried).await {
        order.push(label(&seat));
        tried.push(seat.id());
    }
    assert_eq!(order, [THREE[2], THREE[0]]);
    endpoints.set_drained(drained.id(), false);
    assert!(endpoints.members().iter().all(|m| m.takes_sessions()));
    assert!(endpoints.members().iter().all(|m| m.sessions() == 0));
}

#[tokio::test]
async fn the_share_of_what_has_recovered_grows() {
    for balance in [Balance::Least, Balance::RoundRobin] {
        let mut settings = upstream(balance.clone(), &THREE[..2]);
        settings.slow_start = Duration::from_secs(1000);
        let endpoints = well(&settings);
        let dialer = Dialer::new(Arc::clone(&endpoints));
        let back = Arc::clone(&endpoints.members()[0]);
        back.note_reached(false, false);
        back.note_reached(true, false);
        let begun = Tick::now().as_millis();
        for (age, share) in [(0, 0.0..0.12), (500, 0.25..0.42), (1000, 0.4..0.6)] {
            let since = begun.saturating_sub(age * 1000).max(1);
            back.fresh_since.store(since, Ordering::Relaxed);
            let (counts, _seats) = spread(&dialer, 2000).await;
            let its = counts.get(&back.label().to_string()).copied();
            let its = its.unwrap_or_default() as f64 / 2000.0;
            assert!(share.contains(&its), "{balance:?} at {age} s: {its}");
        }
    }
}

fn ejecting(max_share: f64) -> Upstream {
    let eject = Eject {
        after: 3,
        base: Duration::from_secs(10),
        longest: Duration::from_secs(25),
        max_share,
        gateway_errors: false,
    };
    Upstream {
        eject: Some(eject),
        ..upstream(Balance::Least, &THREE)
    }
}

#[tokio::test]
async fn who_fails_in_a_row_is_passed_over_but_never_all() {
    let endpoints = well(&ejecting(0.7));
    let dialer = Dialer::new(Arc::clone(&endpoints));
    let members = endpoints.members();
    for _ in 0..2 {
        endpoints.went_wrong(&members[0]);
    }
    endpoints.went_well(&members[0]);
    endpoints.went_wrong(&members[0]);
    assert!(!members[0].is_ejected(), "not in a row");
    for _ in 0..30 {
        members
            .iter()
            .for_each(|member| endpoints.went_wrong(member));
    }
    let ejected = members.iter().filter(|member| member.is_ejected()).count();
    assert_eq!(ejected, 2, "70 % of three");
    let (counts, _seats) = spread(&dialer, 9).await;
    assert_eq!(counts.len(), 1, "{counts:?}");

    let alone = well(&Upstream {
        endpoints: vec![Endpoint(THREE[0].into())],
        ..ejecting(0.5)
    });
    for _ in 0..30 {
        alone.went_wrong(&alone.members()[0]);
    }
    assert!(!alone.members()[0].is_ejected());
}

#[tokio::test]
async fn each_time_again_it_is_passed_over_for_longer_up_to_a_limit() {
    let endpoints = well(&ejecting(0.5));
    let member = Arc::clone(&endpoints.members()[0]);
    let mut lengths = Vec::new();
    for _ in 0..3 {
        for _ in 0..3 {
            endpoints.went_wrong(&member);
        }
        assert!(member.is_ejected());
        lengths.push(member.ejected_for.load(Ordering::Relaxed));
        // The time is over.
        let now = Tick::now().as_millis();
        member.ejected_until.store(now, Ordering::Relaxed);
        assert!(!member.is_ejected());
    }
    assert_eq!(lengths, [10_000, 20_000, 25_000]);
    assert_eq!(member.ejections(), 3);
    // After a long good time it begins anew.
    let long_ago = Tick::now().as_millis().saturating_sub(26_000);
    member.ejected_until.store(long_ago, Ordering::Relaxed);
    for _ in 0..3 {
        endpoints.went_wrong(&member);
    }
    assert_eq!(member.ejected_for.load(Ordering::Relaxed), 10_000);
}

#[test]
fn checks_need_their_numbers_in_a_row() {
    let endpoints = Endpoints::new(0, &upstream(Balance::Least, &THREE));
    let member = Arc::clone(&endpoints.members()[0]);
    let checked = |good| {
        member.note_checked(good, 2, 3);
        member.is_well()
    };
    assert!(checked(true), "the first decides");
    let answers = [
        false, false, true, false, false, false, true, false, true, true,
    ];
    let expected = [
        true, true, true, true, true, false, false, false, false, true,
    ];
    assert_eq!(answers.map(checked), expected);
    // A connection that is refused says as much as three checks; one that is taken says nothing.
    member.note_reached(false, true);
    assert!(!member.is_well());
    member.note_reached(true, true);
    assert!(!member.is_well());
}

/// A resolver that answers what it is told to.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Option<Vec<SocketAddr>>>>);

impl Told {
    fn tell(&self, found: Option<&[&str]>) {
        let found = found.map(|found| found.iter().map(|addr| addr.parse().unwrap()).collect());
        *self.0.lock().unwrap() = found;
    }
}

impl Resolve for Told {
    fn resolve<'n>(
        &'n self,
        _: &'n str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'n>> {
        let found = self.0.lock().unwrap().clone();
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

#[tokio::test]
async fn a_name_that_changes_its_addresses_is_followed() {
    let told = Told::default();
    let settings = upstream(Balance::RoundRobin, &["agent.local:80"]);
    let endpoints = Endpoints::with_resolver(0, &settings, Box::new(told.clone()));
    let endpoints = Arc::new(endpoints);
    let dialer = Dialer::new(Arc::clone(&endpoints));
    assert!(matches!(
        dialer.choose(None, &[]).await,
        Err(DialError::Nowhere { .. })
    ));

    // Without a look-up before, the first session has the name looked up.
    told.tell(Some(&["10.0.0.1:80", "10.0.0.2:80"]));
    let old = seat(&dialer, None).await;
    let labels = || -> Vec<_> {
        let members = endpoints.members().into_iter();
        members.map(|member| member.label().to_string()).collect()
    };
    assert_eq!(labels(), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(label(&old), "10.0.0.1:80");

    told.tell(None);
    endpoints.resolve().await.unwrap_err();
    assert_eq!(labels().len(), 2, "what is known stays");

    // One goes, with a session on it; another comes.
    told.tell(Some(&["10.0.0.2:80", "10.0.0.3:80"]));
    endpoints.resolve().await.unwrap();
    assert_eq!(labels(), ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:80"]);
    assert!(old.member().is_gone());
    let (counts, seats) = spread(&dialer, 8).await;
    assert!(!counts.contains_key("10.0.0.1:80"), "{counts:?}");
    assert_eq!(counts.len(), 2);
    drop(seats);

    // It comes back as what it was.
    told.tell(Some(&["10.0.0.1:80"]));
    endpoints.resolve().await.unwrap();
    let back = seat(&dialer, None).await;
    assert_eq!(
        (back.id(), label(&back)),
        (old.id(), "10.0.0.1:80".to_owned())
    );
    assert_eq!(labels(), ["10.0.0.1:80"]);
}
