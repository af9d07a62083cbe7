//! Events on the pod.

use rustix::process::Signal;
use serde_json::Value;

use crate::fake::{Fake, NAMESPACE, POD, UID};
use crate::harness::{QUICK, ended, eventually, signal};

fn events(fake: &Fake, count: usize) -> Vec<Value> {
    fake.wait("events", |state| {
        (state.events.len() >= count).then(|| state.events.clone())
    })
}

fn message(event: &Value) -> &str {
    event["message"].as_str().expect("a message")
}

#[test]
fn a_drain_is_told_at_its_start_and_its_end() {
    let fake = Fake::start();
    let proxy = fake.proxy(QUICK, "");
    let session = proxy.session();
    eventually("word of the pod", || {
        let known = proxy.status()["platforms"]["kubernetes"]["known"].clone();
        (known["node"] == "node-3").then_some(())
    });
    proxy.call("POST", "/v1/drain", r#"{"reason":"a new version"}"#);
    let begun = events(&fake, 1).remove(0);
    assert_eq!(
        (&begun["type"], &begun["reason"]),
        (&"Normal".into(), &"DrainStarted".into())
    );
    assert_eq!(
        message(&begun),
        "Draining 1 session and 0 holds within 10.0s, by api: a new version"
    );
    let about = &begun["involvedObject"];
    assert_eq!(
        (
            &about["kind"],
            &about["name"],
            &about["namespace"],
            &about["uid"]
        ),
        (&"Pod".into(), &POD.into(), &NAMESPACE.into(), &UID.into())
    );
    drop(session);
    let over = events(&fake, 2).remove(1);
    assert_eq!(
        (&over["type"], &over["reason"]),
        (&"Normal".into(), &"Drained".into())
    );
    let told = message(&over);
    assert!(told.starts_with("Drained after "), "{told}");
    assert!(
        told.ends_with("s, with 1 session at the start; since then 1 finished"),
        "{told}"
    );
}

#[test]
fn sessions_that_are_cut_are_a_warning() {
    let fake = Fake::start();
    let proxy = fake.proxy(QUICK, "");
    let _request = proxy.request();
    proxy.call("POST", "/v1/drain", r#"{"window":"1s"}"#);
    let over = events(&fake, 2).remove(1);
    assert_eq!(
        (&over["type"], &over["reason"]),
        (&"Warning".into(), &"SessionsCut".into())
    );
    assert!(message(&over).ends_with("; since then 1 cut"), "{over}");
}

#[test]
fn they_can_be_switched_off_and_are_left_where_they_are_forbidden() {
    let fake = Fake::start();
    let drained = |keys: &str| {
        let mut proxy = fake.proxy(QUICK, keys);
        let mut events = proxy.events();
        proxy.call("POST", "/v1/drain", r#"{"window":"1s"}"#);
        events.report();
        // The last of what a drain has to say is said before the process is gone.
        signal(&proxy.child, Signal::TERM);
        assert_eq!(ended(&mut proxy.child).code(), Some(0));
    };
    drained("events = false");
    assert_eq!(fake.state().count("POST", 201), 0);
    fake.state().forbidden.insert("POST");
    drained("");
    assert_eq!(fake.state().count("POST", 403), 1);
}
