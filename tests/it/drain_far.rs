//! The drill at a distance: 60 ms of round trip between the clients and the proxy. What is said
//! while a Close travels crosses it on the wire, so that the moment of the Close and the order of
//! the two sides decide whether anything is lost.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::drain_mixed::{ONE_WAY, one_at_a_time, raise_descriptor_limit};
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::Style;
use crate::harness::client::websocket::{self, Record};
use crate::harness::delay::Delay;
use crate::harness::ledger::{SHORTEST, Side};
use crate::harness::manners::Sort;
use crate::harness::wire::End;
use crate::harness::{Proxy, within};

/// How many messages may cross the Close on the wire, in a whole drain, where there is a moment at
/// which none would.
const MAY_CROSS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_a_distance() {
    drill(&Size {
        askers: 40,
        pushers: 30,
        beaters: 25,
        chatters: 25,
        window: 10,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just drill"]
async fn nothing_is_lost_over_a_distance_in_a_large_drain() {
    drill(&Size {
        askers: 150,
        pushers: 160,
        beaters: 100,
        chatters: 160,
        window: 30,
    })
    .await;
}

/// How large a drill is.
struct Size {
    askers: usize,
    pushers: usize,
    beaters: usize,
    chatters: usize,
    /// In seconds.
    window: u64,
}

/// Both sides of a session.
struct Session {
    sort: Sort,
    style: Style,
    path: String,
    client: Record,
    agent: Side,
}

async fn drill(size: &Size) {
    let _alone = one_at_a_time();
    raise_descriptor_limit();
    let agent = WebSocketAgent::start();
    let proxy = Proxy::http(agent.agent.addr)
        .window(&format!("{}s", size.window))
        .drain("lame_duck_min", "\"500ms\"")
        .drain("lame_duck_quiet", "\"500ms\"")
        .start()
        .await;
    let far = Delay::before(proxy.addr("web"), ONE_WAY).await;

    let (mut clients, mut manners) = (JoinSet::new(), Vec::new());
    let counts = [size.askers, size.pushers, size.beaters, size.chatters];
    let total: usize = counts.iter().sum();
    for (sort, count) in Sort::ALL.into_iter().zip(counts) {
        for n in 0..count {
            let name = format!("{sort:?}-{n}");
            let (path, style) = sort.manners(n, &name);
            manners.push((name.clone(), sort, style, path.clone()));
            let addr = far.addr;
            clients.spawn(async move {
                let wire = websocket::open(addr, &path).await.unwrap();
                websocket::converse(wire, &name, style, CancellationToken::new()).await
            });
        }
    }
    proxy
        .metrics_until("the crowd", |scrape| {
            scrape.open("websocket") == total as f64
        })
        .await;
    // They show their ways before they are judged by them.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let begun = proxy.terminate();
    let exit = proxy.exit_within(size.window + 10).await;
    let records = within(20, "the clients to have gone", clients.join_all()).await;
    let names: Vec<String> = manners.iter().map(|(name, ..)| name.clone()).collect();
    let mut sides = within(20, "the agent's ends", agent.ledger.sides(&names)).await;
    let sessions: Vec<Session> = records
        .into_iter()
        .map(|client| {
            let (_, sort, style, path) = manners
                .iter()
                .find(|(name, ..)| *name == client.name)
                .expect("one of ours");
            Session {
                sort: *sort,
                style: *style,
                path: path.clone(),
                agent: sides.remove(&client.name).expect("waited for"),
                client,
            }
        })
        .collect();
    judge(&sessions, &proxy, exit, begun, size);
}

/// What the sessions of a sort have felt.
#[derive(Clone, Copy, Debug, Default)]
struct Felt {
    sessions: u64,
    /// Closed with 1012 on both sides, between two messages, and then a FIN.
    in_order: u64,
    sent: u64,
    lost_to_agent: u64,
    lost_to_client: u64,
    unanswered: u64,
}

impl Felt {
    fn lost(&self) -> u64 {
        self.lost_to_agent + self.lost_to_client
    }

    fn add(&mut self, other: Felt) {
        self.sessions += other.sessions;
        self.in_order += other.in_order;
        self.sent += other.sent;
        self.lost_to_agent += other.lost_to_agent;
        self.lost_to_client += other.lost_to_client;
        self.unanswered += other.unanswered;
    }
}

impl fmt::Display for Felt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} closed in order; of {} messages {} lost to the agent, {} to the client; {} \
             requests unanswered",
            self.in_order,
            self.sessions,
            self.sent,
            self.lost_to_agent,
            self.lost_to_client,
            self.unanswered
        )
    }
}

/// One session's part in it.
fn felt_by(session: &Session, faults: &mut Vec<String>) -> Felt {
    let Session {
        sort,
        client,
        agent,
        ..
    } = session;
    let name = &client.name;
    let before = faults.len();
    for (who, side) in [("client", &client.side), ("agent", agent)] {
        if side.close.map(|close| close.code) != Some(1012) || side.end != Some(End::Fin) {
            faults.push(format!(
                "{name}: the {who} saw the Close {:?} and the end {:?}",
                side.close, side.end
            ));
        }
        let own = side.faults.iter();
        faults.extend(own.map(|fault| format!("{name}: {who}: {fault}")));
    }
    let in_order = faults.len() == before;
    let mut lost = |from: &Side, to: &Side| {
        to.missing_from(from).unwrap_or_else(|fault| {
            faults.push(format!("{name}: {fault}"));
            0
        })
    };
    let lost_to_agent = lost(&client.side, agent);
    let lost_to_client = lost(agent, &client.side);
    let unanswered = if sort.is_answered() {
        client
            .side
            .sent
            .saturating_sub(client.side.received.len() as u64)
    } else {
        0
    };
    Felt {
        sessions: 1,
        in_order: u64::from(in_order),
        sent: client.side.sent + agent.sent,
        lost_to_agent,
        lost_to_client,
        unanswered,
    }
}

fn judge(
    sessions: &[Session],
    proxy: &Proxy,
    exit: crate::harness::proxy::Exit,
    begun: Instant,
    size: &Size,
) {
    let mut faults = Vec::new();
    let (mut crossed, mut all) = (0, Felt::default());
    for sort in Sort::ALL {
        let mut sum = Felt::default();
        for session in sessions.iter().filter(|session| session.sort == sort) {
            let felt = felt_by(session, &mut faults);
            if felt.lost() + felt.unanswered > 0 {
                println!("  {} {:?}: {felt}", session.path, session.style);
            }
            sum.add(felt);
        }
        println!("{sort:?}: {sum}");
        if sort != Sort::Chatter {
            // A request that crosses the Close is lost itself, or its answer is.
            crossed += sum.lost().max(sum.unanswered);
        }
        all.add(sum);
    }
    let took = exit.at - begun;
    let report = proxy.report();
    let told = report["undelivered_bytes"].as_object();
    let told = told.expect("bytes by direction").values();
    let undelivered: u64 = told.filter_map(serde_json::Value::as_u64).sum();
    println!(
        "the drain took {took:.1?} of {} s; {} lost, {undelivered} bytes counted as undelivered",
        size.window,
        all.lost()
    );
    if crossed > MAY_CROSS {
        faults.push(format!(
            "{crossed} messages crossed a Close that had a better moment"
        ));
    }
    if undelivered < all.lost() * SHORTEST as u64 {
        faults.push(format!(
            "{} lost, but only {undelivered} bytes counted",
            all.lost()
        ));
    }
    if exit.code != Some(0) || took > Duration::from_secs(size.window) {
        faults.push(format!("exit code {:?} after {took:?}", exit.code));
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n  {}",
        faults.len(),
        faults.join("\n  ")
    );
}
