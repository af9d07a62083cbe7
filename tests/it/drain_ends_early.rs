//! A drain ends with its last session, not with its window.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::{Style, http, tcp, websocket};
use crate::harness::{Proxy, patience, within};

/// The promise is 0.2 s; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(1);

async fn assert_exit_follows(proxy: &Proxy, last_gone: Instant) {
    let exit = proxy.exit_within(30).await;
    let after = exit.at.saturating_duration_since(last_gone);
    println!("the process ended {after:.3?} after the last session");
    assert_eq!(exit.code, Some(0));
    assert!(after < patience(SOON), "{after:?} after the last session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_end_by_themselves_end_the_drain() {
    let (chat, raw) = (WebSocketAgent::start(), TcpAgent::start());
    let proxy = Proxy::builder()
        .listener("chat", "http", chat.agent.addr)
        .listener("raw", "tcp", raw.agent.addr)
        .window("120s")
        .brief_lame_duck()
        .drain("finish", "\"100s\"")
        .start()
        .await;
    let leave = CancellationToken::new();
    let style = Style::Ask(Duration::from_millis(100));
    let mut clients = JoinSet::new();
    for n in 0..20 {
        let name = format!("s-{n}");
        let path = format!("/echo/{name}");
        let leave = leave.clone();
        if n % 2 == 0 {
            let wire = websocket::open(proxy.addr("chat"), &path).await.unwrap();
            clients.spawn(async move { websocket::converse(wire, &name, style, leave).await });
        } else {
            let wire = tcp::open(proxy.addr("raw"), &path).await.unwrap();
            clients.spawn(async move { tcp::converse(wire, &name, style, leave).await });
        }
    }
    proxy
        .metrics_until("the sessions", |scrape| scrape.open("") == 20.0)
        .await;

    proxy.terminate();
    proxy.phase("draining").await;
    leave.cancel();

    let records = within(20, "the clients to have left", clients.join_all()).await;
    let last_gone = records
        .iter()
        .filter_map(|record| record.side.ended_at)
        .max()
        .unwrap();
    assert_exit_follows(&proxy, last_gone).await;
    for record in records {
        assert!(
            record.left,
            "{} was asked to go: {:?}",
            record.name, record.side
        );
        assert!(
            record.side.faults.is_empty(),
            "{}: {:?}",
            record.name,
            record.side.faults
        );
        // The last question may go out with the Close, too late for its answer.
        assert!(
            record.unanswered <= 1,
            "{}: {} unanswered",
            record.name,
            record.unanswered
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_ends_the_drain_with_its_answer() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("120s")
        .brief_lame_duck()
        .start()
        .await;
    let addr = proxy.addr("web");
    let request = tokio::spawn(async move { http::fetch(addr, "/slow?ms=2000").await });
    within(10, "the request at the agent", web.has_seen(1, "/slow")).await;

    proxy.terminate();

    assert_eq!(within(20, "the answer", request).await.unwrap(), Ok(()));
    assert_exit_follows(&proxy, Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_sessions_leaves_as_soon_as_arrivals_have_ended() {
    let raw = TcpAgent::start();
    let proxy = Proxy::tcp(raw.agent.addr)
        .window("120s")
        .drain("lame_duck_min", "\"500ms\"")
        .drain("lame_duck_quiet", "\"500ms\"")
        .start()
        .await;

    let begun = proxy.terminate();

    let exit = proxy.exit_within(30).await;
    assert_eq!(exit.code, Some(0));
    let took = exit.at - begun;
    println!("the drain of nothing took {took:.3?}");
    assert!(
        took > Duration::from_millis(400),
        "it left while arrivals could come: {took:?}"
    );
    assert!(
        took < patience(Duration::from_millis(500) + SOON),
        "{took:?}"
    );
}
