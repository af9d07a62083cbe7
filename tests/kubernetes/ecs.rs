//! The agent of ECS: the task's metadata, and its protection.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Proxy, QUICK, ask, ended, eventually, signal};
use crate::wire::{Answer, Asked, serve};

const TASK: &str = "arn:aws:ecs:eu-west-1:111122223333:task/chat/158d1c80";

struct State {
    desired: &'static str,
    /// What ECS says to a wish instead of yes.
    refusal: Option<Value>,
    /// The wishes, in order.
    wishes: Vec<Value>,
}

/// The endpoints of a task.
struct Fake {
    variables: [(&'static str, String); 2],
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Fake {
    fn start() -> Fake {
        let state = State {
            desired: "RUNNING",
            refusal: None,
            wishes: Vec::new(),
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let answering = Arc::clone(&shared);
        let addr = serve(None, move |asked| {
            let (state, changed) = &*answering;
            let answer = state.lock().expect("sound").answer(&asked);
            changed.notify_all();
            answer
        });
        let variables = [
            ("ECS_AGENT_URI", format!("http://{addr}/api/4d5e")),
            (
                "ECS_CONTAINER_METADATA_URI_V4",
                format!("http://{addr}/v4/4d5e"),
            ),
        ];
        Fake { variables, shared }
    }

    fn proxy(&self, keys: &str) -> Proxy {
        let variables = self
            .variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        Proxy::start_in(&variables, &format!("{QUICK}[platform.ecs]\n{keys}\n"))
    }

    /// Waits for so many wishes, and gives the last.
    fn wish(&self, count: usize) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().expect("sound");
        while state.wishes.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not in time: {count} of {:?}",
                state.wishes
            );
            (state, _) = self.shared.1.wait_timeout(state, left).expect("sound");
        }
        state.wishes[count - 1].clone()
    }

    fn wishes(&self) -> usize {
        self.shared.0.lock().expect("sound").wishes.len()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.0.lock().expect("sound"));
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/v4/4d5e/task") => (
                200,
                json!({"Cluster": "chat", "TaskARN": TASK, "Family": "agent", "Revision": "7",
                    "DesiredStatus": self.desired, "KnownStatus": "RUNNING", "Containers": []}),
            ),
            ("PUT", "/api/4d5e/task-protection/v1/state") => {
                assert_eq!(asked.field("content-type"), "application/json");
                self.wishes.push(asked.body.clone());
                let on = asked.body["ProtectionEnabled"]
                    .as_bool()
                    .expect("a boolean");
                let expires = on.then_some("2026-12-20T21:57:44.837Z");
                let yes = json!({"protection":
                    {"ExpirationDate": expires, "ProtectionEnabled": on, "TaskArn": TASK}});
                match &self.refusal {
                    Some(refusal) => (400, refusal.clone()),
                    None => (200, yes),
                }
            }
            _ => (404, json!({})),
        }
    }
}

fn protected() -> Value {
    json!({"ProtectionEnabled": true, "ExpiresInMinutes": 30})
}

fn released() -> Value {
    json!({"ProtectionEnabled": false})
}

#[test]
fn a_task_is_protected_while_it_is_worth_it() {
    let fake = Fake::start();
    let proxy = fake.proxy("protect_when = \"open > 1\"\nprotect_for = \"30m\"");
    let first = proxy.session();
    let known = eventually("the task", || {
        let known = proxy.status()["platforms"]["ecs"]["known"].clone();
        (known["task"] == TASK).then_some(known)
    });
    assert_eq!(
        (&known["family"], &known["cluster"]),
        (&"agent".into(), &"chat".into())
    );
    let metrics = ask(proxy.health, "GET", "/metrics", "", "").body;
    let line =
        format!("lameduck_platform_info{{platform=\"ecs\",fact=\"task\",value=\"{TASK}\"}} 1");
    assert!(metrics.lines().any(|said| said == line), "{metrics}");
    assert_eq!(fake.wishes(), 0, "one session is not more than one");
    let second = proxy.session();
    assert_eq!(fake.wish(1), protected());
    drop((first, second));
    assert_eq!(fake.wish(2), released());
    proxy.call("POST", "/v1/holds", r#"{"ttl":"60s","reason":"at work"}"#);
    assert_eq!(fake.wish(3), protected());
    eventually("word of it", || {
        let known = proxy.status()["platforms"]["ecs"]["known"]["protection"].clone();
        (known == "until 2026-12-20T21:57:44.837Z").then_some(())
    });
}

#[test]
fn a_task_that_is_to_stop_drains_and_gives_its_protection_back() {
    let fake = Fake::start();
    let mut proxy =
        fake.proxy("poll = \"100ms\"\nprotect_when = \"open > 0\"\nprotect_for = \"30m\"");
    let session = proxy.session();
    assert_eq!(fake.wish(1), protected());
    let mut events = proxy.events();
    fake.set(|state| state.desired = "STOPPED");
    events.wait_for("the drain", |_, data| data["trigger"] == "ecs");
    assert_eq!(ask(proxy.health, "GET", "/readyz", "", "").status, 503);
    // SIGTERM comes later, and joins it.
    signal(&proxy.child, Signal::TERM);
    drop(session);
    let report = events.report();
    let signs = report["signs"].as_array().expect("a list");
    let signs: Vec<_> = signs.iter().map(|sign| sign["trigger"].clone()).collect();
    assert_eq!(signs, ["ecs", "signal"]);
    assert_eq!(ended(&mut proxy.child).code(), Some(0));
    // Said before the process is gone, whatever is left of the protection's time.
    assert_eq!((fake.wishes(), fake.wish(2)), (2, released()));
}

#[test]
fn a_refusal_is_counted_and_tried_again_and_keeps_nothing_from_draining() {
    let fake = Fake::start();
    let reason = json!({"failure": {"Arn": TASK, "Detail": null, "Reason": "TASK_NOT_VALID"}});
    fake.set(|state| state.refusal = Some(reason));
    let mut proxy = fake.proxy("protect_when = \"open > 0\"");
    let session = proxy.session();
    fake.wish(2);
    let platform = eventually("word of it", || {
        let platform = proxy.status()["platforms"]["ecs"].clone();
        (!platform["error"].is_null()).then_some(platform)
    });
    assert_eq!(platform["error"], "protection: TASK_NOT_VALID");
    let metrics = ask(proxy.health, "GET", "/metrics", "", "").body;
    let counted = "lameduck_platform_calls_total{platform=\"ecs\",call=\"protection\",\
                   result=\"failure\"} ";
    assert!(metrics.contains(counted), "{metrics}");
    fake.set(|state| state.refusal = None);
    eventually("protection", || {
        let platform = proxy.status()["platforms"]["ecs"].clone();
        (platform["up"] == true && platform["error"].is_null()).then_some(())
    });
    drop(session);
    signal(&proxy.child, Signal::TERM);
    assert_eq!(ended(&mut proxy.child).code(), Some(0));
}
