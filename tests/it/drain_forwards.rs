//! Who comes too late is passed to a peer, and notices nothing; a peer that is not there is as good
//! as a refusal.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::harness::agent::http::HttpAgent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::agent::{Agent, Vacancy};
use crate::harness::client::{Style, tcp, websocket};
use crate::harness::ledger::message;
use crate::harness::wire::{End, Head, Wire};
use crate::harness::{Proxy, within};

/// A proxy in `draining` that forwards, and is kept there by a TCP session of its own agent.
struct Draining {
    proxy: Proxy,
    own: HttpAgent,
    _raw: TcpAgent,
    keeper: Wire,
    /// A connection from before the drain, between requests.
    kept: Wire,
}

impl Draining {
    /// One that stays so.
    async fn begin(web: SocketAddr, raw: SocketAddr) -> Draining {
        Draining::briefly(web, raw, "60s", "50s").await
    }

    /// One that stays so for `finish`.
    async fn briefly(web: SocketAddr, raw: SocketAddr, window: &str, finish: &str) -> Draining {
        let (own, lines) = (HttpAgent::start(), TcpAgent::start());
        let proxy = Proxy::builder()
            .listener("web", "http", own.agent.addr)
            .forward_to(web)
            .listener("raw", "tcp", lines.agent.addr)
            .forward_to(raw)
            .window(window)
            .brief_lame_duck()
            .drain("late_arrivals", "\"forward\"")
            .drain("finish", &format!("\"{finish}\""))
            .start()
            .await;
        let mut keeper = tcp::open(proxy.addr("raw"), "/echo/keeper").await.unwrap();
        echoed(&mut keeper, 0).await;
        let mut kept = Wire::connect(proxy.addr("web")).await.unwrap();
        let answer = kept.request("GET", "/before", &[], b"").await.unwrap();
        assert_eq!(answer.status, 200);
        proxy.terminate();
        proxy.phase("draining").await;
        proxy.settled().await;
        Draining {
            proxy,
            own,
            _raw: lines,
            keeper,
            kept,
        }
    }

    async fn refused(&self, listener: &str) -> f64 {
        let labels = [("listener", listener), ("reason", "draining")];
        let scrape = self.proxy.scrape().await.unwrap();
        scrape.sum("lameduck_sessions_refused_total", &labels)
    }

    /// Ends it; what was late must not have come to its own agent.
    async fn end(mut self) {
        self.keeper.finish().await;
        assert_eq!(within(10, "the end", self.keeper.rest()).await.1, End::Fin);
        assert_eq!(self.proxy.exit_within(40).await.code, Some(0));
        let late = |path: &str| path.starts_with("/late") || path.starts_with("/echo");
        let mut requests = self.own.requests().into_iter();
        assert!(!requests.any(|request| late(&request.path)));
    }
}

async fn echoed(wire: &mut Wire, number: u64) {
    wire.send(message(number) + "\n").await.unwrap();
    let line = within(10, "the echo", wire.until(b"\n")).await.unwrap();
    assert_eq!(line, (message(number) + "\n").as_bytes());
}

/// An agent that tells the heads of what it is asked, and answers with a greeting.
fn telling() -> (Agent, mpsc::UnboundedReceiver<Head>) {
    let (told, heads) = mpsc::unbounded_channel();
    let agent = Agent::scripted(move |_, mut wire| {
        let told = told.clone();
        async move {
            while let Some((head, _)) = wire.next_request().await {
                let _ = told.send(head);
                let greeting = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthere";
                let _ = wire.send(greeting).await;
            }
        }
    });
    (agent, heads)
}

/// Two ports at which nobody listens.
fn nowhere() -> (Vacancy, Vacancy) {
    (Vacancy::new(), Vacancy::new())
}

#[tokio::test]
async fn a_late_request_is_answered_by_the_peer() {
    let (agent, mut heads) = telling();
    let peer = Proxy::http(agent.addr).window("30s").start().await;
    let nobody = Vacancy::new();
    let mut draining = Draining::begin(peer.addr("web"), nobody.addr()).await;
    let mut late = Wire::connect(draining.proxy.addr("web")).await.unwrap();
    let body = vec![b'x'; 100_000];
    let answer = late.request("POST", "/late", &[], &body).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "there".to_owned()));
    assert!(answer.is_last(), "{answer:?}");
    assert_eq!(within(10, "the end", late.rest()).await, (vec![], End::Fin));
    let head = within(10, "the request", heads.recv()).await.unwrap();
    assert_eq!(head.first, "POST /late HTTP/1.1");
    assert_eq!(head.field("host"), Some("agent.test"));
    // Both proxies were on the way; what they tell each other is not the agent's business.
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1, 127.0.0.1"));
    assert_eq!(head.field("lameduck-passed-on"), None);
    assert_eq!(draining.refused("web").await, 0.0);

    // Who was here before the drain is served here.
    let answer = draining.kept.request("GET", "/kept", &[], b"").await;
    assert_eq!(answer.unwrap().text(), "hello");
    draining.end().await;
}

#[tokio::test]
async fn a_request_that_a_peer_has_passed_on_goes_no_further() {
    let (agent, mut heads) = telling();
    let nobody = Vacancy::new();
    let draining = Draining::begin(agent.addr, nobody.addr()).await;
    let mut late = Wire::connect(draining.proxy.addr("web")).await.unwrap();
    let passed = [("lameduck-passed-on", "1")];
    let answer = late.request("GET", "/late", &passed, b"").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    // A peer is told that it is the second.
    let mut late = Wire::connect(draining.proxy.addr("web")).await.unwrap();
    let answer = late.request("GET", "/late", &[], b"").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let head = within(10, "the request", heads.recv()).await.unwrap();
    assert_eq!(head.field("lameduck-passed-on"), Some("1"));
    assert!(heads.try_recv().is_err(), "the first came too");
    draining.end().await;
}

#[tokio::test]
async fn a_late_websocket_is_the_peers_and_asked_to_go_with_the_others() {
    let chat = WebSocketAgent::start();
    let peer = Proxy::http(chat.agent.addr).window("30s").start().await;
    let nobody = Vacancy::new();
    let mut draining = Draining::briefly(peer.addr("web"), nobody.addr(), "14s", "3s").await;
    let addr = draining.proxy.addr("web");
    let new = websocket::open(addr, "/echo/new").await.unwrap();
    // A WebSocket on a connection from before the drain comes too late as well.
    let upgrade = draining
        .kept
        .request("GET", "/echo/old", &websocket::UPGRADE, b"");
    assert_eq!(upgrade.await.unwrap().status, 101);
    let style = Style::Ask(Duration::from_millis(20));
    let talk = |wire, name: &'static str| {
        tokio::spawn(websocket::converse(
            wire,
            name,
            style,
            CancellationToken::new(),
        ))
    };
    let nothing = Wire::connect(addr).await.unwrap();
    let old = std::mem::replace(&mut draining.kept, nothing);
    let (new, old) = (talk(new, "new"), talk(old, "old"));
    for proxy in [&draining.proxy, &peer] {
        let both = |scrape: &crate::harness::metrics::Scrape| scrape.open("websocket") == 2.0;
        proxy.metrics_until("both to be open", both).await;
    }
    for (name, talk) in [("new", new), ("old", old)] {
        let record = within(60, "the end of a WebSocket", talk).await.unwrap();
        assert_eq!(record.side.faults, Vec::<String>::new());
        assert_eq!(
            record.side.close.map(|close| close.code),
            Some(1012),
            "{name}"
        );
        assert_eq!(record.side.end, Some(End::Fin), "{name}");
        assert!(!record.side.received.is_empty(), "{name}");
    }
    assert_eq!(draining.refused("web").await, 0.0);
    let proxy = &draining.proxy;
    let labels = [("kind", "websocket"), ("outcome", "closed")];
    let closed = proxy.scrape().await.unwrap();
    assert_eq!(closed.sum("lameduck_sessions_ended_total", &labels), 2.0);
    draining.end().await;
}

#[tokio::test]
async fn a_late_tcp_session_is_the_peers() {
    let lines = TcpAgent::start();
    let peer = Proxy::tcp(lines.agent.addr).window("30s").start().await;
    let nobody = Vacancy::new();
    let draining = Draining::begin(nobody.addr(), peer.addr("raw")).await;
    let mut late = tcp::open(draining.proxy.addr("raw"), "/echo/late")
        .await
        .unwrap();
    for number in 0..3 {
        echoed(&mut late, number).await;
    }
    assert_eq!(draining.proxy.scrape().await.unwrap().open("tcp"), 2.0);
    assert_eq!(peer.scrape().await.unwrap().open("tcp"), 1.0);
    late.finish().await;
    assert_eq!(within(10, "the end", late.rest()).await, (vec![], End::Fin));
    assert_eq!(draining.refused("raw").await, 0.0);
    draining.end().await;
}

#[tokio::test]
async fn without_its_peer_it_refuses() {
    let (web, raw) = nowhere();
    let draining = Draining::begin(web.addr(), raw.addr()).await;
    let addr = draining.proxy.addr("web");
    let mut late = Wire::connect(addr).await.unwrap();
    let answer = late.request("GET", "/late", &[], b"").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.is_last(), "{answer:?}");
    let after = answer.field("retry-after").expect("a Retry-After");
    after.parse::<u32>().expect("seconds");
    assert_eq!(within(10, "the end", late.rest()).await, (vec![], End::Fin));

    let (_, answer) = websocket::ask(addr, "/late").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");

    let mut late = Wire::connect(addr).await.unwrap();
    let fields = [("accept", "text/event-stream")];
    let answer = late.request("GET", "/late", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().starts_with("retry: "), "{answer:?}");
    assert_eq!(draining.refused("web").await, 3.0);

    let mut late = tcp::open(draining.proxy.addr("raw"), "/echo/late")
        .await
        .unwrap();
    assert_eq!(within(10, "the end", late.rest()).await, (vec![], End::Fin));
    assert_eq!(draining.refused("raw").await, 1.0);
    draining.end().await;
}
