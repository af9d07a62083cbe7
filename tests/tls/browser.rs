//! A drain as a browser's page feels it: WebSockets, EventSource and fetch, all at once.

use serde_json::{Value, json};

use crate::chromium::{self, Chromium};
use crate::harness::agent::Agent;
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::balancer::Balancer;
use crate::harness::ledger::{Ledger, Side};
use crate::harness::wire::End;
use crate::harness::{Proxy, within};
use crate::reporter::Reporter;
use crate::scene::Files;

/// The file of the proxy's access log.
const ACCESS_LOG: &str = "access.log";

#[tokio::test]
async fn a_page_over_tls_feels_a_drain_by_polite_ends_alone() {
    drain_a_page("https").await;
}

#[tokio::test]
async fn a_page_in_plain_feels_a_drain_by_polite_ends_alone() {
    drain_a_page("http").await;
}

/// The page, and what is posted to it.
fn page() -> Agent {
    Agent::scripted(|_, mut wire| async move {
        while let Some((head, body)) = wire.next_request().await {
            let (kind, content) = match head.first.starts_with("POST ") {
                true => ("text/plain", body.bytes),
                false => ("text/html", include_bytes!("page.html").to_vec()),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                content.len()
            );
            let _ = wire.send([head.into_bytes(), content].concat()).await;
        }
    })
}

/// A proxy before all of them.
async fn proxy(files: &Files, scheme: &str, agents: &[(&str, &Agent)], web: &HttpAgent) -> Proxy {
    let mut proxy = Proxy::http(web.agent.addr)
        .window("10s")
        .drain("lame_duck_min", "\"500ms\"")
        .drain("lame_duck_quiet", "\"1s\"")
        .drain("sse_retry", "\"1s\"");
    proxy = proxy.set("access_log", "path", &files.toml(ACCESS_LOG));
    if scheme == "https" {
        proxy = files.with_certificate(proxy);
    }
    let mut text = proxy.text();
    for (path, agent) in agents {
        text += &format!(
            "[[listener.route]]\npath = \"/{path}\"\nupstream = \"{path}\"\n\n\
             [upstream.{path}]\nendpoints = [\"{}\"]\n\n",
            agent.addr
        );
    }
    proxy.configuration(&text).start().await
}

async fn drain_a_page(scheme: &str) {
    if !chromium::is_there_for("a page in a browser") {
        return;
    }
    let files = Files::new();
    let (page, chat, web) = (page(), WebSocketAgent::start(), HttpAgent::start());
    let agents = [
        ("page", &page),
        ("echo", &chat.agent),
        ("chat", &chat.agent),
    ];
    let proxy = proxy(&files, scheme, &agents, &web).await;
    let balancer = Balancer::watch(proxy.health());
    let reporter = Reporter::start(balancer.view());
    let url = format!(
        "{scheme}://localhost:{}/page?reporter={}",
        proxy.addr("web").port(),
        reporter.agent.addr.port()
    );
    let browser = Chromium::open(&url, &files.folder.path().join("ca.pem"));
    let first = within(60, "the page", reporter.report(0)).await;
    assert_eq!(first, json!({"open": true}));

    proxy.terminate();
    let saw = within(60, "what the page saw", reporter.report(1)).await;
    assert_eq!(saw["faults"], json!([]));
    let sockets = saw["sockets"].as_array().expect("all closed");
    assert_eq!(sockets.len(), 12);
    judge_events(&saw);
    for count in saw["fetched"].as_array().expect("counts") {
        assert!(count.as_u64() > Some(0), "{}", saw["fetched"]);
    }

    assert_eq!(proxy.exit_within(20).await.code, Some(0));
    drop(browser);
    let log = std::fs::read_to_string(files.folder.path().join(ACCESS_LOG)).unwrap();
    let lines = log.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("lines of JSON");
    for socket in sockets {
        judge(socket, &chat.ledger, &lines).await;
    }
    let report = proxy.report();
    assert_eq!(report["kinds"]["websocket"]["outcomes"]["closed"], 12);
    assert_eq!(report["undelivered_bytes"]["to_client"], 0, "{report}");
    assert_eq!(report["undelivered_bytes"]["to_upstream"], 0, "{report}");
}

/// One WebSocket, from both of its ends and from the middle.
async fn judge(socket: &Value, ledger: &Ledger, access: &[Value]) {
    let name = socket["session"].as_str().expect("a name");
    let agent = within(20, "the agent's end", ledger.side(name)).await;
    let received = socket["received"].as_array().expect("numbers");
    let client = Side {
        sent: socket["sent"].as_u64().expect("a number"),
        received: received.iter().filter_map(Value::as_u64).collect(),
        ..Side::default()
    };
    assert_eq!(socket["code"], 1012, "{name}");
    assert_eq!(socket["clean"], true, "{name}");
    assert_eq!(agent.close.map(|close| close.code), Some(1012), "{name}");
    assert_eq!(agent.end, Some(End::Fin), "{name}");
    assert_eq!(agent.faults, [""; 0], "{name}");
    assert_eq!(client.missing_from(&agent), Ok(0), "{name}");
    assert!(!client.received.is_empty(), "{name}");
    let of_it = |line: &&Value| {
        let path = line["path"].as_str().unwrap_or_default();
        line["kind"] == "websocket" && path.ends_with(&format!("/{name}"))
    };
    let line = access.iter().find(of_it).expect("a line for each session");
    let taken = line["messages"]["to_upstream"].as_u64().expect("a number");
    assert_eq!(agent.received.len() as u64, taken, "{line}");
    if name.starts_with("asker-") {
        assert_eq!(client.received.len() as u64, taken, "{line}");
    }
    // A page does not know yet of a Close that the browser has answered already, and what it says
    // then goes nowhere. That is at most what it says next, and never reaches the proxy.
    assert!(client.sent - taken <= 1, "{name}: {client:?}");
    if client.sent > taken {
        println!("{name}: its last question never left the browser");
    }
}

/// The event streams: that of an EventSource, that of one who came late, and one that was fetched.
fn judge_events(saw: &Value) {
    /// `EventSource.CONNECTING`: it comes back. (Another state would be for ever.)
    const CONNECTING: u64 = 0;
    let (source, late) = (&saw["source"], &saw["late"]);
    for record in [source, late] {
        let errors = record["errors"].as_array().expect("states");
        assert!(errors.len() >= 2, "{record}");
        assert!(errors.iter().all(|state| *state == CONNECTING), "{record}");
    }
    assert!(source["events"].as_u64() > Some(10), "{source}");
    assert!(late["opened"].as_u64() >= Some(1), "{late}");
    assert_eq!(late["events"], 0, "{late}");
    let followed = saw["followed"].as_str().expect("a body with an end");
    assert!(followed.ends_with("\n\n"), "{followed}");
    let events = followed.split_terminator("\n\n").collect::<Vec<_>>();
    let (retry, events) = events.split_last().expect("events");
    assert!(retry.starts_with("retry:"), "{retry}");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(*event, format!("id: {number}\ndata: event {number}"));
    }
}
