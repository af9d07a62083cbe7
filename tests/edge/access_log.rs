//! The access log: a line for each session that has ended, and none for anything else.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::{Style, http, tcp, websocket};
use crate::harness::wire::Wire;
use crate::harness::{Proxy, within};
use crate::scene::proxy;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    lines.collect()
}

/// Waits until the files hold so many lines.
async fn lines_until(paths: &[&Path], count: usize) -> Vec<Value> {
    let found = async {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            pace.tick().await;
            let all: Vec<Value> = paths.iter().flat_map(|path| lines(path)).collect();
            if all.len() >= count {
                return all;
            }
        }
    };
    within(20, "the lines", found).await
}

fn table(path: &Path) -> String {
    format!("[access_log]\npath = {path:?}")
}

async fn visit(proxy: &Proxy, path: &str) {
    let mut wire = Wire::connect(proxy.addr("door")).await.unwrap();
    let response = wire
        .request("GET", path, &[("x-user", "anna")], b"")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn each_session_has_its_line() {
    let files = TempDir::new().unwrap();
    let path = files.path().join("access.log");
    let chat = WebSocketAgent::start();
    let talk = proxy("http", chat.agent.addr, "", &table(&path)).await;
    let wire = websocket::open(talk.addr("door"), "/echo/one?secret=1")
        .await
        .unwrap();
    let near = wire.stream.local_addr().unwrap().to_string();
    let leave = CancellationToken::new();
    let style = Style::Ask(std::time::Duration::from_millis(10));
    let talking = tokio::spawn(websocket::converse(wire, "one", style, leave.clone()));
    talk.metrics_until("some talk", |s| s.sum("lameduck_bytes_total", &[]) > 500.0)
        .await;
    leave.cancel();
    let record = within(20, "the end", talking).await.unwrap();
    let all = lines_until(&[&path], 2).await;
    let line = all.iter().find(|line| line["kind"] == "websocket").unwrap();
    for (key, value) in [
        ("listener", Value::from("door")),
        ("outcome", "finished".into()),
        ("client", near.into()),
        ("upstream", chat.agent.addr.to_string().into()),
        ("asked", false.into()),
        ("close_code", 1000.into()),
        ("method", "GET".into()),
        ("path", "/echo/one".into()),
        ("status", 101.into()),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!(line["messages"]["to_upstream"], record.side.sent, "{line}");
    assert_eq!(
        line["messages"]["to_client"],
        record.side.received.len(),
        "{line}"
    );
    assert_eq!(line["id"].as_str().unwrap().len(), 16);
    assert!(line["seconds"].as_f64().unwrap() > 0.0);
    let request = all.iter().find(|line| line["kind"] == "http").unwrap();
    assert_eq!(
        (&request["outcome"], &request["status"]),
        (&"finished".into(), &101.into())
    );
}

#[tokio::test]
async fn lines_and_metrics_tell_the_same_through_a_drain() {
    let files = TempDir::new().unwrap();
    let path = files.path().join("access.log");
    let web = HttpAgent::start();
    let keyed = "[http]\nclient_key = \"x-user\"\n".to_owned() + &table(&path);
    let proxy = proxy("http", web.agent.addr, "", &keyed).await;
    for n in 0..30 {
        visit(&proxy, &format!("/page{n}?q=1")).await;
    }
    let door = proxy.addr("door");
    let streams: Vec<_> = (0..5)
        .map(|_| tokio::spawn(http::events(door, "GET", "/events?every=50")))
        .collect();
    proxy
        .metrics_until("the streams", |s| s.open("sse") == 5.0)
        .await;
    let hung = tokio::spawn(async move {
        let mut wire = Wire::connect(door).await.unwrap();
        let _ = wire.request("GET", "/hang", &[], b"").await;
    });
    let scrape = proxy
        .metrics_until("the hung one", |s| s.open("http") == 1.0)
        .await;
    let opened = scrape.sum("lameduck_sessions_opened_total", &[]);
    assert_eq!(scrape.sum("lameduck_access_log_dropped_total", &[]), 0.0);
    let mut admin = Wire::connect(
        proxy
            .event("admin listening")
            .await
            .text("addr")
            .unwrap()
            .parse()
            .unwrap(),
    )
    .await
    .unwrap();
    let host = admin.stream.peer_addr().unwrap();
    let body = "{\"window\":\"6s\"}";
    let ask = format!(
        "POST /v1/drain HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    admin.send(ask).await.unwrap();
    assert_eq!(admin.response("POST").await.unwrap().status, 202);
    proxy.phase("drained").await;
    let scrape = proxy.scrape().await.unwrap();
    scrape.check_balance().unwrap();
    let all = lines_until(&[&path], opened as usize).await;
    for kind in ["http", "sse", "websocket", "tcp"] {
        for outcome in ["finished", "closed", "cut", "failed", "migrated"] {
            let labels = [("kind", kind), ("outcome", outcome)];
            let told = all
                .iter()
                .filter(|l| l["kind"] == kind && l["outcome"] == outcome);
            let counted = scrape.sum("lameduck_sessions_ended_total", &labels);
            assert_eq!(told.count() as f64, counted, "{kind} {outcome}");
        }
    }
    let closed = all.iter().find(|l| l["outcome"] == "closed").unwrap();
    assert_eq!(closed["asked"], true, "{closed}");
    let page = all.iter().find(|l| l["path"] == "/page7").unwrap();
    assert_eq!(
        (&page["client_key"], &page["status"]),
        (&"anna".into(), &200.into())
    );
    assert_eq!(page["upstream"], web.agent.addr.to_string());
    for stream in streams {
        stream.await.unwrap();
    }
    hung.await.unwrap();
}

#[tokio::test]
async fn the_file_is_opened_again_when_it_is_moved_and_on_sigusr1() {
    let files = TempDir::new().unwrap();
    let [path, first, second] = ["access.log", "first", "second"].map(|n| files.path().join(n));
    let web = HttpAgent::start();
    let proxy = proxy("http", web.agent.addr, "", &table(&path)).await;
    visit(&proxy, "/one").await;
    lines_until(&[&path], 1).await;
    std::fs::rename(&path, &first).unwrap();
    proxy.signal(Signal::USR1);
    let there = async {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
        while !path.exists() {
            pace.tick().await;
        }
    };
    within(20, "a new file", there).await;
    visit(&proxy, "/two").await;
    assert_eq!(lines_until(&[&path], 1).await[0]["path"], "/two");
    assert_eq!(lines(&first).len(), 1);
    // And without a word.
    std::fs::rename(&path, &second).unwrap();
    for n in 0..100 {
        visit(&proxy, &format!("/{n}")).await;
    }
    let there = async {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
        while !path.exists() {
            pace.tick().await;
        }
    };
    within(20, "a new file", there).await;
    visit(&proxy, "/last").await;
    let all = lines_until(&[&first, &second, &path], 103).await;
    assert_eq!(all.len(), 103);
    assert_eq!(lines(&path).last().unwrap()["path"], "/last");
}

#[tokio::test]
async fn stdout_and_text_are_for_people() {
    let agent = TcpAgent::start();
    let log = "[access_log]\npath = \"stdout\"\nformat = \"text\"";
    let proxy = proxy("tcp", agent.agent.addr, "", log).await;
    let mut wire = tcp::open(proxy.addr("door"), "/echo/one").await.unwrap();
    wire.finish().await;
    within(20, "the end", wire.rest()).await;
    let line = proxy.stdout.find(|log| log.lines().first().cloned());
    let line = within(20, "a line", line).await.unwrap();
    let near = wire.stream.local_addr().unwrap();
    assert!(
        line.contains(&format!(" door tcp finished client={near} key=- upstream=")),
        "{line}"
    );
    assert!(
        line.contains(" bytes=10/0 messages=0/0 asked=false code=-"),
        "{line}"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_stops_the_start() {
    let agent = TcpAgent::start();
    let text = crate::scene::text(
        "tcp",
        agent.agent.addr,
        "",
        "[access_log]\npath = \"/nowhere/at/all\"",
    );
    let proxy = Proxy::builder().configuration(&text).spawn();
    assert_eq!(proxy.exit_within(20).await.code, Some(1));
    assert!(
        proxy
            .log
            .lines()
            .concat()
            .contains("cannot open /nowhere/at/all")
    );
}
