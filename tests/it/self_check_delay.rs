//! That a distance is what it says: nothing is lost in it, and everything comes later.

use crate::harness::agent::Agent;
use crate::harness::delay::Delay;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use crate::harness::within;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const ONE_WAY: Duration = Duration::from_millis(30);

/// An agent that answers each line with the same.
fn echo() -> Agent {
    Agent::scripted(|_, mut wire| async move {
        while let Some(line) = wire.until(b"\n").await {
            if wire.send(line).await.is_err() {
                break;
            }
        }
        wire.finish().await;
    })
}

async fn round(wire: &mut Wire, number: usize) -> Duration {
    let (asked, line) = (Instant::now(), format!("{number}\n"));
    wire.send(&line).await.unwrap();
    let answer = within(10, "the answer", wire.until(b"\n")).await;
    assert_eq!(answer.as_deref(), Some(line.as_bytes()));
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_in_order_and_a_round_trip_later() {
    let agent = echo();
    let relay = Delay::before(agent.addr, ONE_WAY).await;
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let mut wire = Wire::connect(relay.addr).await.unwrap();
        clients.spawn(async move {
            let mut shortest = Duration::MAX;
            for number in 0..5 {
                shortest = shortest.min(round(&mut wire, number).await);
            }
            // Many at once take no longer than one.
            let asked = Instant::now();
            let lines: String = (0..200).map(|n| format!("{n}\n")).collect();
            for line in lines.split_inclusive('\n') {
                wire.send(line).await.unwrap();
            }
            let asked = asked.elapsed() + 2 * ONE_WAY;
            let answers = within(10, "the answers", wire.exactly(lines.len())).await;
            assert_eq!(answers.as_deref(), Some(lines.as_bytes()));
            assert!(asked < 20 * ONE_WAY, "sending was held up: {asked:?}");
            let finished = Instant::now();
            wire.finish().await;
            let end = within(10, "the end", wire.rest()).await;
            assert_eq!(end, (vec![], End::Fin));
            assert!(finished.elapsed() >= 2 * ONE_WAY, "the FIN is later too");
            shortest
        });
    }
    for shortest in clients.join_all().await {
        assert!(shortest >= 2 * ONE_WAY, "{shortest:?} is too short");
        assert!(shortest < 4 * ONE_WAY, "{shortest:?} is too long");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_stays_a_reset_and_comes_later() {
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.until(b"\n").await;
        wire.reset();
    });
    let relay = Delay::before(agent.addr, ONE_WAY).await;
    let mut wire = Wire::connect(relay.addr).await.unwrap();
    let asked = Instant::now();
    wire.send("go\n").await.unwrap();
    let end = within(10, "the reset", wire.rest()).await;
    assert_eq!(end, (vec![], End::Reset));
    assert!(asked.elapsed() >= 2 * ONE_WAY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput_is_not_limited_by_the_delay() {
    const AMOUNT: usize = 32 << 20;
    let agent = Agent::scripted(|_, mut wire| async move {
        wire.until(b"\n").await;
        let _ = wire.send(vec![7; AMOUNT]).await;
        wire.finish().await;
    });
    let relay = Delay::before(agent.addr, ONE_WAY).await;
    let mut wire = Wire::connect(relay.addr).await.unwrap();
    let asked = Instant::now();
    wire.send("go\n").await.unwrap();
    let (bytes, end) = within(20, "all of it", wire.rest()).await;
    assert_eq!((bytes.len(), end), (AMOUNT, End::Fin));
    // A chunk per round trip would take half a minute.
    assert!(asked.elapsed() < Duration::from_secs(10));
}
