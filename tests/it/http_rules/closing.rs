//! How connections end: with the proxy's FIN, and the client's time to read what came before it.

use std::time::{Duration, Instant};

use crate::harness::wire::{End, request};
use crate::harness::{Proxy, within};

use super::{OK, answering, client_of, response};

const LAST: [(&str, &str); 1] = [("connection", "close")];

#[tokio::test]
async fn who_does_not_end_its_side_is_left_behind_the_last_answer() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("GET", "/", &LAST, b"")).await.unwrap();
    assert_eq!(response(&mut client, "GET").await.status, 200);
    within(10, "the proxy's FIN", client.rest()).await;
    assert_eq!(client.end, Some(End::Fin));
    // The client stays, and says nothing.
    let open = [("listener", "web")];
    proxy
        .metrics_until("nothing to be open", |scrape| {
            scrape.sum("lameduck_connections_open", &open) == 0.0
        })
        .await;
}

#[tokio::test]
async fn who_goes_on_sending_reads_its_answer_before_it_is_left() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client.send(request("GET", "/", &LAST, b"")).await.unwrap();
    // More than the sockets between hold, and never read as a request.
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..64 {
        if client.send(&piece).await.is_err() {
            break;
        }
    }
    assert_eq!(response(&mut client, "GET").await.status, 200);
}

/// Who comes again and again would keep the core from the others: the least that it takes is no matter of speed.
#[tokio::test]
async fn who_is_refused_has_an_answer_at_once_and_the_end_after_a_while() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::builder()
        .listener("web", "http", agent.addr)
        .set("limits", "max_request_body", "\"1KiB\"")
        .start()
        .await;
    let large = "x".repeat(100_000);
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n".to_owned(), 400),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {large}\r\n\r\n"),
            431,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n\r\n".to_owned(),
            413,
        ),
        (format!("{chunked}800\r\n{}\r\n", "x".repeat(0x800)), 413),
    ] {
        let mut client = client_of(&proxy).await;
        let begun = Instant::now();
        // It may be refused before all of it is out.
        let _ = client.send(bytes).await;
        assert_eq!(response(&mut client, "GET").await.status, status);
        let end = within(10, "the end", client.rest()).await.1;
        let took = begun.elapsed();
        assert_eq!(end, End::Fin, "{status}");
        assert!(took >= Duration::from_millis(50), "{status}: {took:?}");
    }
}

/// A balancer that reads until the end waits for nothing.
#[tokio::test]
async fn who_is_not_refused_has_the_end_sooner_than_who_is() {
    let (agent, _seen) = answering(OK);
    let proxy = Proxy::http(agent.addr)
        .set("http", "health_path", "\"/alive\"")
        .start()
        .await;
    let mut refused = client_of(&proxy).await;
    let bad = b"GET / HTTP/1.1\r\n\r\n";
    refused.send(bad).await.unwrap();
    assert_eq!(response(&mut refused, "GET").await.status, 400);
    for path in ["/", "/alive"] {
        let mut client = client_of(&proxy).await;
        client.send(request("GET", path, &LAST, b"")).await.unwrap();
        assert_eq!(response(&mut client, "GET").await.status, 200);
        tokio::select! {
            biased;
            end = client.rest() => assert_eq!(end, (vec![], End::Fin), "{path}"),
            _ = refused.rest() => panic!("{path}: who was refused had the end before"),
        }
    }
}
