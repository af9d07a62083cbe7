//! The same scale-in with other proxies in Lameduck's place: the table in the README.

use std::time::Instant;

use crate::drain_mixed::arrivals::{Arrivals, arrive};
use crate::drain_mixed::crowd::{Agents, ChatAgent, Crowd, SlowRequests};
use crate::drain_mixed::fronts::Fronts;
use crate::drain_mixed::tally::{self, Drained, Tally};
use crate::drain_mixed::{
    ONE_WAY, THOUSAND, one_at_a_time, raise_descriptor_limit, rehearse, setting,
};
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::balancer::Balancer;
use crate::harness::peer::{Behind, Kind, Peer};
use crate::harness::within;

/// What is left out is said; nothing is asserted of the others, only shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs HAProxy, nginx, Envoy and Caddy: just drill-peers"]
async fn how_a_scale_in_feels_beside_the_peers() {
    let _alone = one_at_a_time();
    raise_descriptor_limit();
    let window = setting("LAMEDUCK_TEST_WINDOW", 30);
    let mut columns = Vec::new();
    if is_wanted("lameduck") {
        columns.push(("lameduck".to_owned(), rehearse(window).await));
    }
    for kind in Kind::ALL
        .into_iter()
        .filter(|kind| is_wanted(kind.program()))
    {
        let Some(version) = kind.version() else {
            println!("LEFT OUT: {kind:?} is not installed");
            continue;
        };
        columns.push((version, drain(kind, window).await));
    }
    println!();
    tally::show(&columns);
}

/// Whether `LAMEDUCK_TEST_SUBJECTS`, where it is set, names it.
fn is_wanted(subject: &str) -> bool {
    let named = std::env::var("LAMEDUCK_TEST_SUBJECTS").unwrap_or_default();
    let mut named = named.split_whitespace().peekable();
    named.peek().is_none() || named.any(|name| name == subject)
}

async fn drain(kind: Kind, window: u64) -> Tally {
    let agents = Agents::beside(ChatAgent::Rust(WebSocketAgent::start()));
    let behind = Behind {
        chat: agents.chat.addr(),
        web: agents.web.agent.addr,
        raw: agents.raw.agent.addr,
    };
    let mut peer = Peer::start(kind, behind, window).await;
    let mut size = THOUSAND;
    if peer.raw.is_none() {
        size.tcp = 0;
    }
    let near = Fronts {
        chat: peer.chat,
        web: peer.web,
        raw: peer.raw,
    };
    let far = near.seen_from_afar(ONE_WAY).await;
    let balancer = Balancer::watch_at(peer.health, kind.health_path());
    let crowd = Crowd::gather(far.fronts, &size, &balancer).await;
    let streams = agents.web.has_seen(size.events, "/events");
    within(20, "the event streams", streams).await;
    size.manners.are_shown().await;
    let slow = SlowRequests::ask(far.fronts.web, &agents.web, size.slow).await;

    let begun = Instant::now();
    let (arrivals, ()): (Arrivals, ()) =
        tokio::join!(arrive(far.fronts, balancer.view()), peer.drain());
    let exit = peer.exit(begun).await;
    drop(peer);
    let felt = within(20, "the crowd to have gone", crowd.felt(&agents)).await;
    let slow = slow.faults().await;
    for fault in arrivals.faults.iter().chain(&slow).take(5) {
        println!("{kind:?}: {fault}");
    }
    Tally::of(&Drained {
        felt: &felt,
        arrivals: &arrivals,
        slow: (&slow, size.slow),
        begun,
        exit,
        undelivered: None,
    })
}
