//! Bytes over TLS: all of them, in their order, whatever pieces they come in, and no more of them in
//! memory than a session may hold.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::between::{Pieces, before};
use crate::harness::agent::Agent;
use crate::harness::authority::{ONLY_12, ONLY_13, Versions};
use crate::harness::wire::{End, Wire};
use crate::harness::{Proxy, within};
use crate::scene::Files;

fn echo() -> Agent {
    Agent::start(|_, mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// Sends so much to an agent that sends it back, with the end behind it.
async fn there_and_back(versions: Versions, pieces: Pieces, length: usize) {
    let files = Files::new();
    let agent = echo();
    let proxy = files.proxy("tcp", agent.addr).start().await;
    let tls = files.authority.client(versions, None);
    let front = before(proxy.addr("raw"), tls, pieces);
    let stream = TcpStream::connect(front.addr).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let said = noise(length);
    let copy = said.clone();
    let sender = tokio::spawn(async move {
        to.write_all(&copy).await.unwrap();
        to.shutdown().await.unwrap();
        to
    });
    let mut heard = Vec::new();
    within(60, "all of it", from.read_to_end(&mut heard))
        .await
        .unwrap();
    assert!(
        heard == said,
        "{} of {length} bytes, or others",
        heard.len()
    );
    drop(sender.await.unwrap());
    let ended = |s: &crate::harness::metrics::Scrape| {
        s.sum("lameduck_sessions_ended_total", &[("outcome", "finished")]) == 1.0
    };
    let scrape = proxy.metrics_until("the end", ended).await;
    for way in ["to_client", "to_upstream"] {
        let labels = [("direction", way)];
        assert_eq!(scrape.sum("lameduck_bytes_total", &labels), length as f64);
        assert_eq!(scrape.sum("lameduck_undelivered_bytes_total", &labels), 0.0);
    }
}

#[tokio::test]
async fn much_goes_there_and_back() {
    there_and_back(ONLY_13, Pieces::Whole, 20_000_000).await;
    there_and_back(ONLY_12, Pieces::Whole, 20_000_000).await;
}

#[tokio::test]
async fn crumbs_of_ciphertext_are_put_together() {
    there_and_back(ONLY_13, Pieces::Crumbs, 150_000).await;
    there_and_back(ONLY_12, Pieces::Crumbs, 150_000).await;
}

/// What is read at once is more in a large transfer, and less when the agent does not keep up.
#[tokio::test]
async fn much_comes_whole_to_an_agent_that_reads_late() {
    const LENGTH: usize = 30_000_000;
    let files = Files::new();
    let (told, mut heard) = mpsc::unbounded_channel();
    let reads = Arc::new(Notify::new());
    let goes_on = Arc::clone(&reads);
    let agent = Agent::start(move |_, mut stream| {
        let (told, goes_on) = (told.clone(), Arc::clone(&goes_on));
        async move {
            let mut bytes = vec![0; LENGTH / 3];
            if stream.read_exact(&mut bytes).await.is_err() {
                return;
            }
            let _ = told.send(bytes);
            goes_on.notified().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            let _ = told.send(rest);
        }
    });
    let proxy = files.proxy("tcp", agent.addr).start().await;
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), tls, Pieces::Whole);
    let mut stream = TcpStream::connect(front.addr).await.unwrap();
    let said = noise(LENGTH);
    let copy = said.clone();
    let sender = tokio::spawn(async move {
        stream.write_all(&copy).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    });
    let first = within(30, "a third", heard.recv()).await.unwrap();
    standstill(&proxy, "to_upstream").await;
    reads.notify_one();
    let rest = within(60, "the rest", heard.recv()).await.unwrap();
    assert!([first, rest].concat() == said, "others than were sent");
    drop(sender.await.unwrap());
}

/// Until nothing moves any more in a direction.
async fn standstill(proxy: &Proxy, direction: &str) {
    let mut last = -1.0;
    let still = async {
        let mut pace = tokio::time::interval(Duration::from_millis(300));
        loop {
            pace.tick().await;
            let scrape = proxy.scrape().await.unwrap();
            let now = scrape.sum("lameduck_bytes_total", &[("direction", direction)]);
            if now == last && now > 0.0 {
                return;
            }
            last = now;
        }
    };
    within(60, "a standstill", still).await;
}

/// `VmRSS`, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.unwrap().split_whitespace().next();
    words.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_that_reads_nothing_costs_a_bounded_room() {
    let files = Files::new();
    let agent = Agent::start(|_, mut stream| async move {
        let mut first = [0; 1];
        let _ = stream.read_exact(&mut first).await;
        if first == *b"m" {
            let piece = vec![7; 1 << 16];
            while stream.write_all(&piece).await.is_ok() {}
        }
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let proxy = files.proxy("tcp", agent.addr).start().await;
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), tls, Pieces::Whole);
    let before = memory(proxy.pid);
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::connect(front.addr).await.unwrap();
        wire.send("m").await.unwrap();
        deaf.push(wire);
    }
    standstill(&proxy, "to_client").await;
    let grown = memory(proxy.pid).saturating_sub(before);
    assert!(grown < 10_000, "{grown} KiB for 20 sessions");
    let mut other = Wire::connect(front.addr).await.unwrap();
    other.send("?hello").await.unwrap();
    let heard = within(5, "an answer", other.exactly(5)).await;
    assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
    for wire in deaf {
        wire.reset();
    }
    let gone = |s: &crate::harness::metrics::Scrape| s.open("") == 1.0;
    let scrape = proxy.metrics_until("their ends", gone).await;
    let lost = [("direction", "to_client")];
    assert!(scrape.sum("lameduck_undelivered_bytes_total", &lost) > 0.0);
    scrape.check_balance().unwrap();
}

#[tokio::test]
async fn a_reset_is_passed_on_as_one() {
    let files = Files::new();
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.until(b"\n").await;
        wire.reset();
    });
    let proxy = files.proxy("tcp", agent.addr).start().await;
    let tls = files.authority.client(ONLY_13, None);
    let front = before(proxy.addr("raw"), tls, Pieces::Whole);
    let mut client = Wire::connect(front.addr).await.unwrap();
    client.send("x\n").await.unwrap();
    assert_eq!(within(10, "the end", client.rest()).await.1, End::Reset);
}
