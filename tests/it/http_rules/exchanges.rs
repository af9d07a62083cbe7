//! Requests without a body: however the answer comes, it is the same to the client, and the connection to the agent
//! serves the next request if it may.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::harness::agent::Agent;
use crate::harness::wire::{End, crumbs, request};
use crate::harness::{Proxy, within};

use super::{OK, client_of, response};

/// An agent that answers its requests with these, one after the other and on whichever connection, each in its pieces.
/// It tells on which connection it was asked what.
fn answering_in_turn(
    answers: Vec<Vec<Vec<u8>>>,
) -> (Agent, mpsc::UnboundedReceiver<(usize, String)>) {
    let (told, seen) = mpsc::unbounded_channel();
    let answers = Arc::new(std::sync::Mutex::new(answers.into_iter()));
    let agent = Agent::scripted(move |number, mut wire| {
        let (told, answers) = (told.clone(), Arc::clone(&answers));
        async move {
            while let Some((head, _)) = wire.next_request().await {
                let _ = told.send((number, head.first));
                let answer = answers.lock().unwrap().next().expect("an answer");
                wire.send_each(answer).await;
            }
        }
    });
    (agent, seen)
}

/// On how many connections an agent was asked, and how often.
fn asked(seen: &mut mpsc::UnboundedReceiver<(usize, String)>) -> (usize, usize) {
    let asked: Vec<usize> = std::iter::from_fn(|| seen.try_recv().ok())
        .map(|(connection, _)| connection)
        .collect();
    (HashSet::<&usize>::from_iter(&asked).len(), asked.len())
}

#[tokio::test]
async fn an_answer_is_the_same_however_it_comes() {
    let large = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n{}",
        "l".repeat(20_000)
    );
    let wordy = format!(
        "HTTP/1.1 200 OK\r\nx-word: {}\r\ncontent-length: 2\r\n\r\nok",
        "w".repeat(9000)
    );
    let many: String = (0..80).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}content-length: 2\r\n\r\nok");
    for (answer, line, body) in [
        (OK, "HTTP/1.1 200 OK", "ok"),
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found",
            "",
        ),
        (
            "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 Fine",
            "ok",
        ),
        (
            "HTTP/1.1 299 \r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 299 ",
            "ok",
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: Keep-Alive\r\nkeep-alive: timeout=5\r\n\
             content-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK",
            "ok",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK",
            "ok",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK",
            "ok",
        ),
        (
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 204 No Content",
            "",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 304 Not Modified",
            "",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK",
            "ok",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK",
            "ok",
        ),
        (&large, "HTTP/1.1 200 OK", &"l".repeat(20_000)),
        (&wordy, "HTTP/1.1 200 OK", "ok"),
        (&many, "HTTP/1.1 200 OK", "ok"),
    ] {
        let whole = vec![answer.as_bytes().to_vec()];
        let (begin, end) = answer.as_bytes().split_at(answer.len() - 1);
        let halves = vec![begin.to_vec(), end.to_vec()];
        let ok = vec![OK.as_bytes().to_vec()];
        // In front of and behind one that comes whole.
        let answers = vec![
            ok.clone(),
            whole,
            ok.clone(),
            crumbs(answer.as_bytes()),
            ok,
            halves,
        ];
        let (agent, mut seen) = answering_in_turn(answers);
        let proxy = Proxy::http(agent.addr).start().await;
        let mut client = client_of(&proxy).await;
        for turn in 0..6 {
            let (line, body) = match turn % 2 {
                0 => ("HTTP/1.1 200 OK", "ok"),
                _ => (line, body),
            };
            client.send(request("GET", "/", &[], b"")).await.unwrap();
            let answer = response(&mut client, "GET").await;
            assert_eq!(answer.head.first, line);
            assert!(answer.body.whole, "{line}");
            assert_eq!(answer.text(), body);
        }
        assert_eq!(asked(&mut seen), (1, 6), "{line}");
    }
}

#[tokio::test]
async fn requests_with_a_body_share_the_connections_of_those_without() {
    let answers = vec![vec![OK.as_bytes().to_vec()]; 8];
    let (agent, mut seen) = answering_in_turn(answers);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    for (method, body) in [
        ("GET", &b""[..]),
        ("GET", b""),
        ("POST", b"x"),
        ("GET", b""),
        ("POST", b""),
        ("DELETE", b""),
        ("GET", b"of its own"),
        ("GET", b""),
    ] {
        client.send(request(method, "/", &[], body)).await.unwrap();
        assert_eq!(response(&mut client, method).await.text(), "ok");
    }
    assert_eq!(asked(&mut seen), (1, 8));
}

/// What an agent says without having been asked is an answer to nobody.
#[tokio::test]
async fn what_was_not_asked_for_answers_no_request() {
    const UNASKED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let both = [OK, UNASKED].concat().into_bytes();
    let ok = OK.as_bytes().to_vec();
    let (agent, mut seen) = answering_in_turn(vec![vec![both], vec![ok]]);
    let proxy = Proxy::http(agent.addr).start().await;
    for _ in 0..2 {
        let mut client = client_of(&proxy).await;
        client.send(request("GET", "/", &[], b"")).await.unwrap();
        assert_eq!(response(&mut client, "GET").await.text(), "ok");
    }
    assert_eq!(asked(&mut seen), (2, 2));
}

/// Many servers say `408` to a connection that has been idle for too long.
#[tokio::test]
async fn what_comes_on_an_idle_connection_answers_no_request() {
    for late in [
        "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
        "\n",
    ] {
        let (said, says) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, say) = (Arc::clone(&said), Arc::clone(&says));
        let agent = Agent::scripted(move |_, mut wire| {
            let (told, say) = (Arc::clone(&told), Arc::clone(&say));
            async move {
                if wire.next_request().await.is_none() {
                    return;
                }
                let _ = wire.send(OK).await;
                say.notified().await;
                let _ = wire.send(late).await;
                told.notify_one();
                // What is asked on it after that is never answered.
                wire.rest().await;
            }
        });
        let proxy = Proxy::http(agent.addr).start().await;
        for _ in 0..8 {
            let mut client = client_of(&proxy).await;
            client.send(request("GET", "/", &[], b"")).await.unwrap();
            assert_eq!(response(&mut client, "GET").await.status, 200);
            says.notify_one();
            within(10, "the late word", said.notified()).await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_agent_gives_up_is_not_used_again() {
    let last = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let last = vec![last.as_bytes().to_vec()];
    let (agent, mut seen) = answering_in_turn(vec![last.clone(), last]);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    for _ in 0..2 {
        client.send(request("GET", "/", &[], b"")).await.unwrap();
        assert_eq!(response(&mut client, "GET").await.text(), "ok");
    }
    assert_eq!(asked(&mut seen), (2, 2));
}

#[tokio::test]
async fn a_connection_that_the_agent_ends_is_ended_soon() {
    let (told, mut ended) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            if wire.next_request().await.is_none() {
                return;
            }
            let _ = wire.send(OK).await;
            wire.finish().await;
            let _ = told.send(wire.rest().await.1);
        }
    });
    let proxy = Proxy::builder()
        .listener_with("web", "http", agent.addr, "idle_timeout = \"1m\"")
        .start()
        .await;
    let mut client = client_of(&proxy).await;
    client.send(request("GET", "/", &[], b"")).await.unwrap();
    assert_eq!(response(&mut client, "GET").await.text(), "ok");
    let end = within(10, "the proxy's end", ended.recv()).await;
    assert_eq!(end, Some(End::Fin));
}
