//! What is learned from the pod: how long there is, and that it is being deleted.

use std::time::Duration;

use serde_json::Value;

use crate::fake::{Fake, NAMESPACE, POD};
use crate::harness::{Proxy, QUICK, ask, eventually};

/// A drain in which what is open has all the time there is.
const PATIENT: &str = "[drain]\nwindow = \"300s\"\nmargin = \"0s\"\nlame_duck_min = \"0s\"\n\
                       lame_duck_max = \"500ms\"\nlame_duck_quiet = \"100ms\"\nfinish = \"300s\"\n";

fn ready(proxy: &Proxy) -> u16 {
    ask(proxy.health, "GET", "/readyz", "", "").status
}

/// The triggers of what was heard, in the report.
fn signs(report: &Value) -> Vec<&str> {
    let signs = report["signs"].as_array().expect("a list");
    signs
        .iter()
        .filter_map(|sign| sign["trigger"].as_str())
        .collect()
}

#[test]
fn the_window_is_the_grace_period() {
    let fake = Fake::start();
    let proxy = fake.proxy(&QUICK.replace("\"10s\"", "\"auto\""), "");
    let status = eventually("a window", || {
        let status = proxy.status();
        (status["window_source"] == "grace period").then_some(status)
    });
    assert_eq!(status["next_window"], 45.0, "{status}");
    let known = &status["platforms"]["kubernetes"]["known"];
    assert_eq!(
        (&known["pod"], &known["namespace"], &known["node"]),
        (&POD.into(), &NAMESPACE.into(), &"node-3".into())
    );
    let metrics = ask(proxy.health, "GET", "/metrics", "", "").body;
    for line in [
        "lameduck_platform_up{platform=\"kubernetes\"} 1",
        "lameduck_platform_info{platform=\"kubernetes\",fact=\"node\",value=\"node-3\"} 1",
    ] {
        assert!(
            metrics.lines().any(|said| said == line),
            "{line}: {metrics}"
        );
    }
}

#[test]
fn a_deletion_starts_a_drain_with_what_is_left_and_readiness_stays() {
    let fake = Fake::start();
    let mut proxy = fake.proxy(PATIENT, "poll = \"100ms\"");
    let session = proxy.session();
    let mut events = proxy.events();
    fake.looked(1);
    fake.delete(Duration::from_secs(30));
    let begun = events.wait_for("a drain", |_, data| data["trigger"] == "kubernetes");
    let window = begun["window"].as_f64().expect("a number");
    assert!((27.0..=30.0).contains(&window), "{begun}");
    events.wait_for("the draining phase", |_, data| data["phase"] == "draining");
    assert_eq!(ready(&proxy), 200);
    // Deleted once more, with less grace.
    fake.delete(Duration::from_secs(10));
    eventually("a shorter drain", || {
        let left = proxy.status()["remaining"].as_f64().expect("a number");
        (left <= 10.0).then_some(())
    });
    assert_eq!(ready(&proxy), 200);
    drop(session);
    let report = events.report();
    assert_eq!(signs(&report), ["kubernetes", "kubernetes"], "{report}");
    assert!(
        proxy.child.try_wait().expect("a child").is_none(),
        "it waits for its SIGTERM"
    );
}

#[test]
fn a_drain_from_the_prestop_finds_the_deletion_at_once() {
    let fake = Fake::start();
    // By the clock it would not look again in this test.
    let proxy = fake.proxy(PATIENT, "poll = \"60s\"");
    let session = proxy.session();
    let mut events = proxy.events();
    fake.wait("the first look", |state| {
        (state.count("GET", 200) > 0).then_some(())
    });
    fake.delete(Duration::from_secs(20));
    proxy.call("POST", "/v1/drain", r#"{"reason":"preStop"}"#);
    eventually("readiness that stays", || {
        (ready(&proxy) == 200).then_some(())
    });
    drop(session);
    let report = events.report();
    assert_eq!(signs(&report), ["api", "kubernetes"], "{report}");
}

#[test]
fn a_new_token_is_used_as_soon_as_it_is_there() {
    let fake = Fake::start();
    let proxy = fake.proxy(QUICK, "poll = \"50ms\"");
    fake.looked(1);
    fake.rotate("second-token");
    fake.looked(2);
    let first = &fake.state().taken[0]
        .asked
        .field("authorization")
        .to_owned();
    assert_eq!(first, "Bearer first-token");
    let said = proxy.status().to_string();
    assert!(!said.contains("-token"), "{said}");
}

#[test]
fn what_is_forbidden_is_asked_once() {
    let fake = Fake::start();
    fake.state().forbidden.insert("GET");
    let proxy = fake.proxy(QUICK, "poll = \"50ms\"");
    let _session = proxy.session();
    let mut events = proxy.events();
    proxy.call("POST", "/v1/drain", r#"{"window":"1s"}"#);
    events.report();
    // The drain's events are still written: they need nothing of the pod.
    fake.wait("two events", |state| {
        (state.count("POST", 201) == 2).then_some(())
    });
    assert_eq!(fake.state().count("GET", 403), 1);
    let status = proxy.status();
    assert_eq!(
        status["platforms"]["kubernetes"]["known"]["get pod"],
        "forbidden"
    );
    let metrics = ask(proxy.health, "GET", "/metrics", "", "").body;
    let line = "lameduck_platform_calls_total{platform=\"kubernetes\",call=\"get pod\",\
                result=\"forbidden\"} 1";
    assert!(metrics.lines().any(|said| said == line), "{metrics}");
}

#[test]
fn outside_of_a_cluster_it_says_so_and_serves() {
    let proxy = Proxy::start_in(
        &[("KUBERNETES_SERVICE_HOST", "")],
        &format!("{QUICK}[platform.kubernetes]\n"),
    );
    let _session = proxy.session();
    let platform = proxy.status()["platforms"]["kubernetes"].clone();
    let error = platform["error"].as_str().expect("an error");
    assert!(error.contains("KUBERNETES_SERVICE_HOST"), "{error}");
    assert_eq!(platform["up"], false);
}
