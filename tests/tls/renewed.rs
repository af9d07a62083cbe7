//! Certificates that change while the proxy runs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::between::{Pieces, before};
use crate::harness::agent::tcp::TcpAgent;
use crate::harness::authority::{ONLY_12, ONLY_13, Pair};
use crate::harness::metrics::Scrape;
use crate::harness::wire::Wire;
use crate::harness::{Proxy, within};
use crate::scene::Files;

pub const RELOADS: &str = "lameduck_tls_certificate_reloads_total";
const EXPIRY: &str = "lameduck_tls_certificate_expiry_timestamp_seconds";

pub fn reloads(result: &'static str, count: f64) -> impl Fn(&Scrape) -> bool {
    move |scrape| scrape.sum(RELOADS, &[("result", result)]) >= count
}

/// The certificate that the proxy shows.
async fn shown(proxy: &Proxy, tls: &Arc<ClientConfig>) -> Vec<u8> {
    let socket = TcpStream::connect(proxy.addr("raw")).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let shaken = TlsConnector::from(Arc::clone(tls)).connect(name, socket);
    let stream = within(20, "a handshake", shaken).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

pub fn replace(folder: &Path, name: &str, text: &str) {
    let new = folder.join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

pub fn swap(folder: &Path, pair: &Pair) {
    replace(folder, "tls.crt", &pair.certificate);
    replace(folder, "tls.key", &pair.key);
}

#[tokio::test]
async fn none_of_many_handshakes_and_sessions_notices_a_swap() {
    let files = Files::new();
    let agent = TcpAgent::start();
    let proxy = Arc::new(files.proxy("tcp", agent.agent.addr).start().await);
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), Arc::clone(&tls), Pieces::Whole);
    let mut sessions = Vec::new();
    for i in 0..200 {
        let mut wire = Wire::connect(front.addr).await.unwrap();
        wire.send(format!("/echo/s{i}\n")).await.unwrap();
        sessions.push(wire);
    }
    let (done, made) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut shaking = JoinSet::new();
    for i in 0..4 {
        let (proxy, done, made) = (Arc::clone(&proxy), Arc::clone(&done), Arc::clone(&made));
        let tls = files.authority.client([ONLY_12, ONLY_13][i % 2], None);
        shaking.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                shown(&proxy, &tls).await;
                made.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for round in 1..=3 {
        let new = files.authority.pair(&["localhost"]);
        swap(files.folder.path(), &new);
        let taken = reloads("taken", f64::from(round));
        proxy.metrics_until("new certificates", taken).await;
        for wire in &mut sessions {
            wire.send(format!("{:08} x\n", round - 1)).await.unwrap();
        }
        for wire in &mut sessions {
            within(10, "an echo", wire.until(b"\n")).await.unwrap();
        }
    }
    done.store(true, Ordering::SeqCst);
    // A failed one has panicked.
    within(20, "the last handshakes", shaking.join_all()).await;
    assert!(made.load(Ordering::SeqCst) > 20);
    let scrape = proxy.scrape().await.unwrap();
    assert_eq!(scrape.open("tcp"), 200.0);
    assert_eq!(scrape.sum("lameduck_sessions_refused_total", &[]), 0.0);
    assert_eq!(scrape.sum(RELOADS, &[("result", "refused")]), 0.0);
}

#[tokio::test]
async fn a_bad_one_is_told_of_once_and_the_old_one_stays() {
    let files = Files::new();
    let agent = TcpAgent::start();
    let proxy = files.proxy("tcp", agent.agent.addr).start().await;
    let tls = files.authority.client(ONLY_13, None);
    let old = shown(&proxy, &tls).await;
    let scrape = proxy.scrape().await.unwrap();
    let labels = [("listener", "raw"), ("name", "tls")];
    // The authority's certificates hold until the year 4096.
    assert!(scrape.sum(EXPIRY, &labels) > 4e10);
    replace(files.folder.path(), "tls.crt", "nonsense");
    proxy
        .metrics_until("a refusal", reloads("refused", 1.0))
        .await;
    let other = files.authority.pair(&["localhost"]);
    replace(files.folder.path(), "tls.crt", &other.certificate);
    proxy
        .metrics_until("another refusal", reloads("refused", 2.0))
        .await;
    assert_eq!(shown(&proxy, &tls).await, old);
    let told = |log: &crate::harness::log::Log| {
        let events = log.events().into_iter();
        events
            .filter(|e| e.message.contains("the new certificates are no good"))
            .count()
    };
    assert_eq!(told(&proxy.log), 2);
    // And good again.
    replace(files.folder.path(), "tls.key", &other.key);
    proxy
        .metrics_until("the new one", reloads("taken", 1.0))
        .await;
    assert_ne!(shown(&proxy, &tls).await, old);
    assert_eq!(told(&proxy.log), 2);
}

#[tokio::test]
async fn a_secret_of_kubernetes_is_swapped_by_its_link() {
    let files = Files::new();
    let agent = TcpAgent::start();
    let folder = files.folder.path();
    let version = |name: &str, pair: &Pair| {
        std::fs::create_dir(folder.join(name)).unwrap();
        pair.write(&folder.join(name), "tls");
    };
    version("..1", &files.pair);
    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(folder.join(name)).unwrap();
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    symlink("..1", folder.join("..data")).unwrap();
    let proxy = files.proxy("tcp", agent.agent.addr).start().await;
    let tls = files.authority.client(ONLY_13, None);
    let old = shown(&proxy, &tls).await;
    version("..2", &files.authority.pair(&["localhost"]));
    symlink("..2", folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    proxy
        .metrics_until("the new one", reloads("taken", 1.0))
        .await;
    assert_ne!(shown(&proxy, &tls).await, old);
}
