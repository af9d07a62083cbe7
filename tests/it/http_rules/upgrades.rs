//! Upgrades: which make a tunnel, which do not, and that no byte is lost at the change.

use crate::harness::agent::Agent;
use crate::harness::client::websocket::{ACCEPT, UPGRADE};
use crate::harness::frames::{CLOSE, Frame, TEXT};
use crate::harness::metrics::Scrape;
use crate::harness::wire::{End, Wire, request};
use crate::harness::{Proxy, within};

use super::{OK, answering, assert_problem, client_of, response};

#[tokio::test]
async fn h2c_is_never_passed_on() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let fields = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    assert_eq!(response(&mut client, "GET").await.status, 200);
    let (head, _) = seen.next().await;
    for field in ["upgrade", "http2-settings"] {
        assert_eq!(head.field(field), None, "{head:?}");
    }
    assert!(!head.lists("connection", "upgrade"), "{head:?}");
}

#[tokio::test]
async fn http_2_by_prior_knowledge_is_not_spoken() {
    let (agent, mut seen) = answering(OK);
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    // There is no common language in which to refuse.
    let (heard, end) = within(5, "the end", client.rest()).await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 400 "),
        "{heard:?}"
    );
    assert_eq!(end, End::Fin);
    assert!(seen.nothing(), "the agent saw it");
}

#[tokio::test]
async fn a_refused_upgrade_leaves_no_tunnel() {
    let (agent, mut seen) = answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    client
        .send(request("GET", "/chat", &UPGRADE, b""))
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!((answer.status, answer.text()), (403, "no".to_owned()));
    assert!(seen.next().await.0.lists("upgrade", "websocket"));
    // What follows is read as HTTP and held to its rules, on its way to nobody.
    client
        .send("GET /tunnel HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await
        .unwrap();
    let (heard, _) = within(10, "the refusal", client.rest()).await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 400 "),
        "{heard}"
    );
    assert!(seen.nothing(), "there was a tunnel");
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_makes_no_tunnel() {
    let (agent, _seen) = answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nboo",
    );
    let proxy = Proxy::http(agent.addr).start().await;
    for fields in [&[][..], &[("accept", "text/event-stream")]] {
        let mut client = client_of(&proxy).await;
        client.send(request("GET", "/", fields, b"")).await.unwrap();
        assert_problem(&response(&mut client, "GET").await, 502);
    }
}

#[tokio::test]
async fn bytes_right_behind_an_upgrade_arrive_in_both_directions() {
    let agent = Agent::scripted(|_, mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        assert_eq!(
            head.field("sec-websocket-protocol"),
            Some("chat, superchat")
        );
        assert_eq!(
            head.field("sec-websocket-key"),
            Some("dGhlIHNhbXBsZSBub25jZQ==")
        );
        let early = Frame::new(TEXT, "from the agent").plain();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\nsec-websocket-protocol: superchat\r\n\r\n"
        );
        let _ = wire.send([answer.as_bytes(), &early].concat()).await;
        let heard = Frame::read(&mut wire).await;
        let answer = heard.map(|frame| frame.payload).unwrap_or_default();
        let _ = wire
            .send(Frame::new(TEXT, [b"heard ", &answer[..]].concat()).plain())
            .await;
        wire.more().await;
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let mut fields = UPGRADE.to_vec();
    fields.push(("sec-websocket-protocol", "chat, superchat"));
    let mut bytes = request("GET", "/", &fields, b"");
    bytes.extend(Frame::new(TEXT, "from the client").masked());
    client.send(bytes).await.unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.field("sec-websocket-protocol"), Some("superchat"));
    for expected in ["from the agent", "heard from the client"] {
        let frame = within(10, expected, Frame::read(&mut client))
            .await
            .expect("a frame");
        assert_eq!(String::from_utf8_lossy(&frame.payload), expected);
    }
}

#[tokio::test]
async fn compression_is_agreed_on_and_used_untouched() {
    let offer = "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame";
    let accepted = "permessage-deflate; server_no_context_takeover";
    let agent = Agent::scripted(move |_, mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        assert_eq!(head.all("sec-websocket-extensions"), [offer]);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\nsec-websocket-extensions: {accepted}\r\n\r\n"
        );
        let _ = wire.send(answer).await;
        while let Some(frame) = Frame::read(&mut wire).await {
            let _ = wire
                .send(
                    Frame {
                        masked: false,
                        ..frame
                    }
                    .plain(),
                )
                .await;
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    let mut client = client_of(&proxy).await;
    let mut fields = UPGRADE.to_vec();
    fields.push(("sec-websocket-extensions", offer));
    client
        .send(request("GET", "/", &fields, b""))
        .await
        .unwrap();
    let answer = response(&mut client, "GET").await;
    assert_eq!(answer.field("sec-websocket-extensions"), Some(accepted));
    let compressed = Frame {
        reserved: 0b100,
        ..Frame::new(TEXT, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00])
    };
    client.send(compressed.masked()).await.unwrap();
    let back = within(10, "the echo", Frame::read(&mut client))
        .await
        .expect("a frame");
    assert_eq!(back, compressed);
}

#[tokio::test]
async fn a_websocket_is_over_with_the_agents_end_behind_both_closes() {
    let (agent, proxy) = polite_agent().await;
    let mut client = client_of(&proxy).await;
    upgrade(&mut client, &UPGRADE).await;
    client
        .send(Frame::new(TEXT, "last words").masked())
        .await
        .unwrap();
    client.send(Frame::close(1000).masked()).await.unwrap();
    let words = within(10, "the echo", Frame::read(&mut client)).await;
    assert_eq!(words.expect("a frame").payload, b"last words");
    let close = within(10, "the agent's Close", Frame::read(&mut client)).await;
    assert_eq!(close.expect("a frame").close_code(), Some(1000));
    let end = within(10, "the agent's end", client.rest()).await;
    assert_eq!(end, (vec![], End::Fin));
    // The client stays, and says nothing.
    let over = |scrape: &Scrape| scrape.open("websocket") == 0.0;
    let scrape = proxy.metrics_until("the session to be over", over).await;
    let finished = [("kind", "websocket"), ("outcome", "finished")];
    assert_eq!(scrape.sum("lameduck_sessions_ended_total", &finished), 1.0);
    drop(agent);
}

#[tokio::test]
async fn a_client_that_says_more_behind_its_close_has_the_agents_first() {
    let (agent, proxy) = polite_agent().await;
    let mut client = client_of(&proxy).await;
    upgrade(&mut client, &UPGRADE).await;
    let close = Frame::close(1000).masked();
    client.send(close).await.unwrap();
    // Against the protocol, and more than the sockets between hold.
    for _ in 0..64 {
        if client.send(vec![0; 64 * 1024]).await.is_err() {
            break;
        }
    }
    let close = within(10, "the agent's Close", Frame::read(&mut client)).await;
    assert_eq!(close.expect("a frame").close_code(), Some(1000));
    drop(agent);
}

/// Its request is not the last that it says.
#[tokio::test]
async fn an_upgrade_with_connection_close_makes_a_tunnel() {
    let (agent, proxy) = polite_agent().await;
    let mut client = client_of(&proxy).await;
    let fields = UPGRADE.map(|(name, value)| match name {
        "connection" => (name, "close, upgrade"),
        _ => (name, value),
    });
    upgrade(&mut client, &fields).await;
    let word = Frame::new(TEXT, "still here");
    client.send(word.masked()).await.unwrap();
    let echo = within(10, "the echo", Frame::read(&mut client)).await;
    assert_eq!(echo.expect("a frame").payload, word.payload);
    drop(agent);
}

/// An agent that echoes frames, answers a Close with one, and ends.
async fn polite_agent() -> (Agent, Proxy) {
    let agent = Agent::scripted(|_, mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\n\r\n"
        );
        let _ = wire.send(answer).await;
        while let Some(frame) = Frame::read(&mut wire).await {
            let is_last = frame.opcode == CLOSE;
            let _ = wire.send(frame.plain()).await;
            if is_last {
                return;
            }
        }
    });
    let proxy = Proxy::http(agent.addr).start().await;
    (agent, proxy)
}

async fn upgrade(client: &mut Wire, fields: &[(&str, &str)]) {
    client.send(request("GET", "/", fields, b"")).await.unwrap();
    assert_eq!(response(client, "GET").await.status, 101);
}
