//! Drains that the API starts, steers and cancels.

use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Proxy, QUICK, ask, ended, eventually, signal};

fn phase_is(phase: &'static str) -> impl Fn(&str, &Value) -> bool {
    move |_, data| data["phase"] == phase
}

fn health(proxy: &Proxy, path: &str) -> u16 {
    ask(proxy.health, "GET", path, "Host: a\r\n", "").status
}

#[test]
fn a_drained_proxy_stays_until_it_is_wanted_again_or_told_to_go() {
    let mut proxy = Proxy::start(QUICK);
    let mut events = proxy.events();
    let started = proxy.call(
        "POST",
        "/v1/drain",
        r#"{"window":"10s","reason":"scale-in"}"#,
    );
    assert_eq!(started.status, 202, "{started:?}");
    let status = started.json();
    assert_eq!(status["phase"], "lame_duck");
    assert_eq!(
        (&status["reason"], &status["window"]),
        (&json!("scale-in"), &json!(10.0))
    );
    events.wait_for("drained", phase_is("drained"));
    let told = events.report();
    let report = proxy.call("GET", "/v1/drain/report", "").json();
    assert_eq!(report, told);
    assert_eq!(
        (&report["cut"], &report["exit_code"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(proxy.status()["exit_code"], 0);

    // It stays, and says so.
    assert_eq!(health(&proxy, "/readyz"), 503);
    assert_eq!(health(&proxy, "/livez"), 200);
    assert_eq!(health(&proxy, "/metrics"), 200);
    TcpStream::connect(proxy.lines).expect_err("the raw listener is closed");
    let late = proxy.call("POST", "/v1/holds", r#"{"ttl":"1s","reason":"late"}"#);
    assert_eq!(late.status, 409, "{late:?}");
    assert_eq!(proxy.call("POST", "/v1/drain", "").status, 200);

    // It comes back.
    assert_eq!(
        proxy.call("DELETE", "/v1/drain", "").json()["phase"],
        "serving"
    );
    eventually("the raw listener is back", || {
        TcpStream::connect(proxy.lines).ok()
    });
    drop(proxy.session());
    eventually("it is ready", || {
        (health(&proxy, "/readyz") == 200).then_some(())
    });
    assert!(proxy.status()["exit_code"].is_null());

    // Drained once more, a signal ends it at once.
    proxy.call("POST", "/v1/drain", "");
    events.wait_for("the second report", |name, _| name == "report");
    signal(&proxy.child, Signal::TERM);
    assert_eq!(ended(&mut proxy.child).code(), Some(0));
    while events.next().is_some() {}
}

#[test]
fn a_second_drain_only_shortens() {
    let proxy = Proxy::start(&QUICK.replace("500ms", "50%").replace("100ms", "8s"));
    let _session = proxy.session();
    let drain = |window: &str| {
        let body = format!(r#"{{"window":"{window}"}}"#);
        proxy.call("POST", "/v1/drain", &body)
    };
    assert_eq!(drain("60s").status, 202);
    let deadline = || proxy.status()["deadline"].as_f64().expect("a drain");
    let first = deadline();
    // A kubelet repeats its preStop: the same window is no longer one.
    assert_eq!(drain("60s").status, 200);
    assert_eq!(proxy.call("POST", "/v1/drain", "").status, 200);
    let longer = drain("61s");
    assert_eq!(longer.status, 409);
    assert!(longer.problem().contains("can only be shortened"));
    assert!(
        (deadline() - first).abs() < 0.1,
        "{first} became {}",
        deadline()
    );
    let shorter = drain("30s");
    assert_eq!(shorter.status, 200);
    assert!(
        (29.0..31.0).contains(&(first - deadline())),
        "{}",
        first - deadline()
    );
    assert_eq!(drain("40s").status, 409);
    assert_eq!(proxy.call("DELETE", "/v1/drain", "").status, 200);
    assert!(proxy.status()["deadline"].is_null());
}

#[test]
fn there_is_no_way_back_from_closing() {
    let proxy = Proxy::start(QUICK);
    let _request = proxy.request();
    let mut events = proxy.events();
    proxy.call("POST", "/v1/drain", "");
    events.wait_for("closing", phase_is("closing"));
    assert_eq!(proxy.call("DELETE", "/v1/drain", "").status, 409);
    assert_eq!(proxy.status()["phase"], "closing");
}

#[test]
fn the_drain_is_not_over_while_a_hold_is_live() {
    let proxy = Proxy::start(QUICK);
    let hold = proxy.call("POST", "/v1/holds", r#"{"ttl":"1500ms","reason":"a"}"#);
    let expires = hold.json()["expires"].as_f64().expect("a time");
    let mut events = proxy.events();
    proxy.call("POST", "/v1/drain", "");
    let over = events.report()["ended"].as_f64().expect("a time");
    // It ended with the hold, and long before its window.
    assert!(
        (expires - 0.1..expires + 2.0).contains(&over),
        "{over} is not just after {expires}"
    );
}

#[test]
fn a_hold_that_is_given_back_lets_the_drain_end() {
    let proxy = Proxy::start(QUICK);
    let hold = proxy
        .call("POST", "/v1/holds", r#"{"ttl":"1h","reason":"a"}"#)
        .json();
    let mut events = proxy.events();
    proxy.call("POST", "/v1/drain", "");
    events.wait_for("closing", phase_is("closing"));
    let path = format!("/v1/holds/{}", hold["id"].as_str().expect("an id"));
    assert_eq!(proxy.call("DELETE", &path, "").status, 200);
    assert_eq!(events.report()["exit_code"], 0);
}
