//! What Prometheus reads: the names, types and labels of the interface, and true numbers in them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::agent::Agent;
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::{http, tcp, websocket};
use crate::harness::frames::Frame;
use crate::harness::ledger::message;
use crate::harness::metrics::Scrape;
use crate::harness::wire::Wire;
use crate::harness::{Proxy, within};

/// Name, type and labels of each family.
const FAMILIES: &[(&str, &str, &[&str])] = &[
    ("lameduck_sessions_open", "gauge", &["listener", "kind"]),
    (
        "lameduck_sessions_opened_total",
        "counter",
        &["listener", "kind"],
    ),
    (
        "lameduck_sessions_ended_total",
        "counter",
        &["listener", "kind", "outcome"],
    ),
    ("lameduck_connections_open", "gauge", &["listener"]),
    (
        "lameduck_connections_accepted_total",
        "counter",
        &["listener"],
    ),
    (
        "lameduck_sessions_refused_total",
        "counter",
        &["listener", "reason"],
    ),
    ("lameduck_phase", "gauge", &["phase"]),
    ("lameduck_drain_deadline_timestamp_seconds", "gauge", &[]),
    ("lameduck_drain_remaining_seconds", "gauge", &[]),
    ("lameduck_drains_total", "counter", &["trigger"]),
    (
        "lameduck_bytes_total",
        "counter",
        &["listener", "direction"],
    ),
    (
        "lameduck_undelivered_bytes_total",
        "counter",
        &["listener", "direction"],
    ),
    ("lameduck_upstream_connect_seconds", "histogram", &[]),
    ("lameduck_session_duration_seconds", "histogram", &["kind"]),
    (
        "lameduck_upstream_healthy",
        "gauge",
        &["upstream", "endpoint"],
    ),
    ("lameduck_build_info", "gauge", &["version"]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_cpu_seconds_total", "counter", &[]),
];

const KINDS: [&str; 5] = ["tcp", "websocket", "sse", "grpc", "http"];
const OUTCOMES: [&str; 5] = ["finished", "migrated", "closed", "cut", "failed"];
const PHASES: [&str; 6] = [
    "starting",
    "serving",
    "lame_duck",
    "draining",
    "closing",
    "drained",
];

/// Waits until so many sessions of a kind have ended with an outcome.
async fn ended(proxy: &Proxy, kind: &str, outcome: &str, count: f64) -> Scrape {
    let what = format!("{count} {kind} to be {outcome}");
    let labels = [("kind", kind), ("outcome", outcome)];
    let wanted = |scrape: &Scrape| scrape.sum("lameduck_sessions_ended_total", &labels) == count;
    let scrape = proxy.metrics_until(&what, wanted).await;
    assert_eq!(scrape.check_balance(), Ok(()));
    scrape
}

#[tokio::test]
async fn the_families_are_those_of_the_interface() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).window("30s").start().await;
    http::fetch(proxy.addr("web"), "/").await.unwrap();
    let hanging = tokio::spawn({
        let addr = proxy.addr("web");
        async move { http::fetch(addr, "/slow?ms=1000").await }
    });
    within(10, "the slow request", web.has_seen(1, "/slow")).await;
    let serving = ended(&proxy, "http", "finished", 1.0).await;
    proxy.terminate();
    proxy.phase("lame_duck").await;
    let scrape = proxy.scrape().await.unwrap();
    let mut faults = Vec::new();
    for (name, kind, labels) in FAMILIES {
        // Only a drain has a deadline, and only then must it be there.
        match scrape.types.get(*name).map(String::as_str) {
            Some(told) if told == *kind => {}
            other => faults.push(format!("{name} should be a {kind}, not {other:?}")),
        }
        if !scrape.helps.contains(*name) {
            faults.push(format!("{name} has no help"));
        }
        let sample = if *kind == "histogram" {
            format!("{name}_bucket")
        } else {
            (*name).to_owned()
        };
        for sample in scrape.matching(&sample, &[]) {
            let mut expected: BTreeSet<&str> = labels.iter().copied().collect();
            if *kind == "histogram" {
                expected.insert("le");
            }
            let told: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
            if told != expected {
                faults.push(format!("{name} has the labels {told:?}, not {expected:?}"));
                break;
            }
        }
    }
    for sample in &scrape.samples {
        for (label, allowed) in [
            ("kind", &KINDS[..]),
            ("outcome", &OUTCOMES),
            ("phase", &PHASES),
        ] {
            let told = sample.labels.get(label).map(String::as_str);
            if told.is_some_and(|told| !allowed.contains(&told)) {
                faults.push(format!("{} has the {label} {told:?}", sample.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    assert_eq!(
        (serving.phase(), scrape.phase()),
        ("serving".into(), "lame_duck".into())
    );
    assert_eq!(scrape.matching("lameduck_phase", &[]).count(), PHASES.len());
    let left = scrape.sum("lameduck_drain_remaining_seconds", &[]);
    assert!(left > 20.0 && left <= 30.0, "{left} s of 30 are left");
    assert_eq!(scrape.sum("lameduck_drains_total", &[]), 1.0);
    assert_eq!(
        scrape.sum(
            "lameduck_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))]
        ),
        1.0
    );
    assert_eq!(hanging.await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_is_counted_as_what_it_is() {
    let (chat, web, raw) = (
        WebSocketAgent::start(),
        HttpAgent::start(),
        TcpAgent::start(),
    );
    let proxy = Proxy::builder()
        .listener("chat", "http", chat.agent.addr)
        .listener("web", "http", web.agent.addr)
        .listener("raw", "tcp", raw.agent.addr)
        .start()
        .await;

    let mut socket = websocket::open(proxy.addr("chat"), "/quiet/anna")
        .await
        .unwrap();
    let mut line = tcp::open(proxy.addr("raw"), "/echo/ben").await.unwrap();
    let (addr, stream) = (proxy.addr("web"), "/events?every=20&n=20");
    let subscription = tokio::spawn(http::events(addr, "GET", stream));
    let generation = tokio::spawn(http::events(addr, "POST", stream));
    let slow = tokio::spawn(async move { http::fetch(addr, "/slow?ms=600").await });
    let all = |scrape: &Scrape| {
        let open: Vec<f64> = KINDS.iter().map(|kind| scrape.open(kind)).collect();
        open[0] == 1.0 && open[1] == 1.0 && open[2] >= 1.0 && open[2] + open[4] == 3.0
    };
    let scrape = proxy.metrics_until("one session of each kind", all).await;
    assert_eq!(scrape.check_balance(), Ok(()));
    let open = |listener| scrape.sum("lameduck_sessions_open", &[("listener", listener)]);
    assert_eq!((open("chat"), open("raw"), open("web")), (1.0, 1.0, 3.0));
    let connections = |l| scrape.sum("lameduck_connections_open", &[("listener", l)]);
    assert_eq!(
        (connections("chat"), connections("raw"), connections("web")),
        (1.0, 1.0, 3.0)
    );

    socket.send(Frame::close(1000).masked()).await.unwrap();
    within(10, "the end of the WebSocket", socket.rest()).await;
    socket.finish().await;
    line.finish().await;
    within(10, "the end of the TCP session", line.rest()).await;
    for events in [subscription, generation] {
        let events = within(10, "the end of the events", events).await.unwrap();
        assert_eq!((events.events, events.faults), (20, vec![]));
    }
    assert_eq!(within(10, "the slow answer", slow).await.unwrap(), Ok(()));
    ended(&proxy, "websocket", "finished", 1.0).await;
    ended(&proxy, "tcp", "finished", 1.0).await;
    let over = |scrape: &Scrape| scrape.open("") == 0.0;
    let scrape = proxy.metrics_until("all to be over", over).await;
    let finished = |kind| {
        let labels = [("outcome", "finished"), ("listener", "web"), ("kind", kind)];
        scrape.sum("lameduck_sessions_ended_total", &labels)
    };
    // A stream is a request until its head has come: that one is counted, too.
    assert_eq!((finished("sse"), finished("http")), (2.0, 3.0));
    for other in ["migrated", "closed", "cut", "failed"] {
        let others = scrape.sum("lameduck_sessions_ended_total", &[("outcome", other)]);
        assert_eq!(others, 0.0, "{other}");
    }
    let durations = scrape.sum("lameduck_session_duration_seconds_count", &[]);
    assert_eq!(durations, scrape.sum("lameduck_sessions_ended_total", &[]));
}

#[tokio::test]
async fn a_refused_upgrade_is_a_request_and_no_websocket() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).start().await;
    let (_, response) = websocket::ask(proxy.addr("web"), "/chat").await.unwrap();
    assert_eq!(response.status, 403);
    let scrape = ended(&proxy, "http", "finished", 1.0).await;
    assert_eq!(
        scrape.sum("lameduck_sessions_opened_total", &[("kind", "websocket")]),
        0.0
    );
}

#[tokio::test]
async fn what_breaks_is_counted_as_failed() {
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.more().await;
        wire.reset();
    });
    let proxy = Proxy::builder()
        .listener("raw", "tcp", agent.addr)
        .listener("web", "http", agent.addr)
        .start()
        .await;
    let mut wire = Wire::connect(proxy.addr("raw")).await.unwrap();
    wire.send("x").await.unwrap();
    within(10, "the reset", wire.rest()).await;
    ended(&proxy, "tcp", "failed", 1.0).await;
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    assert_eq!(
        wire.request("POST", "/", &[], b"x").await.unwrap().status,
        502
    );
    ended(&proxy, "http", "failed", 1.0).await;
}

#[tokio::test]
async fn bytes_are_counted_by_direction() {
    let raw = TcpAgent::start();
    let proxy = Proxy::tcp(raw.agent.addr).start().await;
    let opening = "/echo/anna\n";
    let mut wire = tcp::open(proxy.addr("raw"), opening.trim()).await.unwrap();
    let mut echoed = 0;
    for number in 0..100 {
        let line = message(number) + "\n";
        wire.send(&line).await.unwrap();
        echoed += within(10, "the echo", wire.until(b"\n"))
            .await
            .unwrap()
            .len();
    }
    wire.finish().await;
    within(10, "the end", wire.rest()).await;
    let scrape = ended(&proxy, "tcp", "finished", 1.0).await;
    let labels = [("listener", "raw")];
    let mut bytes: Vec<_> = scrape
        .matching("lameduck_bytes_total", &labels)
        .map(|sample| sample.value)
        .collect();
    bytes.sort_by(f64::total_cmp);
    assert_eq!(bytes, [echoed as f64, (echoed + opening.len()) as f64]);
    assert_eq!(scrape.sum("lameduck_undelivered_bytes_total", &[]), 0.0);
}

#[tokio::test]
async fn a_drain_is_told_by_health_and_by_metrics() {
    let raw = TcpAgent::start();
    let proxy = Proxy::tcp(raw.agent.addr)
        .window("30s")
        .drain("lame_duck_min", "\"1s\"")
        .drain("lame_duck_quiet", "\"100ms\"")
        .drain("finish", "\"20s\"")
        .start()
        .await;
    let mut wire = tcp::open(proxy.addr("raw"), "/echo/anna").await.unwrap();
    wire.send(message(0) + "\n").await.unwrap();
    within(10, "the echo", wire.until(b"\n")).await.unwrap();
    let ready = proxy.ask_health("/readyz").await.unwrap();
    let body: Value = serde_json::from_str(&ready.text()).unwrap();
    assert_eq!(
        (ready.status, &body["phase"]),
        (200, &Value::from("serving")),
        "{body}"
    );
    assert_eq!(body["open"], 1, "{body}");

    proxy.terminate();
    for phase in ["lame_duck", "draining"] {
        proxy.phase(phase).await;
        let told = proxy
            .metrics_until(phase, |scrape| scrape.phase() == phase)
            .await;
        assert!(told.sum("lameduck_drain_remaining_seconds", &[]) > 20.0);
        let ready = proxy.ask_health("/readyz").await.unwrap();
        let body: Value = serde_json::from_str(&ready.text()).unwrap();
        assert_eq!(
            (ready.status, &body["phase"]),
            (503, &Value::from(phase)),
            "{body}"
        );
        assert_eq!(proxy.ask_health("/livez").await.unwrap().status, 200);
    }
    assert!(
        wire.stays_silent(Duration::from_millis(100)).await,
        "asked to go too early"
    );
    wire.finish().await;
    within(10, "the end", wire.rest()).await;
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}

#[tokio::test]
async fn health_answers_what_it_knows_and_nothing_else() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).start().await;
    let metrics = proxy.ask_health("/metrics").await.unwrap();
    let kind = metrics.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert_eq!(proxy.ask_health("/no-such-path").await.unwrap().status, 404);
    let mut wire = Wire::connect(proxy.health()).await.unwrap();
    let answer = wire.request("HEAD", "/livez", &[], b"").await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(web.requests().is_empty(), "the agent was asked for health");
}
