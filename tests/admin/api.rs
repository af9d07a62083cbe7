//! Each call does what it says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Proxy, QUICK, ask, eventually};

#[test]
fn the_status_shows_what_is_open() {
    let proxy = Proxy::start(QUICK);
    let _session = proxy.session();
    let status = proxy.status();
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["open"], 1);
    assert_eq!(status["sessions"]["lines"]["tcp"], 1);
    assert_eq!(status["sessions"]["web"]["websocket"], 0);
    assert_eq!(status["connections"], 1);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    for nothing in ["trigger", "reason", "window", "deadline", "exit_code"] {
        assert!(status[nothing].is_null(), "{nothing}: {status}");
    }
    let since = status["since"].as_f64().expect("a number");
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64();
    assert!(
        (now - 60.0..=now).contains(&since),
        "{since} is not just before {now}"
    );
}

#[test]
fn a_session_is_listed_shown_and_asked_to_go() {
    let proxy = Proxy::start(QUICK);
    let mut leaving = proxy.session();
    let staying = proxy.session();
    let _request = proxy.request();
    let all = proxy.call("GET", "/v1/sessions?sort=age", "").json();
    assert_eq!(all["total"], 3, "{all}");
    let client = leaving.local_addr().expect("open").to_string();
    let sessions = all["sessions"].as_array().expect("a list");
    let found = sessions.iter().find(|session| session["client"] == *client);
    let session = found.expect("it is listed");
    assert_eq!(session["kind"], "tcp");
    assert_eq!(session["listener"], "lines");
    assert_eq!(session["bytes"], json!({"to_upstream": 5, "to_client": 5}));
    assert_eq!(session["asked"], false);

    let web = proxy
        .call("GET", "/v1/sessions?kind=http&limit=1", "")
        .json();
    assert_eq!(
        (&web["total"], &web["next"]),
        (&json!(1), &json!(null)),
        "{web}"
    );
    let first = proxy
        .call("GET", "/v1/sessions?kind=tcp&limit=1", "")
        .json();
    let cursor = first["next"].as_str().expect("there is another page");
    let second = format!("/v1/sessions?kind=tcp&limit=1&cursor={cursor}");
    let second = proxy.call("GET", &second, "").json();
    assert_ne!(first["sessions"][0]["id"], second["sessions"][0]["id"]);
    assert!(second["next"].is_null(), "{second}");

    let path = format!("/v1/sessions/{}", session["id"].as_str().expect("an id"));
    assert_eq!(proxy.call("GET", &path, "").json()["client"], *client);
    let asked = proxy.call("DELETE", &path, "");
    assert_eq!((asked.status, &asked.json()["asked"]), (202, &json!(true)));
    assert_eq!(leaving.read(&mut [0; 8]).expect("a proper end"), 0);
    drop(leaving);
    eventually("the session is gone", || {
        (proxy.call("GET", &path, "").status == 404).then_some(())
    });
    assert_eq!(proxy.status()["sessions"]["lines"]["tcp"], 1);
    drop(staying);
}

#[test]
fn a_hold_is_taken_prolonged_and_given_back() {
    let proxy = Proxy::start(QUICK);
    let taken = proxy.call("POST", "/v1/holds", r#"{"ttl":"30s","reason":"indexing"}"#);
    assert_eq!(taken.status, 201, "{taken:?}");
    let hold = taken.json();
    let path = format!("/v1/holds/{}", hold["id"].as_str().expect("an id"));
    assert!(
        taken.head.contains(&format!("location: {path}")),
        "{taken:?}"
    );
    let lives = |hold: &serde_json::Value| {
        hold["expires"].as_f64().expect("a time") - hold["taken"].as_f64().expect("a time")
    };
    assert!((29.9..30.1).contains(&lives(&hold)), "{hold}");
    let prolonged = proxy.call("PUT", &path, r#"{"ttl":"1h"}"#).json();
    assert!(lives(&prolonged) > 3599.0, "{prolonged}");
    let status = proxy.status();
    assert_eq!(status["holds_open"], 1);
    assert_eq!(status["holds"][0]["reason"], "indexing");
    assert_eq!(proxy.call("DELETE", &path, "").status, 200);
    assert_eq!(proxy.call("DELETE", &path, "").status, 404);
    assert_eq!(proxy.call("PUT", &path, r#"{"ttl":"1s"}"#).status, 404);
    assert_eq!(proxy.status()["holds_open"], 0);
}

#[test]
fn events_begin_with_the_status_and_tell_what_changes() {
    let proxy = Proxy::start(QUICK);
    let mut events = proxy.events();
    let (name, first) = events.next().expect("an event");
    assert_eq!(
        (name.as_str(), &first["phase"]),
        ("status", &json!("serving"))
    );
    let session = proxy.session();
    let open = |count: u64| {
        move |name: &str, data: &serde_json::Value| name == "counts" && data["open"] == count
    };
    events.wait_for("it is open", open(1));
    drop(session);
    events.wait_for("it is gone", open(0));
    let since = std::time::Instant::now();
    proxy.call("POST", "/v1/drain", "");
    let lame = events.wait_for("the drain", |name, data| {
        name == "phase" && data["phase"] == "lame_duck"
    });
    assert!(
        since.elapsed() < Duration::from_millis(200),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(lame["trigger"], "api");
    assert_eq!(events.report()["exit_code"], 0);
}

#[test]
fn nothing_of_it_is_on_a_data_listener() {
    let proxy = Proxy::start(QUICK);
    let host = format!("Host: {}\r\n", proxy.admin);
    let health = ask(proxy.health, "GET", "/v1/status", &host, "");
    assert_eq!(health.status, 404);
    // The agent never answers; that it is the one who was asked is what counts.
    let mut stream = TcpStream::connect(proxy.web).expect("served");
    let request = format!("POST /v1/drain HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let asked = proxy.asked();
    assert!(asked.starts_with("POST /v1/drain HTTP/1.1\r\n"), "{asked}");
    assert_eq!(proxy.status()["phase"], "serving");
}
