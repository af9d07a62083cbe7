//! The agent is called as a drain goes: once for each phase, with what it has to know, and whatever
//! it does or does not answer, the drain keeps its promises.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::harness::agent::Vacancy;
use crate::harness::agent::hook::{Answer, HookAgent};
use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::websocket::{self, Record, UPGRADE};
use crate::harness::client::{Style, http};
use crate::harness::log::Event;
use crate::harness::proxy::{Builder, Exit};
use crate::harness::wire::{Response, Wire, request};
use crate::harness::{Proxy, patience, within};

/// What a drain may take beyond what it waits for, on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

const PHASES: [&str; 3] = ["lame_duck", "closing", "drained"];

fn hooked(builder: Builder, agent: SocketAddr, hooks: &[&str]) -> Builder {
    hooks.iter().fold(builder, |builder, hook| {
        builder.set(
            "drain.hooks",
            hook,
            &format!("\"http://{agent}/{hook}?by=name\""),
        )
    })
}

/// A proxy with one WebSocket that leaves when it is asked to.
struct Scene {
    proxy: Proxy,
    _chat: WebSocketAgent,
    client: JoinHandle<Record>,
}

impl Scene {
    async fn begin(agent: SocketAddr, hooks: &[&str]) -> Scene {
        let chat = WebSocketAgent::start();
        let proxy = Proxy::builder()
            .listener("chat", "http", chat.agent.addr)
            .window("60s")
            .brief_lame_duck();
        let proxy = hooked(proxy, agent, hooks).start().await;
        let wire = websocket::open(proxy.addr("chat"), "/echo/one")
            .await
            .unwrap();
        let style = Style::Ask(Duration::from_millis(50));
        let never = CancellationToken::new();
        let client =
            tokio::spawn(async move { websocket::converse(wire, "one", style, never).await });
        proxy
            .metrics_until("the session", |scrape| scrape.open("websocket") == 1.0)
            .await;
        Scene {
            proxy,
            _chat: chat,
            client,
        }
    }

    /// Waits for the end; gives it, and when the session had gone.
    async fn end(self) -> (Proxy, Exit, Instant) {
        let exit = self.proxy.exit_within(30).await;
        assert_eq!(exit.code, Some(0));
        let record = within(10, "the client", self.client).await.unwrap();
        assert_eq!(record.side.close.unwrap().code, 1012);
        (self.proxy, exit, record.side.ended_at.unwrap())
    }
}

/// The warnings that name a hook: which one, and what is said.
fn warnings(proxy: &Proxy) -> BTreeMap<String, Vec<String>> {
    let mut warnings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in proxy.log.events() {
        if let (Some(hook), "WARN") = (event.text("hook"), event.level.as_str()) {
            let url = event.text("url").expect("the URL");
            assert!(url.contains(&hook), "{event:?}");
            let what = event.text("error").unwrap_or(event.message);
            warnings.entry(hook).or_default().push(what);
        }
    }
    warnings
}

/// Checks that each of these hooks has one warning, which says this.
fn assert_warned(proxy: &Proxy, expected: &[(&str, &str)]) {
    let warnings = warnings(proxy);
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (hook, words) in expected {
        let said = warnings.get(*hook).map(Vec::as_slice).unwrap_or_default();
        assert!(
            matches!(said, [one] if one.contains(words)),
            "{hook} does not say {words:?} once: {warnings:?}"
        );
    }
}

/// A call of the control API.
async fn admin(proxy: &Proxy, method: &str, path: &str) -> Response {
    let addr = proxy
        .event("admin listening")
        .await
        .text("addr")
        .expect("an address");
    let mut wire = Wire::connect(addr.parse().unwrap()).await.unwrap();
    wire.send(format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n"))
        .await
        .unwrap();
    let answer = wire.response(method).await.unwrap();
    assert!(answer.status < 300, "{}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_phase_is_told_once_with_the_status() {
    let hooks = HookAgent::start(&[]);
    let scene = Scene::begin(hooks.agent.addr, &PHASES).await;

    scene.proxy.terminate();
    scene.proxy.phase("lame_duck").await;
    // A trigger that joins the drain begins no phase.
    scene.proxy.terminate();

    let (proxy, ..) = scene.end().await;
    let calls = hooks.calls();
    let told: Vec<_> = calls.iter().map(|call| call.hook.as_str()).collect();
    assert_eq!(told, PHASES, "{calls:?}");
    for call in &calls {
        assert_eq!(call.form, "POST application/json");
        assert_eq!(call.body["phase"], call.hook.as_str());
        assert_eq!(call.body["trigger"], "signal");
        assert_eq!(call.body["window"], 60.0);
    }
    assert_eq!(calls[0].body["open"], 1);
    // The agent can prolong or give back the hold that its call is kept alive by.
    assert_eq!(calls[1].body["holds"][0]["reason"], "hook closing");
    assert_eq!(calls[2].body["open"], 0);
    assert_eq!(calls[2].body["exit_code"], 0);
    assert_warned(&proxy, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_cancelled_tells_only_what_happened() {
    let hooks = HookAgent::start(&[]);
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .window("60s")
        .drain("lame_duck_min", "\"2s\"")
        .drain("lame_duck_quiet", "\"100ms\"");
    let proxy = hooked(proxy, hooks.agent.addr, &PHASES).start().await;

    admin(&proxy, "POST", "/v1/drain").await;
    within(10, "a call", hooks.has_been_called(1, "lame_duck")).await;
    let status = admin(&proxy, "DELETE", "/v1/drain").await.text();
    assert!(status.contains("\"serving\""), "{status}");
    proxy.terminate();

    assert_eq!(proxy.exit_within(30).await.code, Some(0));
    let told: Vec<_> = hooks.calls().into_iter().map(|call| call.hook).collect();
    // Nothing was open: there was nobody to close.
    assert_eq!(told, ["lame_duck", "lame_duck", "drained"]);
    assert_warned(&proxy, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_can_hold_the_drain_when_it_is_told_of_it() {
    const ANSWERS: &[Answer] = &[Answer {
        hook: "closing",
        body: Some(r#"{"hold":"3s"}"#),
    }];
    let hold = Duration::from_secs(3);
    let hooks = HookAgent::start(ANSWERS);
    let scene = Scene::begin(hooks.agent.addr, &PHASES).await;

    scene.proxy.terminate();

    let (proxy, exit, left) = scene.end().await;
    let asked = hooks.calls_of("closing")[0].at;
    let drained = hooks.calls_of("drained")[0].at;
    println!(
        "the session left {:.3?}, the drain was over {:.3?} after the agent was asked",
        left - asked,
        drained - asked
    );
    assert!(left - asked < hold, "the hold was not needed");
    assert!(drained - asked >= hold, "{:?}", drained - asked);
    assert!(exit.at - asked < patience(hold + SLACK));
    assert_eq!(proxy.report()["cut"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_does_not_outlive_the_deadline() {
    const ANSWERS: &[Answer] = &[Answer {
        hook: "closing",
        body: Some(r#"{"hold":"1h"}"#),
    }];
    let hooks = HookAgent::start(ANSWERS);
    let scene = Scene::begin(hooks.agent.addr, &PHASES).await;

    scene.proxy.terminate();
    within(10, "a call", hooks.has_been_called(1, "closing")).await;
    // The second one leaves a second.
    scene.proxy.signal(Signal::INT);
    let is_heard = |event: &Event| event.text("signal").as_deref() == Some("SIGINT");
    let heard = scene
        .proxy
        .log
        .find(|log| log.events().into_iter().find(is_heard));
    within(10, "the first SIGINT", heard).await;
    let hurried = Instant::now();
    scene.proxy.signal(Signal::INT);

    let (_, exit, _) = scene.end().await;
    let took = exit.at - hurried;
    assert!(took < patience(Duration::from_secs(1) + SLACK), "{took:?}");
    assert_eq!(hooks.calls_of("drained").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_answer_delays_by_its_timeout() {
    const fn silent(hook: &'static str) -> Answer {
        Answer { hook, body: None }
    }
    const ANSWERS: &[Answer] = &[silent("closing"), silent("drained"), silent("on_close")];
    let timeout = Duration::from_secs(1);
    let hooks = HookAgent::start(ANSWERS);
    let all = ["closing", "drained", "on_close"];
    let scene = Scene::begin(hooks.agent.addr, &all).await;

    scene.proxy.terminate();

    let (proxy, exit, left) = scene.end().await;
    let closing = hooks.calls_of("closing")[0].at;
    let drained = hooks.calls_of("drained")[0].at;
    println!(
        "left after {:.3?}, drained after {:.3?}, and {:.3?} to the end",
        left - closing,
        drained - closing,
        exit.at - drained
    );
    assert!(left - closing < timeout, "the session was held up");
    assert!(
        drained - closing > timeout.mul_f64(0.8),
        "its answer was not waited for"
    );
    assert!(drained - closing < patience(timeout + SLACK));
    assert!(exit.at - drained < patience(timeout + SLACK));
    let late = "no answer within 1s";
    assert_warned(
        &proxy,
        &[("closing", late), ("drained", late), ("on_close", late)],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_not_there_costs_nothing() {
    let nobody = Vacancy::new();
    let all = ["lame_duck", "closing", "drained", "on_close"];
    let scene = Scene::begin(nobody.addr(), &all).await;

    scene.proxy.terminate();

    let (proxy, exit, left) = scene.end().await;
    let after = exit.at.saturating_duration_since(left);
    println!("the process ended {after:.3?} after the last session");
    assert!(after < patience(SLACK), "{after:?} after the last session");
    assert_warned(&proxy, &all.map(|hook| (hook, "cannot connect")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_understood_has_no_effect() {
    const ANSWERS: &[Answer] = &[
        Answer {
            hook: "lame_duck",
            body: Some("of course"),
        },
        Answer {
            hook: "closing",
            body: Some(r#"{"hold":"2h"}"#),
        },
        Answer {
            hook: "drained",
            body: Some(r#"{"hold":"5s"}"#),
        },
    ];
    let hooks = HookAgent::start(ANSWERS);
    let scene = Scene::begin(hooks.agent.addr, &PHASES).await;

    scene.proxy.terminate();

    let (proxy, exit, left) = scene.end().await;
    assert!(exit.at.saturating_duration_since(left) < patience(SLACK));
    assert_warned(
        &proxy,
        &[
            ("lame_duck", "no JSON object"),
            ("closing", "a hold is taken for 1s to 3600s"),
            ("drained", "nothing to hold up"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_that_is_asked_to_go_is_named_once_with_its_key() {
    let hooks = HookAgent::start(&[]);
    let (chat, web) = (WebSocketAgent::start(), HttpAgent::start());
    let proxy = Proxy::builder()
        .listener("chat", "http", chat.agent.addr)
        .listener("web", "http", web.agent.addr)
        .set("http", "client_key", "\"X-User-Id\"")
        .window("10s")
        .brief_lame_duck();
    let proxy = hooked(proxy, hooks.agent.addr, &["on_close"]).start().await;
    let mut clients = JoinSet::new();
    for n in 0..12 {
        let (path, user) = (format!("/echo/s-{n}"), format!("user-{}", n % 4));
        let mut fields = UPGRADE.to_vec();
        fields.push(("x-user-id", &user));
        let mut wire = Wire::connect(proxy.addr("chat")).await.unwrap();
        wire.send(request("GET", &path, &fields, b""))
            .await
            .unwrap();
        assert_eq!(wire.response("GET").await.unwrap().status, 101);
        let style = Style::Ask(Duration::from_millis(50));
        let never = CancellationToken::new();
        clients.spawn(async move {
            websocket::converse(wire, &path, style, never).await;
        });
    }
    let events = proxy.addr("web");
    clients.spawn(async move {
        http::events(events, "GET", "/events?every=50").await;
    });
    proxy
        .metrics_until("the sessions", |scrape| scrape.open("") == 13.0)
        .await;
    let listed = admin(&proxy, "GET", "/v1/sessions").await.text();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let names = |sessions: &[Value]| {
        let mut names: Vec<_> = sessions
            .iter()
            .map(|session| {
                ["id", "listener", "kind", "client", "key"].map(|name| session[name].to_string())
            })
            .collect();
        names.sort();
        names
    };
    let expected = names(listed["sessions"].as_array().unwrap());

    proxy.terminate();

    assert_eq!(proxy.exit_within(30).await.code, Some(0));
    within(10, "the clients", clients.join_all()).await;
    let calls = hooks.calls_of("on_close");
    let told = calls
        .iter()
        .flat_map(|call| call.body["sessions"].as_array().unwrap().clone());
    let told: Vec<Value> = told.collect();
    println!("{} sessions in {} calls", told.len(), calls.len());
    assert_eq!(names(&told), expected);
    let of_user = |user: &str| told.iter().filter(|s| s["key"] == user).count();
    for user in ["user-0", "user-1", "user-2", "user-3"] {
        assert_eq!(of_user(user), 3, "{told:?}");
    }
    assert!(
        told.iter()
            .any(|s| s["kind"] == "sse" && s["key"].is_null())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_hook_nothing_is_said_of_hooks() {
    let scene = Scene::begin(Vacancy::new().addr(), &[]).await;
    scene.proxy.terminate();
    let (proxy, exit, left) = scene.end().await;
    assert!(exit.at.saturating_duration_since(left) < patience(SLACK));
    assert!(!proxy.log.to_string().contains("hook"));
}
