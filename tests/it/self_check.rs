//! That the instruments can tell right from wrong: clients before an agent that misbehaves, with no
//! proxy between.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::agent::{Agent, tcp::TcpAgent};
use crate::harness::client::websocket::{ACCEPT, Record};
use crate::harness::client::{Style, http, tcp, websocket};
use crate::harness::frames::{CONTINUATION, Frame, TEXT};
use crate::harness::ledger::{Side, message};
use crate::harness::metrics::Scrape;
use crate::harness::wire::{End, Wire};
use crate::harness::within;

/// An agent that says these bytes to each WebSocket, and then ends or resets.
fn saying(frames: Vec<Frame>, end: End) -> Agent {
    Agent::scripted(move |_, mut wire| {
        let frames = frames.clone();
        async move {
            if wire.head().await.is_none() {
                return;
            }
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                 upgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"
            );
            wire.send(answer).await.unwrap();
            for frame in frames {
                wire.send(frame.plain()).await.unwrap();
            }
            match end {
                End::Fin => {
                    wire.finish().await;
                    while wire.more().await {}
                }
                End::Reset => {
                    // Until the client has everything: a reset throws away what is on its way.
                    wire.until(b"\n").await;
                    wire.reset();
                }
            }
        }
    })
}

async fn listener_to(addr: SocketAddr) -> Record {
    let wire = websocket::open(addr, "/chat/a").await.unwrap();
    let heard = websocket::converse(wire, "a", Style::Listen, CancellationToken::new());
    within(10, "the end", heard).await
}

#[tokio::test]
async fn frames_out_of_place_are_seen() {
    let whole = || Frame::new(TEXT, message(0));
    for (frames, fault) in [
        (
            vec![Frame::part(TEXT, &message(0)[..10]), Frame::close(1012)],
            "inside a message",
        ),
        (vec![Frame::close(1012), whole()], "behind the Close"),
        (vec![Frame::new(CONTINUATION, message(0))], "out of place"),
        (vec![Frame::part(TEXT, "000"), whole()], "out of place"),
    ] {
        let agent = saying(frames, End::Fin);
        let record = listener_to(agent.addr).await;
        assert!(
            record.side.faults.iter().any(|f| f.contains(fault)),
            "{fault}: {record:?}"
        );
    }
    let agent = saying(vec![whole(), Frame::close(1012)], End::Fin);
    let record = listener_to(agent.addr).await;
    assert_eq!(
        (record.side.faults, record.side.received),
        (vec![], vec![0])
    );
    assert_eq!(
        (record.side.close.unwrap().code, record.side.end),
        (1012, Some(End::Fin))
    );
}

#[tokio::test]
async fn what_is_lost_or_doubled_is_seen() {
    let messages = |numbers: &[u64]| {
        numbers
            .iter()
            .map(|n| Frame::new(TEXT, message(*n)))
            .collect()
    };
    for (numbers, found) in [
        (&[0, 1, 2][..], Some(0)),
        (&[0, 2], Some(1)),
        (&[0, 1, 1], None),
        (&[1, 0, 2], None),
    ] {
        let agent = saying(messages(numbers), End::Fin);
        let record = listener_to(agent.addr).await;
        let sender = Side {
            sent: 3,
            ..Default::default()
        };
        assert_eq!(record.side.missing_from(&sender).ok(), found, "{numbers:?}");
    }
}

#[tokio::test]
async fn a_reset_is_told_from_an_end() {
    let agent = saying(vec![Frame::new(TEXT, message(0))], End::Reset);
    let mut wire = websocket::open(agent.addr, "/").await.unwrap();
    within(10, "the message", Frame::read(&mut wire))
        .await
        .unwrap();
    wire.send("\n").await.unwrap();
    assert_eq!(
        within(10, "the reset", wire.rest()).await,
        (vec![], End::Reset)
    );
}

#[tokio::test]
async fn a_torn_event_stream_is_seen() {
    for (body, fault) in [
        ("f\r\nid: 0\ndata: a\n\n\r\n0\r\n\r\n", None),
        (
            "f\r\nid: 0\ndata: a\n\n\r\n",
            Some("without its last chunk"),
        ),
        ("e\r\nid: 0\ndata: a\n\r\n0\r\n\r\n", Some("torn")),
        (
            "f\r\nid: 1\ndata: a\n\n\r\n0\r\n\r\n",
            Some("came as number"),
        ),
    ] {
        let agent = Agent::scripted(move |_, mut wire: Wire| {
            let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
            async move {
                wire.head().await;
                wire.send(answer).await.unwrap();
            }
        });
        let record = within(10, "the end", http::events(agent.addr, "GET", "/")).await;
        match fault {
            None => assert_eq!((record.events, record.faults), (1, vec![])),
            Some(fault) => assert!(
                record.faults.iter().any(|f| f.contains(fault)),
                "{record:?}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_peers_have_a_balanced_ledger() {
    let (chat, raw) = (WebSocketAgent::start(), TcpAgent::start());
    let leave = CancellationToken::new();
    let pace = Duration::from_millis(5);
    let mut clients = tokio::task::JoinSet::new();
    let mut names = Vec::new();
    for (name, path, style) in [
        (
            "parts",
            "/chat/parts?every=5&parts=1",
            Style::ChatInParts(pace),
        ),
        ("ask", "/echo/ask", Style::Ask(pace)),
        ("quiet", "/quiet/quiet", Style::Chat(pace)),
    ] {
        let wire = websocket::open(chat.agent.addr, path).await.unwrap();
        clients.spawn(websocket::converse(wire, name, style, leave.clone()));
        names.push(name.to_owned());
    }
    let wire = tcp::open(raw.agent.addr, "/chat/line?every=5")
        .await
        .unwrap();
    clients.spawn(tcp::converse(
        wire,
        "line",
        Style::Chat(pace),
        leave.clone(),
    ));
    let mut sent = tokio::time::interval(pace);
    for _ in 0..40 {
        sent.tick().await;
    }
    leave.cancel();
    let records = within(10, "the clients", clients.join_all()).await;
    let mut agents = within(10, "the agent", chat.ledger.sides(&names)).await;
    agents.insert(
        "line".to_owned(),
        within(10, "the agent", raw.ledger.side("line")).await,
    );
    for record in records {
        let agent = &agents[&record.name];
        assert!(
            agent.sent + record.side.sent > 10,
            "{} was silent",
            record.name
        );
        assert_eq!(agent.missing_from(&record.side), Ok(0), "{}", record.name);
        assert_eq!(record.side.missing_from(agent), Ok(0), "{}", record.name);
    }
}

#[test]
fn an_unbalanced_scrape_is_seen() {
    let scrape = |open| {
        Scrape::parse(&format!(
            "# TYPE lameduck_sessions_open gauge\n\
             lameduck_sessions_open{{listener=\"a\",kind=\"tcp\"}} {open}\n\
             lameduck_sessions_opened_total{{listener=\"a\",kind=\"tcp\"}} 3\n\
             lameduck_sessions_ended_total{{listener=\"a\",kind=\"tcp\",outcome=\"cut\"}} 1\n\
             lameduck_sessions_ended_total{{listener=\"a\",kind=\"tcp\",outcome=\"closed\"}} 1\n"
        ))
    };
    assert_eq!(scrape(1).check_balance(), Ok(()));
    assert!(scrape(2).check_balance().is_err());
    assert_eq!(scrape(1).open("tcp"), 1.0);
}
