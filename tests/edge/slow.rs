//! Clients that are slow on purpose, and sessions whose time is over.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::Agent;
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::{Style, http, tcp, websocket};
use crate::harness::wire::Wire;
use crate::harness::{Proxy, within};
use crate::scene::{all_refused, mirror, proxy, refused};

/// Resident memory in KiB.
fn memory(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid)).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends a byte now and then, until the other side has had enough.
async fn drip(wire: &mut Wire, bytes: &[u8]) {
    let mut pace = tokio::time::interval(Duration::from_millis(250));
    for byte in bytes.iter().cycle() {
        tokio::select! {
            _ = pace.tick() => if wire.send([*byte]).await.is_err() {
                return;
            },
            more = wire.more() => if !more {
                return;
            }
        }
    }
}

#[tokio::test]
async fn slowloris_is_disconnected_and_counted() {
    let agent = mirror();
    let web = "[http]\nheader_timeout = \"60s\"\n[limits]\nmin_speed = \"100B\"";
    let proxy = proxy("http", agent.addr, "", web).await;
    let head = b"GET / HTTP/1.1\r\nhost: a\r\n";
    let mut in_head = Wire::connect(proxy.addr("door")).await.unwrap();
    in_head.send(head).await.unwrap();
    let mut in_body = Wire::connect(proxy.addr("door")).await.unwrap();
    let post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    in_body.send(post).await.unwrap();
    // One that is not slow, and one that the agent is slow for, are left alone.
    let mut fair = Wire::connect(proxy.addr("door")).await.unwrap();
    fair.send(post).await.unwrap();
    let fast = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for _ in 0..200 {
            pace.tick().await;
            fair.send([b'x'; 500]).await.unwrap();
        }
        fair.response("POST").await.unwrap().status
    };
    let slow = async {
        within(
            20,
            "the end of the slow head",
            drip(&mut in_head, b"a: b\r\n"),
        )
        .await;
        assert!(String::from_utf8_lossy(&in_head.ahead).starts_with("HTTP/1.1 408 "));
    };
    let (status, (), ()) = tokio::join!(
        fast,
        slow,
        within(20, "the end of the slow body", drip(&mut in_body, b"y"))
    );
    assert_eq!(status, 200);
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(
        (refused(&scrape, "min_speed"), all_refused(&scrape)),
        (2.0, 2.0)
    );
    scrape.check_balance().unwrap();
}

/// An agent that sends so many bytes to whoever comes, as fast as they are taken.
fn hose(megabytes: usize) -> Agent {
    Agent::scripted(move |_, mut wire| async move {
        let Some(first) = wire.until(b"\n").await else {
            return;
        };
        if first.starts_with(b"GET") {
            wire.until(b"\r\n\r\n").await;
            let length = megabytes << 20;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let _ = wire.send(head).await;
        }
        let megabyte = vec![b'x'; 1 << 20];
        for _ in 0..megabytes {
            if wire.stream.write_all(&megabyte).await.is_err() {
                return;
            }
        }
        wire.finish().await;
    })
}

#[tokio::test]
async fn a_client_that_reads_nothing_costs_little_and_goes_in_the_end() {
    for (protocol, asks) in [
        ("tcp", "go\n"),
        ("http", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        let agent = hose(256);
        let limits = "[limits]\nstalled_timeout = \"2s\"";
        let proxy = proxy(protocol, agent.addr, "", limits).await;
        let before = memory(&proxy);
        let mut stalled = Wire::connect(proxy.addr("door")).await.unwrap();
        stalled.send(asks).await.unwrap();
        // Meanwhile another takes all of it.
        let mut reader = Wire::connect(proxy.addr("door")).await.unwrap();
        reader.send(asks).await.unwrap();
        let mut got = 0;
        while got < 256 << 20 && within(20, "more", reader.more()).await {
            got += reader.ahead.len();
            reader.ahead.clear();
        }
        assert!(got >= 256 << 20, "{got}");
        let scrape = proxy
            .metrics_until("the stalled to go", |s| {
                refused(s, "stalled_timeout") == 1.0
            })
            .await;
        assert_eq!(all_refused(&scrape), 1.0);
        let grown = memory(&proxy).saturating_sub(before);
        assert!(grown < 32 << 10, "{protocol}: {grown} KiB more");
        drop(reader);
        let scrape = proxy
            .metrics_until("all to end", |s| s.open("") == 0.0)
            .await;
        scrape.check_balance().unwrap();
        let undelivered = scrape.sum("lameduck_undelivered_bytes_total", &[]);
        assert!(protocol == "http" || undelivered > 0.0, "{undelivered}");
    }
}

#[tokio::test]
async fn memory_held_for_slow_readers_is_bounded() {
    let agent = hose(64);
    // What does not fit into the last write is held, which may be little.
    let limits = "[limits]\nmax_held_bytes = \"1KiB\"";
    let proxy = proxy("tcp", agent.addr, "", limits).await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
        wire.send("go\n").await.unwrap();
        stalled.push(wire);
    }
    // Two workers hold what is allowed at most, and the rest has gone.
    let scrape = proxy
        .metrics_until("the rest to go", |s| refused(s, "max_held_bytes") >= 28.0)
        .await;
    assert!(scrape.open("tcp") <= 12.0, "{}", scrape.open("tcp"));
    scrape.check_balance().unwrap();
}

#[tokio::test]
async fn an_old_websocket_is_asked_to_go_and_loses_nothing() {
    let agent = WebSocketAgent::start();
    let limits = "[limits.websocket]\nmax_age = \"2s\"\nmax_age_jitter = \"50%\"";
    let proxy = proxy("http", agent.agent.addr, "", limits).await;
    let mut talks = Vec::new();
    let begun = Instant::now();
    for n in 0..20 {
        let name = format!("old{n}");
        let wire = websocket::open(proxy.addr("door"), &format!("/echo/{name}"))
            .await
            .unwrap();
        talks.push(tokio::spawn(async move {
            let style = Style::Ask(Duration::from_millis(20));
            let record = websocket::converse(wire, &name, style, CancellationToken::new()).await;
            (record, begun.elapsed())
        }));
    }
    let mut ages = Vec::new();
    for talk in talks {
        let (record, age) = within(20, "a session's end", talk).await.unwrap();
        assert_eq!(
            record.side.close.as_ref().map(|c| c.code),
            Some(1012),
            "{record:?}"
        );
        assert_eq!(record.unanswered, 0, "{record:?}");
        ages.push(age);
    }
    let spread = *ages.iter().max().unwrap() - *ages.iter().min().unwrap();
    assert!(
        *ages.iter().min().unwrap() >= Duration::from_millis(900),
        "{ages:?}"
    );
    assert!(spread >= Duration::from_millis(500), "{ages:?}");
    let scrape = proxy
        .metrics_until("all to end", |s| s.open("") == 0.0)
        .await;
    let closed = [("kind", "websocket"), ("outcome", "closed")];
    assert_eq!(scrape.sum("lameduck_sessions_ended_total", &closed), 20.0);
    assert_eq!(scrape.sum("lameduck_undelivered_bytes_total", &[]), 0.0);
    scrape.check_balance().unwrap();
}

#[tokio::test]
async fn an_idle_websocket_is_asked_to_go_and_a_busy_one_stays() {
    let agent = WebSocketAgent::start();
    let limits = "[limits.websocket]\nidle_timeout = \"1s\"";
    let proxy = proxy("http", agent.agent.addr, "", limits).await;
    let door = proxy.addr("door");
    let idle = websocket::open(door, "/echo/idle").await.unwrap();
    let busy = websocket::open(door, "/echo/busy").await.unwrap();
    let leave = CancellationToken::new();
    let style = |ms| Style::Ask(Duration::from_millis(ms));
    let talk = tokio::spawn(websocket::converse(busy, "busy", style(100), leave.clone()));
    let silent = websocket::converse(idle, "idle", style(3_600_000), CancellationToken::new());
    let record = within(20, "the idle one's end", silent).await;
    assert_eq!(record.side.close.as_ref().map(|c| c.code), Some(1012));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!talk.is_finished());
    leave.cancel();
    let record = within(20, "the busy one's end", talk).await.unwrap();
    assert!(record.left && record.unanswered == 0, "{record:?}");
}

#[tokio::test]
async fn old_event_streams_and_raw_sessions_are_asked_to_go() {
    let agent = HttpAgent::start();
    let limits = "[limits.sse]\nmax_age = \"1s\"\n[limits.tcp]\nidle_timeout = \"1s\"";
    let web = proxy("http", agent.agent.addr, "", limits).await;
    let events = http::events(web.addr("door"), "GET", "/events?every=50");
    let record = within(20, "the stream's end", events).await;
    assert!(record.faults.is_empty(), "{record:?}");
    // One that answers a POST is heard to its end.
    let answer = http::events(web.addr("door"), "POST", "/events?every=100&n=30");
    let record = within(20, "the answer's end", answer).await;
    assert!(record.faults.is_empty(), "{record:?}");
    let scrape = web.metrics_until("all to end", |s| s.open("") == 0.0).await;
    let ended = |outcome| {
        let labels = [("kind", "sse"), ("outcome", outcome)];
        scrape.sum("lameduck_sessions_ended_total", &labels)
    };
    assert_eq!((ended("closed"), ended("finished")), (1.0, 1.0));

    let agent = TcpAgent::start();
    let raw = proxy("tcp", agent.agent.addr, "", limits).await;
    let mut wire = tcp::open(raw.addr("door"), "/echo/quiet").await.unwrap();
    let (_, end) = within(20, "the FIN", wire.rest()).await;
    assert_eq!(end, crate::harness::wire::End::Fin);
    wire.finish().await;
    let scrape = raw.metrics_until("it to end", |s| s.open("") == 0.0).await;
    let closed = [("kind", "tcp"), ("outcome", "closed")];
    assert_eq!(scrape.sum("lameduck_sessions_ended_total", &closed), 1.0);
}
