//! One endpoint is drained alone: what it means for requests, and beside other drains. A crowd on it is
//! in `drain_endpoint_crowd`.

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::Proxy;
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::Style;
use crate::harness::client::http::fetch;
use crate::harness::client::websocket::{self, Record};
use crate::harness::wire::{Response, Wire};
use crate::upstreams::{call, endpoint, proxy, until};

pub(crate) fn path(address: &str) -> String {
    format!("/v1/upstreams/agent/endpoints/{address}/drain")
}

pub(crate) fn said(response: &Response) -> Value {
    serde_json::from_str(&response.text()).unwrap()
}

/// Waits until this part is in a phase.
async fn part_is(proxy: &Proxy, address: &str, phase: &str) {
    until(proxy, address, "phase", phase).await;
}

async fn chats(proxy: &Proxy, names: &[String], leave: &CancellationToken) -> JoinSet<Record> {
    let mut crowd = JoinSet::new();
    for name in names {
        let path = format!("/chat/{name}?every=50");
        let wire = websocket::open(proxy.addr("web"), &path).await.unwrap();
        let (name, leave) = (name.clone(), leave.clone());
        crowd.spawn(async move { websocket::converse(wire, &name, Style::Listen, leave).await });
    }
    crowd
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
