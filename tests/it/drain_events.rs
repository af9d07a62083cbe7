//! How a drain ends event streams: a subscription in order, since it will be taken up elsewhere; an
//! answer to a POST never, since half of it would look like the whole.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::harness::agent::Agent;
use crate::harness::agent::http::HttpAgent;
use crate::harness::client::http;
use crate::harness::wire::{Wire, request};
use crate::harness::{Proxy, within};

#[tokio::test]
async fn a_subscription_ends_after_a_whole_event() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("8s")
        .brief_lame_duck()
        .start()
        .await;
    let addr = proxy.addr("web");
    let reading = tokio::spawn(http::events(addr, "GET", "/events?every=50"));
    proxy
        .metrics_until("the stream", |scrape| scrape.open("sse") == 1.0)
        .await;
    proxy.terminate();
    let record = within(20, "the end of the stream", reading).await.unwrap();
    assert_eq!(record.faults, Vec::<String>::new());
    assert!(record.events > 0);
    let retry = record.retry.expect("a word of when to come back");
    assert!((1000..=5000).contains(&retry), "{retry}");
    let exit = proxy.exit_within(10).await;
    assert_eq!(exit.code, Some(0));
    assert_eq!(proxy.report()["kinds"]["sse"]["outcomes"]["closed"], 1);
}

/// An agent that begins an event stream, and leaves the rest to the test.
fn streaming() -> (Agent, mpsc::UnboundedReceiver<Wire>) {
    let (told, wires) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            if wire.next_request().await.is_none() {
                return;
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            let _ = wire.send(head).await;
            let _ = told.send(wire);
        }
    });
    (agent, wires)
}

#[tokio::test]
async fn a_subscription_is_not_ended_inside_an_event() {
    let (agent, mut wires) = streaming();
    let proxy = Proxy::http(agent.addr)
        .window("12s")
        .brief_lame_duck()
        .start()
        .await;
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    client
        .send(request("GET", "/", &[("accept", "text/event-stream")], b""))
        .await
        .unwrap();
    let mut agent_side = within(10, "the request", wires.recv()).await.unwrap();
    agent_side
        .send("f\r\nid: 0\ndata: a\n\n\r\n")
        .await
        .unwrap();
    agent_side.send("d\r\nid: 1\ndata: b\r\n").await.unwrap();
    within(10, "half an event", client.until(b"data: b\r\n"))
        .await
        .unwrap();
    proxy.terminate();
    proxy.phase("closing").await;
    assert!(
        client.stays_silent(Duration::from_millis(500)).await,
        "ended inside an event"
    );
    agent_side.send("2\r\n\n\n\r\n").await.unwrap();
    let (rest, _) = within(20, "the end", client.rest()).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.starts_with("2\r\n\n\n\r\n"), "{rest:?}");
    // A chunk of its own, with nothing but when to come back (in four digits).
    let last = rest.strip_prefix("2\r\n\n\n\r\nD\r\nretry: ");
    let last = last.and_then(|last| last.strip_suffix("\n\n\r\n0\r\n\r\n"));
    let delay: u64 = last.and_then(|delay| delay.parse().ok()).expect(&rest);
    assert!((1000..=5000).contains(&delay), "{rest:?}");
    assert!(
        rest.ends_with("0\r\n\r\n"),
        "the body has its end: {rest:?}"
    );
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}

/// What a subscriber hears from the drain on who has had one event, and stands behind it.
async fn heard_at_a_boundary(sse_retry: &str) -> String {
    let (agent, mut wires) = streaming();
    let proxy = Proxy::http(agent.addr)
        .window("8s")
        .brief_lame_duck()
        .drain("sse_retry", sse_retry)
        .start()
        .await;
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    client.send(request("GET", "/", &[], b"")).await.unwrap();
    let mut agent_side = within(10, "the request", wires.recv()).await.unwrap();
    agent_side.send("9\r\ndata: a\n\n\r\n").await.unwrap();
    within(10, "the event", client.until(b"data: a\n\n\r\n"))
        .await
        .unwrap();
    proxy.terminate();
    let (rest, _) = within(20, "the end", client.rest()).await;
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
    assert_eq!(proxy.report()["kinds"]["sse"]["outcomes"]["closed"], 1);
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn a_silent_subscription_is_told_when_to_come_back() {
    let heard = heard_at_a_boundary("\"50s\"").await;
    let delay = heard
        .strip_prefix("E\r\nretry: ")
        .and_then(|delay| delay.strip_suffix("\n\n\r\n0\r\n\r\n"))
        .expect(&heard);
    let delay: u64 = delay.parse().expect("milliseconds");
    assert!((10_000..=50_000).contains(&delay), "{delay}");
}

#[tokio::test]
async fn without_sse_retry_clients_keep_their_own() {
    assert_eq!(heard_at_a_boundary("\"0s\"").await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_generation_runs_to_its_end() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("20s")
        .brief_lame_duck()
        .start()
        .await;
    let addr = proxy.addr("web");
    // Three seconds of events: it is under way through every phase of the drain.
    let reading = tokio::spawn(http::events(addr, "POST", "/events?every=50&n=60"));
    within(10, "the request", web.has_seen(1, "/events")).await;
    proxy
        .metrics_until("the stream", |scrape| scrape.open("") == 1.0)
        .await;
    proxy.terminate();
    let record = within(20, "the end of the stream", reading).await.unwrap();
    assert_eq!((record.events, record.faults), (60, vec![]));
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
}

#[tokio::test]
async fn a_generation_that_is_cut_does_not_look_whole() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("5s")
        .brief_lame_duck()
        .start()
        .await;
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    client
        .send(request("POST", "/events?every=50", &[], b""))
        .await
        .unwrap();
    within(10, "the first event", client.until(b"event 0\n\n"))
        .await
        .unwrap();
    let begun = proxy.terminate();
    let (rest, end) = within(20, "the cut", client.rest()).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(
        !rest.contains("\r\n0\r\n\r\n"),
        "the body ended as if it were whole ({end:?})"
    );
    let exit = proxy.exit_within(10).await;
    assert!(exit.at - begun <= Duration::from_secs(5));
    assert_eq!(exit.code, Some(3));
}

#[tokio::test]
async fn a_request_that_is_cut_does_not_look_answered() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("4s")
        .brief_lame_duck()
        .drain("exit_code_when_cut", "7")
        .start()
        .await;
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    client
        .send(request("GET", "/hang", &[], b""))
        .await
        .unwrap();
    within(10, "the request", web.has_seen(1, "/hang")).await;
    proxy.terminate();
    let (heard, end) = within(20, "the cut", client.rest()).await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 50"),
        "neither an end nor an error, but {heard:?} and {end:?}"
    );
    assert_eq!(
        proxy.exit_within(10).await.code,
        Some(7),
        "the operator's code"
    );
}
