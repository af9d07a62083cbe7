//! Reloads while sessions chat: nothing is lost, nothing is left behind, and what is wrong changes
//! nothing.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::agent::http::HttpAgent;
use crate::harness::client::http;
use crate::harness::crowd::Crowd;
use crate::harness::{Proxy, within};

/// Reloads, each with another listener and another upstream than the one before.
const RELOADS: usize = 20;

/// Has the configuration read anew, and waits until it was, for the `count`th time.
async fn reload(proxy: &Proxy, count: usize) {
    proxy.signal(Signal::HUP);
    outcome(proxy, "reloaded", count).await;
}

/// Waits for the `count`th line that says so.
async fn outcome(proxy: &Proxy, message: &str, count: usize) {
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
fn listener(name: &str, protocol: &str, agent: SocketAddr) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n\
         upstream = \"of-{name}\"\n[upstream.of-{name}]\nendpoints = [\"{agent}\"]\n\n"
    )
}

fn descriptors(proxy: &Proxy) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid));
    open.unwrap().count()
}

/// Waits until the process has so many descriptors.
async fn has_descriptors(proxy: &Proxy, count: usize) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let reached = async {
        while descriptors(proxy) != count {
            ticks.tick().await;
        }
    };
    within(20, "the descriptors of those who stay alone", reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_under_load_lose_nothing_and_leave_nothing() {
    let mut staying = Crowd::new();
    let proxy = staying.proxy().window("4s").brief_lame_duck().start().await;
    let base = proxy.configuration();
    let before = descriptors(&proxy);
    staying.joins(&proxy, 40).await;
    let mut going = Vec::new();
    for n in 1..=RELOADS {
        let name = format!("extra-{n}");
        let mut crowd = Crowd::new();
        let mut text = base.clone();
        text.push_str(&listener(&name, "http", crowd.agent()));
        // The settings of what stays change too.
        write!(text, "[http]\nmax_headers = {}\n", 100 + n % 2).unwrap();
        proxy.rewrite(&text);
        reload(&proxy, n).await;
        crowd.come_to(proxy.addr(&name), 6).await;
        going.push(crowd);
    }
    proxy.rewrite(&base);
    reload(&proxy, RELOADS + 1).await;
    for mut crowd in going {
        crowd.left_well().await;
    }
    let web = [("listener", "web")];
    let scrape = proxy
        .metrics_until("those that stay alone", |scrape| {
            scrape
                .matching("lameduck_sessions_open", &[])
                .all(|sample| sample.labels["listener"] == "web")
        })
        .await;
    assert_eq!(scrape.sum("lameduck_sessions_open", &web), 40.0);
    let drains = [("trigger", "reload")];
    let removed = scrape.sum("lameduck_drains_total", &drains);
    assert_eq!(removed, RELOADS as f64);
    // A session has two, and nothing else has any.
    has_descriptors(&proxy, before + 2 * 40).await;
    proxy.terminate();
    staying.left_well().await;
    proxy.phase("drained").await;
    let exit = proxy.exit_within(20).await;
    assert_eq!(exit.code, Some(0));
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
