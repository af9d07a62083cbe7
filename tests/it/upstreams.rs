//! Several endpoints: who gets the sessions, and what becomes of an endpoint that fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::{Agent, Vacancy};
use crate::harness::client::websocket::{ACCEPT, UPGRADE};
use crate::harness::wire::{Response, Wire};
use crate::harness::{Proxy, within};

/// A proxy whose one upstream, `agent`, has these endpoints and keys.
pub(crate) async fn proxy(protocol: &str, endpoints: &[String], keys: &str) -> Proxy {
    let endpoints: Vec<_> = endpoints.iter().map(|at| format!("\"{at}\"")).collect();
    let text = format!(
        "workers = 2\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n\
         protocol = \"{protocol}\"\nupstream = \"agent\"\n\
         [drain]\nwindow = \"20s\"\nmargin = \"0s\"\nlame_duck_min = \"0s\"\n\
         lame_duck_quiet = \"100ms\"\n[upstream.agent]\nendpoints = [{}]\n{keys}\n",
        endpoints.join(", ")
    );
    let proxy = Proxy::builder().configuration(&text).arguments(&[]);
    proxy.start().await
}

/// A call of the control API.
pub(crate) async fn call(proxy: &Proxy, method: &str, path: &str, body: &str) -> Response {
    let admin = proxy.event("admin listening").await.text("addr");
    let admin: SocketAddr = admin.unwrap().parse().unwrap();
    let asked = async {
        let mut wire = Wire::connect(admin).await?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n");
        wire.send(format!("{head}content-length: {length}\r\n\r\n{body}"))
            .await?;
        wire.response(method).await
    };
    within(10, path, asked).await.expect("an answer")
}

/// What the control API says of an endpoint; null if it knows none of that address.
pub(crate) async fn endpoint(proxy: &Proxy, address: &str) -> Value {
    let said = call(proxy, "GET", "/v1/upstreams", "").await;
    let said: Value = serde_json::from_str(&said.text()).unwrap();
    let endpoints = said[0]["endpoints"].as_array().unwrap();
    let found = endpoints.iter().find(|one| one["address"] == address);
    found.cloned().unwrap_or_default()
}

/// Waits until an endpoint's field is this.
pub(crate) async fn until(proxy: &Proxy, address: &str, field: &str, value: impl Into<Value>) {
    let value = value.into();
    let found = async {
        while endpoint(proxy, address).await[field] != value {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(20, &format!("{field} of {address} to be {value}"), found).await;
}

pub(crate) async fn all_healthy(proxy: &Proxy, endpoints: &[String]) {
    for address in endpoints {
        until(proxy, address, "healthy", true).await;
    }
}

/// An agent that says its name to each request, and what else the test has it do.
pub(crate) struct Named {
    pub(crate) agent: Agent,
    mood: watch::Sender<Mood>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// Answers.
    Good,
    /// Takes connections, and says nothing.
    Hangs,
    /// Ends each connection without an answer.
    Breaks,
    /// Answers with 503.
    Overloaded,
}

pub(crate) fn named(name: &'static str) -> Named {
    let mood = watch::Sender::new(Mood::Good);
    let moods = mood.subscribe();
    let agent = Agent::scripted(move |_, mut wire| {
        let mut moods = moods.clone();
        async move {
            while let Some((head, _)) = wire.next_request().await {
                let mood = *moods.borrow_and_update();
                let upgrades = head.lists("upgrade", "websocket");
                let answer = match mood {
                    Mood::Hangs => {
                        let _ = moods.wait_for(|mood| *mood != Mood::Hangs).await;
                        return;
                    }
                    Mood::Breaks => return,
                    Mood::Overloaded => {
                        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned()
                    }
                    Mood::Good if upgrades => format!(
                        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: \
                         websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"
                    ),
                    Mood::Good => format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
                        name.len()
                    ),
                };
                if wire.send(answer).await.is_err() {
                    return;
                }
                if upgrades {
                    wire.rest().await;
                    return;
                }
            }
        }
    });
    Named { agent, mood }
}

pub(crate) fn addresses(agents: &[&Named]) -> Vec<String> {
    agents
        .iter()
        .map(|named| named.agent.addr.to_string())
        .collect()
}

pub(crate) async fn get(proxy: &Proxy, fields: &[(&str, &str)]) -> Response {
    let asked = async {
        let mut wire = Wire::connect(proxy.addr("web")).await?;
        wire.request("GET", "/", fields, b"").await
    };
    within(10, "an answer", asked).await.expect("an answer")
}

/// How many of so many requests each agent answered; a status where none did.
pub(crate) async fn answers(proxy: &Proxy, count: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..count {
        let response = get(proxy, &[]).await;
        let who = match response.status {
            200 => response.text(),
            status => status.to_string(),
        };
        *counts.entry(who).or_default() += 1;
    }
    counts
}

pub(crate) async fn websockets(proxy: &Proxy, count: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
        let answer = wire.request("GET", "/", &UPGRADE, b"");
        assert_eq!(within(10, "a 101", answer).await.unwrap().status, 101);
        wires.push(wire);
    }
    wires
}

#[tokio::test]
async fn long_sessions_go_where_the_fewest_are() {
    let agents = [named("a"), named("b"), named("c")];
    let [a, b, c] = &agents;
    let at = addresses(&[a, b, c]);
    let proxy = proxy("http", &at, "").await;
    all_healthy(&proxy, &at).await;
    let sessions = websockets(&proxy, 30).await;
    let open = |scrape: &crate::harness::metrics::Scrape| -> Vec<f64> {
        let name = "lameduck_upstream_sessions";
        at.iter()
            .map(|at| scrape.sum(name, &[("endpoint", at)]))
            .collect()
    };
    let told = proxy.metrics_until("ten each", |scrape| open(scrape) == [10.0; 3]);
    told.await;
    drop(sessions);
    let told = proxy.metrics_until("none", |scrape| open(scrape) == [0.0; 3]);
    told.await;
}

#[tokio::test]
async fn requests_take_turns() {
    let agents = [named("a"), named("b")];
    let [a, b] = &agents;
    let at = addresses(&[a, b]);
    let proxy = proxy("http", &at, "balance = \"round-robin\"").await;
    all_healthy(&proxy, &at).await;
    // Each worker has its own turn.
    let counts = answers(&proxy, 40).await;
    assert!(counts.values().all(|n| (18..=22).contains(n)), "{counts:?}");
}

#[tokio::test]
async fn who_is_known_by_a_cookie_stays_at_its_agent_until_that_is_lost() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let at = addresses(&[&a, &b, &c]);
    let keys = "balance = \"hash\"\nhash_on = \"cookie:sid\"";
    let proxy = proxy("http", &at, keys).await;
    all_healthy(&proxy, &at).await;
    let mut before = BTreeMap::new();
    for user in 0..30 {
        let cookie = format!("theme=dark; sid=user-{user}");
        for _ in 0..3 {
            let answer = get(&proxy, &[("cookie", &cookie)]).await.text();
            let first = before.entry(user).or_insert_with(|| answer.clone());
            assert_eq!(*first, answer, "{cookie}");
        }
    }
    for name in ["a", "b", "c"] {
        assert!(before.values().any(|answer| answer == name), "{before:?}");
    }
    drop(c);
    for (user, first) in &before {
        let cookie = format!("sid=user-{user}");
        let answer = get(&proxy, &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, 200);
        match first.as_str() {
            "c" => assert_ne!(answer.text(), "c"),
            first => assert_eq!(answer.text(), first, "moved, though its agent was not lost"),
        }
    }
}

/// An agent in this mood is found by this check, gets no sessions, and gets them again when it is well.
async fn a_sick_agent_is_taken_out(kind: &str, mood: Mood) {
    let (a, b) = (named("a"), named("b"));
    let at = addresses(&[&a, &b]);
    let keys = format!(
        "balance = \"round-robin\"\n[upstream.agent.check]\ntype = \"{kind}\"\n\
         interval = \"50ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 2"
    );
    let proxy = proxy("http", &at, &keys).await;
    all_healthy(&proxy, &at).await;
    b.mood.send_replace(mood);
    until(&proxy, &at[1], "healthy", false).await;
    assert_eq!(
        answers(&proxy, 10).await,
        BTreeMap::from([("a".to_owned(), 10)])
    );
    let scrape = proxy.scrape().await.unwrap();
    let healthy = |at: &str| scrape.sum("lameduck_upstream_healthy", &[("endpoint", at)]);
    assert_eq!((healthy(&at[0]), healthy(&at[1])), (1.0, 0.0));
    b.mood.send_replace(Mood::Good);
    until(&proxy, &at[1], "healthy", true).await;
    assert_eq!(answers(&proxy, 20).await.len(), 2);
}

#[tokio::test]
async fn a_hung_agent_is_found_by_a_request() {
    a_sick_agent_is_taken_out("http", Mood::Hangs).await;
}

#[tokio::test]
async fn an_agent_that_answers_503_is_found_by_a_request() {
    a_sick_agent_is_taken_out("http", Mood::Overloaded).await;
}

#[tokio::test]
async fn a_hung_agent_is_found_by_a_websocket() {
    a_sick_agent_is_taken_out("websocket", Mood::Hangs).await;
}

#[tokio::test]
async fn an_agent_that_answers_503_is_found_by_a_websocket() {
    a_sick_agent_is_taken_out("websocket", Mood::Overloaded).await;
}

#[tokio::test]
async fn an_agent_that_is_gone_is_found_by_a_connection_and_comes_back() {
    let vacancy = Vacancy::new();
    let b_at = vacancy.addr().to_string();
    let a = named("a");
    let at = [addresses(&[&a])[0].clone(), b_at];
    let keys = "[upstream.agent.check]\ninterval = \"50ms\"\nrise = 2\nfall = 1";
    let proxy = proxy("http", &at, keys).await;
    until(&proxy, &at[0], "healthy", true).await;
    until(&proxy, &at[1], "healthy", false).await;
    let _back = HttpAgent::at(vacancy);
    until(&proxy, &at[1], "healthy", true).await;
    let ready = proxy.ask_health("/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
}

#[tokio::test]
async fn who_breaks_off_is_passed_over_for_a_while() {
    let (a, b) = (named("a"), named("b"));
    let at = addresses(&[&a, &b]);
    let keys = "balance = \"round-robin\"\n[upstream.agent.eject]\nafter = 3\nbase = \"1500ms\"";
    let proxy = proxy("http", &at, keys).await;
    all_healthy(&proxy, &at).await;
    b.mood.send_replace(Mood::Breaks);
    // A GET that broke is tried again on the same agent; so one request is one failure.
    answers(&proxy, 12).await;
    until(&proxy, &at[1], "ejected", true).await;
    assert_eq!(
        answers(&proxy, 6).await,
        BTreeMap::from([("a".to_owned(), 6)])
    );
    let scrape = proxy.scrape().await.unwrap();
    let ejections = scrape.sum("lameduck_upstream_ejections_total", &[("endpoint", &at[1])]);
    assert_eq!(ejections, 1.0);
    b.mood.send_replace(Mood::Good);
    until(&proxy, &at[1], "ejected", false).await;
    assert_eq!(answers(&proxy, 20).await.len(), 2);
}

#[tokio::test]
async fn who_takes_requests_and_never_answers_is_passed_over() {
    let (a, b) = (named("a"), named("b"));
    let at = addresses(&[&a, &b]);
    let keys = "balance = \"round-robin\"\nresponse_timeout = \"200ms\"\n\
                [upstream.agent.eject]\nafter = 2\nbase = \"60s\"";
    let proxy = proxy("http", &at, keys).await;
    all_healthy(&proxy, &at).await;
    b.mood.send_replace(Mood::Hangs);
    let mut waited_for = 0;
    while endpoint(&proxy, &at[1]).await["ejected"] != true {
        let counts = answers(&proxy, 2).await;
        waited_for += counts.get("504").copied().unwrap_or(0);
    }
    assert_eq!(waited_for, 2, "so many and no more");
    assert_eq!(
        answers(&proxy, 10).await,
        BTreeMap::from([("a".to_owned(), 10)])
    );
}

#[tokio::test]
async fn an_agents_503_is_a_failure_where_that_is_wanted_and_not_all_are_passed_over() {
    let (a, b) = (named("a"), named("b"));
    let at = addresses(&[&a, &b]);
    let keys = "[upstream.agent.eject]\nafter = 2\ngateway_errors = true";
    let proxy = proxy("http", &at, keys).await;
    all_healthy(&proxy, &at).await;
    for agent in [&a, &b] {
        agent.mood.send_replace(Mood::Overloaded);
    }
    assert_eq!(
        answers(&proxy, 20).await,
        BTreeMap::from([("503".to_owned(), 20)])
    );
    let mut ejected = 0;
    for at in &at {
        ejected += u32::from(endpoint(&proxy, at).await["ejected"] == true);
    }
    assert_eq!(ejected, 1, "half of two");
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses() {
    let a = named("a");
    let port = a.agent.addr.port();
    let proxy = proxy("http", &[format!("localhost:{port}")], "").await;
    until(&proxy, &format!("127.0.0.1:{port}"), "healthy", true).await;
    assert_eq!(
        answers(&proxy, 3).await,
        BTreeMap::from([("a".to_owned(), 3)])
    );
}
