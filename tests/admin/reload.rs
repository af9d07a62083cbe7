//! `POST /v1/reload`: what has changed, or why nothing has.

use serde_json::json;

use crate::harness::{Proxy, QUICK, eventually};

#[test]
fn a_reload_says_what_it_has_changed() {
    let proxy = Proxy::start(QUICK);
    let mut session = proxy.session();
    proxy.rewrite("name = \"lines\"", "name = \"rows\"");
    proxy.rewrite("window = \"10s\"", "window = \"9s\"");
    let said = proxy.call("POST", "/v1/reload", "");
    assert_eq!(said.status, 200, "{said:?}");
    let changes = said.json();
    assert_eq!(changes["added"], json!(["rows"]));
    assert_eq!(changes["removed"], json!(["lines"]));
    assert_eq!(changes["changed"], json!([]));
    let status = proxy.status();
    assert_eq!(status["next_window"], 9.0);
    assert_eq!(status["sessions"]["lines"]["tcp"], 1);
    let _other = proxy.session();
    // Who is there is asked to go, as in a drain: the end of our words comes back as theirs.
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut session, &mut rest).expect("a FIN, and no reset");
    drop(session);
    eventually("its listener is forgotten", || {
        proxy.status()["sessions"]
            .get("lines")
            .is_none()
            .then_some(())
    });
    // The same once more is no change.
    let again = proxy.call("POST", "/v1/reload", "").json();
    assert_eq!(again["added"], json!([]));
}

#[test]
fn a_reload_that_is_refused_says_why() {
    let proxy = Proxy::start(QUICK);
    proxy.rewrite("window = \"10s\"", "window = 10");
    let said = proxy.call("POST", "/v1/reload", "");
    assert_eq!(said.status, 422, "{said:?}");
    let finding = &said.json()["findings"][0];
    assert_eq!(finding["key"], "drain.window");
    assert!(finding["line"].as_u64() > Some(1), "{finding}");
    assert_eq!(proxy.status()["next_window"], 10.0);
    proxy.rewrite("window = 10", "window = \"9s\"");
    assert_eq!(proxy.call("POST", "/v1/drain", "").status, 202);
    let late = proxy.call("POST", "/v1/reload", "");
    assert_eq!(late.status, 409, "{late:?}");
}
