//! Drains of sessions over TLS: the promises of those in plain.

use std::process::Stdio;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::between::{Pieces, before};
use crate::harness::agent::Agent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::authority::{ONLY_12, ONLY_13};
use crate::harness::client::Style;
use crate::harness::client::websocket::{converse, open};
use crate::harness::log::Log;
use crate::harness::python::interpreter_for;
use crate::harness::wire::{End, Wire};
use crate::harness::within;
use crate::scene::Files;

#[tokio::test]
async fn every_websocket_gets_its_close_between_messages_and_nothing_is_lost() {
    let files = Files::new();
    let agent = WebSocketAgent::start();
    let proxy = files.proxy("http", agent.agent.addr);
    let proxy = proxy.window("20s").start().await;
    let mut clients = JoinSet::new();
    let mut names = Vec::new();
    let mut fronts: Vec<Agent> = Vec::new();
    for versions in [ONLY_12, ONLY_13] {
        let tls = files.authority.client(versions, None);
        fronts.push(before(proxy.addr("web"), tls, Pieces::Whole));
    }
    for i in 0..60 {
        let name = format!("c{i}");
        // One side at a time speaks unasked: where both do, what one says into the other's Close is
        // lost in plain too, and counted.
        let (path, style) = match i % 3 {
            0 => (
                format!("/echo/{name}"),
                Style::Ask(Duration::from_millis(5)),
            ),
            1 => (
                format!("/quiet/{name}"),
                Style::ChatInParts(Duration::from_millis(15)),
            ),
            _ => (format!("/chat/{name}?every=20"), Style::Listen),
        };
        let wire = within(20, "a WebSocket", open(fronts[i % 2].addr, &path));
        let wire = wire.await.unwrap();
        names.push(name.clone());
        let stays = CancellationToken::new();
        clients.spawn(async move { converse(wire, &name, style, stays).await });
    }
    let talked =
        |s: &crate::harness::metrics::Scrape| s.sum("lameduck_bytes_total", &[]) > 100_000.0;
    proxy.metrics_until("talk", talked).await;
    proxy.terminate();
    let records = within(30, "the clients' ends", clients.join_all()).await;
    let sides = within(20, "the agent's ends", agent.ledger.sides(&names)).await;
    for record in &records {
        let (name, client) = (&record.name, &record.side);
        let at_agent = &sides[name];
        assert_eq!(client.faults, [""; 0], "{name}");
        assert_eq!(client.close.map(|close| close.code), Some(1012), "{name}");
        assert_eq!(client.end, Some(End::Fin), "{name} saw a close_notify");
        assert_eq!(client.missing_from(at_agent), Ok(0), "{name}");
        assert_eq!(at_agent.missing_from(client), Ok(0), "{name}");
        assert_eq!(record.unanswered, 0, "{name}");
    }
    assert_eq!(proxy.exit_within(20).await.code, Some(0));
    let report = proxy.report();
    assert_eq!(report["kinds"]["websocket"]["outcomes"]["closed"], 60);
    assert_eq!(report["undelivered_bytes"]["to_client"], 0, "{report}");
    assert_eq!(report["undelivered_bytes"]["to_upstream"], 0, "{report}");
}

#[tokio::test]
async fn raw_bytes_have_their_last_words_behind_a_close_notify() {
    let files = Files::new();
    let agent = TcpAgent::start();
    let proxy = files.proxy("tcp", agent.agent.addr);
    let proxy = proxy.window("10s").start().await;
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), tls, Pieces::Whole);
    let mut client = Wire::connect(front.addr).await.unwrap();
    client.send("/echo/anna\n").await.unwrap();
    client.send("00000000 a\n").await.unwrap();
    let line = within(10, "an echo", client.until(b"\n")).await;
    assert_eq!(line.as_deref(), Some(&b"00000000 a\n"[..]));
    proxy.terminate();
    assert_eq!(
        within(20, "the end", client.rest()).await,
        (vec![], End::Fin)
    );
    client.send("00000001 b\n").await.unwrap();
    client.finish().await;
    let side = within(20, "the agent's end", agent.ledger.side("anna")).await;
    assert_eq!((side.received, side.end), (vec![0, 1], Some(End::Fin)));
    assert_eq!(proxy.exit_within(10).await.code, Some(0));
    let report = proxy.report();
    assert_eq!(report["kinds"]["tcp"]["outcomes"]["closed"], 1);
    assert_eq!(report["undelivered_bytes"]["to_upstream"], 0, "{report}");
}

#[tokio::test]
async fn python_over_openssl_hears_the_close_and_loses_nothing() {
    let Some(python) = interpreter_for("wss with Python's websockets") else {
        return;
    };
    let files = Files::new();
    let agent = WebSocketAgent::start();
    let proxy = files.proxy("http", agent.agent.addr);
    let proxy = proxy.window("20s").start().await;
    let mut child = tokio::process::Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/tls/wss_clients.py"
        ))
        .args([proxy.addr("web").port().to_string(), files.path("ca.pem")])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap().into_owned_fd().unwrap();
    let said = Log::follow(std::fs::File::from(out));
    let ready = said.find(|log| log.json().first().map(|line| line["open"].as_u64()));
    assert_eq!(within(30, "the clients", ready).await, Some(Some(40)));
    proxy.terminate();
    within(30, "their ends", said.ended()).await;
    let lines = said.json();
    assert_eq!(lines.len(), 41);
    for line in &lines[1..] {
        assert_eq!(line["code"], 1012, "{line}");
        assert_eq!(line["clean"], true, "{line}");
        // Asked and answered in turn: one answer may be missing when the Close came first.
        let (sent, got) = (line["sent"].as_u64(), line["received"].as_u64());
        let name = line["session"].as_str().unwrap();
        let side = within(20, "the agent's end", agent.ledger.side(name)).await;
        assert_eq!(Some(side.received.len() as u64), sent, "{line}");
        assert_eq!(Some(side.sent), got, "{line}");
    }
    assert_eq!(proxy.exit_within(20).await.code, Some(0));
    let report = proxy.report();
    assert_eq!(report["kinds"]["websocket"]["outcomes"]["closed"], 40);
    assert_eq!(report["undelivered_bytes"]["to_client"], 0, "{report}");
}
