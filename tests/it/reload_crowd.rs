//! Reloads while sessions chat: nothing is lost, and nothing is left behind.

use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::agent::tcp::TcpAgent;
use crate::harness::authority::Authority;
use crate::harness::client::websocket;
use crate::harness::crowd::Crowd;
use crate::harness::descriptors::raise_descriptor_limit;
use crate::harness::frames::{Frame, TEXT};
use crate::harness::vitals::resident;
use crate::harness::{Proxy, patience, within};
use crate::reload::{listener, reload};

/// Reloads, each with another listener and another upstream than the one before.
const RELOADS: usize = 20;
/// How many there are before memory is looked at: by then all has been used once.
const FIRST: usize = 5;
/// What may stay of a reload, in KiB. What was left of each would be more: of a listener with its TLS, an
/// upstream, or the tasks that look after them.
const LEFT: f64 = 2.0;

fn descriptors(proxy: &Proxy) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid));
    open.unwrap().count()
}

/// [`descriptors`] of one that has started and has looked how its agent is: when they have stayed the same
/// for many looks.
async fn descriptors_at_rest(proxy: &Proxy) -> usize {
    let healthy = [("upstream", "web-agent")];
    proxy
        .metrics_until("a look at the agent", |scrape| {
            scrape.sum("lameduck_upstream_healthy", &healthy) == 1.0
        })
        .await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let (mut count, mut looks) = (0, 0);
    while looks < 25 {
        ticks.tick().await;
        let now = descriptors(proxy);
        looks = if now == count { looks + 1 } else { 0 };
        count = now;
    }
    count
}

fn memory(proxy: &Proxy) -> u64 {
    resident(proxy.pid).unwrap()
}

/// Waits until the process has so many descriptors.
async fn has_descriptors(proxy: &Proxy, count: usize) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let reached = async {
        while descriptors(proxy) != count {
            ticks.tick().await;
        }
    };
    let limit = patience(Duration::from_secs(20));
    let reached = tokio::time::timeout(limit, reached).await;
    let open = descriptors(proxy);
    assert!(reached.is_ok(), "{open} descriptors, not {count}");
}

/// Waits until nothing is told any more of a listener or an upstream but of these.
async fn only_these_are_told_of(proxy: &Proxy, listeners: &[&str], upstreams: &[&str]) {
    let told = [("listener", listeners), ("upstream", upstreams)];
    proxy
        .metrics_until("those that stay alone", |scrape| {
            scrape.samples.iter().all(|sample| {
                let is_of = |(label, known): (&str, &[&str])| {
                    let name = sample.labels.get(label);
                    name.is_none_or(|name| known.contains(&name.as_str()))
                };
                told.into_iter().all(is_of)
            })
        })
        .await;
}

/// A proxy under a crowd that stays, and reloads that each bring a listener with another crowd.
struct Scene {
    proxy: Proxy,
    base: String,
    /// Descriptors without any session.
    before: usize,
    staying: Crowd,
    stay: usize,
    reloads: usize,
    /// How many come to each listener.
    each: usize,
    /// Who they are.
    coming: fn() -> Crowd,
}

impl Scene {
    /// All these clients come `coming`'s way; who goes with a listener has `window` for it.
    async fn new(window: &str, stay: usize, each: usize, coming: fn() -> Crowd) -> Scene {
        let mut staying = coming();
        let proxy = staying.proxy().window(window).brief_lame_duck();
        let proxy = proxy.start().await;
        let before = descriptors_at_rest(&proxy).await;
        staying.joins(&proxy, stay).await;
        Scene {
            base: proxy.configuration(),
            proxy,
            before,
            staying,
            stay,
            reloads: 0,
            each,
            coming,
        }
    }

    /// So many reloads with another listener and another upstream each, and one that takes away the
    /// last. The sessions of those that went have lost nothing, and nothing is left of them.
    async fn reload(&mut self, count: usize) {
        let proxy = &self.proxy;
        let mut going = Vec::new();
        for _ in 0..count {
            self.reloads += 1;
            let name = format!("extra-{}", self.reloads);
            let mut crowd = (self.coming)();
            let mut text = self.base.clone();
            text.push_str(&listener(&name, "http", crowd.agent()));
            // The settings of what stays change too.
            write!(text, "[http]\nmax_headers = {}\n", 100 + self.reloads % 2).unwrap();
            proxy.rewrite(&text);
            reload(proxy, self.reloads).await;
            crowd.come_to(proxy.addr(&name), self.each).await;
            going.push(crowd);
        }
        proxy.rewrite(&self.base);
        self.reloads += 1;
        reload(proxy, self.reloads).await;
        for mut crowd in going {
            crowd.left_well().await;
        }
        only_these_are_told_of(proxy, &["web"], &["web-agent"]).await;
        let scrape = proxy.scrape().await.unwrap();
        scrape.check_balance().unwrap();
        assert_eq!(scrape.open(""), self.stay as f64);
        // A session has two, and nothing else has any.
        has_descriptors(proxy, self.before + 2 * self.stay).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_under_load_lose_nothing_and_leave_nothing() {
    let mut scene = Scene::new("4s", 40, 6, Crowd::new).await;
    scene.reload(RELOADS).await;
    let Scene {
        proxy, mut staying, ..
    } = scene;
    let scrape = proxy.scrape().await.unwrap();
    let drains = [("trigger", "reload")];
    let removed = scrape.sum("lameduck_drains_total", &drains);
    assert_eq!(removed, RELOADS as f64);
    proxy.terminate();
    staying.left_well().await;
    proxy.phase("drained").await;
    let exit = proxy.exit_within(20).await;
    assert_eq!(exit.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just edge-large"]
async fn reloads_under_two_thousand_sessions_lose_nothing_and_leave_nothing() {
    raise_descriptor_limit();
    let mut scene = Scene::new("15s", 2_000, 20, Crowd::calm).await;
    let before = memory(&scene.proxy);
    let mut after = Vec::new();
    for count in [FIRST, RELOADS, RELOADS] {
        scene.reload(count).await;
        after.push(memory(&scene.proxy));
    }
    println!(
        "with 2,000 sessions: resident {before} KiB; after {FIRST} reloads {}, after {RELOADS} more \
         {}, after another {RELOADS} {}",
        after[0], after[1], after[2]
    );
    // While thousands chat, the allocator takes the first twenty to have what it needs.
    let grown = after[2].saturating_sub(after[1]) as f64 / RELOADS as f64;
    assert!(grown <= 4.0 * LEFT, "{grown} KiB for each reload");
    let Scene {
        proxy, mut staying, ..
    } = scene;
    staying.leaves_well().await;
    proxy.terminate();
    assert_eq!(proxy.exit_within(20).await.code, Some(0));
}

/// A listener that speaks TLS, before an agent that is asked whether it is well all the time.
fn looked_after(name: &str, agent: &TcpAgent, folder: &std::path::Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = listener(name, "tcp", agent.agent.addr);
    let tls = format!(
        "[listener.tls]\ncertificate_file = {:?}\nkey_file = {:?}\n",
        path("tls.crt"),
        path("tls.key")
    );
    text.replace("[upstream", &format!("{tls}[upstream"))
        + &format!("[upstream.of-{name}.check]\ninterval = \"100ms\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_leave_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    Authority::new("The Authority")
        .pair(&["localhost"])
        .write(folder.path(), "tls");
    let mut staying = Crowd::calm();
    let proxy = staying
        .proxy()
        .window("1s")
        .drain("margin", "\"0s\"")
        .brief_lame_duck()
        .start()
        .await;
    let before = descriptors_at_rest(&proxy).await;
    staying.joins(&proxy, 4).await;
    let base = proxy.configuration();
    // Those of two reloads are looked after by turns, and one is none's any more.
    let agents = [TcpAgent::start(), TcpAgent::start()];
    let (mut reloads, mut seen) = (0, Vec::new());
    for _ in 0..5 {
        for _ in 0..20 {
            for (agent, kind) in agents.iter().zip(["even", "odd"]) {
                reloads += 1;
                let name = format!("{kind}-{reloads}");
                let text = base.clone() + &looked_after(&name, agent, folder.path());
                proxy.rewrite(&text);
                reload(&proxy, reloads).await;
            }
            // One that is chatting when its listener goes.
            let name = format!("chat-{reloads}");
            proxy.rewrite(&(base.clone() + &listener(&name, "http", staying.agent())));
            reloads += 1;
            reload(&proxy, reloads).await;
            let path = format!("/echo/{name}");
            let mut wire = websocket::open(proxy.addr(&name), &path).await.unwrap();
            let said = Frame::new(TEXT, crate::harness::ledger::message(0));
            wire.send(said.masked()).await.unwrap();
            let heard = within(20, "an echo", Frame::read(&mut wire)).await;
            assert_eq!(heard.unwrap().payload, said.payload);
        }
        proxy.rewrite(&base);
        reloads += 1;
        reload(&proxy, reloads).await;
        only_these_are_told_of(&proxy, &["web"], &["web-agent"]).await;
        has_descriptors(&proxy, before + 2 * 4).await;
        seen.push(memory(&proxy));
    }
    println!("resident after each fifth of {reloads} reloads: {seen:?} KiB");
    // Those of the first two are what had not been used before.
    let grown = seen[4].saturating_sub(seen[2]) as f64 / (reloads as f64 * 0.4);
    assert!(grown <= LEFT, "{grown} KiB for each reload: {seen:?}");
    staying.leaves_well().await;
}
