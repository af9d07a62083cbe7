//! Handshakes of an upgrade whose answer is not one small 101 in one piece.

use tokio::sync::mpsc;

use crate::harness::agent::Agent;
use crate::harness::client::websocket::{ACCEPT, UPGRADE};
use crate::harness::frames::{Frame, TEXT};
use crate::harness::wire::{Wire, crumbs, request};
use crate::harness::{Proxy, within};

use super::{OK, assert_problem, client_of, response};

fn accepting(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {ACCEPT}\r\n{more}\r\n"
    )
}

/// An agent that answers a handshake with these pieces, each sent alone, and then echoes frames.
fn piecemeal(pieces: Vec<Vec<u8>>) -> Agent {
    Agent::scripted(move |_, mut wire| {
        let pieces = pieces.clone();
        async move {
            if wire.head().await.is_none() {
                return;
            }
            wire.send_each(pieces).await;
            while let Some(frame) = Frame::read(&mut wire).await {
                let _ = wire.send(frame.plain()).await;
            }
        }
    })
}

async fn asked(proxy: &Proxy, fields: &[(&str, &str)]) -> Wire {
    let mut client = client_of(proxy).await;
    client.send(request("GET", "/", fields, b"")).await.unwrap();
    client
}

async fn assert_echoes(client: &mut Wire, word: &str) {
    client.send(Frame::new(TEXT, word).masked()).await.unwrap();
    let echo = within(10, "the echo", Frame::read(client)).await;
    assert_eq!(echo.expect("a frame").payload, word.as_bytes());
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let answer = accepting("").into_bytes();
    let early = Frame::new(TEXT, "early").plain();
    let halves = vec![answer[..40].to_vec(), [&answer[40..], &early].concat()];
    let late = vec![answer.clone(), early.clone()];
    for pieces in [crumbs(&[&answer[..], &early].concat()), halves, late] {
        let agent = piecemeal(pieces);
        let proxy = Proxy::http(agent.addr).start().await;
        let mut client = asked(&proxy, &UPGRADE).await;
        let answer = response(&mut client, "GET").await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.field("sec-websocket-accept"), Some(ACCEPT));
        let word = within(10, "the first word", Frame::read(&mut client)).await;
        assert_eq!(word.expect("a frame").payload, b"early");
        assert_echoes(&mut client, "heard").await;
    }
}

/// Larger than what is read of an answer at once, in one field or in many.
#[tokio::test]
async fn an_answer_may_be_large() {
    let large = format!("x-large: {}\r\n", "x".repeat(5000));
    let many: String = (0..60).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for (fields, name, value) in [
        (large, "x-large", "x".repeat(5000)),
        (many, "x-59", "59".into()),
    ] {
        let agent = piecemeal(vec![accepting(&fields).into_bytes()]);
        let proxy = Proxy::http(agent.addr).start().await;
        let mut client = asked(&proxy, &UPGRADE).await;
        let answer = response(&mut client, "GET").await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.field(name), Some(&*value));
        assert_echoes(&mut client, "heard").await;
    }
}

/// More than a socket takes of what comes behind the answer.
#[tokio::test]
async fn much_may_follow_an_answer_at_once() {
    let frames: Vec<Vec<u8>> = (0..200)
        .map(|n| Frame::new(TEXT, format!("{n:05000}")).plain())
        .collect();
    let whole = [accepting("").into_bytes(), frames.concat()].concat();
    let agent = piecemeal(vec![whole]);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = asked(&proxy, &UPGRADE).await;
    assert_eq!(response(&mut client, "GET").await.status, 101);
    for n in 0..200 {
        let frame = within(10, "a frame", Frame::read(&mut client)).await;
        let payload = frame.expect("a frame").payload;
        assert_eq!(payload, format!("{n:05000}").into_bytes());
    }
    assert_echoes(&mut client, "heard").await;
}

#[tokio::test]
async fn an_interim_answer_comes_before_the_101() {
    let early_hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec();
    let answer = accepting("").into_bytes();
    let (together, apart) = (
        vec![[&early_hints[..], &answer].concat()],
        vec![early_hints, answer],
    );
    for pieces in [together, apart] {
        let agent = piecemeal(pieces);
        let proxy = Proxy::http(agent.addr).start().await;
        let mut client = asked(&proxy, &UPGRADE).await;
        assert_eq!(response(&mut client, "GET").await.status, 101);
        assert_echoes(&mut client, "heard").await;
    }
}

#[tokio::test]
async fn a_request_may_be_large() {
    let agent = piecemeal(vec![accepting("").into_bytes()]);
    let proxy = Proxy::http(agent.addr).start().await;
    for length in [4000, 30_000] {
        let token = "t".repeat(length);
        let mut fields = UPGRADE.to_vec();
        fields.push(("cookie", &token));
        let mut client = asked(&proxy, &fields).await;
        assert_eq!(response(&mut client, "GET").await.status, 101, "{length}");
        assert_echoes(&mut client, "heard").await;
    }
}

/// It is asked once only, and what was asked on its connection is known.
#[tokio::test]
async fn a_connection_that_has_refused_serves_the_next_request() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |number, mut wire| {
        let told = told.clone();
        async move {
            while let Some((head, _)) = wire.next_request().await {
                let _ = told.send((
                    number,
                    head.first.clone(),
                    head.lists("upgrade", "websocket"),
                ));
                let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 5000\r\n\r\n";
                let answer = match head.lists("upgrade", "websocket") {
                    true => format!("{refusal}{}", "n".repeat(5000)),
                    false => OK.to_owned(),
                };
                let _ = wire.send(answer).await;
            }
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = asked(&proxy, &UPGRADE).await;
    let answer = response(&mut client, "GET").await;
    assert_eq!((answer.status, answer.text().len()), (401, 5000));
    let answer = response(&mut asked(&proxy, &[]).await, "GET").await;
    assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
    let get = "GET / HTTP/1.1".to_owned();
    let mut heard = Vec::new();
    while let Ok(one) = seen.try_recv() {
        heard.push(one);
    }
    let [(first, asked, true), (second, next, false)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!((first, asked, next), (second, &get, &get));
}

#[tokio::test]
async fn an_agent_that_ends_or_breaks_off_gives_502() {
    for answer in [
        "",
        "HTTP/1.1 101 Switching Pro",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ] {
        let agent = Agent::scripted(move |_, mut wire| async move {
            wire.head().await;
            let _ = wire.send(answer).await;
        });
        let proxy = Proxy::http(agent.addr).start().await;
        let mut client = asked(&proxy, &UPGRADE).await;
        assert_problem(&response(&mut client, "GET").await, 502);
    }
}

#[tokio::test]
async fn an_agent_that_does_not_answer_in_time_gives_504() {
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.head().await;
        wire.more().await;
    });
    let timeout = "response_timeout = \"300ms\"";
    let proxy = Proxy::builder()
        .listener_with("web", "http", agent.addr, timeout)
        .start()
        .await;
    let mut client = asked(&proxy, &UPGRADE).await;
    assert_problem(&response(&mut client, "GET").await, 504);
}

/// RFC 9110 7.8: there is none in HTTP/1.0.
#[tokio::test]
async fn an_old_client_is_not_upgraded() {
    let (agent, mut seen) = super::answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let head = "GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(head).await.unwrap();
    assert_eq!(response(&mut client, "GET").await.status, 200);
    let (head, _) = seen.next().await;
    assert_eq!(head.field("upgrade"), None, "{head:?}");
}
