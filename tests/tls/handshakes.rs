//! Handshakes that do not come to an end, or should not: bounded in time and number, and counted.

use std::time::{Duration, Instant};

use crate::between::{Pieces, before};
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::authority::ONLY_13;
use crate::harness::wire::Wire;
use crate::harness::{Proxy, within};
use crate::scene::Files;

fn refused(scrape: &crate::harness::metrics::Scrape, reason: &str) -> f64 {
    scrape.sum("lameduck_sessions_refused_total", &[("reason", reason)])
}

/// A session over TLS that gets its answers.
async fn speaks(client: &mut Wire, number: u64) {
    client.send(format!("{number:08} x\n")).await.unwrap();
    let line = within(10, "an echo", client.until(b"\n")).await;
    assert_eq!(line, Some(format!("{number:08} x\n").into_bytes()));
}

async fn scene(
    configure: impl FnOnce(crate::harness::proxy::Builder) -> crate::harness::proxy::Builder,
) -> (Files, TcpAgent, Proxy) {
    let files = Files::new();
    let agent = TcpAgent::start();
    let proxy = configure(files.proxy("tcp", agent.agent.addr))
        .start()
        .await;
    (files, agent, proxy)
}

#[tokio::test]
async fn one_that_takes_too_long_is_ended() {
    let (_files, _agent, proxy) =
        scene(|proxy| proxy.set("listener.tls", "handshake_timeout", "\"300ms\"")).await;
    let mut silent = Wire::connect(proxy.addr("raw")).await.unwrap();
    let mut slow = Wire::connect(proxy.addr("raw")).await.unwrap();
    // The beginning of a ClientHello.
    slow.send([22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    within(10, "the end", silent.rest()).await;
    within(10, "the end", slow.rest()).await;
    let both = |s: &crate::harness::metrics::Scrape| refused(s, "tls_handshake") == 2.0;
    proxy.metrics_until("two refusals", both).await;
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_a_probe_is_nothing() {
    let (_files, _agent, proxy) = scene(|proxy| proxy).await;
    let mut probe = Wire::connect(proxy.addr("raw")).await.unwrap();
    probe.finish().await;
    within(10, "the end", probe.rest()).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        &[22, 3, 1, 0, 0],
        &[0; 100],
    ] {
        let mut client = Wire::connect(proxy.addr("raw")).await.unwrap();
        client.send(garbage).await.unwrap();
        client.finish().await;
        within(10, "the end", client.rest()).await;
    }
    let three = |s: &crate::harness::metrics::Scrape| refused(s, "tls_handshake") == 3.0;
    let scrape = proxy.metrics_until("three refusals", three).await;
    assert_eq!(scrape.open(""), 0.0);
}

#[tokio::test]
async fn a_flood_is_bounded_while_sessions_go_on() {
    let (files, _agent, proxy) = scene(|proxy| {
        proxy.set("listener.tls", "max_handshakes", "3").set(
            "listener.tls",
            "handshake_timeout",
            "\"2s\"",
        )
    })
    .await;
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), tls, Pieces::Whole);
    let mut session = Wire::connect(front.addr).await.unwrap();
    session.send("/echo/anna\n").await.unwrap();
    speaks(&mut session, 0).await;
    let mut flood = Vec::new();
    for number in 1..=100 {
        flood.push(Wire::connect(proxy.addr("raw")).await.unwrap());
        speaks(&mut session, number).await;
    }
    // Three on each of two workers wait for their time to be over.
    let crowd = |s: &crate::harness::metrics::Scrape| refused(s, "tls_crowd") >= 94.0;
    proxy.metrics_until("refusals", crowd).await;
    for mut wire in flood {
        within(10, "the end", wire.rest()).await;
    }
    let late = |s: &crate::harness::metrics::Scrape| refused(s, "tls_handshake") >= 1.0;
    let scrape = proxy.metrics_until("those out of time", late).await;
    let all = refused(&scrape, "tls_crowd") + refused(&scrape, "tls_handshake");
    assert!((94.0..=100.0).contains(&all), "{all}");
    let mut after = Wire::connect(front.addr).await.unwrap();
    after.send("/echo/berta\n").await.unwrap();
    speaks(&mut after, 0).await;
    speaks(&mut session, 101).await;
}

#[tokio::test]
async fn who_is_refused_a_handshake_is_left_a_moment_later() {
    let one_each =
        |proxy: crate::harness::proxy::Builder| proxy.set("listener.tls", "max_handshakes", "1");
    let (_files, _agent, proxy) = scene(one_each).await;
    let to_the_end = async |bytes: &[u8]| {
        let begun = Instant::now();
        let mut client = Wire::connect(proxy.addr("raw")).await.unwrap();
        client.send(bytes).await.unwrap();
        within(10, "the end", client.rest()).await;
        begun.elapsed()
    };
    let moment = Duration::from_millis(50);
    let took = to_the_end(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(took >= moment, "no TLS: {took:?}");
    let mut under_way = Vec::new();
    for _ in 0..2 {
        under_way.push(Wire::connect(proxy.addr("raw")).await.unwrap());
    }
    let took = to_the_end(b"").await;
    assert!(took >= moment, "one too many: {took:?}");
    let crowd = |s: &crate::harness::metrics::Scrape| refused(s, "tls_crowd") == 1.0;
    proxy.metrics_until("the refusal", crowd).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_over_tls_is_no_session() {
    let (files, _agent, proxy) = scene(|proxy| proxy).await;
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), tls, Pieces::Whole);
    let mut client = Wire::connect(front.addr).await.unwrap();
    assert!(client.stays_silent(Duration::from_millis(300)).await);
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(
        (
            scrape.open(""),
            scrape.sum("lameduck_connections_open", &[])
        ),
        (0.0, 1.0)
    );
}
