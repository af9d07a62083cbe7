//! One of two endpoints is drained with a crowd on both: on the one the promises of a whole drain, on
//! the other nobody notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::drain_endpoint::{path, said};
use crate::drain_mixed::crowd::{Felt, Session};
use crate::drain_mixed::one_at_a_time;
use crate::drain_mixed::pace::Pace;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::Style;
use crate::harness::client::websocket::{self, Record};
use crate::harness::descriptors::raise_descriptor_limit;
use crate::harness::ledger::SHORTEST;
use crate::harness::manners::Sort;
use crate::harness::wire::End;
use crate::harness::{Proxy, within};
use crate::upstreams::{call, proxy, until};

/// How many there are on each endpoint, and how one is drained.
struct Size {
    each: usize,
    /// In seconds.
    window: u64,
    /// The time between two messages of an agent that pushes, in milliseconds.
    every: u64,
    /// How much the busiest tenth of a second may exceed the mean, where there are enough to tell.
    unevenness: Option<f64>,
    /// How many questions may cross the Close, as in the drill: of somebody who thinks when it is told,
    /// and who speaks while the machine holds up the Close.
    may_cross: u64,
}

/// How long those who ask think, in milliseconds.
const THOUGHTS: (u64, u64) = (1_000, 2_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_sessions_go_between_messages_and_the_others_stay() {
    drain_one_of_two(Size {
        each: 200,
        window: 15,
        every: 50,
        unevenness: None,
        may_cross: 0,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just edge-large"]
async fn a_thousand_sessions_go_between_messages_and_the_other_thousand_stay() {
    drain_one_of_two(Size {
        each: 1_000,
        window: 30,
        every: 250,
        unevenness: Some(4.0),
        may_cross: 2,
    })
    .await;
}

/// Clients of two sorts that a drain loses nothing of: who is pushed to, and who asks and thinks.
struct Crowd {
    clients: JoinSet<Record>,
    leave: CancellationToken,
}

impl Crowd {
    fn new() -> Crowd {
        Crowd {
            clients: JoinSet::new(),
            leave: CancellationToken::new(),
        }
    }

    async fn joins(&mut self, proxy: &Proxy, names: impl Iterator<Item = String>, every: u64) {
        for (n, name) in names.enumerate() {
            let millis = Duration::from_millis;
            // Two by two, since endpoints take turns.
            let (path, style) = match n / 2 % 4 {
                3 => (
                    format!("/echo/{name}"),
                    Style::Think(millis(THOUGHTS.0), millis(THOUGHTS.1)),
                ),
                _ => (format!("/chat/{name}?every={every}"), Style::Listen),
            };
            let wire = websocket::open(proxy.addr("web"), &path).await.unwrap();
            let leave = self.leave.clone();
            self.clients
                .spawn(async move { websocket::converse(wire, &name, style, leave).await });
        }
    }

    /// The next so many that go.
    async fn gone(&mut self, count: usize, limit: u64) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            let record = within(limit, "a session to go", self.clients.join_next()).await;
            records.push(record.unwrap().unwrap());
        }
        records
    }
}

/// What both sides of these saw.
async fn felt(records: Vec<Record>, agent: &WebSocketAgent) -> Felt {
    let names: Vec<_> = records.iter().map(|record| record.name.clone()).collect();
    let mut sides = within(20, "the agent's sides", agent.ledger.sides(&names)).await;
    assert_eq!(sides.len(), names.len(), "these sessions and no other");
    let meet = |client: Record| Session {
        agent: sides.remove(&client.name).unwrap(),
        sort: match client.side.sent {
            0 => Sort::Pusher,
            _ => Sort::Asker,
        },
        client,
    };
    Felt {
        websockets: records.into_iter().map(meet).collect(),
        tcp: Vec::new(),
        polls: Vec::new(),
        events: Vec::new(),
    }
}

/// What was wrong: anything lost, or an end that is no Close with this code. Questions that have crossed
/// their Close are counted.
fn faults(felt: &Felt, code: u16, begun: Instant) -> (Vec<String>, u64) {
    let (mut faults, mut crossed) = (Vec::new(), 0);
    for session in &felt.websockets {
        let Session { client, agent, .. } = session;
        let name = &client.name;
        for (who, side) in [("client", &client.side), ("agent", agent)] {
            if side.close.map(|close| close.code) != Some(code) || side.end != Some(End::Fin) {
                let (close, end) = (side.close, side.end);
                faults.push(format!("{name}: the {who} saw {close:?} and {end:?}"));
            }
            faults.extend(side.faults.iter().map(|fault| format!("{name}: {fault}")));
        }
        let mut missing = 0;
        for (from, to) in [(&client.side, agent), (agent, &client.side)] {
            match to.missing_from(from) {
                Ok(count) => missing += count,
                Err(fault) => faults.push(format!("{name}: {fault}")),
            }
        }
        let lost = missing.max(session.unanswered());
        if lost > 0 {
            let close = client.side.close.map(|close| close.at - begun);
            let said = format!(
                "{name} ({:?}): {lost} lost of {}, closed {close:?} into the drain",
                session.sort, client.side.sent
            );
            println!("{said}");
            match session.sort {
                Sort::Asker => crossed += lost,
                _ => faults.push(said),
            }
        }
    }
    (faults, crossed)
}

/// How many sessions have heard two messages of their client, which shows how they talk.
async fn with_habits(proxy: &Proxy) -> usize {
    let (mut count, mut page) = (0, String::new());
    loop {
        let listed = call(proxy, "GET", &format!("/v1/sessions?limit=1000{page}"), "").await;
        let listed = said(&listed);
        let sessions = listed["sessions"].as_array().unwrap().iter();
        let asked = |session: &&Value| session["messages"]["to_upstream"].as_u64() >= Some(2);
        count += sessions.filter(asked).count();
        match listed["next"].as_str() {
            Some(next) => page = format!("&cursor={next}"),
            None => return count,
        }
    }
}

/// Waits until those who ask have shown their ways, by which they are judged.
async fn habits_are_shown(proxy: &Proxy, askers: usize) {
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    let shown = async {
        while with_habits(proxy).await < askers {
            pace.tick().await;
        }
    };
    within(60, "everyone to have asked twice", shown).await;
}

async fn drain_one_of_two(size: Size) {
    let _alone = one_at_a_time();
    raise_descriptor_limit();
    let Size {
        each,
        window,
        every,
        unevenness,
        may_cross,
    } = size;
    let agents = [WebSocketAgent::start(), WebSocketAgent::start()];
    let at = agents.each_ref().map(|agent| agent.agent.addr.to_string());
    let proxy = proxy("http", &at, "").await;
    for at in &at {
        until(&proxy, at, "healthy", true).await;
    }
    let mut crowd = Crowd::new();
    let names = (0..2 * each).map(|n| format!("s{n}"));
    crowd.joins(&proxy, names, every).await;
    for at in &at {
        until(&proxy, at, "sessions", each).await;
    }
    habits_are_shown(&proxy, each / 2).await;

    let drained = path(&at[0]);
    let body = format!(r#"{{"window":"{window}s","reason":"a new version"}}"#);
    let begun = Instant::now();
    let answer = call(&proxy, "POST", &drained, &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(said(&answer)["phase"], "serving");
    assert_eq!(
        said(&answer)["parts"][0]["part"],
        format!("endpoint agent/{}", at[0])
    );
    // New ones go to the other from now on.
    let late = (0..10).map(|n| format!("late{n}"));
    crowd.joins(&proxy, late, every).await;
    let gone = crowd.gone(each, window + 20).await;
    until(&proxy, &at[0], "phase", "drained").await;
    let took = begun.elapsed();

    let felt_by_those = felt(gone, &agents[0]).await;
    let pace = Pace::of(&felt_by_those, begun);
    println!("{pace}\nthe drain took {took:.1?} of {window} s");
    let (mut found, crossed) = faults(&felt_by_those, 1012, begun);
    let askers = felt_by_those.websockets.iter();
    let askers = askers.filter(|s| s.sort == Sort::Asker).count();
    assert!(askers >= each / 8, "only {askers} of {each} ask");
    let (mean, most) = pace.in_a_tenth();
    if unevenness.is_some_and(|factor| most > factor * mean) {
        found.push(format!("{most} closings in 100 ms, with a mean of {mean}"));
    }
    // Even, and over the window: not over within a part of it.
    if mean > each as f64 / (window as f64 * 10.0) * 2.0 {
        found.push(format!(
            "{mean} closings in 100 ms: too fast for {window} s"
        ));
    }
    if crossed > may_cross {
        found.push(format!("{crossed} questions without an answer"));
    }
    // A machine that stands still holds up the test as well as the drain: judged in the large one.
    if unevenness.is_some() && took > Duration::from_secs(window) {
        found.push(format!("the drain took {took:?} of {window} s"));
    }
    assert!(found.is_empty(), "{found:#?}");

    let report = said(&call(&proxy, "GET", "/v1/drain/report", "").await);
    assert_eq!(report["part"], format!("endpoint agent/{}", at[0]));
    assert_eq!(report["reason"], "a new version");
    let told = &report["kinds"]["websocket"];
    assert_eq!(told["at_start"], each, "{report}");
    assert_eq!(told["outcomes"]["closed"], each, "{report}");
    assert_eq!(report["cut"], 0);
    let scrape = proxy.scrape().await.unwrap();
    scrape.check_balance().unwrap();
    let stay = each + 10;
    assert_eq!(scrape.open("websocket"), stay as f64);
    let on = |at: &str| scrape.sum("lameduck_upstream_sessions", &[("endpoint", at)]);
    assert_eq!((on(&at[0]), on(&at[1])), (0.0, stay as f64));
    let undelivered = scrape.sum("lameduck_undelivered_bytes_total", &[]);
    let lost = (crossed as usize * SHORTEST) as f64;
    assert!(undelivered >= lost, "{undelivered} bytes counted of {lost}");
    assert!(crossed > 0 || undelivered == 0.0, "{undelivered}");
    assert_eq!(proxy.ask_health("/readyz").await.unwrap().status, 200);

    // It stays out until it is brought back.
    let back = call(&proxy, "DELETE", &drained, "").await;
    let parts = &said(&back)["parts"];
    assert_eq!((back.status, parts), (200, &json!([])));
    let mut more = Crowd::new();
    let names = (0..10).map(|n| format!("more{n}"));
    more.joins(&proxy, names, every).await;
    until(&proxy, &at[0], "sessions", 10).await;
    more.leave.cancel();
    more.gone(10, 20).await;

    // The others were never asked: they talk until they go themselves, and have lost nothing.
    crowd.leave.cancel();
    let stayed = crowd.gone(stay, 20).await;
    assert!(
        stayed.iter().all(|record| record.left),
        "somebody was asked"
    );
    let felt = felt(stayed, &agents[1]).await;
    let found = faults(&felt, 1000, begun);
    assert_eq!(found, (Vec::new(), 0));
    let asked: u64 = felt.websockets.iter().map(|s| s.client.side.sent).sum();
    let heard = |felt: &Felt| -> usize {
        let sides = felt.websockets.iter().map(|s| &s.client.side);
        sides.map(|side| side.received.len()).sum()
    };
    println!(
        "of {each}, {askers} of whom ask: {} heard, {crossed} crossed; of the others: {asked} said, {} heard",
        heard(&felt_by_those),
        heard(&felt)
    );
}
