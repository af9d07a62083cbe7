//! The order of a native sidecar: its own preStop is the first word, its SIGTERM comes when the agent
//! has ended.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fake::Fake;
use crate::harness::{QUICK, ask, ended, eventually, signal};

/// What is open may finish.
fn patient() -> String {
    format!("{QUICK}finish = \"10s\"\n")
}

#[test]
fn the_agent_is_held_back_until_its_sessions_have_ended() {
    let fake = Fake::start();
    let mut proxy = fake.proxy(&patient(), "poll = \"100ms\"");
    let mut session = proxy.session();
    fake.looked(1);
    // A kubelet: the deletion, and both preStops at once.
    fake.delete(Duration::from_secs(20));
    let mut pre_stop = proxy.command(&["drain", "--wait"]);
    let mut pre_stop = pre_stop
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let (tell, agent_may_go) = channel();
    let health = proxy.health;
    thread::spawn(move || tell.send(ask(health, "GET", "/drained", "", "").status));
    let mut events = proxy.events();
    events.wait_for("the draining phase", |_, data| data["phase"] == "draining");
    // The agent lives: it answers, and is not let go.
    session.write_all(b"still").expect("sent");
    let mut echo = [0; 5];
    session.read_exact(&mut echo).expect("echoed");
    assert_eq!(agent_may_go.try_recv(), Err(TryRecvError::Empty));
    drop(session);
    let report = events.report();
    assert_eq!(
        report["kinds"]["tcp"]["outcomes"]["finished"], 1,
        "{report}"
    );
    let told = agent_may_go.recv_timeout(Duration::from_secs(20));
    assert_eq!(told, Ok(200));
    assert_eq!(ended(&mut pre_stop).code(), Some(0));
    // The agent has gone, and now the sidecar is told.
    fake.end_agent();
    signal(&proxy.child, Signal::TERM);
    assert_eq!(ended(&mut proxy.child).code(), Some(0));
    let reasons: Vec<_> = fake
        .state()
        .events
        .iter()
        .map(|event| event["reason"].clone())
        .collect();
    assert_eq!(reasons, ["DrainStarted", "Drained"]);
}

#[test]
fn nobody_is_waited_for_when_the_agent_has_gone() {
    let fake = Fake::start();
    let tables = format!("{}finish = \"60s\"\n", QUICK.replace("\"10s\"", "\"60s\""));
    let proxy = fake.proxy(&tables, "poll = \"100ms\"");
    let session = proxy.session();
    proxy.call("POST", "/v1/holds", r#"{"ttl":"60s","reason":"at work"}"#);
    let mut events = proxy.events();
    fake.looked(1);
    let begun = Instant::now();
    fake.delete(Duration::from_secs(60));
    events.wait_for("the drain", |_, data| data["trigger"] == "kubernetes");
    fake.end_agent();
    // A session may still have something to deliver: it is waited for, hold or no hold.
    eventually("word of the agent", || {
        let known = proxy.status()["platforms"]["kubernetes"]["known"]["other containers"].clone();
        (known == "exited").then_some(())
    });
    fake.looked(3);
    assert_ne!(proxy.status()["phase"], "drained");
    drop(session);
    let report = events.report();
    assert!(begun.elapsed() < Duration::from_secs(20), "{report}");
    let signs = report["signs"].as_array().expect("a list");
    let last = signs.last().expect("a sign");
    assert_eq!(
        last["reason"], "all other containers have exited",
        "{report}"
    );
}
