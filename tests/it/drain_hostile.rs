//! A drain among peers that do not play along: it is over in its window, only they are cut and told
//! of, and nobody else feels it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::Agent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::client::Style;
use crate::harness::client::websocket::{self, ACCEPT, Record};
use crate::harness::frames::{BINARY, Frame, TEXT};
use crate::harness::ledger::message;
use crate::harness::metrics::Scrape;
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, patience, within};

/// The window, in seconds.
const WINDOW: u64 = 8;
/// Those who play along.
const BYSTANDERS: usize = 40;
/// Those who do not: few enough for each to have a line in the log.
const HOSTILE: usize = 5;

/// A proxy with two listeners, bystanders on the one, and what goes wrong on either.
struct Scene {
    proxy: Proxy,
    chat: WebSocketAgent,
    bystanders: JoinSet<Record>,
    names: Vec<String>,
    _odd: Agent,
}

impl Scene {
    /// The listener `odd` is before an agent whose ends of the connections are given back.
    async fn set() -> (Scene, mpsc::UnboundedReceiver<Wire>) {
        let chat = WebSocketAgent::start();
        let (odd, wires) = open_handed();
        let proxy = Proxy::builder()
            .listener("chat", "http", chat.agent.addr)
            .listener("odd", "http", odd.addr)
            .window(&format!("{WINDOW}s"))
            .brief_lame_duck()
            .start()
            .await;
        let (mut bystanders, mut names) = (JoinSet::new(), Vec::new());
        for n in 0..BYSTANDERS {
            let name = format!("bystander-{n}");
            let (path, style) = match n % 2 {
                0 => (
                    format!("/echo/{name}"),
                    Style::Ask(Duration::from_millis(50)),
                ),
                _ => (format!("/chat/{name}?every=50"), Style::Listen),
            };
            let wire = websocket::open(proxy.addr("chat"), &path).await.unwrap();
            names.push(name.clone());
            bystanders.spawn(async move {
                websocket::converse(wire, &name, style, CancellationToken::new()).await
            });
        }
        let scene = Scene {
            proxy,
            chat,
            bystanders,
            names,
            _odd: odd,
        };
        (scene, wires)
    }

    /// WebSockets on a listener, with the addresses that the proxy knows them by.
    async fn open(&self, listener: &str, path: &str) -> (Vec<Wire>, BTreeSet<SocketAddr>) {
        let (mut wires, mut addrs) = (Vec::new(), BTreeSet::new());
        for n in 0..HOSTILE {
            let path = path.replace('#', &n.to_string());
            let wire = websocket::open(self.proxy.addr(listener), &path).await;
            let wire = wire.unwrap();
            addrs.insert(wire.stream.local_addr().unwrap());
            wires.push(wire);
        }
        (wires, addrs)
    }

    async fn begin(&self) -> Instant {
        let all = (BYSTANDERS + HOSTILE) as f64;
        let there = |scrape: &Scrape| scrape.open("websocket") == all;
        self.proxy.metrics_until("everybody", there).await;
        self.proxy.terminate()
    }

    /// The drain ends in time, exactly these were cut, for these reasons, and nobody else felt it.
    async fn ends(mut self, begun: Instant, cut: &BTreeSet<SocketAddr>, whys: &[&str]) {
        let exit = self.proxy.exit_within(WINDOW + 10).await;
        let took = exit.at - begun;
        println!("the drain took {took:.1?} of {WINDOW} s");
        assert!(took <= patience(Duration::from_secs(WINDOW)), "{took:?}");
        assert_eq!(exit.code, Some(if cut.is_empty() { 0 } else { 3 }));

        let report = self.proxy.report();
        let listed = report["cut_sessions"].as_array().unwrap();
        let reasons: Vec<&str> = listed.iter().map(|s| s["why"].as_str().unwrap()).collect();
        let outcomes = &report["kinds"]["websocket"]["outcomes"];
        let undelivered = &report["undelivered_bytes"];
        println!("{outcomes}, undelivered {undelivered}, cut: {reasons:?}");
        assert_eq!(report["cut"], cut.len(), "{report}");
        assert!(listed.iter().all(|session| session["kind"] == "websocket"));
        let ids = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<String>>();
        let in_report = ids(listed
            .iter()
            .map(|s| s["id"].as_str().unwrap().to_owned())
            .collect());
        let clients = listed.iter().map(|s| s["client"].as_str().unwrap());
        let clients: BTreeSet<SocketAddr> = clients.map(|addr| addr.parse().unwrap()).collect();
        assert_eq!(clients, *cut);
        let told = self.proxy.log.events();
        let told: BTreeMap<String, SocketAddr> = told
            .iter()
            .filter(|event| event.message == "session cut")
            .map(|event| {
                let addr = event.text("client.addr").unwrap().parse().unwrap();
                (event.text("session.id").unwrap(), addr)
            })
            .collect();
        assert_eq!(in_report, ids(told.keys().cloned().collect()));
        assert_eq!(told.into_values().collect::<BTreeSet<_>>(), *cut);
        for why in reasons {
            assert!(whys.contains(&why), "{why:?} is not among {whys:?}");
        }
        self.bystanders_felt_nothing().await;
    }

    async fn bystanders_felt_nothing(&mut self) {
        let bystanders = std::mem::take(&mut self.bystanders);
        let records = within(10, "the bystanders", bystanders.join_all()).await;
        let agents = within(10, "the agent", self.chat.ledger.sides(&self.names)).await;
        for client in records {
            let (name, agent) = (&client.name, &agents[&client.name]);
            for side in [&client.side, agent] {
                assert_eq!(side.close.map(|close| close.code), Some(1012), "{name}");
                assert_eq!(side.end, Some(End::Fin), "{name}");
                assert_eq!(side.faults, Vec::<String>::new(), "{name}");
            }
            assert_eq!(client.side.missing_from(agent), Ok(0), "{name}");
            assert_eq!(agent.missing_from(&client.side), Ok(0), "{name}");
            assert_eq!(client.unanswered, 0, "{name}");
        }
    }
}

/// An agent that shakes hands and leaves the rest to the test.
fn open_handed() -> (Agent, mpsc::UnboundedReceiver<Wire>) {
    let (told, wires) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            if wire.head().await.is_none() {
                return;
            }
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                 upgrade: websocket\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"
            );
            let _ = wire.send(answer).await;
            let _ = told.send(wire);
        }
    });
    (agent, wires)
}

/// The agent's ends of the hostile sessions.
async fn agents_of(wires: &mut mpsc::UnboundedReceiver<Wire>) -> Vec<Wire> {
    let mut agents = Vec::new();
    for _ in 0..HOSTILE {
        agents.push(within(10, "an agent's end", wires.recv()).await.unwrap());
    }
    agents
}

/// Reads to the end, and answers nothing.
async fn only_read(mut wire: Wire) {
    while wire.more().await {
        wire.ahead.clear();
    }
}

/// The same, and holds on to the connection after its end.
async fn hold_on(mut wire: Wire) {
    while wire.more().await {
        wire.ahead.clear();
    }
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_answer_the_close() {
    let (scene, _wires) = Scene::set().await;
    let (clients, addrs) = scene.open("chat", "/quiet/odd-#").await;
    let mut reading = JoinSet::new();
    clients
        .into_iter()
        .for_each(|wire| drop(reading.spawn(hold_on(wire))));
    let begun = scene.begin().await;
    let whys = ["the client did not answer the Close"];
    scene.ends(begun, &addrs, &whys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_pushing_agent_that_never_answer_the_close() {
    let (scene, _wires) = Scene::set().await;
    let (clients, addrs) = scene.open("chat", "/chat/odd-#?every=30").await;
    let mut reading = JoinSet::new();
    clients
        .into_iter()
        .for_each(|wire| drop(reading.spawn(hold_on(wire))));
    let begun = scene.begin().await;
    // The agent is told first here, and answers.
    let whys = ["the client did not answer the Close"];
    scene.ends(begun, &addrs, &whys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stop_reading_while_the_agent_pushes() {
    let (scene, mut wires) = Scene::set().await;
    let (clients, addrs) = scene.open("odd", "/").await;
    let mut pushing = JoinSet::new();
    for mut agent in agents_of(&mut wires).await {
        pushing.spawn(async move {
            let large = Frame::new(BINARY, vec![1; 50_000]).plain();
            while agent.send(&large).await.is_ok() {}
        });
    }
    let begun = scene.begin().await;
    let whys = ["the client did not read what it was sent"];
    scene.ends(begun, &addrs, &whys).await;
    drop(clients);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushing_agent_that_never_answers_the_close() {
    let (scene, mut wires) = Scene::set().await;
    let (clients, addrs) = scene.open("odd", "/").await;
    let mut playing = JoinSet::new();
    for mut agent in agents_of(&mut wires).await {
        playing.spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(30));
            let word = Frame::new(TEXT, message(0)).plain();
            while agent.send(&word).await.is_ok() {
                pace.tick().await;
            }
        });
    }
    clients
        .into_iter()
        .for_each(|wire| drop(playing.spawn(only_read(wire))));
    let begun = scene.begin().await;
    let whys = ["the agent did not answer the Close"];
    scene.ends(begun, &addrs, &whys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_keep_sending_without_pause() {
    let (scene, mut wires) = Scene::set().await;
    let (clients, addrs) = scene.open("odd", "/").await;
    let mut hostile = JoinSet::new();
    for agent in agents_of(&mut wires).await {
        hostile.spawn(only_read(agent));
    }
    for mut client in clients {
        hostile.spawn(async move {
            let words = Frame::new(TEXT, message(0)).masked().repeat(100);
            while client.send(&words).await.is_ok() {}
        });
    }
    let begun = scene.begin().await;
    let whys = ["the client did not answer the Close"];
    scene.ends(begun, &addrs, &whys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish() {
    let (scene, _wires) = Scene::set().await;
    let (clients, _) = scene.open("chat", "/chat/odd-#?every=20").await;
    let begun = scene.begin().await;
    scene.proxy.phase("closing").await;
    // Whether before, while or after they are asked: a reset is no cut.
    let mut going = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        going.spawn(async move {
            if n % 2 == 0 {
                // Vanishes in the face of the Close.
                while let Some(frame) = Frame::read(&mut client).await {
                    if frame.close_code().is_some() && frame.opcode == 8 {
                        break;
                    }
                }
            }
            client.reset();
        });
    }
    scene.ends(begun, &BTreeSet::new(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_in_the_middle() {
    let (scene, mut wires) = Scene::set().await;
    let (clients, _) = scene.open("odd", "/").await;
    let agents = agents_of(&mut wires).await;
    let mut listening = JoinSet::new();
    clients
        .into_iter()
        .for_each(|wire| drop(listening.spawn(only_read(wire))));
    let begun = scene.begin().await;
    scene.proxy.phase("closing").await;
    agents.into_iter().for_each(Wire::reset);
    scene.ends(begun, &BTreeSet::new(), &[]).await;
    within(5, "the clients' ends", listening.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_stops_reading() {
    let (scene, mut wires) = Scene::set().await;
    let (clients, _) = scene.open("odd", "/").await;
    let agents = agents_of(&mut wires).await;
    let mut talking = JoinSet::new();
    for (n, client) in clients.into_iter().enumerate() {
        let style = Style::Chat(Duration::from_millis(20));
        let name = format!("odd-{n}");
        talking.spawn(async move {
            websocket::converse(client, &name, style, CancellationToken::new()).await
        });
    }
    let begun = scene.begin().await;
    // Its clients play along: each is asked to go, and goes. The agent's silence is not their loss.
    scene.ends(begun, &BTreeSet::new(), &[]).await;
    for client in within(5, "the clients", talking.join_all()).await {
        let code = client.side.close.map(|close| close.code);
        assert_eq!((code, client.side.end), (Some(1012), Some(End::Fin)));
    }
    drop(agents);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_stops_reading_what_clients_pour_in() {
    let (scene, mut wires) = Scene::set().await;
    let (clients, addrs) = scene.open("odd", "/").await;
    let agents = agents_of(&mut wires).await;
    let mut pouring = JoinSet::new();
    for mut client in clients {
        pouring.spawn(async move {
            let large = Frame::new(BINARY, vec![1; 50_000]).masked();
            while client.send(&large).await.is_ok() {}
        });
    }
    let begun = scene.begin().await;
    // Nothing of theirs reaches the agent any more, be it a message or an answer to the Close.
    let whys = ["the agent did not read what it was sent"];
    scene.ends(begun, &addrs, &whys).await;
    drop(agents);
}
