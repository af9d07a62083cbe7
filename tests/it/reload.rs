//! Reloads: what they do to listeners, to agents and to what is counted, and that what is wrong changes
//! nothing. A crowd that they are made under is in `reload_crowd`.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::agent::http::{HttpAgent, named};
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::client::http;
use crate::harness::ledger::message;
use crate::harness::wire::{End, Wire, request};
use crate::harness::{Proxy, within};
use crate::upstreams::call;

/// Has the configuration read anew, and waits until it was, for the `count`th time.
pub(crate) async fn reload(proxy: &Proxy, count: usize) {
    proxy.signal(Signal::HUP);
    outcome(proxy, "reloaded", count).await;
}

/// Waits for the `count`th line that says so.
pub(crate) async fn outcome(proxy: &Proxy, message: &str, count: usize) {
    let lines = proxy.log.find(|log| {
        let events = log.events().into_iter();
        events
            .filter(|event| event.message == message)
            .nth(count - 1)
    });
    let found = within(20, message, lines).await;
    assert!(found.is_some(), "the process has gone");
}

/// A table of a listener on a free port, and its upstream.
pub(crate) fn listener(name: &str, protocol: &str, agent: SocketAddr) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n\
         upstream = \"of-{name}\"\n[upstream.of-{name}]\nendpoints = [\"{agent}\"]\n\n"
    )
}

#[tokio::test]
async fn a_listener_gets_another_name_and_its_queue_is_taken_along() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).start().await;
    let addr = proxy.addr("web");
    let text = proxy.configuration();
    proxy.rewrite(&text.replace("name = \"web\"", "name = \"site\""));
    reload(&proxy, 1).await;
    assert_eq!(proxy.addr("site"), addr, "the socket is the same");
    http::fetch(addr, "/").await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr).start().await;
    let text = proxy.configuration();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied = format!(
        "{text}{}",
        listener("more", "tcp", web.agent.addr)
            .replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string())
    );
    let wrong = [
        (format!("{text}[drain]\nwindw = \"3s\"\n"), "drain.windw"),
        (
            format!("workers = 3\n{}", text.replace("workers = 2", "")),
            "workers",
        ),
        (occupied, "listener more"),
    ];
    for (n, (text, words)) in wrong.iter().enumerate() {
        proxy.rewrite(text);
        proxy.signal(Signal::HUP);
        outcome(&proxy, "not reloaded", n + 1).await;
        let said = |event: &crate::harness::log::Event| event.message.contains(words);
        assert!(
            proxy.log.events().iter().any(said),
            "{words}: {}",
            proxy.log
        );
        http::fetch(proxy.addr("web"), "/").await.unwrap();
    }
}

/// Whoever answers on a connection that is kept, and whether it is the last answer.
async fn asked(wire: &mut Wire) -> (String, bool) {
    wire.send(request("GET", "/", &[], b"")).await.unwrap();
    let answer = within(20, "an answer", wire.response("GET")).await.unwrap();
    (answer.text(), answer.is_last())
}

#[tokio::test]
async fn a_connection_that_is_kept_goes_by_what_holds_now() {
    let [old, new] = ["old", "new"].map(named);
    let proxy = Proxy::http(old.addr).window("20s").start().await;
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    assert_eq!(asked(&mut wire).await, ("old".to_owned(), false));
    let text = proxy.configuration();
    proxy.rewrite(&text.replace(&old.addr.to_string(), &new.addr.to_string()));
    reload(&proxy, 1).await;
    assert_eq!(asked(&mut wire).await, ("new".to_owned(), false));
    // It hears of a drain too, as it would have before.
    proxy.terminate();
    proxy.phase("lame_duck").await;
    assert_eq!(asked(&mut wire).await, ("new".to_owned(), true));
}

#[tokio::test]
async fn a_reload_that_fails_late_leaves_the_endpoints_as_they_were() {
    let [old, new] = ["old", "new"].map(named);
    let proxy = Proxy::http(old.addr).start().await;
    let text = proxy.configuration();
    let text = text.replace(&old.addr.to_string(), &new.addr.to_string());
    let broken = "[listener.tls]\ncertificate_file = \"/none.crt\"\nkey_file = \"/none.key\"\n";
    proxy.rewrite(&format!(
        "{text}{}",
        listener("more", "tcp", new.addr).replace("[upstream", &format!("{broken}[upstream"))
    ));
    proxy.signal(Signal::HUP);
    outcome(&proxy, "not reloaded", 1).await;
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    assert_eq!(asked(&mut wire).await.0, "old");
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(scrape.sum("lameduck_upstream_healthy", &[]), 1.0);
    assert_eq!(proxy.ask_health("/readyz").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_next_in_a_place_is_not_drained_as_the_one_before_was() {
    let web = HttpAgent::start();
    let proxy = Proxy::http(web.agent.addr)
        .listener("raw", "tcp", web.agent.addr)
        .window("8s")
        .brief_lame_duck()
        .start()
        .await;
    let with_raw = proxy.configuration();
    let drained = call(&proxy, "POST", "/v1/drain", r#"{"listener":"raw"}"#).await;
    assert_eq!(drained.status, 202);
    let parts = async |wanted: &str| {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let seen = async {
            loop {
                ticks.tick().await;
                let status = call(&proxy, "GET", "/v1/status", "").await.text();
                let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                let parts: Vec<_> = status["parts"].as_array().unwrap().iter().collect();
                let told = parts.iter().map(|part| {
                    let (part, phase) = (part["part"].as_str(), part["phase"].as_str());
                    format!("{} {}", part.unwrap(), phase.unwrap())
                });
                if told.collect::<Vec<_>>().join(", ") == wanted {
                    return;
                }
            }
        };
        within(20, wanted, seen).await;
    };
    parts("listener raw drained").await;
    let without = with_raw.replacen("name = \"raw\"", "name = \"next\"", 1);
    let only_web = without.replace(
        "[[listener]]\nname = \"next\"",
        "[[listener]]\nname = \"web2\"",
    );
    proxy.rewrite(&only_web);
    reload(&proxy, 1).await;
    parts("").await;
    proxy.rewrite(&without);
    reload(&proxy, 2).await;
    parts("").await;
    // It has the place that `raw` had, and serves.
    http::fetch(proxy.addr("next"), "/").await.unwrap();
}

#[tokio::test]
async fn what_limits_have_counted_goes_on() {
    let agent = TcpAgent::start();
    let proxy = Proxy::tcp(agent.agent.addr)
        .set("limits", "max_sessions", "1")
        .start()
        .await;
    let addr = proxy.addr("raw");
    let mut first = Wire::connect(addr).await.unwrap();
    first.send("/echo/first\n").await.unwrap();
    echoed(&mut first).await;
    let text = proxy.configuration() + &listener("more", "tcp", agent.agent.addr);
    proxy.rewrite(&text.replace("max_sessions = 1", "max_sessions = 1\nburst = 2"));
    reload(&proxy, 1).await;
    let mut second = Wire::connect(addr).await.unwrap();
    let end = within(20, "the end of one too many", second.rest()).await;
    assert_eq!(end, (Vec::new(), End::Fin));
    // Its place is free when the first has gone, which was counted before.
    drop(first);
    proxy
        .metrics_until("the first to go", |scrape| scrape.open("tcp") == 0.0)
        .await;
    let mut third = Wire::connect(addr).await.unwrap();
    third.send("/echo/third\n").await.unwrap();
    echoed(&mut third).await;
}

async fn echoed(wire: &mut Wire) {
    wire.send(message(0) + "\n").await.unwrap();
    within(20, "an echo", wire.until(b"\n")).await.unwrap();
}
