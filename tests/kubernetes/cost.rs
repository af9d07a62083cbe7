//! The pod's deletion cost.

use std::time::Duration;

use crate::fake::{COST, Fake, State};
use crate::harness::{QUICK, eventually};

/// The costs that were written, in order.
fn written(state: &State) -> Vec<String> {
    let patches = state
        .taken
        .iter()
        .filter(|taken| taken.asked.method == "PATCH");
    let costs = patches.map(|taken| &taken.asked.body["metadata"]["annotations"][COST]);
    costs
        .map(|cost| cost.as_str().expect("text").to_owned())
        .collect()
}

fn last_is(fake: &Fake, cost: &str) {
    fake.wait(cost, |state| {
        (written(state).last().map(String::as_str) == Some(cost)).then_some(())
    });
}

#[test]
fn it_follows_the_sessions_in_steps_and_not_too_often() {
    let fake = Fake::start();
    let keys = "poll = \"100ms\"\npod_deletion_cost = true\ndeletion_cost_every = \"1s\"";
    let proxy = fake.proxy(QUICK, keys);
    last_is(&fake, "0");
    let mut sessions: Vec<_> = (0..20).map(|_| proxy.session()).collect();
    last_is(&fake, "20");
    // A change of a twentieth is none; it has more than one turn to be written in.
    sessions.push(proxy.session());
    fake.looked(20);
    assert_eq!(
        written(&fake.state()).last().map(String::as_str),
        Some("20")
    );
    sessions.truncate(10);
    last_is(&fake, "10");
    // A hold is somebody at work.
    proxy.call("POST", "/v1/holds", r#"{"ttl":"60s","reason":"a"}"#);
    proxy.call("POST", "/v1/holds", r#"{"ttl":"60s","reason":"b"}"#);
    last_is(&fake, "12");
    let state = fake.state();
    let patches = state
        .taken
        .iter()
        .filter(|taken| taken.asked.method == "PATCH");
    let times: Vec<_> = patches.map(|taken| taken.at).collect();
    for pair in times.windows(2) {
        // The first of two may have been longer on its way.
        let apart = pair[1] - pair[0];
        assert!(apart > Duration::from_millis(900), "{apart:?} apart");
    }
}

#[test]
fn it_is_off_by_default_and_left_where_it_is_forbidden() {
    let fake = Fake::start();
    let proxy = fake.proxy(QUICK, "poll = \"100ms\"");
    let _session = proxy.session();
    fake.looked(15);
    assert_eq!(written(&fake.state()), [""; 0]);
    drop(proxy);

    fake.state().forbidden.insert("PATCH");
    let keys = "poll = \"100ms\"\npod_deletion_cost = true\ndeletion_cost_every = \"100ms\"";
    let proxy = fake.proxy(QUICK, keys);
    let known = |status: &serde_json::Value| {
        let platform = &status["platforms"]["kubernetes"];
        (platform["known"]["patch pod"] == "forbidden").then(|| platform["up"].clone())
    };
    let up = eventually("a refusal", || known(&proxy.status()));
    assert_eq!(up, true, "the platform answers, and does what it may");
    let _session = proxy.session();
    fake.looked(15);
    assert_eq!(fake.state().count("PATCH", 403), 1);
}
