//! Certificates are renewed again and again under open sessions and a stream of new handshakes: nobody
//! notices but by the certificate that is shown.

mod crowd;
mod secret;

use std::sync::Arc;

use crowd::{Handshakes, Session, clients, shown};
use secret::{Secret, Way};

use crate::harness::agent::Agent;
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::agent::websocket::WebSocketAgent;
use crate::harness::descriptors::raise_descriptor_limit;
use crate::harness::{Proxy, within};
use crate::renewed::{RELOADS, reloads};

/// How many there are.
struct Size {
    /// Open sessions; half of them WebSockets, half raw bytes.
    sessions: usize,
    /// New handshakes in a second.
    rate: u64,
    /// Times that the certificates are renewed.
    rounds: usize,
    /// The least handshakes in a second, where that is judged.
    least: Option<f64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_handshakes_of_every_kind_outlive_rotations() {
    rotate(Size {
        sessions: 64,
        rate: 20,
        rounds: 3,
        least: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "large: just edge-large"]
async fn two_thousand_sessions_and_two_hundred_handshakes_a_second_outlive_ten_rotations() {
    raise_descriptor_limit();
    rotate(Size {
        sessions: 2_000,
        rate: 210,
        rounds: 10,
        least: Some(200.0),
    })
    .await;
}

/// How often something was said in the log.
fn told(proxy: &Proxy, what: &str) -> usize {
    let events = proxy.log.events().into_iter();
    events.filter(|event| event.message.contains(what)).count()
}

/// What speaks TLS: raw bytes that stay, WebSockets, and raw bytes that go again.
const LISTENERS: [&str; 3] = ["raw", "web", "brief"];

async fn rotate(size: Size) {
    let mut secret = Secret::new();
    let files = &secret.files;
    let (lines, chats) = (TcpAgent::start(), WebSocketAgent::start());
    let quick = Agent::scripted(|_, mut wire| async move {
        while let Some(line) = wire.until(b"\n").await {
            let _ = wire.send(line).await;
        }
    });
    let agents = [
        ("tcp", lines.agent.addr),
        ("http", chats.agent.addr),
        ("tcp", quick.addr),
    ];
    let mut proxy = Proxy::builder();
    for (name, (protocol, agent)) in LISTENERS.into_iter().zip(agents) {
        let path = |name: &str| files.folder.path().join(name);
        proxy = proxy.listener(name, protocol, agent);
        proxy = proxy.tls(&path("tls.crt"), &path("tls.key"));
    }
    let proxy = Arc::new(proxy.brief_lame_duck().start().await);
    let clients = clients(files);
    let fresh = [&clients[1], &clients[3]];
    let mut sessions = Vec::new();
    for n in 0..size.sessions {
        sessions.push(Session::open(&proxy, n, &clients[n % clients.len()]).await);
    }
    let handshakes = Handshakes::begin(&proxy, &clients, size.rate);
    let mut good = shown(&proxy, "raw", fresh[0]).await;
    let (mut taken, mut refused) = (0, 0);
    for round in 0..size.rounds {
        let way = match round {
            1 => Way::Bad,
            _ => [Way::Rename, Way::Link][round % 2],
        };
        let each = LISTENERS.len();
        let (result, count) = match secret.renew(way) {
            Some(new) => {
                assert_ne!(std::mem::replace(&mut good, new), good);
                taken += each;
                ("taken", taken)
            }
            None => {
                refused += each;
                ("refused", refused)
            }
        };
        let heard_of = reloads(result, count as f64);
        proxy.metrics_until(&format!("{way:?}"), heard_of).await;
        for (listener, tls) in LISTENERS
            .into_iter()
            .flat_map(|l| fresh.map(|tls| (l, tls)))
        {
            assert_eq!(
                shown(&proxy, listener, tls).await,
                good,
                "{listener}: {way:?}"
            );
        }
        for session in &mut sessions {
            session.says().await;
        }
        for (n, session) in sessions.iter_mut().enumerate() {
            let hears = within(20, "an echo", session.hears()).await;
            assert!(hears, "session {n} after {round} rotations, {way:?}");
        }
    }
    let (rate, made, resumed, faults) = handshakes.end().await;
    println!(
        "{} rotations under {} sessions: {made} handshakes, {rate:.1} in a second, {resumed} resumed, \
         {} failed",
        size.rounds,
        size.sessions,
        faults.len()
    );
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(resumed > 0 && made > resumed);
    if let Some(least) = size.least {
        assert!(rate >= least, "{rate} handshakes in a second");
    }
    assert_eq!(told(&proxy, "new certificates are in use"), taken);
    assert_eq!(told(&proxy, "the new certificates are no good"), refused);
    let scrape = proxy
        .metrics_until("the brief to have gone", |scrape| {
            scrape.open("") == size.sessions as f64
        })
        .await;
    assert_eq!(scrape.open("websocket"), (size.sessions / 2) as f64);
    assert_eq!(scrape.sum("lameduck_sessions_refused_total", &[]), 0.0);
    let count = |result| scrape.sum(RELOADS, &[("result", result)]);
    assert_eq!(
        (count("taken"), count("refused")),
        (taken as f64, refused as f64)
    );
    let failed = scrape.sum("lameduck_sessions_ended_total", &[("outcome", "failed")]);
    assert_eq!(failed, 0.0);
}
