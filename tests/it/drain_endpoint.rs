//! One endpoint is drained alone: its sessions go in order, the others' stay, and new ones go
//! elsewhere.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::Style;
use crate::harness::client::http::fetch;
use crate::harness::client::websocket::{self, Record};
use crate::harness::ledger::SHORTEST;
use crate::harness::wire::{Response, Wire};
use crate::harness::{Proxy, within};
use crate::upstreams::{call, endpoint, proxy, until};

fn path(address: &str) -> String {
    format!("/v1/upstreams/agent/endpoints/{address}/drain")
}

fn said(response: &Response) -> Value {
    serde_json::from_str(&response.text()).unwrap()
}

/// Waits until this part is in a phase.
async fn part_is(proxy: &Proxy, address: &str, phase: &str) {
    until(proxy, address, "phase", phase).await;
}

async fn chats(proxy: &Proxy, names: &[String], leave: &CancellationToken) -> JoinSet<Record> {
    let mut crowd = JoinSet::new();
    for name in names {
        // Two sorts that a drain loses nothing of: who is pushed to, and who asks and thinks.
        let millis = Duration::from_millis;
        let (path, style) = match crowd.len() % 4 {
            3 => (
                format!("/echo/{name}"),
                Style::Think(millis(1_000), millis(2_500)),
            ),
            _ => (format!("/chat/{name}?every=50"), Style::Listen),
        };
        let wire = websocket::open(proxy.addr("web"), &path).await.unwrap();
        let (name, leave) = (name.clone(), leave.clone());
        crowd.spawn(async move { websocket::converse(wire, &name, style, leave).await });
    }
    crowd
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_sessions_go_between_messages_and_the_others_stay() {
    let agents = [WebSocketAgent::start(), WebSocketAgent::start()];
    let at = agents.each_ref().map(|agent| agent.agent.addr.to_string());
    let proxy = proxy("http", &at, "").await;
    for at in &at {
        until(&proxy, at, "healthy", true).await;
    }
    let names: Vec<_> = (0..400).map(|n| format!("s{n}")).collect();
    let leave = CancellationToken::new();
    let mut crowd = chats(&proxy, &names, &leave).await;
    until(&proxy, &at[0], "sessions", 200).await;
    until(&proxy, &at[1], "sessions", 200).await;

    let drained = path(&at[0]);
    let body = r#"{"window":"15s","reason":"a new version"}"#;
    let begun = call(&proxy, "POST", &drained, body).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    assert_eq!(said(&begun)["phase"], "serving");
    assert_eq!(
        said(&begun)["parts"][0]["part"],
        format!("endpoint agent/{}", at[0])
    );
    // New ones go to the other from now on.
    let late = vec!["late1".to_owned(), "late2".to_owned()];
    let mut late_crowd = chats(&proxy, &late, &leave).await;

    let mut records = Vec::new();
    for _ in 0..200 {
        let record = within(40, "a session to go", crowd.join_next()).await;
        records.push(record.unwrap().unwrap());
    }
    part_is(&proxy, &at[0], "drained").await;
    let gone: Vec<_> = records.iter().map(|record| record.name.clone()).collect();
    let sides = within(20, "the agent's sides", agents[0].ledger.sides(&gone)).await;
    assert_eq!(
        sides.len(),
        200,
        "all of the drained endpoint, and no other"
    );
    let mut unanswered = 0;
    for record in &records {
        let side = &sides[&record.name];
        assert_eq!(
            record.side.close.map(|close| close.code),
            Some(1012),
            "{record:?}"
        );
        assert_eq!(record.side.faults, [""; 0], "{}", record.name);
        assert_eq!(side.faults, [""; 0], "{}", record.name);
        assert_eq!(
            side.missing_from(&record.side),
            Ok(0),
            "from {}",
            record.name
        );
        // A question may cross the Close on a machine under load: its answer is then counted.
        let missing = record.side.missing_from(side).unwrap();
        assert!(record.side.sent > 0 || missing == 0, "to {}", record.name);
        unanswered += missing;
    }

    let report = said(&call(&proxy, "GET", "/v1/drain/report", "").await);
    assert_eq!(report["part"], format!("endpoint agent/{}", at[0]));
    assert_eq!(report["reason"], "a new version");
    assert_eq!(report["kinds"]["websocket"]["at_start"], 200, "{report}");
    assert_eq!(
        report["kinds"]["websocket"]["outcomes"]["closed"], 200,
        "{report}"
    );
    assert_eq!(report["cut"], 0);
    let scrape = proxy.scrape().await.unwrap();
    scrape.check_balance().unwrap();
    assert_eq!(scrape.open("websocket"), 202.0);
    let on = |at: &str| scrape.sum("lameduck_upstream_sessions", &[("endpoint", at)]);
    assert_eq!((on(&at[0]), on(&at[1])), (0.0, 202.0));
    assert!(unanswered <= 2, "{unanswered} of a few thousand messages");
    let undelivered = scrape.sum("lameduck_undelivered_bytes_total", &[]);
    let lost = (unanswered as usize * SHORTEST) as f64;
    assert!(undelivered >= lost, "{undelivered} bytes counted of {lost}");
    assert!(unanswered > 0 || undelivered == 0.0, "{undelivered}");
    assert_eq!(proxy.ask_health("/readyz").await.unwrap().status, 200);

    // It stays out until it is brought back.
    let back = call(&proxy, "DELETE", &drained, "").await;
    assert_eq!(
        (back.status, &said(&back)["parts"]),
        (200, &Value::Array(vec![]))
    );
    let more: Vec<_> = (0..10).map(|n| format!("more{n}")).collect();
    let mut more_crowd = chats(&proxy, &more, &leave).await;
    until(&proxy, &at[0], "sessions", 10).await;
    leave.cancel();
    for crowd in [&mut crowd, &mut late_crowd, &mut more_crowd] {
        while let Some(record) = within(20, "the rest", crowd.join_next()).await {
            assert!(record.unwrap().left, "nobody else was asked");
        }
    }
}

#[tokio::test]
async fn requests_end_by_themselves_and_idle_connections_to_it_are_closed() {
    let agents = [HttpAgent::start(), HttpAgent::start()];
    let at = agents.each_ref().map(|agent| agent.agent.addr.to_string());
    let proxy = proxy("http", &at, "idle_timeout = \"60s\"").await;
    for at in &at {
        until(&proxy, at, "healthy", true).await;
    }
    let addr = proxy.addr("web");
    let slow: Vec<_> = (0..4)
        .map(|_| tokio::spawn(fetch(addr, "/slow?ms=1500")))
        .collect();
    for at in &at {
        until(&proxy, at, "sessions", 2).await;
    }
    // A client's connection that stays, before and after.
    let mut kept = Wire::connect(addr).await.unwrap();
    let answer = kept.request("GET", "/", &[], b"").await.unwrap();
    assert!(!answer.is_last());
    assert_eq!(call(&proxy, "POST", &path(&at[0]), "").await.status, 202);
    part_is(&proxy, &at[0], "drained").await;
    assert_eq!(
        endpoint(&proxy, &at[1]).await["sessions"]
            .as_u64()
            .map(|n| n <= 2),
        Some(true)
    );
    for request in slow {
        assert_eq!(request.await.unwrap(), Ok(()), "none is cut");
    }
    let before = agents[0].requests().len();
    for _ in 0..10 {
        let answer = kept.request("GET", "/", &[], b"").await.unwrap();
        assert!(answer.status == 200 && !answer.is_last(), "{answer:?}");
    }
    assert_eq!(
        agents[0].requests().len(),
        before,
        "a drained agent is left alone"
    );
    let report = said(&call(&proxy, "GET", "/v1/drain/report", "").await);
    assert_eq!(
        report["kinds"]["http"]["outcomes"]["finished"], 2,
        "{report}"
    );
}

#[tokio::test]
async fn a_drain_is_cancelled_joined_or_refused_as_any_other() {
    let agents = [WebSocketAgent::start(), WebSocketAgent::start()];
    let at = agents.each_ref().map(|agent| agent.agent.addr.to_string());
    let proxy = proxy("http", &at, "").await;
    for at in &at {
        until(&proxy, at, "healthy", true).await;
    }
    let leave = CancellationToken::new();
    let names: Vec<_> = (0..4).map(|n| format!("s{n}")).collect();
    let _crowd = chats(&proxy, &names, &leave).await;
    assert_eq!(call(&proxy, "DELETE", &path(&at[0]), "").await.status, 409);
    for (wrong, status) in [
        ("/v1/upstreams/agent/endpoints/127.0.0.1:1/drain", 404),
        ("/v1/upstreams/other/endpoints/127.0.0.1:1/drain", 404),
        ("/v1/upstreams/agent", 404),
    ] {
        let answer = call(&proxy, "POST", wrong, "").await;
        assert_eq!(answer.status, status, "{wrong}: {}", answer.text());
    }
    let unknown = call(&proxy, "POST", &path(&at[0]), r#"{"share":"5%"}"#).await;
    assert_eq!(unknown.status, 400);
    assert_eq!(endpoint(&proxy, &at[0]).await["phase"], "serving");

    // Both are drained, one after the other; then there is nobody left.
    let body = r#"{"window":"10s"}"#;
    assert_eq!(call(&proxy, "POST", &path(&at[0]), body).await.status, 202);
    assert_eq!(call(&proxy, "POST", &path(&at[0]), body).await.status, 200);
    assert_eq!(call(&proxy, "POST", &path(&at[1]), body).await.status, 409);
    part_is(&proxy, &at[0], "drained").await;
    assert_eq!(call(&proxy, "POST", &path(&at[1]), body).await.status, 202);
    part_is(&proxy, &at[1], "drained").await;
    let refused = fetch(proxy.addr("web"), "/").await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    assert_eq!(proxy.ask_health("/readyz").await.unwrap().status, 503);
    assert_eq!(call(&proxy, "DELETE", &path(&at[1]), "").await.status, 200);
    let wire = websocket::open(proxy.addr("web"), "/echo/again")
        .await
        .unwrap();
    until(&proxy, &at[1], "sessions", 1).await;
    drop(wire);
}

#[tokio::test]
async fn a_drain_of_everything_takes_its_place() {
    let agents = [WebSocketAgent::start(), WebSocketAgent::start()];
    let at = agents.each_ref().map(|agent| agent.agent.addr.to_string());
    let proxy = proxy("http", &at, "").await;
    for at in &at {
        until(&proxy, at, "healthy", true).await;
    }
    let leave = CancellationToken::new();
    let names: Vec<_> = (0..20).map(|n| format!("s{n}")).collect();
    let mut crowd = chats(&proxy, &names, &leave).await;
    let body = r#"{"window":"60s"}"#;
    assert_eq!(call(&proxy, "POST", &path(&at[0]), body).await.status, 202);
    proxy.terminate();
    let exit = proxy.exit_within(30).await;
    assert_eq!(exit.code, Some(0));
    while let Some(record) = crowd.join_next().await {
        let record = record.unwrap();
        assert_eq!(
            record.side.close.map(|close| close.code),
            Some(1012),
            "{record:?}"
        );
        assert_eq!(record.side.faults, [""; 0]);
    }
    let report = proxy.report();
    assert_eq!(report["part"], Value::Null, "{report}");
    assert_eq!(report["cut"], 0, "{report}");
}
