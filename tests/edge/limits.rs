//! What a client may take: sessions, connections and requests, and the size of a body.

use std::time::Duration;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::websocket;
use crate::harness::wire::{End, Response, Wire};
use crate::harness::{Proxy, within};
use crate::scene::{all_refused, echo, mirror, proxy, refused};

/// Connections that come from a client, as a balancer says.
const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.0/8\"]";

async fn connect(proxy: &Proxy, client: &str) -> Wire {
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    let family = if client.contains(':') { 6 } else { 4 };
    let to = if family == 6 { "::1" } else { "127.0.0.1" };
    let line = format!("PROXY TCP{family} {client} {to} 4711 80\r\n");
    wire.send(line).await.unwrap();
    wire
}

async fn ask(proxy: &Proxy, client: &str) -> Response {
    let mut wire = connect(proxy, client).await;
    within(10, "an answer", wire.request("GET", "/", &[], b""))
        .await
        .unwrap()
}

fn is_told(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    if matches!(status, 429 | 503) {
        let wait = response.field("retry-after").unwrap();
        assert!(wait.parse::<u32>().unwrap() >= 1, "{wait}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_client_and_answered_with_429() {
    let agent = mirror();
    let limits = "[limits]\nrequests_per_second = 1\nburst = 3";
    let proxy = proxy("http", agent.addr, REQUIRED, limits).await;
    let mut wire = connect(&proxy, "203.0.113.7").await;
    for n in 0..5 {
        let response = wire.request("GET", "/", &[], b"").await.unwrap();
        match n {
            0..3 => assert_eq!(response.status, 200),
            _ => is_told(&response, 429),
        }
    }
    // Another connection does not help, another client does; a /64 is one client.
    is_told(&ask(&proxy, "203.0.113.7").await, 429);
    assert_eq!(ask(&proxy, "203.0.113.8").await.status, 200);
    for n in 1..=3 {
        assert_eq!(ask(&proxy, &format!("2001:db8::{n}")).await.status, 200);
    }
    is_told(&ask(&proxy, "2001:db8::4").await, 429);
    assert_eq!(ask(&proxy, "2001:db8:0:1::1").await.status, 200);
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(refused(&scrape, "requests_per_second"), 4.0);
    assert_eq!(all_refused(&scrape), 4.0);
    let told = proxy.log.events();
    let told: Vec<_> = told.iter().filter(|e| e.message == "refused").collect();
    assert!((1..=4).contains(&told.len()), "{} lines", told.len());
    assert_eq!(
        told[0].text("reason").as_deref(),
        Some("requests_per_second")
    );
}

#[tokio::test]
async fn connections_are_counted_by_client() {
    let agent = mirror();
    let limits = "[limits]\nconnections_per_second = 1\nburst = 2";
    let web = proxy("http", agent.addr, REQUIRED, limits).await;
    for n in 0..4 {
        let response = ask(&web, "203.0.113.7").await;
        match n {
            0..2 => assert_eq!(response.status, 200),
            _ => {
                is_told(&response, 429);
                assert!(response.is_last());
            }
        }
    }
    assert_eq!(ask(&web, "203.0.113.8").await.status, 200);
    let scrape = web.scrape().await.unwrap();
    assert_eq!(
        (
            refused(&scrape, "connections_per_second"),
            all_refused(&scrape)
        ),
        (2.0, 2.0)
    );

    let agent = echo();
    let raw = proxy("tcp", agent.addr, REQUIRED, limits).await;
    for n in 0..4 {
        let mut wire = connect(&raw, "203.0.113.7").await;
        wire.send("hello\n").await.unwrap();
        match n {
            0..2 => assert_eq!(
                within(10, "echo", wire.until(b"\n")).await.unwrap(),
                b"hello\n"
            ),
            // Closed without a reset.
            _ => assert_eq!(within(10, "the end", wire.rest()).await, (vec![], End::Fin)),
        }
    }
    let scrape = raw.scrape().await.unwrap();
    assert_eq!(
        (
            refused(&scrape, "connections_per_second"),
            all_refused(&scrape)
        ),
        (2.0, 2.0)
    );
}

#[tokio::test]
async fn sessions_of_a_listener_and_of_a_client_are_bounded_over_all_workers() {
    let agent = WebSocketAgent::start();
    let limits = "[limits]\nmax_sessions = 5\nmax_sessions_per_client = 3";
    let proxy = proxy("http", agent.agent.addr, REQUIRED, limits).await;
    let upgrade = |wire: &mut Wire, path: &str| {
        let request = crate::harness::wire::request("GET", path, &websocket::UPGRADE, b"");
        let _ = wire;
        request
    };
    let mut open = Vec::new();
    for (n, (client, status)) in [
        ("203.0.113.1", 101),
        ("203.0.113.1", 101),
        ("203.0.113.1", 101),
        ("203.0.113.1", 429),
        ("203.0.113.2", 101),
        ("203.0.113.3", 101),
        ("203.0.113.4", 503),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = connect(&proxy, client).await;
        let bytes = upgrade(&mut wire, &format!("/echo/{n}"));
        wire.send(bytes).await.unwrap();
        let response = within(10, "an answer", wire.response("GET")).await.unwrap();
        match status {
            101 => {
                assert_eq!(response.status, 101, "{client}");
                open.push(wire);
            }
            _ => is_told(&response, status),
        }
    }
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(refused(&scrape, "max_sessions"), 1.0);
    assert_eq!(refused(&scrape, "max_sessions_per_client"), 1.0);
    // What ends makes room.
    open.clear();
    proxy
        .metrics_until("all to end", |s| s.open("") == 0.0)
        .await;
    for n in 0..3 {
        let mut wire = connect(&proxy, "203.0.113.1").await;
        let bytes = upgrade(&mut wire, &format!("/echo/again{n}"));
        wire.send(bytes).await.unwrap();
        let response = within(10, "an answer", wire.response("GET")).await.unwrap();
        assert_eq!(response.status, 101);
        open.push(wire);
    }
    proxy.scrape().await.unwrap().check_balance().unwrap();
}

#[tokio::test]
async fn requests_on_one_connection_never_count_twice() {
    let agent = HttpAgent::start();
    let limits = "[limits]\nmax_sessions_per_client = 1";
    let proxy = proxy("http", agent.agent.addr, "", limits).await;
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    for _ in 0..200 {
        let response = wire.request("GET", "/", &[], b"").await.unwrap();
        assert_eq!(response.status, 200);
    }
    // In one piece, each behind the last.
    let many = crate::harness::wire::request("GET", "/", &[], b"").repeat(20);
    wire.send(many).await.unwrap();
    for _ in 0..20 {
        assert_eq!(wire.response("GET").await.unwrap().status, 200);
    }
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(all_refused(&scrape), 0.0);
}

#[tokio::test]
async fn raw_sessions_beyond_the_limit_are_closed_in_order() {
    let agent = echo();
    let proxy = proxy("tcp", agent.addr, "", "[limits]\nmax_sessions = 2").await;
    let mut open = Vec::new();
    for n in 0..4 {
        let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
        wire.send("hello\n").await.unwrap();
        match n {
            0..2 => assert_eq!(
                within(10, "echo", wire.until(b"\n")).await.unwrap(),
                b"hello\n"
            ),
            _ => assert_eq!(within(10, "the end", wire.rest()).await, (vec![], End::Fin)),
        }
        open.push(wire);
    }
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(
        (refused(&scrape, "max_sessions"), all_refused(&scrape)),
        (2.0, 2.0)
    );
    open.clear();
    proxy
        .metrics_until("all to end", |s| s.open("") == 0.0)
        .await;
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    wire.send("hello\n").await.unwrap();
    assert!(within(10, "echo", wire.until(b"\n")).await.is_some());
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_answered_with_413() {
    let agent = HttpAgent::start();
    let limits = "[limits]\nmax_request_body = \"1KiB\"";
    let proxy = proxy("http", agent.agent.addr, "", limits).await;
    let door = proxy.addr("door");
    // At the limit it passes, framed either way.
    let mut wire = Wire::connect(door).await.unwrap();
    let response = wire
        .request("POST", "/echo", &[], &[b'x'; 1024])
        .await
        .unwrap();
    assert_eq!((response.status, response.body.bytes.len()), (200, 1024));
    let chunked = [("transfer-encoding", "chunked")];
    let chunks = |sizes: &[usize]| -> Vec<u8> {
        let chunk = |size: &usize| format!("{size:x}\r\n{}\r\n", "y".repeat(*size));
        let chunks: String = sizes.iter().map(chunk).collect();
        (chunks + "0\r\n\r\n").into_bytes()
    };
    let head = crate::harness::wire::request("POST", "/echo", &chunked, b"");
    wire.send([&head[..], &chunks(&[1000, 24])].concat())
        .await
        .unwrap();
    let response = wire.response("POST").await.unwrap();
    assert_eq!((response.status, response.body.bytes.len()), (200, 1024));
    let before = agent.requests().len();
    // By its Content-Length: the agent never hears of it.
    let response = wire
        .request("POST", "/echo", &[], &[b'x'; 1025])
        .await
        .unwrap();
    is_told(&response, 413);
    assert!(response.is_last());
    let mut wire = Wire::connect(door).await.unwrap();
    let expects = [("expect", "100-continue"), ("content-length", "5000")];
    let response = wire.request("POST", "/echo", &expects, b"").await.unwrap();
    is_told(&response, 413);
    assert_eq!(agent.requests().len(), before);
    // Chunk by chunk.
    for sizes in [&[1025][..], &[1000, 25], &[400; 10]] {
        let mut wire = Wire::connect(door).await.unwrap();
        wire.send(&head).await.unwrap();
        for size in sizes {
            let _ = wire
                .send(format!("{size:x}\r\n{}\r\n", "z".repeat(*size)))
                .await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let response = within(10, "413", wire.response("POST")).await.unwrap();
        is_told(&response, 413);
    }
    let scrape = proxy
        .metrics_until("five refusals", |s| refused(s, "max_request_body") == 5.0)
        .await;
    assert_eq!(all_refused(&scrape), 5.0);
    scrape.check_balance().unwrap();
}

#[tokio::test]
async fn a_listener_has_limits_of_its_own() {
    let agent = mirror();
    let listener = "[listener.limits]\nrequests_per_second = 1";
    let limits = "[limits]\nrequests_per_second = 1000";
    let proxy = proxy("http", agent.addr, listener, limits).await;
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    assert_eq!(
        wire.request("GET", "/", &[], b"").await.unwrap().status,
        200
    );
    is_told(&wire.request("GET", "/", &[], b"").await.unwrap(), 429);
}
