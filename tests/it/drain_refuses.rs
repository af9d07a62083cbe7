//! Who comes too late is told so politely, in the words of its own protocol.

use std::time::Duration;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::client::{tcp, websocket};
use crate::harness::ledger::message;
use crate::harness::wire::{End, Wire, request};
use crate::harness::{Proxy, within};

/// A proxy in `draining` that is kept there by one TCP session.
struct Draining {
    proxy: Proxy,
    web: HttpAgent,
    _raw: TcpAgent,
    keeper: Wire,
    /// A connection from before the drain, between requests.
    kept: Wire,
}

impl Draining {
    async fn begin() -> Draining {
        let (web, raw) = (HttpAgent::start(), TcpAgent::start());
        let proxy = Proxy::builder()
            .listener("web", "http", web.agent.addr)
            .listener("raw", "tcp", raw.agent.addr)
            .window("60s")
            .brief_lame_duck()
            .drain("finish", "\"50s\"")
            .start()
            .await;
        let mut keeper = tcp::open(proxy.addr("raw"), "/echo/keeper").await.unwrap();
        keeper.send(message(0) + "\n").await.unwrap();
        within(10, "the echo", keeper.until(b"\n")).await.unwrap();
        let mut kept = Wire::connect(proxy.addr("web")).await.unwrap();
        let answer = kept.request("GET", "/before", &[], b"").await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(!answer.is_last(), "{answer:?}");
        proxy.terminate();
        proxy.phase("draining").await;
        Draining {
            proxy,
            web,
            _raw: raw,
            keeper,
            kept,
        }
    }

    async fn end(mut self) {
        let late = self
            .web
            .requests()
            .into_iter()
            .any(|request| request.path == "/late");
        assert!(!late, "a refused request reached the agent");
        self.keeper.finish().await;
        assert_eq!(within(10, "the end", self.keeper.rest()).await.1, End::Fin);
        assert_eq!(self.proxy.exit_within(10).await.code, Some(0));
    }
}

#[tokio::test]
async fn a_late_request_is_refused_with_the_time_to_come_back() {
    let draining = Draining::begin().await;
    let mut late = Wire::connect(draining.proxy.addr("web")).await.unwrap();
    let answer = within(10, "an answer", late.request("GET", "/late", &[], b""))
        .await
        .unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.is_last(), "{answer:?}");
    let after = answer.field("retry-after").expect("a Retry-After");
    after.parse::<u32>().expect("seconds");
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(within(10, "the end", late.rest()).await, (vec![], End::Fin));
    let refused = draining.proxy.scrape().await.unwrap();
    let web = [("listener", "web")];
    assert_eq!(refused.sum("lameduck_sessions_refused_total", &web), 1.0);
    draining.end().await;
}

#[tokio::test]
async fn a_late_request_with_a_body_hears_the_refusal_and_no_reset() {
    let draining = Draining::begin().await;
    let mut late = Wire::connect(draining.proxy.addr("web")).await.unwrap();
    let body = vec![b'x'; 200_000];
    let sent = late.send(request("POST", "/late", &[], &body));
    let _ = within(10, "the body to go out or be refused", sent).await;
    let answer = within(10, "an answer", late.response("POST"))
        .await
        .unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    draining.end().await;
}

#[tokio::test]
async fn a_late_websocket_is_refused_with_503() {
    let draining = Draining::begin().await;
    let asked = websocket::ask(draining.proxy.addr("web"), "/late");
    let (_, answer) = within(10, "an answer", asked).await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.is_last() && answer.field("retry-after").is_some(),
        "{answer:?}"
    );
    draining.end().await;
}

#[tokio::test]
async fn a_late_event_source_is_told_when_to_come_back() {
    let draining = Draining::begin().await;
    let mut late = Wire::connect(draining.proxy.addr("web")).await.unwrap();
    let fields = [("accept", "text/event-stream"), ("last-event-id", "7")];
    let asked = late.request("GET", "/late", &fields, b"");
    let answer = within(10, "an answer", asked).await.unwrap();
    // A browser's EventSource never comes back after a 503.
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert!(answer.body.whole);
    let text = answer.text();
    let retries: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("retry:"))
        .collect();
    assert_eq!(retries.len(), 1, "{text:?}");
    retries[0].trim().parse::<u32>().expect("milliseconds");
    assert!(!text.contains("data:"), "{text:?}");
    draining.end().await;
}

/// What was in the queue when the drain began to refuse came in good time and is served; then the
/// listener closes. Which of the two it is depends on a moment, a reset it is never.
#[tokio::test]
async fn late_tcp_sessions_are_served_until_the_queue_is_empty_and_then_refused() {
    let draining = Draining::begin().await;
    let addr = draining.proxy.addr("raw");
    let refused = async {
        for n in 0.. {
            let Ok(mut late) = tcp::open(addr, &format!("/echo/late-{n}")).await else {
                return;
            };
            let question = message(0) + "\n";
            late.send(&question).await.unwrap();
            let echo = late
                .until(b"\n")
                .await
                .expect("an echo, if it was accepted");
            assert_eq!(echo, question.as_bytes());
            late.finish().await;
            assert_eq!(late.rest().await, (vec![], End::Fin));
        }
    };
    within(10, "the listener to close", refused).await;
    draining.end().await;
}

#[tokio::test]
async fn an_idle_kept_connection_is_not_shut_in_the_clients_face() {
    let mut draining = Draining::begin().await;
    let silence = Duration::from_millis(500);
    assert!(
        draining.kept.stays_silent(silence).await,
        "{:?}",
        draining.kept.end
    );
    // Its next request is its last here, but no error.
    let answer = draining
        .kept
        .request("GET", "/kept", &[], b"")
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.is_last(), "{answer:?}");
    draining.end().await;
}

#[tokio::test]
async fn a_lame_duck_still_serves_and_says_that_it_goes() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("30s")
        .drain("lame_duck_min", "\"5s\"")
        .drain("lame_duck_quiet", "\"100ms\"")
        .start()
        .await;
    let mut kept = Wire::connect(proxy.addr("web")).await.unwrap();
    assert!(!kept.request("GET", "/", &[], b"").await.unwrap().is_last());
    proxy.terminate();
    proxy.phase("lame_duck").await;
    assert_eq!(proxy.ask_health("/readyz").await.unwrap().status, 503);
    let mut fresh = Wire::connect(proxy.addr("web")).await.unwrap();
    for wire in [&mut kept, &mut fresh] {
        let answer = wire.request("GET", "/", &[], b"").await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.is_last(), "{answer:?}");
        assert_eq!(within(10, "the end", wire.rest()).await, (vec![], End::Fin));
    }
    assert_eq!(proxy.exit_within(20).await.code, Some(0));
}

#[tokio::test]
async fn a_probe_does_not_prolong_the_lame_duck() {
    let raw = TcpAgent::start();
    let proxy = Proxy::tcp(raw.agent.addr)
        .window("60s")
        .drain("lame_duck_min", "\"0s\"")
        .drain("lame_duck_quiet", "\"1s\"")
        .start()
        .await;
    let addr = proxy.addr("raw");
    let probing = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            drop(Wire::connect(addr).await);
        }
    });
    let begun = proxy.terminate();
    let exit = proxy.exit_within(20).await;
    probing.abort();
    assert_eq!(exit.code, Some(0));
    let took = exit.at - begun;
    assert!(
        took < crate::harness::patience(Duration::from_secs(4)),
        "{took:?}"
    );
}
