//! Event streams outside of a drain: however the agent frames one, the client has the same events and the same end.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::harness::agent::Agent;
use crate::harness::wire::{Body, End, Response, Wire, crumbs, request};
use crate::harness::{Proxy, within};

const SUBSCRIBE: [(&str, &str); 1] = [("accept", "text/event-stream")];
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const UNTIL_THE_END: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const EVENTS: &str = "id: 1\ndata: one\n\nid: 2\ndata: two\n\ndata: three\r\n\r\n";

/// An agent that answers each request with these pieces, each sent alone, and then ends its side.
fn piecemeal(pieces: Vec<Vec<u8>>) -> Agent {
    Agent::scripted(move |_, mut wire| {
        let pieces = pieces.clone();
        async move {
            if wire.next_request().await.is_none() {
                return;
            }
            wire.send_each(pieces).await;
            wire.finish().await;
            wire.rest().await;
        }
    })
}

async fn subscribed(proxy: &Proxy) -> Wire {
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    client
        .send(request("GET", "/events", &SUBSCRIBE, b""))
        .await
        .unwrap();
    client
}

async fn answer(pieces: Vec<Vec<u8>>) -> Response {
    let agent = piecemeal(pieces);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = subscribed(&proxy).await;
    let response = within(10, "the stream", client.response("GET")).await;
    response.expect("a response")
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

#[tokio::test]
async fn events_come_through_however_they_are_cut() {
    let chunks: Vec<Vec<u8>> = EVENTS.as_bytes().chunks(7).map(chunk).collect();
    let extended = b"5;name=value\r\ndata:\r\n5;q=\"a b\"\r\n one\n\r\n1\r\n\n\r\n".to_vec();
    let last = b"0\r\n\r\n".to_vec();
    let whole = [CHUNKED.as_bytes(), &chunks.concat(), &last].concat();
    let head = CHUNKED.as_bytes().to_vec();
    let by_chunk = [vec![head.clone()], chunks, vec![last.clone()]].concat();
    let until_the_end = [UNTIL_THE_END, EVENTS].concat().into_bytes();
    for (pieces, events) in [
        (vec![whole.clone()], EVENTS),
        (crumbs(&whole), EVENTS),
        (by_chunk, EVENTS),
        (vec![head, extended, last], "data: one\n\n"),
        (crumbs(&until_the_end), EVENTS),
        (vec![until_the_end], EVENTS),
    ] {
        let response = answer(pieces).await;
        assert_eq!(response.field("content-type"), Some("text/event-stream"));
        assert_eq!(response.text(), events);
        assert!(response.body.whole, "{response:?}");
    }
}

/// Half an answer never looks like a whole one.
#[tokio::test]
async fn a_stream_that_breaks_off_has_no_end() {
    let begun = [CHUNKED.as_bytes(), &chunk(b"data: one\n\n")].concat();
    for broken in [
        &b""[..],
        b"5\r\ndat",
        b"zz\r\n",
        b"5\r\ndata:X\r\n",
        b"0\r\nno field\r\n\r\n",
    ] {
        let response = answer(vec![begun.clone(), broken.to_vec()]).await;
        assert!(response.text().starts_with("data: one\n\n"), "{broken:?}");
        assert!(!response.body.whole, "{broken:?}: {response:?}");
    }
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let agent = Agent::scripted(move |_, mut wire| {
        let (begun, told) = (begun.clone(), Arc::clone(&told));
        async move {
            if wire.next_request().await.is_none() {
                return;
            }
            let _ = wire.send(begun).await;
            told.notified().await;
            wire.reset();
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = subscribed(&proxy).await;
    within(10, "an event", client.until(b"data: one\n\n\r\n"))
        .await
        .unwrap();
    arrived.notify_one();
    let (rest, _) = within(10, "the end", client.rest()).await;
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn trailers_do_not_disturb_the_end() {
    let events = chunk(b"data: one\n\n");
    let end = b"0\r\nx-checksum: 1\r\n\r\n";
    let whole = [CHUNKED.as_bytes(), &events, end].concat();
    for pieces in [vec![whole.clone()], crumbs(&whole)] {
        let Body { bytes, whole, .. } = answer(pieces).await.body;
        assert_eq!((&bytes[..], whole), (&b"data: one\n\n"[..], true));
    }
}

/// The stream is read as its client takes it, and whole in the end.
#[tokio::test]
async fn a_slow_client_has_all_of_a_fast_stream() {
    let event = |n: u32| format!("id: {n}\ndata: {n:016000}\n\n");
    let (told, mut sent) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            if wire.next_request().await.is_none() {
                return;
            }
            let _ = wire.send(CHUNKED).await;
            for n in 0..2000 {
                if wire.send(chunk(event(n).as_bytes())).await.is_err() {
                    return;
                }
                let _ = told.send(n);
            }
            let _ = wire.send("0\r\n\r\n").await;
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = subscribed(&proxy).await;
    client.head().await.unwrap();
    // It stops where the sockets between them are full, long before its end.
    let mut last = 0;
    while let Ok(Some(n)) = timeout(Duration::from_millis(500), sent.recv()).await {
        last = n;
    }
    assert!(last < 1999, "32 MB were read that nobody took");
    let mut raw = std::mem::take(&mut client.ahead);
    let mut piece = vec![0; 64 * 1024];
    while !raw.ends_with(b"\r\n0\r\n\r\n") {
        let n = within(10, "more", client.stream.read(&mut piece))
            .await
            .unwrap();
        assert!(n > 0, "the end came early");
        raw.extend_from_slice(&piece[..n]);
    }
    let (mut events, mut rest) = (Vec::new(), &raw[..]);
    while let Some(line) = rest.split(|byte| *byte == b'\r').next() {
        let size = usize::from_str_radix(std::str::from_utf8(line).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        events.extend_from_slice(&rest[line.len() + 2..][..size]);
        rest = &rest[line.len() + size + 4..];
    }
    let expected = (0..2000).map(event).collect::<String>();
    assert!(events == expected.as_bytes(), "{} bytes", events.len());
}

#[tokio::test]
async fn the_agent_learns_that_its_subscriber_has_gone() {
    let (told, mut wires) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            if wire.next_request().await.is_some() {
                let _ = wire.send(CHUNKED).await;
                let _ = told.send(wire);
            }
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = subscribed(&proxy).await;
    client.head().await.unwrap();
    let mut agent_side = within(10, "the subscription", wires.recv()).await.unwrap();
    proxy
        .metrics_until("the stream", |scrape| scrape.open("sse") == 1.0)
        .await;
    drop(client);
    let (rest, end) = within(10, "the end", agent_side.rest()).await;
    assert!(rest.is_empty() && end == End::Fin, "{rest:?}, {end:?}");
    proxy
        .metrics_until("no stream", |scrape| scrape.open("sse") == 0.0)
        .await;
}

/// Whatever is no stream is answered as ever.
#[tokio::test]
async fn who_asks_for_a_stream_may_be_answered_otherwise() {
    let known = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{EVENTS}",
        EVENTS.len()
    );
    for (status, bytes, body) in [
        (204, "HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            401,
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno",
            "no",
        ),
        (200, &known, EVENTS),
        (
            200,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nplain",
            "plain",
        ),
        (
            200,
            "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
            "data: 1\n\n",
        ),
    ] {
        let response = answer(crumbs(bytes.as_bytes())).await;
        assert_eq!((response.status, &*response.text()), (status, body));
        let response = answer(vec![bytes.as_bytes().to_vec()]).await;
        assert_eq!((response.status, &*response.text()), (status, body));
    }
}

/// A stream keeps its connection to the agent, so it takes none that waits for requests.
#[tokio::test]
async fn a_stream_leaves_the_connections_of_requests_alone() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |number, mut wire| {
        let told = told.clone();
        async move {
            while let Some((head, _)) = wire.next_request().await {
                let _ = told.send((number, head.lists("accept", "text/event-stream")));
                let answer = match head.lists("accept", "text/event-stream") {
                    true => CHUNKED,
                    false => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                };
                let _ = wire.send(answer).await;
            }
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = Wire::connect(proxy.addr("web")).await.unwrap();
    let mut subscribers = Vec::new();
    for _ in 0..3 {
        client.request("GET", "/", &[], b"").await.unwrap();
        let mut subscriber = subscribed(&proxy).await;
        within(10, "the stream", subscriber.head()).await.unwrap();
        subscribers.push(subscriber);
    }
    let (mut requests, mut streams) = (Vec::new(), Vec::new());
    while let Ok((number, is_stream)) = seen.try_recv() {
        match is_stream {
            true => streams.push(number),
            false => requests.push(number),
        }
    }
    assert_eq!((requests.len(), streams.len()), (3, 3));
    requests.dedup();
    assert_eq!(requests.len(), 1, "{requests:?}");
    streams.push(requests[0]);
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams.len(), 4, "{streams:?}");
}
