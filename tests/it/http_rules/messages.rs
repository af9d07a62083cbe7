//! Messages in order: lengths, chunks, trailers, pipelines, interim answers.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use crate::harness::agent::Agent;
use crate::harness::agent::http::HttpAgent;
use crate::harness::wire::{Body, request};
use crate::harness::{Proxy, within};

use super::{OK, Seen, answering, client_of, response};

#[tokio::test]
async fn a_continue_comes_from_the_agent() {
    let agent = Agent::scripted(|_, mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        assert_eq!(head.field("expect"), Some("100-continue"));
        let _ = wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = wire.request_body(&head).await;
        assert_eq!(body.bytes, b"hello");
        let _ = wire.send(OK).await;
        wire.more().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await
        .unwrap();
    let interim = within(10, "the interim response", client.head())
        .await
        .expect("a head");
    assert_eq!(interim.status(), 100, "{interim:?}");
    client.send("hello").await.unwrap();
    assert_eq!(response(&mut client, "POST").await.status, 200);
}

#[tokio::test]
async fn no_continue_comes_where_the_agent_says_no() {
    let (agent, mut seen) = {
        let (told, seen) = mpsc::unbounded_channel();
        let agent = Agent::scripted(move |_, mut wire| {
            let told = told.clone();
            async move {
                let Some(head) = wire.head().await else {
                    return;
                };
                let _ = told.send((head, Body::default()));
                let no = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n";
                let _ = wire.send(no).await;
                while wire.more().await {}
            }
        });
        (agent, Seen(seen))
    };
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await
        .unwrap();
    seen.next().await;
    let first = within(10, "the first response", client.head())
        .await
        .expect("a head");
    assert_eq!(first.status(), 417, "{first:?}");
}

#[tokio::test]
async fn a_head_has_a_length_and_no_body() {
    let (agent, mut seen) = answering("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    for _ in 0..2 {
        client.send(request("HEAD", "/", &[], b"")).await.unwrap();
        let answer = response(&mut client, "HEAD").await;
        assert_eq!(
            (answer.status, answer.field("content-length")),
            (200, Some("1234"))
        );
        assert!(seen.next().await.0.first.starts_with("HEAD / "));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let mut all = request("POST", "/echo", &[], b"first");
    all.extend(request("GET", "/slow?ms=100", &[], b""));
    all.extend(request("POST", "/echo", &[], b"third"));
    client.send(all).await.unwrap();
    for expected in ["first", "at last", "third"] {
        assert_eq!(response(&mut client, "GET").await.text(), expected);
    }
}

#[tokio::test]
async fn chunks_are_passed_on_as_they_come() {
    let (go_on, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let agent = Agent::scripted(move |_, mut wire| {
        let wait = wait.clone();
        async move {
            let Some((head, body)) = wire.next_request().await else {
                return;
            };
            assert!(head.lists("transfer-encoding", "chunked"), "{head:?}");
            assert_eq!(body.bytes, b"hello, world");
            let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            let _ = wire.send(first).await;
            let wait = wait.lock().unwrap().take();
            let _ = wait.expect("one request").await;
            let _ = wire.send("7\r\n second\r\n0\r\n\r\n").await;
            wire.more().await;
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    // The pieces of the request fall where no chunk ends.
    for piece in [
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6;x=y\r\nhel",
        "lo,\r\n6\r",
        "\n world\r\n0\r\n",
        "\r\n",
    ] {
        client.send(piece).await.unwrap();
        client.stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let first = within(10, "the first chunk", client.until(b"first\r\n")).await;
    assert!(first.is_some(), "the response ended before its first chunk");
    go_on.send(()).unwrap();
    let rest = within(10, "the last chunk", client.until(b"\r\n0\r\n\r\n"))
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&rest).contains(" second"));
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (agent, mut seen) = answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n",
    );
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\ntrailer: x-digest\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-digest: 17\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = response(&mut client, "POST").await;
    let (_, body) = seen.next().await;
    assert_eq!(body.trailers, [("x-digest".to_owned(), "17".to_owned())]);
    assert!(body.whole);
    assert_eq!(answer.text(), "ok");
    assert_eq!(
        answer.body.trailers,
        [("x-sum".to_owned(), "42".to_owned())]
    );
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
    within(5, "the end", client.rest()).await;
    assert!(
        seen.next().await.0.first.ends_with("HTTP/1.1"),
        "the agent is spoken to in 1.1"
    );
}
