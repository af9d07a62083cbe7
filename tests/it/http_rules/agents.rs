//! Agents that answer early, wrongly, late, or not at all.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::{Agent, Vacancy};
use crate::harness::wire::{Head, request};
use crate::harness::{Proxy, within};

use super::{OK, answering, assert_problem, client_of, response};

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let agent = Agent::scripted(|_, mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        let answer = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo much";
        let _ = wire.send(answer).await;
        // It reads no more, and does not close either.
        std::future::pending::<()>().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n")
        .await
        .unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let answered = async {
        loop {
            tokio::select! {
                // The agent reads nothing, so this will stall; the answer must come nevertheless.
                _ = client.stream.writable() => {
                    if client.stream.try_write(&piece).is_err() {
                        tokio::task::yield_now().await;
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            let mut heard = [0; 4096];
            if let Ok(count) = client.stream.try_read(&mut heard) {
                client.ahead.extend(&heard[..count]);
                return count;
            }
        }
    };
    assert!(
        within(10, "the early answer", answered).await > 0,
        "closed without an answer"
    );
    let answer = response(&mut client, "POST").await;
    assert_eq!((answer.status, answer.text()), (413, "too much".to_owned()));
}

#[tokio::test]
async fn an_early_answer_of_an_agent_that_closes_reaches_the_client() {
    let agent = Agent::scripted(|_, mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        let answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\
                      content-length: 8\r\n\r\ntoo much";
        let _ = wire.send(answer).await;
        wire.finish().await;
        // A polite end: it waits for the other side's.
        while wire.more().await {
            wire.ahead.clear();
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n";
    client.send(head).await.unwrap();
    client.send(vec![b'x'; 100_000]).await.unwrap();
    let answer = response(&mut client, "POST").await;
    assert_eq!((answer.status, answer.text()), (413, "too much".to_owned()));
}

#[tokio::test]
async fn a_client_that_reads_only_when_it_has_sent_all_is_not_held_up_by_an_early_answer() {
    // More than all buffers on the way hold, in both directions.
    const LENGTH: usize = 16 << 20;
    let agent = Agent::start(|_, stream| async move {
        let (mut from, mut to) = stream.into_split();
        let mut head = [0; 1024];
        if from.read(&mut head).await.is_err() {
            return;
        }
        let told = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            let _ = to.write_all(head.as_bytes()).await;
            let _ = to.write_all(&vec![b'y'; LENGTH]).await;
            to
        });
        // It hears all of the client without waiting for its own words.
        let mut heard = Vec::new();
        let _ = from.read_to_end(&mut heard).await;
        let _ = told.await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
    client.send(head).await.unwrap();
    let all = client.send(vec![b'x'; LENGTH]);
    within(30, "the end of the request", all).await.unwrap();
    let answer = within(30, "the answer", response(&mut client, "POST")).await;
    assert_eq!((answer.status, answer.body.bytes.len()), (200, LENGTH));
}

#[tokio::test]
async fn an_agent_that_is_down_gives_502() {
    let vacancy = Vacancy::new();
    let proxy = Proxy::http(vacancy.addr()).start().await;
    let mut client = client_of(&proxy).await;
    for _ in 0..2 {
        client.send(request("GET", "/", &[], b"")).await.unwrap();
        assert_problem(&response(&mut client, "GET").await, 502);
    }
}

#[tokio::test]
async fn an_agent_that_closes_without_an_answer_gives_502() {
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.head().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    for (method, body) in [("POST", &b"x"[..]), ("GET", b"")] {
        let mut client = client_of(&proxy).await;
        client.send(request(method, "/", &[], body)).await.unwrap();
        assert_problem(&response(&mut client, method).await, 502);
    }
}

#[tokio::test]
async fn half_an_answer_gives_502() {
    for half in ["HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 "] {
        let agent = Agent::scripted(move |_, mut wire| async move {
            wire.head().await;
            let _ = wire.send(half).await;
        });
        let proxy = Proxy::http(agent.addr).start().await;
        let mut client = client_of(&proxy).await;
        client.send(request("GET", "/", &[], b"")).await.unwrap();
        assert_problem(&response(&mut client, "GET").await, 502);
    }
}

#[tokio::test]
async fn an_agent_that_speaks_nonsense_gives_502() {
    let (agent, _seen) = answering("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let proxy = Proxy::http(agent.addr).start().await;
    for (method, body) in [("POST", &b"x"[..]), ("GET", b"")] {
        let mut client = client_of(&proxy).await;
        client.send(request(method, "/", &[], body)).await.unwrap();
        assert_problem(&response(&mut client, method).await, 502);
    }
}

#[tokio::test]
async fn an_agent_that_is_too_slow_gives_504() {
    let web = HttpAgent::start();
    let proxy = Proxy::builder()
        .listener_with(
            "web",
            "http",
            web.agent.addr,
            "response_timeout = \"300ms\"",
        )
        .start()
        .await;
    let mut client = client_of(&proxy).await;
    client
        .send(request("GET", "/hang", &[], b""))
        .await
        .unwrap();
    assert_problem(&response(&mut client, "GET").await, 504);
    assert_eq!(web.requests().len(), 1, "a late request is not asked again");
}

/// An agent that keeps connections, but closes each at its second request.
fn forgetful() -> (Agent, mpsc::UnboundedReceiver<(usize, Head)>) {
    let (told, seen) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |number, mut wire| {
        let told = told.clone();
        async move {
            for answers in [true, false] {
                let Some((head, _)) = wire.next_request().await else {
                    return;
                };
                let _ = told.send((number, head));
                if answers {
                    let _ = wire.send(OK).await;
                }
            }
        }
    });
    (agent, seen)
}

#[tokio::test]
async fn an_idempotent_request_on_a_stale_connection_is_sent_again() {
    let (agent, mut seen) = forgetful();
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    for path in ["/first", "/second"] {
        let fields = [("x-one", "1"), ("x-two", "a"), ("x-two", "b; c=\"d\"")];
        let answer = client.request("GET", path, &fields, b"").await.unwrap();
        assert_eq!(
            (answer.status, answer.text()),
            (200, "ok".to_owned()),
            "{path}"
        );
    }
    let (mut heads, mut connections) = (Vec::new(), Vec::new());
    while let Ok((connection, head)) = seen.try_recv() {
        heads.push(head);
        connections.push(connection);
    }
    let expected = ["/first", "/second", "/second"].map(|path| format!("GET {path} HTTP/1.1"));
    let lines: Vec<_> = heads.iter().map(|head| &head.first).collect();
    assert_eq!(lines, expected.each_ref());
    let [_, sent, again] = &heads[..] else {
        unreachable!("three were compared");
    };
    assert_eq!(again.fields, sent.fields);
    assert!(
        again
            .fields
            .contains(&("x-two".to_owned(), "b; c=\"d\"".to_owned()))
    );
    let kept_then_fresh = connections[0] == connections[1] && connections[1] != connections[2];
    assert!(kept_then_fresh, "{connections:?}");
}

#[tokio::test]
async fn a_post_on_a_stale_connection_is_not_repeated() {
    let (agent, mut seen) = forgetful();
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let first = client.request("GET", "/first", &[], b"").await.unwrap();
    assert_eq!(first.status, 200);
    client
        .send(request("POST", "/pay", &[], b"100"))
        .await
        .unwrap();
    let answer = response(&mut client, "POST").await;
    let mut posts = 0;
    while let Ok((_, head)) = seen.try_recv() {
        posts += usize::from(head.first.starts_with("POST"));
    }
    assert_eq!(posts, 1, "paid {posts} times");
    assert_problem(&answer, 502);
}
